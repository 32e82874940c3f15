//! Options of the MQTT transporter (moleculer: src/transporters/mqtt.js constructor; what is not Moleculer's
//! own goes by the names of the library behind it).

use std::time::Duration;

use crate::config::Transporter;
use crate::config::transporter::{Kind, check_keys, escape, split_port};
use crate::config::value::{Located, Value};

/// How it is chosen.
pub(super) const KIND: Kind =
    Kind { name: "MQTT", schemes: &["mqtt", "mqtts"], from_text, from_options };

/// What the transporter needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// One or more servers (`mqtt://host:1883`, `mqtts://user:password@host:8883`), tried in turn.
    pub urls: Vec<String>,
    /// Quality of service of all messages: 0 at most once, 1 at least once, 2 exactly once. 0
    pub qos: u8,
    /// Stands between prefix, command and node ID. `.`
    pub topic_separator: String,
    /// How the server knows this connection; `None` makes one up.
    pub client_id: Option<String>,
    /// How often to ask an idle server for a sign of life. 60 s in the library behind Moleculer; 10 s here,
    /// so that a dead connection is noticed before other nodes take this one for lost.
    pub keep_alive: Duration,
}

impl Options {
    /// For these servers, and the default of everything else.
    #[must_use]
    pub fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            qos: 0,
            topic_separator: ".".into(),
            client_id: None,
            keep_alive: Duration::from_secs(10),
        }
    }
}

/// Where MQTT listens when nothing else is said.
const DEFAULT: &str = "mqtt://localhost:1883";

/// Options of the MQTT transporter.
const OPTIONS: [&str; 11] = [
    "url",
    "host",
    "hostname",
    "port",
    "protocol",
    "username",
    "password",
    "clientId",
    "keepalive",
    "qos",
    "topicSeparator",
];

fn from_text(text: &str) -> Result<Transporter, String> {
    let urls = if text.contains("://") { text } else { DEFAULT };
    Ok(Transporter::Mqtt(Options::new(addresses(urls)?)))
}

fn from_options(located: &Located) -> Result<Transporter, String> {
    check_keys(located, "MQTT", &OPTIONS)?;
    let mut options = Options::new(addresses(&url(located)?)?);
    if let Some(qos) = located.find("qos") {
        let qos = qos.as_count().and_then(|qos| u8::try_from(qos).ok());
        options.qos = qos.filter(|qos| *qos <= 2).ok_or("'qos' is not 0, 1 or 2")?;
    }
    if let Some(separator) = located.find("topicSeparator") {
        let separator =
            separator.as_text().filter(|text| !text.is_empty() && !text.contains(['+', '#']));
        options.topic_separator =
            separator.ok_or("'topicSeparator' is not text without + and #")?.into();
    }
    if let Some(client_id) = located.find("clientId") {
        let client_id = client_id.as_text().filter(|text| text.len() <= usize::from(u16::MAX));
        options.client_id = Some(client_id.ok_or("'clientId' is not text")?.into());
    }
    if let Some(seconds) = located.find("keepalive") {
        let seconds =
            seconds.as_count().filter(|seconds| (1..=u64::from(u16::MAX)).contains(seconds));
        let seconds = seconds.ok_or("'keepalive' is not a number of seconds from 1 to 65535")?;
        options.keep_alive = Duration::from_secs(seconds);
    }
    Ok(Transporter::Mqtt(options))
}

/// The address that the options name, with their credentials in it.
fn url(located: &Located) -> Result<String, String> {
    let text = |key: &str| located.find(key).and_then(Located::as_text);
    let login = match (text("username"), text("password")) {
        (Some(user), password) => {
            format!("{}:{}@", escape(user), escape(password.unwrap_or_default()))
        }
        (None, None) => String::new(),
        (None, Some(_)) => return Err("'password' needs 'username'".into()),
    };
    if let Some(url) = text("url") {
        return Ok(match url.split_once("://") {
            Some((scheme, rest)) if !rest.contains('@') => format!("{scheme}://{login}{rest}"),
            _ => url.to_owned(),
        });
    }
    let host = text("host").or_else(|| text("hostname")).unwrap_or("localhost");
    let scheme = text("protocol").unwrap_or("mqtt").trim_end_matches(':');
    match located.find("port").map(|port| (port.as_count(), &port.value)) {
        None | Some((None, Value::Null)) => Ok(format!("{scheme}://{login}{host}")),
        Some((Some(port), _)) => Ok(format!("{scheme}://{login}{host}:{port}")),
        Some((None, _)) => Err("'port' is not a number".into()),
    }
}

/// Addresses with commas between them.
fn addresses(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|address| check_address(address.trim())).collect()
}

fn check_address(address: &str) -> Result<String, String> {
    // Addresses may hold passwords, so a message never repeats them.
    let (scheme, rest) = address.split_once("://").ok_or("an address begins with mqtt://")?;
    if !["mqtt", "mqtts", "tcp", "ssl"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(format!("'{scheme}' is no scheme of an address here; it is mqtt or mqtts"));
    }
    let place = rest.split('/').next().unwrap_or(rest);
    let (host, port) = split_port(place.rsplit('@').next().unwrap_or(place));
    if host.is_empty() || host.contains([' ', '?', '#']) {
        return Err("the address has no valid host".into());
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_) | Ok(0)) => Err("the port is not a number from 1 to 65535".into()),
        _ => Ok(address.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::config::problem::Place;

    fn read(options: Json) -> Result<Options, String> {
        let located = Located::from_json(options, &Place::Flag("--transporter"));
        match from_options(&located)? {
            Transporter::Mqtt(options) => Ok(options),
            _ => Err("another transporter".into()),
        }
    }

    #[test]
    fn options_are_those_of_moleculer_and_of_its_library() {
        let urls = |text: &str| Options::new(vec![text.to_owned()]);
        assert_eq!(read(json!({})), Ok(urls("mqtt://localhost")));
        let login = json!({"host": "h", "port": 1, "username": "u", "password": "p@"});
        assert_eq!(read(login), Ok(urls("mqtt://u:p%40@h:1")));
        let login = json!({"url": "mqtts://h", "username": "u", "password": "p"});
        assert_eq!(read(login), Ok(urls("mqtts://u:p@h")));
        let more = json!({"qos": 1, "topicSeparator": "/", "clientId": "me", "keepalive": 5});
        let expected = Options {
            qos: 1,
            topic_separator: "/".into(),
            client_id: Some("me".into()),
            keep_alive: Duration::from_secs(5),
            ..urls("mqtt://localhost")
        };
        assert_eq!(read(more), Ok(expected));
    }

    #[test]
    fn what_cannot_work_is_refused_without_a_secret() {
        let bad = [
            json!({"qos": 3}),
            json!({"topicSeparator": "#"}),
            json!({"topicSeparator": ""}),
            json!({"keepalive": 0}),
            json!({"password": "secret"}),
            json!({"port": "x"}),
            json!({"url": "http://u:secret@h"}),
            json!({"url": "mqtt://u:secret@h:x"}),
            json!({"topicSeperator": "/"}),
        ];
        for bad in bad {
            let error = read(bad.clone()).unwrap_err();
            assert!(!error.contains("secret"), "{bad}: {error}");
        }
    }
}
