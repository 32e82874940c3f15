//! The message brokers of the matrix, and how each side reaches the other over them.

use serde_json::{Value, json};

use crate::amqp_server::AmqpServer;
use crate::mqtt_server::MqttServer;
use crate::nats_server::NatsServer;
use crate::redis_server::RedisServer;

/// By Moleculer's names.
pub(super) const TRANSPORTERS: [&str; 5] = ["NATS", "TCP", "Redis", "MQTT", "AMQP"];

/// A running message broker, or none.
pub(super) enum Server {
    /// RabbitMQ.
    Amqp(AmqpServer),
    /// Mosquitto.
    Mqtt(MqttServer),
    /// A nats-server.
    Nats(NatsServer),
    /// A redis-server.
    Redis(RedisServer),
    /// Nodes reach each other without one.
    None,
}

/// The option `transporter` of either side.
pub(super) struct Ways {
    pub(super) ours: Value,
    pub(super) theirs: Value,
}

impl Server {
    /// Starts what a transporter needs.
    pub(super) async fn start(transporter: &str) -> Self {
        match transporter {
            "AMQP" => Self::Amqp(AmqpServer::start().await),
            "MQTT" => Self::Mqtt(MqttServer::start().await),
            "NATS" => Self::Nats(NatsServer::start().await),
            "Redis" => Self::Redis(RedisServer::start().await),
            _ => Self::None,
        }
    }

    /// How the nodes of one namespace reach each other, of which `node_id` is ours.
    pub(super) fn ways(&self, node_id: &str) -> Ways {
        match self {
            Self::Amqp(server) => same(server.url()),
            Self::Mqtt(server) => same(server.url()),
            Self::Nats(server) => same(server.url()),
            Self::Redis(server) => same(server.url()),
            Self::None => tcp(node_id),
        }
    }
}

fn same(url: String) -> Ways {
    Ways { ours: json!(url), theirs: json!(url) }
}

/// Nodes of a machine may be many, so nobody is looked for: theirs know where ours is.
fn tcp(node_id: &str) -> Ways {
    let port = free_port();
    let urls = json!([format!("tcp://127.0.0.1:{port}/{node_id}")]);
    Ways {
        ours: json!({"type": "TCP", "options": {"udpDiscovery": false, "port": port}}),
        theirs: json!({"type": "TCP", "options": {"udpDiscovery": false, "urls": urls}}),
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
