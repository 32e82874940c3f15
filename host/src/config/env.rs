//! Options from the environment: `MOL_REQUEST_TIMEOUT`, `MOL_TRACKING__ENABLED`; or `REQUESTTIMEOUT`,
//! `TRACKING_ENABLED`.
//!
//! As in Moleculer's runner (moleculer: src/runner.js normalizeEnvValue, overwriteFromEnv), after the prefix
//! `__` goes one level down and `_` joins words; without the prefix the letters of a name are all there is,
//! and `_` stands for its dots. Unlike there, `TRUE` is true, and a name after the prefix that means nothing
//! is an error.

use crate::config::problem::Place;
use crate::config::value::Located;

/// The prefix of Moleculer's variables.
pub const PREFIX: &str = "MOL_";

/// The tree of the variables without the prefix that are `names` of options, in capitals and with `_` for
/// their dots. Other variables are other programs' business; so are empty ones, as for Moleculer.
pub fn read_plain(variables: &[(String, String)], names: &[&str]) -> Located {
    let mut tree = Located::table(Place::Variable(format!("{PREFIX}…")));
    for name in names {
        let wanted = plain_variable_of(name);
        let found =
            variables.iter().find(|(variable, text)| *variable == wanted && !text.is_empty());
        if let Some((variable, text)) = found {
            let value = Located::word(text.clone(), Place::Variable(variable.clone()));
            tree.put_absent(name, value);
        }
    }
    tree
}

/// The variable without the prefix of an option.
#[must_use]
pub fn plain_variable_of(name: &str) -> String {
    name.replace('.', "_").to_ascii_uppercase()
}

/// The tree of the variables that begin with [`PREFIX`]. `names` are the dotted names of the options: a
/// variable finds its option whatever the case of its letters, so that `MOL_NODE_ID` is `nodeID`.
pub fn read(variables: impl IntoIterator<Item = (String, String)>, names: &[&str]) -> Located {
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && name.len() > PREFIX.len())
        .collect();
    // `MOL_TRANSPORTER` before `MOL_TRANSPORTER__TYPE`, whatever order the system lists them in.
    variables.sort();
    let mut tree = Located::table(Place::Variable(format!("{PREFIX}…")));
    for (name, text) in variables {
        let path = path_of(name.strip_prefix(PREFIX).unwrap_or_default(), names);
        let value = Located::word(text, Place::Variable(name));
        tree.merge(value.below(&path));
    }
    tree
}

/// The path of keys that a variable names.
fn path_of(variable: &str, names: &[&str]) -> Vec<String> {
    let mut path: Vec<String> = variable.split("__").map(camel_case).collect();
    let spelled = names.iter().find_map(|name| {
        let keys: Vec<&str> = name.split('.').collect();
        let common = keys.iter().zip(&path).take_while(|(key, given)| same(key, given)).count();
        // A whole option (with a free part below it), or the table that options are in.
        (common > 0 && (common == keys.len() || common == path.len())).then_some((keys, common))
    });
    if let Some((keys, common)) = spelled {
        for (given, key) in path.iter_mut().zip(keys).take(common) {
            key.clone_into(given);
        }
    }
    path
}

fn same(key: &str, given: &str) -> bool {
    key.eq_ignore_ascii_case(given)
}

/// `REQUEST_TIMEOUT` → `requestTimeout`.
fn camel_case(words: &str) -> String {
    let mut name = String::with_capacity(words.len());
    for word in words.split('_').filter(|word| !word.is_empty()) {
        let lower = word.to_ascii_lowercase();
        if name.is_empty() {
            name = lower;
        } else {
            let mut chars = lower.chars();
            name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
            name.push_str(chars.as_str());
        }
    }
    name
}

/// The variable of an option.
#[must_use]
pub fn variable_of(name: &str) -> String {
    let mut variable = String::from(PREFIX);
    let mut previous_lower = false;
    for c in name.chars() {
        if c == '.' {
            variable.push_str("__");
        } else {
            if c.is_ascii_uppercase() && previous_lower {
                variable.push('_');
            }
            variable.push(c.to_ascii_uppercase());
        }
        previous_lower = c.is_ascii_lowercase();
    }
    variable
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["nodeID", "requestTimeout", "tracking.shutdownTimeout", "metadata"];

    #[test]
    fn a_variable_finds_its_option() {
        let check = |variable: &str, expected: &str| {
            assert_eq!(path_of(variable, &NAMES).join("."), expected);
        };
        check("REQUEST_TIMEOUT", "requestTimeout");
        check("NODE_ID", "nodeID");
        check("NODEID", "nodeID");
        check("TRACKING__SHUTDOWN_TIMEOUT", "tracking.shutdownTimeout");
        check("METADATA__REGION_NAME", "metadata.regionName");
        check("REQUEST_TIMEOT", "requestTimeot");
    }

    #[test]
    fn every_name_has_a_variable_that_finds_it() {
        for name in NAMES {
            let variable = variable_of(name);
            let path = path_of(variable.strip_prefix(PREFIX).unwrap(), &NAMES);
            assert_eq!(path.join("."), name, "{variable}");
        }
    }
}
