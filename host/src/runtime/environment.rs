//! What all instances of one service share: its name, limits, grants, settings and way to the broker.
//!
//! It is made once per version of a service and never changes.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use crate::cacher::Cacher;
use crate::config::Grants;
use crate::config::limits::{ActionLimits, Limits};
use crate::context::Caller;
use crate::error::MoleculerError;
use crate::memory::room::Room;
use crate::metrics::{Metric, MetricRegistry};
use crate::payload::Object;
use crate::runtime::cache_grant::CacheGrant;
use crate::runtime::core_dump::CoreDumps;
use crate::runtime::log_sink::LogSink;
use crate::runtime::reach::Reach;
use crate::runtime::{Traps, streams};
use crate::schema::Pattern;

/// Where a service runs and what it may do.
pub(super) struct Environment {
    /// Full name, such as `v2.posts`.
    pub service: Arc<str>,
    /// The beginning of the SHA-256 of its component.
    pub version: Arc<str>,
    pub node_id: Arc<str>,
    pub namespace: Arc<str>,
    pub limits: Limits,
    pub settings: Object,
    pub env: Vec<(String, String)>,
    pub log: Arc<LogSink>,
    pub counters: Counters,
    /// Where its core dumps go, if anywhere.
    pub core_dumps: Option<Arc<CoreDumps>>,
    /// What all guests of the node share.
    pub room: Arc<Room>,
    /// Traps of this version.
    pub traps: Arc<Traps>,
    /// Where values are kept; `None` when the node has no cacher.
    pub cacher: Option<Arc<dyn Cacher>>,
    pub cache_grant: CacheGrant,
    /// What it reaches of the machine.
    pub reach: Reach,
    caller: Option<WeakCaller>,
    call_grant: Option<Vec<Pattern>>,
    emit_grant: Option<Vec<Pattern>>,
}

/// The parts that a caller of the runtime decides.
pub(super) struct Parts<'a> {
    pub service: Arc<str>,
    pub version: Arc<str>,
    pub node_id: Arc<str>,
    pub namespace: Arc<str>,
    pub limits: Limits,
    pub settings: Object,
    pub env: Vec<(String, String)>,
    pub caller: Option<Weak<dyn Caller>>,
    pub cacher: Option<Arc<dyn Cacher>>,
    pub grants: &'a Grants,
    /// What no guest may see.
    pub private: &'a [PathBuf],
    pub metrics: &'a MetricRegistry,
    pub core_dumps: Option<Arc<CoreDumps>>,
    pub room: Arc<Room>,
}

/// A broker that may be gone.
struct WeakCaller(Weak<dyn Caller>);

impl std::fmt::Debug for WeakCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakCaller")
    }
}

/// One number for each way in which a guest can end badly.
#[derive(Clone, Debug)]
pub(super) struct Counters {
    pub trapped: Metric,
    pub fuel_exhausted: Metric,
    pub timed_out: Metric,
    pub memory_limit: Metric,
    pub node_memory: Metric,
    pub payload_too_large: Metric,
    pub queue_full: Metric,
    pub permission_denied: Metric,
    pub instances: Metric,
    pub fuel: Metric,
    pub spans_refused: Metric,
    pub http_requests: Metric,
    pub http_refused: Metric,
    pub streams: streams::Counters,
}

impl Counters {
    fn new(metrics: &MetricRegistry) -> Self {
        Self {
            trapped: metrics.metric("isomer.guest.trapped.total"),
            fuel_exhausted: metrics.metric("isomer.guest.fuelExhausted.total"),
            timed_out: metrics.metric("isomer.guest.timedOut.total"),
            memory_limit: metrics.metric("isomer.guest.memoryLimit.total"),
            node_memory: metrics.metric("isomer.guest.nodeMemory.total"),
            payload_too_large: metrics.metric("isomer.guest.payloadTooLarge.total"),
            queue_full: metrics.metric("isomer.guest.queueFull.total"),
            permission_denied: metrics.metric("isomer.guest.permissionDenied.total"),
            instances: metrics.metric("isomer.guest.instances"),
            fuel: metrics.metric("isomer.guest.fuel.total"),
            spans_refused: metrics.metric("isomer.guest.spansRefused.total"),
            http_requests: metrics.metric("isomer.guest.httpRequests.total"),
            http_refused: metrics.metric("isomer.guest.httpRefused.total"),
            streams: streams::Counters {
                open: metrics.metric("isomer.guest.streams"),
                idle: metrics.metric("isomer.guest.streamIdle.total"),
            },
        }
    }
}

/// What a grant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Calling an action.
    Call,
    /// Sending an event.
    Emit,
}

impl Environment {
    pub(super) fn new(parts: Parts<'_>) -> Self {
        let log = LogSink::new(
            Arc::clone(&parts.service),
            &parts.limits,
            parts.metrics.metric("isomer.guest.logDropped.total"),
        );
        let counters = Counters::new(parts.metrics);
        let denied = counters.permission_denied.clone();
        Self {
            log: Arc::new(log),
            reach: Reach::new(&parts.service, parts.grants, parts.private, denied),
            counters,
            traps: Arc::default(),
            call_grant: compile(&parts.service, parts.grants.call.as_deref()),
            emit_grant: compile(&parts.service, parts.grants.emit.as_deref()),
            cache_grant: CacheGrant::new(&parts.service, &parts.grants.cache),
            cacher: parts.cacher,
            caller: parts.caller.map(WeakCaller),
            service: parts.service,
            version: parts.version,
            core_dumps: parts.core_dumps,
            room: parts.room,
            node_id: parts.node_id,
            namespace: parts.namespace,
            limits: parts.limits,
            settings: parts.settings,
            env: parts.env,
        }
    }

    /// The broker, while it exists.
    pub(super) fn caller(&self) -> Option<Arc<dyn Caller>> {
        self.caller.as_ref()?.0.upgrade()
    }

    /// Checks a grant.
    pub(super) fn permit(&self, permission: Permission, name: &str) -> Result<(), MoleculerError> {
        let (grant, what, patterns) = match permission {
            Permission::Call => ("call", "call", &self.call_grant),
            Permission::Emit => ("emit", "send", &self.emit_grant),
        };
        match patterns {
            Some(patterns) if !patterns.iter().any(|pattern| pattern.matches(name)) => {
                self.counters.permission_denied.increment();
                let what = format!("{what} '{name}'");
                Err(MoleculerError::permission_denied(&self.service, &what, grant))
            }
            _ => Ok(()),
        }
    }
}

/// A pattern that cannot be compiled allows nothing, which is the safe side.
fn compile(service: &str, patterns: Option<&[String]>) -> Option<Vec<Pattern>> {
    let compiled = patterns?.iter().filter_map(|text| match Pattern::compile(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            tracing::warn!(service, %error, "a pattern in the grants is ignored");
            None
        }
    });
    Some(compiled.collect())
}

/// The limits of one call: those of the service, narrowed by what the schema says of the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallLimits {
    pub fuel: u64,
    pub timeout: std::time::Duration,
    pub memory: usize,
    pub payload: usize,
}

impl CallLimits {
    pub(super) fn new(limits: &Limits, narrower: &ActionLimits) -> Self {
        let limits = limits.narrowed(narrower);
        Self {
            fuel: limits.fuel,
            timeout: limits.timeout,
            memory: limits.memory,
            payload: limits.payload,
        }
    }
}
