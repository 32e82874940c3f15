//! Exporters that send spans to servers: Moleculer's options, names and defaults
//! (moleculer: src/tracing/exporters), and `OTLP`, which Moleculer does not have.

use std::time::Duration;

use crate::config::HttpUrl;
use crate::config::options::reporting;
use crate::config::tracing::{Jaeger, Receiver, Upload};
use crate::config::value::{Located, Value};

/// What a server is asked for.
const AGENT_PATH: &str = "/v0.4/traces";
const OTLP_PATH: &str = "/v1/traces";

/// What Moleculer's own exporters all have: `safetyTags` guards against values that refer to themselves, which
/// JSON cannot.
const COMMON: [&str; 3] = ["interval", "defaultTags", "safetyTags"];

/// The keys of a priority, as the library of Datadog names them.
const PRIORITIES: [(&str, i8); 4] =
    [("USER_REJECT", -1), ("AUTO_REJECT", 0), ("AUTO_KEEP", 1), ("USER_KEEP", 2)];

/// An exporter by its name; `None` when it is no name of one.
///
/// # Errors
/// What is wrong with its options.
pub(super) fn read(name: &str, options: Option<&Located>) -> Result<Option<Upload>, String> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    let (to, own): (_, &[&'static str]) = if is("Zipkin") {
        let (debug, shared, headers) = (false, false, Vec::new());
        let base_url = local(9411)?;
        (
            Receiver::Zipkin { base_url, debug, shared, headers },
            &["baseURL", "payloadOptions", "headers"],
        )
    } else if is("NewRelic") {
        let base_url = "https://trace-api.newrelic.com".parse()?;
        let (insert_key, debug, shared) = (String::new(), false, false);
        let to = Receiver::NewRelic { base_url, insert_key, debug, shared };
        (to, &["baseURL", "payloadOptions", "insertKey"])
    } else if is("Jaeger") {
        let keys = &["endpoint", "host", "port", "sampler", "tracerOptions", "legacyMode"];
        (Receiver::Jaeger(Jaeger::default()), keys)
    } else if is("OTLP") || is("OpenTelemetry") {
        let url = local(4318)?.join(OTLP_PATH);
        let to = Receiver::Otlp { url, headers: Vec::new() };
        (to, &["endpoint", "tracesEndpoint", "headers"])
    } else if is("Datadog") || is("DatadogSimple") {
        let (url, simple) = (local(8126)?.join(AGENT_PATH), is("DatadogSimple"));
        let to = Receiver::Datadog { url, simple, env: None, sampling_priority: 1 };
        let keys: &[_] = if simple {
            &["agentUrl"]
        } else {
            &["agentUrl", "env", "samplingPriority", "tracerOptions"]
        };
        (to, keys)
    } else {
        return Ok(None);
    };
    let mut upload = Upload::new(to);
    if matches!(upload.to, Receiver::Jaeger(_)) {
        // As Moleculer's library does, which has no option for it.
        upload.interval = Duration::from_secs(1);
    }
    let known: Vec<_> = COMMON.into_iter().chain(own.iter().copied()).collect();
    for (key, value) in reporting::keys(options, &known)? {
        match key {
            "interval" => upload.interval = reporting::seconds(value)?,
            "defaultTags" => upload.default_tags = reporting::table(key, value)?,
            "safetyTags" => {
                reporting::switch(key, value)?;
            }
            _ => option(&mut upload.to, key, value)?,
        }
    }
    if let Receiver::NewRelic { insert_key, .. } = &upload.to
        && insert_key.is_empty()
    {
        return Err(
            "it has no 'insertKey'; give New Relic's key for inserting in the options".into()
        );
    }
    Ok(Some(upload))
}

fn local(port: u16) -> Result<HttpUrl, String> {
    HttpUrl::parse("localhost", port)
}

fn option(to: &mut Receiver, key: &str, value: &Located) -> Result<(), String> {
    match to {
        Receiver::Zipkin { base_url, debug, shared, headers } => match key {
            "baseURL" => *base_url = reporting::url(key, value)?,
            "headers" => *headers = reporting::headers(key, value)?,
            _ => payload_options(value, debug, shared)?,
        },
        Receiver::NewRelic { base_url, insert_key, debug, shared } => match key {
            "baseURL" => *base_url = reporting::url(key, value)?,
            "insertKey" => {
                // What is no header would never be sent.
                let key = reporting::text(key, value)?;
                let fits = key.bytes().all(|byte| byte.is_ascii_graphic());
                *insert_key = Some(key).filter(|_| fits).ok_or("'insertKey' is not a key")?;
            }
            _ => payload_options(value, debug, shared)?,
        },
        Receiver::Otlp { url, headers } => match key {
            // The whole address goes over the one that is completed, whichever comes first.
            "endpoint" if *url == local(4318)?.join(OTLP_PATH) => {
                *url = reporting::url(key, value)?.join(OTLP_PATH);
            }
            "endpoint" => drop(reporting::url(key, value)?),
            "tracesEndpoint" => *url = reporting::url(key, value)?,
            _ => *headers = reporting::headers(key, value)?,
        },
        Receiver::Datadog { url, env, sampling_priority, .. } => match key {
            "agentUrl" => {
                let given = reporting::url(key, value)?;
                *url = if given.has_path() { given } else { given.join(AGENT_PATH) };
            }
            "env" => *env = Some(reporting::text(key, value)?),
            "samplingPriority" => *sampling_priority = priority(value)?,
            _ => return Err(foreign(key, "dd-trace")),
        },
        Receiver::Jaeger(jaeger) => jaeger_option(jaeger, key, value)?,
    }
    Ok(())
}

fn payload_options(value: &Located, debug: &mut bool, shared: &mut bool) -> Result<(), String> {
    for (key, value) in reporting::keys(Some(value), &["debug", "shared"])? {
        *(if key == "debug" { &mut *debug } else { &mut *shared }) = reporting::switch(key, value)?;
    }
    Ok(())
}

fn priority(value: &Located) -> Result<i8, String> {
    let named =
        value.as_text().and_then(|name| PRIORITIES.iter().find(|(known, _)| *known == name));
    let number = || value.as_integer().and_then(|number| i8::try_from(number).ok());
    let priority = named.map(|(_, priority)| *priority).or_else(number);
    priority.filter(|priority| (-1..=2).contains(priority)).ok_or_else(|| {
        "'samplingPriority' is not USER_REJECT, AUTO_REJECT, AUTO_KEEP or USER_KEEP".into()
    })
}

fn jaeger_option(jaeger: &mut Jaeger, key: &str, value: &Located) -> Result<(), String> {
    match key {
        "endpoint" => jaeger.endpoint = Some(reporting::url(key, value)?),
        "host" => jaeger.host = reporting::text(key, value)?,
        "port" => jaeger.port = reporting::number(key, value, 1)?,
        "legacyMode" => jaeger.legacy_mode = reporting::switch(key, value)?,
        "sampler" => jaeger.rate = sampler(value)?,
        _ => {
            let Value::Table(entries) = &value.value else {
                return Err(format!("'{key}' is not a table"));
            };
            for (inner, value) in entries {
                if inner != "tags" {
                    return Err(foreign(&format!("{key}.{inner}"), "jaeger-client"));
                }
                jaeger.process_tags = reporting::table(inner, value)?;
            }
        }
    }
    Ok(())
}

/// The part of the traces that a sampler of Jaeger lets through.
fn sampler(value: &Located) -> Result<f64, String> {
    let mut kind = "Const".to_owned();
    let mut options = None;
    for (key, value) in reporting::keys(Some(value), &["type", "options"])? {
        match key {
            "type" => kind = reporting::text(key, value)?,
            _ => options = Some(value),
        }
    }
    match &*kind {
        "Const" => match reporting::keys(options, &["decision"])?.first() {
            None => Ok(1.0),
            Some((key, value)) => {
                let on = value.as_bool().or_else(|| value.as_count().map(|n| n != 0));
                on.map(|on| if on { 1.0 } else { 0.0 })
                    .ok_or_else(|| format!("'{key}' is not 0 or 1"))
            }
        },
        "Probabilistic" => {
            let rate = reporting::keys(options, &["samplingRate"])?;
            let rate = rate.first().and_then(|(_, value)| value.as_number());
            rate.filter(|rate| (0.0..=1.0).contains(rate))
                .ok_or_else(|| "'samplingRate' is not a number from 0 to 1".into())
        }
        "RateLimiting" | "GuaranteedThroughput" | "RemoteControlled" => Err(format!(
            "sampler {kind} would choose spans instead of whole chains; \
             `tracing.sampling.tracesPerSecond` or `tracing.sampling.rate` chooses chains"
        )),
        _ => Err(format!("'{kind}' is no sampler; there are: Const, Probabilistic")),
    }
}

fn foreign(key: &str, library: &str) -> String {
    format!("'{key}' is for {library}, which is not used here; leave it out")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::config::problem::Place;

    fn given(name: &str, options: Json) -> Result<Upload, String> {
        let options = Located::from_json(options, &Place::Flag("--config"));
        read(name, Some(&options)).map(Option::unwrap)
    }

    #[test]
    fn options_are_those_of_moleculer_with_their_defaults() {
        let bare = |name: &str| read(name, None).unwrap().unwrap();
        let zipkin = bare("zipkin");
        assert_eq!((zipkin.interval.as_secs(), zipkin.default_tags.len()), (5, 0));
        let Receiver::Zipkin { base_url, debug: false, shared: false, headers } = zipkin.to else {
            panic!("{zipkin:?}");
        };
        assert_eq!((base_url.to_string().as_str(), headers.len()), ("http://localhost:9411", 0));
        assert_eq!(bare("Jaeger").to, Receiver::Jaeger(Jaeger::default()));
        let url = |upload: Upload| match upload.to {
            Receiver::Otlp { url, .. } | Receiver::Datadog { url, .. } => url.to_string(),
            Receiver::Zipkin { base_url, .. } | Receiver::NewRelic { base_url, .. } => {
                base_url.to_string()
            }
            Receiver::Jaeger(jaeger) => jaeger.endpoint.unwrap().to_string(),
        };
        assert_eq!(url(bare("OpenTelemetry")), "http://localhost:4318/v1/traces");
        assert_eq!(url(bare("Datadog")), "http://localhost:8126/v0.4/traces");
        assert_eq!(url(bare("DatadogSimple")), "http://localhost:8126/v0.4/traces");
        let new_relic = given("NewRelic", json!({"insertKey": "k", "safetyTags": true})).unwrap();
        assert_eq!(url(new_relic), "https://trace-api.newrelic.com:443");
        assert_eq!(read("Zipkan", None), Ok(None));

        let agent =
            given("Datadog", json!({"agentUrl": "http://a:1", "samplingPriority": "USER_KEEP"}));
        let Receiver::Datadog { url: agent, simple: false, sampling_priority: 2, .. } =
            agent.unwrap().to
        else {
            panic!();
        };
        assert_eq!(agent.path(), "/v0.4/traces");
        assert_eq!(
            url(given("OTLP", json!({"endpoint": "http://a/o"})).unwrap()),
            "http://a:80/o/v1/traces"
        );
        assert_eq!(
            url(given("OTLP", json!({"tracesEndpoint": "http://a/o"})).unwrap()),
            "http://a:80/o"
        );
        let otlp = given("OTLP", json!({"headers": "api-key=k, x=a=b", "interval": 0.5})).unwrap();
        assert_eq!(otlp.interval.as_millis(), 500);
        let Receiver::Otlp { headers, .. } = otlp.to else { panic!() };
        assert_eq!(
            headers,
            [("api-key", "k"), ("x", "a=b")].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        let jaeger = given(
            "Jaeger",
            json!({"endpoint": "http://j:14268/api/traces", "legacyMode": false,
                "sampler": {"type": "Probabilistic", "options": {"samplingRate": 0.5}},
                "tracerOptions": {"tags": {"region": "eu"}}}),
        );
        let Receiver::Jaeger(jaeger) = jaeger.unwrap().to else { panic!() };
        assert_eq!((jaeger.rate, jaeger.legacy_mode, jaeger.process_tags.len()), (0.5, false, 1));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_mend_and_without_secrets() {
        let refused = |name: &str, options: Json, cause: &str| {
            let error = given(name, options).unwrap_err();
            assert!(error.contains(cause) && !error.contains("secret"), "{error}");
        };
        refused("Zipkin", json!({"baseUrl": "http://h"}), "did you mean 'baseURL'?");
        refused("Zipkin", json!({"baseURL": "http://u:secret@h"}), "give it in a header");
        refused("Zipkin", json!({"baseURL": "udp://h"}), "'udp' is not http or https");
        refused("Zipkin", json!({"headers": {"a b": "secret"}}), "'a b', which is no header");
        refused("Zipkin", json!({"headers": {"a": "secret\n"}}), "whose value is none");
        refused("Zipkin", json!({"headers": "secret"}), "name=value");
        refused("Zipkin", json!({"payloadOptions": {"shard": true}}), "'shard'");
        refused("NewRelic", json!({}), "no 'insertKey'");
        refused("NewRelic", json!({"insertKey": "secret\r\n"}), "'insertKey' is not a key");
        refused("Datadog", json!({"samplingPriority": 3}), "AUTO_KEEP");
        refused("Datadog", json!({"tracerOptions": {}}), "dd-trace");
        refused("Jaeger", json!({"port": 0}), "'port' is not a number from 1 to 65535");
        refused("Jaeger", json!({"tracerOptions": {"metrics": 1}}), "'tracerOptions.metrics'");
        refused(
            "Jaeger",
            json!({"sampler": {"type": "RateLimiting"}}),
            "tracing.sampling.tracesPerSecond",
        );
        refused("Jaeger", json!({"sampler": {"type": "Never"}}), "there are: Const, Probabilistic");
        refused("Jaeger", json!({"sampler": {"type": "Probabilistic"}}), "'samplingRate'");
        refused("OTLP", json!({"interval": "soon"}), "'interval' is not a number of seconds");
    }
}
