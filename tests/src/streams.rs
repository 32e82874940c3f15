//! The service `rs.files`: the same actions as `js.files` of `tests/peers/streams.js`, on our side, and what
//! tests of streams make and look at.

use isomer_host::broker::ServiceBroker;
use isomer_host::context::{CallOptions, Context, Outcome};
use isomer_host::error::MoleculerError;
use isomer_host::payload::Payload;
use isomer_host::payload::stream::{Stream, StreamReader, StreamWriter, channel};
use isomer_host::service::LocalService;
use isomer_host::task;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;

use crate::broker::json;
use crate::mirror::action;
use crate::wait;

/// What waits in a stream of these tests: less than most of them send, so that writers have to wait.
const CAPACITY: usize = 1 << 20;

/// The bytes of a file of this size, the same as in `tests/peers/streams.js`.
#[must_use]
pub fn file_bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| u8::try_from((i * 7 + (i >> 8)) & 255).unwrap_or_default()).collect()
}

/// SHA-256 as hexadecimal digits.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Value number `n` of every stream of values.
#[must_use]
pub fn value_at(n: usize) -> Value {
    json!({"n": n, "text": "ü".repeat(n % 5), "deep": [null, {"n": n}]})
}

/// A stream that is written in a task of its own.
pub fn written<Fut>(
    object_mode: bool,
    write: impl FnOnce(StreamWriter) -> Fut + Send + 'static,
) -> Stream
where
    Fut: Future<Output = ()> + Send,
{
    let (writer, stream) = channel(object_mode, CAPACITY);
    task::spawn_on(&Handle::current(), "test stream", async move { write(writer).await });
    stream
}

/// A file of this size as a stream, in pieces of this one.
#[must_use]
pub fn file(size: usize, piece: usize) -> Stream {
    written(false, move |writer| async move {
        for chunk in file_bytes(size).chunks(piece) {
            if writer.write(Payload::Bytes(chunk.to_vec().into())).await.is_err() {
                return;
            }
        }
        writer.end();
    })
}

/// A stream of so many values.
#[must_use]
pub fn values(count: usize) -> Stream {
    written(true, move |writer| async move {
        for n in 0..count {
            if writer.write(json(&value_at(n))).await.is_err() {
                return;
            }
        }
        writer.end();
    })
}

/// One chunk, then an error.
#[must_use]
pub fn broken(object_mode: bool) -> Stream {
    written(object_mode, move |writer| async move {
        let first =
            if object_mode { json(&json!({"n": 0})) } else { Payload::Bytes("first".into()) };
        let _ = writer.write(first).await;
        let error = MoleculerError::client(409, "HALF", "half way").with_data(&json!({"at": 1}));
        writer.fail(error);
    })
}

/// Everything of a stream: `{size, hash, items, error}` as `drain` of the peers.
pub async fn drain(mut reader: StreamReader) -> Value {
    let (mut bytes, mut items, mut error) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        match reader.next().await {
            Ok(Some(Payload::Bytes(chunk))) => bytes.extend_from_slice(&chunk),
            Ok(Some(value)) => items.push(value.parse::<Value>().unwrap_or_default()),
            Ok(None) => break,
            Err(failure) => {
                let data = failure.fields().data.as_deref();
                let data: Value =
                    data.map_or(Value::Null, |data| serde_json::from_str(data).unwrap());
                error = json!({"name": failure.name(), "message": failure.message(),
                    "type": failure.kind(), "code": failure.code(), "data": data});
                break;
            }
        }
    }
    json!({"size": bytes.len(), "hash": hash(&bytes), "items": items, "error": error})
}

/// Everything of a result that is a stream.
///
/// # Panics
/// When it is none.
pub async fn drain_result(result: Payload) -> Value {
    let Payload::Stream(stream) = result else { panic!("no stream: {result:?}") };
    let reader = stream.take().unwrap();
    wait::for_result("the end of a stream", drain(reader)).await
}

/// Options with a stream.
#[must_use]
pub fn with_stream(stream: Stream) -> CallOptions {
    CallOptions { stream: Some(stream), ..CallOptions::default() }
}

/// Calls with a stream and gives the result.
///
/// # Errors
/// The call's.
pub async fn upload(
    broker: &ServiceBroker,
    action: &str,
    params: Value,
    stream: Stream,
) -> Outcome {
    let what = format!("an answer of '{action}'");
    let call = broker.call(action, json(&params), with_stream(stream));
    wait::for_result(&what, call).await
}

/// Adds the service `rs.files`.
pub async fn add(broker: &ServiceBroker) {
    let actions = vec![
        ("read", action(read)),
        ("file", action(|ctx| async move { Ok(Payload::Stream(given_file(&ctx))) })),
        (
            "values",
            action(|ctx| async move {
                let params: Value = ctx.params.parse().unwrap();
                let count = params["count"].as_u64().and_then(|count| usize::try_from(count).ok());
                Ok(Payload::Stream(values(count.unwrap_or_default())))
            }),
        ),
        (
            "broken",
            action(|ctx| async move {
                let params: Value = ctx.params.parse().unwrap();
                Ok(Payload::Stream(broken(params["objectMode"] == true)))
            }),
        ),
        ("back", action(|ctx| async move { Ok(Payload::Stream(ctx.stream.clone().unwrap())) })),
        ("ignore", action(|_| async { Ok(json(&json!("done"))) })),
        ("refuse", action(|_| async { Err(MoleculerError::client(403, "NO", "no")) })),
    ];
    let definitions: serde_json::Map<String, Value> =
        actions.iter().map(|(name, _)| ((*name).to_owned(), json!({}))).collect();
    let schema = json!({"name": "rs.files", "actions": definitions});
    broker.add_service(LocalService::native(&schema, actions, vec![]).unwrap()).await.unwrap();
}

async fn read(ctx: Context) -> Outcome {
    let mut result = drain(ctx.stream.as_ref().unwrap().take().unwrap()).await;
    result["params"] = ctx.params.parse().unwrap();
    result["meta"] = ctx.meta().to_map().into();
    result["headers"] = ctx.headers.to_map().into();
    Ok(json(&result))
}

fn given_file(ctx: &Context) -> Stream {
    let params: Value = ctx.params.parse().unwrap();
    let number = |key: &str| params[key].as_u64().and_then(|n| usize::try_from(n).ok());
    file(number("size").unwrap_or_default(), number("piece").unwrap_or(100_000))
}
