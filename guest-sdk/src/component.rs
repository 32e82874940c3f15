//! The service as a component: its exports, and the host behind a context. Only in Wasm builds.
//!
//! One instance of the user's struct lives as long as the component instance; the host enters it by one
//! call at a time. A panic is logged before it becomes a trap.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Once;
use std::thread::LocalKey;

use bindings::exports::isomer::service::handler::Guest;
use bindings::isomer::service::{broker, cacher, config, logger, spans, streams, tracing, types};

use crate::component::borrowed::{at_once, borrowed_context};
use crate::error::Fields;
use crate::host::{EventType, Host, Pending, Recording, Sink, Source};
use crate::logger::Level;
use crate::service::Service;
use crate::{Context, Error, Payload, Result};

mod borrowed;
pub(crate) mod interceptor;
pub(crate) mod tasks;

/// What wit-bindgen makes of the WIT.
#[expect(missing_docs, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "service",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "isomer_sdk::__private::bindings",
    });
}

pub(crate) use broker::PendingCall;

/// The instance of a service in its component instance.
pub type Instance<S> = LocalKey<RefCell<Option<S>>>;

/// A service with a place for its instance; `#[service]` implements it in Wasm builds.
pub trait Place: Service {
    /// The place.
    fn instance() -> &'static Instance<Self>;
}

/// The exports of the component whose service is `S`.
pub struct Component<S>(PhantomData<S>);

impl<S: Place> Component<S> {
    /// Runs one handler on the instance, which the first one makes.
    fn enter<T>(
        ctx: &broker::Context,
        handler: impl AsyncFnOnce(&mut S, &Context) -> Result<T>,
    ) -> Result<T, types::Failure> {
        enter(S::instance(), S::create, ctx, handler)
    }
}

/// Runs one handler on an instance, which the first one makes.
fn enter<S, T>(
    instance: &'static Instance<S>,
    create: fn() -> S,
    ctx: &broker::Context,
    handler: impl AsyncFnOnce(&mut S, &Context) -> Result<T>,
) -> Result<T, types::Failure> {
    log_panics();
    let ctx = Context::new(Borrowed::new(ctx));
    instance.with_borrow_mut(|instance| {
        let own = instance.get_or_insert_with(create);
        ctx.run(handler(own, &ctx)).map_err(into_failure)
    })
}

impl<S: Place> Guest for Component<S> {
    fn describe() -> String {
        log_panics();
        S::SCHEMA.to_string()
    }

    fn started(ctx: &broker::Context) -> Result<(), types::Failure> {
        Self::enter(ctx, async |service, ctx| service.started(ctx).await)
    }

    fn stopped(ctx: &broker::Context) -> Result<(), types::Failure> {
        Self::enter(ctx, async |service, ctx| service.stopped(ctx).await)
    }

    fn call_action(
        ctx: &broker::Context,
        action: String,
        params: types::Payload,
    ) -> Result<types::Payload, types::Failure> {
        Self::enter(ctx, async |service, ctx| {
            service.call_action(ctx, &action, params.into()).await
        })
        .map(Into::into)
    }

    fn handle_event(
        ctx: &broker::Context,
        event: String,
        data: types::Payload,
    ) -> Result<(), types::Failure> {
        Self::enter(ctx, async |service, ctx| service.handle_event(ctx, &event, data.into()).await)
    }
}

/// Makes panics lines in the node's log, with the place in the source. The host sees only a trap.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            logger::log(logger::Level::Fatal, &info.to_string(), None);
        }));
    });
}

/// The result of a call, when it is done.
pub(crate) fn take(call: &PendingCall) -> Option<Result<Payload>> {
    let result = call.take()?.map(Payload::from).map_err(from_failure);
    Some(value_of(result, || matches!(call.take_stream(), Ok(None))))
}

/// The value that a call was answered with. A stream in its place would else be lost without a word.
fn value_of(result: Result<Payload>, without_stream: impl FnOnce() -> bool) -> Result<Payload> {
    if result == Ok(Payload::Absent) && !without_stream() {
        let message = "The result of the call is a stream; ask for it with `into_stream`.";
        return Err(Error::new(422, "INVALID_PAYLOAD", message).named("InvalidPayloadError"));
    }
    result
}

/// The stream that a call was answered with, once.
pub(crate) fn take_stream(call: &PendingCall) -> Result<Option<Box<dyn Source>>> {
    let reader = call.take_stream().map_err(from_failure)?;
    Ok(reader.map(|reader| Box::new(reader) as Box<dyn Source>))
}

impl Source for streams::Reader {
    fn object_mode(&self) -> bool {
        Self::object_mode(self)
    }

    fn read(&self) -> Result<Option<Payload>> {
        Self::read(self).map(|chunk| chunk.map(Into::into)).map_err(from_failure)
    }
}

impl Sink for streams::Writer {
    fn object_mode(&self) -> bool {
        Self::object_mode(self)
    }

    fn write(&self, chunk: Payload) -> Result<()> {
        Self::write(self, &chunk.into()).map_err(from_failure)
    }

    fn end(&self) -> Result<()> {
        Self::end(self).map_err(from_failure)
    }

    fn fail(&self, error: Error) {
        Self::fail(self, &into_failure(error));
    }
}

impl Recording for spans::Span {
    fn add_tags(&self, object: &str) {
        Self::add_tags(self, object);
    }

    fn log(&self, name: &str, fields: Option<&str>) {
        Self::log(self, name, fields);
    }

    fn set_error(&self, error: Error) {
        Self::set_error(self, &into_failure(error));
    }

    fn start_span(&self, name: &str) -> Box<dyn Recording> {
        Box::new(Self::start_span(self, name, None))
    }

    fn finish(&self) {
        Self::finish(self);
    }
}

borrowed_context!(broker);

impl Host for Borrowed {
    at_once!(broker);

    fn call(&self, action: &str, params: Payload, options: Option<&str>) -> Result<Payload> {
        from_outcome(self.0.call(action, &params.into(), options))
    }

    fn start_call(&self, action: &str, params: Payload, options: Option<&str>) -> Pending {
        Pending::Host(self.0.start_call(action, &params.into(), options))
    }

    fn wait_any(&self, calls: &[&Pending]) -> Option<usize> {
        let calls: Vec<&PendingCall> = calls
            .iter()
            .filter_map(|call| match call {
                Pending::Host(call) => Some(call),
                Pending::Task(_) => None,
            })
            .collect();
        broker::wait_any(&calls).and_then(|index| usize::try_from(index).ok())
    }

    fn start_stream_call(
        &self,
        action: &str,
        params: Payload,
        options: Option<&str>,
        object_mode: bool,
    ) -> (Box<dyn Sink>, Pending) {
        let params = params.into();
        let (writer, call) = self.0.start_stream_call(action, &params, options, object_mode);
        (Box::new(writer), Pending::Host(call))
    }

    fn mcall(&self, calls: &str, options: Option<&str>) -> Result<Payload> {
        from_outcome(self.0.mcall(calls, options))
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: Option<&str>,
    ) -> Result<()> {
        let data = data.into();
        match kind {
            EventType::Emit => self.0.emit(event, &data, options),
            EventType::Broadcast => self.0.broadcast(event, &data, options),
            EventType::BroadcastLocal => self.0.broadcast_local(event, &data, options),
        }
        .map_err(from_failure)
    }

    fn wait_for_services(&self, services: &[String], timeout: Option<u32>) -> Result<()> {
        self.0.wait_for_services(services, timeout).map_err(from_failure)
    }

    fn cacher_enabled(&self) -> bool {
        cacher::enabled()
    }

    fn cacher_get(&self, key: &str) -> Result<Option<Payload>> {
        cacher::get(key).map(|found| found.map(Into::into)).map_err(from_failure)
    }

    fn cacher_get_with_ttl(&self, key: &str) -> Result<Option<(Payload, Option<f64>)>> {
        let found = cacher::get_with_ttl(key).map_err(from_failure)?;
        Ok(found.map(|(value, ttl)| (value.into(), ttl)))
    }

    fn cacher_set(&self, key: &str, value: Payload, ttl: Option<f64>) -> Result<()> {
        cacher::set(key, &value.into(), ttl).map_err(from_failure)
    }

    fn cacher_del(&self, keys: &[String]) -> Result<()> {
        cacher::del(keys).map_err(from_failure)
    }

    fn cacher_clean(&self, patterns: &[String]) -> Result<()> {
        cacher::clean(patterns).map_err(from_failure)
    }

    fn start_span(&self, name: &str, options: Option<&str>) -> Box<dyn Recording> {
        Box::new(tracing::start_span(&self.0, name, options))
    }

    fn log(&self, level: Level, message: &str, fields: Option<&str>) {
        logger::log(level.into(), message, fields);
    }
}

fn from_outcome(outcome: Result<types::Payload, types::Failure>) -> Result<Payload> {
    outcome.map(Payload::from).map_err(from_failure)
}

impl From<Level> for logger::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Fatal => Self::Fatal,
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

impl From<types::Payload> for Payload {
    fn from(payload: types::Payload) -> Self {
        match payload {
            types::Payload::Absent => Self::Absent,
            types::Payload::Json(text) => Self::Json(text),
            types::Payload::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

impl From<Payload> for types::Payload {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Absent => Self::Absent,
            Payload::Json(text) => Self::Json(text),
            Payload::Bytes(bytes) => Self::Bytes(bytes),
        }
    }
}

/// A function and no `From`: the bindings' type is a [`std::error::Error`], which `Error` takes already, but
/// as text.
///
/// Inlined, because a failure is large: copying it between functions takes more code than this.
#[inline]
fn from_failure(failure: types::Failure) -> Error {
    let types::Failure { name, message, code, type_: kind, retryable, data, stack, extra } =
        failure;
    Error::from_fields(Fields { name, message, code, kind, retryable, data, stack, extra })
}

fn into_failure(error: Error) -> types::Failure {
    let Fields { name, message, code, kind, retryable, data, stack, extra } = error.into_fields();
    types::Failure { name, message, code, type_: kind, retryable, data, stack, extra }
}
