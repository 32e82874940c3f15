//! A control socket with a broker that is none, and clients of every kind.

use std::os::unix::fs::PermissionsExt as _;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

use super::*;
use crate::admin::client::Client;
use crate::admin::place;
use crate::context::EventType;
use crate::payload::Object;

/// `echo` gives params and options back, `fail` fails, `hang` waits until it is dropped.
#[derive(Default)]
struct Broker {
    started: Arc<Notify>,
    dropped: Arc<Notify>,
}

/// Tells when a call was dropped.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Caller for Broker {
    fn call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        let (started, dropped) = (Arc::clone(&self.started), Arc::clone(&self.dropped));
        let action = action.to_owned();
        async move {
            match action.as_str() {
                "echo" => Ok(params),
                "back" => Ok(Payload::Stream(options.stream.unwrap())),
                "count" => {
                    let mut reader = options.stream.unwrap().take().unwrap();
                    let mut len = 0;
                    while let Some(chunk) = reader.next().await? {
                        len += chunk.len();
                    }
                    Ok(Payload::from_value(&len).unwrap())
                }
                "options" => Ok(Payload::from_value(&json!({
                    "timeout": options.timeout.map(|time| time.as_millis()),
                    "node": options.node_id.as_deref(),
                    "meta": options.meta,
                    "retries": options.retries,
                    "headers": options.headers,
                    "requestID": options.request_id.as_deref(),
                }))
                .unwrap()),
                "hang" => {
                    let _guard = OnDrop(dropped);
                    started.notify_one();
                    std::future::pending().await
                }
                _ => Err(MoleculerError::service_not_found(&action, None)),
            }
        }
        .boxed()
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        if kind != EventType::Emit {
            return async { Ok(()) }.boxed();
        }
        let seen = format!("{event} {} {:?}", &*data.to_json_text(), options.groups);
        async move { Err(MoleculerError::internal(seen)) }.boxed()
    }

    fn wait_for_services(
        &self,
        services: Vec<String>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        async move { Err(MoleculerError::internal(format!("{services:?} {timeout:?}"))) }.boxed()
    }
}

struct Node {
    server: Server,
    started: Arc<Notify>,
    dropped: Arc<Notify>,
    dir: tempfile::TempDir,
}

fn node() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let claim = place::claim_in(&dir.path().join("own"), "n1").unwrap();
    let broker = Broker::default();
    let (started, dropped) = (Arc::clone(&broker.started), Arc::clone(&broker.dropped));
    let info = json!({"nodeID": "n1"});
    let server = Server::start(claim, Arc::new(broker), "n1".into(), info, None).unwrap();
    Node { server, started, dropped, dir }
}

fn client(node: &Node) -> Client {
    Client::new(node.server.path().to_owned())
}

async fn assert_alive(node: &Node) {
    let echoed = client(node).call("echo", Payload::null(), CallOptions::default()).await;
    assert_eq!(echoed.unwrap(), Payload::null());
}

#[tokio::test]
async fn payloads_come_back_as_they_went() {
    let node = node();
    let big = Payload::Bytes(vec![7; 1 << 20].into());
    let json = Payload::from_json_text("{\"b\": 1,\"a\":\"ä\"}".into()).unwrap();
    for payload in [Payload::Absent, json, big] {
        let echoed = client(&node).call("echo", payload.clone(), CallOptions::default()).await;
        assert!(echoed.unwrap() == payload);
    }
}

#[tokio::test]
async fn options_and_errors_cross_with_every_field() {
    let node = node();
    let options = CallOptions {
        timeout: Some(Duration::from_millis(1_500)),
        node_id: Some("n2".into()),
        meta: Some(Object::from_json_text("{\"a\":1}".into()).unwrap()),
        retries: Some(3),
        headers: Some(Object::from_json_text("{\"h\":2}".into()).unwrap()),
        request_id: Some("r1".into()),
        ..CallOptions::default()
    };
    let seen = client(&node).call("options", Payload::Absent, options).await.unwrap();
    let expected = r#"{"timeout":1500,"node":"n2","meta":{"a":1},"retries":3,"headers":{"h":2},"requestID":"r1"}"#;
    assert_eq!(&*seen.to_json_text(), expected);

    let error = client(&node).call("nope", Payload::Absent, CallOptions::default()).await;
    let expected = MoleculerError::service_not_found("nope", None).at_node(&"n1".into());
    assert_eq!(error.unwrap_err(), expected);

    let options = EmitOptions { groups: vec!["g".into()], ..EmitOptions::default() };
    let error = client(&node)
        .send(EventType::Emit, "user.made", Payload::null(), options)
        .await
        .unwrap_err();
    assert_eq!(error.message(), "user.made null [\"g\"]");
    client(&node)
        .send(EventType::Broadcast, "x", Payload::Absent, EmitOptions::default())
        .await
        .unwrap();
    let wait = client(&node).wait_for_services(vec!["a".into()], Some(Duration::from_secs(1)));
    assert_eq!(wait.await.unwrap_err().message(), "[\"a\"] Some(1s)");
    assert_eq!(&*client(&node).info().await.unwrap().to_json_text(), "{\"nodeID\":\"n1\"}");
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_node() {
    let node = node();
    let path = node.server.path().to_owned();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    node.server.stop(Duration::from_secs(1)).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_client_that_goes_away_drops_its_call() {
    let node = node();
    let call = task::run(client(&node).call("hang", Payload::Absent, CallOptions::default()));
    node.started.notified().await;
    drop(call);
    node.dropped.notified().await;
    assert_alive(&node).await;
}

#[tokio::test]
async fn a_stop_ends_calls_that_do_not_finish() {
    let node = node();
    let call = task::run(client(&node).call("hang", Payload::Absent, CallOptions::default()));
    node.started.notified().await;
    node.server.stop(Duration::from_millis(1)).await;
    node.dropped.notified().await;
    let error = call.await.unwrap().unwrap_err();
    assert!(error.message().contains("closed the connection"), "{error}");
}

#[tokio::test]
async fn bad_frames_cost_only_their_connection() {
    let node = node();
    let frame = |head: u32, body: u32, rest: &[u8]| {
        let mut frame = head.to_be_bytes().to_vec();
        frame.extend_from_slice(&body.to_be_bytes());
        frame.extend_from_slice(rest);
        frame
    };
    let bad_json = br#"{"call":{"action":"echo","params":"json"}}x"#;
    let frames = [
        (frame(u32::MAX, 0, b""), "longer than"),
        (frame(2, u32::MAX, b"{}"), "longer than"),
        (frame(5, 0, b"xxxxx"), "cannot be understood"),
        (frame(42, 1, bad_json), "cannot be understood"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "longer than"),
    ];
    for (frame, expected) in frames {
        let mut stream = UnixStream::connect(node.server.path()).await.unwrap();
        stream.write_all(&frame).await.unwrap();
        let answer = protocol::read::<Response, _>(&mut stream).await.unwrap();
        let Some((Response::Refused { reason }, _)) = answer else { panic!("{answer:?}") };
        assert!(reason.contains(expected), "{reason}");
        assert_alive(&node).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_is_closed() {
    let node = node();
    for start in [&b""[..], &b"\0\0"[..], &b"\0\0\0\x08\0\0\0\0{"[..]] {
        let mut stream = UnixStream::connect(node.server.path()).await.unwrap();
        stream.write_all(start).await.unwrap();
        // The paused clock jumps to the deadline of the server as soon as nothing else is to be done.
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await.unwrap();
    }
    assert_alive(&node).await;
}

#[tokio::test]
async fn one_client_too_many_is_told_so() {
    let node = node();
    let mut calls = Vec::new();
    for _ in 0..protocol::CONNECTIONS_MAX {
        calls.push(task::run(client(&node).call("hang", Payload::Absent, CallOptions::default())));
        node.started.notified().await;
    }
    let refused = client(&node).call("echo", Payload::Absent, CallOptions::default()).await;
    let message = refused.unwrap_err().message().to_owned();
    assert!(message.contains("too many clients"), "{message}");
    calls.pop();
    node.dropped.notified().await;
    // The slot is free as soon as the dropped connection's task has ended.
    let slot = node.server.shared.slots.acquire().await.unwrap();
    drop(slot);
    assert_alive(&node).await;
}

#[tokio::test]
async fn a_second_node_takes_its_own_name_and_a_dead_one_is_replaced() {
    let node = node();
    let dir = node.dir.path().join("own");
    let second = place::claim_in(&dir, "n/2").unwrap();
    assert_eq!(second.path, dir.join("n_2.sock"));
    assert!(matches!(place::claim_in(&dir, "n/2"), Err(Error::Busy { .. })));
    drop(second);
    // A socket without a process, as after a kill.
    drop(std::os::unix::net::UnixListener::bind(dir.join("n_2.sock")).unwrap());
    assert_eq!(place::listening_in(&dir), [dir.join("default.sock")]);
    place::claim_in(&dir, "n/2").unwrap();
    // A program without a lock.
    let foreign = dir.join("foreign.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&foreign).unwrap();
    assert!(matches!(place::claim(&foreign), Err(Error::Busy { .. })));
}

#[test]
fn places_that_are_not_private_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(place::claim_in(&open, "n"), Err(Error::NotPrivate { .. })));
    let file = dir.path().join("file.sock");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(place::claim(&file), Err(Error::NotASocket { .. })));
    let long = dir.path().join("x".repeat(120));
    assert!(matches!(place::claim(&long), Err(Error::TooLong { .. })));
}

/// A stream of so many chunks, and its writer.
fn source(chunks: usize) -> (Stream, tokio_util::task::AbortOnDropHandle<StreamWriter>) {
    let (writer, stream) = Mode::Bytes.channel(stream::BUFFER);
    let writing = task::run(async move {
        for _ in 0..chunks {
            // Who does not read any more is seen by the test.
            let _ = writer.write(Payload::Bytes(vec![7; 100_000].into())).await;
        }
        writer
    });
    (stream, writing)
}

fn with_stream(stream: Stream) -> CallOptions {
    CallOptions { stream: Some(stream), ..CallOptions::default() }
}

#[tokio::test]
async fn streams_go_both_ways() {
    let node = node();
    let (stream, writing) = source(100);
    let counted = client(&node).call("count", Payload::null(), with_stream(stream));
    let ended = async { writing.await.unwrap().end() };
    let (counted, ()) = tokio::join!(counted, ended);
    assert_eq!(counted.unwrap().parse::<usize>().unwrap(), 10_000_000);

    let (stream, writing) = source(100);
    let result = client(&node).call("back", Payload::null(), with_stream(stream)).await.unwrap();
    let Payload::Stream(result) = result else { panic!("{result:?}") };
    let mut reader = result.take().unwrap();
    let failed = async { writing.await.unwrap().fail(MoleculerError::client(400, "BAD", "no")) };
    let read = async {
        let mut len = 0;
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => len += chunk.len(),
                other => return (len, other),
            }
        }
    };
    let ((len, end), ()) = tokio::join!(read, failed);
    assert_eq!((len, end.unwrap_err().kind()), (10_000_000, "BAD"));
    assert_alive(&node).await;
}

#[tokio::test]
async fn who_goes_away_ends_the_stream_at_the_other_side() {
    let node = node();
    // The client drops the result.
    let (stream, writing) = source(1);
    let result = client(&node).call("back", Payload::null(), with_stream(stream)).await.unwrap();
    let writer = writing.await.unwrap();
    drop(result);
    writer.closed().await;
    // The callee reads nothing and fails.
    let (stream, writing) = source(100);
    let error = client(&node).call("nothing", Payload::null(), with_stream(stream)).await;
    assert_eq!(error.unwrap_err().kind(), "SERVICE_NOT_FOUND");
    writing.await.unwrap().closed().await;
    assert_alive(&node).await;
}
