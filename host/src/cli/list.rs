//! `isomer nodes`, `services`, `actions` and `events`: what `$node` answers, as tables.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::admin::protocol::Versions;
use crate::cli::call::show_error;
use crate::cli::table::{Table, printable};
use crate::cli::target::{Target, TargetArgs};
use crate::cli::{Done, Failure};
use crate::context::CallOptions;
use crate::error::MoleculerError;
use crate::payload::Payload;

/// Flags of the lists.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print what `$node` answers, as JSON
    #[arg(long)]
    pub json: bool,
    /// Also the nodes' own service `$node` and what is not available
    #[arg(short, long)]
    pub all: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Flags of `services`.
#[derive(Debug, Args)]
pub struct ServicesArgs {
    /// Also what the services of the node on this machine may do
    #[arg(short, long, conflicts_with = "transporter")]
    pub verbose: bool,
    /// As of all lists.
    #[command(flatten)]
    pub list: ListArgs,
}

/// One of the lists.
pub struct List {
    action: &'static str,
    /// What there are none of.
    what: &'static str,
    params: fn(bool) -> Value,
    table: fn(&[Value]) -> Table,
}

/// `isomer nodes`
pub const NODES: List = List {
    action: "$node.list",
    what: "nodes",
    params: |all| json!({"withServices": true, "onlyAvailable": !all}),
    table: nodes,
};

/// `isomer services`. Broken files are always among them: they are why one looks.
pub const SERVICES: List = List {
    action: "$node.services",
    what: "services",
    params: |all| json!({"skipInternal": !all, "withActions": true, "withEvents": true}),
    table: services,
};

/// `isomer actions`
pub const ACTIONS: List = List {
    action: "$node.actions",
    what: "actions",
    params: |all| json!({"skipInternal": !all, "onlyAvailable": !all}),
    table: actions,
};

/// `isomer events`
pub const EVENTS: List = List {
    action: "$node.events",
    what: "events",
    params: |all| json!({"skipInternal": !all, "onlyAvailable": !all}),
    table: events,
};

/// `isomer services`, with the grants of the node's services when they are asked for.
///
/// # Errors
/// [`Failure`].
pub async fn run_services(args: ServicesArgs) -> Done {
    let target = args.list.target.clone();
    let as_json = args.list.json;
    if args.verbose && as_json {
        return show_grants(&target, true).await;
    }
    let done = run(&SERVICES, args.list).await?;
    if args.verbose { show_grants(&target, false).await } else { Ok(done) }
}

/// What the components of the node on this machine may do. Only its control socket tells.
async fn show_grants(target: &TargetArgs, as_json: bool) -> Done {
    let Target::Node(client) = Target::reach(target).await? else {
        return Err(Failure::Failed("no node is running here".into()));
    };
    let answer = client.versions(Versions::Grants).await.map_err(|error| failed(&error))?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{}", &*answer.to_json_text())?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Value> = answer
        .parse()
        .map_err(|error| Failure::Failed(format!("the node answered with no list: {error}")))?;
    write!(out, "\n{}", grants(&rows).render())?;
    Ok(ExitCode::SUCCESS)
}

/// A line for each grant of each service.
fn grants(rows: &[Value]) -> Table {
    let texts = |row: &Value, key: &str| -> Vec<String> {
        row.get(key).and_then(Value::as_array).into_iter().flatten().map(plain).collect()
    };
    let mut table = Table::new(&["SERVICE", "GRANTS"]);
    for row in rows {
        let mut lines = texts(row, "lines");
        let (env, missing) = (texts(row, "env"), texts(row, "notGranted"));
        if !env.is_empty() {
            lines.push(format!("env {}", env.join(", ")));
        }
        if lines.is_empty() {
            lines.push("all of the broker, nothing of the machine".to_owned());
        }
        if !missing.is_empty() {
            lines.push(format!("(could want, not granted: {})", missing.join(", ")));
        }
        for (n, line) in lines.iter().enumerate() {
            let service = if n == 0 { text(row, "service") } else { String::new() };
            table.add(vec![service, printable(line)]);
        }
    }
    table
}

/// Prints a list.
///
/// # Errors
/// [`Failure`].
pub async fn run(list: &List, args: ListArgs) -> Done {
    let params = Payload::from_value(&(list.params)(args.all)).unwrap_or_default();
    let target = Target::reach(&args.target).await?;
    target.wait_for_nodes().await;
    let answer = target.caller().call(list.action, params, CallOptions::default()).await;
    let visiting = matches!(target, Target::Mesh(_));
    target.leave().await;
    let answer = answer.map_err(|error| failed(&error))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", &*answer.to_json_text())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows: Vec<Value> = answer
        .parse()
        .map_err(|error| Failure::Failed(format!("the node answered with no list: {error}")))?;
    // Who only came to look is no part of the mesh.
    rows.retain(|row| args.all || !(visiting && flag(row, "local") && row.get("client").is_some()));
    let table = (list.table)(&rows);
    if table.is_empty() {
        writeln!(out, "There are no {}.", list.what)?;
    } else {
        write!(out, "{}", table.render())?;
    }
    write!(out, "{}", broken(&rows))?;
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &MoleculerError) -> Failure {
    Failure::Failed(show_error(error))
}

fn nodes(rows: &[Value]) -> Table {
    let mut table = Table::new(&["NODE", "STATE", "SERVICES", "HOST", "CLIENT"]);
    for row in rows {
        let state = match (flag(row, "available"), flag(row, "local")) {
            (false, _) => "offline",
            (true, true) => "here",
            (true, false) => "online",
        };
        let client = |key: &str| row.pointer(&format!("/client/{key}")).map(plain);
        let client = [client("type"), client("version")].into_iter().flatten().collect::<Vec<_>>();
        table.add(vec![
            text(row, "id"),
            state.into(),
            count(row, "services").to_string(),
            text(row, "hostname"),
            client.join(" "),
        ]);
    }
    table
}

fn services(rows: &[Value]) -> Table {
    let mut table = Table::new(&["SERVICE", "STATE", "ACTIONS", "EVENTS", "NODES"]);
    for row in rows {
        let state = match (error_of(row), flag(row, "available")) {
            (Some(_), false) => "broken",
            (Some(_), true) => "ok, new version broken",
            (None, true) => "ok",
            (None, false) => "not available",
        };
        let nodes = row.get("nodes").and_then(Value::as_array);
        let nodes: Vec<String> = nodes.into_iter().flatten().map(plain).collect();
        table.add(vec![
            text(row, "fullName"),
            state.into(),
            count(row, "actions").to_string(),
            count(row, "events").to_string(),
            nodes.join(", "),
        ]);
    }
    table
}

fn actions(rows: &[Value]) -> Table {
    let mut table = Table::new(&["ACTION", "STATE", "NODES", "PARAMS"]);
    for row in rows {
        let params = row.pointer("/action/params").and_then(Value::as_object);
        let params: Vec<String> = params
            .into_iter()
            .flatten()
            .filter(|(name, _)| !name.starts_with("$$"))
            .map(|(name, rule)| if optional(rule) { format!("{name}?") } else { name.clone() })
            .collect();
        table.add(vec![text(row, "name"), state(row), text(row, "count"), params.join(", ")]);
    }
    table
}

fn events(rows: &[Value]) -> Table {
    let mut table = Table::new(&["EVENT", "GROUP", "STATE", "NODES"]);
    for row in rows {
        table.add(vec![text(row, "name"), text(row, "group"), state(row), text(row, "count")]);
    }
    table
}

/// Why files or new versions of them are not in service, below the table.
fn broken(rows: &[Value]) -> String {
    let reasons = rows.iter().filter_map(|row| Some((row, error_of(row)?)));
    let lines = reasons.map(|(row, reason)| {
        let file = row.pointer("/isomer/file").map(plain).unwrap_or_default();
        format!(
            "\n{}: {}\n",
            printable(&file),
            reason.lines().map(printable).collect::<Vec<_>>().join("\n  ")
        )
    });
    lines.collect()
}

/// What `reload` says of a file that cannot be used.
fn error_of(row: &Value) -> Option<&str> {
    let isomer = row.get("isomer")?;
    let error = isomer.get("error").or_else(|| isomer.pointer("/lastError/message"))?;
    error.as_str()
}

fn state(row: &Value) -> String {
    match (flag(row, "available"), flag(row, "hasLocal")) {
        (false, _) => "not available",
        (true, true) => "here",
        (true, false) => "remote",
    }
    .to_owned()
}

/// Whether a parameter rule (object or short form, such as `string|optional`) allows absence.
fn optional(rule: &Value) -> bool {
    match rule {
        Value::String(short) => short.split('|').any(|part| part == "optional"),
        Value::Object(rule) => {
            rule.get("optional").and_then(Value::as_bool).unwrap_or(false)
                || rule.contains_key("default")
        }
        _ => false,
    }
}

fn flag(row: &Value, key: &str) -> bool {
    row.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn text(row: &Value, key: &str) -> String {
    row.get(key).map(plain).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn count(row: &Value, key: &str) -> usize {
    match row.get(key) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(items)) => items.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_broken_files_are_shown() {
        let rows = [
            json!({"fullName": "posts", "available": true, "nodes": ["a", "b"], "actions": {"x": {}},
                "events": {}}),
            json!({"fullName": "bad", "available": false, "nodes": [],
                "isomer": {"file": "bad.wasm", "error": "not WebAssembly"}}),
        ];
        assert_eq!(
            services(&rows).render(),
            "SERVICE  STATE   ACTIONS  EVENTS  NODES\n\
             posts    ok      1        0       a, b\n\
             bad      broken  0        0\n"
        );
        assert_eq!(broken(&rows), "\nbad.wasm: not WebAssembly\n");
    }

    #[test]
    fn grants_are_shown_a_line_for_each() {
        let rows = [
            json!({"service": "posts", "lines": ["dirs /d = /srv/d (read)", "tcp db:5432"], "env": ["A"],
                "notGranted": []}),
            json!({"service": "math", "lines": [], "env": [], "notGranted": ["tcp"]}),
        ];
        assert_eq!(
            grants(&rows).render(),
            "SERVICE  GRANTS\nposts    dirs /d = /srv/d (read)\n         tcp db:5432\n         env A\n\
             math     all of the broker, nothing of the machine\n         (could want, not granted: tcp)\n"
        );
    }

    #[test]
    fn actions_are_shown_with_their_params() {
        let rows = [json!({"name": "math.add", "count": 2, "hasLocal": true, "available": true,
            "action": {"params": {"a": "number", "b": "number|optional", "c": {"optional": true},
                "$$strict": true}}})];
        assert_eq!(
            actions(&rows).render(),
            "ACTION    STATE  NODES  PARAMS\nmath.add  here   2      a, b?, c?\n"
        );
    }
}
