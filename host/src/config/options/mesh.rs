//! The mesh: signs of life, balancing, packets. How nodes find each other is in `discoverer`.

use std::time::Duration;

use crate::config::options::{GIB, NodeOptions, narrow, narrow_32};
use crate::config::schema::{Entry, Kind, UNLIMITED, Unit};
use crate::config::value::Value;
use crate::config::{Discoverer, Strategy, StrategyOptions};

mod discoverer;

/// The options.
pub(super) fn entries() -> Vec<Entry<NodeOptions>> {
    let mut entries: Vec<Entry<NodeOptions>> = vec![
        Entry {
            name: "heartbeatInterval",
            kind: Kind::Time(Unit::Seconds, Duration::ZERO, |node, time| {
                node.broker.heartbeat_interval = time;
            }),
            default: "10",
            doc: "How often to say that this node lives; 0 is never.",
        },
        Entry {
            name: "heartbeatTimeout",
            kind: Kind::Time(Unit::Seconds, Duration::from_secs(1), |node, time| {
                node.broker.heartbeat_timeout = time;
            }),
            default: "30",
            doc: "After which silence another node is taken for lost.",
        },
        Entry {
            name: "registry.preferLocal",
            kind: Kind::Switch(|node, on| node.broker.registry.prefer_local = on),
            default: "true",
            doc: "Use an action of this node when there is one.",
        },
        Entry {
            name: "registry.stopDelay",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.registry.stop_delay = time;
            }),
            default: "100",
            doc: "At a stop: the time between saying goodbye and refusing calls.",
        },
    ];
    entries.extend(strategy());
    entries.extend(discoverer::entries());
    entries.extend(watch());
    entries.extend(transit());
    entries
}

fn strategy() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "registry.strategy",
            kind: Kind::Choice(
                &["RoundRobin", "Random", "CpuUsage", "Latency", "Shard"],
                |node, word| {
                    node.broker.registry.strategy = Strategy::from_name(word).unwrap_or_default();
                },
            ),
            default: "\"RoundRobin\"",
            doc: "How calls and events are spread over the nodes that offer them.",
        },
        Entry {
            name: "registry.strategyOptions.sampleCount",
            kind: Kind::Number(0, 10_000, |node, n| told(node).sample_count = Some(narrow(n))),
            default: "",
            doc: "CpuUsage and Latency: how many endpoints are looked at; 0 is all. Without it: 3 for \
                  CpuUsage, 5 for Latency.",
        },
        Entry {
            name: "registry.strategyOptions.lowCpuUsage",
            kind: Kind::Real(0.0, 100.0, |node, percent| told(node).low_cpu_usage = percent),
            default: "10",
            doc: "CpuUsage: a load below this, in percent, is taken at once.",
        },
        Entry {
            name: "registry.strategyOptions.lowLatency",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                told(node).low_latency = time;
            }),
            default: "10",
            doc: "Latency: an answer within this time is taken at once.",
        },
        Entry {
            name: "registry.strategyOptions.collectCount",
            kind: Kind::Number(1, 10_000, |node, n| told(node).collect_count = narrow(n)),
            default: "5",
            doc: "Latency: how many of the last pings make the average.",
        },
        Entry {
            name: "registry.strategyOptions.pingInterval",
            kind: Kind::Time(Unit::Seconds, Duration::from_millis(1), |node, time| {
                told(node).ping_interval = time;
            }),
            default: "10",
            doc: "Latency: between two pings of a host.",
        },
        Entry {
            name: "registry.strategyOptions.shardKey",
            kind: Kind::Special("text", |node, value| {
                let key = match value.value {
                    Value::Null => None,
                    _ => Some(value.as_text().ok_or("not text")?.into()),
                };
                told(node).shard_key = key;
                Ok(())
            }),
            default: "",
            doc: "Shard: where the key is: a path into the params, or with `#` before it into the meta.",
        },
        Entry {
            name: "registry.strategyOptions.vnodes",
            kind: Kind::Number(1, 10_000, |node, n| told(node).vnodes = narrow_32(n)),
            default: "10",
            doc: "Shard: slices of the ring for each node.",
        },
        Entry {
            name: "registry.strategyOptions.ringSize",
            kind: Kind::Number(0, UNLIMITED, |node, n| told(node).ring_size = Some(n)),
            default: "",
            doc: "Shard: size of the ring. Without it: 2^32.",
        },
    ]
}

fn told(node: &mut NodeOptions) -> &mut StrategyOptions {
    &mut node.broker.registry.strategy_options
}

fn watch() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "registry.discoverer.options.heartbeatInterval",
            kind: Kind::Time(Unit::Seconds, Duration::ZERO, |node, time| {
                node.broker.heartbeat_interval = time;
            }),
            default: "",
            doc: "Goes over `heartbeatInterval`.",
        },
        Entry {
            name: "registry.discoverer.options.heartbeatTimeout",
            kind: Kind::Time(Unit::Seconds, Duration::from_secs(1), |node, time| {
                node.broker.heartbeat_timeout = time;
            }),
            default: "",
            doc: "Goes over `heartbeatTimeout`.",
        },
        Entry {
            name: "registry.discoverer.options.disableHeartbeatChecks",
            kind: Kind::Switch(|node, on| discovery(node).disable_heartbeat_checks = on),
            default: "false",
            doc: "Never take a silent node for lost.",
        },
        Entry {
            name: "registry.discoverer.options.disableOfflineNodeRemoving",
            kind: Kind::Switch(|node, on| discovery(node).disable_offline_node_removing = on),
            default: "false",
            doc: "Never forget nodes that are gone.",
        },
        Entry {
            name: "registry.discoverer.options.cleanOfflineNodesTimeout",
            kind: Kind::Time(Unit::Seconds, Duration::ZERO, |node, time| {
                discovery(node).clean_offline_nodes_timeout = time;
            }),
            default: "600",
            doc: "How long a node that is gone is remembered; 0 is for ever.",
        },
    ]
}

fn discovery(node: &mut NodeOptions) -> &mut Discoverer {
    &mut node.broker.registry.discoverer
}

fn transit() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "transit.maxQueueSize",
            kind: Kind::Number(0, u32::MAX as u64, |node, n| {
                node.broker.transit.max_queue_size = narrow(n);
            }),
            default: "50000",
            doc: "Requests to other nodes that wait for an answer; 0 is unlimited.",
        },
        Entry {
            name: "transit.maxPacketSize",
            kind: Kind::Size(1 << 10, GIB, |node, n| {
                node.broker.transit.max_packet_size = narrow(n);
            }),
            default: "\"16MiB\"",
            doc: "Largest packet that is read or sent.",
        },
        Entry {
            name: "transit.disableReconnect",
            kind: Kind::Switch(|node, on| node.broker.transit.disable_reconnect = on),
            default: "false",
            doc: "Do not try again when the connection is lost.",
        },
        Entry {
            name: "transit.disableVersionCheck",
            kind: Kind::Switch(|node, on| node.broker.transit.disable_version_check = on),
            default: "false",
            doc: "Take packets of any protocol version.",
        },
        Entry {
            name: "transit.serviceChangedDebounceTime",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.transit.service_changed_debounce_time = time;
            }),
            default: "50",
            doc: "Changes of services within this time are announced together.",
        },
    ]
}
