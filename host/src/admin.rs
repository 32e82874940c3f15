//! The control socket: how `isomer call` and its sisters reach the node on this machine.
//!
//! A Unix socket that only its user can open. Every bound of the protocol is in `protocol`; nothing that a
//! client does costs more than its own connection. What the verbs mean is the broker's: the server knows
//! it as [`crate::context::Caller`] only.

pub mod client;
pub mod place;
pub mod protocol;
pub mod server;
pub mod stream;
