//! TCP (moleculer: src/transporters/tcp.js): nodes that reach each other without a server.
//!
//! Each node listens, and opens a connection of its own to every node that it has something to say to; the
//! first frame on it says where the answer can be sent. Who is there is found out by datagrams
//! ([`udp`]), from a list, or from nodes that are known already; what they offer is told by gossip, whose
//! rules are the registry's and whose timers are the discoverer's. There is no heartbeat: a connection that
//! ends, or cannot be made, is how the loss of a node is noticed.
//!
//! Only packets for one node are sent, as in Moleculer; what is published for all is for other
//! transporters. The HELLO is the exception: published without a target, it is kept and sent first on each
//! connection that is made afterwards.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::clock;
use crate::config::Tcp as Options;
use crate::config::transporter::tcp::{Endpoint, Urls, parse_file};
use crate::metrics::MetricRegistry;
use crate::packet::PacketType;
use crate::registry::Registry;
use crate::task::{self, CancellationToken};
use crate::transporter::{Attempt, Error, Event, Gossip, Listener, Transporter};

mod counters;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inbound;
mod link;
mod outbox;
mod socket;
#[cfg(test)]
mod tests;
mod topics;
mod udp;

use counters::{Counted, Counters};
use inbound::Inbound;
use link::{Link, Lost};
use topics::Topics;
use udp::{Ears, Udp};

/// Largest file with nodes, in bytes.
const URLS_FILE_MAX: u64 = 1 << 20;

/// How often a packet is given to another connection because the one that it was meant for has just ended.
const ATTEMPTS_MAX: usize = 3;

/// How long a stop waits for the last packets to be written.
const FINISH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

/// The connections of a node to all others.
pub struct Tcp(Arc<Shared>);

struct Shared {
    options: Options,
    namespace: String,
    node_id: Arc<str>,
    registry: Arc<RwLock<Registry>>,
    topics: Arc<Topics>,
    counters: Counters,
    /// There while the transporter is connected.
    running: RwLock<Option<Arc<Running>>>,
    /// Counts the uses of connections.
    uses: AtomicU64,
}

/// What is there while the transporter is connected.
struct Running {
    listener: Arc<dyn Listener>,
    /// Where connections live, whoever asks for them.
    runtime: Handle,
    port: u16,
    /// Ends everything.
    cancel: CancellationToken,
    links: Mutex<Links>,
    /// Rings when a connection of this node has ended.
    ended: tokio::sync::Notify,
}

#[derive(Default)]
struct Links {
    /// First frame of each connection; none is made without it.
    hello: Option<Bytes>,
    by_node: HashMap<Arc<str>, Arc<Link>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Tcp {
    /// A transporter for a node that is not connected yet. The registry knows where other nodes are.
    #[must_use]
    pub fn new(
        options: &Options,
        namespace: &str,
        node_id: &Arc<str>,
        registry: Arc<RwLock<Registry>>,
        metrics: &MetricRegistry,
    ) -> Self {
        Self(Arc::new(Shared {
            options: options.clone(),
            namespace: namespace.to_owned(),
            node_id: Arc::clone(node_id),
            registry,
            topics: Arc::new(Topics::new(namespace, node_id)),
            counters: Counters::new(metrics),
            running: RwLock::new(None),
            uses: AtomicU64::new(0),
        }))
    }
}

impl Shared {
    async fn start(self: &Arc<Self>, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let nodes = self.nodes().await?;
        let own = nodes.iter().find(|node| *node.node_id == *self.node_id);
        let wanted = self.options.port.or_else(|| own.map(|node| node.port)).unwrap_or(0);
        let server = listen(wanted).await.map_err(|error| Error::Connect {
            address: format!("port {wanted}"),
            cause: format!("cannot listen there: {error}"),
        })?;
        let port = server.local_addr().map_err(|error| Error::Refused(error.to_string()))?.port();
        {
            let mut registry = self.registry.write();
            registry.set_local_port(port);
            for node in nodes.iter().filter(|node| *node.node_id != *self.node_id) {
                registry.add_fixed(&node.node_id, &node.host, node.port, clock::now());
            }
        }
        let running = Arc::new(Running {
            listener: Arc::clone(&listener),
            runtime: Handle::current(),
            port,
            cancel: CancellationToken::new(),
            links: Mutex::default(),
            ended: tokio::sync::Notify::new(),
        });
        let inbound = Inbound::new(
            Arc::clone(&listener),
            Arc::clone(&self.topics),
            self.counters.clone(),
            self.options.max_packet_size,
            running.cancel.clone(),
        );
        task::spawn("tcp server", &running.cancel, Arc::new(inbound).accept(server));
        self.start_datagrams(&running);
        *self.running.write() = Some(running);
        Ok(())
    }

    /// Where datagrams do not work, the node does without them.
    fn start_datagrams(&self, running: &Arc<Running>) {
        let ears = Ears {
            namespace: self.namespace.clone(),
            node_id: Arc::clone(&self.node_id),
            port: running.port,
            asked: tokio::sync::Notify::new(),
            twin_told: Mutex::default(),
            registry: Arc::clone(&self.registry),
            listener: Arc::clone(&running.listener),
            counters: self.counters.clone(),
        };
        match Udp::bind(&self.options, &ears) {
            Ok(None) => {}
            Ok(Some(udp)) => {
                task::spawn("tcp discovery", &running.cancel, udp.run(ears));
            }
            Err(error) => {
                let port = self.options.udp_port;
                let trouble = format!("nodes cannot be found by UDP on port {port}: {error}");
                running.listener.handle_event(Event::Trouble(trouble));
            }
        }
    }

    /// The nodes that are known beforehand (moleculer: src/transporters/tcp.js loadUrls).
    async fn nodes(&self) -> Result<Vec<Endpoint>, Error> {
        let path = match &self.options.urls {
            Urls::Listed(nodes) => return Ok(nodes.clone()),
            Urls::File(path) => path,
        };
        let fault = |cause: String| {
            let address = format!("file://{}", path.display());
            Error::Address { address, cause }
        };
        let size = tokio::fs::metadata(path).await.map_err(|error| fault(error.to_string()))?.len();
        if size > URLS_FILE_MAX {
            return Err(fault(format!("it has {size} bytes, the limit is {URLS_FILE_MAX}")));
        }
        let text =
            tokio::fs::read_to_string(path).await.map_err(|error| fault(error.to_string()))?;
        let (nodes, faults) = parse_file(&text).map_err(fault)?;
        for fault in faults {
            tracing::warn!(file = %path.display(), fault, "a line with a node is left out");
        }
        Ok(nodes)
    }

    async fn publish(self: &Arc<Self>, topic: &str, packet: &Bytes) -> Result<(), Error> {
        // Balanced topics and the like belong to other transporters.
        let Some((kind, target)) = self.topics.outgoing(topic) else { return Ok(()) };
        let Some(number) = frame::number_of(kind) else { return Ok(()) };
        let limit = self.options.max_packet_size.saturating_sub(frame::HEADER_SIZE);
        if packet.len() > limit {
            return Err(Error::PayloadTooLarge { limit, size: packet.len() });
        }
        let running = self.running.read().clone().ok_or(Error::NotConnected)?;
        let Some(target) = target else {
            if kind == PacketType::GossipHello {
                running.links.lock().hello = Some(packet.clone());
            }
            return Ok(());
        };
        let gossip = matches!(kind, PacketType::GossipRequest | PacketType::GossipResponse);
        let mut sent = Err(Error::NotConnected);
        for _ in 0..ATTEMPTS_MAX {
            let link = self.link(&running, target, !gossip)?;
            sent = link.outbox.publish(number, packet, !gossip).await;
            if !matches!(sent, Err(Error::NotConnected)) {
                break;
            }
            // The connection has ended just now; it is forgotten in case it could not do so itself yet.
            running.forget(target, &link);
        }
        sent
    }

    /// Sends what needs no waiting: to a node that is connected and whose buffer has room. `None` leaves it to
    /// [`Shared::publish`], which also knows what is wrong.
    fn try_publish(&self, topic: &str, packet: &[u8]) -> Option<()> {
        let (kind, target) = self.topics.outgoing(topic)?;
        let number = frame::number_of(kind)?;
        let limit = self.options.max_packet_size.saturating_sub(frame::HEADER_SIZE);
        if packet.len() > limit || kind.is_gossip() {
            return None;
        }
        let running = self.running.read();
        let link = running.as_ref()?.links.lock().by_node.get(target?).map(Arc::clone)?;
        drop(running);
        link.set_used(1 + self.uses.fetch_add(1, Ordering::Relaxed));
        link.outbox.try_publish(number, packet)
    }

    /// The connection to a node; begins to make one when there is none.
    fn link(
        self: &Arc<Self>,
        running: &Arc<Running>,
        node_id: &str,
        count_use: bool,
    ) -> Result<Arc<Link>, Error> {
        // What was made for gossip alone is the first to go (moleculer: src/transporters/tcp/tcp-writer.js
        // send).
        let used = if count_use { 1 + self.uses.fetch_add(1, Ordering::Relaxed) } else { 0 };
        if let Some(link) = running.links.lock().by_node.get(node_id) {
            if count_use {
                link.set_used(used);
            }
            return Ok(Arc::clone(link));
        }
        let known = self.registry.read().addresses(node_id, self.options.use_hostname);
        let Some((addresses, port)) = known else {
            return Err(Error::Refused(format!("nothing is known of a node '{node_id}'")));
        };
        let mut links = running.links.lock();
        if let Some(link) = links.by_node.get(node_id) {
            return Ok(Arc::clone(link));
        }
        let hello = links.hello.clone().ok_or(Error::NotConnected)?;
        let number = frame::number_of(PacketType::GossipHello).unwrap_or_default();
        let link = Arc::new(Link::new(number, &hello, used));
        let node_id: Arc<str> = node_id.into();
        links.by_node.insert(Arc::clone(&node_id), Arc::clone(&link));
        if links.by_node.len() > self.options.max_connections {
            links.end_oldest(&node_id);
        }
        drop(links);
        self.start_link(running, node_id, Arc::clone(&link), addresses, port);
        Ok(link)
    }

    fn start_link(
        &self,
        running: &Arc<Running>,
        node_id: Arc<str>,
        link: Arc<Link>,
        addresses: Vec<Arc<str>>,
        port: u16,
    ) {
        let counted = Counted::new(&self.counters.outgoing);
        let (cancel, weak) = (running.cancel.clone(), Arc::downgrade(running));
        task::spawn_on(&running.runtime, "tcp link", async move {
            let _counted = counted;
            let lost = cancel.run_until_cancelled(link.run(&addresses, port)).await;
            let lost = lost.unwrap_or(Lost::Finished);
            link.outbox.close();
            let Some(running) = weak.upgrade() else { return };
            running.forget(&node_id, &link);
            running.ended.notify_waiters();
            if matches!(lost, Lost::Finished) {
                return;
            }
            tracing::debug!(node = &*node_id, %lost, "a connection has ended");
            let unexpected = lost.unexpected();
            running.listener.handle_event(Event::NodeLost { node_id, unexpected });
        });
    }

    async fn stop(&self) {
        let Some(running) = self.running.write().take() else { return };
        let links: Vec<_> = running.links.lock().by_node.values().map(Arc::clone).collect();
        links.iter().for_each(|link| link.finish());
        let written = async {
            loop {
                let ended = running.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if running.links.lock().by_node.is_empty() {
                    return;
                }
                ended.await;
            }
        };
        // A node that does not take the rest in time does not get it.
        let _ = tokio::time::timeout(FINISH_TIMEOUT, written).await;
        running.cancel.cancel();
    }
}

impl Running {
    /// Forgets a connection, unless there is another one to that node by now.
    fn forget(&self, node_id: &str, link: &Arc<Link>) {
        let mut links = self.links.lock();
        if links.by_node.get(node_id).is_some_and(|known| Arc::ptr_eq(known, link)) {
            links.by_node.remove(node_id);
        }
    }
}

impl Links {
    /// Ends the connection that was used longest ago, but not the newest
    /// (moleculer: src/transporters/tcp/tcp-writer.js manageConnections).
    fn end_oldest(&mut self, newest: &Arc<str>) {
        let others = self.by_node.iter().filter(|(node_id, _)| *node_id != newest);
        let oldest = others.min_by_key(|(_, link)| link.last_used());
        let oldest = oldest.map(|(node_id, _)| Arc::clone(node_id));
        if let Some(link) = oldest.and_then(|node_id| self.by_node.remove(&node_id)) {
            link.finish();
        }
    }
}

/// Listens on all addresses, of both families where the system has both.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await {
        Ok(server) => Ok(server),
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await,
    }
}

impl Transporter for Tcp {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        self.0.start(listener).boxed()
    }

    /// Whatever comes in is for this node.
    fn subscribe(&self, _topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        let running = self.0.running.read().is_some();
        std::future::ready(if running { Ok(()) } else { Err(Error::NotConnected) }).boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        async move { self.0.publish(topic, &data).await }.boxed()
    }

    fn try_publish(&self, topic: &str, data: Bytes) -> Attempt {
        match self.0.try_publish(topic, &data) {
            Some(()) => Attempt::Done(Ok(())),
            None => Attempt::MustWait(data),
        }
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.0.stop().boxed()
    }

    fn address(&self) -> String {
        match &*self.0.running.read() {
            Some(running) => format!("tcp://*:{}", running.port),
            None => "tcp://*".to_owned(),
        }
    }

    fn gossip(&self) -> Option<Gossip> {
        let options = &self.0.options;
        let registry = self.0.registry.read();
        let own = registry.addresses(&self.0.node_id, options.use_hostname);
        let (addresses, port) = own.unwrap_or_default();
        Some(Gossip {
            period: options.gossip_period,
            push_max: options.max_connections,
            packet_max: options.max_packet_size / 2,
            hello: [
                ("host".to_owned(), json!(addresses.first())),
                ("port".to_owned(), json!(port)),
            ]
            .into_iter()
            .collect(),
        })
    }
}
