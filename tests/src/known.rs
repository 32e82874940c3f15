//! The names of all tests of the repository, for documents that name them.

use std::collections::BTreeSet;

use crate::tree;

/// The names of all tests: `module::test` for `tests/it`, `host module::tests::test` for the host's own,
/// `sdk test` for those of the guest SDK.
#[must_use]
pub fn tests() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for path in tree::files(tree::top()) {
        let relative = path.strip_prefix(tree::top()).unwrap().to_string_lossy().into_owned();
        let Some(module) = relative.strip_suffix(".rs") else { continue };
        let prefix = if let Some(module) = module.strip_prefix("tests/it/") {
            format!("{}::", module.replace('/', "::"))
        } else if let Some(module) = module.strip_prefix("host/src/") {
            let module = module.replace('/', "::");
            let tests = if module.split("::").any(|part| part == "tests") { "" } else { "::tests" };
            format!("host {module}{tests}::")
        } else if module.starts_with("guest-sdk/") {
            "sdk ".to_owned()
        } else {
            continue;
        };
        let text = tree::read(&path);
        let names = text.lines().filter_map(|line| {
            let (_, rest) = line.trim_start().split_once("fn ")?;
            rest.split_once('(').map(|(name, _)| name)
        });
        known.extend(names.map(|name| format!("{prefix}{name}")));
    }
    known
}
