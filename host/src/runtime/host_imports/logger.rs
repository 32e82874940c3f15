//! The interface `logger`: lines of the guest with the IDs of the running call.

use crate::runtime::bindings::isomer::service::logger::{Host, Level as GuestLevel};
use crate::runtime::log_sink::{Level, LogSink, Origin};
use crate::runtime::state::State;

impl Host for State {
    fn log(
        &mut self,
        level: GuestLevel,
        message: String,
        fields: Option<String>,
    ) -> wasmtime::Result<()> {
        let origin = self.handlers.only().map_or_else(Origin::default, |running| Origin {
            request_id: &running.ctx.request_id,
            context_id: &running.ctx.id,
        });
        let fields = fields.as_deref().unwrap_or_default();
        self.environment.log.write(level_of(level), origin, &message, fields);
        // Where many calls share the instance, one caller's lines are none of another's.
        if self.accounts.is_none() {
            self.output.keep(&message);
        }
        Ok(())
    }

    fn enabled(&mut self, level: GuestLevel) -> wasmtime::Result<bool> {
        Ok(LogSink::enabled(level_of(level)))
    }
}

pub(super) fn level_of(level: GuestLevel) -> Level {
    match level {
        GuestLevel::Fatal => Level::Fatal,
        GuestLevel::Error => Level::Error,
        GuestLevel::Warn => Level::Warn,
        GuestLevel::Info => Level::Info,
        GuestLevel::Debug => Level::Debug,
        GuestLevel::Trace => Level::Trace,
    }
}
