//! One node of ours and one Moleculer JS broker on the same transporter, and what both must be able to do
//! with each other there, whatever it is.

use isomer_host::broker::ServiceBroker;
use isomer_host::config::{BrokerOptions, Transporter};
use isomer_host::context::CallOptions;
use serde_json::{Value, json};

use crate::broker::{self, call};
use crate::mirror::{self, Received};
use crate::peer::{Peer, Version, value};
use crate::wait;

/// The two.
pub struct Pair {
    /// The JS broker, `js-1`, with a listener to `deal.*` in group `js-desk`.
    pub js: Peer,
    /// The node of ours, `rs-1`, with service `rs`.
    pub rs: ServiceBroker,
    /// What its listener to `deal.*` in group `rs-desk` got.
    pub heard: Received,
}

/// Options of a node on any transporter, which talks to every version of Moleculer.
#[must_use]
pub fn on(node_id: &str, namespace: &str, transporter: Transporter) -> BrokerOptions {
    let mut options = broker::on_nats(node_id, "");
    options.transporter = Some(transporter);
    options.namespace = namespace.into();
    options.transit.disable_version_check = true;
    options
}

/// Options of a JS broker in a namespace, which talks to nodes of any version. `more` goes over them.
#[must_use]
pub fn js_options(namespace: &str, more: &Value) -> Value {
    let mut options = json!({"namespace": namespace, "requestTimeout": 10_000,
        "transit": {"disableVersionCheck": true}});
    options.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    options
}

impl Pair {
    /// Starts both and waits until they know each other.
    pub async fn start(version: Version, ours: BrokerOptions, js: Value) -> Self {
        let rs = broker::start(ours).await;
        mirror::add(&rs).await;
        let heard = mirror::listen(&rs, "rs-desk", "deal.*", "rs-desk").await;
        let listen = [("js-desk", "deal.*", "js-desk")];
        let js = Peer::listening(version, "js-1", "", js, &listen).await;
        let pair = Self { js, rs, heard };
        pair.know_each_other().await;
        pair
    }

    /// Waits until each knows the services of the other.
    pub async fn know_each_other(&self) {
        self.js.wait_for_services(&["rs", "rs-desk"]).await;
        broker::wait_for(&self.rs, &["js", "js-desk", "v3.js.versioned"]).await;
    }

    /// Calls, errors, events, broadcasts and pings, each in both directions.
    pub async fn check(&self) {
        self.check_calls().await;
        self.check_events().await;
        self.check_pings().await;
    }

    /// Calls with values of several sizes, and errors.
    async fn check_calls(&self) {
        let large = "x".repeat(300_000);
        for wanted in [json!({"a": [1, 2.5, null, "ü"]}), json!(null), json!({"large": large})] {
            let options = CallOptions::default();
            assert_eq!(call(&self.rs, "js.echo", &wanted, options).await.unwrap(), wanted);
            assert_eq!(self.js.call("rs.echo", wanted.clone()).await.unwrap(), wanted);
        }
        let fault = json!({"className": "MoleculerClientError", "message": "no", "code": 409,
            "type": "CONFLICT", "data": {"a": 1}});
        let error = call(&self.rs, "js.fail", &fault, CallOptions::default()).await.unwrap_err();
        let seen = (error.name().to_owned(), error.code());
        assert_eq!(seen, ("MoleculerClientError".to_owned(), 409));
        let error = self.js.call("rs.metaThenFail", json!({})).await.unwrap_err();
        assert_eq!((&error["code"], &error["type"]), (&json!(409), &json!("CONFLICT")));
    }

    /// A balanced event and a broadcast from each side reach the listeners of both.
    async fn check_events(&self) {
        let before = self.heard.now().len();
        self.js.clear().await;
        broker::emit(&self.rs, "deal.rs", &json!({"n": 1}), &[]).await;
        broker::broadcast(&self.rs, "deal.rs-all", &json!({"n": 2}), &[]).await;
        for (how, event) in [("emit", "deal.js"), ("broadcast", "deal.js-all")] {
            let args = json!({"event": event, "data": value(&json!({"n": 3}))});
            self.js.ask(how, args).await.unwrap();
        }
        let events = ["deal.js", "deal.js-all", "deal.rs", "deal.rs-all"];
        for event in events {
            assert_eq!(self.js.received(event, 1).await.len(), 1, "{event}");
        }
        let heard = self.heard.at_least(before + events.len()).await;
        let mut names: Vec<_> =
            heard[before..].iter().filter_map(|event| event["event"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, events);
    }

    async fn check_pings(&self) {
        let pong = self.rs.ping(&"js-1".into(), wait::PATIENCE).await.unwrap();
        assert_eq!(&*pong.unwrap().node_id, "js-1");
        let pong = self.js.ask("ping", json!({"nodeID": "rs-1", "timeout": 20_000})).await;
        assert_eq!(pong.unwrap()["nodeID"], "rs-1");
    }

    /// Stops both politely.
    pub async fn stop(self) {
        self.js.stop().await;
        self.rs.stop().await;
    }
}
