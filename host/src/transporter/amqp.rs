//! AMQP 0.9.1, as spoken by RabbitMQ (moleculer: src/transporters/amqp.js).
//!
//! What a server keeps when a node dies is given to another: requests and balanced events are acknowledged
//! when their handling has ended, by the receipt that goes with them. As in Moleculer they are never refused
//! (`nack`): whatever goes wrong with a request is its answer. With `prefetch` 1, which is Moleculer's
//! default, each queue gives a node one message at a time.
//!
//! A connection is one task, which hands each message to the listener in its read loop. When it is lost, all
//! queues are declared and listened to again, and the node announces itself, as Moleculer does on this
//! transporter only.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::config::transporter::amqp::{Message, Options};
use crate::task::{self, CancellationToken};
use crate::transporter::address::{Address, Scheme};
use crate::transporter::link::{self, Client as _};
use crate::transporter::{Error, Listener, Queue, Transporter};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod protocol;
mod session;
#[cfg(test)]
mod tests;
mod topology;

use session::{Connection, Shared};
use topology::{Listened, Names};

/// How addresses begin.
const SCHEMES: [Scheme; 2] = [
    Scheme { name: "amqp", tls: false, port: 5672 },
    Scheme { name: "amqps", tls: true, port: 5671 },
];

/// How long a disconnect may take to send what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to an AMQP server.
pub struct Amqp {
    options: Options,
    servers: Vec<Address>,
    namespace: String,
    node_id: String,
    /// Properties of every message, as they are on the wire.
    properties: Vec<u8>,
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

impl Amqp {
    /// A transporter for a node of a namespace.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(options: Options, namespace: &str, node_id: &str) -> Result<Self, Error> {
        // What follows a question mark are hints for a library.
        let plain = options.urls.iter().map(|url| url.split('?').next().unwrap_or(url));
        let servers: Vec<_> =
            plain.map(|url| Address::parse(url, &SCHEMES)).collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(Error::Address { address: String::new(), cause: "it is empty".into() });
        }
        let properties = properties(&options.message);
        let (namespace, node_id) = (namespace.to_owned(), node_id.to_owned());
        let link = ArcSwapOption::empty();
        Ok(Self { options, servers, namespace, node_id, properties, link })
    }

    async fn try_connect(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let names = Names::new(&self.namespace, &self.node_id);
        let shared = Arc::new(Shared::new(names, self.options.clone()));
        let mut connection = Connection {
            shared: Arc::clone(&shared),
            listener,
            servers: self.servers.clone(),
            client_name: self.node_id.clone(),
        };
        let connected = connection.connect().await;
        let session =
            connected.map_err(|cause| Error::Connect { address: self.address(), cause })?;
        let link = Link { shared, cancel: CancellationToken::new() };
        task::spawn("amqp connection", &link.cancel, link::keep(connection, session));
        self.link.store(Some(Arc::new(link)));
        Ok(())
    }

    fn link(&self) -> Result<Arc<Link>, Error> {
        self.link.load_full().ok_or(Error::NotConnected)
    }

    async fn listen(&self, topics: Vec<String>) -> Result<(), Error> {
        let link = self.link()?;
        let mut wanted: Vec<Listened> = Vec::new();
        for topic in topics {
            let listened = link.shared.names.listened(&topic).ok_or_else(|| unfit(&topic))?;
            // What all are told and what one is told may come in the same queue.
            match wanted.iter_mut().find(|known| known.queue == listened.queue) {
                Some(known) => known.exchange = known.exchange.take().or(listened.exchange),
                None => wanted.push(listened),
            }
        }
        link.shared.listen(wanted, false).await
    }

    async fn share_all(&self, queues: Vec<Queue>) -> Result<(), Error> {
        let link = self.link()?;
        let (mut wanted, mut refused) = (Vec::new(), Ok(()));
        for Queue { topic, .. } in queues {
            match link.shared.names.listened(&topic) {
                Some(listened) => wanted.push(listened),
                None => refused = Err(unfit(&topic)),
            }
        }
        link.shared.share(wanted).await.and(refused)
    }

    async fn send(&self, topic: &str, data: &[u8]) -> Result<(), Error> {
        let link = self.link()?;
        let shared = &link.shared;
        let way = shared.names.way(topic).ok_or_else(|| unfit(topic))?;
        let frame_max = shared.frame_max();
        let write = |out: &mut Vec<u8>| {
            protocol::publish(out, way, &self.properties, data, frame_max);
        };
        shared.outbox.put(write).await
    }

    async fn close(&self) {
        let Some(link) = self.link.swap(None) else { return };
        let mut last = Vec::new();
        link.shared.unbind_all(&mut last);
        protocol::method(&mut last, 0, (10, 50), |out| {
            out.short(200).short_text("").short(0).short(0);
        });
        let finish = link.shared.outbox.finish(|out| out.extend_from_slice(&last));
        // A server that does not take the rest in time does not get it.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, finish).await;
        link.cancel.cancel();
        link.shared.outbox.close();
    }
}

fn unfit(topic: &str) -> Error {
    Error::Refused(format!("AMQP has no queue {topic:?}"))
}

/// The flags of the properties that are there, and the properties.
fn properties(message: &Message) -> Vec<u8> {
    let (mut flags, mut fields) = (0_u16, Vec::new());
    let mut text = |bit: u16, text: &Option<String>, fields: &mut Vec<u8>| {
        if let Some(text) = text {
            flags |= 1 << bit;
            fields.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            fields.extend(text.bytes().take(255));
        }
    };
    text(15, &message.content_type, &mut fields);
    text(14, &message.content_encoding, &mut fields);
    fields.extend(message.delivery_mode);
    fields.extend(message.priority);
    text(8, &message.expiration, &mut fields);
    text(5, &message.kind, &mut fields);
    text(3, &message.app_id, &mut fields);
    flags |= u16::from(message.delivery_mode.is_some()) << 12;
    flags |= u16::from(message.priority.is_some()) << 11;
    [flags.to_be_bytes().to_vec(), fields].concat()
}

impl Transporter for Amqp {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        self.try_connect(listener).boxed()
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        self.listen(topics).boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        async move { self.send(topic, &data).await }.boxed()
    }

    fn has_balancer(&self) -> bool {
        true
    }

    fn share(&self, queues: Vec<Queue>) -> BoxFuture<'_, Result<(), Error>> {
        self.share_all(queues).boxed()
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }

    fn address(&self) -> String {
        let shown: Vec<_> = self.servers.iter().map(Address::to_string).collect();
        shown.join(", ")
    }
}
