//! Version 1 of a service that is swapped under load; its twin answers with the other number.

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Swapper {
    calls: u32,
}

#[derive(Deserialize)]
struct Slow {
    then: String,
}

#[service(name = "swapper")]
impl Swapper {
    /// Which version answered.
    #[action]
    fn version(&self) -> u32 {
        1
    }

    /// State of this instance: starts again at 1 in a new one.
    #[action]
    fn count(&mut self) -> u32 {
        self.calls += 1;
        self.calls
    }

    /// Which version answered, after calling the action that is named in `then`.
    #[action]
    async fn slow(&self, ctx: &Context, params: Slow) -> Result<u32> {
        ctx.call::<Value>(&params.then, ()).await?;
        Ok(1)
    }
}
