//! A service that is a Wasm component.
