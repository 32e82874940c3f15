//! Every format between a node of ours and real Moleculer nodes of both generations, on a real nats-server.

use bytes::Bytes;
use isomer_host::broker::ServiceBroker;
use isomer_host::config::{Protocol, Serializer};
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;
use serde_json::{Value, json};
use tests::broker::{self, call};
use tests::mirror::{self, Received};
use tests::nats_server::NatsServer;
use tests::peer::{Peer, Version, undefined, value};

/// A node of each kind with the same serializer.
struct Pair {
    js: Peer,
    rs: ServiceBroker,
    heard: Received,
    serializer: Serializer,
    _nats: NatsServer,
}

async fn pair(serializer: Serializer, version: Version) -> Pair {
    let nats = NatsServer::start().await;
    let mut options = broker::on_nats("rs-1", &nats.url());
    options.serializer = serializer;
    options.transit.protocol = match version {
        Version::V14 => Protocol::V4,
        Version::V15 => Protocol::V5,
    };
    let rs = broker::start(options).await;
    mirror::add(&rs).await;
    let heard = mirror::listen(&rs, "ears", "from.js", "").await;
    // Any case will do.
    let name = serializer.name().to_lowercase();
    let options = json!({"requestTimeout": 10_000, "serializer": name});
    let js =
        Peer::listening(version, "js-1", &nats.url(), options, &[("jsears", "from.rs", "")]).await;
    js.wait_for_services(&["rs", "ears"]).await;
    broker::wait_for(&rs, &["js", "odd", "jsears"]).await;
    Pair { js, rs, heard, serializer, _nats: nats }
}

impl Pair {
    async fn call_js(&self, action: &str, params: Value) -> Value {
        call(&self.rs, action, &params, CallOptions::default()).await.unwrap()
    }

    /// Whether bytes within a value are bytes on the other side.
    fn has_bytes(&self) -> bool {
        self.serializer != Serializer::Json
    }

    /// Whether integers that no double is are a `BigInt` on the other side.
    fn has_big(&self) -> bool {
        matches!(self.serializer, Serializer::JsonExt | Serializer::Cbor)
    }
}

async fn check(serializer: Serializer, version: Version) {
    let pair = pair(serializer, version).await;
    values_cross(&pair).await;
    bytes_undefined_and_null_stay_apart(&pair).await;
    what_json_has_no_word_for(&pair).await;
    errors_keep_their_fields(&pair).await;
    events_pings_and_meta(&pair).await;
    pair.js.stop().await;
    pair.rs.stop().await;
}

async fn values_cross(pair: &Pair) {
    let values = [
        json!({"a": [1, 2.5, 0.1, 1e-7, true, null, "ü \u{1F600} \" \\ \u{7} \u{2028}"]}),
        json!([
            0,
            -1,
            255,
            256,
            -129,
            65_536,
            4_294_967_296_i64,
            -4_294_967_297_i64,
            9_007_199_254_740_991_i64
        ]),
        json!([]),
        json!("text"),
        json!("[[DT]]1"),
        json!(0),
        json!(1.25),
        json!(false),
        json!({"": {"deep": [[[{}]]]}, "[[": "[["}),
        json!((0..70_000).collect::<Vec<u32>>()),
        json!({"large": "x".repeat(300_000)}),
        json!((0..300).map(|n| (format!("k{n}"), json!(n))).collect::<serde_json::Map<_, _>>()),
    ];
    for wanted in values {
        assert_eq!(pair.call_js("js.echo", wanted.clone()).await, wanted);
        assert_eq!(pair.js.call("rs.echo", wanted.clone()).await.unwrap(), wanted);
    }
}

async fn bytes_undefined_and_null_stay_apart(pair: &Pair) {
    for (action, kind) in [("rs.undefined", "undefined"), ("rs.null", "value")] {
        let answer = pair.js.call_with(action, undefined(), json!({})).await.unwrap();
        assert_eq!(answer["result"]["kind"], kind, "{action}: {answer}");
    }
    let answer = pair.js.call_with("rs.buffer", undefined(), json!({})).await.unwrap();
    let bytes = Payload::Bytes(Bytes::from_static(&[0, 1, 254, 255]));
    let got = pair.rs.call("js.buffer", Payload::Absent, CallOptions::default()).await.unwrap();
    if pair.has_bytes() {
        let buffer = json!({"kind": "buffer", "value": "\u{0}\u{1}\u{fe}\u{ff}"});
        assert_eq!(answer["result"], buffer);
        assert_eq!(got, bytes);
        // Params that are bytes, there and back.
        let echo = pair.js.call_with("rs.echo", buffer.clone(), json!({})).await.unwrap();
        assert_eq!(echo["result"], buffer);
        let echo = pair.rs.call("js.echo", bytes.clone(), CallOptions::default()).await.unwrap();
        assert_eq!(echo, bytes);
    } else {
        assert_eq!(answer["result"]["value"]["type"], "Buffer");
        assert_eq!(got.parse::<Value>().unwrap(), bytes.parse::<Value>().unwrap());
    }
    let get = async |action: &str| {
        pair.rs.call(action, Payload::Absent, CallOptions::default()).await.unwrap()
    };
    assert_eq!(get("js.undefined").await, Payload::Absent);
    assert_eq!(get("js.null").await, Payload::null());
}

async fn what_json_has_no_word_for(pair: &Pair) {
    let big = pair.has_big();
    // What a guest sees.
    let mut seen = json!({
        "bytes": {"type": "Buffer", "data": [1, 2]},
        "list": [{"type": "Buffer", "data": [104, 105]}, null],
        "float": 1.5, "whole": 1_099_511_627_776_i64, "text": "[[DT]]5",
        "date": "2017-07-14T02:40:00.123Z",
    });
    if big {
        seen["big"] = json!(9_007_199_254_740_993_i64);
    }
    assert_eq!(pair.call_js("odd.give", json!({"big": big})).await, seen);
    // What JavaScript sees when a guest sends the same.
    let shown = if pair.has_bytes() {
        "{ bytes: <Buffer 01 02>, list: [ <Buffer 68 69>, null ], float: 1.5, whole: 1099511627776, \
         text: '[[DT]]5', date: '2017-07-14T02:40:00.123Z'"
    } else {
        "{ bytes: { type: 'Buffer', data: [ 1, 2 ] }, list: [ { type: 'Buffer', data: [ 104, 105 ] }, \
         null ], float: 1.5, whole: 1099511627776, text: '[[DT]]5', date: '2017-07-14T02:40:00.123Z'"
    };
    let shown = format!("{shown}{} }}", if big { ", big: 9007199254740993n" } else { "" });
    assert_eq!(pair.call_js("odd.show", seen).await, shown);
    let echo = pair.js.call("odd.echo", json!({"action": "rs.echo", "big": big})).await.unwrap();
    assert_eq!(echo, shown);
}

async fn errors_keep_their_fields(pair: &Pair) {
    let params = json!({"className": "MoleculerClientError", "message": "é \"q\" [[", "code": 418,
        "type": "TEAPOT", "retryable": false, "data": {"list": [1.5, null], "text": "[[BF]]AA=="}});
    let from_rs = pair.js.call("rs.fail", params.clone()).await.unwrap_err();
    assert!(from_rs["classes"].as_array().unwrap().contains(&json!("MoleculerClientError")));
    let from_js = call(&pair.rs, "js.fail", &params, CallOptions::default()).await.unwrap_err();
    let from_js = from_js.to_wire("");
    for (error, node) in [(&from_rs, "rs-1"), (&from_js, "js-1")] {
        assert_eq!(error["name"], "MoleculerClientError");
        for field in ["message", "code", "type", "retryable", "data"] {
            assert_eq!(error[field], params[field], "{field} from {node}");
        }
        assert_eq!(error["nodeID"], node);
    }
    assert!(from_js["stack"].as_str().unwrap().contains("services.js"), "the stack of JS");
    // An error whose fields JavaScript leaves undefined.
    let plain = call(&pair.rs, "js.plainError", &json!({}), CallOptions::default()).await;
    let plain = plain.unwrap_err();
    assert_eq!((plain.name(), plain.message()), ("TypeError", "just JavaScript"));
}

async fn events_pings_and_meta(pair: &Pair) {
    let data = json!({"n": 1.5, "list": ["[[", null]});
    let args = json!({"event": "from.js", "data": value(&data)});
    pair.js.ask("emit", args.clone()).await.unwrap();
    pair.js.ask("broadcast", args).await.unwrap();
    for event in pair.heard.at_least(2).await {
        assert_eq!(event["params"], data);
    }
    broker::emit(&pair.rs, "from.rs", &data, &[]).await;
    broker::broadcast(&pair.rs, "from.rs", &data, &[]).await;
    for event in pair.js.received("from.rs", 2).await {
        assert_eq!(event["data"], value(&data));
    }
    let pong = pair.js.ask("ping", json!({"nodeID": "rs-1", "timeout": 5000})).await.unwrap();
    assert_eq!(pong["nodeID"], "rs-1");
    let options = json!({"meta": {"before": "[[", "f": 0.5}});
    let answer = pair.js.call_with("rs.meta", value(&json!({"set": [1.5]})), options).await;
    assert_eq!(answer.unwrap()["meta"], json!({"before": "[[", "f": 0.5, "set": [1.5]}));
}

#[tokio::test]
async fn server_json_with_0_14() {
    check(Serializer::Json, Version::V14).await;
}

#[tokio::test]
async fn server_json_with_0_15() {
    check(Serializer::Json, Version::V15).await;
}

/// 0.14 does not have it.
#[tokio::test]
async fn server_json_ext_with_0_15() {
    check(Serializer::JsonExt, Version::V15).await;
}

#[tokio::test]
async fn server_msgpack_with_0_14() {
    check(Serializer::MsgPack, Version::V14).await;
}

#[tokio::test]
async fn server_msgpack_with_0_15() {
    check(Serializer::MsgPack, Version::V15).await;
}

#[tokio::test]
async fn server_notepack_with_0_14() {
    check(Serializer::Notepack, Version::V14).await;
}

#[tokio::test]
async fn server_notepack_with_0_15() {
    check(Serializer::Notepack, Version::V15).await;
}

#[tokio::test]
async fn server_cbor_with_0_14() {
    check(Serializer::Cbor, Version::V14).await;
}

#[tokio::test]
async fn server_cbor_with_0_15() {
    check(Serializer::Cbor, Version::V15).await;
}
