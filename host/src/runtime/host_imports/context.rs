//! The resources `context` and `pending-call`: fields of the running call, and calls made from it.
//!
//! A call gets the running context as its parent here; a guest cannot choose another.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Resource;

use crate::clock;
use crate::context::{CallOptions, EventType, Outcome};
use crate::error::MoleculerError;
use crate::payload::{Object, Payload};
use crate::runtime::bindings::isomer::service::broker::{
    EventType as GuestEventType, Host, HostContext, HostPendingCall,
};
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::environment::Permission;
use crate::runtime::failure::{
    check_len, failure_from, object_from_guest, outcome_to_guest, payload_from_guest,
};
use crate::runtime::handlers::{Handle, OWN_CONTEXT};
use crate::runtime::host_imports::Answer;
use crate::runtime::host_imports::at_once::{at_once_of_a_context, at_once_of_a_pending_call};
use crate::runtime::host_imports::events;
use crate::runtime::host_imports::{many_calls, options};
use crate::runtime::pending_call::{PendingCall, beside};
use crate::runtime::state::{CurrentContext, State};
use crate::runtime::streams::{Reader, Writer, without_stream};

type Ctx = Resource<CurrentContext>;
/// Most handles that `wait-any` takes at once is the handle limit, so this needs no bound of its own.
type Handles = Vec<Resource<PendingCall>>;

/// A call as a guest asks for it.
pub(super) struct Asked<'a> {
    pub action: &'a str,
    pub params: PayloadResult,
    pub options: Option<&'a str>,
}

impl State {
    /// Checks a call of a handler and makes it a future. It does not run before it is polled. One of the
    /// service's own context is the root of a chain.
    pub(super) fn prepare_call(
        &self,
        ctx: Handle,
        action: &str,
        params: PayloadResult,
        call_options: CallOptions,
    ) -> Result<impl Future<Output = Outcome> + Send + use<>, MoleculerError> {
        let running = self.handlers.get(ctx)?;
        self.environment.permit(Permission::Call, action)?;
        let payload_len_max = running.limits.payload;
        let params = match payload_from_guest("params", params, payload_len_max)? {
            Payload::Absent => Payload::empty_object(),
            params => params,
        };
        let Some(caller) = self.environment.caller() else {
            return Err(MoleculerError::service_not_available(action, None));
        };
        let mut call_options = call_options;
        if ctx == OWN_CONTEXT {
            call_options.caller = Some(Arc::clone(&self.environment.service));
        } else {
            call_options.parent = Some(running.ctx.clone());
        }
        let call = caller.call(action, params, call_options);
        Ok(async move {
            let payload = call.await?;
            check_len("result of the call", payload.len(), payload_len_max)?;
            Ok(payload)
        })
    }

    pub(super) fn start(
        &self,
        ctx: Handle,
        action: &str,
        params: PayloadResult,
        call_options: CallOptions,
    ) -> Result<PendingCall, MoleculerError> {
        let permit = self.permit_call(ctx, action)?;
        let call = self.prepare_call(ctx, action, params, call_options)?;
        Ok(PendingCall::start(ctx, permit, call))
    }

    /// Counts a call as in flight.
    pub(super) fn permit_call(
        &self,
        ctx: Handle,
        action: &str,
    ) -> Result<OwnedSemaphorePermit, MoleculerError> {
        let calls = Arc::clone(self.handlers.calls(ctx)?);
        calls.try_acquire_owned().map_err(|_| self.too_many_calls(action))
    }

    /// The error for one call too many in flight.
    pub(super) fn too_many_calls(&self, action: &str) -> MoleculerError {
        self.environment.counters.queue_full.increment();
        let limit = self.environment.limits.calls_in_flight;
        MoleculerError::queue_is_full(action, &self.environment.node_id, limit, limit)
    }

    async fn call_and_wait(&mut self, ctx: Handle, asked: Asked<'_>) -> Outcome {
        let call_options = options::call_options(asked.options, self.environment.limits.meta)?;
        let _permit = self.permit_call(ctx, asked.action)?;
        let call = self.prepare_call(ctx, asked.action, asked.params, call_options)?;
        without_stream(beside(call).await)
    }

    /// What `wait-for-services` waits for.
    pub(super) fn services_wait(
        &self,
        services: Vec<String>,
        timeout: Option<u32>,
    ) -> impl Future<Output = Result<(), MoleculerError>> + Send + use<> {
        let timeout = timeout.map(|ms| Duration::from_millis(ms.into()));
        let waiting = match self.environment.caller() {
            Some(caller) => Ok(caller.wait_for_services(services, timeout)),
            None => Err(MoleculerError::wait_for_services(&services.join(", "))),
        };
        async move { waiting?.await }
    }

    pub(super) fn add_meta(&self, ctx: Handle, object: String) -> Answer<()> {
        let ctx = &self.running(ctx)?.ctx;
        Ok(self
            .mergeable("meta", &ctx.meta(), object)
            .map(|object| ctx.merge_meta(&object))
            .map_err(|error| failure_from(&error)))
    }

    pub(super) fn add_response_headers(&self, ctx: Handle, object: String) -> Answer<()> {
        let ctx = &self.running(ctx)?.ctx;
        Ok(self
            .mergeable("response headers", &ctx.response_headers(), object)
            .map(|object| ctx.merge_response_headers(&object))
            .map_err(|error| failure_from(&error)))
    }

    /// Starts a call for the guest; one that cannot be started has failed.
    pub(super) fn start_asked(&self, ctx: Handle, asked: Asked<'_>) -> PendingCall {
        options::call_options(asked.options, self.environment.limits.meta)
            .and_then(|options| self.start(ctx, asked.action, asked.params, options))
            .unwrap_or_else(|error| PendingCall::failed(ctx, error))
    }

    async fn send(
        &mut self,
        ctx: &Ctx,
        kind: EventType,
        event: &str,
        data: PayloadResult,
        options: Option<&str>,
    ) -> Result<(), Failure> {
        let sent = match events::prepare(self, ctx.rep(), kind, event, data, options) {
            Ok(sending) => beside(sending).await,
            Err(error) => Err(error),
        };
        sent.map_err(|error| failure_from(&error))
    }

    /// Checks an object against the limit that it has after merging into `base`.
    fn mergeable(&self, what: &str, base: &Object, text: String) -> Result<Object, MoleculerError> {
        let len_max = self.environment.limits.meta;
        let object = object_from_guest(what, text, len_max)?;
        check_len(what, base.merged(&object).len(), len_max)?;
        Ok(object)
    }
}

impl HostContext for State {
    at_once_of_a_context!(GuestEventType);

    async fn call(
        &mut self,
        ctx: Ctx,
        action: String,
        params: PayloadResult,
        options: Option<String>,
    ) -> Answer<PayloadResult> {
        let asked = Asked { action: &action, params, options: options.as_deref() };
        Ok(outcome_to_guest(self.call_and_wait(ctx.rep(), asked).await))
    }

    async fn respond_stream(&mut self, ctx: Ctx, object_mode: bool) -> Answer<Resource<Writer>> {
        match self.answer_with_stream(ctx.rep(), object_mode) {
            Ok(writer) => {
                let writer = self.table.push(writer)?;
                // The guest gives way once, so that its caller gets the stream before anything is written.
                tokio::task::yield_now().await;
                Ok(Ok(writer))
            }
            Err(error) => Ok(Err(failure_from(&error))),
        }
    }

    async fn mcall(
        &mut self,
        ctx: Ctx,
        calls: String,
        options: Option<String>,
    ) -> Answer<PayloadResult> {
        let outcome = match many_calls::prepare(self, ctx.rep(), &calls, options.as_deref()) {
            Ok(calls) => calls.await,
            Err(error) => Err(error),
        };
        Ok(outcome_to_guest(outcome))
    }

    async fn emit(
        &mut self,
        ctx: Ctx,
        event: String,
        data: PayloadResult,
        options: Option<String>,
    ) -> Answer<()> {
        Ok(self.send(&ctx, EventType::Emit, &event, data, options.as_deref()).await)
    }

    async fn broadcast(
        &mut self,
        ctx: Ctx,
        event: String,
        data: PayloadResult,
        options: Option<String>,
    ) -> Answer<()> {
        Ok(self.send(&ctx, EventType::Broadcast, &event, data, options.as_deref()).await)
    }

    async fn broadcast_local(
        &mut self,
        ctx: Ctx,
        event: String,
        data: PayloadResult,
        options: Option<String>,
    ) -> Answer<()> {
        Ok(self.send(&ctx, EventType::BroadcastLocal, &event, data, options.as_deref()).await)
    }

    async fn wait_for_services(
        &mut self,
        ctx: Ctx,
        services: Vec<String>,
        timeout: Option<u32>,
    ) -> Answer<()> {
        self.running(ctx.rep())?;
        let waited = beside(self.services_wait(services, timeout)).await;
        Ok(waited.map_err(|error| failure_from(&error)))
    }
}

impl HostPendingCall for State {
    fn take(
        &mut self,
        call: Resource<PendingCall>,
    ) -> wasmtime::Result<Option<Result<PayloadResult, Failure>>> {
        Ok(self.table.get_mut(&call)?.take().map(outcome_to_guest))
    }

    at_once_of_a_pending_call!();
}

impl Host for State {
    async fn wait_any(&mut self, calls: Handles) -> wasmtime::Result<Option<u32>> {
        if calls.is_empty() {
            return Ok(None);
        }
        poll_fn(|cx| {
            for (index, call) in (0_u32..).zip(&calls) {
                if self.table.get_mut(call)?.poll_done(cx).is_ready() {
                    return Poll::Ready(Ok(Some(index)));
                }
            }
            Poll::Pending
        })
        .await
    }
}
