//! `isomer new`: a project that builds, has tests and explains itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::{Done, Failure};
use crate::toolchain::Language;
use crate::toolchain::template::{self, Fault};

/// Flags of `new`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer new blog-posts --lang rust
  isomer new mailer --lang python --dir services/mailer")]
pub struct NewArgs {
    /// Name of the service: small letters, digits and '-'
    pub name: String,
    /// Language: rust, js, ts, python, go or c
    #[arg(short, long, value_name = "LANGUAGE")]
    pub lang: Language,
    /// Where to put it [default: a folder of that name]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Makes a project.
///
/// # Errors
/// [`Failure`].
pub fn run(args: &NewArgs) -> Done {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let files = template::create(args.lang, &args.name, &dir).map_err(|fault| match fault {
        Fault::Write(error) => Failure::Failed(error.to_string()),
        fault => Failure::Use(fault.to_string()),
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} service '{}' in {}:", args.lang.name(), args.name, dir.display())?;
    for file in files {
        writeln!(out, "  {}", file.display())?;
    }
    writeln!(
        out,
        "\nnext         cd {}\n             isomer dev      build and run it, and again with every change\n             \
         isomer test     its tests, against the real component",
        dir.display()
    )?;
    Ok(ExitCode::SUCCESS)
}
