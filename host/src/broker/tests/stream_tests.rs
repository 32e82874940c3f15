//! Rules of streams on the way of a call, with native services and a paused clock.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::payload::stream::{Refused, Stream, channel};

/// A broker with one action `s.a`, and how often it was called.
async fn with_action<Fut>(
    definition: Value,
    change: impl FnOnce(&mut BrokerOptions),
    work: impl Fn(Context) -> Fut + Send + Sync + 'static,
) -> (ServiceBroker, Arc<AtomicU32>)
where
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let broker = broker(change);
    broker.start().await.unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let handler = action(move |ctx| {
        count.fetch_add(1, Ordering::Relaxed);
        work(ctx)
    });
    let schema = json!({"name": "s", "actions": {"a": definition}});
    let service = LocalService::native(&schema, vec![("a", handler)], Vec::new()).unwrap();
    broker.add_service(service).await.unwrap();
    (broker, calls)
}

async fn call_with(broker: &ServiceBroker, stream: Option<Stream>) -> Outcome {
    let options = CallOptions { stream, ..CallOptions::default() };
    broker.call("s.a", Payload::Absent, options).await
}

fn busy() -> Outcome {
    Err(MoleculerError::temporary(503, "BUSY", "busy"))
}

#[tokio::test(start_paused = true)]
async fn a_call_is_not_tried_again_once_its_stream_was_taken() {
    let retry = |options: &mut BrokerOptions| options.retry_policy.enabled = true;
    let (broker, calls) = with_action(json!({}), retry, |_| async { busy() }).await;
    let (writer, stream) = channel(false, 100);
    call_with(&broker, Some(stream)).await.unwrap_err();
    assert_eq!(calls.load(Ordering::Relaxed), 6);
    assert_eq!(writer.try_write(Payload::null()), Err(Refused::Closed));

    let (broker, calls) = with_action(json!({}), retry, |ctx| async move {
        drop(ctx.stream.as_ref().unwrap().take());
        busy()
    })
    .await;
    let (_writer, stream) = channel(false, 100);
    assert_eq!(call_with(&broker, Some(stream)).await.unwrap_err().kind(), "BUSY");
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn streams_pass_by_the_cacher() {
    let cached = |options: &mut BrokerOptions| options.cacher = Some(Default::default());
    let (broker, calls) = with_action(json!({"cache": true}), cached, |ctx| async move {
        match &ctx.stream {
            Some(_) => Ok(Payload::null()),
            None => Ok(Payload::Stream(channel(false, 100).1)),
        }
    })
    .await;
    for n in 1..=2 {
        let Payload::Stream(result) = call_with(&broker, None).await.unwrap() else { panic!() };
        assert!(!result.taken());
        assert_eq!(calls.load(Ordering::Relaxed), n);
    }
    for n in 3..=4 {
        let (_writer, stream) = channel(false, 100);
        assert_eq!(call_with(&broker, Some(stream)).await.unwrap(), Payload::null());
        assert_eq!(calls.load(Ordering::Relaxed), n);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_timed_out_closes_its_stream() {
    let limit = |options: &mut BrokerOptions| options.request_timeout = Duration::from_secs(1);
    let (broker, _) = with_action(json!({}), limit, |_| std::future::pending()).await;
    let (writer, stream) = channel(false, 100);
    // Somebody else has it, too.
    let kept = stream.clone();
    let error = call_with(&broker, Some(stream)).await.unwrap_err();
    assert_eq!(error.kind(), "REQUEST_TIMEOUT");
    writer.closed().await;
    assert!(kept.taken());
}
