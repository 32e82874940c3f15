//! The languages that have a conformance guest: how it is built, what it needs, and what it lacks.
//!
//! The Rust ones are built with all other guests, by `make guests`; the others when a run needs them.

use std::path::PathBuf;

use crate::guests;
use crate::recipe::{C, GO, JAVASCRIPT, PYTHON, Recipe};

/// One language in one world.
pub struct Language {
    /// Its name in documents.
    pub name: &'static str,
    /// The world of the component.
    pub world: &'static str,
    /// What it is built by, for the document.
    pub tool: &'static str,
    how: How,
    /// Names of scenarios that it cannot pass, with the reason in a sentence.
    pub lacks: &'static [(&'static str, &'static str)],
}

/// How a component is made.
enum How {
    /// By cargo, as this package.
    Cargo(&'static str),
    /// By the builder of its language.
    Recipe(&'static Recipe),
}

/// A tool that is not on this machine.
#[derive(Debug)]
pub struct Missing {
    /// The language that needs it.
    pub language: &'static str,
    /// What it is and how to get it.
    pub tool: &'static str,
}

/// The guest in C.
pub const IN_C: Recipe = Recipe { name: "conformance-c", source: "tests/conformance/c", by: &C };
/// The guest in Python.
pub const IN_PYTHON: Recipe =
    Recipe { name: "conformance-python", source: "tests/conformance/python", by: &PYTHON };
/// The guest in Go.
pub const IN_GO: Recipe =
    Recipe { name: "conformance-go", source: "tests/conformance/go", by: &GO };
/// The guest in JavaScript.
pub const IN_JAVASCRIPT: Recipe =
    Recipe { name: "conformance-javascript", source: "tests/conformance/js", by: &JAVASCRIPT };

/// All languages, in the order of the document; the first is what the others are compared with.
pub const LANGUAGES: &[Language] = &[
    Language {
        name: "Rust",
        world: "service",
        tool: "cargo",
        how: How::Cargo("conformance"),
        lacks: &[],
    },
    Language {
        name: "Rust (shared)",
        world: "service-async",
        tool: "cargo",
        how: How::Cargo("conformance_shared"),
        lacks: &[],
    },
    Language {
        name: "C",
        world: "service",
        tool: "Zig",
        how: How::Recipe(&IN_C),
        lacks: &[(
            "the language's own errors",
            "C has none: a handler returns a failure, or it traps.",
        )],
    },
    Language {
        name: "Python",
        world: "service",
        tool: "componentize-py",
        how: How::Recipe(&IN_PYTHON),
        lacks: &[(
            "undefined, passed on",
            "Python has one `None` for both, and passes it on as `null`.",
        )],
    },
    Language {
        name: "Go",
        world: "service",
        tool: "Go's own compiler",
        how: How::Recipe(&IN_GO),
        lacks: &[],
    },
    Language {
        name: "JavaScript",
        world: "service-async",
        tool: "componentize-qjs",
        how: How::Recipe(&IN_JAVASCRIPT),
        lacks: &[(
            "a trap",
            "Everything that goes wrong in JavaScript can be caught, and `process.exit` is refused.",
        )],
    },
];

impl Language {
    /// Why it cannot pass a scenario; `None` when it can.
    #[must_use]
    pub fn lack(&self, scenario: &str) -> Option<&'static str> {
        self.lacks.iter().find(|(name, _)| *name == scenario).map(|(_, reason)| *reason)
    }

    /// The component, built when it is not there yet or older than what it is made of.
    ///
    /// # Errors
    /// When a tool is missing.
    ///
    /// # Panics
    /// When it cannot be built: with what the tool said.
    pub fn component(&self) -> Result<PathBuf, Missing> {
        match &self.how {
            How::Cargo(package) => Ok(guests::wasm(package)),
            How::Recipe(recipe) => {
                recipe.component().map_err(|tool| Missing { language: self.name, tool })
            }
        }
    }
}
