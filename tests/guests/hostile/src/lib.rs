//! A guest that takes what it can get, one action for each thing that a host must bound.

use std::hint::black_box;
use std::time::Duration;

use futures_util::future::join_all;
use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Hostile {
    hoard: Vec<Vec<u8>>,
    n_moods: usize,
}

#[derive(Deserialize)]
struct Number {
    n: usize,
}

#[derive(Deserialize)]
struct Target {
    n: usize,
    action: String,
}

#[expect(unconditional_recursion, reason = "the purpose of this function")]
fn descend(depth: usize) -> usize {
    // The use after the call keeps every frame on the stack.
    black_box(descend(black_box(depth + 1))) + 1
}

#[service(name = "hostile")]
impl Hostile {
    /// Never ends.
    #[action(name = "loop")]
    fn spin(&self) {
        loop {
            black_box(());
        }
    }

    /// Takes memory until it is refused.
    #[action]
    fn bomb(&mut self) {
        loop {
            self.hoard.push(vec![1; 1 << 20]);
        }
    }

    /// Takes `n` MiB and keeps them.
    #[action]
    fn hoard(&mut self, params: Number) -> usize {
        self.hoard.extend((0..params.n).map(|_| vec![1; 1 << 20]));
        self.hoard.len()
    }

    /// Recurses until the stack ends.
    #[action]
    fn recurse(&self) -> usize {
        descend(0)
    }

    /// Has `n` calls of an action in flight at once.
    #[action]
    async fn handles(&self, ctx: &Context, params: Target) -> Value {
        let calls = (0..params.n).map(|_| ctx.call::<Value>(&params.action, ()).into_future());
        let results = join_all(calls).await;
        let errors: Vec<Value> =
            results.iter().filter_map(|result| Some(result.as_ref().err()?.to_json())).collect();
        json!({ "failed": errors.len(), "first": errors.first() })
    }

    /// A result of `n` bytes of text (and two quotes).
    #[action]
    fn giant(&self, params: Number) -> String {
        "x".repeat(params.n)
    }

    /// Params of `n` bytes for another action.
    #[action]
    async fn shout(&self, ctx: &Context, params: Target) -> Result<Value> {
        ctx.call(&params.action, "x".repeat(params.n)).await
    }

    /// Meta of `n` bytes.
    #[action(name = "giantMeta")]
    fn giant_meta(&self, ctx: &Context, params: Number) -> Result<()> {
        ctx.set_meta(json!({ "x": "x".repeat(params.n) }))
    }

    /// An error whose data has `n` bytes.
    #[action(name = "giantError")]
    fn giant_error(&self, params: Number) -> Result<()> {
        Err(Error::client(400, "GIANT", "x".repeat(params.n)).data("x".repeat(params.n)))
    }

    /// Writes `n` lines to the log.
    #[action]
    fn flood(&self, ctx: &Context, params: Number) {
        for line in 0..params.n {
            ctx.logger().info(format_args!("line {line}"));
        }
    }

    /// Writes one line of `n` bytes to the log.
    #[action(name = "longLine")]
    fn long_line(&self, ctx: &Context, params: Number) {
        ctx.logger().info("x".repeat(params.n));
    }

    /// Writes `n` bytes to stdout without a line end.
    #[action]
    #[expect(clippy::print_stdout, reason = "the purpose of this action")]
    fn print(&self, params: Number) {
        for _ in 0..params.n {
            print!("x");
        }
    }

    /// A result that is no JSON.
    #[action(name = "invalidJson")]
    fn invalid_json(&self) -> Payload {
        Payload::Json("{\"a\":1},\"sender\":\"somebody else\"".into())
    }

    /// A result that is nested `n` levels deep.
    #[action]
    fn deep(&self, params: Number) -> Payload {
        Payload::Json("[".repeat(params.n) + &"]".repeat(params.n))
    }

    /// Sends `n` events; answers how many were refused.
    #[action]
    async fn storm(&self, ctx: &Context, params: Number) -> usize {
        let mut refused = 0;
        for n in 0..params.n {
            refused += usize::from(ctx.emit("hostile.storm", n).await.is_err());
        }
        refused
    }

    /// Answers its own event with another: a storm without end, unless somebody ends it.
    #[event("hostile.echo")]
    async fn on_echo(&self, ctx: &Context, data: Value) -> Result<()> {
        ctx.emit("hostile.echo", data).await
    }

    /// Calls itself for ever.
    #[action]
    async fn ring(&self, ctx: &Context) -> Result<Value> {
        ctx.call("hostile.ring", ()).await
    }

    #[action]
    #[expect(clippy::panic, reason = "the purpose of this action")]
    fn trap(&self) {
        panic!("hostile.trap was called");
    }

    /// Ends the process, if it is let.
    #[action]
    fn exit(&self) {
        std::process::exit(3);
    }

    /// Traps on every `n`-th call of an instance.
    #[action]
    fn moody(&mut self, params: Number) -> usize {
        self.n_moods += 1;
        assert!(!self.n_moods.is_multiple_of(params.n), "in a bad mood");
        self.n_moods
    }

    /// Calls itself `n` times at once, and so do these; nobody waits for long.
    #[action]
    async fn swarm(&self, ctx: &Context, params: Number) -> usize {
        let timeout = Duration::from_millis(200);
        let calls = (0..params.n).map(|_| {
            let call = ctx.call::<Value>("hostile.swarm", json!({ "n": params.n }));
            call.timeout(timeout).into_future()
        });
        join_all(calls).await.iter().filter(|result| result.is_ok()).count()
    }

    /// Calls another service, which calls it again.
    #[action]
    async fn round(&self, ctx: &Context) -> Result<Value> {
        ctx.call("relay.pass", ()).await
    }

    /// Waits within the host, for an hour.
    #[action]
    fn block(&self) {
        std::thread::sleep(Duration::from_secs(3_600));
    }

    /// Takes the stream of its caller and never reads it.
    #[action]
    fn deaf(&self, ctx: &Context) {
        let _stream = ctx.stream();
        std::thread::sleep(Duration::from_secs(3_600));
    }

    /// A stream without end, as fast as it is taken.
    #[action]
    async fn pour(&self, ctx: &Context) -> Result<()> {
        let mut answer = ctx.respond_stream()?;
        loop {
            answer.write(vec![0; 64 << 10]).await?;
        }
    }

    /// A stream without end, byte by byte.
    #[action]
    async fn drip(&self, ctx: &Context) -> Result<()> {
        let mut answer = ctx.respond_stream()?;
        loop {
            answer.write(vec![0]).await?;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A result of this text, whatever it is.
    #[action]
    fn say(&self, params: String) -> Payload {
        Payload::Json(params)
    }

    /// A call under another's name.
    #[action]
    async fn forge(&self, ctx: &Context) -> Result<Value> {
        ctx.call("greeter.hello", ()).option("caller", "$node").await
    }

    /// A value under the key of another's action.
    #[action]
    fn poison(&self, ctx: &Context) -> Result<()> {
        ctx.cacher().set("greeter.hello:", "poison", None)
    }
}
