//! The interface `timers`.

use std::time::Duration;

use wasmtime::component::{Access, FutureReader};

use crate::clock;
use crate::runtime::bindings::asynchronous::isomer::service::timers::{Host, HostWithStore};
use crate::runtime::state::{State, Whole};

impl<T: 'static> HostWithStore<T> for Whole {
    fn sleep(host: Access<'_, T, Self>, ms: u32) -> wasmtime::Result<FutureReader<bool>> {
        let until = clock::now() + Duration::from_millis(ms.into());
        FutureReader::new(host, async move {
            tokio::time::sleep_until(until).await;
            Ok::<_, wasmtime::Error>(true)
        })
    }

    fn hold(
        mut host: Access<'_, T, Self>,
        id: u32,
        ms: Option<u32>,
    ) -> wasmtime::Result<FutureReader<bool>> {
        let time = ms.map(|ms| Duration::from_millis(ms.into()));
        let held = host.get().holds.hold(id, time);
        FutureReader::new(host, async move { Ok::<_, wasmtime::Error>(held.await) })
    }
}

impl Host for State {
    fn release(&mut self, id: u32) -> wasmtime::Result<()> {
        self.holds.release(id);
        Ok(())
    }
}
