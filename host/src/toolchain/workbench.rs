//! Where tools are run: finds them, says what is being done, and keeps standard output clean.
//!
//! What a tool writes goes to standard error as it comes, because standard output belongs to the result of
//! the verb. A tool is killed when nobody waits for it any more.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

use super::{Error, Language, Order, Project, Tested, sdk};

/// A program that has to be installed.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Names under which it is known, the usual one first.
    pub programs: &'static [&'static str],
    /// What it is, with the version.
    pub needed: &'static str,
    /// The exact command that installs it, or the page that has it.
    pub install: &'static str,
}

/// Says a line about what is being done.
type Say = Box<dyn Fn(&str) + Send + Sync>;

/// A place to work in.
pub struct Workbench {
    cache: PathBuf,
    search: Vec<PathBuf>,
    say: Say,
}

impl Workbench {
    /// `cache` is where SDKs are unpacked; programs are searched for where `path` (as the variable `PATH`)
    /// says; `say` shows progress.
    #[must_use]
    pub fn new(
        cache: PathBuf,
        path: &std::ffi::OsStr,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { cache, search: std::env::split_paths(path).collect(), say: Box::new(say) }
    }

    /// Builds a project, after a look at whether its tools are there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn build(&self, project: &Project, order: &Order) -> Result<(), Error> {
        self.check_tools(project.language)?;
        project.language.toolchain().build(project, order, self).await
    }

    /// Runs the language's own tests of a project, after a look at whether its tools are there.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn test(&self, project: &Project) -> Result<Tested, Error> {
        self.check_tools(project.language)?;
        project.language.toolchain().test(project, self).await
    }

    /// Looks whether all tools of a language are there.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn check_tools(&self, language: Language) -> Result<(), Error> {
        for tool in language.toolchain().tools() {
            self.program(language, tool)?;
        }
        Ok(())
    }

    /// The program of a tool.
    ///
    /// # Errors
    /// [`Error::Missing`].
    pub fn program(&self, language: Language, tool: &Tool) -> Result<PathBuf, Error> {
        tool.programs.iter().find_map(|program| self.find(program)).ok_or_else(|| Error::Missing {
            program: tool.programs.first().copied().unwrap_or_default(),
            language: language.name(),
            needed: tool.needed,
            install: tool.install,
        })
    }

    /// Where a program is, if it is installed.
    #[must_use]
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        self.search.iter().map(|folder| folder.join(program)).find(|path| is_program(path))
    }

    /// The unpacked sources: `guest-sdk/` and `wit/` are below it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn sdk(&self) -> Result<PathBuf, Error> {
        sdk::unpacked(&self.cache)
    }

    /// Where builders keep what they install.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// Shows a line.
    pub fn say(&self, line: &str) {
        (self.say)(line);
    }

    /// Runs a tool to its end; `what` is how it is called in messages.
    ///
    /// # Errors
    /// [`Error::Tool`] when it ends with an error, [`Error::File`] when it cannot be started.
    pub async fn run(&self, what: &str, command: &mut Command) -> Result<(), Error> {
        self.say(what);
        command.stdout(standard_error()).stderr(Stdio::inherit());
        let status = prepared(command).status().await;
        ended(what, status.map_err(Error::at(Path::new(command.as_std().get_program())))?)
    }

    /// Runs a tool to its end and gives what it wrote to standard output.
    ///
    /// # Errors
    /// As [`Workbench::run`].
    pub async fn output_of(&self, what: &str, command: &mut Command) -> Result<String, Error> {
        self.say(what);
        self.quiet_output_of(what, command.stderr(Stdio::inherit())).await
    }

    /// Asks a tool something; nobody sees that.
    ///
    /// # Errors
    /// As [`Workbench::run`].
    pub async fn quiet_output_of(
        &self,
        what: &str,
        command: &mut Command,
    ) -> Result<String, Error> {
        command.stdout(Stdio::piped());
        let child = prepared(command).spawn();
        let child = child.map_err(Error::at(Path::new(command.as_std().get_program())))?;
        let output = child.wait_with_output().await.map_err(Error::at(Path::new(what)))?;
        ended(what, output.status)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn prepared(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).kill_on_drop(true)
}

fn ended(what: &str, status: ExitStatus) -> Result<(), Error> {
    match status.success() {
        true => Ok(()),
        false => Err(Error::Tool { what: what.to_owned(), status: status.to_string() }),
    }
}

/// Standard error, for what a tool writes to its standard output.
fn standard_error() -> Stdio {
    std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from)
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
