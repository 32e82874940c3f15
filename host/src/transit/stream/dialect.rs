//! Where the two versions of the protocol differ in streams: the one place that knows.
//!
//! Version 5 has the marks of a stream in the headers and its params beside it. Version 4 has the marks in
//! the meta, and the stream *is* the params there: they are `null` on the wire, and whatever else a callee
//! is to know travels in the meta (moleculer 0.14: src/transit.js _sendRequest, requestHandler).

use serde_json::Value;

use crate::packet::{Request, Response};
use crate::payload::{Object, Payload};

/// How a peer speaks of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Moleculer 0.14.
    V4,
    /// Moleculer 0.15.
    V5,
}

/// What a packet says of its stream beside its number.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Marks {
    /// Each chunk is a value.
    pub(super) object_mode: bool,
    /// Why the source of a request stream failed, in the wire form of an error.
    pub(super) error: Option<Value>,
}

const OBJECT_MODE: &str = "$streamObjectMode";
const ERROR: &str = "$streamError";

impl Dialect {
    /// Of the version that packets of a peer have.
    pub(crate) fn of(ver: &str) -> Self {
        if ver == "4" { Self::V4 } else { Self::V5 }
    }

    /// Takes the marks out of a request; nobody else is to see them.
    pub(super) fn take_request_marks(self, request: &mut Request) -> Marks {
        take(match self {
            Self::V4 => &mut request.meta,
            Self::V5 => &mut request.headers,
        })
    }

    /// The same for a response.
    pub(super) fn take_response_marks(self, response: &mut Response) -> Marks {
        match self {
            Self::V4 => take(&mut response.meta),
            Self::V5 => response.headers.as_mut().map(take).unwrap_or_default(),
        }
    }

    /// Puts the marks into a request. That of version 4 begins without params, unless there are some: its
    /// own nodes do not look at them, and others lose nothing.
    pub(super) fn mark_request(self, request: &mut Request, marks: Marks) {
        match self {
            Self::V4 => put(&mut request.meta, marks),
            Self::V5 => put(&mut request.headers, marks),
        }
        if self == Self::V4 && request.params == Payload::empty_object() {
            request.params = Payload::null();
        }
    }

    /// The same for a response.
    pub(super) fn mark_response(self, response: &mut Response, marks: Marks) {
        match self {
            Self::V4 => put(&mut response.meta, marks),
            Self::V5 => put(response.headers.get_or_insert_default(), marks),
        }
    }

    /// The params of a request with a stream as its handler is to see them.
    pub(super) fn params(self, params: Payload) -> Payload {
        match self {
            Self::V4 if params == Payload::null() || params == Payload::Absent => {
                Payload::empty_object()
            }
            _ => params,
        }
    }
}

fn take(from: &mut Object) -> Marks {
    // Almost all objects have neither; they are not parsed.
    if !from.as_str().contains("$stream") {
        return Marks::default();
    }
    let object_mode = from.remove(OBJECT_MODE).is_some_and(|raw| truthy(&raw));
    let error = from.remove(ERROR).and_then(|raw| serde_json::from_str(&raw).ok());
    Marks { object_mode, error }
}

/// As JavaScript sees it.
fn truthy(raw: &str) -> bool {
    !matches!(raw, "false" | "null" | "0" | "\"\"")
}

fn put(into: &mut Object, marks: Marks) {
    let mut own = serde_json::Map::new();
    if marks.object_mode {
        own.insert(OBJECT_MODE.into(), true.into());
    }
    if let Some(error) = marks.error {
        own.insert(ERROR.into(), error);
    }
    if let (false, Ok(own)) = (own.is_empty(), Object::from_value(&own)) {
        *into = into.merged(&own);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn marks_are_put_and_taken_where_the_version_has_them() {
        for (dialect, meta, headers) in [
            (Dialect::of("4"), r#"{"m":1,"$streamObjectMode":true}"#, r#"{"h":1}"#),
            (Dialect::of("5"), r#"{"m":1}"#, r#"{"h":1,"$streamObjectMode":true}"#),
        ] {
            let mut request = Request {
                meta: Object::from_json_text(r#"{"m":1}"#.into()).unwrap(),
                headers: Object::from_json_text(r#"{"h":1}"#.into()).unwrap(),
                params: Payload::empty_object(),
                ..crate::transit::stream::tests::request()
            };
            dialect.mark_request(&mut request, Marks { object_mode: true, error: None });
            assert_eq!((request.meta.as_str(), request.headers.as_str()), (meta, headers));
            let marks = dialect.take_request_marks(&mut request);
            assert_eq!(marks, Marks { object_mode: true, error: None });
            assert_eq!(
                (request.meta.as_str(), request.headers.as_str()),
                (r#"{"m":1}"#, r#"{"h":1}"#)
            );
            let params = request.params.clone();
            assert_eq!(params == Payload::null(), dialect == Dialect::V4);
            assert_eq!(dialect.params(params), Payload::empty_object());
        }
    }

    #[test]
    fn errors_travel_in_their_wire_form() {
        let mut request = crate::transit::stream::tests::request();
        let marks = || Marks { object_mode: false, error: Some(json!({"name": "E"})) };
        Dialect::V5.mark_request(&mut request, marks());
        assert_eq!(request.headers.as_str(), r#"{"$streamError":{"name":"E"}}"#);
        assert_eq!(Dialect::V5.take_request_marks(&mut request), marks());
        assert_eq!(request.headers.as_str(), "{}");
    }
}
