//! The command line: what can be asked for, and which exit code an answer has.
//!
//! 0: done. 1: it was tried and failed. 2: wrong use or a bad configuration; nothing was tried. Data goes
//! to standard output, everything else to standard error. The process is ended by `main.rs` only.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::load::{self, Configuration, Flag, Sources};
use crate::config::options::NodeOptions;

pub mod arguments;
pub mod build;
pub mod call;
pub mod component;
pub mod config;
pub mod dev;
pub mod list;
pub mod new;
pub mod notify;
pub mod ping;
pub mod start;
mod stream;
pub mod table;
pub mod target;
pub mod test;
pub mod versions;

/// A Moleculer node whose services are WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "isomer", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  isomer start services                             run every *.wasm below services/
  isomer call greeter.hello '{\"name\":\"Ada\"}'        call an action of the node on this machine
  isomer new posts --lang rust                      make a service; then: cd posts; isomer build
  isomer services --transporter nats://localhost    look at a mesh

Exit codes: 0 done, 1 tried and failed, 2 wrong use or bad configuration.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a node with the components of some directories and files
    Start(start::StartArgs),
    /// Call an action and print its result
    Call(call::CallArgs),
    /// Send an event to one instance of each group that listens
    Emit(call::EventArgs),
    /// Send an event to every instance that listens
    Broadcast(call::EventArgs),
    /// List the nodes
    Nodes(list::ListArgs),
    /// List the services, and files that cannot be used as one
    Services(list::ServicesArgs),
    /// List the actions and their params
    Actions(list::ListArgs),
    /// List the events that somebody listens to
    Events(list::ListArgs),
    /// Measure how long other nodes need to answer
    Ping(ping::PingArgs),
    /// Make a new service project
    New(new::NewArgs),
    /// Build the component of a service, in whatever language it is written
    Build(build::BuildArgs),
    /// Build a service with every change and swap it in a running node
    Dev(dev::DevArgs),
    /// Run the tests of a service, its own and those against the component
    Test(test::TestArgs),
    /// List the versions of a service that the node on this machine has had in service
    Versions(versions::VersionsArgs),
    /// Put an earlier version of a service into service again
    Rollback(versions::RollbackArgs),
    /// Show what a component is: language, imports, schema, limits; no node is needed
    Inspect(component::InspectArgs),
    /// Show the configuration that is in force, and where each value comes from
    Config(config::ConfigShowArgs),
    /// Compile a component into the cache, so that the next start finds it there
    Compile(component::CompileArgs),
    /// Used by the node itself: compile in a process of its own
    #[command(name = "__compile", hide = true)]
    CompileChild(component::CompileChildArgs),
}

/// Where options come from besides the verb's own flags.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file, .toml or .json [default: isomer.toml, isomer.json or moleculer.config.json in
    /// the working directory]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Any option of the configuration, such as requestTimeout=5000; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub set: Vec<(String, String)>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write NAME=VALUE, such as requestTimeout=5000".into()),
    }
}

/// Why a verb did not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// Wrong use or bad configuration: exit code 2.
    Use(String),
    /// It was tried and failed: exit code 1.
    Failed(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Use(_) => 2,
            Self::Failed(_) => 1,
        }
    }

    /// The text for standard error.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Use(text) | Self::Failed(text) => text,
        }
    }
}

impl From<std::io::Error> for Failure {
    /// Only writing to standard output fails this way.
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("the output cannot be written: {error}"))
    }
}

/// What a verb ends with.
pub type Done = Result<ExitCode, Failure>;

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// [`Failure`], to be printed.
    pub async fn run(self) -> Done {
        match self.verb {
            Verb::Start(args) => start::run(args).await,
            Verb::Call(args) => call::call(args).await,
            Verb::Emit(args) => call::emit(args).await,
            Verb::Broadcast(args) => call::broadcast(args).await,
            Verb::Nodes(args) => list::run(&list::NODES, args).await,
            Verb::Services(args) => list::run_services(args).await,
            Verb::Actions(args) => list::run(&list::ACTIONS, args).await,
            Verb::Events(args) => list::run(&list::EVENTS, args).await,
            Verb::Ping(args) => ping::run(args).await,
            Verb::New(args) => new::run(&args),
            Verb::Build(args) => build::run(args).await,
            Verb::Dev(args) => dev::run(args).await,
            Verb::Test(args) => test::run(args).await,
            Verb::Versions(args) => versions::list(args).await,
            Verb::Rollback(args) => versions::roll_back(args).await,
            Verb::Inspect(args) => component::inspect(args).await,
            Verb::Config(args) => config::run(&args),
            Verb::Compile(args) => component::compile(args).await,
            Verb::CompileChild(args) => component::compile_child(&args),
        }
    }
}

/// The options of the configuration with the flags that stand for options.
pub(crate) fn configuration(config: &ConfigArgs, flags: Vec<Flag>) -> Result<NodeOptions, Failure> {
    configured(config, flags).map(|configuration| configuration.options)
}

/// The configuration with the flags that stand for options.
pub(crate) fn configured(config: &ConfigArgs, flags: Vec<Flag>) -> Result<Configuration, Failure> {
    configured_in(Path::new("."), config, flags)
}

/// The configuration of a directory.
pub(crate) fn configured_in(
    dir: &Path,
    config: &ConfigArgs,
    flags: Vec<Flag>,
) -> Result<Configuration, Failure> {
    let file = config.config.clone().or_else(|| load::default_file(dir));
    // Variables that are no text cannot be ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    load::load(Sources { file, variables, settings: config.set.clone(), flags })
        .map_err(|problems| Failure::Use(problems.to_string()))
}

/// The flag as a source of configuration, when it was given.
pub(crate) fn flag(
    option: &'static str,
    flag: &'static str,
    text: Option<&String>,
) -> Option<Flag> {
    text.map(|text| Flag { option, flag, text: text.clone() })
}

#[cfg(test)]
mod tests;
