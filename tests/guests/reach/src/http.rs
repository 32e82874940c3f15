//! HTTP requests straight on `wasi:http`, as a test asks for them.

use serde_json::{Value, json};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme,
};
use wasip2::io::poll::poll;
use wasip2::io::streams::StreamError;

use crate::Tried;

/// Bytes that are written and read at once.
const PIECE: usize = 4_096;

fn code(error: &ErrorCode) -> String {
    format!("{error:?}")
}

fn text<'a>(params: &'a Value, key: &str) -> &'a str {
    params.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(params: &Value, key: &str) -> Option<u64> {
    params.get(key).and_then(Value::as_u64)
}

/// As many header fields as are wanted, one after the other.
fn fields(params: &Value) -> Result<Fields, String> {
    let fields = Fields::new();
    for n in 0..number(params, "fields").unwrap_or(0) {
        let value =
            vec![b'v'; usize::try_from(number(params, "fieldLen").unwrap_or(1)).unwrap_or(1)];
        fields
            .append(&format!("x-{n}"), &value)
            .map_err(|error| format!("field {n}: {error:?}"))?;
    }
    Ok(fields)
}

fn send(params: &Value) -> Result<FutureIncomingResponse, String> {
    let bad = |()| "not taken";
    let request = OutgoingRequest::new(fields(params)?);
    let scheme = if text(params, "scheme") == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(bad)?;
    request.set_authority(Some(text(params, "to"))).map_err(bad)?;
    request.set_path_with_query(Some(text(params, "path"))).map_err(bad)?;
    if text(params, "method") == "CONNECT" {
        request.set_method(&Method::Connect).map_err(bad)?;
    }
    let options = number(params, "bytesTimeoutMs").map(|time| {
        let options = RequestOptions::new();
        // A host without it would only be slower to give up.
        let _ = options.set_between_bytes_timeout(Some(time * 1_000_000));
        options
    });
    let Some(len) = number(params, "send") else {
        return handle(request, options).map_err(|error| code(&error));
    };
    request.set_method(&Method::Post).map_err(bad)?;
    let out = request.body().map_err(bad)?;
    let going = handle(request, options).map_err(|error| code(&error))?;
    let stream = out.write().map_err(bad)?;
    let mut left = usize::try_from(len).unwrap_or(usize::MAX);
    while left > 0 {
        let piece = left.min(PIECE);
        if stream.blocking_write_and_flush(&vec![b'y'; piece]).is_err() {
            break;
        }
        left -= piece;
    }
    drop(stream);
    // Whether all of it was taken, the answer says.
    let _ = OutgoingBody::finish(out, None);
    Ok(going)
}

/// Asks, and gives status and body.
pub(crate) fn request(params: &Value) -> Tried {
    let going = send(params)?;
    if params.get("leave") == Some(&Value::Bool(true)) {
        // Its handle stays until the instance ends.
        std::mem::forget(going);
        return Ok(Value::Null);
    }
    going.subscribe().block();
    let answer = match going.get() {
        Some(Ok(Ok(answer))) => answer,
        Some(Ok(Err(error))) => return Err(code(&error)),
        _ => return Err("no answer".into()),
    };
    let status = answer.status();
    let location = answer.headers().get("location").concat();
    let incoming = answer.consume().map_err(|()| "no body")?;
    let text = read(&incoming)?;
    let begins = text.get(..200).unwrap_or(&text);
    let location = String::from_utf8_lossy(&location).into_owned();
    Ok(json!({ "status": status, "length": text.len(), "body": begins, "location": location }))
}

fn read(incoming: &IncomingBody) -> Result<String, String> {
    let stream = incoming.stream().map_err(|()| "no stream")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(PIECE as u64) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match wasip2::http::types::http_error_code(&error) {
                    Some(error) => code(&error),
                    None => error.to_debug_string(),
                });
            }
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Begins so many requests, and gives why the first that has ended was refused.
pub(crate) fn many(params: &Value) -> Tried {
    let n = number(params, "n").unwrap_or(0);
    let held: Vec<_> = (0..n).map(|_| send(params)).collect::<Result<_, _>>()?;
    let waits: Vec<_> = held.iter().map(FutureIncomingResponse::subscribe).collect();
    let ready = poll(&waits.iter().collect::<Vec<_>>());
    drop(waits);
    let first = ready.first().and_then(|at| held.get(usize::try_from(*at).ok()?));
    match first.and_then(FutureIncomingResponse::get) {
        Some(Ok(Err(error))) => Err(code(&error)),
        _ => Ok(Value::Null),
    }
}
