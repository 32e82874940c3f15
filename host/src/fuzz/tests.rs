//! Every target over its seeds, over what a fuzzer has found, and over damaged copies of both.

use std::path::PathBuf;

use super::*;
use crate::uid::damage::Damage;

/// Copies of each seed that are damaged, unless `ISOMER_FUZZ_COPIES` says otherwise. The fuzzer tries more; this
/// keeps targets and readers together.
const COPIES: usize = 60;

static PIECES: [&[u8]; 12] = [
    b"\0",
    b"\xff\xff\xff\xff",
    b"\r\n",
    b"\"",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"{\"a\":",
    b"\\ud800",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"**",
    b"\xf0\x9f\x98\x80",
];

/// Inputs that once broke a rule, each in a file.
fn found(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/found").join(target);
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_target_holds_over_its_seeds_what_was_found_and_damage() {
    let copies = std::env::var("ISOMER_FUZZ_COPIES").ok().and_then(|n| n.parse().ok());
    let copies = copies.unwrap_or(COPIES);
    let only = std::env::var("ISOMER_FUZZ").ok();
    let wanted = |target: &Target| only.as_ref().is_none_or(|only| only == target.name);
    for Target { name, run } in TARGETS.into_iter().filter(wanted) {
        let mut all = seeds(name);
        assert!(!all.is_empty(), "'{name}' has no seeds");
        all.extend(found(name));
        let mut damage = Damage::new(0x5eed_0007_c0ff_ee07, &PIECES);
        run(b"");
        for seed in &all {
            run(seed);
            for _ in 0..copies {
                run(&damage.copy(seed));
            }
        }
    }
}

#[test]
fn what_was_found_belongs_to_a_target() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/found");
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|target| *target.name == *name), "{name:?}");
    }
}
