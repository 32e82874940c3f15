//! Section `tracing`: which calls become spans, what the spans carry, where they go
//! (moleculer: src/tracing/tracer.js).

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::HttpUrl;

/// Options of the tracer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Make spans. false
    pub enabled: bool,
    /// Where they go. None
    pub exporters: Vec<TraceExporter>,
    /// Which chains are traced.
    pub sampling: Sampling,
    /// Make a span of each call that runs on this node. true
    pub actions: bool,
    /// Make a span of each event that is handled on this node. false
    pub events: bool,
    /// Fields of an error that are exported. name, message, code, type, data
    pub error_fields: Vec<String>,
    /// Export the stack of an error as well. false
    pub stack_trace: bool,
    /// Tags of all spans. `{}`
    pub default_tags: Map<String, Value>,
    /// What spans of actions carry, where the action says nothing.
    pub action_tags: TagRules,
    /// What spans of events carry, where the event says nothing.
    pub event_tags: TagRules,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            enabled: false,
            exporters: Vec::new(),
            sampling: Sampling::default(),
            actions: true,
            events: false,
            error_fields: ["name", "message", "code", "type", "data"].map(str::to_owned).into(),
            stack_trace: false,
            default_tags: Map::new(),
            action_tags: TagRules::default(),
            event_tags: TagRules::default(),
        }
    }
}

/// Who decides whether a chain that begins here is traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The part of all chains, from 0 to 1. 1
    pub rate: f64,
    /// At most so many in a second, instead of the rate. None
    pub traces_per_second: Option<f64>,
    /// Spans of a lower priority are not sampled; that of calls and events is 5. None
    pub min_priority: Option<f64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { rate: 1.0, traces_per_second: None, min_priority: None }
    }
}

/// What a span carries of the call that it stands for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagRules {
    /// Params or data; all of them when nothing is said.
    pub params: Option<Pick>,
    /// Meta; nothing when nothing is said.
    pub meta: Option<Pick>,
    /// Result, of actions only; nothing when nothing is said.
    pub response: Option<Pick>,
}

impl TagRules {
    /// These rules, and where they say nothing, the others.
    #[must_use]
    pub fn over(&self, others: &Self) -> Self {
        let or = |own: &Option<Pick>, other: &Option<Pick>| own.clone().or_else(|| other.clone());
        Self {
            params: or(&self.params, &others.params),
            meta: or(&self.meta, &others.meta),
            response: or(&self.response, &others.response),
        }
    }

    /// Reads `{params, meta, response}`, each true, false or a list of keys. The error names the key.
    ///
    /// # Errors
    /// What is wrong.
    pub fn read(rules: &Map<String, Value>) -> Result<Self, String> {
        let mut read = Self::default();
        for (key, value) in rules.iter().filter(|(_, value)| !value.is_null()) {
            let place = match key.as_str() {
                "params" => &mut read.params,
                "meta" => &mut read.meta,
                "response" => &mut read.response,
                _ => return Err(format!("unknown key '{key}'; there are: params, meta, response")),
            };
            let pick = Pick::read(value);
            *place =
                Some(pick.ok_or_else(|| format!("'{key}' is not true, false or a list of keys"))?);
        }
        Ok(read)
    }
}

/// How much of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// These keys; dots lead into it.
    Keys(Vec<String>),
}

impl Pick {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(true) => Some(Self::All),
            Value::Bool(false) => Some(Self::None),
            Value::Array(keys) => keys
                .iter()
                .map(|key| key.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .map(Self::Keys),
            _ => None,
        }
    }
}

/// Where spans go.
#[derive(Clone, Debug, PartialEq)]
pub enum TraceExporter {
    /// Into the log, as a drawing of each chain.
    Console {
        /// Columns of the drawing. 100
        width: usize,
        /// Columns of the bar in it. 40
        gauge_width: usize,
    },
    /// An event with a list of spans.
    Event(EventExporter),
    /// A server that keeps and shows spans.
    Upload(Upload),
}

impl TraceExporter {
    /// Its name in the options.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Console { .. } => "Console",
            Self::Event(_) => "Event",
            Self::Upload(upload) => match &upload.to {
                Receiver::Zipkin { .. } => "Zipkin",
                Receiver::NewRelic { .. } => "NewRelic",
                Receiver::Jaeger(_) => "Jaeger",
                Receiver::Otlp { .. } => "OTLP",
                Receiver::Datadog { simple: true, .. } => "DatadogSimple",
                Receiver::Datadog { .. } => "Datadog",
            },
        }
    }
}

/// Options of the exporter `Event`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventExporter {
    /// Its name. `$tracing.spans`
    pub event_name: String,
    /// Send spans when they begin. false
    pub send_start_span: bool,
    /// Send spans when they have ended. true
    pub send_finish_span: bool,
    /// Send it to all nodes. false
    pub broadcast: bool,
    /// Only to these groups. None
    pub groups: Vec<String>,
    /// Between two events; zero sends each span at once. 5 s
    pub interval: Duration,
    /// Tags of all spans of this exporter. `{}`
    pub default_tags: Map<String, Value>,
}

impl Default for EventExporter {
    fn default() -> Self {
        Self {
            event_name: "$tracing.spans".into(),
            send_start_span: false,
            send_finish_span: true,
            broadcast: false,
            groups: Vec::new(),
            interval: Duration::from_secs(5),
            default_tags: Map::new(),
        }
    }
}

/// Options of an exporter that sends spans to a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// Which server, and in which form.
    pub to: Receiver,
    /// Between two requests; zero sends each span at once. 5 s
    pub interval: Duration,
    /// Tags of all spans of this exporter. `{}`
    pub default_tags: Map<String, Value>,
}

impl Upload {
    /// Sends every five seconds, without tags of its own.
    #[must_use]
    pub fn new(to: Receiver) -> Self {
        Self { to, interval: Duration::from_secs(5), default_tags: Map::new() }
    }
}

/// A server that takes spans.
#[derive(Clone, Debug, PartialEq)]
pub enum Receiver {
    /// JSON of Zipkin's API 2 (moleculer: src/tracing/exporters/zipkin.js).
    Zipkin {
        /// Without `/api/v2/spans`. `http://localhost:9411`
        base_url: HttpUrl,
        /// Field `debug` of each span. false
        debug: bool,
        /// Field `shared` of each span. false
        shared: bool,
        /// Of each request, names and values. None
        headers: Vec<(String, String)>,
    },
    /// New Relic's trace API, in Zipkin's form (moleculer: src/tracing/exporters/newrelic.js).
    NewRelic {
        /// Without `/trace/v1`. `https://trace-api.newrelic.com`
        base_url: HttpUrl,
        /// The key that may insert.
        insert_key: String,
        /// Field `debug` of each span. false
        debug: bool,
        /// Field `shared` of each span. false
        shared: bool,
    },
    /// Jaeger's own Thrift form (moleculer: src/tracing/exporters/jaeger.js).
    Jaeger(Jaeger),
    /// The OpenTelemetry protocol, as JSON over HTTP.
    Otlp {
        /// With `/v1/traces`. `http://localhost:4318/v1/traces`
        url: HttpUrl,
        /// Of each request, names and values. None
        headers: Vec<(String, String)>,
    },
    /// A Datadog agent (moleculer: src/tracing/exporters/datadog.js and datadog-simple.js).
    Datadog {
        /// With `/v0.4/traces`. `http://localhost:8126/v0.4/traces`
        url: HttpUrl,
        /// IDs of 32 bits and nothing but what Moleculer's `DatadogSimple` sends, or IDs of 64 bits with priority
        /// and environment.
        simple: bool,
        /// Tag `env`. None
        env: Option<String>,
        /// `USER_REJECT` -1, `AUTO_REJECT` 0, `AUTO_KEEP` 1, `USER_KEEP` 2. 1
        sampling_priority: i8,
    },
}

/// Options of the exporter `Jaeger`.
#[derive(Clone, Debug, PartialEq)]
pub struct Jaeger {
    /// A collector, such as `http://localhost:14268/api/traces`; without one an agent gets datagrams. None
    pub endpoint: Option<HttpUrl>,
    /// Host of the agent. 127.0.0.1
    pub host: String,
    /// Its port for Thrift's binary form. 6832
    pub port: u16,
    /// The part of the traces that are sent, from 0 to 1, chosen by the trace ID. 1
    pub rate: f64,
    /// Trace IDs of 64 bits instead of 128. true
    pub legacy_mode: bool,
    /// Tags of the process. `{}`
    pub process_tags: Map<String, Value>,
}

impl Default for Jaeger {
    fn default() -> Self {
        Self {
            endpoint: None,
            host: "127.0.0.1".into(),
            port: 6832,
            rate: 1.0,
            legacy_mode: true,
            process_tags: Map::new(),
        }
    }
}
