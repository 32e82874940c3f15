//! `isomer test`: the language's own tests, then the files in `tests/` against the component.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::build::{self, Built};
use crate::cli::table::printable;
use crate::cli::{self, ConfigArgs, Done, Failure, component};
use crate::config::log::{Level, Levels};
use crate::config::options::NodeOptions;
use crate::config::sidecar;
use crate::logger;
use crate::scenario::{Difference, File, Report, Theatre};
use crate::toolchain::{Project, Tested, Workbench};
use crate::uid;

/// Flags of `test`.
#[derive(Debug, Args)]
#[command(
    after_help = "First the tests of the language run (cargo test, npm test, python -m unittest, go test), then \
the component is built and tests/*.toml and tests/*.json are run against it: calls and events with what is expected \
of them, and mocks that answer for other services. docs/testing.md has the form.

Exit codes: 0 all as expected, 1 a test failed or the sources have errors, 2 wrong use or a tool is missing."
)]
pub struct TestArgs {
    /// Folder or file of a service [default: the working directory]
    #[arg(value_name = "DIR|FILE")]
    pub place: Option<PathBuf>,
    /// Only tests whose name holds this text
    #[arg(short, long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Not the language's own tests
    #[arg(long)]
    pub no_unit: bool,
    /// Test what is deployed, not what is built quickly
    #[arg(long)]
    pub release: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
    /// Lines of the service's log that are shown: fatal, error, warn, info, debug, trace [default: warn]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Limits and cache of the node.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The outcome of one file.
struct Played {
    file: String,
    reports: Vec<Report>,
}

/// Tests a service.
///
/// # Errors
/// [`Failure`]; a test that fails is no failure of the verb, but makes the exit code 1.
pub async fn run(args: TestArgs) -> Done {
    let level = cli::flag("logLevel", "--log-level", args.log_level.as_ref());
    let options = cli::configuration(&args.config, level.into_iter().collect())?;
    let project = build::find(args.place.as_deref())?;
    let files = read_files(&project, args.filter.as_deref())?;
    let bench = build::bench(&options)?;
    start_log(&options, args.log_level.is_some());
    let tested = match args.no_unit {
        true => Tested::Nothing,
        false => bench.test(&project).await.map_err(build::failure)?,
    };
    if files.is_empty() && tested == Tested::Nothing {
        let folder = project.root.join("tests");
        return Err(Failure::Use(format!(
            "nothing to test: there is no {0}/*.toml or {0}/*.json{1}",
            folder.display(),
            args.filter.map(|text| format!(" with '{text}'")).unwrap_or_default()
        )));
    }
    let played = match files.is_empty() {
        true => Vec::new(),
        false => play(&project, &files, args.release, &bench, &options).await?,
    };
    let reports = || played.iter().flat_map(|played| &played.reports);
    let n_failed = reports().filter(|report| !report.problems.is_empty()).count();
    let n_passed = reports().count() - n_failed;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{:#}", as_json(&played, tested, n_passed, n_failed))?;
    } else {
        let colors = std::io::stdout().is_terminal() && logger::Options::colors_wanted();
        write!(out, "{}", as_text(&played, n_passed, n_failed, colors))?;
    }
    Ok(if n_failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files of a project, with the tests that are wanted. Mistakes in one of them come before any work.
fn read_files(project: &Project, filter: Option<&str>) -> Result<Vec<(PathBuf, File)>, Failure> {
    let folder = project.root.join("tests");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "toml" || extension == "json")
        })
        .collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let mut file = File::read(&path).map_err(|error| Failure::Use(error.to_string()))?;
        file.test.retain(|test| filter.is_none_or(|text| test.name.contains(text)));
        if !file.test.is_empty() {
            files.push((path, file));
        }
    }
    Ok(files)
}

/// The log of the service, to standard error.
fn start_log(options: &NodeOptions, chosen: bool) {
    let quiet = Levels { default: Level::Warn, modules: Vec::new() };
    logger::init(logger::Options {
        levels: if chosen { options.log_levels.clone() } else { quiet },
        format: options.log_format,
        colors: options.log_colors.unwrap_or_else(logger::Options::colors_wanted),
        node_id: Arc::from("test"),
        namespace: Arc::from(options.broker.namespace.as_str()),
    });
}

/// Builds the component where nobody else sees it, and runs the tests against it.
async fn play(
    project: &Project,
    files: &[(PathBuf, File)],
    release: bool,
    bench: &Workbench,
    options: &NodeOptions,
) -> Result<Vec<Played>, Failure> {
    let folder = Folder(component::cache_dir(options)?.join("tests").join(&*uid::new()));
    build::put_settings(project, &folder.0)?;
    let output = folder.0.join(&project.name).with_extension("wasm");
    let Built { file, .. } = build::build(project, &output, release, bench, options).await?;
    let failed = |why: String| Failure::Failed(format!("{}: {why}", file.display()));
    let bytes = std::fs::read(&file).map_err(|error| failed(error.to_string()))?;
    let service = sidecar::read(&file, &options.broker)
        .map_err(|problems| Failure::Use(problems.to_string()))?;
    let runtime = component::runtime(options, Arc::from("test"), Default::default(), Vec::new())?;
    let theatre = Theatre::new(runtime, bytes, service, options.broker.clone());
    let theatre = Box::pin(theatre).await.map_err(failed)?;
    let mut played = Vec::new();
    for (path, file) in files {
        let mut reports = Vec::new();
        for test in &file.test {
            reports.push(Box::pin(theatre.play(file, test)).await);
        }
        played.push(Played { file: shown_path(path, &project.root), reports });
    }
    Ok(played)
}

/// A folder that is gone afterwards.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // It lies in the cache, where nobody misses it and nobody is disturbed by it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shown_path(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn as_json(played: &[Played], tested: Tested, n_passed: usize, n_failed: usize) -> Value {
    let tests: Vec<Value> = played
        .iter()
        .flat_map(|played| {
            played.reports.iter().map(|report| {
                json!({
                    "file": played.file,
                    "name": report.name,
                    "ok": report.problems.is_empty(),
                    "ms": u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
                    "problems": report.problems,
                })
            })
        })
        .collect();
    json!({
        "unit": tested == Tested::Passed,
        "passed": n_passed,
        "failed": n_failed,
        "tests": tests,
    })
}

fn as_text(played: &[Played], n_passed: usize, n_failed: usize, colors: bool) -> String {
    let paint = |code: &str, text: &str| match colors {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut text = String::new();
    for Played { file, reports } in played {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "{file}");
        for report in reports {
            let good = report.problems.is_empty();
            let mark = if good { paint("32", "ok    ") } else { paint("31", "FAILED") };
            let (name, ms) = (printable(&report.name), report.took.as_millis());
            let _ = writeln!(text, "  {mark}  {name} ({ms} ms)");
            report.problems.iter().for_each(|problem| text.push_str(&difference(problem)));
        }
    }
    match n_failed {
        _ if played.is_empty() => {}
        0 => {
            let _ = writeln!(text, "\n{n_passed} passed");
        }
        _ => {
            let _ = writeln!(text, "\n{n_passed} passed, {n_failed} failed");
        }
    }
    text
}

/// One difference: where, then both values below each other.
fn difference(problem: &Difference) -> String {
    const INDENT: &str = "          ";
    let mut text = String::new();
    let mut line = |indent: &str, name: &str, value: &str| {
        let _ = writeln!(text, "{INDENT}{indent}{name}{}", printable(value));
    };
    if let Some(message) = &problem.message {
        line("", "", message);
    }
    if problem.at.is_empty() {
        return text;
    }
    line("", "", &problem.at);
    let value = |value: &Option<Value>| {
        value.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string)
    };
    line("  ", "expected  ", &value(&problem.expected));
    line("  ", "got       ", &value(&problem.got));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_both_values_below_each_other() {
        let problems = vec![Difference {
            at: "result.name".into(),
            expected: Some("Ada".into()),
            got: None,
            message: None,
        }];
        let took = std::time::Duration::from_millis(3);
        let reports = vec![
            Report { name: "a".into(), took, problems: Vec::new() },
            Report { name: "b".into(), took, problems },
        ];
        let text = as_text(&[Played { file: "tests/a.toml".into(), reports }], 1, 1, false);
        let expected = "tests/a.toml\n  ok      a (3 ms)\n  FAILED  b (3 ms)\n          result.name\n            \
                        expected  \"Ada\"\n            got       nothing\n\n1 passed, 1 failed\n";
        assert_eq!(text, expected);
    }
}
