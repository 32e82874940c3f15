//! What a service may do beside computing, as its operator says in the section `[grants]` of `NAME.toml`.
//!
//! Of the machine nothing is granted that is not named: no folder, no host, no address. Within the broker
//! everything is, unless lists narrow it. This file knows how grants are written and what they cover; the
//! runtime holds guests to them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use serde_json::{Value, json};

/// What a service may do beside computing. Of the patterns (matched as event names are), `None` means
/// everything and `Some` a list of what is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Actions that it may call. Default: all.
    pub call: Option<Vec<String>>,
    /// Events that it may send. Default: all.
    pub emit: Option<Vec<String>>,
    /// Events that it may hear: a subscription whose name is in none of these patterns is not registered.
    /// Default: all.
    pub hear: Option<Vec<String>>,
    /// Keys of the cacher that it may use beside its own. Default: none.
    pub cache: Vec<String>,
    /// Folders that it sees. Default: none.
    pub dirs: Vec<DirGrant>,
    /// Whom it may send HTTP requests. Default: nobody.
    pub hosts: Vec<HostGrant>,
    /// Where it may open TCP connections. Default: nowhere.
    pub tcp: Vec<HostGrant>,
}

impl Grants {
    /// Nothing at all, not even within the broker.
    #[must_use]
    pub fn nothing() -> Self {
        let none = || Some(Vec::new());
        Self { call: none(), emit: none(), hear: none(), ..Self::default() }
    }

    /// Whether nothing is granted of what leads out of the broker, by the name of the grant.
    #[must_use]
    pub fn is_empty(&self, grant: &str) -> bool {
        match grant {
            "dirs" => self.dirs.is_empty(),
            "hosts" => self.hosts.is_empty(),
            "tcp" => self.tcp.is_empty(),
            _ => false,
        }
    }

    /// All of them in the names of the configuration; `null` is everything.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let dir =
            |dir: &DirGrant| json!({"host": dir.host, "guest": dir.guest, "write": dir.write});
        let hosts = |hosts: &[HostGrant]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        json!({
            "call": self.call,
            "emit": self.emit,
            "hear": self.hear,
            "cache": self.cache,
            "dirs": self.dirs.iter().map(dir).collect::<Vec<_>>(),
            "hosts": hosts(&self.hosts),
            "tcp": hosts(&self.tcp),
        })
    }

    /// The same for people, a line for each that does not stand as it does without a file.
    #[must_use]
    pub fn to_lines(&self) -> Vec<String> {
        let patterns = |list: &[String]| match list {
            [] => "nothing".to_owned(),
            list => list.join(", "),
        };
        let narrowed = [("call", &self.call), ("emit", &self.emit), ("hear", &self.hear)];
        let mut lines: Vec<String> = narrowed
            .into_iter()
            .filter_map(|(name, list)| Some(format!("{name} {}", patterns(list.as_ref()?))))
            .collect();
        if !self.cache.is_empty() {
            lines.push(format!("cache {}", patterns(&self.cache)));
        }
        lines.extend(self.dirs.iter().map(|dir| {
            let how = if dir.write { "read and write" } else { "read" };
            format!("dirs {} = {} ({how})", dir.guest, dir.host.display())
        }));
        lines.extend(self.hosts.iter().map(|host| format!("hosts {host}")));
        lines.extend(self.tcp.iter().map(|host| format!("tcp {host}")));
        lines
    }
}

/// A folder of the machine that a service sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// Where it is.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: String,
    /// Whether it may change what is in it.
    pub write: bool,
}

impl DirGrant {
    /// A folder by its absolute paths here and in the guest.
    ///
    /// # Errors
    /// Which path cannot be used, and why.
    pub fn new(host: &str, guest: &str, write: bool) -> Result<Self, String> {
        for (path, whose) in [(host, "host"), (guest, "guest")] {
            let plain = Path::new(path).components().all(|part| {
                matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_))
            });
            if !path.starts_with('/') || !plain || path.contains('\0') {
                return Err(format!(
                    "the {whose} path '{path}' must begin with / and hold no '..'"
                ));
            }
        }
        Ok(Self { host: PathBuf::from(host), guest: guest.to_owned(), write })
    }
}

/// Hosts and ports that a service may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGrant {
    who: Who,
    port: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// Every public host.
    Any,
    /// One name.
    Name(String),
    /// All names below one, which itself is not among them.
    Below(String),
    /// Addresses that begin with so many bits of this one.
    Net(IpAddr, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ports {
    /// The one of the scheme.
    Usual,
    Any,
    One(u16),
}

impl HostGrant {
    /// A host for HTTP: `api.example.com`, `*.example.org:8443`, `10.1.2.3:8080`, `*`. Without a port, the
    /// scheme's own.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn http(text: &str) -> Result<Self, String> {
        Self::read(text)
    }

    /// A host for TCP: `db:5432`, `10.0.0.0/8:*`, `[fd00::/8]:6379`. It names its port.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn tcp(text: &str) -> Result<Self, String> {
        let grant = Self::read(text)?;
        if grant.port == Ports::Usual {
            return Err(format!("'{text}' names no port; write {text}:PORT, or {text}:* for all"));
        }
        Ok(grant)
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.contains("//") {
            return Err(format!("'{text}' has a scheme or path; write HOST or HOST:PORT"));
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return Err(format!("'{text}': after ']' comes ':PORT' or nothing")),
            },
            None => match text.rsplit_once(':') {
                Some((host, _)) if host.contains(':') => {
                    return Err(format!("'{text}': an IPv6 address stands in brackets"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            None => Ports::Usual,
            Some("*") => Ports::Any,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => Ports::One(port),
                _ => return Err(format!("'{text}': the port is 1 to 65535, or * for all")),
            },
        };
        Ok(Self { who: who(host).ok_or_else(|| format!("'{text}' names no host"))?, port })
    }

    /// Whether it covers a name at a port; `usual` is the port that the scheme has.
    #[must_use]
    pub fn covers_name(&self, name: &str, port: u16, usual: Option<u16>) -> bool {
        self.names(name) && self.covers_port(port, usual)
    }

    /// Whether it covers an address as such at a port.
    #[must_use]
    pub fn covers_address(&self, address: IpAddr, port: u16, usual: Option<u16>) -> bool {
        let address = address.to_canonical();
        let covered = match &self.who {
            Who::Any => !is_internal(address),
            Who::Net(net, bits) => begins_with(address, *net, *bits),
            Who::Name(_) | Who::Below(_) => false,
        };
        covered && self.covers_port(port, usual)
    }

    /// Whether a name is covered at some port.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        match &self.who {
            Who::Any => true,
            Who::Name(own) => *own == name,
            Who::Below(own) => name
                .strip_suffix(own.as_str())
                .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
            Who::Net(..) => false,
        }
    }

    /// Whether a name that it covers may stand for this address: one that the operator wrote down for any, one
    /// that the guest chose for those of the public network only.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        matches!(self.who, Who::Name(_)) || !is_internal(address.to_canonical())
    }

    fn covers_port(&self, port: u16, usual: Option<u16>) -> bool {
        match self.port {
            Ports::Any => true,
            Ports::One(own) => own == port,
            Ports::Usual => usual == Some(port),
        }
    }
}

impl fmt::Display for HostGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Any => f.write_str("*")?,
            Who::Name(name) => f.write_str(name)?,
            Who::Below(name) => write!(f, "*.{name}")?,
            Who::Net(IpAddr::V4(net), 32) => write!(f, "{net}")?,
            Who::Net(IpAddr::V4(net), bits) => write!(f, "{net}/{bits}")?,
            Who::Net(IpAddr::V6(net), 128) => write!(f, "[{net}]")?,
            Who::Net(IpAddr::V6(net), bits) => write!(f, "[{net}/{bits}]")?,
        }
        match self.port {
            Ports::Usual => Ok(()),
            Ports::Any => f.write_str(":*"),
            Ports::One(port) => write!(f, ":{port}"),
        }
    }
}

fn who(host: &str) -> Option<Who> {
    if host == "*" {
        return Some(Who::Any);
    }
    if let Ok(address) = IpAddr::from_str(host) {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Some(Who::Net(address, bits));
    }
    if let Some((net, bits)) = host.split_once('/') {
        let (net, bits) = (IpAddr::from_str(net).ok()?, u8::from_str(bits).ok()?);
        let most = if net.is_ipv4() { 32 } else { 128 };
        return (bits <= most).then_some(Who::Net(net, bits));
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let is_name = |name: &str| {
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        name.len() <= 253 && name.split('.').all(part)
    };
    match name.strip_prefix("*.") {
        Some(below) => is_name(below).then(|| Who::Below(below.to_owned())),
        None => is_name(&name).then_some(Who::Name(name)),
    }
}

fn begins_with(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    let (address, net, width) = match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            (u128::from(address.to_bits()), u128::from(net.to_bits()), 32_u32)
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => (address.to_bits(), net.to_bits(), 128),
        _ => return false,
    };
    let free = width.saturating_sub(bits.into());
    address.checked_shr(free).unwrap_or(0) == net.checked_shr(free).unwrap_or(0)
}

/// Whether an address is of the machine or of a network that is not public: what a name that a guest chose must
/// not stand for.
fn is_internal(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_internal_v4(address),
        IpAddr::V6(address) => is_internal_v6(address),
    }
}

fn is_internal_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        // This network; carriers' own; protocol assignments; benchmarks; reserved and broadcast.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240
}

fn is_internal_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4() {
        // `::1` and `::` are among these.
        return is_internal_v4(inner);
    }
    match address.segments() {
        // NAT64 and 6to4 carry an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            is_internal_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
        }
        [0x64, 0xff9b, ..] => true,
        [first, ..] => {
            address.is_multicast() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_are_read_and_shown_as_they_are_written() {
        for text in [
            "api.example.com",
            "*.example.org:8443",
            "*",
            "*:443",
            "10.0.0.0/8:*",
            "127.0.0.1:80",
            "[::1]:8080",
            "[fd00::/8]:*",
            "db:5432",
        ] {
            assert_eq!(HostGrant::http(text).unwrap().to_string(), text);
        }
        for (text, why) in [
            ("https://a.b", "scheme"),
            ("a b", "names no host"),
            ("", "names no host"),
            ("*.*.b", "names no host"),
            ("a*.b", "names no host"),
            ("a:0", "1 to 65535"),
            ("a:http", "1 to 65535"),
            ("::1", "brackets"),
            ("[::1]8080", "after ']'"),
            ("10.0.0.0/33:*", "names no host"),
        ] {
            let error = HostGrant::http(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(HostGrant::tcp("db").unwrap_err().contains("db:PORT"));
    }

    #[test]
    fn a_grant_covers_what_it_names_and_nothing_beside_it() {
        let api = HostGrant::http("api.example.com").unwrap();
        assert!(api.covers_name("API.example.com.", 443, Some(443)));
        assert!(!api.covers_name("api.example.com", 8443, Some(443)));
        assert!(!api.covers_name("xapi.example.com", 443, Some(443)));
        assert!(!api.covers_name("api.example.com.evil.org", 443, Some(443)));
        let below = HostGrant::http("*.example.org:8443").unwrap();
        assert!(below.names("a.example.org") && below.names("a.b.example.org"));
        for name in ["example.org", ".example.org", "aexample.org", "example.org.evil"] {
            assert!(!below.names(name), "{name}");
        }
        let net = HostGrant::tcp("10.0.0.0/8:*").unwrap();
        assert!(net.covers_address(ip("10.255.0.1"), 1, None));
        assert!(net.covers_address(ip("::ffff:10.0.0.1"), 1, None), "the same address");
        assert!(!net.covers_address(ip("11.0.0.1"), 1, None));
        let one = HostGrant::tcp("[2001:db8::1]:80").unwrap();
        assert!(one.covers_address(ip("2001:db8::1"), 80, None));
        assert!(!one.covers_address(ip("2001:db8::2"), 80, None));
        assert!(!one.covers_address(ip("2001:db8::1"), 81, None));
        let all = HostGrant::tcp("0.0.0.0/0:*").unwrap();
        assert!(
            all.covers_address(ip("127.0.0.1"), 1, None) && !all.covers_address(ip("::1"), 1, None)
        );
    }

    #[test]
    fn a_name_that_the_guest_chose_does_not_lead_into_the_house() {
        let (any, name) = (HostGrant::http("*").unwrap(), HostGrant::http("db").unwrap());
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "192.168.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!any.trusts(ip(inside)), "{inside}");
            assert!(!any.covers_address(ip(inside), 80, Some(80)), "{inside}");
            assert!(name.trusts(ip(inside)), "the operator named it");
        }
        for outside in ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"] {
            assert!(any.trusts(ip(outside)), "{outside}");
        }
    }

    #[test]
    fn folders_are_named_by_plain_absolute_paths() {
        assert!(DirGrant::new("/srv/data", "/data", true).is_ok());
        for (host, guest) in
            [("srv", "/d"), ("/srv", "d"), ("/srv/../etc", "/d"), ("/srv", "/a/..")]
        {
            assert!(DirGrant::new(host, guest, false).is_err(), "{host} {guest}");
        }
    }
}
