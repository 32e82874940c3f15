//! Discovery over the transporter: the tasks that send INFO, DISCOVER and HEARTBEAT and watch over the
//! heartbeats of others (moleculer: src/registry/discoverers/base.js, local.js).

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::backoff;
use crate::clock;
use crate::discoverer::cpu::CpuMeter;
use crate::discoverer::store::Directory;
use crate::discoverer::{Outgoing, Shared};
use crate::error::MoleculerError;
use crate::packet::{Body, Heartbeat, INTERIM, Info};
use crate::task;

/// Largest deviation of the heartbeat interval, so that the nodes of a mesh do not beat together.
const JITTER_MAX: Duration = Duration::from_millis(500);

/// How often long-gone nodes are looked for.
const CLEAN_UP_INTERVAL: Duration = Duration::from_secs(60);

/// How often it is asked whether a strategy wants latencies, while none does.
const LATENCY_LOOK: Duration = Duration::from_secs(10);

/// Pings for the Latency strategy that are under way at once, and how long an answer may take.
const LATENCY_PINGS_MAX: usize = 5;
const LATENCY_TIMEOUT: Duration = Duration::from_secs(5);

/// The watch runs this many times per heartbeat timeout. Moleculer's runs once, so that it notices a loss
/// up to twice the timeout late.
const CHECKS_PER_TIMEOUT: u32 = 4;

/// Starts the task that sends what is posted and announced.
pub(super) fn start_sending(shared: &Arc<Shared>, mut outgoing: mpsc::Receiver<Outgoing>) {
    let task_shared = Arc::downgrade(shared);
    let cancel = shared.cancel.clone();
    let posts = async move {
        while let Some(next) = outgoing.recv().await {
            let Some(shared) = task_shared.upgrade() else { return };
            match shared.directory.clone() {
                None => shared.send_to_nodes(next).await,
                Some(directory) => shared.write_to(&directory, next).await,
            }
        }
    };
    task::spawn_on(&shared.runtime, "discoverer outbox", async move {
        let _ = cancel.run_until_cancelled(posts).await;
    });
}

/// Starts the task that keeps the connection with the store, when there is one.
pub(super) fn start_directory(shared: &Arc<Shared>) {
    let Some(directory) = shared.directory.clone() else { return };
    let keep = Arc::clone(shared).keep_directory(directory);
    let cancel = shared.cancel.clone();
    task::spawn_on(&shared.runtime, "discoverer store", async move {
        let _ = cancel.run_until_cancelled(keep).await;
    });
}

/// Starts the timers, in the place of those that may still run.
pub(super) fn start_timers(shared: &Arc<Shared>) {
    let timers = shared.cancel.child_token();
    std::mem::replace(&mut *shared.timers.lock(), timers.clone()).cancel();
    let start = |name, work: futures_util::future::BoxFuture<'static, ()>| {
        let timers = timers.clone();
        task::spawn_on(&shared.runtime, name, async move {
            let _ = timers.run_until_cancelled(work).await;
        });
    };
    start("announcer", Box::pin(Arc::clone(shared).announce_changes()));
    start("latencies", Box::pin(Arc::clone(shared).measure_latencies()));
    let kept = shared.settings.options.clean_offline_nodes_timeout;
    let forget = !shared.settings.options.disable_offline_node_removing && !kept.is_zero();
    if let Some(gossip) = shared.transit.gossip() {
        start("gossip", Box::pin(Arc::clone(shared).gossip_rounds(gossip)));
        if forget {
            start("offline nodes", Box::pin(Arc::clone(shared).forget_strangers(kept)));
        }
        return;
    }
    if shared.settings.heartbeat_interval.is_zero() {
        return;
    }
    start("heartbeat", Box::pin(Arc::clone(shared).beat()));
    let options = &shared.settings.options;
    // Of those in a store the signs end by themselves.
    if !options.disable_heartbeat_checks && shared.directory.is_none() {
        start("heartbeat watch", Box::pin(Arc::clone(shared).watch_heartbeats()));
    }
    if forget {
        start("offline nodes", Box::pin(Arc::clone(shared).forget_offline(kept)));
    }
}

impl Shared {
    async fn send_to_nodes(&self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Info { target } => self.send_info(target.as_deref()).await,
            Outgoing::Discover { target } => self.send_discover(&target).await,
            Outgoing::Greeting => self.greet().await,
            // What only a store needs.
            Outgoing::Beat
            | Outgoing::Returned
            | Outgoing::Farewell { .. }
            | Outgoing::Remove { .. } => {}
        }
    }

    async fn write_to(&self, directory: &Directory, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Info { .. } | Outgoing::Greeting => self.write_info(directory).await,
            Outgoing::Discover { target } => self.read_info(directory, target).await,
            Outgoing::Beat => self.beat_in(directory).await,
            Outgoing::Returned => self.handle_returned(directory).await,
            Outgoing::Farewell { said } => {
                self.write_info(directory).await;
                // Nobody may wait any more.
                let _ = said.send(());
            }
            Outgoing::Remove { said } => {
                self.remove_from(directory).await;
                let _ = said.send(());
            }
        }
    }

    async fn announce_changes(self: Arc<Self>) {
        loop {
            self.changed.notified().await;
            // From the first change on: a node whose services change all the time is still heard.
            tokio::time::sleep(self.settings.debounce).await;
            if self.leaving() {
                return;
            }
            // What changed during the pause is told now.
            let _ = self.changed.notified().now_or_never();
            let shrunk = std::mem::take(&mut *self.shrunk.lock());
            if self.directory.is_some() {
                // Whoever looks from time to time would miss an INFO that is there for a moment only.
                self.post(Outgoing::Info { target: None });
                continue;
            }
            if let Some(info) = self.interim_info(&shrunk) {
                // The queues of the balancer stay as they are: the services are there.
                self.say_info(info, None).await;
            }
            // An INFO to a single node may have told the change to that node only, so that `seq` is the same
            // already; it still has to reach the others.
            self.send_info(None).await;
        }
    }

    /// An INFO that shows services that have lost an action under other names, because nodes of JavaScript would
    /// not forget the action otherwise. The right one follows it at once, in the same write where the transporter
    /// can; a call in between finds its action all the same. Nodes of this kind are told to pass it over.
    /// Who listens is not known for sure: a node that joins hears before it is heard.
    fn interim_info(&self, shrunk: &[Arc<str>]) -> Option<Info> {
        if shrunk.is_empty() {
            return None;
        }
        let info = self.registry.write().local_info(shrunk);
        Some(Info { config: json!({(INTERIM): true}), ..info })
    }

    async fn beat(self: Arc<Self>) {
        let mut meter = CpuMeter::start();
        let mut ticks = interval(jittered(self.settings.heartbeat_interval));
        loop {
            ticks.tick().await;
            let cpu = meter.percent();
            self.registry.write().set_local_cpu(cpu, clock::now());
            if self.directory.is_some() {
                self.post(Outgoing::Beat);
                continue;
            }
            let heartbeat = Body::Heartbeat(Heartbeat { cpu });
            self.send(heartbeat, None, "failedSendHeartbeatPacket").await;
        }
    }

    async fn watch_heartbeats(self: Arc<Self>) {
        let timeout = self.settings.heartbeat_timeout;
        // After a reconnect everybody has been silent for the time of the loss; those that live have beaten
        // when one whole timeout has passed.
        tokio::time::sleep(timeout).await;
        let mut ticks = interval(timeout / CHECKS_PER_TIMEOUT);
        loop {
            ticks.tick().await;
            let effects = self.registry.write().expire_nodes(clock::now(), timeout);
            self.carry_out(effects);
        }
    }

    async fn forget_offline(self: Arc<Self>, kept: Duration) {
        let mut ticks = interval(CLEAN_UP_INTERVAL);
        loop {
            ticks.tick().await;
            self.registry.write().remove_offline(clock::now(), kept);
        }
    }

    async fn forget_strangers(self: Arc<Self>, kept: Duration) {
        let mut ticks = interval(CLEAN_UP_INTERVAL);
        loop {
            ticks.tick().await;
            self.registry.write().forget_strangers(clock::now(), kept);
        }
    }

    /// Pings a node of every host from time to time, as long as a strategy asks for it. The answers are
    /// counted where all pongs are.
    async fn measure_latencies(self: Arc<Self>) {
        loop {
            let round = self.registry.write().latency_round();
            let Some((nodes, interval)) = round else {
                tokio::time::sleep(LATENCY_LOOK).await;
                continue;
            };
            let next = clock::now() + interval;
            let ping = |node_id: Arc<str>| {
                let shared = Arc::clone(&self);
                async move {
                    if let Err(error) = shared.transit.ping(&node_id, LATENCY_TIMEOUT).await {
                        shared.transit.report_unsent("failedSendPingPacket", &node_id, error);
                    }
                }
            };
            stream::iter(nodes).for_each_concurrent(LATENCY_PINGS_MAX, ping).await;
            tokio::time::sleep_until(next).await;
        }
    }

    /// Tells what this node offers, to one node or to all. Quiet until the node is connected: JS nodes too
    /// do not answer while they are joining.
    pub(super) async fn send_info(&self, target: Option<&str>) {
        if !self.transit.connected() {
            return;
        }
        let info = self.own_info();
        if target.is_none() {
            self.share_queues(&info).await;
        }
        self.say_info(info, target).await;
    }

    /// Whatever is told to all can be asked for (moleculer: src/registry/discoverers/local.js
    /// sendLocalNodeInfo).
    async fn share_queues(&self, info: &Info) {
        let services = info.services.as_deref().unwrap_or_default();
        if let Err(error) = self.transit.share_queues(services).await {
            tracing::warn!(%error, "some actions or events cannot be reached through queues");
        }
    }

    async fn say_info(&self, info: Info, target: Option<&str>) {
        match self.transit.gossip() {
            Some(gossip) => self.push(&gossip, &info).await,
            None => self.send(Body::Info(Box::new(info)), target, "failedSendInfoPacket").await,
        }
    }

    pub(super) fn own_info(&self) -> Info {
        let mut registry = self.registry.write();
        if self.leaving() { registry.final_info() } else { registry.local_info(&[]) }
    }

    async fn greet(&self) {
        let info = self.own_info();
        self.share_queues(&info).await;
        let sent = self.transit.send_in_all_versions(Body::Info(Box::new(info))).await;
        self.report(sent, None, "failedSendInfoPacket");
        let sent = self.transit.discover_all().await;
        self.report(sent, None, "failedNodesDiscovery");
    }

    async fn send_discover(&self, target: &str) {
        self.send(Body::Discover, Some(target), "failedNodeDiscovery").await;
    }

    async fn send(&self, body: Body, target: Option<&str>, failure: &'static str) {
        let sent = self.transit.send(body, target).await;
        self.report(sent, target, failure);
    }

    fn report(
        &self,
        sent: Result<(), MoleculerError>,
        target: Option<&str>,
        failure: &'static str,
    ) {
        let Err(error) = sent else { return };
        if error == MoleculerError::broker_disconnected() {
            // Everything is said again after the reconnect.
            return;
        }
        self.transit.report_unsent(failure, target.unwrap_or("all nodes"), error);
    }
}

/// Ticks for the first time after one period.
fn interval(period: Duration) -> tokio::time::Interval {
    // A period of zero is not allowed; a millisecond is short enough for everybody.
    let period = period.max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval_at(clock::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// An interval with its deviation, which is fixed for the time of a connection. Short intervals, as in
/// tests, deviate by a tenth at most.
fn jittered(period: Duration) -> Duration {
    let most = JITTER_MAX.min(period / 10);
    period + backoff::jitter(2 * most) - most
}
