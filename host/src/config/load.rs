//! Putting a node's configuration together: file, environment over it, flags over both.
//!
//! Each becomes a tree in today's names (`older`); the trees become one, which is read once. So a value that
//! is put over another replaces it whole, and everything that is wrong is reported together.

use std::path::{Path, PathBuf};

use crate::config::effective::{self, Effective};
use crate::config::options::{self, NodeOptions};
use crate::config::problem::{Place, Problem, Problems};
use crate::config::schema::{self, Entry};
use crate::config::value::{Located, Value};
use crate::config::{env, file, names, older, surroundings};

/// Files that are looked for in the working directory, in this order.
pub const DEFAULT_FILES: [&str; 3] = ["isomer.toml", "isomer.json", "moleculer.config.json"];

/// A flag that was given: the option's name, the flag as it was written, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Dotted name of the option.
    pub option: &'static str,
    /// With its dashes.
    pub flag: &'static str,
    /// Its value.
    pub text: String,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; `None` when there is none.
    pub file: Option<PathBuf>,
    /// Environment variables.
    pub variables: Vec<(String, String)>,
    /// Options that were given by name, with `--set`.
    pub settings: Vec<(String, String)>,
    /// Flags that stand for options.
    pub flags: Vec<Flag>,
}

/// The configuration file of a directory, when it has one.
#[must_use]
pub fn default_file(dir: &Path) -> Option<PathBuf> {
    let present = DEFAULT_FILES.into_iter().find(|name| dir.join(name).is_file())?;
    // The working directory is shown as people write it: `isomer.toml`, not `./isomer.toml`.
    Some(if dir == Path::new(".") { PathBuf::from(present) } else { dir.join(present) })
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The options.
    pub options: NodeOptions,
    /// What should be written otherwise, though it is no mistake.
    pub warnings: Vec<Problem>,
    /// What was written, all sources together, in today's names.
    tree: Located,
}

impl Configuration {
    /// Every option with its value and origin, without secrets.
    #[must_use]
    pub fn effective(&self) -> Vec<Effective> {
        effective::list(&options::entries(), &self.tree)
    }
}

/// Reads everything.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn load(sources: Sources) -> Result<Configuration, Problems> {
    let mut problems = Problems::default();
    let file = sources.file.as_deref().and_then(|path| file::read(path, &mut problems));
    assemble(file, sources, problems)
}

/// Reads the text of a configuration file as if it were the only source; see `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(crate) fn load_text(path: &Path, text: &str) -> Result<Configuration, Problems> {
    let mut problems = Problems::default();
    let file = file::parse(path, text, &mut problems);
    assemble(file, Sources::default(), problems)
}

fn assemble(
    file: Option<Located>,
    sources: Sources,
    mut problems: Problems,
) -> Result<Configuration, Problems> {
    let entries = options::entries();
    let mut tree = Located::table(Place::Flag("--config"));
    let variables = sources.variables.clone();
    for source in trees(file, sources, &entries, &mut problems) {
        tree.merge(source);
    }
    complete(&mut tree);
    surroundings::fill(&mut tree, &variables);
    let mut options = NodeOptions::default();
    schema::read(&entries, &names::ANSWERED, &tree, &mut options, &mut problems);
    options::finish(&mut options);
    options::check_together(&options, &tree, &mut problems);
    let warnings = problems.into_result()?;
    Ok(Configuration { options, warnings, tree })
}

/// The tree of each source, later ones over earlier ones, in today's names.
fn trees(
    file: Option<Located>,
    sources: Sources,
    entries: &[Entry<NodeOptions>],
    problems: &mut Problems,
) -> Vec<Located> {
    let names: Vec<&str> = entries
        .iter()
        .map(|entry| entry.name)
        .chain(names::ANSWERED.iter().map(|answered| answered.name))
        .chain(older::names())
        .collect();
    // Only Moleculer's options are read without the prefix: its runner does that, and names such as
    // LIMITS_MODE may well be another program's.
    let plain: Vec<&str> = names.iter().copied().filter(|name| !is_own(name)).collect();
    let mut trees = vec![
        file.and_then(|tree| file_tree(tree, problems)),
        Some(env::read_plain(&sources.variables, &plain)),
        Some(env::read(sources.variables, &names)),
        Some(flag_tree(sources.flags, sources.settings)),
    ];
    for tree in trees.iter_mut().flatten() {
        older::rewrite(tree, problems);
    }
    let profile = profile(&trees);
    profile.into_iter().chain(trees.into_iter().flatten()).collect()
}

/// Options that Moleculer does not have.
fn is_own(name: &str) -> bool {
    let own = [
        "limits.",
        "cacheDir",
        "stateDir",
        "compile.",
        "controlSocket",
        "coreDumps.",
        "compat",
        "localOnlyDollarEvents",
        "middlewareDir",
        "protocolVersion",
    ];
    own.iter().any(|start| name.starts_with(start))
}

fn file_tree(tree: Located, problems: &mut Problems) -> Option<Located> {
    if !matches!(tree.value, Value::Table(_)) {
        problems.add(&tree.place, format!("the file holds {}; allowed: a table", tree.found()));
        return None;
    }
    Some(tree)
}

fn flag_tree(flags: Vec<Flag>, settings: Vec<(String, String)>) -> Located {
    let mut tree = Located::table(Place::Flag("--set"));
    let settings = settings.into_iter().map(|(name, text)| {
        let place = Place::Set(name.clone());
        (name, text, place)
    });
    let flags =
        flags.into_iter().map(|flag| (flag.option.to_owned(), flag.text, Place::Flag(flag.flag)));
    for (name, text, place) in settings.chain(flags) {
        let path: Vec<String> = name.split('.').map(str::to_owned).collect();
        tree.merge(Located::word(text, place).below(&path));
    }
    tree
}

/// The defaults of an earlier Moleculer, below everything else (moleculer 0.12: src/service-broker.js).
fn profile(trees: &[Option<Located>]) -> Option<Located> {
    let given = trees.iter().flatten().rev().find_map(|tree| tree.find("compat"))?;
    let wanted = given.as_text() == Some("0.12") || given.as_number() == Some(0.12);
    wanted.then(|| {
        Located::from_json(older::defaults_of_0_12(), &Place::Profile("compat = \"0.12\""))
    })
}

/// What is given by giving something else.
fn complete(tree: &mut Located) {
    // moleculer: src/cachers/index.js resolve: a table without a type is a Memory cacher.
    if let Some(cacher @ Located { value: Value::Table(_), .. }) = tree.find("cacher") {
        let kind = Located { value: Value::Text("Memory".into()), place: cacher.place.clone() };
        tree.put_absent("cacher.type", kind);
    }
}

#[cfg(test)]
mod tests;
