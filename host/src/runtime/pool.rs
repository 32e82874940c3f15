//! The instances of one version of a service or middleware, and the calls that they serve.
//!
//! Each instance runs one call at a time. Warm ones are used again, the last one first, so that those which
//! are not needed stay idle and are retired. An instance that failed is dropped and never comes back.
//!
//! One lock guards the instances and is held for a few instructions; nothing is awaited under it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::cacher::Cacher;
use crate::clock::{self, Instant};
use crate::config::limits::{ActionLimits, Grants, Mode};
use crate::config::{Limits, ServiceOptions};
use crate::context::{Caller, Context, ContextBuilder, Outcome};
use crate::error::MoleculerError;
use crate::memory;
use crate::payload::Object;
use crate::runtime::admission::{Admission, Permit, Refusal};
use crate::runtime::deadline::Deadline;
use crate::runtime::environment::{CallLimits, Environment, Parts};
use crate::runtime::instance::Instance;
use crate::runtime::instance::crowd::Handler;
use crate::runtime::serving::Serving;
use crate::runtime::verdict;
use crate::runtime::{Component, Kind, Runtime, Traps};
use crate::schema::Lifecycle;
use crate::task::{self, CancellationToken};

mod fuel;
mod intercept;
mod retire;
mod sharing;
mod trim;

use sharing::Sharing;

/// How a service is run.
#[derive(Clone)]
pub struct PoolOptions {
    /// Full name, such as `v2.posts`, or `$middleware.auth`.
    pub service: Arc<str>,
    /// Limits of the service: the operator's, narrowed by the schema's.
    pub limits: Limits,
    /// What it may do.
    pub grants: Grants,
    /// Settings as the guest sees them.
    pub settings: Object,
    /// Environment variables of the guest.
    pub env: Vec<(String, String)>,
    /// Whether the guest's `started` and `stopped` do anything.
    pub lifecycle: Lifecycle,
    /// The broker.
    pub caller: Weak<dyn Caller>,
    /// The cacher of the node, if it has one.
    pub cacher: Option<Arc<dyn Cacher>>,
}

/// What a component asks for in its schema.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Narrower limits.
    pub limits: &'a ActionLimits,
    /// Another mode than `pooled`.
    pub mode: Option<Mode>,
    /// Its settings, with the operator's over them.
    pub settings: &'a Map<String, Value>,
    /// Whether its `started` and `stopped` do anything.
    pub lifecycle: Lifecycle,
}

impl PoolOptions {
    /// What the operator says, narrowed by what the component asks for, which may be less, never more.
    #[must_use]
    pub fn new(
        service: Arc<str>,
        options: &ServiceOptions,
        wish: Wish<'_>,
        caller: Weak<dyn Caller>,
    ) -> Self {
        let mut limits = options.limits.narrowed(wish.limits);
        limits.mode = Some(agreed(limits.mode, wish.mode));
        Self {
            service,
            limits,
            grants: options.grants.clone(),
            // Settings came from JSON, so they can be written as JSON.
            settings: Object::from_value(wish.settings).unwrap_or_default(),
            env: options.env.clone().into_iter().collect(),
            lifecycle: wish.lifecycle,
            caller,
            cacher: None,
        }
    }
}

/// The mode of the operator, else that of the component; one that asks for the strictest gets it.
fn agreed(set: Option<Mode>, wish: Option<Mode>) -> Mode {
    match wish {
        Some(Mode::Fresh) => Mode::Fresh,
        _ => set.or(wish).unwrap_or_default(),
    }
}

/// An action or event of a service, with the limits of its calls. Made once, used for each call.
#[derive(Clone, Debug)]
pub struct Target {
    key: Arc<str>,
    limits: CallLimits,
}

/// What a pool is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instances that are idle.
    pub idle: usize,
    /// Calls that have an instance.
    pub running: usize,
    /// Calls that wait for an instance.
    pub waiting: usize,
    /// Calls and events since the start, failed ones too.
    pub calls: u64,
    /// Instances that failed: traps, limits, time-outs, abandoned calls.
    pub failed_instances: u64,
    /// Instances made since the start.
    pub made_instances: u64,
    /// Fuel of all calls that ended.
    pub fuel: u64,
}

/// The instances of a service. Cheap to clone; they end with the last clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    component: Component,
    environment: Arc<Environment>,
    lifecycle: Lifecycle,
    /// Limits of `started` and `stopped`.
    own_limits: CallLimits,
    admission: Admission,
    /// The one instance of the mode `shared`.
    sharing: Option<Sharing>,
    slots: Mutex<Slots>,
    /// Calls that wait or run, and instances that are being stopped.
    active: AtomicUsize,
    bursts: trim::Bursts,
    /// Told when `active` has become zero while the pool retires.
    quiet: Notify,
    /// Told when there are more idle instances than are kept.
    surplus: Arc<Notify>,
    /// No instance is kept any more.
    retiring: AtomicBool,
    /// Cancelled when calls are not served any more.
    closed: CancellationToken,
    /// Cancelled when the pool is dropped.
    tasks: CancellationToken,
    counts: Counts,
}

#[derive(Default)]
struct Slots {
    /// The one that was used last is at the end.
    idle: Vec<Idle>,
    /// IDs of the contexts that have an instance.
    running: Vec<Arc<str>>,
}

struct Idle {
    instance: Instance,
    since: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    failed_instances: AtomicU64,
    made_instances: AtomicU64,
    fuel: AtomicU64,
}

/// A call that has an instance.
struct Busy<'a> {
    pool: &'a Pool,
    id: Arc<str>,
    /// `None` while it is being made.
    instance: Option<Instance>,
    /// Put back when this is dropped.
    kept: Option<Instance>,
    permit: Option<Permit<'a>>,
    deadline: Deadline,
    /// Declared last: the pool is quiet only when the permit and instance are back.
    _active: Active<&'a Shared>,
}

/// Something that the pool waits for when it drains.
struct Active<S: std::ops::Deref<Target = Shared>>(S);

impl<S: std::ops::Deref<Target = Shared>> Active<S> {
    fn new(shared: S) -> Self {
        shared.bursts.note(shared.active.fetch_add(1, Ordering::AcqRel) + 1);
        Self(shared)
    }
}

impl<S: std::ops::Deref<Target = Shared>> Drop for Active<S> {
    fn drop(&mut self) {
        if self.0.active.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        self.0.bursts.quiet();
        if self.0.retiring.load(Ordering::Acquire) {
            self.0.quiet.notify_waiters();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("service", &self.0.environment.service)
            .field("stats", &self.stats())
            .finish()
    }
}

impl Pool {
    /// A pool without instances. [`Pool::start`] makes the first ones.
    #[must_use]
    pub fn new(runtime: &Runtime, component: Component, options: PoolOptions) -> Self {
        let node = runtime.options();
        let environment = Environment::new(Parts {
            service: options.service,
            version: component.version(),
            node_id: Arc::clone(&node.node_id),
            namespace: Arc::clone(&node.namespace),
            settings: options.settings,
            env: options.env,
            caller: Some(options.caller),
            cacher: options.cacher,
            grants: &options.grants,
            private: &node.private,
            metrics: &node.metrics,
            core_dumps: runtime.core_dumps(),
            room: runtime.room(),
            limits: options.limits,
        });
        Self(Arc::new(Shared {
            component,
            lifecycle: options.lifecycle,
            own_limits: CallLimits::new(&environment.limits, &ActionLimits::default()),
            admission: Admission::new(&environment.limits),
            sharing: Sharing::new(&environment.limits),
            environment: Arc::new(environment),
            slots: Mutex::default(),
            active: AtomicUsize::new(0),
            bursts: trim::Bursts::default(),
            quiet: Notify::new(),
            surplus: Arc::default(),
            retiring: AtomicBool::new(false),
            closed: CancellationToken::new(),
            tasks: CancellationToken::new(),
            counts: Counts::default(),
        }))
    }

    /// An action (or event) by its key in the schema; `limits` are what the schema says of it.
    #[must_use]
    pub fn target(&self, key: Arc<str>, limits: &ActionLimits) -> Arc<Target> {
        Arc::new(Target { key, limits: CallLimits::new(&self.0.environment.limits, limits) })
    }

    /// Makes the instances that are always kept, at least one, and runs their `started`. Must be called
    /// once, inside a tokio runtime.
    ///
    /// # Errors
    /// What `started` returned, or how the first instance failed.
    pub async fn start(&self) -> Result<(), MoleculerError> {
        let shared = &self.0;
        let instances = shared.environment.limits.instances;
        let fresh = shared.environment.limits.mode == Some(Mode::Fresh);
        if shared.environment.limits.mode == Some(Mode::Shared) {
            return self.start_shared().await;
        }
        let n_first = if fresh { 1 } else { instances.min.clamp(1, instances.max.max(1)) };
        for _ in 0..n_first {
            let deadline = Deadline::new(None, clock::now(), shared.own_limits.timeout);
            let instance = self.make(deadline).await?;
            if fresh {
                self.stop_instance(instance).await;
            } else {
                shared.put_idle(instance);
            }
        }
        let trimming = shared.bursts.follow(memory::give_back);
        task::spawn("pool-trim", &shared.tasks, trimming);
        if !fresh {
            let reaper = retire::retire_idle(Arc::downgrade(shared), Arc::clone(&shared.surplus));
            task::spawn("pool-reaper", &shared.tasks, reaper);
        }
        Ok(())
    }

    /// Runs an action with the params of the context. When it answers with a stream, the future ends with
    /// that, and the handler runs on by itself.
    ///
    /// # Errors
    /// The guest's failure, or the host's error for the way in which it ended (see `error`).
    pub fn call_action(
        &self,
        ctx: Context,
        target: &Arc<Target>,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        self.serve(ctx, None, target)
    }

    /// Runs the fallback of an action: `target` is its key, `cause` the error that it answers for.
    ///
    /// # Errors
    /// As [`Pool::call_action`].
    pub fn call_fallback(
        &self,
        ctx: Context,
        cause: MoleculerError,
        target: &Arc<Target>,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        self.serve(ctx, Some(cause), target)
    }

    fn serve(&self, ctx: Context, cause: Option<MoleculerError>, target: &Arc<Target>) -> Serving {
        let (pool, target, own) = (self.clone(), Arc::clone(target), ctx.clone());
        Serving::new(ctx, Box::pin(async move { pool.run_action(own, cause, &target).await }))
    }

    async fn run_action(
        &self,
        ctx: Context,
        cause: Option<MoleculerError>,
        target: &Target,
    ) -> Outcome {
        if let Some(sharing) = &self.0.sharing {
            return self.share(sharing, Handler::Action, ctx, cause, target).await;
        }
        let mut busy = self.check_out(&ctx, target).await?;
        let deadline = busy.deadline;
        let Some(instance) = &mut busy.instance else { return Err(no_instance()) };
        let closed = &self.0.closed;
        let told = ctx.clone();
        let outcome =
            instance.call_action(ctx, cause, &target.key, &target.limits, deadline, closed).await;
        fuel::tell(&self.0.environment.service, &told, instance.fuel_used());
        busy.check_in();
        outcome
    }

    /// Handles an event with the data of the context.
    ///
    /// # Errors
    /// As [`Pool::call_action`].
    pub async fn handle_event(&self, ctx: Context, target: &Target) -> Result<(), MoleculerError> {
        if let Some(sharing) = &self.0.sharing {
            return self.share(sharing, Handler::Event, ctx, None, target).await.map(|_| ());
        }
        let mut busy = self.check_out(&ctx, target).await?;
        let deadline = busy.deadline;
        let Some(instance) = &mut busy.instance else { return Err(no_instance()) };
        let closed = &self.0.closed;
        let told = ctx.clone();
        let handled =
            instance.handle_event(ctx, &target.key, &target.limits, deadline, closed).await;
        fuel::tell(&self.0.environment.service, &told, instance.fuel_used());
        busy.check_in();
        handled
    }

    /// How often its instances have trapped.
    #[must_use]
    pub fn traps(&self) -> &Arc<Traps> {
        &self.0.environment.traps
    }

    /// What it is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.0;
        let slots = shared.slots.lock();
        Stats {
            idle: slots.idle.len(),
            running: slots.running.len(),
            waiting: shared.admission.waiting(),
            calls: shared.counts.calls.load(Ordering::Relaxed),
            failed_instances: shared.counts.failed_instances.load(Ordering::Relaxed),
            made_instances: shared.counts.made_instances.load(Ordering::Relaxed),
            fuel: shared.counts.fuel.load(Ordering::Relaxed),
        }
    }

    /// Gets an instance for a call: admission, then a warm instance, else a new one.
    async fn check_out(&self, ctx: &Context, target: &Target) -> Result<Busy<'_>, MoleculerError> {
        let shared = &*self.0;
        let active = Active::new(shared);
        let (permit, deadline) = self.admit(ctx, target).await?;
        let warm = shared.take_idle(&ctx.id);
        let mut busy = Busy {
            pool: self,
            id: Arc::clone(&ctx.id),
            instance: warm,
            kept: None,
            permit: Some(permit),
            deadline,
            _active: active,
        };
        if busy.instance.is_none() {
            busy.instance = Some(self.make(deadline).await?);
        }
        Ok(busy)
    }

    /// Counts a call and lets it in, after waiting for its turn.
    async fn admit(
        &self,
        ctx: &Context,
        target: &Target,
    ) -> Result<(Permit<'_>, Deadline), MoleculerError> {
        let shared = &*self.0;
        shared.counts.calls.fetch_add(1, Ordering::Relaxed);
        if shared.closed.is_cancelled() {
            return Err(MoleculerError::service_not_available(&ctx.name, None));
        }
        let timeout = shared.time_for(ctx, target);
        let deadline = Deadline::new(Some(ctx), clock::now(), timeout);
        if let Some(permit) = shared.admission.try_admit() {
            return Ok((permit, deadline));
        }
        let permit = self.wait_for_permit(ctx, deadline).await?;
        // The time in the queue is the caller's, not the service's.
        Ok((permit, Deadline::new(Some(ctx), clock::now(), timeout)))
    }

    async fn wait_for_permit(
        &self,
        ctx: &Context,
        deadline: Deadline,
    ) -> Result<Permit<'_>, MoleculerError> {
        let shared = &*self.0;
        let environment = &*shared.environment;
        let what = match shared.component.kind() {
            Kind::Service => &*ctx.name,
            Kind::Middleware => &*environment.service,
        };
        // An event for which nobody waits has no parent, so it holds up no chain.
        let held = shared.held_by_chain_of(ctx);
        if held >= shared.admission.n_permits() {
            return Err(MoleculerError::self_deadlock(&environment.service, held));
        }
        shared.admission.admit(deadline, &shared.closed).await.map_err(|refusal| match refusal {
            Refusal::Stopped(stop) => verdict::stopped(environment, what, stop),
            Refusal::QueueFull(size) => {
                environment.counters.queue_full.increment();
                let limit = environment.limits.queue;
                MoleculerError::queue_is_full(what, &environment.node_id, size, limit)
            }
        })
    }

    /// Makes an instance and runs its `started`.
    async fn make(&self, deadline: Deadline) -> Result<Instance, MoleculerError> {
        let shared = &*self.0;
        let (environment, limits) = (&shared.environment, &shared.own_limits);
        let closed = &shared.closed;
        let pre = shared.component.pre();
        let mut instance = Instance::new(pre, environment, limits, deadline, closed).await?;
        shared.counts.made_instances.fetch_add(1, Ordering::Relaxed);
        if shared.lifecycle.started {
            let ctx = shared.lifecycle_context("started");
            instance.started(ctx, limits, deadline, closed).await?;
        }
        Ok(instance)
    }
}

impl Shared {
    /// How long a call may run: longer when it has a stream to read.
    fn time_for(&self, ctx: &Context, target: &Target) -> Duration {
        match &ctx.stream {
            Some(_) => self.environment.limits.stream_timeout.max(target.limits.timeout),
            None => target.limits.timeout,
        }
    }

    /// Takes the instance that was used last, and notes who has one.
    fn take_idle(&self, id: &Arc<str>) -> Option<Instance> {
        let mut slots = self.slots.lock();
        slots.running.push(Arc::clone(id));
        slots.idle.pop().map(|idle| idle.instance)
    }

    fn put_idle(&self, instance: Instance) {
        let since = clock::now();
        let mut slots = self.slots.lock();
        slots.idle.push(Idle { instance, since });
    }

    /// How many instances are held by the contexts that wait for this one.
    fn held_by_chain_of(&self, ctx: &Context) -> usize {
        let slots = self.slots.lock();
        let ancestors = std::iter::successors(ctx.parent.as_ref(), |ctx| ctx.parent.as_ref());
        ancestors.filter(|ancestor| slots.running.contains(&ancestor.id)).count()
    }

    /// The root context of a lifecycle function.
    fn lifecycle_context(&self, name: &'static str) -> Context {
        let node_id = Arc::clone(&self.environment.node_id);
        ContextBuilder::new(Arc::from(name), node_id)
            .with(|ctx| ctx.service = Arc::clone(&self.environment.service))
            .build()
    }
}

impl Busy<'_> {
    /// Ends a call: keeps the instance, retires it, or drops it when it failed.
    fn check_in(mut self) {
        let shared = &*self.pool.0;
        let Some(instance) = self.instance.take() else { return };
        shared.counts.fuel.fetch_add(instance.fuel_used(), Ordering::Relaxed);
        if !instance.healthy() {
            self.instance = Some(instance);
        } else if shared.is_worn(&instance) {
            if let Some(permit) = self.permit.take() {
                self.pool.retire(instance, permit);
            }
        } else {
            self.kept = Some(instance);
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let shared = &*self.pool.0;
        if self.instance.is_some() {
            shared.counts.failed_instances.fetch_add(1, Ordering::Relaxed);
        }
        let since = clock::now();
        let mut slots = shared.slots.lock();
        if let Some(at) = slots.running.iter().rposition(|id| Arc::ptr_eq(id, &self.id)) {
            slots.running.swap_remove(at);
        }
        let Some(instance) = self.kept.take() else { return };
        slots.idle.push(Idle { instance, since });
        if slots.idle.len() > shared.environment.limits.instances.min {
            shared.surplus.notify_one();
        }
    }
}

/// The pool lost track of an instance, which its own code excludes.
fn no_instance() -> MoleculerError {
    MoleculerError::internal("the pool has no instance for an admitted call")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_chooses_the_mode_but_a_component_may_be_stricter() {
        let cases = [
            (None, None, Mode::Pooled),
            (None, Some(Mode::Shared), Mode::Shared),
            (Some(Mode::Pooled), Some(Mode::Shared), Mode::Pooled),
            (Some(Mode::Fresh), Some(Mode::Shared), Mode::Fresh),
            (Some(Mode::Shared), Some(Mode::Fresh), Mode::Fresh),
            (Some(Mode::Shared), None, Mode::Shared),
        ];
        for (set, wish, mode) in cases {
            assert_eq!(agreed(set, wish), mode, "{set:?} and {wish:?}");
        }
    }
}
