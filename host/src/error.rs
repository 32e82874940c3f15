//! The error that callers, guests and other nodes see, and the only list of its names.
//!
//! Classes, codes, types and texts are Moleculer's (moleculer: src/errors.js); the last group is the
//! host's own, for causes that JavaScript nodes do not know. An error that came from elsewhere keeps every
//! field it had, known or not.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use serde_json::{Map, Value, json};

/// Any error with all its causes, in one line.
#[must_use]
pub(crate) fn explained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A Moleculer error: what a failed call ends with, on the wire, in a guest and in the host's own API.
///
/// It is a pointer in size, so that results stay small, and is cheap to clone only when nobody has to:
/// cloning copies the fields.
#[derive(Clone, PartialEq, Eq)]
pub struct MoleculerError(Box<Fields>);

/// The fields of a [`MoleculerError`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Class name, such as `MoleculerClientError`.
    pub name: Cow<'static, str>,
    /// One sentence for a person.
    pub message: String,
    /// Numeric code, by convention HTTP's. A code that is not an integer is kept in `extra`.
    pub code: Option<i64>,
    /// Word for programs, such as `NOT_FOUND`.
    pub kind: Option<Cow<'static, str>>,
    /// Whether the same call may succeed later; `None` when the origin did not say.
    pub retryable: Option<bool>,
    /// Well-formed JSON text of `data`.
    pub data: Option<ByteString>,
    /// Stack trace, as text.
    pub stack: Option<String>,
    /// The node on which it arose, when another one than where it is seen.
    pub node_id: Option<Arc<str>>,
    /// Fields that this node does not know, kept as they came.
    pub extra: Map<String, Value>,
}

/// Errors whose message JavaScript makes of their data, which must be there (moleculer: src/errors.js
/// recreateError).
const MADE_OF_DATA: [&str; 7] = [
    "ServiceNotFoundError",
    "ServiceNotAvailableError",
    "RequestTimeoutError",
    "RequestSkippedError",
    "RequestRejectedError",
    "QueueIsFullError",
    "MaxCallLevelError",
];

/// Keys of the wire form that have a field of their own.
const KNOWN_KEYS: [&str; 8] =
    ["name", "message", "nodeID", "code", "type", "retryable", "stack", "data"];

impl MoleculerError {
    /// An error of any class.
    #[must_use]
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        code: i64,
        kind: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
        retryable: bool,
    ) -> Self {
        Self(Box::new(Fields {
            name: name.into(),
            message: message.into(),
            code: Some(code),
            kind: Some(kind.into()),
            retryable: Some(retryable),
            ..Fields::default()
        }))
    }

    /// An error from its fields.
    #[must_use]
    pub fn from_fields(fields: Fields) -> Self {
        Self(Box::new(fields))
    }

    /// The fields.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// The fields, to be changed.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.0
    }

    /// Sets `data`.
    #[must_use]
    pub fn with_data(mut self, data: &Value) -> Self {
        self.0.data = Some(data.to_string().into());
        self
    }

    /// Sets the node on which it arose, unless it is set already.
    #[must_use]
    pub fn at_node(mut self, node_id: &Arc<str>) -> Self {
        self.0.node_id.get_or_insert_with(|| Arc::clone(node_id));
        self
    }

    /// Class name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Text for a person.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Word for programs; empty when there is none.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.kind.as_deref().unwrap_or("")
    }

    /// Numeric code; 500 when there is none, as Moleculer's gateways take it.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.0.code.unwrap_or(500)
    }

    /// Whether a retry may help.
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.0.retryable.unwrap_or(false)
    }

    /// The wire form: `{name, message, nodeID, code, type, retryable, stack, data}` and the unknown
    /// fields; missing ones are left out. `nodeID` is the error's own node, else `node_id`
    /// (moleculer: src/errors.js extractPlainError).
    #[must_use]
    pub fn to_wire(&self, node_id: &str) -> Value {
        let fields = &*self.0;
        let mut wire = Map::new();
        wire.insert("name".into(), fields.name.clone().into());
        wire.insert("message".into(), fields.message.clone().into());
        wire.insert("nodeID".into(), fields.node_id.as_deref().unwrap_or(node_id).into());
        if let Some(code) = fields.code {
            wire.insert("code".into(), code.into());
        }
        if let Some(kind) = &fields.kind {
            wire.insert("type".into(), kind.clone().into());
        }
        if let Some(retryable) = fields.retryable {
            wire.insert("retryable".into(), retryable.into());
        }
        if let Some(stack) = &fields.stack {
            wire.insert("stack".into(), stack.clone().into());
        }
        let data = fields.data.as_ref().map(|data| serde_json::from_str(data).unwrap_or_default());
        match data {
            // Nodes of JavaScript make their message of it, fail when it is not there, and drop the packet.
            None | Some(Value::Null) if MADE_OF_DATA.contains(&&*fields.name) => {
                wire.insert("data".into(), Map::new().into());
            }
            None => {}
            Some(data) => {
                wire.insert("data".into(), data);
            }
        }
        for (key, value) in &fields.extra {
            wire.entry(key.as_str()).or_insert_with(|| value.clone());
        }
        Value::Object(wire)
    }

    /// Reads the wire form. Whatever a peer sends becomes an error: fields of the wrong type are kept in
    /// `extra`, a value that is no object becomes the message. `sender` is the node when the error names
    /// none (moleculer: src/errors.js restore).
    #[must_use]
    pub fn from_wire(wire: Value, sender: &Arc<str>) -> Self {
        let Value::Object(mut wire) = wire else {
            let mut error =
                Self::internal(format!("the callee sent an error that is no object: {wire}"));
            error.0.node_id = Some(Arc::clone(sender));
            return error;
        };
        let mut text = |key: &str| match wire.get(key) {
            Some(Value::String(_)) => match wire.shift_remove(key) {
                Some(Value::String(text)) => Some(text),
                _ => None,
            },
            _ => None,
        };
        let name = text("name").map_or(Cow::Borrowed("Error"), Cow::Owned);
        let message = text("message").unwrap_or_default();
        let kind = text("type").map(Cow::Owned);
        let stack = text("stack");
        let node_id = text("nodeID").map_or_else(|| Arc::clone(sender), Arc::from);
        let code = wire.get("code").and_then(Value::as_i64);
        if code.is_some() {
            wire.shift_remove("code");
        }
        let retryable = wire.get("retryable").and_then(Value::as_bool);
        wire.shift_remove("retryable");
        let data = wire.shift_remove("data").map(|data| data.to_string().into());
        wire.retain(|key, value| !(value.is_null() && KNOWN_KEYS.contains(&key.as_str())));
        Self(Box::new(Fields {
            name,
            message,
            code,
            kind,
            retryable,
            data,
            stack,
            node_id: Some(node_id),
            extra: wire,
        }))
    }
}

/// Moleculer's classes.
impl MoleculerError {
    /// `MoleculerError` 500 without a type: a value that was thrown, or anything unforeseen.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        let mut error = Self::new("MoleculerError", 500, "", message, false);
        error.0.kind = None;
        error
    }

    /// `MoleculerClientError`: the caller did something wrong.
    #[must_use]
    pub fn client(code: i64, kind: &'static str, message: impl Into<String>) -> Self {
        Self::new("MoleculerClientError", code, kind, message, false)
    }

    /// `MoleculerServerError` 500: retryable.
    #[must_use]
    pub fn server(kind: &'static str, message: impl Into<String>) -> Self {
        Self::new("MoleculerServerError", 500, kind, message, true)
    }

    /// `MoleculerRetryableError`: the same call may succeed later.
    #[must_use]
    pub fn temporary(code: i64, kind: &'static str, message: impl Into<String>) -> Self {
        Self::new("MoleculerRetryableError", code, kind, message, true)
    }

    /// No node ever offered the action (or not that node, when one was asked for).
    #[must_use]
    pub fn service_not_found(action: &str, node_id: Option<&str>) -> Self {
        let message = match node_id {
            Some(node_id) => format!("Service '{action}' is not found on '{node_id}' node."),
            None => format!("Service '{action}' is not found."),
        };
        Self::new("ServiceNotFoundError", 404, "SERVICE_NOT_FOUND", message, true)
            .with_data(&action_data(action, node_id))
    }

    /// The action is known, but nobody offers it now.
    #[must_use]
    pub fn service_not_available(action: &str, node_id: Option<&str>) -> Self {
        let message = match node_id {
            Some(node_id) => format!("Service '{action}' is not available on '{node_id}' node."),
            None => format!("Service '{action}' is not available."),
        };
        Self::new("ServiceNotAvailableError", 404, "SERVICE_NOT_AVAILABLE", message, true)
            .with_data(&action_data(action, node_id))
    }

    /// The time that the caller gave has passed.
    #[must_use]
    pub fn request_timeout(action: &str, node_id: &str) -> Self {
        let message =
            format!("Request is timed out when call '{action}' action on '{node_id}' node.");
        Self::new("RequestTimeoutError", 504, "REQUEST_TIMEOUT", message, true)
            .with_data(&action_data(action, Some(node_id)))
    }

    /// Nothing was left of the parent's time when the call should have been made.
    #[must_use]
    pub fn request_skipped(action: &str, node_id: &str) -> Self {
        let message =
            format!("Calling '{action}' is skipped because timeout reached on '{node_id}' node.");
        Self::new("RequestSkippedError", 514, "REQUEST_SKIPPED", message, false)
            .with_data(&action_data(action, Some(node_id)))
    }

    /// The node that should answer has gone.
    #[must_use]
    pub fn request_rejected(action: &str, node_id: &str) -> Self {
        let message =
            format!("Request is rejected when call '{action}' action on '{node_id}' node.");
        Self::new("RequestRejectedError", 503, "REQUEST_REJECTED", message, true)
            .with_data(&action_data(action, Some(node_id)))
    }

    /// A bounded queue is full.
    #[must_use]
    pub fn queue_is_full(action: &str, node_id: &str, size: usize, limit: usize) -> Self {
        let message =
            format!("Queue is full. Request '{action}' action on '{node_id}' node is rejected.");
        Self::new("QueueIsFullError", 429, "QUEUE_FULL", message, true)
            .with_data(&json!({"action": action, "nodeID": node_id, "size": size, "limit": limit}))
    }

    /// A handler has sent as many events as it may. Trying again in the same handler is in vain.
    #[must_use]
    pub fn too_many_events(event: &str, service: &str, limit: usize) -> Self {
        let message = format!(
            "Event '{event}' was not sent: a handler of '{service}' may send {limit} events."
        );
        Self::new("QueueIsFullError", 429, "QUEUE_FULL", message, false)
            .with_data(&json!({"event": event, "service": service, "limit": limit}))
    }

    /// The params do not fit. `items` is the list of failures.
    #[must_use]
    pub fn validation(message: impl Into<String>, items: &Value) -> Self {
        Self::new("ValidationError", 422, "VALIDATION_ERROR", message, false).with_data(items)
    }

    /// A chain of calls became too long.
    #[must_use]
    pub fn max_call_level(node_id: &str, level: u32) -> Self {
        let message = format!("Request level is reached the limit ({level}) on '{node_id}' node.");
        Self::new("MaxCallLevelError", 500, "MAX_CALL_LEVEL", message, false)
            .with_data(&json!({"nodeID": node_id, "level": level}))
    }

    /// A service schema is wrong.
    #[must_use]
    pub fn service_schema(message: impl Into<String>) -> Self {
        Self::new("ServiceSchemaError", 500, "SERVICE_SCHEMA_ERROR", message, false)
    }

    /// The options of the broker are wrong.
    #[must_use]
    pub fn broker_options(message: impl Into<String>) -> Self {
        Self::new("BrokerOptionsError", 500, "BROKER_OPTIONS_ERROR", message, false)
    }

    /// A service did not end its calls in time when it was stopped; without a name, the whole broker.
    #[must_use]
    pub fn graceful_stop_timeout(service: Option<(&str, &Value)>) -> Self {
        let error = |message| {
            Self::new("GracefulStopTimeoutError", 500, "GRACEFUL_STOP_TIMEOUT", message, false)
        };
        match service {
            Some((name, version)) => error(format!("Unable to stop '{name}' service gracefully."))
                .with_data(&json!({"name": name, "version": version})),
            None => error("Unable to stop ServiceBroker gracefully.".into()),
        }
    }

    /// A node speaks another version of the protocol.
    #[must_use]
    pub fn protocol_version_mismatch(node_id: &str, actual: &str, received: &str) -> Self {
        let message = "Protocol version mismatch.";
        Self::new("ProtocolVersionMismatchError", 500, "PROTOCOL_VERSION_MISMATCH", message, false)
            .with_data(&json!({"nodeID": node_id, "actual": actual, "received": received}))
    }

    /// A packet cannot be read.
    #[must_use]
    pub fn invalid_packet_data(data: &Value) -> Self {
        let message = "Invalid packet data.";
        Self::new("InvalidPacketDataError", 500, "INVALID_PACKET_DATA", message, false)
            .with_data(data)
    }

    /// Nothing can be sent because the transporter is not connected.
    #[must_use]
    pub fn broker_disconnected() -> Self {
        let message = "The broker's transporter has disconnected. Please try again when a connection is \
                       reestablished.";
        Self::new("BrokerDisconnectedError", 502, "BAD_GATEWAY", message, true)
    }

    /// Services that somebody waits for did not come in time.
    #[must_use]
    pub fn wait_for_services(names: &str) -> Self {
        let message = format!("Services waiting is timed out: {names}");
        Self::server("WAITFOR_SERVICES", message)
    }
}

/// The host's own classes, one for each way in which a guest can end badly.
impl MoleculerError {
    /// The guest trapped: a panic, an uncaught exception, an illegal instruction.
    #[must_use]
    pub fn service_trapped(service: &str, cause: &str) -> Self {
        let message = format!("Service '{service}' trapped: {cause}");
        Self::new("ServiceTrappedError", 500, "SERVICE_TRAPPED", message, false)
            .with_data(&json!({"service": service, "cause": cause}))
    }

    /// A shared instance ended because of another call, or with its node's version; this call may be made again.
    #[must_use]
    pub fn instance_lost(service: &str, cause: &str) -> Self {
        let message =
            format!("The instance of service '{service}' ended because of another call: {cause}");
        Self::new("InstanceLostError", 503, "INSTANCE_LOST", message, true)
            .with_data(&json!({"service": service, "cause": cause}))
    }

    /// The guest used up its fuel for one call.
    #[must_use]
    pub fn fuel_exhausted(service: &str, limit: u64, used: u64) -> Self {
        let message = format!("Service '{service}' used up its {limit} units of fuel.");
        Self::new("FuelExhaustedError", 500, "FUEL_EXHAUSTED", message, false)
            .with_data(&json!({"service": service, "limit": limit, "used": used}))
    }

    /// The guest asked for more memory (bytes) or table elements than it may have.
    #[must_use]
    pub fn memory_limit(service: &str, limit: u64, asked: u64) -> Self {
        let message =
            format!("Service '{service}' asked for {asked} of memory; its limit is {limit}.");
        Self::new("MemoryLimitError", 500, "MEMORY_LIMIT", message, false)
            .with_data(&json!({"service": service, "limit": limit, "asked": asked}))
    }

    /// The node has no memory left for guests (bytes). Another node may have: trying again makes sense when nothing
    /// was begun.
    #[must_use]
    pub fn node_memory(service: &str, node_id: &str, limit: u64, used: u64, again: bool) -> Self {
        let message = format!(
            "Node '{node_id}' has no memory left for service '{service}': it uses {used} bytes of {limit}."
        );
        Self::new("NodeMemoryError", 503, "NODE_MEMORY", message, again).with_data(
            &json!({"service": service, "nodeID": node_id, "limit": limit, "used": used}),
        )
    }

    /// A payload, meta or header is larger than allowed. `what` names it.
    #[must_use]
    pub fn payload_too_large(what: &str, limit: usize, size: usize) -> Self {
        let message = format!("The {what} has {size} bytes; the limit is {limit}.");
        Self::new("PayloadTooLargeError", 413, "PAYLOAD_TOO_LARGE", message, false)
            .with_data(&json!({"what": what, "limit": limit, "size": size}))
    }

    /// A guest handed over text that is not JSON. `what` names it.
    #[must_use]
    pub fn invalid_payload(what: &str, reason: &str) -> Self {
        let message = format!("The {what} is {reason}.");
        Self::new("InvalidPayloadError", 422, "INVALID_PAYLOAD", message, false)
            .with_data(&json!({"what": what}))
    }

    /// The operator's grants do not allow this to the service.
    #[must_use]
    pub fn permission_denied(service: &str, what: &str, grant: &str) -> Self {
        let message = format!(
            "Service '{service}' may not {what}: its grant '{grant}' does not allow it (section [grants] of \
                 its .toml)."
        );
        Self::new("PermissionDeniedError", 403, "PERMISSION_DENIED", message, false)
            .with_data(&json!({"service": service, "grant": grant}))
    }

    /// A service would wait for an instance of itself that its own call chain holds.
    #[must_use]
    pub fn self_deadlock(service: &str, instances: usize) -> Self {
        let message = format!(
            "Service '{service}' calls itself (directly or through others) and all its {instances} \
             instance(s) are held by that chain; raise instances.max."
        );
        Self::new("SelfDeadlockError", 500, "SELF_DEADLOCK", message, false)
            .with_data(&json!({"service": service, "instances": instances}))
    }
}

fn action_data(action: &str, node_id: Option<&str>) -> Value {
    match node_id {
        // Whom nobody chose has no name.
        Some("") => json!({"action": action, "nodeID": null}),
        Some(node_id) => json!({"action": action, "nodeID": node_id}),
        None => json!({"action": action}),
    }
}

impl fmt::Display for MoleculerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.name, self.0.message)?;
        if let Some(kind) = &self.0.kind {
            write!(f, " ({kind})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MoleculerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::error::Error for MoleculerError {}

#[cfg(test)]
mod tests;
