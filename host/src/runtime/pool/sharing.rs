//! Mode `shared`: one instance for all calls of a service, and the task that keeps it alive.
//!
//! The task owns the instance. When it ends (a trap, a limit, a call that does not stop), the call that ended it
//! gets its own error and all others one that can be retried; then a new one is made, with pauses that grow
//! while it keeps ending. Calls that come meanwhile wait in the channel, which is as long as the admission lets
//! calls in, until their own deadlines.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::backoff;
use crate::clock;
use crate::config::{Limits, Mode};
use crate::context::{Context, Outcome};
use crate::error::MoleculerError;
use crate::runtime::World;
use crate::runtime::deadline::{Deadline, Stop, within_answer};
use crate::runtime::instance::crowd::{Crowd, Handler, Request};
use crate::runtime::instance::{Instance, check_payload};
use crate::runtime::pool::{Active, Pool, Shared, Target, fuel};
use crate::runtime::verdict::{self, Cause};
use crate::task::{self, CancellationToken};

/// Longest pause before a new instance is made.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// An instance that lived for so long was well: after it, the pauses begin anew.
const CALM: Duration = Duration::from_secs(10);

/// The way to the one instance.
pub(super) struct Sharing {
    requests: mpsc::Sender<Request>,
    inbox: Mutex<Option<mpsc::Receiver<Request>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Told when somebody does not wait for a call any more.
    unwanted: Arc<Notify>,
    quit: CancellationToken,
}

/// Gives the place of a call back when the guest is done with it.
struct Place {
    shared: Arc<Shared>,
    id: Arc<str>,
}

impl Place {
    fn take(shared: &Arc<Shared>, id: &Arc<str>) -> Self {
        shared.slots.lock().running.push(Arc::clone(id));
        Self { shared: Arc::clone(shared), id: Arc::clone(id) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut slots = self.shared.slots.lock();
        if let Some(at) = slots.running.iter().rposition(|id| Arc::ptr_eq(id, &self.id)) {
            slots.running.swap_remove(at);
        }
        drop(slots);
        self.shared.admission.give_back();
    }
}

/// Says that nobody waits any more when it is dropped.
struct Waiting {
    token: CancellationToken,
    notify: Arc<Notify>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.token.cancel();
        self.notify.notify_one();
    }
}

impl Sharing {
    /// `None` when the mode is another one.
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        if limits.mode != Some(Mode::Shared) {
            return None;
        }
        let (requests, inbox) = mpsc::channel(limits.instances.concurrency.max(1));
        Some(Self {
            requests,
            inbox: Mutex::new(Some(inbox)),
            keeper: Mutex::default(),
            unwanted: Arc::default(),
            quit: CancellationToken::new(),
        })
    }

    /// Ends the instance in good health, if it does so in time.
    pub(super) async fn stop(&self, timeout: Duration) {
        self.quit.cancel();
        let keeper = self.keeper.lock().take();
        if let Some(keeper) = keeper {
            // What is left is dropped with the pool.
            let _ = tokio::time::timeout(timeout, keeper).await;
        }
    }
}

impl Pool {
    /// Makes the one instance, and starts the task that keeps it.
    pub(super) async fn start_shared(&self) -> Result<(), MoleculerError> {
        let shared = &self.0;
        let (Some(sharing), World::ServiceAsync) = (&shared.sharing, shared.component.world())
        else {
            let message = format!(
                "Service '{}' cannot run in mode 'shared': its component targets the world '{}', and only \
                 'service-async' can serve many calls at once. Build it for that world, or set mode to \
                 'pooled' with instances.max = 1.",
                shared.environment.service,
                shared.component.world().name()
            );
            return Err(MoleculerError::server("MODE_NOT_POSSIBLE", message));
        };
        let deadline = Deadline::new(None, clock::now(), shared.own_limits.timeout);
        let instance = self.make(deadline).await?;
        let Some(inbox) = sharing.inbox.lock().take() else {
            return Err(MoleculerError::internal("a pool is started once"));
        };
        let keeper = Keeper {
            pool: Arc::downgrade(shared),
            unwanted: Arc::clone(&sharing.unwanted),
            quit: sharing.quit.clone(),
            linger: shared.own_limits.timeout,
            inbox,
        };
        let task = task::spawn("shared-instance", &shared.tasks, keeper.keep(instance));
        *sharing.keeper.lock() = Some(task);
        Ok(())
    }

    /// Runs a call in the one instance.
    pub(super) async fn share(
        &self,
        sharing: &Sharing,
        handler: Handler,
        ctx: Context,
        cause: Option<MoleculerError>,
        target: &Target,
    ) -> Outcome {
        let shared = &self.0;
        let environment = &*shared.environment;
        let _active = Active::new(&**shared);
        let (permit, deadline) = self.admit(&ctx, target).await?;
        let what = if handler == Handler::Action { "params" } else { "data" };
        check_payload(what, &ctx, &target.limits, environment)?;
        permit.forget();
        let place = Place::take(shared, &ctx.id);
        let token = CancellationToken::new();
        let waiting = Waiting { token: token.clone(), notify: Arc::clone(&sharing.unwanted) };
        let (answer, answered) = oneshot::channel();
        let request = Request {
            handler,
            ctx: ctx.clone(),
            cause,
            key: Arc::clone(&target.key),
            limits: target.limits,
            deadline,
            unwanted: token,
            answer,
            place: Box::new(place),
        };
        // There is room for all that are admitted; it is closed when the service has ended.
        if sharing.requests.try_send(request).is_err() {
            return Err(MoleculerError::service_not_available(&ctx.name, None));
        }
        let streaming = environment.limits.stream_timeout;
        let ended = within_answer(&ctx, deadline, streaming, &shared.closed, answered).await;
        drop(waiting);
        match ended {
            Ok(Ok((outcome, fuel))) => {
                shared.counts.fuel.fetch_add(fuel, Ordering::Relaxed);
                environment.counters.fuel.add(i64::try_from(fuel).unwrap_or(i64::MAX));
                fuel::tell(&environment.service, &ctx, fuel);
                outcome
            }
            Ok(Err(_)) => Err(MoleculerError::request_rejected(&ctx.name, &environment.node_id)),
            Err(stop) => Err(verdict::stopped(environment, &ctx.name, stop)),
        }
    }
}

/// The task that keeps the one instance.
struct Keeper {
    pool: Weak<Shared>,
    unwanted: Arc<Notify>,
    quit: CancellationToken,
    /// How long a call may go on after nobody waits for it any more.
    linger: Duration,
    inbox: mpsc::Receiver<Request>,
}

impl Keeper {
    /// Serves with this instance and the ones that follow it, until the pool ends.
    async fn keep(mut self, first: Instance) {
        let mut instance = first;
        let mut n_failures = 0;
        loop {
            let began = clock::now();
            if self.serve(&mut instance).await {
                if let Some(shared) = self.pool.upgrade() {
                    Pool(shared).stop_instance(instance).await;
                }
                return;
            }
            drop(instance);
            n_failures = if began.elapsed() >= CALM { 0 } else { n_failures };
            match self.make(&mut n_failures).await {
                Some(made) => instance = made,
                None => return,
            }
        }
    }

    /// Serves until the instance ends; true when it is in good health.
    async fn serve(&mut self, instance: &mut Instance) -> bool {
        let crowd = Crowd::default();
        let Some(limits) = self.pool.upgrade().map(|shared| shared.own_limits) else { return true };
        let cause = {
            let mut served = Box::pin(instance.serve(&mut self.inbox, &crowd, &limits, &self.quit));
            loop {
                let next = crowd.next_look(clock::now());
                tokio::select! {
                    biased;
                    ended = &mut served => match ended {
                        Ok(()) => break None,
                        Err(error) => break Some((Cause::Ended(error), crowd.culprit())),
                    },
                    () = self.unwanted.notified() => {}
                    () = until(next) => {
                        if let Some(handle) = crowd.overdue(clock::now(), self.linger) {
                            break Some((Cause::Stopped(Stop::Service), Some(handle)));
                        }
                    }
                }
            }
        };
        let Some((cause, culprit)) = cause else { return true };
        let known = culprit.and_then(|handle| crowd.get(handle));
        let (name, limits) = known.unwrap_or_else(|| (Arc::from("background"), limits));
        let error = instance.verdict(&limits, &name, cause);
        if let Some(shared) = self.pool.upgrade() {
            shared.counts.failed_instances.fetch_add(1, Ordering::Relaxed);
            let service = &*shared.environment.service;
            tracing::warn!(service, call = &*name, %error, "the shared instance ended; a new one is made");
            let lost = MoleculerError::instance_lost(service, &error.to_string());
            crowd.end(culprit, &error, &lost);
        }
        false
    }

    /// Makes the next instance; `None` when the pool ends before.
    async fn make(&self, n_failures: &mut u32) -> Option<Instance> {
        loop {
            let pause = backoff::delay(*n_failures, PAUSE_MAX);
            *n_failures = n_failures.saturating_add(1);
            self.quit.run_until_cancelled(tokio::time::sleep(pause)).await?;
            let pool = Pool(self.pool.upgrade()?);
            let deadline = Deadline::new(None, clock::now(), pool.0.own_limits.timeout);
            match self.quit.run_until_cancelled(pool.make(deadline)).await? {
                Ok(instance) => return Some(instance),
                Err(error) => {
                    let service = &*pool.0.environment.service;
                    tracing::warn!(service, %error, "the shared instance does not start; it is tried again");
                }
            }
        }
    }
}

/// Waits for a moment, or for ever.
async fn until(moment: Option<clock::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
