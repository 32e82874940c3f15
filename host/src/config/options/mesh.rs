//! The mesh: signs of life, balancing, packets.

use std::time::Duration;

use crate::config::Strategy;
use crate::config::options::{GIB, NodeOptions, narrow};
use crate::config::schema::{Entry, Kind, Unit};

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
            name: "registry.strategy",
            kind: Kind::Choice(&["RoundRobin", "Random"], |node, word| {
                node.broker.registry.strategy = match word {
                    "Random" => Strategy::Random,
                    _ => Strategy::RoundRobin,
                };
            }),
            default: "\"RoundRobin\"",
            doc: "How calls are spread over the nodes that offer an action.",
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
    entries.extend(transit());
    entries
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
