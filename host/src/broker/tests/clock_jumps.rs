//! A wall clock that jumps back and forth: nothing of a node hangs on it but what people read.

use super::*;
use crate::clock;
use crate::config::{Cacher, Transporter};
use crate::uid;

const HOUR_MS: i64 = 3_600_000;

async fn node(node_id: &str, bus: &str) -> ServiceBroker {
    let broker = broker(|options| {
        options.node_id = Some(node_id.into());
        options.transporter = Some(Transporter::Fake { bus: bus.into() });
        options.registry.prefer_local = false;
        options.cacher = Some(Cacher::default());
    });
    broker.start().await.unwrap();
    broker
}

fn available(broker: &ServiceBroker, node_id: &str) -> bool {
    broker.registry().read().nodes.get(node_id).is_some_and(|node| node.available)
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_by_an_hour_loses_no_node_no_timer_and_no_cached_answer() {
    let bus = uid::new().to_string();
    let (a, b) = (node("a", &bus).await, node("b", &bus).await);
    let n_runs = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = Arc::clone(&n_runs);
    let cached = action(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::future::ready(Ok(Payload::null()))
    });
    let silent = action(|_| std::future::pending());
    let schema = json!({"name": "s", "actions": {"cached": {"cache": {"ttl": 600}}, "silent": {}}});
    let handlers = vec![("cached", cached), ("silent", silent)];
    b.add_service(LocalService::native(&schema, handlers, Vec::new()).unwrap()).await.unwrap();
    a.wait_for_services(vec!["s".into()], None).await.unwrap();
    b.call("s.cached", Payload::Absent, CallOptions::default()).await.unwrap();

    for jump in [HOUR_MS, -2 * HOUR_MS, HOUR_MS] {
        let start = clock::now();
        let timeout = Some(Duration::from_secs(20));
        let options = CallOptions { timeout, ..CallOptions::default() };
        let waiting = crate::task::run(a.call("s.silent", Payload::Absent, options));
        let ping = crate::task::run({
            let a = a.clone();
            async move { a.ping(&"b".into(), Duration::from_secs(5)).await }
        });
        // The question is on its way.
        tokio::task::yield_now().await;
        clock::jump(jump);
        let pong = ping.await.unwrap().unwrap().unwrap();
        assert!((0.0..1_000.0).contains(&pong.elapsed_time), "{pong:?}");
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(error.name(), "RequestTimeoutError");
        let took = clock::now() - start;
        assert!((20..22).contains(&took.as_secs()), "{took:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(available(&a, "b") && available(&b, "a"), "after a jump by {jump} ms");
        b.call("s.cached", Payload::Absent, CallOptions::default()).await.unwrap();
        assert_eq!(n_runs.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
    // Entries end by the time that passes, not by the time that is shown.
    tokio::time::sleep(Duration::from_secs(600)).await;
    b.call("s.cached", Payload::Absent, CallOptions::default()).await.unwrap();
    assert_eq!(n_runs.load(std::sync::atomic::Ordering::Relaxed), 2);
}
