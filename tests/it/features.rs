//! `docs/features.md`: every row has a state, and what shows it exists.

use std::collections::BTreeSet;

use tests::{known, tree};

/// What a row may say.
const STATES: [&str; 4] = ["works", "differs", "not applicable", "later"];

/// The cells of the rows that begin with an ID such as `BO1`.
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let is_id = |cell: &str| {
        let letters = cell.trim_end_matches(|c: char| c.is_ascii_digit());
        letters.len() == 2 && letters.len() < cell.len()
    };
    text.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let line = line.replace("\\|", "\u{1}");
            let cells: Vec<String> = line.split('|').skip(1).map(|c| c.trim().to_owned()).collect();
            cells.first().is_some_and(|id| is_id(id)).then_some((index + 1, cells))
        })
        .collect()
}

#[test]
fn every_feature_has_a_state_and_what_shows_it() {
    let text = tree::read(&tree::top().join("docs/features.md"));
    let rows = rows(&text);
    assert!(rows.len() > 250, "only {} rows were read", rows.len());
    let known = known::tests();
    let mut broken = Vec::new();
    let mut ids = BTreeSet::new();
    for (line, cells) in &rows {
        let [id, _, state, shown, ..] = cells.as_slice() else {
            broken.push(format!("line {line}: not four cells"));
            continue;
        };
        if !ids.insert(id) {
            broken.push(format!("line {line}: {id} stands there twice"));
        }
        if !STATES.contains(&state.as_str()) {
            broken.push(format!("line {line}: {id} is '{state}'"));
        }
        if shown.is_empty() {
            broken.push(format!("line {line}: {id} says nothing of how or why"));
        }
        // Odd parts stand between backticks.
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).filter(|n| is_test(n)).collect();
        if state == "works" && tests.is_empty() {
            broken.push(format!("line {line}: {id} works, but no test shows it"));
        }
        for test in tests.iter().filter(|test| !known.contains(**test)) {
            broken.push(format!("line {line}: {id} names '{test}', which is no test"));
        }
    }
    assert!(broken.is_empty(), "docs/features.md:\n  {}", broken.join("\n  "));
}

fn is_test(name: &str) -> bool {
    // Types of the code begin with a capital letter, modules of tests do not.
    name.starts_with("sdk ")
        || (name.contains("::")
            && name.starts_with(char::is_lowercase)
            && !name.contains(['(', '<']))
}
