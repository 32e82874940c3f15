//! Compiling a component away from the process that serves.
//!
//! A compiler can be driven to use any amount of memory and time, and leaves hundreds of megabytes behind.
//! So the program runs itself again as a child (`isomer __compile IN OUT MEMORY`), which has limits for both,
//! ends with the node, and is only asked for its output. Programs that embed the host and have no such
//! subcommand compile in process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Resource, Rlimit, Signal};
use tokio::process::Command;
use wasmtime::Engine;

use crate::config::Limits;
use crate::config::limits::CompileLimits;
use crate::runtime::engine::Flavour;
use crate::runtime::{Error, Inspection, component, engine};

/// Hidden subcommand of the binary.
pub const SUBCOMMAND: &str = "__compile";
/// How the child says that the component is not to blame but what is around it, such as a full disk.
pub const SURROUNDINGS: u8 = 3;
/// How the child says that it had too little memory, when it comes to say it.
pub const OUT_OF_MEMORY: u8 = 4;
/// Serving goes before compiling.
const NICENESS: i32 = 10;
/// Longest message of the child that is kept, in bytes.
const MESSAGE_LEN_MAX: usize = 2_000;

/// Where components are compiled.
#[derive(Clone, Debug)]
pub enum CompileMode {
    /// In a child process: this program again.
    Child {
        /// Path of the binary `isomer`.
        exe: PathBuf,
    },
    /// In this process, on a thread for blocking work.
    InProcess,
}

/// The body of `isomer __compile IN OUT MEMORY`: limits itself, compiles, writes.
///
/// # Errors
/// [`Error::Invalid`] when the component cannot be compiled, [`Error::Read`] and [`Error::Cache`] for the
/// two files.
pub fn child_main(input: &Path, output: &Path, memory: u64) -> Result<(), Error> {
    // Where the node itself may use less, that stands.
    let allowed = rustix::process::getrlimit(Resource::As).maximum.unwrap_or(memory);
    let memory = memory.min(allowed);
    let limit = Rlimit { current: Some(memory), maximum: Some(memory) };
    let failed = |errno: rustix::io::Errno| Error::Compiler { source: errno.into() };
    rustix::process::setrlimit(Resource::As, limit).map_err(failed)?;
    // A node that is killed cannot end its children itself.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // Not being nice is no reason to stop. Where memory ends, the system ends this process and not the node.
    let _ = rustix::process::nice(NICENESS);
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let bytes = fs::read(input).map_err(|source| Error::Read { path: input.to_owned(), source })?;
    let flavour = Flavour::of(component::check_world(&Inspection::read(&bytes)?)?);
    // The stack of the engine has no influence on the code that it makes.
    let engine = engine::new(flavour, Limits::default().stack, false).map_err(Error::Engine)?;
    in_process(&engine, &bytes, output)
}

/// Compiles in this process. Blocks.
pub(super) fn in_process(engine: &Engine, bytes: &[u8], output: &Path) -> Result<(), Error> {
    let compiled = engine
        .precompile_component(bytes)
        .map_err(|error| Error::Invalid { reason: format!("{error:#}") })?;
    fs::write(output, compiled).map_err(|source| Error::Cache { path: output.to_owned(), source })
}

/// Compiles in a child process. Dropping the future kills the child.
pub(super) async fn in_child(
    exe: &Path,
    input: &Path,
    output: &Path,
    limits: CompileLimits,
) -> Result<(), Error> {
    let child = Command::new(exe)
        .arg(SUBCOMMAND)
        .arg(input)
        .arg(output)
        .arg(limits.memory.to_string())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Compiler { source })?;
    let ended = tokio::time::timeout(limits.timeout, child.wait_with_output()).await;
    let ended = ended.map_err(|_| Error::CompileTimeout { limit: limits.timeout })?;
    let ended = ended.map_err(|source| Error::Compiler { source })?;
    if ended.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&ended.stderr);
    // A child that ends by a signal was stopped by the system or by its allocator, and both mean memory:
    // rejecting a component is an ordinary exit.
    let code = ended.status.code();
    if code.is_none() || code == Some(OUT_OF_MEMORY.into()) {
        return Err(Error::CompileMemory { limit: limits.memory });
    }
    let reason = message.trim().trim_start_matches("error: ");
    let end = reason.floor_char_boundary(MESSAGE_LEN_MAX);
    let reason = reason.get(..end).unwrap_or_default().to_owned();
    if code == Some(SURROUNDINGS.into()) {
        return Err(Error::Compiler { source: std::io::Error::other(reason) });
    }
    Err(Error::Invalid { reason })
}
