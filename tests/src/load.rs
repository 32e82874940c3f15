//! Calls without end, and how each of them ended: for tests in which something breaks meanwhile.
//!
//! Each call carries a number of its own. Its answer must hold that number, and a node that counts what it
//! handles ([`Handled`]) must have seen no number twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use isomer_host::broker::ServiceBroker;
use isomer_host::context::CallOptions;
use isomer_host::service::LocalService;
use isomer_host::task;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::broker::json;
use crate::mirror::action;
use crate::wait;

/// Errors that a call may end with when a node, a server or a connection goes away.
pub const NAMED: [&str; 5] = [
    "RequestTimeoutError",
    "RequestRejectedError",
    "BrokerDisconnectedError",
    "ServiceNotAvailableError",
    "ServiceNotFoundError",
];

/// Bytes of a large call.
const BURST_SIZE: usize = 400_000;

/// Calls that go on.
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<AbortOnDropHandle<()>>,
}

struct Shared {
    node: ServiceBroker,
    action: String,
    node_id: String,
    timeout: Duration,
    stop: AtomicBool,
    started: AtomicU64,
    answered: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
    wrong: Mutex<Vec<Value>>,
}

/// How all calls ended.
#[derive(Debug)]
pub struct Ends {
    /// With their answer.
    pub answered: u64,
    /// By the name of the error.
    pub failed: BTreeMap<String, u64>,
}

impl Load {
    /// Begins: so many calls at a time of an action on a node that answers with its params, each with this
    /// limit.
    #[must_use]
    pub fn start(
        node: &ServiceBroker,
        (action, node_id): (&str, &str),
        parallel: usize,
        timeout: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            node: node.clone(),
            action: action.to_owned(),
            node_id: node_id.to_owned(),
            timeout,
            stop: AtomicBool::new(false),
            started: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            failed: Mutex::default(),
            wrong: Mutex::default(),
        });
        let worker = |_| task::run(Arc::clone(&shared).call_on());
        let workers = (0..parallel).map(worker).collect();
        Self { shared, workers }
    }

    /// Waits until so many more calls have ended, however.
    pub async fn more(&self, n: u64) {
        let target = self.shared.ended() + n;
        wait::until("more calls to end", || async {
            (self.shared.ended() >= target).then_some(())
        })
        .await;
    }

    /// Waits until so many more calls have been answered.
    pub async fn more_answers(&self, n: u64) {
        let answered = || self.shared.answered.load(Ordering::Relaxed);
        let target = answered() + n;
        let what = format!("more answers of {} on {}", self.shared.action, self.shared.node_id);
        wait::until(&what, || async { (answered() >= target).then_some(()) }).await;
    }

    /// Calls that failed so far.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failed.lock().values().sum()
    }

    /// Ends, once every call has.
    ///
    /// # Panics
    /// When a call did not end, ended with the answer of another, or with an error that is not [`NAMED`].
    pub async fn end(self) -> Ends {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            wait::for_result("the last call of a worker", worker).await.unwrap();
        }
        let shared = &self.shared;
        assert_eq!(*shared.wrong.lock(), Vec::<Value>::new(), "answers of other calls");
        assert_eq!(shared.ended(), shared.started.load(Ordering::Relaxed));
        let failed = shared.failed.lock().clone();
        assert!(failed.keys().all(|name| NAMED.contains(&&**name)), "{failed:?}");
        Ends { answered: shared.answered.load(Ordering::Relaxed), failed }
    }
}

/// So many large calls at once, more than the buffers on the way hold. Gives how many were answered.
///
/// # Panics
/// When one ends with an error that is not [`NAMED`].
pub async fn burst(node: &ServiceBroker, (action, node_id): (&str, &str), count: usize) -> usize {
    let padding = "x".repeat(BURST_SIZE);
    let calls = (0..count).map(|n| {
        // Numbers that no call of a load has.
        let params = json(&json!({"n": (1_u64 << 40) + n as u64, "padding": padding}));
        let timeout = Some(Duration::from_secs(2));
        let options =
            CallOptions { timeout, node_id: Some(node_id.into()), ..CallOptions::default() };
        node.call(action, params, options)
    });
    let ends = join_all(calls);
    let ends = wait::for_result("the end of all large calls", ends).await;
    for error in ends.iter().filter_map(|end| end.as_ref().err()) {
        assert!(NAMED.contains(&error.name()), "{error}");
    }
    ends.iter().filter(|end| end.is_ok()).count()
}

impl Shared {
    fn ended(&self) -> u64 {
        self.answered.load(Ordering::Relaxed) + self.failed.lock().values().sum::<u64>()
    }

    async fn call_on(self: Arc<Self>) {
        while !self.stop.load(Ordering::Relaxed) {
            let n = self.started.fetch_add(1, Ordering::Relaxed);
            let params = json(&json!({"n": n, "padding": "x".repeat(500)}));
            let options = CallOptions {
                timeout: Some(self.timeout),
                node_id: Some(self.node_id.as_str().into()),
                ..CallOptions::default()
            };
            match self.node.call(&self.action, params, options).await {
                Ok(answer) => {
                    let answer: Value = answer.parse().unwrap();
                    if answer["n"] == n {
                        self.answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.wrong.lock().push(answer);
                    }
                }
                Err(error) => {
                    *self.failed.lock().entry(error.name().to_owned()).or_default() += 1;
                    // A call that is refused at once leaves the thread to those that bring things in order.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// What a node has handled of a load.
#[derive(Clone, Debug, Default)]
pub struct Handled(Arc<Mutex<BTreeMap<u64, u32>>>);

impl Handled {
    /// Adds the service `once` to a node: its action `echo` answers with its params and counts them.
    pub async fn add(node: &ServiceBroker) -> Self {
        let handled = Self::default();
        let seen = handled.clone();
        let echo = action(move |ctx| {
            let params: Value = ctx.params.parse().unwrap();
            *seen.0.lock().entry(params["n"].as_u64().unwrap()).or_default() += 1;
            async move { Ok(ctx.params.clone()) }
        });
        let schema = json!({"name": "once", "actions": {"echo": {}}});
        let service = LocalService::native(&schema, vec![("echo", echo)], vec![]).unwrap();
        node.add_service(service).await.unwrap();
        handled
    }

    /// The numbers that were handled more than once.
    #[must_use]
    pub fn twice(&self) -> Vec<u64> {
        let seen = self.0.lock();
        seen.iter().filter(|(_, times)| **times > 1).map(|(n, _)| *n).collect()
    }
}
