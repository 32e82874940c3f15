//! Moleculer services in JavaScript and TypeScript as components: that they answer what they answer under
//! Node.js, keep their state, and that what cannot be a component is refused while it is built.

use std::path::Path;

use serde_json::{Value, json};
use tests::javascript::{self, build, try_build};
use tests::nats_server::NatsServer;
use tests::node::{self, Node};
use tests::peer::{Peer, Version, undefined, value};
use tests::recipe::command_of;
use tests::{wait, workshop};
use tokio::process::Command;

/// A node with services of `tests/js`, and a Moleculer peer beside it.
struct Mesh {
    peer: Peer,
    node: Node,
    nats: NatsServer,
}

impl Mesh {
    async fn start(services: &[&str], wanted: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let components = folder.path().join("services");
        std::fs::create_dir(&components).unwrap();
        for service in services {
            let file = build(service, &components).await;
            // Ahead of the start, which waits less long than a slow machine compiles.
            let mut command = node::command(folder.path());
            command.arg("compile").arg(file).kill_on_drop(true);
            let compiled = wait::within(4 * wait::PATIENCE, "the compiler", command.output()).await;
            assert!(compiled.unwrap().status.success(), "{service} is not compiled");
        }
        let nats = NatsServer::start().await;
        let node = Node::start_in(folder, &["--transporter", &nats.url()]).await;
        let peer = Peer::listening(Version::V15, "peer", &nats.url(), json!({}), &[]).await;
        peer.wait_for_services(wanted).await;
        Self { peer, node, nats }
    }
}

#[tokio::test]
async fn server_the_sdk_does_as_moleculer_does() {
    let mut command = Command::new("node");
    command.args(["--test", "test/"]).current_dir(javascript::sdk()).kill_on_drop(true);
    let output = wait::within(4 * wait::PATIENCE, "the tests of the SDK", command.output()).await;
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What a callee sees and what its caller gets, but for what differs from call to call.
fn comparable(mut answer: Value) -> Value {
    let seen = &mut answer["result"]["value"];
    for key in ["id", "requestID", "timeout"] {
        if let Some(value) = seen.get_mut(key) {
            assert!(!value.is_null(), "{key}");
            *value = Value::Null;
        }
    }
    answer
}

/// An error but for where it happened.
fn plain(mut error: Value) -> Value {
    let fields = error.as_object_mut().unwrap();
    fields.remove("stack");
    fields.remove("nodeID");
    // An error that is none of Moleculer's says nothing about it, and no is what that means.
    if fields.get("retryable") == Some(&json!(false)) {
        fields.remove("retryable");
    }
    error
}

#[tokio::test]
async fn server_a_service_answers_from_a_component_as_from_node() {
    let mesh = Mesh::start(&["twin.service.js"], &["js", "twin"]).await;
    // The peer reaches `js` over NATS as well: what stays in a process is not made into JSON.
    let url = mesh.nats.url();
    let caller = Peer::start("caller", &url, json!({"disableBalancer": false})).await;
    caller.wait_for_services(&["js", "twin"]).await;
    // The node hears of the peer's services some time after the peer hears of the node's.
    wait::until("the node to know the peer's services", || async {
        let params = value(&json!({"action": "js.null"}));
        caller.call_with("twin.relay", params, json!({})).await.ok()
    })
    .await;
    let on_peer = |action: &str| (format!("js.{action}"), json!({"nodeID": "peer"}));
    let on_node = |action: &str| (format!("twin.{action}"), json!({}));
    let cases = [
        ("echo", value(&json!({"a": [1, null, "ü€𝄞"], "b": {"c": 1.5}}))),
        ("echo", value(&Value::Null)),
        ("echo", undefined()),
        ("echo", json!({"kind": "buffer", "value": "\u{0}\u{1}\u{ff}"})),
        ("seen", value(&json!({"p": 1}))),
        ("undefined", undefined()),
        ("null", undefined()),
        ("buffer", undefined()),
        ("meta", value(&json!({"added": {"x": 1}, "given": 2}))),
        ("metaThenFail", undefined()),
        ("plainError", undefined()),
        ("slow", value(&json!({"ms": 5}))),
        (
            "fail",
            value(&json!({"className": "MoleculerClientError", "message": "m", "code": 418,
            "type": "TEA", "data": {"a": [1]}})),
        ),
        ("fail", value(&json!({"className": "ValidationError", "args": ["m", null, [{"f": 1}]]}))),
        (
            "fail",
            value(&json!({"className": "RequestTimeoutError",
            "args": [{"action": "a.b", "nodeID": "n"}]})),
        ),
        ("fail", value(&json!({"className": "MoleculerServerError", "message": "m"}))),
        ("relay", value(&json!({"action": "js.meta", "params": {"from": "callee"}}))),
        ("relay", value(&json!({"action": "js.metaThenFail"}))),
        ("relay", value(&json!({"action": "not.there", "options": {"fallbackResponse": 5}}))),
    ];
    for (action, params) in cases {
        let mut answers = Vec::new();
        for (name, mut options) in [on_peer(action), on_node(action)] {
            options["meta"] = json!({"given": 1});
            options["headers"] = json!({"h": "1"});
            options["timeout"] = json!(20_000);
            let answer = caller.call_with(&name, params.clone(), options).await;
            answers.push(answer.map(comparable).map_err(plain));
        }
        assert_eq!(answers[1], answers[0], "{action} {params}");
    }
}

#[tokio::test]
async fn server_a_typescript_class_keeps_its_state_and_runs_calls_at_once() {
    let Mesh { peer, node, nats: _nats } =
        Mesh::start(&["counter.service.ts"], &["js", "v2.counter"]).await;
    for expected in 1..=3 {
        assert_eq!(peer.call("v2.counter.add", json!({"by": 1})).await.unwrap(), expected);
    }
    let refused = peer.call("v2.counter.add", json!({"by": "x"})).await.unwrap_err();
    assert_eq!((&refused["code"], &refused["type"]), (&json!(422), &json!("VALIDATION_ERROR")));
    let error = peer.call("v2.counter.add", json!({"by": 1000})).await.unwrap_err();
    assert_eq!((&error["name"], &error["code"]), (&json!("FullError"), &json!(409)));
    assert_eq!(error["data"], json!({"count": 3}));
    let stack = error["stack"].as_str().unwrap();
    assert!(stack.contains("counter.service.ts:"), "{stack}");

    // Ten calls of a second each take about a second, because they are in flight at once.
    let params = json!({"action": "js.slow", "ms": 1000, "times": 10});
    let answer = peer.call("v2.counter.together", params).await.unwrap();
    assert_eq!(answer["results"], json!(vec!["slow"; 10]));
    assert!(answer["took"].as_u64().unwrap() < 9000, "{answer}");
    // The service reaches itself, also while it waits for that.
    let level = peer.call("v2.counter.again", json!({"times": 4})).await.unwrap();
    assert_eq!(level, 5);
    // One call waits for what another does.
    let (waited, opened) = tokio::join!(
        peer.call("v2.counter.waitForOpen", json!({})),
        peer.call("v2.counter.open", json!({}))
    );
    assert_eq!((waited.unwrap(), opened.unwrap()), (json!("peer"), Value::Null));
    // Timers run while no call does.
    let ticks = || async { peer.call("v2.counter.ticks", json!({})).await.unwrap().as_u64() };
    let before = ticks().await.unwrap();
    wait::until("the timer to run", || async { ticks().await.filter(|now| *now > before + 2) })
        .await;

    let around = peer.call("v2.counter.surroundings", json!({})).await.unwrap();
    let expected = json!({"url": "http://host.test/a?b=%C3%A4", "b": "ä", "base64": "aMOkaA==",
        "text": "€", "random": true, "clone": 0, "service": "v2.counter"});
    let same = expected.as_object().unwrap().iter().all(|(key, value)| around[key] == *value);
    assert!(same, "{around}");
    let hash = peer.call("v2.counter.hash", json!({"text": "abc"})).await.unwrap();
    assert_eq!(hash, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    node.stop().await;
}

#[tokio::test]
async fn server_what_cannot_be_a_component_is_refused_while_it_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.wasm");
    let files = javascript::source("refused/files.service.js");
    let said = |output: std::process::Output| String::from_utf8(output.stderr).unwrap();

    let refused = try_build(&files, &output, &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    let text = said(refused);
    assert!(text.contains("files.service.js:4:20: Cannot import \"fs\" in a component"), "{text}");
    assert!(text.contains("--stub fs"), "{text}");

    let broken = javascript::source("refused/broken.service.js");
    let text = said(try_build(&broken, &output, &[]).await);
    assert!(text.contains("broken.service.js:6: TypeError: Cannot read properties"), "{text}");

    let missing = try_build(Path::new("none.service.js"), &output, &[]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(missing).contains("there is no such file"));
    assert!(!output.exists());

    let built = try_build(&files, &output, &["--stub", "fs", "--json"]).await;
    assert!(built.status.success());
    let told: Value = serde_json::from_slice(&built.stdout).unwrap();
    assert_eq!(told["schema"]["name"], "files");
}

#[tokio::test]
async fn server_the_sample_passes_its_tests() {
    let mut command = Command::from(command_of("isomer"));
    command.args(["test", "sample-services/js-votes"]).kill_on_drop(true);
    let tested = wait::within(workshop::PATIENCE, "the tests of the sample", command.output());
    let tested = tested.await.unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&tested.stdout), String::from_utf8_lossy(&tested.stderr));
    assert!(tested.status.success() && out.ends_with("3 passed\n"), "{out}{err}");
}
