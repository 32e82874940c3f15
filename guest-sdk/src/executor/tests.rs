//! The executor on the mock: calls at once, calls that nobody waits for, futures that nobody wakes.

use std::future::{pending, poll_fn};

use futures_util::FutureExt as _;
use futures_util::future::{join, join_all, select, try_join};
use serde_json::{Value, json};

use super::*;
use crate::Context;
use crate::testing::MockBroker;

fn mock() -> MockBroker {
    MockBroker::new()
        .on_call("math.double", |params, _| Ok(params.as_i64().unwrap_or_default() * 2))
        .on_call("math.fail", |_, _| Err::<(), _>(Error::client(400, "FAILED", "as asked")))
}

fn double(ctx: &Context, n: i64) -> impl Future<Output = Result<i64>> {
    ctx.call("math.double", n).into_future()
}

/// Gives the turn away once.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|task| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn calls_one_after_the_other_and_at_once_give_their_results_in_order() {
    let ctx = mock().context();
    let result = ctx.run(async {
        let one = double(&ctx, 1).await?;
        let (two, three) = join(double(&ctx, one), double(&ctx, 3)).await;
        let many = join_all((0..100).map(|n| double(&ctx, n))).await;
        Ok((one, two?, three?, many.into_iter().sum::<Result<i64>>()?))
    });
    assert_eq!(result.unwrap(), (2, 4, 6, 9900));
}

#[test]
fn a_call_that_is_dropped_before_anybody_waits_is_not_made() {
    let mock = mock();
    let ctx = mock.context();
    ctx.run(async {
        drop(double(&ctx, 1));
        assert!(double(&ctx, 2).now_or_never().is_none());
        Ok(())
    })
    .unwrap();
    assert!(mock.calls().is_empty());
}

#[test]
fn the_first_failure_of_a_try_join_abandons_the_other_call() {
    let ctx = mock().context();
    let fail = || ctx.call::<Value>("math.fail", ()).into_future();
    let result = ctx.run(async {
        assert_eq!(try_join(fail(), double(&ctx, 1)).await.unwrap_err().kind(), "FAILED");
        double(&ctx, 5).await
    });
    assert_eq!(result.unwrap(), 10);
}

#[test]
fn a_future_that_nobody_can_wake_ends_with_an_error() {
    let ctx = mock().context();
    let error = ctx.run(pending::<Result<()>>()).unwrap_err();
    assert_eq!(error.kind(), "WAITS_FOR_NOTHING");
    let beside_a_call = ctx.run(async {
        let (_, ()) = join(double(&ctx, 1), pending()).await;
        Ok(())
    });
    assert_eq!(beside_a_call.unwrap_err().kind(), "WAITS_FOR_NOTHING");
}

#[test]
fn a_future_that_wakes_itself_goes_on_and_does_not_starve_calls() {
    let ctx = mock().context();
    let result = ctx.run(async {
        yield_now().await;
        let forever = std::pin::pin!(async {
            loop {
                yield_now().await;
            }
        });
        match select(double(&ctx, 4), forever).await {
            futures_util::future::Either::Left((result, _)) => result,
            futures_util::future::Either::Right(((), _)) => Ok(0),
        }
    });
    assert_eq!(result.unwrap(), 8);
}

#[test]
fn another_executor_gets_its_result_by_a_blocking_call() {
    let ctx = mock().context();
    assert_eq!(double(&ctx, 3).now_or_never().unwrap().unwrap(), 6);
    assert_eq!(ctx.call::<i64>("math.double", 4).wait().unwrap(), 8);
}

#[test]
fn options_are_sent_under_moleculers_names() {
    let (mock, second) = (mock(), std::time::Duration::from_secs(1));
    let ctx = mock.context();
    let call = ctx.call::<i64>("math.double", 1).timeout(second).retries(2).node_id("n");
    call.meta(json!({"a": 1})).fallback_response(7).option("x", [1]).wait().unwrap();
    assert_eq!(
        mock.calls()[0].options,
        json!({"timeout": 1000, "retries": 2, "nodeID": "n", "meta": {"a": 1},
            "fallbackResponse": 7, "x": [1]})
    );
}
