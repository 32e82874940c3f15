//! Hiding secrets: what `$node.options` shows can be seen by every node of the mesh.

use serde_json::Value;

/// Stands where a secret was.
pub(super) const MASK: &str = "***";

/// Ends of names, in lower case and without `_` and `-`, whose values are secret.
const SECRET_NAMES: [&str; 12] = [
    "password",
    "passwd",
    "pass",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "secretkey",
    "credentials",
    "authorization",
];

/// Puts [`MASK`] in the place of every secret: values whose names say so, and the user part of URLs.
pub(super) fn mask(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if is_secret(key) && !value.is_null() {
                    *value = MASK.into();
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) if text.contains('@') => {
            let masked: Vec<_> = text.split(',').map(mask_url).collect();
            *text = masked.join(",");
        }
        _ => {}
    }
}

fn is_secret(key: &str) -> bool {
    let key: String = key.chars().filter(|c| !"_-".contains(*c)).collect();
    let key = key.to_lowercase();
    SECRET_NAMES.iter().any(|name| key.ends_with(name))
}

/// `nats://user:password@host` as `nats://***@host`; a text without `://` is left as it is.
fn mask_url(url: &str) -> String {
    let masked = url.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        // A password may hold what ends an authority elsewhere; then the last '@' counts.
        let (_, host) = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@'))?;
        let path = if authority.contains('@') { path } else { "" };
        Some(format!("{scheme}://{MASK}@{host}{path}"))
    });
    masked.unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let check = |mut value: Value, expected: Value| {
            mask(&mut value);
            assert_eq!(value, expected);
        };
        check(json!("nats://u:p@h:4222"), json!("nats://***@h:4222"));
        check(json!("nats://a:b@h,nats://token@i/x"), json!("nats://***@h,nats://***@i/x"));
        check(json!("redis://:pa/ss@h:6379"), json!("redis://***@h:6379"));
        check(json!("nats://h"), json!("nats://h"));
        check(json!("ada@example.org"), json!("ada@example.org"));
        check(
            json!({"dbPassword": "x", "API_KEY": 1, "shardKey": "a", "token": null, "in": [{"auth-token": {}}]}),
            json!({"dbPassword": "***", "API_KEY": "***", "shardKey": "a", "token": null, "in": [{"auth-token": "***"}]}),
        );
    }
}
