//! From a schema to compiled rules, collecting every fault on the way (fastest-validator: lib/validator.js
//! compile, compileRule and the head of each file of lib/rules).
//!
//! What needs a function cannot come in a schema of JSON; it is refused here rather than ignored, because
//! an ignored check lets through what it was written against.

use std::mem;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::array::{Array, Tuple};
use super::equal::{Equal, To};
use super::format::{Email, Uuid};
use super::full_form::full_form;
use super::item::Words;
use super::javascript::{self, truthy};
use super::number::{Bound, Number};
use super::object::{Allowed, Object, Property, Strict};
use super::pattern::{self, Pattern};
use super::record::Record;
use super::rule::{Kind, Presence, Rule};
use super::text::{Form, Padding, Sanitizer, Text};
use crate::config::validator::FastestOptions;

/// Deepest nesting of rules; aliases that name themselves would have no end.
const DEPTH_MAX: usize = 64;

/// Most rules of one schema, those inside aliases counted each time that they are named.
const RULES_MAX: usize = 10_000;

/// Longest text that padding makes, in UTF-16 units.
const PAD_MAX: f64 = 65_536.0;

/// Compiles a whole schema.
///
/// # Errors
/// All faults, each with its key.
pub(super) fn compile(schema: &Value, options: &FastestOptions) -> Result<Rule, Vec<String>> {
    let own = Arc::new(options.messages.clone());
    let mut compiler =
        Compiler { options, own, problems: Vec::new(), depth: 0, rules: 0, too_large: false };
    let rule = compiler.root(schema);
    match rule {
        Some(rule) if compiler.problems.is_empty() => Ok(rule),
        _ => Err(compiler.problems),
    }
}

/// A rule in its full form with the place where it stands, for messages.
struct Source<'a> {
    at: &'a str,
    schema: &'a Map<String, Value>,
}

impl<'a> Source<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.schema.get(key).filter(|value| !value.is_null())
    }

    /// Whether an option is `true`; some are looked at in this way only.
    fn is_true(&self, key: &str) -> bool {
        self.schema.get(key) == Some(&Value::Bool(true))
    }

    fn is_truthy(&self, key: &str) -> bool {
        truthy(self.schema.get(key))
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.schema.get(key).and_then(Value::as_bool)
    }

    fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }
}

struct Compiler<'o> {
    options: &'o FastestOptions,
    own: Arc<Map<String, Value>>,
    problems: Vec<String>,
    depth: usize,
    rules: usize,
    too_large: bool,
}

impl Compiler<'_> {
    fn problem(&mut self, at: &str, problem: &str) {
        let at = if at.is_empty() { String::new() } else { format!("'{at}' ") };
        self.problems.push(format!("{at}{problem}"));
    }

    /// A schema is the properties of an object, a list of alternatives, or with `$$root` a rule.
    fn root(&mut self, schema: &Value) -> Option<Rule> {
        match schema {
            Value::Array(_) => self.rule(schema, ""),
            Value::Object(map) if map.get("$$root") == Some(&Value::Bool(true)) => {
                self.rule(schema, "")
            }
            Value::Object(map) => {
                let strict = map.get("$$strict").cloned();
                let own = map.iter().filter(|(key, _)| !key.starts_with("$$"));
                let own: Map<_, _> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
                let mut object = Map::from_iter([("type".to_owned(), "object".into())]);
                object.extend(strict.map(|strict| ("strict".to_owned(), strict)));
                object.insert("properties".into(), own.into());
                self.rule(&object.into(), "")
            }
            other => {
                self.problem("", &format!("must be an object or an array, found {other}"));
                None
            }
        }
    }

    fn rule(&mut self, schema: &Value, at: &str) -> Option<Rule> {
        if self.depth >= DEPTH_MAX || self.rules >= RULES_MAX {
            // Said once, however often it happens.
            if !mem::replace(&mut self.too_large, true) {
                let problem = format!(
                    "is nested deeper than {DEPTH_MAX} rules or is more than the {RULES_MAX}th rule"
                );
                self.problem(at, &problem);
            }
            return None;
        }
        self.rules += 1;
        self.depth += 1;
        let rule = match full_form(schema, self.options) {
            Ok(schema) => self.full_rule(&Source { at, schema: &schema }),
            Err(problem) => {
                self.problem(at, &problem);
                None
            }
        };
        self.depth -= 1;
        rule
    }

    fn full_rule(&mut self, source: &Source<'_>) -> Option<Rule> {
        if source.get("custom").is_some() {
            let problem =
                "needs a function, which a schema cannot hold: check the value in the handler";
            self.problem(&source.path("custom"), problem);
        }
        let kind = self.kind(source)?;
        let label = self.text(source, "label");
        Some(Rule { kind, presence: self.presence(source), words: self.words(source), label })
    }

    fn kind(&mut self, source: &Source<'_>) -> Option<Kind> {
        let name = source.get("type").and_then(Value::as_str).unwrap_or_default();
        Some(match name {
            "any" => Kind::Any,
            "array" => Kind::Array(Box::new(self.array(source))),
            "boolean" => Kind::Boolean { convert: source.is_true("convert") },
            "currency" => Kind::Currency(self.currency(source)?),
            "date" => Kind::Date { convert: source.is_true("convert") },
            "email" => Kind::Email(self.email(source)),
            "enum" => {
                let (values, shown) = self.list(source, "values")?;
                Kind::Enum { values, shown }
            }
            "equal" => Kind::Equal(equal(source)),
            "forbidden" => Kind::Forbidden { remove: source.is_truthy("remove") },
            "luhn" => Kind::Luhn,
            "mac" => Kind::Mac,
            "multi" => Kind::Multi(self.alternatives(source)?),
            "number" => Kind::Number(Box::new(self.number(source))),
            "object" => Kind::Object(Box::new(self.object(source)?)),
            "record" => Kind::Record(Box::new(self.record(source)?)),
            "string" => Kind::Text(Box::new(self.string(source))),
            "tuple" => Kind::Tuple(self.tuple(source)?),
            "url" => Kind::Url { empty: source.is_truthy("empty") },
            "uuid" => {
                // As there, a version from 9 on is not looked at.
                let version = self.bound(source, "version").filter(|bound| bound.value < 9.0);
                Kind::Uuid(Uuid { version })
            }
            _ => {
                self.needs_function(source, name);
                return None;
            }
        })
    }

    fn needs_function(&mut self, source: &Source<'_>, name: &str) {
        let mend = match name {
            "objectID" => "use {type: \"string\", hex: true, length: 24}",
            "function" => "params have no functions",
            _ => "check the value in the handler",
        };
        let at = source.path("type");
        self.problem(
            &at,
            &format!("'{name}' needs JavaScript, which a schema cannot hold: {mend}"),
        );
    }

    fn presence(&mut self, source: &Source<'_>) -> Presence {
        let null_is_a_value = self.options.consider_null_as_a_value;
        let forbidden = source.get("type").and_then(Value::as_str) == Some("forbidden");
        let nullable = source.flag("nullable");
        let skip_undefined = source.is_true("optional") || forbidden;
        let skip_null = if null_is_a_value {
            nullable != Some(false) || forbidden
        } else {
            skip_undefined || nullable == Some(true)
        };
        let Some(default) = source.get("default").cloned() else {
            return Presence { skip_undefined, skip_null, default: None };
        };
        // Null takes the default, except where it is a value of its own.
        let keeps_null =
            if null_is_a_value { nullable != Some(false) } else { nullable == Some(true) };
        let skip_null = skip_null && keeps_null;
        Presence { skip_undefined: false, skip_null, default: Some(default) }
    }

    fn words(&mut self, source: &Source<'_>) -> Words {
        let own = match source.get("messages") {
            None => Arc::clone(&self.own),
            Some(Value::Object(messages)) => {
                let mut own = (*self.own).clone();
                own.extend(messages.clone());
                Arc::new(own)
            }
            Some(other) => {
                let problem = format!("must be an object of texts, found {other}");
                self.problem(&source.path("messages"), &problem);
                Arc::clone(&self.own)
            }
        };
        Words { own, of_key: false }
    }

    fn string(&mut self, source: &Source<'_>) -> Text {
        Text {
            convert: source.is_true("convert"),
            sanitizers: self.sanitizers(source),
            empty: source.flag("empty"),
            min: self.bound(source, "min"),
            max: self.bound(source, "max"),
            length: self.bound(source, "length"),
            pattern: self.pattern(source),
            contains: source.get("contains").map(javascript::string),
            allowed: source.get("enum").and_then(|_| self.list(source, "enum")),
            forms: [
                ("numeric", Form::Numeric),
                ("alpha", Form::Alpha),
                ("alphanum", Form::Alphanum),
                ("alphadash", Form::Alphadash),
                ("hex", Form::Hex),
                ("singleLine", Form::SingleLine),
                ("base64", Form::Base64),
            ]
            .into_iter()
            .filter_map(|(key, form)| source.is_true(key).then_some(form))
            .collect(),
        }
    }

    fn sanitizers(&mut self, source: &Source<'_>) -> Vec<Sanitizer> {
        let mut sanitizers = Vec::new();
        let mut add = |key: &str, sanitizer| {
            if source.is_truthy(key) {
                sanitizers.push(sanitizer);
            }
        };
        add("trim", Sanitizer::Trim);
        add("trimLeft", Sanitizer::TrimLeft);
        add("trimRight", Sanitizer::TrimRight);
        sanitizers.extend(self.padding(source, "padStart").map(Sanitizer::PadStart));
        sanitizers.extend(self.padding(source, "padEnd").map(Sanitizer::PadEnd));
        let mut add = |key: &str, sanitizer| {
            if source.is_truthy(key) {
                sanitizers.push(sanitizer);
            }
        };
        add("lowercase", Sanitizer::Lowercase);
        add("uppercase", Sanitizer::Uppercase);
        // A node has no language of its own.
        add("localeLowercase", Sanitizer::Lowercase);
        add("localeUppercase", Sanitizer::Uppercase);
        sanitizers
    }

    fn padding(&mut self, source: &Source<'_>, key: &str) -> Option<Padding> {
        let length = self.bound(source, key)?.value;
        if !(0.0..=PAD_MAX).contains(&length) {
            self.problem(&source.path(key), &format!("must be 0 to {PAD_MAX}, found {length}"));
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to PAD_MAX")]
        let length = length as usize;
        let with = source.get("padChar").map_or_else(|| " ".into(), javascript::string);
        (length > 0).then_some(Padding { length, with })
    }

    fn pattern(&mut self, source: &Source<'_>) -> Option<(Pattern, Value)> {
        let pattern = self.text(source, "pattern")?;
        let flags = self.text(source, "patternFlags").unwrap_or_default();
        match Pattern::compile(&pattern, &flags) {
            Ok(compiled) => Some((compiled, pattern::shown(&pattern, &flags).into())),
            Err(problem) => {
                self.problem(&source.path("pattern"), &problem);
                None
            }
        }
    }

    fn number(&mut self, source: &Source<'_>) -> Number {
        Number {
            convert: source.is_true("convert"),
            min: self.bound(source, "min"),
            max: self.bound(source, "max"),
            equal: self.bound(source, "equal"),
            not_equal: self.bound(source, "notEqual"),
            integer: source.is_true("integer"),
            positive: source.is_true("positive"),
            negative: source.is_true("negative"),
        }
    }

    fn email(&mut self, source: &Source<'_>) -> Email {
        Email {
            precise: source.get("mode").and_then(Value::as_str) == Some("precise"),
            empty: source.is_truthy("empty"),
            normalize: source.is_truthy("normalize"),
            min: self.bound(source, "min"),
            max: self.bound(source, "max"),
        }
    }

    /// The pattern of lib/rules/currency.js, with its beginning before what it looks ahead to, so that it is
    /// tried once and not at every character.
    fn currency(&mut self, source: &Source<'_>) -> Option<Pattern> {
        if source.get("customRegex").is_some() {
            let problem = "is not known here: use {type: \"string\", pattern: …}";
            self.problem(&source.path("customRegex"), problem);
        }
        let symbol = self.text(source, "currencySymbol").filter(|text| !text.is_empty());
        let or = |text: Option<String>, default: &str| {
            text.filter(|text| !text.is_empty()).unwrap_or_else(|| default.into())
        };
        let thousand = or(self.text(source, "thousandSeparator"), ",");
        let decimal = or(self.text(source, "decimalSeparator"), ".");
        let optional = if source.is_truthy("symbolOptional") { "?" } else { "" };
        let symbol = symbol.map_or_else(String::new, |symbol| format!("\\{symbol}{optional}"));
        let regex = format!(
            "^(?=.*\\d)(-?{symbol}|{symbol}-?)(([0-9]\\d{{0,2}}({thousand}\\d{{3}})*)|0)?(\\{decimal}\\d{{1,2}})?$"
        );
        let compiled = Pattern::compile(&regex, "");
        compiled
            .map_err(|problem| self.problem(source.at, &format!("is a currency that {problem}")))
            .ok()
    }

    fn array(&mut self, source: &Source<'_>) -> Array {
        let items = source.get("items");
        Array {
            convert: source.is_true("convert"),
            refuse_empty: source.flag("empty") == Some(false),
            min: self.bound(source, "min"),
            max: self.bound(source, "max"),
            length: self.bound(source, "length"),
            contains: source.get("contains").cloned(),
            unique: source.is_true("unique"),
            allowed: source.get("enum").and_then(|_| self.list(source, "enum")),
            items: items.and_then(|items| self.rule(items, &source.path("items"))),
        }
    }

    fn tuple(&mut self, source: &Source<'_>) -> Option<Tuple> {
        let refuse_empty = source.flag("empty") == Some(false);
        let items = match source.get("items") {
            None => return Some(Tuple { refuse_empty, items: None }),
            Some(Value::Array(items)) if !items.is_empty() => items,
            Some(other) => {
                let problem = format!("must be an array of rules, not empty; found {other}");
                self.problem(&source.path("items"), &problem);
                return None;
            }
        };
        Some(Tuple { refuse_empty, items: Some(self.each(items, &source.path("items"))) })
    }

    fn alternatives(&mut self, source: &Source<'_>) -> Option<Vec<Rule>> {
        match source.get("rules") {
            Some(Value::Array(rules)) => Some(self.each(rules, &source.path("rules"))),
            other => {
                let found = other.unwrap_or(&Value::Null);
                self.problem(
                    &source.path("rules"),
                    &format!("must be an array of rules, found {found}"),
                );
                None
            }
        }
    }

    fn each(&mut self, rules: &[Value], at: &str) -> Vec<Rule> {
        let compile = |(index, rule)| self.rule(rule, &format!("{at}[{index}]"));
        rules.iter().enumerate().filter_map(compile).collect()
    }

    fn object(&mut self, source: &Source<'_>) -> Option<Object> {
        let (key, found) = match source.get("properties").filter(|value| truthy(Some(value))) {
            Some(found) => ("properties", Some(found)),
            None => ("props", source.get("props")),
        };
        let map = match found {
            None => None,
            Some(Value::Object(map)) => Some(map),
            Some(other) => {
                self.problem(
                    &source.path(key),
                    &format!("must be an object of rules, found {other}"),
                );
                return None;
            }
        };
        let names = map.map(javascript::keys);
        Some(Object {
            strict: strict(source, names.as_deref()),
            min_props: self.bound(source, "minProps"),
            max_props: self.bound(source, "maxProps"),
            properties: map.map(|map| self.properties(source, map)),
        })
    }

    fn properties(&mut self, source: &Source<'_>, map: &Map<String, Value>) -> Vec<Property> {
        let names = javascript::keys(map).into_iter().filter(|name| !name.starts_with("$$"));
        let property = |name: &str| {
            let rule = self.rule(map.get(name)?, &source.path(name))?;
            Some(Property { name: name.to_owned(), rule })
        };
        names.filter_map(property).collect()
    }

    fn record(&mut self, source: &Source<'_>) -> Option<Record> {
        let rule = |key| source.get(key).filter(|rule| truthy(Some(rule)));
        let (any_text, anything) = ("string".into(), "any".into());
        let key = match rule("key") {
            // Keys are texts, so the rule for any text has nothing to do.
            None if !self.options.defaults.contains_key("string") => None,
            key => Some(self.rule(key.unwrap_or(&any_text), &source.path("key"))?),
        };
        let key = key.map(|mut key| {
            key.words.of_key = true;
            key
        });
        let value = self.rule(rule("value").unwrap_or(&anything), &source.path("value"))?;
        Some(Record { key, value })
    }

    /// A number; texts of one, which fastest-validator puts into its code as they are, as well.
    fn bound(&mut self, source: &Source<'_>, key: &str) -> Option<Bound> {
        let found = source.get(key)?;
        let value = match found {
            Value::Number(number) => javascript::double(number),
            Value::String(text) if !text.trim_matches(javascript::is_space).is_empty() => {
                javascript::text_number(text)
            }
            _ => f64::NAN,
        };
        if !value.is_finite() {
            self.problem(&source.path(key), &format!("must be a number, found {found}"));
            return None;
        }
        Some(Bound { value })
    }

    fn text(&mut self, source: &Source<'_>, key: &str) -> Option<String> {
        match source.get(key)? {
            Value::String(text) => Some(text.clone()),
            other => {
                self.problem(&source.path(key), &format!("must be a text, found {other}"));
                None
            }
        }
    }

    /// An array of values, and how an error shows them.
    fn list(&mut self, source: &Source<'_>, key: &str) -> Option<(Vec<Value>, Value)> {
        match source.get(key) {
            Some(Value::Array(values)) => {
                Some((values.clone(), javascript::join(values, ", ").into()))
            }
            other => {
                let found = other.unwrap_or(&Value::Null);
                self.problem(
                    &source.path(key),
                    &format!("must be an array of values, found {found}"),
                );
                None
            }
        }
    }
}

fn equal(source: &Source<'_>) -> Equal {
    let to = match source.get("field").filter(|field| truthy(Some(field))) {
        Some(field) => To::Field(javascript::string(field)),
        None => To::Value(source.schema.get("value").cloned()),
    };
    Equal { to, strict: source.is_truthy("strict") }
}

/// Names in the schema are allowed, those with `$$` as well: as there.
fn strict(source: &Source<'_>, names: Option<&[&str]>) -> Strict {
    let Some(names) = names.filter(|_| source.is_truthy("strict")) else { return Strict::Off };
    let shown = names.join(", ").into();
    let allowed = Allowed { names: names.iter().map(|name| (*name).to_owned()).collect(), shown };
    match source.get("strict").and_then(Value::as_str) {
        Some("remove") => Strict::Remove(allowed),
        _ => Strict::Refuse(allowed),
    }
}
