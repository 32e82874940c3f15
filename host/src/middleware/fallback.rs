//! Another answer in the place of an error (moleculer: src/middlewares/fallback.js).
//!
//! It comes after all retries, when the call has failed for good: therefore the broker asks for it around
//! the loop of attempts, and this file only runs the one that an action declares. Value and method of one
//! call: the value that the caller brought goes first.

use crate::clock;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::handler::FallbackHandler;

/// Asks the action's own fallback. It gets the context of the failed call with the whole time of that call
/// once more, because the call may have failed for want of time.
///
/// # Errors
/// What the fallback fails with; the call's own error when the fallback did not answer in time.
pub async fn answer(fallback: &FallbackHandler, ctx: &Context, error: MoleculerError) -> Outcome {
    let own = ctx.copy().build();
    let Some(limit) = ctx.deadline().map(|deadline| deadline.timeout) else {
        return finish(fallback(own.clone(), error).await, ctx, &own);
    };
    own.start_deadline(clock::now(), limit);
    match tokio::time::timeout(limit, fallback(own.clone(), error.clone())).await {
        Ok(outcome) => finish(outcome, ctx, &own),
        Err(_) => Err(error),
    }
}

/// The caller sees the meta of the fallback, as it would have seen that of the action.
fn finish(outcome: Outcome, ctx: &Context, own: &Context) -> Outcome {
    ctx.merge_meta(&own.meta());
    ctx.merge_response_headers(&own.response_headers());
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::context::ContextBuilder;
    use crate::payload::{Object, Payload};

    fn failed() -> Context {
        let ctx = ContextBuilder::new("a.b".into(), "n".into()).build();
        ctx.start_deadline(clock::now(), Duration::from_secs(1));
        ctx
    }

    #[tokio::test(start_paused = true)]
    async fn the_fallback_sees_the_error_and_has_the_time_of_the_call_again() {
        let ctx = failed();
        tokio::time::advance(Duration::from_secs(2)).await;
        let fallback: FallbackHandler = Arc::new(|ctx, error| {
            ctx.merge_meta(&Object::from_json_text("{\"by\":\"fallback\"}".into()).unwrap());
            let left = ctx.remaining(clock::now());
            Box::pin(async move {
                assert_eq!(left, Some(Duration::from_secs(1)));
                Ok(Payload::Json(format!("{:?}", error.kind()).into()))
            })
        });
        let error = MoleculerError::request_timeout("a.b", "n");
        let outcome = answer(&fallback, &ctx, error).await.unwrap();
        assert_eq!(outcome, Payload::Json("\"REQUEST_TIMEOUT\"".into()));
        assert_eq!(ctx.meta().as_str(), "{\"by\":\"fallback\"}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fallback_without_an_end_leaves_the_error() {
        let fallback: FallbackHandler = Arc::new(|_, _| Box::pin(std::future::pending()));
        let error = MoleculerError::client(400, "X", "m");
        assert_eq!(answer(&fallback, &failed(), error.clone()).await, Err(error));
    }
}
