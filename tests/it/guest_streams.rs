//! Streams of guests: what they read, write and answer with, and that no use or misuse of one costs anybody
//! else anything.

use std::time::Duration;

use bytes::Bytes;
use isomer_host::broker::ServiceBroker;
use isomer_host::clock;
use isomer_host::config::{BrokerOptions, Limits};
use isomer_host::context::{CallOptions, Context};
use isomer_host::error::MoleculerError;
use isomer_host::payload::Payload;
use isomer_host::payload::stream::{Refused, Stream, StreamReader, StreamWriter, channel};
use serde_json::{Value, json};
use tests::host::Host;
use tests::rig::{Rig, Setup, context, within_ms};
use tests::{broker, wait};

async fn rig(limits: Limits) -> Rig {
    Rig::new(Setup { limits, ..Setup::default() }).await
}

fn chunk(len: usize) -> Payload {
    Payload::Bytes(Bytes::from(vec![1; len]))
}

/// A call that sends a stream.
fn sending(action: &str, stream: &Stream) -> Context {
    let stream = stream.clone();
    context(action, Payload::empty_object()).with(|ctx| ctx.stream = Some(stream)).build()
}

/// The stream that the probe answers with.
async fn answer(rig: &Rig, params: Value) -> StreamReader {
    match rig.call_raw("respond", Payload::from_value(&params).unwrap()).await.unwrap() {
        Payload::Stream(stream) => stream.take().unwrap(),
        other => panic!("no stream: {other:?}"),
    }
}

/// How many bytes come, and how the stream ends.
async fn read(reader: &mut StreamReader) -> (usize, Result<(), MoleculerError>) {
    let mut n_bytes = 0;
    loop {
        match wait::for_result("a chunk", reader.next()).await {
            Ok(Some(chunk)) => n_bytes += chunk.len(),
            Ok(None) => return (n_bytes, Ok(())),
            Err(error) => return (n_bytes, Err(error)),
        }
    }
}

async fn kind_of_end(rig: &Rig, params: Value) -> (usize, String) {
    let mut reader = answer(rig, params).await;
    let (n_bytes, end) = read(&mut reader).await;
    (n_bytes, end.map_or_else(|error| error.kind().to_owned(), |()| "end".into()))
}

/// Options of a call that sends bytes, and where they are written.
fn with_stream() -> (StreamWriter, CallOptions) {
    let (writer, stream) = channel(false, 100_000);
    (writer, CallOptions { stream: Some(stream), ..CallOptions::default() })
}

async fn call_stream(
    broker: &ServiceBroker,
    action: &str,
    params: Value,
    options: CallOptions,
) -> StreamReader {
    let call = broker.call(action, broker::json(&params), options);
    match wait::for_result("the answer", call).await.unwrap() {
        Payload::Stream(stream) => stream.take().unwrap(),
        other => panic!("no stream: {other:?}"),
    }
}

/// Uploads, downloads and does both at once through a broker, which runs the sample or reaches it.
async fn use_files(broker: &ServiceBroker) {
    let (writer, options) = with_stream();
    let upload = broker.call("files.checksum", Payload::Absent, options);
    let write = async {
        for _ in 0..40 {
            writer.write(chunk(50_000)).await.unwrap();
        }
        writer.end();
    };
    let upload = wait::for_result("the upload", upload);
    let (sum, ()) = tokio::join!(upload, write);
    assert_eq!(sum.unwrap().parse::<Value>().unwrap()["bytes"], 2_000_000);

    let params = json!({"bytes": 3_000_000});
    let mut file = call_stream(broker, "files.generate", params, CallOptions::default()).await;
    assert_eq!(read(&mut file).await, (3_000_000, Ok(())));

    let (writer, options) = with_stream();
    let mut upper = call_stream(broker, "files.upper", json!({}), options).await;
    for text in ["one", "two"] {
        writer.write(Payload::Bytes(Bytes::from_static(text.as_bytes()))).await.unwrap();
        let shouted = wait::for_result("a chunk", upper.next()).await.unwrap();
        assert_eq!(shouted, Some(Payload::Bytes(Bytes::from(text.to_uppercase()))));
    }
    writer.fail(MoleculerError::client(400, "BROKEN", "broken"));
    let (_, end) = read(&mut upper).await;
    assert_eq!(end.unwrap_err().kind(), "BROKEN");

    let (writer, options) = with_stream();
    let mut lines = call_stream(broker, "files.lines", json!({}), options).await;
    assert!(lines.object_mode());
    writer.write(Payload::Bytes(Bytes::from_static(b"a\nb"))).await.unwrap();
    writer.end();
    for (line, text) in [(1, "a"), (2, "b")] {
        let object = wait::for_result("a line", lines.next()).await.unwrap().unwrap();
        assert_eq!(object.parse::<Value>().unwrap(), json!({"line": line, "text": text}));
    }
    assert_eq!(lines.next().await, Ok(None));
}

/// Lets tasks run until no handler has an instance.
async fn until_quiet(rig: &Rig) {
    wait::until("the handler to end", async || (rig.pool.stats().running == 0).then_some(())).await;
}

#[tokio::test]
async fn a_guest_reads_what_its_caller_sends_while_it_is_sent() {
    let rig = rig(Limits::default()).await;
    let (writer, stream) = channel(false, 100);
    let call = rig.call_ctx("read", sending("read", &stream));
    let source = async {
        for _ in 0..50 {
            writer.write(chunk(60)).await.unwrap();
        }
        writer.end();
    };
    let (read, ()) = tokio::join!(call, source);
    let read: Value = read.unwrap().parse().unwrap();
    assert_eq!(
        read,
        json!({"objectMode": false, "chunks": 50, "bytes": 3_000, "last": null, "end": "end"})
    );
    assert_eq!(rig.call("read", json!({})).await, Ok(json!("no stream")));
}

#[tokio::test]
async fn objects_and_errors_of_the_source_reach_the_guest() {
    let rig = rig(Limits { payload: 1_000, ..Limits::default() }).await;
    let check = async |write: fn(StreamWriter), end: &str, last: Value| {
        let (writer, stream) = channel(true, 10_000);
        write(writer);
        let read = rig.call_ctx("read", sending("read", &stream)).await.unwrap();
        let read: Value = read.parse().unwrap();
        assert_eq!((&read["end"], &read["last"]), (&json!(end), &last));
    };
    check(
        |writer| {
            writer.try_write(Payload::from_value(&json!({"a": 1})).unwrap()).unwrap();
            writer.end();
        },
        "end",
        json!({"a": 1}),
    )
    .await;
    check(
        |writer| {
            writer.try_write(Payload::from_value(&json!(5)).unwrap()).unwrap();
            writer.fail(MoleculerError::client(400, "BROKEN", "broken"));
        },
        "BROKEN",
        json!(5),
    )
    .await;
    check(drop, "STREAM_ABORTED", Value::Null).await;
    let large = |writer: StreamWriter| {
        writer.try_write(Payload::from_value(&"x".repeat(2_000)).unwrap()).unwrap();
        writer.end();
    };
    check(large, "PAYLOAD_TOO_LARGE", Value::Null).await;
}

#[tokio::test]
async fn bytes_larger_than_a_payload_come_in_pieces() {
    let rig = rig(Limits { payload: 1_000, ..Limits::default() }).await;
    let (writer, stream) = channel(false, 10_000);
    writer.write(chunk(2_500)).await.unwrap();
    writer.end();
    let read = rig.call_ctx("read", sending("read", &stream)).await.unwrap();
    let read: Value = read.parse().unwrap();
    assert_eq!((&read["chunks"], &read["bytes"]), (&json!(3), &json!(2_500)));
}

#[tokio::test]
async fn a_stream_that_the_guest_does_not_take_is_closed_with_its_handler() {
    let rig = rig(Limits::default()).await;
    let (writer, stream) = channel(false, 100);
    rig.call_ctx("ignore", sending("ignore", &stream)).await.unwrap();
    assert_eq!(writer.try_write(chunk(1)), Err(Refused::Closed));
}

#[tokio::test]
async fn the_caller_has_its_answer_while_the_guest_writes() {
    let rig = rig(Limits { stream_buffer: 1_000, ..Limits::default() }).await;
    let mut reader = answer(&rig, json!({"n": 100, "size": 900, "then": "end"})).await;
    assert_eq!(rig.pool.stats().running, 1);
    // Another call gets another instance meanwhile.
    rig.call("echo", json!({})).await.unwrap();
    assert_eq!(read(&mut reader).await, (90_000, Ok(())));
    until_quiet(&rig).await;
    assert_eq!(rig.pool.stats().failed_instances, 0);
}

#[tokio::test]
async fn a_chunk_larger_than_the_buffer_is_written_in_pieces() {
    let rig = rig(Limits { stream_buffer: 1_000, ..Limits::default() }).await;
    let mut reader = answer(&rig, json!({"n": 2, "size": 2_500, "then": "end"})).await;
    let first = reader.next().await.unwrap().unwrap();
    assert_eq!(first.len(), 1_000);
    assert_eq!(read(&mut reader).await, (4_000, Ok(())));
}

#[tokio::test]
async fn a_stream_may_be_longer_than_any_payload() {
    let rig = rig(Limits { payload: 100_000, ..Limits::default() }).await;
    let mut reader = answer(&rig, json!({"n": 300, "size": 100_000, "then": "end"})).await;
    assert_eq!(read(&mut reader).await, (30_000_000, Ok(())));
    let (_, kind) = kind_of_end(&rig, json!({"n": 1, "size": 100_001, "then": "end"})).await;
    assert_eq!(kind, "PAYLOAD_TOO_LARGE");
}

/// Back-pressure: the guest is never further ahead than its buffer allows, and learns that nobody reads.
#[tokio::test]
async fn a_fast_guest_waits_for_a_slow_reader_and_notices_when_it_goes() {
    let rig = rig(Limits { stream_buffer: 100_000, ..Limits::default() }).await;
    let mut reader = answer(&rig, json!({"n": 10_000, "size": 10_000, "then": "end"})).await;
    for _ in 0..5 {
        reader.next().await.unwrap().unwrap();
    }
    drop(reader);
    until_quiet(&rig).await;
    let events = rig.mesh.events.lock().clone();
    let (_, _, data) = events.iter().find(|(_, name, _)| name == "probe.refused").unwrap();
    let refused: Value = serde_json::from_str(data).unwrap();
    assert_eq!(refused[0], "STREAM_CLOSED");
    // Five were read, nine fit into the buffer.
    assert!(refused[1].as_u64().unwrap() <= 5 + 10, "{refused}");
    assert_eq!(rig.pool.stats().failed_instances, 0);
}

#[tokio::test]
async fn however_the_handler_ends_its_stream_ends_with_the_reason() {
    let rig = rig(Limits { fuel: 50_000_000, ..Limits::default() }).await;
    let check = async |then: &str, expected: &str| {
        let ended = kind_of_end(&rig, json!({"n": 2, "size": 3, "then": then})).await;
        assert_eq!(ended, (6, expected.to_owned()), "{then}");
    };
    check("end", "end").await;
    check("fail", "LATE").await;
    check("say", "SAID").await;
    check("forget", "STREAM_ABORTED").await;
    check("trap", "SERVICE_TRAPPED").await;
    check("spin", "FUEL_EXHAUSTED").await;
    until_quiet(&rig).await;
    assert_eq!(rig.pool.stats().failed_instances, 2);
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_ends_with_its_answer_and_another_limit_begins() {
    let limits = Limits {
        timeout: Duration::from_millis(200),
        stream_timeout: Duration::from_millis(1_000),
        ..Limits::default()
    };
    let rig = rig(limits).await;
    let begin = clock::now();
    let call = async |then: &str| {
        let params = Payload::from_value(&json!({"n": 1, "then": then})).unwrap();
        let ctx = context("respond", params).deadline(within_ms(100)).build();
        let outcome = rig.call_ctx("respond", ctx.clone()).await.unwrap();
        let Payload::Stream(stream) = outcome else { panic!("no stream") };
        assert!(ctx.deadline().is_none());
        read(&mut stream.take().unwrap()).await.1
    };
    assert_eq!(call("hang").await.unwrap_err().kind(), "REQUEST_TIMEOUT");
    assert_eq!((clock::now() - begin).as_millis(), 1_000);
    // What the handler calls after its answer does not inherit the deadline of its caller.
    assert_eq!(call("call").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_upload_has_the_time_of_a_stream() {
    let limits = Limits { timeout: Duration::from_millis(200), ..Limits::default() };
    let rig = rig(limits).await;
    let (writer, stream) = channel(false, 100);
    let source = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        writer.write(chunk(1)).await.unwrap();
        writer.end();
    };
    let (read, ()) = tokio::join!(rig.call_ctx("read", sending("read", &stream)), source);
    assert_eq!(read.unwrap().parse::<Value>().unwrap()["end"], "end");
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_and_a_reader_that_never_reads_end_after_the_idle_time() {
    let idle = Duration::from_millis(300);
    let rig = rig(Limits { stream_idle: idle, stream_buffer: 1_024, ..Limits::default() }).await;
    let (writer, stream) = channel(false, 100);
    let read_it = rig.call_ctx("read", sending("read", &stream)).await.unwrap();
    assert_eq!(read_it.parse::<Value>().unwrap()["end"], "STREAM_IDLE");
    assert_eq!(writer.try_write(chunk(1)), Err(Refused::Closed));
    let mut reader = answer(&rig, json!({"n": 10, "size": 1_000})).await;
    until_quiet(&rig).await;
    let (n_bytes, end) = read(&mut reader).await;
    assert_eq!((n_bytes, end.unwrap_err().kind()), (1_000, "STREAM_IDLE"));
}

/// The guest takes the stream and waits for something else: its source is held up and no memory grows.
#[tokio::test(start_paused = true)]
async fn a_guest_that_never_reads_holds_its_source_up_until_its_time_is_over() {
    let limits = Limits { stream_timeout: Duration::from_secs(5), ..Limits::default() };
    let rig = rig(limits).await;
    let (writer, stream) = channel(false, 1_000);
    let source = async {
        let mut n_written = 0;
        while writer.write(chunk(100)).await.is_ok() {
            n_written += 1;
        }
        n_written
    };
    let call = rig.call_ctx("hold", sending("hold", &stream));
    let (outcome, n_written) = tokio::join!(call, source);
    assert_eq!(outcome.unwrap_err().kind(), "REQUEST_TIMEOUT");
    assert!(n_written <= 10, "{n_written}");
}

#[tokio::test]
async fn what_a_handler_leaves_behind_is_closed() {
    let rig = rig(Limits::default()).await;
    let (writer, stream) = channel(false, 100);
    let outcome = rig.call_ctx("keep", sending("keep", &stream)).await.unwrap();
    let Payload::Stream(kept) = outcome else { panic!("no stream") };
    let (_, end) = read(&mut kept.take().unwrap()).await;
    assert_eq!(end.unwrap_err().kind(), "STREAM_ABORTED");
    until_quiet(&rig).await;
    assert_eq!(writer.try_write(chunk(1)), Err(Refused::Closed));
    let used = rig.call("use_kept", json!({})).await;
    assert_eq!(used, Ok(json!(["STREAM_CLOSED", "STREAM_CLOSED"])));
}

#[tokio::test]
async fn chunks_of_the_wrong_kind_and_closed_streams_are_failures_that_the_guest_can_read() {
    let rig = rig(Limits { payload: 1_000, ..Limits::default() }).await;
    let wrong = "INVALID_PAYLOAD";
    let kinds = json!([
        wrong,
        wrong,
        wrong,
        wrong,
        null,
        wrong,
        wrong,
        "PAYLOAD_TOO_LARGE",
        null,
        "STREAM_CLOSED",
        "STREAM_CLOSED",
        "STREAM_CLOSED",
        wrong,
        wrong
    ]);
    assert_eq!(rig.call("misuse", json!({})).await, Ok(kinds));
}

#[tokio::test]
async fn there_are_as_many_streams_and_handles_as_the_limits_say() {
    let rig_of =
        async |streams, handles| rig(Limits { streams, handles, ..Limits::default() }).await;
    let opened = rig_of(5, 1_000).await.call("open", json!({"n": 4})).await;
    assert_eq!(opened, Ok(json!(4)));
    let opened = rig_of(5, 1_000).await.call("open", json!({"n": 100})).await;
    assert_eq!(opened, Ok(json!(5)));
    let rig = rig_of(1_000, 50).await;
    let error = rig.call("open", json!({"n": 100})).await.unwrap_err();
    assert_eq!(error.kind(), "SERVICE_TRAPPED");
    rig.call("echo", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_guest_calls_with_a_stream_and_takes_one() {
    let rig = rig(Limits::default()).await;
    let sent = rig.call("send", json!({"action": "other.read", "n": 3})).await;
    assert_eq!(sent, Ok(json!([[{"n": 0}, {"n": 1}, {"n": 2}], "end"])));
    let params = json!({"action": "other.read", "n": 1, "then": "forget"});
    assert_eq!(rig.call("send", params).await, Ok(json!([[{"n": 0}], "STREAM_ABORTED"])));
    // A callee that goes away without reading is noticed.
    let error = rig.call("send", json!({"action": "other.gone", "n": 100_000})).await.unwrap_err();
    assert_eq!(error.kind(), "STREAM_CLOSED");
    let taken = rig.call("take", json!({"action": "other.stream"})).await.unwrap();
    assert_eq!(
        (&taken["early"], &taken["absent"], &taken["again"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert_eq!((&taken["read"]["bytes"], &taken["read"]["end"]), (&json!(5), &json!("end")));
    let taken = rig.call("take", json!({"action": "other.absent"})).await.unwrap();
    assert_eq!(taken["read"], Value::Null);
}

#[tokio::test]
async fn one_guest_reads_what_another_one_writes() {
    let rig = rig(Limits { stream_buffer: 5_000, ..Limits::default() }).await;
    let taken = rig.call("take", json!({"action": "probe.write_lines"})).await.unwrap();
    assert_eq!((&taken["read"]["bytes"], &taken["read"]["end"]), (&json!(100_000), &json!("end")));
}

#[tokio::test]
async fn files_go_through_the_broker_to_a_guest_and_back() {
    let host = Host::start(BrokerOptions::default(), &["files"]).await;
    use_files(&host.broker).await;
    wait::until("all streams to be closed", async || {
        (broker::metric(&host.broker, "isomer.guest.streams") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn files_go_through_the_mesh_to_a_guest_and_back() {
    let bus = "guest-streams";
    let _host = Host::start(broker::on_bus("a", bus), &["files"]).await;
    let other = broker::start(broker::on_bus("b", bus)).await;
    broker::wait_for(&other, &["files"]).await;
    use_files(&other).await;
}

#[tokio::test]
async fn a_service_that_is_taken_away_writes_its_streams_to_their_end() {
    let host = Host::start(BrokerOptions::default(), &["files"]).await;
    let params = json!({"bytes": 5_000_000});
    let mut file =
        call_stream(&host.broker, "files.generate", params, CallOptions::default()).await;
    let name = "files".into();
    let (read, removed) = tokio::join!(read(&mut file), host.broker.remove_service(&name));
    assert_eq!((read, removed), ((5_000_000, Ok(())), true));
}

#[tokio::test]
async fn events_have_no_streams() {
    let rig = rig(Limits::default()).await;
    rig.event("probe.x", json!({"do": "stream"})).await.unwrap();
    let events = rig.mesh.events.lock().clone();
    assert_eq!(events[0].2, json!([false, "STREAM_NOT_POSSIBLE"]).to_string());
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_streams_within_its_limit() {
    let rig = rig(Limits { stream_buffer: 1_024, ..Limits::default() }).await;
    let mut reader = answer(&rig, json!({"n": 20, "size": 1_000, "then": "end"})).await;
    let drained = rig.pool.drain(Duration::from_secs(5));
    let (read, ()) = tokio::join!(read(&mut reader), drained);
    assert_eq!(read, (20_000, Ok(())));

    let rig = Rig::new(Setup::default()).await;
    let mut reader = answer(&rig, json!({"n": 1, "then": "hang"})).await;
    rig.pool.drain(Duration::from_secs(5)).await;
    let (_, end) = self::read(&mut reader).await;
    assert_eq!(end.unwrap_err().name(), "RequestRejectedError");
}
