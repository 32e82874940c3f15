//! The broker's own middlewares, in Moleculer's order
//! (moleculer: src/service-broker.js registerMiddlewares).

use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use crate::cacher;
use crate::config::BrokerOptions;
use crate::context::Caller;
use crate::metrics::MetricRegistry;
use crate::middleware::{Cacher, ContextTracker, Middleware, Timeout};
use crate::registry::Registry;

/// What middlewares are made from.
pub(super) struct Parts<'a> {
    pub(super) options: &'a BrokerOptions,
    pub(super) node_id: &'a Arc<str>,
    pub(super) metrics: &'a MetricRegistry,
    /// The broker, for those that call or send events.
    pub(super) caller: Weak<dyn Caller>,
    pub(super) registry: &'a Arc<RwLock<Registry>>,
    pub(super) tracker: &'a ContextTracker,
    pub(super) cacher: Option<&'a Arc<dyn cacher::Cacher>>,
}

/// The middlewares of the embedding program and around them those that the options switch on, innermost
/// first. Those that an action or event has no use for leave no trace in its chain.
pub(super) fn with_internal(
    mut chain: Vec<Arc<dyn Middleware>>,
    parts: &Parts<'_>,
) -> Vec<Arc<dyn Middleware>> {
    let options = parts.options;
    // Action hooks run in the guest.

    // Validator.

    // Bulkhead.

    // Cacher.
    if let Some(cacher) = parts.cacher {
        let options = options.cacher.clone().unwrap_or_default();
        chain.push(Arc::new(Cacher::new(Arc::clone(cacher), options)));
    }

    // Context tracker.
    if options.tracking.enabled {
        chain.push(Arc::new(parts.tracker.clone()));
    }

    // Circuit breaker.

    // Timeout.
    chain.push(Arc::new(Timeout::new(Arc::clone(parts.node_id), parts.metrics)));

    // Retry and the fallback of a call: call.rs, because they choose an endpoint anew or need none.

    // Fallback of an action.

    // Metrics.

    // Debounce and throttle of events.

    chain
}
