//! The interface `broker-async`: the context of a handler, and the calls that are made through it.

use std::sync::Arc;

use wasmtime::component::{Access, Resource};

use crate::clock;
use crate::context::{ContextBuilder, EventType};
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::bindings::asynchronous::isomer::service::broker_async::{
    EventType as GuestEventType, Host, HostContext, HostContextWithStore, HostPendingCall,
    HostPendingCallWithStore,
};
use crate::runtime::bindings::isomer::service::logger::Level;
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::environment::CallLimits;
use crate::runtime::failure::{failure_from, payload_to_result};
use crate::runtime::handlers::{Handle, OWN_CONTEXT, Running};
use crate::runtime::host_imports::Answer;
use crate::runtime::host_imports::asynchronous::{Promise, Unwanted, promise, until};
use crate::runtime::host_imports::at_once::{at_once_of_a_context, at_once_of_a_pending_call};
use crate::runtime::host_imports::context::Asked;
use crate::runtime::host_imports::events;
use crate::runtime::host_imports::{logger, many_calls, options};
use crate::runtime::log_sink::Origin;
use crate::runtime::pending_call::PendingCall;
use crate::runtime::state::{CurrentContext, State, Whole};
use crate::runtime::streams::{Reader, Writer, without_stream};

type Ctx = Resource<CurrentContext>;
type Store<'a, T> = Access<'a, T, Whole>;

impl State {
    /// Starts a call that answers with a payload.
    fn call_beside(
        &mut self,
        ctx: Handle,
        asked: Asked<'_>,
    ) -> Result<impl Future<Output = Result<Payload, MoleculerError>> + use<>, MoleculerError> {
        let options = options::call_options(asked.options, self.environment.limits.meta)?;
        let permit = self.permit_call(ctx, asked.action)?;
        let call = self.prepare_call(ctx, asked.action, asked.params, options)?;
        self.launch(ctx, Unwanted::Stop, async move {
            let outcome = call.await;
            drop(permit);
            without_stream(outcome)
        })
    }

    fn many_beside(
        &mut self,
        ctx: Handle,
        calls: &str,
        options: Option<&str>,
    ) -> Result<impl Future<Output = Result<Payload, MoleculerError>> + use<>, MoleculerError> {
        let calls = many_calls::prepare(self, ctx, calls, options)?;
        self.launch(ctx, Unwanted::Stop, calls)
    }

    /// Sends an event, which nothing takes back.
    fn send_beside(
        &mut self,
        ctx: Handle,
        kind: EventType,
        event: &str,
        data: PayloadResult,
        options: Option<&str>,
    ) -> Result<impl Future<Output = Result<(), MoleculerError>> + use<>, MoleculerError> {
        let permit = self.permit_call(ctx, event)?;
        let sending = events::prepare(self, ctx, kind, event, data, options)?;
        self.launch(ctx, Unwanted::GoOn, async move {
            let sent = sending.await;
            drop(permit);
            sent
        })
    }
}

fn send<T: 'static>(
    mut host: Store<'_, T>,
    ctx: &Ctx,
    kind: EventType,
    event: &str,
    data: PayloadResult,
    options: Option<&str>,
) -> Promise<()> {
    let sent = host.get().send_beside(ctx.rep(), kind, event, data, options);
    promise(host, sent, |()| ())
}

impl<T: 'static> HostContextWithStore<T> for Whole {
    fn call(
        mut host: Store<'_, T>,
        ctx: Ctx,
        action: String,
        params: PayloadResult,
        options: Option<String>,
    ) -> Promise<PayloadResult> {
        let asked = Asked { action: &action, params, options: options.as_deref() };
        let call = host.get().call_beside(ctx.rep(), asked);
        promise(host, call, payload_to_result)
    }

    fn mcall(
        mut host: Store<'_, T>,
        ctx: Ctx,
        calls: String,
        options: Option<String>,
    ) -> Promise<PayloadResult> {
        let calls = host.get().many_beside(ctx.rep(), &calls, options.as_deref());
        promise(host, calls, payload_to_result)
    }

    fn emit(
        host: Store<'_, T>,
        ctx: Ctx,
        event: String,
        data: PayloadResult,
        options: Option<String>,
    ) -> Promise<()> {
        send(host, &ctx, EventType::Emit, &event, data, options.as_deref())
    }

    fn broadcast(
        host: Store<'_, T>,
        ctx: Ctx,
        event: String,
        data: PayloadResult,
        options: Option<String>,
    ) -> Promise<()> {
        send(host, &ctx, EventType::Broadcast, &event, data, options.as_deref())
    }

    fn broadcast_local(
        host: Store<'_, T>,
        ctx: Ctx,
        event: String,
        data: PayloadResult,
        options: Option<String>,
    ) -> Promise<()> {
        send(host, &ctx, EventType::BroadcastLocal, &event, data, options.as_deref())
    }

    fn wait_for_services(
        mut host: Store<'_, T>,
        ctx: Ctx,
        services: Vec<String>,
        timeout: Option<u32>,
    ) -> Promise<()> {
        let state = host.get();
        let waiting = state.services_wait(services, timeout);
        let waited = state.launch(ctx.rep(), Unwanted::Stop, waiting);
        promise(host, waited, |()| ())
    }
}

impl HostContext for State {
    at_once_of_a_context!(GuestEventType);

    fn log(
        &mut self,
        ctx: Ctx,
        level: Level,
        message: String,
        fields: Option<String>,
    ) -> wasmtime::Result<()> {
        let ctx = &self.running(ctx.rep())?.ctx;
        let origin = Origin { request_id: &ctx.request_id, context_id: &ctx.id };
        let fields = fields.as_deref().unwrap_or_default();
        self.environment.log.write(logger::level_of(level), origin, &message, fields);
        Ok(())
    }

    fn respond_stream(&mut self, ctx: Ctx, object_mode: bool) -> Answer<Resource<Writer>> {
        match self.answer_with_stream(ctx.rep(), object_mode) {
            Ok(writer) => Ok(Ok(self.table.push(writer)?)),
            Err(error) => Ok(Err(failure_from(&error))),
        }
    }
}

impl<T: 'static> HostPendingCallWithStore<T> for Whole {
    fn done(mut host: Store<'_, T>, call: Resource<PendingCall>) -> Promise<PayloadResult> {
        let state = host.get();
        let call = state.table.get_mut(&call)?;
        let (handler, done) = (call.handler, call.done());
        let ended = state.handlers.get_mut(handler).map(Running::ended);
        let done = async move {
            let ended = ended?;
            until(&ended, done).await
        };
        promise(host, Ok(done), payload_to_result)
    }
}

impl HostPendingCall for State {
    at_once_of_a_pending_call!();
}

impl Host for State {
    fn own_context(&mut self) -> wasmtime::Result<Ctx> {
        if self.handlers.get(OWN_CONTEXT).is_err() {
            let environment = &self.environment;
            let ctx = ContextBuilder::new(Arc::from("own"), Arc::clone(&environment.node_id))
                .with(|ctx| ctx.service = Arc::clone(&environment.service))
                .build();
            let limits = CallLimits::new(&environment.limits, &Default::default());
            self.handlers.put_own(Running::new(ctx, limits, None));
        }
        Ok(Resource::new_own(OWN_CONTEXT))
    }
}
