//! From sources to a component: which language a project is in, which tools that needs, and how they are run.
//!
//! Each language is one file behind [`Toolchain`]; what it takes to build beyond its own tool lies in
//! `guest-sdk/` and is part of the binary ([`sdk`]). A node needs nothing of this. What is not here: what is
//! done with a component ([`crate::runtime`]), and what people see of it (`cli`).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use futures_util::future::BoxFuture;

mod c;
pub mod componentize;
mod go;
mod javascript;
mod projects;
mod python;
mod rust;
pub mod sdk;
pub mod template;
mod workbench;

pub use projects::{Projects, projects};
pub use workbench::{Tool, Workbench};

/// The languages that services are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust, with `isomer-sdk`.
    Rust,
    /// JavaScript: Moleculer service schemas.
    JavaScript,
    /// TypeScript, built as JavaScript is.
    TypeScript,
    /// Python.
    Python,
    /// Go.
    Go,
    /// C and C++, and modules that other compilers have made.
    C,
}

impl Language {
    /// All of them, in the order in which a folder is asked whether it holds one.
    pub const ALL: [Self; 6] =
        [Self::Rust, Self::Go, Self::JavaScript, Self::TypeScript, Self::Python, Self::C];

    /// The word for it on the command line.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "js",
            Self::TypeScript => "ts",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::JavaScript => "JavaScript",
            Self::TypeScript => "TypeScript",
            Self::Python => "Python",
            Self::Go => "Go",
            Self::C => "C",
        }
    }

    /// How it is built.
    #[must_use]
    pub fn toolchain(self) -> &'static dyn Toolchain {
        match self {
            Self::Rust => &rust::Rust,
            Self::JavaScript | Self::TypeScript => &javascript::JavaScript,
            Self::Python => &python::Python,
            Self::Go => &go::Go,
            Self::C => &c::Clang,
        }
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|language| language.flag() == text || language.name().to_lowercase() == text);
        found.ok_or_else(|| {
            let flags = Self::ALL.map(Self::flag).join(", ");
            format!("known languages are {flags}")
        })
    }
}

/// Why something was not built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing that could be built.
    #[error("{}: {reason}", place.display())]
    NoProject {
        /// What was to be built.
        place: PathBuf,
        /// What is missing, and what to do.
        reason: String,
    },
    /// A tool is not installed.
    #[error("{program} is missing: {language} services need {needed}\n  install it: {install}")]
    Missing {
        /// The program that was looked for.
        program: &'static str,
        /// Name of the language.
        language: &'static str,
        /// What it is, with the version.
        needed: &'static str,
        /// The exact command, or the page that has it.
        install: &'static str,
    },
    /// A tool has ended with an error, which it has shown itself.
    #[error("{what} failed ({status}); what it says stands above")]
    Tool {
        /// The command.
        what: String,
        /// How it ended.
        status: String,
    },
    /// A tool did what it should, but not with the result that it should have.
    #[error("{what}")]
    Unexpected {
        /// What is wrong, and what to do.
        what: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: which file it was.
    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    fn no_project(place: &Path, reason: impl Into<String>) -> Self {
        Self::NoProject { place: place.to_owned(), reason: reason.into() }
    }

    /// Whether nothing was tried: the mistake is in what was asked for or in what is installed.
    #[must_use]
    pub fn is_wrong_use(&self) -> bool {
        matches!(self, Self::NoProject { .. } | Self::Missing { .. })
    }
}

/// What is to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its language.
    pub language: Language,
    /// The folder that the tools run in; absolute.
    pub root: PathBuf,
    /// The file that was named, or the one that the folder's manifest names; absolute.
    pub entry: Option<PathBuf>,
    /// The file name of the component, without `.wasm`.
    pub name: String,
}

impl Project {
    /// What the tools are given: the file, or the folder when no file stands for it.
    #[must_use]
    pub fn source(&self) -> &Path {
        self.entry.as_deref().unwrap_or(&self.root)
    }
}

/// What to make of a project.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where the component is written. The caller puts it into its place when it is whole.
    pub output: PathBuf,
    /// For deployment: small and fast, however long that takes. Languages whose tool knows one way to build
    /// make the same of both.
    pub release: bool,
}

/// How the language's own tests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tested {
    /// All went well.
    Passed,
    /// There are none.
    Nothing,
}

/// What is known of one language.
pub trait Toolchain: Send + Sync {
    /// The project that a file or folder (absolute) holds, when it is one of this language.
    ///
    /// # Errors
    /// [`Error::NoProject`] when it is one, but cannot be built as it is.
    fn detect(&self, place: &Path) -> Result<Option<Project>, Error>;

    /// The projects that lie side by side in a file or folder (absolute): one, where the language does not know
    /// better.
    ///
    /// # Errors
    /// As [`Toolchain::detect`].
    fn detect_several(&self, place: &Path) -> Result<Vec<Project>, Error> {
        Ok(self.detect(place)?.into_iter().collect())
    }

    /// What has to be installed.
    fn tools(&self) -> &'static [Tool];

    /// Builds the component into `order.output`.
    ///
    /// # Errors
    /// [`Error`].
    fn build<'a>(
        &'a self,
        project: &'a Project,
        order: &'a Order,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Runs the tests that the project has in its own language.
    ///
    /// # Errors
    /// [`Error::Tool`] when some fail.
    fn test<'a>(
        &'a self,
        project: &'a Project,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<Tested, Error>>;
}

/// Finds out what a file or folder holds.
///
/// # Errors
/// [`Error::NoProject`] with what was looked for.
pub fn detect(place: &Path) -> Result<Project, Error> {
    let absolute =
        place.canonicalize().map_err(|error| Error::no_project(place, error.to_string()))?;
    for language in Language::ALL {
        if let Some(project) = language.toolchain().detect(&absolute)? {
            return Ok(project);
        }
    }
    Err(nothing_in(place, &absolute))
}

/// The error for a place in which no language has a project.
fn nothing_in(place: &Path, absolute: &Path) -> Error {
    let reason = match absolute.is_dir() {
        true => {
            "no service here: there is no Cargo.toml, go.mod, package.json, *.service.js or .ts, \
             pyproject.toml, requirements.txt, *.py, *.c or *.cpp; make one with \
             `isomer new NAME --lang LANGUAGE`"
        }
        false => {
            "no service can be built of this file; name a .js, .ts, .py, .c or .cpp file, or a folder"
        }
    };
    Error::no_project(place, reason)
}

/// Whether a folder of this name is one in which tools write, or hidden: nobody keeps sources there.
#[must_use]
pub fn is_of_tools(name: &str) -> bool {
    const FOLDERS: [&str; 6] = ["target", "node_modules", "build", "dist", "__pycache__", "venv"];
    name.starts_with('.') || FOLDERS.contains(&name)
}

/// The last part of a path as text: how a project is called whose files do not name it.
fn folder_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| "service".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The files directly in a folder whose names end with one of these, in order.
fn files_ending(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            endings.iter().any(|ending| name.ends_with(ending)) && path.is_file()
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests;
