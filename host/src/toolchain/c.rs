//! C and C++, compiled by Zig together with `guest-sdk/c`; and modules that some other compiler has made.
//!
//! Zig is one download without dependencies that brings a C library for WebAssembly; nothing else is needed.

use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::componentize::componentize;
use super::workbench::{Tool, Workbench};
use super::{Error, Language, Order, Project, Tested, Toolchain, files_ending, folder_name};

/// Endings of sources.
const C: [&str; 1] = [".c"];
const CPP: [&str; 3] = [".cpp", ".cc", ".cxx"];

/// Files of the SDK that are compiled with each service.
const SDK: [&str; 5] = [
    "isomer.c",
    "isomer_json.c",
    "isomer_memory.c",
    "isomer_service_exports.c",
    "generated/isomer_service.c",
];

const ZIG: Tool = Tool {
    programs: &["zig"],
    needed: "the Zig compiler, 0.14 or newer",
    install: "pip install ziglang==0.17.0   (or see https://ziglang.org/download)",
};

/// See the module.
pub(super) struct Clang;

impl Toolchain for Clang {
    fn detect(&self, place: &Path) -> Result<Option<Project>, Error> {
        let name = folder_name(&place.with_extension(""));
        let of = |entry, root: &Path, name| {
            Some(Project { language: Language::C, root: root.to_owned(), entry, name })
        };
        if place.is_file() {
            let file = folder_name(place);
            let known = C.iter().chain(&CPP).chain(&[".wasm"]).any(|end| file.ends_with(end));
            let root = place.parent().unwrap_or(place);
            return Ok(known.then(|| of(Some(place.to_owned()), root, name)).flatten());
        }
        let any = !sources(place).is_empty();
        Ok(any.then(|| of(None, place, folder_name(place))).flatten())
    }

    fn tools(&self) -> &'static [Tool] {
        // Zig may also be a module of Python, so it is looked for when it is needed.
        &[]
    }

    fn build<'a>(
        &'a self,
        project: &'a Project,
        order: &'a Order,
        bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(build(project, order, bench))
    }

    fn test<'a>(
        &'a self,
        _project: &'a Project,
        _bench: &'a Workbench,
    ) -> BoxFuture<'a, Result<Tested, Error>> {
        // C has no common way to test; `isomer test` runs scenarios against the component.
        Box::pin(std::future::ready(Ok(Tested::Nothing)))
    }
}

/// The sources of a folder and of the `src` in it.
fn sources(root: &Path) -> Vec<PathBuf> {
    let endings: Vec<&str> = C.iter().chain(&CPP).copied().collect();
    let mut files = files_ending(root, &endings);
    files.extend(files_ending(&root.join("src"), &endings));
    files
}

async fn build(project: &Project, order: &Order, bench: &Workbench) -> Result<(), Error> {
    let is_module = |entry: &PathBuf| entry.extension().is_some_and(|end| end == "wasm");
    if let Some(module) = project.entry.as_ref().filter(|entry| is_module(entry)) {
        return wrap(module, &order.output);
    }
    let mut module = order.output.clone().into_os_string();
    module.push(".core");
    let module = PathBuf::from(module);
    let compiled = compile(project, order.release, &module, bench).await;
    let wrapped = compiled.and_then(|()| wrap(&module, &order.output));
    // It is of no use any more, and may not even be there.
    let _ = std::fs::remove_file(&module);
    wrapped
}

/// Compiles the sources with the SDK to a core module.
async fn compile(
    project: &Project,
    release: bool,
    module: &Path,
    bench: &Workbench,
) -> Result<(), Error> {
    let files = match &project.entry {
        Some(entry) => vec![entry.clone()],
        None => sources(&project.root),
    };
    let is_cpp = |file: &PathBuf| {
        let name = folder_name(file);
        CPP.iter().any(|end| name.ends_with(end))
    };
    let mut command = zig(bench).await?;
    command.current_dir(&project.root);
    command.arg(if files.iter().any(is_cpp) { "c++" } else { "cc" });
    command.args(["-target", "wasm32-wasi", "-mexec-model=reactor", "-Wall", "-Wextra"]);
    command.arg(if release { "-Os" } else { "-O1" }).arg("-Wl,--strip-debug");
    if files.iter().any(is_cpp) {
        // An exception would need an unwinder, which WebAssembly of today does not have.
        command.args(["-fno-exceptions", "-fno-rtti"]);
    }
    let sdk = bench.sdk()?.join("guest-sdk/c");
    let include = project.root.join("include");
    command.arg("-I").arg(&sdk);
    if include.is_dir() {
        command.arg("-I").arg(include);
    }
    command.args(SDK.map(|file| sdk.join(file))).args(&files).arg("-o").arg(module);
    bench.run(&format!("compiling {}", project.source().display()), &mut command).await
}

/// Zig: the program, or the module of Python that `pip install ziglang` brings.
async fn zig(bench: &Workbench) -> Result<Command, Error> {
    if let Some(program) = bench.find("zig") {
        return Ok(Command::new(program));
    }
    for python in ["python3", "python"] {
        let Some(python) = bench.find(python) else { continue };
        let mut asked = Command::new(&python);
        asked.args(["-c", "import ziglang"]).stderr(std::process::Stdio::null());
        if bench.quiet_output_of("python", &mut asked).await.is_ok() {
            let mut command = Command::new(python);
            command.args(["-m", "ziglang"]);
            return Ok(command);
        }
    }
    bench.program(Language::C, &ZIG).map(Command::new)
}

/// Makes a component of a module.
fn wrap(module: &Path, output: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(module).map_err(Error::at(module))?;
    let component = componentize(&bytes)
        .map_err(|error| Error::Unexpected { what: format!("{}: {error}", module.display()) })?;
    std::fs::write(output, component).map_err(Error::at(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_sources_is_a_project_and_so_are_a_source_and_a_module() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("counter");
        std::fs::create_dir_all(root.join("src")).unwrap();
        assert!(Clang.detect(&root).unwrap().is_none());
        for file in ["src/counter.c", "one.cpp", "two.wasm", "README.md"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        let project = Clang.detect(&root).unwrap().unwrap();
        assert_eq!((project.name.as_str(), project.entry), ("counter", None));
        assert_eq!(sources(&root), [root.join("one.cpp"), root.join("src/counter.c")]);
        let project = Clang.detect(&root.join("two.wasm")).unwrap().unwrap();
        assert_eq!((project.name.as_str(), project.root.as_path()), ("two", root.as_path()));
        assert!(Clang.detect(&root.join("README.md")).unwrap().is_none());
    }
}
