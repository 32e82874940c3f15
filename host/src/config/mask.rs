//! What must not be shown: passwords and tokens, wherever an operator has put them.
//!
//! Every way out uses this: messages about mistakes, `isomer config`, the greeting of a node. A value is
//! masked by the name of its key, and the login within an address whatever its key is called.

use serde_json::Value as Json;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Parts of names that mean a secret, in lower case and without `_` and `-`.
const SECRET_PARTS: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "insertkey",
    "accesskey",
    "privatekey",
    "credential",
    "seed",
];
/// Whole names that do, but are harmless within others: `pass` in `bypass`.
/// Nobody can tell which headers of requests are secrets.
const SECRET_NAMES: [&str; 6] = ["pass", "pwd", "auth", "authorization", "headers", "nkey"];

/// Whether the value of a key of this name is a secret. A dotted name counts by its last key.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let key = name.rsplit('.').next().unwrap_or(name);
    let key: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    SECRET_NAMES.contains(&key.as_str()) || SECRET_PARTS.iter().any(|part| key.contains(part))
}

/// A value without its secrets; `name` is that of its key.
#[must_use]
pub fn value(name: &str, value: Json) -> Json {
    match value {
        Json::Null | Json::Bool(_) => value,
        Json::Object(map) if !is_secret(name) => {
            map.into_iter().map(|(key, inner)| (key.clone(), self::value(&key, inner))).collect()
        }
        Json::Array(items) if !is_secret(name) => {
            items.into_iter().map(|item| self::value(name, item)).collect()
        }
        _ if is_secret(name) => MASK.into(),
        Json::String(written) => text(&written).into(),
        number => number,
    }
}

/// Text without the logins of addresses in it, of which there may be several with commas between.
#[must_use]
pub fn text(text: &str) -> String {
    if !text.contains("://") {
        return match text.rsplit_once('@') {
            // An address whose scheme was forgotten. With an e-mail address there is no colon.
            Some((login, host)) if login.contains(':') && !login.contains(' ') => {
                format!("{MASK}@{host}")
            }
            _ => text.to_owned(),
        };
    }
    // A comma within a password would end the address too early; what follows it has no scheme then and
    // belongs to the address before.
    let mut addresses: Vec<String> = Vec::new();
    for part in text.split(',') {
        match addresses.last_mut() {
            Some(last) if !part.contains("://") => {
                last.push(',');
                last.push_str(part);
            }
            _ => addresses.push(part.to_owned()),
        }
    }
    addresses.iter().map(|one| address(one)).collect::<Vec<_>>().join(",")
}

/// `nats://user:password@host/?token=t` as `nats://***@host/?token=***`.
fn address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // The last @, wherever it stands: a password may hold any other character of an address.
    let (login, rest) = rest.rsplit_once('@').map_or((false, rest), |(_, host)| (true, host));
    let (host, query) =
        rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    let mut shown = format!("{scheme}://{}{host}", if login { "***@" } else { "" });
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((key, _)) if is_secret(key) => shown.push_str(&format!("{key}={MASK}")),
            _ => shown.push_str(pair),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn logins_of_addresses_are_not_shown() {
        let check = |given: &str, shown: &str| assert_eq!(text(given), shown);
        check("nats://u:p@h:4222", "nats://***@h:4222");
        check("nats://a:p@h,nats://b:q@i", "nats://***@h,nats://***@i");
        check("nats://a:p,q@h", "nats://***@h");
        check("redis://:p@ss@h:6379/0", "redis://***@h:6379/0");
        check("nats://h?token=t&x=1", "nats://h?token=***&x=1");
        check("nats://u:p?q@h", "nats://***@h");
        check("me@example.org", "me@example.org");
        check("u:p@h", "***@h");
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        let shown = value(
            "metadata",
            json!({"region": "eu", "apiKey": 5, "db": {"PASSWORD": "x", "url": "pg://a:b@c"},
                   "tokens": ["a"], "bypass": true, "list": ["pg://a:b@c"], "passwordLess": false}),
        );
        assert_eq!(
            shown,
            json!({"region": "eu", "apiKey": "***", "db": {"PASSWORD": "***", "url": "pg://***@c"},
                   "tokens": "***", "bypass": true, "list": ["pg://***@c"], "passwordLess": false})
        );
        assert!(is_secret("transporter.options.pass"));
        assert!(!is_secret("registry.strategyOptions.shardKey"));
    }
}
