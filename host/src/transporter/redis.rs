//! Redis (moleculer: src/transporters/redis.js): a channel for each topic, PUBLISH and SUBSCRIBE, at most
//! once.
//!
//! The client is our own, because a packet costs little beside what a general client does for it: all
//! publishers fill one buffer and one of them writes it, answers are only counted, and all messages of one
//! read are handed on together. A flood of messages fills no queue here: it meets the limits of who listens,
//! and then those of the server. A cluster passes what is published to all of its servers, so any one of
//! them will do and the others are tried when it is gone.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::task::{self, CancellationToken};
use crate::transporter::{Error, Listener, Transporter};

mod address;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod outbox;
mod protocol;
mod session;
#[cfg(test)]
mod tests;

use address::Server;
use connection::Connection;
use outbox::Outbox;

/// How long a disconnect may take to send what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections to a Redis server or cluster.
pub struct Redis {
    servers: Vec<Server>,
    /// Larger messages are left unread.
    message_max: usize,
    /// Shown by the server's list of clients.
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

impl Redis {
    /// A transporter for these servers (`redis://[[user]:password@]host[:port][/database]`, `rediss://…`): one,
    /// or several of a cluster. Messages of more than `message_max` bytes are left unread. `client_name` is
    /// how the server knows the connections.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(urls: &[String], message_max: usize, client_name: &str) -> Result<Self, Error> {
        let servers: Vec<Server> =
            urls.iter().map(|url| Server::parse(url)).collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(Error::Address { address: String::new(), cause: "it is empty".into() });
        }
        let client_name = client_name.to_owned();
        Ok(Self { servers, message_max, client_name, link: ArcSwapOption::empty() })
    }

    async fn try_connect(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let (servers, name) = (self.servers.clone(), self.client_name.clone());
        let mut connection = Connection::new(servers, self.message_max, name, listener);
        let connected = connection.connect().await;
        let session =
            connected.map_err(|cause| Error::Connect { address: self.address(), cause })?;
        let link =
            Link { outbox: Arc::clone(&connection.outbox), cancel: CancellationToken::new() };
        task::spawn("redis connection", &link.cancel, connection.run(session));
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

impl Transporter for Redis {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        self.try_connect(listener).boxed()
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let link = self.link.load_full().ok_or(Error::NotConnected)?;
            link.outbox.subscribe(topics).await
        }
        .boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let link = self.link.load_full().ok_or(Error::NotConnected)?;
            link.outbox.publish(topic, &data).await
        }
        .boxed()
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }

    fn address(&self) -> String {
        let shown: Vec<_> = self.servers.iter().map(Server::to_string).collect();
        shown.join(", ")
    }
}
