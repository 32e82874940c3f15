//! The interface `cacher-async`.

use wasmtime::component::Access;

use crate::runtime::bindings::asynchronous::isomer::service::cacher_async::{Host, HostWithStore};
use crate::runtime::bindings::isomer::service::types::PayloadResult;
use crate::runtime::host_imports::asynchronous::{Promise, begin, promise};
use crate::runtime::state::{State, Whole};

/// A value with the seconds that it will be kept.
type WithTtl = (PayloadResult, Option<f64>);

impl<T: 'static> HostWithStore<T> for Whole {
    fn get(mut host: Access<'_, T, Self>, key: String) -> Promise<Option<PayloadResult>> {
        let value = host.get().kept_value(&key);
        promise(host, Ok(begin(value)), |value| value)
    }

    fn get_with_ttl(mut host: Access<'_, T, Self>, key: String) -> Promise<Option<WithTtl>> {
        let value = host.get().kept_value_with_ttl(&key);
        promise(host, Ok(begin(value)), |value| value)
    }

    fn set(
        mut host: Access<'_, T, Self>,
        key: String,
        value: PayloadResult,
        ttl: Option<f64>,
    ) -> Promise<()> {
        let kept = host.get().keep(&key, value, ttl);
        promise(host, Ok(begin(kept)), |()| ())
    }

    fn del(mut host: Access<'_, T, Self>, keys: Vec<String>) -> Promise<()> {
        let removed = host.get().remove(&keys);
        promise(host, Ok(begin(removed)), |()| ())
    }

    fn clean(mut host: Access<'_, T, Self>, patterns: Vec<String>) -> Promise<()> {
        let removed = host.get().clean_keys(&patterns);
        promise(host, Ok(begin(removed)), |()| ())
    }
}

impl Host for State {
    fn enabled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.environment.cacher.as_ref().is_some_and(|cacher| cacher.connected()))
    }
}
