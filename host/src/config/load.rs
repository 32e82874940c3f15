//! Putting a node's configuration together: file, environment over it, flags over both.
//!
//! The three become one tree that is read once, so a value that is put over another replaces it whole,
//! and everything that is wrong is reported together.

use std::path::{Path, PathBuf};

use crate::config::options::{self, NodeOptions};
use crate::config::problem::{Place, Problems};
use crate::config::value::{Located, Value};
use crate::config::{env, file, schema};

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
    /// Environment variables; only `MOL_…` are looked at.
    pub variables: Vec<(String, String)>,
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

/// Reads everything.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn load(sources: Sources) -> Result<NodeOptions, Problems> {
    let entries = options::entries();
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    let mut problems = Problems::default();
    let file = sources.file.and_then(|path| file::read(&path, &mut problems));
    let mut tree = file.unwrap_or_else(|| Located::table(Place::Flag("--config")));
    if !matches!(tree.value, Value::Table(_)) {
        problems.add(&tree.place, format!("the file holds {}; allowed: a table", tree.found()));
        tree = Located::table(tree.place);
    }
    tree.merge(env::read(sources.variables, &names));
    for flag in sources.flags {
        let value = Located { value: Value::Word(flag.text), place: Place::Flag(flag.flag) };
        let path: Vec<String> = flag.option.split('.').map(str::to_owned).collect();
        tree.merge(value.below(&path));
    }
    let mut node = NodeOptions::default();
    schema::read(&entries, &tree, &mut node, &mut problems);
    options::check_together(&node, &tree, &mut problems);
    problems.into_result()?;
    Ok(node)
}

#[cfg(test)]
mod tests;
