//! What a guest of the world `service-async` can ask of the host: what others can, as futures.
//!
//! The work of a future is a task of its own that begins at once; the future only waits for it. It fails when
//! the handler has ended or nobody waits for it any more, which is how a handler is asked to stop.

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::{Access, FutureReader, Lift, Lower};

use crate::error::MoleculerError;
use crate::runtime::bindings::isomer::service::types::Failure;
use crate::runtime::failure::failure_from;
use crate::runtime::handlers::Handle;
use crate::runtime::state::{State, Whole};
use crate::task::{self, CancellationToken};

mod broker;
mod cacher;
mod streams;
mod timers;

/// A future of a guest; the outer error is a trap.
type Promise<T> = wasmtime::Result<FutureReader<Result<T, Failure>>>;

/// What becomes of work that a guest does not wait for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwanted {
    /// It is stopped.
    Stop,
    /// It goes on.
    GoOn,
}

/// Gives the guest a future of work that has been checked.
fn promise<T, V, R>(
    store: Access<'_, T, Whole>,
    checked: Result<
        impl Future<Output = Result<V, MoleculerError>> + Send + 'static,
        MoleculerError,
    >,
    into_guest: fn(V) -> R,
) -> Promise<R>
where
    T: 'static,
    V: Send + 'static,
    R: Lift + Lower + Send + Sync + 'static,
{
    FutureReader::new(store, async move {
        let ended = match checked {
            Ok(work) => work.await,
            Err(error) => Err(error),
        };
        Ok::<_, wasmtime::Error>(ended.map(into_guest).map_err(|error| failure_from(&error)))
    })
}

/// Begins work that belongs to no handler; it goes on when nobody waits for it. What is done at once costs no
/// task.
fn begin<V: Send + 'static>(
    work: impl Future<Output = Result<V, MoleculerError>> + Send + 'static,
) -> impl Future<Output = Result<V, MoleculerError>> + Send + 'static {
    let mut work = Box::pin(work);
    let joined = match work.as_mut().now_or_never() {
        Some(done) => Joined::Done(done),
        None => Joined::GoingOn(task::run(work).detach()),
    };
    joined.join()
}

impl State {
    /// Starts work of a handler beside the guest.
    fn launch<V, W>(
        &mut self,
        ctx: Handle,
        unwanted: Unwanted,
        work: W,
    ) -> Result<impl Future<Output = Result<V, MoleculerError>> + Send + use<V, W>, MoleculerError>
    where
        V: Send + 'static,
        W: Future<Output = Result<V, MoleculerError>> + Send + 'static,
    {
        let ended = self.handlers.get_mut(ctx)?.ended();
        let stopped = (unwanted == Unwanted::Stop).then(|| ended.clone());
        let task = task::run(async move {
            match stopped {
                Some(stopped) => until(&stopped, work).await,
                None => work.await,
            }
        });
        // A task that goes on loses its handle only; its work counts until it is done.
        let task = match unwanted {
            Unwanted::Stop => Joined::Stopping(task),
            Unwanted::GoOn => Joined::GoingOn(task.detach()),
        };
        Ok(async move { until(&ended, task.join()).await })
    }
}

enum Joined<V> {
    Done(Result<V, MoleculerError>),
    Stopping(AbortOnDropHandle<Result<V, MoleculerError>>),
    GoingOn(JoinHandle<Result<V, MoleculerError>>),
}

impl<V> Joined<V> {
    async fn join(self) -> Result<V, MoleculerError> {
        let joined = match self {
            Self::Done(done) => return done,
            Self::Stopping(task) => task.await,
            Self::GoingOn(task) => task.await,
        };
        let panicked = |_| MoleculerError::internal("the call ended with a panic in the host");
        joined.map_err(panicked)?
    }
}

/// Waits until work is done, or its handler has ended.
async fn until<V>(
    ended: &CancellationToken,
    work: impl Future<Output = Result<V, MoleculerError>>,
) -> Result<V, MoleculerError> {
    let abandoned = || {
        let message = "The handler has ended, or nobody waits for its result any more.";
        MoleculerError::temporary(499, "CONTEXT_ENDED", message)
    };
    ended.run_until_cancelled(work).await.unwrap_or_else(|| Err(abandoned()))
}
