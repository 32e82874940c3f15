//! Gossip: what two nodes tell each other of all nodes where there is no server that tells it to everybody.
//!
//! A round is a request that says how new one's knowledge of each node is; the answer holds what is newer.
//! Everything here is pure, as all of the registry: who is asked when, and the sending, are the discoverer's.
//! What a peer claims is looked at entry by entry; one that makes no sense is left out and counted.
//!
//! moleculer: src/transporters/tcp.js sendGossipRequest, processGossipRequest, processGossipResponse

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::clock::Instant;
use crate::config::quantity;
use crate::packet::{self, Info, ServiceItem};
use crate::registry::{Effect, Node, Registry};

pub mod contact;
mod raw_info;
#[cfg(test)]
mod tests;

/// Largest number that JavaScript counts exactly. A claim beyond it is none.
const SEQ_MAX: u64 = (1 << 53) - 1;

/// One round: what to ask, and whom it can be asked.
#[derive(Debug, PartialEq)]
pub struct Round {
    /// The fields of `GOSSIP_REQ`.
    pub request: Map<String, Value>,
    /// Other nodes that can be reached.
    pub online: Vec<Arc<str>>,
    /// Nodes that cannot, or not yet.
    pub offline: Vec<Arc<str>>,
}

/// What an answer says of one node.
#[derive(Debug, PartialEq)]
pub struct Row {
    node_id: Arc<str>,
    state: State,
    /// About how many bytes it takes.
    size: usize,
}

#[derive(Debug, PartialEq)]
enum State {
    /// `[info, cpuSeq, cpu]` or `[cpuSeq, cpu]`
    Online(Value),
    /// `seq`
    Offline(u64),
}

/// What became of an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Applied {
    /// What is to be done now.
    pub effects: Vec<Effect>,
    /// Entries that made no sense.
    pub refused: usize,
}

/// What the other side knows of a node.
#[derive(Clone, Copy)]
enum Claim {
    Unknown,
    Offline { seq: u64 },
    Online { seq: u64, cpu_seq: u64, cpu: f64 },
}

impl Claim {
    fn of(id: &str, request: &Map<String, Value>) -> Self {
        let entry = |key: &str| request.get(key).and_then(|nodes| nodes.get(id));
        if let Some(seq) = entry("offline").and_then(count).filter(|seq| *seq > 0) {
            return Self::Offline { seq };
        }
        let Some(row) = entry("online").and_then(Value::as_array) else { return Self::Unknown };
        let number = |index: usize| row.get(index).and_then(count);
        let cpu = row.get(2).and_then(Value::as_f64).unwrap_or(0.0);
        match number(0) {
            Some(seq) if seq > 0 => Self::Online { seq, cpu_seq: number(1).unwrap_or(0), cpu },
            _ => Self::Unknown,
        }
    }

    fn seq(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Offline { seq } | Self::Online { seq, .. } => seq,
        }
    }
}

impl Registry {
    /// What to ask now; `None` while no other node is known.
    #[must_use]
    pub fn gossip_round(&self) -> Option<Round> {
        if self.nodes.len() <= 1 {
            return None;
        }
        let (mut online, mut offline) = (Map::new(), Map::new());
        let mut round = Round { request: Map::new(), online: Vec::new(), offline: Vec::new() };
        for node in self.nodes.iter() {
            if node.available {
                let cpu = percent(node.load.cpu());
                online.insert(node.id.to_string(), json!([node.info.seq, node.cpu_seq, cpu]));
                if !node.local {
                    round.online.push(Arc::clone(&node.id));
                }
            } else {
                // Of a node that was only heard of there is nothing to tell.
                if node.info.seq > 0 {
                    offline.insert(node.id.to_string(), node.info.seq.into());
                }
                round.offline.push(Arc::clone(&node.id));
            }
        }
        round.request.insert("online".into(), online.into());
        if !offline.is_empty() {
            round.request.insert("offline".into(), offline.into());
        }
        Some(round)
    }

    /// Answers a request: a row for every node of which this one knows more. `leaving` is true once this
    /// node has said that it offers nothing any more.
    pub fn answer_gossip(
        &mut self,
        request: &Map<String, Value>,
        leaving: bool,
        now: Instant,
    ) -> (Vec<Row>, Vec<Effect>) {
        let (mut rows, mut effects) = (Vec::new(), Vec::new());
        let known: Vec<_> = self.nodes.iter().map(|node| Arc::clone(&node.id)).collect();
        for id in known {
            let claim = Claim::of(&id, request);
            rows.extend(self.compare(&id, claim, leaving, now, &mut effects));
        }
        (rows, effects)
    }

    /// One node's part of [`Registry::answer_gossip`].
    fn compare(
        &mut self,
        id: &Arc<str>,
        claim: Claim,
        leaving: bool,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> Option<Row> {
        let node = self.nodes.get_mut(id)?;
        match claim {
            _ if claim.seq() < node.info.seq => return self.tell(id, leaving),
            Claim::Unknown => {}
            Claim::Offline { seq } if node.local => {
                // This node is said to be gone; what it says now must be newer than that.
                node.info.seq = seq + 1;
                return self.tell(id, leaving);
            }
            Claim::Offline { seq } if node.available => {
                effects.extend(self.apply_disconnect(id, false, now));
                self.set_seq(id, seq);
            }
            Claim::Offline { seq } => node.info.seq = seq,
            // Its INFO comes in answer to this node's own request.
            Claim::Online { .. } if !node.available => {}
            Claim::Online { cpu_seq, cpu, .. } if cpu_seq > node.cpu_seq => {
                if !node.local {
                    node.set_foreign_cpu(cpu, cpu_seq, now);
                }
            }
            Claim::Online { cpu_seq, .. } if cpu_seq < node.cpu_seq => {
                let cpu = json!([node.cpu_seq, percent(node.load.cpu())]);
                return Some(Row { node_id: Arc::clone(id), state: State::Online(cpu), size: 32 });
            }
            Claim::Online { .. } => {}
        }
        None
    }

    /// All that is known of a node.
    fn tell(&mut self, id: &Arc<str>, leaving: bool) -> Option<Row> {
        let node = self.nodes.get(id)?;
        if !node.available {
            let state = State::Offline(node.info.seq);
            return Some(Row { node_id: Arc::clone(id), state, size: id.len() + 32 });
        }
        let (cpu_seq, cpu) = (node.cpu_seq, percent(node.load.cpu()));
        let info = match (node.local, leaving) {
            (true, true) => Info { services: Some(Vec::new()), ..node.info.clone() },
            (true, false) => self.local_info(&[]),
            (false, _) => {
                let services = self.services.on_node(id);
                let items = services.map(|(_, entry)| ServiceItem::clone(&entry.item)).collect();
                Info { services: Some(items), ..node.info.clone() }
            }
        };
        let (info, size) = raw_info::write(&info);
        let state = State::Online(json!([info, cpu_seq, cpu]));
        Some(Row { node_id: Arc::clone(id), state, size: size + id.len() + 32 })
    }

    /// A row of this node that others take in without having asked for it.
    #[must_use]
    pub fn gossip_row(&self, info: &Info) -> Row {
        let node = self.nodes.get(&self.local_id);
        let cpu_seq = node.map_or(0, |node| node.cpu_seq);
        let cpu = percent(node.and_then(|node| node.load.cpu()));
        let (info, size) = raw_info::write(info);
        let state = State::Online(json!([info, cpu_seq, cpu]));
        Row { node_id: Arc::clone(&self.local_id), state, size }
    }

    /// Takes in an answer: what is newer than what this node knows, of all nodes but itself.
    pub fn apply_gossip(&mut self, mut response: Map<String, Value>, now: Instant) -> Applied {
        let mut applied = Applied::default();
        let mut nodes = |key: &str| match response.remove(key) {
            Some(Value::Object(nodes)) => nodes,
            _ => Map::new(),
        };
        let (online, offline) = (nodes("online"), nodes("offline"));
        for (id, row) in online {
            if *id != *self.local_id && self.apply_row(&id, row, now, &mut applied).is_none() {
                applied.refused += 1;
            }
        }
        for (id, seq) in offline {
            match count(&seq) {
                None => applied.refused += 1,
                Some(seq) => self.apply_offline(&id.into(), seq, now, &mut applied.effects),
            }
        }
        applied
    }

    /// `None` when the row makes no sense.
    fn apply_row(
        &mut self,
        id: &str,
        row: Value,
        now: Instant,
        applied: &mut Applied,
    ) -> Option<()> {
        let Value::Array(row) = row else { return None };
        let mut fields = row.into_iter();
        let (info, cpu_seq, cpu) = match fields.len() {
            1 => (fields.next(), None, None),
            2 => (None, fields.next(), fields.next()),
            3 => (fields.next(), fields.next(), fields.next()),
            _ => return None,
        };
        let known = self.nodes.get(id);
        let id: Arc<str> = known.map_or_else(|| id.into(), |node| Arc::clone(&node.id));
        if let Some(info) = info.filter(|info| !info.is_null()) {
            let seq = info.get("seq").map_or(Some(1), count)?;
            if known.is_none_or(|node| node.info.seq < seq) {
                packet::check_node_id(&id).ok()?;
                let info = raw_info::read(&id, info)?;
                applied.effects.extend(self.apply_info(&id, info, now));
            }
        }
        let cpu_seq = cpu_seq.as_ref().and_then(count).unwrap_or(0);
        let cpu = cpu.as_ref().and_then(Value::as_f64);
        if let (Some(node), Some(cpu)) = (self.nodes.get_mut(&id), cpu)
            && node.available
            && cpu_seq > node.cpu_seq
        {
            node.set_foreign_cpu(cpu, cpu_seq, now);
        }
        Some(())
    }

    fn apply_offline(&mut self, id: &Arc<str>, seq: u64, now: Instant, effects: &mut Vec<Effect>) {
        let older = |node: &Node| !node.local && node.info.seq < seq;
        if self.nodes.get(id).is_some_and(older) {
            // Quiet about one that is known to be gone.
            effects.extend(self.apply_disconnect(id, false, now));
            self.set_seq(id, seq);
        }
    }

    fn set_seq(&mut self, id: &Arc<str>, seq: u64) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.info.seq = seq;
        }
    }
}

/// Answers of rows that belong together: as few packets as stay below `size_max` bytes. A row that is
/// larger by itself has a packet of its own.
#[must_use]
pub fn pack(rows: Vec<Row>, size_max: usize) -> Vec<Map<String, Value>> {
    let mut packets = Vec::new();
    let (mut packet, mut size) = (Map::new(), 0);
    for row in rows {
        if size + row.size > size_max && !packet.is_empty() {
            packets.push(std::mem::take(&mut packet));
            size = 0;
        }
        size += row.size;
        let (key, value) = match row.state {
            State::Online(value) => ("online", value),
            State::Offline(seq) => ("offline", seq.into()),
        };
        let nodes = packet.entry(key).or_insert_with(|| Map::new().into());
        if let Value::Object(nodes) = nodes {
            nodes.insert(row.node_id.to_string(), value);
        }
    }
    if !packet.is_empty() {
        packets.push(packet);
    }
    packets
}

/// A counter as some serializer gives it: a whole number, or one with a decimal point.
fn count(value: &Value) -> Option<u64> {
    let number = value.as_u64().or_else(|| value.as_f64().and_then(quantity::whole));
    number.filter(|number| *number <= SEQ_MAX)
}

/// A load as JavaScript writes it: without a decimal point where there is nothing behind it.
fn percent(cpu: Option<f64>) -> Value {
    let cpu = cpu.unwrap_or(0.0);
    quantity::whole(cpu).map_or_else(|| json!(cpu), Value::from)
}
