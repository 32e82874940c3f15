//! Reading option `transporter`: a name, an address, or `{type, options}`.
//!
//! Each transporter has its own file, which reads its addresses and options; here is who is asked.
//!
//! moleculer: src/transporters/index.js resolve

use std::fmt::Write as _;

use crate::config::Transporter;
use crate::config::names;
use crate::config::value::{Located, Value};

pub mod amqp;
pub mod kafka;
pub mod mqtt;
mod nats;
mod redis;
pub mod tcp;

/// What is allowed, for messages.
pub const ALLOWED: &str = "\"NATS\", \"nats://host:4222\" (several with commas between), or \
                           {\"type\": \"NATS\", \"options\": {\"url\", \"servers\", \"user\", \"pass\", \"token\"}}; \
                           the same for \"TCP\", \"Redis\", \"MQTT\", \"AMQP\" and \"Kafka\"";

/// How one transporter is chosen and read.
struct Kind {
    /// Its name, compared without regard to case.
    name: &'static str,
    /// What its addresses begin with, before `://`.
    schemes: &'static [&'static str],
    /// Reads its bare name or an address.
    from_text: fn(&str) -> Result<Transporter, String>,
    /// Reads `options` of `{type, options}`.
    from_options: fn(&Located) -> Result<Transporter, String>,
}

const KINDS: [Kind; 6] = [nats::KIND, tcp::KIND, redis::KIND, mqtt::KIND, amqp::KIND, kafka::KIND];

/// Transporters of Moleculer that this version does not have.
const NOT_OFFERED: [&str; 1] = ["stan"];

/// Reads the option; `None` is a node on its own.
///
/// # Errors
/// What is wrong with it.
pub fn read(located: &Located) -> Result<Option<Transporter>, String> {
    if located.is_off() {
        return Ok(None);
    }
    match &located.value {
        Value::Table(entries) => from_table(located, entries).map(Some),
        _ => from_text(located.as_text().ok_or("not a name, address or table")?).map(Some),
    }
}

fn from_text(text: &str) -> Result<Transporter, String> {
    let kind = match text.split_once("://") {
        None => KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(text)),
        Some((scheme, _)) => KINDS
            .iter()
            .find(|kind| kind.schemes.iter().any(|own| own.eq_ignore_ascii_case(scheme))),
    };
    match kind {
        Some(kind) => (kind.from_text)(text),
        None => Err(unknown(text)),
    }
}

fn unknown(text: &str) -> String {
    // Addresses may hold passwords, so a message never repeats more than the scheme.
    let scheme = text.split("://").next().unwrap_or(text).to_ascii_lowercase();
    if NOT_OFFERED.contains(&scheme.as_str()) {
        return format!("this version does not offer transporter {scheme}");
    }
    if !text.contains("://") {
        return "not the name of a transporter, and an address begins with nats://".into();
    }
    let schemes: Vec<_> = KINDS.iter().flat_map(|kind| kind.schemes).copied().collect();
    format!("'{scheme}' is no scheme of an address here; it is one of {}", schemes.join(", "))
}

fn from_table(table: &Located, entries: &[(String, Located)]) -> Result<Transporter, String> {
    for (key, _) in entries {
        if key != "type" && key != "options" {
            return Err(format!("unknown key '{key}'; the keys are type and options"));
        }
    }
    // moleculer: src/transporters/index.js resolve: a table without a type is for NATS.
    let name = match table.find("type") {
        None => "NATS",
        Some(kind) => kind.as_text().ok_or("'type' is not text")?,
    };
    let Some(kind) = KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name)) else {
        return Err(format!("this version does not offer transporter {name}"));
    };
    match table.find("options") {
        None => (kind.from_text)(kind.name),
        Some(options) => (kind.from_options)(options),
    }
}

/// Refuses options that are no table, and keys that the transporter does not have.
fn check_keys(options: &Located, transporter: &str, known: &[&'static str]) -> Result<(), String> {
    let Value::Table(entries) = &options.value else {
        return Err("'options' is not a table".into());
    };
    for (key, _) in entries {
        if !known.contains(&key.as_str()) {
            let hint = names::did_you_mean(key, known.iter().copied());
            return Err(format!("unknown {transporter} option '{key}'{hint}"));
        }
    }
    Ok(())
}

/// Host and port; the colons of an IPv6 address stand in brackets.
fn split_port(host_port: &str) -> (&str, Option<&str>) {
    match host_port.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (host_port, None),
    }
}

/// Percent-encodes what has a meaning in an address.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Place;

    fn check(text: &str, expected: Result<&str, &str>) {
        let word = Located { value: Value::Word(text.into()), place: Place::Flag("--transporter") };
        let read = read(&word).map(|transporter| match transporter {
            Some(Transporter::Nats { urls } | Transporter::Redis { urls }) => urls.join(","),
            _ => "none".into(),
        });
        assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn names_and_addresses_are_read() {
        check("NATS", Ok("nats://localhost:4222"));
        check("nats://a:1, nats://b", Ok("nats://a:1,nats://b"));
        check("tls://u:p@[::1]:4222", Ok("tls://u:p@[::1]:4222"));
        check("", Ok("none"));
        check("null", Ok("none"));
        check("stan://x", Err("this version does not offer transporter stan"));
        check("redis", Ok("redis://localhost:6379"));
        check("REDISS://:p@h:1/2", Ok("rediss://:p@h:1/2"));
        check("redis://h/x", Err("what follows the host is not the number of a database"));
        check("redis://h?family=6", Err("an address has no options behind a '?'; give a table"));
        check(
            "localhost",
            Err("not the name of a transporter, and an address begins with nats://"),
        );
        check("nats://h:99999", Err("the port is not a number from 1 to 65535"));
        check("nats://:4222", Err("the address has no valid host"));
    }
}
