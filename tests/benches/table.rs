//! `make bench`: all measurements and their table. `-- local remote` and the like measure only these.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports on stdout")]
#![expect(clippy::unwrap_used, reason = "a benchmark reports by panicking")]

use std::time::Duration;

use tests::bench::raw_nats::{self, Place};
use tests::bench::table::{Row, Table};
use tests::bench::{Scale, features, languages, local, memory, remote, sandbox, start, swap};

/// What can be measured, in the order of the table.
const GROUPS: [&str; 11] = [
    "local",
    "features",
    "fresh",
    "remote",
    "remote-tcp",
    "remote-redis",
    "swap",
    "memory",
    "languages",
    "start",
    "sandbox",
];

fn main() {
    // As many workers as cores, which is what a node has.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match arguments.as_slice() {
        [first, url] if first == raw_nats::ECHO_ARGUMENT => {
            runtime.block_on(raw_nats::respond(url));
        }
        wanted => runtime.block_on(measure(wanted)),
    }
    // What still runs is of no interest.
    runtime.shutdown_timeout(Duration::ZERO);
}

async fn measure(wanted: &[String]) {
    if let Some(unknown) = wanted.iter().find(|name| !GROUPS.contains(&name.as_str())) {
        eprintln!("'{unknown}' is not measured; there are: {}", GROUPS.join(", "));
        return;
    }
    let scale = Scale::full();
    let place = Place::Program(std::env::current_exe().unwrap());
    let js = local::js().await;
    println!("{}\n", head(js.versions()));
    let mut table = Table::default();
    for group in GROUPS {
        if wanted.is_empty() || wanted.iter().any(|name| name == group) {
            eprintln!("bench: measuring {group}");
            let rows: Vec<Row> = match group {
                "local" => local::warm(scale, &js).await,
                "features" => features::cost(scale).await,
                "fresh" => local::fresh(scale).await,
                "remote" => remote::throughput(scale, remote::Medium::nats(&place).await).await,
                "remote-tcp" => remote::throughput(scale, remote::Medium::tcp()).await,
                "remote-redis" => remote::throughput(scale, remote::Medium::redis().await).await,
                "swap" => swap::latency(scale).await,
                "languages" => languages::compare(scale).await,
                "start" => start::cached(scale).await,
                "sandbox" => vec![beside_hostile_guests(scale, js.versions()).await],
                _ => memory::per_instance(scale).await,
            };
            table.0.extend(rows);
        }
    }
    println!("{table}");
}

/// Measures beside each guest of the hostile corpus, and keeps the table when it is asked to.
async fn beside_hostile_guests(scale: Scale, js: &str) -> Row {
    let measured = sandbox::measure(scale).await;
    println!("{}", measured.table);
    if std::env::var_os("ISOMER_WRITE_SANDBOX").is_some() {
        sandbox::write(&measured.table, &head(js));
    }
    measured.row
}

/// What the figures were measured on.
fn head(js: &str) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let profile = if cfg!(debug_assertions) { " **(not a release build)**" } else { "" };
    format!("{n_cores} × {model}; wasmtime 48; {js}{profile}")
}
