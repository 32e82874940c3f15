//! A message bus inside the process, for tests and for clusters without sockets.
//!
//! Delivery happens inside `publish`, in the order of joining, without a task or a timer in between: with a
//! paused clock a cluster on it is deterministic. Tests may lose connections, limit messages and decide
//! over each delivery.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::schema::Pattern;
use crate::transporter::{Error, Event, Listener, Queue, Transporter};

/// The buses of this process by name; a bus lives as long as somebody holds it.
static BUSES: LazyLock<Mutex<HashMap<String, Weak<Bus>>>> = LazyLock::new(Mutex::default);

/// IDs of members, for the whole process.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// One message on its way to one member.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Name of the member that published.
    pub from: &'a str,
    /// Name of the member that would receive.
    pub to: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The message.
    pub data: &'a Bytes,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives.
    Deliver,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
}

type Rule = Arc<dyn Fn(&Delivery<'_>) -> Verdict + Send + Sync>;

/// A bus. Its members are [`Fake`] transporters.
#[derive(Default)]
pub struct Bus(Mutex<State>);

#[derive(Default)]
struct State {
    members: Vec<Member>,
    /// Names of members that are cut off.
    cut: HashSet<String>,
    rule: Option<Rule>,
    payload_max: Option<usize>,
    /// Messages that went to each group of shared queues, so that its members take turns.
    turns: BTreeMap<String, usize>,
}

struct Member {
    /// Which [`Fake`] it is; names may be used twice.
    id: u64,
    name: String,
    listener: Arc<dyn Listener>,
    topics: HashSet<String>,
    queues: Vec<(Queue, Pattern)>,
}

impl Bus {
    /// The bus of this name; made when nobody holds it.
    #[must_use]
    pub fn named(name: &str) -> Arc<Self> {
        let mut buses = BUSES.lock();
        buses.retain(|_, bus| bus.strong_count() > 0);
        if let Some(bus) = buses.get(name).and_then(Weak::upgrade) {
            return bus;
        }
        let bus = Arc::new(Self::default());
        buses.insert(name.to_owned(), Arc::downgrade(&bus));
        bus
    }

    /// Takes the connection of a member away until [`Bus::restore`]. Nothing reaches it or leaves it.
    pub fn cut(&self, member: &str) {
        let listeners = {
            let mut state = self.0.lock();
            state.cut.insert(member.to_owned());
            state.listeners(member)
        };
        for listener in listeners {
            listener.handle_event(Event::Disconnected);
        }
    }

    /// Gives a member its connection back.
    pub fn restore(&self, member: &str) {
        let listeners = {
            let mut state = self.0.lock();
            state.cut.remove(member);
            state.listeners(member)
        };
        for listener in listeners {
            listener.handle_event(Event::Reconnected);
        }
    }

    /// Lets `rule` decide over each delivery from now on. It is called without any lock.
    pub fn set_rule(&self, rule: impl Fn(&Delivery<'_>) -> Verdict + Send + Sync + 'static) {
        self.0.lock().rule = Some(Arc::new(rule));
    }

    /// Delivers everything again.
    pub fn clear_rule(&self) {
        self.0.lock().rule = None;
    }

    /// Refuses larger messages (bytes), as a server does.
    pub fn set_payload_max(&self, payload_max: usize) {
        self.0.lock().payload_max = Some(payload_max);
    }

    /// Publishes as somebody who is no member; for packets that no proper node sends.
    pub fn inject(&self, topic: &str, data: &Bytes) {
        self.deliver("", topic, data);
    }

    fn deliver(&self, from: &str, topic: &str, data: &Bytes) {
        let (targets, rule) = {
            let mut state = self.0.lock();
            (state.targets(topic), state.rule.clone())
        };
        for (to, listener) in targets {
            let delivery = Delivery { from, to: &to, topic, data };
            match rule.as_ref().map_or(Verdict::Deliver, |rule| rule(&delivery)) {
                Verdict::Deliver => listener.handle_message(topic, data.clone()),
                Verdict::Drop => {}
                Verdict::Duplicate => {
                    listener.handle_message(topic, data.clone());
                    listener.handle_message(topic, data.clone());
                }
            }
        }
    }
}

impl State {
    fn listeners(&self, name: &str) -> Vec<Arc<dyn Listener>> {
        let members = self.members.iter().filter(|member| member.name == name);
        members.map(|member| Arc::clone(&member.listener)).collect()
    }

    /// All who subscribed to a topic, and of those who share its queue one for each group.
    fn targets(&mut self, topic: &str) -> Vec<(String, Arc<dyn Listener>)> {
        let reachable: Vec<&Member> =
            self.members.iter().filter(|member| !self.cut.contains(&member.name)).collect();
        let mut chosen: Vec<&Member> =
            reachable.iter().copied().filter(|member| member.topics.contains(topic)).collect();
        let mut groups: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
        for member in &reachable {
            for (queue, _) in member.queues.iter().filter(|(_, pattern)| pattern.matches(topic)) {
                groups.entry(&queue.group).or_default().push(member);
            }
        }
        for (name, group) in groups {
            let turn = self.turns.entry(name.to_owned()).or_default();
            *turn = turn.wrapping_add(1);
            chosen.extend(group.get(*turn % group.len()));
        }
        chosen.iter().map(|member| (member.name.clone(), Arc::clone(&member.listener))).collect()
    }

    fn check(&self, id: u64, size: usize) -> Result<(), Error> {
        let member = self.members.iter().find(|member| member.id == id);
        if member.is_none_or(|member| self.cut.contains(&member.name)) {
            return Err(Error::NotConnected);
        }
        match self.payload_max {
            Some(limit) if size > limit => Err(Error::PayloadTooLarge { limit, size }),
            _ => Ok(()),
        }
    }
}

/// One member of a bus.
pub struct Fake {
    bus: Arc<Bus>,
    id: u64,
    name: String,
}

impl Fake {
    /// A member of this name, which is its node ID, on a bus. Two nodes with one ID are two members, as on
    /// a real server; a bus cuts both.
    #[must_use]
    pub fn new(bus: Arc<Bus>, name: &str) -> Self {
        Self { bus, id: NEXT_ID.fetch_add(1, Ordering::Relaxed), name: name.to_owned() }
    }
}

impl Transporter for Fake {
    fn connect(&self, listener: Arc<dyn Listener>) -> BoxFuture<'_, Result<(), Error>> {
        let mut state = self.bus.0.lock();
        let connected = if state.cut.contains(&self.name) {
            Err(Error::Connect { address: self.address(), cause: "it is cut off".into() })
        } else {
            state.members.push(Member {
                id: self.id,
                name: self.name.clone(),
                listener,
                topics: HashSet::new(),
                queues: Vec::new(),
            });
            Ok(())
        };
        std::future::ready(connected).boxed()
    }

    fn subscribe(&self, topics: Vec<String>) -> BoxFuture<'_, Result<(), Error>> {
        let mut state = self.bus.0.lock();
        let subscribed = match state.members.iter_mut().find(|member| member.id == self.id) {
            Some(member) => {
                member.topics.extend(topics);
                Ok(())
            }
            None => Err(Error::NotConnected),
        };
        std::future::ready(subscribed).boxed()
    }

    fn publish<'a>(&'a self, topic: &'a str, data: Bytes) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.bus.0.lock().check(self.id, data.len())?;
            self.bus.deliver(&self.name, topic, &data);
            Ok(())
        }
        .boxed()
    }

    fn has_balancer(&self) -> bool {
        true
    }

    fn share(&self, queues: Vec<Queue>) -> BoxFuture<'_, Result<(), Error>> {
        let compiled = |queue: Queue| Some((Pattern::compile(&queue.topic).ok()?, queue));
        let queues =
            queues.into_iter().filter_map(compiled).map(|(pattern, queue)| (queue, pattern));
        let mut state = self.bus.0.lock();
        let shared = match state.members.iter_mut().find(|member| member.id == self.id) {
            Some(member) => {
                member.queues = queues.collect();
                Ok(())
            }
            None => Err(Error::NotConnected),
        };
        std::future::ready(shared).boxed()
    }

    fn disconnect(&self) -> BoxFuture<'_, ()> {
        self.bus.0.lock().members.retain(|member| member.id != self.id);
        std::future::ready(()).boxed()
    }

    fn address(&self) -> String {
        "the in-process bus".to_owned()
    }
}
