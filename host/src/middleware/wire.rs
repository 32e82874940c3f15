//! The hooks around a transporter: bytes on their way out and in
//! (moleculer: src/transit.js `transporterSend`, `transporterReceive`).
//!
//! The first middleware of the list is the nearest to the transporter on the way out and the first on the
//! way in, so that a middleware undoes on one node what it did on the other.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::middleware::Chain;
use crate::middleware::hook::{ReceiveBytes, SendBytes};
use crate::transporter::{Error, Event, Gossip, Listener, Queue, Transporter};

/// A transporter with the hooks of middlewares around it.
pub struct Wire {
    inner: Arc<dyn Transporter>,
    send: SendBytes,
    chain: Chain,
}

impl Wire {
    /// Puts the hooks of a chain around a transporter.
    #[must_use]
    pub fn new(inner: Arc<dyn Transporter>, chain: Chain) -> Self {
        let sender = Arc::clone(&inner);
        let send: SendBytes = Arc::new(move |topic, data| {
            let sender = Arc::clone(&sender);
            Box::pin(async move { sender.publish(&topic, data).await })
        });
        Self { inner, send: chain.transporter_send(send), chain }
    }
}

impl Transporter for Wire {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        let behind = Arc::clone(&listener);
        let receive: ReceiveBytes = Arc::new(move |topic, data| behind.handle_message(topic, data));
        let receive = self.chain.transporter_receive(receive);
        self.inner.connect(Arc::new(Hooked { listener, receive }))
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.subscribe(topics)
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        (self.send)(Arc::from(topic), data)
    }

    fn has_balancer(&self) -> bool {
        self.inner.has_balancer()
    }

    fn share(&self, queues: Vec<Queue>) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.share(queues)
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.inner.disconnect()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn gossip(&self) -> Option<Gossip> {
        self.inner.gossip()
    }
}

/// A listener behind the hooks.
struct Hooked {
    listener: Arc<dyn Listener>,
    receive: ReceiveBytes,
}

impl Listener for Hooked {
    fn handle_message(&self, topic: &str, data: Bytes) {
        (self.receive)(topic, data);
    }

    fn handle_event(&self, event: Event) {
        self.listener.handle_event(event);
    }
}
