//! Version 3 of the service that is swapped: it has a probe, which fails when its settings say so, and an action
//! that traps.

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Swapper;

#[derive(Deserialize)]
struct Settings {
    /// Whether the probe fails.
    #[serde(default)]
    broken: bool,
}

#[service(name = "swapper", probe = "health")]
impl Swapper {
    /// Which version answered.
    #[action]
    fn version(&self) -> u32 {
        3
    }

    /// Whether this version may be put into service.
    #[action]
    fn health(&self, ctx: &Context) -> Result<&'static str> {
        match ctx.settings::<Settings>()?.broken {
            true => Err(Error::server(503, "UNHEALTHY", "the settings say so")),
            false => Ok("well"),
        }
    }

    /// Traps.
    #[action]
    #[expect(clippy::panic, reason = "the purpose of this guest")]
    fn trap(&self) -> u32 {
        panic!("as it was asked to")
    }
}
