//! The log lines of one service: limited in rate and length, whether they come from the logger interface
//! or from stdout and stderr.
//!
//! All lines have the tracing target [`TARGET`] and the service's full name in the field `service`, because
//! a tracing target must be known when the host is compiled.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{self, Instant};
use crate::config::Limits;
use crate::metrics::Metric;

/// Target of all lines that guests write.
pub const TARGET: &str = "isomer::guest";

/// Moleculer's levels, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Fatal,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Who wrote a line: empty texts when it is not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Origin<'a> {
    pub request_id: &'a str,
    pub context_id: &'a str,
}

/// Where the lines of a service go.
#[derive(Debug)]
pub(super) struct LogSink {
    service: Arc<str>,
    rate: u32,
    line_len_max: usize,
    window: Mutex<Window>,
    dropped: Metric,
}

/// One second of lines.
#[derive(Debug)]
struct Window {
    start: Instant,
    lines: u32,
    dropped: u64,
}

impl LogSink {
    pub(super) fn new(service: Arc<str>, limits: &Limits, dropped: Metric) -> Self {
        let window = Window { start: clock::now(), lines: 0, dropped: 0 };
        Self {
            service,
            rate: limits.log_rate,
            line_len_max: limits.log_line,
            window: Mutex::new(window),
            dropped,
        }
    }

    /// Longest line in bytes.
    pub(super) fn line_len_max(&self) -> usize {
        self.line_len_max
    }

    /// Whether lines of this level are written at all.
    pub(super) fn enabled(level: Level) -> bool {
        match level {
            Level::Fatal | Level::Error => {
                tracing::event_enabled!(target: TARGET, tracing::Level::ERROR)
            }
            Level::Warn => tracing::event_enabled!(target: TARGET, tracing::Level::WARN),
            Level::Info => tracing::event_enabled!(target: TARGET, tracing::Level::INFO),
            Level::Debug => tracing::event_enabled!(target: TARGET, tracing::Level::DEBUG),
            Level::Trace => tracing::event_enabled!(target: TARGET, tracing::Level::TRACE),
        }
    }

    /// Writes a line, unless the level is off or the rate is used up. Gives back whether it was written.
    pub(super) fn write(&self, level: Level, origin: Origin<'_>, text: &str, fields: &str) -> bool {
        if !Self::enabled(level) || !self.admit(clock::now()) {
            return false;
        }
        let line = cut(text, self.line_len_max);
        let fields = cut(fields, self.line_len_max);
        let service = &*self.service;
        let Origin { request_id, context_id } = origin;
        macro_rules! line {
            ($level:expr, $fatal:expr) => {
                tracing::event!(target: TARGET, $level, service, requestID = request_id,
                    contextID = context_id, fields, fatal = $fatal, "{line}")
            };
        }
        match level {
            Level::Fatal => line!(tracing::Level::ERROR, true),
            Level::Error => line!(tracing::Level::ERROR, false),
            Level::Warn => line!(tracing::Level::WARN, false),
            Level::Info => line!(tracing::Level::INFO, false),
            Level::Debug => line!(tracing::Level::DEBUG, false),
            Level::Trace => line!(tracing::Level::TRACE, false),
        }
        true
    }

    /// Counts a line; false when it is one too many for this second.
    fn admit(&self, now: Instant) -> bool {
        let mut window = self.window.lock();
        let mut missed = 0;
        if now.saturating_duration_since(window.start) >= Duration::from_secs(1) {
            missed = window.dropped;
            *window = Window { start: now, lines: 0, dropped: 0 };
        }
        let admitted = window.lines < self.rate;
        if admitted {
            window.lines += 1;
        } else {
            window.dropped += 1;
        }
        drop(window);
        if !admitted {
            self.dropped.increment();
        }
        if missed > 0 {
            tracing::warn!(
                target: TARGET,
                service = &*self.service,
                "{missed} log line(s) were dropped: the limit is {} per second",
                self.rate
            );
        }
        admitted
    }
}

/// The beginning of a text that fits into so many bytes.
fn cut(text: &str, len_max: usize) -> &str {
    text.get(..text.floor_char_boundary(len_max)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_rate_are_dropped_and_counted_until_the_next_second() {
        let dropped = Metric::default();
        let limits = Limits { log_rate: 2, ..Limits::default() };
        let sink = LogSink::new("s".into(), &limits, dropped.clone());
        let now = clock::now();
        let later = now + Duration::from_secs(2);
        let admitted = [now, now, now, later].map(|at| sink.admit(at));
        assert_eq!(admitted, [true, true, false, true]);
        assert_eq!(dropped.get(), 1);
    }

    #[test]
    fn a_line_is_cut_at_a_whole_character() {
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 2), "a");
    }
}
