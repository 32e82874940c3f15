//! The key of params that need no tree: written while their text is read, which is what a hit of the cacher
//! would else mostly cost.
//!
//! Whatever JavaScript sees otherwise than it is written is left to the tree: what is not
//! [plain](crate::payload::plain), and names that look like indexes or are there twice.

use crate::payload::plain::Plain;

/// Names of one object that are compared with each other.
const NAMES_MAX: usize = 16;

/// Objects and lists within each other.
const NESTED_MAX: usize = 8;

/// Appends the key of a text. `None` when that takes a tree; what was appended is then of no use.
pub(super) fn write(key: &mut String, text: &str) -> Option<()> {
    let mut text = Plain::new(text);
    value(key, &mut text, NESTED_MAX)?;
    text.peek().is_none().then_some(())
}

fn value(key: &mut String, text: &mut Plain<'_>, nested: usize) -> Option<()> {
    match text.peek()? {
        b'"' => key.extend(["\"", text.string()?, "\""]),
        b'{' => object(key, text, nested.checked_sub(1)?)?,
        b'[' => list(key, text, nested.checked_sub(1)?)?,
        b't' | b'f' | b'n' => key.push_str(text.word()?),
        _ => key.push_str(text.whole_number()?),
    }
    Some(())
}

fn object(key: &mut String, text: &mut Plain<'_>, nested: usize) -> Option<()> {
    text.take(b'{')?;
    if text.take(b'}').is_some() {
        return Some(());
    }
    let mut names = [""; NAMES_MAX];
    for n_names in 0..NAMES_MAX {
        let name = text.string()?;
        let known = names.iter().take(n_names).any(|known| *known == name);
        if known || name.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        *names.get_mut(n_names)? = name;
        text.take(b':')?;
        key.extend([if n_names > 0 { "|" } else { "" }, name, "|"]);
        value(key, text, nested)?;
        if text.take(b'}').is_some() {
            return Some(());
        }
        text.take(b',')?;
    }
    None
}

fn list(key: &mut String, text: &mut Plain<'_>, nested: usize) -> Option<()> {
    text.take(b'[')?;
    key.push('[');
    let mut bar = "";
    while text.take(b']').is_none() {
        if !bar.is_empty() {
            text.take(b',')?;
        }
        key.push_str(bar);
        value(key, text, nested)?;
        bar = "|";
    }
    key.push(']');
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::uid::damage::Damage;

    fn written(text: &str) -> Option<String> {
        let mut key = String::new();
        write(&mut key, text).map(|()| key)
    }

    #[test]
    fn plain_params_need_no_tree() {
        let check =
            |text: &str, expected: &str| assert_eq!(written(text).as_deref(), Some(expected));
        check(
            r#" { "a" : 1 , "b":"x", "c":[true,null,-5,[ ]] } "#,
            r#"a|1|b|"x"|c|[true|null|-5|[]]"#,
        );
        check(r#"{"a":{"b":{}},"ü":"é"}"#, r#"a|b||ü|"é""#);
        check("999999999999999", "999999999999999");
        check("\"\"", "\"\"");
    }

    #[test]
    fn what_javascript_sees_otherwise_is_left_to_the_tree() {
        let odd = [
            r#"{"1":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":"\n"}"#,
            r#"{"\u0061":1}"#,
            "-0",
            "1.0",
            "1e2",
            "9999999999999999",
            "[1,2.5]",
            "[[[[[[[[[1]]]]]]]]]",
        ];
        let no_json =
            ["[1 2]", "{\"a\" 1}", "{\"a\":1,}", "", "-", "1-1", "tru", "{}{}", "\"", "{"];
        for text in odd.into_iter().chain(no_json) {
            assert_eq!(written(text), None, "{text}");
        }
        let many = |n: usize| {
            let fields: Vec<_> = (0..n).map(|n| format!("\"k{n}\":{n}")).collect();
            written(&format!("{{{}}}", fields.join(",")))
        };
        assert!(many(NAMES_MAX).is_some());
        assert_eq!(many(NAMES_MAX + 1), None);
    }

    static PIECES: [&[u8]; 8] = [b"\"", b"\\", b"{", b"[", b",", b"-0", b"\"a\":", b"1e9"];

    #[test]
    fn damaged_params_have_the_key_of_their_tree_or_none() {
        let known = br#"{"a":1,"b":[{"c":"text","d":null},-12],"a2":{"e":true}}"#;
        let mut damage = Damage::new(0x5eed_0061_c0ff_ee61, &PIECES);
        let mut n_written = 0;
        for _ in 0..40_000 {
            let bytes = damage.copy(known);
            let Ok(text) = std::str::from_utf8(&bytes) else { continue };
            let tree = serde_json::from_str::<Value>(text).ok();
            if let (Some(written), Some(tree)) = (written(text), tree) {
                let mut expected = String::new();
                super::super::write_value(&mut expected, &tree);
                assert_eq!(written, expected, "{text}");
                n_written += 1;
            }
        }
        assert!(n_written > 500, "{n_written}");
    }
}
