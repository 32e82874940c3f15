//! What crosses between the nodes of the matrix, and the service on our side. `tests/peers/matrix.js` has the
//! same values and the same service.

use std::sync::Arc;

use bytes::Bytes;
use isomer_host::broker::ServiceBroker;
use isomer_host::context::{Context, EventType, Outcome};
use isomer_host::error::MoleculerError;
use isomer_host::handler::EventHandler;
use isomer_host::payload::Payload;
use isomer_host::payload::stream::{Stream, StreamReader, channel};
use isomer_host::service::LocalService;
use isomer_host::task;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::broker::{json as payload, object};
use crate::mirror::action;

/// Values of every kind that JSON has.
pub(super) fn values() -> Value {
    json!({
        "text": "ü\u{1F600} \" \\ \u{2028}", "int": 42, "negative": -1, "large": 4_294_967_296_i64,
        "safe": 9_007_199_254_740_991_i64, "half": 1.5, "third": 0.1, "huge": 1e300, "null": null,
        "yes": true, "no": false, "empty": {}, "none": [], "list": [1, "two", [3, {"four": null}]],
        "long": "x".repeat(2_000),
    })
}

/// As many bytes as do not fit into one chunk of Moleculer's.
fn bytes() -> Bytes {
    (0..300_000_u32).map(|i| ((i * 7 + (i >> 8)) & 255) as u8).collect::<Vec<_>>().into()
}

fn objects() -> Vec<Value> {
    let object =
        |n: u32| json!({"n": n, "text": "ü\u{1F600}", "list": [n, null, {"half": half(n)}]});
    (0..10).map(object).collect()
}

/// As JavaScript prints it: whole numbers have no fraction.
fn half(n: u32) -> Value {
    if n.is_multiple_of(2) { json!(n / 2) } else { json!(f64::from(n) / 2.0) }
}

/// The bytes as a stream.
pub(super) fn byte_stream() -> Stream {
    let all = bytes();
    feed(false, vec![Payload::Bytes(all.slice(..10)), Payload::Bytes(all.slice(10..))])
}

/// The objects as a stream.
pub(super) fn object_stream() -> Stream {
    feed(true, objects().iter().map(payload).collect())
}

fn feed(object_mode: bool, chunks: Vec<Payload>) -> Stream {
    let (writer, stream) = channel(object_mode, 1 << 20);
    task::spawn("a stream of the matrix", &task::CancellationToken::new(), async move {
        for chunk in chunks {
            if writer.write(chunk).await.is_err() {
                return;
            }
        }
        writer.end();
    });
    stream
}

/// Whether a stream has the bytes.
pub(super) async fn check_bytes(stream: &Stream) -> Result<(), String> {
    let mut taken = Vec::new();
    let mut reader = reader(stream)?;
    while let Some(chunk) = reader.next().await.map_err(|error| error.to_string())? {
        match chunk {
            Payload::Bytes(chunk) => taken.extend_from_slice(&chunk),
            other => return Err(format!("a chunk that is no bytes: {other:?}")),
        }
    }
    if taken == bytes() { Ok(()) } else { Err(format!("{} bytes, or not those", taken.len())) }
}

/// Whether a stream has the objects.
pub(super) async fn check_objects(stream: &Stream) -> Result<(), String> {
    let mut taken: Vec<Value> = Vec::new();
    let mut reader = reader(stream)?;
    while let Some(chunk) = reader.next().await.map_err(|error| error.to_string())? {
        taken.push(chunk.parse().map_err(|error| format!("{error}"))?);
    }
    if taken == objects() { Ok(()) } else { Err(format!("not the objects: {taken:?}")) }
}

fn reader(stream: &Stream) -> Result<StreamReader, String> {
    stream.take().ok_or_else(|| "the stream has been taken by somebody else".to_owned())
}

/// The error that both sides answer with.
pub(super) fn error() -> MoleculerError {
    MoleculerError::client(409, "NOT_SO", "Not so.").with_data(&json!({"list": [1, "ü"]}))
}

/// An event that came.
#[derive(Clone)]
pub(super) struct Event {
    name: String,
    pub(super) data: Value,
    pub(super) broadcast: bool,
}

/// The events that came.
#[derive(Clone, Default)]
pub(super) struct Inbox(Arc<(Mutex<Vec<Event>>, Notify)>);

impl Inbox {
    /// Waits for the event of this name whose data name this sender.
    pub(super) async fn next(&self, name: &str, from: &str) -> Event {
        loop {
            let more = self.0.1.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            let wanted = |event: &&Event| event.name == name && event.data["from"] == *from;
            if let Some(event) = self.0.0.lock().iter().find(wanted) {
                return event.clone();
            }
            more.await;
        }
    }

    fn push(&self, event: Event) {
        self.0.0.lock().push(event);
        self.0.1.notify_waiters();
    }
}

/// Adds the service, which has the node's name, and gives what it hears.
pub(super) async fn serve(broker: &ServiceBroker) -> Inbox {
    let name = broker.node_id().to_string();
    let actions = vec![
        ("echo", action(echo)),
        ("fail", action(|_| async { Err(error()) })),
        ("bytes", action(|ctx| async move { verdict(check_bytes(&stream_of(&ctx)?).await) })),
        ("objects", action(|ctx| async move { verdict(check_objects(&stream_of(&ctx)?).await) })),
        ("giveBytes", action(|_| async { Ok(Payload::Stream(byte_stream())) })),
        ("giveObjects", action(|_| async { Ok(Payload::Stream(object_stream())) })),
    ];
    let definitions: serde_json::Map<String, Value> =
        actions.iter().map(|(name, _)| ((*name).to_owned(), json!({}))).collect();
    let pattern = format!("{name}.**");
    let schema = json!({"name": name, "actions": definitions, "events": {&pattern: {}}});
    let inbox = Inbox::default();
    let heard = inbox.clone();
    let listener: EventHandler = Arc::new(move |ctx| {
        let broadcast = ctx.event.as_ref().is_some_and(|event| event.kind == EventType::Broadcast);
        let data = ctx.params.parse().unwrap();
        heard.push(Event { name: ctx.name.to_string(), data, broadcast });
        Box::pin(async { Ok(()) })
    });
    let events = vec![(pattern.as_str(), listener)];
    broker.add_service(LocalService::native(&schema, actions, events).unwrap()).await.unwrap();
    inbox
}

async fn echo(ctx: Context) -> Outcome {
    let meta = ctx.meta().to_map();
    ctx.merge_meta(&object(&json!({"back": meta.get("there")})));
    Ok(ctx.params.clone())
}

fn stream_of(ctx: &Context) -> Result<Stream, MoleculerError> {
    ctx.stream.clone().ok_or_else(|| MoleculerError::internal("no stream came"))
}

fn verdict(checked: Result<(), String>) -> Outcome {
    checked.map(|()| payload(&json!(true))).map_err(MoleculerError::internal)
}
