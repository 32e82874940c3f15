//! Options of the TCP transporter (moleculer: src/transporters/tcp.js constructor, loadUrls).

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::config::Transporter;
use crate::config::quantity;
use crate::config::transporter::{Kind, check_keys};
use crate::config::value::{Located, Value};

/// How it is chosen.
pub(super) const KIND: Kind = Kind { name: "TCP", schemes: &["tcp"], from_text, from_options };

/// Options of the TCP transporter.
const OPTIONS: [&str; 15] = [
    "udpDiscovery",
    "udpPort",
    "udpBindAddress",
    "udpPeriod",
    "udpReuseAddr",
    "udpMaxDiscovery",
    "udpMulticast",
    "udpMulticastTTL",
    "udpBroadcast",
    "port",
    "urls",
    "useHostname",
    "gossipPeriod",
    "maxConnections",
    "maxPacketSize",
];

/// How nodes reach each other without a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Find nodes by datagrams. true
    pub udp_discovery: bool,
    /// Where datagrams go to and come in. 4445
    pub udp_port: u16,
    /// The only interface for multicast, or where broadcasts come in. `None`: all
    pub udp_bind_address: Option<Ipv4Addr>,
    /// Between two datagrams of this node. 30 s
    pub udp_period: Duration,
    /// Let other processes of this machine listen on the same port. true
    pub udp_reuse_addr: bool,
    /// How many datagrams this node sends; 0 is without end. 0
    pub udp_max_discovery: u32,
    /// The multicast group; `None`: no multicast. 239.0.0.0
    pub udp_multicast: Option<Ipv4Addr>,
    /// How many networks away multicast is heard. 1
    pub udp_multicast_ttl: u32,
    /// Whether datagrams are sent to broadcast addresses. Off
    pub udp_broadcast: Broadcast,
    /// Where this node listens; `None`: the port of this node in `urls`, else one that the system chooses.
    pub port: Option<u16>,
    /// Nodes that are known beforehand. None
    pub urls: Urls,
    /// Reach nodes by their host names, rather than by the first of their addresses. true
    pub use_hostname: bool,
    /// Between two rounds of gossip. 2 s, at least 1 s
    pub gossip_period: Duration,
    /// Connections of this node to others; the one that was used longest ago is closed for a new one. 32
    pub max_connections: usize,
    /// Largest packet with its six bytes of header. 1 MiB
    pub max_packet_size: usize,
}

/// Where broadcasts go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Broadcast {
    /// There are none.
    #[default]
    Off,
    /// To the broadcast addresses of all interfaces.
    Interfaces,
    /// To these.
    To(Vec<Ipv4Addr>),
}

/// Nodes that are known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Urls {
    /// These.
    Listed(Vec<Endpoint>),
    /// Those of a file, which is read at each attempt to start.
    File(PathBuf),
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The node.
    pub node_id: String,
    /// Its host: name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            udp_discovery: true,
            udp_port: 4445,
            udp_bind_address: None,
            udp_period: Duration::from_secs(30),
            udp_reuse_addr: true,
            udp_max_discovery: 0,
            udp_multicast: Some(Ipv4Addr::new(239, 0, 0, 0)),
            udp_multicast_ttl: 1,
            udp_broadcast: Broadcast::Off,
            port: None,
            urls: Urls::Listed(Vec::new()),
            use_hostname: true,
            gossip_period: Duration::from_secs(2),
            max_connections: 32,
            max_packet_size: 1 << 20,
        }
    }
}

impl Tcp {
    /// In Moleculer's names, as `$node.options` shows it.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        let urls = match &self.urls {
            Urls::File(path) => json!(format!("file://{}", path.display())),
            Urls::Listed(nodes) if nodes.is_empty() => json!(null),
            Urls::Listed(nodes) => {
                let url =
                    |node: &Endpoint| format!("tcp://{}:{}/{}", node.host, node.port, node.node_id);
                nodes.iter().map(url).collect()
            }
        };
        let broadcast = match &self.udp_broadcast {
            Broadcast::Off => json!(false),
            Broadcast::Interfaces => json!(true),
            Broadcast::To(addresses) => json!(addresses),
        };
        json!({
            "udpDiscovery": self.udp_discovery,
            "udpPort": self.udp_port,
            "udpBindAddress": self.udp_bind_address,
            "udpPeriod": self.udp_period.as_secs_f64(),
            "udpReuseAddr": self.udp_reuse_addr,
            "udpMaxDiscovery": self.udp_max_discovery,
            "udpMulticast": self.udp_multicast,
            "udpMulticastTTL": self.udp_multicast_ttl,
            "udpBroadcast": broadcast,
            "port": self.port,
            "urls": urls,
            "useHostname": self.use_hostname,
            "gossipPeriod": self.gossip_period.as_secs_f64(),
            "maxConnections": self.max_connections,
            "maxPacketSize": self.max_packet_size,
        })
    }
}

impl Endpoint {
    /// Reads `tcp://host:port/nodeID`; the scheme may be missing, and the last colon is that of the port.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let fault =
            |what: &str| format!("'{url}' {what}; nodes are given as tcp://host:port/nodeID");
        let rest = url.strip_prefix("tcp://").unwrap_or(url);
        let (host_port, node_id) = rest
            .split_once('/')
            .filter(|(_, id)| !id.is_empty() && !id.contains('/'))
            .ok_or_else(|| fault("names no node"))?;
        let (host, port) = host_port.rsplit_once(':').ok_or_else(|| fault("has no port"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(fault("has no host"));
        }
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| fault("has a port that is no number from 1 to 65535"))?;
        Ok(Self { node_id: node_id.to_owned(), host: host.to_owned(), port })
    }
}

/// Reads the text of a file with nodes: a JSON array or object, or one node per line. What cannot be read is
/// left out and given back beside the rest.
///
/// # Errors
/// What is wrong with its JSON.
pub fn parse_file(text: &str) -> Result<(Vec<Endpoint>, Vec<String>), String> {
    let text = text.trim();
    let urls = if text.starts_with(['{', '[']) {
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        match json {
            serde_json::Value::Array(items) => {
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            serde_json::Value::Object(map) => map
                .iter()
                .filter_map(|(id, at)| at.as_str().map(|at| format!("{at}/{id}")))
                .collect(),
            _ => Vec::new(),
        }
    } else {
        list(text)
    };
    let (mut endpoints, mut faults) = (Vec::new(), Vec::new());
    for url in urls {
        match Endpoint::parse(&url) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(fault) => faults.push(fault),
        }
    }
    Ok((endpoints, faults))
}

/// What stands between commas or on lines of its own.
fn list(text: &str) -> Vec<String> {
    let items = text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

fn from_text(text: &str) -> Result<Transporter, String> {
    let urls = if text.contains("://") { read_list(list(text))? } else { Tcp::default().urls };
    Ok(Transporter::Tcp(Box::new(Tcp { urls, ..Tcp::default() })))
}

fn from_options(options: &Located) -> Result<Transporter, String> {
    check_keys(options, "TCP", &OPTIONS)?;
    let mut tcp = Tcp::default();
    if let Value::Table(entries) = &options.value {
        for (key, value) in entries.iter().filter(|(_, value)| !matches!(value.value, Value::Null))
        {
            set(&mut tcp, key, value).map_err(|cause| format!("'{key}' is {cause}"))?;
        }
        // Null is "none" where something is the default.
        let none = |key: &str| {
            entries.iter().any(|(name, value)| name == key && matches!(value.value, Value::Null))
        };
        if none("udpMulticast") {
            tcp.udp_multicast = None;
        }
    }
    Ok(Transporter::Tcp(Box::new(tcp)))
}

/// Sets one option; the error ends a sentence that begins with "'name' is".
fn set(tcp: &mut Tcp, key: &str, value: &Located) -> Result<(), String> {
    match key {
        "udpDiscovery" => tcp.udp_discovery = switch(value)?,
        "udpPort" => tcp.udp_port = port(value)?,
        "udpBindAddress" => tcp.udp_bind_address = Some(ipv4(value)?),
        "udpPeriod" => tcp.udp_period = seconds(value)?,
        "udpReuseAddr" => tcp.udp_reuse_addr = switch(value)?,
        "udpMaxDiscovery" => tcp.udp_max_discovery = number(value, 0, u32::MAX)?,
        "udpMulticast" if value.as_bool() == Some(false) => tcp.udp_multicast = None,
        "udpMulticast" => {
            let group = ipv4(value)?;
            if !group.is_multicast() {
                return Err("no address of a multicast group".into());
            }
            tcp.udp_multicast = Some(group);
        }
        "udpMulticastTTL" => tcp.udp_multicast_ttl = number(value, 1, 255)?,
        "udpBroadcast" => tcp.udp_broadcast = broadcast(value)?,
        "port" if value.as_count() == Some(0) => tcp.port = None,
        "port" => tcp.port = Some(port(value)?),
        "urls" => tcp.urls = urls(value)?,
        "useHostname" => tcp.use_hostname = switch(value)?,
        // moleculer: src/transporters/tcp.js startTimers.
        "gossipPeriod" => tcp.gossip_period = seconds(value)?.max(Duration::from_secs(1)),
        "maxConnections" => {
            tcp.max_connections = usize::try_from(number(value, 1, 10_000)?).unwrap_or(1)
        }
        "maxPacketSize" => {
            let size = value.as_count().or_else(|| value.as_text().and_then(quantity::bytes));
            tcp.max_packet_size = size
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| (1 << 10..=1 << 30).contains(size))
                .ok_or("not between 1 KiB and 1 GiB")?;
        }
        _ => {}
    }
    Ok(())
}

fn switch(value: &Located) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "neither true nor false".into())
}

fn number(value: &Located, min: u32, max: u32) -> Result<u32, String> {
    let number = value.as_count().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("no whole number from {min} to {max}"))
}

fn port(value: &Located) -> Result<u16, String> {
    let port = value.as_count().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.ok_or_else(|| "no number of a port (1 to 65535)".into())
}

fn ipv4(value: &Located) -> Result<Ipv4Addr, String> {
    value.as_text().and_then(|text| text.parse().ok()).ok_or_else(|| "no IPv4 address".into())
}

fn seconds(value: &Located) -> Result<Duration, String> {
    let seconds = value.as_number().and_then(|n| Duration::try_from_secs_f64(n).ok());
    let time = seconds.or_else(|| value.as_text().and_then(quantity::duration));
    time.filter(|time| !time.is_zero()).ok_or_else(|| "no time above 0, in seconds".into())
}

fn broadcast(value: &Located) -> Result<Broadcast, String> {
    match value.as_bool() {
        Some(false) => Ok(Broadcast::Off),
        Some(true) => Ok(Broadcast::Interfaces),
        None => {
            let list = value.as_list().ok_or("neither a switch nor addresses")?;
            list.iter().map(ipv4).collect::<Result<_, _>>().map(Broadcast::To)
        }
    }
}

fn urls(value: &Located) -> Result<Urls, String> {
    match &value.value {
        Value::Table(entries) => {
            let url = |(id, at): &(String, Located)| at.as_text().map(|at| format!("{at}/{id}"));
            let urls: Option<Vec<_>> = entries.iter().map(url).collect();
            read_list(urls.ok_or("a table whose values are not all \"host:port\"")?)
        }
        Value::List(items) => {
            let urls: Option<Vec<_>> =
                items.iter().map(|item| item.as_text().map(str::to_owned)).collect();
            read_list(urls.ok_or("a list whose items are not all text")?)
        }
        _ => {
            let text = value.as_text().ok_or("neither text, list nor table")?;
            match text.strip_prefix("file://") {
                Some(path) => Ok(Urls::File(path.into())),
                None => read_list(list(text)),
            }
        }
    }
    .map_err(|cause: String| format!("not as it should be: {cause}"))
}

fn read_list(urls: Vec<String>) -> Result<Urls, String> {
    urls.iter().map(|url| Endpoint::parse(url)).collect::<Result<_, _>>().map(Urls::Listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Place;

    fn read(value: serde_json::Value) -> Result<Tcp, String> {
        let located = Located::from_json(value, &Place::Flag("--transporter"));
        match crate::config::transporter::read(&located)? {
            Some(Transporter::Tcp(tcp)) => Ok(*tcp),
            other => panic!("{other:?}"),
        }
    }

    fn endpoint(host: &str, port: u16, node_id: &str) -> Endpoint {
        Endpoint { node_id: node_id.into(), host: host.into(), port }
    }

    #[test]
    fn names_and_urls_choose_it() {
        for name in ["TCP", "tcp", "Tcp"] {
            assert_eq!(read(json!(name)), Ok(Tcp::default()));
        }
        assert_eq!(read(json!({"type": "TCP"})), Ok(Tcp::default()));
        let two = Urls::Listed(vec![endpoint("h1", 6000, "n1"), endpoint("h2", 6001, "n.2")]);
        let all = [
            json!("tcp://h1:6000/n1, h2:6001/n.2"),
            json!({"type": "TCP", "options": {"urls": "tcp://h1:6000/n1, tcp://h2:6001/n.2"}}),
            json!({"type": "TCP", "options": {"urls": ["h1:6000/n1", "tcp://h2:6001/n.2"]}}),
            json!({"type": "TCP", "options": {"urls": {"n1": "h1:6000", "n.2": "tcp://h2:6001"}}}),
        ];
        for form in all {
            assert_eq!(read(form.clone()).map(|tcp| tcp.urls), Ok(two.clone()), "{form}");
        }
        let file = json!({"type": "TCP", "options": {"urls": "file:///etc/nodes"}});
        assert_eq!(read(file).unwrap().urls, Urls::File("/etc/nodes".into()));
    }

    #[test]
    fn all_options_of_moleculer_are_read() {
        let options = json!({
            "udpDiscovery": false, "udpPort": 4000, "udpBindAddress": "127.0.0.1", "udpPeriod": 0.5,
            "udpReuseAddr": false, "udpMaxDiscovery": 3, "udpMulticast": "239.1.2.3",
            "udpMulticastTTL": 2, "udpBroadcast": ["10.0.0.255"], "port": 7000, "urls": null,
            "useHostname": false, "gossipPeriod": 0.1, "maxConnections": 8, "maxPacketSize": "2MiB",
        });
        let read = read(json!({"type": "TCP", "options": options})).unwrap();
        let expected = Tcp {
            udp_discovery: false,
            udp_port: 4000,
            udp_bind_address: Some(Ipv4Addr::LOCALHOST),
            udp_period: Duration::from_millis(500),
            udp_reuse_addr: false,
            udp_max_discovery: 3,
            udp_multicast: Some(Ipv4Addr::new(239, 1, 2, 3)),
            udp_multicast_ttl: 2,
            udp_broadcast: Broadcast::To(vec![Ipv4Addr::new(10, 0, 0, 255)]),
            port: Some(7000),
            urls: Urls::Listed(Vec::new()),
            use_hostname: false,
            gossip_period: Duration::from_secs(1),
            max_connections: 8,
            max_packet_size: 2 << 20,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |options: serde_json::Value, expected: &str| {
            let error = read(json!({"type": "TCP", "options": options})).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(json!({"udpprot": 1}), "unknown TCP option 'udpprot'; did you mean 'udpPort'?");
        check(json!({"udpPort": 0}), "'udpPort' is no number of a port");
        check(json!({"udpMulticast": "10.0.0.1"}), "no address of a multicast group");
        check(json!({"urls": "h:1"}), "names no node");
        check(json!({"urls": "h/n"}), "has no port");
        check(json!({"urls": ":1/n"}), "has no host");
        check(json!({"urls": "h:70000/n"}), "has a port that is no number");
        check(json!({"maxPacketSize": 5}), "not between 1 KiB and 1 GiB");
    }

    #[test]
    fn an_ipv6_host_keeps_its_colons() {
        assert_eq!(Endpoint::parse("tcp://::1:6000/n"), Ok(endpoint("::1", 6000, "n")));
        assert_eq!(Endpoint::parse("[::1]:6000/n"), Ok(endpoint("::1", 6000, "n")));
    }

    #[test]
    fn files_are_read_in_all_forms_and_bad_lines_are_left_out() {
        let expected = vec![endpoint("a", 1, "x"), endpoint("b", 2, "y")];
        for text in
            ["a:1/x\n\n tcp://b:2/y \n", r#"["a:1/x", "b:2/y"]"#, r#"{"x": "a:1", "y": "b:2"}"#]
        {
            assert_eq!(parse_file(text), Ok((expected.clone(), Vec::new())), "{text}");
        }
        let (read, faults) = parse_file("a:1/x\nnonsense\nb:2/y").unwrap();
        assert_eq!((read, faults.len()), (expected, 1));
        assert!(parse_file("{").is_err());
        assert_eq!(parse_file(""), Ok((Vec::new(), Vec::new())));
    }
}
