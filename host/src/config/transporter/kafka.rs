//! Options of the Kafka transporter (moleculer: src/transporters/kafka.js constructor, with the names of
//! 0.15, and those of 0.14 beside them).
//!
//! Moleculer hands the tables `producer`, `consumer` and `admin` to its library. Here one connection's
//! options hold for all: login and encryption are taken from wherever they stand.

use std::time::Duration;

use crate::config::Transporter;
use crate::config::transporter::{Kind, check_keys, split_port};
use crate::config::value::{Located, Value};

/// How it is chosen.
pub(super) const KIND: Kind = Kind { name: "Kafka", schemes: &["kafka"], from_text, from_options };

/// What the transporter needs to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// `host:port` of one or more servers of the cluster; the others are learnt from them.
    pub bootstrap_brokers: Vec<String>,
    /// How the servers know this client. `moleculer-kafka`
    pub client_id: String,
    /// Whether TLS is spoken. No
    pub tls: bool,
    /// How to log in. Not at all
    pub sasl: Option<Sasl>,
    /// How long a server may hold back its answer while there is nothing to read. 1 s
    pub max_wait: Duration,
    /// Bytes of the largest message that the servers take. 1,000,000, a little less than Kafka's own
    /// default for a message and what stands around it.
    pub message_max: usize,
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is shown.
    pub mechanism: Mechanism,
    /// Who logs in.
    pub username: String,
    /// With what.
    pub password: String,
}

/// How a password is shown to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is.
    Plain,
    /// By a proof, with SHA-256.
    ScramSha256,
    /// By a proof, with SHA-512.
    ScramSha512,
}

impl Mechanism {
    const ALL: [(&'static str, Self); 3] = [
        ("PLAIN", Self::Plain),
        ("SCRAM-SHA-256", Self::ScramSha256),
        ("SCRAM-SHA-512", Self::ScramSha512),
    ];
}

impl std::fmt::Debug for Options {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("bootstrap_brokers", &self.bootstrap_brokers)
            .field("client_id", &self.client_id)
            .field("tls", &self.tls)
            .field("sasl", &self.sasl.as_ref().map(|sasl| sasl.mechanism))
            .field("max_wait", &self.max_wait)
            .field("message_max", &self.message_max)
            .finish()
    }
}

impl Options {
    /// For these servers, and the default of everything else.
    #[must_use]
    pub fn new(bootstrap_brokers: Vec<String>) -> Self {
        Self {
            bootstrap_brokers,
            client_id: "moleculer-kafka".into(),
            tls: false,
            sasl: None,
            max_wait: Duration::from_secs(1),
            message_max: 1_000_000,
        }
    }
}

/// Where Kafka listens when nothing else is said.
const DEFAULT: &str = "localhost:9092";

const OPTIONS: [&str; 12] = [
    "bootstrapBrokers",
    "host",
    "clientId",
    "client",
    "producer",
    "consumer",
    "admin",
    "publish",
    "publishMessage",
    "sasl",
    "tls",
    "maxMessageSize",
];

/// Tables that Moleculer hands to the parts of its library, and what is read of them here.
const PARTS: [(&str, &[&str]); 4] = [
    ("client", &["kafkaHost", "clientId", "sasl", "tls"]),
    ("producer", &["sasl", "tls"]),
    ("consumer", &["sasl", "tls", "maxWaitTime"]),
    ("admin", &["sasl", "tls"]),
];

fn from_text(text: &str) -> Result<Transporter, String> {
    let brokers = text.split_once("://").map_or(DEFAULT, |(_, brokers)| brokers);
    Ok(Transporter::Kafka(Box::new(Options::new(addresses(brokers)?))))
}

fn from_options(located: &Located) -> Result<Transporter, String> {
    check_keys(located, "Kafka", &OPTIONS)?;
    for (part, known) in PARTS {
        if let Some(part_options) = located.find(part).filter(|options| !options.is_off()) {
            check_keys(part_options, part, known)?;
        }
    }
    partition_is_the_first(located)?;
    let mut options = Options::new(addresses(&brokers(located)?)?);
    if let Some(client_id) = anywhere(located, "clientId") {
        options.client_id = client_id.as_text().ok_or("'clientId' is not text")?.into();
    }
    if let Some(tls) = anywhere(located, "tls") {
        options.tls = encrypts(tls)?;
    }
    options.sasl = anywhere(located, "sasl").map(login).transpose()?;
    if let Some(wait) = located.find("consumer.maxWaitTime") {
        let wait_ms = wait.as_count().filter(|wait_ms| (1..=60_000).contains(wait_ms));
        let wait_ms = wait_ms.ok_or("'consumer.maxWaitTime' is not 1 to 60000 milliseconds")?;
        options.max_wait = Duration::from_millis(wait_ms);
    }
    if let Some(size) = located.find("maxMessageSize") {
        let size = size.as_count().and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| (1_000..=SIZE_MAX).contains(size));
        options.message_max = size.ok_or("'maxMessageSize' is not 1000 to 64000000 bytes")?;
    }
    Ok(Transporter::Kafka(Box::new(options)))
}

/// More is not sent with one request, whatever the servers take.
const SIZE_MAX: usize = 64_000_000;

/// An option at the top, or in the first table that has it.
fn anywhere<'a>(located: &'a Located, key: &str) -> Option<&'a Located> {
    let at_top = located.find(key);
    let found = at_top.or_else(|| {
        PARTS.iter().find_map(|(part, _)| located.find(part).and_then(|part| part.find(key)))
    });
    found.filter(|found| !found.is_off())
}

/// Every node reads the first partition of its topics, as Moleculer writes to it.
fn partition_is_the_first(located: &Located) -> Result<(), String> {
    for table in ["publish", "publishMessage"] {
        let Some(options) = located.find(table) else { continue };
        check_keys(options, table, &["partition", "attributes"])?;
        for key in ["partition", "attributes"] {
            if options.find(key).is_some_and(|value| value.as_count() != Some(0)) {
                return Err(format!("'{table}.{key}' is 0 here, as it is by default"));
            }
        }
    }
    Ok(())
}

fn brokers(located: &Located) -> Result<String, String> {
    let given = ["bootstrapBrokers", "host", "client.kafkaHost"];
    let Some(given) = given.iter().find_map(|key| located.find(key)) else {
        return Ok(DEFAULT.into());
    };
    match &given.value {
        Value::List(items) => {
            let items = items.iter().map(Located::as_text).collect::<Option<Vec<_>>>();
            Ok(items.ok_or("'bootstrapBrokers' is not a list of text")?.join(","))
        }
        _ => Ok(given.as_text().ok_or("'bootstrapBrokers' is not text or a list")?.to_owned()),
    }
}

/// Moleculer's library takes Node's options of TLS; whom to trust is the system's matter here.
fn encrypts(tls: &Located) -> Result<bool, String> {
    match &tls.value {
        Value::Table(entries) => match entries.first() {
            None => Ok(true),
            Some((key, _)) => Err(format!(
                "'tls.{key}' is not read: trusted is what the system trusts (SSL_CERT_FILE); \
                 give tls = true"
            )),
        },
        _ => tls.as_bool().ok_or_else(|| "'tls' is not true or false".into()),
    }
}

fn login(sasl: &Located) -> Result<Sasl, String> {
    check_keys(sasl, "sasl", &["mechanism", "username", "password"])?;
    let text = |key: &str| {
        let value = sasl.find(key).and_then(Located::as_text);
        value.map(str::to_owned).ok_or_else(|| format!("'sasl.{key}' is missing or not text"))
    };
    let named = text("mechanism")?;
    let known = Mechanism::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(&named));
    let (_, mechanism) =
        known.ok_or("'sasl.mechanism' is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")?;
    Ok(Sasl { mechanism: *mechanism, username: text("username")?, password: text("password")? })
}

/// Addresses with commas between them.
fn addresses(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|address| check_address(address.trim())).collect()
}

fn check_address(address: &str) -> Result<String, String> {
    // Credentials may stand here by mistake, so a message never repeats the address.
    let address = address.strip_prefix("kafka://").unwrap_or(address).trim_end_matches('/');
    if address.contains('@') {
        return Err(
            "an address has no user here; give sasl = {mechanism, username, password}".into()
        );
    }
    let (host, port) = split_port(address);
    if host.is_empty() || host.contains([' ', '/', '?', '#']) {
        return Err("the address has no valid host".into());
    }
    match port.map(str::parse::<u16>) {
        None => Ok(format!("{address}:9092")),
        Some(Ok(1..)) => Ok(address.to_owned()),
        Some(_) => Err("the port is not a number from 1 to 65535".into()),
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
            Transporter::Kafka(options) => Ok(*options),
            _ => Err("another transporter".into()),
        }
    }

    #[test]
    fn options_are_those_of_both_generations() {
        let on = |brokers: &[&str]| Options::new(brokers.iter().map(|&b| b.to_owned()).collect());
        assert_eq!(read(json!({})), Ok(on(&["localhost:9092"])));
        assert_eq!(read(json!({"host": "a:1,b:2"})), Ok(on(&["a:1", "b:2"])));
        assert_eq!(read(json!({"client": {"kafkaHost": "a:1"}})), Ok(on(&["a:1"])));
        assert_eq!(read(json!({"bootstrapBrokers": "a"})), Ok(on(&["a:9092"])));
        let all = json!({"bootstrapBrokers": ["a:1", "b:2"], "clientId": "me", "maxMessageSize": 5000,
            "producer": {"tls": {}, "sasl": {"mechanism": "plain", "username": "u", "password": "p"}},
            "consumer": {"maxWaitTime": 50}, "publishMessage": {"partition": 0}});
        let sasl = Sasl { mechanism: Mechanism::Plain, username: "u".into(), password: "p".into() };
        let expected = Options {
            client_id: "me".into(),
            tls: true,
            sasl: Some(sasl),
            max_wait: Duration::from_millis(50),
            message_max: 5_000,
            ..on(&["a:1", "b:2"])
        };
        assert_eq!(read(all), Ok(expected));
        assert!(matches!(from_text("Kafka"), Ok(Transporter::Kafka(_))));
        let Ok(Transporter::Kafka(options)) = from_text("kafka://a:1,b") else { panic!() };
        assert_eq!(*options, on(&["a:1", "b:9092"]));
    }

    #[test]
    fn what_cannot_work_is_refused_without_a_secret() {
        let bad = [
            json!({"bootstrapBrokers": "u:secret@h:1"}),
            json!({"bootstrapBrokers": [1]}),
            json!({"bootstrapBrokers": "h:x"}),
            json!({"sasl": {"mechanism": "GSSAPI", "username": "u", "password": "secret"}}),
            json!({"sasl": {"mechanism": "PLAIN", "password": "secret"}}),
            json!({"tls": {"ca": "secret"}}),
            json!({"publish": {"partition": 1}}),
            json!({"consumer": {"maxWaitTime": 0}}),
            json!({"consumer": {"maxWait": 1}}),
            json!({"maxMessageSize": 1}),
            json!({"bootstrapBroker": "h"}),
        ];
        for bad in bad {
            let error = read(bad.clone()).unwrap_err();
            assert!(!error.contains("secret"), "{bad}: {error}");
        }
    }
}
