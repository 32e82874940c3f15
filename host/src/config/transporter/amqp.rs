//! Options of the AMQP 0.9.1 transporter (moleculer: src/transporters/amqp.js constructor) and of the library
//! behind it, under its names (amqplib: lib/api_args.js).

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::config::Transporter;
use crate::config::transporter::{Kind, check_keys, escape, split_port};
use crate::config::value::{Located, Value};

/// How it is chosen.
pub(super) const KIND: Kind =
    Kind { name: "AMQP", schemes: &["amqp", "amqps"], from_text, from_options };

/// What the transporter needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// One or more servers (`amqp://user:password@host:5672/vhost`, `amqps://…`), tried in turn.
    pub urls: Vec<String>,
    /// Requests and balanced events that each queue gives this node at once; 0 is unlimited. 1
    pub prefetch: u16,
    /// How long an event waits in a queue; `None` is for ever.
    pub event_time_to_live: Option<Duration>,
    /// How long a heartbeat waits in a queue; `None` is for ever.
    pub heartbeat_time_to_live: Option<Duration>,
    /// After which time without a listener the queues of a node are deleted; `None` is never. 2 minutes
    pub auto_delete_queues: Option<Duration>,
    /// Over the options of every queue.
    pub queue: Declared,
    /// Over the options of every exchange.
    pub exchange: Declared,
    /// Properties of every message.
    pub message: Message,
    /// Options of every subscription.
    pub consume: Consume,
}

/// How a queue or exchange is declared. What is absent is as Moleculer has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Outlives a restart of the server. true
    pub durable: Option<bool>,
    /// Goes with its last user.
    pub auto_delete: Option<bool>,
    /// Of queues: for one connection. false
    pub exclusive: Option<bool>,
    /// Of exchanges: only other exchanges publish to it. false
    pub internal: Option<bool>,
    /// Arguments under their names on the wire, such as `x-max-length`.
    pub arguments: Map<String, Json>,
}

/// Properties of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// 1 in memory, 2 on disk.
    pub delivery_mode: Option<u8>,
    /// From 0 to 255.
    pub priority: Option<u8>,
    /// Milliseconds, as text.
    pub expiration: Option<String>,
    /// Such as `application/json`.
    pub content_type: Option<String>,
    /// Such as `gzip`.
    pub content_encoding: Option<String>,
    /// Free.
    pub kind: Option<String>,
    /// Free.
    pub app_id: Option<String>,
}

/// Options of subscriptions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consume {
    /// Nobody else may listen to the queue.
    pub exclusive: bool,
    /// Not what this connection sent. RabbitMQ does not know it.
    pub no_local: bool,
    /// Such as `x-priority`.
    pub arguments: Map<String, Json>,
}

impl Options {
    /// For these servers, and the default of everything else.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            prefetch: 1,
            event_time_to_live: None,
            heartbeat_time_to_live: None,
            auto_delete_queues: Some(AUTO_DELETE_DEFAULT),
            queue: Declared::default(),
            exchange: Declared::default(),
            message: Message::default(),
            consume: Consume::default(),
        }
    }
}

/// Where AMQP listens when nothing else is said.
const DEFAULT: &str = "amqp://localhost:5672";

/// moleculer: src/transporters/amqp.js autoDeleteQueuesAfterDefault
const AUTO_DELETE_DEFAULT: Duration = Duration::from_secs(120);

/// Options of the AMQP transporter.
const OPTIONS: [&str; 9] = [
    "url",
    "prefetch",
    "eventTimeToLive",
    "heartbeatTimeToLive",
    "autoDeleteQueues",
    "queueOptions",
    "exchangeOptions",
    "messageOptions",
    "consumeOptions",
];

/// Options of queues that are arguments on the wire.
const QUEUE_ARGUMENTS: [(&str, &str); 8] = [
    ("expires", "x-expires"),
    ("messageTtl", "x-message-ttl"),
    ("deadLetterExchange", "x-dead-letter-exchange"),
    ("deadLetterRoutingKey", "x-dead-letter-routing-key"),
    ("maxLength", "x-max-length"),
    ("maxPriority", "x-max-priority"),
    ("overflow", "x-overflow"),
    ("queueMode", "x-queue-mode"),
];

fn from_text(text: &str) -> Result<Transporter, String> {
    let urls = if text.contains("://") { text } else { DEFAULT };
    Ok(Transporter::Amqp(Box::new(Options::new(addresses(urls.split(';'))?))))
}

fn from_options(located: &Located) -> Result<Transporter, String> {
    check_keys(located, "AMQP", &OPTIONS)?;
    let urls = match located.find("url") {
        None => addresses([DEFAULT])?,
        Some(url) => match &url.value {
            Value::List(items) => addresses(items.iter().filter_map(Located::as_text))?,
            Value::Table(_) => vec![url_of_parts(url)?],
            _ => addresses(url.as_text().ok_or("'url' is not text")?.split(';'))?,
        },
    };
    let mut options = Options::new(urls);
    if let Some(prefetch) = located.find("prefetch") {
        let count = prefetch.as_count().and_then(|count| u16::try_from(count).ok());
        options.prefetch = count.ok_or("'prefetch' is not a whole number from 0 to 65535")?;
    }
    options.event_time_to_live = time_to_live(located, "eventTimeToLive")?;
    options.heartbeat_time_to_live = time_to_live(located, "heartbeatTimeToLive")?;
    options.auto_delete_queues = auto_delete(located)?;
    let section = |name: &str| located.find(name).filter(|section| !section.is_off());
    if let Some(queue) = section("queueOptions") {
        options.queue = declared("queueOptions", queue, "exclusive", &QUEUE_ARGUMENTS)?;
    }
    if let Some(exchange) = section("exchangeOptions") {
        let arguments = [("alternateExchange", "alternate-exchange")];
        options.exchange = declared("exchangeOptions", exchange, "internal", &arguments)?;
    }
    if let Some(located) = section("messageOptions") {
        options.message = message(located)?;
    }
    if let Some(located) = section("consumeOptions") {
        options.consume = consume(located)?;
    }
    Ok(Transporter::Amqp(Box::new(options)))
}

/// Milliseconds; 0 and nothing are for ever.
fn time_to_live(located: &Located, name: &str) -> Result<Option<Duration>, String> {
    let Some(value) = located.find(name).filter(|value| !value.is_off()) else { return Ok(None) };
    let ms = value.as_count().filter(|ms| u32::try_from(*ms).is_ok());
    let ms = ms.ok_or_else(|| format!("'{name}' is not a number of milliseconds"))?;
    Ok(Some(Duration::from_millis(ms)).filter(|time| !time.is_zero()))
}

fn auto_delete(located: &Located) -> Result<Option<Duration>, String> {
    let Some(value) = located.find("autoDeleteQueues") else {
        return Ok(Some(AUTO_DELETE_DEFAULT));
    };
    if value.as_integer().is_some_and(|ms| ms < 0) {
        return Ok(None);
    }
    match (value.as_count(), value.as_bool(), &value.value) {
        (Some(ms), ..) if (1..=u64::from(u32::MAX)).contains(&ms) => {
            Ok(Some(Duration::from_millis(ms)))
        }
        (None, Some(true), _) | (.., Value::Null) => Ok(Some(AUTO_DELETE_DEFAULT)),
        (None, Some(false), _) => Ok(None),
        _ => Err("'autoDeleteQueues' is not true, false or a number of milliseconds".into()),
    }
}

fn declared(
    section: &str,
    located: &Located,
    own: &'static str,
    named: &[(&'static str, &'static str)],
) -> Result<Declared, String> {
    let mut known = vec!["durable", "autoDelete", "arguments", own];
    known.extend(named.iter().map(|(name, _)| *name));
    check_keys(located, section, &known)?;
    let mut arguments = arguments(section, located)?;
    for (name, on_wire) in named {
        if let Some(value) = located.find(name) {
            arguments.insert((*on_wire).into(), value.to_json());
        }
    }
    let switch = |name: &str| switch(section, located, name);
    Ok(Declared {
        durable: switch("durable")?,
        auto_delete: switch("autoDelete")?,
        exclusive: if own == "exclusive" { switch(own)? } else { None },
        internal: if own == "internal" { switch(own)? } else { None },
        arguments,
    })
}

fn message(located: &Located) -> Result<Message, String> {
    const SECTION: &str = "messageOptions";
    let known = [
        "persistent",
        "deliveryMode",
        "priority",
        "expiration",
        "contentType",
        "contentEncoding",
        "type",
        "appId",
    ];
    check_keys(located, SECTION, &known)?;
    let text = |name: &str| match located.find(name).map(Located::to_json) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Number(number)) => Ok(Some(number.to_string())),
        Some(Json::String(text)) if text.len() <= 255 => Ok(Some(text)),
        Some(_) => Err(format!("'{SECTION}.{name}' is not text of up to 255 bytes")),
    };
    let small = |name: &str| {
        let Some(value) = located.find(name) else { return Ok(None) };
        let number = value.as_count().and_then(|number| u8::try_from(number).ok());
        number.map(Some).ok_or_else(|| format!("'{SECTION}.{name}' is not a number from 0 to 255"))
    };
    let on_disk = switch(SECTION, located, "persistent")?.unwrap_or(false)
        || switch(SECTION, located, "deliveryMode").ok().flatten() == Some(true);
    let numbered = if on_disk { None } else { small("deliveryMode")? };
    Ok(Message {
        delivery_mode: if on_disk { Some(2) } else { numbered },
        priority: small("priority")?,
        expiration: text("expiration")?,
        content_type: text("contentType")?,
        content_encoding: text("contentEncoding")?,
        kind: text("type")?,
        app_id: text("appId")?,
    })
}

fn consume(located: &Located) -> Result<Consume, String> {
    const SECTION: &str = "consumeOptions";
    check_keys(located, SECTION, &["exclusive", "noLocal", "priority", "arguments"])?;
    let mut arguments = arguments(SECTION, located)?;
    if let Some(priority) = located.find("priority") {
        arguments.insert("x-priority".into(), priority.to_json());
    }
    Ok(Consume {
        exclusive: switch(SECTION, located, "exclusive")?.unwrap_or(false),
        no_local: switch(SECTION, located, "noLocal")?.unwrap_or(false),
        arguments,
    })
}

fn switch(section: &str, located: &Located, name: &str) -> Result<Option<bool>, String> {
    let Some(value) = located.find(name) else { return Ok(None) };
    value.as_bool().map(Some).ok_or_else(|| format!("'{section}.{name}' is not true or false"))
}

/// Arguments may hold no lists or tables: no server's arguments do.
fn arguments(section: &str, located: &Located) -> Result<Map<String, Json>, String> {
    let Some(arguments) = located.find("arguments") else { return Ok(Map::new()) };
    match arguments.to_json() {
        Json::Object(map)
            if map.iter().all(|(name, value)| {
                name.len() <= 255 && !value.is_object() && !value.is_array()
            }) =>
        {
            Ok(map)
        }
        _ => Err(format!("'{section}.arguments' is not a table of single values")),
    }
}

/// `url` as an object (amqplib: lib/connect.js).
fn url_of_parts(url: &Located) -> Result<String, String> {
    let keys = ["protocol", "hostname", "port", "username", "password", "vhost"];
    check_keys(url, "AMQP url", &keys)?;
    let text = |key: &str| url.find(key).and_then(Located::as_text);
    let scheme = text("protocol").unwrap_or("amqp").trim_end_matches(':');
    let login = match (text("username"), text("password")) {
        (None, None) => String::new(),
        (user, password) => {
            format!("{}:{}@", escape(user.unwrap_or("guest")), escape(password.unwrap_or("guest")))
        }
    };
    let port = match url.find("port") {
        None => String::new(),
        Some(port) => format!(":{}", port.as_count().ok_or("'port' is not a number")?),
    };
    let vhost = text("vhost").map(|vhost| format!("/{}", escape(vhost))).unwrap_or_default();
    check_address(&format!(
        "{scheme}://{login}{}{port}{vhost}",
        text("hostname").unwrap_or("localhost")
    ))
}

/// Empty ones are left out, as Moleculer does.
fn addresses<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let texts = texts.into_iter().map(str::trim).filter(|text| !text.is_empty());
    let addresses: Vec<_> = texts.map(check_address).collect::<Result<_, _>>()?;
    if addresses.is_empty() { Ok(vec![DEFAULT.into()]) } else { Ok(addresses) }
}

fn check_address(address: &str) -> Result<String, String> {
    // Addresses may hold passwords, so a message never repeats them.
    let (scheme, rest) = address.split_once("://").ok_or("an address begins with amqp://")?;
    if !["amqp", "amqps"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(format!("'{scheme}' is no scheme of an address here; it is amqp or amqps"));
    }
    let place = rest.split(['/', '?']).next().unwrap_or(rest);
    let (host, port) = split_port(place.rsplit('@').next().unwrap_or(place));
    if host.is_empty() || host.contains([' ', '#']) {
        return Err("the address has no valid host".into());
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_) | Ok(0)) => Err("the port is not a number from 1 to 65535".into()),
        _ => Ok(address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::problem::Place;

    fn read(options: Json) -> Result<Options, String> {
        let located = Located::from_json(options, &Place::Flag("--transporter"));
        match from_options(&located)? {
            Transporter::Amqp(options) => Ok(*options),
            _ => Err("another transporter".into()),
        }
    }

    #[test]
    fn addresses_come_as_text_list_or_parts() {
        let check = |url: Json, expected: &[&str]| {
            assert_eq!(read(json!({"url": url})).unwrap().urls, expected);
        };
        check(json!("amqp://a;amqps://b/v;"), &["amqp://a", "amqps://b/v"]);
        check(json!(["amqp://a", "amqp://b:1"]), &["amqp://a", "amqp://b:1"]);
        check(json!(""), &["amqp://localhost:5672"]);
        let parts = json!({"hostname": "h", "port": 1, "username": "u", "password": "p@",
            "vhost": "/"});
        check(parts, &["amqp://u:p%40@h:1/%2F"]);
    }

    #[test]
    fn options_are_those_of_moleculer_and_of_its_library() {
        let options = read(json!({
            "prefetch": 5, "eventTimeToLive": 5000, "heartbeatTimeToLive": 0,
            "autoDeleteQueues": 1000,
            "queueOptions": {"durable": false, "maxLength": 5, "arguments": {"x-a": "b"}},
            "exchangeOptions": {"alternateExchange": "x"},
            "messageOptions": {"persistent": true, "expiration": 10},
            "consumeOptions": {"priority": 3},
        }));
        let options = options.unwrap();
        assert_eq!(options.prefetch, 5);
        assert_eq!(options.event_time_to_live, Some(Duration::from_secs(5)));
        assert_eq!(options.heartbeat_time_to_live, None);
        assert_eq!(options.auto_delete_queues, Some(Duration::from_secs(1)));
        assert_eq!(options.queue.durable, Some(false));
        assert_eq!(Json::from(options.queue.arguments), json!({"x-max-length": 5, "x-a": "b"}));
        assert_eq!(Json::from(options.exchange.arguments), json!({"alternate-exchange": "x"}));
        assert_eq!(options.message.delivery_mode, Some(2));
        assert_eq!(options.message.expiration.as_deref(), Some("10"));
        assert_eq!(Json::from(options.consume.arguments), json!({"x-priority": 3}));
        for (given, expected) in [(json!(true), Some(120)), (json!(false), None), (json!(-1), None)]
        {
            let options = read(json!({"autoDeleteQueues": given})).unwrap();
            assert_eq!(options.auto_delete_queues.map(|time| time.as_secs()), expected);
        }
    }

    #[test]
    fn what_cannot_work_is_refused_without_a_secret() {
        let bad = [
            json!({"prefetch": -1}),
            json!({"url": "http://u:secret@h"}),
            json!({"url": "amqp://u:secret@h:x"}),
            json!({"autoDeleteQueues": "soon"}),
            json!({"queueOptions": {"durabel": true}}),
            json!({"queueOptions": {"arguments": {"x": {"y": 1}}}}),
            json!({"messageOptions": {"priority": 300}}),
            json!({"consumeOptions": {"noAck": true}}),
        ];
        for bad in bad {
            let error = read(bad.clone()).unwrap_err();
            assert!(!error.contains("secret"), "{bad}: {error}");
        }
    }
}
