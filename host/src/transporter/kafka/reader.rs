//! Reading the topics of a node, each from where it stands, with one connection for each leader.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::transporter::link::Lost;
use crate::transporter::{Event, Listener};

use super::batch;
use super::cluster::{Cluster, Way, by_leader, ends};
use super::protocol::{self, Code, Fetched};
use super::server::{Fault, Server, malformed};

/// Bytes of messages that are asked for at once; a message that is larger comes alone.
const FETCH_MAX: i32 = 1 << 20;

/// What is read, and how far.
#[derive(Default)]
pub(super) struct Topics {
    /// Place of the next message of each.
    next: Mutex<BTreeMap<String, i64>>,
    changed: Notify,
}

impl Topics {
    /// Reads these, too, from their end on: everything that is published from now on.
    pub(super) async fn add(&self, cluster: &mut Cluster, topics: &[String]) -> Result<(), Lost> {
        let leaders = cluster.lead(topics).await?;
        for (leader, topics) in by_leader(&leaders) {
            let mut leader = cluster.open(leader).await?;
            let ends = ends(&mut leader, &topics).await?;
            let mut next = self.next.lock();
            for (topic, end) in ends {
                next.entry(topic).or_insert(end);
            }
        }
        self.changed.notify_one();
        Ok(())
    }

    fn of(&self, topics: &[String]) -> Vec<(String, i64)> {
        let next = self.next.lock();
        topics
            .iter()
            .filter_map(|topic| next.get(topic).map(|next| (topic.clone(), *next)))
            .collect()
    }

    fn go_on(&self, topic: &str, place: i64) {
        if let Some(next) = self.next.lock().get_mut(topic) {
            *next = place;
        }
    }

    /// All of them; more that come later are told by `changed`.
    fn names(&self) -> Vec<String> {
        self.next.lock().keys().cloned().collect()
    }
}

/// Reads all topics until a connection is lost.
pub(super) async fn read_all(
    topics: &Topics,
    cluster: &mut Cluster,
    way: &Way,
    listener: &dyn Listener,
) -> Lost {
    loop {
        let changed = topics.changed.notified();
        tokio::select! {
            lost = read_known(topics, cluster, way, listener) => return lost,
            () = changed => {}
        }
    }
}

async fn read_known(
    topics: &Topics,
    cluster: &mut Cluster,
    way: &Way,
    listener: &dyn Listener,
) -> Lost {
    let names = topics.names();
    if names.is_empty() {
        return std::future::pending().await;
    }
    let leaders = match cluster.lead(&names).await {
        Ok(leaders) => by_leader(&leaders),
        Err(lost) => return lost,
    };
    let mut reading = FuturesUnordered::new();
    for (leader, names) in leaders {
        match cluster.open(leader).await {
            Ok(server) => {
                let wait = way.options.max_wait;
                reading.push(Reader { topics, listener, server, names, wait }.run());
            }
            Err(lost) => return lost,
        }
    }
    reading.next().await.unwrap_or(Lost::Closed)
}

/// Reads the topics of one leader.
struct Reader<'a> {
    topics: &'a Topics,
    listener: &'a dyn Listener,
    server: Server,
    names: Vec<String>,
    /// How long the server may wait for messages.
    wait: Duration,
}

impl Reader<'_> {
    async fn run(mut self) -> Lost {
        loop {
            if let Err(lost) = self.fetch().await {
                return lost;
            }
        }
    }

    async fn fetch(&mut self) -> Result<(), Lost> {
        let wait_ms = i32::try_from(self.wait.as_millis()).unwrap_or(i32::MAX);
        let request = protocol::fetch(&self.topics.of(&self.names), wait_ms, FETCH_MAX);
        let answer = match self.server.ask_patiently(&request, self.wait).await {
            Ok(answer) => answer,
            Err(Fault::Lost(lost)) => return Err(lost),
            Err(Fault::TooLarge(size)) => {
                // Nobody knows which topic it is, and it would come again. The connection is over.
                self.listener.handle_event(Event::TooLarge { size });
                // A place that is not there sends each to its end.
                for topic in &self.names {
                    self.topics.go_on(topic, i64::MAX);
                }
                return Err(Lost::Protocol("an answer is too large"));
            }
        };
        let mut strayed = Vec::new();
        for fetched in protocol::read_fetched(&answer).map_err(|_| malformed())? {
            match fetched.code {
                Code::NONE => self.hand_on(&fetched),
                Code::OFFSET_OUT_OF_RANGE => strayed.push(fetched.topic.to_owned()),
                code => return Err(Lost::Refused(format!("topic {}: {code}", fetched.topic))),
            }
        }
        self.find_end(strayed).await
    }

    fn hand_on(&self, fetched: &Fetched<'_>) {
        let place = self.topics.of(&[fetched.topic.to_owned()]);
        let Some((topic, place)) = place.into_iter().next() else { return };
        let read = batch::read(fetched.batches, place);
        self.topics.go_on(&topic, read.next);
        if let Some(why) = read.passed_over {
            let trouble = format!("messages of topic {topic} are passed over: {why}");
            self.listener.handle_event(Event::Trouble(trouble));
        }
        let messages = read.messages.into_iter();
        self.listener.handle_messages(&mut messages.map(|data: Bytes| (&*topic, data)));
    }

    /// Topics whose place is not there go on at their end: they were made anew, or what stood there is gone.
    async fn find_end(&mut self, topics: Vec<String>) -> Result<(), Lost> {
        if topics.is_empty() {
            return Ok(());
        }
        for (topic, end) in ends(&mut self.server, &topics).await? {
            let trouble = format!("messages of topic {topic} are gone before they were read");
            self.listener.handle_event(Event::Trouble(trouble));
            self.topics.go_on(&topic, end);
        }
        Ok(())
    }
}
