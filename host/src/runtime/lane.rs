//! An engine with what belongs to it: the linker of its worlds, and its part of the cache's keys.

use std::hash::{Hash as _, Hasher as _};

use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::runtime::engine::{self, Flavour};
use crate::runtime::host_imports;
use crate::runtime::state::State;

/// What components of some worlds are compiled for and linked with.
pub(super) struct Lane {
    pub engine: Engine,
    pub linker: Linker<State>,
    /// What engine and program add to the key of a compiled component.
    compatibility: String,
}

impl Lane {
    pub(super) fn new(flavour: Flavour, stack: usize, core_dumps: bool) -> wasmtime::Result<Self> {
        let engine = engine::new(flavour, stack, core_dumps)?;
        let mut linker = Linker::new(&engine);
        match flavour {
            Flavour::Plain => host_imports::add_to_linker(&mut linker)?,
            Flavour::Asynchronous => host_imports::add_async_to_linker(&mut linker)?,
        }
        let compatibility = compatibility(&engine);
        Ok(Self { engine, linker, compatibility })
    }

    /// The key of a component in the cache.
    pub(super) fn key(&self, sha256: &str) -> String {
        format!("{sha256}-{}", self.compatibility)
    }
}

/// What makes compiled code of one engine unusable in another.
fn compatibility(engine: &Engine) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}-{}", hasher.finish(), env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_code_of_one_engine_is_not_found_by_the_other() {
        let key = |flavour, dumps| Lane::new(flavour, 512 << 10, dumps).unwrap().key("0");
        assert_ne!(key(Flavour::Plain, false), key(Flavour::Asynchronous, false));
        assert_eq!(
            key(Flavour::Plain, false),
            key(Flavour::Plain, true),
            "core dumps cost nothing"
        );
    }
}
