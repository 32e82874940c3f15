//! Discovery through a store that nodes share: each keeps two keys there, a sign of life that ends by itself
//! and what it offers, and looks for those of the others (moleculer: src/registry/discoverers/redis.js,
//! etcd3.js). Nothing of it goes over the transporter but the good-bye of a node.
//!
//! Whoever has no sign of life is lost. A store that is away says nothing about anybody, so the nodes that
//! are known stay; and one that has lost what this node kept there has lost the others' signs, too, so
//! nobody is missed before all had the time to write them again. Not here: keys and connections, which are
//! each store's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;

use crate::clock::{self, Instant};
use crate::config::discoverer::Finder;
use crate::config::{BrokerOptions, Transporter};
use crate::discoverer::{Outgoing, Shared};
use crate::metrics::{Metric, MetricRegistry};
use crate::packet::{Body, Info, PROTOCOL_VERSION, Packet, PacketType};
use crate::registry::Sign;
use crate::serializer::{self, Serializer};
use crate::uid;

mod etcd;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod redis;

use etcd::Etcd;
use redis::Redis;

/// Signs of life that are read of one store; more than nodes that are remembered, since each has one, or two
/// for a moment.
const SIGNS_MAX: usize = 2 * crate::registry::NODES_MAX;

/// Nodes that are asked for what they offer at once.
const READS_MAX: usize = 16;

/// Who writes, and with which limits.
struct Owner {
    namespace: String,
    node_id: Arc<str>,
    instance_id: Arc<str>,
    /// How long a sign of life counts.
    heartbeat_timeout: Duration,
    /// Largest INFO that is read, in bytes.
    info_max: usize,
    serializer: Arc<dyn Serializer>,
}

impl Owner {
    /// The value of a sign of life: more than the HEARTBEAT that it is read as
    /// (moleculer: src/registry/discoverers/redis.js sendHeartbeat).
    fn sign(&self, seq: u64, cpu: Option<f64>) -> Bytes {
        let fields =
            [("cpu", json!(cpu)), ("seq", json!(seq)), ("instanceID", json!(&*self.instance_id))];
        // A packet whose fields are free, as those of gossip are.
        let body = Body::GossipHello(
            fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
        );
        let sender = Arc::clone(&self.node_id);
        self.serializer.encode(&Packet { ver: PROTOCOL_VERSION.into(), sender, body })
    }

    /// The load in the value of a sign of life.
    fn load_in(&self, value: &Bytes) -> Option<f64> {
        match self.serializer.decode(PacketType::Heartbeat, value).ok()?.body {
            Body::Heartbeat(heartbeat) => heartbeat.cpu,
            _ => None,
        }
    }
}

/// The store that the options name; none when nodes find each other through the transporter.
///
/// # Errors
/// [`Error::Address`].
pub fn open(
    options: &BrokerOptions,
    node_id: &Arc<str>,
    instance_id: &Arc<str>,
    metrics: &MetricRegistry,
) -> Result<Option<Directory>, Error> {
    let owner = Owner {
        namespace: options.namespace.clone(),
        node_id: Arc::clone(node_id),
        instance_id: Arc::clone(instance_id),
        heartbeat_timeout: options.heartbeat_timeout,
        info_max: options.transit.max_packet_size,
        serializer: serializer::of(options.registry.discoverer.serializer),
    };
    let serializer = Arc::clone(&owner.serializer);
    let finder = &options.registry.discoverer.finder;
    if matches!(options.transporter, Some(Transporter::Tcp(_))) && *finder != Finder::Local {
        return Err(Error::Gossip);
    }
    let store: Arc<dyn Store> = match finder {
        Finder::Local => return Ok(None),
        Finder::Redis { urls, cluster, scan_length } => {
            let settings = redis::Settings {
                urls: urls.clone(),
                cluster: *cluster,
                scan_length: *scan_length,
            };
            Arc::new(Redis::new(&settings, owner)?)
        }
        Finder::Etcd3 { hosts, login } => {
            let settings = etcd::Settings {
                hosts: hosts.clone(),
                login: login.clone(),
                heartbeat_interval: options.heartbeat_interval,
            };
            Arc::new(Etcd::new(settings, owner)?)
        }
    };
    let full_check = options.registry.discoverer.full_check;
    Ok(Some(Directory::new(store, serializer, full_check, metrics)))
}

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, which has been told already.
    #[error("the store is away")]
    Away,
    /// It refused, failed, or did not answer in time.
    #[error("{0}")]
    Failed(String),
    /// The address can never work.
    #[error("cannot use the address of the discoverer's store: {0}")]
    Address(String),
    /// The transporter finds nodes by itself.
    #[error(
        "nodes on TCP find each other by themselves: remove registry.discoverer, or use another transporter"
    )]
    Gossip,
}

/// What happens to the connection with a store.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is there.
    Connected,
    /// It cannot be made, or is lost; told once per outage.
    Lost {
        /// For a person.
        reason: String,
    },
}

/// A sign of life as it is found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Whose it is.
    pub node_id: Arc<str>,
    /// What it says.
    pub sign: Sign,
}

/// What became of the keys that this node has written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// They are there, or there were none.
    Yes,
    /// The store has lost them.
    No,
}

/// Where nodes leave their signs of life and what they offer.
pub trait Store: Send + Sync {
    /// Keeps the connection for ever, and tells what happens to it.
    fn keep(&self, told: Box<dyn Fn(Change) + Send + Sync>) -> BoxFuture<'_, ()>;

    /// Writes the sign of life of this node, in the place of an earlier one.
    fn beat(&self, seq: u64, cpu: Option<f64>) -> BoxFuture<'_, Result<Kept, Error>>;

    /// Writes what this node offers.
    fn write_info(&self, info: Bytes) -> BoxFuture<'_, Result<(), Error>>;

    /// All signs of life; with the load of each node when `values` are wanted, too.
    fn signs(&self, values: Values) -> BoxFuture<'_, Result<Vec<Found>, Error>>;

    /// What a node offers. Nothing that is larger than the store was told to read.
    fn read_info<'a>(&'a self, node_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>>;

    /// Takes away everything that this node has written.
    fn remove(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Moleculer's word for signs that cannot be read (moleculer: src/constants.js).
    fn failure(&self) -> &'static str;
}

/// How closely signs of life are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// The names of the keys say enough.
    Left,
    /// The values are read, too.
    Read,
}

/// A store and what has been seen in it.
pub struct Directory {
    store: Arc<dyn Store>,
    serializer: Arc<dyn Serializer>,
    /// Each so many looks the values are read; 0 is never.
    full_check: u32,
    state: Mutex<State>,
    /// True once it was looked into, or could not be.
    looked: watch::Sender<bool>,
    /// True once this node has taken its keys away.
    removed: AtomicBool,
    /// What was found and cannot be used.
    refused: Metric,
}

struct State {
    /// Looks since the values were read.
    looks: u32,
    /// Before this moment nobody is missed.
    trusted_from: Instant,
    /// True while it fails, which is said once.
    failing: bool,
}

impl Directory {
    /// With `full_check`, the first look that reads the values is any of the first so many, lest all nodes do
    /// it together.
    pub(super) fn new(
        store: Arc<dyn Store>,
        serializer: Arc<dyn Serializer>,
        full_check: u32,
        metrics: &MetricRegistry,
    ) -> Self {
        let most = usize::try_from(full_check.saturating_sub(1)).unwrap_or(0);
        let looks = u32::try_from(uid::random_below(most)).unwrap_or(0);
        let state = State { looks, trusted_from: clock::now(), failing: false };
        Self {
            store,
            serializer,
            full_check,
            state: Mutex::new(state),
            looked: watch::Sender::new(false),
            removed: AtomicBool::new(false),
            refused: metrics.metric("isomer.discoverer.refused"),
        }
    }

    /// Waits until the nodes that are there have been found, or could not be.
    pub(super) async fn first_look(&self, longest: Duration) {
        let mut looked = self.looked.subscribe();
        // One that takes longer is looked into later.
        let _ = tokio::time::timeout(longest, looked.wait_for(|looked| *looked)).await;
    }

    fn next_values(&self) -> Values {
        let mut state = self.state.lock();
        state.looks = state.looks.saturating_add(1);
        if self.full_check == 0 || state.looks < self.full_check {
            return Values::Left;
        }
        state.looks = 0;
        Values::Read
    }
}

impl Shared {
    /// Keeps the connection with the store. It says by itself when there is something to write.
    pub(super) async fn keep_directory(self: Arc<Self>, directory: Arc<Directory>) {
        let shared = Arc::downgrade(&self);
        drop(self);
        let told = move |change: Change| {
            let Some(shared) = shared.upgrade() else { return };
            match change {
                Change::Connected => {
                    tracing::info!("the discoverer is connected with its store");
                    shared.post(Outgoing::Returned);
                }
                Change::Lost { reason } => {
                    tracing::warn!(
                        reason,
                        "the discoverer's store is away; the nodes that are known stay"
                    );
                    shared.tell_trouble(&reason, "clientError");
                }
            }
        };
        directory.store.keep(Box::new(told)).await;
    }

    /// The store is there again: whatever it says about others is old or gone.
    pub(super) async fn handle_returned(&self, directory: &Directory) {
        self.distrust(directory);
        if self.transit.connected() {
            self.write_info(directory).await;
        }
    }

    fn distrust(&self, directory: &Directory) {
        let until = clock::now() + self.settings.heartbeat_timeout;
        directory.state.lock().trusted_from = until;
    }

    /// Writes what this node offers, and a sign of life that tells its number.
    pub(super) async fn write_info(&self, directory: &Directory) {
        if directory.removed.load(Ordering::Acquire) {
            return;
        }
        let info = self.encode(directory, self.own_info());
        let written = directory.store.write_info(info).await;
        if self.settle(directory, written, "failedSendInfo").is_some() {
            self.beat_in(directory).await;
        }
    }

    fn encode(&self, directory: &Directory, info: Info) -> Bytes {
        let body = Body::Info(Box::new(info));
        let sender = Arc::clone(self.registry.read().local_id());
        directory.serializer.encode(&Packet { ver: PROTOCOL_VERSION.into(), sender, body })
    }

    /// Writes a sign of life and looks for those of others.
    pub(super) async fn beat_in(&self, directory: &Directory) {
        if directory.removed.load(Ordering::Acquire) {
            return;
        }
        let (seq, cpu) = self.registry.read().local_sign();
        let kept = directory.store.beat(seq, cpu).await;
        let kept = self.settle(directory, kept, directory.store.failure());
        if kept == Some(Kept::No) {
            self.distrust(directory);
            let info = self.registry.read().current_info();
            let written = directory.store.write_info(self.encode(directory, info)).await;
            self.settle(directory, written, "failedSendInfo");
        }
        if kept.is_some() {
            self.look(directory).await;
        }
        directory.looked.send_replace(true);
    }

    /// Looks who is there.
    pub(super) async fn look(&self, directory: &Directory) {
        let found = directory.store.signs(directory.next_values()).await;
        let Some(found) = self.settle(directory, found, directory.store.failure()) else { return };
        let (present, unknown) = self.apply_signs(found);
        self.read_infos(directory, unknown).await;
        let missing = self.missing(&present);
        if missing.is_empty() || clock::now() < directory.state.lock().trusted_from {
            return;
        }
        // A node that writes its sign under another number may be passed over by one search, not by two.
        let again = directory.store.signs(Values::Left).await;
        let Some(again) = self.settle(directory, again, directory.store.failure()) else { return };
        let present: BTreeSet<Arc<str>> = again.into_iter().map(|found| found.node_id).collect();
        for node_id in missing.difference(&present) {
            let effects = self.registry.write().apply_disconnect(node_id, true, clock::now());
            self.carry_out(effects);
        }
    }

    /// Gives all nodes that were seen, and those that must be asked what they offer.
    fn apply_signs(&self, found: Vec<Found>) -> (BTreeSet<Arc<str>>, BTreeSet<Arc<str>>) {
        // A node that was restarted has two signs until the old one ends; one that fits is enough.
        let mut fits: BTreeMap<Arc<str>, bool> = BTreeMap::new();
        let mut registry = self.registry.write();
        let now = clock::now();
        for Found { node_id, sign } in found {
            if node_id != *registry.local_id() {
                let fit = registry.apply_sign(&node_id, &sign, now);
                *fits.entry(node_id).or_default() |= fit;
            }
        }
        drop(registry);
        let unknown = fits.iter().filter(|(_, fit)| !**fit).map(|(id, _)| Arc::clone(id)).collect();
        (fits.into_keys().collect(), unknown)
    }

    /// Other nodes that can be reached as far as is known, and gave no sign.
    fn missing(&self, present: &BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
        let registry = self.registry.read();
        let others = registry.nodes.iter().filter(|node| node.available && !node.local);
        let missing = others.filter(|node| !present.contains(&node.id));
        missing.map(|node| Arc::clone(&node.id)).collect()
    }

    async fn read_infos(&self, directory: &Directory, node_ids: BTreeSet<Arc<str>>) {
        let read = |node_id: Arc<str>| self.read_info(directory, node_id);
        stream::iter(node_ids).for_each_concurrent(READS_MAX, read).await;
    }

    /// Reads what a node offers.
    pub(super) async fn read_info(&self, directory: &Directory, node_id: Arc<str>) {
        let read = match directory.store.read_info(&node_id).await {
            Ok(read) => read,
            // One key that cannot be read says nothing of the store.
            Err(Error::Failed(reason)) => return Self::refuse(directory, &node_id, &reason),
            Err(Error::Away | Error::Address(_) | Error::Gossip) => return,
        };
        let Some(text) = read else {
            // It has just gone, or has not written it yet.
            tracing::debug!(node = &*node_id, "a node has a sign of life and offers nothing");
            return;
        };
        let packet = match directory.serializer.decode(PacketType::Info, &text) {
            Ok(packet) => packet,
            Err(error) => {
                Self::refuse(directory, &node_id, &error.to_string());
                return;
            }
        };
        if packet.sender != node_id {
            return Self::refuse(directory, &node_id, "it is another node's");
        }
        // In which version it is spoken to; whoever is known by a key has sent no packet yet.
        self.transit.remember_version(&packet);
        match packet.body {
            Body::Info(info) => {
                let effects = self.registry.write().apply_info(&node_id, *info, clock::now());
                self.carry_out(effects);
            }
            _ => Self::refuse(directory, &node_id, "it is no INFO"),
        }
    }

    fn refuse(directory: &Directory, node_id: &str, reason: &str) {
        directory.refused.increment();
        tracing::debug!(node = node_id, reason, "what a node offers was refused");
    }

    /// Takes this node's keys away; it writes none any more.
    pub(super) async fn remove_from(&self, directory: &Directory) {
        directory.removed.store(true, Ordering::Release);
        let removed = directory.store.remove().await;
        self.settle(directory, removed, "clientError");
    }

    /// What was answered. A store that fails is one warning, until it works again.
    fn settle<T>(
        &self,
        directory: &Directory,
        answer: Result<T, Error>,
        kind: &'static str,
    ) -> Option<T> {
        let was_failing = {
            let mut state = directory.state.lock();
            std::mem::replace(&mut state.failing, answer.is_err())
        };
        match answer {
            Ok(answer) => return Some(answer),
            // The end of the connection has been told.
            Err(Error::Away) => {}
            Err(error) if was_failing => {
                tracing::debug!(%error, kind, "the discoverer's store fails");
            }
            Err(error) => {
                tracing::warn!(%error, kind, "the discoverer's store fails");
                self.tell_trouble(&error.to_string(), kind);
            }
        }
        None
    }

    // moleculer: src/registry/discoverers/redis.js init
    fn tell_trouble(&self, message: &str, kind: &'static str) {
        let error = json!({"name": "Error", "message": message});
        let data = json!({"error": error, "module": "discoverer", "type": kind});
        self.tell("$discoverer.error", data);
    }
}
