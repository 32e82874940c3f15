//! A component that is ready to be instantiated: compiled, loaded and linked.

use std::sync::Arc;

use wasmtime::component::{self, Linker};

use crate::clock;
use crate::config::limits::ActionLimits;
use crate::config::{Grants, Limits};
use crate::error::MoleculerError;
use crate::memory::room::Room;
use crate::metrics::MetricRegistry;
use crate::payload::Object;
use crate::runtime::Error;
use crate::runtime::deadline::Deadline;
use crate::runtime::environment::{CallLimits, Environment, Parts};
use crate::runtime::failure::check_len;
use crate::runtime::inspect::{self, Inspection, WORLD_VERSION};
use crate::runtime::instance::Instance;
use crate::runtime::state::State;
use crate::runtime::world::{Kind, Pre, World};
use crate::task::CancellationToken;

/// Digits of a SHA-256 that name a version, as `isomer versions` shows it.
const VERSION_LEN: usize = 12;

/// A compiled component of one of the worlds. Cheap to clone.
#[derive(Clone)]
pub struct Component(Arc<Inner>);

struct Inner {
    pre: Pre,
    inspection: Inspection,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("sha256", &self.0.inspection.sha256).finish()
    }
}

impl Component {
    /// Links a loaded component and checks that it fits the world.
    pub(super) fn link(
        linker: &Linker<State>,
        loaded: &component::Component,
        world: World,
        inspection: Inspection,
    ) -> Result<Self, Error> {
        let pre = linker.instantiate_pre(loaded).and_then(|pre| Pre::new(world, pre));
        // All names fit, so what is left is a difference in types.
        let pre = pre.map_err(|error| Error::WrongWorld { reason: format!("{error:#}") })?;
        Ok(Self(Arc::new(Inner { pre, inspection })))
    }

    /// What its bytes say about it.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    /// What tells it from other versions, for people: the beginning of its SHA-256.
    pub(super) fn version(&self) -> Arc<str> {
        let sha256 = &self.0.inspection.sha256;
        Arc::from(sha256.get(..VERSION_LEN).unwrap_or(sha256))
    }

    /// Whether it is a service or a middleware.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.world().kind()
    }

    /// The world that it targets.
    #[must_use]
    pub fn world(&self) -> World {
        self.0.pre.world()
    }

    pub(super) fn pre(&self) -> &Pre {
        &self.0.pre
    }

    /// Asks the component for its schema, as JSON text, in an instance that can reach nothing.
    ///
    /// # Errors
    /// How the guest ended, if it did not answer; `PAYLOAD_TOO_LARGE` when the schema is larger than
    /// `limits.schema`.
    pub async fn describe(&self, limits: &Limits) -> Result<String, MoleculerError> {
        let mut sandbox = limits.clone();
        sandbox.payload = limits.schema;
        let environment = Arc::new(Environment::new(Parts {
            service: Arc::from("describe"),
            version: Arc::from(""),
            node_id: Arc::from(""),
            namespace: Arc::from(""),
            limits: sandbox,
            settings: Object::default(),
            env: Vec::new(),
            caller: None,
            cacher: None,
            grants: &Grants::nothing(),
            private: &[],
            metrics: &MetricRegistry::default(),
            core_dumps: None,
            room: Arc::new(Room::endless()),
        }));
        let limits = CallLimits::new(&environment.limits, &ActionLimits::default());
        let deadline = Deadline::new(None, clock::now(), limits.timeout);
        let never = CancellationToken::new();
        let mut instance =
            Instance::new(self.pre(), &environment, &limits, deadline, &never).await?;
        let text = instance.describe(&limits, deadline, &never).await?;
        check_len("schema", text.len(), limits.payload)?;
        Ok(text)
    }
}

/// Checks by name that a component exports what its world asks for and imports only what this node has,
/// before anything is spent on compiling it.
pub(super) fn check_world(inspection: &Inspection) -> Result<World, Error> {
    let exports = &inspection.exports;
    let reason = match world_of(inspection) {
        Some((world, name)) if inspect::is_this_version(name) => {
            let unknown = inspection.unknown_imports();
            if unknown.is_empty() {
                return Ok(world);
            }
            format!("it imports {}, which this node does not offer", unknown.join(", "))
        }
        Some((_, name)) => format!(
            "it exports {name}, and this node speaks version {WORLD_VERSION}; build it with an SDK \
             of that version"
        ),
        None => format!(
            "it does not export {}@{WORLD_VERSION} (it exports {}); build it with an Isomer SDK, or \
             against the files in wit/",
            World::Service.interface(),
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
        ),
    };
    Err(Error::WrongWorld { reason })
}

/// The world that a component targets, and the export by which it is known.
fn world_of(inspection: &Inspection) -> Option<(World, &str)> {
    World::ALL.into_iter().find_map(|world| {
        let is_it = |name: &&String| name.split('@').next() == Some(world.interface());
        inspection.exports.iter().find(is_it).map(|name| (world, name.as_str()))
    })
}

impl Inspection {
    /// The world that it targets, by the names of its exports; `None` when it is not for this node.
    #[must_use]
    pub fn world(&self) -> Option<World> {
        world_of(self).map(|(world, _)| world)
    }
}
