//! The languages that have a conformance guest: how it is built, what it needs, and what it lacks.
//!
//! Guests are built when a run needs them, into `target/conformance`, and again only when something has changed
//! that they are made of. The Rust ones are built with all other guests, by `make guests`.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::{guests, streams, tree};

/// One language in one world.
pub struct Language {
    /// Its name in documents, and of the file of its component.
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
    /// By a program: its arguments, in which `OUT` is the file to be written.
    Program {
        command: &'static [&'static str],
        /// Files and folders that the component depends on.
        made_of: &'static [&'static str],
        /// Commands that fail when a tool is missing, with its name and how to get it.
        needs: &'static [(&'static [&'static str], &'static str)],
    },
}

/// A tool that is not on this machine.
#[derive(Debug)]
pub struct Missing {
    /// The language that needs it.
    pub language: &'static str,
    /// What it is and how to get it.
    pub tool: &'static str,
}

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
        lacks: &[(
            "a stream from the service to itself",
            "In the SDK for Rust, streams block a shared instance, which cannot write while it reads.",
        )],
    },
    Language {
        name: "C",
        world: "service",
        tool: "Zig",
        how: How::Program {
            command: &["isomer", "build", "tests/conformance/c", "--release", "-o", "OUT"],
            made_of: &["tests/conformance/c", "guest-sdk/c", "wit"],
            needs: &[(ZIG, "Zig: `pip install ziglang==0.17.0`")],
        },
        lacks: &[(
            "the language's own errors",
            "C has none: a handler returns a failure, or it traps.",
        )],
    },
    Language {
        name: "Python",
        world: "service",
        tool: "componentize-py",
        how: How::Program {
            command: &["isomer", "build", "tests/conformance/python", "--release", "-o", "OUT"],
            made_of: &["tests/conformance/python", "guest-sdk/python", "wit"],
            needs: PYTHON,
        },
        lacks: &[(
            "undefined, passed on",
            "Python has one `None` for both, and passes it on as `null`.",
        )],
    },
    Language {
        name: "Go",
        world: "service",
        tool: "Go's own compiler",
        how: How::Program {
            command: &["isomer", "build", "tests/conformance/go", "--release", "-o", "OUT"],
            made_of: &["tests/conformance/go", "guest-sdk/go", "wit"],
            // The builder is a program in Python, which brings Go.
            needs: PYTHON,
        },
        lacks: &[],
    },
    Language {
        name: "JavaScript",
        world: "service-async",
        tool: "componentize-qjs",
        how: How::Program {
            command: &["isomer", "build", "tests/conformance/js", "--release", "-o", "OUT"],
            made_of: &["tests/conformance/js", "guest-sdk/js", "wit"],
            needs: &[(
                &["sh", "-c", "node --version && npm --version"],
                "Node.js and npm: `apt-get install nodejs npm`",
            )],
        },
        lacks: &[(
            "a trap",
            "Everything that goes wrong in JavaScript can be caught, and `process.exit` is refused.",
        )],
    },
];

/// What builds guests in Python and Go brings everything else itself.
const PYTHON: &[(&[&str], &str)] = &[(
    &["python3", "-c", "import venv"],
    "Python 3.10 or newer: `apt-get install python3 python3-venv`",
)];

/// Whether there is a Zig compiler.
const ZIG: &[&str] = &["sh", "-c", "zig version || python3 -m ziglang version"];

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
        let (command, made_of, needs) = match &self.how {
            How::Cargo(package) => return Ok(guests::wasm(package)),
            How::Program { command, made_of, needs } => (command, made_of, needs),
        };
        let folder = tree::target().join("conformance");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(self.file_name()).with_extension("wasm");
        let key_file = file.with_extension("key");
        let key = key(command, made_of);
        let known = std::fs::read_to_string(&key_file).unwrap_or_default();
        if file.is_file() && known == key {
            return Ok(file);
        }
        for (check, tool) in *needs {
            if !runs(check) {
                return Err(Missing { language: self.name, tool });
            }
        }
        self.build(command, &file);
        std::fs::write(&key_file, key).unwrap();
        Ok(file)
    }

    fn file_name(&self) -> String {
        let name = self.name.to_lowercase();
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    fn build(&self, command: &[&str], file: &Path) {
        let file_text = file.display().to_string();
        let mut words = command.iter().map(|word| word.replace("OUT", &file_text));
        let program = words.next().unwrap_or_default();
        let output = command_of(&program).args(words).output().unwrap();
        assert!(
            output.status.success() && file.is_file(),
            "the guest in {} cannot be built: {}{}",
            self.name,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A program of this machine, of `tests/scripts/peers.sh`, or `isomer` itself, which keeps what it unpacks below
/// the folder of build results.
#[must_use]
pub fn command_of(program: &str) -> Command {
    let own = (program == "isomer").then(|| tree::profile().join("isomer"));
    let mut command = Command::new(own.unwrap_or_else(|| program.into()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = [tree::profile(), tree::target().join("tools/bin")];
    let search = own.into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(search).unwrap_or(path));
    // As a cache folder has to be: nobody else may write there.
    let cache = tree::target().join("test-cache");
    let mut private = std::fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(cache.join("isomer")).unwrap();
    command.env("XDG_CACHE_HOME", cache);
    command.current_dir(tree::top());
    command
}

/// What to say when there is no Zig compiler.
#[must_use]
pub fn needs_zig() -> Option<&'static str> {
    (!runs(ZIG)).then_some("services in C need Zig: `pip install ziglang==0.17.0`")
}

/// Whether a command ends well.
fn runs(command: &[&str]) -> bool {
    let Some((program, arguments)) = command.split_first() else { return true };
    let output = command_of(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

/// What tells one state of the sources from another.
fn key(command: &[&str], made_of: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(command.join("\n"));
    for name in made_of {
        let path = tree::top().join(name);
        let files = if path.is_dir() { tree::files(&path) } else { vec![path] };
        for file in files {
            hash.update(file.display().to_string());
            hash.update(std::fs::read(&file).unwrap_or_default());
        }
    }
    streams::hash(&hash.finalize())
}
