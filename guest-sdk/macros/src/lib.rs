//! The attribute macros of `isomer-sdk`. Depend on that crate; it re-exports them.
//!
//! The work is done in `expand`, on ordinary token streams, so that it can be tested without a compiler.

use proc_macro::TokenStream;

mod args;
mod expand;
mod handler;
mod hook;
mod json;
mod middleware;
mod pattern;
mod schema;

/// Makes a service of a struct: stands on the `impl` block that has its handlers.
///
/// ```ignore
/// #[service(name = "posts", version = 2, settings = { pageSize: 10 }, dependencies = ["users"])]
/// impl Posts {
///     #[action(params = { id: "number" }, cache = true, timeout = 2000, rest = "GET /:id")]
///     async fn get(&self, ctx: &Context, params: GetParams) -> Result<Post> { … }
///
///     #[event("user.*", group = "posts")]
///     fn on_user(&mut self, user: User) { … }
///
///     #[started]
///     async fn start(&mut self, ctx: &Context) -> Result<()> { … }
/// }
/// ```
///
/// # Keys of `#[service(…)]`
/// `name` (required), `version` (a number or text), `settings` and `metadata` (JSON objects),
/// `dependencies` (names, or objects with `name` and `version`), `mode` (`"pooled"`, `"fresh"` or `"shared"`),
/// `limits(fuel = …, timeout = …, memory = …, payload = …)`: less than the operator allows, per call; times are
/// milliseconds, sizes bytes.
///
/// # On methods
/// * `#[action]` or `#[action(key = value, …)]`: callable as `name.method`. Keys are Moleculer's; `name`
///   replaces the method's name, `limits(…)` narrows the limits of this action. A key in quotes is your own
///   and is carried to all nodes.
/// * `#[event("pattern", key = value, …)]`: handles events. `group` is the group for balancing.
/// * `#[started]`, `#[stopped]`: run when an instance starts and when it is retired.
/// * `#[created]` on `fn new() -> Self`: makes an instance; without it the struct has `Default`.
/// * `#[before("*")]`, `#[after("get|list")]`, `#[error_hook("create*")]`: hooks around the actions that
///   the pattern means. See below.
///
/// # Hooks and fallbacks
/// ```ignore
/// #[before("*")]
/// fn authenticate(&self, ctx: &Context) -> Result<()> { … }
///
/// #[before("create|update")]
/// fn trim(&self, params: &mut Value) { … }
///
/// #[after("get")]
/// fn without_secret(&self, mut user: Value) -> Value { … }
///
/// #[error_hook("*")]
/// fn translate(&self, ctx: &Context, error: Error) -> Error { … }
///
/// #[action(hooks(before = "check_owner", after = ["one", "two"]), fallback = "from_archive")]
/// async fn get(&self, ctx: &Context, params: Id) -> Result<User> { … }
///
/// fn from_archive(&self, params: Id, error: Error) -> Result<User> { … }
/// ```
///
/// * They run in Moleculer's order: before the action the hooks of `*`, those whose pattern means the
///   action, its own; after it the reverse, its own first. Hooks of one group run in the order of the block.
/// * A *before* hook changes the params through `&mut` (a `Value` keeps keys that it does not know) and
///   refuses the call by returning an error. The params of the action are read after all of them, so this is
///   also the place for checks that a `params` schema cannot express.
/// * An *after* hook takes the result (and before it, if it likes, the params); what it returns is the
///   result from then on. One that returns nothing leaves it as it is.
/// * An *error hook* runs when the action or another hook failed. It returns the `Error` to go on with, or a
///   `Result`, whose `Ok` is the result of the call; then no other hook runs.
/// * A *fallback* answers when the call has failed for good, after hooks, retries and time-outs.
/// * Error hooks and fallbacks whose params cannot be read are passed over: the error goes on.
/// * A pattern that means no action, and a method that does not exist, are mistakes. Hooks are not told to
///   other nodes. They stand inside of everything that the host does: a cached result passes them by.
///
/// A handler takes `&self` or `&mut self`, then `ctx: &Context` and its params or data by value, either of
/// which may be left out. It is `fn` or `async fn` and returns a value or a `Result`; the value may be
/// anything that serde serialises. Values of keys are JSON, whose object keys need no quotes.
#[proc_macro_attribute]
pub fn service(attr: TokenStream, item: TokenStream) -> TokenStream {
    let (mut tokens, errors) = expand::expand(attr.into(), item.into());
    tokens.extend(errors.iter().map(syn::Error::to_compile_error));
    tokens.into()
}

/// Makes a middleware of a struct: stands on its `impl Middleware` block.
///
/// ```ignore
/// #[middleware(name = "auth", actions = ["posts.*"], settings = { token: "" })]
/// impl Middleware for Auth {
///     async fn before_call(&mut self, ctx: &Context, action: &str, params: Payload) -> Result<Decision> { … }
/// }
/// ```
///
/// # Keys of `#[middleware(…)]`
/// `name` (required), `actions` and `events` (lists of patterns, as of events; everything without them, and
/// names that begin with `$` only where a pattern does), `settings` (a JSON object), `mode` (`"pooled"` or
/// `"fresh"`), `limits(fuel = …, timeout = …, memory = …, payload = …)`: less than the operator allows, per
/// hook.
///
/// The hooks that the block writes are those that are called; the struct has `Default`.
#[proc_macro_attribute]
pub fn middleware(attr: TokenStream, item: TokenStream) -> TokenStream {
    let (mut tokens, errors) = middleware::expand(attr.into(), item.into());
    tokens.extend(errors.iter().map(syn::Error::to_compile_error));
    tokens.into()
}
