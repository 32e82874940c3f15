//! The format against packets recorded from real Moleculer nodes, and against everything else.

use serde::Deserialize;

use super::*;
use crate::packet::{Body, Heartbeat, Info, Request, Response};
use crate::payload::{DEPTH_MAX, Object, Payload};
use crate::serializer::Reason;

#[derive(Deserialize)]
struct Recorded {
    topic: String,
    text: String,
}

/// Recorded by `tests/vectors/packets.js`.
fn recorded() -> Vec<Recorded> {
    let text = include_str!("../../../../tests/vectors/packets.json");
    serde_json::from_str(text).unwrap()
}

fn kind_of(topic: &str) -> PacketType {
    let word = topic.split('.').nth(1).unwrap();
    PacketType::ALL.into_iter().find(|kind| kind.as_str() == word).unwrap()
}

fn decode(kind: PacketType, text: &str) -> Result<Packet, Error> {
    Json.decode(kind, &Bytes::copy_from_slice(text.as_bytes()))
}

fn request(text: &str) -> Request {
    match decode(PacketType::Request, text).unwrap().body {
        Body::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn response(text: &str) -> Response {
    match decode(PacketType::Response, text).unwrap().body {
        Body::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

fn info(text: &str) -> Info {
    match decode(PacketType::Info, text).unwrap().body {
        Body::Info(info) => *info,
        other => panic!("{other:?}"),
    }
}

fn check_refused(kind: PacketType, text: &str, field: &str, sender: Option<&str>) {
    let error = decode(kind, text).unwrap_err();
    match &error.reason {
        Reason::Field { field: found, .. } => assert_eq!(found, field, "{text}: {error}"),
        Reason::Malformed(_) => assert_eq!(field, "malformed", "{text}: {error}"),
    }
    assert_eq!(error.sender.as_deref(), sender, "{text}");
}

#[test]
fn recorded_packets_come_back_byte_for_byte() {
    let recorded = recorded();
    assert!(recorded.len() > 30);
    for Recorded { topic, text } in recorded {
        let packet = decode(kind_of(&topic), &text).unwrap();
        assert_eq!(Json.encode(&packet), text.as_bytes(), "{topic}");
    }
}

#[test]
fn the_smallest_request_is_accepted() {
    let small = request(r#"{"ver":"5","sender":"a","id":"1","action":"m.x"}"#);
    assert_eq!((&*small.id, &*small.action, small.level), ("1", "m.x", 1));
    assert_eq!(small.params, Payload::Absent);
    assert_eq!(small.meta, Object::default());
    assert_eq!(small.timeout, None);
    assert!(!small.stream);
}

#[test]
fn absent_and_null_params_are_kept_apart() {
    let with = |params: &str| {
        request(&format!(r#"{{"id":"1","action":"a","sender":"s"{params}}}"#)).params
    };
    assert_eq!(with(""), Payload::Absent);
    assert_eq!(with(r#","params":null"#), Payload::null());
    assert_eq!(with(r#","params": {"a":1} "#), Payload::Json(r#"{"a":1}"#.into()));
}

#[test]
fn null_counts_as_missing_where_the_protocol_says_so() {
    let nulls = request(
        r#"{"id":"1","action":"a","meta":null,"headers":null,"timeout":null,"level":null,
            "tracing":null,"parentID":null,"requestID":null,"caller":null,"stream":null,"seq":null,
            "ver":"4","sender":"s","metrics":true,"unknown":{"x":[]}}"#,
    );
    assert_eq!(nulls.meta, Object::default());
    assert_eq!(nulls.level, 1);
    assert!(nulls.seq.is_none());
}

/// 0.14 sends the params of a call in the place of `stream` when they count as false.
#[test]
fn what_counts_as_false_is_no_stream() {
    let with = |stream: &str| {
        let text = format!(r#"{{"id":"1","action":"a","stream":{stream},"sender":"s"}}"#);
        decode(PacketType::Request, &text).map(|packet| match packet.body {
            Body::Request(request) => request.stream,
            other => panic!("{other:?}"),
        })
    };
    for falsy in ["false", "null", "0", "\"\""] {
        assert!(!with(falsy).unwrap(), "{falsy}");
    }
    assert!(with("true").unwrap());
    for wrong in ["1", "\"yes\"", "{}"] {
        assert!(with(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn raw_values_are_slices_of_the_received_buffer() {
    let data = Bytes::from_static(br#"{"id":"1","action":"a","params":{"k":"v"},"sender":"s"}"#);
    let packet = Json.decode(PacketType::Request, &data).unwrap();
    let Body::Request(Request { params: Payload::Json(text), .. }) = packet.body else {
        panic!("not a request");
    };
    assert!(data.as_ptr_range().contains(&text.as_bytes().as_ptr()));
}

#[test]
fn a_response_that_failed_without_an_error_is_still_an_error() {
    let failed = response(r#"{"id":"1","success":false,"ver":"5","sender":"b"}"#);
    assert_eq!(failed.result.unwrap_err().code(), 500);
    let odd = response(r#"{"id":"1","data":5,"sender":"b"}"#);
    assert!(odd.result.is_err());
}

#[test]
fn response_headers_tell_an_unresolved_action_from_an_empty_set() {
    assert!(response(r#"{"id":"1","success":true,"headers":null,"sender":"b"}"#).headers.is_none());
    assert!(response(r#"{"id":"1","success":true,"sender":"b"}"#).headers.is_some());
}

#[test]
fn an_info_may_lack_nearly_everything() {
    let small = info(
        r#"{"sender":"s","services":[{"name":"m","version":2,"actions":{"m.x":{"name":"m.x"}}},
            {"name":"t","version":"staging","events":null},{"name":"plain","version":null}]}"#,
    );
    assert_eq!(small.seq, 1);
    let names: Vec<_> =
        small.services.unwrap().into_iter().map(|service| service.full_name).collect();
    assert_eq!(names, ["v2.m", "staging.t", "plain"]);
}

#[test]
fn a_missing_service_list_differs_from_an_empty_one() {
    assert!(info(r#"{"sender":"s"}"#).services.is_none());
    assert_eq!(info(r#"{"sender":"s","services":[]}"#).services.unwrap().len(), 0);
}

#[test]
fn a_version_that_is_no_text_equals_no_version() {
    let ver = |text: &str| decode(PacketType::Discover, text).unwrap().ver;
    assert_eq!(&*ver(r#"{"ver":"5","sender":"s"}"#), "5");
    assert_eq!(&*ver(r#"{"sender":"s"}"#), "");
    assert_eq!(&*ver(r#"{"ver":5,"sender":"s"}"#), "5 (not a string)");
}

#[test]
fn a_refusal_names_the_field_and_the_sender() {
    use PacketType::{Event, Heartbeat, Info, Ping, Request};
    let check = check_refused;
    check(Request, r#"{"id":7,"action":"a","ver":"5","sender":"s"}"#, "id", Some("s"));
    check(Request, r#"{"id":"1","action":"a","meta":[1],"sender":"s"}"#, "meta", Some("s"));
    check(Request, "{\n\"id\":\"1\",\n\"action\":{},\n\"sender\":\"s\"}", "action", Some("s"));
    check(Request, r#"{"id":"1","action":"a","timeout":"1","sender":"s"}"#, "timeout", Some("s"));
    check(Request, r#"{"id":"1","sender":"s"}"#, "", Some("s"));
    check(Request, r#"{"id":"1","action":"a"}"#, "", None);
    check(Event, r#"{"id":"1","event":"e","groups":["a",1],"sender":"s"}"#, "groups", Some("s"));
    check(Heartbeat, r#"{"cpu":"much","sender":"s"}"#, "cpu", Some("s"));
    check(Ping, r#"{"time":[],"sender":"s"}"#, "time", Some("s"));
    check(Info, r#"{"services":[{"actions":{}}],"sender":"s"}"#, "services", Some("s"));
    for malformed in ["", "null", "[]", "{", "{}x", "\u{0}", r#"{"sender":"s""#] {
        check(Request, malformed, "malformed", None);
    }
}

#[test]
fn bytes_that_are_no_utf_8_are_refused() {
    let data = Bytes::from_static(b"{\"sender\":\"\xff\"}");
    assert!(Json.decode(PacketType::Discover, &data).is_err());
}

#[test]
fn nesting_is_bounded_on_both_sides() {
    let nested = |depth: usize| {
        let params = "[".repeat(depth) + &"]".repeat(depth);
        decode(
            PacketType::Request,
            &format!(r#"{{"id":"1","action":"a","params":{params},"sender":"s"}}"#),
        )
    };
    assert!(nested(DEPTH_MAX).is_ok());
    let error = nested(DEPTH_MAX + 1).unwrap_err();
    assert!(matches!(error.reason, Reason::Field { ref field, .. } if field == "params"));
    assert!(nested(1_000_000).is_err());
    let settings = "[".repeat(100_000) + &"]".repeat(100_000);
    let text = format!(r#"{{"services":[{{"name":"a","settings":{settings}}}],"sender":"s"}}"#);
    assert!(decode(PacketType::Info, &text).is_err());
}

#[test]
fn numbers_are_written_as_javascript_does() {
    let cpu = |cpu: Option<f64>| {
        let body = Body::Heartbeat(Heartbeat { cpu });
        let packet = Packet { ver: "5".into(), sender: "s".into(), body };
        String::from_utf8(Json.encode(&packet).to_vec()).unwrap()
    };
    assert!(cpu(Some(12.0)).starts_with(r#"{"cpu":12,"#));
    assert!(cpu(Some(1499.371)).starts_with(r#"{"cpu":1499.371,"#));
    assert!(cpu(Some(f64::NAN)).starts_with(r#"{"cpu":null,"#));
    assert!(cpu(None).starts_with(r#"{"cpu":null,"#));
}

/// Damages recorded packets in every way that a seeded generator comes up with: whatever comes out, it is
/// a packet or an error, and a packet can be encoded and read again.
#[test]
fn damaged_packets_never_panic() {
    let recorded = recorded();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % u64::try_from(bound.max(1)).unwrap()).unwrap()
    };
    const PIECES: [&str; 12] = [
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "-1e999",
        "\\u0000",
        "\u{7f}",
        "\"sender\":1,",
    ];
    for _ in 0..4_000 {
        let Recorded { topic, text } = &recorded[next(recorded.len())];
        let mut bytes = text.clone().into_bytes();
        bytes.truncate(4_096);
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                2 => drop(bytes.splice(at..at, PIECES[next(PIECES.len())].bytes())),
                _ => drop(bytes.drain(at..(at + next(9)).min(bytes.len()))),
            }
            if bytes.is_empty() {
                bytes.push(b'{');
            }
        }
        let kind = kind_of(topic);
        if let Ok(packet) = Json.decode(kind, &bytes.into()) {
            Json.decode(kind, &Json.encode(&packet)).unwrap();
        }
    }
}
