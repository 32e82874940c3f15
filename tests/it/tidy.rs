//! The house rules that a machine can check: layers, names, first lines, words that may not be left behind.
//!
//! Each test is one rule and reports every place that breaks it. The rules read text, not syntax trees:
//! comments are cut off first, which is exact enough for code that rustfmt has been over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tests::tree;

/// Words are put together here, so that this file does not find itself.
const PAUSE_CALL: &str = concat!("sle", "ep(");
const IGNORED: &str = concat!("#[ign", "ore");
const LEFT_OVERS: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplem", "ented!"),
];

/// Names that say a kind, not a concept.
const BANNED_NAMES: [&str; 9] =
    ["utils", "util", "helpers", "helper", "types", "common", "misc", "shared", "mod"];

/// A file of the repository.
struct File {
    /// Path from the top.
    path: PathBuf,
    text: String,
}

fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// All files with one of these endings.
fn files(endings: &[&str]) -> Vec<File> {
    let top = tree::top();
    tree::files(top)
        .into_iter()
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            endings.iter().any(|ending| name.ends_with(ending))
        })
        .map(|path| File {
            text: tree::read(&path),
            path: path.strip_prefix(top).unwrap().to_owned(),
        })
        .collect()
}

fn host_files() -> Vec<File> {
    files(&[".rs"]).into_iter().filter(|file| file.path.starts_with("host/src")).collect()
}

/// Code with its line numbers: no comments, no blank lines.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.split("// ").next().unwrap_or(line);
        let comment = line.trim_start().starts_with("//") || line.trim().is_empty();
        (!comment).then_some((index + 1, line))
    })
}

/// The lines with test code: all in test files, else what follows `mod tests {`.
fn test_code(file: &File) -> Vec<(usize, &str)> {
    let name = file.path.file_name().unwrap();
    let whole = file.path.starts_with("tests/it") || file.path.starts_with("tests/src");
    if whole || name == "tests.rs" || file.path.components().any(|part| part.as_os_str() == "tests")
    {
        return code(&file.text).collect();
    }
    code(&file.text).skip_while(|(_, line)| !line.contains("mod tests {")).collect()
}

/// `host/layers.txt`: module → rank.
fn ranks() -> BTreeMap<String, u32> {
    let mut ranks = BTreeMap::new();
    for line in tree::read(&tree::top().join("host/layers.txt")).lines() {
        let Some((rank, modules)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let rank = rank.trim().parse().unwrap();
        ranks.extend(modules.split_whitespace().map(|module| (module.to_owned(), rank)));
    }
    ranks
}

/// The module that a file of `host/src` belongs to; `None` for the façade and the binary.
fn module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix("host/src").unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    let module = first.trim_end_matches(".rs");
    (!["lib", "main"].contains(&module)).then(|| module.to_owned())
}

/// The modules named behind `crate::` in a text, also in a group over several lines.
fn used_modules(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = code(text).map(|(_, line)| line).collect();
    let code = code.join("\n");
    let mut used = BTreeSet::new();
    for (start, _) in code.match_indices("crate::") {
        // Not the end of another word, such as `some_crate::`.
        if code[..start].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        used.extend(names_of_path(&code[start + "crate::".len()..]));
    }
    used
}

/// `a::b` → a; `{a, b::{c, d}}` → a, b.
fn names_of_path(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![if rest.starts_with('*') { "*".to_owned() } else { word(rest) }];
    };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut item_start = 0;
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(word(&group[item_start..index]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[item_start..index]));
                item_start = index + 1;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[test]
fn a_module_uses_lower_ranks_only() {
    let ranks = ranks();
    let mut broken = Vec::new();
    for file in host_files() {
        let Some(own) = module(&file.path) else { continue };
        let Some(own_rank) = ranks.get(&own) else {
            broken.push(format!("{own} has no rank in host/layers.txt"));
            continue;
        };
        for used in used_modules(&file.text).into_iter().filter(|used| *used != own) {
            match ranks.get(&used) {
                Some(rank) if rank < own_rank => {}
                Some(rank) => broken.push(format!(
                    "{}: {own} (rank {own_rank}) uses {used} (rank {rank})",
                    file.path.display()
                )),
                None => broken.push(format!("{}: crate::{used} is no module", file.path.display())),
            }
        }
    }
    report("a module uses modules of lower ranks only (host/layers.txt)", &broken);
}

#[test]
fn grouped_imports_are_understood() {
    let used =
        used_modules("use crate::{\n a::{self, B},\n c,\n};\n// crate::d\nlet x = crate::e::f;");
    assert_eq!(used.into_iter().collect::<Vec<_>>(), ["a", "c", "e"]);
}

#[test]
fn the_list_of_modules_is_in_reading_order() {
    let ranks = ranks();
    let text = tree::read(&tree::top().join("host/src/lib.rs"));
    let listed: Vec<u32> = code(&text)
        .filter_map(|(_, line)| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|rest| ranks[rest.trim_end_matches(';')])
        .collect();
    assert!(listed.is_sorted(), "host/src/lib.rs lists modules by rank, lowest first: {listed:?}");
}

#[test]
fn only_the_runtime_names_wasmtime() {
    let broken: Vec<String> = host_files()
        .iter()
        .filter(|file| module(&file.path).as_deref() != Some("runtime"))
        .flat_map(|file| {
            code(&file.text)
                // Not within a text: the logger knows the names of log targets.
                .filter(|(_, line)| {
                    ["wasmtime::", "wasmtime_wasi::"]
                        .iter()
                        .any(|name| line.contains(name) && !line.contains(&format!("\"{name}")))
                })
                .map(|(number, _)| format!("{}:{number}", file.path.display()))
        })
        .collect();
    report("only `runtime` names wasmtime", &broken);
}

#[test]
fn below_rank_five_nothing_touches_the_outside() {
    // `config` reads its own files, `clock` is where time comes from.
    let exceptions = ["config", "clock"];
    let outside = ["std::fs", "tokio::fs", "std::net", "tokio::net", "SystemTime", "std::process"];
    let ranks = ranks();
    let mut broken = Vec::new();
    for file in host_files() {
        let Some(own) = module(&file.path) else { continue };
        if ranks.get(&own).is_none_or(|rank| *rank >= 5) || exceptions.contains(&&*own) {
            continue;
        }
        for (number, line) in code(&file.text) {
            if outside.iter().any(|name| line.contains(name)) {
                broken.push(format!("{}:{number}", file.path.display()));
            }
        }
    }
    report("below rank 5: no socket, file, process or wall clock", &broken);
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let broken: Vec<String> = files(&[".rs"])
        .iter()
        // Inputs and outputs of the macro are compared line by line with what it makes of them.
        .filter(|file| {
            !file
                .path
                .components()
                .any(|part| part.as_os_str() == "fail" || part.as_os_str() == "golden")
        })
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path.display().to_string())
        .collect();
    report("the first line of a file is `//! ` and one sentence", &broken);
}

#[test]
fn names_say_a_concept() {
    let broken: Vec<String> = files(&[".rs"])
        .iter()
        .filter(|file| {
            file.path
                .with_extension("")
                .components()
                .any(|part| BANNED_NAMES.contains(&&*part.as_os_str().to_string_lossy()))
        })
        .map(|file| file.path.display().to_string())
        .collect();
    report("no mod.rs, and no module named after a kind (utils, types, common …)", &broken);
}

#[test]
fn tests_wait_for_events_not_for_time() {
    let mut broken = Vec::new();
    for file in files(&[".rs"]) {
        // Guests are programs, not tests; on a paused clock, to sleep is to say how long work takes.
        if file.path.starts_with("tests/guests") || file.text.contains("start_paused = true") {
            continue;
        }
        for (number, line) in test_code(&file) {
            if line.contains(PAUSE_CALL) {
                broken.push(format!("{}:{number}", file.path.display()));
            }
        }
    }
    report("no sleep in tests: pause the clock, or wait for an event", &broken);
}

#[test]
fn nothing_is_left_for_later() {
    let endings = [".rs", ".toml", ".js", ".wit", ".sh", ".md", "Makefile"];
    let mut broken = Vec::new();
    for file in files(&endings) {
        for (index, line) in file.text.lines().enumerate() {
            if LEFT_OVERS.iter().any(|word| line.contains(word)) || line.contains(IGNORED) {
                broken.push(format!("{}:{}: {}", file.path.display(), index + 1, line.trim()));
            }
        }
    }
    report("nothing is left for later, no test is ignored", &broken);
}

#[test]
fn lints_are_silenced_with_expect() {
    let mut broken = Vec::new();
    for file in files(&[".rs"]) {
        // The roots of this crate say once that tests may panic.
        if file.path.starts_with("tests/src") || file.path.starts_with("tests/it") {
            continue;
        }
        for (number, line) in code(&file.text) {
            let silenced = [concat!("#[al", "low("), concat!("#![al", "low(")];
            // Generated code cannot know which lints it meets.
            if silenced.iter().any(|text| line.contains(text)) && !line.contains("\"generated\"") {
                broken.push(format!("{}:{number}", file.path.display()));
            }
        }
    }
    report("lints are silenced with #[expect(…, reason = …)]", &broken);
}

#[test]
fn every_member_takes_the_workspace_lints() {
    let broken: Vec<String> = files(&["Cargo.toml"])
        .iter()
        .filter(|file| file.text.contains("[package]"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| file.path.display().to_string())
        .collect();
    report("every Cargo.toml has `[lints] workspace = true`", &broken);
}

#[test]
fn the_documents_name_files_that_exist() {
    let mut broken = Vec::new();
    for file in files(&[".md"]) {
        for name in file.text.split('`').skip(1).step_by(2).filter(|name| is_path(name)) {
            let bases = ["", "host", "host/src", "guest-sdk", "guest-sdk/src"];
            let beside = tree::top().join(file.path.parent().unwrap()).join(name);
            let exists = beside.exists()
                || bases.iter().any(|base| tree::top().join(base).join(name).exists());
            if !exists {
                broken.push(format!("{} names `{name}`", file.path.display()));
            }
        }
    }
    report("documents name files that exist", &broken);
}

/// Source files only: documents also name files of the user's.
fn is_path(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    plain
        && name.contains('/')
        && [".rs", ".wit", ".js", ".sh"].iter().any(|end| name.ends_with(end))
}

#[test]
fn every_guest_and_sample_is_used_by_a_test() {
    let texts: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|file| file.path.starts_with("tests/it"))
        .map(|file| file.text)
        .collect();
    let mut broken = Vec::new();
    for folder in ["tests/guests", "sample-services"] {
        for name in tree::folders(&tree::top().join(folder)) {
            let ways =
                [format!("\"{name}\""), format!("{folder}/{name}\""), format!("{name}.wasm")];
            if !texts.iter().any(|text| ways.iter().any(|way| text.contains(way))) {
                broken.push(format!("{folder}/{name}"));
            }
        }
    }
    report("every guest and every sample is used by a test in tests/it", &broken);
}

#[test]
fn the_readme_stays_short() {
    let lines = tree::read(&tree::top().join("README.md")).lines().count();
    assert!(lines <= 120, "README.md has {lines} lines; 120 are enough");
}

#[test]
fn no_component_is_kept_as_source() {
    let broken: Vec<String> = tree::files(tree::top())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "wasm" || ending == "cwasm"))
        .map(|path| path.display().to_string())
        .collect();
    report("components are built, not kept", &broken);
}
