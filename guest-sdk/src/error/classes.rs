//! Moleculer's error classes, made as Moleculer makes them: code, type, text and data
//! (moleculer: src/errors.js).
//!
//! The general ones (`new`, `client`, `server`, `validation`) stand with the type itself. These are for
//! services that answer in the place of others, such as gateways and proxies. Every other class, Moleculer's
//! or your own, is made by [`Error::named`].

use serde_json::{Map, Value, json};

use crate::Error;

impl Error {
    /// A `MoleculerRetryableError`: the same call may succeed when it is tried again.
    #[must_use]
    pub fn temporary(code: u32, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, kind, message).named("MoleculerRetryableError").retryable(true)
    }

    /// A `ValidationError` (422) for one param, as Moleculer's validator makes it: what a check in code
    /// returns. `kind` is a word for programs, such as `stringMin`.
    ///
    /// ```
    /// use isomer_sdk::Error;
    /// use serde_json::json;
    ///
    /// let error = Error::invalid_param("age", "numberMin", "The 'age' must be at least 18.");
    /// let item = json!({ "type": "numberMin", "message": "The 'age' must be at least 18.", "field": "age" });
    /// assert_eq!(error.data_as(), Some(json!([item])));
    /// ```
    #[must_use]
    pub fn invalid_param(field: &str, kind: &str, message: &str) -> Self {
        Self::validation("Parameters validation error!").data([Self::item(
            kind,
            message,
            Some(field),
        )])
    }

    /// A `ServiceNotFoundError` (404): nobody ever offered the action, or not on this node.
    #[must_use]
    pub fn service_not_found(action: &str, node_id: Option<&str>) -> Self {
        let place = node_id.map(|node_id| format!(" on '{node_id}' node")).unwrap_or_default();
        Self::temporary(
            404,
            "SERVICE_NOT_FOUND",
            format!("Service '{action}' is not found{place}."),
        )
        .named("ServiceNotFoundError")
        .data(call(action, node_id))
    }

    /// A `ServiceNotAvailableError` (404): the action is known, but nobody offers it now.
    #[must_use]
    pub fn service_not_available(action: &str, node_id: Option<&str>) -> Self {
        let place = node_id.map(|node_id| format!(" on '{node_id}' node")).unwrap_or_default();
        let message = format!("Service '{action}' is not available{place}.");
        Self::temporary(404, "SERVICE_NOT_AVAILABLE", message)
            .named("ServiceNotAvailableError")
            .data(call(action, node_id))
    }

    /// A `RequestTimeoutError` (504): no answer came in time.
    #[must_use]
    pub fn request_timeout(action: &str, node_id: &str) -> Self {
        let message =
            format!("Request is timed out when call '{action}' action on '{node_id}' node.");
        Self::temporary(504, "REQUEST_TIMEOUT", message)
            .named("RequestTimeoutError")
            .data(call(action, Some(node_id)))
    }

    /// A `RequestSkippedError` (514): no time was left for the call.
    #[must_use]
    pub fn request_skipped(action: &str, node_id: &str) -> Self {
        let message =
            format!("Calling '{action}' is skipped because timeout reached on '{node_id}' node.");
        Self::new(514, "REQUEST_SKIPPED", message)
            .named("RequestSkippedError")
            .data(call(action, Some(node_id)))
    }

    /// A `RequestRejectedError` (503): the node that should answer does not.
    #[must_use]
    pub fn request_rejected(action: &str, node_id: &str) -> Self {
        let message =
            format!("Request is rejected when call '{action}' action on '{node_id}' node.");
        Self::temporary(503, "REQUEST_REJECTED", message)
            .named("RequestRejectedError")
            .data(call(action, Some(node_id)))
    }

    /// A `QueueIsFullError` (429): too much is waiting already.
    #[must_use]
    pub fn queue_is_full(action: &str, node_id: &str, size: u64, limit: u64) -> Self {
        let message =
            format!("Queue is full. Request '{action}' action on '{node_id}' node is rejected.");
        let mut data = call(action, Some(node_id));
        data.insert("size".into(), size.into());
        data.insert("limit".into(), limit.into());
        Self::temporary(429, "QUEUE_FULL", message).named("QueueIsFullError").data(data)
    }

    /// A `MaxCallLevelError` (500): a chain of calls became too long.
    #[must_use]
    pub fn max_call_level(node_id: &str, level: u32) -> Self {
        let message = format!("Request level is reached the limit ({level}) on '{node_id}' node.");
        Self::new(500, "MAX_CALL_LEVEL", message)
            .named("MaxCallLevelError")
            .data(json!({ "nodeID": node_id, "level": level }))
    }

    /// A `ServiceSchemaError` (500): the service is set up wrongly.
    #[must_use]
    pub fn service_schema(message: impl Into<String>) -> Self {
        Self::new(500, "SERVICE_SCHEMA_ERROR", message).named("ServiceSchemaError")
    }
}

/// What the errors of a call carry.
fn call(action: &str, node_id: Option<&str>) -> Map<String, Value> {
    let mut data = Map::new();
    data.insert("action".into(), action.into());
    data.extend(node_id.map(|node_id| ("nodeID".into(), node_id.into())));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that the real Moleculer made, without the node, which the host adds.
    fn vectors() -> Vec<Value> {
        let text = include_str!("../../../tests/vectors/errors.json");
        let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
        let wire = |mut vector: Value| {
            vector["wire"].as_object_mut().unwrap().remove("nodeID");
            vector["wire"].take()
        };
        vectors.into_iter().map(wire).collect()
    }

    // moleculer: src/errors.js
    #[test]
    fn classes_have_the_code_type_text_and_data_of_moleculer() {
        let (action, node) = ("posts.get", "node-2");
        let data = json!({"list": [1, null], "deep": {"text": "ü"}});
        let general = |error: Error| error.data(&data);
        let errors = [
            general(Error::new(418, "TEAPOT", "went wrong")),
            general(Error::temporary(418, "TEAPOT", "went wrong")),
            general(Error::server(418, "TEAPOT", "went wrong")),
            general(Error::client(418, "TEAPOT", "went wrong")),
            Error::service_not_found(action, Some(node)),
            Error::service_not_found(action, None),
            Error::service_not_available(action, Some(node)),
            Error::service_not_available(action, None),
            Error::request_timeout(action, node),
            Error::request_skipped(action, node),
            Error::request_rejected(action, node),
            Error::queue_is_full(action, node, 100, 100),
            Error::validation("Parameters validation error!")
                .data([json!({"type": "required", "field": "id"})]),
            Error::max_call_level(node, 10),
            Error::service_schema("the schema is wrong").data(json!({"service": "posts"})),
        ];
        let vectors = vectors();
        for error in errors {
            let json = error.to_json();
            assert!(vectors.contains(&json), "Moleculer makes no {json}");
        }
    }

    #[test]
    fn every_class_of_moleculer_keeps_its_fields_in_a_guest() {
        for wire in vectors() {
            assert_eq!(Error::from_json(&wire).to_json(), wire);
        }
    }
}
