//! The context of one call or event: who called, with what, how deep, and how long it may take.
//!
//! A context is shared by everybody on its path (chain, transit, guest) and is cheap to clone. What the
//! callee changes (meta, response headers) is seen by whoever made the context, as in Moleculer.
//! Propagation from parent to child follows moleculer: src/context.js.
//!
//! [`Caller`] is how guests and middlewares reach the broker without knowing it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Instant;
use crate::error::MoleculerError;
use crate::payload::{Object, Payload, Stream};
use crate::tracer::{Span, Tracer};
use crate::uid;

/// What a call ends with.
pub type Outcome = Result<Payload, MoleculerError>;

/// How an event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventType {
    /// One instance of every group.
    Emit,
    /// Every instance on every node.
    Broadcast,
    /// Every instance on this node.
    BroadcastLocal,
}

impl EventType {
    /// Moleculer's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emit => "emit",
            Self::Broadcast => "broadcast",
            Self::BroadcastLocal => "broadcastLocal",
        }
    }
}

/// What is special to an event.
#[derive(Clone, Debug)]
pub struct EventInfo {
    /// How it was sent.
    pub kind: EventType,
    /// The groups it is for; empty for all.
    pub groups: Arc<[Arc<str>]>,
}

/// A handle on a running call or event.
#[derive(Clone, Debug)]
pub struct Context(Arc<Inner>);

/// The fields of a [`Context`]; those that change are behind their own short locks.
#[derive(Debug)]
pub struct Inner {
    /// ID of this call or event.
    pub id: Arc<str>,
    /// ID of the whole chain.
    pub request_id: Arc<str>,
    /// ID of the context that caused this one.
    pub parent_id: Option<Arc<str>>,
    /// Full name of the calling service.
    pub caller: Option<Arc<str>>,
    /// Full name of the service or middleware of this node that made this call or event. It never comes
    /// from another node, so it can be trusted, which `caller` cannot.
    pub made_by: Option<Arc<str>>,
    /// 1 at the root of a chain.
    pub level: u32,
    /// Whether the chain is traced, as it was told; see [`Context::tracing`].
    pub tracing: Option<bool>,
    /// Caller's side: the node that was chosen; empty when the transporter is to choose. Callee's side: the
    /// node that it came from.
    pub node_id: Arc<str>,
    /// Full action name or concrete event name.
    pub name: Arc<str>,
    /// Full name of the service whose handler runs; empty at a root that is no service.
    pub service: Arc<str>,
    /// Present when this is an event.
    pub event: Option<EventInfo>,
    /// Params or data, as they came; handlers are given [`Context::params`].
    pub params: Payload,
    /// Request headers; not inherited.
    pub headers: Object,
    /// The stream that comes with the call; whoever takes it first reads it. Not inherited.
    pub stream: Option<Stream>,
    /// What the caller asked for.
    pub options: CallOptions,
    /// The chain of services that wait for this call on this node, innermost first.
    pub parent: Option<Context>,
    /// Params with defaults and conversions, when a validator has changed them.
    sanitized: OnceLock<Payload>,
    /// Params as a tree, once somebody has looked inside; `None` when they are no JSON.
    parsed: OnceLock<Option<Value>>,
    /// Whether the result came from the cacher.
    cached: AtomicBool,
    /// What its handler has used in a guest; 0 when it ran in none.
    fuel: AtomicU64,
    meta: Mutex<Object>,
    response_headers: Mutex<Object>,
    deadline: OnceLock<Deadline>,
    /// The stream with which a handler that runs on has answered, until it is on its way.
    answer: Mutex<Option<Stream>>,
    answered_at: OnceLock<Instant>,
    /// Wakes who waits for the answer: a handler in an instance of mode `shared` runs in another task.
    answered: AtomicWaker,
    /// What the tracer of this node has decided.
    sampled: OnceLock<bool>,
    /// Spans that have begun and not ended, the innermost last; empty without a tracer.
    spans: Mutex<Vec<Span>>,
}

impl Inner {
    /// Takes the place of a child: one level deeper, of the same chain and caused by `parent`
    /// (moleculer: src/context.js create).
    pub fn adopt(&mut self, parent: &Context) {
        self.request_id = Arc::clone(&parent.request_id);
        let span = parent.span();
        self.parent_id = Some(Arc::clone(span.as_ref().map_or(&parent.id, Span::id)));
        self.level = parent.level.saturating_add(1);
        self.tracing = parent.tracing();
        if !parent.service.is_empty() {
            self.made_by = Some(Arc::clone(&parent.service));
            if self.caller.is_none() {
                self.caller = Some(Arc::clone(&parent.service));
            }
        }
        self.parent = Some(parent.clone());
    }
}

/// When a call is over, and how long it had.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// The whole time, from the start of the call.
    pub timeout: Duration,
}

/// Options of a call, in Moleculer's names (moleculer: src/service-broker.js call).
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    /// Time limit; `Some(ZERO)` is an explicit "none".
    pub timeout: Option<Duration>,
    /// Number of retries instead of the policy's.
    pub retries: Option<u32>,
    /// Result to use when the call fails.
    pub fallback_response: Option<Payload>,
    /// Call this node and no other.
    pub node_id: Option<Arc<str>>,
    /// Put over the parent's meta.
    pub meta: Option<Object>,
    /// Request headers.
    pub headers: Option<Object>,
    /// Replaces the chain's ID.
    pub request_id: Option<Arc<str>>,
    /// Overrides the name of the caller. Only for the host; guests cannot set it.
    pub caller: Option<Arc<str>>,
    /// False: not counted for the graceful stop.
    pub tracking: Option<bool>,
    /// Sent to the callee beside the params (moleculer: src/transit.js _sendRequest). It becomes the
    /// context's own and is not kept here.
    pub stream: Option<Stream>,
    /// The context that makes the call.
    pub parent: Option<Context>,
}

impl CallOptions {
    /// Options of a call that is made while another one runs: it belongs to the same chain, inherits its
    /// meta and gets at most the time that is left.
    #[must_use]
    pub fn child_of(parent: &Context) -> Self {
        Self { parent: Some(parent.clone()), ..Self::default() }
    }
}

/// Options of an event (moleculer: src/service-broker.js emit).
#[derive(Clone, Debug, Default)]
pub struct EmitOptions {
    /// Only these groups; empty for all.
    pub groups: Vec<Arc<str>>,
    /// Put over the parent's meta.
    pub meta: Option<Object>,
    /// Event headers.
    pub headers: Option<Object>,
    /// Replaces the chain's ID.
    pub request_id: Option<Arc<str>>,
    /// Fail when a handler or the transport failed.
    pub throw_error: bool,
    /// The context that sends the event.
    pub parent: Option<Context>,
}

/// One item of an `mcall`.
#[derive(Clone, Debug)]
pub struct CallItem {
    /// Full action name.
    pub action: Arc<str>,
    /// Params.
    pub params: Payload,
    /// Its own options; they go over the common ones.
    pub options: CallOptions,
}

/// The broker as seen from below. Implemented by `broker`; held as `Weak<dyn Caller>`.
///
/// The futures are independent of the borrow, so that they can run as tasks of their own.
pub trait Caller: Send + Sync {
    /// Calls an action. Omitted params become `{}`.
    fn call(
        &self,
        action: &str,
        params: Payload,
        options: CallOptions,
    ) -> BoxFuture<'static, Outcome>;
    /// Sends an event.
    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: EmitOptions,
    ) -> BoxFuture<'static, Result<(), MoleculerError>>;
    /// Pings nodes (with none named, all others that are known) and gives `{nodeID: pong}`, where a pong
    /// is `{nodeID, elapsedTime, timeDiff, id}` in milliseconds, or null when no answer came in time
    /// (moleculer: src/service-broker.js ping). Who knows no other nodes answers for none.
    fn ping(&self, _nodes: Vec<Arc<str>>, _timeout: Duration) -> BoxFuture<'static, Outcome> {
        Box::pin(std::future::ready(Ok(Payload::empty_object())))
    }
    /// Makes the spans of this node.
    fn tracer(&self) -> Option<Tracer> {
        None
    }
    /// Waits until all services (full names) are available.
    fn wait_for_services(
        &self,
        services: Vec<String>,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<(), MoleculerError>>;
}

/// What a new context is made of. Unset fields have the values of a root context.
///
/// It is built where it stays: a context is some hundred bytes, which would else be moved at every step.
#[derive(Debug)]
pub struct ContextBuilder(Arc<Inner>);

impl ContextBuilder {
    /// A root context for an action or event of this name on this node.
    #[must_use]
    pub fn new(name: Arc<str>, node_id: Arc<str>) -> Self {
        Self::with_id(name, node_id, uid::new())
    }

    fn with_id(name: Arc<str>, node_id: Arc<str>, id: Arc<str>) -> Self {
        Self(Arc::new(Inner {
            request_id: Arc::clone(&id),
            id,
            parent_id: None,
            caller: None,
            made_by: None,
            level: 1,
            tracing: None,
            node_id,
            name,
            service: Arc::default(),
            event: None,
            params: Payload::Absent,
            headers: Object::default(),
            stream: None,
            options: CallOptions::default(),
            parent: None,
            sanitized: OnceLock::new(),
            parsed: OnceLock::new(),
            cached: AtomicBool::new(false),
            fuel: AtomicU64::new(0),
            meta: Mutex::default(),
            response_headers: Mutex::default(),
            deadline: OnceLock::new(),
            answer: Mutex::default(),
            answered_at: OnceLock::new(),
            answered: AtomicWaker::new(),
            sampled: OnceLock::new(),
            spans: Mutex::default(),
        }))
    }

    /// A context that came from another node, with the ID that it has there. The chain's ID is its own
    /// until it is set.
    #[must_use]
    pub fn received(name: Arc<str>, sender: Arc<str>, id: Arc<str>) -> Self {
        Self::with_id(name, sender, id)
    }

    /// Changes the fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        // Nobody else has it before it is built.
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }

    /// Sets the meta.
    #[must_use]
    pub fn meta(self, meta: Object) -> Self {
        self.with(|inner| *inner.meta.get_mut() = meta)
    }

    /// Sets the deadline.
    #[must_use]
    pub fn deadline(self, deadline: Option<Deadline>) -> Self {
        self.with(|inner| inner.deadline = deadline.map_or_else(OnceLock::new, OnceLock::from))
    }

    /// The context.
    #[must_use]
    pub fn build(self) -> Context {
        Context(self.0)
    }
}

impl std::ops::Deref for Context {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Context {
    /// A copy with the same identity and changed fields; meta and response headers start as copies, the
    /// deadline is not copied. For retries and for the handlers of one event.
    #[must_use]
    pub fn copy(&self) -> ContextBuilder {
        let inner = &*self.0;
        ContextBuilder(Arc::new(Inner {
            id: Arc::clone(&inner.id),
            request_id: Arc::clone(&inner.request_id),
            parent_id: inner.parent_id.clone(),
            caller: inner.caller.clone(),
            made_by: inner.made_by.clone(),
            level: inner.level,
            tracing: self.tracing(),
            node_id: Arc::clone(&inner.node_id),
            name: Arc::clone(&inner.name),
            service: Arc::clone(&inner.service),
            event: inner.event.clone(),
            params: inner.params.clone(),
            headers: inner.headers.clone(),
            stream: inner.stream.clone(),
            options: inner.options.clone(),
            parent: inner.parent.clone(),
            sanitized: OnceLock::new(),
            parsed: OnceLock::new(),
            cached: AtomicBool::new(self.cached_result()),
            fuel: AtomicU64::new(0),
            meta: Mutex::new(inner.meta.lock().clone()),
            response_headers: Mutex::new(inner.response_headers.lock().clone()),
            deadline: OnceLock::new(),
            answer: Mutex::default(),
            answered_at: OnceLock::new(),
            answered: AtomicWaker::new(),
            sampled: OnceLock::new(),
            spans: Mutex::new(self.span().into_iter().collect()),
        }))
    }

    /// Goes on building a context that nobody else has a handle on; one that is shared is copied, with its
    /// deadline.
    #[must_use]
    pub fn into_builder(self) -> ContextBuilder {
        let mut inner = self.0;
        if Arc::get_mut(&mut inner).is_some() {
            return ContextBuilder(inner);
        }
        let shared = Self(inner);
        shared.copy().deadline(shared.deadline())
    }

    /// Whether the chain is traced; `None` when no tracer has decided.
    #[must_use]
    pub fn tracing(&self) -> Option<bool> {
        self.0.sampled.get().copied().or(self.0.tracing)
    }

    /// The tracer of this node has decided. Only the first decision counts.
    pub fn decide_tracing(&self, sampled: bool) {
        let _ = self.0.sampled.set(sampled);
    }

    /// The span that is going on (moleculer: src/context.js span).
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.0.spans.lock().last().cloned()
    }

    /// A span has begun: what is called from now on is part of it.
    pub fn enter_span(&self, span: Span) {
        self.0.spans.lock().push(span);
    }

    /// Ends a span (moleculer: src/context.js finishSpan).
    pub fn finish_span(&self, span: &Span) {
        span.finish();
        self.0.spans.lock().retain(|one| one.id() != span.id());
    }

    /// Whether both are handles on one context.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Params or data as the handler is to see them.
    #[must_use]
    pub fn params(&self) -> &Payload {
        self.0.sanitized.get().unwrap_or(&self.0.params)
    }

    /// Puts params with defaults and conversions in the place of those that came. Only the first counts.
    pub fn sanitize_params(&self, params: Payload) {
        let _ = self.0.sanitized.set(params);
    }

    /// The params as they came, as a tree; parsed once, however many middlewares ask. `None` when they are
    /// bytes or absent.
    #[must_use]
    pub fn params_value(&self) -> Option<&Value> {
        let parse = || match &self.0.params {
            Payload::Json(text) => serde_json::from_str(text).ok(),
            Payload::Absent | Payload::Bytes(_) | Payload::Stream(_) => None,
        };
        self.0.parsed.get_or_init(parse).as_ref()
    }

    /// Whether the result came from the cacher (moleculer: src/context.js cachedResult).
    #[must_use]
    pub fn cached_result(&self) -> bool {
        self.0.cached.load(Ordering::Relaxed)
    }

    /// The result comes from the cacher.
    pub fn mark_cached(&self) {
        self.0.cached.store(true, Ordering::Relaxed);
    }

    /// The fuel that its handler has used, without the calls that it made; 0 when it ran in no guest, or runs.
    #[must_use]
    pub fn fuel(&self) -> u64 {
        self.0.fuel.load(Ordering::Relaxed)
    }

    /// Its handler has ended and used so much.
    pub fn note_fuel(&self, fuel: u64) {
        self.0.fuel.store(fuel, Ordering::Relaxed);
    }

    /// The meta now.
    #[must_use]
    pub fn meta(&self) -> Object {
        self.0.meta.lock().clone()
    }

    /// Puts keys over the meta.
    pub fn merge_meta(&self, over: &Object) {
        if over.is_empty() {
            return;
        }
        let mut meta = self.0.meta.lock();
        *meta = meta.merged(over);
    }

    /// The response headers now.
    #[must_use]
    pub fn response_headers(&self) -> Object {
        self.0.response_headers.lock().clone()
    }

    /// Puts keys over the response headers.
    pub fn merge_response_headers(&self, over: &Object) {
        if over.is_empty() {
            return;
        }
        let mut headers = self.0.response_headers.lock();
        *headers = headers.merged(over);
    }

    /// When this call is over; `None` while it has no limit, and once its handler has answered with a
    /// stream: then the caller has what it waited for.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let deadline = self.0.deadline.get().copied();
        deadline.filter(|_| self.answered_at().is_none())
    }

    /// The handler answers with a stream and runs on. Only the first answer counts.
    pub fn answer_with(&self, stream: Stream, now: Instant) {
        if self.0.answered_at.set(now).is_ok() {
            *self.0.answer.lock() = Some(stream);
            self.0.answered.wake();
        }
    }

    /// Has this task woken when the handler answers with a stream; the last one that asks is.
    pub fn wake_when_answered(&self, waker: &Waker) {
        self.0.answered.register(waker);
    }

    /// When the handler answered with a stream; `None` while it has not.
    #[must_use]
    pub fn answered_at(&self) -> Option<Instant> {
        self.0.answered_at.get().copied()
    }

    /// Takes the stream with which the handler has answered; whoever runs it gives it to the caller.
    #[must_use]
    pub fn take_answer(&self) -> Option<Stream> {
        self.0.answered_at.get().and_then(|_| self.0.answer.lock().take())
    }

    /// Starts the clock of this call. Only the first limit counts; later ones are ignored.
    pub fn start_deadline(&self, now: Instant, timeout: Duration) {
        // A timeout too large for the clock is no limit.
        if let Some(at) = now.checked_add(timeout) {
            let _ = self.0.deadline.set(Deadline { at, timeout });
        }
    }

    /// What is left until the deadline: zero when it has passed, `None` when there is none.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn building_goes_on_where_nobody_has_a_handle_and_copies_where_somebody_has() {
        let service =
            |ctx: Context| ctx.into_builder().with(|ctx| ctx.service = "s".into()).build();
        let ctx = ContextBuilder::new("a.b".into(), "n".into()).build();
        ctx.start_deadline(crate::clock::now(), Duration::from_secs(1));
        let handle = ctx.clone();
        let copy = service(ctx);
        assert!(!copy.is_same(&handle) && handle.service.is_empty());
        assert_eq!((&*copy.service, copy.deadline().is_some()), ("s", true));
        let address = Arc::as_ptr(&copy.0);
        assert_eq!(Arc::as_ptr(&service(copy).0), address);
    }

    #[test]
    fn a_copy_keeps_the_identity_and_starts_without_a_deadline() {
        let ctx = ContextBuilder::new("a.b".into(), "n".into()).build();
        ctx.start_deadline(crate::clock::now(), Duration::from_secs(1));
        ctx.merge_meta(&Object::from_json_text("{\"a\":1}".into()).unwrap());
        let copy = ctx.copy().build();
        assert_eq!(copy.id, ctx.id);
        assert_eq!(copy.meta().as_str(), "{\"a\":1}");
        assert!(copy.deadline().is_none());
    }
}
