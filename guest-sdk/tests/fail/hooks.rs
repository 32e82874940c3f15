//! Hooks and fallbacks that cannot run.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Posts;

#[service(name = "posts")]
impl Posts {
    #[before("lits")]
    fn misspelt(&self) {}

    #[after("list|remove")]
    fn half_unknown(&self) {}

    #[error_hook]
    fn which_actions(&self, error: Error) -> Error {
        error
    }

    #[before("*")]
    fn result_for_nobody(&self) -> u32 {
        5
    }

    #[before("*")]
    fn borrowed_params(&self, _: &Value) {}

    #[after("*")]
    fn too_much(&self, _: Value, _: Value, _: Value) {}

    #[error_hook("*")]
    fn swallows(&self, _: Error) {}

    #[error_hook("*")]
    fn two_errors(&self, error: Error, _: Error) -> Error {
        error
    }

    #[action(hooks(before = "chekc", around = "check", after = 5))]
    fn list(&self) {}

    #[action(fallback = "nowhere")]
    fn get(&self) {}

    #[action(fallback = true)]
    fn find(&self) {}

    #[action(hooks = "check")]
    fn count(&self) {}

    #[action(name = "a|b")]
    fn bar(&self) {}

    fn check(&self) {}
}

fn main() {}
