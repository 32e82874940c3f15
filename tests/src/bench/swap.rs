//! Replacing a component whose compiled form is cached: from the new file to the first answer of the new
//! version, as a caller on another node sees it.

use isomer_host::broker::ServiceBroker;
use isomer_host::clock;
use isomer_host::context::CallOptions;
use isomer_host::payload::Payload;

use crate::bench::Scale;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::nats_server::NatsServer;
use crate::node::Node;
use crate::{broker, guests, wait};

/// Two components of the same service that answer with their version.
const VERSIONS: [(&str, u32); 2] = [("swapper_v1", 1), ("swapper_v2", 2)];

/// A node with the service, and its caller.
struct Swapper {
    caller: ServiceBroker,
    node: Node,
    _server: NatsServer,
}

impl Swapper {
    async fn start() -> Self {
        let server = NatsServer::start().await;
        let url = server.url();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("services")).unwrap();
        guests::put(VERSIONS[1].0, &folder.path().join("services"), "swapper.wasm");
        let node = Node::start_in(folder, &["--transporter", &url]).await;
        let caller = broker::start(broker::on_nats("bench-caller", &url)).await;
        broker::wait_for(&caller, &["swapper"]).await;
        Self { caller, node, _server: server }
    }

    /// Seconds from the new file to the first answer of the new version. No call may fail meanwhile.
    async fn swap(&self, (component, version): (&str, u32)) -> f64 {
        let start = clock::now();
        guests::put(component, &self.node.services(), "swapper.wasm");
        let answered = async {
            loop {
                let call =
                    self.caller.call("swapper.version", Payload::Absent, CallOptions::default());
                if call.await.unwrap().parse::<u32>().unwrap() == version {
                    return start.elapsed().as_secs_f64();
                }
            }
        };
        wait::for_result("the new version to answer", answered).await
    }
}

/// How long a swap takes.
pub async fn latency(scale: Scale) -> Vec<Row> {
    let swapper = Swapper::start().await;
    // The first of each compiles.
    for version in VERSIONS {
        swapper.swap(version).await;
    }
    let mut ours = Sample::new();
    for version in VERSIONS.iter().cycle().take(scale.swaps) {
        ours.push(swapper.swap(*version).await);
    }
    vec![Row {
        what: "swap of a cached component: new file to first new answer".into(),
        unit: Unit::Seconds,
        ours,
        beside: None,
        target: Some(Target::AtMost(20e-3)),
    }]
}
