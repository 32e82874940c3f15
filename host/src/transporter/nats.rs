//! NATS (moleculer: src/transporters/nats.js): plain subscriptions, queue groups only for shared queues, no
//! headers, no reply subjects, at most once.
//!
//! The client is our own, because a packet costs little beside what a general client does for it: a
//! connection is one task, which hands each message to the listener in its read loop, and one buffer, which
//! all publishers fill and one of them writes ([`outbox`]). A flood of messages fills no queue here: it
//! meets the limits of who listens, and then those of the server. Moleculer's client hides reconnects;
//! here they are told, so that the node can announce itself again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::task::{self, CancellationToken};
use crate::transporter::{Attempt, Error, Listener, Queue, Transporter};

mod address;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod nkey;
mod outbox;
mod protocol;
mod session;
#[cfg(test)]
mod tests;

use address::{Auth, Server};
use connection::Connection;
use outbox::Outbox;

/// How long a disconnect may take to send what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to a NATS server or cluster.
pub struct Nats {
    servers: Vec<Server>,
    auth: Auth,
    /// Shown by the server's monitoring.
    client_name: String,
    link: ArcSwapOption<Link>,
}

/// What is there while the transporter is connected or reconnects.
struct Link {
    outbox: Arc<Outbox>,
    /// Ends the connection.
    cancel: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Nats {
    /// A transporter for these servers (`nats://[user:password@]host[:port]`, `nats://token@…`, `tls://…`, each
    /// possibly a list with commas). The first credentials that are found are used for all. `client_name`
    /// is how the server knows the connection.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(urls: &[String], client_name: &str) -> Result<Self, Error> {
        let mut servers = Vec::new();
        let mut auth = Auth::None;
        for url in urls.iter().flat_map(|urls| urls.split(',')).map(str::trim) {
            let (server, own_auth) = address::parse_url(url)?;
            servers.push(server);
            if auth == Auth::None {
                auth = own_auth;
            }
        }
        if servers.is_empty() {
            return Err(Error::Address { address: String::new(), cause: "it is empty".into() });
        }
        let client_name = client_name.to_owned();
        Ok(Self { servers, auth, client_name, link: ArcSwapOption::empty() })
    }

    async fn try_connect(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let (servers, auth) = (self.servers.clone(), self.auth.clone());
        let mut connection = Connection::new(servers, auth, self.client_name.clone(), listener);
        let connected = connection.connect().await;
        let session =
            connected.map_err(|cause| Error::Connect { address: self.address(), cause })?;
        let link =
            Link { outbox: Arc::clone(&connection.outbox), cancel: CancellationToken::new() };
        task::spawn("nats connection", &link.cancel, connection.run(session));
        self.link.store(Some(Arc::new(link)));
        Ok(())
    }

    async fn close(&self) {
        let Some(link) = self.link.swap(None) else { return };
        // A server that does not take the rest in time does not get it.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, link.outbox.flush()).await;
        link.cancel.cancel();
        link.outbox.close();
    }
}

impl Transporter for Nats {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        self.try_connect(listener).boxed()
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        // A server handles what one connection sends in its order: once the subscriptions are in the buffer,
        // they are in force for everything that is published later.
        let link = self.link.load();
        let subscribed =
            link.as_ref().map_or(Err(Error::NotConnected), |link| link.outbox.subscribe(topics));
        std::future::ready(subscribed).boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let link = self.link.load_full().ok_or(Error::NotConnected)?;
            link.outbox.publish(topic, &data).await
        }
        .boxed()
    }

    fn try_publish(&self, topic: &str, data: Bytes) -> Attempt {
        let link = self.link.load();
        let Some(link) = link.as_ref() else { return Attempt::Done(Err(Error::NotConnected)) };
        match link.outbox.try_publish(topic, &data) {
            Some(done) => Attempt::Done(done),
            None => Attempt::MustWait(data),
        }
    }

    fn has_balancer(&self) -> bool {
        true
    }

    fn share(&self, queues: Vec<Queue>) -> BoxFuture<'_, Result<(), Error>> {
        let link = self.link.load();
        let shared =
            link.as_ref().map_or(Err(Error::NotConnected), |link| link.outbox.share(&queues));
        std::future::ready(shared).boxed()
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }

    fn address(&self) -> String {
        let shown: Vec<_> = self.servers.iter().map(Server::to_string).collect();
        shown.join(", ")
    }
}
