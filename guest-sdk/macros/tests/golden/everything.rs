#[service(
    name = "posts",
    version = 2,
    settings = { pageSize: 10, nested: { "$secure": ["token"] } },
    metadata = { team: "web" },
    dependencies = ["users", { name: "mailer", version: 1 }],
    mode = "pooled",
    limits(fuel = 1_000_000, instances(max = 4)),
)]
impl Posts {
    #[created]
    fn new() -> Self {
        Self { posts: Vec::new() }
    }

    /// Stays where it is.
    #[action(
        params = { id: "number", type: { type: "enum", values: ["a", "b"] } },
        cache = { keys: ["id"], ttl: 5 },
        timeout = 2000,
        visibility = "protected",
        rest = "GET /:id",
        limits(fuel = 10_000),
        "x-own" = null,
        openapi = { summary: "one post" },
    )]
    async fn get(&mut self, ctx: &Context, params: GetParams) -> Result<Post> {
        self.find(ctx, params.id).await
    }

    #[action(name = "listAll", cache)]
    fn list(&self) -> Vec<Post> {
        self.posts.clone()
    }

    #[action]
    fn clear(&mut self) {
        self.posts.clear();
    }

    #[event("user.*", group = "posts", debounce = 100)]
    #[event("author.removed")]
    async fn on_user(&mut self, user: User, ctx: &Context) -> Result<()> {
        self.forget(ctx, user)
    }

    #[started]
    async fn start(&mut self, ctx: &Context) -> Result<()> {
        self.load(ctx).await
    }

    #[stopped]
    fn stop(&self) {}

    fn unmarked<T>(&self, _: T) {}
}
