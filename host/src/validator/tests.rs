//! Every answer of `tests/vectors/validator.json`, recorded from Moleculer's validator by
//! `tests/vectors/validator.js`, and what no recording shows: faults of schemas, and bounds.

use serde_json::{Map, Value, json};

use super::{Check, GROWTH_MAX, ITEMS_MAX, Refusal, VALUES_LEN_MAX, compile, compile_json_schema};
use crate::config::validator::FastestOptions;

fn options(given: Option<&Value>) -> FastestOptions {
    let map = |key: &str| {
        given.and_then(|given| given.get(key)?.as_object()).cloned().unwrap_or_default()
    };
    let flag = |key: &str| given.is_some_and(|given| given.get(key) == Some(&Value::Bool(true)));
    FastestOptions {
        messages: map("messages"),
        defaults: map("defaults"),
        aliases: map("aliases"),
        halt_on_first_error: flag("haltOnFirstError"),
        consider_null_as_a_value: flag("considerNullAsAValue"),
    }
}

fn check(schema: &Value) -> Check {
    compile(schema, &FastestOptions::default()).unwrap()
}

/// As JavaScript sees it: all numbers are doubles.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            let equal =
                |(key, value): (&String, &Value)| right.get(key).is_some_and(|r| same(value, r));
            left.len() == right.len() && left.iter().all(equal)
        }
        (left, right) => left == right,
    }
}

/// What the recorder writes.
fn answer(check: &Check, value: &Value) -> Value {
    let params = if value.is_null() { json!({}) } else { value.clone() };
    match check.run(&params) {
        Ok(None) => json!(true),
        Ok(Some(changed)) => json!({"value": changed}),
        Err(Refusal::Invalid(items)) => {
            items.into_iter().map(|item| Value::Object(item.into_map())).collect()
        }
        Err(Refusal::TooLarge) => json!("too large"),
    }
}

#[test]
fn schemas_give_the_same_answers_as_in_moleculer() {
    let text =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/validator.json"));
    let groups: Vec<Value> = serde_json::from_str(text).unwrap();
    let (mut cases, mut wrong) = (0, Vec::new());
    for group in &groups {
        let schema = &group["schema"];
        let check = match compile(schema, &options(group.get("options"))) {
            Ok(check) => check,
            Err(problems) => {
                wrong.push(format!("{schema} is refused: {problems:?}"));
                continue;
            }
        };
        for case in group["cases"].as_array().unwrap() {
            cases += 1;
            let said = answer(&check, &case[0]);
            if !same(&said, &case[1]) {
                wrong.push(format!("{schema}\n  {}\n  there {}\n  here  {said}", case[0], case[1]));
            }
        }
    }
    assert!(cases > 5_000, "only {cases} cases: are the vectors complete?");
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn faults_of_a_schema_name_the_key_and_what_is_allowed() {
    let check = |schema: Value, expected: &str| {
        let problems = compile(&schema, &FastestOptions::default()).unwrap_err();
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:?}");
    };
    check(json!(5), "must be an object or an array, found 5");
    check(json!([]), "must have at least one rule");
    check(
        json!({"a": "strin"}),
        "'a' has the type \"strin\", which is no rule; allowed are any, array",
    );
    check(json!({"a": 5}), "'a' must be a text, an array or an object, found 5");
    check(json!({"a": {"b": 1}}), "'a' must have a 'type'");
    check(json!({"a": {"type": "string", "min": "x"}}), "'a.min' must be a number, found \"x\"");
    check(json!({"a": "string|pattern:("}), "'a.pattern' cannot be used");
    check(json!({"a": {"type": "enum"}}), "'a.values' must be an array of values, found null");
    check(json!({"a": {"type": "string", "enum": "x"}}), "'a.enum' must be an array of values");
    check(json!({"a": {"type": "array", "items": "x"}}), "'a.items' has the type \"x\"");
    check(json!({"a": {"type": "tuple", "items": []}}), "'a.items' must be an array of rules");
    check(json!({"a": {"type": "multi"}}), "'a.rules' must be an array of rules, found null");
    check(json!({"a": {"type": "object", "props": "x"}}), "'a.props' must be an object of rules");
    check(json!({"a": ["string", "x"]}), "'a' has the type \"x\"");
    check(json!({"a": {"$$type": "object", "b": "x"}}), "'a.b' has the type \"x\"");
    check(json!({"a": {"type": "any", "custom": "f"}}), "'a.custom' needs a function");
    check(
        json!({"a": "objectID"}),
        "'a.type' 'objectID' needs JavaScript, which a schema cannot hold: use",
    );
    check(json!({"a": "class"}), "'a.type' 'class' needs JavaScript");
    check(json!({"a": "function"}), "'a.type' 'function' needs JavaScript");
    check(json!({"a": {"type": "custom", "check": "x"}}), "'a.type' 'custom' needs JavaScript");
    check(json!({"a": {"type": "any", "messages": 1}}), "'a.messages' must be an object of texts");
    check(json!({"a": {"type": "any", "label": 1}}), "'a.label' must be a text");
    check(json!({"a": "string|padStart:65537"}), "'a.padStart' must be 0 to 65536, found 65537");
    check(json!({"a": {"type": "currency", "customRegex": "x"}}), "'a.customRegex' is not known");
}

#[test]
fn all_faults_are_told_at_once() {
    let schema = json!({"a": "x", "b": {"type": "number", "min": "m", "max": "n"}});
    let problems = compile(&schema, &FastestOptions::default()).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn an_alias_without_an_end_is_refused() {
    let mut aliases = Map::new();
    aliases.insert("node".into(), json!({"type": "array", "items": "node"}));
    aliases.insert("tree".into(), json!({"type": "object", "props": {"l": "tree", "r": "tree"}}));
    let options = FastestOptions { aliases, ..FastestOptions::default() };
    for alias in ["node", "tree"] {
        let problems = compile(&json!({"a": alias}), &options).unwrap_err();
        assert!(problems[0].contains("is nested deeper than 64 rules"), "{problems:?}");
    }
}

fn items(check: &Check, params: &Value) -> Vec<super::Item> {
    match check.run(params) {
        Err(Refusal::Invalid(items)) => items,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_items_of_a_refusal_are_bounded() {
    let check = check(&json!({"a": "number[]"}));
    assert_eq!(items(&check, &json!({"a": vec!["x"; ITEMS_MAX - 1]})).len(), ITEMS_MAX - 1);
    assert_eq!(items(&check, &json!({"a": vec!["x"; ITEMS_MAX + 1]})).len(), ITEMS_MAX);
}

#[test]
fn an_alternative_fits_however_many_failures_another_had() {
    let check = check(&json!({"a": ["number[]", "string[]"]}));
    assert_eq!(check.run(&json!({"a": vec!["x"; ITEMS_MAX + 1]})), Ok(None));
    let mut mixed = vec![json!("x"); ITEMS_MAX];
    mixed.extend(vec![json!(1); ITEMS_MAX]);
    assert_eq!(items(&check, &json!({"a": mixed})).len(), ITEMS_MAX);
}

#[test]
fn the_values_that_a_refusal_repeats_are_bounded() {
    let check = check(&json!({"a": "number[]"}));
    let long = "x".repeat(VALUES_LEN_MAX / 2);
    let items = items(&check, &json!({"a": [long, long, "short"]}));
    let shown: Vec<_> = items.iter().map(|item| item.actual.is_some()).collect();
    assert_eq!(shown, [true, false, true]);
}

#[test]
fn what_defaults_and_paddings_add_is_bounded() {
    let long = "d".repeat(GROWTH_MAX / 4);
    let default =
        check(&json!({"a": {"type": "array", "items": {"type": "string", "default": long}}}));
    assert!(default.run(&json!({"a": [null, null, null]})).is_ok());
    assert_eq!(default.run(&json!({"a": [null, null, null, null, null]})), Err(Refusal::TooLarge));
    let padded = check(&json!({"a": {"type": "array", "items": "string|padEnd:65536"}}));
    assert!(padded.run(&json!({"a": vec![""; 128]})).is_ok());
    assert_eq!(padded.run(&json!({"a": vec![""; 129]})), Err(Refusal::TooLarge));
}

/// Each would take minutes if it took time that grows with the square of its length.
#[test]
fn long_params_take_no_longer_than_they_must() {
    const LEN: usize = 100_000;
    let unique = check(&json!({"a": "array|unique"}));
    let numbers: Vec<usize> = (0..LEN).chain(0..LEN).collect();
    assert_eq!(items(&unique, &json!({"a": numbers})).len(), 1);
    let text = |schema: &str, text: String| {
        let _ = check(&json!({"a": schema})).run(&json!({"a": text}));
    };
    text("email", "@".repeat(LEN));
    text("email", "a@".repeat(LEN) + " .");
    text("email|mode:precise", "a.".repeat(LEN));
    text("email|mode:precise", "\"".repeat(LEN) + "@");
    text("currency", "1,111".repeat(LEN));
    text("currency", "x".repeat(LEN));
    text("mac", "00:".repeat(LEN));
    text("uuid", "0-".repeat(LEN));
    text("luhn", "1x".repeat(LEN));
    text("string|base64|hex|numeric|trim", " 1".repeat(LEN));
    text("date|convert", "1 ".repeat(LEN));
    let many: Map<String, Value> = (0..LEN).map(|n| (n.to_string(), n.into())).collect();
    assert_eq!(
        items(&check(&json!({"$$strict": true, "a": "any|optional"})), &many.clone().into()).len(),
        1
    );
    assert!(check(&json!({"a": "record"})).run(&json!({"a": many})).is_ok());
    let braces = json!({"a": {"{actual}".repeat(1_000): "{field}".repeat(1_000)}});
    assert_eq!(
        items(&check(&json!({"a": {"type": "record", "value": "number"}})), &braces).len(),
        1
    );
}

#[test]
fn valid_params_are_not_copied() {
    let check = check(&json!({"a": "string|trim", "b": "number|convert", "c": "any|optional"}));
    assert_eq!(check.run(&json!({"a": "x", "b": 1, "c": null})), Ok(None));
    assert_eq!(check.run(&json!({"a": "x ", "b": 1})), Ok(Some(json!({"a": "x", "b": 1}))));
}

#[test]
fn json_schemas_refuse_in_the_same_form() {
    let schema = json!({"type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": "array", "items": {"type": "number", "minimum": 3}},
                       "b": {"type": "string", "pattern": "^(?=x)"}}});
    let check = compile_json_schema(&schema).unwrap();
    assert_eq!(check.run(&json!({"a": [3], "b": "xy"})), Ok(None));
    let told = |params: Value| -> Vec<(String, Option<String>, Option<Value>)> {
        let items = items(&check, &params).into_iter();
        items.map(|item| (item.kind.into_owned(), item.field, item.actual)).collect()
    };
    let one = |kind: &str, field: Option<&str>, actual: Value| {
        vec![(kind.to_owned(), field.map(str::to_owned), Some(actual))]
    };
    assert_eq!(told(json!({"a": [4, 2]})), one("minimum", Some("a[1]"), json!(2)));
    assert_eq!(told(json!({})), one("required", None, json!({})));
    assert_eq!(told(json!({"a": [], "b": "y"})), one("pattern", Some("b"), json!("y")));
    let extra = json!({"a": [], "c": 1});
    assert_eq!(told(extra.clone()), one("additionalProperties", None, extra));
    let message = items(&check, &json!({"a": [2]})).remove(0).message;
    assert_eq!(message, "The value is less than the minimum of 3");
}

#[test]
fn json_schemas_with_faults_and_with_references_outside_are_refused() {
    let wrong = |schema: Value| {
        let problems = compile_json_schema(&schema).unwrap_err();
        assert!(problems[0].starts_with("is no JSON Schema: "), "{problems:?}");
    };
    wrong(json!({"type": "nummer"}));
    wrong(json!({"properties": {"a": {"pattern": "("}}}));
    wrong(json!({"$ref": "http://127.0.0.1:1/schema.json"}));
    wrong(json!({"$ref": "file:///etc/passwd"}));
    assert!(compile_json_schema(&json!(true)).is_err());
}

#[test]
fn rules_are_bounded_in_depth_and_number() {
    let nested = |levels: usize| {
        (1..levels).fold(json!("string"), |rule, _| json!({"type": "array", "items": rule}))
    };
    let faults = |schema: Value| compile(&schema, &FastestOptions::default()).err();
    // The object of all params is a rule, too.
    assert_eq!(faults(json!({"a": nested(63)})), None);
    assert!(faults(json!({"a": nested(64)})).unwrap()[0].contains("nested deeper than 64"));
    let wide = |n: usize| -> Value { (0..n).map(|n| (format!("p{n}"), json!("any"))).collect() };
    assert_eq!(faults(wide(9_999)), None);
    assert!(faults(wide(10_000)).unwrap()[0].contains("more than the 10000th rule"));
}
