//! What a service costs in each language: the conformance guests beside the one in Rust, in the same rounds.
//!
//! Languages whose tools are not on this machine are left out. With `ISOMER_WRITE_LANGUAGES` in its environment a run
//! puts its figures into `docs/languages.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isomer_host::clock;
use isomer_host::config::Mode;
use isomer_host::runtime::{Runtime, RuntimeOptions};

use crate::bench::Scale;
use crate::bench::local::LocalNode;
use crate::bench::memory::resident;
use crate::bench::sample::Sample;
use crate::bench::table::{Row, Unit, quantity};
use crate::conformance::languages::{LANGUAGES, Language};
use crate::conformance::node::SERVICE;
use crate::conformance::report;
use crate::tree;

/// Gives its params back, without looking at them.
const ECHO: &str = "conformance.echo";
/// Decodes and encodes the value of key `value`.
const ROUNDTRIP: &str = "conformance.roundtrip";
/// Most instances whose memory is measured: those of some languages are large.
const INSTANCES_MAX: usize = 20;
/// What all are held against: the first of the list.
const BESIDE: &str = "Rust";

/// The figures of one language.
struct Figures {
    language: &'static Language,
    file: PathBuf,
    echo: Sample,
    roundtrip: Sample,
    fresh: Sample,
    compile: Sample,
    memory: Sample,
}

/// One kind of figure.
struct Kind {
    what: &'static str,
    unit: Unit,
    of: fn(&Figures) -> &Sample,
}

/// What is measured, in the order of the table.
const KINDS: [Kind; 5] = [
    Kind { what: "warm call, 100 B passed on", unit: Unit::Seconds, of: |figures| &figures.echo },
    Kind {
        what: "warm call, 100 B decoded and encoded",
        unit: Unit::Seconds,
        of: |figures| &figures.roundtrip,
    },
    Kind { what: "call in a fresh instance", unit: Unit::Seconds, of: |figures| &figures.fresh },
    Kind { what: "compile", unit: Unit::Seconds, of: |figures| &figures.compile },
    Kind {
        what: "memory per idle instance after a call",
        unit: Unit::Bytes,
        of: |figures| &figures.memory,
    },
];

/// Measures every language that is here; a row for each of its figures.
///
/// # Panics
/// When a guest cannot be built, or `docs/languages.md` cannot be written.
pub async fn compare(scale: Scale) -> Vec<Row> {
    let mut all = Vec::new();
    for language in LANGUAGES.iter().take(scale.languages) {
        if let Ok(file) = language.component() {
            all.push(measure(language, file, scale).await);
        }
    }
    take_turns(&mut all, scale).await;
    write(&all);
    let Some(rust) = all.first() else { return Vec::new() };
    let rows = all.iter().flat_map(|figures| {
        KINDS.iter().map(|kind| Row {
            what: format!("{}: {}", figures.language.name, kind.what),
            unit: kind.unit,
            ours: (kind.of)(figures).clone(),
            beside: Some((BESIDE, (kind.of)(rust).clone())),
            target: None,
        })
    });
    rows.collect()
}

/// What is measured once and is not about turns: compiling and memory.
async fn measure(language: &'static Language, file: PathBuf, scale: Scale) -> Figures {
    let compile = [compile(&file).await].into_iter().collect();
    let n_more = scale.instances.min(INSTANCES_MAX);
    let (one, many) =
        (resident(SERVICE, &file, 1).await, resident(SERVICE, &file, 1 + n_more).await);
    let per_instance = (many[1] - one[1]) / f64::from(u32::try_from(n_more).unwrap_or(1));
    let memory = [per_instance].into_iter().collect();
    let [echo, roundtrip, fresh] = [const { Sample::new() }; 3];
    Figures { language, file, echo, roundtrip, fresh, compile, memory }
}

/// Calls of all languages by turns.
async fn take_turns(all: &mut [Figures], scale: Scale) {
    let mut nodes = Vec::new();
    for figures in all.iter() {
        let warm = LocalNode::start(&figures.file, Mode::Pooled).await;
        nodes.push((warm, LocalNode::start(&figures.file, Mode::Fresh).await));
    }
    for _ in 0..scale.rounds {
        for (figures, (warm, fresh)) in all.iter_mut().zip(&nodes) {
            figures.echo.push(warm.sequence_on(ECHO, scale.slice).await);
            figures.roundtrip.push(warm.sequence_on(ROUNDTRIP, scale.slice).await);
            figures.fresh.push(fresh.sequence_on(ECHO, scale.slice).await);
        }
    }
}

/// Seconds from a component to code that can be run, with an empty cache.
async fn compile(file: &Path) -> f64 {
    let cache = tempfile::tempdir().unwrap();
    let options = RuntimeOptions::new(cache.path().join("cache"), Arc::from("bench"));
    let runtime = Runtime::new(options).unwrap();
    let begin = clock::now();
    runtime.load(file).await.unwrap();
    begin.elapsed().as_secs_f64()
}

/// The figures as a table for `docs/languages.md`: those of the first language, and ratios to them.
fn table(all: &[Figures]) -> String {
    let Some(first) = all.first() else { return String::new() };
    let mut text = String::from("\n| | world | size |");
    KINDS.iter().for_each(|kind| {
        let _ = write!(text, " {} |", kind.what);
    });
    text.push_str("\n|---|---|---|");
    text.push_str(&"---|".repeat(KINDS.len()));
    text.push('\n');
    for figures in all {
        let Language { name, world, tool, .. } = figures.language;
        let bytes = std::fs::metadata(&figures.file).map_or(0, |file| file.len());
        let _ = write!(text, "| {name} ({tool}) | `{world}` | {} KiB |", bytes.div_ceil(1_024));
        for kind in &KINDS {
            let own = (kind.of)(figures);
            let shown = match figures.language.name == first.language.name {
                true => quantity(own.median(), kind.unit),
                false => format!("{:.2}×", own.ratio_to((kind.of)(first)).median()),
            };
            let _ = write!(text, " {shown} |");
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

fn write(all: &[Figures]) {
    if std::env::var_os("ISOMER_WRITE_LANGUAGES").is_none() || cfg!(debug_assertions) {
        return;
    }
    let path = tree::top().join("docs/languages.md");
    let document = report::with_part(&tree::read(&path), report::FIGURES, &table(all));
    std::fs::write(&path, document).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(language: usize, seconds: f64) -> Figures {
        let sample = |value: f64| [value].into_iter().collect::<Sample>();
        Figures {
            language: &LANGUAGES[language],
            file: PathBuf::from("none.wasm"),
            echo: sample(seconds),
            roundtrip: sample(seconds),
            fresh: sample(seconds),
            compile: sample(1.5),
            memory: sample(2_048.0),
        }
    }

    #[test]
    fn the_table_has_the_figures_of_the_first_and_ratios_to_them() {
        let document = tree::read(&tree::top().join("docs/languages.md"));
        let text = table(&[figures(0, 2e-6), figures(2, 5e-6)]);
        let written = report::with_part(&document, report::FIGURES, &text);
        assert_eq!(report::part(&written, report::FIGURES), Some(&*text));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].matches('|').count(), lines[2].matches('|').count(), "{text}");
        let first = "| Rust (cargo) | `service` | 0 KiB | 2.00 µs | 2.00 µs | 2.00 µs | 1500.0 ms | 2 KiB |";
        assert_eq!(lines[3], first);
        let second = "| C (Zig) | `service` | 0 KiB | 2.50× | 2.50× | 2.50× | 1.00× | 1.00× |";
        assert_eq!(lines[4], second);
    }
}
