//! Middlewares: the wrong place, no hook, wrong keys.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Auth;

#[middleware(name = "auth")]
impl Auth {}

#[middleware(name = "auth", action = ["posts.*"], events = "user.*")]
impl Middleware for Auth {
    async fn started(&mut self, _: &Context) -> Result<()> {
        Ok(())
    }
}

fn main() {}
