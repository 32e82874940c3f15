//! Components that come and go while the node runs.
pub mod scan;
pub mod watch;
