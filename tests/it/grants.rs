//! What guests reach of the machine: what their operator has granted, and nothing beyond it.
//!
//! Each grant is used and overstepped by the guest `reach`. What is refused is an error that the guest goes on
//! with: the instance stays, and the refusal is counted.

use std::path::Path;

use isomer_host::config::BrokerOptions;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::guests;
use tests::host::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A node with the guest and this file beside it.
async fn node(toml: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("reach.toml"), toml).unwrap();
    guests::put("reach", folder.path(), "reach.wasm");
    Host::start_on(BrokerOptions::default(), folder).await
}

/// What the guest gets.
async fn ok(host: &Host, action: &str, params: Value) -> Value {
    let result = host.call(&format!("reach.{action}"), &params).await.unwrap();
    assert_eq!(result.get("error"), None, "{action} {params}");
    result["ok"].clone()
}

/// Why the guest gets nothing.
async fn refused(host: &Host, action: &str, params: Value) -> String {
    let result = host.call(&format!("reach.{action}"), &params).await.unwrap();
    let error = result.get("error").unwrap_or_else(|| panic!("{action} {params} gave {result}"));
    error.as_str().unwrap().to_owned()
}

fn denied(host: &Host) -> i64 {
    host.broker.metrics().metric("isomer.guest.permissionDenied.total").get()
}

fn path(dir: &Path) -> String {
    dir.canonicalize().unwrap().display().to_string()
}

/// Two folders: one to read with a text in it, one to write with a link that leads out of it.
fn folders() -> (TempDir, String) {
    let top = tempfile::tempdir().unwrap();
    let at = |name: &str| top.path().join(name);
    for name in ["ro", "rw", "secret"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    std::fs::write(at("ro/text"), "to read").unwrap();
    std::fs::write(at("secret/text"), "secret").unwrap();
    std::os::unix::fs::symlink(at("secret"), at("rw/link")).unwrap();
    let toml = format!(
        "[grants.dirs]\n\"/ro\" = \"{0}/ro\"\n\"/rw\" = {{ host = \"{0}/rw\", write = true }}\n",
        path(top.path())
    );
    (top, toml)
}

#[tokio::test]
async fn a_granted_folder_is_read_and_one_with_write_is_written() {
    let (top, toml) = folders();
    let host = node(&toml).await;
    assert_eq!(ok(&host, "read", json!({"path": "/ro/text"})).await, "to read");
    assert_eq!(ok(&host, "list", json!({"path": "/ro"})).await, json!(["text"]));
    ok(&host, "make", json!({"path": "/rw/new"})).await;
    ok(&host, "write", json!({"path": "/rw/new/text", "text": "written"})).await;
    let written = std::fs::read_to_string(top.path().join("rw/new/text")).unwrap();
    assert_eq!(written, "written");
    ok(&host, "remove", json!({"path": "/rw/new/text"})).await;
    assert!(!top.path().join("rw/new/text").exists());
    assert_eq!(denied(&host), 0);
}

#[tokio::test]
async fn nothing_beyond_a_folder_and_no_change_of_one_to_read_is_possible() {
    let (top, toml) = folders();
    let host = node(&toml).await;
    let outside = path(&top.path().join("secret/text"));
    for path in
        ["/etc/hostname", &outside, "/ro/../secret/text", "/rw/link/text", "/rw/../secret/text"]
    {
        refused(&host, "read", json!({ "path": path })).await;
    }
    refused(&host, "list", json!({"path": "/"})).await;
    let counted = denied(&host);
    refused(&host, "write", json!({"path": "/ro/text", "text": "changed"})).await;
    refused(&host, "write", json!({"path": "/ro/new", "text": "new"})).await;
    refused(&host, "make", json!({"path": "/ro/new"})).await;
    refused(&host, "remove", json!({"path": "/ro/text"})).await;
    assert_eq!(denied(&host), counted + 4);
    assert_eq!(std::fs::read_to_string(top.path().join("ro/text")).unwrap(), "to read");
    assert_eq!(std::fs::read_dir(top.path().join("ro")).unwrap().count(), 1);
    assert_eq!(ok(&host, "read", json!({"path": "/ro/text"})).await, "to read", "it goes on");
}

#[tokio::test]
async fn without_grants_there_are_no_files_and_no_network() {
    let host = node("").await;
    refused(&host, "read", json!({"path": "/etc/hostname"})).await;
    refused(&host, "write", json!({"path": "/tmp/x", "text": "x"})).await;
    refused(&host, "list", json!({"path": "."})).await;
    let counted = denied(&host);
    refused(&host, "tcp", json!({"to": "127.0.0.1:1"})).await;
    refused(&host, "tcp", json!({"to": "localhost:1"})).await;
    refused(&host, "listen", json!({})).await;
    refused(&host, "udp", json!({})).await;
    assert!(denied(&host) >= counted + 3);
}

#[tokio::test]
async fn a_grant_that_is_not_possible_keeps_the_service_out_and_says_why() {
    for (toml, why) in [
        ("[grants.dirs]\n'/d' = '/no/such/folder'\n", "make it, or take the grant away"),
        ("[grants.dirs]\n'/d' = '/'\n", "the root of all files"),
        ("[grants.dirs]\n'/d' = 'relative'\n", "must begin with /"),
        ("[grants]\ntcp = ['db']\n", "db:PORT"),
    ] {
        let host = node(toml).await;
        assert_eq!((host.loaded.in_service, host.loaded.failed), (0, 1), "{toml}");
        let list = host.call("$node.services", &json!({})).await.unwrap().to_string();
        assert!(list.contains(why), "{list}");
    }
}

/// A server that says back what it hears, once for each connection: its port, and what it runs by.
async fn echo() -> (u16, impl Sized) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = isomer_host::task::run(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).await;
            let _ = stream.write_all(&heard).await;
        }
    });
    (port, serving)
}

#[tokio::test]
async fn a_granted_address_is_reached_and_no_other() {
    let (port, _serving) = echo().await;
    let (other, _serving_too) = echo().await;
    let host = node(&format!("[grants]\ntcp = ['127.0.0.0/8:{port}']\n")).await;
    assert_eq!(ok(&host, "tcp", json!({"to": format!("127.0.0.1:{port}")})).await, "hello\n");
    let counted = denied(&host);
    refused(&host, "tcp", json!({"to": format!("127.0.0.1:{other}")})).await;
    refused(&host, "tcp", json!({"to": format!("localhost:{port}")})).await;
    refused(&host, "listen", json!({})).await;
    assert!(denied(&host) >= counted + 3);
    refused(&host, "udp", json!({})).await;
    assert_eq!(ok(&host, "tcp", json!({"to": format!("127.0.0.1:{port}")})).await, "hello\n");
}

#[tokio::test]
async fn a_granted_name_is_looked_up_and_leads_where_it_says() {
    let (port, _serving) = echo().await;
    let to = json!({"to": format!("localhost:{port}")});
    let host = node(&format!("[grants]\ntcp = ['localhost:{port}']\n")).await;
    assert_eq!(ok(&host, "tcp", to.clone()).await, "hello\n");
    refused(&host, "tcp", json!({"to": "other.invalid:1"})).await;
    assert_eq!(denied(&host), 1, "the name was not even looked up");
    // Who may reach every public host does not reach this machine by any of its names.
    let public = node("[grants]\ntcp = ['*:*']\n").await;
    refused(&public, "tcp", to).await;
    refused(&public, "tcp", json!({"to": format!("127.0.0.1:{port}")})).await;
    assert!(denied(&public) >= 2);
}

#[tokio::test]
async fn a_subscription_that_is_not_granted_is_not_registered() {
    let heard = async |toml: &str| {
        let host = node(toml).await;
        let row = host.service("reach", |row| row["available"] == true).await;
        let list = host.call("$node.events", &json!({"skipInternal": true})).await.unwrap();
        let mut names: Vec<String> =
            list.as_array().unwrap().iter().map(|row| row["name"].to_string()).collect();
        names.sort();
        (names, row["isomer"]["events"].clone())
    };
    assert_eq!(heard("").await.0, ["\"order.created\"", "\"user.*\""]);
    let (names, count) = heard("[grants]\nhear = ['user.**']\n").await;
    assert_eq!((names, count), (vec!["\"user.*\"".to_owned()], json!(1)));
    assert_eq!(heard("[grants]\nhear = []\n").await.0, [""; 0]);
}

#[tokio::test]
async fn who_runs_the_node_sees_the_grants_and_other_nodes_do_not() {
    let (_top, toml) = folders();
    let host = node(&format!("{toml}[grants]\ntcp = ['db:5432']\n[env]\nTOKEN = 'x'\n")).await;
    let rows: Value = host.reloader.grants().unwrap().parse().unwrap();
    assert_eq!(rows[0]["service"], "reach");
    assert_eq!(rows[0]["grants"]["tcp"], json!(["db:5432"]));
    assert_eq!(rows[0]["grants"]["dirs"][0]["guest"], "/ro");
    assert_eq!((&rows[0]["env"], &rows[0]["notGranted"]), (&json!(["TOKEN"]), &json!(["hosts"])));
    let list = host.call("$node.services", &json!({})).await.unwrap().to_string();
    assert!(
        !list.contains("/ro") && !list.contains("db:5432") && !list.contains("TOKEN"),
        "{list}"
    );
}
