//! The same scenarios with real Moleculer brokers (`tests/vectors/scenarios.json`, recorded by
//! `tests/vectors/scenarios.js`) and with ours: every step must end alike.

use serde_json::{Value, json};
use tests::{scenario, tree};

/// Steps that end otherwise here, and why. The scenario, the step (from 0) and what we do instead.
fn differences() -> Vec<(&'static str, usize, Value)> {
    vec![
        // Both nodes give up at the same moment. There the callee's answer wins, and it names the caller.
        (
            "time-outs over two nodes",
            0,
            json!({"error": {
                "name": "RequestTimeoutError",
                "message": "Request is timed out when call 't.slow' action on 'b' node.",
                "code": 504, "type": "REQUEST_TIMEOUT", "retryable": true,
                "data": {"action": "t.slow", "nodeID": "b"},
            }}),
        ),
        // The actions say how many calls have begun. The three that wait equally long end in one turn here,
        // there the fourth begins after the first.
        (
            "bulkhead: runs, waits, refuses",
            1,
            json!([{"ok": 3}, {"ok": 3}, {"ok": 3}, {"ok": 4}, {"error": {
                "name": "QueueIsFullError",
                "message": "Queue is full. Request 't.wide' action on 'a' node is rejected.",
                "code": 429, "type": "QUEUE_FULL", "retryable": true,
                "data": {"action": "t.wide", "nodeID": "a"},
            }}]),
        ),
        // The node's own service is added last here, which is one more change.
        (
            "events: groups, balance and broadcast on one node",
            1,
            json!([
                {"node": "a", "by": "audit", "name": "user.created", "type": "broadcast", "data": {"id": 1}},
                {"node": "a", "by": "mail", "name": "user.created", "type": "broadcast", "data": {"id": 1}},
                {"node": "a", "by": "stats", "name": "user.created", "type": "broadcast", "data": {"id": 1}},
                {"node": "a", "by": "trace", "name": "$broker.started", "type": "broadcast", "data": null},
                {"node": "a", "by": "trace", "name": "$services.changed", "type": "broadcast",
                    "data": {"localService": true}},
                {"node": "a", "by": "trace", "name": "$services.changed", "type": "broadcast",
                    "data": {"localService": true}},
                {"node": "a", "by": "trace", "name": "user.created", "type": "broadcast", "data": {"id": 1}},
            ]),
        ),
    ]
}

/// A broadcast is called one on its own node as well; Moleculer calls it `broadcastLocal` there.
fn one_name_for_broadcasts(outcome: &Value) -> Value {
    let text = outcome.to_string().replace("\"type\":\"broadcastLocal\"", "\"type\":\"broadcast\"");
    serde_json::from_str(&text).unwrap()
}

fn vectors(name: &str) -> Vec<Value> {
    let text = tree::read(&tree::top().join("tests/vectors").join(name));
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_step_ends_as_with_moleculer() {
    let (scenarios, recorded) = (vectors("scenarios.in.json"), vectors("scenarios.json"));
    assert_eq!(scenarios.len(), recorded.len(), "record anew: tests/vectors/scenarios.js");
    let differences = differences();
    let mut wrong = Vec::new();
    let mut n_steps = 0;
    for (scenario, recorded) in scenarios.iter().zip(&recorded) {
        let name = scenario["name"].as_str().unwrap();
        assert_eq!(recorded["name"], name, "record anew: tests/vectors/scenarios.js");
        let outcomes = scenario::play(scenario).await;
        for (index, outcome) in outcomes.iter().enumerate() {
            n_steps += 1;
            let ours = differences.iter().find(|(of, step, _)| *of == name && *step == index);
            let expected = ours.map_or(&recorded["outcomes"][index], |(.., ours)| ours);
            if one_name_for_broadcasts(outcome) != one_name_for_broadcasts(expected) {
                let step = &scenario["steps"][index];
                wrong.push(
                    json!({"scenario": name, "index": index, "step": step,
                    "moleculer": expected, "isomer": outcome})
                    .to_string(),
                );
            }
        }
    }
    assert!(n_steps > 200, "only {n_steps} steps were played");
    assert!(wrong.is_empty(), "{} of {n_steps} steps:\n{}", wrong.len(), wrong.join("\n"));
}
