//! The document of a run, `docs/languages.md`: a table of scenarios and languages between two marks, and the
//! figures of the benchmark between two others. The text around them is written by people.
//!
//! A run checks the columns of the languages that it ran; the others are left as they are.

use std::fmt::Write as _;

use super::languages::LANGUAGES;
use super::{Column, Outcome, scenarios};

/// The marks around the table of scenarios.
pub const SCENARIOS: &str = "scenarios";
/// The marks around the fuel of calls.
pub const FUEL: &str = "fuel";
/// The marks around the figures.
pub const FIGURES: &str = "figures";

/// What is known of each language: the columns of a document, by the names in its head.
struct Known {
    languages: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

/// The part of a document between the marks of this name.
#[must_use]
pub fn part<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<!-- {name} -->\n"))?;
    let (part, _) = rest.split_once(&format!("<!-- end of {name} -->"))?;
    Some(part)
}

/// The document with another part.
///
/// # Panics
/// When it has no such marks.
#[must_use]
pub fn with_part(document: &str, name: &str, text: &str) -> String {
    let begin = format!("<!-- {name} -->\n");
    let end = format!("<!-- end of {name} -->");
    let parts = document.split_once(&begin).zip(document.split_once(&end));
    let Some(((head, _), (_, tail))) = parts else {
        panic!("docs/languages.md has no marks '{name}'");
    };
    format!("{head}{begin}{text}{end}{tail}")
}

/// The table of scenarios of a run. Languages that did not run keep what the document says of them.
#[must_use]
pub fn table(columns: &[Column], document: &str) -> String {
    let known = Known::read(part(document, SCENARIOS).unwrap_or_default());
    let mut text = String::from("\n| |");
    for language in LANGUAGES {
        let _ = write!(text, " {} |", language.name);
    }
    text.push_str("\n|---|");
    LANGUAGES.iter().for_each(|_| text.push_str("---|"));
    text.push('\n');
    let mut notes: Vec<&'static str> = Vec::new();
    let mut area = "";
    for (number, scenario) in scenarios().iter().enumerate() {
        if scenario.area != area {
            area = scenario.area;
            let _ = write!(text, "| **{area}** |");
            LANGUAGES.iter().for_each(|_| text.push_str(" |"));
            text.push('\n');
        }
        let _ = write!(text, "| {} |", scenario.name);
        for language in LANGUAGES {
            let column = columns.iter().find(|column| column.language == language.name);
            let outcome = column.and_then(|column| column.outcomes.get(number));
            let lack = language.lack(scenario.name);
            let sign = match outcome {
                Some(Outcome::Works) => "✓".to_owned(),
                Some(Outcome::Fails(_)) => "✗".to_owned(),
                _ if lack.is_some() => lack.map(|lack| note(&mut notes, lack)).unwrap_or_default(),
                _ => known.sign(language.name, scenario.name),
            };
            let _ = write!(text, " {sign} |");
        }
        text.push('\n');
    }
    text.push('\n');
    for (index, note) in notes.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}", index + 1);
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    text
}

/// What went wrong, one line each.
#[must_use]
pub fn failures(columns: &[Column]) -> Vec<String> {
    let mut failures = Vec::new();
    for column in columns {
        for (scenario, outcome) in scenarios().iter().zip(&column.outcomes) {
            if let Outcome::Fails(how) = outcome {
                let how = how.replace('\n', " ");
                failures.push(format!("{}: {}: {how}", column.language, scenario.name));
            }
        }
    }
    failures
}

/// The number of a reason, written as a sign.
fn note(notes: &mut Vec<&'static str>, reason: &'static str) -> String {
    let index = notes.iter().position(|note| *note == reason).unwrap_or_else(|| {
        notes.push(reason);
        notes.len() - 1
    });
    format!("– ({})", index + 1)
}

impl Known {
    fn read(table: &str) -> Self {
        let cells = |line: &str| -> Vec<String> {
            let line = line.trim().trim_start_matches('|').trim_end_matches('|');
            line.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let mut lines = table.lines().filter(|line| line.starts_with('|'));
        let languages = lines.next().map(cells).unwrap_or_default();
        let rows = lines.map(|line| {
            let cells = cells(line);
            (cells.first().cloned().unwrap_or_default(), cells)
        });
        Self { languages, rows: rows.collect() }
    }

    fn sign(&self, language: &str, scenario: &str) -> String {
        let column = self.languages.iter().position(|name| name == language);
        let row = self.rows.iter().find(|(name, _)| name == scenario);
        let sign = column.zip(row).and_then(|(column, (_, cells))| cells.get(column).cloned());
        sign.unwrap_or_else(|| "?".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(outcome: &Outcome) -> Column {
        let outcomes = vec![outcome.clone(); scenarios().len()];
        Column { language: LANGUAGES[0].name, outcomes }
    }

    #[test]
    fn a_run_writes_its_own_columns_and_leaves_the_others() {
        let empty = "a\n<!-- scenarios -->\n<!-- end of scenarios -->\nb\n";
        let first = table(&[column(&Outcome::Works)], empty);
        let document = with_part(empty, SCENARIOS, &first);
        assert!(document.starts_with("a\n<!-- scenarios -->\n\n| | Rust |"), "{document}");
        assert!(document.ends_with("<!-- end of scenarios -->\nb\n"), "{document}");
        assert_eq!(table(&[], &document), first, "nothing ran, nothing changes");
        let failed = table(&[column(&Outcome::Fails("x".into()))], &document);
        assert!(failed.contains("| JSON values | ✗ |"), "{failed}");
    }

    #[test]
    fn names_of_scenarios_are_unique_and_lacks_name_them() {
        let names: Vec<&str> = scenarios().iter().map(|scenario| scenario.name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "two scenarios are called '{name}'");
            assert!(!name.contains('|'));
        }
        for language in LANGUAGES {
            for (name, _) in language.lacks {
                assert!(names.contains(name), "{} lacks '{name}', which is none", language.name);
            }
        }
    }
}
