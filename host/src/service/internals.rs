//! `$node`: what a node tells about itself and its view of the mesh (moleculer: src/internals.js).
//!
//! Shapes and params are Moleculer's. Two things are different: secrets are masked in `$node.options`, and
//! `$node.stats` of Moleculer 0.12 is there when calls are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Map, Value, json};

use super::LocalService;
use crate::config::BrokerOptions;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::payload::Payload;
use crate::registry::Registry;
use crate::registry::listing::Filter;
use crate::schema;

pub mod collect;
pub mod health;
mod options;
mod params;

pub use collect::Collector;
use params::MetricFilter;

/// Flags of the lists.
const LIST: [&str; 2] = ["withServices", "onlyAvailable"];
const SERVICES: [&str; 6] =
    ["onlyLocal", "skipInternal", "withActions", "withEvents", "onlyAvailable", "grouping"];
const ACTIONS: [&str; 4] = ["onlyLocal", "skipInternal", "withEndpoints", "onlyAvailable"];

/// The statistics as they are now; who counts them stands above services.
pub type Snapshot = Arc<dyn Fn() -> Value + Send + Sync>;

/// What the service is made from.
pub struct Parts<'a> {
    /// What is listed.
    pub registry: &'a Arc<RwLock<Registry>>,
    /// What is shown, and which actions there are.
    pub options: &'a BrokerOptions,
    /// What is measured.
    pub collector: Collector,
    /// What is counted, when it is.
    pub stats: Option<Snapshot>,
}

/// Makes the service. The option `internalServices` may put settings, metadata and options of actions over
/// its schema.
///
/// # Errors
/// [`schema::Error`] when what is put over it is wrong.
pub fn service(parts: &Parts<'_>) -> Result<LocalService, schema::Error> {
    let registry = parts.registry;
    let mut handlers = vec![
        ("list", listing(registry, &LIST, Registry::list_nodes)),
        ("services", listing(registry, &SERVICES, Registry::list_services)),
        ("actions", listing(registry, &ACTIONS, Registry::list_actions)),
        ("events", listing(registry, &ACTIONS, Registry::list_events)),
        ("health", health_handler(registry)),
        ("options", options_handler(parts.options)),
        ("metrics", metrics_handler(parts.options.metrics.enabled, &parts.collector)),
    ];
    let mut schema = schema();
    if let Some(stats) = parts.stats.clone() {
        handlers.push(("stats", answer(move |_| Ok(stats()))));
        schema::merge_deep(&mut schema, &object(json!({"actions": {"stats": action(&json!({}))}})));
    }
    schema::merge_deep(&mut schema, &parts.options.internal_schema);
    LocalService::native(&Value::Object(schema), handlers, Vec::new())
}

fn schema() -> Map<String, Value> {
    let flag = json!({"type": "boolean", "optional": true, "convert": true, "default": false});
    let flags = |names: &[&str]| -> Value {
        let flags: BTreeMap<_, _> = names.iter().map(|name| (*name, flag.clone())).collect();
        action(&json!(flags))
    };
    let mut services = flags(&SERVICES);
    if let Some(grouping) = services.pointer_mut("/params/grouping/default") {
        *grouping = true.into();
    }
    let texts = json!({"type": "multi", "optional": true,
        "rules": [{"type": "string"}, {"type": "array", "items": "string"}]});
    object(json!({"name": "$node", "actions": {
        "list": flags(&LIST),
        "services": services,
        "actions": flags(&ACTIONS),
        "events": flags(&ACTIONS),
        "health": {"cache": false, "tracing": false},
        "options": action(&json!({})),
        "metrics": action(&json!({"types": texts, "includes": texts, "excludes": texts})),
    }}))
}

fn action(params: &Value) -> Value {
    json!({"cache": false, "tracing": false, "params": params})
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

/// A handler that answers at once.
fn answer(
    work: impl Fn(&Context) -> Result<Value, MoleculerError> + Send + Sync + 'static,
) -> Handler {
    Arc::new(move |ctx| {
        let outcome: Outcome = work(&ctx).and_then(|value| {
            Payload::from_value(&value).map_err(|error| MoleculerError::internal(error.to_string()))
        });
        Box::pin(std::future::ready(outcome))
    })
}

fn listing(
    registry: &Arc<RwLock<Registry>>,
    flags: &'static [&'static str],
    list: fn(&Registry, Filter) -> Value,
) -> Handler {
    let registry = Arc::clone(registry);
    answer(move |ctx| {
        params::filter(ctx.params(), flags).map(|filter| list(&registry.read(), filter))
    })
}

fn health_handler(registry: &Arc<RwLock<Registry>>) -> Handler {
    let registry = Arc::clone(registry);
    answer(move |_| {
        let local = {
            let registry = registry.read();
            registry.nodes.get(registry.local_id()).map(|node| node.info.clone())
        };
        Ok(health::health(&local.unwrap_or_default()))
    })
}

fn options_handler(options: &BrokerOptions) -> Handler {
    let shown = Arc::new(options::options(options));
    answer(move |_| Ok((*shown).clone()))
}

fn metrics_handler(enabled: bool, collector: &Collector) -> Handler {
    let collector = collector.clone();
    answer(move |ctx| {
        if !enabled {
            let message = "Metrics feature is disabled";
            return Err(MoleculerError::client(400, "METRICS_DISABLED", message));
        }
        let filter = MetricFilter::read(ctx.params())?;
        let mut rows = collector.list();
        let text = |row: &Value, key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        rows.retain(|row| {
            let (kind, name) = (text(row, "type"), text(row, "name"));
            filter.wants(kind.as_deref().unwrap_or(""), name.as_deref().unwrap_or(""))
        });
        Ok(rows.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_put_over_another_object_by_object() {
        let mut below = object(json!({"a": {"x": 1, "y": 2}, "b": 1}));
        schema::merge_deep(&mut below, &object(json!({"a": {"y": 3}, "b": {"z": 1}, "c": [1]})));
        assert_eq!(Value::Object(below), json!({"a": {"x": 1, "y": 3}, "b": {"z": 1}, "c": [1]}));
    }
}
