//! Each rule of gossip at its boundary. Two registries that tell each other come last.

use serde_json::json;

use super::contact::{SEEN_ADDRESS, STRANGERS_MAX};
use super::*;
use crate::clock;
use crate::config::BrokerOptions;
use crate::registry::Lookup;
use crate::strategy::Subject;
use crate::uid::damage::Damage;

fn registry(id: &str) -> Registry {
    let info = Info { instance_id: Some(format!("{id}-1").into()), ..Info::default() };
    let mut registry =
        Registry::new(id.into(), info, &BrokerOptions::default().registry, clock::now());
    registry.set_local_port(7_000);
    registry
}

fn info(seq: u64, actions: &[&str]) -> Info {
    let item = ServiceItem {
        name: "s".into(),
        full_name: "s".into(),
        actions: actions.iter().map(|a| ((*a).to_owned(), json!({"name": a}))).collect(),
        ..ServiceItem::default()
    };
    Info { services: Some(vec![item]), seq, port: Some(6_000), ..Info::default() }
}

/// A registry that knows `peer` online with `seq` 5.
fn with_peer() -> Registry {
    let mut registry = registry("me");
    registry.apply_info(&"peer".into(), info(5, &["s.x"]), clock::now());
    registry
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other}"),
    }
}

/// What a registry answers, with raw infos cut down to their `seq`.
fn answer(registry: &mut Registry, request: Value) -> (Value, usize) {
    let (rows, effects) = registry.answer_gossip(&object(request), false, clock::now());
    let mut packets = pack(rows, usize::MAX);
    assert!(packets.len() <= 1);
    let mut packet = packets.pop().unwrap_or_default();
    if let Some(Value::Object(online)) = packet.get_mut("online") {
        for row in online.values_mut() {
            if let Some(seq) = row[0].get("seq").cloned() {
                row[0] = json!({"seq": seq});
            }
        }
    }
    (packet.into(), effects.len())
}

fn apply(registry: &mut Registry, response: Value) -> Applied {
    registry.apply_gossip(object(response), clock::now())
}

fn node<'a>(registry: &'a Registry, id: &str) -> &'a Node {
    registry.nodes.get(id).unwrap()
}

fn seq(registry: &Registry, id: &str) -> (bool, u64) {
    let node = node(registry, id);
    (node.available, node.info.seq)
}

fn knows(registry: &Registry, action: &str) -> bool {
    matches!(registry.actions.next(action, true, Subject::default()), Lookup::Found(_))
}

#[test]
fn nothing_is_asked_while_nobody_is_known() {
    assert_eq!(registry("me").gossip_round(), None);
}

#[test]
fn a_round_tells_seqs_and_loads_but_nothing_of_strangers() {
    let mut registry = with_peer();
    registry.set_local_cpu(Some(12.0), clock::now());
    registry.apply_info(&"gone".into(), info(3, &[]), clock::now());
    registry.apply_disconnect(&"gone".into(), false, clock::now());
    registry.add_fixed("stranger", "h", 1, clock::now());
    let round = registry.gossip_round().unwrap();
    let expected = json!({"online": {"me": [2, 1, 12], "peer": [5, 0, 0]}, "offline": {"gone": 4}});
    assert_eq!(Value::Object(round.request), expected);
    let names = |nodes: &[Arc<str>]| nodes.join(" ");
    assert_eq!(
        (names(&round.online), names(&round.offline)),
        ("peer".into(), "gone stranger".into())
    );
}

#[test]
fn who_knows_nothing_or_less_is_told() {
    let mut registry = with_peer();
    let (told, _) = answer(&mut registry, json!({}));
    // What was registered since the last time raises the own seq first.
    let expected = json!({"online": {"me": [{"seq": 3}, 0, 0], "peer": [{"seq": 5}, 0, 0]}});
    assert_eq!(told, expected);
    let (told, _) = answer(&mut registry, json!({"online": {"me": [3, 0, 0], "peer": [4, 9, 9]}}));
    assert_eq!(told, json!({"online": {"peer": [{"seq": 5}, 0, 0]}}));
    // Also who says that a node is offline, with less.
    let (told, effects) =
        answer(&mut registry, json!({"online": {"me": [3, 0, 0]}, "offline": {"peer": 4}}));
    assert_eq!(told, json!({"online": {"peer": [{"seq": 5}, 0, 0]}}));
    assert_eq!((effects, seq(&registry, "peer")), (0, (true, 5)));
    let same = json!({"online": {"me": [3, 0, 0], "peer": [5, 0, 0]}});
    assert_eq!(answer(&mut registry, same), (json!({}), 0));
}

#[test]
fn an_offline_node_is_told_by_its_seq() {
    let mut registry = with_peer();
    registry.apply_disconnect(&"peer".into(), false, clock::now());
    registry.local_info(&[]);
    let (told, _) = answer(&mut registry, json!({"online": {"me": [3, 0, 0], "peer": [5, 0, 0]}}));
    assert_eq!(told, json!({"offline": {"peer": 6}}));
    // Nothing is known of a stranger, so nothing is told.
    registry.add_fixed("stranger", "h", 1, clock::now());
    let (told, _) = answer(&mut registry, json!({"online": {"me": [3, 0, 0], "peer": [6, 0, 0]}}));
    assert_eq!(told, json!({}));
}

#[test]
fn a_node_that_both_hold_offline_takes_the_higher_seq() {
    let mut registry = with_peer();
    registry.apply_disconnect(&"peer".into(), false, clock::now());
    registry.local_info(&[]);
    let request = json!({"online": {"me": [3, 0, 0]}, "offline": {"peer": 9}});
    assert_eq!(answer(&mut registry, request), (json!({}), 0));
    assert_eq!(seq(&registry, "peer"), (false, 9));
}

#[test]
fn a_node_that_is_said_to_be_offline_is_given_up() {
    let mut registry = with_peer();
    registry.local_info(&[]);
    let request = json!({"online": {"me": [3, 0, 0]}, "offline": {"peer": 5}});
    assert_eq!(answer(&mut registry, request), (json!({}), 3));
    assert_eq!(seq(&registry, "peer"), (false, 5));
    assert!(!knows(&registry, "s.x"));
}

/// Captured from Moleculer: after a claim of `offline` with 9 a node goes on as 10.
#[test]
fn this_node_answers_that_it_lives() {
    let mut registry = registry("me");
    registry.local_info(&[]);
    let (told, effects) = answer(&mut registry, json!({"offline": {"me": 9}}));
    assert_eq!((told, effects), (json!({"online": {"me": [{"seq": 10}, 0, 0]}}), 0));
    assert_eq!(seq(&registry, "me"), (true, 10));
}

#[test]
fn loads_go_to_whoever_has_the_older_one() {
    let mut registry = with_peer();
    registry.local_info(&[]);
    let ask = |registry: &mut Registry, cpu_seq: u64| {
        let online = json!({"me": [3, 0, 0], "peer": [5, cpu_seq, 40]});
        answer(registry, json!({"online": online})).0
    };
    assert_eq!(ask(&mut registry, 2), json!({}));
    assert_eq!(
        (node(&registry, "peer").cpu_seq, node(&registry, "peer").load.cpu()),
        (2, Some(40.0))
    );
    assert_eq!(ask(&mut registry, 1), json!({"online": {"peer": [2, 40]}}));
    // Nobody knows this node's load better than itself.
    answer(&mut registry, json!({"online": {"me": [3, 7, 99], "peer": [5, 2, 40]}}));
    assert_eq!((node(&registry, "me").cpu_seq, node(&registry, "me").load.cpu()), (0, None));
}

#[test]
fn an_online_claim_does_not_bring_a_node_back() {
    let mut registry = with_peer();
    registry.apply_disconnect(&"peer".into(), false, clock::now());
    registry.local_info(&[]);
    let request = json!({"online": {"me": [3, 0, 0], "peer": [6, 1, 1]}});
    assert_eq!(answer(&mut registry, request), (json!({}), 0));
    assert_eq!(seq(&registry, "peer"), (false, 6));
}

#[test]
fn an_answer_brings_what_is_newer() {
    let mut registry = registry("me");
    let row = |seq: u64, action: &str, cpu_seq: u64, cpu: f64| {
        let services = json!([{"name": "s", "actions": {action: {"name": action}}}]);
        let info = json!({"seq": seq, "port": 6_000, "hostname": "h", "services": services});
        json!({"online": {"peer": [info, cpu_seq, cpu]}})
    };
    let applied = apply(&mut registry, row(4, "s.a", 3, 30.0));
    assert!(matches!(
        applied.effects.as_slice(),
        [Effect::ServicesChanged { .. }, Effect::NodeConnected { reconnected: false, .. }]
    ));
    assert!(knows(&registry, "s.a"));
    let peer = node(&registry, "peer");
    assert_eq!((peer.info.port, peer.cpu_seq, peer.load.cpu()), (Some(6_000), 3, Some(30.0)));
    // As old as what is known, older, and newer.
    assert!(apply(&mut registry, row(4, "s.b", 3, 31.0)).effects.is_empty());
    assert!(apply(&mut registry, row(3, "s.b", 2, 31.0)).effects.is_empty());
    assert_eq!(node(&registry, "peer").load.cpu(), Some(30.0));
    assert_eq!(apply(&mut registry, row(5, "s.b", 4, 32.0)).effects.len(), 2);
    assert!(knows(&registry, "s.b") && !knows(&registry, "s.a"));
    // A load alone, and an info alone.
    apply(&mut registry, json!({"online": {"peer": [5, 50]}}));
    assert_eq!(node(&registry, "peer").load.cpu(), Some(50.0));
    apply(&mut registry, json!({"online": {"other": [{"seq": 1, "services": []}]}}));
    assert_eq!(seq(&registry, "other"), (true, 1));
    apply(&mut registry, json!({"online": {"nobody": [5, 50]}}));
    assert!(registry.nodes.get("nobody").is_none());
}

#[test]
fn an_answer_takes_away_what_is_known_to_be_gone() {
    let mut registry = with_peer();
    assert!(apply(&mut registry, json!({"offline": {"peer": 5, "nobody": 3}})).effects.is_empty());
    assert_eq!(seq(&registry, "peer"), (true, 5));
    assert_eq!(apply(&mut registry, json!({"offline": {"peer": 8}})).effects.len(), 3);
    assert_eq!(seq(&registry, "peer"), (false, 8));
    assert!(apply(&mut registry, json!({"offline": {"peer": 9}})).effects.is_empty());
    assert_eq!(seq(&registry, "peer"), (false, 9));
}

#[test]
fn nobody_tells_this_node_what_it_is() {
    let mut registry = registry("me");
    let before = seq(&registry, "me");
    let response =
        json!({"online": {"me": [{"seq": 99, "services": []}, 1, 1]}, "offline": {"me": 99}});
    assert_eq!(apply(&mut registry, response), Applied::default());
    assert_eq!(seq(&registry, "me"), before);
}

#[test]
fn what_makes_no_sense_is_left_out_and_counted() {
    let mut registry = with_peer();
    let response = json!({
        "online": {
            "a": "text", "b": [], "c": [1, 2, 3, 4], "d": [{"seq": -1}], "e": [{"seq": 1.5}],
            "f": [{"seq": 1, "services": "none"}], "g h": [{"seq": 1}], "i": [7, 1, 1],
            "fine": [{"seq": 1.0, "services": []}, 1.0, 2.5],
        },
        "offline": {"j": "x", "k": -1, "l": 1e300},
    });
    let applied = apply(&mut registry, response);
    assert_eq!((applied.refused, applied.effects.len()), (11, 2));
    assert_eq!(node(&registry, "fine").load.cpu(), Some(2.5));
    assert_eq!(apply(&mut registry, json!({"online": [1], "offline": null})), Applied::default());
    let requests = [
        json!({"online": 1, "offline": []}),
        json!({"online": {"peer": {}, "me": [null]}, "offline": {"peer": null}}),
        json!({"online": {"peer": [u64::MAX, u64::MAX, "x"]}, "offline": {"me": u64::MAX}}),
    ];
    for request in requests {
        let (told, effects) = answer(&mut registry, request);
        assert_eq!((told["online"].as_object().unwrap().len(), effects), (3, 0));
    }
}

#[test]
fn a_leaving_node_says_that_it_offers_nothing() {
    let mut registry = registry("me");
    let (rows, _) = registry.answer_gossip(&Map::new(), true, clock::now());
    let packet: Value = pack(rows, usize::MAX).pop().unwrap().into();
    assert_eq!(packet["online"]["me"][0]["services"], json!([]));
}

#[test]
fn a_large_answer_is_sent_in_parts() {
    let mut registry = registry("me");
    for n in 0..10 {
        registry.apply_info(&format!("peer-{n}").into(), info(1, &["s.x"]), clock::now());
    }
    let (rows, _) = registry.answer_gossip(&Map::new(), false, clock::now());
    let packets = pack(rows, 1_000);
    let sizes: Vec<_> =
        packets.iter().map(|packet| serde_json::to_string(packet).unwrap().len()).collect();
    assert!(sizes.len() > 2 && sizes.iter().all(|size| *size <= 1_000), "{sizes:?}");
    let n_nodes: usize = packets.iter().map(|p| p["online"].as_object().unwrap().len()).sum();
    assert_eq!(n_nodes, 11);
    assert!(pack(Vec::new(), 1_000).is_empty());
}

#[test]
fn datagrams_make_nodes_known_as_offline() {
    let mut registry = with_peer();
    let now = clock::now();
    assert!(registry.apply_datagram("new", "10.0.0.1", 6_000, now));
    assert_eq!(seq(&registry, "new"), (false, 0));
    assert_eq!(registry.addresses("new", true), Some((vec!["10.0.0.1".into()], 6_000)));
    // Again, from elsewhere.
    assert!(registry.apply_datagram("new", "10.0.0.2", 6_001, now));
    let both = vec!["10.0.0.2".into(), "10.0.0.1".into()];
    assert_eq!(registry.addresses("new", true), Some((both, 6_001)));
    // An online node keeps its port, which it has told itself.
    assert!(!registry.apply_datagram("peer", "10.0.0.3", 1, now));
    assert_eq!(registry.addresses("peer", true), Some((vec!["10.0.0.3".into()], 6_000)));
    assert!(!registry.apply_datagram("me", "10.0.0.4", 1, now));
    assert!(!registry.apply_datagram("a b", "10.0.0.4", 1, now));
}

#[test]
fn strangers_are_bounded_and_forgotten_but_not_those_of_the_operator() {
    let mut registry = registry("me");
    let now = clock::now();
    registry.add_fixed("named", "h", 1, now);
    for n in 0..2 * STRANGERS_MAX {
        registry.apply_datagram(&format!("n-{n}"), "10.0.0.1", 1, now);
    }
    assert_eq!(registry.nodes.len(), 1 + STRANGERS_MAX);
    let kept = std::time::Duration::from_secs(600);
    registry.forget_strangers(now + kept, kept);
    assert_eq!(registry.nodes.len(), 1 + STRANGERS_MAX);
    registry.forget_strangers(now + 2 * kept, kept);
    assert_eq!(registry.nodes.len(), 2);
    assert!(registry.nodes.get("named").is_some());
}

#[test]
fn a_greeting_says_where_the_answer_goes() {
    let mut registry = with_peer();
    let now = clock::now();
    let mut hello = |id: &str, hello: Value| {
        let ask = registry.apply_hello(&id.into(), &object(hello), now);
        (ask, registry.addresses(id, true))
    };
    let seen = json!({"host": "vm", "port": 7_002, SEEN_ADDRESS: "10.0.0.1"});
    let addresses = |list: &[&str], port| Some((list.iter().map(|a| (*a).into()).collect(), port));
    assert_eq!(hello("new", seen), (Some(true), addresses(&["10.0.0.1", "vm"], 7_002)));
    // Started again on another port, before anybody else has said so.
    let again = json!({"host": "vm", "port": 7_003.0, SEEN_ADDRESS: "10.0.0.2"});
    assert_eq!(hello("new", again), (Some(true), addresses(&["10.0.0.2", "vm"], 7_003)));
    let online = json!({"host": "elsewhere", "port": 1, SEEN_ADDRESS: "10.0.0.3"});
    assert_eq!(hello("peer", online), (Some(false), addresses(&["10.0.0.3"], 6_000)));
    for wrong in [json!({}), json!({"host": "h", "port": 0}), json!({"host": 1, "port": 1})] {
        assert_eq!(hello("bad", wrong), (None, None));
    }
}

#[test]
fn the_address_that_the_operator_gave_is_the_last_to_be_tried() {
    let mut registry = registry("me");
    let now = clock::now();
    registry.add_fixed("peer", "10.0.0.9", 6_000, now);
    assert_eq!(registry.addresses("peer", true), Some((vec!["10.0.0.9".into()], 6_000)));
    let told = Info {
        hostname: "vm".into(),
        ip_list: vec!["10.0.0.1".into(), "10.0.0.2".into()],
        ..info(2, &[])
    };
    registry.apply_info(&"peer".into(), told, now);
    let all: Vec<Arc<str>> =
        ["vm", "10.0.0.1", "10.0.0.2", "10.0.0.9"].into_iter().map(Into::into).collect();
    assert_eq!(registry.addresses("peer", true), Some((all.clone(), 6_000)));
    assert_eq!(registry.addresses("peer", false), Some((all[1..].to_vec(), 6_000)));
}

/// One asks, the other answers; what each knows of the other and of a third is the same then.
#[test]
fn two_nodes_know_the_same_after_one_round_of_each() {
    let (mut a, mut b) = (registry("a"), registry("b"));
    let now = clock::now();
    b.apply_info(&"third".into(), info(7, &["s.x"]), now);
    let hello = object(json!({"host": "h", "port": 7_000, SEEN_ADDRESS: "127.0.0.1"}));
    a.add_fixed("b", "127.0.0.1", 7_000, now);
    b.apply_hello(&"a".into(), &hello, now);
    for _ in 0..2 {
        let request = a.gossip_round().unwrap().request;
        let (rows, _) = b.answer_gossip(&request, false, now);
        pack(rows, usize::MAX).into_iter().for_each(|packet| drop(a.apply_gossip(packet, now)));
        std::mem::swap(&mut a, &mut b);
    }
    assert!(knows(&a, "s.x") && knows(&b, "s.x"));
    assert_eq!((seq(&a, "b"), seq(&b, "a")), (seq(&b, "b"), seq(&a, "a")));
    // One loses the other and says so to it: it comes back.
    a.apply_disconnect(&"b".into(), true, now);
    let request = a.gossip_round().unwrap().request;
    let (rows, _) = b.answer_gossip(&request, false, now);
    let applied = a.apply_gossip(pack(rows, usize::MAX).pop().unwrap(), now);
    assert!(
        applied
            .effects
            .iter()
            .any(|e| matches!(e, Effect::NodeConnected { reconnected: true, .. }))
    );
}

static PIECES: [&[u8]; 14] = [
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"1e300",
    b"18446744073709551615",
    b"\"me\":[9,9,9],",
    b"\"me\":9,",
    b"\"\":[",
    b"\"services\":5,",
    b"\"seq\":-1,",
    b"[[[[",
    b"\"x y\":[1],",
    b",",
];

/// Whatever peers say, the registry keeps within its bounds and this node stays what it is.
#[test]
fn damaged_gossip_leaves_this_node_in_place() {
    let info = json!({"ipList": ["192.0.2.1"], "hostname": "h", "instanceID": "i", "client": {}, "config": {},
        "port": 6_000, "seq": 7, "metadata": {}, "services": [{"name": "s", "fullName": "s", "settings": {},
        "actions": {"s.x": {"name": "s.x"}}, "events": {}}]});
    let request = json!({"online": {"peer": [5, 1, 10], "me": [1, 1, 0]}, "offline": {"gone": 3}})
        .to_string();
    let response = json!({"online": {"peer": [info, 2, 12.5], "other": [info], "third": [3, 50]},
        "offline": {"gone": 4, "peer": 9}})
    .to_string();
    let mut damage = Damage::new(0x5eed_0005_c0ff_ee05, &PIECES);
    let mut registry = with_peer();
    let mut read = 0;
    for _ in 0..20_000 {
        let bytes = damage.copy(request.as_bytes());
        if let Ok(request) = serde_json::from_slice(&bytes) {
            registry.answer_gossip(&request, false, clock::now());
            read += 1;
        }
        let bytes = damage.copy(response.as_bytes());
        if let Ok(response) = serde_json::from_slice(&bytes) {
            registry.apply_gossip(response, clock::now());
            read += 1;
        }
        // Names are invented faster than they are forgotten here.
        if registry.nodes.len() > 500 {
            registry = with_peer();
        }
        assert!(node(&registry, "me").available);
    }
    assert!(read > 4_000, "{read}");
}
