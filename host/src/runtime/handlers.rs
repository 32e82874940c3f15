//! The handlers that run in one store, and what each of them may use.
//!
//! A plain instance and one of the mode `pooled` have one at a time, in the first place; a shared instance has
//! many. Places are used again, with their permits: a call that an earlier handler left running counts until it
//! is done.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::Resource;

use crate::clock::Instant;
use crate::context::Context;
use crate::error::MoleculerError;
use crate::runtime::environment::CallLimits;
use crate::runtime::spans::Spans;
use crate::runtime::state::CurrentContext;
use crate::task::CancellationToken;

/// The number of a context handle: the place of its handler.
pub(super) type Handle = u32;

/// The service's own context, which is no handler's.
pub(super) const OWN_CONTEXT: Handle = 0;
/// The place of the only handler, where there is one at a time.
pub(super) const FIRST_HANDLER: Handle = 1;

/// The handle that a handler gets.
pub(super) fn lend(handle: Handle) -> Resource<CurrentContext> {
    Resource::new_borrow(handle)
}

/// A handler that runs.
pub(super) struct Running {
    pub ctx: Context,
    pub limits: CallLimits,
    /// When the host will stop it; `None` for the service's own context.
    pub until: Option<Instant>,
    /// Whether it is an action, which may have streams of its caller.
    pub action: bool,
    /// The error that it answers for, when it is a fallback.
    pub cause: Option<MoleculerError>,
    /// What it has begun and not ended.
    pub spans: Spans,
    /// Events that it has sent.
    pub events: usize,
    /// Cancelled when it has ended or nobody waits for it any more; made when something first asks.
    ended: Option<CancellationToken>,
}

impl Running {
    pub(super) fn new(ctx: Context, limits: CallLimits, until: Option<Instant>) -> Self {
        let spans = Spans::default();
        Self { ctx, limits, until, action: false, cause: None, spans, events: 0, ended: None }
    }

    /// A handler that ends with `unwanted`, too.
    pub(super) fn watched(
        ctx: Context,
        limits: CallLimits,
        until: Option<Instant>,
        unwanted: CancellationToken,
    ) -> Self {
        let mut running = Self::new(ctx, limits, until);
        running.ended = Some(unwanted);
        running
    }

    /// What futures of this handler end with.
    pub(super) fn ended(&mut self) -> CancellationToken {
        self.ended.get_or_insert_default().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(ended) = &self.ended {
            ended.cancel();
        }
        self.spans.finish_all(&self.ctx);
    }
}

/// A context was used outside of its handler, which a guest cannot do with the handles that it gets.
#[derive(Debug, thiserror::Error)]
#[error("a context was used while its handler does not run")]
pub(super) struct NoHandler;

impl From<NoHandler> for MoleculerError {
    fn from(error: NoHandler) -> Self {
        Self::internal(error.to_string())
    }
}

/// The handlers of one store.
pub(super) struct Handlers {
    /// The place of the service's own context is the first one.
    places: Vec<Place>,
    calls_in_flight: usize,
}

struct Place {
    /// One permit for each call that may be in flight.
    calls: Arc<Semaphore>,
    running: Option<Running>,
}

impl Handlers {
    pub(super) fn new(calls_in_flight: usize) -> Self {
        Self { places: Vec::new(), calls_in_flight: calls_in_flight.min(Semaphore::MAX_PERMITS) }
    }

    /// Takes a handler that begins.
    pub(super) fn begin(&mut self, running: Running) -> Handle {
        self.make_places(FIRST_HANDLER);
        let n_places = Handle::try_from(self.places.len()).unwrap_or(Handle::MAX);
        let is_free = |place: &Place| place.running.is_none();
        let free = (0..).zip(&self.places).skip(1).find(|(_, place)| is_free(place));
        let handle = free.map_or(n_places, |(handle, _)| handle);
        self.put(handle, running);
        handle
    }

    /// Takes the service's own context.
    pub(super) fn put_own(&mut self, running: Running) {
        self.put(OWN_CONTEXT, running);
    }

    /// Ends a handler: what it has started is told, and its context is no longer valid.
    pub(super) fn end(&mut self, handle: Handle) {
        if let Some(place) = self.place_mut(handle) {
            place.running = None;
        }
    }

    pub(super) fn get(&self, handle: Handle) -> Result<&Running, NoHandler> {
        self.place(handle).and_then(|place| place.running.as_ref()).ok_or(NoHandler)
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Result<&mut Running, NoHandler> {
        self.place_mut(handle).and_then(|place| place.running.as_mut()).ok_or(NoHandler)
    }

    /// Whether a handler runs.
    pub(super) fn any(&self) -> bool {
        self.places.iter().any(|place| place.running.is_some())
    }

    /// The handler that runs, if it is the only one.
    pub(super) fn only(&self) -> Option<&Running> {
        let mut running = self.places.iter().skip(1).filter_map(|place| place.running.as_ref());
        let first = running.next()?;
        running.next().is_none().then_some(first)
    }

    /// The same, to change it.
    pub(super) fn only_mut(&mut self) -> Option<&mut Running> {
        let mut running = self.places.iter_mut().skip(1).filter_map(|place| place.running.as_mut());
        let first = running.next()?;
        running.next().is_none().then_some(first)
    }

    /// The permits for calls of a handler.
    pub(super) fn calls(&self, handle: Handle) -> Result<&Arc<Semaphore>, NoHandler> {
        self.place(handle).map(|place| &place.calls).ok_or(NoHandler)
    }

    fn put(&mut self, handle: Handle, running: Running) {
        self.make_places(handle);
        if let Some(place) = self.place_mut(handle) {
            place.running = Some(running);
        }
    }

    fn make_places(&mut self, last: Handle) {
        while self.place(last).is_none() {
            let calls = Arc::new(Semaphore::new(self.calls_in_flight));
            self.places.push(Place { calls, running: None });
        }
    }

    fn place(&self, handle: Handle) -> Option<&Place> {
        self.places.get(usize::try_from(handle).ok()?)
    }

    fn place_mut(&mut self, handle: Handle) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(handle).ok()?)
    }
}
