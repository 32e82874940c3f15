//! The binary `isomer`.

fn main() {}
