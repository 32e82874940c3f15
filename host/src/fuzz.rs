//! What holds whatever bytes come: one target for each reader of bytes from outside.
//!
//! A target gets bytes and panics when a rule is broken: a reader ends, never reads past what it was given,
//! waits for a bounded amount only, and what it takes can be written and read again. The same targets run
//! under libFuzzer (`tests/fuzz`) and, over their seeds and what was found once, as an ordinary test. This
//! module exists in those two builds only. What is tried of a private reader is beside it, as `fuzz`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::clock;
use crate::config::validator::FastestOptions;
use crate::config::{self, BrokerOptions, load, sidecar};
use crate::discoverer::store;
use crate::middleware::{compression, encryption};
use crate::packet::{Body, Info, PacketType};
use crate::payload::{self, Object, Payload};
use crate::registry::Registry;
use crate::runtime::{self, Inspection};
use crate::schema::{Bounds, MiddlewareSchema, Pattern, ServiceSchema};
use crate::serializer::{Cbor, Json, JsonExt, MsgPack, Notepack, Serializer};
use crate::transporter::{amqp, kafka, mqtt, nats, redis, tcp};
use crate::{admin, reload, validator};

mod seeds;

pub use seeds::seeds;

/// One reader.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called on the command line, and the folder of its seeds.
    pub name: &'static str,
    /// Tries some bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 26] = [
    Target { name: "json", run: |data| read_packet(&Json, data) },
    Target { name: "json_ext", run: |data| read_packet(&JsonExt, data) },
    Target { name: "msgpack", run: |data| read_packet(&MsgPack, data) },
    Target { name: "notepack", run: |data| read_packet(&Notepack, data) },
    Target { name: "cbor", run: |data| read_packet(&Cbor, data) },
    Target { name: "registry", run: registry },
    Target { name: "nats", run: nats::fuzz::stream },
    Target { name: "redis", run: redis::fuzz::stream },
    Target { name: "mqtt", run: mqtt::fuzz::stream },
    Target { name: "amqp", run: amqp::fuzz::stream },
    Target { name: "kafka", run: kafka::fuzz::answer },
    Target { name: "tcp", run: tcp::fuzz::stream },
    Target { name: "udp", run: tcp::fuzz::datagram },
    Target { name: "urls", run: urls },
    Target { name: "compression", run: compression::fuzz::packed },
    Target { name: "encryption", run: encryption::fuzz::encrypted },
    Target { name: "config_toml", run: |data| with_text(data, |text| config("f.toml", text)) },
    Target { name: "config_json", run: |data| with_text(data, |text| config("f.json", text)) },
    Target { name: "sidecar", run: |data| with_text(data, service_options) },
    Target { name: "schema", run: |data| with_text(data, schema) },
    Target { name: "rules", run: |data| with_text(data, rules) },
    Target { name: "options", run: |data| with_text(data, runtime::fuzz_options) },
    Target { name: "payload", run: |data| with_text(data, payloads) },
    Target { name: "component", run: component },
    Target { name: "control", run: admin::protocol::fuzz_frames },
    Target { name: "record", run: |data| with_text(data, reload::fuzz_record) },
];

fn with_text(data: &[u8], run: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(data) {
        run(text);
    }
}

/// The first byte says which kind of packet the others claim to be. What is accepted is not much larger than
/// it came, and can be written and read again, with the same bytes each time.
fn read_packet(serializer: &dyn Serializer, data: &[u8]) {
    let Some((kind, bytes)) = kind_of(data) else { return };
    let Ok(packet) = serializer.decode(kind, &bytes) else { return };
    assert!(Json.encode(&packet).len() <= 13 * bytes.len() + 400, "too large");
    let written = serializer.encode(&packet);
    let again = serializer.decode(kind, &written).map(|again| serializer.encode(&again));
    assert_eq!(again.ok(), Some(written), "what was written is not read as it was");
}

fn kind_of(data: &[u8]) -> Option<(PacketType, Bytes)> {
    let (first, bytes) = data.split_first()?;
    let kind = PacketType::ALL.get(usize::from(*first) % PacketType::ALL.len())?;
    Some((*kind, Bytes::copy_from_slice(bytes)))
}

/// What a peer tells of itself and others: the node itself stays what it is, whatever that is.
fn registry(data: &[u8]) {
    let options = BrokerOptions::default();
    let now = clock::now();
    let mut registry = Registry::new("me".into(), Info::default(), &options.registry, now);
    // Several packets, with a line between.
    for part in data.split(|byte| *byte == b'\n') {
        let Some((kind, bytes)) = kind_of(part) else { continue };
        let Ok(packet) = Json.decode(kind, &bytes) else { continue };
        let sender = Arc::clone(&packet.sender);
        match packet.body {
            Body::Info(info) => drop(registry.apply_info(&sender, *info, now)),
            Body::Heartbeat(beat) => drop(registry.apply_heartbeat(&sender, beat.cpu, now)),
            Body::Disconnect => drop(registry.apply_disconnect(&sender, false, now)),
            Body::GossipRequest(request) => drop(registry.answer_gossip(&request, false, now)),
            Body::GossipResponse(response) => drop(registry.apply_gossip(response, now)),
            _ => {}
        }
    }
    let own = registry.nodes.get("me");
    assert!(own.is_some_and(|node| node.local && node.available), "{own:?}");
    let foreign = registry.services.on_node("me").count();
    assert_eq!(foreign, 0, "a peer gave this node services");
    let _ = registry.gossip_round();
}

/// Addresses as people and peers write them.
fn urls(data: &[u8]) {
    with_text(data, |text| {
        nats::fuzz::address(text);
        redis::fuzz::address(text);
        store::fuzz::address(text);
        let _ = config::transporter::tcp::Endpoint::parse(text);
        let _ = config::transporter::tcp::parse_file(text);
        let place = config::problem::Place::Set("transporter".into());
        let _ = config::transporter::read(&config::value::Located::word(text.to_owned(), place));
        if let Ok(pattern) = Pattern::compile(text) {
            // A name of its own matches what has no wildcards in it.
            let plain = !text.contains(['*', '?']);
            assert!(!plain || pattern.matches(text), "{text:?}");
        }
    });
}

/// What is wrong with a file is said; nothing more is known of it.
fn config(name: &str, text: &str) {
    let _ = load::load_text(Path::new(name), text);
}

fn service_options(text: &str) {
    let _ = sidecar::parse(Path::new("f.toml"), text, &BrokerOptions::default());
}

/// What a component says of itself. A schema that is taken can be told to others.
fn schema(text: &str) {
    let bounds = Bounds { len: 1 << 20, items: 1_000, internal: false };
    if let Ok(schema) = ServiceSchema::read(text, &Map::new(), bounds) {
        let item = schema.to_item();
        assert!(item.actions.len() <= 1_000 && !item.name.is_empty());
    }
    let _ = MiddlewareSchema::read(text, &Map::new(), bounds);
}

/// Rules for params, and params that are checked by them: `[rules, params]`.
fn rules(text: &str) {
    let Ok(Value::Array(both)) = serde_json::from_str::<Value>(text) else { return };
    let [rules, params] = both.as_slice() else { return };
    if let Ok(check) = validator::compile(rules, &FastestOptions::default()) {
        let _ = check.run(params);
    }
    if let Ok(check) = validator::compile_json_schema(rules) {
        let _ = check.run(params);
    }
}

/// JSON text that is carried without being parsed: what is taken for JSON is JSON. Half of a surrogate pair is
/// carried as well, since JavaScript has it; what must be a text of Rust is refused then.
fn payloads(text: &str) {
    let halves = text.contains("\\ud") || text.contains("\\uD");
    if payload::check_json(text).is_ok() {
        let parsed = serde_json::from_str::<Value>(text);
        assert!(parsed.is_ok() || halves, "{parsed:?}");
    }
    if let Ok(payload) = Payload::from_json_text(text.into()) {
        let parsed = payload.parse::<Value>();
        assert!(parsed.is_ok() || halves, "{parsed:?}");
    }
    let _ = payload::read_buffer_json(text);
    let Ok(object) = Object::from_json_text(text.into()) else { return };
    let map = object.to_map();
    let merged = object.merged(&object);
    assert_eq!(merged.to_map().len(), map.len());
    for key in map.keys() {
        assert!(object.get(key).is_some(), "{key:?}");
        let mut less = object.clone();
        assert!(less.remove(key).is_some() && less.get(key).is_none(), "{key:?}");
    }
}

/// A file that somebody dropped, up to the door of the compiler.
fn component(data: &[u8]) {
    if let Ok(inspection) = Inspection::read(data) {
        let _ = inspection.unknown_imports();
        let _ = (inspection.world(), inspection.wants());
    }
}

#[cfg(test)]
mod tests;
