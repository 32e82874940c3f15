//! Scenarios: values of every kind cross, and errors keep all their fields.

use std::sync::Arc;

use bytes::Bytes;
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use serde_json::{Value, json};

use super::Guest;
use crate::broker;

super::list! { "values and errors":
    "JSON values" => json_values,
    "Unicode and escapes" => unicode,
    "numbers" => numbers,
    "null and undefined" => nothing,
    "undefined, passed on" => undefined,
    "bytes" => raw_bytes,
    "a payload of 2 MiB" => large,
    "an error with every field" => every_field,
    "an error with few fields" => few_fields,
    "the language's own errors" => plain_errors,
}

async fn json_values(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let values = [
        json!(true),
        json!(false),
        json!(""),
        json!([]),
        json!({}),
        json!([[], {}, [null]]),
        json!({"a": {"b": [1, {"c": null}]}, "": "an empty key", "a b": 1, "__proto__": 1}),
    ];
    for value in values {
        assert_eq!(node.get("echo", value.clone()).await, value, "echo");
        let round = node.get("roundtrip", json!({"value": value})).await;
        assert_eq!(round, json!({"value": value}), "roundtrip");
        assert_eq!(node.get("kind", value).await, "json");
    }
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep]);
    }
    assert_eq!(node.get("roundtrip", json!({"value": deep})).await["value"], deep);
}

async fn unicode(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let texts = [
        "ü€\u{1f600}\u{10ffff}",
        "e\u{301} \u{202e}x\u{feff}",
        "\u{0}\u{1}\u{1f}\u{7f}\u{2028}",
        "\"quoted\" \\ / \u{8}\u{c}\n\r\t",
        "</script>",
    ];
    for text in texts {
        let value = json!({text: [text, {"k": text}]});
        assert_eq!(node.get("roundtrip", json!({"value": value})).await["value"], value);
    }
    let message = "ü\u{1f600}\"\n";
    let error = node
        .error(
            "fail",
            json!({"name": "ÜError", "message": message, "code": 500,
        "type": "Ü", "retryable": false}),
        )
        .await;
    assert_eq!((error.name(), error.message(), error.kind()), ("ÜError", message, "Ü"));
    // Written as escapes, and one pair of them that makes one character.
    let escaped = Payload::Json(r#"{"value":"\u00fc\ud83d\ude00\/"}"#.into());
    let round = node.call_raw("roundtrip", escaped, CallOptions::default()).await.unwrap();
    assert_eq!(round.parse::<Value>().unwrap()["value"], "ü\u{1f600}/");
}

async fn numbers(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let numbers = [
        0.0,
        1.0,
        -1.0,
        0.1,
        -2.5,
        1e21,
        1.5e300,
        -1e-7,
        123_456_789.125,
        9_007_199_254_740_991.0,
        -9_007_199_254_740_991.0,
        4_294_967_296.0,
        f64::MIN_POSITIVE,
    ];
    for number in numbers {
        let round = node.get("roundtrip", json!({"value": [number]})).await;
        assert_eq!(round["value"][0].as_f64(), Some(number));
    }
    for number in [0_i64, -1, i64::from(u32::MAX), 9_007_199_254_740_991] {
        let round = node.get("roundtrip", json!({"value": number})).await;
        assert_eq!(
            round["value"].as_f64().map(|number| format!("{number:.0}")),
            Some(number.to_string())
        );
    }
}

async fn nothing(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let call = async |action: &str, params: Payload| {
        node.call_raw(action, params, CallOptions::default()).await.unwrap()
    };
    assert_eq!(call("nothing", Payload::Absent).await, Payload::Absent, "undefined is not null");
    assert_eq!(
        call("roundtrip", broker::json(&json!({"value": null}))).await,
        broker::json(&json!({"value": null}))
    );
    assert_eq!(call("echo", Payload::null()).await, Payload::null());
    // Params that are left out are an empty object.
    assert_eq!(call("echo", Payload::Absent).await, broker::json(&json!({})));
    let null = json!({"action": "rs.null"});
    assert_eq!(call("call", broker::json(&null)).await, Payload::null());
}

async fn undefined(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let params = broker::json(&json!({"action": "rs.undefined"}));
    let result = node.call_raw("call", params, CallOptions::default()).await.unwrap();
    assert_eq!(result, Payload::Absent);
}

async fn raw_bytes(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let call = async |action: &str, params: Payload| {
        node.call_raw(action, params, CallOptions::default()).await.unwrap()
    };
    let all: Vec<u8> = (0..=255).collect();
    let bytes = Payload::Bytes(Bytes::from(all));
    assert_eq!(call("kind", bytes.clone()).await, broker::json(&json!("bytes")));
    assert_eq!(call("echo", bytes.clone()).await, bytes);
    assert_eq!(call("sum", bytes).await.parse::<f64>().unwrap(), 32_640.0);
    let seven = Payload::Bytes(Bytes::from(vec![7; 1_000]));
    assert_eq!(call("bytes", broker::json(&json!({"n": 1_000}))).await, seven);
    let none = Payload::Bytes(Bytes::new());
    assert_eq!(call("bytes", broker::json(&json!({"n": 0}))).await, none);
    let from_peer = call("call", broker::json(&json!({"action": "rs.buffer"}))).await;
    assert_eq!(from_peer, Payload::Bytes(Bytes::from_static(&[0, 1, 254, 255])));
}

async fn large(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let text = "ü0123456789abcdef\n".repeat((2 << 20) / 19);
    let round = node.get("roundtrip", json!({"value": text})).await;
    assert!(round["value"] == text.as_str(), "the text is another one");
    let list: Vec<usize> = (0..20_000).collect();
    let round = node.get("roundtrip", json!({"value": list})).await;
    assert_eq!(round["value"].as_array().map(Vec::len), Some(20_000));
    let bytes = Payload::Bytes(Bytes::from(vec![9; 2 << 20]));
    let echo = node.call_raw("echo", bytes.clone(), CallOptions::default()).await.unwrap();
    assert!(echo == bytes, "the bytes are others");
}

async fn every_field(guest: Arc<Guest>) {
    let node = guest.node("").await;
    let wanted = json!({"name": "OddError", "message": "ü \"m\"", "code": 409, "type": "ODD",
        "retryable": true, "data": {"a": [null, 1, "ü"]}});
    let mut wire = node.error("fail", wanted.clone()).await.to_wire("node-1");
    let wire = wire.as_object_mut().unwrap();
    assert_eq!(wire.remove("nodeID"), Some(json!("node-1")));
    wire.remove("stack");
    assert_eq!(Value::Object(wire.clone()), wanted);
}

async fn few_fields(guest: Arc<Guest>) {
    let node = guest.node("").await;
    for retryable in [false, true] {
        let error = node
            .error(
                "fail",
                json!({"name": "MoleculerClientError", "message": "",
            "code": 400, "type": "T", "retryable": retryable}),
            )
            .await;
        assert_eq!(
            (error.name(), error.message(), error.code()),
            ("MoleculerClientError", "", 400)
        );
        assert_eq!((error.kind(), error.retryable()), ("T", retryable));
        assert!(error.fields().data.is_none(), "data: {:?}", error.fields().data);
    }
}

async fn plain_errors(guest: Arc<Guest>) {
    let node = guest.node(super::node::ALONE).await;
    let error = node.error("failPlain", json!({"message": "plain ü"})).await;
    assert_eq!(error.code(), 500, "{error}");
    assert!(error.message().contains("plain ü"), "{error}");
    assert_ne!(error.kind(), "SERVICE_TRAPPED", "{error}");
    // The instance goes on.
    assert_eq!(node.get("count", json!({})).await, json!({"count": 1, "started": 1}));
}
