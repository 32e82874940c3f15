//! The wasmtime engines: how guests are compiled and run, decided once for the whole node.
//!
//! The plain worlds have one without concurrency support, where a warm call costs less than half. The world
//! `service-async` has one of its own beside it. Everything here goes into the compatibility hash of compiled
//! components, so a change recompiles them all.

use wasmtime::{Config, Engine, WasmBacktraceDetails};

use crate::runtime::world::World;

/// A running guest gives way to other tasks after this many units of fuel: every 12–30 µs. With more, calls of others
/// wait too long beside spinning guests (docs/sandbox.md); with less, giving way itself would be felt.
pub(super) const FUEL_SLICE: u64 = 400_000;

/// Native stack that host functions have beyond the guest's own. Only touched pages cost memory.
const HOST_STACK: usize = 1 << 20;

/// For which worlds an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// `service` and `middleware`.
    Plain,
    /// `service-async`: tasks, futures and streams of the component model.
    Asynchronous,
}

impl Flavour {
    /// The engine that a component of this world needs.
    pub(super) fn of(world: World) -> Self {
        match world {
            World::Service | World::Middleware => Self::Plain,
            World::ServiceAsync => Self::Asynchronous,
        }
    }
}

/// Makes an engine. `stack` is the native stack of a guest in bytes; it is a property of the engine, so
/// it is the same for all services of a node. With `core_dumps` the error of a trap knows what is left of the guest,
/// which changes nothing in the compiled code.
pub(super) fn new(flavour: Flavour, stack: usize, core_dumps: bool) -> wasmtime::Result<Engine> {
    let asynchronous = flavour == Flavour::Asynchronous;
    let mut config = Config::new();
    config
        .concurrency_support(asynchronous)
        .wasm_component_model_async(asynchronous)
        .consume_fuel(true)
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(HOST_STACK))
        // Traps name functions of the guest, and lines where the component carries debug information.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .coredump_on_trap(core_dumps)
        .parallel_compilation(true)
        // An instance starts with pages shared with its image; it costs what it writes to.
        .memory_init_cow(true)
        // One build serves components that need it; limits are set per store and summed by the limiter.
        .wasm_multi_memory(true);
    Engine::new(&config)
}
