//! The interoperability matrix: every transporter with every serializer, against Moleculer 0.14 and 0.15 at once.
//!
//! One of our nodes, which speaks to each in its own version, and a broker of either Moleculer share a
//! namespace of their own for each transporter and serializer. Each server is started once. What is tried is
//! in `cell`, what crosses in `values`, how each side reaches the other in `server`. The result is a document:
//! [`render`].

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::peer::Version;

mod cell;
mod server;
mod values;

use cell::{COLUMNS, Cell};
use server::{Server, TRANSPORTERS};

/// The formats, by Moleculer's names.
const SERIALIZERS: [&str; 5] = ["JSON", "JSONExt", "MsgPack", "Notepack", "CBOR"];

/// Transporters that are tried at once, and serializers of each.
const TRANSPORTERS_AT_ONCE: usize = 2;
const SERIALIZERS_AT_ONCE: usize = 3;

/// How one thing went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Works,
    /// It cannot be tried, and why.
    Absent(String),
    /// It was tried in vain, and how it ended.
    Fails(String),
}

/// One Moleculer with one serializer over one transporter.
#[derive(Clone, Debug)]
pub struct Row {
    /// Moleculer's name.
    pub transporter: &'static str,
    /// Moleculer's name.
    pub serializer: &'static str,
    /// The other side's.
    pub version: Version,
    /// One outcome for each column.
    pub outcomes: Vec<Outcome>,
}

/// Tries everything.
pub async fn run() -> Vec<Row> {
    let transporters = stream::iter(TRANSPORTERS).map(one_transporter);
    let rows = transporters.buffered(TRANSPORTERS_AT_ONCE);
    rows.collect::<Vec<_>>().await.concat()
}

async fn one_transporter(transporter: &'static str) -> Vec<Row> {
    let server = Arc::new(Server::start(transporter).await);
    let serializers = stream::iter(SERIALIZERS).map(|serializer| {
        let server = Arc::clone(&server);
        async move { Cell::new(&server, transporter, serializer).run().await }
    });
    serializers.buffered(SERIALIZERS_AT_ONCE).collect::<Vec<_>>().await.concat()
}

/// What went wrong, one line each.
#[must_use]
pub fn failures(rows: &[Row]) -> Vec<String> {
    let mut failures = Vec::new();
    for row in rows {
        for (column, outcome) in COLUMNS.iter().zip(&row.outcomes) {
            if let Outcome::Fails(how) = outcome {
                let Row { transporter, serializer, version, .. } = row;
                let version = version.name();
                failures.push(format!("{transporter} {serializer} {version} {column}: {how}"));
            }
        }
    }
    failures
}

/// The document of a run.
#[must_use]
pub fn render(rows: &[Row]) -> String {
    let mut text = String::from(HEAD);
    let mut notes: Vec<&str> = Vec::new();
    for transporter in TRANSPORTERS {
        let _ = write!(text, "\n## {transporter}\n\n| serializer | Moleculer |");
        text.extend(COLUMNS.iter().map(|column| format!(" {column} |")));
        text.push_str("\n|---|---|");
        text.extend(COLUMNS.iter().map(|_| "---|"));
        text.push('\n');
        for row in rows.iter().filter(|row| row.transporter == transporter) {
            let _ = write!(text, "| {} | {} |", row.serializer, row.version.name());
            for outcome in &row.outcomes {
                let _ = write!(text, " {} |", sign(outcome, &mut notes));
            }
            text.push('\n');
        }
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    for (index, note) in notes.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}", index + 1);
    }
    text
}

/// A sign for a cell; reasons are numbered.
fn sign<'a>(outcome: &'a Outcome, notes: &mut Vec<&'a str>) -> String {
    match outcome {
        Outcome::Works => "✓".into(),
        Outcome::Fails(_) => "✗".into(),
        Outcome::Absent(reason) => {
            let known = notes.iter().position(|note| note == reason);
            let index = known.unwrap_or_else(|| {
                notes.push(reason);
                notes.len() - 1
            });
            format!("– ({})", index + 1)
        }
    }
}

const HEAD: &str = "\
# Interoperability

Written by a test (`tests/it/matrix.rs`) from what it saw; `ISOMER_WRITE_INTEROP=1` in its environment writes it anew.

One node of ours with `protocolVersion = \"auto\"` and a broker of Moleculer JS 0.14 and of 0.15, all three on one
server and unmodified, for each serializer. ✓ stands for everything that the head says, in both directions where there
are two; values, errors with all their fields, meta and chunks are compared with what was sent.

| column | what is done |
|---|---|
| they call us, we call them | a call with params and meta of every JSON kind; the answer and its meta |
| emit, broadcast | an event each way, with its data and its kind |
| ping | each way |
| error | each way: class, message, code, type, data, node |
| stream in | they send 300,000 bytes beside a call, and as the result of one; both come whole |
| stream out | the same from us to them |
| object stream | ten objects beside a call and as the result of one, each way |
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_and_failures_told() {
        let absent = || Outcome::Absent("not yet".into());
        let mut outcomes = vec![Outcome::Works; COLUMNS.len()];
        outcomes[1] = absent();
        outcomes[2] = absent();
        outcomes[3] = Outcome::Fails("no answer".into());
        let rows =
            [Row { transporter: "NATS", serializer: "JSON", version: Version::V14, outcomes }];
        let text = render(&rows);
        assert!(text.contains("| JSON | 0.14 | ✓ | – (1) | – (1) | ✗ | ✓ |"), "{text}");
        assert!(text.ends_with("\n1. not yet\n"), "{text}");
        assert_eq!(failures(&rows), ["NATS JSON 0.14 broadcast: no answer"]);
    }
}
