//! The error of a service: what a handler returns to its caller and what a failed call gives back.
//!
//! It has the fields of a Moleculer error. One that came from another service, whatever its language or
//! node, keeps all of them, so that returning it with `?` passes it on unchanged.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

mod classes;

/// The result of handlers and of broker calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A Moleculer error.
///
/// Any error of the standard library or another crate becomes one with `?`: a `MoleculerError` with code
/// 500 and the error's text as message. (For that, this type itself cannot implement
/// [`std::error::Error`].)
///
/// ```
/// use isomer_sdk::Error;
/// use serde_json::json;
///
/// let error = Error::client(404, "NOT_FOUND", "there is no post 5").data(json!({ "id": 5 }));
/// assert_eq!(error.code(), Some(404));
/// ```
#[derive(Clone, PartialEq)]
pub struct Error(Box<Fields>);

/// Keys of the JSON form that have a field of their own.
const KNOWN_KEYS: [&str; 5] = ["name", "message", "code", "type", "stack"];

/// The fields as they cross the boundary. A pointer keeps results small.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fields {
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) code: Option<u32>,
    pub(crate) kind: Option<String>,
    pub(crate) retryable: bool,
    /// JSON text.
    pub(crate) data: Option<String>,
    pub(crate) stack: Option<String>,
    /// Text of a JSON object with the fields that have no place of their own, such as `nodeID`.
    pub(crate) extra: Option<String>,
}

impl Error {
    /// An error of the class `MoleculerError`, not retryable.
    ///
    /// `kind` is the field `type`: a word for programs, such as `NOT_FOUND`.
    #[must_use]
    pub fn new(code: u32, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            name: "MoleculerError".into(),
            message: message.into(),
            code: Some(code),
            kind: Some(kind.into()),
            ..Fields::default()
        }))
    }

    /// A `MoleculerClientError`: the caller did something wrong and should not try again.
    #[must_use]
    pub fn client(code: u32, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, kind, message).named("MoleculerClientError")
    }

    /// A `MoleculerServerError`: the service failed, and the same call may succeed later.
    #[must_use]
    pub fn server(code: u32, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, kind, message).named("MoleculerServerError").retryable(true)
    }

    /// A `ValidationError` (422): the params do not fit.
    #[must_use]
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(422, "VALIDATION_ERROR", message).named("ValidationError")
    }

    /// Changes the class name. JavaScript callers restore the class by it where they know it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.0.name = name.into();
        self
    }

    /// Attaches what else the caller should know. A value without a JSON form (a map whose keys are no
    /// text) is left out.
    #[must_use]
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.0.data = serde_json::to_string(&data).ok();
        self
    }

    /// Says whether the same call may succeed when it is tried again.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Adds a field of your own beside the usual ones. One without a JSON form is left out.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            let mut extra = self.extra();
            extra.insert(name.into(), value);
            self.0.extra = Some(Value::Object(extra).to_string());
        }
        self
    }

    /// Class name, such as `MoleculerClientError`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// One sentence for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The code; by convention HTTP's.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        self.0.code
    }

    /// The field `type`; empty when there is none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.kind.as_deref().unwrap_or_default()
    }

    /// Whether the same call may succeed when it is tried again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Where it happened, as text with lines, when the origin told.
    #[must_use]
    pub fn stack(&self) -> Option<&str> {
        self.0.stack.as_deref()
    }

    /// The field `data`, read as `T`; `None` when there is none or it has another form.
    #[must_use]
    pub fn data_as<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.0.data.as_deref()?).ok()
    }

    /// The fields that have no method of their own.
    #[must_use]
    pub fn extra(&self) -> Map<String, Value> {
        self.0.extra.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The node on which the error arose, when it came from a call.
    #[must_use]
    pub fn node_id(&self) -> Option<String> {
        self.extra().get("nodeID")?.as_str().map(String::from)
    }

    /// Reads the JSON form that Moleculer uses on the wire and in the results of a settled `mcall`. Known
    /// fields of another kind than usual, such as a `code` that is text, are kept beside the others.
    #[must_use]
    pub fn from_json(json: &Value) -> Self {
        let mut extra = json.as_object().cloned().unwrap_or_default();
        let mut text = |key: &str| match extra.get(key) {
            Some(Value::String(_)) => extra.remove(key).and_then(|value| match value {
                Value::String(text) => Some(text),
                _ => None,
            }),
            _ => None,
        };
        let name = text("name").unwrap_or_else(|| "Error".into());
        let (message, kind, stack) =
            (text("message").unwrap_or_default(), text("type"), text("stack"));
        let code = extra.get("code").and_then(Value::as_u64).and_then(|c| u32::try_from(c).ok());
        if code.is_some() {
            extra.remove("code");
        }
        let retryable = extra.remove("retryable").and_then(|value| value.as_bool());
        let data = extra.remove("data").map(|data| data.to_string());
        extra.retain(|key, value| !(value.is_null() && KNOWN_KEYS.contains(&key.as_str())));
        Self(Box::new(Fields {
            name,
            message,
            code,
            kind,
            retryable: retryable.unwrap_or(false),
            data,
            stack,
            extra: (!extra.is_empty()).then(|| Value::Object(extra).to_string()),
        }))
    }

    /// The JSON form that [`Error::from_json`] reads; fields that are not there are left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let fields = &*self.0;
        let mut json = self.extra();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                json.insert(key.into(), value);
            }
        };
        put("name", Some(fields.name.clone().into()));
        put("message", Some(fields.message.clone().into()));
        put("code", fields.code.map(Value::from));
        put("type", fields.kind.clone().map(Value::from));
        put("retryable", Some(fields.retryable.into()));
        put("data", fields.data.as_deref().and_then(|data| serde_json::from_str(data).ok()));
        put("stack", fields.stack.clone().map(Value::from));
        Value::Object(json)
    }

    /// An error from its fields.
    #[cfg(target_family = "wasm")]
    pub(crate) fn from_fields(fields: Fields) -> Self {
        Self(Box::new(fields))
    }

    /// Its fields.
    #[cfg(target_family = "wasm")]
    pub(crate) fn into_fields(self) -> Fields {
        *self.0
    }

    /// One failure of a form, as the items of a `ValidationError`'s `data` are in Moleculer.
    pub(crate) fn item(kind: &str, message: &str, field: Option<&str>) -> Value {
        let mut item = Map::new();
        item.insert("type".into(), kind.into());
        item.insert("message".into(), message.into());
        if let Some(field) = field {
            item.insert("field".into(), field.into());
        }
        Value::Object(item)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self(Box::new(Fields {
            name: "MoleculerError".into(),
            message,
            code: Some(500),
            ..Fields::default()
        }))
    }
}

impl Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(|json| Self::from_json(&json))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.message())?;
        if let Some(kind) = &self.0.kind {
            write!(f, " ({kind})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_keeps_every_field_through_its_json_form() {
        let wire = json!({"name": "OddError", "message": "m", "nodeID": "b", "code": 418, "type": "T",
            "retryable": true, "stack": "s", "data": {"a": null}, "hint": [1]});
        assert_eq!(Error::from_json(&wire).to_json(), wire);
        assert_eq!(Error::from_json(&wire).node_id().as_deref(), Some("b"));
    }

    #[test]
    fn fields_of_an_unusual_kind_are_kept() {
        let wire =
            json!({"name": "E", "message": "m", "code": -7, "type": ["T"], "retryable": false});
        let error = Error::from_json(&wire);
        assert_eq!((error.code(), error.kind()), (None, ""));
        assert_eq!(error.to_json(), wire);
    }

    #[test]
    fn a_foreign_error_becomes_a_500_with_its_causes_in_the_message() {
        let error: Error = "x".parse::<u32>().unwrap_err().into();
        assert_eq!((error.name(), error.code()), ("MoleculerError", Some(500)));
        assert_eq!(error.message(), "invalid digit found in string");
    }
}
