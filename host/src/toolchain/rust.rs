//! Rust: a crate that depends on `isomer-sdk`, built by cargo for wasm32-wasip2.
//!
//! The SDK of a project that `isomer new` made lies in the project (`.isomer/sdk`, a path dependency), so that
//! cargo and editors need to know nothing of us; it is put there again whenever it is missing or another
//! version. A crate that gets the SDK from elsewhere is built as it is.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::process::Command;

use super::workbench::{Tool, Workbench};
use super::{Error, Language, Order, Project, Tested, Toolchain, folder_name, sdk};

const TARGET: &str = "wasm32-wasip2";

/// Where a project keeps the SDK.
const SDK_FOLDER: &str = ".isomer/sdk";

const CARGO: Tool = Tool {
    programs: &["cargo"],
    needed: "Rust 1.95 or newer",
    install: "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
};

/// See the module.
pub(super) struct Rust;

impl Toolchain for Rust {
    fn detect(&self, place: &Path) -> Result<Option<Project>, Error> {
        let root = match place.file_name() {
            Some(name) if name == "Cargo.toml" => place.parent().unwrap_or(place),
            _ if place.extension().is_some_and(|extension| extension == "rs") => {
                let reason = "a Rust service is a crate; name the folder of its Cargo.toml";
                return Err(Error::no_project(place, reason));
            }
            _ => place,
        };
        let path = root.join("Cargo.toml");
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(Error::at(&path))?;
        let manifest: toml::Table =
            text.parse().map_err(|error| Error::no_project(&path, format!("{error}")))?;
        let Some(package) = manifest.get("package") else {
            let reason = "a workspace; name the folder of one of its crates";
            return Err(Error::no_project(&path, reason));
        };
        let name = package.get("name").and_then(toml::Value::as_str);
        let name = name.map_or_else(|| folder_name(root), str::to_owned);
        let root = root.to_owned();
        Ok(Some(Project { language: Language::Rust, root, entry: None, name }))
    }

    fn tools(&self) -> &'static [Tool] {
        &[CARGO]
    }

    fn build<'a>(
        &'a self,
        project: &'a Project,
        order: &'a Order,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            put_sdk(project, bench)?;
            ensure_target(project, bench).await?;
            let mut command = cargo(project, bench)?;
            command.args(["build", "--lib", "--target", TARGET]);
            command.args(order.release.then_some("--release"));
            command.args(["--message-format", "json-render-diagnostics"]);
            let release = if order.release { " --release" } else { "" };
            let what = format!("cargo build --target {TARGET}{release}");
            let messages = bench.output_of(&what, &mut command).await?;
            let made = artefact(&messages, &project.root).ok_or_else(|| Error::Unexpected {
                what: format!(
                    "{}: cargo made no component; a service needs `crate-type = [\"cdylib\"]` below [lib]",
                    project.root.join("Cargo.toml").display()
                ),
            })?;
            std::fs::copy(&made, &order.output).map_err(Error::at(&made)).map(drop)
        })
    }

    fn test<'a>(
        &'a self,
        project: &'a Project,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<Tested, Error>> {
        Box::pin(async move {
            put_sdk(project, bench)?;
            let mut command = cargo(project, bench)?;
            bench.run("cargo test", command.arg("test")).await?;
            Ok(Tested::Passed)
        })
    }
}

fn cargo(project: &Project, bench: &Workbench) -> Result<Command, Error> {
    let mut command = Command::new(bench.program(Language::Rust, &CARGO)?);
    command.current_dir(&project.root);
    Ok(command)
}

/// Puts the SDK into a project that expects it there.
fn put_sdk(project: &Project, bench: &Workbench) -> Result<(), Error> {
    let manifest = project.root.join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).map_err(Error::at(&manifest))?;
    if text.contains(SDK_FOLDER) && sdk::vendor_rust(&project.root.join(SDK_FOLDER))? {
        bench.say(&format!("put isomer-sdk {} into {SDK_FOLDER}", env!("CARGO_PKG_VERSION")));
    }
    Ok(())
}

/// Sees to it that this Rust can build for the target.
async fn ensure_target(project: &Project, bench: &Workbench) -> Result<(), Error> {
    // Without rustc, cargo itself says what is wrong.
    let Some(rustc) = bench.find("rustc") else { return Ok(()) };
    let mut command = Command::new(rustc);
    command.current_dir(&project.root).args(["--print", "target-libdir", "--target", TARGET]);
    let folder = bench.quiet_output_of("rustc --print target-libdir", &mut command).await?;
    if Path::new(folder.trim()).is_dir() {
        return Ok(());
    }
    let Some(rustup) = bench.find("rustup") else {
        return Err(Error::Missing {
            program: TARGET,
            language: Language::Rust.name(),
            needed: "Rust's standard library for this target",
            install: "the package of your system that has it, or Rust from https://rustup.rs",
        });
    };
    let mut command = Command::new(rustup);
    command.current_dir(&project.root).args(["target", "add", TARGET]);
    bench.run(&format!("rustup target add {TARGET}"), &mut command).await
}

/// The component among cargo's messages, one JSON object per line: that of the crate itself.
fn artefact(messages: &str, root: &Path) -> Option<PathBuf> {
    let manifest = root.join("Cargo.toml");
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let ours = message.get("reason")? == "compiler-artifact"
            && Path::new(message.get("manifest_path")?.as_str()?) == manifest;
        let files = message.get("filenames")?.as_array()?;
        let component = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"));
        component.filter(|_| ours).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_of_the_crate_itself_is_taken() {
        let line = |manifest: &str, file: &str| {
            serde_json::json!({"reason": "compiler-artifact", "manifest_path": manifest,
                "filenames": [file]})
            .to_string()
        };
        let messages = [
            line("/d/Cargo.toml", "/t/d.wasm"),
            "no JSON".to_owned(),
            line("/p/Cargo.toml", "/t/libp.rlib"),
            line("/p/Cargo.toml", "/t/p.wasm"),
        ]
        .join("\n");
        assert_eq!(artefact(&messages, Path::new("/p")), Some("/t/p.wasm".into()));
        assert_eq!(artefact(&messages, Path::new("/q")), None);
    }
}
