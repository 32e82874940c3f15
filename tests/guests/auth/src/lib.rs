//! A middleware that asks for a token, and can be told to go wrong in every way that a guard may.
//!
//! The token in the meta says what happens; settings say which one is good.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Auth {
    token: String,
    n_calls: u32,
}

fn token(ctx: &Context) -> Result<String> {
    let meta: Value = ctx.meta()?;
    Ok(meta["token"].as_str().unwrap_or_default().to_owned())
}

fn refused() -> Error {
    Error::client(401, "UNAUTHORIZED", "Who are you?").named("UnauthorizedError")
}

#[middleware(name = "auth", actions = ["math.*", "kit.*", "swapper.*"], events = ["kit.*"], settings = { token: "good" })]
impl Middleware for Auth {
    async fn started(&mut self, ctx: &Context) -> Result<()> {
        let settings: Value = ctx.settings()?;
        self.token = settings["token"].as_str().unwrap_or_default().to_owned();
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
            "trap" => panic!("the guard fell over"),
            "loop" => loop {
                std::hint::black_box(&self);
            },
            "answer" => return Decision::answer(&json!({ "answered": action })),
            "double" => {
                let params: Value = params.into_value()?;
                ctx.set_meta(json!({ "user": { "id": 7 } }))?;
                let a = params["a"].as_f64().unwrap_or_default() * 2.0;
                return Decision::with(&json!({ "a": a, "b": params["b"] }));
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
