//! Params that cannot be read and results that cannot be written.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct Posts;

struct Params;
struct Post;

#[service(name = "posts")]
impl Posts {
    #[action]
    fn read(&self, _: Params) {}

    #[action]
    fn write(&self) -> Post {
        Post
    }
}

fn main() {}
