//! Uses CPU, memory, stack and time as much as it is told to, to feel the limits of a node.

use std::hint::black_box;

use isomer_sdk::prelude::*;
use serde::Deserialize;

#[derive(Default)]
struct Crunch;

#[derive(Deserialize)]
struct Rounds {
    #[serde(default = "million")]
    rounds: u64,
}

fn million() -> u64 {
    1_000_000
}

#[derive(Deserialize)]
struct Megabytes {
    mb: usize,
}

#[derive(Deserialize)]
struct Depth {
    depth: u64,
}

/// The mixing step of the splitmix64 generator: work that no compiler can skip.
fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 27)
}

fn descend(depth: u64) -> u64 {
    // The use after the call keeps every frame on the stack.
    if depth == 0 { 0 } else { black_box(descend(black_box(depth - 1))) + 1 }
}

#[service(name = "crunch")]
impl Crunch {
    /// Some ten instructions per round: 300 million rounds are more fuel than a call has by default.
    #[action(params = { rounds: { type: "number", optional: true } })]
    fn spin(&self, params: Rounds) -> String {
        let state = (0..params.rounds).fold(1, |state, round| mix(black_box(state ^ round)));
        format!("{state:016x}")
    }

    /// The same work with a limit of its own, far below the default.
    #[action(limits(fuel = 1_000_000))]
    fn fuel(&self, params: Rounds) -> String {
        self.spin(params)
    }

    /// Never ends by itself.
    #[action(limits(timeout = 1000))]
    fn forever(&self) {
        loop {
            black_box(());
        }
    }

    /// Allocates and writes this many megabytes, and gives them back at the end.
    #[action(params = { mb: "number" })]
    fn memory(&self, params: Megabytes) -> usize {
        let block = vec![1_u8; params.mb << 20];
        black_box(&block).len() >> 20
    }

    /// Calls itself this many times.
    #[action(params = { depth: "number" })]
    fn recurse(&self, params: Depth) -> u64 {
        descend(params.depth)
    }

    /// Panics: the caller gets a `ServiceTrappedError`, the log gets the place, nobody else notices.
    #[action]
    #[expect(clippy::panic, reason = "the purpose of this action")]
    fn trap(&self) {
        panic!("crunch.trap was called");
    }
}

#[cfg(test)]
mod tests {
    use isomer_sdk::testing::MockBroker;

    use super::*;

    #[test]
    fn work_is_done_as_told() {
        let mock = MockBroker::new();
        let spin = |rounds: u64| mock.call(&mut Crunch, "crunch.spin", json!({ "rounds": rounds }));
        assert_eq!(spin(3).unwrap(), spin(3).unwrap());
        assert_ne!(spin(3).unwrap(), spin(4).unwrap());
        let check = |action: &str, params: Value, expected: Value| {
            assert_eq!(mock.call(&mut Crunch, action, params).unwrap(), expected);
        };
        check("crunch.memory", json!({ "mb": 2 }), json!(2));
        check("crunch.recurse", json!({ "depth": 100 }), json!(100));
    }
}
