//! A node with a conformance guest and what the guest talks to: the services `rs` and `rs.files` of the other
//! tests, and `peer`, which is here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::{BrokerOptions, Cacher};
use isomer_host::context::{CallOptions, ContextBuilder, Outcome};
use isomer_host::error::MoleculerError;
use isomer_host::handler::Handler;
use isomer_host::middleware::Middleware;
use isomer_host::payload::Payload;
use isomer_host::schema::ActionSchema;
use isomer_host::service::LocalService;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::Guest;
use crate::host::Host;
use crate::mirror::{self, Received, action};
use crate::{broker, guests, streams, wait};

/// The full name of the service.
pub const SERVICE: &str = "conformance";
/// One instance, so that what it noted can be asked for.
pub const ALONE: &str = "[instances]\nmax = 1\n";
/// So many calls of `peer.gate` have to wait in it at once before any of them is answered.
pub const GATE: usize = 5;

/// A node that runs the guest.
pub struct Node {
    /// The node.
    pub host: Host,
    /// Events `life.*`.
    pub life: Received,
    /// Events `out.*`.
    pub out: Received,
    /// Headers of the last responses, by action.
    headers: Headers,
}

type Headers = Arc<Mutex<HashMap<String, Value>>>;

impl Guest {
    /// A node of its own with the guest, set up by the text of its `NAME.toml`, ready to be called.
    pub async fn node(&self, sidecar: &str) -> Node {
        let node = self.node_with(sidecar, options()).await;
        assert_eq!(
            node.host.loaded.in_service,
            1,
            "the guest is not in service: {}",
            node.why().await
        );
        node
    }

    /// The same with other options of the node; the guest may have failed to start.
    pub async fn node_with(&self, sidecar: &str, options: BrokerOptions) -> Node {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("conformance.toml"), sidecar).unwrap();
        self.put(folder.path(), 0);
        let headers = Headers::default();
        let spy = Arc::new(Spy(Arc::clone(&headers)));
        let broker = ServiceBroker::builder(options).middleware(spy).build().unwrap();
        let (life, out) = serve(&broker).await;
        let host = Host::start_broker(broker, folder).await;
        Node { host, life, out, headers }
    }

    /// Puts the component into a folder. Each version is another file with the same code: what is added is
    /// a section that nobody reads.
    pub fn put(&self, folder: &Path, version: u8) {
        guests::put_bytes(&self.version(version), folder, "conformance.wasm");
    }

    /// The bytes of a version.
    #[must_use]
    pub fn version(&self, version: u8) -> Vec<u8> {
        let mut bytes = std::fs::read(&self.file).unwrap();
        // Section 0, its length, the length of its name, the name, one byte.
        bytes.extend_from_slice(&[0, 3, 1, b'v', version]);
        bytes
    }
}

/// Options of the node in most scenarios.
#[must_use]
pub fn options() -> BrokerOptions {
    BrokerOptions {
        node_id: Some("node-1".into()),
        namespace: "conformance".into(),
        cacher: Some(Cacher::default()),
        ..BrokerOptions::default()
    }
}

impl Node {
    /// Calls an action of the guest with JSON and gives its JSON result.
    ///
    /// # Errors
    /// The call's.
    pub async fn call(&self, action: &str, params: Value) -> Result<Value, MoleculerError> {
        let result = self.call_raw(action, broker::json(&params), CallOptions::default()).await?;
        result.parse().map_err(|_| MoleculerError::server("NO_JSON", format!("{result:?}")))
    }

    /// As [`Node::call`], for what has to succeed.
    pub async fn get(&self, action: &str, params: Value) -> Value {
        let shown = params.to_string();
        let result = self.call(action, params).await;
        result.unwrap_or_else(|error| panic!("{action} {}: {error}", cut(&shown)))
    }

    /// As [`Node::call`], for what has to fail.
    pub async fn error(&self, action: &str, params: Value) -> MoleculerError {
        let shown = params.to_string();
        match self.call(action, params).await {
            Ok(result) => {
                panic!("{action} {} succeeded: {}", cut(&shown), cut(&result.to_string()))
            }
            Err(error) => error,
        }
    }

    /// Calls an action of the guest.
    ///
    /// # Errors
    /// The call's.
    pub async fn call_raw(&self, action: &str, params: Payload, options: CallOptions) -> Outcome {
        let what = format!("an answer of '{action}'");
        let action = format!("{SERVICE}.{action}");
        wait::for_result(&what, self.host.broker.call(&action, params, options)).await
    }

    /// Calls an action of the guest with meta, as a service would: the outcome, and the meta afterwards.
    pub async fn call_with_meta(
        &self,
        action: &str,
        params: Value,
        meta: Value,
    ) -> (Result<Value, MoleculerError>, Value) {
        let root = ContextBuilder::new("root".into(), "node-1".into()).build();
        let options =
            CallOptions { meta: Some(broker::object(&meta)), ..CallOptions::child_of(&root) };
        let outcome = self.call_raw(action, broker::json(&params), options).await;
        let outcome = outcome.map(|result| result.parse().unwrap());
        (outcome, Value::Object(root.meta().to_map()))
    }

    /// What the event handlers noted, when there are so many, by the names of the events; with one instance only.
    pub async fn events(&self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        let what = format!("{count} noted events");
        let asked = Mutex::new(&mut events);
        wait::until(&what, || async {
            let more = self.get("events", json!({})).await;
            let mut events = asked.lock();
            events.extend(more.as_array().unwrap().clone());
            (events.len() >= count).then_some(())
        })
        .await;
        // Events of different names may overtake each other.
        events.sort_by_key(|event| event["context"]["name"].to_string());
        events
    }

    /// The headers that the last call of an action was answered with.
    #[must_use]
    pub fn response_headers(&self, action: &str) -> Value {
        self.headers.lock().get(&format!("{SERVICE}.{action}")).cloned().unwrap_or_default()
    }

    /// What the node tells of the guest.
    pub async fn row(&self) -> Value {
        let params = json!({"withActions": true, "withEvents": true});
        let rows = self.host.call("$node.services", &params).await.unwrap();
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.into_iter().find(|row| row["name"] == SERVICE).unwrap_or_default()
    }

    async fn why(&self) -> Value {
        self.row().await["isomer"]["error"].clone()
    }
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// What the guest calls and who hears its events.
async fn serve(broker: &ServiceBroker) -> (Received, Received) {
    mirror::add(broker).await;
    streams::add(broker).await;
    let gate = Arc::new(Barrier::new(GATE));
    let actions = vec![(
        "gate",
        action(move |ctx| {
            let gate = Arc::clone(&gate);
            async move {
                gate.wait().await;
                Ok(ctx.params.clone())
            }
        }),
    )];
    let schema = json!({"name": "peer", "actions": {"gate": {}}});
    broker.add_service(LocalService::native(&schema, actions, vec![]).unwrap()).await.unwrap();
    let life = mirror::listen(broker, "life-listener", "life.*", "").await;
    let out = mirror::listen(broker, "out-listener", "out.**", "").await;
    (life, out)
}

/// Sees the headers of responses, which no caller on the same node gets.
struct Spy(Headers);

impl Middleware for Spy {
    fn local_action(&self, next: Handler, action: &ActionSchema) -> Handler {
        let (seen, name) = (Arc::clone(&self.0), action.name.to_string());
        Arc::new(move |ctx| {
            let (seen, name, outcome) = (Arc::clone(&seen), name.clone(), next(ctx.clone()));
            Box::pin(async move {
                let outcome = outcome.await;
                seen.lock().insert(name, Value::Object(ctx.response_headers().to_map()));
                outcome
            })
        })
    }
}
