//! `$node`: what a node tells about itself and its view of the mesh (moleculer: src/internals.js).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::{Value, json};

use super::LocalService;
use crate::clock;
use crate::config::{BrokerOptions, Transporter};
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::handler::Handler;
use crate::packet::Info;
use crate::payload::Payload;
use crate::registry::Registry;
use crate::registry::listing::Filter;
use crate::schema;

/// Makes the service.
///
/// # Errors
/// Never in practice: the schema is the host's own.
pub fn service(
    registry: &Arc<RwLock<Registry>>,
    options: &BrokerOptions,
) -> Result<LocalService, schema::Error> {
    let flag = json!({"type": "boolean", "optional": true, "convert": true, "default": false});
    let params = |names: &[&str]| {
        let params: BTreeMap<_, _> = names.iter().map(|name| (*name, flag.clone())).collect();
        json!({"cache": false, "tracing": false, "params": params})
    };
    let lists = ["onlyLocal", "skipInternal", "withEndpoints", "onlyAvailable"];
    let mut services = params(&[
        "onlyLocal",
        "skipInternal",
        "withActions",
        "withEvents",
        "onlyAvailable",
        "grouping",
    ]);
    if let Some(grouping) = services.pointer_mut("/params/grouping/default") {
        *grouping = true.into();
    }
    let schema = json!({"name": "$node", "actions": {
        "list": params(&["withServices", "onlyAvailable"]),
        "services": services,
        "actions": params(&lists),
        "events": params(&lists),
        "health": params(&[]),
        "options": params(&[]),
    }});
    let list = |list: fn(&Registry, Filter) -> Value| listing(registry, list);
    let shown = Arc::new(options_value(options));
    let health_registry = Arc::clone(registry);
    let health: Handler = answer(move |_| {
        let info = health_registry.read();
        let local = info.nodes.get(info.local_id()).map(|node| node.info.clone());
        Ok(health(&local.unwrap_or_default()))
    });
    let handlers = vec![
        ("list", list(Registry::list_nodes)),
        ("services", list(Registry::list_services)),
        ("actions", list(Registry::list_actions)),
        ("events", list(Registry::list_events)),
        ("health", health),
        ("options", answer(move |_| Ok((*shown).clone()))),
    ];
    LocalService::native(&schema, handlers, Vec::new())
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

fn listing(registry: &Arc<RwLock<Registry>>, list: fn(&Registry, Filter) -> Value) -> Handler {
    let registry = Arc::clone(registry);
    answer(move |ctx| filter(ctx.params()).map(|filter| list(&registry.read(), filter)))
}

/// Reads the params. JavaScript callers send `null` and words for booleans.
fn filter(params: &Payload) -> Result<Filter, MoleculerError> {
    let Ok(Value::Object(mut found)) = params.parse::<Value>() else {
        return Ok(Filter::default());
    };
    let mut faults = Vec::new();
    found.retain(|key, value| match boolean(value) {
        Some(Some(flag)) => {
            *value = flag.into();
            true
        }
        Some(None) => false,
        None => {
            let message = format!("The '{key}' field must be a boolean.");
            faults.push(
                json!({"type": "boolean", "message": message, "field": key, "actual": value}),
            );
            false
        }
    });
    if !faults.is_empty() {
        return Err(MoleculerError::validation(
            "Parameters validation error!",
            &Value::Array(faults),
        ));
    }
    serde_json::from_value(Value::Object(found))
        .map_err(|error| MoleculerError::internal(error.to_string()))
}

/// The conversion of fastest-validator's rule `boolean`; `Some(None)` for a missing value.
fn boolean(value: &Value) -> Option<Option<bool>> {
    match value {
        Value::Null => Some(None),
        Value::Bool(flag) => Some(Some(*flag)),
        Value::Number(number) if number.as_i64() == Some(1) => Some(Some(true)),
        Value::Number(number) if number.as_i64() == Some(0) => Some(Some(false)),
        Value::String(word) => match word.as_str() {
            "true" | "1" | "on" => Some(Some(true)),
            "false" | "0" | "off" => Some(Some(false)),
            _ => None,
        },
        _ => None,
    }
}

/// `$node.health` (moleculer: src/health.js). Figures that the system does not give are null.
fn health(info: &Info) -> Value {
    let system = rustix::system::uname();
    let text = |word: &std::ffi::CStr| word.to_string_lossy().into_owned();
    let memory = memory();
    let now = clock::unix_ms();
    json!({
        "cpu": cpu(),
        "mem": memory,
        "os": {
            "uptime": first_number("/proc/uptime"),
            "type": text(system.sysname()),
            "release": text(system.release()),
            "hostname": text(system.nodename()),
            "arch": std::env::consts::ARCH,
            "platform": std::env::consts::OS,
            "user": {"uid": rustix::process::getuid().as_raw(), "gid": rustix::process::getgid().as_raw()},
        },
        "process": {
            "pid": std::process::id(),
            "memory": {"rss": rss()},
            "uptime": process_uptime(),
            "argv": std::env::args().collect::<Vec<_>>(),
        },
        "client": info.client,
        "net": {"ip": info.ip_list},
        "time": {"now": now, "iso": clock::iso_8601(now), "utc": clock::rfc_1123(now)},
    })
}

fn cpu() -> Value {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut loads = loads.split_whitespace().map(|word| word.parse::<f64>().ok());
    let mut next = || loads.next().flatten();
    let (load1, load5, load15) = (next(), next(), next());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let utilization = load1.map(|load| {
        // Precision does not matter for a number of cores.
        let cores = f64::from(u32::try_from(cores).unwrap_or(u32::MAX));
        (load * 100.0 / cores).floor().min(100.0)
    });
    json!({"load1": load1, "load5": load5, "load15": load15, "cores": cores, "utilization": utilization})
}

fn memory() -> Value {
    let table = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |key: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
    };
    let (free, total) = (bytes("MemAvailable:"), bytes("MemTotal:"));
    let percent = match (free, total) {
        (Some(free), Some(total)) if total > 0 => Some(free * 100 / total),
        _ => None,
    };
    json!({"free": free, "total": total, "percent": percent})
}

fn first_number(path: &str) -> Option<f64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// Resident memory of this process in bytes.
fn rss() -> Option<u64> {
    let table = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// Clock ticks per second in `/proc`; fixed by the kernel's interface on every architecture we run on.
const TICKS: f64 = 100.0;

/// Seconds since this process started: system uptime less the start time, which is in clock ticks.
fn process_uptime() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let start: f64 = stat.rsplit(')').next()?.split_whitespace().nth(19)?.parse().ok()?;
    first_number("/proc/uptime").map(|uptime| uptime - start / TICKS)
}

/// `$node.options`: the effective options, without secrets.
fn options_value(options: &BrokerOptions) -> Value {
    let transporter = match &options.transporter {
        None => Value::Null,
        Some(Transporter::Fake { .. }) => json!({"type": "Fake"}),
        Some(Transporter::Nats { urls }) => {
            let urls: Vec<_> = urls.iter().map(|url| mask_credentials(url)).collect();
            json!({"type": "NATS", "options": {"url": urls}})
        }
    };
    json!({
        "namespace": options.namespace,
        "nodeID": options.node_id,
        "transporter": transporter,
        "requestTimeout": options.request_timeout.as_millis(),
        "maxCallLevel": options.max_call_level,
        "heartbeatInterval": options.heartbeat_interval.as_secs_f64(),
        "heartbeatTimeout": options.heartbeat_timeout.as_secs_f64(),
        "tracking": {
            "enabled": options.tracking.enabled,
            "shutdownTimeout": options.tracking.shutdown_timeout.as_millis(),
        },
        "registry": {
            "strategy": format!("{:?}", options.registry.strategy),
            "preferLocal": options.registry.prefer_local,
            "stopDelay": options.registry.stop_delay.as_millis(),
        },
        "transit": {
            "maxQueueSize": options.transit.max_queue_size,
            "disableReconnect": options.transit.disable_reconnect,
            "disableVersionCheck": options.transit.disable_version_check,
            "serviceChangedDebounceTime": options.transit.service_changed_debounce_time.as_millis(),
            "maxPacketSize": options.transit.max_packet_size,
        },
        "dependencyTimeout": options.dependency_timeout.as_millis(),
        "internalServices": options.internal_services,
        "hotReload": options.hot_reload,
        "metadata": options.metadata,
    })
}

/// `nats://user:password@host` as `nats://***@host`.
fn mask_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://***@{host}"),
            None => url.to_owned(),
        },
        None => {
            url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("***@{host}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(mask_credentials("nats://u:p@h:4222"), "nats://***@h:4222");
        assert_eq!(mask_credentials("token@h"), "***@h");
        assert_eq!(mask_credentials("nats://h"), "nats://h");
    }

    #[test]
    fn params_are_converted_as_javascript_callers_expect() {
        let parse = |text: &'static str| filter(&Payload::from_json_text(text.into()).unwrap());
        assert!(
            parse(r#"{"withActions":"true","grouping":0}"#)
                .is_ok_and(|f| f.with_actions && !f.grouping)
        );
        assert!(parse("null").is_ok_and(|f| f.grouping));
        assert!(parse(r#"{"onlyLocal":null,"unknown":true}"#).is_ok_and(|f| !f.only_local));
        assert_eq!(parse(r#"{"onlyLocal":"maybe"}"#).unwrap_err().kind(), "VALIDATION_ERROR");
    }

    #[test]
    fn health_has_every_section() {
        let health = health(&Info::default());
        for section in ["cpu", "mem", "os", "process", "client", "net", "time"] {
            assert!(health.get(section).is_some(), "{section}");
        }
        assert!(health["process"]["memory"]["rss"].as_u64().unwrap() > 0);
    }
}
