//! What strategies pick: turns, chance, loads, and the ring of Moleculer (`tests/vectors/shard.json`, recorded
//! by `tests/vectors/shard.js`).

use serde_json::{Value, json};

use super::*;
use crate::config::StrategyOptions;
use crate::context::ContextBuilder;

struct Node {
    id: Arc<str>,
    load: NodeLoad,
}

impl Candidate for Node {
    fn node_id(&self) -> &Arc<str> {
        &self.id
    }

    fn load(&self) -> &NodeLoad {
        &self.load
    }
}

fn nodes<'a>(ids: impl IntoIterator<Item = &'a str>) -> Vec<Arc<Node>> {
    ids.into_iter().map(|id| Arc::new(Node { id: id.into(), load: NodeLoad::default() })).collect()
}

fn strategy(name: config::Strategy, options: StrategyOptions, nodes: &[Arc<Node>]) -> Strategy {
    let mut strategy = Strategy::new(&BalanceOptions { strategy: name, options });
    for node in nodes {
        strategy.add(&node.id);
    }
    strategy
}

fn pick<'a>(strategy: &Strategy, nodes: &'a [Arc<Node>]) -> &'a str {
    &strategy.select(nodes.iter(), Subject::default()).unwrap().id
}

fn with_defaults(name: config::Strategy, nodes: &[Arc<Node>]) -> Strategy {
    strategy(name, StrategyOptions::default(), nodes)
}

#[test]
fn round_robin_takes_each_in_turn_and_begins_anew_past_the_end() {
    let nodes = nodes(["a", "b", "c"]);
    let strategy = with_defaults(config::Strategy::RoundRobin, &nodes);
    let picks: Vec<&str> = (0..5).map(|_| pick(&strategy, &nodes)).collect();
    assert_eq!(picks, ["a", "b", "c", "a", "b"]);
    assert_eq!(
        pick(&strategy, &nodes[..2]),
        "a",
        "the third is gone, so it is the first one's turn"
    );
}

#[test]
fn nothing_and_one_need_no_strategy() {
    for name in config::Strategy::ALL {
        let nodes = nodes(["a"]);
        let strategy = with_defaults(name, &nodes);
        assert_eq!(pick(&strategy, &nodes), "a");
        assert!(strategy.select(nodes[..0].iter(), Subject::default()).is_none());
    }
}

#[test]
fn random_takes_all() {
    let nodes = nodes(["a", "b", "c"]);
    for name in [config::Strategy::Random, config::Strategy::CpuUsage, config::Strategy::Shard] {
        // Without a load or a key the others take any, too.
        let strategy = with_defaults(name, &nodes);
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 3 {
            seen.insert(pick(&strategy, &nodes));
        }
    }
}

#[test]
fn the_first_of_low_load_is_taken_else_the_lowest() {
    let nodes = nodes(["a", "b", "c", "unknown"]);
    let all = StrategyOptions { sample_count: Some(0), ..StrategyOptions::default() };
    let strategy = strategy(config::Strategy::CpuUsage, all, &nodes);
    for (node, cpu) in nodes.iter().zip([80.0, 30.0, 60.0]) {
        node.load.set_cpu(Some(cpu));
    }
    assert_eq!(pick(&strategy, &nodes), "b");
    nodes[2].load.set_cpu(Some(9.9));
    assert_eq!(pick(&strategy, &nodes), "c");
    nodes[0].load.set_cpu(Some(9.95));
    assert_eq!(pick(&strategy, &nodes), "a");
    nodes[0].load.set_cpu(Some(10.0));
    assert_eq!(pick(&strategy, &nodes), "c");
}

#[test]
fn the_host_that_answers_first_is_taken() {
    let nodes = nodes(["a", "b", "unknown"]);
    let strategy = with_defaults(config::Strategy::Latency, &nodes);
    nodes[0].load.set_latency(Some(50.0));
    nodes[1].load.set_latency(Some(12.0));
    assert_eq!(pick(&strategy, &nodes), "b");
    nodes[0].load.set_latency(Some(9.0));
    assert_eq!(pick(&strategy, &nodes), "a");
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/shard.json")).unwrap()
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
}

fn ring_options(options: &Value) -> StrategyOptions {
    StrategyOptions {
        shard_key: Some("k".into()),
        vnodes: options["vnodes"].as_u64().map_or(10, |n| u32::try_from(n).unwrap()),
        ring_size: options["ringSize"].as_u64(),
        ..StrategyOptions::default()
    }
}

// moleculer: src/strategies/shard.js rebuild, getNodeIDByKey
#[test]
fn every_key_falls_on_the_node_that_moleculer_says() {
    let vectors = vectors();
    let mut count = 0;
    for case in vectors["rings"].as_array().unwrap() {
        let nodes = nodes(ids(&case["nodes"]));
        let strategy = strategy(config::Strategy::Shard, ring_options(&case["options"]), &nodes);
        let keys = vectors["keys"].as_array().unwrap();
        for (key, expected) in keys.iter().zip(case["picks"].as_array().unwrap()) {
            let params = Payload::from_value(&json!({"k": key})).unwrap();
            let subject = Subject::call(&params, None, None);
            let picked = strategy.select(nodes.iter(), subject).unwrap();
            assert_eq!(*picked.id, *expected, "{key} {} {}", case["options"], case["nodes"]);
            count += 1;
        }
    }
    assert!(count > 5_000, "only {count}: are the vectors complete?");
}

// moleculer: src/strategies/shard.js getKeyFromContext
#[test]
fn a_key_is_what_moleculer_takes_for_one() {
    let vectors = vectors();
    let nodes = nodes(ids(&vectors["nodes"]));
    for case in vectors["contexts"].as_array().unwrap() {
        let shard_key = case["shardKey"].as_str().map(Arc::from);
        let options = StrategyOptions { shard_key, ..StrategyOptions::default() };
        let strategy = strategy(config::Strategy::Shard, options, &nodes);
        let params = Payload::from_value(&case["params"]).unwrap();
        let meta = Object::from_value(&case["meta"]).unwrap();
        let Kind::Shard(shard) = &strategy.0 else { panic!("not a ring") };
        let picked = shard.select(&nodes.iter(), Subject::call(&params, Some(&meta), None));
        assert_eq!(picked.map(|node| &*node.id), case["node"].as_str(), "{case}");
    }
}

#[test]
fn meta_of_the_call_goes_over_that_of_its_parent() {
    let nodes = nodes(["a", "b", "c", "d"]);
    let options = StrategyOptions { shard_key: Some("#t".into()), ..StrategyOptions::default() };
    let strategy = strategy(config::Strategy::Shard, options, &nodes);
    let object = |value: Value| Object::from_value(&value).unwrap();
    let parent =
        ContextBuilder::new("p".into(), "n".into()).meta(object(json!({"t": 1, "u": 2}))).build();
    let pick = |meta: Option<&Object>, parent: Option<&Context>| {
        let subject = Subject::call(&Payload::Absent, meta, parent);
        strategy.select(nodes.iter(), subject).unwrap().id.clone()
    };
    let (one, two) = (object(json!({"t": 1})), object(json!({"t": 2})));
    let other = object(json!({"x": 1}));
    assert_ne!(pick(Some(&one), None), pick(Some(&two), None));
    assert_eq!(pick(Some(&other), Some(&parent)), pick(Some(&one), None));
    assert_eq!(pick(Some(&two), Some(&parent)), pick(Some(&two), None));
    assert_eq!(*pick(None, Some(&parent)), *pick(Some(&one), None));
}

#[test]
fn the_next_node_of_the_ring_stands_in_and_the_other_keys_stay() {
    let nodes = nodes(["a", "b", "c", "d"]);
    let options = StrategyOptions { shard_key: Some("k".into()), ..StrategyOptions::default() };
    let strategy = strategy(config::Strategy::Shard, options, &nodes);
    let mut moved = std::collections::BTreeSet::new();
    for key in 0..200 {
        let params = Payload::from_value(&json!({"k": key})).unwrap();
        let subject = Subject::call(&params, None, None);
        let whole = &strategy.select(nodes.iter(), subject).unwrap().id;
        let without_b = nodes.iter().filter(|node| *node.id != *"b");
        let rest = &strategy.select(without_b, subject).unwrap().id;
        match &**whole {
            "b" => _ = moved.insert(rest.to_string()),
            _ => assert_eq!(rest, whole),
        }
    }
    assert_eq!(moved.into_iter().collect::<Vec<_>>(), ["c"]);
}
