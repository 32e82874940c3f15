//! The servers of a cluster and who of them leads which topic, as one connection with any of them tells.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::backoff;
use crate::config::transporter::kafka::Options;
use crate::transporter::address;
use crate::transporter::link::{Lost, causes};

use super::protocol::{self, Code, Node};
use super::server::{Server, malformed};

/// How often a topic is asked for that nobody leads: a new one has no leader for a moment.
const ATTEMPTS_MAX: u32 = 10;

/// Longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long servers may take to make a topic.
const MAKE_TIMEOUT_MS: i32 = 5_000;

/// Servers of a cluster that are remembered.
const NODES_MAX: usize = 10_000;

/// What every connection with the cluster needs to know.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) options: Arc<Options>,
    /// Bytes of the largest answer that is read.
    pub(super) answer_max: usize,
}

/// What is known of a cluster, and a connection to ask for more.
pub(super) struct Cluster {
    way: Way,
    nodes: HashMap<i32, Node>,
    controller: i32,
    guide: Server,
}

impl Cluster {
    /// Tries each of the configured servers once. The error is for a person.
    pub(super) async fn reach(way: &Way) -> Result<Self, String> {
        let mut failed = Vec::new();
        for broker in &way.options.bootstrap_brokers {
            match Self::try_reach(way, broker).await {
                Ok(cluster) => return Ok(cluster),
                Err(lost) => failed.push((broker.clone(), lost)),
            }
        }
        Err(causes(&failed))
    }

    async fn try_reach(way: &Way, broker: &str) -> Result<Self, Lost> {
        let (host, port) = address::host_port(broker, 9092).map_err(Lost::Protocol)?;
        let node = Node { id: -1, host, port };
        let guide = Server::open(&node, &way.options, way.answer_max).await?;
        let mut cluster = Self { way: way.clone(), nodes: HashMap::new(), controller: -1, guide };
        cluster.look(&[]).await?;
        Ok(cluster)
    }

    /// A connection of its own with a server.
    pub(super) async fn open(&mut self, id: i32) -> Result<Server, Lost> {
        let node = self.nodes.get(&id).ok_or(Lost::Protocol("a leader is not in its cluster"))?;
        Server::open(node, &self.way.options, self.way.answer_max).await
    }

    /// Who leads each of these topics; those that are not there are made.
    pub(super) async fn lead(&mut self, topics: &[String]) -> Result<BTreeMap<String, i32>, Lost> {
        let mut leaders = BTreeMap::new();
        let mut missing = topics.to_vec();
        for attempt in 0..ATTEMPTS_MAX {
            tokio::time::sleep(backoff::delay(attempt, PAUSE_MAX)).await;
            let mut unknown = Vec::new();
            let mut trouble = Code::NONE;
            for (topic, leader) in self.look(&missing).await? {
                match leader {
                    Ok(leader) => drop(leaders.insert(topic, leader)),
                    Err(UNKNOWN) => unknown.push(topic),
                    Err(code) => trouble = Code(code),
                }
            }
            missing.retain(|topic| !leaders.contains_key(topic));
            if missing.is_empty() {
                return Ok(leaders);
            }
            if trouble != Code::NONE && !trouble.is_about_leader() {
                return Err(Lost::Refused(trouble.to_string()));
            }
            // Servers that make topics by themselves have done so at the first question.
            if attempt == 1 && !unknown.is_empty() {
                self.make(&unknown).await?;
            }
        }
        Err(Lost::Refused(format!("nobody leads topic {}", missing.join(", "))))
    }

    async fn make(&mut self, topics: &[String]) -> Result<(), Lost> {
        let mut controller = self.open(self.controller).await?;
        let request = protocol::create_topics(topics, MAKE_TIMEOUT_MS);
        let wait = Duration::from_millis(MAKE_TIMEOUT_MS.unsigned_abs().into());
        let answer = controller.ask_patiently(&request, wait).await;
        let answer = answer.map_err(|_| Lost::Refused("topics cannot be made".into()))?;
        match protocol::read_created(&answer).map_err(|_| malformed())? {
            Some((topic, code)) => {
                Err(Lost::Refused(format!("topic {topic} cannot be made: {code}")))
            }
            None => Ok(()),
        }
    }

    async fn look(&mut self, topics: &[String]) -> Result<Vec<(String, Result<i32, i16>)>, Lost> {
        let answer = self.guide.ask(&protocol::metadata(topics)).await?;
        let metadata = protocol::read_metadata(&answer).map_err(|_| malformed())?;
        self.controller = metadata.controller;
        self.nodes =
            metadata.nodes.into_iter().take(NODES_MAX).map(|node| (node.id, node)).collect();
        Ok(metadata.leaders)
    }
}

/// The topic is not there.
const UNKNOWN: i16 = 3;

/// The topics of each leader.
pub(super) fn by_leader(leaders: &BTreeMap<String, i32>) -> BTreeMap<i32, Vec<String>> {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for (topic, leader) in leaders {
        topics.entry(*leader).or_default().push(topic.clone());
    }
    topics
}

/// Where the next message of each of these topics will stand, as their leader says.
pub(super) async fn ends(
    leader: &mut Server,
    topics: &[String],
) -> Result<Vec<(String, i64)>, Lost> {
    let answer = leader.ask(&protocol::list_ends(topics)).await?;
    let ends = protocol::read_ends(&answer).map_err(|_| malformed())?;
    ends.into_iter()
        .map(|(topic, end)| match end {
            Ok(end) => Ok((topic, end)),
            Err(code) => Err(Lost::Refused(format!("topic {topic}: {code}"))),
        })
        .collect()
}
