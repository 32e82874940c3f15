//! Things that a service has once.

use isomer_sdk::prelude::*;

struct Posts;

#[service(name = "posts")]
impl Posts {
    #[created]
    fn new() -> Self {
        Self
    }

    #[created]
    fn another() -> Self {
        Self
    }

    #[started]
    fn one(&self) {}

    #[started]
    fn two(&self) {}

    #[action]
    fn get(&self) {}

    #[action(name = "get")]
    fn find(&self) {}
}

fn main() {}
