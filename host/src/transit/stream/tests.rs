//! Streams between transits on the in-process bus, with a paused clock.

use super::*;
use crate::payload::Object;

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
