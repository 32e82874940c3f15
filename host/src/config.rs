//! What a node is told: broker options in Moleculer's names and units, limits and grants of services.
//!
//! This file holds the values; the files beside it read them from files, environment and flags.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

pub mod cacher;
pub mod debugging;
pub mod discoverer;
pub mod effective;
pub mod env;
pub mod faults;
pub mod file;
pub mod grants;
pub mod limits;
pub mod load;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod names;
pub mod older;
pub mod options;
pub mod problem;
pub mod protocol;
pub mod quantity;
mod redis;
pub mod schema;
pub mod serializer;
pub mod sidecar;
pub mod strategy;
mod surroundings;
pub mod tracing;
pub mod transmit;
pub mod transporter;
pub mod url;
pub mod validator;
pub mod value;

pub use self::tracing::Tracing;
pub use cacher::Cacher;
pub use discoverer::Discoverer;
pub use faults::{Bulkhead, CircuitBreaker, RetryPolicy};
pub use grants::Grants;
pub use limits::{Limits, Mode};
pub use metrics::Metrics;
pub use protocol::Protocol;
pub use serializer::Serializer;
pub use strategy::{BalanceOptions, Strategy, StrategyOptions};
pub use transmit::Transmit;
pub use transporter::tcp::Tcp;
pub use url::HttpUrl;
pub use validator::Validator;

/// Options of a broker (moleculer: src/service-broker.js defaultOptions).
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// Separates meshes on one message broker. `""`
    pub namespace: String,
    /// Unique in the mesh; `None` makes `<host name>-<pid>-<4 random hex digits>`.
    pub node_id: Option<String>,
    /// How to reach other nodes; `None` for a node on its own.
    pub transporter: Option<Transporter>,
    /// How packets are written; the same on all nodes of a mesh. JSON
    pub serializer: Serializer,
    /// Time limit of calls that bring none; zero is none. 0
    pub request_timeout: Duration,
    /// Longest chain of calls; 0 is unlimited. 0
    pub max_call_level: u32,
    /// How often to say that this node lives; zero is never. 10 s
    pub heartbeat_interval: Duration,
    /// After which silence a node is lost. 30 s
    pub heartbeat_timeout: Duration,
    /// Wait for running contexts at stop.
    pub tracking: Tracking,
    /// Registry section.
    pub registry: Registry,
    /// Transit section.
    pub transit: Transit,
    /// Leave it to the queues of NATS or AMQP which node gets a call or event; of no effect elsewhere. false
    pub disable_balancer: bool,
    /// How long to wait for dependencies; zero is for ever. 0
    pub dependency_timeout: Duration,
    /// Try failed calls again.
    pub retry_policy: RetryPolicy,
    /// Leave endpoints alone that keep failing.
    pub circuit_breaker: CircuitBreaker,
    /// Calls of an action that run at once.
    pub bulkhead: Bulkhead,
    /// Keep results; `None` keeps none.
    pub cacher: Option<Cacher>,
    /// Check params before the guest is entered. Fastest
    pub validator: Validator,
    /// Components that stand around the services of this node, by the names of their files. As in
    /// Moleculer, a later one wraps the earlier. None
    pub middlewares: Vec<String>,
    /// Entries of the same list that change the bytes of packets. As in Moleculer, the first is the nearest
    /// to the transporter: the last one sees packets first. None
    pub transmit: Vec<Transmit>,
    /// Where their files are. `None`: the folder `middlewares` beside that of the services
    pub middleware_dir: Option<PathBuf>,
    /// Offer `$node`. true
    pub internal_services: bool,
    /// Stand between calls and services: validate, cache, track, try again, … Time limits stay in any case. true
    pub internal_middlewares: bool,
    /// Put over the schema of `$node`: settings, metadata, options of its actions; `false` for an action
    /// takes it away. `{}` (moleculer: option `internalServices` as an object with `$node`)
    pub internal_schema: Map<String, Value>,
    /// Events whose names begin with `$` stay on this node however they are sent, as before Moleculer 0.13.
    /// false
    pub local_only_dollar_events: bool,
    /// Measuring of calls and events.
    pub metrics: Metrics,
    /// Spans of calls and events.
    pub tracing: Tracing,
    /// Count calls for `$node.stats`, as before Moleculer 0.14. false
    pub statistics: bool,
    /// Pick up changed components. true
    pub hot_reload: bool,
    /// Sent in INFO. `{}`
    pub metadata: Map<String, Value>,
    /// Limits that apply where a service has none of its own.
    pub limits: Limits,
    /// What a service may do whose own file does not say it. Nothing of the machine can be granted here.
    pub grants: Grants,
    /// Compiled components. `None`: `$XDG_CACHE_HOME/isomer` or `~/.cache/isomer`
    pub cache_dir: Option<PathBuf>,
    /// What outlives a run of the node: versions of services. `None`: `$XDG_STATE_HOME/isomer` or
    /// `~/.local/state/isomer`
    pub state_dir: Option<PathBuf>,
    /// What compiling one component may need.
    pub compile: limits::CompileLimits,
    /// What is kept of guests that have trapped.
    pub core_dumps: limits::CoreDumps,
    /// What the node may use.
    pub memory: limits::NodeMemory,
}

/// Section `tracking`.
#[derive(Clone, Copy, Debug)]
pub struct Tracking {
    /// true here: a stop that drops running calls helps nobody. (Moleculer's default is false.)
    pub enabled: bool,
    /// 5 s
    pub shutdown_timeout: Duration,
}

/// Section `registry`.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Balancing among nodes. `RoundRobin`
    pub strategy: Strategy,
    /// What the strategy is told. `{}`
    pub strategy_options: StrategyOptions,
    /// Use a local endpoint when there is one. true
    pub prefer_local: bool,
    /// Between the last INFO and refusing requests. 100 ms
    pub stop_delay: Duration,
    /// How the other nodes are watched over.
    pub discoverer: Discoverer,
}

impl Registry {
    /// How actions and events are balanced that say nothing of it.
    #[must_use]
    pub fn balance(&self) -> BalanceOptions {
        BalanceOptions { strategy: self.strategy, options: self.strategy_options.clone() }
    }
}

/// Section `transit`.
#[derive(Clone, Copy, Debug)]
pub struct Transit {
    /// Versions of the protocol that this node speaks. The option is `protocolVersion`. 5
    pub protocol: Protocol,
    /// Requests that wait for an answer; 0 is unlimited. 50 000
    pub max_queue_size: usize,
    /// Do not try again when the connection fails. false
    pub disable_reconnect: bool,
    /// Take packets of any protocol version. false
    pub disable_version_check: bool,
    /// Changes within this time go out as one INFO. 1 s in Moleculer; 50 ms here, because a service that
    /// was swapped should be known at once.
    pub service_changed_debounce_time: Duration,
    /// Largest packet that is read or sent, in bytes. 16 MiB
    pub max_packet_size: usize,
    /// Largest piece in which bytes of a stream are sent; 0 leaves them as they come. 256 KiB
    pub max_chunk_size: usize,
    /// Streams from and to other nodes.
    pub streams: Streams,
}

/// Section `transit.streams`. The protocol of Moleculer has no flow control, so that what other nodes send
/// must be limited here.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// Streams that come in at once, and as many that go out. 1 000
    pub max: usize,
    /// Bytes of one stream that came in and wait to be read. 64 MiB
    pub buffer: usize,
    /// The same, of all streams together. 256 MiB
    pub total_buffer: usize,
    /// A stream is given up when nothing moves for so long; 0 is never. 60 s
    pub idle_timeout: Duration,
    /// A stream is given up when a chunk is missing for so long. 10 s
    pub gap_timeout: Duration,
}

/// Which transporter, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transporter {
    /// NATS: server addresses (`nats://host:port`), credentials in the URL.
    Nats {
        /// One or more, tried in turn.
        urls: Vec<String>,
    },
    /// MQTT.
    Mqtt(transporter::mqtt::Options),
    /// AMQP 0.9.1.
    Amqp(Box<transporter::amqp::Options>),
    /// Kafka.
    Kafka(Box<transporter::kafka::Options>),
    /// Redis: addresses (`redis://host:port`), credentials in the URL.
    Redis {
        /// One, or several nodes of a cluster, tried in turn.
        urls: Vec<String>,
    },
    /// Sockets between the nodes themselves.
    Tcp(Box<Tcp>),
    /// In-process bus of this name, for tests.
    Fake {
        /// Name of the bus.
        bus: String,
    },
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            namespace: String::new(),
            node_id: None,
            transporter: None,
            serializer: Serializer::default(),
            request_timeout: Duration::ZERO,
            max_call_level: 0,
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(30),
            tracking: Tracking { enabled: true, shutdown_timeout: Duration::from_secs(5) },
            registry: Registry {
                strategy: Strategy::RoundRobin,
                strategy_options: StrategyOptions::default(),
                prefer_local: true,
                stop_delay: Duration::from_millis(100),
                discoverer: Discoverer::default(),
            },
            transit: Transit {
                protocol: Protocol::V5,
                max_queue_size: 50_000,
                disable_reconnect: false,
                disable_version_check: false,
                service_changed_debounce_time: Duration::from_millis(50),
                max_packet_size: 16 << 20,
                max_chunk_size: 256 << 10,
                streams: Streams {
                    max: 1_000,
                    buffer: 64 << 20,
                    total_buffer: 256 << 20,
                    idle_timeout: Duration::from_secs(60),
                    gap_timeout: Duration::from_secs(10),
                },
            },
            disable_balancer: false,
            dependency_timeout: Duration::ZERO,
            retry_policy: RetryPolicy::default(),
            circuit_breaker: CircuitBreaker::default(),
            bulkhead: Bulkhead::default(),
            cacher: None,
            validator: Validator::default(),
            middlewares: Vec::new(),
            transmit: Vec::new(),
            middleware_dir: None,
            internal_services: true,
            internal_middlewares: true,
            internal_schema: Map::new(),
            local_only_dollar_events: false,
            metrics: Metrics::default(),
            tracing: Tracing::default(),
            statistics: false,
            hot_reload: true,
            metadata: Map::new(),
            limits: Limits::default(),
            grants: Grants::default(),
            cache_dir: None,
            state_dir: None,
            compile: limits::CompileLimits::default(),
            core_dumps: limits::CoreDumps::default(),
            memory: limits::NodeMemory::default(),
        }
    }
}

/// What the operator says of one service, in `NAME.toml` beside `NAME.wasm`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceOptions {
    /// Limits, complete: the node's defaults with the file's values over them.
    pub limits: Limits,
    /// What it may do.
    pub grants: Grants,
    /// Put over the settings of the schema.
    pub settings: Map<String, Value>,
    /// Environment variables of the guest.
    pub env: BTreeMap<String, String>,
}
