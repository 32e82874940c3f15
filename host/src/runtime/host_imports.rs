//! What a guest can ask of the host: the imports of the worlds.
//!
//! Everything that a guest hands over is checked before it is used: grants, sizes, JSON, option names. A
//! wrong use is a failure that the guest can read; only what no guest can do by accident is a trap.

use wasmtime::component::Linker;

use crate::runtime::bindings::isomer::service::types::Failure;
use crate::runtime::bindings::{self, isomer};
use crate::runtime::reach;
use crate::runtime::state::{State, Whole};

mod asynchronous;
mod at_once;
mod cacher;
mod config;
mod context;
mod events;
mod logger;
mod many_calls;
mod options;
mod spans;
mod streams;

#[cfg(any(test, fuzzing))]
pub(crate) use options::fuzz as fuzz_options;

/// A result for the guest; the outer one is a trap.
type Answer<T> = wasmtime::Result<Result<T, Failure>>;

/// Adds WASI as it is granted, and the world `service`.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    add_wasi_to_linker(linker)?;
    bindings::Service::add_to_linker::<_, Whole>(linker, |state| state)
}

/// WASI, with functions that hold to the grants in the place of some.
fn add_wasi_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    reach::add_files_to_linker(linker)?;
    reach::sockets::add_to_linker(linker)?;
    reach::http::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Adds WASI as it is granted, and the world `service-async`. What only blocks in the plain world is there,
/// too: an SDK for both worlds may import it without use.
pub(super) fn add_async_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    add_wasi_to_linker(linker)?;
    isomer::service::broker::add_to_linker::<_, Whole>(linker, |state| state)?;
    isomer::service::streams::add_to_linker::<_, Whole>(linker, |state| state)?;
    isomer::service::tracing::add_to_linker::<_, Whole>(linker, |state| state)?;
    isomer::service::cacher::add_to_linker::<_, Whole>(linker, |state| state)?;
    bindings::asynchronous::ServiceAsync::add_to_linker::<_, Whole>(linker, |state| state)
}

impl isomer::service::types::Host for State {}
