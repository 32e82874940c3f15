//! A broker call that a guest has started, as a task of its own.
//!
//! A store must not be driven inside an import of another store, so every call of a guest runs beside it
//! and reports back. Dropping a [`PendingCall`] stops the task.

use std::future::Future;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::context::Outcome;
use crate::error::MoleculerError;
use crate::payload::{Payload, Stream};
use crate::runtime::handlers::Handle;
use crate::task;

/// A call in flight, or its result until somebody takes it.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct PendingCall {
    /// The handler that made it.
    pub(super) handler: Handle,
    progress: Progress,
    /// The stream that it was answered with, until somebody takes it.
    stream: Option<Stream>,
    /// Where that stream comes from when `done` waits for the result.
    arriving: Option<oneshot::Receiver<Stream>>,
}

#[derive(Debug)]
enum Progress {
    Running {
        task: AbortOnDropHandle<()>,
        result: oneshot::Receiver<Outcome>,
    },
    /// A future of `done` has the result.
    Awaited {
        _task: AbortOnDropHandle<()>,
    },
    Done(Outcome),
    Taken,
}

impl PendingCall {
    /// Starts a call. `permit` counts it as in flight until it is done.
    pub(super) fn start(
        handler: Handle,
        permit: OwnedSemaphorePermit,
        call: impl Future<Output = Outcome> + Send + 'static,
    ) -> Self {
        let (sender, result) = oneshot::channel();
        let task = task::run(async move {
            let outcome = call.await;
            drop(permit);
            // The guest may have dropped the call in the meantime.
            let _ = sender.send(outcome);
        });
        Self { handler, progress: Progress::Running { task, result }, stream: None, arriving: None }
    }

    /// A call that failed before it began.
    pub(super) fn failed(handler: Handle, error: MoleculerError) -> Self {
        Self { handler, progress: Progress::Done(Err(error)), stream: None, arriving: None }
    }

    /// Ready when the call is done, also after its result has been taken.
    pub(super) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Progress::Running { task, result } = &mut self.progress else { return Poll::Ready(()) };
        let outcome = match std::pin::Pin::new(result).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        task.abort();
        self.finish(outcome.unwrap_or_else(|_| Err(panicked())));
        Poll::Ready(())
    }

    /// Takes the result: `None` while the call runs, and when it has been taken.
    pub(super) fn take(&mut self) -> Option<Outcome> {
        if let Progress::Running { result, .. } = &mut self.progress {
            let outcome = match result.try_recv() {
                Ok(outcome) => outcome,
                Err(oneshot::error::TryRecvError::Empty) => return None,
                Err(oneshot::error::TryRecvError::Closed) => Err(panicked()),
            };
            self.finish(outcome);
        }
        match std::mem::replace(&mut self.progress, Progress::Taken) {
            Progress::Done(outcome) => Some(outcome),
            progress @ (Progress::Awaited { .. } | Progress::Running { .. }) => {
                self.progress = progress;
                None
            }
            Progress::Taken => None,
        }
    }

    /// Waits for the result without the call itself, which can still be dropped.
    pub(super) fn done(&mut self) -> impl Future<Output = Outcome> + Send + use<> {
        let (arrive, arriving) = oneshot::channel();
        let waiting = match std::mem::replace(&mut self.progress, Progress::Taken) {
            Progress::Running { task, result } => {
                self.progress = Progress::Awaited { _task: task };
                self.arriving = Some(arriving);
                Ok(result)
            }
            Progress::Done(outcome) => Err(outcome),
            progress @ (Progress::Awaited { .. } | Progress::Taken) => {
                self.progress = progress;
                let message = "The result of the call has been asked for already.";
                Err(Err(MoleculerError::client(409, "RESULT_TAKEN", message)))
            }
        };
        async move {
            let outcome = match waiting {
                Ok(result) => result.await.unwrap_or_else(|_| Err(panicked())),
                Err(outcome) => outcome,
            };
            let Ok(Payload::Stream(stream)) = outcome else { return outcome };
            // The guest may have dropped the call in the meantime.
            let _ = arrive.send(stream);
            Ok(Payload::Absent)
        }
    }

    /// Where the stream of the answer waits, if the call was answered with one.
    pub(super) fn stream(&mut self) -> &mut Option<Stream> {
        if let Some(Ok(stream)) = self.arriving.as_mut().map(oneshot::Receiver::try_recv) {
            self.stream = Some(stream);
        }
        if matches!(self.progress, Progress::Running { .. })
            && let Some(outcome) = self.take()
        {
            self.progress = Progress::Done(outcome);
        }
        &mut self.stream
    }

    /// A stream is no payload for a guest: it is taken beside the result, which is then absent.
    fn finish(&mut self, outcome: Outcome) {
        self.progress = Progress::Done(match outcome {
            Ok(Payload::Stream(stream)) => {
                self.stream = Some(stream);
                Ok(Payload::Absent)
            }
            outcome => outcome,
        });
    }
}

/// Runs a future beside the guest and waits for it.
pub(super) async fn beside<T: Send + 'static>(
    work: impl Future<Output = Result<T, MoleculerError>> + Send + 'static,
) -> Result<T, MoleculerError> {
    task::run(work).await.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> MoleculerError {
    MoleculerError::internal("the call ended with a panic in the host")
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    async fn permit(calls: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        Arc::clone(calls).acquire_owned().await.unwrap()
    }

    #[tokio::test]
    async fn a_result_is_taken_once() {
        let calls = Arc::new(Semaphore::new(1));
        let mut call = PendingCall::start(1, permit(&calls).await, async { Ok(Payload::null()) });
        assert_eq!(call.take(), None);
        poll_fn(|cx| call.poll_done(cx)).await;
        assert_eq!(call.take(), Some(Ok(Payload::null())));
        assert_eq!(call.take(), None);
        assert_eq!(calls.available_permits(), 1);
    }

    #[tokio::test]
    async fn dropping_a_call_stops_it_and_gives_its_permit_back() {
        let calls = Arc::new(Semaphore::new(1));
        let call = PendingCall::start(1, permit(&calls).await, pending());
        tokio::task::yield_now().await;
        drop(call);
        drop(permit(&calls).await);
    }

    #[tokio::test]
    async fn a_panic_in_the_host_is_an_error_of_the_call() {
        let calls = Arc::new(Semaphore::new(1));
        let mut call = PendingCall::start(1, permit(&calls).await, async { panic!("boom") });
        poll_fn(|cx| call.poll_done(cx)).await;
        assert!(call.take().unwrap().is_err());
    }
}
