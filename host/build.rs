//! Lists what becomes part of the binary: SDKs, templates and the WIT package (`src/toolchain/sdk.rs`).
//!
//! Only what belongs to the sources counts: folders that tools make beside them are left out, which no crate
//! for embedding does without bringing more crates than this has lines.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Folders of the repository.
const FOLDERS: [&str; 2] = ["guest-sdk", "wit"];
/// Names of what tools leave, and of tests, at any depth.
const LEFT_OUT: [&str; 7] =
    ["node_modules", "target", "build", "dist", "__pycache__", ".venv", ".isomer"];
/// Folders with tests of the SDKs; those of templates belong to the templates.
const TESTS: [&str; 6] = [
    "guest-sdk/tests",
    "guest-sdk/macros/tests",
    "guest-sdk/js/test",
    "guest-sdk/js/tests",
    "guest-sdk/python/tests",
    "guest-sdk/go/tests",
];

fn main() -> Result<(), Box<dyn Error>> {
    let top = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("..").canonicalize()?;
    let mut files = Vec::new();
    for folder in FOLDERS {
        // The whole folder, so that a file which is added is noticed as well.
        println!("cargo:rerun-if-changed={}", top.join(folder).display());
        walk(&top, &top.join(folder), &mut files)?;
    }
    files.sort();
    let mut list = String::from("[\n");
    for file in &files {
        let path = file.display();
        writeln!(
            list,
            "    ({:?}, include_bytes!({path:?})),",
            file.strip_prefix(&top)?.display().to_string()
        )?;
    }
    list.push_str("]\n");
    println!("cargo:rerun-if-changed=build.rs");
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("embedded.rs"), list)?;
    Ok(())
}

fn walk(top: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_test = path
            .strip_prefix(top)
            .is_ok_and(|path| TESTS.iter().any(|test| path == Path::new(test)));
        if LEFT_OUT.contains(&&*name) || is_test || name.ends_with(".wasm") {
            continue;
        }
        if path.is_dir() {
            walk(top, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
