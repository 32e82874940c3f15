//! The hooks of a middleware in an instance, and its values in the host's form and back.

use std::sync::Arc;

use wasmtime::Store;

use crate::context::Context;
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::bindings::isomer::service::types::{self, PayloadResult};
use crate::runtime::bindings::middleware::exports::isomer::service::interceptor::{
    self, Decision as GuestDecision, Delivery,
};
use crate::runtime::bindings::middleware::isomer::service::types::{
    Failure, Payload as GuestPayload,
};
use crate::runtime::deadline::{Deadline, within};
use crate::runtime::environment::CallLimits;
use crate::runtime::failure::{error_from_guest, failure_from, payload_from_guest};
use crate::runtime::handlers::{FIRST_HANDLER, Running, lend};
use crate::runtime::instance::{Instance, after, check_payload};
use crate::runtime::state::State;
use crate::task::CancellationToken;

/// What a middleware is asked about.
#[derive(Clone, Copy, Debug)]
pub enum Stage<'a> {
    /// The action of the context, before it runs.
    BeforeCall,
    /// Its result.
    AfterCall(&'a Payload),
    /// Its error.
    OnError(&'a MoleculerError),
    /// The event of the context, before it is handled.
    BeforeEvent,
}

/// What a middleware decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Nothing changes: params, result or data stay as they are.
    Proceed,
    /// This stands in the place of params, result or data.
    ProceedWith(Payload),
    /// This is the caller's result; the action is not run, or its error is forgotten.
    Answer(Payload),
    /// The event is not handled.
    Skip,
}

/// A decision with a payload that has not been checked yet.
enum Unchecked {
    Proceed,
    ProceedWith(GuestPayload),
    Answer(GuestPayload),
    Skip,
}

/// What a hook ends with; the outer error is a trap.
type Ended = wasmtime::Result<Result<Unchecked, Failure>>;

impl Instance {
    /// Runs one hook with what the context holds.
    pub(in crate::runtime) async fn intercept(
        &mut self,
        ctx: Context,
        stage: Stage<'_>,
        limits: &CallLimits,
        deadline: Deadline,
        closed: &CancellationToken,
    ) -> Result<Decision, MoleculerError> {
        self.guest.interceptor()?;
        let params = check_payload("params", &ctx, limits, &self.store.data().environment)?;
        let name = Arc::clone(&ctx.name);
        let armed = self.begin(Running::new(ctx, *limits, Some(deadline.at())));
        let hooks = self.guest.interceptor()?;
        let call = Box::pin(run(hooks, &mut self.store, &name, &params, stage));
        let ended = within(deadline, closed, after(armed, call)).await;
        // A hook that ends badly is told from the action that it stands before.
        let what = Arc::clone(&self.store.data().environment.service);
        let unchecked = self.settle(&what, limits, ended)?.map_err(error_from_middleware)?;
        let checked = |payload| payload_from_guest("decision", from_guest(payload), limits.payload);
        Ok(match unchecked {
            Unchecked::Proceed => Decision::Proceed,
            Unchecked::ProceedWith(payload) => Decision::ProceedWith(checked(payload)?),
            Unchecked::Answer(payload) => Decision::Answer(checked(payload)?),
            Unchecked::Skip => Decision::Skip,
        })
    }
}

async fn run(
    hooks: &interceptor::Guest,
    store: &mut Store<State>,
    name: &str,
    params: &Payload,
    stage: Stage<'_>,
) -> Ended {
    let ctx = lend(FIRST_HANDLER);
    Ok(match stage {
        Stage::BeforeCall => hooks
            .call_before_call(store, ctx, name, &to_guest(params))
            .await?
            .map(|decision| match decision {
                GuestDecision::Proceed => Unchecked::Proceed,
                GuestDecision::ProceedWith(params) => Unchecked::ProceedWith(params),
                GuestDecision::Answer(result) => Unchecked::Answer(result),
            }),
        Stage::AfterCall(result) => hooks
            .call_after_call(store, ctx, name, &to_guest(result))
            .await?
            .map(|changed| changed.map_or(Unchecked::Proceed, Unchecked::ProceedWith)),
        Stage::OnError(error) => hooks
            .call_on_error(store, ctx, name, &failure_to_middleware(error))
            .await?
            .map(Unchecked::Answer),
        Stage::BeforeEvent => hooks
            .call_before_event(store, ctx, name, &to_guest(params))
            .await?
            .map(|delivery| match delivery {
                Delivery::Deliver => Unchecked::Proceed,
                Delivery::DeliverWith(data) => Unchecked::ProceedWith(data),
                Delivery::Skip => Unchecked::Skip,
            }),
    })
}

fn to_guest(payload: &Payload) -> GuestPayload {
    match payload {
        Payload::Absent | Payload::Stream(_) => GuestPayload::Absent,
        Payload::Json(text) => GuestPayload::Json(String::from(&**text)),
        Payload::Bytes(bytes) => GuestPayload::Bytes(bytes.to_vec()),
    }
}

fn from_guest(payload: GuestPayload) -> PayloadResult {
    match payload {
        GuestPayload::Absent => PayloadResult::Absent,
        GuestPayload::Json(text) => PayloadResult::Json(text),
        GuestPayload::Bytes(bytes) => PayloadResult::Bytes(bytes),
    }
}

fn failure_to_middleware(error: &MoleculerError) -> Failure {
    let types::Failure { name, message, code, type_, retryable, data, stack, extra } =
        failure_from(error);
    Failure { name, message, code, type_, retryable, data, stack, extra }
}

/// The error that a middleware returned.
pub(in crate::runtime) fn error_from_middleware(failure: Failure) -> MoleculerError {
    let Failure { name, message, code, type_, retryable, data, stack, extra } = failure;
    error_from_guest(types::Failure { name, message, code, type_, retryable, data, stack, extra })
}
