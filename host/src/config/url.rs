//! Addresses of HTTP servers: `http://host:8080/path?query`, with or without a path. No login in them: who has
//! to say who they are does so in a header.

use std::fmt;
use std::str::FromStr;

/// Where an HTTP server is, and what is asked there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    tls: bool,
    host: String,
    port: u16,
    /// With its query; empty when none was given.
    path: String,
}

impl HttpUrl {
    /// Reads `host[:port]`, `http://…` or `https://…`; `port` is that of an address without one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, port: u16) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(format!("'{scheme}' is not http or https")),
        };
        let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if place.contains('@') {
            return Err("a login does not belong into it; give it in a header".into());
        }
        if path.contains('#') || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has characters that no address has".into());
        }
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| "the port is not a number up to 65535")?)
            }
            _ => (place, port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("the host is missing".into());
        }
        Ok(Self { tls, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Whether it is spoken to in TLS.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Name or number of the host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What is asked for, with its query: `/` when it names nothing.
    #[must_use]
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// Whether it names more than a server.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !matches!(&*self.path, "" | "/")
    }

    /// This address and more of a path behind its own, as `base + more` of texts.
    #[must_use]
    pub fn join(&self, more: &str) -> Self {
        let own = self.path.strip_suffix('/').unwrap_or(&self.path);
        Self { path: format!("{own}{more}"), ..self.clone() }
    }

    /// `host:port`, as a request names its server.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    /// With the usual port, 80 or 443, where it names none.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, if text.starts_with("https://") { 443 } else { 80 })
    }
}

impl fmt::Display for HttpUrl {
    /// Without its query, in which some servers want a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "http{}://{}{path}", if self.tls { "s" } else { "" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_forms() {
        let url = |tls, host: &str, port, path: &str| {
            Ok(HttpUrl { tls, host: host.into(), port, path: path.into() })
        };
        assert_eq!(HttpUrl::parse("h", 2379), url(false, "h", 2379, ""));
        assert_eq!(HttpUrl::parse("http://h:1/", 2379), url(false, "h", 1, "/"));
        assert_eq!(HttpUrl::parse("https://[::1]:1", 2379), url(true, "::1", 1, ""));
        assert_eq!(HttpUrl::parse("[::1]", 2379), url(false, "::1", 2379, ""));
        assert_eq!("https://h/v1?x=1".parse(), url(true, "h", 443, "/v1?x=1"));
        assert_eq!("http://h?x".parse(), url(false, "h", 80, "?x"));
        for bad in ["", "ftp://h", "h:x", "u:p@h", "h/p#f", "http://:1", "h/a b", "h\r\nX: y"] {
            assert!(HttpUrl::parse(bad, 2379).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_put_behind_each_other_and_queries_are_not_shown() {
        let url: HttpUrl = "https://h/api/".parse().unwrap();
        assert_eq!(url.join("/v2").path(), "/api/v2");
        assert_eq!(url.join("/v2?key=k").to_string(), "https://h:443/api/v2");
        let bare: HttpUrl = "http://[::1]:9".parse().unwrap();
        assert_eq!((bare.path(), bare.has_path()), ("/", false));
        assert_eq!(bare.join("/a").to_string(), "http://[::1]:9/a");
    }
}
