//! Discovery where nodes reach each other without a server: rounds of gossip, and answers to those of
//! others (moleculer: src/transporters/tcp.js). What a packet means is decided by the registry.
//!
//! One task handles what comes in, in its order, so that the reading of packets never waits for it; what
//! does not fit into its queue is dropped, because every round says everything again. Two things are quicker
//! than in Moleculer, by means that its nodes understand: a node that has just shown itself is asked at
//! once instead of in one of the next rounds, and a change of this node is sent without being asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::discoverer::cpu::CpuMeter;
use crate::discoverer::{Shared, node_id};
use crate::packet::{Body, Info};
use crate::registry::{Effect, Node, gossip};
use crate::task;
use crate::transporter::Gossip;
use crate::uid;

/// Packets and wishes that wait to be handled.
pub(super) const QUEUE_SIZE: usize = 64;

/// Nodes that are asked out of turn between two rounds. Anybody can send a datagram; each of them must not
/// cost a connection.
const ASKS_MAX: usize = 20;

/// What the task of gossip has to do.
#[derive(Debug)]
pub(super) enum Job {
    /// A packet came in.
    Heard { sender: Arc<str>, body: Box<Body> },
    /// A node that is not online has shown itself.
    Ask { node_id: Arc<str> },
}

/// Starts the task that handles what comes in.
pub(super) fn start_hearing(shared: &Arc<Shared>, mut jobs: mpsc::Receiver<Job>) {
    let task_shared = Arc::downgrade(shared);
    let cancel = shared.cancel.clone();
    let work = async move {
        while let Some(job) = jobs.recv().await {
            let Some(shared) = task_shared.upgrade() else { return };
            match job {
                Job::Heard { sender, body } => shared.hear(&sender, *body).await,
                Job::Ask { node_id } => shared.ask(&node_id).await,
            }
        }
    };
    task::spawn_on(&shared.runtime, "gossip", async move {
        let _ = cancel.run_until_cancelled(work).await;
    });
}

impl Shared {
    /// Gossip of another node. A HELLO is taken in at once: what comes behind it may need its answer's
    /// address.
    pub(super) fn handle_gossip(&self, sender: Arc<str>, body: Body) {
        let Body::GossipHello(hello) = body else {
            return self.queue(Job::Heard { sender, body: Box::new(body) });
        };
        let ask = self.registry.write().apply_hello(&sender, &hello, clock::now());
        match ask {
            None => self.transit.refuse_gossip(&sender, &"GOSSIP_HELLO without host and port"),
            Some(true) => self.queue(Job::Ask { node_id: sender }),
            Some(false) => {}
        }
    }

    pub(super) fn queue(&self, job: Job) {
        if self.gossip.try_send(job).is_err() {
            tracing::debug!("too much gossip at once; some is dropped and comes again");
        }
    }

    async fn hear(&self, sender: &Arc<str>, body: Body) {
        match body {
            Body::GossipRequest(request) => self.answer(sender, &request).await,
            Body::GossipResponse(response) => {
                let applied = self.registry.write().apply_gossip(response, clock::now());
                for effect in &applied.effects {
                    if let Effect::NodeConnected { node, .. } = effect
                        && self.transit.version_missing(node_id(node))
                    {
                        self.queue(Job::Ask { node_id: node_id(node).into() });
                    }
                }
                self.carry_out(applied.effects);
                if applied.refused > 0 {
                    let reason = format!("{} entries make no sense", applied.refused);
                    self.transit.refuse_gossip(sender, &reason);
                }
            }
            _ => {}
        }
    }

    async fn answer(&self, sender: &Arc<str>, request: &Map<String, Value>) {
        let Some(gossip) = self.transit.gossip() else { return };
        let leaving = self.leaving();
        let (rows, effects) = self.registry.write().answer_gossip(request, leaving, clock::now());
        self.carry_out(effects);
        for response in gossip::pack(rows, gossip.packet_max) {
            self.whisper(Body::GossipResponse(response), sender).await;
        }
        let offline = |node: &Node| !node.available;
        if self.registry.read().nodes.get(sender).is_some_and(offline) {
            self.ask(sender).await;
        }
    }

    /// Asks one node now, unless too many were since the last round.
    async fn ask(&self, node_id: &Arc<str>) {
        if self.asks.fetch_add(1, Ordering::Relaxed) >= ASKS_MAX {
            return;
        }
        let round = self.registry.read().gossip_round();
        if let Some(mut round) = round {
            // Whoever seems not to know a node is told of it, so an answer comes in any case. That a node is
            // held offline must be said to it: its answer is newer then.
            if let Some(Value::Object(online)) = round.request.get_mut("online") {
                online.shift_remove(&**node_id);
            }
            self.whisper(Body::GossipRequest(round.request), node_id).await;
        }
    }

    /// Asks one node of those that are online in every round, and one of the others the oftener the more
    /// of them there are (moleculer: src/transporters/tcp.js sendGossipRequest).
    pub(super) async fn gossip_rounds(self: Arc<Self>, gossip: Gossip) {
        let mut meter = CpuMeter::start();
        let mut ticks = tokio::time::interval(gossip.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The first one is at once: nodes that were named beforehand are waiting.
            ticks.tick().await;
            self.asks.store(0, Ordering::Relaxed);
            self.registry.write().set_local_cpu(meter.percent(), clock::now());
            let round = self.registry.read().gossip_round();
            let Some(round) = round else { continue };
            let (n_online, n_offline) = (round.online.len(), round.offline.len());
            if let Some(node_id) = any_of(&round.online) {
                self.whisper(Body::GossipRequest(round.request.clone()), node_id).await;
            }
            if uid::random_below(n_online + 1) < n_offline
                && let Some(node_id) = any_of(&round.offline)
            {
                self.whisper(Body::GossipRequest(round.request.clone()), node_id).await;
            }
        }
    }

    /// Tells what this node offers to as many nodes as may be told at once.
    pub(super) async fn push(&self, gossip: &Gossip, info: &Info) {
        let (row, mut nodes) = {
            let registry = self.registry.read();
            let others = registry.nodes.iter().filter(|node| node.available && !node.local);
            let others: Vec<_> = others.map(|node| Arc::clone(&node.id)).collect();
            (registry.gossip_row(info), others)
        };
        while nodes.len() > gossip.push_max {
            nodes.swap_remove(uid::random_below(nodes.len()));
        }
        for response in gossip::pack(vec![row], gossip.packet_max) {
            for node_id in &nodes {
                self.whisper(Body::GossipResponse(response.clone()), node_id).await;
            }
        }
    }

    /// Sends gossip. What cannot be sent is said again in one of the next rounds; only what will never fit
    /// needs a person.
    async fn whisper(&self, body: Body, node_id: &Arc<str>) {
        let Err(error) = self.transit.send_gossip(body, Some(node_id)).await else { return };
        if error.name() == "PayloadTooLargeError" {
            tracing::error!(
                node = &**node_id,
                %error,
                "the services of a node do not fit into a packet: give all nodes a larger maxPacketSize"
            );
        } else {
            tracing::debug!(node = &**node_id, %error, "gossip could not be sent");
        }
    }
}

fn any_of(nodes: &[Arc<str>]) -> Option<&Arc<str>> {
    nodes.get(uid::random_below(nodes.len()))
}
