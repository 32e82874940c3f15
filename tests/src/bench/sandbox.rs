//! The innocent neighbour: how long the calls of one service take alone, and beside each hostile guest of the corpus.
//!
//! With `ISOMER_WRITE_SANDBOX=1` the table goes into `docs/sandbox.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use isomer_host::context::Caller;
use isomer_host::task;

use crate::bench::Scale;
use crate::bench::memory::settled_bytes;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Target, Unit};
use crate::corpus::{self, Effort, Innocent, Misdeed, Neighbour};
use crate::tree;

/// One call of the innocent in this time: it leaves most of the machine to the others.
const PAUSE: Duration = Duration::from_millis(2);
/// So many slices are one measurement: about a thousand calls, so that ten are slower than the p99.
const SLICES: u128 = 3;
/// Idle instances of the guest are retired by then.
const IDLE: Duration = Duration::from_millis(1_500);

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// A line for each neighbour.
    pub table: String,
    /// All of them in one line: the p99 beside them, and alone.
    pub row: Row,
}

/// Measures beside all neighbours.
pub async fn measure(scale: Scale) -> Measured {
    let calls = (scale.slice.as_millis() * SLICES / PAUSE.as_millis()).max(1);
    let effort = Effort {
        calls: usize::try_from(calls).unwrap_or(1),
        pause: PAUSE,
        misdeeds: scale.rounds.min(2),
    };
    // One run on a tiny scale stands among other tests, whose memory never settles.
    let weighs = scale.rounds > 1;
    let host = corpus::host().await;
    let caller = host.broker.caller().upgrade().unwrap();
    let mut table = HEAD.to_owned();
    let [mut ours, mut alone_all] = [const { Sample::new() }; 2];
    let mut level = weigh(weighs).await;
    for neighbour in corpus::all() {
        let alone = alone(&caller, effort).await;
        let (innocent, ends) = match &neighbour.misdeed {
            Misdeed::Call(call) => {
                let meeting = corpus::beside(&caller, call, effort).await;
                (meeting.innocent, shown(&meeting.ends))
            }
            Misdeed::File(file) => {
                let (innocent, _) = corpus::refused(&host, file, effort).await;
                (innocent, "refused".to_owned())
            }
        };
        let after = weigh(weighs).await;
        table += &line(&neighbour, &ends, &alone, &innocent, after - level);
        level = after;
        ours.push(innocent.within(0.99).as_secs_f64());
        alone_all.push(alone.within(0.99).as_secs_f64());
    }
    let row = Row {
        what: "p99 of a call beside a hostile guest".into(),
        unit: Unit::Seconds,
        ours,
        beside: Some(("alone", alone_all)),
        target: Some(Target::RatioAtMost(2.0)),
    };
    Measured { table, row }
}

const HEAD: &str = "| neighbour | its calls, and how they ended | p50 alone → beside | p99 alone → beside \
    | failed calls of the innocent | memory afterwards |\n|---|---|---|---|---|---|\n";

async fn alone(caller: &Arc<dyn Caller>, effort: Effort) -> Innocent {
    task::run(Innocent::call(Arc::clone(caller), effort)).await.unwrap()
}

/// Physical memory of this process, once it has become quiet.
async fn weigh(really: bool) -> f64 {
    if !really {
        return 0.0;
    }
    let mut pause = tokio::time::interval(IDLE);
    pause.tick().await;
    pause.tick().await;
    settled_bytes(std::process::id()).await
}

fn shown(ends: &BTreeMap<String, u64>) -> String {
    let ends: Vec<String> = ends.iter().map(|(end, count)| format!("{count} × {end}")).collect();
    ends.join(", ")
}

fn line(
    neighbour: &Neighbour,
    ends: &str,
    alone: &Innocent,
    beside: &Innocent,
    growth: f64,
) -> String {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let pair = |part: f64| {
        let (before, now) = (us(alone.within(part)), us(beside.within(part)));
        format!("{before:.0} → {now:.0} µs ({:.1}×)", now / before)
    };
    let mut line = String::new();
    let (name, failed) = (neighbour.name, beside.failed.len());
    let mib = growth / 1024.0 / 1024.0;
    let _ = writeln!(
        line,
        "| {name} | {ends} | {} | {} | {failed} | {mib:+.1} MiB |",
        pair(0.5),
        pair(0.99)
    );
    line
}

/// Writes the table into the document.
///
/// # Panics
/// When the document has no place for it.
pub fn write(table: &str, machine: &str) {
    const BEGIN: &str = "<!-- sandbox: written by make bench -->";
    const END: &str = "<!-- end of sandbox -->";
    let path = tree::top().join("docs/sandbox.md");
    let document = tree::read(&path);
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let whole = format!("{before}{BEGIN}\n\nMeasured on {machine}\n\n{table}\n{END}{after}");
    std::fs::write(path, whole).unwrap();
}
