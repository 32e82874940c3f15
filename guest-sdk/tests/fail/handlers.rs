//! Functions that cannot be handlers.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Posts;

#[service(name = "posts")]
impl Posts {
    #[action]
    fn by_value(self) {}

    #[action]
    fn without_self() {}

    #[action]
    fn generic<T>(&self, _: T) {}

    #[action]
    fn borrowed_params(&self, _: &Value) {}

    #[action]
    fn owned_context(&self, _: Context) {}

    #[action]
    fn two_params(&self, _: u32, _: u32) {}

    #[event("user.*")]
    fn result_for_nobody(&self) -> u32 {
        5
    }

    #[event]
    fn which_event(&self) {}

    #[started]
    fn with_params(&self, _: &Context, _: u32) {}
}

fn main() {}
