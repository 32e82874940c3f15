//! Options of the parameter validator (moleculer: src/validators).

use serde_json::{Map, Value};

/// Option `validator`.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for a broker")]
pub enum Validator {
    /// Params are not looked at.
    Off,
    /// Rules of fastest-validator.
    Fastest(FastestOptions),
    /// `params` are JSON Schemas.
    JsonSchema,
}

impl Default for Validator {
    fn default() -> Self {
        Self::Fastest(FastestOptions::default())
    }
}

/// Options of fastest-validator that are data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FastestOptions {
    /// Messages by error type, over the built-in ones.
    pub messages: Map<String, Value>,
    /// Defaults of rules, by rule name.
    pub defaults: Map<String, Value>,
    /// Rules by name of their alias.
    pub aliases: Map<String, Value>,
    /// Stop at the first error. false
    pub halt_on_first_error: bool,
    /// Null is a value like others: it takes no default, and fits unless `nullable` is false. false
    pub consider_null_as_a_value: bool,
}
