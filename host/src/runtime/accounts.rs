//! The fuel of each call in an instance that serves many at once.
//!
//! A store has one tank. Whenever the host enters the guest, it asks which call it enters for and fills the tank
//! with what that call has left; when the guest is left, what remains is put back. So each call has its own
//! budget, and a store that runs dry names the call that emptied it.
//!
//! What belongs to no call (`background`, tasks that go on after they have returned, destructors) is on the
//! service's own account, which is filled anew in every period.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wasmtime::component::GuestTaskId;
use wasmtime::{CallHook, StoreContextMut};

use crate::clock::{self, Instant};
use crate::runtime::environment::CallLimits;
use crate::runtime::handlers::{Handle, OWN_CONTEXT};
use crate::runtime::state::State;

/// No call: the guest does not run.
const NOBODY: Handle = Handle::MAX;

/// The call that a guest runs for now, for whoever watches from outside. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Current(Arc<Numbers>);

#[derive(Debug)]
struct Numbers {
    now: AtomicU32,
    /// For whom it ran when it was left last.
    last: AtomicU32,
}

impl Default for Current {
    fn default() -> Self {
        Self(Arc::new(Numbers { now: AtomicU32::new(NOBODY), last: AtomicU32::new(NOBODY) }))
    }
}

impl Current {
    /// The call; `None` while the guest does not run.
    pub(super) fn get(&self) -> Option<Handle> {
        Some(self.0.now.load(Ordering::Relaxed)).filter(|handle| *handle != NOBODY)
    }

    /// The call that a trap has ended: a guest that traps has been left when that is known.
    pub(super) fn at_the_end(&self) -> Option<Handle> {
        let last = || Some(self.0.last.load(Ordering::Relaxed)).filter(|last| *last != NOBODY);
        self.get().or_else(last)
    }

    fn set(&self, handle: Option<Handle>) {
        self.0.now.store(handle.unwrap_or(NOBODY), Ordering::Relaxed);
    }

    fn leave(&self, handle: Option<Handle>) {
        self.0.last.store(handle.unwrap_or(NOBODY), Ordering::Relaxed);
    }
}

/// The accounts of one store.
pub(super) struct Accounts {
    tasks: HashMap<GuestTaskId, Handle>,
    left: HashMap<Handle, u64>,
    /// For whom the guest was entered last, until it is left.
    current: Current,
    /// For whom it was entered before that, when it is entered again before it is left.
    outer: Vec<Option<Handle>>,
    budget: u64,
    period: Duration,
    since: Instant,
}

impl Accounts {
    /// `limits` are those of the service: its own account gets as much in each period as one call.
    pub(super) fn new(limits: &CallLimits, current: Current) -> Self {
        Self {
            tasks: HashMap::new(),
            left: HashMap::from([(OWN_CONTEXT, limits.fuel)]),
            current,
            outer: Vec::new(),
            budget: limits.fuel,
            period: limits.timeout,
            since: clock::now(),
        }
    }

    /// Opens the account of a call.
    pub(super) fn open(&mut self, task: GuestTaskId, handle: Handle, fuel: u64) {
        self.tasks.insert(task, handle);
        self.left.insert(handle, fuel);
    }

    /// Closes the account of a call that has ended, and says what is left in it.
    pub(super) fn close(&mut self, task: GuestTaskId, handle: Handle) -> u64 {
        self.tasks.remove(&task);
        self.left.remove(&handle).unwrap_or(0)
    }

    /// Whoever the tank was filled for gets back what is left in it.
    fn put_back(&mut self, fuel: u64) {
        if let Some(left) = self.current.get().and_then(|handle| self.left.get_mut(&handle)) {
            *left = fuel;
        }
    }

    /// What the tank is filled with for a task.
    fn take_for(&mut self, task: Option<GuestTaskId>) -> u64 {
        let handle = task.and_then(|task| self.tasks.get(&task)).copied().unwrap_or(OWN_CONTEXT);
        let now = clock::now();
        if handle == OWN_CONTEXT && now.saturating_duration_since(self.since) >= self.period {
            self.since = now;
            self.left.insert(OWN_CONTEXT, self.budget);
        }
        self.current.set(Some(handle));
        self.left.get(&handle).copied().unwrap_or(0)
    }

    /// Goes back to whom the guest ran for before; what the tank is filled with then.
    fn back(&mut self) -> Option<u64> {
        self.current.leave(self.current.get());
        let outer = self.outer.pop().flatten();
        self.current.set(outer);
        outer.and_then(|handle| self.left.get(&handle)).copied()
    }
}

/// What the store calls at each border between guest and host.
pub(super) fn hook(mut store: StoreContextMut<'_, State>, what: CallHook) -> wasmtime::Result<()> {
    let in_tank = store.get_fuel()?;
    // The oldest task is the one that the host has called.
    let task = if what.exiting_host() { store.async_call_stack()?.last() } else { None };
    let Some(accounts) = &mut store.data_mut().accounts else { return Ok(()) };
    let fuel = match what {
        CallHook::CallingWasm => {
            accounts.put_back(in_tank);
            let outer = accounts.current.get();
            accounts.outer.push(outer);
            Some(accounts.take_for(task))
        }
        CallHook::ReturningFromHost => Some(accounts.take_for(task)),
        CallHook::CallingHost => {
            accounts.put_back(in_tank);
            None
        }
        CallHook::ReturningFromWasm => {
            accounts.put_back(in_tank);
            accounts.back()
        }
    };
    fuel.map_or(Ok(()), |fuel| store.set_fuel(fuel))
}
