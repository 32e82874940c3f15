//! A good component of another world: it must be refused, by name of what is missing.
#![cfg(target_family = "wasm")]

#[expect(unsafe_code, reason = "the exports of a component are C functions")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "thing" });

    struct Thing;

    impl Guest for Thing {
        fn answer() -> u32 {
            42
        }
    }

    export!(Thing);
}
