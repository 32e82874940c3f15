//! A middleware that asks for a token, and can be told to go wrong in every way that a guard may.
//!
//! The token in the meta says what happens; settings say which one is good.

use isomer_sdk::prelude::*;
use serde::Deserialize;

/// The meta of a call, and the settings of the middleware.
#[derive(Deserialize)]
struct Holder {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct Pair {
    a: f64,
    b: f64,
}

#[derive(Default)]
struct Auth {
    token: String,
    n_calls: u32,
}

fn token(ctx: &Context) -> Result<String> {
    Ok(ctx.meta::<Holder>()?.token)
}

fn refused() -> Error {
    Error::client(401, "UNAUTHORIZED", "Who are you?").named("UnauthorizedError")
}

#[expect(clippy::panic, reason = "the purpose of this function")]
fn trap() -> ! {
    panic!("the guard fell over");
}

#[middleware(name = "auth", actions = ["math.*", "kit.*", "swapper.*"], events = ["kit.*"], settings = { token: "good" })]
impl Middleware for Auth {
    async fn started(&mut self, ctx: &Context) -> Result<()> {
        self.token = ctx.settings::<Holder>()?.token;
        Ok(())
    }

    async fn before_call(
        &mut self,
        ctx: &Context,
        action: &str,
        params: Payload,
    ) -> Result<Decision> {
        self.n_calls += 1;
        match token(ctx)?.as_str() {
            "trap" => trap(),
            "loop" => loop {
                std::hint::black_box(&self);
            },
            "answer" => return Decision::answer(&json!({ "answered": action })),
            "double" => {
                let Pair { a, b } = params.into_value()?;
                ctx.set_meta(json!({ "user": { "id": 7 } }))?;
                return Decision::with(&json!({ "a": a * 2.0, "b": b }));
            }
            "ask" => {
                // A call of its own does not come through here again, or this would never end.
                let sum: f64 = ctx.call("math.add", json!({ "a": 1, "b": 1 })).await?;
                ctx.set_meta(json!({ "asked": sum }))?;
            }
            token if token == self.token => {}
            _ => return Err(refused()),
        }
        ctx.set_meta(json!({ "user": { "id": 7 }, "seenBefore": self.n_calls - 1 }))?;
        Ok(Decision::Proceed)
    }

    async fn before_event(&mut self, ctx: &Context, _: &str, data: Payload) -> Result<Delivery> {
        match token(ctx)?.as_str() {
            "skip" => Ok(Delivery::Skip),
            "echo" => {
                // Would be asked about as well if it came through here.
                ctx.emit("kit.echoed", json!({})).await?;
                Ok(Delivery::Deliver)
            }
            "change" => {
                let data: Value = data.into_value()?;
                Ok(Delivery::DeliverWith(json!({ "was": data }).into()))
            }
            token if token == self.token => Ok(Delivery::Deliver),
            _ => Err(refused()),
        }
    }
}
