//! Is there another process with this node's ID? Asked before this one announces itself, because nodes of
//! JavaScript end themselves when they hear of a second one (moleculer: src/transit.js messageHandler).
//!
//! Packets with the own ID as their sender are ignored by everybody who has it, so the question is a PING
//! in the name of somebody who does not exist otherwise. Whoever has the ID answers that one; nobody else
//! gets to see it. Only IDs that somebody has chosen are asked for: made ones are unique.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::packet::{Body, Packet, PacketType, Ping, Pong};
use crate::transit::{Shared, ping};
use crate::transporter;
use crate::uid;

/// How long an answer may take. An ID that was chosen costs this much at every start.
const ANSWER_TIME: Duration = Duration::from_millis(250);

/// What is known of a second process.
pub(super) struct Twin {
    /// ID of the question, and in whose name it is asked.
    question: Arc<str>,
    asker: Arc<str>,
    /// True until this node is a part of the mesh; later ones are told otherwise.
    asking: AtomicBool,
    found: AtomicBool,
    answered: Notify,
}

impl Twin {
    pub(super) fn new(node_id: &str) -> Self {
        let question = uid::new();
        let asker = format!("{node_id}-{}", question.chars().take(8).collect::<String>());
        Self {
            question,
            asker: asker.into(),
            asking: AtomicBool::new(false),
            found: AtomicBool::new(false),
            answered: Notify::new(),
        }
    }

    /// From now on signs of another process count.
    pub(super) fn begin(&self) {
        self.asking.store(true, Ordering::Release);
    }

    /// Whether they do.
    pub(super) fn asking(&self) -> bool {
        self.asking.load(Ordering::Acquire)
    }

    /// A PONG with this node's ID as its sender.
    pub(super) fn handle_pong(&self, pong: &Pong) {
        if pong.id.as_ref() == Some(&self.question) {
            self.handle_sign();
        }
    }

    /// A sign of another process with this ID.
    pub(super) fn handle_sign(&self) {
        if self.asking() {
            self.found.store(true, Ordering::Release);
            self.answered.notify_one();
        }
    }
}

impl Shared {
    /// Makes the way for an answer. Before anything else is subscribed to for which two would compete.
    pub(super) async fn begin_asking_for_twin(&self) -> Result<(), transporter::Error> {
        let answers = self.topics.of(PacketType::Pong, Some(&self.twin.asker));
        self.transporter.subscribe(vec![answers]).await
    }

    /// Asks, in every version that this node speaks, and waits a moment. True when there is another one.
    pub(super) async fn ask_for_twin(&self) -> bool {
        for version in self.versions.spoken() {
            let id = Some(Arc::clone(&self.twin.question));
            let ping = Body::Ping(Ping { time: ping::now_ms(), id });
            let sender = Arc::clone(&self.twin.asker);
            let packet = Packet { ver: version.shared(), sender, body: ping };
            let sent = self.publish(&packet, Some(&self.settings.node_id)).await;
            if let Err(error) = sent {
                tracing::debug!(%error, "nobody could be asked who has this node's ID");
            }
        }
        let _ = tokio::time::timeout(ANSWER_TIME, self.twin.answered.notified()).await;
        self.twin_found()
    }

    /// Whether another process has shown itself so far.
    pub(super) fn twin_found(&self) -> bool {
        self.twin.found.load(Ordering::Acquire)
    }

    /// This node is a part of the mesh.
    pub(super) fn end_asking_for_twin(&self) {
        self.twin.asking.store(false, Ordering::Release);
    }
}
