//! New projects: the files of `guest-sdk/LANGUAGE/template`, with the name of the service put in.
//!
//! In names and contents of files, `{{name}}` is the name and `{{Name}}` the same as a type is written
//! (`blog-posts` → `BlogPosts`). An ending `.in` of a file name is dropped: it keeps tools of the repository
//! from taking a template for the real thing.

use std::path::{Path, PathBuf};

use super::{Error, Language, sdk};

/// Longest name of a project: it becomes the name of a service, a crate, a package and a file.
pub const NAME_LEN_MAX: usize = 64;

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be the name of a service and of a package in every language.
    #[error(
        "'{0}' cannot be the name of a service; begin with a small letter and use small letters, digits \
         and '-' after that, such as blog-posts"
    )]
    Name(String),
    /// There is something already.
    #[error("{} is there already and is not empty; choose another name, or another folder with --dir", .0.display())]
    Exists(PathBuf),
    /// Files cannot be written.
    #[error(transparent)]
    Write(#[from] Error),
}

/// The folder of the repository with the template of a language.
fn folder(language: Language) -> &'static str {
    match language {
        Language::Rust => "guest-sdk/rust/template/",
        Language::JavaScript => "guest-sdk/js/template/",
        Language::TypeScript => "guest-sdk/js/template-ts/",
        Language::Python => "guest-sdk/python/template/",
        Language::Go => "guest-sdk/go/template/",
        Language::C => "guest-sdk/c/template/",
    }
}

/// Makes a project in a folder that is not there yet, or empty. Gives the files, in order.
///
/// # Errors
/// [`Fault`]; nothing was written then, unless it is [`Fault::Write`].
pub fn create(language: Language, name: &str, dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    check_name(name)?;
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(Fault::Exists(dir.to_owned()));
    }
    let mut written = Vec::new();
    for (path, content) in sdk::files_below(folder(language)) {
        let path = filled(path.strip_suffix(".in").unwrap_or(path), name);
        let target = dir.join(&path);
        let parent = target.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).map_err(Error::at(parent))?;
        let content = match std::str::from_utf8(content) {
            Ok(text) => filled(text, name).into_bytes(),
            Err(_) => content.to_vec(),
        };
        std::fs::write(&target, content).map_err(Error::at(&target))?;
        written.push(PathBuf::from(path));
    }
    Ok(written)
}

fn check_name(name: &str) -> Result<(), Fault> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good =
        begins && name.len() <= NAME_LEN_MAX && name.chars().all(plain) && !name.ends_with('-');
    if good { Ok(()) } else { Err(Fault::Name(name.to_owned())) }
}

fn filled(text: &str, name: &str) -> String {
    text.replace("{{name}}", name).replace("{{Name}}", &type_name(name))
}

/// `blog-posts` → `BlogPosts`.
fn type_name(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_suits_services_and_packages_of_every_language() {
        for name in ["a", "posts", "blog-posts", "v2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(NAME_LEN_MAX + 1);
        for name in
            ["", "-a", "a-", "2a", "Posts", "a.b", "a_b", "a b", "../a", "$node", "ä", &long]
        {
            assert!(matches!(check_name(name), Err(Fault::Name(_))), "{name}");
        }
        assert!(check_name(&"a".repeat(NAME_LEN_MAX)).is_ok());
    }

    #[test]
    fn names_are_put_into_files_and_their_names() {
        assert_eq!(
            filled("{{name}}.rs: struct {{Name}};", "blog-posts"),
            "blog-posts.rs: struct BlogPosts;"
        );
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine"), "").unwrap();
        let there = create(Language::Rust, "posts", dir.path());
        assert!(matches!(there, Err(Fault::Exists(_))));
        let empty = dir.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let files = create(Language::Rust, "posts", &empty).unwrap();
        assert!(files.contains(&PathBuf::from("Cargo.toml")), "{files:?}");
    }

    #[test]
    fn templates_have_a_readme_and_no_places_left_open() {
        for language in Language::ALL {
            let dir = tempfile::tempdir().unwrap();
            let files = create(language, "blog-posts", dir.path()).unwrap();
            for name in ["README.md", ".gitignore"] {
                assert!(files.contains(&PathBuf::from(name)), "{language:?}: {files:?}");
            }
            for file in files {
                let text = std::fs::read_to_string(dir.path().join(&file)).unwrap();
                assert!(!text.contains("{{"), "{language:?} {}", file.display());
            }
        }
    }
}
