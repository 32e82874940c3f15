//! Finding other nodes by datagrams: `namespace|nodeID|port`, to a multicast group or to broadcast addresses.
//!
//! A datagram proves nothing: it makes a node known as one that is offline, and the node is then asked by
//! gossip. Where datagrams cannot be sent or heard, that is told once and the node works without.
//!
//! Before a node shows itself it asks whether somebody has its ID, with a `?` behind the namespace: nodes of
//! Moleculer pass over what is of another namespace, and one of ours that has the ID shows itself at once. A
//! datagram with the own ID from another port or machine is a sign of a second process.
//!
//! moleculer: src/transporters/tcp/udp-broadcaster.js

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use if_addrs::IfAddr;
use parking_lot::{Mutex, RwLock};
use rustix::net::sockopt;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::backoff;
use crate::clock::{self, Instant};
use crate::config::Tcp as Options;
use crate::config::transporter::tcp::Broadcast;
use crate::packet;
use crate::registry::Registry;
use crate::transporter::tcp::counters::Counters;
use crate::transporter::tcp::socket;
use crate::transporter::{Event, Listener};

/// Largest datagram that is looked at: longest names, separators and the port.
const DATAGRAM_MAX: usize = 1_024;

/// The first datagram is sent after this time and up to as much again.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// Least time between two answers to those who ask for this node's ID, and between two reports of a second
/// process that has it.
const TWIN_PAUSE: Duration = Duration::from_secs(1);

/// Stands behind the namespace of a question.
const QUESTION: &str = "?";

/// Addresses that datagrams are sent to.
const DESTINATIONS_MAX: usize = 64;

/// Sends and hears datagrams.
pub(super) struct Udp {
    socket: UdpSocket,
    /// Interface (for multicast) and address.
    destinations: Vec<(Option<Ipv4Addr>, Ipv4Addr)>,
    port: u16,
    period: Duration,
    /// 0 is without end.
    n_max: u32,
    /// What is sent, and what is asked before.
    datagram: String,
    question: String,
}

/// Who hears what the datagrams say.
pub(super) struct Ears {
    pub(super) namespace: String,
    /// This node, and where it listens.
    pub(super) node_id: Arc<str>,
    pub(super) port: u16,
    /// Rings when somebody asks who has its ID.
    pub(super) asked: Notify,
    /// When a second process with its ID was last told of.
    pub(super) twin_told: Mutex<Option<Instant>>,
    pub(super) registry: Arc<RwLock<Registry>>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) counters: Counters,
}

impl Udp {
    /// A socket that hears the group on all interfaces; nothing when datagrams are not wanted.
    pub(super) fn bind(options: &Options, ears: &Ears) -> std::io::Result<Option<Self>> {
        let broadcast = options.udp_broadcast != Broadcast::Off;
        if !options.udp_discovery || options.udp_multicast.is_none() && !broadcast {
            return Ok(None);
        }
        // Bound to one address, a socket hears nothing of a group.
        let address = options.udp_bind_address.filter(|_| options.udp_multicast.is_none());
        let address = address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let socket = socket::datagrams(address, options.udp_port, options.udp_reuse_addr)?;
        let mut destinations = Vec::new();
        if let Some(group) = options.udp_multicast {
            sockopt::set_ip_multicast_ttl(&socket, options.udp_multicast_ttl)?;
            for interface in options.udp_bind_address.map_or_else(addresses, |one| vec![one]) {
                // One that does not know the group, such as a tunnel, is left out.
                match sockopt::set_ip_add_membership(&socket, &group, &interface) {
                    Ok(()) => destinations.push((Some(interface), group)),
                    Err(error) => tracing::debug!(%interface, %error, "no multicast there"),
                }
            }
        }
        let broadcasts = match &options.udp_broadcast {
            Broadcast::Off => Vec::new(),
            Broadcast::Interfaces => broadcast_addresses(),
            Broadcast::To(addresses) => addresses.clone(),
        };
        destinations.extend(broadcasts.into_iter().map(|address| (None, address)));
        destinations.truncate(DESTINATIONS_MAX);
        let (port, period) = (options.udp_port, options.udp_period);
        let n_max = options.udp_max_discovery;
        let Ears { namespace, node_id, port: own_port, .. } = ears;
        let datagram = format!("{namespace}|{node_id}|{own_port}");
        let question = format!("{namespace}{QUESTION}|{node_id}|{own_port}");
        Ok(Some(Self { socket, destinations, port, period, n_max, datagram, question }))
    }

    /// Sends from time to time and hears others, until it is cancelled.
    pub(super) async fn run(self, ears: Ears) {
        tokio::join!(self.send(&ears), self.answer(&ears), self.hear(&ears));
    }

    async fn send(&self, ears: &Ears) {
        let mut last_trouble = String::new();
        self.send_to_all(&self.question, ears, &mut last_trouble).await;
        tokio::time::sleep(FIRST_DELAY + backoff::jitter(FIRST_DELAY)).await;
        let mut n_sent = 0;
        while self.n_max == 0 || n_sent < self.n_max {
            self.send_to_all(&self.datagram, ears, &mut last_trouble).await;
            n_sent = n_sent.saturating_add(1);
            tokio::time::sleep(self.period).await;
        }
    }

    /// Shows this node to whoever wants its ID.
    async fn answer(&self, ears: &Ears) {
        let mut last_trouble = String::new();
        loop {
            ears.asked.notified().await;
            self.send_to_all(&self.datagram, ears, &mut last_trouble).await;
            tokio::time::sleep(TWIN_PAUSE).await;
        }
    }

    async fn send_to_all(&self, datagram: &str, ears: &Ears, last_trouble: &mut String) {
        for (interface, address) in &self.destinations {
            if let Err(error) = self.send_to(datagram, *interface, *address).await {
                let trouble = format!("datagrams cannot be sent to {address}: {error}");
                if trouble != *last_trouble {
                    ears.listener.handle_event(Event::Trouble(trouble.clone()));
                    *last_trouble = trouble;
                }
            }
        }
    }

    async fn send_to(
        &self,
        datagram: &str,
        interface: Option<Ipv4Addr>,
        address: Ipv4Addr,
    ) -> std::io::Result<()> {
        if let Some(interface) = interface {
            sockopt::set_ip_multicast_if(&self.socket, &interface)?;
        }
        self.socket.send_to(datagram.as_bytes(), (address, self.port)).await.map(drop)
    }

    async fn hear(&self, ears: &Ears) {
        let mut buffer = [0; DATAGRAM_MAX + 1];
        loop {
            match self.socket.recv_from(&mut buffer).await {
                Ok((size, from)) => ears.hear(buffer.get(..size).unwrap_or_default(), from),
                Err(error) => {
                    // Errors of earlier datagrams, such as a port that is not there.
                    tracing::debug!(%error, "a datagram cannot be received");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Ears {
    fn hear(&self, datagram: &[u8], from: SocketAddr) {
        let Some((namespace, node_id, port)) = parse(datagram) else {
            self.counters.refused_datagrams.increment();
            return;
        };
        let own = *node_id == *self.node_id && !self.is_me(from.ip(), port);
        if own && namespace.strip_suffix(QUESTION) == Some(&self.namespace) {
            self.asked.notify_one();
        }
        if namespace != self.namespace {
            return;
        }
        if own {
            self.tell_of_twin();
        }
        let address = from.ip().to_canonical().to_string();
        let ask = self.registry.write().apply_datagram(node_id, &address, port, clock::now());
        if ask {
            self.listener.handle_event(Event::NodeFound { node_id: node_id.into() });
        }
    }
}

impl Ears {
    /// Whether a datagram with this node's ID is its own, which comes back.
    fn is_me(&self, from: IpAddr, port: u16) -> bool {
        // Only an address of this machine can be bound.
        let here = || std::net::UdpSocket::bind((from, 0)).is_ok();
        port == self.port && (from.is_loopback() || here())
    }

    fn tell_of_twin(&self) {
        let now = clock::now();
        {
            let mut told = self.twin_told.lock();
            if told.is_some_and(|last| now.saturating_duration_since(last) < TWIN_PAUSE) {
                return;
            }
            *told = Some(now);
        }
        self.listener.handle_event(Event::Twin);
    }
}

/// Namespace, node ID and port.
pub(super) fn parse(datagram: &[u8]) -> Option<(&str, &str, u16)> {
    let text = std::str::from_utf8(datagram.get(..datagram.len().min(DATAGRAM_MAX + 1))?).ok()?;
    let mut parts = text.split('|');
    let (namespace, node_id, port) = (parts.next()?, parts.next()?, parts.next()?);
    if datagram.len() > DATAGRAM_MAX || parts.next().is_some() {
        return None;
    }
    packet::check_node_id(node_id).ok()?;
    let port = port.trim().parse().ok().filter(|port| *port > 0)?;
    Some((namespace, node_id, port))
}

/// The IPv4 addresses of all interfaces.
fn addresses() -> Vec<Ipv4Addr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let address = |interface: if_addrs::Interface| match interface.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    interfaces.into_iter().filter_map(address).collect()
}

/// The broadcast addresses of all interfaces; that of an interface which names none is made of its mask.
fn broadcast_addresses() -> Vec<Ipv4Addr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let address = |interface: if_addrs::Interface| match interface.addr {
        IfAddr::V4(v4) => Some(v4.ip | !v4.netmask),
        IfAddr::V6(_) => None,
    };
    interfaces.into_iter().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uid::damage::Damage;

    #[test]
    fn datagrams_have_three_parts() {
        let check = |text: &str, expected| assert_eq!(parse(text.as_bytes()), expected, "{text}");
        check("ns|node-1|6000", Some(("ns", "node-1", 6000)));
        check("|n|1", Some(("", "n", 1)));
        for wrong in
            ["", "a", "ns|n", "ns|n|1|2", "ns||1", "ns|n|0", "ns|n|65536", "ns|n|x", "ns|a b|1"]
        {
            check(wrong, None);
        }
        assert_eq!(parse(b"ns|\xff|1"), None);
        assert_eq!(parse(format!("{}|n|1", "x".repeat(2_000)).as_bytes()), None);
    }

    static PIECES: [&[u8]; 8] =
        [b"|", b"||", b"|65535", b" ", b"\0", b"\xff", b"*>", b"\xf0\x9f\x98\x80"];

    /// Whatever comes, a datagram that is taken has a name that can stand in a topic, and a port.
    #[test]
    fn damaged_datagrams_are_refused_or_name_a_node() {
        let mut damage = Damage::new(0x5eed_0004_c0ff_ee04, &PIECES);
        let mut accepted = 0;
        for _ in 0..40_000 {
            let bytes = damage.copy(b"namespace|node-1.example|6000");
            let Some((_, node_id, port)) = parse(&bytes) else { continue };
            assert!(packet::check_node_id(node_id).is_ok() && port > 0, "{node_id:?}");
            accepted += 1;
        }
        assert!(accepted > 4_000, "{accepted}");
    }
}
