//! The interface `config`: where the service runs and how it is set up.

use crate::runtime::bindings::isomer::service::config::Host;
use crate::runtime::state::State;

impl Host for State {
    fn settings(&mut self) -> wasmtime::Result<String> {
        Ok(self.environment.settings.as_str().to_owned())
    }

    fn service(&mut self) -> wasmtime::Result<String> {
        Ok(String::from(&*self.environment.service))
    }

    fn node_id(&mut self) -> wasmtime::Result<String> {
        Ok(String::from(&*self.environment.node_id))
    }

    fn namespace(&mut self) -> wasmtime::Result<String> {
        Ok(String::from(&*self.environment.namespace))
    }
}
