//! Options of calls and events, read from the JSON that a guest gives.
//!
//! Only known keys are taken: a misspelled option that is ignored would be found much later. `null` is an
//! option that was not given, as `undefined` is in JavaScript.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;

use crate::context::{CallOptions, EmitOptions};
use crate::error::MoleculerError;
use crate::payload::{self, Object, Payload};
use crate::runtime::failure::check_len;
use crate::tracer::SpanOptions;

const CALL_KEYS: &[&str] = &[
    "timeout",
    "retries",
    "retryCount",
    "retry",
    "nodeID",
    "meta",
    "headers",
    "requestID",
    "fallbackResponse",
    "tracking",
];
const MANY_CALLS_KEYS: &[&str] = &[
    "timeout",
    "retries",
    "retryCount",
    "retry",
    "nodeID",
    "meta",
    "headers",
    "requestID",
    "fallbackResponse",
    "tracking",
    "settled",
];
const SPAN_KEYS: &[&str] = &["type", "tags", "priority"];
const EMIT_KEYS: &[&str] = &["groups", "meta", "headers", "requestID", "throwError"];

/// A JSON object whose keys are asked for one by one.
struct Given<'a> {
    keys: IndexMap<Cow<'a, str>, &'a RawValue>,
    /// Most bytes of meta and of headers, each.
    meta_len_max: usize,
}

/// Reads the options of `call` and `start-call`.
pub(super) fn call_options(
    text: Option<&str>,
    meta_len_max: usize,
) -> Result<CallOptions, MoleculerError> {
    match text {
        None => Ok(CallOptions::default()),
        Some(text) => Given::read(text, CALL_KEYS, meta_len_max)?.call_options(),
    }
}

/// Reads the options of `mcall`: those of each call, and `settled`.
pub(super) fn many_calls_options(
    text: Option<&str>,
    meta_len_max: usize,
) -> Result<(CallOptions, bool), MoleculerError> {
    let Some(text) = text else { return Ok((CallOptions::default(), false)) };
    let given = Given::read(text, MANY_CALLS_KEYS, meta_len_max)?;
    let settled = given.value("settled", "true or false")?.unwrap_or(false);
    Ok((given.call_options()?, settled))
}

/// Reads the options of the event functions.
pub(super) fn emit_options(
    text: Option<&str>,
    meta_len_max: usize,
) -> Result<EmitOptions, MoleculerError> {
    let Some(text) = text else { return Ok(EmitOptions::default()) };
    let given = Given::read(text, EMIT_KEYS, meta_len_max)?;
    let groups = given.value::<OneOrMany>("groups", "a name or an array of names")?;
    Ok(EmitOptions {
        groups: groups.map(OneOrMany::into_vec).unwrap_or_default(),
        meta: given.object("meta")?,
        headers: given.object("headers")?,
        request_id: given.value("requestID", "a text")?,
        throw_error: given.value("throwError", "true or false")?.unwrap_or(false),
        parent: None,
    })
}

/// Reads the options of `start-span`; what they may weigh together is said in bytes.
pub(super) fn span_options(
    text: Option<String>,
    len_max: usize,
) -> Result<SpanOptions, MoleculerError> {
    let Some(text) = text else { return Ok(SpanOptions::default()) };
    check_len("options of the span", text.len(), len_max)?;
    let given = Given::read(&text, SPAN_KEYS, len_max)?;
    Ok(SpanOptions {
        kind: given.value("type", "a text")?,
        tags: given.object("tags")?.map(|tags| tags.to_map()).unwrap_or_default(),
        priority: given.value("priority", "a number")?,
        ..SpanOptions::default()
    })
}

/// Puts the options of one item over the common ones.
pub(super) fn over(common: &CallOptions, own: CallOptions) -> CallOptions {
    let common = common.clone();
    CallOptions {
        timeout: own.timeout.or(common.timeout),
        retries: own.retries.or(common.retries),
        fallback_response: own.fallback_response.or(common.fallback_response),
        node_id: own.node_id.or(common.node_id),
        meta: own.meta.or(common.meta),
        headers: own.headers.or(common.headers),
        request_id: own.request_id.or(common.request_id),
        caller: None,
        tracking: own.tracking.or(common.tracking),
        stream: None,
        parent: None,
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Arc<str>),
    Many(Vec<Arc<str>>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<Arc<str>> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names,
        }
    }
}

impl<'a> Given<'a> {
    fn read(text: &'a str, allowed: &[&str], meta_len_max: usize) -> Result<Self, MoleculerError> {
        payload::check_json(text).map_err(|error| {
            MoleculerError::invalid_payload("text of the options", &error.to_string())
        })?;
        let keys: IndexMap<Cow<'a, str>, &'a RawValue> = serde_json::from_str(text)
            .map_err(|_| wrong("options", "must be a JSON object", allowed))?;
        for key in keys.keys() {
            if !allowed.contains(&&**key) {
                return Err(wrong(key, "is not known", allowed));
            }
        }
        Ok(Self { keys, meta_len_max })
    }

    /// The raw value of a key that was given.
    fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.keys.get(key).copied().filter(|raw| raw.get() != "null")
    }

    fn value<T: DeserializeOwned>(
        &self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, MoleculerError> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|_| wrong(key, &format!("must be {expected}"), &[]))
    }

    fn object(&self, key: &str) -> Result<Option<Object>, MoleculerError> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        if raw.get().len() > self.meta_len_max {
            let size = raw.get().len();
            return Err(MoleculerError::payload_too_large(key, self.meta_len_max, size));
        }
        Object::from_checked(ByteString::from(raw.get()))
            .map(Some)
            .map_err(|_| wrong(key, "must be an object", &[]))
    }

    /// Under its name of today, else under one of those of Moleculer 0.12.
    fn retries(&self) -> Result<Option<u32>, MoleculerError> {
        for key in ["retries", "retryCount", "retry"] {
            if let Some(retries) = self.value(key, "a whole number, 0 or more")? {
                return Ok(Some(retries));
            }
        }
        Ok(None)
    }

    fn call_options(&self) -> Result<CallOptions, MoleculerError> {
        let timeout: Option<f64> = self.value("timeout", "a number of milliseconds")?;
        Ok(CallOptions {
            timeout: timeout.map(milliseconds).transpose()?,
            retries: self.retries()?,
            fallback_response: self.keys.get("fallbackResponse").map(|raw| Payload::from_raw(raw)),
            node_id: self.value("nodeID", "a text")?,
            meta: self.object("meta")?,
            headers: self.object("headers")?,
            request_id: self.value("requestID", "a text")?,
            caller: None,
            tracking: self.value("tracking", "true or false")?,
            stream: None,
            parent: None,
        })
    }
}

fn milliseconds(value: f64) -> Result<Duration, MoleculerError> {
    Duration::try_from_secs_f64(value / 1000.0)
        .map_err(|_| wrong("timeout", "must be a number of milliseconds, 0 or more", &[]))
}

/// The error for an option that cannot be used.
fn wrong(key: &str, problem: &str, allowed: &[&str]) -> MoleculerError {
    let mut message = format!("The option '{key}' {problem}");
    if !allowed.is_empty() {
        message = format!("{message}; known options are {}", allowed.join(", "));
    }
    MoleculerError::validation(
        format!("{message}."),
        &json!([{"type": "option", "field": key, "message": problem, "expected": allowed}]),
    )
}

/// What holds whatever a guest gives as options; see `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(text: &str) {
    const META_LEN_MAX: usize = 100;
    let small = |object: Option<&Object>| object.is_none_or(|one| one.len() <= META_LEN_MAX);
    if let Ok(options) = call_options(Some(text), META_LEN_MAX) {
        assert!(small(options.meta.as_ref()) && small(options.headers.as_ref()));
        let _ = over(&options, CallOptions::default());
    }
    if let Ok(options) = emit_options(Some(text), META_LEN_MAX) {
        assert!(small(options.meta.as_ref()) && small(options.headers.as_ref()));
    }
    let _ = many_calls_options(Some(text), META_LEN_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_call_options_are_read() {
        let text = r#"{"timeout":1500,"retries":2,"nodeID":"n","meta":{"a":1},"headers":{"h":1},
            "requestID":"r","fallbackResponse":null,"tracking":false}"#;
        let options = call_options(Some(text), 100).unwrap();
        assert_eq!(options.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(options.retries, Some(2));
        assert_eq!(options.node_id.as_deref(), Some("n"));
        assert_eq!(options.meta.unwrap().as_str(), r#"{"a":1}"#);
        assert_eq!(options.headers.unwrap().as_str(), r#"{"h":1}"#);
        assert_eq!(options.request_id.as_deref(), Some("r"));
        assert_eq!(options.fallback_response, Some(Payload::null()));
        assert_eq!(options.tracking, Some(false));
    }

    #[test]
    fn wrong_options_are_named() {
        let check = |text: &str, kind: &str, expected: &str| {
            let error = call_options(Some(text), 20).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(expected), "{error}");
        };
        check(r#"{"timeOut":5}"#, "VALIDATION_ERROR", "'timeOut' is not known; known options are");
        check(r#"{"settled":true}"#, "VALIDATION_ERROR", "'settled' is not known");
        check(r#"{"timeout":-1}"#, "VALIDATION_ERROR", "'timeout' must be");
        check(r#"{"timeout":"5"}"#, "VALIDATION_ERROR", "'timeout' must be");
        check(r#"{"meta":[]}"#, "VALIDATION_ERROR", "'meta' must be an object");
        check("[]", "VALIDATION_ERROR", "must be a JSON object");
        check("{", "INVALID_PAYLOAD", "options");
        check(r#"{"meta":{"a":"123456789012345"}}"#, "PAYLOAD_TOO_LARGE", "meta");
    }

    #[test]
    fn an_option_that_is_null_was_not_given() {
        let options = call_options(Some(r#"{"timeout":null,"meta":null}"#), 100).unwrap();
        assert!(options.timeout.is_none() && options.meta.is_none());
    }

    #[test]
    fn retries_have_their_older_names() {
        let retries = |text| call_options(Some(text), 100).unwrap().retries;
        assert_eq!(retries(r#"{"retryCount":3}"#), Some(3));
        assert_eq!(retries(r#"{"retry":3}"#), Some(3));
        assert_eq!(retries(r#"{"retry":3,"retries":0}"#), Some(0));
    }

    #[test]
    fn groups_are_one_name_or_many() {
        let groups = |text| emit_options(Some(text), 100).unwrap().groups;
        assert_eq!(groups(r#"{"groups":"a"}"#), [Arc::<str>::from("a")]);
        assert_eq!(groups(r#"{"groups":["a","b"]}"#), ["a", "b"].map(Arc::<str>::from));
    }

    #[test]
    fn options_of_an_item_go_over_the_common_ones() {
        let common = call_options(Some(r#"{"timeout":1,"retries":1}"#), 100).unwrap();
        let own = call_options(Some(r#"{"timeout":2}"#), 100).unwrap();
        let both = over(&common, own);
        assert_eq!((both.timeout, both.retries), (Some(Duration::from_millis(2)), Some(1)));
    }
}
