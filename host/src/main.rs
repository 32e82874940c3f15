//! The binary `isomer`: reads the command line, runs the verb, ends with its exit code. Everything else is
//! in the library.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use isomer_host::cli::Cli;

fn main() -> ExitCode {
    // Ends the process itself for --help, --version and wrong use (exit code 2).
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("threads cannot be started: {error}"), 1),
    };
    let done = runtime.block_on(Box::pin(cli.run()));
    // A second signal ends the node while calls still run: they are not waited for.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(failure) => fail(failure.text(), failure.code()),
    }
}

fn fail(text: &str, code: u8) -> ExitCode {
    // Nobody is left to be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "Error: {text}");
    ExitCode::from(code)
}
