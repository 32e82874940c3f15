//! Errors and payloads on their way between a guest and the host.
//!
//! What comes from a guest is checked here: size first, then JSON, so that everything behind this file may
//! take a [`Payload`] as well-formed.

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Map, Value};

use crate::context::Outcome;
use crate::error::{Fields, MoleculerError};
use crate::payload::{self, Object, Payload};
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadParam, PayloadResult};

/// Takes a payload from a guest. `what` names it in the error.
pub(super) fn payload_from_guest(what: &str, given: PayloadResult, len_max: usize) -> Outcome {
    let payload = match given {
        PayloadResult::Absent => return Ok(Payload::Absent),
        PayloadResult::Bytes(bytes) => Payload::Bytes(Bytes::from(bytes)),
        PayloadResult::Json(text) => {
            check_len(what, text.len(), len_max)?;
            return Payload::from_json_text(ByteString::from(text))
                .map_err(|error| invalid(what, &error));
        }
    };
    check_len(what, payload.len(), len_max)?;
    Ok(payload)
}

/// Takes a JSON object from a guest.
pub(super) fn object_from_guest(
    what: &str,
    text: String,
    len_max: usize,
) -> Result<Object, MoleculerError> {
    check_len(what, text.len(), len_max)?;
    Object::from_json_text(ByteString::from(text)).map_err(|error| invalid(what, &error))
}

/// Refuses what is too long.
pub(super) fn check_len(what: &str, len: usize, len_max: usize) -> Result<(), MoleculerError> {
    if len > len_max {
        return Err(MoleculerError::payload_too_large(what, len_max, len));
    }
    Ok(())
}

/// The error for text that is not what it should be.
pub(super) fn invalid(what: &str, error: &payload::Error) -> MoleculerError {
    MoleculerError::invalid_payload(what, &error.to_string())
}

/// Lends a payload to a guest.
pub(super) fn payload_to_guest(payload: &Payload) -> PayloadParam<'_> {
    match payload {
        Payload::Absent | Payload::Stream(_) => PayloadParam::Absent,
        Payload::Json(text) => PayloadParam::Json(text),
        Payload::Bytes(bytes) => PayloadParam::Bytes(bytes),
    }
}

/// Gives the result of a broker call to a guest.
#[expect(clippy::result_large_err, reason = "the bindings want the record as it is")]
pub(super) fn outcome_to_guest(outcome: Outcome) -> Result<PayloadResult, Failure> {
    outcome.map(payload_to_result).map_err(|error| failure_from(&error))
}

/// Gives a payload to a guest.
pub(super) fn payload_to_result(payload: Payload) -> PayloadResult {
    match payload {
        Payload::Absent | Payload::Stream(_) => PayloadResult::Absent,
        Payload::Json(text) => PayloadResult::Json(String::from(&*text)),
        Payload::Bytes(bytes) => PayloadResult::Bytes(bytes.into()),
    }
}

/// The guest's form of an error. A code that is no `u32` and the node travel in `extra`.
pub(super) fn failure_from(error: &MoleculerError) -> Failure {
    let fields = error.fields();
    let code = fields.code.and_then(|code| u32::try_from(code).ok());
    let mut extra = fields.extra.clone();
    if let Some(node_id) = &fields.node_id {
        extra.insert("nodeID".into(), Value::from(&**node_id));
    }
    if let (None, Some(code)) = (code, fields.code) {
        extra.insert("code".into(), code.into());
    }
    Failure {
        name: fields.name.to_string(),
        message: fields.message.clone(),
        code,
        type_: fields.kind.as_deref().map(str::to_owned),
        retryable: error.retryable(),
        data: fields.data.as_ref().map(|data| String::from(&**data)),
        stack: fields.stack.clone(),
        extra: (!extra.is_empty()).then(|| Value::Object(extra).to_string()),
    }
}

/// The error that a guest returned. Text in it that is not JSON makes it an `InvalidPayloadError`.
pub(super) fn error_from_guest(failure: Failure) -> MoleculerError {
    match read_failure(failure) {
        Ok(error) | Err(error) => error,
    }
}

fn read_failure(failure: Failure) -> Result<MoleculerError, MoleculerError> {
    let name = failure.name;
    let broken = |field: &str, error: &payload::Error| {
        invalid(&format!("{field} of the failure '{name}: {}'", failure.message), error)
    };
    let data = failure.data.map(ByteString::from);
    if let Some(data) = &data {
        payload::check_json(data).map_err(|error| broken("data", &error))?;
    }
    let mut extra = match failure.extra.map(ByteString::from) {
        None => Map::new(),
        Some(text) => {
            Object::from_json_text(text).map_err(|error| broken("extra", &error))?.to_map()
        }
    };
    let node_id = extra.shift_remove("nodeID").and_then(|id| id.as_str().map(Into::into));
    let code = match failure.code {
        Some(code) => Some(i64::from(code)),
        None => extra.get("code").and_then(Value::as_i64),
    };
    if code.is_some() {
        extra.shift_remove("code");
    }
    Ok(MoleculerError::from_fields(Fields {
        name: name.into(),
        message: failure.message,
        code,
        kind: failure.type_.map(Into::into),
        retryable: Some(failure.retryable),
        data,
        stack: failure.stack,
        node_id,
        extra,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_remote_error_keeps_every_field_through_a_guest() {
        let wire = json!({"name": "OddError", "message": "m", "nodeID": "node-c", "code": -5,
            "type": "T", "retryable": true, "stack": "s", "data": {"z": 1, "a": null}, "hint": [1]});
        let error = MoleculerError::from_wire(wire.clone(), &"node-b".into());
        let back = error_from_guest(failure_from(&error));
        assert_eq!(back.to_wire("here"), wire);
    }

    #[test]
    fn a_failure_with_broken_json_says_which_field() {
        let mut failure = failure_from(&MoleculerError::client(404, "NOT_FOUND", "gone"));
        failure.data = Some("{".into());
        let error = error_from_guest(failure);
        assert_eq!(error.kind(), "INVALID_PAYLOAD");
        assert!(error.message().contains("data of the failure"), "{error}");
    }

    #[test]
    fn a_payload_may_be_as_large_as_the_limit_and_no_larger() {
        let given = || PayloadResult::Bytes(vec![0; 10]);
        assert!(payload_from_guest("result", given(), 10).is_ok());
        let error = payload_from_guest("result", given(), 9).unwrap_err();
        assert_eq!(error.kind(), "PAYLOAD_TOO_LARGE");
    }
}
