//! Kafka (moleculer: src/transporters/kafka.js): a topic for each kind of packet and node, of which the
//! first partition is written and read, and nothing balanced.
//!
//! The client is our own, as the others are: of the crates, librdkafka takes a C compiler and minutes to
//! build, and the one in Rust holds a connection for each topic and undoes compression without a limit.
//! What a node needs is little: it reads its topics from their end on, by itself and without a consumer
//! group, since everybody gets everything that is meant for them; it writes what is queued in rounds. A
//! loss of any connection, or a leader that is another now, ends all of them, and they are made again.
//!
//! A topic that does not exist is made when it is first needed, by the servers themselves or, where they
//! may not, by asking for it. What was compressed by others is passed over and told.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::backoff;
use crate::clock;
use crate::config::transporter::kafka::Options;
use crate::task::{self, CancellationToken};
use crate::transporter::link::{Lost, RECONNECT_DELAY_MAX, SESSION_MIN};
use crate::transporter::{Error, Event, Listener, Transporter};

mod batch;
mod cluster;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod login;
mod protocol;
mod queue;
mod reader;
mod server;
mod writer;

use cluster::{Cluster, Way};
use queue::Queue;
use reader::Topics;

/// How long a disconnect may take to send what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The partition that Moleculer writes to.
const PARTITION: i32 = 0;

/// Bytes that an answer has beside the largest message, at most: other messages, and what stands around.
const ANSWER_EXTRA: usize = 4 << 20;

/// A connection to a Kafka cluster.
pub struct Kafka {
    way: Way,
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

/// What publishers and the connection's task share.
#[derive(Default)]
struct Shared {
    queue: Queue,
    topics: Topics,
}

impl Kafka {
    /// A transporter for these servers. `packet_max` are the bytes of the largest packet that is taken.
    #[must_use]
    pub fn new(options: Options, packet_max: usize) -> Self {
        let answer_max = packet_max.max(options.message_max).saturating_add(ANSWER_EXTRA);
        let way = Way { options: Arc::new(options), answer_max };
        Self { way, link: ArcSwapOption::empty() }
    }

    async fn try_connect(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let session = Session::open(&self.way).await;
        let session = session.map_err(|cause| Error::Connect { address: self.address(), cause })?;
        let shared = Arc::<Shared>::default();
        let connection =
            Connection { way: self.way.clone(), shared: Arc::clone(&shared), listener };
        shared.queue.open();
        let link = Link { shared, cancel: CancellationToken::new() };
        task::spawn("kafka connection", &link.cancel, connection.keep(session));
        self.link.store(Some(Arc::new(link)));
        Ok(())
    }

    async fn subscribe_all(&self, topics: Vec<String>) -> Result<(), Error> {
        let link = self.link.load_full().ok_or(Error::NotConnected)?;
        for topic in &topics {
            check_topic(topic)?;
        }
        let mut cluster = Cluster::reach(&self.way).await.map_err(Error::Refused)?;
        let added = link.shared.topics.add(&mut cluster, &topics).await;
        added.map_err(|lost| Error::Refused(lost.to_string()))
    }

    async fn send(&self, topic: &str, data: &Bytes) -> Result<(), Error> {
        let link = self.link.load_full().ok_or(Error::NotConnected)?;
        check_topic(topic)?;
        let (size, limit) = (data.len(), self.way.options.message_max);
        if size > limit {
            return Err(Error::PayloadTooLarge { limit, size });
        }
        link.shared.queue.put(topic, data).await
    }

    async fn close(&self) {
        let Some(link) = self.link.swap(None) else { return };
        // Servers that do not take the rest in time do not get it.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, link.shared.queue.flush()).await;
        link.cancel.cancel();
        link.shared.queue.close();
    }
}

fn check_topic(topic: &str) -> Result<(), Error> {
    if protocol::is_topic(topic) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "Kafka has no topic {topic:?}: namespace and node ID are made of letters, digits, '.', '_' and '-'"
    )))
}

/// What asks the cluster: writing must not wait for reading.
struct Session {
    reading: Cluster,
    writing: Cluster,
}

impl Session {
    async fn open(way: &Way) -> Result<Self, String> {
        Ok(Self { reading: Cluster::reach(way).await?, writing: Cluster::reach(way).await? })
    }
}

/// The client's side.
struct Connection {
    way: Way,
    shared: Arc<Shared>,
    listener: Arc<dyn Listener>,
}

impl Connection {
    /// Serves a session and those that follow it, until the task is cancelled.
    async fn keep(self, mut session: Session) {
        let mut attempt = 0;
        loop {
            let began = clock::now();
            let lost = self.serve(session).await;
            self.shared.queue.close();
            if began.elapsed() >= SESSION_MIN {
                attempt = 0;
            }
            let mut trouble = lost.to_string();
            self.listener.handle_event(Event::Disconnected);
            self.listener.handle_event(Event::Trouble(trouble.clone()));
            session = self.reconnect(&mut trouble, &mut attempt).await;
            self.shared.queue.open();
            self.listener.handle_event(Event::Reconnected);
        }
    }

    async fn serve(&self, mut session: Session) -> Lost {
        let Shared { queue, topics } = &*self.shared;
        // A round as large as the largest message: the servers take that for each topic.
        let round_max = self.way.options.message_max;
        let listener = &*self.listener;
        tokio::select! {
            lost = reader::read_all(topics, &mut session.reading, &self.way, listener) => lost,
            lost = writer::write_all(queue, &mut session.writing, round_max, listener) => lost,
        }
    }

    /// Tries until it works. The same trouble is told once.
    async fn reconnect(&self, last_trouble: &mut String, attempt: &mut u32) -> Session {
        loop {
            *attempt = attempt.saturating_add(1);
            tokio::time::sleep(backoff::delay(*attempt, RECONNECT_DELAY_MAX)).await;
            match Session::open(&self.way).await {
                Ok(session) => return session,
                Err(trouble) if trouble == *last_trouble => {}
                Err(trouble) => {
                    last_trouble.clone_from(&trouble);
                    self.listener.handle_event(Event::Trouble(trouble));
                }
            }
        }
    }
}

impl Transporter for Kafka {
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
        format!("kafka://{}", self.way.options.bootstrap_brokers.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_without_a_connection() {
        let kafka = Kafka::new(Options::new(vec!["127.0.0.1:1".into()]), 1_000);
        assert_eq!(kafka.address(), "kafka://127.0.0.1:1");
        let sent = kafka.publish("MOL.INFO", Bytes::from_static(b"x")).await;
        assert!(matches!(sent, Err(Error::NotConnected)));
        assert!(matches!(kafka.subscribe(vec![]).await, Err(Error::NotConnected)));
        kafka.disconnect().await;
    }

    #[test]
    fn a_name_that_cannot_be_a_topic_says_what_can() {
        let error = check_topic("MOL.REQ.my node").unwrap_err().to_string();
        assert!(error.contains("letters, digits"), "{error}");
    }
}
