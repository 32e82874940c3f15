//! Harness of the integration tests: processes that tests start, the components they load, and waiting.
//!
//! Everything that a test starts is killed when its handle is dropped, listens on loopback only, on a port
//! that the system chose, and writes into a temporary folder of its own. Every wait has a deadline and
//! fails with what it waited for. The tests themselves are in `it/`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a harness reports by panicking, and its helpers are not #[test] functions"
)]

pub mod process;
pub mod tree;
pub mod wait;
pub mod web_server;
pub mod workshop;

pub mod amqp_server;
pub mod bench;
pub mod broker;
pub mod cluster;
pub mod collector;
pub mod conformance;
pub mod corpus;
pub mod crafted;
pub mod etcd_server;
pub mod gateway;
pub mod guests;
pub mod host;
pub mod javascript;
pub mod kafka_server;
pub mod known;
pub mod languages;
pub mod load;
pub mod matrix;
pub mod mirror;
pub mod mqtt_server;
pub mod nats_server;
pub mod network;
pub mod node;
pub mod pair;
pub mod peer;
pub mod place;
pub mod recipe;
pub mod redis_server;
pub mod rig;
pub mod scale;
pub mod scenario;
pub mod streams;

/// The examples in Rust of the documents, compiled as users would.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
mod embedding {}

#[cfg(doctest)]
#[doc = include_str!("../../docs/middlewares.md")]
mod middlewares {}
