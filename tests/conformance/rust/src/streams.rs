//! What the conformance guest does with streams.

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    n: usize,
    #[serde(default)]
    size: usize,
    #[serde(default)]
    object_mode: bool,
    #[serde(default)]
    fail: bool,
}

#[derive(Deserialize)]
pub(crate) struct Sent {
    action: String,
    n: usize,
}

/// Everything that comes, and how it ended.
pub(crate) async fn reading(mut stream: Reader) -> Result<Value> {
    let (mut bytes, mut values) = (0, Vec::new());
    let end = loop {
        match stream.next().await {
            Ok(Some(Payload::Bytes(chunk))) => bytes += chunk.len(),
            Ok(Some(value)) => values.push(value.into_value::<Value>()?),
            Ok(None) => break json!("end"),
            Err(error) => break json!(error.kind()),
        }
    };
    let object_mode = stream.object_mode();
    Ok(json!({ "objectMode": object_mode, "bytes": bytes, "values": values, "end": end }))
}

/// Answers with a stream.
pub(crate) async fn write(ctx: &Context, params: Written) -> Result<()> {
    let mut answer = if params.object_mode { ctx.respond_objects() } else { ctx.respond_stream() }?;
    for n in 0..params.n {
        if params.object_mode {
            answer.write_object(json!({ "n": n })).await?;
        } else {
            answer.write(vec![b'x'; params.size]).await?;
        }
    }
    if params.fail {
        answer.fail(Error::client(409, "LATE", "half way"));
        return Ok(());
    }
    answer.end()
}

/// Calls with a stream of values.
pub(crate) async fn send(ctx: &Context, params: Sent) -> Result<Payload> {
    let (mut writer, call) = ctx.call(&params.action, ()).with_objects()?;
    for n in 0..params.n {
        writer.write_object(json!({ "n": n })).await?;
    }
    writer.end()?;
    call.await
}
