//! Reading option `transporter`: a name, an address, or `{type, options}`.
//!
//! moleculer: src/transporters/index.js resolve, src/transporters/nats.js constructor

use std::fmt::Write as _;

use crate::config::Transporter;
use crate::config::names;
use crate::config::value::{Located, Value};

/// What is allowed, for messages.
pub const ALLOWED: &str = "\"NATS\", \"nats://host:4222\" (several with commas between), or \
                           {\"type\": \"NATS\", \"options\": {\"url\", \"servers\", \"user\", \"pass\", \"token\"}}";

/// Where NATS listens when nothing else is said (moleculer: src/transporters/nats.js).
const NATS_DEFAULT: &str = "nats://localhost:4222";

/// Transporters of Moleculer that this version does not have.
const NOT_OFFERED: [&str; 9] =
    ["tcp", "redis", "rediss", "mqtt", "mqtts", "amqp", "amqps", "kafka", "stan"];

/// Options of the NATS transporter.
const OPTIONS: [&str; 5] = ["url", "servers", "user", "pass", "token"];

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
    if text.eq_ignore_ascii_case("nats") {
        return Ok(Transporter::Nats { urls: vec![NATS_DEFAULT.to_owned()] });
    }
    let scheme = text.split("://").next().unwrap_or(text).to_ascii_lowercase();
    if NOT_OFFERED.contains(&scheme.as_str()) {
        return Err(format!("this version does not offer transporter {scheme}"));
    }
    Ok(Transporter::Nats { urls: addresses(text)? })
}

fn from_table(table: &Located, entries: &[(String, Located)]) -> Result<Transporter, String> {
    for (key, _) in entries {
        if key != "type" && key != "options" {
            return Err(format!("unknown key '{key}'; the keys are type and options"));
        }
    }
    // moleculer: src/transporters/index.js resolve: a table without a type is for NATS.
    let kind = match table.find("type") {
        None => "NATS",
        Some(kind) => kind.as_text().ok_or("'type' is not text")?,
    };
    if !kind.eq_ignore_ascii_case("nats") {
        return Err(format!("this version does not offer transporter {kind}"));
    }
    match table.find("options") {
        None => from_text("NATS"),
        Some(options) => nats_from_options(options),
    }
}

fn nats_from_options(options: &Located) -> Result<Transporter, String> {
    let Value::Table(entries) = &options.value else {
        return Err("'options' is not a table".into());
    };
    for (key, _) in entries {
        if !OPTIONS.contains(&key.as_str()) {
            let hint = names::did_you_mean(key, OPTIONS);
            return Err(format!("unknown NATS option '{key}'{hint}"));
        }
    }
    let text = |key: &str| options.find(key).and_then(Located::as_text);
    let servers = match options.find("servers").map(|servers| &servers.value) {
        Some(Value::List(items)) => {
            items.iter().filter_map(Located::as_text).collect::<Vec<_>>().join(",")
        }
        _ => text("servers").or_else(|| text("url")).unwrap_or(NATS_DEFAULT).to_owned(),
    };
    let mut urls = addresses(&servers)?;
    let login = match (text("user"), text("pass"), text("token")) {
        (Some(user), Some(pass), None) => format!("{}:{}", escape(user), escape(pass)),
        (None, None, Some(token)) => escape(token),
        (None, None, None) => return Ok(Transporter::Nats { urls }),
        _ => return Err("give user and pass, or token".into()),
    };
    for url in &mut urls {
        *url = with_login(url, &login);
    }
    Ok(Transporter::Nats { urls })
}

/// Addresses with commas between them, as Moleculer takes them.
fn addresses(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|address| check_address(address.trim())).collect()
}

fn check_address(address: &str) -> Result<String, String> {
    // Addresses may hold passwords, so a message never repeats them.
    let (scheme, rest) = address.split_once("://").ok_or("an address begins with nats://")?;
    if scheme != "nats" && scheme != "tls" {
        return Err(format!("'{scheme}' is no scheme of an address here; it is nats or tls"));
    }
    let host_port = rest.rsplit('@').next().unwrap_or(rest).trim_end_matches('/');
    let (host, port) = split_port(host_port);
    if host.is_empty() || host.contains([' ', '/', '?', '#']) {
        return Err("the address has no valid host".into());
    }
    match port.map(str::parse::<u16>) {
        None => Ok(address.to_owned()),
        Some(Ok(port)) if port > 0 => Ok(address.to_owned()),
        Some(_) => Err("the port is not a number from 1 to 65535".into()),
    }
}

/// Host and port; the colons of an IPv6 address stand in brackets.
fn split_port(host_port: &str) -> (&str, Option<&str>) {
    match host_port.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (host_port, None),
    }
}

fn with_login(url: &str, login: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if !rest.contains('@') => format!("{scheme}://{login}@{rest}"),
        _ => url.to_owned(),
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
            Some(Transporter::Nats { urls }) => urls.join(","),
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
        check("redis://x", Err("this version does not offer transporter redis"));
        check("localhost", Err("an address begins with nats://"));
        check("nats://h:99999", Err("the port is not a number from 1 to 65535"));
        check("nats://:4222", Err("the address has no valid host"));
    }
}
