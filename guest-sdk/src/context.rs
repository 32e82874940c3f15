//! The context of a running handler: who called, with which meta, and the way to everything else.
//!
//! Fields are read from the host when they are asked for. Calls and events made here carry the chain's
//! request ID, meta and remaining time; the host makes that link.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cacher::Cacher;
use crate::executor::{self, Calls};
use crate::host::{Beside, EventType, Host};
use crate::logger::Logger;
use crate::request::{EventRequest, Later, MultiRequest, Request, WaitRequest};
use crate::span::Span;
use crate::{Error, Result};

/// The context of one running action, event or lifecycle handler. Valid until the handler returns.
///
/// Requests to the broker are built step by step and sent by `.await`, or by `.wait()` in a handler that is
/// no `async fn`:
///
/// ```
/// # use isomer_sdk::prelude::*;
/// # use std::time::Duration;
/// # #[derive(serde::Deserialize)] struct User { name: String }
/// async fn author(ctx: &Context, id: u32) -> Result<User> {
///     let params = json!({ "id": id });
///     ctx.emit("user.asked", &params).await?;
///     ctx.call("users.get", &params).timeout(Duration::from_secs(2)).await
/// }
/// ```
pub struct Context {
    host: Box<dyn Host>,
    calls: Calls,
    /// What hooks leave for the action, by name.
    locals: RefCell<BTreeMap<String, Box<dyn Any>>>,
}

impl Context {
    pub(crate) fn new(host: impl Host + 'static) -> Self {
        Self { host: Box::new(host), calls: Calls::default(), locals: RefCell::default() }
    }

    /// The ID of this call or event.
    #[must_use]
    pub fn id(&self) -> String {
        self.host.id()
    }

    /// The ID that all calls and events of one chain share.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.host.request_id()
    }

    /// The ID of the context that caused this one; `None` at the root of a chain.
    #[must_use]
    pub fn parent_id(&self) -> Option<String> {
        self.host.parent_id()
    }

    /// The full name of the calling service, such as `v2.posts`.
    #[must_use]
    pub fn caller(&self) -> Option<String> {
        self.host.caller()
    }

    /// How deep this context stands in its chain; 1 at the root.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.host.level()
    }

    /// The node that the call or event came from.
    #[must_use]
    pub fn node_id(&self) -> String {
        self.host.node_id()
    }

    /// The full name of the running action, or the name under which the event was sent.
    #[must_use]
    pub fn name(&self) -> String {
        self.host.name()
    }

    /// How the event was sent; `None` in an action.
    #[must_use]
    pub fn event_type(&self) -> Option<EventType> {
        self.host.event_type()
    }

    /// The groups that the event is for; empty when it is for all of them.
    #[must_use]
    pub fn event_groups(&self) -> Vec<String> {
        self.host.event_groups()
    }

    /// What is left until the caller gives up or the host stops this handler; `None` without a limit.
    #[must_use]
    pub fn remaining_time(&self) -> Option<Duration> {
        self.host.remaining_time().map(|ms| Duration::from_millis(ms.into()))
    }

    /// The meta of the chain.
    ///
    /// # Errors
    /// A `MoleculerError` when it has another form than `T`.
    pub fn meta<T: DeserializeOwned>(&self) -> Result<T> {
        read("meta", &self.host.meta())
    }

    /// Puts the keys of an object over the meta. The caller sees them when this handler has ended, also
    /// when it fails; calls made from now on carry them.
    ///
    /// # Errors
    /// When it is not an object, or the meta would become larger than the host allows.
    pub fn set_meta(&self, object: impl Serialize) -> Result<()> {
        self.host.set_meta(&serde_json::to_string(&object)?)
    }

    /// The headers of the request. They are not passed on to nested calls.
    ///
    /// # Errors
    /// A `MoleculerError` when they have another form than `T`.
    pub fn headers<T: DeserializeOwned>(&self) -> Result<T> {
        read("headers", &self.host.headers())
    }

    /// Puts the keys of an object over the headers of the response.
    ///
    /// # Errors
    /// As [`Context::set_meta`].
    pub fn set_response_headers(&self, object: impl Serialize) -> Result<()> {
        self.host.set_response_headers(&serde_json::to_string(&object)?)
    }

    /// The settings of the service: those of its schema, overlaid with the operator's.
    ///
    /// # Errors
    /// A `MoleculerError` when they have another form than `T`.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        read("settings", &self.host.settings())
    }

    /// The error for which a fallback runs; `None` everywhere else.
    #[must_use]
    pub fn cause(&self) -> Option<Error> {
        self.host.cause()
    }

    /// Keeps a value of any type until this handler has ended: how a `#[before]` hook hands the action what
    /// it found. Nothing of it leaves the service (Moleculer's `ctx.locals`).
    ///
    /// ```
    /// # use isomer_sdk::prelude::*;
    /// # #[derive(Clone)] struct User { name: String }
    /// fn hook(ctx: &Context) {
    ///     ctx.set_local("user", User { name: "Ada".into() });
    /// }
    /// fn action(ctx: &Context) -> Option<String> {
    ///     ctx.local::<User>("user").map(|user| user.name)
    /// }
    /// ```
    pub fn set_local(&self, name: &str, value: impl Any) {
        self.locals.borrow_mut().insert(name.into(), Box::new(value));
    }

    /// A value that was kept by [`Context::set_local`]; `None` when there is none of this name and type.
    #[must_use]
    pub fn local<T: Any + Clone>(&self, name: &str) -> Option<T> {
        self.locals.borrow().get(name)?.downcast_ref::<T>().cloned()
    }

    /// The fields of the context under Moleculer's names, for logs and tests (`ctx.toJSON()`).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let object = |text: String| serde_json::from_str::<Value>(&text).unwrap_or_default();
        let (event, action) = match self.event_type() {
            Some(_) => (Some(self.name()), None),
            None => (None, Some(json!({ "name": self.name() }))),
        };
        json!({
            "id": self.id(), "nodeID": self.node_id(), "action": action, "eventName": event,
            "eventType": self.event_type().map(EventType::name), "eventGroups": self.event_groups(),
            "parentID": self.parent_id(), "requestID": self.request_id(), "caller": self.caller(),
            "level": self.level(), "meta": object(self.host.meta()),
            "headers": object(self.host.headers()), "service": { "fullName": self.service() },
        })
    }

    /// The full name of this service, such as `v2.posts`.
    #[must_use]
    pub fn service(&self) -> String {
        self.host.service()
    }

    /// The ID of the node on which this service runs.
    #[must_use]
    pub fn local_node_id(&self) -> String {
        self.host.local_node_id()
    }

    /// The namespace of the mesh; empty for the default one.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.host.namespace()
    }

    /// The cacher of the node (Moleculer's `broker.cacher`).
    #[must_use]
    pub fn cacher(&self) -> Cacher<'_> {
        Cacher::new(&*self.host)
    }

    /// The log of the node.
    pub fn logger(&self) -> Logger<'_> {
        Logger::new(&*self.host)
    }

    /// Begins a span: a child of the newest open one of this context, or else of the call. What is called and
    /// sent until its end is its child (Moleculer's `ctx.startSpan`).
    pub fn start_span(&self, name: &str) -> Span<'_> {
        Span::new(self.host.start_span(name, None))
    }

    /// [`Context::start_span`] with options under Moleculer's names: an object with `type`, `tags` and
    /// `priority`. Options without a JSON form are left out.
    pub fn start_span_with(&self, name: &str, options: impl Serialize) -> Span<'_> {
        let options = serde_json::to_string(&options).ok();
        Span::new(self.host.start_span(name, options.as_deref()))
    }

    /// Calls an action and reads its result as `T`. `()` as params means none.
    ///
    /// Several calls run at the same time when their futures are joined, with the `join!` or `join_all` of
    /// any library. A call is sent when the handler waits for it.
    pub fn call<'a, T: DeserializeOwned>(
        &'a self,
        action: &str,
        params: impl Serialize,
    ) -> Request<'a, T> {
        Request::new(self, action, &params)
    }

    /// Calls an action of this very service by its own name, also a private one, with all that the host does
    /// around a call (Moleculer's `this.actions.NAME()`). A method is called without all that by `self`.
    pub fn call_own<'a, T: DeserializeOwned>(
        &'a self,
        action: &str,
        params: impl Serialize,
    ) -> Request<'a, T> {
        Request::new(self, &self.own_name(action), &params)
    }

    /// The full name of an action of this service (moleculer: src/service.js _createAction).
    fn own_name(&self, action: &str) -> String {
        let settings: Value = serde_json::from_str(&self.host.settings()).unwrap_or_default();
        match settings.get("$noServiceNamePrefix") {
            Some(Value::Bool(true)) => action.into(),
            _ => format!("{}.{action}", self.service()),
        }
    }

    /// Makes several calls at once and waits for all: an array of [`Call`](crate::Call)s gives an array
    /// of results, a map of them a map. The first error is the result when one fails; see
    /// [`MultiRequest::settled`].
    ///
    /// ```
    /// # use isomer_sdk::prelude::*;
    /// # use serde_json::Value;
    /// async fn both(ctx: &Context) -> Result<Vec<Value>> {
    ///     ctx.mcall([Call::new("posts.list", ()), Call::new("users.get", json!({ "id": 1 }))]).await
    /// }
    /// ```
    pub fn mcall<'a, T: DeserializeOwned>(&'a self, calls: impl Serialize) -> MultiRequest<'a, T> {
        MultiRequest::new(self, &calls)
    }

    /// Sends an event to one instance of every group that listens to it.
    pub fn emit<'a>(&'a self, event: &str, data: impl Serialize) -> EventRequest<'a> {
        EventRequest::new(self, EventType::Emit, event, &data)
    }

    /// Sends an event to every instance that listens to it, on all nodes.
    pub fn broadcast<'a>(&'a self, event: &str, data: impl Serialize) -> EventRequest<'a> {
        EventRequest::new(self, EventType::Broadcast, event, &data)
    }

    /// Sends an event to every instance that listens to it on this node.
    pub fn broadcast_local<'a>(&'a self, event: &str, data: impl Serialize) -> EventRequest<'a> {
        EventRequest::new(self, EventType::BroadcastLocal, event, &data)
    }

    /// Waits until all the named services are available. Names are full names (`v2.posts`, `mailer`).
    pub fn wait_for_services<'a>(
        &'a self,
        services: impl IntoIterator<Item = impl Into<String>>,
    ) -> WaitRequest<'a> {
        WaitRequest::new(self, services.into_iter().map(Into::into).collect())
    }

    /// Waits for so long. In the mode `shared` other calls go on meanwhile; in the others the instance sleeps.
    #[must_use = "it waits when it is awaited"]
    pub fn sleep(&self, time: Duration) -> Later<'_, ()> {
        let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        match self.host.begin(&Beside::Time(ms)) {
            Some(pending) => Later::beside(self, "sleep", pending),
            None => {
                std::thread::sleep(time);
                Later::done(Ok(()))
            }
        }
    }

    pub(crate) fn host(&self) -> &dyn Host {
        &*self.host
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Runs a handler of this context to its end.
    pub(crate) fn run<T>(&self, handler: impl Future<Output = Result<T>>) -> Result<T> {
        executor::run(&*self.host, &self.calls, handler)
    }

    /// Runs a handler of this context as a task of the host.
    #[cfg(target_family = "wasm")]
    pub(crate) async fn run_beside<T>(
        &self,
        handler: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        executor::run_beside(&*self.host, &self.calls, handler).await
    }
}

/// Reads a JSON text of the host; `what` names it in the error.
fn read<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(500, "UNEXPECTED_FORM", format!("the {what} cannot be read: {error}"))
    })
}
