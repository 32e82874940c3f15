//! `isomer config`: the configuration that a start here would have, and where each value comes from.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::table::Table;
use crate::cli::{self, ConfigArgs, Done, Failure};
use crate::config::effective::Effective;
use crate::config::load::Configuration;

/// Flags of `config`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer config                                 every option, its value and its origin
  isomer config --changed --set bulkhead.enabled=true
  MOL_LOG_LEVEL=debug isomer config deploy --json | jq .options

Passwords, tokens and the logins of addresses are shown as ***. Mistakes end with exit code 2.")]
pub struct ConfigShowArgs {
    /// Directory whose configuration file is read [default: the working directory]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where options come from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Leave out what has its default
    #[arg(long)]
    pub changed: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `isomer config`.
///
/// # Errors
/// [`Failure::Use`] with all mistakes of the configuration.
pub fn run(args: &ConfigShowArgs) -> Done {
    let dir = args.dir.as_deref().unwrap_or_else(|| Path::new("."));
    if !dir.is_dir() {
        return Err(Failure::Use(format!("{}: there is no such directory", dir.display())));
    }
    let configuration = cli::configured_in(dir, &args.config, Vec::new())?;
    let mut options = configuration.effective();
    options.retain(|option| !args.changed || option.origin.is_some());
    let text = if args.json { as_json(&configuration, &options) } else { as_table(&options) };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if !args.json {
        for warning in &configuration.warnings {
            writeln!(std::io::stderr(), "Warning: {warning}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_table(options: &[Effective]) -> String {
    let mut table = Table::new(&["OPTION", "VALUE", "ORIGIN"]);
    for option in options {
        let value = match &option.value {
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        };
        let origin = option.origin.as_ref().map_or_else(|| "default".into(), ToString::to_string);
        table.add(vec![option.name.clone(), value, origin]);
    }
    table.render()
}

fn as_json(configuration: &Configuration, options: &[Effective]) -> String {
    let options: serde_json::Map<String, Value> = options
        .iter()
        .map(|option| {
            let value = json!({"value": option.value, "origin": option.origin_json()});
            (option.name.clone(), value)
        })
        .collect();
    let warnings: Vec<String> = configuration.warnings.iter().map(ToString::to_string).collect();
    let value = json!({"options": options, "warnings": warnings});
    // Indenting a value that is already JSON cannot fail.
    serde_json::to_string_pretty(&value).unwrap_or_else(|_| value.to_string()) + "\n"
}
