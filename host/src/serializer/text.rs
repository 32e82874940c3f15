//! JSON text that grows part by part: what other formats are read into.

use bytes::Bytes;

use crate::clock;
use crate::payload;
use crate::serializer::number;

/// A JSON text, in the form that `JSON.stringify` gives it.
#[derive(Debug, Default)]
pub(super) struct JsonText {
    out: Vec<u8>,
    /// Whether a comma must stand before the next part.
    comma: bool,
}

/// A state that a text can be taken back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    len: usize,
    comma: bool,
}

impl JsonText {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity), comma: false }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { len: self.out.len(), comma: self.comma }
    }

    /// Forgets what came after the mark.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.out.truncate(mark.len);
        self.comma = mark.comma;
    }

    /// The text.
    pub(super) fn finish(self) -> Bytes {
        self.out.into()
    }

    fn part(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    pub(super) fn begin(&mut self, bracket: u8) {
        self.part();
        self.out.push(bracket);
        self.comma = false;
    }

    pub(super) fn end(&mut self, bracket: u8) {
        self.out.push(bracket);
        self.comma = true;
    }

    pub(super) fn key(&mut self, key: &str) {
        self.text(key);
        self.out.push(b':');
        self.comma = false;
    }

    pub(super) fn text(&mut self, text: &str) {
        self.part();
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }

    pub(super) fn number(&mut self, number: f64) {
        self.part();
        number::push(&mut self.out, number);
    }

    pub(super) fn integer(&mut self, integer: i128) {
        // Most integers are small, and 128 bits take longer to print.
        match i64::try_from(integer) {
            Ok(integer) => self.display(integer),
            Err(_) => self.display(integer),
        }
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        use std::io::Write as _;
        self.part();
        let _ = write!(self.out, "{value}");
    }

    /// What is JSON already, and stands as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.part();
        self.out.extend_from_slice(text.as_bytes());
    }

    /// The text of a moment in milliseconds since 1970.
    pub(super) fn date(&mut self, ms: f64) {
        match clock::date_text(ms) {
            Some(text) => self.text(&text),
            None => self.raw("null"),
        }
    }

    /// A regular expression as a literal of JavaScript shows it: `JSON.stringify` would leave nothing of it.
    pub(super) fn regex(&mut self, source: &str, flags: &str) {
        self.text(&format!("/{source}/{flags}"));
    }

    /// The JSON form of a Node.js `Buffer`.
    pub(super) fn buffer(&mut self, bytes: &[u8]) {
        self.part();
        payload::write_buffer_json(bytes, &mut self.out);
    }
}
