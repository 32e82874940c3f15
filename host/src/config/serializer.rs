//! Option `serializer`: how packets are written (moleculer: src/serializers/index.js resolve). The formats
//! themselves are in the module `serializer`.

use crate::config::names;
use crate::config::value::{Located, Value};

/// What is allowed, for messages.
pub const ALLOWED: &str = "\"JSON\", \"JSONExt\", \"MsgPack\", \"Notepack\" or \"CBOR\"";

/// The formats and their names in Moleculer.
const NAMES: [(&str, Serializer); 5] = [
    ("JSON", Serializer::Json),
    ("JSONExt", Serializer::JsonExt),
    ("MsgPack", Serializer::MsgPack),
    ("Notepack", Serializer::Notepack),
    ("CBOR", Serializer::Cbor),
];

/// Serializers of Moleculer 0.14 that 0.15 does not have any more.
const NOT_OFFERED: [&str; 3] = ["ProtoBuf", "Avro", "Thrift"];

/// Options of cbor-x that Moleculer sets; other values of them make bytes that only cbor-x reads.
const CBOR_OFF: [&str; 2] = ["useRecords", "useTag259ForMaps"];

/// A format of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serializer {
    /// Text that every node of Moleculer reads.
    #[default]
    Json,
    /// JSON with words for bytes and big integers. Since Moleculer 0.15
    JsonExt,
    /// `MessagePack` as msgpack5 writes it.
    MsgPack,
    /// `MessagePack` as notepack.io writes it.
    Notepack,
    /// CBOR as cbor-x writes it.
    Cbor,
}

impl Serializer {
    /// Its name in Moleculer.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, format)| *format == self).map_or("JSON", |(name, _)| *name)
    }
}

/// Reads the name of a format.
///
/// # Errors
/// Why there is no such format.
pub fn read(value: &Located) -> Result<Serializer, String> {
    if value.is_off() {
        return Ok(Serializer::Json);
    }
    let given = value.as_text().ok_or("not the name of a serializer")?;
    if let Some((_, format)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(given)) {
        return Ok(*format);
    }
    if NOT_OFFERED.iter().any(|name| name.eq_ignore_ascii_case(given)) {
        return Err("Moleculer itself has dropped it with 0.15, and it is not offered here".into());
    }
    Err(format!(
        "not the name of a serializer{}",
        names::did_you_mean(given, NAMES.iter().map(|(name, _)| *name))
    ))
}

/// Checks the options of a format: those that Moleculer sets itself may be repeated, others change bytes in
/// ways that other nodes would not follow.
///
/// # Errors
/// Which option cannot be followed.
pub fn check_options(options: &Located) -> Result<(), String> {
    if options.is_off() {
        return Ok(());
    }
    let Value::Table(entries) = &options.value else { return Err("not a table".into()) };
    for (key, value) in entries {
        match key.as_str() {
            key if CBOR_OFF.contains(&key) && value.as_bool() == Some(false) => {}
            key if CBOR_OFF.contains(&key) => {
                return Err(format!("'{key}' can only be false, as Moleculer sets it"));
            }
            "customs" => {
                return Err(
                    "'customs' are functions; a Rust program brings a serializer of its own with \
                            `ServiceBroker::builder`"
                        .into(),
                );
            }
            _ => return Err(format!("no serializer has an option '{key}' here")),
        }
    }
    Ok(())
}
