//! The breaker around a handler: which outcomes count, and that a trial is one also among many threads.
//! How circuits open and close in time is played against recordings of Moleculer in `tests/it/faults.rs`.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::config;
use crate::context::ContextBuilder;
use crate::packet::Info;
use crate::registry::Lookup;
use crate::schema::{Bounds, ServiceSchema};

/// Nobody to tell.
struct Deaf;

impl Caller for Deaf {
    fn call(
        &self,
        _: &str,
        _: Payload,
        _: crate::context::CallOptions,
    ) -> BoxFuture<'static, Outcome> {
        std::future::pending().boxed()
    }

    fn send(
        &self,
        _: EventType,
        _: &str,
        _: Payload,
        _: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn wait_for_services(
        &self,
        _: Vec<String>,
        _: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>> {
        std::future::pending().boxed()
    }
}

/// The action `t.a` of this node in a registry, and its breaker.
struct Rig {
    registry: Arc<RwLock<Registry>>,
    breaker: CircuitBreaker,
    schema: ServiceSchema,
    metrics: MetricRegistry,
    _caller: Arc<Deaf>,
}

fn rig(options: Options) -> Rig {
    let caller = Arc::new(Deaf);
    let weak: Weak<dyn Caller> = Arc::<Deaf>::downgrade(&caller);
    let defaults = config::BrokerOptions::default();
    let registry = Registry::new("me".into(), Info::default(), &defaults.registry, clock::now());
    let registry = Arc::new(RwLock::new(registry));
    let bounds = Bounds { len: 1_000, items: 10, internal: false };
    let schema =
        ServiceSchema::read("{\"name\": \"t\", \"actions\": {\"a\": {}}}", &Map::new(), bounds);
    let schema = schema.unwrap();
    registry.write().register_local(&schema, None);
    let metrics = MetricRegistry::default();
    let breaker = CircuitBreaker::new(
        Options { enabled: true, min_request_count: 1, ..options },
        "me".into(),
        weak,
        Arc::clone(&registry),
        Runtime::current(),
        CancellationToken::new(),
        &metrics,
    );
    Rig { registry, breaker, schema, metrics, _caller: caller }
}

impl Rig {
    fn handler(&self, outcome: Outcome) -> Handler {
        let work: Handler = Arc::new(move |_| std::future::ready(outcome.clone()).boxed());
        self.breaker.local_action(work, &self.schema.actions[0])
    }

    fn available(&self) -> bool {
        matches!(self.registry.read().actions.on_node("t.a", "me"), Lookup::Found(_))
    }
}

fn ctx() -> Context {
    ContextBuilder::new("t.a".into(), "me".into()).build()
}

fn from_node(node_id: &str) -> MoleculerError {
    MoleculerError::server("X", "x").at_node(&node_id.into())
}

#[tokio::test(start_paused = true)]
async fn only_the_endpoint_s_own_errors_that_pass_the_check_count() {
    let check = async |outcome: Outcome, opens: bool| {
        let rig = rig(Options::default());
        let _ = rig.handler(outcome)(ctx()).await;
        assert_eq!(rig.available(), !opens);
    };
    check(Ok(Payload::null()), false).await;
    check(Err(MoleculerError::client(499, "X", "x")), false).await;
    check(Err(MoleculerError::server("X", "x")), true).await;
    check(Err(from_node("me")), true).await;
    check(Err(from_node("other")), false).await;
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_replaced_leaves_no_mark_on_its_successor() {
    let rig = rig(Options::default());
    let handler = rig.handler(Err(MoleculerError::server("X", "x")));
    let mut schema = rig.schema.clone();
    schema.actions[0].definition = Arc::new(Map::new());
    rig.registry.write().register_local(&schema, None);
    let _ = handler(ctx()).await;
    assert!(rig.available());
    let opened = || rig.metrics.snapshot()["moleculer.circuit-breaker.opened.active"];
    assert_eq!(opened(), 1);
    drop(handler);
    assert_eq!(opened(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_many_threads_one_makes_the_trial() {
    let rig = rig(Options { half_open_time: Duration::from_secs(1), ..Options::default() });
    let handler = rig.handler(Err(MoleculerError::server("X", "x")));
    let _ = handler(ctx()).await;
    assert!(!rig.available());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(rig.available());
    let runtime = Runtime::current();
    let refused = |outcome: Option<Outcome>| {
        outcome.is_some_and(|one| one.is_err_and(|e| e.name() == "ServiceNotAvailableError"))
    };
    let n_let_in: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let _on = runtime.enter();
                    // Calls begin and are not polled to their end, so that the trial stays under way.
                    let begun: Vec<_> = (0..100).map(|_| handler(ctx())).collect();
                    begun
                        .into_iter()
                        .filter_map(|call| {
                            // What was refused is ready; what was let in would end with its own error.
                            (!refused(call.now_or_never())).then_some(())
                        })
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(n_let_in, 1);
}
