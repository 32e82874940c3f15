//! A service of the mode `shared` as a component of the world `service-async`: its handlers are tasks of the host
//! and run beside each other in one instance.
//!
//! What waits does so without holding up the others: calls, streams, events, waiting for services and sleeping,
//! awaited. Everything that the SDK offers as a blocking step (`.wait()`, the cacher) blocks the instance.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::rc::Rc;
use std::task::{Context as Wakeup, Poll};
use std::thread::LocalKey;

use bindings::exports::isomer::service::handler_async::Guest;
use bindings::isomer::service::{broker_async, cacher_async, streams_async, timers, tracing_async};
use wit_bindgen::block_on;

use super::bindings::isomer::service::types;
use crate::component::borrowed::{at_once, borrowed_context};
use crate::component::{from_failure, into_failure, log_panics, value_of};
use crate::host::{Beside, Errand, EventType, Host, Pending, Promise, Recording, Sink, Source};
use crate::logger::Level;
use crate::service::SharedService;
use crate::{Context, Error, Payload, Result};

/// What wit-bindgen makes of the world `service-async`; what is not asynchronous is that of `service`.
#[expect(missing_docs, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "service-async",
        pub_export_macro: true,
        export_macro_name: "export_shared_component",
        default_bindings_module: "isomer_sdk::__private::shared_bindings",
        with: {
            "isomer:service/types@0.1.0": crate::component::bindings::isomer::service::types,
            "isomer:service/logger@0.1.0": crate::component::bindings::isomer::service::logger,
            "isomer:service/config@0.1.0": crate::component::bindings::isomer::service::config,
            "isomer:service/spans@0.1.0": crate::component::bindings::isomer::service::spans,
        },
    });
}

/// The instance of a service in its component instance.
pub type SharedInstance<S> = LocalKey<OnceCell<Rc<S>>>;

/// A shared service with a place for its instance; `#[service]` implements it in Wasm builds.
pub trait SharedPlace: SharedService {
    /// The place.
    fn instance() -> &'static SharedInstance<Self>;
}

/// The exports of the component whose service is `S`.
pub struct SharedComponent<S>(PhantomData<S>);

impl<S: SharedPlace> SharedComponent<S> {
    /// Runs one handler on the instance, which the first one makes.
    async fn enter<T>(
        ctx: &broker_async::Context,
        handler: impl AsyncFnOnce(&S, &Context) -> Result<T>,
    ) -> Result<T, types::Failure> {
        log_panics();
        let own = S::instance().with(|own| Rc::clone(own.get_or_init(|| Rc::new(S::create()))));
        let ctx = Context::new(Borrowed::new(ctx));
        ctx.run_beside(handler(&own, &ctx)).await.map_err(into_failure)
    }
}

impl<S: SharedPlace> Guest for SharedComponent<S> {
    fn describe() -> String {
        log_panics();
        S::SCHEMA.to_string()
    }

    async fn started(ctx: &broker_async::Context) -> Result<(), types::Failure> {
        Self::enter(ctx, async |own, ctx| SharedService::started(own, ctx).await).await
    }

    async fn stopped(ctx: &broker_async::Context) -> Result<(), types::Failure> {
        Self::enter(ctx, async |own, ctx| SharedService::stopped(own, ctx).await).await
    }

    async fn background() {}

    async fn call_action(
        ctx: &broker_async::Context,
        action: String,
        params: types::Payload,
    ) -> Result<types::Payload, types::Failure> {
        let run = async |own: &S, ctx: &Context| {
            SharedService::call_action(own, ctx, &action, params.into()).await
        };
        Self::enter(ctx, run).await.map(Into::into)
    }

    async fn handle_event(
        ctx: &broker_async::Context,
        event: String,
        data: types::Payload,
    ) -> Result<(), types::Failure> {
        let run = async |own: &S, ctx: &Context| {
            SharedService::handle_event(own, ctx, &event, data.into()).await
        };
        Self::enter(ctx, run).await
    }
}

/// Work of the host that goes on beside the handler; dropping it abandons a call.
struct Task {
    /// `None` when it is done.
    future: RefCell<Option<Promise<Payload>>>,
    /// The call, when it is one, for the stream that it may be answered with.
    call: Option<broker_async::PendingCall>,
    done: Cell<Option<Result<Payload>>>,
}

impl Task {
    fn new(
        call: Option<broker_async::PendingCall>,
        future: impl Future<Output = Result<Payload>> + 'static,
    ) -> Self {
        let future = RefCell::new(Some(Box::pin(future) as Promise<Payload>));
        Self { future, call, done: Cell::new(None) }
    }
}

impl Errand for Task {
    fn is_done(&self, task: &mut Wakeup<'_>) -> bool {
        let mut future = self.future.borrow_mut();
        let Some(running) = &mut *future else { return true };
        let Poll::Ready(result) = running.as_mut().poll(task) else { return false };
        *future = None;
        self.done.set(Some(result));
        true
    }

    fn poll(&self, task: &mut Wakeup<'_>) -> Option<Result<Payload>> {
        if !self.is_done(task) {
            return None;
        }
        let result = self.done.take()?;
        Some(value_of(result, || matches!(self.take_stream(), Ok(None))))
    }

    fn take_stream(&self) -> Result<Option<Box<dyn Source>>> {
        let Some(call) = &self.call else { return Ok(None) };
        let reader = call.take_stream().map_err(from_failure)?;
        Ok(reader.map(|reader| Box::new(reader) as Box<dyn Source>))
    }
}

impl Source for streams_async::Reader {
    fn object_mode(&self) -> bool {
        Self::object_mode(self)
    }

    fn read(&self) -> Result<Option<Payload>> {
        let chunk = Self::read(self);
        block_on(chunk.into_future()).map(|chunk| chunk.map(Into::into)).map_err(from_failure)
    }

    fn start_read(&self) -> Option<Promise<Option<Payload>>> {
        let chunk = Self::read(self);
        Some(Box::pin(async {
            chunk.await.map(|chunk| chunk.map(Into::into)).map_err(from_failure)
        }))
    }

    fn finish_read(&self, reading: &mut Promise<Option<Payload>>) -> Result<Option<Payload>> {
        block_on(reading)
    }
}

impl Sink for streams_async::Writer {
    fn object_mode(&self) -> bool {
        Self::object_mode(self)
    }

    fn write(&self, chunk: Payload) -> Result<()> {
        let written = Self::write(self, &chunk.into());
        block_on(written.into_future()).map_err(from_failure)
    }

    fn start_write(&self, chunk: Payload) -> Result<Promise<()>, Payload> {
        let written = Self::write(self, &chunk.into());
        Ok(Box::pin(async { written.await.map_err(from_failure) }))
    }

    fn end(&self) -> Result<()> {
        Self::end(self).map_err(from_failure)
    }

    fn fail(&self, error: Error) {
        Self::fail(self, &into_failure(error));
    }
}

borrowed_context!(broker_async);

impl Host for Borrowed {
    at_once!(broker_async);

    fn call(&self, action: &str, params: Payload, options: Option<&str>) -> Result<Payload> {
        let result = self.0.call(action, &params.into(), options);
        block_on(result.into_future()).map(Into::into).map_err(from_failure)
    }

    fn start_call(&self, action: &str, params: Payload, options: Option<&str>) -> Pending {
        let call = self.0.start_call(action, &params.into(), options);
        Pending::Task(Box::new(task_of(call)))
    }

    fn wait_any(&self, calls: &[&Pending]) -> Option<usize> {
        if calls.is_empty() {
            return None;
        }
        let first = poll_fn(|task| {
            let is_done = |call: &&Pending| matches!(call, Pending::Task(own) if own.is_done(task));
            calls.iter().position(is_done).map_or(Poll::Pending, Poll::Ready)
        });
        Some(block_on(first))
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
        (Box::new(writer), Pending::Task(Box::new(task_of(call))))
    }

    fn mcall(&self, calls: &str, options: Option<&str>) -> Result<Payload> {
        let results = self.0.mcall(calls, options);
        block_on(results.into_future()).map(Into::into).map_err(from_failure)
    }

    fn send(
        &self,
        kind: EventType,
        event: &str,
        data: Payload,
        options: Option<&str>,
    ) -> Result<()> {
        let sent = self.sent(kind, event, &data, options);
        block_on(sent.into_future()).map_err(from_failure)
    }

    fn wait_for_services(&self, services: &[String], timeout: Option<u32>) -> Result<()> {
        let waited = self.0.wait_for_services(services, timeout);
        block_on(waited.into_future()).map_err(from_failure)
    }

    fn begin(&self, work: &Beside<'_>) -> Option<Pending> {
        let nothing = |ended: Result<(), types::Failure>| {
            ended.map(|()| Payload::Absent).map_err(from_failure)
        };
        Some(Pending::Task(Box::new(match *work {
            Beside::Calls(calls, options) => {
                let results = self.0.mcall(calls, options);
                Task::new(None, async { results.await.map(Into::into).map_err(from_failure) })
            }
            Beside::Event { kind, event, data, options } => {
                let sent = self.sent(kind, event, data, options);
                Task::new(None, async move { nothing(sent.await) })
            }
            Beside::Services(services, timeout) => {
                let waited = self.0.wait_for_services(services, timeout);
                Task::new(None, async move { nothing(waited.await) })
            }
            Beside::Time(ms) => {
                let over = timers::sleep(ms);
                Task::new(None, async {
                    over.await;
                    Ok(Payload::Absent)
                })
            }
        })))
    }

    fn cacher_enabled(&self) -> bool {
        cacher_async::enabled()
    }

    fn cacher_get(&self, key: &str) -> Result<Option<Payload>> {
        let found = block_on(cacher_async::get(key).into_future());
        found.map(|found| found.map(Into::into)).map_err(from_failure)
    }

    fn cacher_get_with_ttl(&self, key: &str) -> Result<Option<(Payload, Option<f64>)>> {
        let found = block_on(cacher_async::get_with_ttl(key).into_future());
        Ok(found.map_err(from_failure)?.map(|(value, ttl)| (value.into(), ttl)))
    }

    fn cacher_set(&self, key: &str, value: Payload, ttl: Option<f64>) -> Result<()> {
        let kept = cacher_async::set(key, &value.into(), ttl);
        block_on(kept.into_future()).map_err(from_failure)
    }

    fn cacher_del(&self, keys: &[String]) -> Result<()> {
        block_on(cacher_async::del(keys).into_future()).map_err(from_failure)
    }

    fn cacher_clean(&self, patterns: &[String]) -> Result<()> {
        block_on(cacher_async::clean(patterns).into_future()).map_err(from_failure)
    }

    fn start_span(&self, name: &str, options: Option<&str>) -> Box<dyn Recording> {
        Box::new(tracing_async::start_span(&self.0, name, options))
    }

    fn log(&self, level: Level, message: &str, fields: Option<&str>) {
        self.0.log(level.into(), message, fields);
    }
}

impl Borrowed {
    fn sent(
        &self,
        kind: EventType,
        event: &str,
        data: &Payload,
        options: Option<&str>,
    ) -> wit_bindgen::FutureReader<Result<(), types::Failure>> {
        let data = data.clone().into();
        match kind {
            EventType::Emit => self.0.emit(event, &data, options),
            EventType::Broadcast => self.0.broadcast(event, &data, options),
            EventType::BroadcastLocal => self.0.broadcast_local(event, &data, options),
        }
    }
}

fn task_of(call: broker_async::PendingCall) -> Task {
    let done = call.done();
    Task::new(Some(call), async { done.await.map(Into::into).map_err(from_failure) })
}
