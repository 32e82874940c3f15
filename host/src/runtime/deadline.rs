//! How long a guest may run, and the wait that ends it.
//!
//! The limit is a timer around the call. It is only armed when the guest waits or gives way for the first
//! time, so a call that runs through costs none; a guest that computes gives way by its fuel slices.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::context::Context;
use crate::task::CancellationToken;

/// When a call must end, and who says so.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// The caller gives up then.
    Caller(Instant),
    /// The service may not run longer.
    Service(Instant),
}

/// Why a guest was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The caller's time is over.
    Caller,
    /// The service's own time is over.
    Service,
    /// The pool was closed.
    Closed,
}

impl Deadline {
    /// The earlier one of the caller's deadline and `timeout` from `now`.
    pub(super) fn new(ctx: Option<&Context>, now: Instant, timeout: Duration) -> Self {
        // A limit too far away for the clock is as good as a day: the caller's deadline still counts.
        let own = now.checked_add(timeout).unwrap_or(now + Duration::from_secs(86_400));
        match ctx.and_then(Context::deadline) {
            Some(deadline) if deadline.at <= own => Self::Caller(deadline.at),
            _ => Self::Service(own),
        }
    }

    /// The moment.
    pub(super) fn at(self) -> Instant {
        match self {
            Self::Caller(at) | Self::Service(at) => at,
        }
    }

    /// What its end means.
    pub(super) fn stop(self) -> Stop {
        match self {
            Self::Caller(_) => Stop::Caller,
            Self::Service(_) => Stop::Service,
        }
    }
}

/// Runs a future until it ends, the deadline passes or `closed` is cancelled. The future is dropped by the
/// caller's frame when it is stopped.
pub(super) async fn within<T>(
    deadline: Deadline,
    closed: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, Stop> {
    let ended = async {
        let mut work = pin!(work);
        let mut cancelled = pin!(closed.cancelled());
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            // It is asked only when the work has to wait.
            Poll::Pending => cancelled.as_mut().poll(cx).map(|()| Err(Stop::Closed)),
        })
        .await
    };
    clock::within(deadline.at(), ended).await.unwrap_or_else(|| Err(deadline.stop()))
}

/// Runs a handler as [`within`] does. Once it has answered its caller with a stream, the caller's deadline
/// counts no more, but `streaming` from that moment.
pub(super) async fn within_answer<T>(
    ctx: &Context,
    deadline: Deadline,
    streaming: Duration,
    closed: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, Stop> {
    let mut work = pin!(work);
    let mut deadline = deadline;
    // Made when the work has to wait for the first time.
    let mut over = pin!(None);
    let mut closed = pin!(closed.cancelled());
    let mut answered = false;
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Ok(done));
        }
        if !answered && let Some(at) = ctx.answered_at() {
            answered = true;
            deadline = Deadline::new(None, at, streaming);
            over.set(None);
        }
        if over.is_none() {
            over.set(Some(tokio::time::sleep_until(deadline.at())));
        }
        if let Some(over) = over.as_mut().as_pin_mut()
            && over.poll(cx).is_ready()
        {
            return Poll::Ready(Err(deadline.stop()));
        }
        closed.as_mut().poll(cx).map(|()| Err(Stop::Closed))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ContextBuilder;

    #[tokio::test(start_paused = true)]
    async fn the_earlier_deadline_stops_the_work() {
        let check = async |caller_ms: Option<u64>, own_ms: u64, expected: Stop| {
            let ctx = ContextBuilder::new("a.b".into(), "n".into()).build();
            let now = clock::now();
            if let Some(ms) = caller_ms {
                ctx.start_deadline(now, Duration::from_millis(ms));
            }
            let deadline = Deadline::new(Some(&ctx), now, Duration::from_millis(own_ms));
            let closed = CancellationToken::new();
            let stop = within(deadline, &closed, std::future::pending::<()>()).await;
            assert_eq!(stop, Err(expected));
            assert_eq!(clock::now() - now, deadline.at() - now);
        };
        check(Some(10), 20, Stop::Caller).await;
        check(Some(20), 10, Stop::Service).await;
        check(None, 10, Stop::Service).await;
        check(None, 10, Stop::Service).await;
    }

    #[tokio::test(start_paused = true)]
    async fn closing_stops_the_work() {
        let closed = CancellationToken::new();
        closed.cancel();
        let deadline = Deadline::new(None, clock::now(), Duration::MAX);
        let stop = within(deadline, &closed, std::future::pending::<()>()).await;
        assert_eq!(stop, Err(Stop::Closed));
    }
}
