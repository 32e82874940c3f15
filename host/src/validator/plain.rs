//! Params that are seen to fit without a tree: an object of texts, whole numbers and truth values whose rules
//! only compare them. It is what most calls bring; making the tree costs more than all else that is done here.
//!
//! Says "yes" or "I do not know": the tree decides about everything else, and about what is wrong.

use super::number::Number;
use super::object::{Object, Property, Strict};
use super::rule::{Kind, Rule};
use super::text::Text;
use crate::payload::plain::Plain;

/// Properties with rules, one bit for each.
const PROPERTIES_MAX: usize = 64;

/// Whether a well-formed text certainly fits a rule as it is, so that nothing is changed.
pub(super) fn fits(rule: &Rule, text: &str) -> bool {
    let Kind::Object(object) = &rule.kind else { return false };
    object_fits(object, &mut Plain::new(text)).is_some()
}

fn object_fits(object: &Object, text: &mut Plain<'_>) -> Option<()> {
    let properties = object.properties.as_deref()?;
    let counted = object.min_props.is_some() || object.max_props.is_some();
    if counted || properties.len() > PROPERTIES_MAX {
        return None;
    }
    let open = matches!(object.strict, Strict::Off);
    let mut found = 0_u64;
    text.take(b'{')?;
    if text.take(b'}').is_none() {
        loop {
            let name = text.string()?;
            text.take(b':')?;
            match properties.iter().position(|property| property.name == name) {
                Some(index) if found >> index & 1 == 0 => {
                    found |= 1 << index;
                    value_fits(properties.get(index).map(|property| &property.rule.kind)?, text)?;
                }
                // The last of several counts.
                Some(_) => return None,
                None if open => value_fits(&Kind::Any, text)?,
                None => return None,
            }
            if text.take(b'}').is_some() {
                break;
            }
            text.take(b',')?;
        }
    }
    let missing = |(index, _): &(usize, &Property)| found >> index & 1 == 0;
    let may_be_missing = |(_, property): (usize, &Property)| property.rule.presence.skip_undefined;
    let complete = properties.iter().enumerate().filter(missing).all(may_be_missing);
    (complete && text.peek().is_none()).then_some(())
}

fn value_fits(kind: &Kind, text: &mut Plain<'_>) -> Option<()> {
    match (kind, text.peek()?) {
        (Kind::Any, b'"') => text.string().map(drop),
        (Kind::Any, b'-' | b'0'..=b'9') => text.whole_number().map(drop),
        (Kind::Any | Kind::Boolean { .. }, b't' | b'f') => text.word().map(drop),
        (Kind::Number(rule), b'-' | b'0'..=b'9') => number_fits(rule, text.whole_number()?),
        (Kind::Text(rule), b'"') => text_fits(rule, text.string()?),
        _ => None,
    }
}

fn number_fits(rule: &Number, number: &str) -> Option<()> {
    let mut fits = true;
    rule.compare(number.parse().ok()?, |_, _| fits = false);
    fits.then_some(())
}

fn text_fits(rule: &Text, text: &str) -> Option<()> {
    let looked_into = rule.pattern.is_some() || rule.contains.is_some() || rule.allowed.is_some();
    // Of what is not ASCII, JavaScript counts other characters than there are bytes.
    if looked_into || !rule.sanitizers.is_empty() || !rule.forms.is_empty() || !text.is_ascii() {
        return None;
    }
    if text.is_empty() && rule.empty.is_some() {
        return (rule.empty == Some(true)).then_some(());
    }
    rule.len_fits(text.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Check, compile};
    use crate::config::validator::FastestOptions;
    use crate::uid::damage::Damage;

    fn compiled(schema: &Value) -> Check {
        compile(schema, &FastestOptions::default()).unwrap()
    }

    #[test]
    fn plain_params_need_no_tree() {
        let check = |schema: Value, text: &str, expected: bool| {
            assert_eq!(compiled(&schema).surely_fits(text), expected, "{text} for {schema}");
        };
        let rules = json!({"t": "string|min:1|max:3", "n": "number|integer|min:0", "b": "boolean",
            "o": "string|optional"});
        check(rules.clone(), r#"{"t":"abc","n":0,"b":true}"#, true);
        check(
            rules.clone(),
            r#" { "b":false, "n":12 , "t":"a", "o":"" , "more":"x", "m":-1 } "#,
            true,
        );
        check(rules.clone(), r#"{"t":"abcd","n":0,"b":true}"#, false);
        check(rules.clone(), r#"{"t":"","n":0,"b":true}"#, false);
        check(rules.clone(), r#"{"t":"é","n":0,"b":true}"#, false);
        check(rules.clone(), r#"{"t":"a","n":-1,"b":true}"#, false);
        check(rules.clone(), r#"{"t":"a","n":1.5,"b":true}"#, false);
        check(rules.clone(), r#"{"t":"a","n":1,"b":1}"#, false);
        check(rules.clone(), r#"{"t":"a","n":1}"#, false);
        check(rules.clone(), r#"{"t":"a","n":1,"b":true,"b":true}"#, false);
        check(rules, r#"{"t":"a","n":1,"b":true,"o":null}"#, false);
        check(json!({"$$strict": true, "a": "any"}), r#"{"a":1}"#, true);
        check(json!({"$$strict": true, "a": "any"}), r#"{"a":1,"b":1}"#, false);
        check(json!({"a": {"type": "string", "default": "x"}}), "{}", false);
        check(json!({"a": "string|trim"}), r#"{"a":"x"}"#, false);
        check(json!({"a": "string|optional|empty:false"}), r#"{"a":""}"#, false);
        check(json!({}), "{}", true);
        check(json!({}), "[]", false);
    }

    static PIECES: [&[u8]; 9] =
        [b"\"", b"\\", b"{}", b"null", b",", b"-1", b"\"t\":", b"true", b"\"\""];

    #[test]
    fn whatever_fits_without_a_tree_fits_with_one_and_is_not_changed() {
        let rules = json!({"t": "string|min:1|max:5|empty:false", "b": "boolean|convert|optional",
            "n": {"type": "number", "optional": true, "positive": true, "notEqual": 7, "convert": true}});
        let check = compiled(&rules);
        let known = br#"{"t":"abcde","n":17,"b":true,"x":"more","y":-12}"#;
        let mut damage = Damage::new(0x5eed_0062_c0ff_ee62, &PIECES);
        let mut n_fits = 0;
        for _ in 0..40_000 {
            let bytes = damage.copy(known);
            let Ok(text) = std::str::from_utf8(&bytes) else { continue };
            let Ok(tree) = serde_json::from_str::<Value>(text) else { continue };
            if check.surely_fits(text) {
                assert_eq!(check.run(&tree), Ok(None), "{text}");
                n_fits += 1;
            }
        }
        assert!(n_fits > 500, "{n_fits}");
    }
}
