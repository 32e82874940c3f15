//! Checks params against the schema of an action or event before a guest is entered.
//!
//! Two kinds of schema: that of fastest-validator 1.19, which is Moleculer's (all rules that need no
//! JavaScript functions, with the same error items in the same order), and JSON Schema. A schema is compiled
//! once, when its service is registered. Params that are valid as they are cost no allocation; only those
//! that a default, a conversion or a sanitiser changes are copied.
//!
//! Pure: what a refusal means for a call is the business of `middleware/validator.rs`.

use serde_json::Value;

use crate::config::validator::FastestOptions;

mod array;
mod compile;
mod date;
mod equal;
mod format;
mod full_form;
mod item;
mod javascript;
mod json_schema;
mod messages;
mod number;
mod object;
mod pattern;
mod plain;
mod record;
mod rule;
mod text;

pub use item::{GROWTH_MAX, ITEMS_MAX, Item, VALUES_LEN_MAX};
pub use pattern::PATTERN_LEN_MAX;

use item::{Path, Place, Run};
use rule::{Rule, Slot};

/// A compiled schema.
#[derive(Debug)]
pub struct Check(Kind);

#[derive(Debug)]
enum Kind {
    Fastest { rule: Box<Rule>, halt_on_first_error: bool },
    JsonSchema(Box<jsonschema::Validator>),
}

/// Why params are refused.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// They do not fit: every failure, in the order in which fastest-validator finds them.
    Invalid(Vec<Item>),
    /// Defaults and paddings would add more than [`GROWTH_MAX`] bytes.
    TooLarge,
}

/// Compiles a schema of fastest-validator.
///
/// # Errors
/// Everything that is wrong with it: the key inside the schema, what was found, what is allowed.
pub fn compile(schema: &Value, options: &FastestOptions) -> Result<Check, Vec<String>> {
    let rule = Box::new(compile::compile(schema, options)?);
    Ok(Check(Kind::Fastest { rule, halt_on_first_error: options.halt_on_first_error }))
}

/// Compiles a JSON Schema.
///
/// # Errors
/// What is wrong with it.
pub fn compile_json_schema(schema: &Value) -> Result<Check, Vec<String>> {
    json_schema::compile(schema).map(|schema| Check(Kind::JsonSchema(Box::new(schema))))
}

impl Check {
    /// Whether a well-formed text is seen to fit, as it is, without parsing it. False says nothing:
    /// [`Check::run`] must then be asked.
    #[must_use]
    pub fn surely_fits(&self, text: &str) -> bool {
        match &self.0 {
            Kind::Fastest { rule, .. } => plain::fits(rule, text),
            Kind::JsonSchema(_) => false,
        }
    }

    /// Checks params. Returns them with defaults, conversions and sanitisers applied, if that changes
    /// anything.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn run(&self, params: &Value) -> Result<Option<Value>, Refusal> {
        let (rule, halt) = match &self.0 {
            Kind::Fastest { rule, halt_on_first_error } => (rule, *halt_on_first_error),
            Kind::JsonSchema(schema) => {
                return json_schema::check(schema, params).map(|()| None).map_err(Refusal::Invalid);
            }
        };
        let run = attempt(rule, Slot::Lent(params), Run::new(halt));
        if !run.must_write {
            return conclude(run).map(|()| None);
        }
        let mut copy = params.clone();
        conclude(attempt(rule, Slot::Owned(&mut copy), Run::new(halt)))?;
        Ok(Some(copy))
    }
}

fn attempt(rule: &Rule, slot: Slot<'_>, mut run: Run) -> Run {
    let place = Place { path: &Path::Root, label: rule.label.as_deref(), parent: None };
    // What would stand in the place of the params as a whole goes nowhere, in JavaScript as here.
    rule.admit(Some(slot), &place, &place, &mut run);
    run
}

fn conclude(run: Run) -> Result<(), Refusal> {
    if run.overgrown {
        return Err(Refusal::TooLarge);
    }
    if run.items.is_empty() { Ok(()) } else { Err(Refusal::Invalid(run.items)) }
}

#[cfg(test)]
mod tests;
