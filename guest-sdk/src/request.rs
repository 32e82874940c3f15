//! Requests to the broker, built step by step: calls, several calls, events, waiting for services.
//!
//! Each is sent by `.await` or, where there is no `async`, by `.wait()`. A mistake in it (params without a
//! JSON form) is reported when it is sent.

use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::executor::{Message, Slot};
use crate::host::{Beside, EventType, Pending};
use crate::{Context, Error, Payload, Result};

/// Options under Moleculer's names, and the first mistake made in giving them.
#[derive(Default)]
struct Options {
    values: Map<String, Value>,
    mistake: Option<Error>,
}

impl Options {
    fn set(&mut self, key: &str, value: impl Serialize) {
        match serde_json::to_value(value) {
            Ok(value) => {
                self.values.insert(key.into(), value);
            }
            Err(error) => {
                self.mistake.get_or_insert_with(|| error.into());
            }
        }
    }

    /// The options as text, `None` when there are none.
    fn finish(self) -> Result<Option<String>> {
        match self.mistake {
            Some(mistake) => Err(mistake),
            None if self.values.is_empty() => Ok(None),
            None => Ok(Some(serde_json::to_string(&self.values)?)),
        }
    }
}

/// A duration in the whole milliseconds that options are given in, at least 1 unless it is zero.
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// A call, from [`Context::call`]. `T` is the type of its result.
#[must_use = "a call is sent by `.await` or `.wait()`"]
pub struct Request<'a, T> {
    ctx: &'a Context,
    action: String,
    params: Result<Payload>,
    options: Options,
    result: PhantomData<fn() -> T>,
}

impl<'a, T: DeserializeOwned> Request<'a, T> {
    pub(crate) fn new(ctx: &'a Context, action: &str, params: &impl Serialize) -> Self {
        let params = Payload::from_value(params);
        let options = Options::default();
        Self { ctx, action: action.into(), params, options, result: PhantomData }
    }

    /// Gives up after this time; zero is never. The context's own limit still holds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.set("timeout", millis(timeout));
        self
    }

    /// Tries again this many times when the error is retryable.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.set("retries", retries);
        self
    }

    /// Calls the action on this node and no other.
    pub fn node_id(mut self, node_id: &str) -> Self {
        self.options.set("nodeID", node_id);
        self
    }

    /// Puts the keys of an object over the meta that the callee sees.
    pub fn meta(mut self, meta: impl Serialize) -> Self {
        self.options.set("meta", meta);
        self
    }

    /// Sends headers: the keys of an object. The callee does not pass them on.
    pub fn headers(mut self, headers: impl Serialize) -> Self {
        self.options.set("headers", headers);
        self
    }

    /// Replaces the chain's request ID.
    pub fn request_id(mut self, request_id: &str) -> Self {
        self.options.set("requestID", request_id);
        self
    }

    /// Uses this result when the call fails.
    pub fn fallback_response(mut self, response: impl Serialize) -> Self {
        self.options.set("fallbackResponse", response);
        self
    }

    /// Whether the callee's node waits for this call when it stops.
    pub fn tracking(mut self, tracking: bool) -> Self {
        self.options.set("tracking", tracking);
        self
    }

    /// Sets any option under Moleculer's name; the host refuses those that it does not know.
    pub fn option(mut self, name: &str, value: impl Serialize) -> Self {
        self.options.set(name, value);
        self
    }

    /// Sends the call and waits for its result: `.await` for handlers that are not `async`.
    ///
    /// # Errors
    /// The callee's error with all its fields, or the broker's; a `MoleculerError` of type
    /// `UNEXPECTED_FORM` when the result is no `T`.
    pub fn wait(self) -> Result<T> {
        let (ctx, message) = self.into_message();
        let Message { action, params, options } = message?;
        let result = ctx.host().call(&action, params, options.as_deref())?;
        read_result(&action, result)
    }

    pub(crate) fn into_message(self) -> (&'a Context, Result<Message>) {
        let Self { ctx, action, params, options, .. } = self;
        let message =
            params.and_then(|params| Ok(Message { action, params, options: options.finish()? }));
        (ctx, message)
    }
}

impl<'a, T: DeserializeOwned> IntoFuture for Request<'a, T> {
    type Output = Result<T>;
    type IntoFuture = CallFuture<'a, T>;

    fn into_future(self) -> CallFuture<'a, T> {
        let (ctx, message) = self.into_message();
        let action = message.as_ref().map(|message| message.action.clone()).unwrap_or_default();
        CallFuture { ctx, action, step: Step::Start(Some(message)), result: PhantomData }
    }
}

/// A call on its way. Dropping it abandons the call.
#[must_use = "a call is sent when it is awaited"]
pub struct CallFuture<'a, T> {
    ctx: &'a Context,
    action: String,
    step: Step,
    result: PhantomData<fn() -> T>,
}

enum Step {
    Start(Option<Result<Message>>),
    /// With the host before it was awaited.
    Sent(Option<Pending>),
    Wait(Rc<Slot>),
}

impl<'a, T: DeserializeOwned> CallFuture<'a, T> {
    /// A call that the host has already.
    pub(crate) fn sent(ctx: &'a Context, action: String, pending: Pending) -> Self {
        Self { ctx, action, step: Step::Sent(Some(pending)), result: PhantomData }
    }

    /// The call, if it is with the host and nobody has awaited it.
    pub(crate) fn into_pending(self) -> Option<Pending> {
        match self.step {
            Step::Sent(pending) => pending,
            Step::Start(_) | Step::Wait(_) => None,
        }
    }

    /// Waits for a call that is with the host.
    pub(crate) fn wait(self) -> Result<T> {
        let (ctx, action) = (self.ctx, self.action.clone());
        let result = self.into_pending().and_then(|pending| {
            ctx.host().wait_any(&[&pending]);
            pending.take()
        });
        match result {
            Some(result) => read_result(&action, result?),
            None => Err(Error::new(500, "UNEXPECTED_FORM", "the result has been taken already")),
        }
    }
}

impl<T: DeserializeOwned> Future for CallFuture<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Result<T>> {
        let ctx = self.ctx;
        let result = match &mut self.step {
            Step::Wait(slot) => match slot.poll(task) {
                Poll::Ready(result) => result,
                Poll::Pending => return Poll::Pending,
            },
            Step::Start(message) => match message.take() {
                Some(Ok(message)) if ctx.calls().is_running() => {
                    self.step = Step::Wait(ctx.calls().add(message, task.waker().clone()));
                    return Poll::Pending;
                }
                // Another executor polls, which the SDK's cannot wake: a blocking call is the only way.
                Some(Ok(Message { action, params, options })) => {
                    ctx.host().call(&action, params, options.as_deref())
                }
                Some(Err(error)) => Err(error),
                None => return Poll::Pending,
            },
            Step::Sent(pending) => match pending.take() {
                Some(pending) if ctx.calls().is_running() => {
                    self.step = Step::Wait(ctx.calls().add_sent(pending, task.waker().clone()));
                    return Poll::Pending;
                }
                Some(pending) => {
                    ctx.host().wait_any(&[&pending]);
                    match pending.take() {
                        Some(result) => result,
                        None => return Poll::Pending,
                    }
                }
                None => return Poll::Pending,
            },
        };
        Poll::Ready(result.and_then(|payload| read_result(&self.action, payload)))
    }
}

/// What is sent by `.await` and is no single call: done when the host has waited for it, or a task beside others.
#[must_use = "it is sent when it is awaited"]
pub struct Later<'a, T>(Stage<'a, T>);

enum Stage<'a, T> {
    Done(Option<Result<T>>),
    Beside(CallFuture<'a, T>),
}

impl<'a, T: DeserializeOwned> Later<'a, T> {
    pub(crate) fn done(result: Result<T>) -> Self {
        Self(Stage::Done(Some(result)))
    }

    pub(crate) fn beside(ctx: &'a Context, what: &str, pending: Pending) -> Self {
        Self(Stage::Beside(CallFuture::sent(ctx, what.into(), pending)))
    }
}

// Nothing in it refers to itself.
impl<T> Unpin for Later<'_, T> {}

impl<T: DeserializeOwned> Future for Later<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Result<T>> {
        match &mut self.0 {
            Stage::Done(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            Stage::Beside(call) => Pin::new(call).poll(task),
        }
    }
}

/// Reads what a call returned.
pub(crate) fn read_result<T: DeserializeOwned>(action: &str, payload: Payload) -> Result<T> {
    payload.parse().map_err(|error| {
        let message = format!("the result of '{action}' cannot be read: {error}");
        Error::new(500, "UNEXPECTED_FORM", message)
    })
}

/// One of several calls, for [`Context::mcall`]. Its JSON form is Moleculer's: `{"action", "params"}`.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    action: String,
    #[serde(skip_serializing_if = "is_absent")]
    params: Payload,
    #[serde(skip_serializing_if = "Map::is_empty")]
    options: Map<String, Value>,
}

fn is_absent(payload: &Payload) -> bool {
    *payload == Payload::Absent
}

impl Call {
    /// A call of an action. Params without a JSON form are sent as none.
    #[must_use]
    pub fn new(action: impl Into<String>, params: impl Serialize) -> Self {
        let params = Payload::from_value(&params).unwrap_or_default();
        Self { action: action.into(), params, options: Map::new() }
    }

    /// Sets an option of this call under Moleculer's name (`timeout`, `nodeID`, `meta`, …). A value without
    /// a JSON form is left out.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.options.insert(name.into(), value);
        }
        self
    }
}

/// Several calls, from [`Context::mcall`].
#[must_use = "the calls are sent by `.await` or `.wait()`"]
pub struct MultiRequest<'a, T> {
    ctx: &'a Context,
    calls: Result<String, serde_json::Error>,
    options: Options,
    result: PhantomData<fn() -> T>,
}

/// The result of one call of a settled [`MultiRequest`].
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Settled<T> {
    /// It went well.
    Fulfilled {
        /// What it returned.
        value: T,
    },
    /// It failed.
    Rejected {
        /// With this error.
        reason: Error,
    },
}

impl<T> From<Settled<T>> for Result<T> {
    fn from(settled: Settled<T>) -> Self {
        match settled {
            Settled::Fulfilled { value } => Ok(value),
            Settled::Rejected { reason } => Err(reason),
        }
    }
}

impl<'a, T: DeserializeOwned> MultiRequest<'a, T> {
    pub(crate) fn new(ctx: &'a Context, calls: &impl Serialize) -> Self {
        let calls = serde_json::to_string(calls);
        Self { ctx, calls, options: Options::default(), result: PhantomData }
    }

    /// Never fails as a whole; `T` is then a `Vec` or map of [`Settled`].
    pub fn settled(mut self) -> Self {
        self.options.set("settled", true);
        self
    }

    /// The time limit of those calls that have none of their own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.set("timeout", millis(timeout));
        self
    }

    /// Puts the keys of an object over the meta that the callees see.
    pub fn meta(mut self, meta: impl Serialize) -> Self {
        self.options.set("meta", meta);
        self
    }

    /// Sends the calls and waits for all of them.
    ///
    /// # Errors
    /// As [`Request::wait`].
    pub fn wait(self) -> Result<T> {
        let options = self.options.finish()?;
        let result = self.ctx.host().mcall(&self.calls?, options.as_deref())?;
        read_result("mcall", result)
    }
}

impl<'a, T: DeserializeOwned> IntoFuture for MultiRequest<'a, T> {
    type Output = Result<T>;
    type IntoFuture = Later<'a, T>;

    fn into_future(self) -> Self::IntoFuture {
        let ctx = self.ctx;
        let begun = self.options.finish().and_then(|options| {
            let calls = self.calls?;
            Ok(match ctx.host().begin(&Beside::Calls(&calls, options.as_deref())) {
                Some(pending) => Later::beside(ctx, "mcall", pending),
                None => {
                    let result = ctx.host().mcall(&calls, options.as_deref());
                    Later::done(result.and_then(|result| read_result("mcall", result)))
                }
            })
        });
        begun.unwrap_or_else(|error| Later::done(Err(error)))
    }
}

/// An event, from [`Context::emit`] and its siblings.
#[must_use = "an event is sent by `.await` or `.wait()`"]
pub struct EventRequest<'a> {
    ctx: &'a Context,
    kind: EventType,
    event: String,
    data: Result<Payload>,
    options: Options,
}

impl<'a> EventRequest<'a> {
    pub(crate) fn new(
        ctx: &'a Context,
        kind: EventType,
        event: &str,
        data: &impl Serialize,
    ) -> Self {
        let data = Payload::from_value(data);
        Self { ctx, kind, event: event.into(), data, options: Options::default() }
    }

    /// Sends it to these groups only.
    pub fn groups<'g>(mut self, groups: impl IntoIterator<Item = &'g str>) -> Self {
        self.options.set("groups", groups.into_iter().collect::<Vec<_>>());
        self
    }

    /// Puts the keys of an object over the meta that the handlers see.
    pub fn meta(mut self, meta: impl Serialize) -> Self {
        self.options.set("meta", meta);
        self
    }

    /// Sends headers: the keys of an object.
    pub fn headers(mut self, headers: impl Serialize) -> Self {
        self.options.set("headers", headers);
        self
    }

    /// Replaces the chain's request ID.
    pub fn request_id(mut self, request_id: &str) -> Self {
        self.options.set("requestID", request_id);
        self
    }

    /// Fails when a handler on this node or the transport failed; otherwise that is only logged.
    pub fn throw_error(mut self) -> Self {
        self.options.set("throwError", true);
        self
    }

    /// Sets any option under Moleculer's name; the host refuses those that it does not know.
    pub fn option(mut self, name: &str, value: impl Serialize) -> Self {
        self.options.set(name, value);
        self
    }

    /// Sends it: `.await` for handlers that are not `async`.
    ///
    /// # Errors
    /// The broker's (not allowed by the service's grants; with [`EventRequest::throw_error`], a handler's).
    pub fn wait(self) -> Result<()> {
        let options = self.options.finish()?;
        self.ctx.host().send(self.kind, &self.event, self.data?, options.as_deref())
    }
}

impl<'a> IntoFuture for EventRequest<'a> {
    type Output = Result<()>;
    type IntoFuture = Later<'a, ()>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { ctx, kind, event, data, options } = self;
        let begun = options.finish().and_then(|options| {
            let (data, options) = (data?, options.as_deref());
            let work = Beside::Event { kind, event: &event, data: &data, options };
            Ok(match ctx.host().begin(&work) {
                Some(pending) => Later::beside(ctx, &event, pending),
                None => Later::done(ctx.host().send(kind, &event, data, options)),
            })
        });
        begun.unwrap_or_else(|error| Later::done(Err(error)))
    }
}

/// Waiting for services, from [`Context::wait_for_services`].
#[must_use = "it waits by `.await` or `.wait()`"]
pub struct WaitRequest<'a> {
    ctx: &'a Context,
    services: Vec<String>,
    timeout: Option<u32>,
}

impl<'a> WaitRequest<'a> {
    pub(crate) fn new(ctx: &'a Context, services: Vec<String>) -> Self {
        Self { ctx, services, timeout: None }
    }

    /// Gives up after this time; without it, it waits as long as the handler may run.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(millis(timeout));
        self
    }

    /// Waits: `.await` for handlers that are not `async`.
    ///
    /// # Errors
    /// Type `WAITFOR_SERVICES` when the time is over.
    pub fn wait(self) -> Result<()> {
        self.ctx.host().wait_for_services(&self.services, self.timeout)
    }
}

impl<'a> IntoFuture for WaitRequest<'a> {
    type Output = Result<()>;
    type IntoFuture = Later<'a, ()>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { ctx, services, timeout } = self;
        match ctx.host().begin(&Beside::Services(&services, timeout)) {
            Some(pending) => Later::beside(ctx, "wait_for_services", pending),
            None => Later::done(ctx.host().wait_for_services(&services, timeout)),
        }
    }
}
