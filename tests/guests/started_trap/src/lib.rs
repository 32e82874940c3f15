//! A service whose `started` panics: it must not come up, and must hurt nobody else.

use isomer_sdk::prelude::*;

#[derive(Default)]
struct StartedTrap;

#[service(name = "started-trap")]
impl StartedTrap {
    #[started]
    #[expect(clippy::panic, reason = "the purpose of this guest")]
    fn start(&self) {
        panic!("this service always fails to start");
    }

    #[action]
    fn never(&self) -> &'static str {
        "this action must not be callable"
    }
}
