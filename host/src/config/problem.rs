//! What is wrong with a configuration, where, and what would be right.
//!
//! Problems are collected, never returned one at a time: an operator should fix a file once.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line (from 1) of a file.
    File {
        /// The file, as it was named.
        path: Arc<PathBuf>,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A command-line flag, with its dashes.
    Flag(&'static str),
    /// An option that was given with `--set`.
    Set(String),
    /// A set of defaults that was chosen, such as `compat = "0.12"`.
    Profile(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) | Self::Profile(name) => f.write_str(name),
            Self::Set(name) => write!(f, "--set {name}"),
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it was found; `None` when it belongs to no single place.
    pub place: Option<Place>,
    /// What was found and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// All mistakes of one configuration, and what is worth saying although it is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    mistakes: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// Adds one.
    pub fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.mistakes.push(Problem { place: Some(place.clone()), message: message.into() });
    }

    /// Adds one that belongs to no single place.
    pub fn add_general(&mut self, message: impl Into<String>) {
        self.mistakes.push(Problem { place: None, message: message.into() });
    }

    /// Adds a warning: the value is used, or changes nothing, but should be written otherwise.
    pub fn warn(&mut self, place: &Place, message: impl Into<String>) {
        self.warnings.push(Problem { place: Some(place.clone()), message: message.into() });
    }

    /// The problems in the order of files, lines, variables and flags.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.mistakes
    }

    /// The warnings, sorted by place, when there are no mistakes.
    ///
    /// # Errors
    /// All mistakes, sorted by place.
    pub fn into_result(mut self) -> Result<Vec<Problem>, Self> {
        if self.mistakes.is_empty() {
            self.warnings.sort();
            return Ok(self.warnings);
        }
        self.mistakes.sort();
        Err(self)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} problems in the configuration:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for Problems {}
