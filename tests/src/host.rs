//! A node inside the test process, with a folder of components.

use std::path::{Path, PathBuf};

use isomer_host::broker::ServiceBroker;
use isomer_host::config::BrokerOptions;
use isomer_host::reload::{Loaded, Reloader};
use isomer_host::runtime::{Runtime, RuntimeOptions};
use isomer_host::task::CancellationToken;
use serde_json::Value;
use tempfile::TempDir;

use crate::{broker, guests, wait};

/// A broker that runs what lies in a temporary folder.
pub struct Host {
    /// The broker.
    pub broker: ServiceBroker,
    /// Its runtime.
    pub runtime: Runtime,
    /// How the files that were there at the start fared.
    pub loaded: Loaded,
    /// What brings its files into service.
    pub reloader: Reloader,
    folder: TempDir,
    cancel: CancellationToken,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Host {
    /// Starts a node that watches a folder with these components in it.
    pub async fn start(options: BrokerOptions, components: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in components {
            guests::put(name, folder.path(), &format!("{name}.wasm"));
        }
        Self::start_on(options, folder).await
    }

    /// Starts a node that watches this folder.
    pub async fn start_on(options: BrokerOptions, folder: TempDir) -> Self {
        Self::start_broker(ServiceBroker::new(options).unwrap(), folder).await
    }

    /// Starts a broker as a node that watches this folder.
    pub async fn start_broker(broker: ServiceBroker, folder: TempDir) -> Self {
        let runtime = runtime(&broker);
        let roots = vec![folder.path().to_owned()];
        let reloader = Reloader::new(broker.clone(), runtime.clone(), roots);
        let cancel = CancellationToken::new();
        let load = reloader.start(true, &cancel);
        let loaded = wait::for_result("all components", broker.start_with(load)).await.unwrap();
        let loaded = loaded.unwrap();
        Self { broker, runtime, loaded, reloader, folder, cancel }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a component into the folder under a file name.
    pub fn put(&self, name: &str, file_name: &str) -> PathBuf {
        guests::put(name, self.folder(), file_name)
    }

    /// Calls an action of this node.
    ///
    /// # Errors
    /// The call's.
    pub async fn call(
        &self,
        action: &str,
        params: &Value,
    ) -> Result<Value, isomer_host::error::MoleculerError> {
        broker::call(&self.broker, action, params, isomer_host::context::CallOptions::default())
            .await
    }

    /// What `$node.services` says of one service or file, once it satisfies `wanted`.
    pub async fn service(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait::until(&format!("what is wanted of service '{name}'"), || async {
            let list = self.call("$node.services", &serde_json::json!({})).await.unwrap();
            let rows = list.as_array().unwrap().clone();
            rows.into_iter().find(|row| row["fullName"] == name && wanted(row))
        })
        .await
    }
}

/// A runtime for a broker. All tests share one cache, so that each component is compiled once.
#[must_use]
pub fn runtime(broker: &ServiceBroker) -> Runtime {
    let cache = crate::tree::target().join("test-cache");
    let mut options = RuntimeOptions::new(cache, broker.node_id().clone());
    options.metrics = broker.metrics().clone();
    options.core_dumps = broker.options().core_dumps.clone();
    options.namespace = broker.options().namespace.as_str().into();
    Runtime::new(options).unwrap()
}
