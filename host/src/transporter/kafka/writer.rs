//! Writing what is queued: what comes while a round is under way is the next round, in which each leader
//! gets one request with everything for its topics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::backoff;
use crate::clock;
use crate::transporter::link::Lost;
use crate::transporter::{Event, Listener};

use super::batch;
use super::cluster::Cluster;
use super::protocol;
use super::queue::{Message, Queue};
use super::server::{Server, malformed};

/// How often a topic is tried that changes its leader.
const ATTEMPTS_MAX: u32 = 5;

/// Longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long a leader may take to write.
const WRITE_TIMEOUT_MS: i32 = 5_000;

/// Topics whose leaders are remembered; then they are asked for anew.
const LEADERS_MAX: usize = 10_000;

/// What is known of leaders, and the connections with them.
struct Writer<'a> {
    cluster: &'a mut Cluster,
    listener: &'a dyn Listener,
    leaders: HashMap<Arc<str>, i32>,
    servers: HashMap<i32, Server>,
}

/// The messages of each topic.
type Round = BTreeMap<Arc<str>, Vec<Bytes>>;

/// Writes all that is queued until a connection is lost.
pub(super) async fn write_all(
    queue: &Queue,
    cluster: &mut Cluster,
    round_max: usize,
    listener: &dyn Listener,
) -> Lost {
    let mut writer = Writer { cluster, listener, leaders: HashMap::new(), servers: HashMap::new() };
    loop {
        let mut round = Round::new();
        let messages: Vec<Message> = queue.take(round_max).await;
        for (topic, data) in messages {
            round.entry(topic).or_default().push(data);
        }
        if let Err(lost) = writer.write(round).await {
            return lost;
        }
    }
}

impl Writer<'_> {
    async fn write(&mut self, mut round: Round) -> Result<(), Lost> {
        for attempt in 0..ATTEMPTS_MAX {
            tokio::time::sleep(backoff::delay(attempt, PAUSE_MAX)).await;
            self.find_leaders(&mut round).await?;
            self.write_once(&mut round).await?;
            if round.is_empty() {
                return Ok(());
            }
        }
        for topic in round.keys() {
            self.lose(topic, "it changes its leader again and again");
        }
        Ok(())
    }

    fn lose(&self, topic: &str, why: &str) {
        let trouble = format!("messages for topic {topic} are lost: {why}");
        self.listener.handle_event(Event::Trouble(trouble));
    }

    /// Topics that cannot be made or have no leader are taken out of the round.
    async fn find_leaders(&mut self, round: &mut Round) -> Result<(), Lost> {
        if self.leaders.len() > LEADERS_MAX {
            self.leaders.clear();
        }
        let known = &self.leaders;
        let unknown: Vec<_> =
            round.keys().filter(|topic| !known.contains_key(*topic)).cloned().collect();
        for topic in unknown {
            match self.cluster.lead(&[topic.to_string()]).await {
                Ok(found) => {
                    self.leaders.extend(found.values().map(|leader| (Arc::clone(&topic), *leader)));
                }
                // One topic that the servers refuse keeps nobody from the others.
                Err(Lost::Refused(why)) => {
                    self.lose(&topic, &why);
                    round.remove(&topic);
                }
                Err(lost) => return Err(lost),
            }
        }
        for leader in round.keys().filter_map(|topic| self.leaders.get(topic)) {
            if !self.servers.contains_key(leader) {
                self.servers.insert(*leader, self.cluster.open(*leader).await?);
            }
        }
        Ok(())
    }

    /// What was written, or never can be, is taken out of the round.
    async fn write_once(&mut self, round: &mut Round) -> Result<(), Lost> {
        let now = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
        let mut requests = HashMap::<i32, Vec<(&str, Vec<u8>)>>::new();
        for (topic, messages) in &*round {
            if let Some(leader) = self.leaders.get(topic) {
                let batch = batch::write(messages, now);
                requests.entry(*leader).or_default().push((topic, batch));
            }
        }
        let asked = self.servers.iter_mut().filter_map(|(leader, server)| {
            let request = protocol::produce(requests.get(leader)?, WRITE_TIMEOUT_MS);
            Some(async move { server.ask(&request).await })
        });
        let answers = join_all(asked).await;
        drop(requests);
        for answer in answers {
            let answer = answer?;
            for (topic, code) in protocol::read_produced(&answer).map_err(|_| malformed())? {
                if code.is_about_leader() {
                    self.leaders.remove(topic);
                    continue;
                }
                if code != protocol::Code::NONE {
                    self.lose(topic, &code.to_string());
                }
                round.remove(topic);
            }
        }
        Ok(())
    }
}
