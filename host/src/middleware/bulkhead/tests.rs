//! Rules of the bulkhead, each at its boundary.

use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use super::*;
use crate::context::{ContextBuilder, Outcome};
use crate::payload::Payload;
use crate::schema::{Bounds, ServiceSchema};

/// An action `t.a` with a handler that waits until it is told to end, and the calls that have begun.
struct Rig {
    handler: Handler,
    begun: Arc<Mutex<Vec<Begun>>>,
    metrics: MetricRegistry,
}

/// ID of a call, and what ends it.
type Begun = (String, oneshot::Sender<()>);

fn schema(definition: &Value) -> ServiceSchema {
    let text = json!({"name": "t", "actions": {"a": definition}, "events": {"e": definition}});
    let bounds = Bounds { len: 10_000, items: 10, internal: false };
    ServiceSchema::read(&text.to_string(), &serde_json::Map::new(), bounds).unwrap()
}

fn rig(options: Options, definition: &Value) -> Rig {
    let begun: Arc<Mutex<Vec<Begun>>> = Arc::default();
    let log = Arc::clone(&begun);
    let work: Handler = Arc::new(move |ctx: Context| {
        let (end, ended) = oneshot::channel();
        log.lock().push((ctx.id.to_string(), end));
        Box::pin(async move {
            let _ = ended.await;
            Ok(Payload::null())
        })
    });
    let metrics = MetricRegistry::default();
    let bulkhead = Bulkhead::new(options, "me".into(), &metrics);
    let handler = bulkhead.local_action(work, &schema(definition).actions[0]);
    Rig { handler, begun, metrics }
}

impl Rig {
    fn start(&self, id: &str) -> BoxFuture<'static, Outcome> {
        (self.handler)(ContextBuilder::received("t.a".into(), "me".into(), id.into()).build())
    }

    /// Makes a call and lets it run as far as it comes.
    fn call(&self, id: &str) -> BoxFuture<'static, Outcome> {
        let mut call = self.start(id);
        assert!(poll(&mut call).is_pending());
        call
    }

    /// Makes a call that must be refused at once.
    fn refused(&self, id: &str) -> MoleculerError {
        match poll(&mut self.start(id)) {
            Poll::Ready(Err(error)) => error,
            _ => panic!("call {id} must be refused"),
        }
    }

    fn running(&self) -> Vec<String> {
        self.begun.lock().iter().map(|(id, _)| id.clone()).collect()
    }

    /// Ends the call that has run longest.
    fn end_first(&self) {
        let (_, end) = self.begun.lock().remove(0);
        end.send(()).unwrap();
    }

    fn counts(&self) -> (i64, i64) {
        let metrics = self.metrics.snapshot();
        let of = |name| metrics.get(name).copied().unwrap();
        (of("moleculer.request.bulkhead.inflight"), of("moleculer.request.bulkhead.queue.size"))
    }
}

fn poll(call: &mut BoxFuture<'static, Outcome>) -> Poll<Outcome> {
    call.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()))
}

fn two_and_two() -> Options {
    Options { enabled: true, concurrency: 2, max_queue_size: 2 }
}

#[test]
fn so_many_run_so_many_wait_and_the_next_is_refused() {
    let rig = rig(two_and_two(), &json!({}));
    let _calls: Vec<_> = ["1", "2", "3", "4"].map(|id| rig.call(id)).into();
    assert_eq!(rig.running(), ["1", "2"]);
    assert_eq!(rig.counts(), (2, 2));
    let error = rig.refused("5");
    assert_eq!((error.name(), error.code(), error.retryable()), ("QueueIsFullError", 429, true));
    let wire = error.to_wire("me");
    assert_eq!(wire["data"], json!({"action": "t.a", "nodeID": "me"}));
}

#[test]
fn who_waits_longest_is_next() {
    let rig = rig(two_and_two(), &json!({}));
    let mut calls: Vec<_> = ["1", "2", "3", "4"].map(|id| rig.call(id)).into();
    for (ended, begun) in [("1", "3"), ("2", "4")] {
        rig.end_first();
        assert!(calls.iter_mut().any(|call| poll(call).is_ready()), "call {ended}");
        // The call has to be dropped for its seat to be free.
        drop(calls.remove(0));
        assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
        assert_eq!(rig.running().last().unwrap(), begun);
    }
    assert_eq!(rig.counts(), (2, 0));
    drop(calls);
    assert_eq!(rig.counts(), (0, 0));
}

#[test]
fn a_call_that_ends_while_it_waits_leaves_the_queue() {
    let rig = rig(Options { concurrency: 1, ..two_and_two() }, &json!({}));
    let running = rig.call("1");
    let waiting = rig.call("2");
    let mut last = rig.call("3");
    rig.refused("4");
    drop(waiting);
    let _fourth = rig.call("4");
    assert_eq!(rig.counts(), (1, 2));
    drop(running);
    assert!(poll(&mut last).is_pending());
    assert_eq!(rig.running(), ["1", "3"]);
}

#[test]
fn the_action_decides_over_the_broker() {
    let off = rig(two_and_two(), &json!({"bulkhead": {"enabled": false}}));
    let _calls: Vec<_> = (0..10).map(|n| off.call(&n.to_string())).collect();
    assert_eq!(off.running().len(), 10);
    let on = rig(Options::default(), &json!({"bulkhead": {"enabled": true, "concurrency": 3}}));
    let _calls: Vec<_> = (0..10).map(|n| on.call(&n.to_string())).collect();
    assert_eq!((on.running().len(), on.counts()), (3, (3, 7)));
}

#[test]
fn an_event_has_its_own_bulkhead() {
    let metrics = MetricRegistry::default();
    let bulkhead = Bulkhead::new(Options::default(), "me".into(), &metrics);
    let work: EventHandler = Arc::new(|_| Box::pin(std::future::pending()));
    let definition = json!({"bulkhead": {"enabled": true, "concurrency": 1, "maxQueueSize": 1}});
    let handler = bulkhead.local_event(work, &schema(&definition).events[0]);
    let event = || {
        let ctx = ContextBuilder::new("e".into(), "me".into()).with(|ctx| ctx.service = "t".into());
        handler(ctx.build())
    };
    let _two = [event(), event()];
    let mut third = event();
    let Poll::Ready(Err(error)) = third.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()))
    else {
        panic!("the third event must be refused");
    };
    assert_eq!(error.to_wire("me")["data"], json!({"event": "e", "service": "t", "nodeID": "me"}));
    let metrics = metrics.snapshot();
    assert_eq!(metrics["moleculer.event.bulkhead.inflight"], 1);
    assert_eq!(metrics["moleculer.event.bulkhead.queue.size"], 1);
}
