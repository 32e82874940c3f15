//! The broker's own middlewares, in Moleculer's order
//! (moleculer: src/service-broker.js registerMiddlewares).

use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use tokio::runtime::Handle;

use crate::broker::hostname;
use crate::cacher;
use crate::config::tracing::TraceExporter;
use crate::config::{self, BrokerOptions, Transmit};
use crate::context::Caller;
use crate::metrics::MetricRegistry;
use crate::middleware::encryption::InvalidLength;
use crate::middleware::refused::Refused;
use crate::middleware::spans;
use crate::middleware::stats::Stats;
use crate::middleware::{
    ActionLogger, Bulkhead, Cacher, CircuitBreaker, ComponentMiddleware, Compression,
    ContextTracker, Debounce, Encryption, Metrics, Middleware, Throttle, Timeout, Tracing,
    TransitLogger, Validator,
};
use crate::registry::Registry;
use crate::task::CancellationToken;
use crate::tracer::console::Console;
use crate::tracer::{Exporter, Tracer};

/// What middlewares are made from.
pub(super) struct Parts<'a> {
    pub(super) options: &'a BrokerOptions,
    pub(super) node_id: &'a Arc<str>,
    pub(super) metrics: &'a MetricRegistry,
    /// The broker, for those that call or send events.
    pub(super) caller: Weak<dyn Caller>,
    pub(super) registry: &'a Arc<RwLock<Registry>>,
    pub(super) tracker: &'a ContextTracker,
    /// Makes spans, when that is switched on.
    pub(super) tracer: Option<&'a Tracer>,
    /// Counts calls, when somebody wants to know.
    pub(super) stats: Option<&'a Stats>,
    /// Where tasks of middlewares run, and what ends them.
    pub(super) work: &'a Handle,
    pub(super) cancel: &'a CancellationToken,
    /// Places for the components that the options name.
    pub(super) components: &'a [ComponentMiddleware],
    pub(super) cacher: Option<&'a Arc<dyn cacher::Cacher>>,
}

/// The middlewares that the options name with options of their own. Their order is that of the list.
pub(super) fn transmit(
    options: &BrokerOptions,
    node_id: &str,
    metrics: &MetricRegistry,
) -> Result<Vec<Arc<dyn Middleware>>, InvalidLength> {
    let refused = Refused::new(metrics);
    let size_max = options.transit.max_packet_size;
    let make = |one: &Transmit| -> Result<Arc<dyn Middleware>, InvalidLength> {
        Ok(match one {
            Transmit::Compression(options) => {
                Arc::new(Compression::new(*options, size_max, refused.clone()))
            }
            Transmit::Encryption(options) => Arc::new(Encryption::new(options, refused.clone())?),
            Transmit::ActionLogger(options) => {
                Arc::new(ActionLogger::new((**options).clone(), node_id))
            }
            Transmit::TransitLogger(options) => {
                Arc::new(TransitLogger::new((**options).clone(), node_id))
            }
        })
    };
    options.transmit.iter().map(make).collect()
}

/// The middlewares of the embedding program and around them those that the options switch on, innermost
/// first. Those that an action or event has no use for leave no trace in its chain.
pub(super) fn with_internal(
    mut chain: Vec<Arc<dyn Middleware>>,
    parts: &Parts<'_>,
) -> Vec<Arc<dyn Middleware>> {
    let options = parts.options;
    let components =
        parts.components.iter().cloned().map(|place| -> Arc<dyn Middleware> { Arc::new(place) });
    if !options.internal_middlewares {
        // Components are not the broker's own: they stand whatever is switched off.
        chain.extend(components);
        // Contexts carry deadlines; something has to end them.
        chain.push(Arc::new(Timeout::new(Arc::clone(parts.node_id), parts.metrics)));
        return chain;
    }
    // Action hooks run in the guest.

    // Validator.
    if options.validator != config::Validator::Off {
        chain.push(Arc::new(Validator::new(options.validator.clone())));
    }

    // Bulkhead.
    let node_id = || Arc::clone(parts.node_id);
    chain.push(Arc::new(Bulkhead::new(options.bulkhead, node_id(), parts.metrics)));

    // Cacher.
    if let Some(cacher) = parts.cacher {
        let options = options.cacher.clone().unwrap_or_default();
        chain.push(Arc::new(Cacher::new(Arc::clone(cacher), options)));
    }

    // Components: outside of the cacher, so that a kept result is given to nobody whom they refuse.
    chain.extend(components);

    // Context tracker.
    if options.tracking.enabled {
        chain.push(Arc::new(parts.tracker.clone()));
    }

    // Circuit breaker.
    chain.push(Arc::new(CircuitBreaker::new(
        options.circuit_breaker.clone(),
        node_id(),
        Weak::clone(&parts.caller),
        Arc::clone(parts.registry),
        parts.work.clone(),
        parts.cancel.clone(),
        parts.metrics,
    )));

    // Timeout.
    chain.push(Arc::new(Timeout::new(node_id(), parts.metrics)));

    // Retry and fallback: call.rs, because they choose an endpoint anew or need none.

    // Tracing.
    if let Some(tracer) = parts.tracer {
        chain.push(Arc::new(Tracing::new(tracer.clone(), node_id())));
    }

    // Metrics.
    if options.metrics.enabled {
        chain.push(Arc::new(Metrics::new(parts.metrics)));
    }
    if let Some(stats) = parts.stats {
        chain.push(Arc::new(stats.clone()));
    }

    // Debounce and throttle of events.
    chain.push(Arc::new(Debounce::new(parts.work.clone(), parts.cancel.clone())));
    chain.push(Arc::new(Throttle));

    chain
}

/// Where spans go.
pub(super) fn exporters(parts: &Parts<'_>) -> Vec<Arc<dyn Exporter>> {
    let exporters = parts.options.tracing.exporters.iter().filter(|_| parts.tracer.is_some());
    let exporter = |options: &TraceExporter| -> Arc<dyn Exporter> {
        match options {
            TraceExporter::Console { width, gauge_width } => {
                Arc::new(Console::new(*width, *gauge_width))
            }
            TraceExporter::Event(options) => Arc::new(spans::Event::new(
                options.clone(),
                Weak::clone(&parts.caller),
                parts.work,
                parts.cancel.clone(),
                parts.metrics,
            )),
            TraceExporter::Upload(options) => {
                let origin = spans::Origin {
                    namespace: parts.options.namespace.clone(),
                    node_id: parts.node_id.to_string(),
                    host: hostname(),
                };
                Arc::new(spans::Upload::new(
                    options.clone(),
                    &origin,
                    parts.work,
                    parts.cancel,
                    parts.metrics,
                ))
            }
        }
    };
    exporters.map(exporter).collect()
}
