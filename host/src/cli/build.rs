//! `isomer build`: from sources to a component, and what it has become.
//!
//! The component appears in its place when it is whole, so that a node which watches the folder never sees a
//! part of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::component::{self, cache_dir};
use crate::cli::{self, ConfigArgs, Done, Failure};
use crate::clock;
use crate::config::options::NodeOptions;
use crate::config::sidecar;
use crate::toolchain::{self, Order, Project, Workbench};

/// The folder of a project where its component is put.
pub(super) const OUTPUT_FOLDER: &str = "build";

/// Flags of `build`.
#[derive(Debug, Args)]
#[command(
    after_help = "The language is found by the files: Cargo.toml, go.mod, package.json or *.service.js, \
pyproject.toml or *.py.

Examples:
  isomer build                           the service in this folder, into build/NAME.wasm
  isomer build posts --release           as it is deployed: small and fast
  isomer build posts.service.js -o services/

Exit codes: 0 built, 1 the sources have errors, 2 wrong use or a tool is missing."
)]
pub struct BuildArgs {
    /// Folder or file of a service [default: the working directory]
    #[arg(value_name = "DIR|FILE")]
    pub place: Option<PathBuf>,
    /// The component, or a folder for it [default: build/NAME.wasm in DIR; NAME.wasm here for a FILE]
    #[arg(short, long, value_name = "FILE.wasm|DIR")]
    pub output: Option<PathBuf>,
    /// Small and fast, for deployment; takes longer
    #[arg(long)]
    pub release: bool,
    /// Print what was built as JSON
    #[arg(long)]
    pub json: bool,
    /// Limits and cache of the node.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// A component that was built.
#[derive(Debug)]
pub(super) struct Built {
    /// The file.
    pub(super) file: PathBuf,
    /// Bytes of the file.
    pub(super) size: u64,
    /// What it says of itself.
    pub(super) schema: Value,
    took: Duration,
}

impl Built {
    /// Size and time, for one line.
    pub(super) fn summary(&self) -> String {
        format!("{}, {:.1} s", rounded(self.size), self.took.as_secs_f64())
    }
}

/// A size for people.
fn rounded(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        // Tenths of a MiB, rounded down.
        _ if bytes >= KIB * KIB => {
            let tenths = bytes * 10 / (KIB * KIB);
            format!("{}.{} MiB", tenths / 10, tenths % 10)
        }
        _ => format!("{} KiB", bytes / KIB),
    }
}

/// Builds a service.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: BuildArgs) -> Done {
    let options = cli::configuration(&args.config, Vec::new())?;
    let project = find(args.place.as_deref())?;
    let output = output(&project, args.place.as_deref(), args.output.as_deref())?;
    let bench = bench(&options)?;
    if output == in_project(&project) {
        put_settings(&project, &project.root.join(OUTPUT_FOLDER))?;
    }
    let built = build(&project, &output, args.release, &bench, &options).await?;
    let mut out = std::io::stdout().lock();
    if args.json {
        let value = json!({
            "component": built.file,
            "language": project.language.flag(),
            "release": args.release,
            "size": built.size,
            "ms": u64::try_from(built.took.as_millis()).unwrap_or(u64::MAX),
            "schema": built.schema,
        });
        writeln!(out, "{value:#}")?;
    } else {
        write!(out, "{}", shown(&project, &built))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The project in a place, or in the working directory.
pub(super) fn find(place: Option<&Path>) -> Result<Project, Failure> {
    toolchain::detect(place.unwrap_or_else(|| Path::new("."))).map_err(failure)
}

/// A workbench that shows on standard error what is done.
pub(super) fn bench(options: &NodeOptions) -> Result<Workbench, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(Workbench::new(cache_dir(options)?, &path, |line| {
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(std::io::stderr(), "> {line}");
    }))
}

/// Where the component goes.
fn output(
    project: &Project,
    place: Option<&Path>,
    asked: Option<&Path>,
) -> Result<PathBuf, Failure> {
    let file_name = format!("{}.wasm", project.name);
    let Some(asked) = asked else {
        let of_file = place.is_some_and(|place| place.is_file() && project.entry.is_some());
        return Ok(if of_file { PathBuf::from(file_name) } else { in_project(project) });
    };
    if asked.is_dir() || asked.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(asked.join(file_name));
    }
    if asked.extension().is_some_and(|extension| extension == "wasm") {
        return Ok(asked.to_owned());
    }
    let asked = asked.display();
    Err(Failure::Use(format!(
        "--output {asked}: a component is a file whose name ends with .wasm; write {asked}.wasm, or {asked}/ \
         for a folder"
    )))
}

/// Where the component of a project goes when nobody says otherwise.
pub(super) fn in_project(project: &Project) -> PathBuf {
    project.root.join(OUTPUT_FOLDER).join(&project.name).with_extension("wasm")
}

/// Builds a project and looks at what has become of it.
pub(super) async fn build(
    project: &Project,
    output: &Path,
    release: bool,
    bench: &Workbench,
    options: &NodeOptions,
) -> Result<Built, Failure> {
    let start = clock::now();
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let unwritable = |path: &Path, error| Failure::Failed(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
    // Tools run elsewhere, so the path must hold there, too. Hidden files are no components to a node.
    let folder = folder.canonicalize().map_err(|error| unwritable(folder, error))?;
    let part = Part(folder.join(format!(".{name}.part")));
    let order = Order { output: part.0.clone(), release };
    bench.build(project, &order).await.map_err(failure)?;
    let bytes = std::fs::read(&part.0).map_err(|_| {
        Failure::Failed(format!("the tools of {} made no component", project.language.name()))
    })?;
    let size = bytes.len() as u64;
    let settings = sidecar::read(output, &options.broker)
        .map_err(|problems| Failure::Use(problems.to_string()))?;
    let schema = component::schema(options, bytes, &settings.limits).await.map_err(|why| {
        Failure::Failed(format!("the component was built, but cannot be used: {why}"))
    })?;
    std::fs::rename(&part.0, output).map_err(|error| unwritable(output, error))?;
    let took = clock::now().saturating_duration_since(start);
    Ok(Built { file: output.to_owned(), size, schema, took })
}

/// Puts the settings of a project, which lie beside its manifest, beside a component in a folder of ours.
pub(super) fn put_settings(project: &Project, folder: &Path) -> Result<(), Failure> {
    let name = format!("{}.toml", project.name);
    let (from, to) = (project.root.join(&name), folder.join(&name));
    let put = std::fs::create_dir_all(folder).and_then(|()| match from.is_file() {
        true => std::fs::copy(&from, &to).map(drop),
        false if to.is_file() => std::fs::remove_file(&to),
        false => Ok(()),
    });
    put.map_err(|error| Failure::Failed(format!("{}: {error}", to.display())))
}

/// Puts the settings of a project beside a component in a folder of somebody else, who may have other ones.
pub(super) fn offer_settings(project: &Project, folder: &Path) -> Result<(), Failure> {
    let to = folder.join(format!("{}.toml", project.name));
    if to.exists() { Ok(()) } else { put_settings(project, folder) }
}

/// A file that is gone when it is not used.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It was renamed, or there never was one.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The exit code of what went wrong.
pub(super) fn failure(error: toolchain::Error) -> Failure {
    let text = error.to_string();
    if error.is_wrong_use() { Failure::Use(text) } else { Failure::Failed(text) }
}

fn shown(project: &Project, built: &Built) -> String {
    let mut lines = vec![
        ("component", built.file.display().to_string()),
        ("language", project.language.name().to_owned()),
        ("size", rounded(built.size)),
        ("took", format!("{:.1} s", built.took.as_secs_f64())),
    ];
    lines.extend(component::schema_lines(&built.schema));
    let mut text: String =
        lines.iter().map(|(name, value)| format!("{name:<11}  {value}\n")).collect();
    text.push_str(&component::schema_tables(&built.schema));
    text
}
