//! Every scenario of the conformance kit against the guest of every language, and the document that says so.

use tests::conformance::languages::{LANGUAGES, Language};
use tests::conformance::{self, Column, report};
use tests::{recipe, tree};

/// Where the result of the last run is kept.
const DOCUMENT: &str = "docs/languages.md";

/// Runs a language; `None` when its tools are missing here and need not be there.
async fn column(language: &'static Language) -> Option<Column> {
    match conformance::run(language).await {
        Ok(column) => Some(column),
        Err(missing) => {
            recipe::skip(&format!("{} for {}", missing.tool, missing.language));
            None
        }
    }
}

/// `ISOMER_LANGUAGES=python,go` runs only these.
fn wanted(language: &Language) -> bool {
    let Ok(list) = std::env::var("ISOMER_LANGUAGES") else { return true };
    list.split(',').any(|name| name.trim().eq_ignore_ascii_case(language.name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_works_in_every_language_that_is_here() {
    let mut columns = Vec::new();
    for language in LANGUAGES.iter().filter(|language| wanted(language)) {
        columns.extend(column(language).await);
    }
    let failures = report::failures(&columns);
    assert!(failures.is_empty(), "{} scenarios fail:\n{}", failures.len(), failures.join("\n"));
    let path = tree::top().join(DOCUMENT);
    let document = tree::read(&path);
    let table = report::table(&columns, &document);
    if std::env::var_os("ISOMER_WRITE_LANGUAGES").is_some() {
        let written = report::with_part(&document, report::SCENARIOS, &table);
        std::fs::write(&path, written).unwrap();
        return;
    }
    let committed = report::part(&document, report::SCENARIOS).unwrap_or_default();
    assert_eq!(
        committed, table,
        "{DOCUMENT} is not what was seen; write it with ISOMER_WRITE_LANGUAGES=1"
    );
}
