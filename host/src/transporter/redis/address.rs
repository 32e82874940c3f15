//! Addresses of Redis servers: URLs as ioredis reads them, and the credentials in them, which no error and
//! no log shows.

use std::fmt;

use crate::transporter::Error;
use crate::transporter::address::{self, percent_decoded};

/// Port of a server whose address names none.
const DEFAULT_PORT: u16 = 6379;

/// Where a server is, and what it wants to hear first.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// TLS must be spoken (`rediss://`).
    pub(super) tls: bool,
    /// Name or number, without the brackets of IPv6.
    pub(super) host: String,
    /// TCP port.
    pub(super) port: u16,
    /// Who we are; without it the server's user `default`.
    pub(super) user: Option<String>,
    /// What proves it; without it nothing is said.
    pub(super) password: Option<String>,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        f.write_str(&address::shown(scheme, &self.host, self.port))
    }
}

/// Reads `redis[s]://[[user]:password@]host[:port][/database]`. Channels are the same in all databases, so
/// the number is only looked at.
///
/// # Errors
/// [`Error::Address`].
pub(super) fn parse_url(url: &str) -> Result<Server, Error> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let refused = |cause: &str| {
        let address = format!("{scheme}://{rest}");
        Error::Address { address, cause: cause.into() }
    };
    let tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err(refused("the scheme must be redis or rediss")),
    };
    let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
    if !database.is_empty() && database.parse::<u32>().is_err() {
        return Err(refused("what follows the host is not the number of a database"));
    }
    let (host, port) = address::host_port(host, DEFAULT_PORT).map_err(refused)?;
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(percent_decoded(password))),
        // moleculer: src/transporters/redis.js, where ioredis says a name only together with a password.
        None => (login, None),
    };
    let user = Some(percent_decoded(user)).filter(|user| !user.is_empty());
    Ok(Server { tls, host, port, user, password: password.filter(|text| !text.is_empty()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_and_maybe_credentials() {
        let check = |url: &str, shown: &str, user: Option<&str>, password: Option<&str>| {
            let server = parse_url(url).unwrap();
            let login = (server.user.as_deref(), server.password.as_deref());
            assert_eq!((server.to_string().as_str(), login), (shown, (user, password)), "{url}");
        };
        check("localhost", "redis://localhost:6379", None, None);
        check("redis://h:1/2", "redis://h:1", None, None);
        check("rediss://h/", "rediss://h:6379", None, None);
        check("redis://:p%40ss@h", "redis://h:6379", None, Some("p@ss"));
        check("redis://u:p@s:s@[::1]:5", "redis://[::1]:5", Some("u"), Some("p@s:s"));
        check("redis://u@h", "redis://h:6379", Some("u"), None);
        check("redis://:@h", "redis://h:6379", None, None);
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_without_a_secret() {
        let bad = ["", "redis://", "http://h", "redis://u:secret@", "redis://u:secret@h:x"];
        for bad in bad.into_iter().chain(["redis://h:65536", "redis://h/x", "redis://h?family=6"]) {
            let Err(error) = parse_url(bad) else { panic!("{bad} was accepted") };
            assert!(matches!(error, Error::Address { .. }), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
