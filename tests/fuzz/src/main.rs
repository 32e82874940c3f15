//! One program for all targets of `isomer_host::fuzz`: the variable `ISOMER_FUZZ` names the target, and
//! `ISOMER_FUZZ_CORPUS` a folder that its seeds are written to before it begins.
//!
//! Without the coverage that `tests/scripts/fuzz.sh` adds, the host has no targets and this only says so.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
use std::sync::OnceLock;

#[cfg(fuzzing)]
use isomer_host::fuzz::{TARGETS, Target, seeds};

#[cfg(fuzzing)]
static TARGET: OnceLock<Target> = OnceLock::new();

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(data);
    }
});

#[cfg(fuzzing)]
#[expect(clippy::panic, reason = "a fuzzer without a target has nothing to do")]
fn choose() {
    let name = std::env::var("ISOMER_FUZZ").unwrap_or_default();
    let Some(target) = TARGETS.into_iter().find(|target| target.name == name) else {
        let names = TARGETS.map(|target| target.name).join(" ");
        panic!("ISOMER_FUZZ must be one of: {names}");
    };
    if let Ok(folder) = std::env::var("ISOMER_FUZZ_CORPUS") {
        let written = std::fs::create_dir_all(&folder).and_then(|()| {
            let mut all = seeds(target.name).into_iter().enumerate();
            all.try_for_each(|(n, seed)| std::fs::write(format!("{folder}/seed-{n}"), seed))
        });
        if let Err(error) = written {
            panic!("{folder}: {error}");
        }
    }
    TARGET.get_or_init(|| target);
}

#[cfg(not(fuzzing))]
fn main() -> Result<(), String> {
    Err("this is built by tests/scripts/fuzz.sh".into())
}
