//! Packet → JSON text, with the keys in the order in which Moleculer writes them, `ver` and `sender` last
//! (moleculer: src/transporters/base.js serialize). No JS node depends on the order; tests that compare
//! bytes with recorded packets do.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::packet::{
    Body, Event, Info, Packet, Ping, Pong, ProtocolVersion, Request, Response, ServiceItem,
};
use crate::payload::{self, Object, Payload};

/// Room for the keys and the short values of a packet: a REQ without params has about 330 bytes.
const FRAME_SIZE: usize = 384;

/// Largest integer that a JavaScript number holds exactly.
const SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// The text of a packet.
pub(super) fn packet(packet: &Packet) -> Bytes {
    let headers = *packet.ver != *ProtocolVersion::V4.as_str();
    let mut out = Writer { text: Vec::with_capacity(capacity(&packet.body)), headers };
    match &packet.body {
        Body::Request(request) => out.request(request),
        Body::Response(response) => out.response(response, &packet.sender),
        Body::Event(event) => out.event(event),
        Body::Info(info) => out.info(info),
        Body::Heartbeat(heartbeat) => out.key("cpu").number(heartbeat.cpu),
        Body::Ping(ping) => out.ping(ping),
        Body::Pong(pong) => out.pong(pong),
        Body::GossipHello(fields) | Body::GossipRequest(fields) | Body::GossipResponse(fields) => {
            out.fields(fields)
        }
        Body::Discover | Body::Disconnect => {}
    }
    out.key("ver").string(&packet.ver);
    out.key("sender").string(&packet.sender);
    out.text.push(b'}');
    out.text.into()
}

fn capacity(body: &Body) -> usize {
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

/// Grows one JSON object.
struct Writer {
    text: Vec<u8>,
    /// Whether the version of the packet has `headers`.
    headers: bool,
}

impl Writer {
    fn key(&mut self, key: &'static str) -> &mut Self {
        self.text.push(if self.text.is_empty() { b'{' } else { b',' });
        self.text.push(b'"');
        self.text.extend_from_slice(key.as_bytes());
        self.text.extend_from_slice(b"\":");
        self
    }

    /// The members of an object, as members of the packet.
    fn fields(&mut self, fields: &Map<String, Value>) {
        for (key, value) in fields {
            self.text.push(if self.text.is_empty() { b'{' } else { b',' });
            self.value(key);
            self.text.push(b':');
            self.value(value);
        }
    }

    fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Writing to memory cannot fail, and none of the values has keys that are not text.
        let _ = serde_json::to_writer(&mut self.text, value);
    }

    fn string(&mut self, text: &str) {
        self.value(text);
    }

    fn text_or_null(&mut self, text: Option<&str>) {
        self.value(&text);
    }

    fn bool_or_null(&mut self, value: Option<bool>) {
        self.value(&value);
    }

    /// A number as JavaScript prints it: without a fraction when it is whole.
    fn number(&mut self, value: Option<f64>) {
        match value {
            Some(value) if value.fract() == 0.0 && value.abs() <= SAFE_INTEGER => {
                #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
                let whole = value as i64;
                self.value(&whole);
            }
            other => self.value(&other),
        }
    }

    fn payload(&mut self, key: &'static str, payload: &Payload) {
        match payload {
            Payload::Absent | Payload::Stream(_) => {}
            Payload::Json(text) => self.key(key).raw(text),
            Payload::Bytes(bytes) => payload::write_buffer_json(bytes, &mut self.key(key).text),
        }
    }

    fn object(&mut self, key: &'static str, object: &Object) {
        self.key(key).raw(object.as_str());
    }

    fn headers(&mut self, headers: &Object) {
        if self.headers {
            self.object("headers", headers);
        }
    }

    // moleculer: src/transit.js _sendRequest
    fn request(&mut self, request: &Request) {
        self.key("id").string(&request.id);
        self.key("action").string(&request.action);
        self.payload("params", &request.params);
        self.object("meta", &request.meta);
        self.headers(&request.headers);
        self.key("timeout").number(request.timeout);
        self.key("level").value(&request.level);
        self.key("tracing").bool_or_null(request.tracing);
        self.key("parentID").text_or_null(request.parent_id.as_deref());
        self.key("requestID").text_or_null(request.request_id.as_deref());
        self.key("caller").text_or_null(request.caller.as_deref());
        self.key("stream").value(&request.stream);
        if let Some(seq) = request.seq {
            self.key("seq").value(&seq);
        }
    }

    // moleculer: src/transit.js sendResponse
    fn response(&mut self, response: &Response, sender: &str) {
        self.key("id").string(&response.id);
        self.object("meta", &response.meta);
        match &response.headers {
            Some(headers) => self.headers(headers),
            None if self.headers => self.key("headers").raw("null"),
            None => {}
        }
        self.key("success").value(&response.result.is_ok());
        match &response.result {
            Ok(data) => self.payload("data", data),
            Err(error) => {
                self.key("data").raw("null");
                self.key("error").value(&error.to_wire(sender));
            }
        }
        if let Some(stream) = response.stream {
            self.key("stream").value(&stream);
        }
        if let Some(seq) = response.seq {
            self.key("seq").value(&seq);
        }
    }

    // moleculer: src/transit.js sendEvent
    fn event(&mut self, event: &Event) {
        self.key("id").string(&event.id);
        self.key("event").string(&event.event);
        self.payload("data", &event.data);
        if let Some(groups) = &event.groups {
            self.key("groups").value(groups);
        }
        self.key("broadcast").value(&event.broadcast);
        self.object("meta", &event.meta);
        self.headers(&event.headers);
        self.key("level").value(&event.level);
        self.key("tracing").bool_or_null(event.tracing);
        self.key("parentID").text_or_null(event.parent_id.as_deref());
        self.key("requestID").text_or_null(event.request_id.as_deref());
        self.key("caller").text_or_null(event.caller.as_deref());
        // Acknowledgements are switched off in Moleculer itself (moleculer: src/context.js ack).
        self.key("needAck").raw("null");
    }

    // moleculer: src/transit.js sendNodeInfo
    fn info(&mut self, info: &Info) {
        if let Some(services) = &info.services {
            let services: Vec<_> = services.iter().map(ServiceForm::from).collect();
            self.key("services").value(&services);
        }
        self.key("ipList").value(&info.ip_list);
        self.key("hostname").string(&info.hostname);
        self.key("client").value(&info.client);
        self.key("config").value(&info.config);
        self.key("instanceID").text_or_null(info.instance_id.as_deref());
        self.key("metadata").value(&info.metadata);
        self.key("seq").value(&info.seq);
    }

    // moleculer: src/transit.js sendPing
    fn ping(&mut self, ping: &Ping) {
        self.key("time").number(Some(ping.time));
        if let Some(id) = &ping.id {
            self.key("id").string(id);
        }
    }

    // moleculer: src/transit.js sendPong
    fn pong(&mut self, pong: &Pong) {
        self.key("time").number(Some(pong.time));
        if let Some(id) = &pong.id {
            self.key("id").string(id);
        }
        self.key("arrived").number(Some(pong.arrived));
    }
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
