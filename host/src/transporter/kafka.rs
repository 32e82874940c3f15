//! Kafka (moleculer: src/transporters/kafka.js): a topic for each kind of packet and node, of which the
//! first partition is written and read, and nothing balanced.
//!
//! A node reads its topics from their end on, by itself and without a consumer group, because everybody
//! gets everything that is meant for them. Each topic that is read or written has a connection with the
//! server that leads it (the client library's way), on which one request is under way at a time: what is to
//! be sent to a topic meanwhile is gathered and becomes the next request ([`producers`]).
//!
//! A topic that does not exist is made when it is first needed, by the servers themselves or, where they
//! may not, by asking for it. Messages that were compressed by others are passed over and told, because the
//! library would undo compression without a limit.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use rskafka::BackoffConfig;
use rskafka::client::error::{Error as ClientError, ProtocolError};
use rskafka::client::partition::{OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};

use crate::config::transporter::kafka::{Mechanism, Options};
use crate::task::{self, CancellationToken};
use crate::transporter::{Error, Listener, Transporter, tls};

mod consumer;
mod health;
mod producers;
use consumer::Consumer;
use health::Health;
use producers::Producers;

/// How long the first answer of the servers may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long anything else may take, beside the time for which a server was allowed to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a disconnect may take to send what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Topics that are opened at once.
const OPENED_AT_ONCE: usize = 8;

/// The partition that Moleculer writes to.
const PARTITION: i32 = 0;

/// The longest name that a topic may have.
const TOPIC_LEN_MAX: usize = 249;

/// Bytes that an answer has beside its messages, at most.
const ANSWER_EXTRA: usize = 1 << 20;

/// A connection to a Kafka cluster.
pub struct Kafka {
    options: Options,
    /// Bytes of the largest packet that this node takes.
    packet_max: usize,
    link: ArcSwapOption<Link>,
}

/// What is there while the transporter is connected or reconnects.
struct Link {
    cluster: Arc<Cluster>,
    producers: Producers,
    /// Ends all of its tasks.
    cancel: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The servers, and who hears of them.
struct Cluster {
    client: Client,
    options: Options,
    packet_max: usize,
    listener: Arc<dyn Listener>,
    health: Health,
}

impl Kafka {
    /// A transporter for these servers. `packet_max` are the bytes of the largest packet that is taken.
    #[must_use]
    pub fn new(options: Options, packet_max: usize) -> Self {
        Self { options, packet_max, link: ArcSwapOption::empty() }
    }

    async fn try_connect(&self, listener: Arc<dyn Listener>) -> Result<(), Error> {
        let refused = |cause: String| Error::Connect { address: self.address(), cause };
        let builder = self.client().map_err(refused)?;
        let client = match tokio::time::timeout(CONNECT_TIMEOUT, builder.build()).await {
            Ok(client) => client.map_err(|error| refused(error.to_string()))?,
            Err(_) => return Err(refused("no answer in time".into())),
        };
        let cluster = Arc::new(Cluster {
            client,
            options: self.options.clone(),
            packet_max: self.packet_max,
            health: Health::new(Arc::clone(&listener)),
            listener,
        });
        let cancel = CancellationToken::new();
        let producers = Producers::new(Arc::clone(&cluster), cancel.clone());
        self.link.store(Some(Arc::new(Link { cluster, producers, cancel })));
        Ok(())
    }

    fn client(&self) -> Result<ClientBuilder, String> {
        let options = &self.options;
        // Retries that nobody hears of are short; those that last are made here, and told.
        let backoff = BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            base: 2.0,
            deadline: Some(Duration::from_secs(2)),
        };
        let answer_max = self.packet_max.max(options.message_max).saturating_add(ANSWER_EXTRA);
        let mut builder = ClientBuilder::new(options.bootstrap_brokers.clone())
            .client_id(&*options.client_id)
            .backoff_config(backoff)
            .max_message_size(answer_max);
        if options.tls {
            builder = builder.tls_config(tls::client_config()?);
        }
        if let Some(sasl) = &options.sasl {
            let credentials = Credentials::new(sasl.username.clone(), sasl.password.clone());
            builder = builder.sasl_config(match sasl.mechanism {
                Mechanism::Plain => SaslConfig::Plain(credentials),
                Mechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
                Mechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
            });
        }
        Ok(builder)
    }

    async fn subscribe_all(&self, topics: Vec<String>) -> Result<(), Error> {
        let link = self.link.load_full().ok_or(Error::NotConnected)?;
        let opened = stream::iter(topics).map(|topic| Consumer::open(&link.cluster, topic));
        let consumers: Vec<Consumer> = opened.buffer_unordered(OPENED_AT_ONCE).try_collect().await?;
        for consumer in consumers {
            task::spawn("kafka consumer", &link.cancel, consumer.run());
        }
        Ok(())
    }

    async fn close(&self) {
        let Some(link) = self.link.swap(None) else { return };
        // Servers that do not take the rest in time do not get it.
        let _ = tokio::time::timeout(FLUSH_TIMEOUT, link.producers.flush()).await;
        link.cancel.cancel();
    }
}

impl Cluster {
    /// The first partition of a topic, which is made when it is not there.
    async fn open(&self, topic: &str) -> Result<PartitionClient, Error> {
        check_topic(topic)?;
        let opening = self.try_open(topic);
        match tokio::time::timeout(REQUEST_TIMEOUT, opening).await {
            Ok(opened) => {
                opened.map_err(|error| Error::Refused(format!("topic {topic}: {error}")))
            }
            Err(_) => Err(Error::Refused(format!("topic {topic}: no answer in time"))),
        }
    }

    async fn try_open(&self, topic: &str) -> Result<PartitionClient, ClientError> {
        let partition = |handling| self.client.partition_client(topic, PARTITION, handling);
        match partition(UnknownTopicHandling::Error).await {
            Err(error) if is(&error, ProtocolError::UnknownTopicOrPartition) => {}
            opened => return opened,
        }
        // The servers do not make topics by themselves, or have not done so yet. Another node may be first.
        let timeout_ms = i32::try_from(REQUEST_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
        let made = self.client.controller_client()?.create_topic(topic, 1, 1, timeout_ms).await;
        let opened = partition(UnknownTopicHandling::Retry).await;
        // Why it could not be made says more than that it is not there.
        match (opened, made) {
            (Err(_), Err(error)) if !is(&error, ProtocolError::TopicAlreadyExists) => Err(error),
            (opened, _) => opened,
        }
    }

    /// Where the next message of a topic will stand.
    async fn end_of(&self, partition: &PartitionClient) -> Result<i64, String> {
        let asked = partition.get_offset(OffsetAt::Latest);
        match tokio::time::timeout(REQUEST_TIMEOUT, asked).await {
            Ok(offset) => offset.map_err(|error| error.to_string()),
            Err(_) => Err("no answer in time".into()),
        }
    }
}

/// Kafka's rule for names of topics.
fn check_topic(topic: &str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.len() <= TOPIC_LEN_MAX && topic.bytes().all(fits) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "Kafka has no topic {topic:?}: namespace and node ID are made of letters, digits, '.', '_' and '-'"
    )))
}

/// Whether the servers gave this reason.
fn is(error: &ClientError, reason: ProtocolError) -> bool {
    matches!(error, ClientError::ServerError { protocol_error, .. } if *protocol_error == reason)
}

impl Transporter for Kafka {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        self.try_connect(listener).boxed()
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        self.subscribe_all(topics).boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let link = self.link.load_full().ok_or(Error::NotConnected)?;
            link.producers.publish(topic, data).await
        }
        .boxed()
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }

    fn address(&self) -> String {
        format!("kafka://{}", self.options.bootstrap_brokers.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kafka_allows_can_be_a_topic() {
        for good in ["MOL.INFO", "MOL-a_b.REQ.node-1.2", &"x".repeat(TOPIC_LEN_MAX)] {
            assert!(check_topic(good).is_ok(), "{good}");
        }
        for bad in ["MOL.REQ.a b", "MOL.REQ.ä", "a/b", "a:b", &"x".repeat(TOPIC_LEN_MAX + 1)] {
            let error = check_topic(bad).unwrap_err().to_string();
            assert!(error.contains("letters, digits"), "{error}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_without_a_connection() {
        let kafka = Kafka::new(Options::new(vec!["127.0.0.1:1".into()]), 1_000);
        assert_eq!(kafka.address(), "kafka://127.0.0.1:1");
        let sent = kafka.publish("MOL.INFO", Bytes::from_static(b"x")).await;
        assert!(matches!(sent, Err(Error::NotConnected)));
        assert!(matches!(kafka.subscribe(vec![]).await, Err(Error::NotConnected)));
        kafka.disconnect().await;
    }
}
