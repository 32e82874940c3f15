//! What the probe does with streams, good and bad.

use std::cell::RefCell;

use serde_json::{Value, json};

use crate::exports::isomer::service::handler::{Context, Failure, Payload};
use crate::isomer::service::broker::wait_any;
use crate::isomer::service::streams::{Reader, Writer};
use crate::{answer, failure, spin, text, trap};

thread_local! {
    /// A reader and a writer that a handler keeps although it ends.
    static KEPT: RefCell<Option<(Option<Reader>, Option<Writer>)>> = const { RefCell::new(None) };
}

/// One action; `n` is the number among its params. `None` when it is not about streams.
pub(crate) fn call(
    ctx: &Context,
    action: &str,
    n: usize,
    params: &Value,
) -> Option<Result<Payload, Failure>> {
    Some(match action {
        "read" => read(ctx),
        "respond" => respond(ctx, n, params),
        "write_lines" => respond(ctx, 100, &json!({"size": 1_000, "then": "end"})),
        "ignore" => Ok(answer(&json!("ignored"))),
        "hold" => {
            let _stream = ctx.stream();
            ctx.call("other.never", &Payload::Absent, None)
        }
        "keep" => {
            KEPT.replace(Some((ctx.stream(), ctx.respond_stream(false).ok())));
            Ok(Payload::Absent)
        }
        "use_kept" => use_kept(),
        "misuse" => misuse(ctx),
        "open" => open(ctx, n),
        "send" => send(ctx, n, params),
        "take" => take(ctx, text(params, "action")),
        _ => return None,
    })
}

/// Reads the caller's stream and says what came and how it ended.
fn read(ctx: &Context) -> Result<Payload, Failure> {
    let Some(reader) = ctx.stream() else { return Ok(answer(&json!("no stream"))) };
    Ok(answer(&read_all(&reader)))
}

fn read_all(reader: &Reader) -> Value {
    let (mut chunks, mut bytes, mut last) = (0, 0, Value::Null);
    let end = loop {
        match reader.read() {
            Ok(None) => break json!("end"),
            Err(failure) => break failure.type_.into(),
            Ok(Some(Payload::Bytes(chunk))) => bytes += chunk.len(),
            Ok(Some(chunk)) => last = crate::value(chunk),
        }
        chunks += 1;
    };
    json!({"objectMode": reader.object_mode(), "chunks": chunks, "bytes": bytes, "last": last, "end": end})
}

/// Answers with `n` chunks of `size` bytes, and then does what `then` says.
fn respond(ctx: &Context, n: usize, params: &Value) -> Result<Payload, Failure> {
    let size =
        params.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
    let writer = ctx.respond_stream(false)?;
    for number in 0..n {
        let wrote = writer.write(&Payload::Bytes(vec![b'x'; size.unwrap_or(1)]));
        if let Err(error) = wrote {
            ctx.emit(
                "probe.refused",
                &Payload::Json(json!([error.type_, number]).to_string()),
                None,
            )?;
            return Err(error);
        }
    }
    match text(params, "then") {
        "end" => writer.end().map(|()| Payload::Absent),
        "fail" => Err(failure("LateError", Some("LATE"), None)),
        "say" => {
            writer.fail(&failure("SaidError", Some("SAID"), None));
            writer.fail(&failure("TwiceError", None, None));
            Ok(Payload::Absent)
        }
        "trap" => trap(),
        "spin" => spin(),
        "hang" => ctx.call("other.never", &Payload::Absent, None),
        "call" => {
            ctx.call("other.echo", &Payload::Absent, None)?;
            writer.end().map(|()| Payload::Absent)
        }
        _ => Ok(Payload::Absent),
    }
}

/// What an ended handler has left behind is of no use.
fn use_kept() -> Result<Payload, Failure> {
    let (reader, writer) = KEPT.take().unwrap_or_default();
    let read = reader.map(|reader| reader.read().err().and_then(|error| error.type_));
    let wrote = writer.map(|writer| writer.end().err().and_then(|error| error.type_));
    Ok(answer(&json!([read, wrote])))
}

/// Writes what does not fit; gives the types of the errors.
fn misuse(ctx: &Context) -> Result<Payload, Failure> {
    let (objects, _call) = ctx.start_stream_call("other.hold", &Payload::Absent, None, true);
    let (bytes, _call) = ctx.start_stream_call("other.hold", &Payload::Absent, None, false);
    let kind = |result: Result<(), Failure>| result.err().and_then(|error| error.type_);
    let mut kinds = vec![
        kind(objects.write(&Payload::Bytes(vec![1]))),
        kind(objects.write(&Payload::Absent)),
        kind(objects.write(&Payload::Json("null".into()))),
        kind(objects.write(&Payload::Json("{".into()))),
        kind(objects.write(&Payload::Json("{}".into()))),
        kind(bytes.write(&Payload::Json("{}".into()))),
        kind(bytes.write(&Payload::Absent)),
        kind(bytes.write(&Payload::Bytes(vec![0; 2_000]))),
        kind(bytes.end()),
        kind(bytes.end()),
        kind(bytes.write(&Payload::Bytes(vec![1]))),
    ];
    let (closed, call) =
        ctx.start_stream_call("other.echo", &Payload::Json("{".into()), None, false);
    kinds.push(kind(closed.write(&Payload::Bytes(vec![1]))));
    kinds.push(call.take().and_then(Result::err).and_then(|error| error.type_));
    kinds.push(kind(ctx.call("other.stream", &Payload::Absent, None).map(drop)));
    Ok(answer(&json!(kinds)))
}

/// Opens `n` streams and keeps them; gives how many could be opened.
fn open(ctx: &Context, n: usize) -> Result<Payload, Failure> {
    let calls: Vec<_> = (0..n)
        .map(|_| ctx.start_stream_call("other.hold", &Payload::Absent, None, false))
        .collect();
    let opened = calls.iter().filter(|(_, call)| call.take().is_none()).count();
    Ok(answer(&opened.into()))
}

/// Calls with a stream of `n` chunks and gives the result.
fn send(ctx: &Context, n: usize, params: &Value) -> Result<Payload, Failure> {
    let action = text(params, "action");
    let (writer, call) = ctx.start_stream_call(action, &Payload::Absent, None, true);
    for number in 0..n {
        writer.write(&answer(&json!({"n": number})))?;
    }
    match text(params, "then") {
        "forget" => drop(writer),
        _ => writer.end()?,
    }
    wait_any(&[&call]);
    call.take().unwrap_or(Ok(Payload::Absent))
}

/// Calls an action that answers with a stream, and reads that.
fn take(ctx: &Context, action: &str) -> Result<Payload, Failure> {
    let call = ctx.start_call(action, &Payload::Absent, None);
    let early = call.take_stream()?.is_some();
    wait_any(&[&call]);
    let result = call.take().map(|result| matches!(result, Ok(Payload::Absent)));
    let read = call.take_stream()?.map(|reader| read_all(&reader));
    let again = call.take_stream()?.is_some();
    Ok(answer(&json!({"early": early, "absent": result, "read": read, "again": again})))
}

/// Streams are for actions.
pub(crate) fn in_event(ctx: &Context) -> Value {
    json!([ctx.stream().is_some(), ctx.respond_stream(false).err().and_then(|error| error.type_)])
}
