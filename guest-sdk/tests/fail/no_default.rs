//! A struct that nobody can make an instance of.

use isomer_sdk::prelude::*;

struct Posts;

#[service(name = "posts")]
impl Posts {}

fn main() {}
