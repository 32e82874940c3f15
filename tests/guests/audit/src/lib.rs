//! A middleware that sends an event for everything that ended, and mends one kind of error.

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    stamp: bool,
}

#[derive(Default)]
struct Audit;

#[middleware(name = "audit", mode = "fresh")]
impl Middleware for Audit {
    async fn after_call(
        &mut self,
        ctx: &Context,
        action: &str,
        returned: Payload,
    ) -> Result<Option<Payload>> {
        let result: Value = returned.into_value()?;
        ctx.emit("audit.ended", json!({ "action": action, "result": result })).await?;
        let Meta { stamp } = ctx.meta()?;
        Ok(stamp.then(|| json!({ "stamped": result }).into()))
    }

    async fn on_error(&mut self, ctx: &Context, action: &str, error: Error) -> Result<Payload> {
        let seen = json!({ "action": action, "name": error.name(), "code": error.code() });
        ctx.emit("audit.failed", seen).await?;
        match error.kind() {
            "DIVISION_BY_ZERO" => Ok(json!("infinite").into()),
            _ => Err(error),
        }
    }
}
