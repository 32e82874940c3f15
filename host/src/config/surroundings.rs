//! Variables of other programs that stand for options of exporters and reporters, as in Moleculer: the address
//! of the Zipkin that a whole site uses, a key of Datadog. They lie below what is written in the options.

use crate::config::problem::Place;
use crate::config::value::{Located, Value};

/// Where the option is, of which exporter or reporter, its name, and the variable.
const VARIABLES: [(&str, &str, &str, &str); 9] = [
    (EXPORTER, "Zipkin", "baseURL", "ZIPKIN_URL"),
    (EXPORTER, "NewRelic", "baseURL", "NEW_RELIC_TRACE_API_URL"),
    (EXPORTER, "Datadog", "agentUrl", "DD_AGENT_URL"),
    (EXPORTER, "Datadog", "env", "DD_ENVIRONMENT"),
    (EXPORTER, "DatadogSimple", "agentUrl", "DD_AGENT_URL"),
    (EXPORTER, "OTLP", "tracesEndpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    (EXPORTER, "OTLP", "endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    (EXPORTER, "OTLP", "headers", "OTEL_EXPORTER_OTLP_HEADERS"),
    ("metrics.reporter", "Datadog", "apiKey", "DATADOG_API_KEY"),
];
const EXPORTER: &str = "tracing.exporter";

/// Puts the variables below the options of whoever was chosen.
pub(super) fn fill(tree: &mut Located, variables: &[(String, String)]) {
    for option in [EXPORTER, "metrics.reporter"] {
        let Some(mut chosen) = tree.take(option) else { continue };
        match &mut chosen.value {
            Value::List(items) => items.iter_mut().for_each(|item| one(option, item, variables)),
            _ => one(option, &mut chosen, variables),
        }
        tree.put_absent(option, chosen);
    }
}

fn one(option: &str, item: &mut Located, variables: &[(String, String)]) {
    let name = match &item.value {
        Value::Table(_) => item.find("type").and_then(Located::as_text),
        _ => item.as_text(),
    };
    let name = match name {
        Some(name) if name.eq_ignore_ascii_case("OpenTelemetry") => "OTLP".to_owned(),
        Some(name) => name.to_owned(),
        None => return,
    };
    // One address that is written stands over both variables.
    let written =
        ["options.endpoint", "options.tracesEndpoint"].map(|key| item.find(key).is_some());
    let written =
        |key: &str| key.to_ascii_lowercase().ends_with("endpoint") && written.contains(&true);
    for (_, _, key, variable) in VARIABLES.iter().filter(|(place, of, key, _)| {
        *place == option && of.eq_ignore_ascii_case(&name) && !written(key)
    }) {
        let found = variables.iter().find(|(name, text)| name == variable && !text.is_empty());
        let Some((variable, text)) = found else { continue };
        if !matches!(item.value, Value::Table(_)) {
            let mut table = Located::table(item.place.clone());
            table.put_absent("type", item.clone());
            *item = table;
        }
        let value = Located::word(text.clone(), Place::Variable(variable.clone()));
        item.put_absent(&format!("options.{key}"), value);
    }
}
