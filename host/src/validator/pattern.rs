//! Regular expressions of JavaScript, translated for an engine that cannot be made to run for ever.
//!
//! Patterns come from guests and texts from anybody, so backtracking without a bound is out of the question.
//! What needs no backtracking runs in linear time; lookaround and references to groups run with a bound on
//! their steps, and a text that exceeds it does not match. Differences to JavaScript: `.` and classes take
//! whole characters, not halves of surrogate pairs; `i` knows a few more pairs of letters (K and the sign of
//! Kelvin).

use fancy_regex::{Regex, RegexBuilder};

use super::javascript::SPACES;

/// Longest pattern, in bytes.
pub const PATTERN_LEN_MAX: usize = 4_096;

/// Steps back that a match may take.
const BACKTRACK_MAX: usize = 100_000;

/// Bytes of a compiled pattern.
const COMPILED_LEN_MAX: usize = 1 << 20;

/// What `.` matches.
pub(super) const DOT: &str = r"[^\n\r\x{2028}\x{2029}]";

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles what `new RegExp(source, flags)` takes.
    pub(super) fn compile(source: &str, flags: &str) -> Result<Self, String> {
        if source.len() > PATTERN_LEN_MAX {
            return Err(format!("has {} bytes; the limit is {PATTERN_LEN_MAX}", source.len()));
        }
        let flags = Flags::read(flags)?;
        let mut translator = Translator::new(source, &flags);
        translator.pattern()?;
        let mut pattern = translator.out;
        if flags.sticky {
            pattern = format!("^(?:{pattern})");
        }
        if flags.ignore_case {
            pattern = format!("(?i:{pattern})");
        }
        build(&pattern).map_err(|error| format!("cannot be used: {error}"))
    }

    /// Whether it matches somewhere in a text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text).unwrap_or(false)
    }
}

/// Compiles a pattern in the engine's own syntax.
pub(super) fn build(pattern: &str) -> Result<Pattern, Box<fancy_regex::Error>> {
    RegexBuilder::new(pattern)
        .backtrack_limit(BACKTRACK_MAX)
        .delegate_size_limit(COMPILED_LEN_MAX)
        .build()
        .map(Pattern)
        .map_err(Box::new)
}

#[derive(Default)]
struct Flags {
    ignore_case: bool,
    multiline: bool,
    dot_all: bool,
    unicode: bool,
    sticky: bool,
}

impl Flags {
    fn read(text: &str) -> Result<Self, String> {
        let mut flags = Self::default();
        for (index, flag) in text.char_indices() {
            match flag {
                _ if text.get(..index).is_some_and(|before| before.contains(flag)) => {
                    return Err(format!("has the flag '{flag}' twice"));
                }
                'i' => flags.ignore_case = true,
                'm' => flags.multiline = true,
                's' => flags.dot_all = true,
                'u' => flags.unicode = true,
                'y' => flags.sticky = true,
                // Where a search begins and what it tells are of no matter here.
                'd' | 'g' => {}
                _ => return Err(format!("has the flag '{flag}'; allowed are d, g, i, m, s, u, y")),
            }
        }
        Ok(flags)
    }
}

/// What stands for characters in a pattern.
enum Atom {
    Char(char),
    /// Half of a surrogate pair, which no text has.
    Half(u32),
    /// The inside of a class.
    Set(String),
}

/// A set that nothing is in.
const NOTHING: &str = r"[^\s\S]";

struct Translator<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    flags: &'a Flags,
    groups: u32,
    named: bool,
    out: String,
}

impl<'a> Translator<'a> {
    fn new(source: &'a str, flags: &'a Flags) -> Self {
        let named = source.contains("(?<") && {
            let opens = |part: &str| !part.starts_with(['=', '!']);
            source.split("(?<").skip(1).any(opens)
        };
        let rest = source.chars().peekable();
        Self { rest, flags, groups: count_groups(source), named, out: String::new() }
    }

    fn pattern(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '.' if self.flags.dot_all => self.out.push_str(r"[\s\S]"),
                '.' => self.out.push_str(DOT),
                '^' if self.flags.multiline => {
                    self.out.push_str(r"(?:^|(?<=[\n\r\x{2028}\x{2029}]))");
                }
                '$' if self.flags.multiline => {
                    self.out.push_str(r"(?:$|(?=[\n\r\x{2028}\x{2029}]))");
                }
                '^' | '$' | ')' | '|' => self.out.push(c),
                '*' | '+' | '?' => self.quantifier(c.into())?,
                '{' => match self.counted() {
                    Some(quantifier) => self.quantifier(quantifier)?,
                    None if self.flags.unicode => return Err("has a lone '{'".into()),
                    None => self.out.push_str(r"\{"),
                },
                other => push_char(&mut self.out, other),
            }
        }
        Ok(())
    }

    /// After a quantifier: `?` makes it lazy; another quantifier, which the engine would take for a
    /// possessive one, is an error in JavaScript.
    fn quantifier(&mut self, quantifier: String) -> Result<(), String> {
        self.out.push_str(&quantifier);
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        match self.rest.peek() {
            Some('*' | '+' | '?') => Err("has nothing to repeat".into()),
            _ => Ok(()),
        }
    }

    /// `{n}`, `{n,}` or `{n,m}`, if that is what follows.
    fn counted(&mut self) -> Option<String> {
        let inner: String = self.rest.clone().take_while(|c| *c != '}').collect();
        let closed = self.rest.clone().nth(inner.chars().count()) == Some('}');
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let fits = match inner.split_once(',') {
            None => number(&inner),
            Some((min, max)) => number(min) && (max.is_empty() || number(max)),
        };
        if !closed || !fits {
            return None;
        }
        // The brace at the end as well.
        self.rest.nth(inner.chars().count());
        Some(format!("{{{inner}}}"))
    }

    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        match self.rest.next() {
            Some(c @ (':' | '=' | '!')) => self.out.push(c),
            Some('<') => {
                self.out.push('<');
                if let Some(c) = self.rest.next_if(|c| "=!".contains(*c)) {
                    self.out.push(c);
                    return Ok(());
                }
                let name = self.name()?;
                self.out.push_str(&name);
                self.out.push('>');
            }
            _ => return Err("has a group of a kind that JavaScript does not know".into()),
        }
        Ok(())
    }

    /// The name of a group, up to its `>`.
    fn name(&mut self) -> Result<String, String> {
        let mut name = String::new();
        for c in self.rest.by_ref() {
            match c {
                '>' if !name.is_empty() => return Ok(name),
                c if c.is_alphanumeric() || c == '_' => name.push(c),
                _ => break,
            }
        }
        Err("has a group whose name is not made of letters, digits and _".into())
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.rest.peek() {
            Some('b') => self.boundary(
                r"(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))",
            ),
            Some('B') => self.boundary(
                r"(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))",
            ),
            Some('k') if self.named => {
                self.rest.next();
                self.rest.next_if_eq(&'<').ok_or("has \\k without a name")?;
                let name = self.name()?;
                self.out.push_str(&format!("\\k<{name}>"));
            }
            Some(c @ '1'..='9') if c.to_digit(10).is_some_and(|n| n <= self.groups) => {
                self.out.push_str(&format!("(?:\\{c})"));
                self.rest.next();
                if self.rest.peek().is_some_and(char::is_ascii_digit) {
                    return Err("refers to a group above 9".into());
                }
            }
            _ => match self.atom_after_backslash()? {
                Atom::Char(c) => push_char(&mut self.out, c),
                Atom::Half(_) => self.out.push_str(NOTHING),
                Atom::Set(set) => self.out.push_str(&format!("[{set}]")),
            },
        }
        Ok(())
    }

    fn boundary(&mut self, translated: &str) {
        self.rest.next();
        self.out.push_str(translated);
    }

    /// What a backslash and the characters after it stand for, inside and outside of classes.
    fn atom_after_backslash(&mut self) -> Result<Atom, String> {
        let c = self.rest.next().ok_or("ends with a backslash")?;
        Ok(match c {
            'd' => Atom::Set("0-9".into()),
            'D' => Atom::Set("[^0-9]".into()),
            'w' => Atom::Set("0-9A-Za-z_".into()),
            'W' => Atom::Set("[^0-9A-Za-z_]".into()),
            's' => Atom::Set(SPACES.into()),
            'S' => Atom::Set(format!("[^{SPACES}]")),
            't' => Atom::Char('\t'),
            'n' => Atom::Char('\n'),
            'v' => Atom::Char('\u{b}'),
            'f' => Atom::Char('\u{c}'),
            'r' => Atom::Char('\r'),
            '0'..='7' => self.octal(c),
            'c' => match self.rest.next_if(char::is_ascii_alphabetic) {
                Some(letter) => code(u32::from(letter) % 32),
                None => return Err("has \\c without a letter".into()),
            },
            'x' => self.hex(2).map_or(Atom::Char('x'), code),
            'u' => self.unicode_escape()?,
            'p' | 'P' if self.flags.unicode => self.property(c)?,
            other => Atom::Char(other),
        })
    }

    /// A number of a character, as old JavaScript writes it.
    fn octal(&mut self, first: char) -> Atom {
        let mut value = first.to_digit(8).unwrap_or(0);
        while let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(8)) {
            if value * 8 + digit > 0o377 {
                break;
            }
            value = value * 8 + digit;
            self.rest.next();
        }
        code(value)
    }

    /// Takes exactly so many hexadecimal digits, or nothing.
    fn hex(&mut self, len: usize) -> Option<u32> {
        let digits: String = self.rest.clone().take(len).collect();
        let all = digits.len() == len && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u32::from_str_radix(&digits, 16).ok().filter(|_| all)?;
        self.rest.nth(len - 1);
        Some(value)
    }

    fn unicode_escape(&mut self) -> Result<Atom, String> {
        if self.flags.unicode && self.rest.next_if_eq(&'{').is_some() {
            let digits: String = self.rest.by_ref().take_while(|c| *c != '}').collect();
            let value = u32::from_str_radix(&digits, 16).map_err(|_| "has a wrong \\u{…}")?;
            return Ok(code(value));
        }
        let Some(high) = self.hex(4) else { return Ok(Atom::Char('u')) };
        let mut ahead = self.rest.clone();
        if (0xd800..0xdc00).contains(&high)
            && ahead.next() == Some('\\')
            && ahead.next() == Some('u')
        {
            let before = self.rest.clone();
            self.rest = ahead;
            match self.hex(4) {
                Some(low @ 0xdc00..0xe000) => {
                    return Ok(code(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
                }
                _ => self.rest = before,
            }
        }
        Ok(code(high))
    }

    fn property(&mut self, letter: char) -> Result<Atom, String> {
        self.rest.next_if_eq(&'{').ok_or("has \\p without a name")?;
        let name: String = self.rest.by_ref().take_while(|c| *c != '}').collect();
        let fits = |c: char| c.is_ascii_alphanumeric() || "_=".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            return Err("has \\p without a name".into());
        }
        Ok(Atom::Set(format!("\\{letter}{{{name}}}")))
    }

    /// A class, from behind its `[`.
    fn class(&mut self) -> Result<(), String> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut set = String::new();
        loop {
            let first = match self.rest.next() {
                None => return Err("has a class without ']'".into()),
                Some(']') => break,
                Some('\\') => self.atom_in_class()?,
                Some(c) => Atom::Char(c),
            };
            let mut ahead = self.rest.clone();
            let range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            if !range {
                push_atom(&mut set, &first);
                continue;
            }
            self.rest.next();
            let last = match self.rest.next() {
                Some('\\') => self.atom_in_class()?,
                Some(c) => Atom::Char(c),
                None => return Err("has a class without ']'".into()),
            };
            push_range(&mut set, &first, &last)?;
        }
        self.out.push_str(&match (set.is_empty(), negated) {
            (true, false) => NOTHING.into(),
            (true, true) => r"[\s\S]".into(),
            (false, false) => format!("[{set}]"),
            (false, true) => format!("[^{set}]"),
        });
        Ok(())
    }

    fn atom_in_class(&mut self) -> Result<Atom, String> {
        if self.rest.next_if_eq(&'b').is_some() {
            return Ok(Atom::Char('\u{8}'));
        }
        self.atom_after_backslash()
    }
}

/// Groups that a reference can name.
fn count_groups(source: &str) -> u32 {
    let (mut count, mut in_class) = (0, false);
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => {
                let mut ahead = rest.clone();
                let plain = ahead.next() != Some('?');
                let named = ahead.next() == Some('<') && !matches!(ahead.next(), Some('=' | '!'));
                count += u32::from(plain || named);
            }
            _ => {}
        }
    }
    count
}

fn code(value: u32) -> Atom {
    char::from_u32(value).map_or(Atom::Half(value), Atom::Char)
}

/// Punctuation by number, so that none of it means anything to the engine.
fn push_char(out: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_alphanumeric() {
        out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
    } else {
        out.push(c);
    }
}

fn push_atom(set: &mut String, atom: &Atom) {
    match atom {
        Atom::Char(c) => push_char(set, *c),
        Atom::Half(_) => {}
        Atom::Set(inner) => set.push_str(inner),
    }
}

fn push_range(set: &mut String, first: &Atom, last: &Atom) -> Result<(), String> {
    let number = |atom: &Atom| match atom {
        Atom::Char(c) => Some(u32::from(*c)),
        Atom::Half(half) => Some(*half),
        Atom::Set(_) => None,
    };
    let (Some(from), Some(to)) = (number(first), number(last)) else {
        // Not a range after all: three things beside each other.
        push_atom(set, first);
        push_char(set, '-');
        push_atom(set, last);
        return Ok(());
    };
    if from > to {
        return Err("has a class with a range that ends before it begins".into());
    }
    // Halves of surrogate pairs are left out at either end.
    let from = if (0xd800..0xe000).contains(&from) { 0xe000 } else { from };
    let to = if (0xd800..0xe000).contains(&to) { 0xd7ff } else { to };
    if from <= to {
        set.push_str(&format!("\\x{{{from:X}}}-\\x{{{to:X}}}"));
    }
    Ok(())
}

/// How an error shows a pattern: `pattern.toString()`, put unescaped into a JavaScript string
/// (fastest-validator: lib/rules/string.js), which eats backslashes.
pub(super) fn shown(source: &str, flags: &str) -> String {
    let mut flags: Vec<char> = flags.chars().collect();
    flags.sort_unstable();
    let flags: String = flags.into_iter().collect();
    let source = if source.is_empty() { "(?:)" } else { source };
    unescaped(&format!("/{source}/{flags}"))
}

/// The value of a JavaScript string that is written so.
fn unescaped(text: &str) -> String {
    let flags = Flags { unicode: true, ..Flags::default() };
    let mut reader = Translator::new(text, &flags);
    let mut out = String::new();
    while let Some(c) = reader.rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match reader.rest.peek() {
            Some('d' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P' | 'c') => {}
            Some('b') => {
                reader.rest.next();
                out.push('\u{8}');
            }
            _ => match reader.atom_after_backslash() {
                Ok(Atom::Char(c)) => out.push(c),
                Ok(Atom::Half(_)) => out.push(char::REPLACEMENT_CHARACTER),
                Ok(Atom::Set(_)) | Err(_) => {}
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(source: &str, flags: &str, text: &str) -> bool {
        Pattern::compile(source, flags).unwrap().matches(text)
    }

    #[test]
    fn javascript_patterns_mean_the_same_here() {
        let yes = |source: &str, flags: &str, text: &str| {
            assert!(matches(source, flags, text), "{source}")
        };
        let no = |source: &str, flags: &str, text: &str| {
            assert!(!matches(source, flags, text), "{source}")
        };
        yes(r"^\d+$", "", "12");
        no(r"^\d+$", "", "١");
        no(r"^\d+$", "", "12\n");
        yes(r"^\w+$", "i", "aB_9");
        no(r"^\w+$", "", "ä");
        yes(r"^\s$", "", "\u{feff}");
        no(r"^\s$", "", "\u{85}");
        no("^.$", "", "\u{2028}");
        yes("^.$", "s", "\n");
        yes("^b$", "m", "a\nb\r\nc");
        yes(r"\bfoo\b", "", "a foo.");
        no(r"\bfoo\b", "", "afoo");
        yes(r"^(?=.*[A-Z])(?=.*\d).{4,}$", "", "abC4");
        no(r"^(?=.*[A-Z])(?=.*\d).{4,}$", "", "abcd");
        yes(r"^(a)(b)\2\1$", "", "abba");
        yes(r"^(?<x>a|b)\k<x>$", "", "bb");
        yes(r"(?<!\$)\b7", "", "x 7");
        yes(r"^a{2}{$", "", "aa{");
        yes(r"^[^]$", "", "\n");
        no("[]", "", "a");
        yes(r"^[\d-x]+$", "", "1-x");
        yes(r"^[a-c&&b[~~]+$", "", "a&[~");
        yes(r"^\x41\u0042\cJ\0$", "", "AB\n\0");
        yes(r"^\u{1F600}$", "u", "😀");
        yes(r"^\uD83D\uDE00$", "", "😀");
        yes(r"^\p{Lu}$", "u", "Ä");
        yes(r"^\/\<\>\-$", "", "/<>-");
        yes(r"^[\w.-]+@[\w-]+\.\w+$", "", "a.b-c@d-e.fg");
        yes("b", "y", "b");
        no("b", "y", "ab");
        yes("^[\u{4e00}-\u{9fa5}]+$", "", "日本");
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for wrong in ["(", "[a", "a**", "a++", "*", "\\", "[b-a]", "(?>a)", "(?i)a", "(?<n"] {
            assert!(Pattern::compile(wrong, "").is_err(), "{wrong}");
        }
        assert!(Pattern::compile("a", "ii").is_err());
        assert!(Pattern::compile("a", "x").is_err());
        assert!(Pattern::compile(&"a".repeat(PATTERN_LEN_MAX), "").is_ok());
        assert!(Pattern::compile(&"a".repeat(PATTERN_LEN_MAX + 1), "").is_err());
        assert!(Pattern::compile(r"(\w{500}){500}", "").is_err(), "a pattern that grows");
    }

    #[test]
    fn a_text_that_makes_a_pattern_go_back_too_often_does_not_match() {
        let text = "a".repeat(40) + "!";
        assert!(!matches(r"^(a+)+$", "", &text));
        assert!(!matches(r"^(?=(a+)+$)a", "", &text));
        assert!(!matches(r"^(a|a)*\1$", "", &text));
    }
}
