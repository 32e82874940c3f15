//! Options of the NATS transporter (moleculer: src/transporters/nats.js constructor).

use crate::config::Transporter;
use crate::config::transporter::{Kind, check_keys, escape, split_port};
use crate::config::value::{Located, Value};

/// How it is chosen.
pub(super) const KIND: Kind =
    Kind { name: "NATS", schemes: &["nats", "tls"], from_text, from_options };

/// Where NATS listens when nothing else is said (moleculer: src/transporters/nats.js).
const DEFAULT: &str = "nats://localhost:4222";

/// Options of the NATS transporter.
const OPTIONS: [&str; 5] = ["url", "servers", "user", "pass", "token"];

fn from_text(text: &str) -> Result<Transporter, String> {
    let urls = if text.contains("://") { text } else { DEFAULT };
    Ok(Transporter::Nats { urls: addresses(urls)? })
}

fn from_options(options: &Located) -> Result<Transporter, String> {
    check_keys(options, "NATS", &OPTIONS)?;
    let text = |key: &str| options.find(key).and_then(Located::as_text);
    let servers = match options.find("servers").map(|servers| &servers.value) {
        Some(Value::List(items)) => {
            items.iter().filter_map(Located::as_text).collect::<Vec<_>>().join(",")
        }
        _ => text("servers").or_else(|| text("url")).unwrap_or(DEFAULT).to_owned(),
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

fn with_login(url: &str, login: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if !rest.contains('@') => format!("{scheme}://{login}@{rest}"),
        _ => url.to_owned(),
    }
}
