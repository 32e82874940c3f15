//! What `wasmtime` generates from `wit/` for the worlds `service`, `service-async` and `middleware`.
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
        "isomer:service/spans.span": crate::runtime::spans::GuestSpan,
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

/// The world `service-async`. Its values are those of `service`; functions that return a future make it in the
/// store.
pub(super) mod asynchronous {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "service-async",
        ownership: Borrowing { duplicate_if_necessary: true },
        imports: {
            "isomer:service/broker-async.[method]context.call": store | trappable | exact,
            "isomer:service/broker-async.[method]context.mcall": store | trappable | exact,
            "isomer:service/broker-async.[method]context.emit": store | trappable | exact,
            "isomer:service/broker-async.[method]context.broadcast": store | trappable | exact,
            "isomer:service/broker-async.[method]context.broadcast-local": store | trappable | exact,
            "isomer:service/broker-async.[method]context.wait-for-services": store | trappable | exact,
            "isomer:service/broker-async.[method]pending-call.done": store | trappable | exact,
            "isomer:service/streams-async.[method]reader.read": store | trappable | exact,
            "isomer:service/streams-async.[method]writer.write": store | trappable | exact,
            "isomer:service/cacher-async.get": store | trappable | exact,
            "isomer:service/cacher-async.get-with-ttl": store | trappable | exact,
            "isomer:service/cacher-async.set": store | trappable | exact,
            "isomer:service/cacher-async.del": store | trappable | exact,
            "isomer:service/cacher-async.clean": store | trappable | exact,
            "isomer:service/timers.sleep": store | trappable | exact,
            "isomer:service/timers.hold": store | trappable | exact,
            default: trappable,
        },
        exports: { default: async },
        with: {
            "isomer:service/types": crate::runtime::bindings::isomer::service::types,
            "isomer:service/logger": crate::runtime::bindings::isomer::service::logger,
            "isomer:service/config": crate::runtime::bindings::isomer::service::config,
            "isomer:service/spans": crate::runtime::bindings::isomer::service::spans,
            "isomer:service/broker-async.context": crate::runtime::state::CurrentContext,
            "isomer:service/broker-async.pending-call": crate::runtime::pending_call::PendingCall,
            "isomer:service/streams-async.reader": crate::runtime::streams::Reader,
            "isomer:service/streams-async.writer": crate::runtime::streams::Writer,
        },
    });
}
