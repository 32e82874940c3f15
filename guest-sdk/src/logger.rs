//! The log of the node, as a handler sees it.

use std::fmt::Display;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::host::Host;

/// Moleculer's levels, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The service cannot go on.
    Fatal,
    /// A request failed and somebody should look.
    Error,
    /// Unexpected, but dealt with.
    Warn,
    /// What an operator wants to see in normal times.
    Info,
    /// For the developer of the service.
    Debug,
    /// Everything.
    Trace,
}

/// Writes lines to the node's log, which adds the service's name and the IDs of the running call.
///
/// A message is formatted only when its level is written; pass `format_args!(…)` to profit from that.
///
/// ```
/// # use isomer_sdk::prelude::*;
/// fn report(ctx: &Context, id: u32) {
///     ctx.logger().field("id", id).info("post created");
///     ctx.logger().debug(format_args!("level {}", ctx.level()));
/// }
/// ```
#[must_use = "it writes when a level is called"]
pub struct Logger<'a> {
    host: &'a dyn Host,
    fields: Map<String, Value>,
}

impl<'a> Logger<'a> {
    pub(crate) fn new(host: &'a dyn Host) -> Self {
        Self { host, fields: Map::new() }
    }

    /// Adds a value to the line. One without a JSON form is left out.
    pub fn field(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.fields.insert(name.into(), value);
        }
        self
    }

    /// Whether lines of this level are written.
    #[must_use]
    pub fn enabled(&self, level: Level) -> bool {
        self.host.log_enabled(level)
    }

    /// Writes a line.
    pub fn log(&self, level: Level, message: impl Display) {
        if !self.enabled(level) {
            return;
        }
        let fields = (!self.fields.is_empty())
            .then(|| serde_json::to_string(&self.fields).unwrap_or_default());
        self.host.log(level, &message.to_string(), fields.as_deref());
    }

    /// Writes a line of level [`Level::Fatal`].
    pub fn fatal(&self, message: impl Display) {
        self.log(Level::Fatal, message);
    }

    /// Writes a line of level [`Level::Error`].
    pub fn error(&self, message: impl Display) {
        self.log(Level::Error, message);
    }

    /// Writes a line of level [`Level::Warn`].
    pub fn warn(&self, message: impl Display) {
        self.log(Level::Warn, message);
    }

    /// Writes a line of level [`Level::Info`].
    pub fn info(&self, message: impl Display) {
        self.log(Level::Info, message);
    }

    /// Writes a line of level [`Level::Debug`].
    pub fn debug(&self, message: impl Display) {
        self.log(Level::Debug, message);
    }

    /// Writes a line of level [`Level::Trace`].
    pub fn trace(&self, message: impl Display) {
        self.log(Level::Trace, message);
    }
}
