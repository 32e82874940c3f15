//! What a service declares: Moleculer's service schema without functions, read from JSON.
//!
//! Reading reports every fault at once. Definitions of actions and events are carried whole, so that keys
//! which this node does not know reach gateways and tools untouched (moleculer: src/service.js,
//! src/registry/service-catalog.js).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::limits::{ActionLimits, Mode};
use crate::packet::ServiceItem;
use crate::payload::Payload;

pub mod balance;
pub mod cache;
pub mod faults;
pub mod middleware;
mod pattern;
mod read;
mod settings;
pub mod tracing;

pub use self::tracing::Traced;
pub use balance::Balance;
pub use faults::{ActionFaults, EventFaults};
pub use middleware::MiddlewareSchema;
pub use pattern::{Pattern, matches, suits_javascript};
pub(crate) use read::merge_deep;
pub use settings::Special;

/// A schema that cannot be used: everything that is wrong with it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct Error {
    /// The service's name, if it has one.
    pub service: String,
    /// One sentence fragment per fault: the key, what was found, what is allowed.
    pub problems: Vec<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the schema of service '{}' is wrong: {}", self.service, self.problems.join("; "))
    }
}

/// The most that a schema may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of its text.
    pub len: usize,
    /// Actions and events, each.
    pub items: usize,
    /// Whether the name may begin with `$`, which is kept for the node's own services.
    pub internal: bool,
}

/// Who may call an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Visibility {
    /// Everybody, also through gateways.
    #[default]
    Published,
    /// Every service of the mesh.
    Public,
    /// Services on the same node.
    Protected,
    /// The service itself.
    Private,
}

/// A service that another one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Full names; any one of them will do.
    pub any_of: Vec<String>,
}

/// One action.
#[derive(Clone, Debug)]
pub struct ActionSchema {
    /// Key in the schema: what the guest is asked for.
    pub key: Arc<str>,
    /// Full name: what callers ask for.
    pub name: Arc<str>,
    /// Who may call it.
    pub visibility: Visibility,
    /// Time limit of calls that bring none.
    pub timeout: Option<Duration>,
    /// Name of the service's method that answers when the action failed; never advertised.
    pub fallback: Option<Arc<str>>,
    /// What it says of retries, circuit breaker and bulkhead.
    pub faults: ActionFaults,
    /// What it says of balancing.
    pub balance: Balance,
    /// Whether and how its calls are traced.
    pub tracing: Traced,
    /// Whether and how its results are cached.
    pub cache: Option<cache::Cache>,
    /// Narrower limits in the guest.
    pub limits: ActionLimits,
    /// Everything, as it is advertised.
    pub definition: Arc<Map<String, Value>>,
}

/// One event subscription.
#[derive(Clone, Debug)]
pub struct EventSchema {
    /// Key in the schema: the pattern, and what the guest is asked for.
    pub key: Arc<str>,
    /// The same, compiled.
    pub pattern: Pattern,
    /// Balancing group.
    pub group: Arc<str>,
    /// What it says of debounce, throttle and bulkhead.
    pub faults: EventFaults,
    /// Whether and how its handling is traced.
    pub tracing: Traced,
    /// What it says of balancing.
    pub balance: Balance,
    /// Everything, as it is advertised.
    pub definition: Arc<Map<String, Value>>,
}

/// A whole service.
#[derive(Clone, Debug)]
pub struct ServiceSchema {
    /// Name without version.
    pub name: Arc<str>,
    /// Number, string or null.
    pub version: Value,
    /// Name with version.
    pub full_name: Arc<str>,
    /// All settings.
    pub settings: Map<String, Value>,
    /// Those of them that mean something to the node.
    pub special: Special,
    /// Free.
    pub metadata: Value,
    /// Services to wait for before `started`.
    pub dependencies: Vec<Dependency>,
    /// Actions in their order.
    pub actions: Vec<ActionSchema>,
    /// Events in their order.
    pub events: Vec<EventSchema>,
    /// Wish for a mode.
    pub mode: Option<Mode>,
    /// Narrower limits for all actions.
    pub limits: ActionLimits,
    /// Whether the guest's `started` and `stopped` do anything.
    pub lifecycle: Lifecycle,
    /// What a new version must answer before it is put into service.
    pub probe: Option<Probe>,
}

/// The question that a new version must answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Key of an action in the schema.
    pub action: String,
    /// Its params. `{}`
    pub params: Payload,
    /// How long it may take. 5 s
    pub timeout: Duration,
}

/// Lifecycle functions that do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifecycle {
    /// Call `started` in new instances.
    pub started: bool,
    /// Call `stopped` in retired ones.
    pub stopped: bool,
}

impl ServiceSchema {
    /// Reads a schema; `overlay` is put over its settings key by key, deep.
    ///
    /// # Errors
    /// [`Error`] with every fault.
    pub fn read(text: &str, overlay: &Map<String, Value>, bounds: Bounds) -> Result<Self, Error> {
        read::service(text, overlay, bounds)
    }

    /// What is told to other nodes: no private actions, no secret settings, no string `fallback`, which
    /// would hide errors from JavaScript callers (moleculer: src/middlewares/fallback.js).
    #[must_use]
    pub fn to_item(&self) -> ServiceItem {
        let advertised = |action: &&ActionSchema| action.visibility != Visibility::Private;
        ServiceItem {
            name: self.name.to_string(),
            version: self.version.clone(),
            full_name: self.full_name.to_string(),
            settings: Value::Object(self.special.public(&self.settings)),
            metadata: self.metadata.clone(),
            actions: self
                .actions
                .iter()
                .filter(advertised)
                .map(|action| (action.name.to_string(), advertised_definition(&action.definition)))
                .collect(),
            events: self
                .events
                .iter()
                .map(|event| (event.key.to_string(), Value::Object((*event.definition).clone())))
                .collect(),
        }
    }

    /// The most that `stopped` and running calls may take when the service ends.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Option<Duration> {
        self.special.shutdown_timeout
    }

    /// How long to wait for dependencies, when the service says it.
    #[must_use]
    pub fn dependency_timeout(&self) -> Option<Duration> {
        self.special.dependency_timeout
    }
}

fn advertised_definition(definition: &Map<String, Value>) -> Value {
    let mut definition = definition.clone();
    if definition.get("fallback").is_some_and(Value::is_string) {
        definition.shift_remove("fallback");
    }
    Value::Object(definition)
}

/// Full name of a service: `v2.posts` for a number, `staging.posts` for a text
/// (moleculer: src/service.js getVersionedFullName).
#[must_use]
pub fn full_name(name: &str, version: &Value) -> String {
    match version {
        Value::Number(number) => format!("v{number}.{name}"),
        Value::String(text) if !text.is_empty() => format!("{text}.{name}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
