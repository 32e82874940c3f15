//! A large mesh: what calls and INFO cost does not grow with it, and what has gone leaves nothing behind.

use std::collections::BTreeSet;

use super::super::endpoint_list::looked;
use super::*;

/// How many endpoints calls of `work.x` look at beside this many nodes that all offer it.
fn looked_at(n_nodes: usize) -> Vec<usize> {
    let mut registry = registry();
    let now = crate::clock::now();
    let ids: Vec<Arc<str>> = (0..n_nodes).map(|n| format!("n{n}").into()).collect();
    for id in &ids {
        registry.apply_info(id, info(1, vec![item("work", &["work.x"], &["work.*"])]), now);
    }
    let call = |prefer_local| {
        looked::at(|| {
            for _ in 0..2 * n_nodes {
                let found = registry.actions.next("work.x", prefer_local, Subject::default());
                assert!(matches!(found, Lookup::Found(_)));
            }
        }) / n_nodes
    };
    let (far, near) = (call(false), call(true));
    let named = looked::at(|| {
        for id in &ids {
            assert!(matches!(registry.actions.on_node("work.x", id), Lookup::Found(_)));
        }
    });
    let missing = looked::at(|| {
        assert!(matches!(registry.actions.on_node("work.x", "nobody"), Lookup::NotFound));
    });
    let emitted = looked::at(|| {
        let targets = registry.events.balance("work.done", &[], true, Subject::default());
        assert_eq!(targets.len(), 1);
    });
    vec![far, near, named / n_nodes, missing, emitted]
}

#[test]
fn a_call_looks_at_no_more_endpoints_beside_500_nodes_than_beside_10() {
    assert_eq!(looked_at(500), looked_at(10));
}

#[test]
fn endpoints_take_turns_and_are_found_by_node_while_others_come_go_and_fail() {
    let mut registry = registry();
    let now = crate::clock::now();
    let offer = |registry: &mut Registry, n: usize| {
        registry.apply_info(&format!("n{n}").into(), info(1, vec![item("a", &["a.x"], &[])]), now);
    };
    let turn = |registry: &Registry, n: usize| -> BTreeMap<String, usize> {
        let mut turns = BTreeMap::new();
        for _ in 0..n {
            *turns.entry(next_node(registry, "a.x", &json!({}))).or_default() += 1;
        }
        turns
    };
    for n in 0..20 {
        offer(&mut registry, n);
    }
    assert_eq!((turn(&registry, 20).len(), turn(&registry, 40)["n19"]), (20, 2));
    registry.apply_disconnect(&"n3".into(), true, now);
    assert!(matches!(registry.actions.on_node("a.x", "n3"), Lookup::NotFound));
    let Lookup::Found(found) = registry.actions.on_node("a.x", "n19") else { panic!("n19") };
    let id = found.id;
    let set = |registry: &Registry, available| {
        registry.actions.set_available("a.x", "n19", |one| one.id == id, available)
    };
    // Said twice, it counts once.
    for _ in 0..2 {
        assert!(set(&registry, false).is_some());
    }
    let turns = turn(&registry, 36);
    assert_eq!((turns.len(), turns.get("n19"), turns.get("n3")), (18, None, None));
    assert!(set(&registry, true).is_some());
    offer(&mut registry, 3);
    assert_eq!(turn(&registry, 20).len(), 20);
    for n in 2..20 {
        registry.apply_disconnect(&format!("n{n}").into(), true, now);
    }
    assert_eq!(turn(&registry, 2).into_keys().collect::<Vec<_>>(), ["n0", "n1"]);
}

/// What a node of a large mesh offers: what all offer, and something of its own.
fn offer(n: usize, seq: u64) -> Info {
    let own = format!("own{n}");
    let mut services: Vec<_> = (0..10).map(|s| common(&format!("common{s}"))).collect();
    services.push(item(&own, &[&format!("{own}.x")], &[&format!("{own}.*")]));
    info(seq, services)
}

fn common(name: &str) -> ServiceItem {
    item(name, &[&format!("{name}.x"), &format!("{name}.y")], &["user.created", "order.*"])
}

/// How much is looked at when one node beside this many joins, changes, says the same again, is lost, and
/// returns.
fn looked_at_by_infos(n_nodes: usize) -> Vec<usize> {
    let mut registry = registry();
    let now = crate::clock::now();
    for n in 0..n_nodes {
        registry.apply_info(&format!("n{n}").into(), offer(n, 1), now);
    }
    let peer: Arc<str> = "n5".into();
    registry.apply_disconnect(&peer, true, now);
    let mut step = |change: &dyn Fn(&mut Registry)| looked::at(|| change(&mut registry));
    vec![
        step(&|registry| _ = registry.apply_info(&peer, offer(5, 3), now)),
        step(&|registry| {
            let mut fewer = offer(5, 4);
            fewer.services.as_mut().unwrap().pop();
            registry.apply_info(&peer, fewer, now);
        }),
        step(&|registry| _ = registry.apply_info(&peer, offer(5, 5), now)),
        step(&|registry| _ = registry.apply_info(&peer, offer(5, 6), now)),
        step(&|registry| _ = registry.apply_heartbeat(&peer, Some(1.0), now)),
        step(&|registry| _ = registry.apply_disconnect(&peer, true, now)),
        step(&|registry| {
            let restarted = Info { instance_id: Some("2".into()), ..offer(5, 1) };
            registry.apply_info(&peer, restarted, now);
        }),
        step(&|registry| {
            let own = schema(&json!({"name": "me", "actions": {"x": {}}, "events": {"e": {}}}));
            registry.register_local(&own, None);
            registry.unregister_local(&"me".into());
        }),
    ]
}

#[test]
fn an_info_looks_at_no_more_beside_500_nodes_than_beside_20() {
    let (few, many) = (looked_at_by_infos(20), looked_at_by_infos(500));
    assert_eq!(many, few);
    // Two actions and two events of ten services, and one each of another, with a few looks for each.
    assert!(many.iter().all(|looks| *looks < 42 * 8), "{many:?}");
}

#[test]
fn nothing_is_left_of_500_nodes_when_all_have_gone_but_the_names_of_their_actions() {
    let mut registry = registry();
    let now = crate::clock::now();
    let ids: Vec<Arc<str>> = (0..500).map(|n| format!("n{n}").into()).collect();
    for (n, id) in ids.iter().enumerate() {
        registry.apply_info(id, offer(n, 1), now);
    }
    assert_eq!((registry.services.len(), registry.events.lists().len()), (5_500, 520));
    for id in &ids {
        registry.apply_disconnect(id, true, now);
    }
    assert_eq!((registry.services.len(), registry.events.lists().len()), (0, 0));
    assert_eq!(registry.take_retired().len(), 500 * 42);
    assert!(registry.actions.iter().all(|(_, list)| list.endpoints().is_empty()));
    registry.remove_offline(now + Duration::from_secs(601), Duration::from_secs(600));
    assert_eq!(registry.nodes.iter().count(), 1);
}

#[test]
fn what_nodes_offer_alike_is_kept_once() {
    let mut registry = registry();
    let now = crate::clock::now();
    let ids: [Arc<str>; 2] = ["n1".into(), "n2".into()];
    for id in &ids {
        registry.apply_info(id, info(1, vec![common("a")]), now);
    }
    let item =
        |node: &Arc<str>| Arc::clone(&registry.services.get(&"a".into(), node).unwrap().item);
    assert!(Arc::ptr_eq(&item(&ids[0]), &item(&ids[1])));
    let definition = |node: &str| match registry.actions.on_node("a.x", node) {
        Lookup::Found(endpoint) => Arc::clone(&endpoint.definition),
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&definition("n1"), &definition("n2")));
    // Each has its own circuit all the same.
    let open = |one: &Endpoint| *one.node_id == *"n2";
    assert!(registry.actions.set_available("a.x", "n2", open, false).is_some());
    assert!(matches!(registry.actions.on_node("a.x", "n1"), Lookup::Found(_)));
    assert!(matches!(registry.actions.on_node("a.x", "n2"), Lookup::NotFound));
}

#[test]
fn names_that_nobody_offers_any_more_are_forgotten_when_there_are_too_many() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    let now = crate::clock::now();
    let offered = |round: usize| {
        let names: Vec<_> = (0..REMOTE_ITEMS_MAX).map(|n| format!("a.{round}-{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        info(round as u64 + 1, vec![item("a", &names, &[])])
    };
    let rounds = action_catalog::EMPTY_MAX / REMOTE_ITEMS_MAX + 2;
    for round in 0..rounds {
        registry.apply_info(&peer, offered(round), now);
    }
    assert_eq!(found(&registry, "a.0-0"), "not found", "the earliest is forgotten");
    assert_eq!(found(&registry, "a.1-0"), "not available");
    assert_eq!(found(&registry, &format!("a.{}-0", rounds - 1)), "found");
    let known = registry.actions.iter().count();
    assert_eq!(known, action_catalog::EMPTY_MAX + REMOTE_ITEMS_MAX);
    // A name that is offered again is not forgotten with those that are not.
    registry.apply_info(&peer, Info { seq: 100, ..offered(1) }, now);
    registry.apply_info(&peer, Info { seq: 101, ..offered(rounds) }, now);
    assert_eq!(found(&registry, "a.1-0"), "not available");
    assert_eq!(found(&registry, "a.2-0"), "not found");
}

#[test]
fn a_service_that_an_info_names_twice_offers_what_both_say_and_goes_as_a_whole() {
    let mut registry = registry();
    let peer: Arc<str> = "peer".into();
    let now = crate::clock::now();
    let twice = vec![item("a", &["a.x"], &["e"]), item("a", &["a.y"], &["f"])];
    registry.apply_info(&peer, info(1, twice), now);
    assert_eq!((found(&registry, "a.x"), found(&registry, "a.y")), ("found", "found"));
    assert_eq!(registry.events.lists().len(), 2);
    registry.apply_info(&peer, info(2, Vec::new()), now);
    assert_eq!(found(&registry, "a.x"), "not available");
    assert_eq!(found(&registry, "a.y"), "not available");
    assert_eq!(registry.events.lists().len(), 0);
}

/// A service of which a node may have several versions, with an action and a group that they share.
fn version(n: usize) -> ServiceItem {
    let mut service = item("s", &["s.x"], &["e", "e.*"]);
    service.full_name = format!("v{n}.s");
    service.actions.insert(format!("v{n}.s.x"), json!({"name": "x"}));
    service
}

#[test]
fn whatever_comes_and_goes_each_endpoint_is_found_where_it_is() {
    let mut registry = registry();
    let now = crate::clock::now();
    let mut offered: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut random = 1_u64;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    for seq in 1..500 {
        let node = format!("n{}", draw(24));
        let versions: BTreeSet<_> = (0..4).filter(|_| draw(2) == 0).collect();
        if draw(4) == 0 {
            registry.apply_disconnect(&node.as_str().into(), true, now);
            offered.remove(&node);
        } else {
            let services = versions.iter().copied().map(version).collect();
            registry.apply_info(&node.as_str().into(), info(2 * seq, services), now);
            offered.insert(node.clone(), versions);
        }
        let count: usize = offered.values().map(BTreeSet::len).sum();
        let list = registry.actions.get("s.x");
        assert_eq!(list.map_or(0, |list| list.endpoints().len()), count);
        let listening = registry.events.listeners("e", &[]).len();
        assert_eq!(listening, count, "one for each node and service");
        for (node, versions) in &offered {
            let found = |action: &str| match registry.actions.on_node(action, node) {
                Lookup::Found(endpoint) => *endpoint.node_id == **node,
                _ => false,
            };
            assert_eq!(found("s.x"), !versions.is_empty());
            for n in 0..4 {
                assert_eq!(found(&format!("v{n}.s.x")), versions.contains(&n), "{node} {n}");
            }
        }
    }
}
