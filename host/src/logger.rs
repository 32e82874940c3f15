//! The log of the node: which lines are written, and how they look.
//!
//! Lines look as Moleculer's (moleculer: src/loggers/formatted.js): a line of a guest carries the full
//! name of its service as the module, a line of the node the name of the host's module. They always go to
//! standard error, so that standard output holds nothing but data. Other logs (traces, metrics) are not
//! here.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, subscriber::Interest};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::clock;
use crate::config::log::{Format, Level, Levels};

/// Target of lines that guests write. Their field `service` is the full name of the service, `fatal` tells
/// the level that `tracing` does not know, and `fields` is the text of a JSON object with more fields.
pub const GUEST_TARGET: &str = "isomer::guest";
/// A library that warns of each wrong request of a guest, which may make them without end; the guest has the error.
const MADE_BY_GUESTS: &str = "wasmtime_wasi_http";

/// How the log is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which lines are written.
    pub levels: Levels,
    /// How they look.
    pub format: Format,
    /// Colours in the full format.
    pub colors: bool,
    /// Shown in every line.
    pub node_id: Arc<str>,
    /// Shown in JSON lines.
    pub namespace: Arc<str>,
}

impl Options {
    /// Colours when standard error is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
    #[must_use]
    pub fn colors_wanted() -> bool {
        std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

/// Starts logging. A second start in one process changes nothing.
pub fn init(options: Options) {
    let layer = Lines { options, sink: Sink::Stderr };
    let most = layer.most();
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(most));
    // Only a second start fails, and the first one is as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Where lines go.
enum Sink {
    Stderr,
    #[cfg(test)]
    Memory(Arc<parking_lot::Mutex<String>>),
}

/// Writes each event as one line.
struct Lines {
    options: Options,
    sink: Sink,
}

impl Lines {
    fn most(&self) -> LevelFilter {
        match self.options.levels.most() {
            Level::Off => LevelFilter::OFF,
            Level::Fatal | Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }

    /// Libraries are only worth a line when something is wrong, unless somebody asks for them by name.
    fn wanted(&self, metadata: &Metadata<'_>, module: &str, level: Level) -> bool {
        let of_host = metadata.target() == GUEST_TARGET
            || metadata.target().starts_with(env!("CARGO_CRATE_NAME"));
        let named = self.options.levels.named(module);
        let limit = match named {
            Some(limit) => limit,
            None if of_host => self.options.levels.default,
            None if metadata.target().starts_with(MADE_BY_GUESTS) => {
                self.options.levels.default.min(Level::Error)
            }
            None => self.options.levels.default.min(Level::Warn),
        };
        level != Level::Off && level <= limit
    }

    fn write(&self, line: &str) {
        match &self.sink {
            // A closed standard error is no reason to stop working.
            Sink::Stderr => drop(std::io::stderr().lock().write_all(line.as_bytes())),
            #[cfg(test)]
            Sink::Memory(text) => text.lock().push_str(line),
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // The module of a guest's line is known only when it is written.
        Interest::sometimes()
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let guest = metadata.target() == GUEST_TARGET;
        let service = if guest { fields.take("service") } else { None };
        let module = service.unwrap_or_else(|| module_of(metadata.target()));
        let fatal = guest && fields.take("fatal").as_deref() == Some("true");
        let level = if fatal { Level::Fatal } else { level_of(*metadata.level()) };
        if self.wanted(metadata, &module, level) {
            if guest {
                fields.unfold();
            }
            let line = match self.options.format {
                Format::Json => json_line(&self.options, level, &module, fields),
                format => text_line(&self.options, format, level, &module, &fields),
            };
            self.write(&line);
        }
    }
}

/// What an event says: its message and its fields, in their order.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<String> {
        match self.others.shift_remove(name)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    /// Puts the guest's own fields beside the others.
    fn unfold(&mut self) {
        let Some(text) = self.take("fields").filter(|text| !text.is_empty()) else { return };
        match serde_json::from_str(&text) {
            Ok(Value::Object(map)) => {
                for (name, value) in map {
                    self.others.entry(name).or_insert(value);
                }
            }
            // Too long and cut, or no object: still worth reading.
            _ => drop(self.others.insert("fields".to_owned(), Value::String(text))),
        }
    }

    fn put(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::String(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.put(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

/// A line for people (moleculer: src/loggers/formatted.js, formatters `full`, `short` and `simple`):
/// `[2026-11-21T10:46:22.123Z] INFO  node-1/BROKER: text key=value`, `[10:46:22.123Z] INFO  BROKER: text`
/// or `INFO  - text`.
fn text_line(
    options: &Options,
    format: Format,
    level: Level,
    module: &str,
    fields: &Fields,
) -> String {
    let (dim, color, reset) =
        if options.colors { ("\x1b[90m", color_of(level), "\x1b[0m") } else { ("", "", "") };
    let level = format!("{color}{:<5}{reset}", name_of(level).to_ascii_uppercase());
    let module = module.to_ascii_uppercase();
    let time = clock::iso_8601(clock::unix_ms());
    let mut line = match format {
        Format::Simple => format!("{level} - "),
        Format::Short => {
            let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time);
            format!("{dim}[{time}]{reset} {level} {dim}{module}:{reset} ")
        }
        Format::Full | Format::Json => {
            format!("{dim}[{time}]{reset} {level} {dim}{}/{module}:{reset} ", options.node_id)
        }
    };
    push_printable(&mut line, &fields.message);
    for (name, value) in &fields.others {
        line.push(' ');
        line.push_str(name);
        line.push('=');
        match value {
            Value::String(text) => push_printable(&mut line, text),
            other => push_printable(&mut line, &other.to_string()),
        }
    }
    line.push('\n');
    line
}

/// `{"ts":…,"level":"info","msg":"…","nodeID":"…","ns":"…","mod":"broker",…}`
/// (moleculer: src/loggers/formatted.js, formatter `json`)
fn json_line(options: &Options, level: Level, module: &str, fields: Fields) -> String {
    let mut line = json!({
        "ts": clock::unix_ms(),
        "level": name_of(level),
        "msg": fields.message,
        "nodeID": &*options.node_id,
        "ns": &*options.namespace,
        "mod": module.to_ascii_lowercase(),
    });
    if let Value::Object(map) = &mut line {
        for (name, value) in fields.others {
            map.entry(name).or_insert(value);
        }
    }
    format!("{line}\n")
}

/// Guests and other nodes choose the text: line breaks would forge lines, escape codes would reach the
/// terminal of the operator.
fn push_printable(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\t' => line.push(c),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\x{:02x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}

/// `isomer_host::broker::call` → `broker`; another crate is a module of its own.
fn module_of(target: &str) -> String {
    let mut parts = target.split("::");
    let root = parts.next().unwrap_or(target);
    let module = if root == env!("CARGO_CRATE_NAME") { parts.next() } else { None };
    module.unwrap_or(root).to_owned()
}

fn level_of(level: tracing::Level) -> Level {
    match level {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    }
}

fn name_of(level: Level) -> &'static str {
    match level {
        Level::Off => "off",
        Level::Fatal => "fatal",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Moleculer's colours (moleculer: src/loggers/formatted.js getColor).
fn color_of(level: Level) -> &'static str {
    match level {
        Level::Fatal => "\x1b[41;97m",
        Level::Error => "\x1b[91m",
        Level::Warn => "\x1b[93m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[95m",
        Level::Off | Level::Trace => "\x1b[90m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Place;
    use crate::config::value::{Located, Value as ConfigValue};

    fn written(levels: &str, format: Format, log: impl FnOnce()) -> String {
        let levels =
            Located { value: ConfigValue::Word(levels.into()), place: Place::Flag("--log-level") };
        let text = Arc::new(parking_lot::Mutex::new(String::new()));
        let options = Options {
            levels: Levels::read(&levels).unwrap(),
            format,
            colors: false,
            node_id: "n1".into(),
            namespace: "dev".into(),
        };
        let layer = Lines { options, sink: Sink::Memory(Arc::clone(&text)) };
        let most = layer.most();
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(most));
        tracing::subscriber::with_default(subscriber, log);
        let text = text.lock().clone();
        // The time in front differs.
        text.lines().map(|line| line.split_once("] ").map_or(line, |(_, rest)| rest)).fold(
            String::new(),
            |mut all, line| {
                all.push_str(line);
                all.push('|');
                all
            },
        )
    }

    #[test]
    fn lines_look_as_moleculers() {
        let text = written("info", Format::Full, || {
            tracing::info!(count = 3, "services\nare \x1b[31mloaded");
            let fields = r#"{"id":7,"by":{"a":1}}"#;
            tracing::warn!(target: GUEST_TARGET, service = "v2.posts", fields, fatal = false, "hm");
            tracing::error!(target: GUEST_TARGET, service = "posts", fatal = true, "gone");
        });
        assert_eq!(
            text,
            "INFO  n1/LOGGER: services\\nare \\x1b[31mloaded count=3|WARN  n1/V2.POSTS: hm id=7 by={\"a\":1}|\
             FATAL n1/POSTS: gone|"
        );
    }

    #[test]
    fn levels_hold_for_modules_and_libraries() {
        let text = written("warn,posts=debug", Format::Full, || {
            tracing::info!("not written");
            tracing::debug!(target: GUEST_TARGET, service = "posts", "written");
            tracing::debug!(target: GUEST_TARGET, service = "users", "not written");
            tracing::info!(target: "hyper::client", "not written");
        });
        assert_eq!(text, "DEBUG n1/POSTS: written|");
        let text = written("trace", Format::Full, || {
            tracing::info!(target: "async_nats", "not written");
            tracing::warn!(target: "async_nats", "written");
            tracing::warn!(target: "wasmtime_wasi_http::p2::error", "not written");
        });
        assert_eq!(text, "WARN  n1/ASYNC_NATS: written|");
        assert_eq!(written("off", Format::Full, || tracing::error!("no")), "");
        assert_eq!(written("fatal", Format::Full, || tracing::error!("no")), "");
    }

    #[test]
    fn json_lines_hold_moleculers_keys() {
        let text = written("info", Format::Json, || tracing::info!(n = 1, "text"));
        let line: Value = serde_json::from_str(text.trim_end_matches('|')).unwrap();
        assert!(line["ts"].is_u64());
        for (key, expected) in [
            ("level", json!("info")),
            ("msg", json!("text")),
            ("nodeID", json!("n1")),
            ("ns", json!("dev")),
            ("mod", json!("logger")),
            ("n", json!(1)),
        ] {
            assert_eq!(line[key], expected, "{key}");
        }
    }
}
