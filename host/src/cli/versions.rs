//! `isomer versions` and `rollback`: which versions of a service the node on this machine has had in service, and
//! going back to one.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::admin::protocol::Versions;
use crate::cli::call::show_error;
use crate::cli::table::{Table, printable};
use crate::cli::target::{Target, TargetArgs};
use crate::cli::{Done, Failure};

/// Flags of `versions`.
#[derive(Debug, Args)]
pub struct VersionsArgs {
    /// Full name, such as posts or v2.posts
    pub service: String,
    /// Print them as JSON
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Flags of `rollback`.
#[derive(Debug, Args)]
#[command(
    after_help = "The version that is left stays out of service until its file changes, also when the node \
starts anew.

Examples:
  isomer rollback posts                  the version before
  isomer rollback posts 3f2a9c           the one whose digest begins so"
)]
pub struct RollbackArgs {
    /// Full name, such as posts or v2.posts
    pub service: String,
    /// How the digest of the version begins, see `isomer versions` [default: the one before]
    #[arg(value_name = "VERSION")]
    pub to: Option<String>,
    /// Print the versions as JSON
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `isomer versions`.
///
/// # Errors
/// [`Failure`].
pub async fn list(args: VersionsArgs) -> Done {
    ask(&args.target, Versions::List { service: args.service }, args.json).await
}

/// `isomer rollback`.
///
/// # Errors
/// [`Failure`].
pub async fn roll_back(args: RollbackArgs) -> Done {
    let question = Versions::RollBack { service: args.service, version: args.to };
    ask(&args.target, question, args.json).await
}

async fn ask(target: &TargetArgs, question: Versions, as_json: bool) -> Done {
    if target.transporter.is_some() {
        let text = "versions are asked of the node on this machine; leave out --transporter";
        return Err(Failure::Use(text.into()));
    }
    let Target::Node(client) = Target::reach(target).await? else {
        return Err(Failure::Failed("no node is running here".into()));
    };
    let answer = client.versions(question).await;
    let answer = answer.map_err(|error| Failure::Failed(show_error(&error)))?;
    let shown: Value = answer
        .parse()
        .map_err(|error| Failure::Failed(format!("the node answered with no object: {error}")))?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{shown:#}")?;
    } else {
        write!(out, "{}", table(&shown).render())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(shown: &Value) -> Table {
    let mut table = Table::new(&["VERSION", "STATE", "SINCE", "SIZE", "WHY"]);
    let versions = shown.get("versions").and_then(Value::as_array);
    for version in versions.into_iter().flatten() {
        let text = |key: &str| version.get(key).and_then(Value::as_str).unwrap_or_default();
        let size = version.get("size").map(Value::to_string).unwrap_or_default();
        table.add(vec![
            printable(text("version")),
            printable(text("state")),
            printable(text("since")),
            size,
            printable(text("reason")),
        ]);
    }
    table
}
