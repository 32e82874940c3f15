//! Versions of a service: the probe before a switch, going back by hand and by itself, and many switches under
//! load from this node and from JavaScript.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use isomer_host::config::BrokerOptions;
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tests::host::Host;
use tests::nats_server::NatsServer;
use tests::node::Node;
use tests::peer::{Peer, value};
use tests::{broker, crafted, guests, mirror, wait};

const FILE: &str = "swapper.wasm";

async fn host_with(version: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    guests::put(version, folder.path(), FILE);
    Host::start_on(BrokerOptions::default(), folder).await
}

async fn version(host: &Host) -> Value {
    host.call("swapper.version", &json!({})).await.unwrap()
}

async fn until_version(host: &Host, wanted: u64) {
    wait::until("the other version", || async { (version(host).await == wanted).then_some(()) })
        .await;
}

fn states(shown: &Value) -> Vec<&str> {
    let versions = shown["versions"].as_array().unwrap();
    versions.iter().map(|version| version["state"].as_str().unwrap()).collect()
}

fn parsed(payload: Payload) -> Value {
    payload.parse().unwrap()
}

#[tokio::test]
async fn a_version_whose_probe_fails_never_gets_a_call() {
    let host = host_with("swapper_v1").await;
    std::fs::write(host.folder().join("swapper.toml"), "[settings]\nbroken = true\n").unwrap();
    host.put("swapper_v3", FILE);
    let row = host
        .service("swapper", |row| {
            let message = row["isomer"]["lastError"]["message"].as_str();
            message.is_some_and(|message| message.contains("swapper.health"))
        })
        .await;
    assert_eq!(row["available"], true);
    assert_eq!(version(&host).await, 1);
    std::fs::remove_file(host.folder().join("swapper.toml")).unwrap();
    until_version(&host, 3).await;
}

#[tokio::test]
async fn going_back_lasts_until_the_file_changes() {
    let host = host_with("swapper_v1").await;
    let error = host.reloader.roll_back("swapper", None).await.unwrap_err();
    assert_eq!(error.kind(), "VERSION_NOT_FOUND");
    host.put("swapper_v2", FILE);
    until_version(&host, 2).await;
    let shown = parsed(host.reloader.roll_back("swapper", None).await.unwrap());
    assert_eq!(version(&host).await, 1);
    assert_eq!(states(&shown), ["in service", "earlier"]);
    // The same file again is no change.
    host.put("swapper_v2", FILE);
    std::fs::write(host.folder().join("other.wasm"), "no component").unwrap();
    host.service("other", |row| row["isomer"]["error"].is_string()).await;
    assert_eq!(version(&host).await, 1);
    host.put("swapper_v3", FILE);
    until_version(&host, 3).await;
    let shown = parsed(host.reloader.versions("swapper").unwrap());
    assert_eq!(states(&shown).len(), 3);
    // To a version by the beginning of its digest: the second was there before the first came back.
    let digest = shown["versions"][2]["version"].as_str().unwrap().to_owned();
    host.reloader.roll_back("swapper", Some(&digest[..6])).await.unwrap();
    assert_eq!(version(&host).await, 2);
    let error = host.reloader.roll_back("swapper", Some("zz")).await.unwrap_err();
    assert_eq!(error.kind(), "VERSION_NOT_FOUND");
    let error = host.reloader.roll_back("nobody", None).await.unwrap_err();
    assert_eq!(error.kind(), "SERVICE_NOT_FOUND");
}

#[tokio::test]
async fn as_many_versions_are_kept_as_the_limit_says() {
    const KEPT: usize = 5;
    let host = host_with("swapper_v1").await;
    let component = std::fs::read(guests::wasm("swapper_v2")).unwrap();
    let shown = || parsed(host.reloader.versions("swapper").unwrap());
    for n in 2..=KEPT + 1 {
        let before = shown()["versions"][0]["digest"].clone();
        let other = crafted::variant(&component, u32::try_from(n).unwrap());
        guests::put_bytes(&other, host.folder(), FILE);
        wait::until("the next version", || async {
            (shown()["versions"][0]["digest"] != before).then_some(())
        })
        .await;
        assert_eq!(states(&shown()).len(), n.min(KEPT));
    }
    // The first one is forgotten.
    host.reloader.roll_back("swapper", None).await.unwrap();
    assert_eq!(version(&host).await, 2);
}

#[tokio::test]
async fn a_version_that_keeps_trapping_is_taken_out_and_tried_again_later() {
    let host = host_with("swapper_v1").await;
    let events = mirror::listen(&host.broker, "watch", "$service.quarantined", "").await;
    host.put("swapper_v3", FILE);
    until_version(&host, 3).await;
    for _ in 0..4 {
        let error = host.call("swapper.trap", &json!({})).await.unwrap_err();
        assert_eq!(error.kind(), "SERVICE_TRAPPED");
    }
    assert_eq!(version(&host).await, 3, "four are not enough");
    host.call("swapper.trap", &json!({})).await.unwrap_err();
    until_version(&host, 1).await;
    let event = &events.at_least(1).await[0]["params"];
    assert_eq!((&event["service"], &event["retryAfter"]), (&json!("swapper"), &json!(60_000)));
    let shown = parsed(host.reloader.versions("swapper").unwrap());
    assert_eq!(states(&shown), ["in service", "quarantined"]);
    let row = host.service("swapper", |row| row["isomer"]["lastError"].is_object()).await;
    let message = row["isomer"]["lastError"]["message"].as_str().unwrap();
    assert!(message.contains("trapped 5 times"), "{message}");
    assert_eq!(broker::metric(&host.broker, "isomer.version.rolledBack.total"), 1);
    // Another version is no matter of the quarantine.
    host.put("swapper_v2", FILE);
    until_version(&host, 2).await;
    // Nor is somebody who knows what he does.
    let digest = shown["versions"][1]["version"].as_str().unwrap().to_owned();
    host.reloader.roll_back("swapper", Some(&digest)).await.unwrap();
    assert_eq!(version(&host).await, 3);
}

#[tokio::test]
async fn without_an_earlier_version_the_one_that_traps_stays() {
    let host = host_with("swapper_v3").await;
    for _ in 0..12 {
        let error = host.call("swapper.trap", &json!({})).await.unwrap_err();
        assert_eq!(error.kind(), "SERVICE_TRAPPED");
    }
    assert_eq!(version(&host).await, 3);
    assert_eq!(broker::metric(&host.broker, "isomer.version.rolledBack.total"), 0);
}

#[tokio::test]
async fn the_command_line_lists_versions_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("services")).unwrap();
    guests::put("swapper_v1", &folder.path().join("services"), FILE);
    let node = Node::start_in(folder, &[]).await;
    guests::put("swapper_v2", &node.services(), FILE);
    let call = || async {
        let output = node.run(&["call", "swapper.version"]).await;
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    wait::until("version 2", || async { (call().await == "2").then_some(()) }).await;
    let output = node.run(&["versions", "swapper"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("in service") && text.contains("earlier"), "{text}");
    let output = node.run(&["rollback", "swapper"]).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(call().await, "1");
    let output = node.run(&["rollback", "nobody"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    node.stop().await;
}

/// Callers of this node that never stop, and what they got.
#[derive(Default)]
struct Callers {
    stop: AtomicBool,
    answers: [AtomicU64; 4],
    failed: Mutex<Vec<String>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_200_swaps_under_128_callers_here_and_in_javascript_fail_and_double_nothing() {
    const SWAPS: usize = 200;
    let nats = NatsServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    guests::put("swapper_v1", folder.path(), FILE);
    let host = Arc::new(Host::start_on(broker::on_nats("rs-1", &nats.url()), folder).await);
    let js = Arc::new(Peer::start("js-1", &nats.url(), json!({"requestTimeout": 20_000})).await);
    js.wait_for_services(&["swapper"]).await;
    let callers: Arc<Callers> = Arc::default();
    let ours: Vec<_> = (0..64)
        .map(|_| {
            let (host, callers) = (Arc::clone(&host), Arc::clone(&callers));
            isomer_host::task::run(async move {
                while !callers.stop.load(Ordering::Relaxed) {
                    let call = host.broker.call(
                        "swapper.version",
                        Payload::Absent,
                        CallOptions::default(),
                    );
                    match call.await {
                        Ok(answer) => {
                            let version: usize = answer.parse().unwrap();
                            callers.answers[version].fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => callers.failed.lock().push(error.to_string()),
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let theirs = {
        let (js, callers) = (Arc::clone(&js), Arc::clone(&callers));
        isomer_host::task::run(async move {
            let mut n_answers = 0;
            while !callers.stop.load(Ordering::Relaxed) {
                let load = json!({"action": "swapper.version", "params": value(&json!({})),
                    "count": 640, "parallel": 64, "options": {}});
                let answer = js.ask("load", load).await.unwrap();
                assert_eq!(answer["errors"], json!([]));
                let results = answer["results"].as_object().unwrap();
                assert!(results.keys().all(|key| key == "1" || key == "2"), "{results:?}");
                let count: u64 = results.values().map(|n| n.as_u64().unwrap()).sum();
                // Each call has one answer, neither none nor two.
                assert_eq!(count, 640);
                n_answers += count;
            }
            n_answers
        })
    };
    let patience = Duration::from_secs(240);
    wait::within(patience, "the swaps", async {
        for swap in 0..SWAPS {
            let version = if swap % 2 == 0 { 2 } else { 1 };
            host.put(&format!("swapper_v{version}"), FILE);
            let before = callers.answers[version].load(Ordering::Relaxed);
            wait::until("the new version to answer", || async {
                (callers.answers[version].load(Ordering::Relaxed) > before).then_some(())
            })
            .await;
        }
    })
    .await;
    callers.stop.store(true, Ordering::Relaxed);
    for caller in ours {
        caller.await.unwrap();
    }
    let n_theirs = wait::for_result("the last calls of JavaScript", theirs).await.unwrap();
    assert!(n_theirs > 640, "{n_theirs}");
    assert_eq!(*callers.failed.lock(), Vec::<String>::new());
    let handled: u64 = callers.answers.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    assert!(handled > 1_000, "{handled}");
    wait::until("nothing to run", || async { (host.broker.running_contexts() == 0).then_some(()) })
        .await;
}
