//! What middlewares put around packets as values (moleculer: src/transit.js `transitPublish`,
//! `transitMessageHandler`). Set once, before the mesh is joined; absent where nobody wraps.

use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;

use crate::error::MoleculerError;
use crate::packet::Packet;
use crate::transit::Transit;

/// Sends a packet to one node, or with `None` to all.
pub type Publish = Arc<
    dyn Fn(Packet, Option<Arc<str>>) -> BoxFuture<'static, Result<(), MoleculerError>>
        + Send
        + Sync,
>;

/// Handles a packet that came in and passed all checks. Called in the read loop: it must not wait.
pub type HandleMessage = Arc<dyn Fn(Packet) + Send + Sync>;

/// The functions with everything around them.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) publish: OnceLock<Publish>,
    pub(super) message: OnceLock<HandleMessage>,
}

impl Transit {
    /// Puts something around the sending of packets. Only the first time counts.
    pub fn wrap_publish(&self, wrap: impl FnOnce(Publish) -> Publish) {
        let weak = Arc::downgrade(&self.0);
        let publish: Publish = Arc::new(move |packet, target| {
            let shared = weak.upgrade();
            Box::pin(async move {
                let shared = shared.ok_or_else(MoleculerError::broker_disconnected)?;
                shared.publish(&packet, target.as_deref()).await
            })
        });
        let outer = wrap(Arc::clone(&publish));
        if !Arc::ptr_eq(&outer, &publish) {
            let _ = self.0.hooks.publish.set(outer);
        }
    }

    /// Puts something around the handling of packets that come in. Only the first time counts.
    pub fn wrap_message_handler(&self, wrap: impl FnOnce(HandleMessage) -> HandleMessage) {
        let weak = Arc::downgrade(&self.0);
        let handle: HandleMessage = Arc::new(move |packet| {
            if let Some(shared) = weak.upgrade() {
                shared.dispatch(packet);
            }
        });
        let outer = wrap(Arc::clone(&handle));
        if !Arc::ptr_eq(&outer, &handle) {
            let _ = self.0.hooks.message.set(outer);
        }
    }
}
