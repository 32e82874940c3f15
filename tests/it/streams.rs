//! Streams next to real Moleculer JS brokers of both versions on a real nats-server, and through the command
//! line: files with their hashes, values, errors half way, and sides that go away.

use isomer_host::broker::ServiceBroker;
use isomer_host::config::{BrokerOptions, Protocol};
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use serde_json::{Value, json};
use tests::broker::{self, json, metric};
use tests::nats_server::NatsServer;
use tests::node::Node;
use tests::peer::{Peer, Version};
use tests::{streams, wait};

/// Some chunks of `transit.maxChunkSize`, and a part of one.
const SIZE: usize = 3_000_001;

struct Pair {
    js: Peer,
    rs: ServiceBroker,
    nats: NatsServer,
}

async fn pair(version: Version) -> Pair {
    pair_with(version, |_| {}).await
}

async fn pair_with(version: Version, change: impl FnOnce(&mut BrokerOptions)) -> Pair {
    let nats = NatsServer::start().await;
    let mut options = broker::on_nats("rs-1", &nats.url());
    options.transit.protocol = Protocol::Auto;
    change(&mut options);
    let rs = broker::start(options).await;
    streams::add(&rs).await;
    let own = json!({"requestTimeout": 20_000});
    let js = Peer::listening(version, "js-1", &nats.url(), own, &[]).await;
    js.wait_for_services(&["rs.files"]).await;
    broker::wait_for(&rs, &["js.files"]).await;
    Pair { js, rs, nats }
}

/// What `drain` says of a whole file.
fn whole(size: usize) -> Value {
    let hash = streams::hash(&streams::file_bytes(size));
    json!({"size": size, "hash": hash, "items": [], "error": null})
}

/// And of values.
fn all_values(count: usize) -> Value {
    let items: Vec<_> = (0..count).map(streams::value_at).collect();
    json!({"size": 0, "hash": streams::hash(&[]), "items": items, "error": null})
}

/// Some fields of an answer.
fn only(mut answer: Value, keys: &[&str]) -> Value {
    answer.as_object_mut().unwrap().retain(|key, _| keys.contains(&key.as_str()));
    answer
}

const DRAINED: &[&str] = &["size", "hash", "items", "error"];

impl Pair {
    async fn js_reads(&self, stream: isomer_host::payload::Stream) -> Value {
        let result = streams::upload(&self.rs, "js.files.read", json!({}), stream).await;
        only(result.unwrap().parse().unwrap(), DRAINED)
    }

    async fn js_gives(&self, action: &str, params: &Value) -> Value {
        let result = self.rs.call(action, json(params), CallOptions::default()).await;
        streams::drain_result(result.unwrap()).await
    }

    /// Waits until no stream is open on our side.
    async fn wait_until_closed(&self) {
        wait::until("all streams to be closed", || async {
            let open =
                ["isomer.transit.streams.in.active", "moleculer.transit.streams.send.active"];
            open.iter().all(|name| metric(&self.rs, name) == 0).then_some(())
        })
        .await;
    }
}

async fn files_cross(version: Version) {
    let pair = pair(version).await;
    assert_eq!(pair.js_reads(streams::file(SIZE, 400_000)).await, whole(SIZE));
    assert_eq!(pair.js_reads(streams::file(0, 1)).await, whole(0));
    let params = json!({"size": SIZE, "piece": 400_000});
    assert_eq!(pair.js_gives("js.files.file", &params).await, whole(SIZE));
    assert_eq!(pair.js_gives("js.files.file", &json!({"size": 0})).await, whole(0));
    let source = json!({"kind": "file", "size": SIZE, "piece": 400_000});
    let args = json!({"action": "rs.files.read", "source": source});
    assert_eq!(only(pair.js.ask("upload", args).await.unwrap(), DRAINED), whole(SIZE));
    let args = json!({"action": "rs.files.file", "params": params});
    assert_eq!(pair.js.ask("download", args).await.unwrap(), whole(SIZE));
    // There and back at once.
    let back = streams::upload(&pair.rs, "js.files.back", json!({}), streams::file(SIZE, 50_000));
    assert_eq!(streams::drain_result(back.await.unwrap()).await, whole(SIZE));
    let args = json!({"action": "rs.files.back", "source": source});
    assert_eq!(pair.js.ask("download", args).await.unwrap(), whole(SIZE));
    pair.wait_until_closed().await;
    let left = pair.js.ask("openStreams", json!({})).await.unwrap();
    assert_eq!(left["requests"], 0);
}

#[tokio::test]
async fn server_files_cross_in_both_directions() {
    files_cross(Version::V15).await;
}

#[tokio::test]
async fn server_files_cross_in_both_directions_with_version_4() {
    files_cross(Version::V14).await;
}

async fn values_cross(version: Version) {
    let pair = pair(version).await;
    assert_eq!(pair.js_reads(streams::values(300)).await, all_values(300));
    assert_eq!(pair.js_gives("js.files.values", &json!({"count": 300})).await, all_values(300));
    let source = json!({"kind": "values", "count": 300});
    let args = json!({"action": "rs.files.read", "source": source});
    assert_eq!(only(pair.js.ask("upload", args).await.unwrap(), DRAINED), all_values(300));
    let args = json!({"action": "rs.files.values", "params": {"count": 300}});
    assert_eq!(pair.js.ask("download", args).await.unwrap(), all_values(300));
    // JavaScript has no null in a stream; what would break there is not sent.
    let null = streams::written(true, |writer| async move {
        let _ = writer.write(Payload::null()).await;
        writer.end();
    });
    assert_eq!(pair.js_reads(null).await["error"]["type"], "INVALID_STREAM_CHUNK");
}

#[tokio::test]
async fn server_values_cross_in_both_directions() {
    values_cross(Version::V15).await;
}

#[tokio::test]
async fn server_values_cross_in_both_directions_with_version_4() {
    values_cross(Version::V14).await;
}

async fn errors_half_way(version: Version) {
    let pair = pair(version).await;
    let error = json!({"name": "MoleculerClientError", "message": "half way", "type": "HALF",
        "code": 409, "data": {"at": 1}});
    for object_mode in [false, true] {
        let params = json!({"objectMode": object_mode});
        assert_eq!(pair.js_reads(streams::broken(object_mode)).await["error"], error);
        let got = pair.js_gives("js.files.broken", &params).await;
        assert_eq!(got["error"], error);
        assert_eq!(got["size"], if object_mode { 0 } else { 5 });
        assert_eq!(got["items"], if object_mode { json!([{"n": 0}]) } else { json!([]) });
        let source = json!({"kind": "broken", "objectMode": object_mode});
        let args = json!({"action": "rs.files.read", "source": source});
        assert_eq!(pair.js.ask("upload", args).await.unwrap()["error"], error);
        let args = json!({"action": "rs.files.broken", "params": params});
        assert_eq!(pair.js.ask("download", args).await.unwrap()["error"], error);
    }
    pair.wait_until_closed().await;
}

#[tokio::test]
async fn server_errors_half_way_arrive() {
    errors_half_way(Version::V15).await;
}

#[tokio::test]
async fn server_errors_half_way_arrive_with_version_4() {
    errors_half_way(Version::V14).await;
}

#[tokio::test]
async fn server_params_meta_and_headers_travel_beside_a_stream() {
    let pair = pair(Version::V15).await;
    let options = CallOptions {
        meta: Some(broker::object(&json!({"m": 1}))),
        headers: Some(broker::object(&json!({"h": 1}))),
        ..streams::with_stream(streams::values(1))
    };
    let params = json!({"name": "a"});
    let seen = broker::call(&pair.rs, "js.files.read", &params, options).await.unwrap();
    assert_eq!(only(seen, &["params", "meta", "headers"]), beside());
    let options = json!({"params": {"name": "a"}, "meta": {"m": 1}});
    let args = json!({"action": "rs.files.read", "source": {"kind": "values", "count": 1},
        "options": options});
    let seen = pair.js.ask("upload", args).await.unwrap();
    assert_eq!((&seen["params"], &seen["meta"]), (&json!({"name": "a"}), &json!({"m": 1})));
    assert_eq!(seen["headers"], json!({}));
}

fn beside() -> Value {
    json!({"params": {"name": "a"}, "meta": {"m": 1}, "headers": {"h": 1}})
}

#[tokio::test]
async fn server_who_goes_away_harms_nobody() {
    let pair = pair(Version::V15).await;
    let params = json!({"size": SIZE});
    // We read a part of theirs, and they of ours.
    let result =
        pair.rs.call("js.files.file", json(&params), CallOptions::default()).await.unwrap();
    let Payload::Stream(stream) = result else { panic!("{result:?}") };
    let mut reader = stream.take().unwrap();
    assert!(reader.next().await.unwrap().is_some());
    drop((reader, stream));
    let args = json!({"action": "rs.files.file", "params": params});
    assert!(pair.js.ask("peek", args).await.unwrap().as_u64().unwrap() > 0);
    // Callees that do not read.
    let upload =
        streams::upload(&pair.rs, "js.files.ignore", json!({}), streams::file(SIZE, 9_999));
    assert_eq!(upload.await.unwrap(), json(&json!("done")));
    let upload =
        streams::upload(&pair.rs, "js.files.refuse", json!({}), streams::file(SIZE, 9_999));
    assert_eq!(upload.await.unwrap_err().kind(), "NO");
    let source = json!({"kind": "file", "size": SIZE});
    let args = json!({"action": "rs.files.ignore", "source": source});
    assert_eq!(pair.js.ask("upload", args).await.unwrap(), "done");
    let args = json!({"action": "rs.files.refuse", "source": source});
    assert_eq!(pair.js.ask("upload", args).await.unwrap_err()["type"], "NO");
    pair.wait_until_closed().await;
    assert!(metric(&pair.rs, "moleculer.transit.orphan.response.total") > 0);
    assert!(metric(&pair.rs, "isomer.transit.streams.chunks.dropped.total") > 0);
    // And all is as before.
    assert_eq!(pair.js_reads(streams::file(100, 10)).await, whole(100));
}

#[tokio::test]
async fn server_a_killed_peer_fails_its_streams() {
    let pair = pair_with(Version::V15, |options| {
        options.heartbeat_interval = std::time::Duration::from_secs(1);
        options.heartbeat_timeout = std::time::Duration::from_secs(5);
    })
    .await;
    let (writer, stream) = isomer_host::payload::stream::channel(false, 1 << 20);
    let call = pair.rs.call("js.files.back", Payload::Absent, streams::with_stream(stream));
    let result = call.await.unwrap();
    writer.write(Payload::Bytes("first".into())).await.unwrap();
    let Payload::Stream(back) = result else { panic!("{result:?}") };
    let mut reader = back.take().unwrap();
    assert_eq!(reader.next().await.unwrap(), Some(Payload::Bytes("first".into())));
    pair.js.kill().await;
    let error = wait::for_result("the stream to fail", reader.next()).await.unwrap_err();
    assert_eq!(error.kind(), "STREAM_LOST");
    wait::for_result("the source to be closed", writer.closed()).await;
}

#[tokio::test]
async fn local_calls_hand_the_stream_over() {
    let rs =
        broker::start(BrokerOptions { node_id: Some("rs-1".into()), ..BrokerOptions::default() })
            .await;
    streams::add(&rs).await;
    let read = streams::upload(&rs, "rs.files.read", json!({"a": 1}), streams::file(SIZE, 70_000));
    let read: Value = read.await.unwrap().parse().unwrap();
    assert_eq!((&read["size"], &read["params"]), (&json!(SIZE), &json!({"a": 1})));
    let back = streams::upload(&rs, "rs.files.back", json!({}), streams::values(5));
    assert_eq!(streams::drain_result(back.await.unwrap()).await, all_values(5));
}

#[tokio::test]
async fn server_the_command_line_sends_and_saves_files() {
    let pair = pair(Version::V15).await;
    let url = pair.nats.url();
    let node = Node::start(&[], &["--transporter", &url]).await;
    let path = |name: &str| node.folder().join(name);
    std::fs::write(path("in"), streams::file_bytes(SIZE)).unwrap();
    std::fs::write(path("lines"), "{\"n\":1}\n{\"n\":2}\n").unwrap();
    // The second time as a member of the mesh of its own.
    for target in [&[][..], &["--transporter", &url]] {
        let run = |args: &[&str]| {
            let args: Vec<String> = args.iter().chain(target).map(|&arg| arg.to_owned()).collect();
            let node = &node;
            async move {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                node.run(&args).await
            }
        };
        let sent = run(&["call", "js.files.read", "{\"a\":1}", "--stream", "in", "--json"]).await;
        assert!(sent.status.success(), "{sent:?}");
        let answer: Value = serde_json::from_slice(&sent.stdout).unwrap();
        assert_eq!(answer["params"], json!({"a": 1}));
        assert_eq!(only(answer, DRAINED), whole(SIZE));
        let sent = run(&["call", "js.files.back", "--stream", "lines", "--objects"]).await;
        assert_eq!(String::from_utf8_lossy(&sent.stdout), "{\"n\":1}\n{\"n\":2}\n", "{sent:?}");

        let get = format!("{{\"size\":{SIZE}}}");
        let saved = run(&["call", "rs.files.file", &get, "--save", "out"]).await;
        assert!(saved.status.success(), "{saved:?}");
        assert!(std::fs::read(path("out")).unwrap() == streams::file_bytes(SIZE));
        let again = run(&["call", "rs.files.file", "{\"size\":3}", "--save", "out"]).await;
        assert_eq!(again.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&again.stderr).contains("--force"), "{again:?}");
        let forced =
            run(&["call", "rs.files.file", "{\"size\":3}", "--save", "out", "--force"]).await;
        assert!(forced.status.success(), "{forced:?}");
        assert_eq!(std::fs::read(path("out")).unwrap().len(), 3);
        std::fs::remove_file(path("out")).unwrap();

        let broken = run(&["call", "js.files.broken", "{}", "--save", "out"]).await;
        assert_eq!(broken.status.code(), Some(1));
        let text = String::from_utf8_lossy(&broken.stderr);
        assert!(text.contains("the stream broke off") && text.contains("HALF"), "{text}");
        let names =
            || std::fs::read_dir(node.folder()).unwrap().map(|file| file.unwrap().file_name());
        let left: Vec<_> =
            names().filter(|name| name.to_string_lossy().starts_with("out")).collect();
        assert!(left.is_empty(), "{left:?}");
        let missing = run(&["call", "js.files.read", "--stream", "nowhere"]).await;
        assert_eq!(missing.status.code(), Some(2));
    }
    node.stop().await;
}
