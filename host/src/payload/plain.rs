//! JSON text that needs no tree to be understood: what most params of calls are.
//!
//! A reader for those who want to know little of a text and have another way when it is not plain: they get
//! `None` for escapes and for numbers that are not small and whole. It never panics, whatever the text is; of
//! text that is no JSON it may say anything.

use memchr::memchr2;

/// Digits of a whole number that JavaScript knows exactly and writes as it is written.
const DIGITS_MAX: usize = 15;

/// A text and how far it has been read.
#[derive(Debug)]
pub struct Plain<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Plain<'a> {
    /// Begins to read.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is no white space; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Goes on behind this byte, if it is the next one.
    pub fn take(&mut self, wanted: u8) -> Option<()> {
        let found = self.peek()? == wanted;
        self.at += usize::from(found);
        found.then_some(())
    }

    /// A string without escapes, without its quotes.
    pub fn string(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let rest = self.text.get(self.at..)?;
        let end = memchr2(b'"', b'\\', rest.as_bytes())?;
        self.at += end;
        self.take(b'"')?;
        rest.get(..end)
    }

    /// `true`, `false` or `null`.
    pub fn word(&mut self) -> Option<&'static str> {
        let rest = self.text.get(self.at..)?;
        let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word))?;
        self.at += word.len();
        Some(word)
    }

    /// A whole number, as it is written.
    pub fn whole_number(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let len = rest.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'-')).count();
        let number = rest.get(..len)?;
        let digits = number.strip_prefix('-').unwrap_or(number);
        let plain = (1..=DIGITS_MAX).contains(&digits.len()) && !digits.contains('-');
        let fraction = matches!(rest.as_bytes().get(len), Some(b'.' | b'e' | b'E'));
        if !plain || fraction || number == "-0" {
            return None;
        }
        self.at += len;
        Some(number)
    }
}
