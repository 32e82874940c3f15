//! When an action runs and when it does not.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::{Map, json};
use tokio::sync::Notify;

use super::*;
use crate::cacher::Memory;
use crate::context::ContextBuilder;
use crate::error::MoleculerError;
use crate::metrics::MetricRegistry;
use crate::payload::Object;
use crate::schema::{Bounds, ServiceSchema};

/// An action that counts its runs, behind the middleware.
struct Rig {
    handler: Handler,
    runs: Arc<AtomicU64>,
    fails: Arc<AtomicBool>,
    go_on: Arc<Notify>,
}

impl Rig {
    fn new(cache: &serde_json::Value, store: Arc<dyn Store>) -> Self {
        let (runs, fails) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let go_on = Arc::<Notify>::default();
        let (n, failing, wait) = (Arc::clone(&runs), Arc::clone(&fails), Arc::clone(&go_on));
        let action: Handler = Arc::new(move |ctx| {
            let run = n.fetch_add(1, Ordering::SeqCst) + 1;
            let (failing, wait) = (failing.load(Ordering::SeqCst), Arc::clone(&wait));
            Box::pin(async move {
                if ctx.params.to_json_text().contains("wait") {
                    wait.notified().await;
                }
                match failing {
                    true => Err(MoleculerError::client(400, "NO", "as the test asked")),
                    false => Ok(Payload::from_value(&run).unwrap()),
                }
            })
        });
        let schema = json!({"name": "posts", "actions": {"find": {"cache": cache}}});
        let bounds = Bounds { len: 10_000, items: 10, internal: false };
        let schema = ServiceSchema::read(&schema.to_string(), &Map::new(), bounds).unwrap();
        let middleware = Cacher::new(store, config::Cacher::default());
        let handler = middleware.local_action(action, &schema.actions[0]);
        Self { handler, runs, fails, go_on }
    }

    fn ctx(&self, params: &str, meta: &str) -> Context {
        ContextBuilder::new("posts.find".into(), "n".into())
            .meta(Object::from_json_text(meta.to_owned().into()).unwrap())
            .with(|ctx| ctx.params = Payload::Json(params.into()))
            .build()
    }

    async fn call(&self, params: &str) -> Outcome {
        (self.handler)(self.ctx(params, "{}")).await
    }

    async fn result(&self, params: &str) -> String {
        self.call(params).await.unwrap().to_json_text().to_string()
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(Memory::new(&config::Cacher::default(), &MetricRegistry::default()))
}

#[tokio::test]
async fn equal_calls_run_once_and_say_that_they_are_cached() {
    let rig = Rig::new(&json!(true), memory());
    let (first, second) = (rig.ctx("{\"id\":1}", "{}"), rig.ctx("{\"id\":1}", "{}"));
    assert_eq!((rig.handler)(first.clone()).await.unwrap(), Payload::Json("1".into()));
    assert_eq!((rig.handler)(second.clone()).await.unwrap(), Payload::Json("1".into()));
    assert!(!first.cached_result() && second.cached_result());
    assert_eq!(rig.result("{\"id\":2}").await, "2");
}

#[tokio::test]
async fn an_action_without_cache_keeps_its_handler() {
    let middleware = Cacher::new(memory(), config::Cacher::default());
    let action: Handler = Arc::new(|_| Box::pin(ready(Ok(Payload::null()))));
    for (name, cache) in [("posts", json!(false)), ("$node", json!(true))] {
        let schema = json!({"name": name, "actions": {"list": {"cache": cache}}});
        let bounds = Bounds { len: 10_000, items: 10, internal: true };
        let schema = ServiceSchema::read(&schema.to_string(), &Map::new(), bounds).unwrap();
        let wrapped = middleware.local_action(Arc::clone(&action), &schema.actions[0]);
        assert!(Arc::ptr_eq(&wrapped, &action), "{name}");
    }
}

// moleculer: src/cachers/base.js middleware
#[tokio::test]
async fn meta_can_bypass_the_cache() {
    let rig = Rig::new(&json!(true), memory());
    assert_eq!(rig.result("{}").await, "1");
    for (meta, expected) in [
        (r#"{"$cache":false}"#, "2"),
        (r#"{"\u0024cache" : false}"#, "3"),
        (r#"{"$cache":true}"#, "1"),
        (r#"{"$cache":null}"#, "1"),
        (r#"{"a":{"$cache":false}}"#, "1"),
    ] {
        let result = (rig.handler)(rig.ctx("{}", meta)).await.unwrap();
        assert_eq!(&*result.to_json_text(), expected, "{meta}");
    }
    // What was made past the cache is not kept.
    assert_eq!(rig.result("{}").await, "1");
}

#[tokio::test]
async fn errors_are_not_kept() {
    let rig = Rig::new(&json!(true), memory());
    rig.fails.store(true, Ordering::SeqCst);
    assert!(rig.call("{}").await.is_err());
    rig.fails.store(false, Ordering::SeqCst);
    assert_eq!(rig.result("{}").await, "2");
    assert_eq!(rig.result("{}").await, "2");
}

#[tokio::test(start_paused = true)]
async fn entries_end_with_the_ttl_of_the_action() {
    let rig = Rig::new(&json!({"ttl": 5}), memory());
    assert_eq!(rig.result("{}").await, "1");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(rig.result("{}").await, "1");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(rig.result("{}").await, "2");
}

#[tokio::test]
async fn with_a_lock_many_equal_calls_run_once() {
    for (cache, runs) in [(json!({"lock": true}), 1), (json!(true), 5)] {
        let rig = Rig::new(&cache, memory());
        let calls = join_all((0..5).map(|_| rig.call("{\"do\":\"wait\"}")));
        let waker = async {
            for _ in 0..5 {
                tokio::task::yield_now().await;
                rig.go_on.notify_one();
            }
        };
        let (outcomes, ()) = tokio::join!(calls, waker);
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(rig.runs(), runs);
    }
}

#[tokio::test]
async fn a_failure_lets_the_next_one_into_the_lock() {
    let rig = Rig::new(&json!({"lock": true}), memory());
    rig.fails.store(true, Ordering::SeqCst);
    let (a, b) = tokio::join!(rig.call("{}"), rig.call("{}"));
    assert!(a.is_err() && b.is_err());
    assert_eq!(rig.runs(), 2);
}

#[tokio::test]
async fn an_abandoned_call_lets_the_next_one_into_the_lock() {
    let rig = Rig::new(&json!({"lock": true}), memory());
    let mut abandoned = Box::pin(rig.call("{\"do\":\"wait\"}"));
    assert!(abandoned.as_mut().now_or_never().is_none());
    drop(abandoned);
    rig.go_on.notify_one();
    assert_eq!(rig.result("{\"do\":\"wait\"}").await, "2");
}

#[tokio::test(start_paused = true)]
async fn a_stale_entry_is_given_and_made_anew_beside_the_call() {
    let rig = Rig::new(&json!({"ttl": 30, "lock": {"staleTime": 10}}), memory());
    assert_eq!(rig.result("{}").await, "1");
    tokio::time::advance(Duration::from_secs(19)).await;
    assert_eq!(rig.result("{}").await, "1");
    tokio::task::yield_now().await;
    assert_eq!(rig.runs(), 1, "10 seconds or more are left");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(rig.result("{}").await, "1");
    assert_eq!(rig.result("{}").await, "1");
    while rig.runs() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.result("{}").await, "2");
    assert_eq!(rig.runs(), 2, "two stale hits make it anew once");
}

/// A store that cannot be reached, or fails.
struct Away {
    connected: bool,
}

impl Store for Away {
    fn connected(&self) -> bool {
        self.connected
    }
    fn node_local(&self) -> bool {
        false
    }
    fn get(&self, _: &str) -> Answer<Option<Payload>> {
        Answer::Later(Box::pin(ready(Err(Error::Disconnected))))
    }
    fn get_with_ttl(&self, _: &str) -> Answer<Option<Entry>> {
        Answer::Now(Err(Error::Disconnected))
    }
    fn set(&self, _: &str, _: Payload, _: Option<Duration>) -> Answer<()> {
        Answer::Now(Err(Error::Disconnected))
    }
    fn del(&self, _: &[String]) -> Answer<()> {
        Answer::Now(Err(Error::Disconnected))
    }
    fn clean(&self, _: &[String]) -> Answer<()> {
        Answer::Now(Err(Error::Disconnected))
    }
    fn keys(&self) -> Answer<Vec<String>> {
        Answer::Now(Err(Error::Disconnected))
    }
    fn lock(&self, _: &str, _: Duration) -> Answer<Lock> {
        Answer::Now(Err(Error::Disconnected))
    }
    fn try_lock(&self, _: &str, _: Duration) -> Answer<Option<Lock>> {
        Answer::Now(Err(Error::Disconnected))
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_fails_is_gone_past() {
    for connected in [false, true] {
        for cache in [json!(true), json!({"lock": true}), json!({"lock": {"staleTime": 1}})] {
            let rig = Rig::new(&cache, Arc::new(Away { connected }));
            assert_eq!(rig.result("{}").await, "1");
            assert_eq!(rig.result("{}").await, "2");
        }
    }
}
