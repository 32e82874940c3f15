//! Addresses of servers: `scheme://[user:password@]host[:port][/path]`.
//!
//! Credentials are kept apart from what is shown. Transporters whose addresses hold something else than user
//! and password read that themselves, with the parts of this file.

use std::fmt;

use crate::transporter::Error;

/// A scheme that a transporter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scheme {
    /// What stands before `://`.
    pub(super) name: &'static str,
    /// Whether TLS is spoken.
    pub(super) tls: bool,
    /// Port of a server whose address names none.
    pub(super) port: u16,
}

/// Where a server is, and how to be let in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    /// Name or number, without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) login: Option<Login>,
    /// What follows the first slash behind the port; `None` without a slash.
    pub(super) path: Option<String>,
}

/// Credentials.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Display for Address {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(self.scheme.name, &self.host, self.port))
    }
}

impl Address {
    /// Reads an address. Escapes in credentials and path are undone.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub(super) fn parse(text: &str, schemes: &[Scheme]) -> Result<Self, Error> {
        let (name, rest) = text.split_once("://").unwrap_or(("", text));
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let refused = |cause: &str| {
            let address = format!("{name}://{place}");
            Error::Address { address, cause: cause.into() }
        };
        let scheme = schemes.iter().find(|scheme| scheme.name.eq_ignore_ascii_case(name));
        let scheme = *scheme.ok_or_else(|| {
            let names: Vec<_> = schemes.iter().map(|scheme| scheme.name).collect();
            refused(&format!("the scheme must be {}", names.join(" or ")))
        })?;
        let (host, port) = host_port(place, scheme.port).map_err(refused)?;
        let login = credentials.map(|credentials| {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            Login { user: percent_decoded(user), password: percent_decoded(password) }
        });
        Ok(Self { scheme, host, port, login, path: path.map(percent_decoded) })
    }
}

/// Splits `host`, `host:port` or `[host]:port`; the brackets of IPv6 go away.
///
/// # Errors
/// What is wrong with it.
pub(super) fn host_port(text: &str, default_port: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or("the ']' is missing")?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| "the port is not a number up to 65535")?,
        None if port.is_empty() => default_port,
        None => return Err("what follows the host is not a port"),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains(|c: char| c.is_whitespace() || "/?#[]".contains(c)) {
        return Err("the host is not a name");
    }
    Ok((host.to_owned(), port))
}

/// `scheme://host:port`, with the brackets that IPv6 needs.
pub(super) fn shown(scheme: &str, host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("{scheme}://[{host}]:{port}")
    } else {
        format!("{scheme}://{host}:{port}")
    }
}

/// Undoes the escapes that a URL needs for characters such as `@`; what is no escape stays.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let decoded = part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (decoded, part.get(2..)) {
            (Some(byte), Some(rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            _ => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: [Scheme; 2] = [
        Scheme { name: "mqtt", tls: false, port: 1883 },
        Scheme { name: "mqtts", tls: true, port: 8883 },
    ];

    #[test]
    fn an_address_has_a_place_and_maybe_credentials_and_a_path() {
        let parse = |text: &str| Address::parse(text, &SCHEMES).unwrap();
        assert_eq!(parse("mqtt://h").to_string(), "mqtt://h:1883");
        assert_eq!(parse("MQTTS://[::1]").to_string(), "mqtts://[::1]:8883");
        let full = parse("mqtt://u%40x:p:w@h:1/a%2Fb");
        let login = full.login.as_ref().unwrap();
        assert_eq!((&*login.user, &*login.password), ("u@x", "p:w"));
        assert_eq!((full.path.as_deref(), full.to_string()), (Some("a/b"), "mqtt://h:1".into()));
        assert_eq!((parse("mqtt://h").path, parse("mqtt://h/").path), (None, Some(String::new())));
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_without_a_secret() {
        let bad =
            ["", "mqtt://", "h", "http://u:secret@h", "mqtt://u:secret@", "mqtt://u:secret@h:x"];
        for bad in bad.into_iter().chain(["mqtt://h:65536", "mqtt://[::1", "mqtt://a b"]) {
            let Err(error) = Address::parse(bad, &SCHEMES) else { panic!("{bad} was accepted") };
            assert!(matches!(error, Error::Address { .. }), "{bad}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
