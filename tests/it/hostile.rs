//! A guest that takes what it can get, beside one that does its work: the first costs its caller an error,
//! the second nothing.

use isomer_host::config::BrokerOptions;
use serde_json::{Value, json};
use tests::host::Host;
use tests::wait;

/// Tight limits, so that going past them is quick.
const LIMITS: &str = "[instances]\nmax = 4\n[limits]\nfuel = 300_000_000\ntimeout = \"10s\"\n\
    memory = \"16MiB\"\npayload = \"256KiB\"\nmeta = \"16KiB\"\nhandles = 400\ncallsInFlight = 50\n\
    queue = 20\nlogRate = 50\nlogLine = \"1KiB\"\n";

async fn hostile() -> Host {
    let folder = tempfile::tempdir().unwrap();
    tests::guests::put("hostile", folder.path(), "hostile.wasm");
    tests::guests::put("greeter", folder.path(), "greeter.wasm");
    std::fs::write(folder.path().join("hostile.toml"), LIMITS).unwrap();
    Host::start_on(BrokerOptions::default(), folder).await
}

/// Calls a hostile action; afterwards the neighbour and the service itself must still work.
async fn check(host: &Host, action: &str, params: Value, expected: Option<&str>) -> Value {
    let outcome = host.call(&format!("hostile.{action}"), &params).await;
    let answer = match (outcome, expected) {
        (Ok(answer), None) => answer,
        (Err(error), Some(kind)) => {
            assert_eq!(error.kind(), kind, "{action} {params}: {error}");
            Value::Null
        }
        (outcome, _) => panic!("{action} {params}: {outcome:?}, expected {expected:?}"),
    };
    assert_eq!(host.call("greeter.hello", &json!({})).await.unwrap(), "Hello!", "after {action}");
    assert_eq!(host.call("hostile.giant", &json!({"n": 1})).await.unwrap(), "x", "after {action}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_to_misbehave_costs_its_caller_an_error_and_nobody_else_anything() {
    let host = hostile().await;
    check(&host, "loop", json!({}), Some("FUEL_EXHAUSTED")).await;
    check(&host, "bomb", json!({}), Some("MEMORY_LIMIT")).await;
    check(&host, "hoard", json!({"n": 4}), None).await;
    check(&host, "hoard", json!({"n": 20}), Some("MEMORY_LIMIT")).await;
    check(&host, "recurse", json!({}), Some("SERVICE_TRAPPED")).await;
    check(&host, "trap", json!({}), Some("SERVICE_TRAPPED")).await;
    check(&host, "exit", json!({}), Some("SERVICE_TRAPPED")).await;
    check(&host, "invalidJson", json!({}), Some("INVALID_PAYLOAD")).await;
    check(&host, "deep", json!({"n": 100}), None).await;
    check(&host, "deep", json!({"n": 101}), Some("INVALID_PAYLOAD")).await;
    check(&host, "giant", json!({"n": (256 << 10) - 2}), None).await;
    check(&host, "giant", json!({"n": (256 << 10) - 1}), Some("PAYLOAD_TOO_LARGE")).await;
    check(&host, "giantError", json!({"n": 1 << 20}), Some("PAYLOAD_TOO_LARGE")).await;
    check(&host, "giantMeta", json!({"n": 1 << 10}), None).await;
    check(&host, "giantMeta", json!({"n": 16 << 10}), Some("PAYLOAD_TOO_LARGE")).await;
    check(&host, "flood", json!({"n": 10_000}), None).await;
    check(&host, "longLine", json!({"n": 100_000}), None).await;
    check(&host, "print", json!({"n": 100_000}), None).await;
    check(&host, "ring", json!({}), Some("SELF_DEADLOCK")).await;
    let calls = |n: usize| json!({"n": n, "action": "greeter.hello"});
    let done = check(&host, "handles", calls(50), None).await;
    assert_eq!(done["failed"], 0);
    // More are refused one by one, if they are in flight at the same time; the guest goes on. Each takes a
    // handle, and a second one while it is waited for, so that all fit however slow the answers are.
    check(&host, "handles", calls(150), None).await;
    let shout = |n: usize| json!({"n": n, "action": "greeter.hello"});
    check(&host, "shout", shout(300 << 10), Some("PAYLOAD_TOO_LARGE")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_begets_itself_keeps_nobody_from_working() {
    let host = hostile().await;
    tests::broker::emit(&host.broker, "hostile.echo", &json!({}), &[]).await;
    check(&host, "storm", json!({"n": 500}), None).await;
    for _ in 0..200 {
        assert!(host.call("greeter.hello", &json!({})).await.is_ok());
    }
    // The storm ends with its service.
    std::fs::remove_file(host.folder().join("hostile.wasm")).unwrap();
    wait::until("the end of the storm", || async {
        (host.broker.running_contexts() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_component_without_a_schema_is_named_with_the_reason() {
    let host = Host::start(BrokerOptions::default(), &["bad_schema", "greeter"]).await;
    assert_eq!((host.loaded.in_service, host.loaded.failed), (1, 1));
    let row = host.service("bad_schema", |row| row["isomer"]["error"].is_string()).await;
    let reason = row["isomer"]["error"].as_str().unwrap();
    assert!(reason.contains("is not JSON"), "{reason}");
}
