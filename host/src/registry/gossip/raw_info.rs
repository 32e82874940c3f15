//! Raw infos: what a node says of itself, as a value within another packet. The form is that of INFO
//! without the envelope, and with the port.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::packet::{Body, Info, Packet, PacketType};
use crate::serializer::{Json, Serializer as _};

/// The raw info of a node, and how many bytes it takes as text.
pub(super) fn write(info: &Info) -> (Value, usize) {
    let packet =
        Packet { ver: "".into(), sender: "".into(), body: Body::Info(Box::new(info.clone())) };
    let text = Json.encode(&packet);
    let mut fields: Map<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
    fields.retain(|key, _| key != "ver" && key != "sender");
    fields.insert("port".into(), info.port.into());
    (fields.into(), text.len())
}

/// Reads the raw info of a node; `None` when it has not the form of one.
pub(super) fn read(node_id: &Arc<str>, info: Value) -> Option<Info> {
    let Value::Object(mut fields) = info else { return None };
    fields.insert("sender".into(), node_id.to_string().into());
    if let Some(seq) = fields.get_mut("seq") {
        *seq = super::count(seq)?.into();
    }
    let text = serde_json::to_vec(&fields).ok()?;
    match Json.decode(PacketType::Info, &Bytes::from(text)).ok()?.body {
        Body::Info(info) => Some(*info),
        _ => None,
    }
}
