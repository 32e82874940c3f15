//! Event patterns: does a name match `user.*`?
//!
//! The rules are those of moleculer: src/utils.js match, odd ones included, because every node of a mesh
//! must come to the same answer: `user*` takes `user.x`, and in a pattern that needs a regular expression
//! a dot takes any character.

use std::borrow::Cow;

use regex::Regex;

/// A pattern that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("'{pattern}' is not a pattern: {}", last_line(source))]
pub struct Error {
    pattern: String,
    #[source]
    source: Box<regex::Error>,
}

/// The sentence of a regular-expression error, without the drawing above it.
fn last_line(error: &regex::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// No wildcard.
    Exact(Box<str>),
    /// `prefix**`
    Prefix(Box<str>),
    /// `prefix*`: no dot behind the character that follows the prefix.
    Segment(Box<str>),
    /// `*`: any name without a dot.
    OneWord,
    /// `**`
    All,
    /// Everything else.
    Regex(Box<Regex>),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`Error`] when it holds regular-expression syntax that is not well-formed, such as `a.(b?`.
    pub fn compile(pattern: &str) -> Result<Self, Error> {
        Ok(Self(match simple(pattern) {
            Some(kind) => kind,
            None => Kind::Regex(Box::new(regular_expression(pattern)?)),
        }))
    }

    /// Whether a concrete name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Kind::Exact(text) => **text == *name,
            Kind::Prefix(prefix) => name.starts_with(&**prefix),
            Kind::Segment(prefix) => name
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.chars().skip(1).all(|c| c != '.')),
            Kind::OneWord => !name.contains('.'),
            Kind::All => true,
            Kind::Regex(regex) => regex.is_match(&utf16_units(name)),
        }
    }

    /// The name that it takes, when it takes only one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        match &self.0 {
            Kind::Exact(text) => Some(text),
            _ => None,
        }
    }
}

/// Whether nodes of JavaScript can compile a pattern. Every emit of theirs fails while some node of the mesh
/// subscribes to one that they cannot (moleculer: src/utils.js match, called by src/registry/event-catalog.js).
/// Of what only the regular expressions here understand, it is a repetition of something that is none there:
/// after another repetition, at the beginning of a part; or a class within a class.
#[must_use]
pub fn suits_javascript(pattern: &str) -> bool {
    if simple(pattern).is_some() {
        return true;
    }
    // The beginning, where nothing can be repeated either.
    let mut before = '^';
    let mut in_class = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let _ = chars.next();
                before = 'a';
                continue;
            }
            '[' if in_class => return false,
            '[' => in_class = true,
            ']' => in_class = false,
            '+' | '{' if !in_class && "*+}^$|(".contains(before) => return false,
            _ => {}
        }
        before = c;
    }
    true
}

/// Whether a name matches a pattern; one that cannot be compiled matches nothing.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    Pattern::compile(pattern).is_ok_and(|pattern| pattern.matches(name))
}

fn simple(pattern: &str) -> Option<Kind> {
    if pattern.contains('?') {
        return None;
    }
    let Some(first_star) = pattern.find('*') else { return Some(Kind::Exact(pattern.into())) };
    let stars = pattern.get(first_star..).unwrap_or_default();
    let prefix = pattern.get(..first_star).unwrap_or_default();
    match (prefix, stars) {
        ("", "*") => Some(Kind::OneWord),
        ("", "**") => Some(Kind::All),
        (prefix, "*") => Some(Kind::Segment(prefix.into())),
        (prefix, "**") => Some(Kind::Prefix(prefix.into())),
        _ => None,
    }
}

/// Only a leading `$` is escaped; the rest keeps its meaning in a regular expression.
fn regular_expression(pattern: &str) -> Result<Regex, Error> {
    let escape = if pattern.starts_with('$') { "\\" } else { "" };
    let body = pattern
        .replace('?', ".")
        .replace("**", "\u{a7}\u{a7}\u{a7}")
        .replace('*', "[^\\.]*")
        .replace("\u{a7}\u{a7}\u{a7}", ".*");
    Regex::new(&format!("^{escape}{}$", utf16_units(&body)))
        .map_err(|source| Error { pattern: pattern.to_owned(), source: Box::new(source) })
}

/// JavaScript's regular expressions count UTF-16 units, so a `?` takes half of an emoji there: such a
/// character becomes two of a private plane, one per unit.
fn utf16_units(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| c.len_utf16() == 1) {
        return Cow::Borrowed(text);
    }
    let stand_in = |unit: u16| char::from_u32(0xF_0000 + u32::from(unit)).unwrap_or_default();
    let mut units = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        match c.encode_utf16(&mut [0; 2]) {
            [_] => units.push(c),
            pair => units.extend(pair.iter().map(|unit| stand_in(*unit))),
        }
    }
    Cow::Owned(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_moleculer() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} should take {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} should not take {name}");
            }
        };
        check("user.created", &["user.created"], &["user.create", "userXcreated"]);
        check("user.*", &["user.created", "user..x"], &["user.a.b", "user"]);
        check("user*", &["userx", "user.x", "user"], &["user.x.y"]);
        check("user.**", &["user.a", "user.a.b"], &["user"]);
        check("**.created", &["a.created", "a.b.created"], &["created"]);
        check("a.**.c", &["a.b.c", "a.b.b.c"], &["a.c"]);
        check("a.c?d", &["a.cxd", "aXcYd"], &["a.cd"]);
        check("f?o.b*", &["foo.bar", "fooXbar"], &["fo.bar"]);
        check("a+b?", &["aabx"], &["a+bx"]);
        check("*", &["x"], &["x.y"]);
        check("**", &["x", "x.y"], &[]);
        check("$node.*", &["$node.x"], &["node.x"]);
        check("$node.?", &["$node.x"], &["$node.xy"]);
    }

    #[test]
    fn a_broken_pattern_is_an_error_and_matches_nothing() {
        assert!(Pattern::compile("a.(b?").is_err());
    }

    // node: new RegExp of what moleculer: src/utils.js match makes of each
    #[test]
    fn patterns_that_javascript_cannot_compile_are_known() {
        for fine in
            ["user.*", "a+b?", "a.(b|c)?", "[a+]?.x", "a\\++?", "x{2}y?", "**.a", "a.c?d", "+a"]
        {
            assert!(suits_javascript(fine), "{fine}");
        }
        for wrong in
            ["a?*+", "a++?", "x{2}{3}?", "+a?", "a|+?", "(+a)?", "[a-[b]]?", "a.**+.b", "^+a?"]
        {
            assert!(!suits_javascript(wrong), "{wrong}");
        }
        assert!(!matches("a.(b?", "a.(bc"));
    }
}
