//! JavaScript and TypeScript: Moleculer service files, built by `guest-sdk/js/build.mjs` with Node.js.
//!
//! The builder and its bundler come from npm once, into the cache beside the unpacked SDK; what the project
//! itself depends on is installed in the project, as npm does.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::process::Command;

use super::workbench::{Tool, Workbench};
use super::{Error, Language, Order, Project, Tested, Toolchain, files_ending};

const NODE: Tool = Tool {
    programs: &["node"],
    needed: "Node.js 20 or newer",
    install: "see https://nodejs.org/en/download, or: sudo apt-get install nodejs npm",
};

const NPM: Tool = Tool { programs: &["npm"], needed: "npm, which comes with Node.js", ..NODE };

const JAVASCRIPT: [&str; 3] = ["js", "mjs", "cjs"];
const TYPESCRIPT: [&str; 3] = ["ts", "mts", "cts"];
const SERVICE_FILES: [&str; 6] =
    [".service.js", ".service.mjs", ".service.cjs", ".service.ts", ".service.mts", ".service.cts"];

/// npm writes this file last, so it tells an installation that is whole.
const INSTALLED: &str = "node_modules/.package-lock.json";

/// Not `npm ci`, which npm 11 refuses: an optional package of componentize-qjs for another platform was never
/// published, and so is not in the lock. This installs what the lock says, too.
const INSTALL_SDK: [&str; 4] = ["install", "--no-save", "--no-audit", "--no-fund"];

/// See the module.
pub(super) struct JavaScript;

impl Toolchain for JavaScript {
    fn detect(&self, place: &Path) -> Result<Option<Project>, Error> {
        if place.is_file() {
            return Ok(project(place.to_owned(), package_of(place)));
        }
        let manifest = place.join("package.json");
        let services = service_files(place);
        if !manifest.is_file() && services.is_empty() {
            return Ok(None);
        }
        let entry = match (main_of(place, &manifest)?, services.as_slice()) {
            (Some(main), _) => main,
            (None, [one]) => one.clone(),
            (None, []) => {
                let reason = "it has no *.service.js or *.service.ts, and no `main` in its \
                              package.json; name the file of the service";
                return Err(Error::no_project(place, reason));
            }
            (None, several) => {
                let names: String =
                    several.iter().map(|file| format!("\n  {}", file.display())).collect();
                let reason = format!("several services; name one of them:{names}");
                return Err(Error::no_project(place, reason));
            }
        };
        Ok(project(entry, place.to_owned()))
    }

    fn detect_several(&self, place: &Path) -> Result<Vec<Project>, Error> {
        let services = service_files(place);
        if services.len() < 2 || main_of(place, &place.join("package.json"))?.is_some() {
            return Ok(self.detect(place)?.into_iter().collect());
        }
        // Each is built as if it had been named.
        let each = services.into_iter().filter_map(|file| {
            let root = package_of(&file);
            project(file, root)
        });
        Ok(each.collect())
    }

    fn tools(&self) -> &'static [Tool] {
        &[NODE, NPM]
    }

    fn build<'a>(
        &'a self,
        project: &'a Project,
        order: &'a Order,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let sdk = bench.sdk()?.join("guest-sdk/js");
            if !sdk.join(INSTALLED).is_file() {
                npm(&sdk, &INSTALL_SDK, bench).await?;
            }
            // Tests need the others, too.
            install(project, &["dependencies"], bench).await?;
            let mut command = Command::new(bench.program(project.language, &NODE)?);
            command.current_dir(&project.root).arg(sdk.join("build.mjs"));
            command.arg(project.source()).arg("-o").arg(&order.output);
            bench.run(&format!("building {}", project.source().display()), &mut command).await
        })
    }

    fn test<'a>(
        &'a self,
        project: &'a Project,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<Tested, Error>> {
        Box::pin(async move {
            let manifest = read_manifest(&project.root.join("package.json"))?;
            if manifest.pointer("/scripts/test").is_none() {
                return Ok(Tested::Nothing);
            }
            install(project, &["dependencies", "devDependencies"], bench).await?;
            npm(&project.root, &["test", "--silent"], bench).await?;
            Ok(Tested::Passed)
        })
    }
}

/// The service files of a folder, where Moleculer projects keep them.
fn service_files(place: &Path) -> Vec<PathBuf> {
    let folders = ["", "src", "services"].iter();
    folders.flat_map(|folder| files_ending(&place.join(folder), &SERVICE_FILES)).collect()
}

/// The file that the manifest of a folder names, when it is there.
fn main_of(place: &Path, manifest: &Path) -> Result<Option<PathBuf>, Error> {
    let main = read_manifest(manifest)?.get("main").and_then(Value::as_str).map(str::to_owned);
    Ok(main.map(|main| place.join(main)).filter(|main| main.is_file()))
}

/// The project of a service file.
fn project(entry: PathBuf, root: PathBuf) -> Option<Project> {
    let extension = entry.extension()?.to_str()?;
    let language = match extension {
        _ if JAVASCRIPT.contains(&extension) => Language::JavaScript,
        _ if TYPESCRIPT.contains(&extension) => Language::TypeScript,
        _ => return None,
    };
    let stem = entry.file_stem()?.to_string_lossy().into_owned();
    let name = stem.strip_suffix(".service").unwrap_or(&stem).to_owned();
    Some(Project { language, root, entry: Some(entry), name })
}

/// The nearest folder with a package.json, else the folder of the file.
fn package_of(file: &Path) -> PathBuf {
    let folders = file.ancestors().skip(1);
    let package = folders.into_iter().find(|folder| folder.join("package.json").is_file());
    package.or_else(|| file.parent()).unwrap_or(file).to_owned()
}

/// A package.json; nothing when there is none.
fn read_manifest(path: &Path) -> Result<Value, Error> {
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let text = std::fs::read_to_string(path).map_err(Error::at(path))?;
    serde_json::from_str(&text).map_err(|error| Error::no_project(path, error.to_string()))
}

/// Installs what the project depends on, unless that has been done; `keys` are those of package.json that
/// make it necessary.
async fn install(project: &Project, keys: &[&str], bench: &Workbench) -> Result<(), Error> {
    let root = &project.root;
    let manifest = read_manifest(&root.join("package.json"))?;
    let wanted = keys.iter().any(|key| {
        manifest.get(key).and_then(Value::as_object).is_some_and(|wanted| !wanted.is_empty())
    });
    if !wanted || root.join("node_modules").is_dir() {
        return Ok(());
    }
    let verb = if root.join("package-lock.json").is_file() { "ci" } else { "install" };
    npm(root, &[verb, "--no-audit", "--no-fund"], bench).await
}

async fn npm(folder: &Path, args: &[&str], bench: &Workbench) -> Result<(), Error> {
    let mut command = Command::new(bench.program(Language::JavaScript, &NPM)?);
    command.current_dir(folder).args(args);
    bench.run(&format!("npm {} in {}", args.join(" "), folder.display()), &mut command).await
}
