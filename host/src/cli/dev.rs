//! `isomer dev`: builds a service whenever its sources change, and swaps it in a running node.
//!
//! The node is one of its own, in this process, or with `--attach` the one that runs on this machine. Sources
//! that do not compile change nothing: the version before stays in service. A change while a build runs
//! begins the build anew.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::admin::client::Client;
use crate::admin::place;
use crate::cli::start::{self, NodeArgs, Signals, StartArgs};
use crate::cli::{Done, Failure, build, component, target};
use crate::config::options::NodeOptions;
use crate::reload::watch::{Change, Watcher};
use crate::toolchain::{Project, Workbench};

/// Flags of `dev`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer dev                                          the service in this folder, in a node of its own
  isomer dev posts --transporter nats://localhost     … which is a member of a mesh
  isomer dev posts --attach                           in the node that runs on this machine

Ctrl-C ends it. With --attach the component stays in the folder of the node.")]
pub struct DevArgs {
    /// Folder or file of a service [default: the working directory]
    #[arg(value_name = "DIR|FILE")]
    pub place: Option<PathBuf>,
    /// Put the component into the node that runs on this machine instead of starting one
    #[arg(long)]
    pub attach: bool,
    /// Build as for deployment
    #[arg(long)]
    pub release: bool,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Folders below a project that are watched; one with more keeps something there that is no source.
const FOLDERS_MAX: usize = 2_000;
/// Folders in which tools write.
const NO_SOURCES: [&str; 6] =
    ["target", "node_modules", build::OUTPUT_FOLDER, "dist", "__pycache__", "venv"];
/// Files that tools write beside sources.
const NO_SOURCE_FILES: [&str; 3] = ["Cargo.lock", "package-lock.json", "go.sum"];

/// Serves a service while it is written.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: DevArgs) -> Done {
    let options = args.node.options()?;
    let project = build::find(args.place.as_deref())?;
    let bench = build::bench(&options)?;
    bench.check_tools(project.language).map_err(build::failure)?;
    let folder = match args.attach {
        true => folder_of_node(&args.node, &options).await?,
        false => own_folder(&project, &options)?,
    };
    let watcher = Watcher::of_folders(sources(&project.root))
        .map_err(|error| Failure::Failed(component::explained(&error)))?;
    let output = folder.join(&project.name).with_extension("wasm");
    let (release, foreign) = (args.release, args.attach);
    let mut workshop = Workshop { project, bench, options, output, release, foreign, watcher };
    workshop.rebuild().await;
    if args.attach {
        let mut signals = Signals::new()?;
        say(&format!("{} is watched; Ctrl-C ends", workshop.project.root.display()));
        tokio::select! {
            () = workshop.work() => {}
            () = signals.next() => {}
        }
        return Ok(ExitCode::SUCCESS);
    }
    let start = StartArgs { paths: vec![folder], no_hot: false, node: args.node };
    tokio::select! {
        done = Box::pin(start::run(start)) => done,
        () = workshop.work() => Ok(ExitCode::SUCCESS),
    }
}

/// A folder for this project alone: neither `build/` with what is to be deployed, nor one that Git sees.
fn own_folder(project: &Project, options: &NodeOptions) -> Result<PathBuf, Failure> {
    let digest = Sha256::digest(project.source().as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let folder =
        component::cache_dir(options)?.join("dev").join(format!("{}-{digest}", project.name));
    // What another session left is not what the sources are now.
    let _ = std::fs::remove_dir_all(&folder);
    let made = std::fs::create_dir_all(&folder);
    made.map_err(|error| Failure::Failed(format!("{}: {error}", folder.display())))?;
    Ok(folder)
}

/// The services folder of the node on this machine.
async fn folder_of_node(args: &NodeArgs, options: &NodeOptions) -> Result<PathBuf, Failure> {
    let socket = args.socket.as_deref().map(Path::new);
    let path = target::find_socket(socket, &options.control_socket, &place::standard_dir())?;
    let info = Client::new(path).info().await;
    let info =
        info.map_err(|error| Failure::Failed(format!("the node does not answer: {error}")))?;
    let info: Value = info.parse().unwrap_or_default();
    let roots = info.get("services").and_then(Value::as_array).into_iter().flatten();
    let mut folders =
        roots.filter_map(Value::as_str).map(PathBuf::from).filter(|path| path.is_dir());
    folders.next().ok_or_else(|| {
        Failure::Failed(
            "the node on this machine has no services folder; start one with `isomer start DIR`, or leave \
             --attach away"
                .into(),
        )
    })
}

/// What is built, and where it goes.
struct Workshop {
    project: Project,
    bench: Workbench,
    options: NodeOptions,
    output: PathBuf,
    release: bool,
    /// Whether the folder of the output belongs to somebody else.
    foreign: bool,
    watcher: Watcher,
}

impl Workshop {
    /// Builds with every change, as long as there is something to watch.
    async fn work(&mut self) {
        while changed(&mut self.watcher, &self.project.root).await.is_some() {
            self.rebuild().await;
        }
    }

    /// Builds until a build has ended without a change meanwhile.
    async fn rebuild(&mut self) {
        loop {
            let Self { project, bench, options, output, release, foreign, watcher } = self;
            // Folders that have come meanwhile are watched from now on.
            if let Err(error) = watcher.watch_too(sources(&project.root)) {
                say(&component::explained(&error));
            }
            let built = async {
                let folder = output.parent().unwrap_or_else(|| Path::new("."));
                match foreign {
                    true => build::offer_settings(project, folder)?,
                    false => build::put_settings(project, folder)?,
                }
                build::build(project, output, *release, bench, options).await
            };
            tokio::select! {
                built = built => {
                    match built {
                        Ok(built) => say(&format!("{} is built: {}", project.name, built.summary())),
                        Err(failure) => say(&format!(
                            "Error: {}\n> not built; waiting for the next change{}",
                            failure.text(),
                            if output.is_file() { ", the version before stays in service" } else { "" },
                        )),
                    }
                    return;
                }
                changed = changed(watcher, &project.root) => match changed {
                    Some(()) => say("changed again; building anew"),
                    None => return,
                },
            }
        }
    }
}

/// Waits for a change of sources. `None` when nothing is watched any more. Dropping the future loses none.
async fn changed(watcher: &mut Watcher, root: &Path) -> Option<()> {
    loop {
        match watcher.next().await? {
            Change::Anything => return Some(()),
            Change::Files(files) => {
                if let Some(file) = files.iter().find(|file| is_source(file, root)) {
                    let shown = file.strip_prefix(root).unwrap_or(file);
                    say(&format!("changed: {}", shown.display()));
                    return Some(());
                }
            }
        }
    }
}

fn is_source(file: &Path, root: &Path) -> bool {
    let Ok(below) = file.strip_prefix(root) else { return false };
    let inside = below.components().all(|part| !is_left_out(&part.as_os_str().to_string_lossy()));
    let name = below.file_name().unwrap_or_default().to_string_lossy();
    inside && !NO_SOURCE_FILES.contains(&&*name) && !name.ends_with('~') && !name.ends_with(".wasm")
}

/// Folders of tools, and what is hidden: `.git`, swap files of editors.
fn is_left_out(name: &str) -> bool {
    name.starts_with('.') || NO_SOURCES.contains(&name)
}

/// The folders of a project in which sources may be.
fn sources(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([root.to_owned()]);
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_dir
                && !is_left_out(&entry.file_name().to_string_lossy())
                && found.len() < FOLDERS_MAX
            {
                found.insert(entry.path());
                open.push(entry.path());
            }
        }
    }
    found
}

fn say(line: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "> {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_and_editors_write_is_no_source() {
        let check = |path: &str| is_source(Path::new(path), Path::new("/p"));
        for path in ["/p/src/lib.rs", "/p/posts.toml", "/p/lib", "/p/posts.service.js"] {
            assert!(check(path), "{path}");
        }
        for path in [
            "/p/target/debug/x.d",
            "/p/node_modules/a/b.js",
            "/p/build/posts.wasm",
            "/p/posts.wasm",
            "/p/.git/index",
            "/p/src/.lib.rs.swp",
            "/p/src/lib.rs~",
            "/p/Cargo.lock",
            "/elsewhere/a.rs",
        ] {
            assert!(!check(path), "{path}");
        }
    }

    #[test]
    fn folders_of_sources_are_watched_and_those_of_tools_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["src/inner", "target/debug", ".git/refs", "node_modules/a"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        let expected = ["", "src", "src/inner"].map(|folder| dir.path().join(folder));
        let found: Vec<_> = sources(dir.path()).into_iter().collect();
        assert_eq!(found, [dir.path().to_owned(), expected[1].clone(), expected[2].clone()]);
    }
}
