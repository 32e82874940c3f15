//! Which project is found where, and what is said when there is none.

use super::*;

fn check(files: &[&str], place: &str, expected: Result<(Language, Option<&str>, &str), &str>) {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap().join("shop");
    std::fs::create_dir(&top).unwrap();
    for file in files {
        let (path, text) = file.split_once('=').unwrap_or((file, ""));
        let path = top.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    match (detect(&top.join(place)), expected) {
        (Ok(found), Ok((language, entry, name))) => {
            assert_eq!(found.language, language);
            assert_eq!(found.entry, entry.map(|entry| top.join(entry)));
            assert_eq!(found.name, name);
            assert_eq!(found.root, top);
        }
        (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

#[test]
fn a_crate_is_rust() {
    let manifest = "Cargo.toml=[package]\nname = \"posts\"";
    let found = Ok((Language::Rust, None, "posts"));
    check(&[manifest], "", found);
    check(&[manifest], "Cargo.toml", found);
    check(&[manifest, "package.json={}"], "", found);
    check(&["Cargo.toml=[workspace]"], "", Err("a workspace"));
    check(&["Cargo.toml=[package"], "", Err("Cargo.toml"));
    check(&[manifest, "src/lib.rs"], "src/lib.rs", Err("name the folder"));
}

#[test]
fn service_files_are_javascript_or_typescript() {
    let js = Ok((Language::JavaScript, Some("posts.service.js"), "posts"));
    check(&["posts.service.js"], "posts.service.js", js);
    check(&["posts.service.js"], "", js);
    check(&["posts.service.js", "package.json={}"], "", js);
    let main = "package.json={\"main\":\"lib/users.js\"}";
    let by_main = Ok((Language::JavaScript, Some("lib/users.js"), "users"));
    check(&[main, "lib/users.js", "a.service.js"], "", by_main);
    let ts = Ok((Language::TypeScript, Some("src/posts.service.ts"), "posts"));
    check(&["package.json={}", "src/posts.service.ts"], "", ts);
    check(&["package.json={}", "src/posts.service.ts"], "src/posts.service.ts", ts);
    check(&["a.service.js", "b.service.ts"], "", Err("name one of them"));
    check(&["package.json={}"], "", Err("name the file"));
    check(&["package.json={"], "", Err("package.json"));
}

#[test]
fn modules_are_python_or_go() {
    check(&["posts.py"], "posts.py", Ok((Language::Python, Some("posts.py"), "posts")));
    check(&["posts.py"], "", Ok((Language::Python, None, "shop")));
    check(&["requirements.txt"], "", Ok((Language::Python, None, "shop")));
    check(&["go.mod"], "", Ok((Language::Go, None, "shop")));
    check(&["go.mod"], "go.mod", Ok((Language::Go, None, "shop")));
    check(&["go.mod", "main.go"], "main.go", Err("name the folder"));
}

#[test]
fn what_is_no_project_says_what_was_looked_for() {
    check(&[], "", Err("isomer new NAME"));
    check(&["a.txt"], "a.txt", Err("no service can be built of this file"));
    check(&[], "nowhere", Err("nowhere"));
}

#[test]
fn languages_are_known_by_their_flag_and_their_name() {
    assert_eq!("js".parse(), Ok(Language::JavaScript));
    assert_eq!("javascript".parse(), Ok(Language::JavaScript));
    assert_eq!(
        "cobol".parse::<Language>(),
        Err("known languages are rust, go, js, ts, python, c".into())
    );
}

#[test]
fn a_tool_that_is_missing_is_named_with_its_installation() {
    let bench = Workbench::new("/nowhere".into(), std::ffi::OsStr::new(""), |_| {});
    let tool = Language::Rust.toolchain().tools()[0];
    let error = bench.program(Language::Rust, &tool).unwrap_err();
    assert!(error.is_wrong_use());
    let text = error.to_string();
    assert!(text.starts_with("cargo is missing: Rust services need Rust 1.95 or newer"), "{text}");
    assert!(text.contains("sh.rustup.rs"), "{text}");
}
