//! Calls within one node: through the whole broker, beside bare wasmtime and Moleculer JS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use tempfile::TempDir;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::limits::Mode;
use isomer_host::config::{BrokerOptions, Grants, Limits};
use isomer_host::context::{CallOptions, Context};
use isomer_host::payload::{Object, Payload};
use isomer_host::runtime::{Pool, PoolOptions, Runtime, RuntimeOptions};
use isomer_host::schema::{Bounds, ServiceSchema};
use isomer_host::service::LocalService;
use isomer_host::{clock, task};

use crate::bench::bare::{self, Bare};
use crate::bench::js::JsBroker;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::bench::{PAYLOAD, Scale};
use crate::guests;

/// The clock is read once per so many calls, so that it does not count.
const CALLS_PER_LOOK: u32 = 200;

/// A broker in this process with one component.
pub struct LocalNode {
    broker: ServiceBroker,
    _cache: TempDir,
}

impl LocalNode {
    /// Starts a broker with all default middlewares and loads a component into it.
    ///
    /// # Panics
    /// When that fails.
    pub async fn start(component: &Path, mode: Mode) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let broker = ServiceBroker::new(BrokerOptions::default()).unwrap();
        broker.start().await.unwrap();
        let node_id = Arc::clone(broker.node_id());
        let runtime = Runtime::new(RuntimeOptions::new(cache.path().to_owned(), node_id)).unwrap();
        let component = runtime.load(component).await.unwrap();
        let limits = Limits { mode, ..Limits::default() };
        let text = component.describe(&limits).await.unwrap();
        let bounds = Bounds { len: limits.schema, items: limits.schema_items, internal: false };
        let schema = ServiceSchema::read(&text, &Map::new(), bounds).unwrap();
        let pool = Pool::new(&runtime, component, PoolOptions {
            service: Arc::clone(&schema.full_name),
            limits,
            grants: Grants::default(),
            settings: Object::default(),
            env: Vec::new(),
            lifecycle: schema.lifecycle,
            caller: broker.caller(),
        });
        pool.start().await.unwrap();
        broker.add_service(service(schema, &pool)).await.unwrap();
        Self { broker, _cache: cache }
    }

    /// The broker.
    #[must_use]
    pub fn broker(&self) -> &ServiceBroker {
        &self.broker
    }

    /// One call.
    ///
    /// # Panics
    /// When it fails.
    pub async fn call(&self, action: &str) -> Payload {
        call(&self.broker, action).await
    }

    /// Seconds per call of calls one after the other, made by a task as a service's handler is.
    ///
    /// # Panics
    /// When a call fails.
    pub async fn sequence(&self, action: &'static str, slice: Duration) -> f64 {
        let broker = self.broker.clone();
        let calls = async move {
            per_call(slice, async || {
                call(&broker, action).await;
            })
            .await
        };
        task::run(calls).await.unwrap()
    }
}

async fn call(broker: &ServiceBroker, action: &str) -> Payload {
    let params = Payload::Json(bytestring::ByteString::from_static(PAYLOAD));
    broker.call(action, params, CallOptions::default()).await.unwrap()
}
