//! The wasmtime engine: how guests are compiled and run, decided once for the whole node.
//!
//! This is the engine of the plain world `service`: without concurrency support, where a warm call costs
//! less than half. The world `service-async` gets an engine of its own beside this one. Everything here
//! goes into the compatibility hash of compiled components, so a change recompiles them all.

use wasmtime::{Config, Engine, WasmBacktraceDetails};

/// A running guest gives way to other tasks after this many units of fuel: every 30–75 µs, which keeps a
/// neighbour's call at 13 µs beside four spinning guests (`feasibility.md` C).
pub(super) const FUEL_SLICE: u64 = 1_000_000;

/// Native stack that host functions have beyond the guest's own. Only touched pages cost memory.
const HOST_STACK: usize = 1 << 20;

/// Makes the engine. `stack` is the native stack of a guest in bytes; it is a property of the engine, so
/// it is the same for all services of a node.
pub(super) fn new(stack: usize) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .consume_fuel(true)
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(HOST_STACK))
        // Traps name functions of the guest, and lines where the component carries debug information.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .parallel_compilation(true)
        // An instance starts with pages shared with its image; it costs what it writes to.
        .memory_init_cow(true)
        // One build serves components that need it; limits are set per store and summed by the limiter.
        .wasm_multi_memory(true);
    Engine::new(&config)
}
