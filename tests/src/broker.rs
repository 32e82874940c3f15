//! Brokers of our own inside the test process, with JSON values in and out.

use std::time::Duration;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::transporter::tcp::{Endpoint, Urls};
use isomer_host::config::{BrokerOptions, Tcp, Transporter};
use isomer_host::context::{CallOptions, EmitOptions};
use isomer_host::error::MoleculerError;
use isomer_host::payload::{Object, Payload};
use serde_json::Value;

use crate::wait;

/// Options of a node on a NATS server.
#[must_use]
pub fn on_nats(node_id: &str, url: &str) -> BrokerOptions {
    BrokerOptions {
        node_id: Some(node_id.into()),
        transporter: Some(Transporter::Nats { urls: vec![url.into()] }),
        request_timeout: Duration::from_secs(10),
        ..BrokerOptions::default()
    }
}

/// Options of a node on a Redis server, or on several of a cluster.
#[must_use]
pub fn on_redis(node_id: &str, urls: &[String]) -> BrokerOptions {
    BrokerOptions {
        transporter: Some(Transporter::Redis { urls: urls.to_vec() }),
        ..on_nats(node_id, "")
    }
}

/// Options of a node that reaches others by TCP. Without nodes that it knows beforehand it finds nobody.
#[must_use]
pub fn on_tcp(node_id: &str, namespace: &str, nodes: &[Endpoint]) -> BrokerOptions {
    let tcp = Tcp {
        udp_discovery: false,
        urls: Urls::Listed(nodes.to_vec()),
        gossip_period: Duration::from_secs(1),
        ..Tcp::default()
    };
    BrokerOptions {
        node_id: Some(node_id.into()),
        namespace: namespace.into(),
        transporter: Some(Transporter::Tcp(Box::new(tcp))),
        request_timeout: Duration::from_secs(10),
        ..BrokerOptions::default()
    }
}

/// Where a started node on TCP can be reached from this machine.
#[must_use]
pub fn endpoint(broker: &ServiceBroker) -> Endpoint {
    let info = broker.local_node_info();
    let node_id = broker.registry().read().local_id().to_string();
    Endpoint { node_id, host: "127.0.0.1".into(), port: info.port.unwrap() }
}

/// Options of a node on an in-process bus.
#[must_use]
pub fn on_bus(node_id: &str, bus: &str) -> BrokerOptions {
    BrokerOptions {
        node_id: Some(node_id.into()),
        transporter: Some(Transporter::Fake { bus: bus.into() }),
        ..BrokerOptions::default()
    }
}

/// A started broker.
pub async fn start(options: BrokerOptions) -> ServiceBroker {
    let broker = ServiceBroker::new(options).unwrap();
    wait::for_result("the broker's start", broker.start()).await.unwrap();
    broker
}

/// A JSON value as a payload.
#[must_use]
pub fn json(value: &Value) -> Payload {
    Payload::from_value(value).unwrap()
}

/// A JSON object as meta or headers.
#[must_use]
pub fn object(value: &Value) -> Object {
    Object::from_value(value).unwrap()
}

/// Calls with JSON params and gives the JSON result.
///
/// # Errors
/// The call's.
pub async fn call(
    broker: &ServiceBroker,
    action: &str,
    params: &Value,
    options: CallOptions,
) -> Result<Value, MoleculerError> {
    let what = format!("an answer of '{action}'");
    let result = wait::for_result(&what, broker.call(action, json(params), options)).await?;
    Ok(result.parse().unwrap())
}

/// Options that send a call to one node.
#[must_use]
pub fn to(node_id: &str) -> CallOptions {
    CallOptions { node_id: Some(node_id.into()), ..CallOptions::default() }
}

/// Sends a balanced event, to some groups or (with none) to all.
pub async fn emit(broker: &ServiceBroker, event: &str, data: &Value, groups: &[&str]) {
    broker.emit(event, json(data), for_groups(groups)).await.unwrap();
}

/// Sends an event to everybody, or to everybody in some groups.
pub async fn broadcast(broker: &ServiceBroker, event: &str, data: &Value, groups: &[&str]) {
    broker.broadcast(event, json(data), for_groups(groups)).await.unwrap();
}

fn for_groups(groups: &[&str]) -> EmitOptions {
    let groups = groups.iter().map(|group| (*group).into()).collect();
    EmitOptions { groups, ..EmitOptions::default() }
}

/// Waits until these services (full names) are available here.
pub async fn wait_for(broker: &ServiceBroker, services: &[&str]) {
    let names = services.iter().map(|name| (*name).to_owned()).collect();
    broker.wait_for_services(names, Some(wait::PATIENCE)).await.unwrap();
}

/// Waits until another node is available, or is not.
pub async fn wait_for_node(broker: &ServiceBroker, node_id: &str, available: bool) {
    let state = if available { "available" } else { "gone" };
    wait::until(&format!("node '{node_id}' to be {state}"), || async {
        let registry = broker.registry().read();
        let now = registry.nodes.get(node_id).is_some_and(|node| node.available);
        (now == available).then_some(())
    })
    .await;
}

/// Waits until a service (full name) is known to be on a node.
pub async fn wait_for_service_on(broker: &ServiceBroker, service: &str, node_id: &str) {
    wait::until(&format!("service '{service}' on '{node_id}'"), || async {
        let registry = broker.registry().read();
        let mut names = registry.services.on_node(node_id).map(|(name, _)| &**name);
        names.any(|name| name == service).then_some(())
    })
    .await;
}

/// A metric of a broker; 0 when nothing has counted yet.
#[must_use]
pub fn metric(broker: &ServiceBroker, name: &str) -> i64 {
    broker.metrics().snapshot().get(name).copied().unwrap_or(0)
}
