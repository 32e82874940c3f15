//! Where a Redis is: an address, ioredis's table of its parts, or the nodes of a cluster. The transporter,
//! the discoverer and the cacher are told it in the same words.

use crate::config::transporter;
use crate::config::value::{Located, Value};

/// What says where a Redis is, for messages.
pub(super) const ALLOWED: &str =
    "an address, or a table with host, port, username, password, db, tls";

/// Where it is when nothing is said.
pub(super) const DEFAULT: &str = "redis://localhost:6379";

/// The parts of an address in a table.
pub(super) const KEYS: [&str; 6] = ["host", "port", "username", "password", "db", "tls"];

/// Whether text is an address of a Redis.
pub(super) fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        ["redis", "rediss"].iter().any(|known| known.eq_ignore_ascii_case(scheme))
    })
}

/// An address, or ioredis's table of its parts, as an address.
///
/// # Errors
/// What is wrong with it.
pub(super) fn url(value: &Located) -> Result<String, String> {
    let Value::Table(entries) = &value.value else {
        let text = value.as_text().ok_or("not an address")?;
        let known = ["redis://", "rediss://"].iter().any(|scheme| text.starts_with(scheme));
        return if known {
            Ok(text.to_owned())
        } else {
            Err("an address begins with redis:// or rediss://".into())
        };
    };
    if let Some((key, _)) = entries.iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
        return Err(format!("'{key}' is none of {}", KEYS.join(", ")));
    }
    let text = |key: &str| value.find(key).and_then(Located::as_text);
    let number = |key: &str, default: u64| match value.find(key) {
        None => Ok(default),
        Some(given) => given.as_count().ok_or_else(|| format!("{key} is {}", given.found())),
    };
    let (port, db) = (number("port", 6_379)?, number("db", 0)?);
    let secure = value.find("tls").is_some_and(|tls| !tls.is_off());
    let scheme = if secure { "rediss" } else { "redis" };
    let login = match (text("username"), text("password")) {
        (None, None) => String::new(),
        (user, password) => {
            let escape = |text: Option<&str>| transporter::escape(text.unwrap_or_default());
            format!("{}:{}@", escape(user), escape(password))
        }
    };
    Ok(format!("{scheme}://{login}{}:{port}/{db}", text("host").unwrap_or("localhost")))
}

/// The addresses of the nodes of a cluster.
///
/// # Errors
/// What is wrong with them.
pub(super) fn nodes(value: &Located) -> Result<Vec<String>, String> {
    let nodes = value.as_list().filter(|nodes| !nodes.is_empty()).ok_or("not a list of nodes")?;
    nodes.iter().map(url).collect()
}
