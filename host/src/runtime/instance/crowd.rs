//! An instance that serves many calls at once: one task owns the store and drives its event loop.
//!
//! Calls come in through a bounded channel. A call that nobody waits for any more is told so through its futures
//! and may unwind; one that does not, and one that computes for too long, ends the instance. From outside
//! [`Instance::serve`] is one future: dropping it ends everything in the instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{Accessor, ComponentNamedList, Lift, Lower, TypedFunc};

use crate::clock::Instant;
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::payload::Payload;
use crate::runtime::accounts::{self, Accounts, Current};
use crate::runtime::bindings::asynchronous::ServiceAsync;
use crate::runtime::bindings::isomer::service::types::{Failure, PayloadResult};
use crate::runtime::deadline::Deadline;
use crate::runtime::environment::CallLimits;
use crate::runtime::failure::{error_from_guest, payload_from_guest, payload_to_result};
use crate::runtime::handlers::{Handle, Running, lend};
use crate::runtime::instance::{Instance, close_request_stream};
use crate::runtime::state::State;
use crate::runtime::verdict::{self, Cause};
use crate::runtime::world::Guest;
use crate::task::CancellationToken;

/// A call that nobody waits for any more may unwind for this long before it counts as computing.
const GRACE: Duration = Duration::from_millis(100);

/// What a call asks the guest for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Handler {
    Action,
    Event,
}

/// A call on its way into the instance.
pub(in crate::runtime) struct Request {
    pub handler: Handler,
    pub ctx: Context,
    /// The error that it answers for, when it is a fallback.
    pub cause: Option<MoleculerError>,
    pub key: Arc<str>,
    pub limits: CallLimits,
    pub deadline: Deadline,
    /// Cancelled when nobody waits for the answer any more.
    pub unwanted: CancellationToken,
    pub answer: oneshot::Sender<Answered>,
    /// What is given back when the guest is done with it, whether somebody waits or not.
    pub place: Box<dyn std::any::Any + Send + Sync>,
}

/// An outcome with the fuel that it has cost.
pub(in crate::runtime) type Answered = (Outcome, u64);

/// The calls that are in the instance, for whoever watches over it from outside. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::runtime) struct Crowd {
    members: Arc<Mutex<HashMap<Handle, Member>>>,
    current: Current,
}

/// One call in the instance.
struct Member {
    name: Arc<str>,
    limits: CallLimits,
    unwanted: CancellationToken,
    /// Since when nobody waits for it, and when to look again.
    lingers: Option<(Instant, Instant)>,
    answer: oneshot::Sender<Answered>,
}

impl Crowd {
    /// When to look again after calls that nobody waits for; `None` while there are none.
    pub(in crate::runtime) fn next_look(&self, now: Instant) -> Option<Instant> {
        let mut members = self.members.lock();
        let unwanted = members.values_mut().filter(|member| member.unwanted.is_cancelled());
        unwanted.map(|member| member.lingers.get_or_insert((now, now + GRACE)).1).min()
    }

    /// A call that did not end although nobody waits for it: it computes, or it has had its time once more.
    pub(in crate::runtime) fn overdue(&self, now: Instant, linger: Duration) -> Option<Handle> {
        let current = self.current.get();
        let mut members = self.members.lock();
        members.iter_mut().find_map(|(handle, member)| {
            let (since, next) = member.lingers.as_mut()?;
            if now < *next {
                return None;
            }
            *next = now + GRACE;
            (current == Some(*handle) || now.saturating_duration_since(*since) >= linger)
                .then_some(*handle)
        })
    }

    /// The call that the guest ran for when it trapped.
    pub(in crate::runtime) fn culprit(&self) -> Option<Handle> {
        self.current.at_the_end()
    }

    /// The name and limits of a call.
    pub(in crate::runtime) fn get(&self, handle: Handle) -> Option<(Arc<str>, CallLimits)> {
        let members = self.members.lock();
        members.get(&handle).map(|member| (Arc::clone(&member.name), member.limits))
    }

    /// Answers all calls of an instance that has ended: the one that ended it with its own error.
    pub(in crate::runtime) fn end(
        &self,
        culprit: Option<Handle>,
        own: &MoleculerError,
        others: &MoleculerError,
    ) {
        for (handle, member) in std::mem::take(&mut *self.members.lock()) {
            let error = if Some(handle) == culprit { own } else { others };
            // Who has given up does not listen.
            let _ = member.answer.send((Err(error.clone()), 0));
        }
    }

    fn answer(&self, handle: Handle, outcome: Outcome, fuel: u64) {
        let member = self.members.lock().remove(&handle);
        if let Some(member) = member {
            let _ = member.answer.send((outcome, fuel));
        }
    }
}

impl Instance {
    /// Serves calls until the channel is closed and empty, or `quit` is cancelled; an error is a trap, after
    /// which the instance cannot be used any more.
    pub(in crate::runtime) async fn serve(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        crowd: &Crowd,
        limits: &CallLimits,
        quit: &CancellationToken,
    ) -> wasmtime::Result<()> {
        let Guest::ServiceAsync(guest) = &self.guest else {
            return Err(wasmtime::Error::msg("only service-async can be shared"));
        };
        self.healthy = false;
        self.store.data_mut().accounts = Some(Accounts::new(limits, crowd.current.clone()));
        self.store.call_hook(accounts::hook);
        let served = self
            .store
            .run_concurrent(async |accessor| drive(accessor, guest, requests, crowd, quit).await)
            .await;
        served??;
        self.healthy = true;
        Ok(())
    }

    /// Why the instance ended, as the error of the call that ended it.
    pub(in crate::runtime) fn verdict(
        &mut self,
        limits: &CallLimits,
        what: &str,
        cause: Cause,
    ) -> MoleculerError {
        verdict::error(&mut self.store, limits, what, cause)
    }
}

async fn drive(
    accessor: &Accessor<State>,
    guest: &ServiceAsync,
    requests: &mut mpsc::Receiver<Request>,
    crowd: &Crowd,
    quit: &CancellationToken,
) -> wasmtime::Result<()> {
    let mut calls = FuturesUnordered::new();
    let background = guest.isomer_service_handler_async().func_background();
    let mut background = std::pin::pin!(background.call_concurrent(accessor, ()));
    let mut in_background = true;
    loop {
        tokio::select! {
            biased;
            Some(ended) = calls.next() => ended?,
            request = requests.recv() => match request {
                Some(request) => calls.push(serve_one(accessor, guest, crowd, request)),
                None => return Ok(()),
            },
            ended = &mut background, if in_background => {
                in_background = false;
                ended?;
            }
            () = quit.cancelled() => return Ok(()),
        }
    }
}

/// Runs one call to its end. An error is a trap.
async fn serve_one(
    accessor: &Accessor<State>,
    guest: &ServiceAsync,
    crowd: &Crowd,
    request: Request,
) -> wasmtime::Result<()> {
    let Request { handler, ctx, cause, key, limits, deadline, unwanted, answer, place } = request;
    if unwanted.is_cancelled() {
        return Ok(());
    }
    let until = Some(deadline.at());
    let mut running = Running::watched(ctx.clone(), limits, until, unwanted.clone());
    (running.action, running.cause) = (handler == Handler::Action, cause);
    let params = payload_to_result(ctx.params().clone());
    let handle = accessor.with(|mut access| access.get().handlers.begin(running));
    let member = Member { name: Arc::clone(&ctx.name), limits, unwanted, lingers: None, answer };
    crowd.members.lock().insert(handle, member);
    let exports = guest.isomer_service_handler_async();
    let args = (lend(handle), String::from(&*key), params);
    let (outcome, left) = match handler {
        Handler::Action => {
            let function = exports.func_call_action();
            let (result, left) = run(accessor, function, args, handle, limits.fuel).await?;
            (outcome_of(result, &ctx, &limits), left)
        }
        Handler::Event => {
            let function = exports.func_handle_event();
            let (result, left) = run(accessor, function, args, handle, limits.fuel).await?;
            (result.map(|()| Payload::Absent).map_err(error_from_guest), left)
        }
    };
    accessor.with(|mut access| {
        let state = access.get();
        state.streams.close(handle, outcome.as_ref().err());
        state.output.flush();
        let too_large = |error: &MoleculerError| error.kind() == "PAYLOAD_TOO_LARGE";
        if outcome.as_ref().is_err_and(too_large) {
            state.environment.counters.payload_too_large.increment();
        }
    });
    close_request_stream(&ctx);
    drop(place);
    crowd.answer(handle, outcome, limits.fuel.saturating_sub(left));
    Ok(())
}

/// Runs one function of the guest on the account of a handler, and ends that; says how much fuel is left.
async fn run<P, R>(
    accessor: &Accessor<State>,
    function: TypedFunc<P, (R,)>,
    args: P,
    handle: Handle,
    fuel: u64,
) -> wasmtime::Result<(R, u64)>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: Lift + Send + Sync + 'static,
    (R,): ComponentNamedList + Lift,
{
    let (call, task) = accessor.with(|mut access| -> wasmtime::Result<_> {
        let call = function.start_call_concurrent(&mut access, args)?;
        let task = call.task();
        if let Some(accounts) = &mut access.get().accounts {
            accounts.open(task, handle, fuel);
        }
        Ok((call, task))
    })?;
    let (result,) = function.finish_call_concurrent(accessor, call).await?;
    let left = accessor.with(|mut access| {
        let state = access.get();
        state.handlers.end(handle);
        state.accounts.as_mut().map_or(0, |accounts| accounts.close(task, handle))
    });
    Ok((result, left))
}

fn outcome_of(
    result: Result<PayloadResult, Failure>,
    ctx: &Context,
    limits: &CallLimits,
) -> Outcome {
    match result {
        // The caller has its answer.
        Ok(_) if ctx.answered_at().is_some() => Ok(Payload::Absent),
        Ok(result) => payload_from_guest("result", result, limits.payload),
        Err(failure) => Err(error_from_guest(failure)),
    }
}
