//! Several brokers on one in-process bus, for tests with a paused clock: no socket, no real time.

use std::sync::Arc;

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::transporter::fake::Bus;
use isomer_host::uid;

use crate::{broker, mirror};

/// The brokers of a test.
pub struct Cluster {
    /// The bus; it can lose, double and cut.
    pub bus: Arc<Bus>,
    /// In the order in which they were started.
    pub nodes: Vec<ServiceBroker>,
    name: String,
}

impl Cluster {
    /// Starts these nodes, each with the service `rs`, and waits until all know each other.
    pub async fn start(node_ids: &[&str], change: impl Fn(&mut BrokerOptions)) -> Self {
        let name = uid::new().to_string();
        let mut cluster = Self { bus: Bus::named(&name), nodes: Vec::new(), name };
        for node_id in node_ids {
            let node = cluster.add(node_id, &change).await;
            mirror::add(&node).await;
        }
        for node in &cluster.nodes {
            for other in node_ids {
                broker::wait_for_node(node, other, true).await;
                broker::wait_for_service_on(node, "rs", other).await;
            }
        }
        cluster
    }

    /// Starts one more node, without services.
    pub async fn add(
        &mut self,
        node_id: &str,
        change: impl Fn(&mut BrokerOptions),
    ) -> ServiceBroker {
        let mut options = broker::on_bus(node_id, &self.name);
        change(&mut options);
        let node = broker::start(options).await;
        self.nodes.push(node.clone());
        node
    }
}
