//! Which log lines are written: a level for everything and other levels for single modules.

use crate::config::value::{Located, Value};

/// Moleculer's levels, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Off,
    /// The service or node cannot go on.
    Fatal,
    /// Something failed and somebody should look.
    Error,
    /// Unexpected, but dealt with.
    Warn,
    /// What an operator wants to see in normal times.
    Info,
    /// For developers.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Reads Moleculer's name of a level, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "off" | "false" | "silent" => Self::Off,
            "fatal" => Self::Fatal,
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// `[time] LEVEL node/MODULE: text`
    #[default]
    Full,
    /// `[time] LEVEL MODULE: text`, the time without the day.
    Short,
    /// `LEVEL - text`
    Simple,
    /// One JSON object per line.
    Json,
}

/// The level of every module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    /// Of modules that no pattern fits.
    pub default: Level,
    /// Module patterns, upper-case, in the order of writing: the first that fits counts
    /// (moleculer: src/loggers/base.js getLogLevel).
    pub modules: Vec<(String, Level)>,
}

impl Default for Levels {
    fn default() -> Self {
        Self { default: Level::Info, modules: Vec::new() }
    }
}

/// What a level list is, for messages.
pub const ALLOWED: &str = "fatal, error, warn, info, debug, trace or off; \
                           for single modules \"info,POSTS=debug\" or a table {\"POSTS\": \"debug\", \"**\": \"info\"}";

impl Levels {
    /// Reads `info`, `info,posts=debug`, or Moleculer's table of patterns.
    ///
    /// # Errors
    /// Which part is no level.
    pub fn read(located: &Located) -> Result<Self, String> {
        let mut levels = Self::default();
        match &located.value {
            Value::Null => {}
            Value::Table(entries) => {
                for (pattern, level) in entries {
                    levels.set(pattern, &level_text(level))?;
                }
            }
            _ => {
                for part in level_text(located).split(',') {
                    let (pattern, level) = part.split_once('=').unwrap_or(("**", part));
                    levels.set(pattern.trim(), level.trim())?;
                }
            }
        }
        Ok(levels)
    }

    /// The most talkative level of any module: lines beyond it are written nowhere.
    #[must_use]
    pub fn most(&self) -> Level {
        self.modules.iter().map(|(_, level)| *level).fold(self.default, Level::max)
    }

    /// The level of a module.
    #[must_use]
    pub fn of(&self, module: &str) -> Level {
        self.named(module).unwrap_or(self.default)
    }

    /// The level of a module that a pattern fits.
    #[must_use]
    pub fn named(&self, module: &str) -> Option<Level> {
        // Most nodes have no patterns; every line asks.
        if self.modules.is_empty() {
            return None;
        }
        let module = module.to_ascii_uppercase();
        self.modules.iter().find(|(pattern, _)| fits(pattern, &module)).map(|(_, level)| *level)
    }

    fn set(&mut self, pattern: &str, name: &str) -> Result<(), String> {
        let level = Level::from_name(name).ok_or_else(|| format!("\"{name}\" is no level"))?;
        if pattern == "**" || pattern == "*" {
            self.default = level;
        } else {
            self.modules.push((pattern.to_ascii_uppercase(), level));
        }
        Ok(())
    }
}

fn level_text(located: &Located) -> String {
    match &located.value {
        Value::Bool(false) => "off".into(),
        _ => located.as_text().map_or_else(|| located.found(), str::to_owned),
    }
}

/// A pattern is a module's name, or the beginning of one before a final `*`.
fn fits(pattern: &str, module: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => module.starts_with(start.trim_end_matches('*')),
        None => pattern == module,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Place;

    fn word(text: &str) -> Located {
        Located { value: Value::Word(text.into()), place: Place::Flag("--log-level") }
    }

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let levels = Levels::read(&word("warn, posts=debug,v2.*=trace,broker=off")).unwrap();
        let check = |module: &str, expected| assert_eq!(levels.of(module), expected, "{module}");
        check("POSTS", Level::Debug);
        check("posts", Level::Debug);
        check("V2.USERS", Level::Trace);
        check("BROKER", Level::Off);
        check("TRANSIT", Level::Warn);
        assert_eq!(levels.most(), Level::Trace);
    }

    #[test]
    fn a_word_that_is_no_level_is_named() {
        let error = Levels::read(&word("info,posts=loud")).unwrap_err();
        assert_eq!(error, "\"loud\" is no level");
    }
}
