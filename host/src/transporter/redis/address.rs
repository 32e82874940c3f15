//! Addresses of Redis servers: URLs as ioredis reads them, and the credentials in them, which no error and
//! no log shows.

use std::fmt;

use crate::transporter::Error;
use crate::transporter::address::{Address, Scheme};

/// What Redis is asked for with.
const SCHEMES: [Scheme; 2] = [
    Scheme { name: "redis", tls: false, port: 6379 },
    Scheme { name: "rediss", tls: true, port: 6379 },
];

/// Where a server is, and what it wants to hear first.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Server(Address);

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Server {
    /// Reads `redis[s]://[[user]:password@]host[:port][/database]`. Channels are the same in all databases,
    /// so the number is only looked at.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let address = Address::parse(url, &SCHEMES)?;
        let database = address.path.as_deref().unwrap_or_default();
        if !database.is_empty() && database.parse::<u32>().is_err() {
            let cause = "what follows the host is not the number of a database".into();
            return Err(Error::Address { address: address.to_string(), cause });
        }
        Ok(Self(address))
    }

    /// Whether TLS must be spoken.
    pub(super) fn tls(&self) -> bool {
        self.0.scheme.tls
    }

    /// Name or number, without the brackets of IPv6.
    pub(super) fn host(&self) -> &str {
        &self.0.host
    }

    /// TCP port.
    pub(super) fn port(&self) -> u16 {
        self.0.port
    }

    /// Who we are (without it the server's user `default`), and what proves it. ioredis says a name only
    /// together with a password.
    pub(super) fn login(&self) -> Option<(Option<&str>, &str)> {
        let login = self.0.login.as_ref().filter(|login| !login.password.is_empty())?;
        Some((Some(&*login.user).filter(|user| !user.is_empty()), &login.password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_and_maybe_credentials() {
        let check = |url: &str, shown: &str, login: Option<(Option<&str>, &str)>| {
            let server = Server::parse(url).unwrap();
            assert_eq!((server.to_string().as_str(), server.login()), (shown, login), "{url}");
        };
        check("redis://h:1/2", "redis://h:1", None);
        check("rediss://h/", "rediss://h:6379", None);
        check("redis://:p%40ss@h", "redis://h:6379", Some((None, "p@ss")));
        check("redis://u:p@s:s@[::1]:5", "redis://[::1]:5", Some((Some("u"), "p@s:s")));
        check("redis://u@h", "redis://h:6379", None);
        check("redis://:@h", "redis://h:6379", None);
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_without_a_secret() {
        let bad = ["", "redis://", "http://h", "redis://u:secret@", "redis://u:secret@h:x"];
        for bad in bad.into_iter().chain(["redis://h:65536", "redis://h/x", "redis://h?family=6"]) {
            let Err(error) = Server::parse(bad) else { panic!("{bad} was accepted") };
            assert!(matches!(error, Error::Address { .. }), "{bad}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
