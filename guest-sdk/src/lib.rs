//! Write [Isomer](https://github.com/isomer-host/isomer) services in Rust.
//!
//! A service is a struct and its methods; [`macro@service`] makes a WebAssembly component of them that any
//! Isomer node runs and any Moleculer node can call:
//!
//! ```
//! use isomer_sdk::prelude::*;
//!
//! #[derive(Default)]
//! struct Greeter {
//!     greeted: u32,
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Welcome {
//!     name: String,
//! }
//!
//! #[service(name = "greeter", version = 2, settings = { greeting: "Hello" })]
//! impl Greeter {
//!     #[action(params = { name: "string" }, cache = true)]
//!     async fn welcome(&mut self, ctx: &Context, params: Welcome) -> Result<String> {
//!         self.greeted += 1;
//!         ctx.emit("greeter.greeted", json!({ "name": params.name })).await?;
//!         Ok(format!("Hello, {}!", params.name))
//!     }
//!
//!     #[event("user.*", group = "greeters")]
//!     fn on_user(&mut self, ctx: &Context, user: Value) {
//!         ctx.logger().info(format_args!("{}: {user}", ctx.name()));
//!     }
//! }
//! ```
//!
//! Build it as a `cdylib` with `cargo build --target wasm32-wasip2 --release` and copy the `.wasm` into the
//! folder of a node. One crate is one service. The values in `self` live as long as the instance; a node
//! may run several instances of a service, each with its own.
//!
//! [`testing`] runs a service in an ordinary unit test.
//!
//! [`macro@middleware`] makes a component of the other kind: one that stands around the services of a node.
//!
//! ```
//! use isomer_sdk::prelude::*;
//!
//! #[derive(Default)]
//! struct Auth;
//!
//! #[middleware(name = "auth", actions = ["posts.*"])]
//! impl Middleware for Auth {
//!     async fn before_call(&mut self, ctx: &Context, _: &str, _: Payload) -> Result<Decision> {
//!         match ctx.meta::<Value>()?.get("user") {
//!             Some(_) => Ok(Decision::Proceed),
//!             None => Err(Error::new(401, "UNAUTHORIZED", "Who are you?")),
//!         }
//!     }
//! }
//! ```

// Lets the examples and generated code name this crate as users do.
extern crate self as isomer_sdk;

mod cacher;
mod context;
mod error;
mod executor;
mod host;
mod logger;
mod middleware;
mod payload;
mod request;
mod service;
mod span;
mod stream;

#[cfg(target_family = "wasm")]
mod component;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use cacher::Cacher;
pub use context::Context;
pub use error::{Error, Result};
pub use host::EventType;
pub use isomer_sdk_macros::{middleware, service};
pub use logger::{Level, Logger};
pub use middleware::{Decision, Delivery, Middleware};
pub use payload::{Bytes, Payload};
pub use request::{
    Call, CallFuture, EventRequest, Later, MultiRequest, Request, Settled, WaitRequest,
};
pub use serde_json::{Value, json};
pub use service::{Service, SharedService};
pub use span::Span;
pub use stream::{Reader, Step, StreamCall, Writer};

/// What nearly every service needs: `use isomer_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Bytes, Call, Context, Decision, Delivery, Error, Middleware, Payload, Reader, Result,
        Value, Writer, json, middleware, service,
    };
}

/// For generated code.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_family = "wasm")]
    pub use crate::component::bindings::{self, export_component};
    #[cfg(target_family = "wasm")]
    pub use crate::component::interceptor::bindings::{
        self as middleware_bindings, export_middleware,
    };
    #[cfg(target_family = "wasm")]
    pub use crate::component::interceptor::{Interceptor, MiddlewarePlace};
    #[cfg(target_family = "wasm")]
    pub use crate::component::tasks::bindings::{self as shared_bindings, export_shared_component};
    #[cfg(target_family = "wasm")]
    pub use crate::component::tasks::{SharedComponent, SharedInstance, SharedPlace};
    #[cfg(target_family = "wasm")]
    pub use crate::component::{Component, Instance, Place};
    pub use crate::middleware::Described;
    pub use crate::service::{cause, create, no_action, no_event, params, reply, result};
}
