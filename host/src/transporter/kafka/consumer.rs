//! Reading one topic from its end on, for ever.
//!
//! Messages come in their order. What cannot be read (compressed, of an old format, broken) is passed over
//! and told: standing still at it would cut the node off.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rskafka::client::error::{Error as ClientError, RequestError};
use rskafka::client::partition::PartitionClient;
use rskafka::record::RecordAndOffset;

use crate::transporter::link::reconnect_delay;
use crate::transporter::{Error, Event};

use super::{Cluster, REQUEST_TIMEOUT};

/// Bytes of messages that are asked for at once; a message that is larger comes alone.
const FETCH_MAX: i32 = 1 << 20;

/// A topic and how far it is read.
pub(super) struct Consumer {
    cluster: Arc<Cluster>,
    topic: String,
    partition: PartitionClient,
    /// Of the next message.
    offset: i64,
    /// Attempts to read since the connection was lost; `None` while it is there.
    lost: Option<u32>,
}

/// Why nothing was read.
enum Fault {
    /// The server cannot be reached, or does not serve: later it may.
    Lost(String),
    /// What stands there.
    Unreadable(String),
}

impl Consumer {
    /// Begins at the end of a topic: whatever is published from now on is read.
    pub(super) async fn open(cluster: &Arc<Cluster>, topic: String) -> Result<Self, Error> {
        let partition = cluster.open(&topic).await?;
        let offset = cluster.end_of(&partition).await;
        let offset = offset.map_err(|cause| Error::Refused(format!("topic {topic}: {cause}")))?;
        Ok(Self { cluster: Arc::clone(cluster), topic, partition, offset, lost: None })
    }

    /// Reads and hands on.
    pub(super) async fn run(mut self) {
        loop {
            match self.fetch().await {
                Ok((records, end)) => {
                    self.found();
                    self.hand_on(records, end);
                }
                Err(Fault::Lost(cause)) => self.wait(cause).await,
                Err(Fault::Unreadable(cause)) => self.pass_over(cause).await,
            }
        }
    }

    async fn fetch(&self) -> Result<(Vec<RecordAndOffset>, i64), Fault> {
        let wait = self.cluster.options.max_wait;
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let fetched = self.partition.fetch_records(self.offset, 1..FETCH_MAX, wait_ms);
        match tokio::time::timeout(wait + REQUEST_TIMEOUT, fetched).await {
            Ok(fetched) => fetched.map_err(|error| Fault::of(&error)),
            Err(_) => Err(Fault::Lost("no answer in time".into())),
        }
    }

    fn hand_on(&mut self, records: Vec<RecordAndOffset>, end: i64) {
        match records.last() {
            Some(last) => self.offset = last.offset + 1,
            // Something stands there that is no message, such as the mark of a transaction.
            None if end > self.offset => self.offset += 1,
            None => return,
        }
        let (topic, packet_max) = (&*self.topic, self.cluster.packet_max);
        let listener = &self.cluster.listener;
        let mut messages = records.into_iter().filter_map(|record| {
            let data = record.record.value?;
            if data.len() > packet_max {
                listener.handle_event(Event::TooLarge { size: data.len() });
                return None;
            }
            Some((topic, Bytes::from(data)))
        });
        listener.handle_messages(&mut messages);
    }

    fn found(&mut self) {
        if self.lost.take().is_some() {
            self.cluster.health.recover();
        }
    }

    async fn wait(&mut self, cause: String) {
        let attempt = match self.lost {
            Some(attempt) => attempt.saturating_add(1),
            None => {
                self.cluster.health.lose(cause);
                0
            }
        };
        self.lost = Some(attempt);
        tokio::time::sleep(reconnect_delay(attempt)).await;
        // The library does not say that an answer was too large for it. When the servers do answer, what
        // stands here is the trouble.
        if attempt >= ATTEMPTS_MAX && self.stands_before_something().await {
            self.pass_over("they cannot be fetched".into()).await;
        }
    }

    async fn stands_before_something(&self) -> bool {
        self.cluster.end_of(&self.partition).await.is_ok_and(|end| end > self.offset)
    }

    /// Goes on after everything that is there now.
    async fn pass_over(&mut self, cause: String) {
        match self.cluster.end_of(&self.partition).await {
            Ok(end) => {
                let trouble = format!("messages of topic {} are passed over: {cause}", self.topic);
                self.cluster.listener.handle_event(Event::Trouble(trouble));
                // A server may name an end that was not true for long.
                self.offset = end.max(0);
                tokio::time::sleep(PASS_OVER_PAUSE).await;
            }
            // The next attempt to read finds out whether the connection is lost.
            Err(_) => tokio::time::sleep(PASS_OVER_PAUSE).await,
        }
    }
}

/// Attempts to read the same place before it is suspected itself.
const ATTEMPTS_MAX: u32 = 5;

/// Between two that are passed over, so that a peer that sends nothing else keeps nobody busy.
const PASS_OVER_PAUSE: Duration = Duration::from_millis(100);

impl Fault {
    fn of(error: &ClientError) -> Self {
        let cause = error.to_string();
        match error {
            // The answer came and could not be taken apart, or the place that was asked for is not there.
            ClientError::InvalidResponse(_)
            | ClientError::Request(
                RequestError::ReadError(_)
                | RequestError::ReadVersionedError(_)
                | RequestError::TooMuchData { .. },
            )
            | ClientError::ServerError { .. } => Self::Unreadable(cause),
            _ => Self::Lost(cause),
        }
    }
}
