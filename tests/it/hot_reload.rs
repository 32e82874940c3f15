//! Components that come, change and go while the node runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use isomer_host::config::BrokerOptions;
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use serde_json::{Value, json};
use tests::host::Host;
use tests::{guests, wait};

async fn host(components: &[&str]) -> Host {
    Host::start(BrokerOptions::default(), components).await
}

#[tokio::test]
async fn a_dropped_component_is_called_replaced_and_removed() {
    let host = host(&["greeter"]).await;
    assert_eq!((host.loaded.in_service, host.loaded.failed), (1, 0));
    let hello = host.call("greeter.hello", &json!({"name": "Ada"})).await.unwrap();
    assert_eq!(hello, "Hello Ada!");
    let file = host.put("swapper_v1", "swapper.wasm");
    host.service("swapper", |row| row["available"] == true).await;
    assert_eq!(host.call("swapper.version", &json!({})).await.unwrap(), 1);
    host.put("swapper_v2", "swapper.wasm");
    wait::until("version 2", || async {
        (host.call("swapper.version", &json!({})).await.unwrap() == 2).then_some(())
    })
    .await;
    std::fs::remove_file(file).unwrap();
    wait::until("the service to be gone", || async {
        let error = host.call("swapper.version", &json!({})).await.err()?;
        (error.kind() == "SERVICE_NOT_FOUND").then_some(())
    })
    .await;
    assert!(host.call("greeter.hello", &json!({})).await.is_ok());
}

/// Callers that never stop, and what they got.
struct Load {
    stop: AtomicBool,
    answers: [AtomicU64; 3],
    failed: parking_lot::Mutex<Vec<String>>,
}

async fn keep_calling(host: &Host, load: &Load) {
    while !load.stop.load(Ordering::Relaxed) {
        let call = host.broker.call("swapper.version", Payload::Absent, CallOptions::default());
        match call.await {
            Ok(answer) => {
                let version: usize = answer.parse().unwrap();
                load.answers[version].fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => load.failed.lock().push(error.to_string()),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_swaps_under_load_lose_no_call() {
    let host = Arc::new(host(&["swapper_v1"]).await);
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        answers: Default::default(),
        failed: parking_lot::Mutex::default(),
    });
    let callers: Vec<_> = (0..32)
        .map(|_| {
            let (host, load) = (Arc::clone(&host), Arc::clone(&load));
            isomer_host::task::run(async move { keep_calling(&host, &load).await })
        })
        .collect();
    for swap in 0..50 {
        let version = if swap % 2 == 0 { 2 } else { 1 };
        host.put(&format!("swapper_v{version}"), "swapper_v1.wasm");
        let before = load.answers[version].load(Ordering::Relaxed);
        // The other version is out of service once this one answers.
        wait::until("the new version to answer", || async {
            (load.answers[version].load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
    }
    load.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(*load.failed.lock(), Vec::<String>::new());
    assert!(load.answers[1].load(Ordering::Relaxed) > 0);
    assert!(load.answers[2].load(Ordering::Relaxed) > 0);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_but_what_the_node_says() {
    let host = host(&["swapper_v1"]).await;
    let whole = std::fs::read(guests::wasm("swapper_v2")).unwrap();
    let broken: [(&str, Vec<u8>, &str); 7] = [
        ("text", b"hello, this is no component".to_vec(), "not a WebAssembly file"),
        ("truncated", whole[..whole.len() / 2].to_vec(), "not a valid component"),
        ("core module", b"\0asm\x01\0\0\0".to_vec(), "a core module, not a component"),
        ("other world", std::fs::read(guests::wasm("wrong_world")).unwrap(), "does not export"),
        ("no schema", std::fs::read(guests::wasm("bad_schema")).unwrap(), "schema"),
        (
            "trap in started",
            std::fs::read(guests::wasm("started_trap")).unwrap(),
            "SERVICE_TRAPPED",
        ),
        (
            "error in started",
            std::fs::read(guests::wasm("started_error")).unwrap(),
            "does not start",
        ),
    ];
    for (what, bytes, reason) in &broken {
        guests::put_bytes(bytes, host.folder(), "swapper_v1.wasm");
        let row = host
            .service("swapper", |row| {
                row["isomer"]["lastError"]["message"].as_str().is_some_and(|m| m.contains(reason))
            })
            .await;
        assert_eq!(row["available"], true, "{what}");
        assert_eq!(host.call("swapper.version", &json!({})).await.unwrap(), 1, "{what}");
    }
    host.put("swapper_v2", "swapper_v1.wasm");
    host.service("swapper", |row| row["isomer"]["lastError"] == Value::Null).await;
    assert_eq!(host.call("swapper.version", &json!({})).await.unwrap(), 2);
}

#[tokio::test]
async fn a_broken_file_that_is_new_is_listed_with_its_reason() {
    let host = host(&["greeter"]).await;
    let file = guests::put_bytes(b"no", host.folder(), "odd.wasm");
    let row = host.service("odd", |row| row["isomer"]["error"].is_string()).await;
    assert_eq!(row["available"], false);
    std::fs::remove_file(file).unwrap();
    wait::until("the file to be forgotten", || async {
        let list = host.call("$node.services", &json!({})).await.unwrap();
        list.as_array().unwrap().iter().all(|row| row["fullName"] != "odd").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_file_written_in_pieces_is_taken_when_it_is_whole() {
    use std::io::Write as _;
    let host = host(&["greeter"]).await;
    let bytes = std::fs::read(guests::wasm("math")).unwrap();
    let mut file = std::fs::File::create(host.folder().join("math.wasm")).unwrap();
    for piece in bytes.chunks(bytes.len() / 3) {
        file.write_all(piece).unwrap();
        file.sync_all().unwrap();
        tokio::task::yield_now().await;
    }
    drop(file);
    let row = host.service("math", |row| row["available"] == true).await;
    assert_eq!(row["isomer"]["lastError"], Value::Null);
}

#[tokio::test]
async fn two_files_cannot_bring_the_same_service() {
    let host = host(&["swapper_v1"]).await;
    host.put("swapper_v2", "other.wasm");
    let row = host.service("other", |row| row["isomer"]["error"].is_string()).await;
    let reason = row["isomer"]["error"].as_str().unwrap();
    assert!(
        reason.contains("already provided by") && reason.contains("swapper_v1.wasm"),
        "{reason}"
    );
    assert_eq!(host.call("swapper.version", &json!({})).await.unwrap(), 1);
}

#[tokio::test]
async fn a_sidecar_changes_the_limits_of_a_running_service() {
    let host = host(&["crunch"]).await;
    let sidecar = host.folder().join("crunch.toml");
    std::fs::write(&sidecar, "fuel = 0\n[instances]\nmx = 1\n").unwrap();
    let row = host.service("crunch", |row| row["isomer"]["lastError"].is_object()).await;
    let message = row["isomer"]["lastError"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("crunch.toml:3"), "{message}");
    assert_eq!(row["available"], true);
    std::fs::remove_file(sidecar).unwrap();
    host.service("crunch", |row| row["isomer"]["lastError"] == Value::Null).await;
}
