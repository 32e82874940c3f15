//! Numbers between JSON text, which has any digits, and the formats that have doubles and 64-bit integers.
//!
//! JavaScript knows doubles only, so a text means the double that it is nearest to, and a double is written as
//! JavaScript writes it. The one exception are integers that no double is: they are a `BigInt` where a format
//! has one, and keep all their digits.

use std::io::Write as _;

/// Largest integer that a JavaScript number holds exactly.
const SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Texts with fewer digits are doubles, whatever the digits are.
const SURE_LEN: usize = 16;

/// What a number in a text is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number<'a> {
    /// A double.
    Double(f64),
    /// An integer that no double is: its digits and sign.
    Big(&'a str),
}

/// Reads a number of a well-formed JSON text.
pub(super) fn read(text: &str) -> Number<'_> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole && digits.len() < SURE_LEN {
        #[expect(clippy::cast_precision_loss, reason = "fewer digits than doubles have")]
        return Number::Double(text.parse::<i64>().unwrap_or(0) as f64);
    }
    let number: f64 = text.parse().unwrap_or(0.0);
    if whole && !is(number, text) { Number::Big(text) } else { Number::Double(number) }
}

/// Whether digits are those of a double: its exact value, or what JavaScript prints for it.
fn is(number: f64, digits: &str) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "a number out of range equals no i128")]
    let exact = digits.parse::<i128>().is_ok_and(|whole| number as i128 == whole);
    let printed = || {
        let mut text = Vec::new();
        push(&mut text, number);
        text == digits.as_bytes()
    };
    exact || printed()
}

/// Writes a double as `JSON.stringify` does.
// ECMAScript: Number::toString. Rust's `{}` and `{:e}` give the same shortest digits.
pub(super) fn push(out: &mut Vec<u8>, number: f64) {
    let size = number.abs();
    // Writing to memory cannot fail.
    let _ = if !number.is_finite() {
        out.write_all(b"null")
    } else if number.fract() == 0.0 && size <= SAFE_INTEGER {
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range")]
        let whole = number as i64;
        write!(out, "{whole}")
    } else if (1e-6..1e21).contains(&size) {
        write!(out, "{number}")
    } else if size >= 1e21 {
        let text = format!("{number:e}");
        write!(out, "{}", text.replace('e', "e+"))
    } else {
        write!(out, "{number:e}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_javascript_does() {
        let check = |number: f64, expected: &str| {
            let mut out = Vec::new();
            push(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(-0.0, "0");
        check(1.0, "1");
        check(-1.5, "-1.5");
        check(0.1 + 0.2, "0.30000000000000004");
        check(1e20, "100000000000000000000");
        check(1e21, "1e+21");
        check(-1.5e300, "-1.5e+300");
        check(0.000_001, "0.000001");
        check(0.000_000_1, "1e-7");
        check(1_152_921_504_606_846_976.0, "1152921504606847000");
        check(f64::NAN, "null");
        check(f64::NEG_INFINITY, "null");
    }

    #[test]
    fn integers_that_no_double_is_keep_their_digits() {
        let double = |text: &str, expected: f64| assert_eq!(read(text), Number::Double(expected));
        let big = |text: &str| assert_eq!(read(text), Number::Big(text));
        double("0", 0.0);
        double("-7", -7.0);
        double("1.0", 1.0);
        double("1e3", 1000.0);
        double("9007199254740992", 9_007_199_254_740_992.0);
        double("1152921504606846976", 1_152_921_504_606_846_976.0);
        double("1152921504606847000", 1_152_921_504_606_846_976.0);
        double("100000000000000000000", 1e20);
        double("9007199254740993.0", 9_007_199_254_740_992.0);
        big("9007199254740993");
        big("-9007199254740993");
        big("18446744073709551615");
        big("123456789012345678901234567890123456789012");
    }
}
