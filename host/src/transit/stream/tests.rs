//! Streams between transits on the in-process bus, with a paused clock.

use bytes::Bytes;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::context::{Context, ContextBuilder, Outcome};
use crate::payload::Object;
use crate::payload::stream::{Refused, StreamReader, StreamWriter, channel};
use crate::transit::tests::{Node, context, inject, settle};
use crate::transporter::fake::{Bus, Verdict};

/// A request without anything.
pub(in crate::transit) fn request() -> Request {
    Request {
        id: "1".into(),
        action: "a.b".into(),
        params: Payload::Absent,
        meta: Object::default(),
        headers: Object::default(),
        timeout: None,
        level: 1,
        tracing: None,
        parent_id: None,
        request_id: None,
        caller: None,
        stream: false,
        seq: None,
    }
}

/// Two nodes; `b` does what a test says.
struct Pair {
    bus: Arc<Bus>,
    a: Arc<Node>,
    b: Arc<Node>,
    /// All packets of requests and responses as JSON, with their topics.
    packets: Arc<Mutex<Vec<(String, Value)>>>,
}

async fn pair() -> Pair {
    pair_with(|_| {}).await
}

async fn pair_with(change: impl Fn(&mut config::Transit)) -> Pair {
    let bus = Arc::new(Bus::default());
    let a = Node::with_options(&bus, "a", &change);
    let b = Node::with_options(&bus, "b", &change);
    a.transit.connect().await.unwrap();
    b.transit.connect().await.unwrap();
    let packets = Arc::<Mutex<Vec<_>>>::default();
    let seen = Arc::clone(&packets);
    bus.set_rule(move |delivery| {
        if delivery.topic.contains(".RE") {
            let packet = serde_json::from_slice(delivery.data).unwrap();
            seen.lock().push((delivery.topic.to_owned(), packet));
        }
        Verdict::Deliver
    });
    Pair { bus, a, b, packets }
}

impl Pair {
    /// What the action `x.own` of `b` does.
    fn answer<Fut>(&self, work: impl Fn(Context) -> Fut + Send + Sync + 'static)
    where
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        *self.b.own.lock() = Some(Arc::new(move |ctx| work(ctx).boxed()));
    }

    /// Lets `b` give its request streams away, answering at once.
    fn give_streams(&self) -> Arc<Mutex<Vec<StreamReader>>> {
        let readers = Arc::<Mutex<Vec<_>>>::default();
        let given = Arc::clone(&readers);
        self.answer(move |ctx| {
            given.lock().push(ctx.stream.as_ref().unwrap().take().unwrap());
            std::future::ready(Ok(Payload::null()))
        });
        readers
    }

    async fn call(&self, stream: Option<Stream>) -> Outcome {
        self.a.transit.request(&calling(stream)).await
    }

    /// The packets that came so far.
    fn take_packets(&self) -> Vec<Value> {
        std::mem::take(&mut *self.packets.lock()).into_iter().map(|(_, packet)| packet).collect()
    }
}

fn calling(stream: Option<Stream>) -> Context {
    context("x.own", "b").copy().with(|ctx| ctx.stream = stream).build()
}

fn bytes(text: &'static str) -> Payload {
    Payload::Bytes(Bytes::from_static(text.as_bytes()))
}

fn value(value: &Value) -> Payload {
    Payload::from_value(value).unwrap()
}

/// A stream with these chunks, and open.
async fn source(object_mode: bool, chunks: &[Payload]) -> (StreamWriter, Stream) {
    let (writer, stream) = channel(object_mode, 1 << 20);
    for chunk in chunks {
        writer.write(chunk.clone()).await.unwrap();
    }
    (writer, stream)
}

/// Everything up to the end: the chunks as texts, and the kind of the error, if it failed.
async fn drain(mut reader: StreamReader) -> (Vec<String>, Option<String>) {
    let mut chunks = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(Payload::Bytes(bytes))) => {
                chunks.push(String::from_utf8(bytes.into()).unwrap())
            }
            Ok(Some(other)) => chunks.push(other.to_json_text().to_string()),
            Ok(None) => return (chunks, None),
            Err(error) => return (chunks, Some(error.kind().to_owned())),
        }
    }
}

async fn drain_result(outcome: Outcome) -> (Vec<String>, Option<String>) {
    match outcome.unwrap() {
        Payload::Stream(stream) => drain(stream.take().unwrap()).await,
        other => panic!("{other:?}"),
    }
}

fn ended(chunks: &[&str]) -> (Vec<String>, Option<String>) {
    (chunks.iter().map(|&chunk| chunk.to_owned()).collect(), None)
}

fn failed(chunks: &[&str], kind: &str) -> (Vec<String>, Option<String>) {
    (ended(chunks).0, Some(kind.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_request_stream_is_sent_in_pieces_and_read_by_the_callee() {
    let pair = pair_with(|options| options.max_chunk_size = 4).await;
    pair.answer(|ctx| async move {
        let read = drain(ctx.stream.as_ref().unwrap().take().unwrap()).await;
        assert_eq!(ctx.params, value(&json!({"p": 1})));
        Ok(value(&json!(read.0)))
    });
    let (writer, stream) = source(false, &[bytes("abcdef"), bytes(""), bytes("x")]).await;
    writer.end();
    assert_eq!(pair.call(Some(stream)).await.unwrap(), value(&json!(["abcd", "ef", "x"])));
    let packets = pair.take_packets();
    let shape = |packet: &Value| {
        json!([
            packet["seq"],
            packet["stream"],
            packet["params"],
            packet["meta"],
            packet["headers"]
        ])
    };
    let buffer = |text: &str| json!({"type": "Buffer", "data": text.as_bytes()});
    let shapes: Vec<_> = packets.iter().take(5).map(shape).collect();
    assert_eq!(
        shapes,
        [
            json!([0, true, {"p": 1}, {"a": 1}, {}]),
            json!([1, true, buffer("abcd"), {}, {}]),
            json!([2, true, buffer("ef"), {}, {}]),
            json!([3, true, buffer("x"), {}, {}]),
            json!([4, false, null, {}, {}]),
        ]
    );
    settle().await;
    for name in ["isomer.transit.streams.in.active", "moleculer.transit.streams.send.active"] {
        assert_eq!((pair.a.metric(name), pair.b.metric(name)), (0, 0), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_be_a_stream_of_values() {
    let pair = pair().await;
    let chunks = [value(&json!({"n": 1})), value(&json!([2])), bytes("b")];
    pair.answer(move |ctx| {
        let chunks = chunks.clone();
        async move {
            ctx.merge_meta(&crate::transit::tests::object("{\"b\":2}"));
            let (writer, stream) = source(true, &chunks).await;
            writer.end();
            Ok(Payload::Stream(stream))
        }
    });
    let ctx = calling(None);
    let outcome = pair.a.transit.request(&ctx).await;
    assert_eq!(drain_result(outcome).await, ended(&["{\"n\":1}", "[2]", "b"]));
    assert_eq!(ctx.meta().get("b"), Some("2"));
    assert_eq!(ctx.response_headers().as_str(), "{}");
    let packets: Vec<_> = pair.take_packets().into_iter().skip(1).collect();
    let shape = |packet: &Value| {
        json!([
            packet["seq"],
            packet["stream"],
            packet["success"],
            packet["data"],
            packet["headers"]
        ])
    };
    let headers = json!({"$streamObjectMode": true});
    assert_eq!(shape(&packets[0]), json!([0, true, true, null, headers]));
    assert_eq!(shape(&packets[1]), json!([1, true, true, {"n": 1}, headers]));
    assert_eq!(shape(&packets[4]), json!([4, false, true, null, headers]));
}

#[tokio::test(start_paused = true)]
async fn version_4_has_its_marks_in_the_meta() {
    let pair = pair_with(|options| options.protocol = config::Protocol::V4).await;
    pair.answer(|ctx| async move {
        assert_eq!(ctx.params, Payload::empty_object());
        assert_eq!(ctx.meta().as_str(), "{\"a\":1}");
        // The same stream goes back.
        Ok(Payload::Stream(ctx.stream.clone().unwrap()))
    });
    let (writer, stream) = source(true, &[value(&json!(1))]).await;
    writer.fail(MoleculerError::client(400, "BAD", "no"));
    let ctx = calling(Some(stream)).copy().with(|ctx| ctx.params = Payload::empty_object());
    let outcome = pair.a.transit.request(&ctx.build()).await;
    assert_eq!(drain_result(outcome).await, failed(&["1"], "BAD"));
    let packets = pair.take_packets();
    let of = |kind: &str, seq: u64| {
        let fits = |packet: &&Value| packet.get(kind).is_some() && packet["seq"] == seq;
        packets.iter().find(fits).cloned().unwrap()
    };
    let head = of("action", 0);
    assert_eq!((&head["params"], head.get("headers")), (&Value::Null, None));
    assert_eq!(head["meta"], json!({"a": 1, "$streamObjectMode": true}));
    let error = of("action", 2);
    assert_eq!(
        (&error["stream"], &error["meta"]["$streamError"]["type"]),
        (&json!(false), &json!("BAD"))
    );
    assert_eq!(of("success", 0)["meta"], json!({"a": 1, "$streamObjectMode": true}));
    let error = of("success", 2);
    assert_eq!((&error["stream"], &error["success"]), (&json!(false), &json!(false)));
    assert_eq!(error["error"]["type"], "BAD");
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_ends_streams_at_both_sides() {
    let pair = pair().await;
    let readers = pair.give_streams();
    let (writer, stream) = source(false, &[bytes("a")]).await;
    pair.call(Some(stream)).await.unwrap();
    settle().await;
    let reader = readers.lock().pop().unwrap();
    pair.b.transit.reject_node("a");
    assert_eq!(drain(reader).await, failed(&["a"], "STREAM_LOST"));
    assert_eq!(writer.try_write(bytes("b")), Ok(()));
    pair.a.transit.reject_node("b");
    writer.closed().await;
    assert_eq!(writer.try_write(bytes("c")), Err(Refused::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_ends_its_stream() {
    let pair = pair().await;
    let (tx, rx) = tokio::sync::oneshot::channel();
    let tx = Mutex::new(Some(tx));
    pair.answer(move |ctx| {
        let reader = ctx.stream.as_ref().unwrap().take().unwrap();
        let _ = tx.lock().take().unwrap().send(reader);
        std::future::pending()
    });
    let (writer, stream) = source(false, &[bytes("a")]).await;
    let call = pair.call(Some(stream));
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    writer.closed().await;
    assert_eq!(drain(rx.await.unwrap()).await, failed(&["a"], "STREAM_ABORTED"));
}

#[tokio::test(start_paused = true)]
async fn a_still_source_and_a_lost_chunk_fail_the_stream() {
    let pair = pair().await;
    let readers = pair.give_streams();
    let (still, stream) = source(false, &[bytes("a")]).await;
    pair.call(Some(stream)).await.unwrap();
    let reader = readers.lock().pop().unwrap();
    assert_eq!(drain(reader).await, failed(&["a"], "STREAM_IDLE"));
    still.closed().await;

    let (writer, stream) = source(false, &[bytes("a"), bytes("b"), bytes("c")]).await;
    pair.bus.set_rule(|delivery| {
        let packet: Value = serde_json::from_slice(delivery.data).unwrap();
        if packet["seq"] == 2 { Verdict::Drop } else { Verdict::Deliver }
    });
    pair.call(Some(stream)).await.unwrap();
    let reader = readers.lock().pop().unwrap();
    let before = clock::now();
    assert_eq!(drain(reader).await, failed(&["a"], "STREAM_GAP"));
    assert!(before.elapsed() < Duration::from_secs(12));
    drop(writer);
}

#[tokio::test(start_paused = true)]
async fn packets_in_any_order_make_the_same_stream() {
    let pair = pair().await;
    let readers = pair.give_streams();
    let packet = |seq: u32, more: bool, params: Value| {
        json!({"id": "1", "action": "x.own", "params": params, "meta": {}, "headers": {},
            "stream": more, "seq": seq, "ver": "5", "sender": "a"})
    };
    let text = |text: &str| json!({"type": "Buffer", "data": text.as_bytes()});
    for (seq, more, params) in [
        (2, true, text("b")),
        (3, false, Value::Null),
        (1, true, text("a")),
        (1, true, text("a")),
        (0, true, json!({})),
    ] {
        inject(&pair.bus, "MOL-t.REQ.b", &packet(seq, more, params));
    }
    settle().await;
    let reader = readers.lock().pop().unwrap();
    assert_eq!(drain(reader).await, ended(&["a", "b"]));
    inject(&pair.bus, "MOL-t.REQ.b", &packet(9_999, true, Value::Null));
    assert_eq!(pair.b.metric("isomer.transit.packets.refused.sequence"), 1);
    // Without a number it is no part of a stream; its sender is told.
    let mut without = packet(0, true, Value::Null);
    without["id"] = json!("2");
    without.as_object_mut().unwrap().remove("seq");
    inject(&pair.bus, "MOL-t.REQ.b", &without);
    settle().await;
    assert_eq!(pair.take_packets().last().unwrap()["error"]["type"], "INVALID_STREAM");
}

#[tokio::test(start_paused = true)]
async fn chunks_that_the_server_finds_too_large_are_halved() {
    let pair = pair().await;
    pair.answer(|ctx| async move {
        let (chunks, error) = drain(ctx.stream.as_ref().unwrap().take().unwrap()).await;
        assert_eq!(error, None);
        Ok(value(&json!(chunks.iter().map(String::len).collect::<Vec<_>>())))
    });
    pair.bus.set_payload_max(30_000);
    let (writer, stream) = source(false, &[Payload::Bytes(vec![b'z'; 20_000].into())]).await;
    writer.end();
    assert_eq!(pair.call(Some(stream)).await.unwrap(), value(&json!([5_000, 5_000, 5_000, 5_000])));
    // A value cannot be divided.
    let (writer, stream) = source(true, &[value(&json!("z".repeat(40_000)))]).await;
    pair.answer(|ctx| async move {
        let (_, error) = drain(ctx.stream.as_ref().unwrap().take().unwrap()).await;
        Ok(value(&json!(error)))
    });
    assert_eq!(pair.call(Some(stream)).await.unwrap(), value(&json!("PAYLOAD_TOO_LARGE")));
    drop(writer);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_away_costs_what_still_comes_and_nothing_else() {
    let pair = pair().await;
    let readers = pair.give_streams();
    let (writer, stream) = source(false, &[bytes("a")]).await;
    pair.call(Some(stream)).await.unwrap();
    settle().await;
    readers.lock().clear();
    for _ in 0..3 {
        writer.write(bytes("x")).await.unwrap();
        settle().await;
    }
    assert_eq!(pair.b.metric("isomer.transit.streams.chunks.dropped.total"), 3);
    writer.end();
    settle().await;
    assert_eq!(pair.b.metric("isomer.transit.streams.in.active"), 0);

    // The same with an answer.
    let (tx, rx) = tokio::sync::oneshot::channel();
    let tx = Mutex::new(Some(tx));
    pair.answer(move |_| {
        let tx = tx.lock().take().unwrap();
        async move {
            let (writer, stream) = source(false, &[bytes("a")]).await;
            let _ = tx.send(writer);
            Ok(Payload::Stream(stream))
        }
    });
    drop(pair.call(None).await.unwrap());
    let writer = rx.await.unwrap();
    writer.write(bytes("x")).await.unwrap();
    settle().await;
    writer.end();
    settle().await;
    assert!(pair.a.metric("moleculer.transit.orphan.response.total") > 0);
    assert_eq!(pair.a.metric("isomer.transit.streams.in.active"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_tells_the_other_side() {
    let pair = pair().await;
    let readers = pair.give_streams();
    let (writer, stream) = source(false, &[bytes("a")]).await;
    pair.call(Some(stream)).await.unwrap();
    pair.a.transit.disconnect().await;
    let reader = readers.lock().pop().unwrap();
    assert_eq!(drain(reader).await, failed(&["a"], "STREAM_LOST"));
    writer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_broke_with_the_connection_is_ended_when_it_is_back() {
    let pair = pair().await;
    let readers = pair.give_streams();
    let (writer, stream) = source(false, &[bytes("a")]).await;
    pair.call(Some(stream)).await.unwrap();
    settle().await;
    pair.bus.cut("a");
    writer.write(bytes("b")).await.unwrap();
    writer.closed().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    pair.bus.restore("a");
    let reader = readers.lock().pop().unwrap();
    let before = clock::now();
    assert_eq!(drain(reader).await, failed(&["a"], "BAD_GATEWAY"));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded_in_number() {
    let pair = pair_with(|options| options.streams.max = 1).await;
    let readers = pair.give_streams();
    let (_first, stream) = source(false, &[]).await;
    pair.call(Some(stream)).await.unwrap();
    let (second, stream) = source(false, &[]).await;
    assert_eq!(pair.call(Some(stream)).await.unwrap_err().name(), "QueueIsFullError");
    second.closed().await;
    // One that comes all the same is answered with the same error.
    let packet =
        json!({"id": "9", "action": "x.own", "stream": true, "seq": 0, "ver": "5", "sender": "a"});
    inject(&pair.bus, "MOL-t.REQ.b", &packet);
    settle().await;
    assert_eq!(pair.take_packets().last().unwrap()["error"]["name"], "QueueIsFullError");
    drop(readers);
}

#[tokio::test(start_paused = true)]
async fn an_untaken_stream_is_closed_when_its_call_is_answered() {
    let pair = pair().await;
    pair.b.own.lock().replace(Arc::new(|_| std::future::ready(Ok(Payload::null())).boxed()));
    let (writer, stream) = source(false, &[bytes("a")]).await;
    pair.call(Some(stream)).await.unwrap();
    writer.write(bytes("b")).await.unwrap();
    writer.end();
    settle().await;
    assert!(pair.b.metric("isomer.transit.streams.chunks.dropped.total") > 0);
    let taken = ContextBuilder::new("x.own".into(), "b".into());
    let (_writer, stream) = source(false, &[]).await;
    let _reader = stream.take();
    let again = taken.with(|ctx| ctx.stream = Some(stream)).build();
    let error = pair.a.transit.request(&again).await.unwrap_err();
    assert_eq!(error.kind(), "STREAM_TAKEN");
}
