//! Isomer's host: a Moleculer node whose services are WebAssembly components.

pub mod clock;
pub mod error;
pub mod limits;
pub mod uid;

pub mod backoff;
pub mod payload;
pub(crate) mod tls;

pub mod config;
pub mod metrics;
pub mod packet;
pub mod task;

pub mod tracer;

pub mod context;
pub mod logger;
pub mod schema;
pub mod serializer;

pub mod handler;
pub(crate) mod http;
pub mod memory;
pub(crate) mod private_dir;
pub mod redis;
pub mod strategy;
pub mod validator;

pub mod cacher;
pub mod registry;

pub mod runtime;
pub mod transporter;

pub mod service;
pub mod toolchain;
pub mod transit;

pub mod discoverer;
pub mod middleware;

pub mod broker;

pub mod admin;
pub mod reload;
pub mod scenario;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
