//! The mesh: signs of life, balancing, packets. How nodes find each other is in `discoverer`.

use std::time::Duration;

use crate::config::options::{GIB, NodeOptions, narrow, narrow_32};
use crate::config::schema::{Entry, Kind, UNLIMITED, Unit};
use crate::config::value::Value;
use crate::config::{Discoverer, Protocol, Strategy, StrategyOptions};

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
            name: "disableBalancer",
            kind: Kind::Switch(|node, on| node.broker.disable_balancer = on),
            default: "false",
            doc: "Leave it to the queues of NATS or AMQP which node gets a call or event.",
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
    entries.extend(streams());
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
            name: "protocolVersion",
            kind: Kind::Special("\"5\", \"4\" or \"auto\"", |node, value| {
                let number = match value.value {
                    Value::Integer(number) => Some(number.to_string()),
                    _ => None,
                };
                let word = number.as_deref().or_else(|| value.as_text()).ok_or("not a version")?;
                node.broker.transit.protocol =
                    Protocol::from_name(word).ok_or("there is no such version")?;
                Ok(())
            }),
            default: "\"5\"",
            doc: "The protocol: \"5\" is that of Moleculer 0.15, \"4\" that of 0.14, \"auto\" speaks \
                  to every node in its own.",
        },
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

fn streams() -> Vec<Entry<NodeOptions>> {
    vec![
        Entry {
            name: "transit.maxChunkSize",
            kind: Kind::Size(0, GIB, |node, n| node.broker.transit.max_chunk_size = narrow(n)),
            default: "\"256KiB\"",
            doc: "Largest piece in which the bytes of a stream are sent; 0 leaves them as they come.",
        },
        Entry {
            name: "transit.streams.max",
            kind: Kind::Number(1, 1_000_000, |node, n| {
                node.broker.transit.streams.max = narrow(n);
            }),
            default: "1000",
            doc: "Streams that other nodes send at once, and as many that are sent to them.",
        },
        Entry {
            name: "transit.streams.buffer",
            kind: Kind::Size(64 << 10, GIB, |node, n| {
                node.broker.transit.streams.buffer = narrow(n);
            }),
            default: "\"64MiB\"",
            doc: "Bytes of one stream from another node that wait to be read; beyond it the stream fails.",
        },
        Entry {
            name: "transit.streams.totalBuffer",
            kind: Kind::Size(64 << 10, 64 * GIB, |node, n| {
                node.broker.transit.streams.total_buffer = narrow(n);
            }),
            default: "\"256MiB\"",
            doc: "The same for all streams from other nodes together.",
        },
        Entry {
            name: "transit.streams.idleTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::ZERO, |node, time| {
                node.broker.transit.streams.idle_timeout = time;
            }),
            default: "60000",
            doc: "A stream fails when its source gives nothing for so long; 0 is never.",
        },
        Entry {
            name: "transit.streams.gapTimeout",
            kind: Kind::Time(Unit::Milliseconds, Duration::from_millis(1), |node, time| {
                node.broker.transit.streams.gap_timeout = time;
            }),
            default: "10000",
            doc: "A stream fails when one of its chunks is missing for so long.",
        },
    ]
}
