//! Where a request of a guest goes, and whether it may.
//!
//! A name is looked up here, once, and the connection goes to an address that was found and may be used; so an
//! answer of the name server that changes in between changes nothing.

use std::net::{IpAddr, SocketAddr};

use hyper::Uri;
use hyper::http::uri::Scheme;
use wasmtime_wasi_http::Error;

use crate::config::grants::HostGrant;
use crate::runtime::reach::{Grant, Reach};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    pub https: bool,
}

impl Destination {
    /// # Errors
    /// Without a host, and with a user before it, which nobody would send on.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let usual = if https { 443 } else { 80 };
        Ok(Self { host, port: authority.port_u16().unwrap_or(usual), https })
    }

    fn usual_port(&self) -> Option<u16> {
        Some(if self.https { 443 } else { 80 })
    }
}

impl Reach {
    /// The addresses at which a granted host may be asked; tells what is denied.
    pub(super) async fn addresses(&self, to: &Destination) -> Result<Vec<SocketAddr>, Error> {
        let (host, port) = (to.host.as_str(), to.port);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return match self.covers(ip, to) {
                true => Ok(vec![SocketAddr::new(ip, port)]),
                false => Err(self.deny(to, "")),
            };
        }
        let by_name: Vec<&HostGrant> = self
            .hosts
            .iter()
            .filter(|grant| grant.covers_name(host, port, to.usual_port()))
            .collect();
        if by_name.is_empty() {
            return Err(self.deny(to, ""));
        }
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|_| Error::DestinationNotFound)?;
        self.among(to, &by_name, found.take(ADDRESSES_MAX).collect())
    }

    /// Those of the addresses of a name that it may stand for.
    fn among(
        &self,
        to: &Destination,
        by_name: &[&HostGrant],
        mut found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, Error> {
        let first = found.first().map(SocketAddr::ip).ok_or(Error::DestinationNotFound)?;
        found.retain(|address| {
            let ip = address.ip();
            by_name.iter().any(|grant| grant.trusts(ip)) || self.covers(ip, to)
        });
        if found.is_empty() {
            return Err(self.deny(to, &format!(", which is {first} and not public")));
        }
        Ok(found)
    }

    fn covers(&self, ip: IpAddr, to: &Destination) -> bool {
        self.hosts.iter().any(|host| host.covers_address(ip, to.port, to.usual_port()))
    }

    fn deny(&self, to: &Destination, why: &str) -> Error {
        let scheme = if to.https { "https" } else { "http" };
        let host = if to.host.contains(':') { format!("[{}]", to.host) } else { to.host.clone() };
        let wanted = format!("to send a request to {scheme}://{host}:{}{why}", to.port);
        self.denials.note(Grant::Hosts, &wanted);
        Error::HttpRequestDenied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Grants;
    use crate::metrics::Metric;

    fn reach(hosts: &[&str]) -> (Reach, Metric) {
        let denied = Metric::default();
        let hosts = hosts.iter().map(|text| HostGrant::http(text).unwrap()).collect();
        let grants = Grants { hosts, ..Grants::default() };
        (Reach::new(&"s".into(), &grants, &[], denied.clone()), denied)
    }

    fn to(uri: &str) -> Destination {
        Destination::of(&uri.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_destination_is_a_host_and_the_port_that_is_said_or_usual() {
        let told = |uri: &str| {
            let Destination { host, port, https } = to(uri);
            (host, port, https)
        };
        assert_eq!(told("http://a.b/c"), ("a.b".into(), 80, false));
        assert_eq!(told("https://a.b"), ("a.b".into(), 443, true));
        assert_eq!(told("https://[::1]:8443/"), ("::1".into(), 8443, true));
        for uri in ["http://user@a.b/", "http://user:secret@a.b/", "/path"] {
            assert!(Destination::of(&uri.parse().unwrap()).is_err(), "{uri}");
        }
    }

    #[tokio::test]
    async fn an_address_needs_a_grant_of_its_own_and_the_usual_port_belongs_to_the_scheme() {
        let (reach, denied) = reach(&["10.0.0.0/8", "[::1]:8080", "*"]);
        for uri in ["http://10.1.2.3", "https://10.1.2.3", "http://[::1]:8080", "http://1.2.3.4"] {
            assert_eq!(reach.addresses(&to(uri)).await.unwrap().len(), 1, "{uri}");
        }
        assert_eq!(denied.get(), 0);
        for uri in [
            "http://10.1.2.3:8080",
            "http://10.1.2.3:443",
            "http://[::1]",
            "http://127.0.0.1",
            "http://[::ffff:127.0.0.1]",
            "http://169.254.169.254",
            "http://1.2.3.4:81",
        ] {
            let error = reach.addresses(&to(uri)).await.unwrap_err();
            assert!(matches!(error, Error::HttpRequestDenied), "{uri}: {error}");
        }
        assert_eq!(denied.get(), 7);
    }

    #[test]
    fn what_a_name_stands_for_is_looked_at_and_the_house_is_left_out() {
        let (reach, denied) = reach(&["*.example.org", "db", "10.0.0.1"]);
        let chosen = to("http://a.example.org");
        let (below, db) = (&reach.hosts[0], &reach.hosts[1]);
        let list = |text: &str| -> Vec<SocketAddr> {
            text.split(' ').map(|ip| SocketAddr::new(ip.parse().unwrap(), 80)).collect()
        };
        let found = list("127.0.0.1 93.184.216.34 10.0.0.1 10.0.0.2 ::1");
        let allowed = reach.among(&chosen, &[below], found.clone()).unwrap();
        assert_eq!(allowed, list("93.184.216.34 10.0.0.1"), "public, or granted itself");
        assert_eq!(reach.among(&to("http://db"), &[db], found.clone()).unwrap(), found);
        let inside = list("169.254.169.254 ::ffff:127.0.0.1");
        assert!(reach.among(&chosen, &[below], inside).is_err());
        assert!(reach.among(&chosen, &[below], Vec::new()).is_err());
        assert_eq!(denied.get(), 1, "a name that stands for nothing is not denied");
    }
}
