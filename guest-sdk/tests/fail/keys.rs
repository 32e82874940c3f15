//! Keys that are misspelt, missing, doubled or hold the wrong kind of value.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Posts;

#[service(nmae = "posts", version = true, mode = "solo", limits(feul = 5, memory = "1MB"))]
impl Posts {
    #[action(timout = 2000)]
    fn misspelt(&self) {}

    #[action(timeout = "2s", visibility = "secret")]
    fn wrong_kind(&self) {}

    #[action(cache = true, cache = false)]
    fn twice(&self) {}

    #[action(params = { id: number })]
    fn no_json(&self) {}
}

fn main() {}
