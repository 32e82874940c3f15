//! Asking a Redis that may be away: one server or a cluster, for the cacher and the discoverer.
//!
//! [`Link`] keeps the connection and answers questions at once with [`Error::Away`] while there is none;
//! [`Scan`] goes through the keys of all servers. What is kept under which key is the asker's business. Not
//! here: publishing and subscribing, which the transporter does with a client of its own.

use ::redis::RedisError;

mod connection;
mod link;
mod scan;

pub use connection::{Client, Server};
pub use link::{Change, Link, Loss};
pub use scan::Scan;

/// Why a Redis did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection now; it is being made in the background.
    #[error("Redis is not connected")]
    Away,
    /// The connection was lost with the question, or the answer did not come in time.
    #[error("{reason}")]
    Lost {
        /// Why.
        reason: String,
    },
    /// It refused or failed.
    #[error("{reason}")]
    Failed {
        /// What it says.
        reason: String,
    },
    /// An address that is none.
    #[error("{reason}")]
    Address {
        /// What is wrong with it.
        reason: String,
    },
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        Self::Failed { reason: error.to_string() }
    }
}
