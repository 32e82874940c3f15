//! Nodes that find and lose each other in a store of the test, with a paused clock.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;

use super::*;
use crate::clock::Instant;
use crate::discoverer::store::{Change, Error, Found, Kept, Store, Values};
use crate::registry::Sign;
use crate::serializer::Json;

type Told = Box<dyn Fn(Change) + Send + Sync>;

/// What all nodes share.
#[derive(Default)]
struct Shelf {
    signs: Mutex<BTreeMap<String, (Instant, Found)>>,
    infos: Mutex<BTreeMap<String, Bytes>>,
    away: AtomicBool,
    told: Mutex<Vec<Told>>,
    /// Signs that one search passes over.
    hidden: Mutex<Option<String>>,
    /// Searches that read the values, too.
    reads: AtomicUsize,
}

/// One node's way to it.
struct Place {
    shelf: Arc<Shelf>,
    id: Arc<str>,
    instance: String,
    last: Mutex<Option<String>>,
}

impl Shelf {
    fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
        for told in self.told.lock().iter() {
            told(if away { Change::Lost { reason: "gone".into() } } else { Change::Connected });
        }
    }

    fn forget(&self) {
        self.signs.lock().clear();
        self.infos.lock().clear();
    }

    fn there(&self) -> Result<(), Error> {
        if self.away.load(Ordering::SeqCst) { Err(Error::Away) } else { Ok(()) }
    }
}

impl Place {
    fn write(&self, seq: u64, cpu: Option<f64>) -> Result<Kept, Error> {
        self.shelf.there()?;
        let key = format!("{}|{}|{seq}", self.id, self.instance);
        let sign = Sign { seq: Some(seq), instance: self.instance.clone(), cpu };
        let found = Found { node_id: Arc::clone(&self.id), sign };
        let mut signs = self.shelf.signs.lock();
        let last = self.last.lock().replace(key.clone());
        let kept = last.as_ref().is_none_or(|last| signs.contains_key(last));
        signs.insert(key.clone(), (clock::now() + Duration::from_secs(30), found));
        if let Some(last) = last.filter(|last| *last != key) {
            signs.remove(&last);
        }
        Ok(if kept { Kept::Yes } else { Kept::No })
    }

    fn find(&self, values: Values) -> Result<Vec<Found>, Error> {
        self.shelf.there()?;
        let mut signs = self.shelf.signs.lock();
        signs.retain(|_, (end, _)| *end > clock::now());
        if values == Values::Read {
            self.shelf.reads.fetch_add(1, Ordering::SeqCst);
        }
        let hidden = {
            let mut hidden = self.shelf.hidden.lock();
            if hidden.as_deref() == Some(&*self.id) { None } else { hidden.take() }
        };
        let seen = signs.values().map(|(_, found)| found.clone());
        let seen = seen.filter(|found| Some(&*found.node_id) != hidden.as_deref());
        Ok(seen
            .map(|mut found| {
                if values == Values::Left {
                    found.sign.cpu = None;
                }
                found
            })
            .collect())
    }
}

impl Store for Place {
    fn keep(&self, told: Told) -> BoxFuture<'_, ()> {
        told(Change::Connected);
        self.shelf.told.lock().push(told);
        std::future::pending().boxed()
    }

    fn beat(&self, seq: u64, cpu: Option<f64>) -> BoxFuture<'_, Result<Kept, Error>> {
        std::future::ready(self.write(seq, cpu)).boxed()
    }

    fn write_info(&self, info: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        let written = self.shelf.there().map(|()| {
            self.shelf.infos.lock().insert(self.id.to_string(), info);
        });
        std::future::ready(written).boxed()
    }

    fn signs(&self, values: Values) -> BoxFuture<'_, Result<Vec<Found>, Error>> {
        std::future::ready(self.find(values)).boxed()
    }

    fn read_info<'a>(&'a self, node_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, Error>> {
        let info = self.shelf.there().map(|()| self.shelf.infos.lock().get(node_id).cloned());
        std::future::ready(info).boxed()
    }

    fn remove(&self) -> BoxFuture<'_, Result<(), Error>> {
        let own = format!("{}|", self.id);
        self.shelf.signs.lock().retain(|key, _| !key.starts_with(&own));
        self.shelf.infos.lock().remove(&*self.id);
        std::future::ready(self.shelf.there()).boxed()
    }

    fn failure(&self) -> &'static str {
        "failedKeyScan"
    }
}

async fn joined(bus: &Arc<Bus>, shelf: &Arc<Shelf>, id: &str, actions: &[&str]) -> Arc<Node> {
    let node = Node::finding(bus, id, |instance| {
        let instance = instance.chars().take(8).collect();
        let (shelf, last) = (Arc::clone(shelf), Mutex::default());
        let place = Place { shelf, id: id.into(), instance, last };
        Some(Directory::new(Arc::new(place), Arc::new(Json), 10, &MetricRegistry::default()))
    });
    node.offer(actions);
    node.transit.connect().await.unwrap();
    node.discoverer.first_look().await;
    settle().await;
    node
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_in_a_store_and_say_nothing_on_the_transporter() {
    let (bus, shelf) = (Arc::new(Bus::default()), Arc::new(Shelf::default()));
    let packets = watch(&bus);
    let a = joined(&bus, &shelf, "a", &["one"]).await;
    let b = joined(&bus, &shelf, "b", &["two"]).await;
    // The newcomer sees the others at once, and they see it when they look next.
    assert!(b.knows("s.one"));
    pass(Duration::from_secs(12)).await;
    assert!(a.knows("s.two"));
    a.offer(&["one", "three"]);
    pass(Duration::from_secs(12)).await;
    assert!(b.knows("s.three"));
    pass(Duration::from_secs(300)).await;
    assert_eq!((a.sees("b"), b.sees("a")), (Some(true), Some(true)));
    assert!(packets.lock().is_empty(), "{:?}", packets.lock());
    assert_eq!(a.told("$node.connected"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_sign_has_ended_is_lost() {
    let (bus, shelf) = (Arc::new(Bus::default()), Arc::new(Shelf::default()));
    let a = joined(&bus, &shelf, "a", &[]).await;
    let b = joined(&bus, &shelf, "b", &["one"]).await;
    pass(Duration::from_secs(40)).await;
    assert!(a.knows("s.one"));
    b.discoverer.0.timers.lock().cancel();
    pass(Duration::from_secs(45)).await;
    assert_eq!((a.sees("b"), a.knows("s.one")), (Some(false), false));
    let lost = a.events.lock().iter().any(|(_, data)| data["unexpected"] == true);
    assert!(lost);
}

#[tokio::test(start_paused = true)]
async fn one_search_that_passes_over_a_node_does_not_lose_it() {
    let (bus, shelf) = (Arc::new(Bus::default()), Arc::new(Shelf::default()));
    let a = joined(&bus, &shelf, "a", &[]).await;
    let _b = joined(&bus, &shelf, "b", &[]).await;
    pass(Duration::from_secs(60)).await;
    *shelf.hidden.lock() = Some("b".into());
    pass(Duration::from_secs(60)).await;
    assert_eq!(shelf.hidden.lock().as_deref(), None);
    assert_eq!((a.sees("b"), a.told("$node.disconnected")), (Some(true), 0));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_or_forgets_loses_nobody() {
    let (bus, shelf) = (Arc::new(Bus::default()), Arc::new(Shelf::default()));
    let a = joined(&bus, &shelf, "a", &["one"]).await;
    let b = joined(&bus, &shelf, "b", &["two"]).await;
    pass(Duration::from_secs(40)).await;
    shelf.set_away(true);
    shelf.forget();
    pass(Duration::from_secs(120)).await;
    assert_eq!((a.sees("b"), b.sees("a")), (Some(true), Some(true)));
    shelf.set_away(false);
    settle().await;
    assert_eq!(shelf.infos.lock().len(), 2);
    pass(Duration::from_secs(60)).await;
    // Without a word to those who keep the connection.
    shelf.forget();
    pass(Duration::from_secs(60)).await;
    assert_eq!((shelf.infos.lock().len(), shelf.signs.lock().len()), (2, 2));
    assert_eq!((a.sees("b"), b.sees("a")), (Some(true), Some(true)));
    for node in [&a, &b] {
        assert_eq!((node.told("$node.disconnected"), node.told("$discoverer.error")), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_takes_its_keys_with_it() {
    let (bus, shelf) = (Arc::new(Bus::default()), Arc::new(Shelf::default()));
    let a = joined(&bus, &shelf, "a", &["one"]).await;
    let b = joined(&bus, &shelf, "b", &[]).await;
    a.discoverer.say_offering_nothing().await;
    let info = shelf.infos.lock().get("a").cloned().unwrap();
    assert!(String::from_utf8_lossy(&info).contains("\"services\":[]"));
    a.discoverer.remove().await;
    assert!(!shelf.infos.lock().contains_key("a") && shelf.signs.lock().len() == 1);
    // Whatever else happens, nothing of it comes back.
    shelf.set_away(false);
    pass(Duration::from_secs(30)).await;
    assert_eq!(shelf.signs.lock().len(), 1);
    a.transit.disconnect().await;
    assert_eq!(b.sees("a"), Some(false));
}

#[tokio::test(start_paused = true)]
async fn every_tenth_look_reads_the_load_of_nodes() {
    let (bus, shelf) = (Arc::new(Bus::default()), Arc::new(Shelf::default()));
    let a = joined(&bus, &shelf, "a", &[]).await;
    let mut loads = Vec::new();
    for _ in 0..60 {
        let sign = Sign { seq: Some(1), instance: String::new(), cpu: Some(77.0) };
        let found = Found { node_id: "b".into(), sign };
        let end = clock::now() + Duration::from_secs(30);
        shelf.signs.lock().insert("b||1".into(), (end, found));
        let info = json!({"ver": PROTOCOL_VERSION, "sender": "b", "services": [], "seq": 1});
        shelf.infos.lock().insert("b".into(), info.to_string().into());
        pass(Duration::from_secs(10)).await;
        loads.push(a.registry.read().nodes.get("b").and_then(|node| node.load.cpu()));
    }
    // Once it is known, it stays.
    assert_eq!(loads.last().unwrap(), &Some(77.0));
    let reads = shelf.reads.load(Ordering::SeqCst);
    assert!((5..=7).contains(&reads), "{reads}");
}
