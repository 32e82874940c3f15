//! The middlewares that tell of calls and packets.

use std::path::Path;

use isomer_host::config::debugging::{ActionLog, Destination, TransitLog};
use isomer_host::config::{BrokerOptions, Transmit};
use isomer_host::context::CallOptions;
use serde_json::{Value, json};
use tests::{broker, mirror, wait};

fn on(node_id: &str, folder: &Path) -> BrokerOptions {
    let to = || Destination {
        level: None,
        folder: Some(folder.to_path_buf()),
        extension: ".json".into(),
    };
    let action = ActionLog {
        to: to(),
        params: true,
        response: true,
        meta: false,
        whitelist: vec!["rs.*".into()],
    };
    let packet_filter = vec!["HEARTBEAT".into(), "PING".into(), "PONG".into()];
    let transit = TransitLog { to: to(), packet_data: false, packet_filter };
    let mut options = broker::on_bus(node_id, "debugging");
    options.transmit =
        vec![Transmit::ActionLogger(Box::new(action)), Transmit::TransitLogger(Box::new(transit))];
    options
}

/// What is in the first file of a node whose name ends so.
async fn file(folder: &Path, node_id: &str, end: &str) -> Value {
    let folder = folder.join(node_id);
    wait::until(&format!("a file '…{end}'"), || async {
        let files = std::fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path());
        // Their names begin with the time and a number.
        let file = files.filter(|file| file.display().to_string().ends_with(end)).min()?;
        // It may be there before it is whole.
        serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
    })
    .await
}

#[tokio::test]
async fn calls_and_packets_are_logged_and_written_to_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let rs = broker::start(on("rs-1", folder)).await;
    mirror::add(&rs).await;
    let caller = broker::start(on("caller", folder)).await;
    broker::wait_for(&caller, &["rs"]).await;
    let options = CallOptions::default;
    broker::call(&caller, "rs.echo", &json!({"a": 1}), options()).await.unwrap();
    let failing = json!({"className": "MyError", "message": "no", "code": 400, "type": "T"});
    broker::call(&caller, "rs.fail", &failing, options()).await.unwrap_err();
    broker::call(&caller, "$node.list", &json!({}), options()).await.unwrap();
    assert_eq!(file(folder, "caller", "-call-rs.echo-request.json").await, json!({"a": 1}));
    assert_eq!(file(folder, "caller", "-call-rs.echo-response.json").await, json!({"a": 1}));
    let error = file(folder, "caller", "-call-rs.fail-error.json").await;
    assert_eq!((&error["name"], &error["code"]), (&json!("MyError"), &json!(400)));
    let request = file(folder, "caller", "-send-REQ-to-rs-1.json").await;
    assert_eq!((&request["action"], &request["sender"]), (&json!("rs.echo"), &json!("caller")));
    let request = file(folder, "rs-1", "-receive-REQ-from-caller.json").await;
    assert_eq!(request["params"], json!({"a": 1}));
    let names: Vec<_> = std::fs::read_dir(folder.join("caller"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| !name.contains("$node") && !name.contains("HEARTBEAT")));
    caller.stop().await;
    rs.stop().await;
}
