//! What a call costs in each language, in fuel: what the guest's own code takes of it, its SDK and interpreter included.
//!
//! Fuel is counted by the instruction, so the load of the machine does not matter, and a change of an SDK that makes
//! every call dearer is seen where a time would hide it. The figures are those of `docs/languages.md`, which a run
//! writes with `ISOMER_WRITE_LANGUAGES=1`. What the host does for a call is not in them.

use std::fmt::Write as _;
use std::path::Path;

use isomer_host::config::BrokerOptions;
use serde_json::{Value, json};
use tests::conformance::languages::LANGUAGES;
use tests::conformance::report;
use tests::host::Host;
use tests::{broker, guests, recipe, tree};

/// Calls until an instance has settled: interpreters take more for their first ones.
const WARM_UP: u32 = 200;
/// Calls that are measured.
const CALLS: u32 = 100;
/// What other versions of the tools may take beyond what the document says, in percent.
const ROOM: u64 = 20;
/// Kinds of calls, as the table calls them.
const KINDS: [&str; 4] = [
    "100 B passed on",
    "100 B decoded and encoded",
    "a call of another action",
    "the first call of an instance",
];

async fn node(file: &Path, mode: &str) -> Host {
    let folder = tempfile::tempdir().unwrap();
    guests::put_bytes(&std::fs::read(file).unwrap(), folder.path(), "conformance.wasm");
    let sidecar = format!("mode = \"{mode}\"\n");
    std::fs::write(folder.path().join("conformance.toml"), sidecar).unwrap();
    Host::start_on(BrokerOptions::default(), folder).await
}

async fn fuel_of(host: &Host, action: &str, params: &Value, calls: u32) -> u64 {
    let before = broker::metric(&host.broker, "isomer.guest.fuel.total");
    for _ in 0..calls {
        host.call(action, params).await.unwrap();
    }
    let used = broker::metric(&host.broker, "isomer.guest.fuel.total") - before;
    u64::try_from(used).unwrap() / u64::from(calls)
}

/// In the order of [`KINDS`].
async fn seen(file: &Path) -> [u64; 4] {
    let text = "x".repeat(40);
    let value = json!({"value": {"id": 12_345, "text": text, "tags": ["a", "b", "c"], "ok": true}});
    let nested = json!({"action": "$node.list", "params": {}});
    let host = node(file, "pooled").await;
    let calls = [("echo", &value), ("roundtrip", &value), ("call", &nested)];
    let mut all = [0; 4];
    for (fuel, (name, params)) in all.iter_mut().zip(calls) {
        let action = format!("conformance.{name}");
        fuel_of(&host, &action, params, WARM_UP).await;
        *fuel = fuel_of(&host, &action, params, CALLS).await;
    }
    let host = node(file, "fresh").await;
    all[3] = fuel_of(&host, "conformance.echo", &value, 3).await;
    all
}

/// What the document says of a language; none when it is not there.
fn known(document: &str, language: &str) -> Option<[u64; 4]> {
    let table = report::part(document, report::FUEL)?;
    let line = table.lines().find(|line| line.starts_with(&format!("| {language} |")))?;
    let cells = line.split('|').skip(2).take(4).map(|cell| cell.trim().replace(',', ""));
    let figures: Vec<u64> = cells.filter_map(|cell| cell.parse().ok()).collect();
    figures.try_into().ok()
}

fn table(rows: &[(&str, [u64; 4])]) -> String {
    let mut text = format!("\n| | {} |\n|---|---|---|---|---|\n", KINDS.join(" | "));
    for (language, figures) in rows {
        let _ = writeln!(text, "| {language} | {} |", figures.map(grouped).join(" | "));
    }
    text.push('\n');
    text
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", grouped(number / 1_000), number % 1_000)
}

/// `ISOMER_LANGUAGES=python,go` runs only these.
fn wanted(name: &str) -> bool {
    let Ok(list) = std::env::var("ISOMER_LANGUAGES") else { return true };
    list.split(',').any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_takes_no_more_fuel_than_the_document_says() {
    let path = tree::top().join("docs/languages.md");
    let document = tree::read(&path);
    let mut rows = Vec::new();
    let mut dearer = String::new();
    for language in LANGUAGES {
        let documented = known(&document, language.name);
        let measured = match wanted(language.name).then(|| language.component()) {
            None => None,
            Some(Ok(file)) => {
                recipe::compile(&file);
                Some(seen(&file).await)
            }
            Some(Err(missing)) => {
                recipe::skip(&format!("{} for {}", missing.tool, missing.language));
                None
            }
        };
        // A language that is not in the document yet has nothing to be held to.
        if let Some((figures, known)) = measured.zip(documented) {
            let is_over = |(fuel, known): (&u64, &u64)| *fuel > known + known * ROOM / 100;
            if figures.iter().zip(&known).any(is_over) {
                let _ = write!(dearer, "\n{}: {figures:?}, not {known:?}", language.name);
            }
        }
        rows.extend(measured.or(documented).map(|figures| (language.name, figures)));
    }
    if std::env::var_os("ISOMER_WRITE_LANGUAGES").is_some() {
        let written = report::with_part(&document, report::FUEL, &table(&rows));
        std::fs::write(&path, written).unwrap();
        return;
    }
    assert!(dearer.is_empty(), "calls became dearer:{dearer}");
}

#[test]
fn figures_are_read_as_they_are_written() {
    let figures = [999, 1_000, 12_345_678, 70_001];
    let text = table(&[("C", [1, 2, 3, 4]), ("Go", figures)]);
    let document = report::with_part("<!-- fuel -->\n<!-- end of fuel -->\n", report::FUEL, &text);
    assert!(document.contains("| Go | 999 | 1,000 | 12,345,678 | 70,001 |"), "{document}");
    assert_eq!(known(&document, "Go"), Some(figures));
    assert_eq!(known(&document, "Python"), None);
}
