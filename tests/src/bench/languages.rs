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
use crate::bench::table::{Row, Unit};
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

/// The figures as a table of ratios, for `docs/languages.md`.
fn table(all: &[Figures]) -> String {
    let Some(rust) = all.first() else { return String::new() };
    let mut text = String::from("\n| | world | size | compile |");
    KINDS.iter().filter(|kind| kind.what != "compile").for_each(|kind| {
        let _ = write!(text, " {} |", kind.what);
    });
    text.push_str("\n|---|---|---|---|---|---|---|---|\n");
    for figures in all {
        let Language { name, world, tool, .. } = figures.language;
        let bytes = std::fs::metadata(&figures.file).map_or(0, |file| file.len());
        let seconds = figures.compile.median();
        let _ = write!(
            text,
            "| {name} ({tool}) | `{world}` | {} KiB | {seconds:.2} s |",
            bytes.div_ceil(1_024)
        );
        for kind in KINDS.iter().filter(|kind| kind.what != "compile") {
            let ratio = (kind.of)(figures).ratio_to((kind.of)(rust)).median();
            let _ = write!(text, " {ratio:.2}× |");
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
