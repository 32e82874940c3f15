//! Section `tracing`: which calls become spans, what the spans carry, where they go
//! (moleculer: src/tracing/tracer.js).

use std::time::Duration;

use serde_json::{Map, Value};

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
