//! The attribute macros of `isomer-sdk`. Depend on that crate; it re-exports them.
//!
//! The work is done in `expand`, on ordinary token streams, so that it can be tested without a compiler.

use proc_macro::TokenStream;

mod args;
mod expand;
mod handler;
mod json;
mod middleware;
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
/// `dependencies` (names, or objects with `name` and `version`), `mode` (`"pooled"` or `"fresh"`),
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
