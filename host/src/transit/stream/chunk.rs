//! One chunk of a stream: what it is on the wire and what it is for readers.

use bytes::Bytes;
use bytestring::ByteString;

use crate::error::MoleculerError;
use crate::payload::{self, Payload};

/// What came in as a chunk: a `Buffer` that was written as JSON becomes bytes again
/// (moleculer: src/transit.js _handleIncomingRequestStream). All else is copied: a chunk may wait for long,
/// and would keep the whole buffer of the socket that it came in, which nobody counts.
pub(super) fn received(chunk: Payload) -> Payload {
    match &chunk {
        Payload::Json(text) => match payload::read_buffer_json(text) {
            Some(bytes) => Payload::Bytes(bytes),
            None => Payload::Json(ByteString::from(&**text)),
        },
        Payload::Bytes(bytes) => Payload::Bytes(Bytes::copy_from_slice(bytes)),
        Payload::Absent | Payload::Stream(_) => chunk,
    }
}

/// A chunk as it may stand in a stream of this mode: one of bytes has nothing else (text is its UTF-8), and
/// one of values cannot have `null`, at which a stream of Node.js fails.
pub(super) fn fitting(chunk: Payload, object_mode: bool) -> Result<Payload, MoleculerError> {
    match chunk {
        Payload::Bytes(_) => Ok(chunk),
        Payload::Json(text) if object_mode => {
            if &*text == "null" {
                return Err(unfit("A stream of values cannot hold null."));
            }
            Ok(Payload::Json(text))
        }
        Payload::Json(text) => match serde_json::from_str::<String>(&text) {
            Ok(text) => Ok(Payload::Bytes(text.into())),
            Err(_) => Err(unfit("A stream of bytes got a chunk that is neither bytes nor text.")),
        },
        Payload::Absent | Payload::Stream(_) => {
            Err(unfit("A stream got a chunk that is no value."))
        }
    }
}

fn unfit(message: &str) -> MoleculerError {
    MoleculerError::server("INVALID_STREAM_CHUNK", message)
}

/// Bytes in pieces of at most `max`; 0 is no limit. Empty bytes have no pieces.
pub(super) fn pieces(mut bytes: Bytes, max: usize) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let len = if max == 0 { bytes.len() } else { bytes.len().min(max) };
        (len > 0).then(|| bytes.split_to(len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &'static str) -> Payload {
        Payload::Json(text.into())
    }

    #[test]
    fn buffers_become_bytes_and_all_else_stays() {
        let bytes = |bytes: &'static [u8]| Payload::Bytes(Bytes::from_static(bytes));
        assert_eq!(received(json(r#"{"type":"Buffer","data":[120,49]}"#)), bytes(b"x1"));
        assert_eq!(received(json(r#"{"type":"Buffer"}"#)), json(r#"{"type":"Buffer"}"#));
        assert_eq!(received(bytes(b"x")), bytes(b"x"));
        assert_eq!(fitting(json("\"\u{fc}\""), false).unwrap(), bytes("\u{fc}".as_bytes()));
        assert_eq!(fitting(json("{\"a\":1}"), true).unwrap(), json("{\"a\":1}"));
        for (chunk, object_mode) in
            [(json("{}"), false), (json("null"), true), (Payload::Absent, true)]
        {
            let error = fitting(chunk, object_mode).unwrap_err();
            assert_eq!(error.kind(), "INVALID_STREAM_CHUNK");
        }
    }

    #[test]
    fn bytes_are_split_at_the_limit() {
        let split = |len: usize, max| -> Vec<usize> {
            pieces(vec![0; len].into(), max).map(|piece| piece.len()).collect()
        };
        assert_eq!(split(0, 4), [0; 0]);
        assert_eq!(split(4, 4), [4]);
        assert_eq!(split(5, 4), [4, 1]);
        assert_eq!(split(9, 4), [4, 4, 1]);
        assert_eq!(split(9, 0), [9]);
    }
}
