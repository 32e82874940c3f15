//! The projects of an application, side by side: those of one folder, for verbs that work on several at once.
//!
//! A folder that is a project itself stands for that alone; else its direct folders are asked. What is not here:
//! how a language knows its projects ([`Toolchain::detect`](super::Toolchain::detect)).

use std::path::Path;

use super::{Error, Language, Project, is_of_tools, nothing_in};

/// What was found in a place.
#[derive(Debug)]
pub struct Projects {
    /// At least one.
    pub found: Vec<Project>,
    /// Folders that look like a project of some language but cannot be built as they are, and why.
    pub left_out: Vec<Error>,
}

/// Finds all projects of a place: the one that a file or folder is, the service files of a folder, or the projects
/// in its folders.
///
/// # Errors
/// [`Error::NoProject`] with what was looked for.
pub fn projects(place: &Path) -> Result<Projects, Error> {
    let absolute =
        place.canonicalize().map_err(|error| Error::no_project(place, error.to_string()))?;
    let own = of(&absolute)?;
    if !own.is_empty() {
        return Ok(Projects { found: own, left_out: Vec::new() });
    }
    let mut all = Projects { found: Vec::new(), left_out: Vec::new() };
    for folder in folders(&absolute) {
        match of(&folder) {
            Ok(found) => all.found.extend(found),
            Err(error) => all.left_out.push(error),
        }
    }
    match all.found.is_empty() {
        // With one folder only, its error says more than that there is nothing.
        true => Err(all.left_out.pop().unwrap_or_else(|| nothing_in(place, &absolute))),
        false => Ok(all),
    }
}

/// The projects that a place is itself; in the order of the languages, the first has it.
fn of(absolute: &Path) -> Result<Vec<Project>, Error> {
    for language in Language::ALL {
        let found = language.toolchain().detect_several(absolute)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The folders directly in a folder, in order.
fn folders(place: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| !is_of_tools(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and languages of what is found, and what is left out.
    type Seen = (Vec<(String, &'static str)>, Vec<String>);

    /// What is seen in a folder with these files.
    fn seen(files: &[&str]) -> Result<Seen, String> {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let (path, text) = file.split_once('=').unwrap_or((file, ""));
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let all = projects(dir.path()).map_err(|error| error.to_string())?;
        let named = |project: Project| (project.name, project.language.flag());
        let left_out = all.left_out.iter().map(ToString::to_string).collect();
        Ok((all.found.into_iter().map(named).collect(), left_out))
    }

    #[test]
    fn the_projects_of_a_folder_are_found_in_order() {
        let files = [
            "web/package.json={}",
            "users/go.mod",
            "posts/Cargo.toml=[package]\nname = \"blog\"",
            "target/old/Cargo.toml=[package]",
            ".hidden/go.mod",
            "docs/a.md",
            "mail.txt",
        ];
        let (found, left_out) = seen(&files).unwrap();
        assert_eq!(found, [("blog".into(), "rust"), ("users".into(), "go")]);
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].contains("web: it has no *.service.js"), "{left_out:?}");
    }

    #[test]
    fn service_files_of_a_folder_are_a_project_each() {
        let files = ["package.json={}", "services/a.service.js", "services/b.service.ts"];
        let (found, _) = seen(&files).unwrap();
        assert_eq!(found, [("a".into(), "js"), ("b".into(), "ts")]);
        let (found, _) = seen(&["shop/a.service.js", "shop/b.service.js", "c/c.py"]).unwrap();
        assert_eq!(found, [("c".into(), "python"), ("a".into(), "js"), ("b".into(), "js")]);
    }

    #[test]
    fn a_folder_that_is_a_project_stands_for_that_alone() {
        let main = "package.json={\"main\":\"a.service.js\"}";
        let (found, _) = seen(&[main, "a.service.js", "b.service.js", "c/go.mod"]).unwrap();
        assert_eq!(found, [("a".into(), "js")]);
    }

    #[test]
    fn a_folder_without_any_says_why() {
        assert!(seen(&["docs/a.md"]).unwrap_err().contains("no service here"));
        assert!(seen(&["web/package.json={}"]).unwrap_err().contains("name the file"));
    }
}
