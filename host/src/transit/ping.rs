//! Round-trip measurement (moleculer: src/transit.js sendPing, sendPong, processPong).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::error::MoleculerError;
use crate::packet::{Body, Ping, Pong, ProtocolVersion};
use crate::task;
use crate::transit::counters::Refusal;
use crate::transit::pending::Settled;
use crate::transit::respond::InFlight;
use crate::transit::{Notice, PONGS_MAX, Shared, Transit};
use crate::uid;

/// What a ping waits for.
pub(super) type Answer = PingResult;

/// What a ping found out; `$node.pong` has the same fields.
#[derive(Clone, Debug, PartialEq)]
pub struct PingResult {
    /// The node that answered.
    pub node_id: Arc<str>,
    /// Round-trip time in milliseconds.
    pub elapsed_time: f64,
    /// How far its clock is behind ours, in milliseconds, if both ways took equally long.
    pub time_diff: f64,
    /// The ping's ID.
    pub id: Option<Arc<str>>,
}

impl PingResult {
    /// In Moleculer's names, as `$node.pong` carries it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({"nodeID": &*self.node_id, "elapsedTime": self.elapsed_time,
            "timeDiff": self.time_diff, "id": self.id.as_deref()})
    }
}

impl Transit {
    /// Pings a node. `None` when no answer came in time or the node is gone.
    ///
    /// # Errors
    /// As [`Transit::send`].
    pub async fn ping(
        &self,
        node_id: &Arc<str>,
        timeout: Duration,
    ) -> Result<Option<PingResult>, MoleculerError> {
        let id = uid::new();
        let Ok(waiting) = self.0.pings.insert(&id, node_id) else {
            return Err(MoleculerError::server("PING_QUEUE_FULL", "Too many pings are under way."));
        };
        let ping = Ping { time: now_ms(), id: Some(id) };
        let sent = clock::now();
        self.send(Body::Ping(ping), Some(node_id)).await?;
        match tokio::time::timeout(timeout, waiting.wait()).await {
            // What the packets say of it is wrong when a wall clock jumps meanwhile.
            Ok(Settled::Answer(result)) => {
                let elapsed = clock::now().saturating_duration_since(sent);
                Ok(Some(PingResult { elapsed_time: elapsed.as_secs_f64() * 1e3, ..result }))
            }
            Ok(Settled::NodeLost | Settled::Closed) | Err(_) => Ok(None),
        }
    }
}

impl Shared {
    /// Answers at once, in the version of the question: nothing of this node stands between a ping and its
    /// pong, and who asks need not be known.
    pub(super) fn handle_ping(self: &Arc<Self>, sender: Arc<str>, ping: Ping, ver: &str) {
        let Some(in_flight) = InFlight::enter(&self.counters.pongs, PONGS_MAX) else {
            self.refuse(Refusal::Overload, Some(&sender), "PING", &"too many pings at once");
            return;
        };
        let pong = Pong { time: ping.time, id: ping.id, arrived: now_ms() };
        let version = ProtocolVersion::from_wire(ver);
        let version = version.unwrap_or_else(|| self.versions.of(&sender));
        let shared = Arc::clone(self);
        task::spawn("pong", &self.stop, async move {
            let _in_flight = in_flight;
            if let Err(error) = shared.send_as(version, Body::Pong(pong), Some(&sender)).await {
                shared.report_unsent("failedSendPongPacket", &sender, error);
            }
        });
    }

    pub(super) fn handle_pong(&self, sender: Arc<str>, pong: Pong) {
        let now = now_ms();
        let elapsed_time = now - pong.time;
        let time_diff = (now - pong.arrived - elapsed_time / 2.0).round();
        let result = PingResult { node_id: sender, elapsed_time, time_diff, id: pong.id };
        self.notify(Notice::Pong(result.clone()));
        if let Some(id) = result.id.clone() {
            let sender = Arc::clone(&result.node_id);
            self.pings.settle(&id, &sender, result);
        }
    }
}

pub(super) fn now_ms() -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit for 285,000 years")]
    let now = clock::unix_ms() as f64;
    now
}
