//! Go: a module, built by `guest-sdk/go/build.py`, which finds or brings the toolchain.

use std::path::Path;

use futures_util::future::BoxFuture;

use super::python::{PYTHON, builder, run_builder};
use super::workbench::{Tool, Workbench};
use super::{Error, Language, Order, Project, Tested, Toolchain, files_ending, folder_name};

const SCRIPT: &str = "guest-sdk/go/build.py";

/// See the module.
pub(super) struct Go;

impl Toolchain for Go {
    fn detect(&self, place: &Path) -> Result<Option<Project>, Error> {
        let root = match place.file_name() {
            Some(name) if name == "go.mod" => place.parent().unwrap_or(place),
            _ if place.extension().is_some_and(|extension| extension == "go") => {
                let reason = "a Go service is a module; name the folder of its go.mod";
                return Err(Error::no_project(place, reason));
            }
            _ => place,
        };
        let (name, root) = (folder_name(root), root.to_owned());
        let there = root.join("go.mod").is_file();
        Ok(there.then_some(Project { language: Language::Go, root, entry: None, name }))
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
        Box::pin(run_builder(SCRIPT, project, order, bench))
    }

    fn test<'a>(
        &'a self,
        project: &'a Project,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<Tested, Error>> {
        Box::pin(async move {
            if files_ending(&project.root, &["_test.go"]).is_empty() {
                return Ok(Tested::Nothing);
            }
            // The builder knows which Go it builds with.
            let mut command = builder(SCRIPT, Language::Go, bench)?;
            command.current_dir(&project.root).arg("--test").arg(&project.root);
            bench.run("go test ./...", &mut command).await?;
            Ok(Tested::Passed)
        })
    }
}
