//! Rules of the registry, each at its boundary, with a clock of the tests' own.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, json};

use super::remote::refused;
use super::*;
use crate::packet::ServiceItem;
use crate::schema::{Bounds, ServiceSchema};
use crate::strategy::Subject;

mod large;

fn registry() -> Registry {
    let options = config::BrokerOptions::default();
    Registry::new("me".into(), Info::default(), &options.registry, crate::clock::now())
}

fn schema(value: &Value) -> ServiceSchema {
    let bounds = Bounds { len: 10_000, items: 100, internal: false };
    ServiceSchema::read(&value.to_string(), &Map::new(), bounds).unwrap()
}

fn item(name: &str, actions: &[&str], events: &[&str]) -> ServiceItem {
    ServiceItem {
        name: name.into(),
        full_name: name.into(),
        actions: actions.iter().map(|a| ((*a).to_owned(), json!({"name": a}))).collect(),
        events: events.iter().map(|e| ((*e).to_owned(), json!({"name": e}))).collect(),
        ..ServiceItem::default()
    }
}

fn info(seq: u64, services: Vec<ServiceItem>) -> Info {
    Info { services: Some(services), seq, ..Info::default() }
}

fn found(registry: &Registry, action: &str) -> &'static str {
    match registry.actions.next(action, true, Subject::default()) {
        Lookup::Found(_) => "found",
        Lookup::NotAvailable => "not available",
        Lookup::NotFound => "not found",
    }
}

#[test]
fn an_action_that_was_known_is_not_available_after_its_node_has_gone() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    assert_eq!(found(&registry, "a.x"), "not found");
    registry.apply_info(&peer, info(1, vec![item("a", &["a.x"], &[])]), crate::clock::now());
    assert_eq!(found(&registry, "a.x"), "found");
    let effects = registry.apply_disconnect(&peer, false, crate::clock::now());
    assert_eq!(effects.len(), 3);
    assert_eq!(found(&registry, "a.x"), "not available");
    assert!(registry.apply_disconnect(&peer, false, crate::clock::now()).is_empty());
}

#[test]
fn an_info_counts_when_its_seq_grew_or_the_process_is_another_one() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    let now = crate::clock::now();
    let with_instance = |seq, id: &str, actions: &[&str]| Info {
        instance_id: Some(id.into()),
        ..info(seq, vec![item("a", actions, &[])])
    };
    registry.apply_info(&peer, with_instance(2, "i1", &["a.x"]), now);
    registry.apply_info(&peer, with_instance(2, "i1", &["a.y"]), now);
    assert_eq!(found(&registry, "a.y"), "not found");
    registry.apply_info(&peer, with_instance(3, "i1", &["a.y"]), now);
    assert_eq!(found(&registry, "a.y"), "found");
    assert_eq!(found(&registry, "a.x"), "not available");
    registry.apply_info(&peer, with_instance(1, "i2", &["a.z"]), now);
    assert_eq!(found(&registry, "a.z"), "found");
}

#[test]
fn no_services_key_keeps_the_list_and_an_empty_list_clears_it() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    let now = crate::clock::now();
    registry.apply_info(&peer, info(1, vec![item("a", &["a.x"], &[])]), now);
    registry.apply_info(&peer, Info { seq: 2, ..Info::default() }, now);
    assert_eq!(found(&registry, "a.x"), "found");
    registry.apply_info(&peer, info(3, Vec::new()), now);
    assert_eq!(found(&registry, "a.x"), "not available");
}

#[test]
fn a_heartbeat_of_a_stranger_asks_for_its_info() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    let now = crate::clock::now();
    let ask = vec![Effect::Discover { node_id: Arc::clone(&peer) }];
    assert_eq!(registry.apply_heartbeat(&peer, None, now), ask);
    registry.apply_info(&peer, info(1, Vec::new()), now);
    assert!(registry.apply_heartbeat(&peer, Some(7.0), now).is_empty());
    registry.apply_disconnect(&peer, true, crate::clock::now());
    assert_eq!(registry.apply_heartbeat(&peer, None, now), ask);
}

// moleculer: src/registry/discoverers/base.js heartbeatReceived
#[test]
fn a_sign_of_life_counts_when_it_fits_what_is_known() {
    let mut registry = registry();
    let (b, now): (Arc<str>, _) = ("b".into(), crate::clock::now());
    let mut known = info(3, vec![]);
    known.instance_id = Some("05aa9194-long".into());
    let sign = |seq, instance: &str| Sign { seq, instance: instance.into(), cpu: Some(7.0) };
    assert!(!registry.apply_sign(&b, &sign(Some(3), "05aa9194"), now));
    registry.apply_info(&b, known, now);
    assert!(registry.apply_sign(&b, &sign(Some(3), "05aa9194"), now));
    assert!(registry.apply_sign(&b, &sign(None, "05aa9194-long"), now));
    assert_eq!(registry.nodes.get("b").unwrap().load.cpu(), Some(7.0));
    assert!(!registry.apply_sign(&b, &sign(Some(4), "05aa9194"), now));
    assert!(!registry.apply_sign(&b, &sign(Some(3), "66bb0000"), now));
    registry.apply_disconnect(&b, true, now);
    assert!(!registry.apply_sign(&b, &sign(Some(4), "05aa9194"), now));
}

#[test]
fn a_silent_node_is_lost_after_the_timeout_and_forgotten_later() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    let start = crate::clock::now();
    let timeout = Duration::from_secs(30);
    registry.apply_info(&peer, info(1, Vec::new()), start);
    assert!(registry.expire_nodes(start + timeout, timeout).is_empty());
    let later = start + timeout + Duration::from_millis(1);
    assert!(!registry.expire_nodes(later, timeout).is_empty());
    registry.remove_offline(later, Duration::from_secs(600));
    assert!(registry.nodes.get("peer").is_some());
    registry.remove_offline(start + Duration::from_secs(601), Duration::from_secs(600));
    assert!(registry.nodes.get("peer").is_none());
    assert!(registry.nodes.get("me").is_some());
}

#[test]
fn protected_actions_of_other_nodes_are_not_registered() {
    let mut registry = registry();
    let mut service = item("a", &["a.x"], &[]);
    service.actions.insert("a.p".into(), json!({"name": "a.p", "visibility": "protected"}));
    registry.apply_info(&"peer".into(), info(1, vec![service]), crate::clock::now());
    assert_eq!(found(&registry, "a.p"), "not found");
}

#[test]
fn the_seq_grows_only_when_what_is_advertised_changes() {
    let mut registry = registry();
    registry.register_local(&schema(&json!({"name": "a", "actions": {"x": {}}})), None);
    assert_eq!(registry.local_info(&[]).seq, 2);
    assert_eq!(registry.local_info(&[]).seq, 2);
    let same = registry.register_local(&schema(&json!({"name": "a", "actions": {"x": {}}})), None);
    assert!(!same.changed && !same.shrunk);
    assert_eq!(same.retired.len(), 1, "the old endpoint is reported");
    assert_eq!(registry.local_info(&[]).seq, 2);
    let other = registry.register_local(&schema(&json!({"name": "a", "actions": {"y": {}}})), None);
    assert!(other.changed && other.shrunk);
    let renamed = registry.local_info(&["a".into()]).services.unwrap();
    assert_eq!((renamed[0].name.as_str(), renamed[0].full_name.as_str()), ("a~", "a~"));
    assert!(renamed[0].actions.contains_key("a.y"), "a call in between finds it");
    let right = registry.local_info(&[]);
    assert_eq!((right.seq, right.services.unwrap()[0].name.as_str()), (4, "a"));
}

#[test]
fn a_local_service_that_is_removed_is_not_found() {
    let mut registry = registry();
    registry.register_local(&schema(&json!({"name": "a", "actions": {"x": {}}})), None);
    assert_eq!(found(&registry, "a.x"), "found");
    assert_eq!(registry.unregister_local(&"a".into()).unwrap().len(), 1);
    assert_eq!(found(&registry, "a.x"), "not found");
    assert!(registry.unregister_local(&"a".into()).is_none());
}

#[test]
fn a_balanced_event_reaches_one_node_of_each_group() {
    let mut registry = registry();
    let now = crate::clock::now();
    registry.apply_info(
        &"n1".into(),
        info(1, vec![item("mail", &[], &["user.*", "user.created"])]),
        now,
    );
    registry.apply_info(
        &"n2".into(),
        info(1, vec![item("mail", &[], &["user.*", "user.created"])]),
        now,
    );
    registry.apply_info(&"n3".into(), info(1, vec![item("log", &[], &["**"])]), now);
    let mut counts = BTreeMap::new();
    for _ in 0..4 {
        for target in registry.events.balance("user.created", &[], true, Subject::default()) {
            assert_eq!(target.groups.len(), 1, "one node runs all handlers of the group");
            *counts.entry(target.node_id).or_insert(0) += 1;
        }
    }
    assert_eq!(counts, BTreeMap::from([("n1".into(), 2), ("n2".into(), 2), ("n3".into(), 4)]));
    let only_log =
        registry.events.balance("user.created", &["log".into()], true, Subject::default());
    assert_eq!(only_log.len(), 1);
}

#[test]
fn two_versions_on_this_node_both_hear_a_broadcast() {
    let mut registry = registry();
    for version in [1, 2] {
        registry.register_local(
            &schema(&json!({"name": "users", "version": version, "events": {"user.*": {}}})),
            None,
        );
    }
    assert_eq!(registry.events.local("user.x", &[], true).len(), 2);
    assert_eq!(registry.events.local("user.x", &[], false).len(), 1);
}

#[test]
fn a_mesh_that_grows_without_end_is_not_believed() {
    let mut registry = registry();
    let now = crate::clock::now();
    for n in 1..NODES_MAX {
        registry.apply_info(&format!("n{n}").into(), info(1, Vec::new()), now);
    }
    assert_eq!(registry.nodes.iter().count(), NODES_MAX);
    let node_id: Arc<str> = "one-more".into();
    let effects = registry.apply_info(&node_id, info(1, Vec::new()), now);
    assert_eq!(effects, [refused(&node_id, "a node too many")]);
    assert_eq!(registry.nodes.iter().count(), NODES_MAX);
}

#[test]
fn a_node_that_offers_without_end_is_believed_up_to_a_point() {
    let (now, peer): (_, Arc<str>) = (crate::clock::now(), "peer".into());
    let told = |services: Vec<ServiceItem>| {
        let mut registry = registry();
        let effects = registry.apply_info(&peer, info(1, services), now);
        let refused = effects.into_iter().find_map(|effect| match effect {
            Effect::Refused { what, .. } => Some(what),
            _ => None,
        });
        (registry, refused)
    };
    let many = |n: usize| (0..n).map(|n| item(&format!("s{n}"), &[], &[])).collect();
    let services = |registry: &Registry| registry.services.on_node("peer").count();
    let (registry, refused) = told(many(REMOTE_SERVICES_MAX));
    assert_eq!((services(&registry), refused), (REMOTE_SERVICES_MAX, None));
    let (registry, refused) = told(many(REMOTE_SERVICES_MAX + 1));
    assert_eq!((services(&registry), refused), (REMOTE_SERVICES_MAX, Some("services too many")));
    let rich = |n: usize| {
        let names: Vec<String> = (0..n).map(|n| format!("a.x{n:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        vec![item("a", &names, &[])]
    };
    let last = |n: usize| format!("a.x{:05}", n - 1);
    let (registry, refused) = told(rich(REMOTE_ITEMS_MAX));
    assert_eq!((found(&registry, &last(REMOTE_ITEMS_MAX)), refused), ("found", None));
    let (registry, refused) = told(rich(REMOTE_ITEMS_MAX + 1));
    assert_eq!(refused, Some("actions or events too many"));
    assert_eq!(found(&registry, &last(REMOTE_ITEMS_MAX)), "found");
    assert_eq!(found(&registry, &last(REMOTE_ITEMS_MAX + 1)), "not found");
}

fn endpoint_id(registry: &Registry, action: &str) -> Option<u64> {
    match registry.actions.on_node(action, "peer") {
        Lookup::Found(endpoint) => Some(endpoint.id),
        _ => None,
    }
}

#[test]
fn an_action_that_is_offered_as_before_keeps_its_endpoint() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    let now = crate::clock::now();
    registry.apply_info(&peer, info(1, vec![item("a", &["a.x", "a.y", "a.z"], &[])]), now);
    let [x, y, z] = ["a.x", "a.y", "a.z"].map(|name| endpoint_id(&registry, name));
    assert!(!registry.has_retired());

    // One is the same, one changes, one goes.
    let mut changed = item("a", &["a.x", "a.y"], &[]);
    changed.actions.insert("a.y".into(), json!({"name": "a.y", "timeout": 1}));
    registry.apply_info(&peer, info(2, vec![changed.clone()]), now);
    assert_eq!(endpoint_id(&registry, "a.x"), x);
    assert_ne!(endpoint_id(&registry, "a.y"), y);
    assert_eq!(endpoint_id(&registry, "a.z"), None);
    let mut retired = registry.take_retired();
    retired.sort_unstable();
    assert_eq!(retired, [y, z].map(Option::unwrap));

    // Another process under the same name is met without prejudice.
    let restarted = Info { instance_id: Some("i2".into()), ..info(1, vec![changed]) };
    registry.apply_info(&peer, restarted, now);
    assert!(endpoint_id(&registry, "a.x").is_some_and(|id| Some(id) != x));
    assert_eq!(registry.take_retired().len(), 2);
    registry.apply_disconnect(&peer, true, crate::clock::now());
    assert_eq!(registry.take_retired().len(), 2);
}

fn next_node(registry: &Registry, action: &str, params: &Value) -> String {
    let params = crate::payload::Payload::from_value(params).unwrap();
    let subject = Subject::call(&params, None, None);
    match registry.actions.next(action, false, subject) {
        Lookup::Found(endpoint) => endpoint.node_id.to_string(),
        other => panic!("{other:?}"),
    }
}

fn sharded(definition: Value) -> ServiceItem {
    let mut service = item("a", &[], &[]);
    service.actions.insert("a.x".into(), definition);
    service
}

#[test]
fn the_first_definition_says_how_an_action_is_balanced_and_a_new_version_may_say_otherwise() {
    let mut registry = registry();
    let now = crate::clock::now();
    let shard = json!({"strategy": "Shard", "strategyOptions": {"shardKey": "k"}});
    for node in ["n1", "n2", "n3"] {
        registry.apply_info(&node.into(), info(1, vec![sharded(shard.clone())]), now);
    }
    let of = |registry: &Registry, k: u32| next_node(registry, "a.x", &json!({"k": k}));
    for k in 0..20 {
        assert_eq!(of(&registry, k), of(&registry, k), "always the same node for the same key");
    }
    let turns =
        |registry: &Registry| -> HashSet<String> { (0..3).map(|_| of(registry, 1)).collect() };
    assert_eq!(turns(&registry).len(), 1);
    registry.apply_info(&"n2".into(), info(2, vec![sharded(json!({"strategy": "Nonsense"}))]), now);
    assert_eq!(turns(&registry).len(), 3, "what is not known is the broker's: in turn");
}

#[test]
fn a_node_that_leaves_takes_only_its_own_keys_along() {
    let mut registry = registry();
    let now = crate::clock::now();
    let shard = json!({"strategy": "Shard", "strategyOptions": {"shardKey": "k"}});
    for node in ["n1", "n2"] {
        registry.apply_info(&node.into(), info(1, vec![sharded(shard.clone())]), now);
    }
    registry.apply_disconnect(&"n1".into(), false, now);
    for k in 0..10 {
        assert_eq!(next_node(&registry, "a.x", &json!({"k": k})), "n2");
    }
}

#[test]
fn hosts_are_measured_as_long_as_a_strategy_asks_for_it() {
    let mut registry = registry();
    let now = crate::clock::now();
    let on_host = |host: &str, services| Info { hostname: host.into(), ..info(1, services) };
    for (node, host) in [("n1", "h1"), ("n2", "h1"), ("n3", "h2")] {
        registry.apply_info(&node.into(), on_host(host, Vec::new()), now);
    }
    assert_eq!(registry.latency_round(), None);
    registry.apply_pong("n1", 5.0);
    let latency =
        |registry: &Registry, node: &str| registry.nodes.get(node).unwrap().load.latency();
    assert_eq!(latency(&registry, "n1"), None);

    let options =
        json!({"strategy": "Latency", "strategyOptions": {"collectCount": 2, "pingInterval": 3}});
    let asking = vec![sharded(options)];
    registry.apply_info(&"n4".into(), on_host("h3", asking), now);
    let (nodes, interval) = registry.latency_round().unwrap();
    assert_eq!((nodes.len(), interval), (3, Duration::from_secs(3)));
    for elapsed in [100.0, 10.0, 20.0] {
        registry.apply_pong("n1", elapsed);
    }
    // The average of the last two, for both nodes of the host.
    assert_eq!((latency(&registry, "n1"), latency(&registry, "n2")), (Some(15.0), Some(15.0)));
    assert_eq!(latency(&registry, "n3"), None);
    registry.apply_info(&"n5".into(), on_host("h1", Vec::new()), now);
    assert_eq!(latency(&registry, "n5"), Some(15.0));
    for node in ["n1", "n2", "n5"] {
        registry.apply_disconnect(&node.into(), true, now);
    }
    registry.apply_info(&"n6".into(), on_host("h1", Vec::new()), now);
    assert_eq!(latency(&registry, "n6"), None, "forgotten with the last node of the host");
}

#[test]
fn listeners_and_groups_of_an_event_are_known() {
    let mut registry = registry();
    let now = crate::clock::now();
    registry.apply_info(
        &"n1".into(),
        info(1, vec![item("mail", &[], &["user.*", "user.created"])]),
        now,
    );
    registry
        .register_local(&schema(&json!({"name": "log", "events": {"**": {"group": "all"}}})), None);
    let listeners = registry.events.listeners("user.created", &[]);
    let listeners: Vec<_> = listeners.iter().map(|one| (&*one.node_id, &*one.service)).collect();
    assert_eq!(listeners, [("n1", "mail"), ("me", "log")]);
    assert_eq!(registry.events.groups("user.created"), [Arc::from("mail"), Arc::from("all")]);
    assert_eq!(registry.events.listeners("order", &["mail".into()]).len(), 0);
}

#[test]
fn an_info_that_another_one_follows_at_once_is_passed_over() {
    let mut registry = registry();
    let now = crate::clock::now();
    let ours = |seq, services, config| Info {
        client: json!({"type": "isomer"}),
        config,
        ..info(seq, services)
    };
    registry.apply_info(&"peer".into(), ours(1, vec![item("a", &["a.x"], &[])], json!({})), now);
    let interim = ours(2, vec![], json!({"interim": true}));
    assert_eq!(registry.apply_info(&"peer".into(), interim, now), []);
    assert_ne!(found(&registry, "a.x"), "not found");
    registry.apply_info(&"peer".into(), ours(3, vec![], json!({})), now);
    assert_eq!(found(&registry, "a.x"), "not available");
}
