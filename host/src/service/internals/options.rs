//! `$node.options`: the effective options in Moleculer's names and units, without secrets
//! (moleculer: src/internals.js options).

use serde_json::{Value, json};

use crate::config::cacher::{CacheStore, Cacher};
use crate::config::discoverer::Finder;
use crate::config::tracing::TraceExporter;
use crate::config::{BrokerOptions, Registry, Transit, Transporter, Validator, mask};

/// The answer.
#[must_use]
pub(super) fn options(options: &BrokerOptions) -> Value {
    let value = json!({
        "namespace": options.namespace,
        "nodeID": options.node_id,
        "transporter": options.transporter.as_ref().map(transporter),
        "requestTimeout": options.request_timeout.as_millis(),
        "retryPolicy": {
            "enabled": options.retry_policy.enabled,
            "retries": options.retry_policy.retries,
            "delay": options.retry_policy.delay.as_millis(),
            "maxDelay": options.retry_policy.max_delay.as_millis(),
            "factor": options.retry_policy.factor,
        },
        "maxCallLevel": options.max_call_level,
        "heartbeatInterval": options.heartbeat_interval.as_secs_f64(),
        "heartbeatTimeout": options.heartbeat_timeout.as_secs_f64(),
        "tracking": {
            "enabled": options.tracking.enabled,
            "shutdownTimeout": options.tracking.shutdown_timeout.as_millis(),
        },
        "registry": registry(&options.registry),
        "circuitBreaker": {
            "enabled": options.circuit_breaker.enabled,
            "threshold": options.circuit_breaker.threshold,
            "windowTime": options.circuit_breaker.window_time.as_secs_f64(),
            "minRequestCount": options.circuit_breaker.min_request_count,
            "halfOpenTime": options.circuit_breaker.half_open_time.as_millis(),
            "maxFailures": options.circuit_breaker.max_failures,
        },
        "bulkhead": {
            "enabled": options.bulkhead.enabled,
            "concurrency": options.bulkhead.concurrency,
            "maxQueueSize": options.bulkhead.max_queue_size,
        },
        "transit": transit(&options.transit),
        "cacher": options.cacher.as_ref().map(cacher),
        "validator": !matches!(options.validator, Validator::Off),
        "metrics": {
            "enabled": options.metrics.enabled,
            "reporter": options.metrics.reporters.iter().map(|one| one.kind.name()).collect::<Vec<_>>(),
        },
        "tracing": {
            "enabled": options.tracing.enabled,
            "exporter": options.tracing.exporters.iter().map(TraceExporter::name).collect::<Vec<_>>(),
            "actions": options.tracing.actions,
            "events": options.tracing.events,
            "sampling": {
                "rate": options.tracing.sampling.rate,
                "tracesPerSecond": options.tracing.sampling.traces_per_second,
                "minPriority": options.tracing.sampling.min_priority,
            },
        },
        "statistics": options.statistics,
        "internalServices": options.internal_services,
        "dependencyTimeout": options.dependency_timeout.as_millis(),
        "hotReload": options.hot_reload,
        "metadata": options.metadata,
    });
    mask::value("", value)
}

fn transporter(transporter: &Transporter) -> Value {
    match transporter {
        Transporter::Fake { .. } => json!({"type": "Fake"}),
        Transporter::Amqp(options) => json!({"type": "AMQP", "options": {
            "url": options.urls,
            "prefetch": options.prefetch,
            "eventTimeToLive": options.event_time_to_live.map(|time| time.as_millis()),
            "heartbeatTimeToLive": options.heartbeat_time_to_live.map(|time| time.as_millis()),
            "autoDeleteQueues": options.auto_delete_queues.map(|time| time.as_millis()),
            "queueOptions": {"arguments": options.queue.arguments},
            "exchangeOptions": {"arguments": options.exchange.arguments},
            "consumeOptions": {"arguments": options.consume.arguments},
        }}),
        Transporter::Mqtt(options) => json!({"type": "MQTT", "options": {
            "url": options.urls,
            "qos": options.qos,
            "topicSeparator": options.topic_separator,
            "clientId": options.client_id,
            "keepalive": options.keep_alive.as_secs(),
        }}),
        Transporter::Kafka(options) => json!({"type": "Kafka", "options": {
            "bootstrapBrokers": options.bootstrap_brokers,
            "clientId": options.client_id,
            "tls": options.tls,
            "sasl": options.sasl.as_ref().map(|sasl| json!({"username": sasl.username})),
            "consumer": {"maxWaitTime": options.max_wait.as_millis()},
            "maxMessageSize": options.message_max,
        }}),
        Transporter::Nats { urls } => json!({"type": "NATS", "options": {"url": urls}}),
        Transporter::Redis { urls } => json!({"type": "Redis", "options": {"url": urls}}),
        Transporter::Tcp(tcp) => json!({"type": "TCP", "options": tcp.to_value()}),
    }
}

fn registry(registry: &Registry) -> Value {
    let strategy = &registry.strategy_options;
    json!({
        "strategy": registry.strategy.name(),
        "strategyOptions": {
            "sampleCount": strategy.sample_count,
            "lowCpuUsage": strategy.low_cpu_usage,
            "lowLatency": strategy.low_latency.as_secs_f64() * 1_000.0,
            "collectCount": strategy.collect_count,
            "pingInterval": strategy.ping_interval.as_secs_f64(),
            "shardKey": strategy.shard_key.as_deref(),
            "vnodes": strategy.vnodes,
            "ringSize": strategy.ring_size,
        },
        "preferLocal": registry.prefer_local,
        "stopDelay": registry.stop_delay.as_millis(),
        "discoverer": {
            "type": match registry.discoverer.finder {
                Finder::Local => "Local",
                Finder::Redis { .. } => "Redis",
                Finder::Etcd3 { .. } => "Etcd3",
            },
            "disableHeartbeatChecks": registry.discoverer.disable_heartbeat_checks,
            "disableOfflineNodeRemoving": registry.discoverer.disable_offline_node_removing,
            "cleanOfflineNodesTimeout": registry.discoverer.clean_offline_nodes_timeout.as_secs_f64(),
        },
    })
}

fn transit(transit: &Transit) -> Value {
    json!({
        "protocolVersion": transit.protocol.as_str(),
        "maxQueueSize": transit.max_queue_size,
        "disableReconnect": transit.disable_reconnect,
        "disableVersionCheck": transit.disable_version_check,
        "serviceChangedDebounceTime": transit.service_changed_debounce_time.as_millis(),
        "maxPacketSize": transit.max_packet_size,
        "maxChunkSize": transit.max_chunk_size,
        "streams": {
            "max": transit.streams.max,
            "buffer": transit.streams.buffer,
            "totalBuffer": transit.streams.total_buffer,
            "idleTimeout": transit.streams.idle_timeout.as_millis(),
            "gapTimeout": transit.streams.gap_timeout.as_millis(),
        },
    })
}

fn cacher(cacher: &Cacher) -> Value {
    let store = match &cacher.store {
        CacheStore::Memory => json!({"type": "Memory"}),
        CacheStore::MemoryLru { max } => json!({"type": "MemoryLRU", "max": max}),
        CacheStore::Redis { urls, .. } => json!({"type": "Redis", "redis": urls}),
    };
    json!({
        "type": store.get("type"),
        "options": {
            "ttl": cacher.ttl.map(|ttl| ttl.as_secs_f64()),
            "maxParamsLength": cacher.max_params_length,
            "max": store.get("max"),
            "redis": store.get("redis"),
            "lock": {"enabled": cacher.lock.enabled, "ttl": cacher.lock.ttl.as_secs_f64()},
        },
    })
}
