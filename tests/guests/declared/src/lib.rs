//! Declares everything that a service schema can: settings with secrets, metadata, dependencies, every
//! visibility, keys of its own.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Declared {
    /// Calls of `guarded` that reached the hook.
    guarded: u32,
}

#[service(
    name = "declared",
    version = 2,
    settings = {
        pageSize: 10,
        database: { user: "ada", password: "secret" },
        tokens: ["secret"],
        "$secureSettings": ["database.password", "tokens"],
        "$shutdownTimeout": 2000,
        "$cache": { ttl: 5 },
        rest: "/declared",
    },
    metadata = { region: "eu", scaling: { max: 3 } },
    dependencies = ["users", { name: "mailer", version: [3, "next"] }],
)]
impl Declared {
    /// Keys that only gateways and tools know.
    #[action(
        rest = { method: "GET", path: "/:id" },
        openapi = { summary: "one of them" },
        description = "gives one",
        "x-team" = ["web", null],
    )]
    fn get(&self, params: Value) -> Value {
        params
    }

    /// Another name than the method's.
    #[action(name = "listAll", visibility = "published")]
    fn list(&self, ctx: &Context) -> String {
        ctx.name()
    }

    #[action(visibility = "public")]
    fn open(&self) {}

    #[action(visibility = "protected")]
    fn inner(&self) -> &'static str {
        "for this node"
    }

    #[action(visibility = "private")]
    fn secret(&self, ctx: &Context, params: Value) -> Value {
        json!({ "params": params, "caller": ctx.caller(), "level": ctx.level() })
    }

    /// Calls the private action, which nobody else can.
    #[action]
    async fn own(&self, ctx: &Context, params: Value) -> Result<Value> {
        ctx.call_own("secret", params).await
    }

    /// Whatever the host does around an action, it does before the hook runs.
    #[action(params = { n: "number" }, cache = { keys: ["n"] }, hooks(before = "guard"))]
    fn guarded(&self, ctx: &Context) -> Option<u32> {
        ctx.local("guarded")
    }

    /// Hands its action what it counted.
    fn guard(&mut self, ctx: &Context) {
        self.guarded += 1;
        ctx.set_local("guarded", self.guarded);
    }

    /// The service as the SDK sees it.
    #[action]
    fn context(&self, ctx: &Context) -> Result<Value> {
        Ok(json!({ "context": ctx.to_json(), "settings": ctx.settings::<Value>()? }))
    }
}
