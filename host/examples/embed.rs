//! A broker inside a program: a service in Rust, a middleware, and a call.
//!
//! `cargo run -p isomer-host --example embed`. Explained in `docs/embedding.md`.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::context::CallOptions;
use isomer_host::error::MoleculerError;
use isomer_host::handler::Handler;
use isomer_host::middleware::Middleware;
use isomer_host::payload::{Object, Payload};
use isomer_host::schema::ActionSchema;
use isomer_host::service::LocalService;
use serde_json::json;

#[derive(serde::Deserialize)]
struct Add {
    a: f64,
    b: f64,
}

/// Lets nobody at actions marked `"auth": true` without a user in the meta.
#[derive(Default)]
struct Guard {
    refused: Arc<AtomicUsize>,
}

impl Middleware for Guard {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        if action.definition.get("auth") != Some(&json!(true)) {
            return next;
        }
        let refused = Arc::clone(&self.refused);
        Arc::new(move |ctx| {
            if ctx.meta().get("user").is_some() {
                return next(ctx);
            }
            refused.fetch_add(1, Ordering::Relaxed);
            let error = MoleculerError::client(401, "UNAUTHORIZED", "Who are you?");
            Box::pin(std::future::ready(Err(error)))
        })
    }
}

fn math() -> Result<LocalService, isomer_host::schema::Error> {
    LocalService::builder("math")
        .action("add", json!({"auth": true}), |_ctx, add: Add| async move { Ok(add.a + add.b) })
        .build()
}

/// Starts a node, calls it and stops it; gives the sum and how often the guard refused.
pub(crate) async fn run() -> Result<(f64, usize), Box<dyn Error>> {
    let guard = Guard::default();
    let refused = Arc::clone(&guard.refused);
    let options = BrokerOptions { node_id: Some("embedded".into()), ..BrokerOptions::default() };
    let broker = ServiceBroker::builder(options)
        .middleware(Arc::new(guard))
        .service(math()?)
        .started(|broker| async move {
            broker.emit("app.ready", Payload::null(), Default::default()).await
        })
        .build()?;
    broker.start().await?;

    let params = Payload::from_value(&json!({"a": 40, "b": 2}))?;
    let denied = broker.call("math.add", params.clone(), CallOptions::default()).await;
    assert!(denied.is_err_and(|error| error.code() == 401));
    let meta = Some(Object::from_value(&json!({"user": "ada"}))?);
    let options = CallOptions { meta, ..CallOptions::default() };
    let sum = broker.call("math.add", params, options).await?.parse()?;

    broker.stop().await;
    Ok((sum, refused.load(Ordering::Relaxed)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (sum, refused) = run().await?;
    writeln!(std::io::stdout(), "40 + 2 = {sum}; {refused} call was refused")?;
    Ok(())
}
