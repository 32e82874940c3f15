//! The integration tests: one binary, because each binary links wasmtime again.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests report by panicking, and their helpers are not #[test] functions"
)]

mod amqp;
mod balancer;
mod bench;
mod cacher;
mod call_options;
mod cluster;
mod component_middleware;
mod config;
mod conformance;
mod crash;
mod debugging;
mod declared;
mod discoverers;
mod embedding;
mod errors;
mod event_match;
mod exporters;
mod faults;
mod features;
mod gateway;
mod grants;
mod grants_http;
mod guest_spans;
mod guest_streams;
mod history;
mod hooks;
mod hostile;
mod hot_reload;
mod interop;
mod javascript;
mod kafka;
mod kit;
mod languages;
mod languages_c;
mod languages_fuel;
mod limits;
mod matrix;
mod mesh_faults;
mod mqtt;
mod nats;
mod node_loss;
mod operations;
mod peers;
mod polite;
mod protocol;
mod readme;
mod redis;
mod registry;
mod reporters;
mod runtime_calls;
mod runtime_limits;
mod runtime_load;
mod runtime_pool;
mod samples;
mod scale;
mod scenarios;
mod serializers;
mod shared_mode;
mod streams;
mod tcp;
mod tidy;
mod toolchain;
mod tracing;
mod transmit;
mod traps;
mod validation;
mod versions;
mod wit;
