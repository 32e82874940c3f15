//! Writing to topics: what comes while a request is under way is the next request.
//!
//! Invariants: messages of one topic are written in the order in which they were published; what waits to
//! be written is bounded over all topics together. A topic that nobody writes to for a while is closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rskafka::chrono::DateTime;
use rskafka::client::partition::{Compression, PartitionClient};
use rskafka::record::Record;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock;
use crate::task::{self, CancellationToken};
use crate::transporter::{Error, Event};

use super::{Cluster, REQUEST_TIMEOUT};

/// Bytes of all messages that wait to be written.
const WAITING_MAX: u32 = 16 << 20;

/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 128;

/// Messages that wait for one topic.
const QUEUE_LEN_MAX: usize = 1_024;

/// Topics that are written to at once; each has a connection.
const TOPICS_MAX: usize = 1_000;

/// A topic that nobody writes to for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// All topics that are written to.
pub(super) struct Producers {
    shared: Arc<Shared>,
    cancel: CancellationToken,
}

struct Shared {
    cluster: Arc<Cluster>,
    queues: Mutex<HashMap<String, mpsc::Sender<Message>>>,
    room: Arc<Semaphore>,
}

struct Message {
    data: Bytes,
    /// Given back when it is written or given up.
    _room: OwnedSemaphorePermit,
}

impl Producers {
    pub(super) fn new(cluster: Arc<Cluster>, cancel: CancellationToken) -> Self {
        let room = Arc::new(Semaphore::new(WAITING_MAX as usize));
        Self { shared: Arc::new(Shared { cluster, queues: Mutex::default(), room }), cancel }
    }

    /// Queues a message. Waits only while too much is queued.
    pub(super) async fn publish(&self, topic: &str, data: Bytes) -> Result<(), Error> {
        let cluster = &self.shared.cluster;
        let (size, limit) = (data.len(), cluster.options.message_max);
        if size > limit {
            return Err(Error::PayloadTooLarge { limit, size });
        }
        if !cluster.health.is_good() {
            return Err(Error::NotConnected);
        }
        super::check_topic(topic)?;
        // A message that is larger than all room is alone in it.
        let cost = u32::try_from(size + MESSAGE_COST).unwrap_or(u32::MAX).min(WAITING_MAX);
        let room = Arc::clone(&self.shared.room).acquire_many_owned(cost).await;
        let mut message = Message { data, _room: room.map_err(|_| Error::NotConnected)? };
        loop {
            // A queue that was closed because nobody used it gives the message back.
            match self.queue(topic)?.send(message).await {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(back)) => message = back,
            }
            if self.cancel.is_cancelled() {
                return Err(Error::NotConnected);
            }
        }
    }

    fn queue(&self, topic: &str) -> Result<mpsc::Sender<Message>, Error> {
        let mut queues = self.shared.queues.lock();
        if let Some(queue) = queues.get(topic).filter(|queue| !queue.is_closed()) {
            return Ok(queue.clone());
        }
        if queues.len() >= TOPICS_MAX {
            return Err(Error::Refused(format!("{TOPICS_MAX} topics are written to already")));
        }
        let (sender, receiver) = mpsc::channel(QUEUE_LEN_MAX);
        queues.insert(topic.to_owned(), sender.clone());
        drop(queues);
        let writer = Writer {
            shared: Arc::clone(&self.shared),
            topic: topic.to_owned(),
            queue: receiver,
            partition: None,
            next: None,
        };
        task::spawn("kafka producer", &self.cancel, writer.run());
        Ok(sender)
    }

    /// Waits until everything is written.
    pub(super) async fn flush(&self) {
        // All room is free when nothing waits.
        let _ = self.shared.room.acquire_many(WAITING_MAX).await;
    }
}

/// Writes one topic.
struct Writer {
    shared: Arc<Shared>,
    topic: String,
    queue: mpsc::Receiver<Message>,
    partition: Option<PartitionClient>,
    /// Did not fit into the last request.
    next: Option<Message>,
}

impl Writer {
    async fn run(mut self) {
        while let Some(messages) = self.gather().await {
            if let Err(cause) = self.write(&messages).await {
                let (count, topic) = (messages.len(), &self.topic);
                let trouble = format!("{count} messages for topic {topic} are lost: {cause}");
                self.shared.cluster.listener.handle_event(Event::Trouble(trouble));
                // Whatever is wrong with it, the next one may be another.
                self.partition = None;
            }
        }
    }

    /// What waits, as much as one request takes; `None` when nobody wrote for long.
    async fn gather(&mut self) -> Option<Vec<Message>> {
        let first = match self.next.take() {
            Some(message) => message,
            None => self.wait().await?,
        };
        let size_max = self.shared.cluster.options.message_max;
        let mut size = first.data.len() + MESSAGE_COST;
        let mut messages = vec![first];
        while let Ok(message) = self.queue.try_recv() {
            size += message.data.len() + MESSAGE_COST;
            if size > size_max {
                self.next = Some(message);
                break;
            }
            messages.push(message);
        }
        Some(messages)
    }

    async fn wait(&mut self) -> Option<Message> {
        match tokio::time::timeout(IDLE_MAX, self.queue.recv()).await {
            Ok(message) => message,
            Err(_) => {
                self.shared.queues.lock().remove(&self.topic);
                // What came in at this moment is still written; then the queue is empty and closed.
                self.queue.close();
                self.queue.recv().await
            }
        }
    }

    async fn write(&mut self, messages: &[Message]) -> Result<(), String> {
        let partition = match self.partition.take() {
            Some(partition) => partition,
            None => {
                let opened = self.shared.cluster.open(&self.topic).await;
                opened.map_err(|error| error.to_string())?
            }
        };
        let now = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
        let timestamp = DateTime::from_timestamp_millis(now).unwrap_or_default();
        let records = messages.iter().map(|message| Record {
            key: None,
            value: Some(message.data.to_vec()),
            headers: Default::default(),
            timestamp,
        });
        let written = partition.produce(records.collect(), Compression::NoCompression);
        match tokio::time::timeout(REQUEST_TIMEOUT, written).await {
            Ok(Ok(_)) => {
                self.partition = Some(partition);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".into()),
        }
    }
}
