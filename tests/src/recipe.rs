//! Components in other languages than Rust, built for tests as a user builds them: by `isomer build`, with the tools
//! of this machine.
//!
//! Each is built once for each state of what it is made of, into a folder of build results. Where a tool is missing,
//! tests that need it say so and do nothing ([`skip`]); `make test` installs the tools and sets
//! `ISOMER_ALL_LANGUAGES`, with which that is a failure.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::{streams, tree};

/// How a component is made.
#[derive(Debug)]
pub struct Recipe {
    /// The name of its file.
    pub name: &'static str,
    /// The folder of its sources.
    pub source: &'static str,
    /// The language of the sources.
    pub by: &'static By,
}

/// What builds the components of a language.
#[derive(Debug)]
pub struct By {
    /// Files and folders of the repository that every component of the language depends on.
    pub sdk: &'static [&'static str],
    /// A command that fails when the tool is missing.
    check: &'static [&'static str],
    /// What it is and how to get it.
    tool: &'static str,
}

/// C, by Zig.
pub const C: By = By {
    sdk: &["guest-sdk/c"],
    check: &["sh", "-c", "zig version || python3 -m ziglang version"],
    tool: "Zig: `pip install ziglang==0.17.0`",
};
/// Python. The builder brings everything else itself.
pub const PYTHON: By = By {
    sdk: &["guest-sdk/python", "guest-sdk/building.py"],
    check: &["python3", "-c", "import venv, ensurepip"],
    tool: "Python 3.10 or newer with venv: `apt-get install python3 python3-venv`",
};
/// Go, which the builder brings: it is a program in Python.
pub const GO: By = By { sdk: &["guest-sdk/go", "guest-sdk/building.py"], ..PYTHON };
/// JavaScript.
pub const JAVASCRIPT: By = By {
    sdk: &["guest-sdk/js"],
    check: &["sh", "-c", "node --version && npm --version"],
    tool: "Node.js and npm: `apt-get install nodejs npm`",
};

impl By {
    /// The tool that is missing here, and how to get it.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let (program, arguments) = self.check.split_first()?;
        let output = command_of(program).args(arguments).output();
        (!output.is_ok_and(|output| output.status.success())).then_some(self.tool)
    }

    /// Whether tests of the language do nothing here, which is said.
    #[must_use]
    pub fn is_skipped(&self) -> bool {
        let missing = self.missing();
        missing.map(skip).is_some()
    }
}

impl Recipe {
    /// The component, built when it is not there yet or something has changed that it is made of.
    ///
    /// # Errors
    /// The tool that is missing.
    ///
    /// # Panics
    /// When it cannot be built: with what the tool said.
    pub fn component(&self) -> Result<PathBuf, &'static str> {
        let folder = tree::target().join("components");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(self.name).with_extension("wasm");
        let key_file = file.with_extension("key");
        let key = self.key();
        let known = std::fs::read_to_string(&key_file).unwrap_or_default();
        if file.is_file() && known == key {
            return Ok(file);
        }
        if let Some(tool) = self.by.missing() {
            return Err(tool);
        }
        let mut build = command_of("isomer");
        build.args(["build", self.source, "--release", "-o"]).arg(&file);
        check(&format!("{} is built", self.source), &mut build);
        std::fs::write(&key_file, key).unwrap();
        Ok(file)
    }

    /// The component, compiled as well, because that takes longer than a test waits for a node; `None` where its
    /// tool is missing.
    ///
    /// # Panics
    /// As [`Recipe::component`].
    #[must_use]
    pub fn compiled(&self) -> Option<PathBuf> {
        let file = self.component().map_err(skip).ok()?;
        compile(&file);
        Some(file)
    }

    /// What tells one state of the sources from another.
    fn key(&self) -> String {
        let mut hash = Sha256::new();
        for name in [self.source, "wit"].iter().chain(self.by.sdk) {
            let path = tree::top().join(name);
            let files = if path.is_dir() { tree::files(&path) } else { vec![path] };
            for file in files {
                hash.update(file.display().to_string());
                hash.update(std::fs::read(&file).unwrap_or_default());
            }
        }
        streams::hash(&hash.finalize())
    }
}

/// A program of this machine, of `tests/scripts/peers.sh`, or `isomer` itself, which keeps what it unpacks and
/// installs below the folder of build results.
///
/// # Panics
/// When that folder cannot be made.
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

/// Compiles a component into the cache of tests, which may take longer than a test waits for a node.
///
/// # Panics
/// When it cannot be compiled: with why.
pub fn compile(file: &Path) {
    let mut compile = command_of("isomer");
    compile.arg("compile").arg(file).arg("--cache-dir").arg(tree::target().join("test-cache"));
    check(&format!("{} is compiled", file.display()), &mut compile);
}

/// Says that a test does nothing because a tool is missing.
///
/// # Panics
/// Where `make test` has installed all tools.
#[expect(clippy::print_stderr, reason = "says why a test does nothing")]
pub fn skip(tool: &str) {
    assert!(std::env::var_os("ISOMER_ALL_LANGUAGES").is_none(), "needs {tool}");
    eprintln!("skipped: needs {tool}");
}

/// Runs a command that has to end well.
///
/// # Panics
/// When it does not: with what it said.
pub fn check(what: &str, command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{what}: no, because\n{}", said(&output));
}

/// What a command wrote.
#[must_use]
pub fn said(output: &std::process::Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// What `isomer build` says when it refuses sources.
///
/// # Panics
/// When it takes them.
#[must_use]
pub fn refused(source: &Path) -> String {
    let mut build = command_of("isomer");
    let output = build.arg("build").arg(source).arg("-o").arg(source.join("out.wasm")).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "it was built");
    said(&output)
}
