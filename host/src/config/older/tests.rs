//! Every older name: what becomes of it, and its one warning.

use serde_json::json;

use super::*;
use crate::config::problem::Place;

/// What is left of a tree, and its warnings.
fn rewritten(tree: Json) -> (Json, Vec<String>) {
    let mut tree = Located::from_json(tree, &Place::Flag("f"));
    let mut problems = Problems::default();
    rewrite(&mut tree, &mut problems);
    let warnings = problems.into_result().unwrap();
    (tree.to_json(), warnings.iter().map(ToString::to_string).collect())
}

/// The name costs one warning that says today's.
fn check(older: Json, name: &str, today: Json) {
    let (tree, warnings) = rewritten(older.clone());
    assert_eq!(tree, today, "{older}");
    let [warning] = warnings.as_slice() else { panic!("{older}: {warnings:?}") };
    assert!(warning.starts_with(&format!("f: '{name}' is an older form; since")), "{warning}");
}

#[test]
fn older_names_become_today_s_with_one_warning_each() {
    check(
        json!({"logFormatter": "default"}),
        "logFormatter",
        json!({"logger": {"options": {"formatter": "full"}}}),
    );
    check(
        json!({"logger": true, "logFormatter": "simple"}),
        "logFormatter",
        json!({"logger": {"type": true, "options": {"formatter": "simple"}}}),
    );
    check(
        json!({"requestRetry": 3}),
        "requestRetry",
        json!({"retryPolicy": {"enabled": true, "retries": 3}}),
    );
    check(json!({"requestRetry": 0}), "requestRetry", json!({"retryPolicy": {"enabled": false}}));
    check(json!({"trackContext": true}), "trackContext", json!({"tracking": {"enabled": true}}));
    check(
        json!({"gracefulStopTimeout": 2000}),
        "gracefulStopTimeout",
        json!({"tracking": {"shutdownTimeout": 2000}}),
    );
    check(json!({"validation": false}), "validation", json!({"validator": {"type": false}}));
    check(
        json!({"metricsRate": 0.5}),
        "metricsRate",
        json!({"tracing": {"sampling": {"rate": 0.5}}}),
    );
    check(
        json!({"metrics": true, "metricsRate": 1}),
        "metricsRate",
        json!({"metrics": {"enabled": true}, "tracing": {"sampling": {"rate": 1}}}),
    );
    check(
        json!({"statistics": true}),
        "statistics",
        json!({"metrics": {"enabled": true}, "statistics": true}),
    );
    for name in ["replCommand", "replCommands", "replDelimiter"] {
        check(json!({name: []}), name, json!({}));
    }
    check(
        json!({"registry": {"strategy": "RoundRobinStrategy"}}),
        STRATEGY_CLASS,
        json!({"registry": {"strategy": "RoundRobin"}}),
    );
}

#[test]
fn the_circuit_breaker_of_0_12_is_kept() {
    let breaker =
        |older: Json| rewritten(json!({"circuitBreaker": older})).0["circuitBreaker"].take();
    check(
        json!({"circuitBreaker": {"enabled": true, "maxFailures": 3}}),
        "circuitBreaker.maxFailures",
        json!({"circuitBreaker": {"enabled": true, "countTimeouts": true, "maxFailures": 3}}),
    );
    check(
        json!({"circuitBreaker": {"failureOnReject": false}}),
        "circuitBreaker.failureOnReject",
        json!({"circuitBreaker": {"check": {"names": ["RequestTimeoutError"]}, "countTimeouts": true}}),
    );
    check(
        json!({"circuitBreaker": {"failureOnTimeout": false}}),
        "circuitBreaker.failureOnTimeout",
        json!({"circuitBreaker": {
            "check": {"codes": [500, 501, 502, 503], "minCode": 505}, "countTimeouts": false,
        }}),
    );
    let both = json!({"maxFailures": 3, "failureOnTimeout": true, "failureOnReject": true});
    assert_eq!(
        breaker(both),
        json!({"check": {"minCode": 500}, "countTimeouts": true, "maxFailures": 3})
    );
    let none = json!({"failureOnTimeout": false, "failureOnReject": false});
    assert_eq!(breaker(none), json!({"check": {}, "countTimeouts": false}));
}

#[test]
fn today_s_name_wins() {
    let (tree, warnings) = rewritten(json!({
        "requestRetry": 3, "retryPolicy": {"retries": 1},
        "trackContext": false, "tracking": {"enabled": true},
        "circuitBreaker": {"failureOnTimeout": false, "check": {"codes": [1]}},
        "validation": false, "validator": "Fastest",
    }));
    assert_eq!(
        tree,
        json!({
            "retryPolicy": {"retries": 1, "enabled": true},
            "tracking": {"enabled": true},
            "circuitBreaker": {"check": {"codes": [1]}},
            "validator": {"type": "Fastest"},
        })
    );
    assert_eq!(warnings.len(), 4, "{warnings:?}");
}

#[test]
fn short_forms_cost_nothing() {
    let (tree, warnings) = rewritten(json!({
        "logger": ["json"], "cacher": true, "validator": false, "serializer": "JSON",
        "registry": {"discoverer": "Local"}, "metrics": false, "tracing": null, "bulkhead": true,
        "transporter": "NATS",
    }));
    assert_eq!(
        tree,
        json!({
            "logger": {"type": "json"}, "cacher": {"type": true}, "validator": {"type": false},
            "serializer": {"type": "JSON"}, "registry": {"discoverer": {"type": "Local"}},
            "metrics": {"enabled": false}, "bulkhead": {"enabled": true}, "transporter": "NATS",
        })
    );
    assert!(warnings.is_empty(), "{warnings:?}");
    let (tree, _) = rewritten(json!({"logger": [{"type": "Console"}]}));
    assert_eq!(tree, json!({"logger": {"type": "Console"}}));
}
