//! Background tasks: the only place that starts them. Each has a name, an owner and a stated end.
//!
//! A task ends when its owner's [`CancellationToken`] is cancelled. A task that panics is logged with its
//! name; nothing else of the node ends with it.

use std::future::Future;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
pub use tokio_util::sync::{CancellationToken, DropGuard};

/// Starts a task that ends with `cancel`, or by itself.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn<F>(name: &'static str, cancel: &CancellationToken, work: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let cancel = cancel.clone();
    tokio::spawn(async move {
        let guarded = std::panic::AssertUnwindSafe(work).catch_unwind();
        if let Some(Err(panic)) = cancel.run_until_cancelled_owned(guarded).await {
            tracing::error!(task = name, panic = panic_text(&*panic), "a task ended with a panic");
        }
    })
}

/// Runs a future as a task of its own and gives its result; dropping the handle aborts the task.
///
/// Broker calls made by a guest run this way: a store must not be driven inside an import of another.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn run<T, F>(work: F) -> tokio_util::task::AbortOnDropHandle<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(work))
}

/// Starts a task on a runtime of the caller's choice. It ends by itself: what it does must watch for the
/// stop of its owner and may finish its duty, such as sending an answer, before it ends.
pub fn spawn_on<F>(runtime: &Handle, name: &'static str, work: F) -> JoinHandle<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    runtime.spawn(async move {
        if let Err(panic) = std::panic::AssertUnwindSafe(work).catch_unwind().await {
            tracing::error!(task = name, panic = panic_text(&*panic), "a task ended with a panic");
        }
    })
}

/// What a panic said.
#[must_use]
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}
