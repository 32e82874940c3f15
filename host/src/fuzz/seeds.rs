//! What each target begins with: packets that were recorded from Moleculer, and short examples of everything
//! else, written so that most of a reader is reached.

use serde_json::Value;

use crate::packet::PacketType;

/// The inputs that a target begins with; none for a name that is no target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let packets = |format| recorded(format);
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    match target {
        "json" => packets("JSON"),
        "json_ext" => packets("JSONExt"),
        "msgpack" => packets("MsgPack"),
        "notepack" => packets("Notepack"),
        "cbor" => packets("CBOR"),
        "registry" => registry(),
        "nats" => {
            texts(&[NATS, "MSG a.b 12 re.ply 0\r\n\r\n+OK\r\n-ERR 'Slow Consumer'\r\nPONG\r\n"])
        }
        "redis" => texts(&[REDIS, "-ERR unknown command\r\n+OK\r\n:12\r\n"]),
        "mqtt" => vec![
            b"\x20\x02\x00\x00\x90\x03\x00\x01\x00\x30\x05\x00\x01axy\xd0\x00".to_vec(),
            b"\x32\x07\x00\x01a\x01\x02xy\x40\x02\x01\x02\x62\x02\x01\x02".to_vec(),
        ],
        "amqp" => crate::transporter::amqp::fuzz::seeds(),
        "kafka" => crate::transporter::kafka::fuzz::seeds(),
        "tcp" => crate::transporter::tcp::fuzz::seeds(),
        "udp" => texts(&["namespace|node-1.example|6000", "|n|1"]),
        "urls" => texts(URLS),
        "compression" => crate::middleware::compression::fuzz::seeds(),
        "encryption" => crate::middleware::encryption::fuzz::seeds(),
        "config_toml" => texts(&[CONFIG_TOML]),
        "config_json" => texts(&[CONFIG_JSON]),
        "sidecar" => texts(&[SIDECAR]),
        "schema" => texts(&[SCHEMA, MIDDLEWARE]),
        "rules" => texts(RULES),
        "options" => texts(OPTIONS),
        "control" => CONTROL.iter().map(|(head, body)| frame(head, body)).collect(),
        "record" => texts(&[RECORD]),
        "payload" => texts(PAYLOADS),
        "component" => vec![COMPONENT.to_vec(), b"\0asm\x01\0\0\0".to_vec(), b"\x7fELF".to_vec()],
        _ => Vec::new(),
    }
}

/// Packets of `tests/vectors/serializers.json` in one format, each behind the number of its kind.
fn recorded(format: &str) -> Vec<Vec<u8>> {
    let text = include_str!("../../../tests/vectors/serializers.json");
    let packets: Vec<Value> = serde_json::from_str(text).unwrap_or_default();
    packets.iter().filter_map(|packet| seed(packet, format)).collect()
}

fn seed(packet: &Value, format: &str) -> Option<Vec<u8>> {
    let kind = number(packet.get("kind")?.as_str()?)?;
    let hex = packet.get("formats")?.get(format)?.get("bytes")?.as_str()?;
    let digits = hex.as_bytes().chunks_exact(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    std::iter::once(Some(kind)).chain(bytes).collect()
}

/// A frame of the control socket.
fn frame(head: &str, body: &str) -> Vec<u8> {
    let len = |text: &str| u32::try_from(text.len()).unwrap_or(0).to_be_bytes();
    [&len(head)[..], &len(body)[..], head.as_bytes(), body.as_bytes()].concat()
}

fn number(kind: &str) -> Option<u8> {
    let at = PacketType::ALL.iter().position(|one| one.as_str() == kind)?;
    u8::try_from(at).ok()
}

/// Histories of packets that a registry is told.
fn registry() -> Vec<Vec<u8>> {
    let kinds = [
        ("INFO", INFO),
        ("HEARTBEAT", r#"{"ver":"5","sender":"n","cpu":12.5}"#),
        (
            "GOSSIP_REQ",
            r#"{"ver":"5","sender":"n","online":{"me":[1,0,0],"x":[3,1,5]},"offline":{"y":2}}"#,
        ),
        ("GOSSIP_RES", GOSSIP),
        ("DISCONNECT", r#"{"ver":"5","sender":"n"}"#),
    ];
    let line = |(kind, text): &(&str, &str)| {
        let mut line = vec![number(kind).unwrap_or(0)];
        line.extend_from_slice(text.as_bytes());
        line
    };
    let lines: Vec<Vec<u8>> = kinds.iter().map(line).collect();
    let all = lines.join(&b'\n');
    lines.into_iter().chain([all]).collect()
}

const INFO: &str = r#"{"ver":"5","sender":"n","services":[{"name":"a","version":2,"fullName":"v2.a","settings":{},"metadata":{},"actions":{"v2.a.x":{"name":"v2.a.x","rawName":"x","timeout":5,"visibility":"published","strategy":"Shard","strategyOptions":{"shardKey":"id"}}},"events":{"b.*":{"name":"b.*","group":"g"}}}],"config":{},"ipList":["10.0.0.1"],"hostname":"h","client":{"type":"nodejs","version":"0.15.0","langVersion":"v20"},"metadata":{},"instanceID":"i","seq":1}"#;
const GOSSIP: &str = r#"{"ver":"5","sender":"n","online":{"x":[{"services":[{"name":"a","fullName":"a","actions":{},"events":{}}],"hostname":"h","ipList":["10.0.0.2"],"port":1,"seq":2,"instanceID":"i","client":{},"config":{}},1,5],"n":[3,7]},"offline":{"y":4}}"#;
const NATS: &str = "INFO {\"max_payload\":10,\"connect_urls\":[\"127.0.0.1:4222\",\"[::1]:4222\"]} \r\nMSG a.b 1 5\r\nhe\r\no\r\nPING\r\n";
const REDIS: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$5\r\nhello\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n";
const URLS: &[&str] = &[
    "nats://user:p%40ss@host.example:4222",
    "tls://token@[::1]:4222",
    "rediss://:secret@127.0.0.1:6379/2",
    "redis+cluster://a:1,b:2",
    "mqtt://u:p@h:1883",
    "amqp://u:p@h:5672/vhost",
    "tcp://192.168.0.1:3000/node-1",
    "127.0.0.1:3000/node-2\nhost:4/n",
    "http://127.0.0.1:2379",
    "order.*.created",
    "**.a?c",
];
const CONFIG_TOML: &str = "nodeID = \"a\"\nnamespace = \"b\"\nrequestTimeout = 5000\n[transporter]\ntype = \"TCP\"\n\
    [transporter.options]\nurls = [\"127.0.0.1:1/n\"]\n[limits]\nmemory = \"64 MB\"\ntimeout = \"5 s\"\n\
    [registry]\nstrategy = \"RoundRobin\"\n[cacher]\nmaxParamsLength = 60\n";
const CONFIG_JSON: &str = "{\"nodeID\": \"a\", /* why */ \"transporter\": {\"type\": \"NATS\", \"options\": {\"url\": \
    \"nats://h\"}}, \"logger\": [{\"type\": \"Console\"}], \"retryPolicy\": {\"enabled\": true, \"retries\": 3,},}";
const SIDECAR: &str = "fuel = 1000000\nmode = \"pooled\"\n[instances]\nmax = 4\nidle = 1000\n[limits]\nmemory = \"32 MB\"\n\
    [env]\nA = \"1\"\n[grants]\ncall = [\"posts.*\"]\n[settings]\nx = { y = [1, 2.5, true] }\n";
const SCHEMA: &str = r##"{"name":"posts","version":1,"settings":{"$secureSettings":["a"],"a":1},"dependencies":["x",{"name":"y","version":2}],"actions":{"get":{"params":{"id":"string"},"cache":{"keys":["id","#m"],"ttl":5},"timeout":100,"visibility":"public","rest":"GET /","retryPolicy":{"enabled":true,"retries":2},"circuitBreaker":{"enabled":true},"bulkhead":{"concurrency":2},"fallback":true,"isomer":{"fuel":1000}}},"events":{"a.*":{"group":"g","params":{},"debounce":5,"throttle":7}},"isomer":{"mode":"pooled"}}"##;
const MIDDLEWARE: &str =
    r#"{"name":"audit","hooks":["localAction","emit"],"actions":["**","!a.*"],"settings":{}}"#;
const RULES: &[&str] = &[
    r#"[{"a":"string|min:3|trim","b":{"type":"array","items":"number|convert"},"c":{"type":"object","props":{"d":"email"}},"$$strict":"remove"},{"a":" abc ","b":["1",2],"c":{"d":"x@y.zz"}}]"#,
    r#"[{"a":{"type":"string","pattern":"^(a+)+$","patternFlags":"i"},"b":["string","number"],"c":{"type":"multi","rules":["date","boolean"]}},{"a":"aaaaaaaaaaaaaaaaaaaaaaaa!","b":5,"c":"on"}]"#,
    r##"[{"type":"object","properties":{"a":{"type":"integer","minimum":3}},"required":["a"],"$defs":{"x":{"$ref":"#"}}},{"a":2}]"##,
    r#"[{"a":"uuid","b":"url","c":"mac","d":"luhn","e":"currency","f":"objectID","g":"record|key:string|value:number","h":"tuple"},{"a":"x","b":"http://h","c":"00:11:22:33:44:55","d":"4242424242424242","e":"$1,000.00","f":"0","g":{"k":1},"h":[1]}]"#,
];
const OPTIONS: &[&str] = &[
    r#"{"timeout":5000,"retries":2,"nodeID":"n","meta":{"a":1},"headers":{"b":"c"},"requestID":"r","fallbackResponse":null,"tracking":true}"#,
    r#"{"groups":["a","b"],"meta":{},"requestID":"x","throwError":true}"#,
    r#"{"settled":true,"retryCount":1,"groups":"a"}"#,
];
const CONTROL: &[(&str, &str)] = &[
    (r#"{"call":{"action":"a.b","timeout":5,"meta":{"x":1},"params":"json"}}"#, "{\"a\":1}"),
    (r#"{"emit":{"event":"a.b","kind":"emit","groups":["g"],"data":"bytes"}}"#, "\u{1}\u{2}"),
    (r#"{"wait":{"services":["a"],"timeout":5}}"#, ""),
    (r#"{"versions":{"rollBack":{"service":"a","version":"3f"}}}"#, ""),
    ("\"info\"", ""),
];
const RECORD: &str = r#"{"file":"/a.wasm","versions":[{"digest":"ab","since":"2026","size":7,"sidecar":"fuel = 1"}],"left":"cd","quarantine":{"ab":{"until":99999999999999,"pause":60000,"reason":"trapped"}}}"#;
const PAYLOADS: &[&str] = &[
    r#"{"a":[1,2.5,-0,1e5,true,null,"\u00fc\ud83d\ude00"],"b":{"c":{}},"a":2}"#,
    r#"{"type":"Buffer","data":[0,1,254,255]}"#,
    "\"text\"",
    "[[[[[[]]]]]]",
];
/// The smallest component: a header and a custom section.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\x00\x06\x04nameab";
