//! Runs the future of one handler on the calls that it makes.
//!
//! A component is entered by one plain function call at a time, so there is no event loop to return to:
//! when the handler's future cannot go on, the executor waits in the host for any of its calls and polls
//! again. Calls are sent when the future has been polled as far as it goes; a call that is then alone, the
//! usual case, crosses the boundary once instead of four times.
//!
//! Nothing else can wake a handler. A future that waits for something else (a channel that nobody fills, a
//! timer of another runtime) would wait for ever; it is dropped and the handler fails with an error that
//! says so.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll, Wake, Waker};

use crate::host::{Host, Pending};
use crate::{Error, Payload, Result};

/// The calls of one handler that are not done.
#[derive(Default)]
pub(crate) struct Calls {
    slots: RefCell<Vec<Weak<Slot>>>,
    running: Cell<bool>,
}

/// The place where one call and the future that waits for it meet. The future owns it; when it is dropped,
/// the call is abandoned.
pub(crate) struct Slot {
    state: RefCell<State>,
    waker: RefCell<Waker>,
}

/// How far a call has come.
pub(crate) enum State {
    /// Not sent yet.
    Ready(Message),
    /// With the host.
    Sent(Pending),
    /// Over; the result waits for the future.
    Done(Result<Payload>),
    /// The future has it.
    Taken,
}

/// What is sent.
pub(crate) struct Message {
    pub(crate) action: String,
    pub(crate) params: Payload,
    pub(crate) options: Option<String>,
}

impl Calls {
    /// True while [`run`] polls the handler, so that somebody will answer a slot.
    pub(crate) fn is_running(&self) -> bool {
        self.running.get()
    }

    /// Takes a call into the next round.
    pub(crate) fn add(&self, message: Message, waker: Waker) -> Rc<Slot> {
        self.add_slot(State::Ready(message), waker)
    }

    /// Takes a call into the next round that the host has already.
    pub(crate) fn add_sent(&self, pending: Pending, waker: Waker) -> Rc<Slot> {
        self.add_slot(State::Sent(pending), waker)
    }

    fn add_slot(&self, state: State, waker: Waker) -> Rc<Slot> {
        let slot = Rc::new(Slot { state: RefCell::new(state), waker: RefCell::new(waker) });
        self.slots.borrow_mut().push(Rc::downgrade(&slot));
        slot
    }

    /// The calls that are neither done nor abandoned.
    fn open(&self) -> Vec<Rc<Slot>> {
        let mut open = Vec::new();
        self.slots.borrow_mut().retain(|slot| match slot.upgrade() {
            Some(slot) if slot.is_open() => {
                open.push(slot);
                true
            }
            _ => false,
        });
        open
    }
}

impl Slot {
    fn is_open(&self) -> bool {
        matches!(&*self.state.borrow(), State::Ready(_) | State::Sent(_))
    }

    fn is_ready(&self) -> bool {
        matches!(&*self.state.borrow(), State::Ready(_))
    }

    /// The result, if it has come; else who is to be woken by it.
    pub(crate) fn poll(&self, task: &Task<'_>) -> Poll<Result<Payload>> {
        let mut state = self.state.borrow_mut();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(result) => Poll::Ready(result),
            other => {
                *state = other;
                self.waker.borrow_mut().clone_from(task.waker());
                Poll::Pending
            }
        }
    }

    fn send(&self, host: &dyn Host) {
        let mut state = self.state.borrow_mut();
        *state = match std::mem::replace(&mut *state, State::Taken) {
            State::Ready(Message { action, params, options }) => {
                State::Sent(host.start_call(&action, params, options.as_deref()))
            }
            other => other,
        };
    }

    /// Sends the call and waits for it in one step.
    fn complete(&self, host: &dyn Host) {
        let state = std::mem::replace(&mut *self.state.borrow_mut(), State::Taken);
        match state {
            State::Ready(Message { action, params, options }) => {
                self.finish(host.call(&action, params, options.as_deref()));
            }
            other => *self.state.borrow_mut() = other,
        }
    }

    /// Takes the result from the host, if it is there.
    fn collect(&self) -> bool {
        let result = match &*self.state.borrow() {
            State::Sent(pending) => pending.take(),
            _ => None,
        };
        let done = result.is_some();
        if let Some(result) = result {
            self.finish(result);
        }
        done
    }

    /// As `collect`; the task is woken when the result comes later.
    fn collect_later(&self, task: &mut Task<'_>) -> bool {
        let result = match &*self.state.borrow() {
            State::Sent(pending) => pending.poll(task),
            _ => None,
        };
        let done = result.is_some();
        if let Some(result) = result {
            self.finish(result);
        }
        done
    }

    fn finish(&self, result: Result<Payload>) {
        *self.state.borrow_mut() = State::Done(result);
        self.waker.borrow().wake_by_ref();
    }
}

/// Whether the handler's future has been woken since it was last polled.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Resets `running`, also when a poll panics in a unit test.
struct Running<'a>(&'a Calls);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.set(false);
    }
}

/// Runs a handler to its end.
///
/// # Errors
/// The handler's own, or a `MoleculerError` of type `WAITS_FOR_NOTHING` when its future waits for
/// something that is no broker call.
pub(crate) fn run<T>(
    host: &dyn Host,
    calls: &Calls,
    handler: impl Future<Output = Result<T>>,
) -> Result<T> {
    calls.running.set(true);
    let _running = Running(calls);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut task = Task::from_waker(&waker);
    let mut handler = pin!(handler);
    loop {
        woken.0.store(false, Ordering::Relaxed);
        if let Poll::Ready(result) = handler.as_mut().poll(&mut task) {
            return result;
        }
        let open = calls.open();
        // A future that has woken itself wants the next turn, so this round only looks.
        if woken.0.load(Ordering::Relaxed) {
            for slot in &open {
                slot.send(host);
                slot.collect();
            }
        } else if !wait(host, &open) {
            return Err(waits_for_nothing());
        }
    }
}

/// Runs a handler that is a task of the host: it is woken by its calls and by whatever else wakes a task.
///
/// # Errors
/// The handler's own.
#[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only components have tasks"))]
pub(crate) async fn run_beside<T>(
    host: &dyn Host,
    calls: &Calls,
    handler: impl Future<Output = Result<T>>,
) -> Result<T> {
    calls.running.set(true);
    let _running = Running(calls);
    let mut handler = pin!(handler);
    std::future::poll_fn(|task| {
        loop {
            if let Poll::Ready(result) = handler.as_mut().poll(task) {
                return Poll::Ready(result);
            }
            let mut any_done = false;
            for slot in calls.open() {
                slot.send(host);
                any_done |= slot.collect_later(task);
            }
            if !any_done {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Sends what is to be sent and waits until one call is done. False when there is none.
fn wait(host: &dyn Host, open: &[Rc<Slot>]) -> bool {
    match open {
        [] => false,
        [slot] if slot.is_ready() => {
            slot.complete(host);
            true
        }
        _ => {
            for slot in open {
                slot.send(host);
            }
            wait_for_any(host, open)
        }
    }
}

/// Waits in the host for one of these calls.
fn wait_for_any(host: &dyn Host, open: &[Rc<Slot>]) -> bool {
    let states: Vec<_> = open.iter().map(|slot| slot.state.borrow()).collect();
    let pending: Vec<&Pending> = states
        .iter()
        .filter_map(|state| match &**state {
            State::Sent(pending) => Some(pending),
            _ => None,
        })
        .collect();
    let index = host.wait_any(&pending);
    drop(pending);
    drop(states);
    index.and_then(|index| open.get(index)).is_some_and(|slot| slot.collect())
}

fn waits_for_nothing() -> Error {
    Error::new(
        500,
        "WAITS_FOR_NOTHING",
        "the handler waits for something that is not a call of its context; in a component only those \
         can wake it (no timers, threads or channels of an async runtime)",
    )
}

#[cfg(test)]
mod tests;
