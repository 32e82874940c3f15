//! Python: a file or a folder of modules, built by `guest-sdk/python/build.py`, which brings its own tools.

use std::ffi::OsString;
use std::path::Path;

use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::workbench::{Tool, Workbench};
use super::{Error, Language, Order, Project, Tested, Toolchain, files_ending, folder_name};

/// Also runs the builders of other languages, which are Python programs.
pub(super) const PYTHON: Tool = Tool {
    programs: &["python3", "python"],
    needed: "Python 3.10 or newer",
    install: "see https://www.python.org/downloads, or: sudo apt-get install python3 python3-venv",
};

/// See the module.
pub(super) struct Python;

impl Toolchain for Python {
    fn detect(&self, place: &Path) -> Result<Option<Project>, Error> {
        let found = |entry, root: &Path, name| {
            Some(Project { language: Language::Python, root: root.to_owned(), entry, name })
        };
        if place.extension().is_some_and(|extension| extension == "py") && place.is_file() {
            let stem = place.with_extension("");
            let root = place.parent().unwrap_or(place);
            return Ok(found(Some(place.to_owned()), root, folder_name(&stem)));
        }
        let named = ["pyproject.toml", "requirements.txt"];
        let any = named.iter().any(|name| place.join(name).is_file())
            || !files_ending(place, &[".py"]).is_empty();
        Ok(any.then(|| found(None, place, folder_name(place))).flatten())
    }

    fn tools(&self) -> &'static [Tool] {
        &[PYTHON]
    }

    fn build<'a>(
        &'a self,
        project: &'a Project,
        order: &'a Order,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(run_builder("guest-sdk/python/build.py", project, order, bench))
    }

    fn test<'a>(
        &'a self,
        project: &'a Project,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<Tested, Error>> {
        Box::pin(async move {
            let has_tests = |folder: &Path| {
                let files = files_ending(folder, &[".py"]);
                files.iter().any(|file| folder_name(file).starts_with("test"))
            };
            let folders = [project.root.join("tests"), project.root.clone()];
            let Some(folder) = folders.iter().find(|folder| has_tests(folder)) else {
                return Ok(Tested::Nothing);
            };
            let mut command = Command::new(bench.program(Language::Python, &PYTHON)?);
            command.current_dir(&project.root).args(["-m", "unittest", "discover", "-s"]);
            // The tests import the service, which imports the SDK.
            let mut modules = OsString::from(&project.root);
            modules.push(":");
            modules.push(bench.sdk()?.join("guest-sdk/python"));
            command.arg(folder).env("PYTHONPATH", modules);
            bench.run("python -m unittest", &mut command).await?;
            Ok(Tested::Passed)
        })
    }
}

/// Runs a builder that is written in Python: `build.py SOURCE -o OUTPUT`.
pub(super) async fn run_builder(
    script: &str,
    project: &Project,
    order: &Order,
    bench: &Workbench,
) -> Result<(), Error> {
    let mut command = builder(script, project.language, bench)?;
    command.current_dir(&project.root).arg(project.source()).arg("-o").arg(&order.output);
    bench.run(&format!("building {}", project.source().display()), &mut command).await
}

/// A builder that is written in Python, without its arguments.
pub(super) fn builder(
    script: &str,
    language: Language,
    bench: &Workbench,
) -> Result<Command, Error> {
    let mut command = Command::new(bench.program(language, &PYTHON)?);
    command.arg(bench.sdk()?.join(script));
    // Where it keeps compilers, and the program that makes components of their modules: this one.
    command.env("ISOMER_TOOLS", bench.tools());
    if let Ok(own) = std::env::current_exe() {
        command.env("ISOMER", own);
    }
    Ok(command)
}
