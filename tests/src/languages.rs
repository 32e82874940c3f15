//! Components in other languages than Rust, built for tests by the builders of their SDKs.
//!
//! A component is built and compiled once for each state of what it is made of. Where the tool of a language is
//! missing, its tests say so and do nothing; `make test` installs the tools and sets `ISOMER_ALL_LANGUAGES`,
//! with which that is a failure.

use std::path::{Path, PathBuf};
use std::process::Command;

use isomer_host::config::BrokerOptions;

use crate::host::Host;
use crate::{guests, node, tree};

/// A language with a builder in `guest-sdk/LANGUAGE/build.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python.
    Python,
    /// Go.
    Go,
}

impl Language {
    fn folder(self) -> &'static str {
        match self {
            Self::Python => "guest-sdk/python",
            Self::Go => "guest-sdk/go",
        }
    }

    /// The component of these sources under a name of its own; `None` where the tool is missing.
    ///
    /// # Panics
    /// When it cannot be built: with what the builder said.
    #[must_use]
    pub fn built(self, source: &str, name: &str) -> Option<PathBuf> {
        if !self.is_here() {
            return None;
        }
        let folder = tree::target().join("languages");
        let file = folder.join(name).with_extension("wasm");
        if !is_newer(&file, &[source, self.folder(), "wit"]) {
            let mut build = self.builder();
            build.arg(tree::top().join(source)).arg("-o").arg(&file);
            check(&format!("{name} is built"), &mut build);
        }
        // Compiling takes longer than a test waits for a node.
        let cache = tree::target().join("test-cache");
        let mut compile = Command::new(node::binary());
        compile.arg("compile").arg(&file).arg("--cache-dir").arg(cache);
        check(&format!("{name} is compiled"), &mut compile);
        Some(file)
    }

    /// Runs the tests of a service, or of the SDK itself, with the language's own tool.
    ///
    /// # Panics
    /// When one of them fails.
    pub fn tests_pass(self, folder: &str) {
        if !self.is_here() {
            return;
        }
        let folder = tree::top().join(folder);
        let mut command = match self {
            Self::Python => {
                let mut command = Command::new("python3");
                command.args(["-m", "unittest", "discover", "-s"]).arg(&folder);
                command.env("PYTHONPATH", tree::top().join(self.folder()));
                command
            }
            Self::Go => {
                let mut command = self.builder();
                command.arg(&folder).arg("--test");
                command
            }
        };
        check(&format!("the tests of {} pass", folder.display()), &mut command);
    }

    /// What the builder writes when it refuses sources.
    ///
    /// # Panics
    /// When it takes them.
    #[must_use]
    pub fn refused(self, source: &Path) -> Option<String> {
        if !self.is_here() {
            return None;
        }
        let mut build = self.builder();
        let output = build.arg(source).arg("-o").arg(source.join("out.wasm")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "it was built");
        Some(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn builder(self) -> Command {
        let mut command = Command::new("python3");
        command.current_dir(tree::top()).arg(tree::top().join(self.folder()).join("build.py"));
        if std::env::var_os("ISOMER").is_none() {
            command.env("ISOMER", node::binary());
        }
        command
    }

    fn is_here(self) -> bool {
        let mut python = Command::new("python3");
        let here = python.args(["-c", "import venv, ensurepip"]).output();
        let here = here.is_ok_and(|output| output.status.success());
        if !here {
            skip(&format!("{self:?} needs Python 3 with venv: apt-get install python3-venv"));
        }
        here
    }
}

/// Says that a test does nothing because a tool is missing.
///
/// # Panics
/// Where `make test` has installed all tools.
#[expect(clippy::print_stderr, reason = "says why a test does nothing")]
pub fn skip(why: &str) {
    assert!(std::env::var_os("ISOMER_ALL_LANGUAGES").is_none(), "{why}");
    eprintln!("skipped: {why}");
}

/// Starts a node on components of Rust by name, and on files; none where a file is missing.
pub async fn host(
    rust: &[&str],
    files: &[Option<PathBuf>],
    options: BrokerOptions,
) -> Option<Host> {
    let folder = tempfile::tempdir().unwrap();
    for name in rust {
        guests::put(name, folder.path(), &format!("{name}.wasm"));
    }
    for file in files {
        let file = file.as_ref()?;
        let name = file.file_name()?.to_string_lossy().into_owned();
        guests::put_bytes(&std::fs::read(file).unwrap(), folder.path(), &name);
        // One instance, so that what it keeps can be asked for.
        let sidecar = folder.path().join(&name).with_extension("toml");
        std::fs::write(sidecar, "[instances]\nmax = 1\n").unwrap();
    }
    Some(Host::start_on(options, folder).await)
}

/// Whether a file is newer than everything that it is made of.
fn is_newer(file: &Path, made_of: &[&str]) -> bool {
    let time = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
    let Some(made) = time(file) else { return false };
    made_of
        .iter()
        .flat_map(|folder| tree::files(&tree::top().join(folder)))
        .all(|source| time(&source).is_some_and(|changed| changed < made))
}

fn check(what: &str, command: &mut Command) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{what}: no, because\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}
