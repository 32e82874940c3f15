//! Hears the node's own events and passes each on to the action `sink.note`.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Watcher;

#[service(name = "watcher")]
impl Watcher {
    #[event("$**")]
    async fn heard(&self, ctx: &Context, data: Value) -> Result<()> {
        let note = json!({ "event": ctx.name(), "data": data });
        ctx.call("sink.note", note).await.map(|_: Value| ())
    }
}
