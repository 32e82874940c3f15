//! What `wasmtime` generates from `wit/` for the worlds `service` and `middleware`.
//!
//! Payloads are lowered from borrowed text, so that params cross into a guest with one copy. Only functions
//! that wait for something outside are `async`; the others cost no future. Nothing is written by hand here.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "service",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: {
        "isomer:service/broker.[method]context.call": async | trappable | exact,
        "isomer:service/broker.[method]context.mcall": async | trappable | exact,
        "isomer:service/broker.[method]context.emit": async | trappable | exact,
        "isomer:service/broker.[method]context.broadcast": async | trappable | exact,
        "isomer:service/broker.[method]context.broadcast-local": async | trappable | exact,
        "isomer:service/broker.[method]context.wait-for-services": async | trappable | exact,
        "isomer:service/broker.wait-any": async | trappable | exact,
        "isomer:service/broker.[method]context.respond-stream": async | trappable | exact,
        "isomer:service/streams.[method]reader.read": async | trappable | exact,
        "isomer:service/streams.[method]writer.write": async | trappable | exact,
        "isomer:service/cacher.get": async | trappable | exact,
        "isomer:service/cacher.get-with-ttl": async | trappable | exact,
        "isomer:service/cacher.set": async | trappable | exact,
        "isomer:service/cacher.del": async | trappable | exact,
        "isomer:service/cacher.clean": async | trappable | exact,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "isomer:service/broker.context": crate::runtime::state::CurrentContext,
        "isomer:service/broker.pending-call": crate::runtime::pending_call::PendingCall,
        "isomer:service/streams.reader": crate::runtime::streams::Reader,
        "isomer:service/streams.writer": crate::runtime::streams::Writer,
    },
});

/// The world `middleware`. Its imports are those of `service`, so one linker serves both. Its types are its
/// own and owned: the generator cannot lend an error, which is what a middleware is handed.
pub(super) mod middleware {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "middleware",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "isomer:service/broker": crate::runtime::bindings::isomer::service::broker,
            "isomer:service/streams": crate::runtime::bindings::isomer::service::streams,
            "isomer:service/logger": crate::runtime::bindings::isomer::service::logger,
            "isomer:service/config": crate::runtime::bindings::isomer::service::config,
        },
    });
}
