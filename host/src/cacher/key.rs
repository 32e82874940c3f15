//! The key under which the result of a call is cached, letter for letter as Moleculer JS 0.15 makes it, so
//! that nodes of both kinds share a cache (moleculer: src/cachers/base.js defaultKeygen).
//!
//! Params are JSON, so there are no dates and no `undefined` inside of them. Objects list their properties
//! as JavaScript does: those that look like indexes first, in ascending order, then the others as written.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::payload::Payload;

mod path;
mod text;

pub use path::Path;

/// Length of a SHA-256 hash in base64; a shorter limit of the key hashes nothing.
const HASH_LEN: usize = 44;

/// Room for params that is taken at once; a key that is longer, or is going to be hashed, grows instead.
const PARAMS_ROOM_MAX: usize = 1 << 10;

/// From which values the keys of an action are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// From all params.
    #[default]
    Params,
    /// From these values; with none of them, all calls have the same result.
    Selected(Vec<Path>),
}

/// Makes the key of a call.
#[must_use]
pub fn of(ctx: &Context, keys: &Keys, params_len_max: Option<usize>) -> String {
    // Room for the name and a few values, or for all params: a key of them is about as long as they are.
    let values_len = match keys {
        Keys::Params => ctx.params.len().min(PARAMS_ROOM_MAX),
        Keys::Selected(_) => 0,
    };
    let mut key = String::with_capacity(ctx.name.len() + 48 + values_len);
    key.push_str(&ctx.name);
    let Keys::Selected(paths) = keys else {
        key.push(':');
        let start = key.len();
        write_params(&mut key, ctx);
        hash_tail(&mut key, start, params_len_max);
        return key;
    };
    if paths.is_empty() {
        return key;
    }
    key.push(':');
    let start = key.len();
    let lookup = Lookup::new(ctx, paths);
    for (index, path) in paths.iter().enumerate() {
        if index > 0 {
            key.push('|');
        }
        let part = key.len();
        let value = lookup.get(path);
        write_found(&mut key, value.as_deref());
        // Of several values, those with parts are hashed by themselves.
        if paths.len() > 1 && matches!(value.as_deref(), Some(Value::Object(_) | Value::Array(_))) {
            hash_tail(&mut key, part, params_len_max);
        }
    }
    hash_tail(&mut key, start, params_len_max);
    key
}

/// Where the values of a key come from; meta and headers are parsed only when a path leads there.
struct Lookup<'a> {
    ctx: &'a Context,
    meta: Value,
    headers: Value,
}

impl<'a> Lookup<'a> {
    fn new(ctx: &'a Context, paths: &[Path]) -> Self {
        let needs = |source| paths.iter().any(|path| path.source() == source);
        let meta = if needs(path::Source::Meta) { ctx.meta().to_map() } else { Map::new() };
        let headers = if needs(path::Source::Headers) { ctx.headers.to_map() } else { Map::new() };
        Self { ctx, meta: Value::Object(meta), headers: Value::Object(headers) }
    }

    fn get(&self, path: &Path) -> Option<Cow<'_, Value>> {
        match path.source() {
            path::Source::Params => path.find(self.ctx.params_value()?),
            path::Source::Meta => path.find(&self.meta),
            path::Source::Headers => path.find(&self.headers),
        }
    }
}

fn write_params(key: &mut String, ctx: &Context) {
    match &ctx.params {
        // A Buffer is an object whose properties are its indexes.
        Payload::Bytes(bytes) => {
            for (index, byte) in bytes.iter().enumerate() {
                let bar = if index == 0 { "" } else { "|" };
                push_fmt(key, format_args!("{bar}{index}|{byte}"));
            }
        }
        Payload::Json(text) => {
            let start = key.len();
            if text::write(key, text).is_none() {
                key.truncate(start);
                write_found(key, ctx.params_value());
            }
        }
        Payload::Absent | Payload::Stream(_) => write_found(key, None),
    }
}

fn write_found(key: &mut String, value: Option<&Value>) {
    match value {
        Some(value) => write_value(key, value),
        None => key.push_str("undefined"),
    }
}

// moleculer: src/cachers/base.js _generateKeyFromObject
fn write_value(key: &mut String, value: &Value) {
    match value {
        Value::Null => key.push_str("null"),
        Value::Bool(true) => key.push_str("true"),
        Value::Bool(false) => key.push_str("false"),
        Value::Number(number) => write_number(key, number),
        Value::String(text) => {
            key.push('"');
            key.push_str(text);
            key.push('"');
        }
        Value::Array(items) => {
            key.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    key.push('|');
                }
                write_value(key, item);
            }
            key.push(']');
        }
        Value::Object(map) => write_object(key, map),
    }
}

fn write_object(key: &mut String, map: &Map<String, Value>) {
    let mut bar = "";
    let mut write = |name: &String, value: &Value| {
        key.push_str(bar);
        key.push_str(name);
        key.push('|');
        write_value(key, value);
        bar = "|";
    };
    if map.keys().all(|name| array_index(name).is_none()) {
        map.iter().for_each(|(name, value)| write(name, value));
        return;
    }
    let mut indexes: Vec<_> =
        map.iter().filter_map(|(name, value)| Some((array_index(name)?, name, value))).collect();
    indexes.sort_unstable_by_key(|(index, ..)| *index);
    indexes.iter().for_each(|(_, name, value)| write(name, value));
    let others = map.iter().filter(|(name, _)| array_index(name).is_none());
    others.for_each(|(name, value)| write(name, value));
}

/// The number that a property name stands for when JavaScript sorts it before the others.
fn array_index(name: &str) -> Option<u32> {
    let first = *name.as_bytes().first()?;
    let canonical = first.is_ascii_digit() && (first != b'0' || name.len() == 1);
    // `parse` alone would take `+1`, and the largest index is one less than the largest length.
    if canonical { name.parse().ok().filter(|index| *index != u32::MAX) } else { None }
}

/// A number as JavaScript's `toString` writes it. Numbers beyond 2^53 lose digits there, so they do here.
fn write_number(key: &mut String, number: &Number) {
    const SAFE: u64 = 1 << 53;
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) if whole.unsigned_abs() <= SAFE => push_fmt(key, format_args!("{whole}")),
        (_, Some(float)) => write_float(key, float),
        (Some(whole), None) => push_fmt(key, format_args!("{whole}")),
        (None, None) => push_fmt(key, format_args!("{number}")),
    }
}

// ECMAScript: Number::toString. Rust's `{:e}` gives the same shortest digits.
fn write_float(key: &mut String, float: f64) {
    if float == 0.0 {
        key.push('0');
        return;
    }
    if float < 0.0 {
        key.push('-');
    }
    let scientific = format!("{:e}", float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let n_digits = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    if n_digits <= point && point <= 21 {
        push_fmt(key, format_args!("{digits}{}", zeros(point - n_digits)));
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        push_fmt(key, format_args!("{whole}.{fraction}"));
    } else if -6 < point && point <= 0 {
        push_fmt(key, format_args!("0.{}{digits}", zeros(-point)));
    } else {
        let sign = if point > 0 { "+" } else { "-" };
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        push_fmt(key, format_args!("{first}{dot}{rest}e{sign}{}", (point - 1).abs()));
    }
}

fn push_fmt(key: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = std::fmt::Write::write_fmt(key, text);
}

/// Replaces what begins at `start` and is too long by its beginning and the hash of it all. JavaScript
/// counts UTF-16 units.
// moleculer: src/cachers/base.js _hashedKey
fn hash_tail(key: &mut String, start: usize, len_max: Option<usize>) {
    let Some(max) = len_max.filter(|max| *max >= HASH_LEN) else { return };
    let Some(tail) = key.get(start..) else { return };
    // A text has at least as many bytes as UTF-16 units.
    if tail.len() <= max || tail.encode_utf16().count() <= max {
        return;
    }
    let hash = base64(&Sha256::digest(tail.as_bytes()));
    let units: Vec<u16> = tail.encode_utf16().take(max - HASH_LEN).collect();
    let head = String::from_utf16_lossy(&units);
    key.truncate(start);
    key.push_str(&head);
    key.push_str(&hash);
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |bits: u32| LETTERS.get((bits & 63) as usize).map_or('=', |&byte| byte.into());
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letters = [18, 12, 6, 0].map(|shift| letter(bits >> shift));
        text.extend(letters.iter().take(chunk.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    text
}

#[cfg(test)]
mod tests;
