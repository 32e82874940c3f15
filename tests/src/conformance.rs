//! The conformance kit: scenarios that are written once and run against the guest of every language.
//!
//! The guests do what `tests/conformance/README.md` says. A scenario is a function over a node with such a guest
//! ([`node`]); it fails by panicking. The languages are in [`languages`], what came of a run is the document
//! that [`report`] keeps. The calls that measure a guest are in `bench/languages.rs`.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::task::panic_text;

use crate::{host, wait};

mod calls;
mod context;
mod events;
pub mod languages;
mod life;
mod limits;
pub mod node;
pub mod report;
mod streams;
mod values;

use languages::{Language, Missing};

/// Scenarios of one guest that run at once.
const SCENARIOS_AT_ONCE: usize = 2;
/// How long one scenario may take, and how long the compiler for a large component, on a busy machine.
const SCENARIO_TIME: std::time::Duration = std::time::Duration::from_secs(120);
const COMPILE_TIME: std::time::Duration = std::time::Duration::from_secs(300);
/// How much is shown of what went wrong, in characters.
const HOW_MAX: usize = 600;

/// One thing that every guest has to be able to do.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it belongs to.
    pub area: &'static str,
    /// What is to work, in a few words; unique.
    pub name: &'static str,
    run: fn(Arc<Guest>) -> BoxFuture<'static, ()>,
}

/// A line of a list of scenarios: what is to work, and the function that tries it.
macro_rules! list {
    ($area:literal: $($name:literal => $work:path,)*) => {
        pub(super) const SCENARIOS: &[$crate::conformance::Scenario] = &[$(
            $crate::conformance::Scenario {
                area: $area,
                name: $name,
                run: |guest| Box::pin($work(guest)),
            },
        )*];
    };
}
use list;

/// All scenarios, in the order of the document.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let areas = [
        values::SCENARIOS,
        context::SCENARIOS,
        calls::SCENARIOS,
        events::SCENARIOS,
        limits::SCENARIOS,
        life::SCENARIOS,
        streams::SCENARIOS,
    ];
    areas.concat()
}

/// The component of one language.
pub struct Guest {
    /// The language.
    pub language: &'static Language,
    /// The component.
    pub file: PathBuf,
}

/// How one scenario went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Works,
    /// The language cannot do it, and why.
    Lacks(&'static str),
    /// It was tried in vain, and how it ended.
    Fails(String),
}

/// What came of one language.
pub struct Column {
    /// Its name.
    pub language: &'static str,
    /// One outcome for each scenario.
    pub outcomes: Vec<Outcome>,
}

/// Runs all scenarios against one language.
///
/// # Errors
/// When the tools to build the guest are not on this machine.
///
/// # Panics
/// When the guest cannot be built or compiled.
pub async fn run(language: &'static Language) -> Result<Column, Missing> {
    let file = language.component()?;
    let guest = Arc::new(Guest { language, file });
    guest.compile().await;
    let outcomes = stream::iter(scenarios()).map(|scenario| {
        let guest = Arc::clone(&guest);
        async move {
            match language.lack(scenario.name) {
                Some(reason) => Outcome::Lacks(reason),
                None => try_one(scenario, guest).await,
            }
        }
    });
    let outcomes = outcomes.buffered(SCENARIOS_AT_ONCE).collect().await;
    Ok(Column { language: language.name, outcomes })
}

async fn try_one(scenario: Scenario, guest: Arc<Guest>) -> Outcome {
    let work = AssertUnwindSafe((scenario.run)(guest)).catch_unwind();
    match tokio::time::timeout(SCENARIO_TIME, work).await {
        Ok(Ok(())) => Outcome::Works,
        Ok(Err(panic)) => Outcome::Fails(panic_text(&*panic).chars().take(HOW_MAX).collect()),
        Err(_) => Outcome::Fails(format!("took longer than {SCENARIO_TIME:?}")),
    }
}

impl Guest {
    /// Compiles both versions into the cache that all tests share, so that no scenario has to wait for it.
    async fn compile(&self) {
        let broker = ServiceBroker::new(BrokerOptions::default()).unwrap();
        let runtime = host::runtime(&broker);
        for version in [0, 1] {
            let load = runtime.load_bytes(self.version(version));
            let loaded = wait::within(COMPILE_TIME, "the compiled component", load).await;
            if let Err(error) = loaded {
                panic!("{}: {error}", self.file.display());
            }
        }
    }
}
