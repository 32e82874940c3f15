//! JSON text → packet. First the shape in one pass (types of the fields; raw values stay slices of the
//! received buffer), then the meaning (defaults, objects, nesting).
//!
//! When the first pass fails, a second one finds out which field it was and who sent the packet; only
//! refused packets pay for that.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::MoleculerError;
use crate::packet::{
    Body, Event, Heartbeat, Info, Packet, PacketType, Ping, Pong, ProtocolVersion, Request,
    Response, ServiceItem,
};
use crate::payload::{self, Object, Payload};
use crate::serializer::{Error, Reason};

/// Longest part of a strange `ver` that is worth showing.
const VER_SHOWN_MAX: usize = 32;

/// Reads a packet.
pub(super) fn packet(kind: PacketType, data: &Bytes) -> Result<Packet, Error> {
    let text = ByteString::try_from(data.clone()).map_err(|_| Error {
        reason: Reason::Malformed("not UTF-8".into()),
        sender: None,
        ver: None,
    })?;
    match read(kind, &text) {
        Ok(packet) => Ok(packet),
        Err(fault) => Err(explain(&text, fault)),
    }
}

/// Why reading failed, before it is known who sent it.
enum Fault {
    Shape(serde_json::Error),
    Meaning { field: &'static str, cause: String },
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::Shape(error)
    }
}

fn read(kind: PacketType, text: &ByteString) -> Result<Packet, Fault> {
    match kind {
        PacketType::Request => read_request(text),
        PacketType::Response => read_response(text),
        PacketType::Event => read_event(text),
        PacketType::Info => read_info(text),
        PacketType::Discover => Ok(serde_json::from_str::<Bare>(text)?.packet(Body::Discover)),
        PacketType::Disconnect => Ok(serde_json::from_str::<Bare>(text)?.packet(Body::Disconnect)),
        PacketType::Heartbeat => {
            let wire: HeartbeatWire = serde_json::from_str(text)?;
            let heartbeat = Heartbeat { cpu: wire.cpu };
            Ok(Bare { ver: wire.ver, sender: wire.sender }.packet(Body::Heartbeat(heartbeat)))
        }
        PacketType::Ping => {
            let wire: PingWire = serde_json::from_str(text)?;
            let ping = Ping { time: wire.time, id: text_of(wire.id) };
            Ok(Bare { ver: wire.ver, sender: wire.sender }.packet(Body::Ping(ping)))
        }
        PacketType::Pong => {
            let wire: PongWire = serde_json::from_str(text)?;
            let pong = Pong { time: wire.time, id: text_of(wire.id), arrived: wire.arrived };
            Ok(Bare { ver: wire.ver, sender: wire.sender }.packet(Body::Pong(pong)))
        }
        PacketType::GossipHello => read_gossip(text, Body::GossipHello),
        PacketType::GossipRequest => read_gossip(text, Body::GossipRequest),
        PacketType::GossipResponse => read_gossip(text, Body::GossipResponse),
    }
}

fn read_gossip(text: &ByteString, body: fn(Map<String, Value>) -> Body) -> Result<Packet, Fault> {
    let envelope: Bare = serde_json::from_str(text)?;
    let mut fields: Map<String, Value> = serde_json::from_str(text)?;
    fields.retain(|key, _| key != "ver" && key != "sender");
    Ok(envelope.packet(body(fields)))
}

fn read_request(text: &ByteString) -> Result<Packet, Fault> {
    let wire: RequestWire<'_> = serde_json::from_str(text)?;
    let request = Request {
        id: wire.id.0,
        action: wire.action.0,
        params: payload_of(text, "params", wire.params)?,
        meta: object_of(text, "meta", wire.meta)?.unwrap_or_default(),
        headers: object_of(text, "headers", wire.headers)?.unwrap_or_default(),
        timeout: wire.timeout,
        level: level_of(wire.level),
        tracing: wire.tracing,
        parent_id: text_of(wire.parent_id),
        request_id: text_of(wire.request_id),
        caller: text_of(wire.caller),
        stream: wire.stream,
        seq: wire.seq,
    };
    Ok(Bare { ver: wire.ver, sender: wire.sender }.packet(Body::Request(request)))
}

fn read_response(text: &ByteString) -> Result<Packet, Fault> {
    let wire: ResponseWire<'_> = serde_json::from_str(text)?;
    let result = if wire.success.unwrap_or(false) {
        Ok(payload_of(text, "data", wire.data)?)
    } else {
        Err(MoleculerError::from_wire(wire.error, &wire.sender.0))
    };
    let headers = match wire.headers {
        Some(raw) => object_of(text, "headers", Some(raw))?,
        None => Some(Object::default()),
    };
    let response = Response {
        id: wire.id.0,
        meta: object_of(text, "meta", wire.meta)?.unwrap_or_default(),
        headers,
        result,
        stream: wire.stream,
        seq: wire.seq,
    };
    Ok(Bare { ver: wire.ver, sender: wire.sender }.packet(Body::Response(response)))
}

fn read_event(text: &ByteString) -> Result<Packet, Fault> {
    let wire: EventWire<'_> = serde_json::from_str(text)?;
    let event = Event {
        id: wire.id.0,
        event: wire.event.0,
        data: payload_of(text, "data", wire.data)?,
        groups: wire.groups.map(|groups| groups.into_iter().map(|group| group.0).collect()),
        broadcast: wire.broadcast.unwrap_or(false),
        meta: object_of(text, "meta", wire.meta)?.unwrap_or_default(),
        headers: object_of(text, "headers", wire.headers)?.unwrap_or_default(),
        level: level_of(wire.level),
        tracing: wire.tracing,
        parent_id: text_of(wire.parent_id),
        request_id: text_of(wire.request_id),
        caller: text_of(wire.caller),
    };
    Ok(Bare { ver: wire.ver, sender: wire.sender }.packet(Body::Event(event)))
}

fn read_info(text: &ByteString) -> Result<Packet, Fault> {
    let wire: InfoWire = serde_json::from_str(text)?;
    let info = Info {
        services: wire
            .services
            .map(|services| services.into_iter().map(ServiceWire::into_item).collect()),
        ip_list: wire.ip_list.unwrap_or_default(),
        hostname: wire.hostname.unwrap_or_default(),
        client: wire.client,
        config: wire.config,
        instance_id: text_of(wire.instance_id),
        metadata: wire.metadata,
        // moleculer: src/registry/node.js update: a missing seq counts as 1.
        seq: wire.seq.unwrap_or(1),
        port: wire.port.as_u64().and_then(|port| port.try_into().ok()),
    };
    Ok(Bare { ver: wire.ver, sender: wire.sender }.packet(Body::Info(Box::new(info))))
}

fn text_of(text: Option<Text>) -> Option<Arc<str>> {
    text.map(|text| text.0)
}

/// A level is a small whole number; one that is missing (JS nodes leave it undefined) is a root's.
fn level_of(level: Option<f64>) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the cast saturates, which is what is wanted of a foreign number"
    )]
    level.map_or(1, |level| level as u32)
}

fn payload_of(
    text: &ByteString,
    field: &'static str,
    raw: Option<&RawValue>,
) -> Result<Payload, Fault> {
    raw.map_or(Ok(Payload::Absent), |raw| slice(text, field, raw).map(Payload::Json))
}

fn object_of(
    text: &ByteString,
    field: &'static str,
    raw: Option<&RawValue>,
) -> Result<Option<Object>, Fault> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(None) };
    if raw.get() == "{}" {
        // What most packets have needs no share in their bytes.
        return Ok(Some(Object::default()));
    }
    let object = Object::from_checked(slice(text, field, raw)?);
    object.map(Some).map_err(|error| Fault::Meaning { field, cause: error.to_string() })
}

/// The part of the received buffer that holds a value, without a copy.
fn slice(text: &ByteString, field: &'static str, raw: &RawValue) -> Result<ByteString, Fault> {
    payload::check_depth(raw.get())
        .map_err(|error| Fault::Meaning { field, cause: error.to_string() })?;
    Ok(text.slice_ref(raw.get()))
}

/// Text that is kept: read from the wire straight into shared memory.
struct Text(Arc<str>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Arc::from(text)))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// The protocol version. One that is no text is kept in a form that equals no version, because Moleculer
/// compares strictly and refuses the number 5 (moleculer: src/transit.js messageHandler).
#[derive(Default)]
struct Ver(Arc<str>);

impl<'de> Deserialize<'de> for Ver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        // Almost every packet has one that is known, which is not copied anew for each.
        let text = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        if let Some(known) = text.and_then(ProtocolVersion::from_wire) {
            return Ok(Self(known.shared()));
        }
        if raw.starts_with('"') {
            return serde_json::from_str::<Text>(raw)
                .map(|text| Self(text.0))
                .map_err(serde::de::Error::custom);
        }
        let shown: String = raw.chars().take(VER_SHOWN_MAX).collect();
        Ok(Self(format!("{shown} (not a string)").into()))
    }
}

/// Reads a value that is there, `null` included; a missing key is `None` by default.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A truth value. For a call that is no stream, 0.14 sends its params themselves where they count as false:
/// `0`, `""` or `null` (moleculer 0.14: src/transit.js _sendRequest).
fn falsy_or_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match <&RawValue>::deserialize(deserializer)?.get() {
        "true" => Ok(true),
        "false" | "null" | "0" | "-0" | "\"\"" => Ok(false),
        _ => Err(serde::de::Error::custom("expected a boolean")),
    }
}

/// What `null` and a missing key are alike for.
fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The envelope, and all there is of DISCOVER and DISCONNECT.
#[derive(serde::Deserialize)]
struct Bare {
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

impl Bare {
    fn packet(self, body: Body) -> Packet {
        Packet { ver: self.ver.0, sender: self.sender.0, body }
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestWire<'a> {
    id: Text,
    action: Text,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    timeout: Option<f64>,
    level: Option<f64>,
    tracing: Option<bool>,
    #[serde(rename = "parentID")]
    parent_id: Option<Text>,
    #[serde(rename = "requestID")]
    request_id: Option<Text>,
    caller: Option<Text>,
    #[serde(default, deserialize_with = "falsy_or_bool")]
    stream: bool,
    seq: Option<u32>,
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

#[derive(serde::Deserialize)]
struct ResponseWire<'a> {
    id: Text,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    headers: Option<&'a RawValue>,
    success: Option<bool>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    error: Value,
    stream: Option<bool>,
    seq: Option<u32>,
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

#[derive(serde::Deserialize)]
struct EventWire<'a> {
    id: Text,
    event: Text,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    groups: Option<Vec<Text>>,
    broadcast: Option<bool>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    level: Option<f64>,
    tracing: Option<bool>,
    #[serde(rename = "parentID")]
    parent_id: Option<Text>,
    #[serde(rename = "requestID")]
    request_id: Option<Text>,
    caller: Option<Text>,
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

#[derive(serde::Deserialize)]
struct HeartbeatWire {
    cpu: Option<f64>,
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

#[derive(serde::Deserialize)]
struct PingWire {
    time: f64,
    id: Option<Text>,
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

#[derive(serde::Deserialize)]
struct PongWire {
    time: f64,
    id: Option<Text>,
    arrived: f64,
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfoWire {
    services: Option<Vec<ServiceWire>>,
    ip_list: Option<Vec<String>>,
    hostname: Option<String>,
    #[serde(default)]
    client: Value,
    #[serde(default)]
    config: Value,
    #[serde(rename = "instanceID")]
    instance_id: Option<Text>,
    #[serde(default)]
    metadata: Value,
    seq: Option<u64>,
    /// Anything else than the number of a port is as good as none.
    #[serde(default)]
    port: Value,
    #[serde(default)]
    ver: Ver,
    sender: Text,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceWire {
    name: String,
    #[serde(default)]
    version: Value,
    full_name: Option<String>,
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    metadata: Value,
    #[serde(default, deserialize_with = "or_default")]
    actions: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    events: Map<String, Value>,
}

impl ServiceWire {
    fn into_item(self) -> ServiceItem {
        let Self { name, version, full_name, settings, metadata, actions, events } = self;
        let full_name = full_name.unwrap_or_else(|| versioned_name(&name, &version));
        ServiceItem { name, version, full_name, settings, metadata, actions, events }
    }
}

/// moleculer: src/service.js getVersionedFullName
fn versioned_name(name: &str, version: &Value) -> String {
    match version {
        Value::Number(number) => format!("v{number}.{name}"),
        Value::String(text) => format!("{text}.{name}"),
        _ => name.to_owned(),
    }
}

/// Finds out which field is wrong and whose packet it is.
fn explain(text: &str, fault: Fault) -> Error {
    let Ok(fields) = serde_json::from_str::<IndexMap<String, &RawValue>>(text) else {
        let cause = match fault {
            Fault::Shape(error) => error.to_string(),
            Fault::Meaning { cause, .. } => cause,
        };
        return Error { reason: Reason::Malformed(cause), sender: None, ver: None };
    };
    let reason = match fault {
        Fault::Meaning { field, cause } => Reason::Field { field: field.into(), cause },
        Fault::Shape(error) => {
            let field = field_at(text, &fields, &error);
            Reason::Field { field, cause: error.to_string() }
        }
    };
    let envelope = |key: &str| fields.get(key).map(|raw| raw.get());
    let sender = envelope("sender").and_then(|raw| serde_json::from_str::<Text>(raw).ok());
    let ver = envelope("ver").and_then(|raw| serde_json::from_str::<Ver>(raw).ok());
    Error { reason, sender: text_of(sender), ver: ver.map(|ver| ver.0) }
}

/// The top-level field in which an error lies: the last one that does not begin after it. A missing field is
/// found at the end of the text and has no place; the error's own text names it.
fn field_at(text: &str, fields: &IndexMap<String, &RawValue>, error: &serde_json::Error) -> String {
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = line_start + error.column();
    if at >= text.trim_end().len() {
        return String::new();
    }
    let starts = |raw: &RawValue| raw.get().as_ptr().addr() - text.as_ptr().addr();
    let found = fields.iter().rfind(|(_, raw)| starts(raw) <= at);
    found.map(|(name, _)| name.clone()).unwrap_or_default()
}
