//! `isomer ping`: how far away other nodes are.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::cli::call::show_error;
use crate::cli::table::{Table, printable};
use crate::cli::target::{Target, TargetArgs};
use crate::cli::{Done, Failure};

/// Flags of `ping`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer ping                                     every node that this one knows
  isomer ping node-2 node-3 --timeout 500
  isomer ping --transporter nats://localhost      from a visitor of the mesh

Exit code 1: somebody did not answer.")]
pub struct PingArgs {
    /// IDs of the nodes [default: all that are known]
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Wait this long for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub timeout: u64,
    /// Print the answers as a JSON object, null for who gave none
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `isomer ping`.
///
/// # Errors
/// [`Failure`].
pub async fn run(args: PingArgs) -> Done {
    let target = Target::reach(&args.target).await?;
    target.wait_for_nodes().await;
    let nodes = args.nodes.iter().map(|id| id.as_str().into()).collect();
    let answer = target.caller().ping(nodes, Duration::from_millis(args.timeout)).await;
    target.leave().await;
    let answer = answer.map_err(|error| Failure::Failed(show_error(&error)))?;
    let pongs: serde_json::Map<String, Value> = answer
        .parse()
        .map_err(|error| Failure::Failed(format!("the node answered with no object: {error}")))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", &*answer.to_json_text())?;
    } else if pongs.is_empty() {
        writeln!(out, "There are no other nodes.")?;
    } else {
        write!(out, "{}", table(&pongs).render())?;
    }
    let silent = pongs.values().any(Value::is_null);
    Ok(if silent { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(pongs: &serde_json::Map<String, Value>) -> Table {
    let mut table = Table::new(&["NODE", "ROUND TRIP", "CLOCK"]);
    for (node_id, pong) in pongs {
        let ms = |key: &str| pong.get(key).and_then(Value::as_f64);
        let round_trip =
            ms("elapsedTime").map_or_else(|| "no answer".into(), |ms| format!("{ms} ms"));
        // How far the other clock is ahead of ours.
        let clock = ms("timeDiff").map_or_else(String::new, |ms| format!("{:+} ms", -ms));
        table.add(vec![printable(node_id), round_trip, clock]);
    }
    table
}
