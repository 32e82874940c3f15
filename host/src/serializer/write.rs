//! What every kind of packet consists of, and in which order: told once, to whichever format writes it.
//!
//! The order is Moleculer's, with `ver` and `sender` last (moleculer: src/transporters/base.js serialize). No
//! JS node depends on it; tests that compare bytes with recorded packets do. Formats differ in one thing only
//! that is not notation: most leave out what is `undefined`, CBOR writes it.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::packet::{
    Body, Event, Info, Packet, Ping, Pong, ProtocolVersion, Request, Response, ServiceItem,
};
use crate::payload::{Object, Payload};
use crate::serializer::walk::Sink;

/// Room for the keys and the short values of a packet: a REQ without params has about 330 bytes.
const FRAME_SIZE: usize = 384;

/// Takes the parts of one packet, which is an object: a key, then its value, and so on.
pub(super) trait Writer {
    /// The packet begins.
    fn begin(&mut self);
    /// It ends.
    fn end(&mut self);
    /// A key of the packet that needs no escapes.
    fn key(&mut self, key: &'static str) -> &mut Self;
    /// A key of the packet that may be any text.
    fn any_key(&mut self, key: &str);
    /// A member without a value: JavaScript's `undefined`.
    fn undefined(&mut self, key: &'static str);
    fn text(&mut self, text: &str);
    fn number(&mut self, number: f64);
    fn count(&mut self, count: u32);
    fn bool(&mut self, value: bool);
    fn null(&mut self);
    /// A well-formed JSON text.
    fn json(&mut self, text: &str);
    fn bytes(&mut self, bytes: &Bytes);

    /// Anything that has a JSON form. For what is not sent often: formats other than JSON take the way over
    /// its text.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        // None of the values has keys that are not text, so there is always a form.
        self.json(&serde_json::to_string(value).unwrap_or_else(|_| "null".into()));
    }
}

/// Whoever takes the parts of a value can take those of a packet.
impl<S: Sink> Writer for S {
    fn begin(&mut self) {
        self.begin_object();
    }

    fn end(&mut self) {
        self.end_object();
    }

    fn key(&mut self, key: &'static str) -> &mut Self {
        Sink::key(self, key);
        self
    }

    fn any_key(&mut self, key: &str) {
        Sink::key(self, key);
    }

    fn undefined(&mut self, key: &'static str) {
        self.undefined_member(key);
    }

    fn text(&mut self, text: &str) {
        Sink::text(self, text);
    }

    fn number(&mut self, number: f64) {
        Sink::number(self, number);
    }

    fn count(&mut self, count: u32) {
        Sink::number(self, f64::from(count));
    }

    fn bool(&mut self, value: bool) {
        Sink::bool(self, value);
    }

    fn null(&mut self) {
        Sink::null(self);
    }

    fn json(&mut self, text: &str) {
        super::walk::walk(text, self);
    }

    fn bytes(&mut self, bytes: &Bytes) {
        Sink::bytes(self, bytes);
    }
}

/// What the version of a packet has.
#[derive(Clone, Copy)]
struct Version {
    /// `headers`
    headers: bool,
}

/// Tells a packet.
pub(super) fn packet(packet: &Packet, out: &mut impl Writer) {
    let version = Version { headers: *packet.ver != *ProtocolVersion::V4.as_str() };
    out.begin();
    match &packet.body {
        Body::Request(request) => self::request(request, version, out),
        Body::Response(response) => self::response(response, version, &packet.sender, out),
        Body::Event(event) => self::event(event, version, out),
        Body::Info(info) => self::info(info, out),
        Body::Heartbeat(heartbeat) => number_or_null(heartbeat.cpu, out.key("cpu")),
        Body::Ping(ping) => self::ping(ping, out),
        Body::Pong(pong) => self::pong(pong, out),
        Body::GossipHello(fields) | Body::GossipRequest(fields) | Body::GossipResponse(fields) => {
            self::fields(fields, out);
        }
        Body::Discover | Body::Disconnect => {}
    }
    out.key("ver").text(&packet.ver);
    out.key("sender").text(&packet.sender);
    out.end();
}

/// About how many bytes a packet becomes.
pub(super) fn capacity(body: &Body) -> usize {
    let carried = match body {
        Body::Request(request) => request.params.len() + request.meta.len() + request.headers.len(),
        Body::Response(response) => {
            response.meta.len() + response.result.as_ref().map_or(1024, Payload::len)
        }
        Body::Event(event) => event.data.len() + event.meta.len() + event.headers.len(),
        Body::Info(_) => 16 << 10,
        _ => 0,
    };
    FRAME_SIZE + carried
}

fn text_or_null(text: Option<&str>, out: &mut impl Writer) {
    match text {
        Some(text) => out.text(text),
        None => out.null(),
    }
}

fn bool_or_null(value: Option<bool>, out: &mut impl Writer) {
    match value {
        Some(value) => out.bool(value),
        None => out.null(),
    }
}

fn number_or_null(number: Option<f64>, out: &mut impl Writer) {
    match number.filter(|number| number.is_finite()) {
        Some(number) => out.number(number),
        None => out.null(),
    }
}

fn payload(key: &'static str, payload: &Payload, out: &mut impl Writer) {
    match payload {
        Payload::Absent | Payload::Stream(_) => out.undefined(key),
        Payload::Json(text) => out.key(key).json(text),
        Payload::Bytes(bytes) => out.key(key).bytes(bytes),
    }
}

fn object(key: &'static str, object: &Object, out: &mut impl Writer) {
    out.key(key).json(object.as_str());
}

fn headers(headers: &Object, version: Version, out: &mut impl Writer) {
    if version.headers {
        object("headers", headers, out);
    }
}

/// The members of an object, as members of the packet.
fn fields(fields: &Map<String, Value>, out: &mut impl Writer) {
    for (key, value) in fields {
        out.any_key(key);
        out.value(value);
    }
}

// moleculer: src/transit.js _sendRequest
fn request(request: &Request, version: Version, out: &mut impl Writer) {
    out.key("id").text(&request.id);
    out.key("action").text(&request.action);
    payload("params", &request.params, out);
    object("meta", &request.meta, out);
    headers(&request.headers, version, out);
    number_or_null(request.timeout, out.key("timeout"));
    out.key("level").count(request.level);
    bool_or_null(request.tracing, out.key("tracing"));
    text_or_null(request.parent_id.as_deref(), out.key("parentID"));
    text_or_null(request.request_id.as_deref(), out.key("requestID"));
    text_or_null(request.caller.as_deref(), out.key("caller"));
    out.key("stream").bool(request.stream);
    if let Some(seq) = request.seq {
        out.key("seq").count(seq);
    }
}

// moleculer: src/transit.js sendResponse
fn response(response: &Response, version: Version, sender: &str, out: &mut impl Writer) {
    out.key("id").text(&response.id);
    object("meta", &response.meta, out);
    match &response.headers {
        Some(headers) => self::headers(headers, version, out),
        None if version.headers => out.key("headers").null(),
        None => {}
    }
    out.key("success").bool(response.result.is_ok());
    match &response.result {
        Ok(data) => payload("data", data, out),
        Err(error) => {
            out.key("data").null();
            out.key("error").value(&error.to_wire(sender));
        }
    }
    if let Some(stream) = response.stream {
        out.key("stream").bool(stream);
    }
    if let Some(seq) = response.seq {
        out.key("seq").count(seq);
    }
}

// moleculer: src/transit.js sendEvent
fn event(event: &Event, version: Version, out: &mut impl Writer) {
    out.key("id").text(&event.id);
    out.key("event").text(&event.event);
    payload("data", &event.data, out);
    match &event.groups {
        Some(groups) => out.key("groups").value(groups),
        None => out.undefined("groups"),
    }
    out.key("broadcast").bool(event.broadcast);
    object("meta", &event.meta, out);
    headers(&event.headers, version, out);
    out.key("level").count(event.level);
    bool_or_null(event.tracing, out.key("tracing"));
    text_or_null(event.parent_id.as_deref(), out.key("parentID"));
    text_or_null(event.request_id.as_deref(), out.key("requestID"));
    text_or_null(event.caller.as_deref(), out.key("caller"));
    // Acknowledgements are switched off in Moleculer itself (moleculer: src/context.js ack).
    out.key("needAck").null();
}

// moleculer: src/transit.js sendNodeInfo
fn info(info: &Info, out: &mut impl Writer) {
    match &info.services {
        Some(services) => {
            let services: Vec<_> = services.iter().map(ServiceForm::from).collect();
            out.key("services").value(&services);
        }
        None => out.undefined("services"),
    }
    out.key("ipList").value(&info.ip_list);
    out.key("hostname").text(&info.hostname);
    out.key("client").value(&info.client);
    out.key("config").value(&info.config);
    text_or_null(info.instance_id.as_deref(), out.key("instanceID"));
    out.key("metadata").value(&info.metadata);
    out.key("seq").value(&info.seq);
}

// moleculer: src/transit.js sendPing
fn ping(ping: &Ping, out: &mut impl Writer) {
    number_or_null(Some(ping.time), out.key("time"));
    if let Some(id) = &ping.id {
        out.key("id").text(id);
    }
}

// moleculer: src/transit.js sendPong; the ID is what the ping had, `undefined` included.
fn pong(pong: &Pong, out: &mut impl Writer) {
    number_or_null(Some(pong.time), out.key("time"));
    match &pong.id {
        Some(id) => out.key("id").text(id),
        None => out.undefined("id"),
    }
    number_or_null(Some(pong.arrived), out.key("arrived"));
}

/// A service as it stands in an INFO (moleculer: src/registry/service-catalog.js getLocalNodeServices).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceForm<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    version: &'a Value,
    full_name: &'a str,
    settings: &'a Value,
    metadata: &'a Value,
    actions: &'a Map<String, Value>,
    events: &'a Map<String, Value>,
}

impl<'a> From<&'a ServiceItem> for ServiceForm<'a> {
    fn from(item: &'a ServiceItem) -> Self {
        Self {
            name: &item.name,
            version: &item.version,
            full_name: &item.full_name,
            settings: &item.settings,
            metadata: &item.metadata,
            actions: &item.actions,
            events: &item.events,
        }
    }
}
