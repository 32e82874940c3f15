//! The attribute in the wrong place.

use isomer_sdk::prelude::*;

#[service(name = "posts")]
struct Posts;

#[service]
impl Posts {}

#[service(name = "a b")]
impl Posts {}

#[service(name = "posts")]
impl Clone for Posts {
    fn clone(&self) -> Self {
        Self
    }
}

fn main() {}
