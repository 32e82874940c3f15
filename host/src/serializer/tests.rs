//! All formats against packets that Moleculer's own serializers wrote, and against such packets damaged.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use crate::packet::{Packet, PacketType};
use crate::serializer::{Cbor, Json, JsonExt, MsgPack, Notepack, Serializer};
use crate::uid::damage::Damage;

/// How many damaged packets each format gets.
const DAMAGES: usize = 30_000;

/// One packet of `tests/vectors/serializers.js`.
#[derive(Deserialize)]
struct Recorded {
    kind: String,
    name: String,
    formats: indexmap::IndexMap<String, Form>,
}

#[derive(Deserialize)]
struct Form {
    /// What JavaScript wrote.
    bytes: String,
    /// What a guest sees of it.
    text: String,
    /// What JavaScript writes for what a guest sees, if that is something else.
    again: Option<String>,
}

fn recorded() -> Vec<Recorded> {
    serde_json::from_str(include_str!("../../../tests/vectors/serializers.json")).unwrap()
}

fn formats() -> [(&'static str, &'static dyn Serializer); 5] {
    [
        ("JSON", &Json),
        ("JSONExt", &JsonExt),
        ("MsgPack", &MsgPack),
        ("Notepack", &Notepack),
        ("CBOR", &Cbor),
    ]
}

fn kind_of(word: &str) -> PacketType {
    PacketType::ALL.into_iter().find(|kind| kind.as_str() == word).unwrap()
}

fn unhex(text: &str) -> Bytes {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_of(packet: &Packet) -> String {
    String::from_utf8(Json.encode(packet).to_vec()).unwrap()
}

/// `MessagePack` integers of 64 bits keep their digits, which JavaScript rounds.
fn rounded(text: &str) -> Value {
    fn round(value: &mut Value) {
        match value {
            Value::Number(number) => *value = number.as_f64().unwrap().into(),
            Value::Array(items) => items.iter_mut().for_each(round),
            Value::Object(members) => members.values_mut().for_each(round),
            _ => {}
        }
    }
    let mut value = serde_json::from_str(text).unwrap();
    round(&mut value);
    value
}

/// Every recorded packet in one format.
fn check(format: &str) {
    let (_, serializer) = formats().into_iter().find(|(name, _)| *name == format).unwrap();
    let mut count = 0;
    for Recorded { kind, name, formats } in recorded() {
        let Some(form) = formats.get(format) else { continue };
        let what = format!("{format} {kind} {name}");
        let packet = serializer.decode(kind_of(&kind), &unhex(&form.bytes)).expect(&what);
        let text = text_of(&packet);
        if text != form.text {
            assert!(format.ends_with("ack"), "{what}:\n{text}\n{}", form.text);
            assert_eq!(rounded(&text), rounded(&form.text), "{what}");
        }
        let again = form.again.as_ref().unwrap_or(&form.bytes);
        assert_eq!(hex(&serializer.encode(&packet)), *again, "{what}");
        count += 1;
    }
    assert!(count > 60, "{format}: {count}");
}

#[test]
fn json_ext_is_that_of_moleculer() {
    check("JSONExt");
}

#[test]
fn msgpack_is_that_of_moleculer() {
    check("MsgPack");
}

#[test]
fn notepack_is_that_of_moleculer() {
    check("Notepack");
}

#[test]
fn cbor_is_that_of_moleculer() {
    check("CBOR");
}

/// Bytes that mean something in one of the formats: heads with lengths that lie, tags, breaks, words.
static PIECES: [&[u8]; 24] = [
    &[0xdb, 0xff, 0xff, 0xff, 0xff],
    &[0xdd, 0x7f, 0xff, 0xff, 0xff],
    &[0xdf, 0xff, 0xff, 0xff, 0xff],
    &[0xc9, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xd6, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xc7, 0x0c, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xd4, 0, 0],
    &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x9b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    &[0x5f],
    &[0x9f, 0x9f, 0x9f],
    &[0xbf],
    &[0xff],
    &[0xf7],
    &[0xc1, 0xc1, 0xc1],
    &[0xc2, 0x58, 0x80],
    &[0xd8, 0x1b, 0x83],
    &[0xd9, 0xdf, 0xff],
    b"[[MP]]",
    b"\"[[BI]]1\"",
    b"{\"type\":\"Buffer\",\"data\":[",
    b"\\ud800",
    b"[[[[[[[[",
    &[0x91; 200],
];

/// Whatever comes out of damaged packets, it is a packet or an error; a packet is not much larger than the
/// bytes were, and it can be written and read again.
fn check_damaged(format: &str, seed: u64) {
    let (_, serializer) = formats().into_iter().find(|(name, _)| *name == format).unwrap();
    let sources: Vec<_> = recorded()
        .iter()
        .filter_map(|item| Some((kind_of(&item.kind), unhex(&item.formats.get(format)?.bytes))))
        .collect();
    let mut damage = Damage::new(seed, &PIECES);
    let mut accepted = 0;
    for _ in 0..DAMAGES {
        let (kind, bytes) = &sources[damage.below(sources.len())];
        let bytes = damage.copy(bytes);
        let len = bytes.len();
        let Ok(packet) = serializer.decode(*kind, &bytes.into()) else { continue };
        accepted += 1;
        assert!(text_of(&packet).len() <= 13 * len + 400, "{format}");
        let again = serializer.encode(&packet);
        let read = serializer.decode(*kind, &again).unwrap();
        assert_eq!(serializer.encode(&read), again, "{format}");
    }
    // Otherwise nothing was tried but the first check.
    assert!(accepted > DAMAGES / 50, "{format}: {accepted}");
}

#[test]
fn damaged_json_ext_never_panics() {
    check_damaged("JSONExt", 0x1111_2222_3333_4444);
}

#[test]
fn damaged_msgpack_never_panics() {
    check_damaged("MsgPack", 0x9e37_79b9_7f4a_7c15);
}

#[test]
fn damaged_notepack_never_panics() {
    check_damaged("Notepack", 0x0123_4567_89ab_cdef);
}

#[test]
fn damaged_cbor_never_panics() {
    check_damaged("CBOR", 0xfeed_beef_dead_cafe);
}
