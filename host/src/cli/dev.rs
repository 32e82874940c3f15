//! `isomer dev`: builds services whenever their sources change, and swaps them in a running node.
//!
//! The node is one of its own, in this process, or with `--attach` the one that runs on this machine. What is
//! built when is in [`workshop`], what a source is in [`sources`].

use std::collections::BTreeMap;
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
use crate::toolchain::{self, Project, Projects};
use workshop::{Piece, Workshop};

mod sources;
mod workshop;

/// Flags of `dev`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer dev                                          the service in this folder, in a node of its own
  isomer dev posts --transporter nats://localhost     … which is a member of a mesh
  isomer dev posts users mail.service.js              several services in one node
  isomer dev services                                 all services in the folders of a folder
  isomer dev posts --attach                           in the node that runs on this machine

Ctrl-C ends it. With --attach the components stay in the folder of the node.")]
pub struct DevArgs {
    /// Folders or files of services, or a folder of such folders [default: the working directory]
    #[arg(value_name = "DIR|FILE")]
    pub places: Vec<PathBuf>,
    /// Put the components into the node that runs on this machine instead of starting one
    #[arg(long)]
    pub attach: bool,
    /// Build as for deployment
    #[arg(long)]
    pub release: bool,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
}

/// Serves services while they are written.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: DevArgs) -> Done {
    let options = args.node.options()?;
    let projects = find(&args.places)?;
    let bench = build::bench(&options)?;
    for project in &projects {
        bench.check_tools(project.language).map_err(build::failure)?;
    }
    let foreign = match args.attach {
        true => Some(folder_of_node(&args.node, &options).await?),
        false => None,
    };
    let mut pieces = Vec::new();
    for project in projects {
        let folder = match &foreign {
            Some(folder) => folder.clone(),
            None => own_folder(&project, &options)?,
        };
        pieces.push(Piece::new(project, &folder));
    }
    let folders = pieces.iter().map(|piece| piece.folder().to_owned()).collect();
    let mut workshop = Workshop::new(pieces, bench, options, args.release, args.attach)?;
    workshop.rebuild().await;
    if args.attach {
        let mut signals = Signals::new()?;
        for root in workshop.roots() {
            say(&format!("{} is watched; Ctrl-C ends", root.display()));
        }
        tokio::select! {
            () = workshop.work() => {}
            () = signals.next() => {}
        }
        return Ok(ExitCode::SUCCESS);
    }
    let start = StartArgs { paths: folders, no_hot: false, node: args.node };
    tokio::select! {
        done = Box::pin(start::run(start)) => done,
        () = workshop.work() => Ok(ExitCode::SUCCESS),
    }
}

/// The projects of all places, each once.
fn find(places: &[PathBuf]) -> Result<Vec<Project>, Failure> {
    let here = [PathBuf::from(".")];
    let mut found: Vec<Project> = Vec::new();
    for place in if places.is_empty() { &here } else { places } {
        let Projects { found: some, left_out } =
            toolchain::projects(place).map_err(build::failure)?;
        for reason in left_out {
            say(&format!("left out: {reason}"));
        }
        found.extend(
            some.into_iter().filter(|project| !found.contains(project)).collect::<Vec<_>>(),
        );
    }
    let mut by_name = BTreeMap::new();
    for project in &found {
        if let Some(other) = by_name.insert(&project.name, project) {
            return Err(Failure::Use(format!(
                "two projects would make {}.wasm: {} and {}; give one of them another name, or leave it out",
                project.name,
                other.source().display(),
                project.source().display()
            )));
        }
    }
    Ok(found)
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

fn say(line: &str) {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "> {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_module(top: &Path, folder: &str) -> PathBuf {
        let folder = top.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("go.mod"), "").unwrap();
        folder
    }

    #[test]
    fn each_project_is_found_once() {
        let dir = tempfile::tempdir().unwrap();
        let a = go_module(dir.path(), "a");
        go_module(dir.path(), "b");
        let found = find(&[a, dir.path().to_owned()]).unwrap();
        let names: Vec<_> = found.iter().map(|project| project.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn projects_of_one_name_are_refused_with_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let places = [go_module(dir.path(), "old/posts"), go_module(dir.path(), "new/posts")];
        let Err(Failure::Use(text)) = find(&places) else { panic!("both were taken") };
        assert!(text.contains("posts.wasm: ") && text.contains("old/posts and "), "{text}");
    }
}
