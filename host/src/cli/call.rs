//! `isomer call`, `emit` and `broadcast`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::admin::protocol::Mode;
use crate::cli::arguments;
use crate::cli::stream::{self, Saving, Source};
use crate::cli::table::printable;
use crate::cli::target::{Target, TargetArgs};
use crate::cli::{Done, Failure};
use crate::config::names;
use crate::context::{CallOptions, Caller, EmitOptions, EventType};
use crate::error::MoleculerError;
use crate::payload::Payload;

/// Flags of `call`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer call greeter.hello '{\"name\":\"Ada\"}'
  isomer call v2.posts.get '{\"id\":5}' --meta '{\"user\":\"ada\"}' --timeout 500
  isomer call math.add @params.json
  echo '{\"a\":1,\"b\":2}' | isomer call math.add -
  isomer call '$node.health' --json | jq .cpu
  isomer call files.save '{\"name\":\"a.png\"}' --stream a.png
  tail -f events.log | isomer call log.collect --stream - --objects
  isomer call files.get '{\"name\":\"a.png\"}' --save a.png")]
pub struct CallArgs {
    /// Full name of the action, such as greeter.hello or v2.posts.get
    pub action: String,
    /// Params as JSON, @FILE, or - for standard input [default: {}]
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub params: Option<String>,
    /// Meta as a JSON object
    #[arg(long, value_name = "JSON")]
    pub meta: Option<String>,
    /// Headers of the request as a JSON object
    #[arg(long, value_name = "JSON")]
    pub headers: Option<String>,
    /// Give up after this time, in milliseconds [default: what the node is configured with]
    #[arg(long, value_name = "MS")]
    pub timeout: Option<u64>,
    /// Try again so often when the error can be retried [default: the node's retryPolicy]
    #[arg(long, value_name = "N", visible_aliases = ["retry", "retry-count"])]
    pub retries: Option<u32>,
    /// ID of the whole chain of calls [default: a new one]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Call this node and no other
    #[arg(long, value_name = "ID")]
    pub node: Option<String>,
    /// Send a file as a stream beside the params, or - for standard input
    #[arg(long, value_name = "FILE", help_heading = "Streams")]
    pub stream: Option<String>,
    /// Each line of --stream is a JSON value of its own
    #[arg(long, requires = "stream", help_heading = "Streams")]
    pub objects: bool,
    /// Write the result into a file, also one that is a stream
    #[arg(long, value_name = "FILE", help_heading = "Streams")]
    pub save: Option<PathBuf>,
    /// Overwrite the file of --save
    #[arg(long, requires = "save", help_heading = "Streams")]
    pub force: bool,
    /// Print the result as it came, and an error as a JSON object
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Flags of `emit` and `broadcast`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  isomer emit user.created '{\"id\":5}'
  isomer emit user.created '{\"id\":5}' --groups mailer,audit
  isomer broadcast cache.clear")]
pub struct EventArgs {
    /// Name of the event, such as user.created
    pub event: String,
    /// Data as JSON, @FILE, or - for standard input [default: none]
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub data: Option<String>,
    /// Only to these groups (services), with commas between
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    pub groups: Vec<String>,
    /// Meta as a JSON object
    #[arg(long, value_name = "JSON")]
    pub meta: Option<String>,
    /// Headers of the event as a JSON object
    #[arg(long, value_name = "JSON")]
    pub headers: Option<String>,
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `isomer call`.
///
/// # Errors
/// [`Failure`]; the error of the action itself is printed here and ends with exit code 1.
pub async fn call(args: CallArgs) -> Done {
    if args.params.as_deref() == Some("-") && args.stream.as_deref() == Some("-") {
        let text = "standard input cannot be both the params and the stream";
        return Err(Failure::Use(text.to_owned()));
    }
    let params = arguments::payload("params", args.params.as_deref())?;
    let saving = args.save.as_deref().map(|path| Saving::prepare(path, args.force)).transpose()?;
    let mode = if args.objects { Mode::Objects } else { Mode::Bytes };
    let source = args.stream.as_deref().map(|path| Source::open(path, mode)).transpose()?;
    let options = CallOptions {
        stream: source.as_ref().map(|source| source.stream.clone()),
        timeout: args.timeout.map(Duration::from_millis),
        retries: args.retries,
        node_id: args.node.as_deref().map(Into::into),
        meta: arguments::object("--meta", args.meta.as_deref())?,
        headers: arguments::object("--headers", args.headers.as_deref())?,
        request_id: args.request_id.as_deref().map(Into::into),
        ..CallOptions::default()
    };
    let target = Target::reach(&args.target).await?;
    target.wait_for_action(&args.action).await;
    let caller = target.caller();
    let outcome = caller.call(&args.action, params, options).await;
    let done = match outcome {
        Ok(result) => {
            let shown = show(result, saving, args.json).await;
            if let (Ok(()), Some(source)) = (&shown, source) {
                source.sent().await;
            }
            shown.map(|()| ExitCode::SUCCESS)
        }
        Err(error) if args.json => {
            let written = writeln!(std::io::stdout(), "{}", error.to_wire(""));
            written.map(|()| ExitCode::FAILURE).map_err(Failure::from)
        }
        Err(error) => {
            let hint = hint(&*caller, &args.action, &error).await;
            Err(Failure::Failed(show_error(&error) + &hint))
        }
    };
    target.leave().await;
    done
}

/// The result where it is wanted.
async fn show(result: Payload, saving: Option<Saving>, raw: bool) -> Result<(), Failure> {
    match (saving, result) {
        (Some(saving), result) => saving.save(result).await,
        (None, Payload::Stream(stream)) => stream::print(stream::take(&stream)?).await,
        (None, result) => Ok(print(&result, raw)?),
    }
}

/// `isomer emit`.
///
/// # Errors
/// [`Failure`].
pub async fn emit(args: EventArgs) -> Done {
    send(args, EventType::Emit).await
}

/// `isomer broadcast`.
///
/// # Errors
/// [`Failure`].
pub async fn broadcast(args: EventArgs) -> Done {
    send(args, EventType::Broadcast).await
}

async fn send(args: EventArgs, kind: EventType) -> Done {
    let data = arguments::payload("data", args.data.as_deref())?;
    let options = EmitOptions {
        groups: args.groups.iter().map(|group| group.as_str().into()).collect(),
        meta: arguments::object("--meta", args.meta.as_deref())?,
        headers: arguments::object("--headers", args.headers.as_deref())?,
        throw_error: true,
        ..EmitOptions::default()
    };
    let target = Target::reach(&args.target).await?;
    target.wait_for_nodes().await;
    let sent = target.caller().send(kind, &args.event, data, options).await;
    target.leave().await;
    match sent {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::Failed(show_error(&error))),
    }
}

/// The result on standard output: JSON in lines for people, or as it came; bytes as they are.
fn print(payload: &Payload, raw: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match payload {
        Payload::Absent | Payload::Stream(_) => Ok(()),
        Payload::Bytes(bytes) => out.write_all(bytes).and_then(|()| out.flush()),
        Payload::Json(text) if raw => writeln!(out, "{text}"),
        Payload::Json(text) => writeln!(out, "{}", pretty(text)),
    }
}

fn pretty(text: &str) -> String {
    serde_json::from_str::<Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| text.to_owned())
}

/// An error as a person reads it: class, code, type, text; then data and node.
#[must_use]
pub fn show_error(error: &MoleculerError) -> String {
    let mut text = error.name().to_owned();
    if let Some(code) = error.fields().code {
        text.push_str(&format!(" {code}"));
    }
    if !error.kind().is_empty() {
        text.push_str(&format!(" {}", error.kind()));
    }
    text.push_str(&format!(": {}", error.message()));
    if let Some(data) = &error.fields().data {
        text.push_str(&format!("\n  data: {data}"));
    }
    if let Some(node) = error.fields().node_id.as_deref().filter(|node| !node.is_empty()) {
        text.push_str(&format!("\n  node: {node}"));
    }
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// What was most likely meant, when an action does not exist.
async fn hint(caller: &dyn Caller, action: &str, error: &MoleculerError) -> String {
    if error.kind() != "SERVICE_NOT_FOUND" {
        return String::new();
    }
    let options = CallOptions { timeout: Some(Duration::from_secs(2)), ..CallOptions::default() };
    let filter = Payload::from_value(&json!({"onlyAvailable": true})).unwrap_or_default();
    let Ok(list) = caller.call("$node.actions", filter, options).await else {
        return String::new();
    };
    let rows: Vec<Value> = list.parse().unwrap_or_default();
    let known: Vec<&str> = rows.iter().filter_map(|row| row.get("name")?.as_str()).collect();
    if known.contains(&action) {
        return String::new();
    }
    let name = names::nearest(action, known.iter().copied()).or_else(|| {
        // The right action behind a wrong service, as after `hello` for `greeter.hello`.
        let last = action.rsplit('.').next().unwrap_or(action);
        known.iter().copied().find(|name| name.rsplit('.').next() == Some(last))
    });
    match name {
        Some(name) => format!("\n  did you mean '{}'?", printable(name)),
        None => "\n  `isomer actions` lists what there is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shown_with_everything_that_helps() {
        let error = MoleculerError::client(404, "NOT_FOUND", "no \x1b[2Jpost")
            .with_data(&json!({"id": 5}))
            .at_node(&"n1".into());
        assert_eq!(
            show_error(&error),
            "MoleculerClientError 404 NOT_FOUND: no \u{fffd}[2Jpost\n  data: {\"id\":5}\n  node: n1"
        );
    }
}
