//! A good component of another world: it must be refused, by name of what is missing.
#![cfg(target_family = "wasm")]

#[allow(unsafe_code, missing_docs, unused_qualifications, reason = "generated")]
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
