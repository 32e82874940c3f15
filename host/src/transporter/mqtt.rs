//! MQTT 3.1.1 (moleculer: src/transporters/mqtt.js): a topic for each kind of packet and node, no retained
//! messages, a clean session, and nothing balanced.
//!
//! A connection is one task, which hands each message to the listener in its read loop. What is sent with
//! an acknowledgement (`qos` 1 and 2) is sent once on a connection: a lost connection takes its session with
//! it, as everywhere in Moleculer, where whoever needs an answer waits for it. Publishing does not wait for
//! acknowledgements, unless too many are open.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::config;
use crate::task::{self, CancellationToken};
use crate::transporter::address::{Address, Scheme};
use crate::transporter::link::{self, Client as _};
use crate::transporter::{Error, Listener, Transporter};
use crate::uid;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod protocol;
mod session;
#[cfg(test)]
mod tests;
mod topic;

use session::{Connection, Shared};
use topic::Topics;

/// How addresses begin.
const SCHEMES: [Scheme; 4] = [
    Scheme { name: "mqtt", tls: false, port: 1883 },
    Scheme { name: "mqtts", tls: true, port: 8883 },
    Scheme { name: "tcp", tls: false, port: 1883 },
    Scheme { name: "ssl", tls: true, port: 8883 },
];

/// How long a disconnect may take to send what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to an MQTT server.
pub struct Mqtt {
    options: config::transporter::mqtt::Options,
    servers: Vec<Address>,
    client_id: String,
    namespace: String,
    link: ArcSwapOption<Link>,
}

/// What is there while the transporter is connected or reconnects.
struct Link {
    shared: Arc<Shared>,
    /// Ends the connection.
    cancel: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Mqtt {
    /// A transporter for the nodes of a namespace.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(
        options: config::transporter::mqtt::Options,
        namespace: &str,
    ) -> Result<Self, Error> {
        let servers = options.urls.iter().map(|url| Address::parse(url, &SCHEMES));
        let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(Error::Address { address: String::new(), cause: "it is empty".into() });
        }
        // A server ends the older of two connections with one ID; nodes that share theirs by mistake would
        // take turns for ever. Servers must take up to 23 letters and digits.
        let random = || {
            format!(
                "isomer{}",
                uid::new().chars().filter(|c| *c != '-').take(16).collect::<String>()
            )
        };
        let client_id = options.client_id.clone().unwrap_or_else(random);
        let namespace = namespace.to_owned();
        Ok(Self { options, servers, client_id, namespace, link: ArcSwapOption::empty() })
    }

    async fn try_connect(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let topics = Topics::new(&self.namespace, &self.options.topic_separator);
        let shared = Arc::new(Shared::new(topics, self.options.qos));
        let mut connection = Connection {
            shared: Arc::clone(&shared),
            listener,
            servers: self.servers.clone(),
            client_id: self.client_id.clone(),
            keep_alive: self.options.keep_alive,
        };
        let connected = connection.connect().await;
        let session =
            connected.map_err(|cause| Error::Connect { address: self.address(), cause })?;
        let link = Link { shared, cancel: CancellationToken::new() };
        task::spawn("mqtt connection", &link.cancel, link::keep(connection, session));
        self.link.store(Some(Arc::new(link)));
        Ok(())
    }

    /// The link, and the topic as the server knows it.
    fn way(&self, topic: &str) -> Result<(Arc<Link>, String), Error> {
        let link = self.link.load_full().ok_or(Error::NotConnected)?;
        let known = link.shared.topics.for_server(topic);
        let topic = known.ok_or_else(|| Error::Refused(format!("MQTT has no topic {topic:?}")))?;
        Ok((link, topic))
    }

    async fn subscribe_all(&self, topics: Vec<String>) -> Result<(), Error> {
        let link = self.link.load_full().ok_or(Error::NotConnected)?;
        let topics = topics.iter().map(|topic| self.way(topic).map(|(_, topic)| topic));
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        // A server handles what one connection sends in its order.
        link.shared.subscribe(topics).await
    }

    async fn send(&self, topic: &str, data: &[u8]) -> Result<(), Error> {
        let (link, topic) = self.way(topic)?;
        let (size, limit) = (data.len(), protocol::REST_MAX - topic.len() - 4);
        if size > limit {
            return Err(Error::PayloadTooLarge { limit, size });
        }
        link.shared.publish(&topic, data).await
    }

    async fn close(&self) {
        let Some(link) = self.link.swap(None) else { return };
        // A server that does not take the rest in time does not get it.
        let finish = link.shared.outbox.finish(protocol::disconnect);
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, finish).await;
        link.cancel.cancel();
        link.shared.outbox.close();
    }
}

impl Transporter for Mqtt {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        self.try_connect(listener).boxed()
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        self.subscribe_all(topics).boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        async move { self.send(topic, &data).await }.boxed()
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }

    fn address(&self) -> String {
        let shown: Vec<_> = self.servers.iter().map(Address::to_string).collect();
        shown.join(", ")
    }
}
