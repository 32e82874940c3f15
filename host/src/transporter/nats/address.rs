//! Addresses of NATS servers: URLs, and the credentials in them, which no error and no log shows.

use std::fmt;

use crate::transporter::Error;
use crate::transporter::address::{self, percent_decoded};
use crate::transporter::nats::nkey::Seed;

/// Port of a server whose address names none.
const DEFAULT_PORT: u16 = 4222;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// TLS must be spoken (`tls://`). A server may ask for it anyway.
    pub(super) tls: bool,
    /// Name or number, without the brackets of IPv6.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
}

/// Credentials.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Auth {
    /// None.
    None,
    /// `nats://token@host`
    Token(String),
    /// `nats://user:password@host`
    Password { user: String, password: String },
    /// `nats://seed@host`, or `nats://jwt:seed@host`: a user's key, with the words of who vouches for it.
    Key { seed: Seed, jwt: Option<String> },
}

impl Auth {
    /// What stands before the `@`. Whatever is a seed of a key, with its mark and checksum, is meant as one.
    fn read(credentials: &str) -> Self {
        let Some((user, password)) = credentials.split_once(':') else {
            let token = percent_decoded(credentials);
            return match Seed::read(&token) {
                Some(seed) => Self::Key { seed, jwt: None },
                None if token.is_empty() => Self::None,
                None => Self::Token(token),
            };
        };
        let (user, password) = (percent_decoded(user), percent_decoded(password));
        match Seed::read(&password) {
            Some(seed) => Self::Key { seed, jwt: Some(user) },
            None => Self::Password { user, password },
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
        f.write_str(&address::shown(scheme, &self.host, self.port))
    }
}

impl Server {
    /// `host`, `host:port` or `[host]:port`.
    pub(super) fn parse(tls: bool, text: &str) -> Result<Self, &'static str> {
        let (host, port) = address::host_port(text, DEFAULT_PORT)?;
        Ok(Self { tls, host, port })
    }
}

/// Splits a URL into an address without credentials and the credentials.
///
/// # Errors
/// [`Error::Address`].
pub(super) fn parse_url(url: &str) -> Result<(Server, Auth), Error> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("nats", url));
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    let refused = |cause: &str| {
        let address = format!("{scheme}://{host}");
        Error::Address { address, cause: cause.into() }
    };
    if !matches!(scheme, "nats" | "tls") {
        return Err(refused("the scheme must be nats or tls"));
    }
    let server = Server::parse(scheme == "tls", host).map_err(refused)?;
    Ok((server, Auth::read(credentials)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    #[test]
    fn urls_name_a_server_and_maybe_credentials() {
        let check = |url: &str, shown: &str, expected: Auth| {
            let (server, auth) = parse_url(url).unwrap();
            assert_eq!(server.to_string(), shown, "{url}");
            assert!(auth == expected, "{url}");
        };
        let password = |user: &str, password: &str| Auth::Password {
            user: user.into(),
            password: password.into(),
        };
        check("localhost", "nats://localhost:4222", Auth::None);
        check("nats://localhost:1/", "nats://localhost:1", Auth::None);
        check("tls://h", "tls://h:4222", Auth::None);
        check("nats://u:p%40ss@h:1", "nats://h:1", password("u", "p@ss"));
        check("nats://u:100%@h:1", "nats://h:1", password("u", "100%"));
        check("nats://tok@[::1]:5", "nats://[::1]:5", Auth::Token("tok".into()));
        check("nats://[fe80::1]", "nats://[fe80::1]:4222", Auth::None);
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_without_a_secret() {
        let bad = ["", "nats://", "http://h", "nats://u:secret@", "nats://u:secret@h:x"];
        for bad in
            bad.into_iter().chain(["nats://h:65536", "nats://[::1", "nats://h/x", "[a]b", "[[a]:1"])
        {
            let Err(error) = parse_url(bad) else { panic!("{bad} was accepted") };
            assert!(matches!(error, Error::Address { .. }), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    static PIECES: [&[u8]; 10] =
        [b"@", b"://", b"[", b"]", b":", b"%4", b"%00", b"\xc3\xa9", b"65536", b"/?#"];

    /// Whatever address is written down, it is refused, or it is one that reads the same again.
    #[test]
    fn damaged_addresses_never_panic() {
        let mut damage = Damage::new(0x5eed_0002_c0ff_ee02, &PIECES);
        let mut accepted = 0;
        let urls = ["nats://u:p%40ss@host.example:4222/", "tls://tok@[fe80::1]:5", "h:1,h:2"];
        for n in 0..30_000 {
            let bytes = damage.copy(urls[n % urls.len()].as_bytes());
            let Ok((server, _)) = parse_url(&String::from_utf8_lossy(&bytes)) else { continue };
            let (again, auth) = parse_url(&server.to_string()).unwrap();
            assert!(again == server && auth == Auth::None, "{server}");
            accepted += 1;
        }
        assert!(accepted > 1_000, "{accepted}");
    }
}
