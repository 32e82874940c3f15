//! `isomer inspect` and `compile`: a component without a node.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::call::show_error;
use crate::cli::table::{Table, printable};
use crate::cli::{self, ConfigArgs, Done, Failure};
use crate::clock;
use crate::config::options::NodeOptions;
use crate::config::{Limits, Mode, ServiceOptions, quantity, sidecar};
use crate::error::explained;
use crate::runtime::{
    CompileMode, Error, Inspection, OUT_OF_MEMORY, Runtime, RuntimeOptions, SURROUNDINGS, World,
};

/// Flags of `inspect`.
#[derive(Debug, Args)]
#[command(
    after_help = "The schema is what the component says of itself: it is run for that, in an instance \
that can reach nothing.\n\nExample:\n  isomer inspect services/posts.wasm --json | jq .schema.actions"
)]
pub struct InspectArgs {
    /// A component
    #[arg(value_name = "FILE.wasm")]
    pub file: PathBuf,
    /// Print everything as JSON
    #[arg(long)]
    pub json: bool,
    /// Limits and cache of the node.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Flags of `compile`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, while an image is built:\n  isomer compile services/posts.wasm --cache-dir /var/cache/isomer"
)]
pub struct CompileArgs {
    /// Components
    #[arg(value_name = "FILE.wasm", required = true)]
    pub files: Vec<PathBuf>,
    /// Where compiled components are kept [default: $XDG_CACHE_HOME/isomer or ~/.cache/isomer]
    #[arg(long, value_name = "DIR")]
    pub cache_dir: Option<String>,
    /// Cache of the node.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Flags of `__compile`.
#[derive(Debug, Args)]
pub struct CompileChildArgs {
    /// The component
    pub input: PathBuf,
    /// Where to write the compiled code
    pub output: PathBuf,
    /// Address space in bytes
    pub memory: u64,
}

/// Where compiled components are kept: as configured, else the user's cache.
///
/// # Errors
/// [`Failure::Use`] when the user has no home either.
pub fn cache_dir(options: &NodeOptions) -> Result<PathBuf, Failure> {
    if let Some(dir) = &options.broker.cache_dir {
        return Ok(dir.clone());
    }
    place_of_user("XDG_CACHE_HOME", ".cache").ok_or_else(|| {
        Failure::Use("there is no place for compiled components: set HOME or cacheDir".into())
    })
}

/// Where is kept what outlives a run of the node: as configured, else with the user's state; nowhere when the user
/// has no home either.
#[must_use]
pub fn state_dir(options: &NodeOptions) -> Option<PathBuf> {
    let configured = options.broker.state_dir.clone();
    configured.or_else(|| place_of_user("XDG_STATE_HOME", ".local/state"))
}

/// The folder of this program in what a variable names, or else below the user's home.
fn place_of_user(xdg: &str, below_home: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = variable(xdg)
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(below_home)));
    base.map(|base| base.join("isomer"))
}

/// A runtime that compiles in a child process.
///
/// # Errors
/// [`Failure`].
pub fn runtime(
    options: &NodeOptions,
    node_id: Arc<str>,
    metrics: crate::metrics::MetricRegistry,
    private: Vec<PathBuf>,
) -> Result<Runtime, Failure> {
    let exe = std::env::current_exe().map_err(|error| {
        Failure::Failed(format!("the path of this program is unknown: {error}"))
    })?;
    let runtime = Runtime::new(RuntimeOptions {
        compile_mode: CompileMode::Child { exe },
        namespace: Arc::from(options.broker.namespace.as_str()),
        stack: options.broker.limits.stack,
        compile: options.broker.compile,
        core_dumps: options.broker.core_dumps.clone(),
        memory: options.broker.memory,
        metrics,
        private,
        ..RuntimeOptions::new(cache_dir(options)?, node_id)
    });
    runtime.map_err(|error| Failure::Failed(explained(&error)))
}

/// `isomer inspect`.
///
/// # Errors
/// [`Failure`].
pub async fn inspect(args: InspectArgs) -> Done {
    let options = cli::configuration(&args.config, Vec::new())?;
    let (file, fail) = (args.file.as_path(), |why: String| about(&args.file, &why));
    let bytes = read(file)?;
    let inspection = Inspection::read(&bytes).map_err(|error| fail(explained(&error)))?;
    let service = sidecar::read(file, &options.broker)
        .map_err(|problems| Failure::Use(problems.to_string()))?;
    let schema = schema(&options, bytes, &service.limits).await;
    let mut out = std::io::stdout().lock();
    if args.json {
        let value = as_json(file, &inspection, &service, schema.as_ref().ok());
        writeln!(out, "{value:#}")?;
    } else {
        write!(out, "{}", as_text(file, &inspection, &service, schema.as_ref().ok()))?;
    }
    match schema {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(why) => Err(fail(why)),
    }
}

/// What a component says of itself, or why it cannot.
pub(super) async fn schema(
    options: &NodeOptions,
    bytes: Vec<u8>,
    limits: &Limits,
) -> Result<Value, String> {
    let runtime = runtime(options, Arc::from("inspect"), Default::default(), Vec::new());
    let runtime = runtime.map_err(|failure| failure.text().to_owned())?;
    let component = runtime.load_bytes(bytes).await.map_err(|error| explained(&error))?;
    let text = component.describe(limits).await;
    let text =
        text.map_err(|error| format!("it cannot describe itself: {}", show_error(&error)))?;
    serde_json::from_str(&text).map_err(|error| format!("its schema is not JSON: {error}"))
}

fn as_json(
    file: &Path,
    inspection: &Inspection,
    service: &ServiceOptions,
    schema: Option<&Value>,
) -> Value {
    let mut value = json!({"file": file.display().to_string()});
    if let (Value::Object(value), Ok(Value::Object(fields))) =
        (&mut value, serde_json::to_value(inspection))
    {
        value.extend(fields);
        let world = inspection.world().map(World::name);
        value.insert("world".into(), world.map_or(Value::Null, Value::from));
        value.insert("limits".into(), limits_json(&service.limits));
        value.insert("wants".into(), json!(inspection.wants()));
        value.insert("grants".into(), service.grants.to_json());
        value.insert("schema".into(), schema.cloned().unwrap_or(Value::Null));
    }
    value
}

/// The limits in the names and units of the configuration.
fn limits_json(limits: &Limits) -> Value {
    let instances = &limits.instances;
    json!({
        "fuel": limits.fuel,
        "timeout": limits.timeout.as_millis(),
        "memory": limits.memory,
        "payload": limits.payload,
        "meta": limits.meta,
        "mode": format!("{:?}", limits.mode.unwrap_or_default()).to_lowercase(),
        "instances": {
            "min": instances.min,
            "max": instances.max,
            "idle": instances.idle.as_millis(),
            "reuse": instances.reuse,
            "concurrency": instances.concurrency,
        },
        "queue": limits.queue,
    })
}

/// How many instances there are.
fn instances(limits: &Limits) -> String {
    match limits.mode.unwrap_or_default() {
        Mode::Shared => {
            format!("one shared instance with {} calls at most", limits.instances.concurrency)
        }
        mode => {
            let mode = format!("{mode:?}").to_lowercase();
            format!("{} {mode} instances at most", limits.instances.max)
        }
    }
}

/// What its imports could make use of.
fn wants(inspection: &Inspection, service: &ServiceOptions) -> String {
    let wants = inspection.wants();
    let one = |grant: &&str| match service.grants.is_empty(grant) {
        true => format!("{grant} (not granted)"),
        false => (*grant).to_owned(),
    };
    match wants.as_slice() {
        [] => "nothing of the machine".to_owned(),
        wants => wants.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// What the file beside it grants.
fn granted(service: &ServiceOptions) -> String {
    let lines = service.grants.to_lines();
    match lines.as_slice() {
        [] => "all of the broker, nothing of the machine".to_owned(),
        lines => {
            lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n             ")
        }
    }
}

fn as_text(
    file: &Path,
    inspection: &Inspection,
    service: &ServiceOptions,
    schema: Option<&Value>,
) -> String {
    let limits = &service.limits;
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => {
            names.iter().map(|name| printable(name)).collect::<Vec<_>>().join("\n             ")
        }
    };
    let language = match inspection.language.as_str() {
        "" => "unknown",
        language => language,
    };
    let mut lines = vec![
        ("file", file.display().to_string()),
        ("size", format!("{} bytes", inspection.size)),
        ("sha256", inspection.sha256.clone()),
        ("world", inspection.world().map_or("none of isomer:service", World::name).to_owned()),
        ("language", printable(language)),
        ("made by", list(&inspection.producers)),
        ("imports", list(&inspection.imports)),
        ("exports", list(&inspection.exports)),
        ("could want", wants(inspection, service)),
        ("grants", granted(service)),
        (
            "limits",
            format!(
                "{} memory, {:?} and {} fuel per call, {}",
                quantity::show_bytes(limits.memory as u64),
                limits.timeout,
                limits.fuel,
                instances(limits),
            ),
        ),
    ];
    lines.extend(schema.map(schema_lines).unwrap_or_default());
    let mut text: String =
        lines.iter().map(|(name, value)| format!("{name:<11}  {value}\n")).collect();
    text.push_str(&schema.map(schema_tables).unwrap_or_default());
    text
}

/// Name and kind of a component, as names and values.
pub(super) fn schema_lines(schema: &Value) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(name) = schema.get("name").and_then(Value::as_str) {
        let version = schema.get("version").filter(|version| !version.is_null());
        let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
        let what = if schema.get("hooks").is_some() { "middleware" } else { "service" };
        lines.push((what, printable(&format!("{name}{version}"))));
    }
    if let Some(hooks) = schema.get("hooks").and_then(Value::as_array) {
        lines.push(("hooks", texts(hooks)));
        for key in ["actions", "events"] {
            let everything = || "**".to_owned();
            let patterns = schema.get(key).and_then(Value::as_array);
            lines.push((key, patterns.map_or_else(everything, |patterns| texts(patterns))));
        }
    }
    lines
}

/// Actions and events of a service, as tables with a blank line before each.
pub(super) fn schema_tables(schema: &Value) -> String {
    let mut text = String::new();
    for (key, heading) in [("actions", "ACTION"), ("events", "EVENT")] {
        let items = schema.get(key).and_then(Value::as_object);
        let Some(items) = items.filter(|items| !items.is_empty()) else { continue };
        let mut table = Table::new(&[heading, "DEFINITION"]);
        for (name, definition) in items {
            table.add(vec![name.clone(), shortened(&definition.to_string())]);
        }
        text.push('\n');
        text.push_str(&table.render());
    }
    text
}

/// Hooks or patterns on one line.
fn texts(items: &[Value]) -> String {
    match items {
        [] => "none".to_owned(),
        items => {
            items.iter().filter_map(Value::as_str).map(printable).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A definition on one line; `--json` shows all of it.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 56;
    let mut short: String = text.chars().take(CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// `isomer compile`.
///
/// # Errors
/// [`Failure`]: the first file that cannot be compiled.
pub async fn compile(args: CompileArgs) -> Done {
    let flags = cli::flag("cacheDir", "--cache-dir", args.cache_dir.as_ref());
    let options = cli::configuration(&args.config, flags.into_iter().collect())?;
    let runtime = runtime(&options, Arc::from("compile"), Default::default(), Vec::new())?;
    let cache = cache_dir(&options)?;
    for file in &args.files {
        let start = clock::now();
        let component = runtime.load_bytes(read(file)?).await;
        component.map_err(|error| about(file, &explained(&error)))?;
        let took = clock::now().saturating_duration_since(start).as_millis();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} is in {} ({took} ms)", file.display(), cache.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `isomer __compile`. The parent reads standard error and puts it behind a sentence of its own, so the
/// reason stands there alone.
///
/// # Errors
/// When standard error is closed.
pub fn compile_child(args: &CompileChildArgs) -> Done {
    let (code, reason) = match crate::runtime::child_main(&args.input, &args.output, args.memory) {
        Ok(()) => return Ok(ExitCode::SUCCESS),
        Err(Error::Invalid { reason }) => (ExitCode::FAILURE, reason),
        Err(Error::Read { source, .. } | Error::Cache { source, .. })
            if source.kind() == std::io::ErrorKind::OutOfMemory =>
        {
            (ExitCode::from(OUT_OF_MEMORY), source.to_string())
        }
        Err(error) => (ExitCode::from(SURROUNDINGS), explained(&error)),
    };
    writeln!(std::io::stderr(), "{reason}")?;
    Ok(code)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Use(format!("{}: {error}", file.display())))
}

fn about(file: &Path, why: &str) -> Failure {
    Failure::Failed(format!("{}: {why}", file.display()))
}
