//! A guest that takes what it can get, beside one that does its work: the first costs its caller an error,
//! the second nothing.

use std::sync::Arc;
use std::time::Duration;

use isomer_host::admin::client::Client;
use isomer_host::admin::place;
use isomer_host::config::BrokerOptions;
use isomer_host::context::Caller;
use serde_json::{Value, json};
use tests::bench::memory;
use tests::corpus::{self, Effort, Misdeed};
use tests::crafted::Crafted;
use tests::host::Host;
use tests::node::Node;
use tests::{broker, guests, wait};

/// Enough to see that it works; how long calls take is the matter of `make bench`.
const EFFORT: Effort = Effort { calls: 40, pause: Duration::from_millis(2), misdeeds: 2 };

async fn hostile() -> Host {
    Host::start_on(BrokerOptions::default(), corpus::folder()).await
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
    broker::emit(&host.broker, "hostile.echo", &json!({}), &[]).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_neighbour_costs_the_innocent_a_call() {
    let host = corpus::host().await;
    let caller = host.broker.caller().upgrade().unwrap();
    let mut broken = Vec::new();
    for neighbour in corpus::all() {
        let name = neighbour.name;
        let (innocent, wrong) = match &neighbour.misdeed {
            Misdeed::Call(call) => {
                let meeting = corpus::beside(&caller, call, EFFORT).await;
                let known = |end: &String| call.ends.contains(&end.as_str());
                let wrong = !meeting.ends.keys().all(known);
                (meeting.innocent, wrong.then(|| format!("{:?}", meeting.ends)))
            }
            Misdeed::File(file) => {
                let (innocent, reason) = corpus::refused(&host, file, EFFORT).await;
                (innocent, (!reason.contains(file.says)).then_some(reason))
            }
        };
        assert_eq!(innocent.times.len(), EFFORT.calls, "beside {name}");
        broken.extend(wrong.map(|wrong| format!("{name} ends with {wrong}")));
        broken.extend(innocent.failed.iter().map(|error| format!("beside {name}: {error}")));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    wait::until("nothing to run", || async { (host.broker.running_contexts() == 0).then_some(()) })
        .await;
    let refused = broker::metric(&host.broker, "isomer.component.refused.total");
    assert!(refused >= 9, "{refused} files were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_a_node_is_at_its_level_again_after_all_of_them() {
    /// What an allocator may keep of what it had once.
    const KEPT: f64 = 24.0 * 1024.0 * 1024.0;
    let folder = tempfile::tempdir().unwrap();
    let services = folder.path().join("services");
    std::fs::create_dir(&services).unwrap();
    corpus::fill(&services);
    let mut node = Node::start_in(folder, &[]).await;
    let pid = node.process().pid();
    let sockets = place::listening_in(&node.folder().join("isomer"));
    let client: Arc<dyn Caller> = Arc::new(Client::new(sockets[0].clone()));
    let effort = Effort { calls: 1, pause: Duration::from_millis(1), misdeeds: 1 };
    let mut levels = Vec::new();
    // The first round brings what is needed for all that follow: code, threads, caches.
    for _ in 0..3 {
        for neighbour in corpus::all() {
            if let Misdeed::Call(call) = &neighbour.misdeed {
                let meeting = corpus::beside(&client, call, effort).await;
                assert_eq!(meeting.innocent.failed, Vec::<String>::new(), "{}", neighbour.name);
            }
        }
        levels.push(memory::settled_bytes(pid).await);
    }
    assert!(levels[2] < levels[0] + KEPT, "{levels:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_component_has_as_many_memories_and_tables_as_the_limit_says() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, memories: u32, tables: u32| {
        let crafted = Crafted { memories, tables, ..Crafted::named(name) };
        guests::put_bytes(&crafted.build(), folder.path(), &format!("{name}.wasm"));
        let sidecar = folder.path().join(name).with_extension("toml");
        std::fs::write(sidecar, "[limits]\nobjects = 5\n").unwrap();
    };
    put("five", 5, 5);
    put("memories", 6, 5);
    put("tables", 5, 6);
    let host = Host::start_on(BrokerOptions::default(), folder).await;
    assert_eq!((host.loaded.in_service, host.loaded.failed), (1, 2));
    for name in ["memories", "tables"] {
        let row = host.service(name, |row| row["isomer"]["error"].is_string()).await;
        let reason = row["isomer"]["error"].as_str().unwrap();
        assert!(reason.contains("count too high"), "{reason}");
    }
    assert_eq!(broker::metric(&host.broker, "isomer.component.refused.total"), 2);
}
