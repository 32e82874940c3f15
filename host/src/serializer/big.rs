//! Integers beyond 64 bits: decimal digits in text, big-endian bytes in CBOR.

/// Longest magnitude that is converted: the time that it takes grows with the square of the length.
const LEN_MAX: usize = 128;

/// Powers of ten and of two that fit into a digit of either base.
const TEN_POWER: u64 = 1_000_000_000;
const TEN_DIGITS: usize = 9;

/// The decimal digits of `magnitude`, or of `-1 - magnitude`.
///
/// # Errors
/// When it is too long.
pub(super) fn digits(negative: bool, magnitude: &[u8]) -> Result<String, String> {
    if magnitude.len() > LEN_MAX {
        return Err(format!("an integer of {} bytes", magnitude.len()));
    }
    // Base 10^9, the least significant first.
    let mut groups: Vec<u64> = vec![0];
    for byte in magnitude {
        multiply_add(&mut groups, 256, u64::from(*byte), TEN_POWER);
    }
    if negative {
        multiply_add(&mut groups, 1, 1, TEN_POWER);
    }
    let mut text = String::from(if negative { "-" } else { "" });
    let mut groups = groups.iter().rev();
    text.push_str(&groups.next().copied().unwrap_or(0).to_string());
    for group in groups {
        text.push_str(&format!("{group:09}"));
    }
    Ok(text)
}

/// Sign and magnitude of decimal digits, as [`digits`] takes them; `None` when it would be too long.
pub(super) fn magnitude(digits: &str) -> Option<(bool, Vec<u8>)> {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    // Two digits take less than a byte.
    if digits.len() > 2 * LEN_MAX {
        return None;
    }
    // Base 256, the least significant first.
    let mut bytes: Vec<u64> = vec![0];
    for group in digits.as_bytes().chunks(TEN_DIGITS) {
        let (mut value, mut scale) = (0, 1);
        for digit in group {
            value = value * 10 + u64::from(digit.wrapping_sub(b'0'));
            scale *= 10;
        }
        multiply_add(&mut bytes, scale, value, 256);
    }
    if negative {
        subtract_one(&mut bytes);
    }
    while bytes.len() > 1 && bytes.last() == Some(&0) {
        bytes.pop();
    }
    Some((negative, bytes.iter().rev().map(|byte| u8::try_from(*byte).unwrap_or(0)).collect()))
}

/// `number * factor + summand`, digit by digit.
fn multiply_add(number: &mut Vec<u64>, factor: u64, summand: u64, base: u64) {
    let mut carry = summand;
    for digit in number.iter_mut() {
        let sum = *digit * factor + carry;
        *digit = sum % base;
        carry = sum / base;
    }
    while carry > 0 {
        number.push(carry % base);
        carry /= base;
    }
}

fn subtract_one(number: &mut [u64]) {
    for digit in number {
        if *digit > 0 {
            *digit -= 1;
            return;
        }
        *digit = 255;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_bytes_are_the_same_number() {
        let check = |text: &str, negative: bool, bytes: &[u8]| {
            assert_eq!(digits(negative, bytes).unwrap(), text);
            assert_eq!(magnitude(text).unwrap(), (negative, bytes.to_vec()));
        };
        check("0", false, &[0]);
        check("256", false, &[1, 0]);
        check("-1", true, &[0]);
        check("-256", true, &[255]);
        check("-257", true, &[1, 0]);
        check("18446744073709551616", false, &[1, 0, 0, 0, 0, 0, 0, 0, 0]);
        check("-18446744073709551617", true, &[1, 0, 0, 0, 0, 0, 0, 0, 0]);
        check(
            "1000000000000000000000000000",
            false,
            &[0x03, 0x3b, 0x2e, 0x3c, 0x9f, 0xd0, 0x80, 0x3c, 0xe8, 0, 0, 0],
        );
        assert!(digits(false, &[255; LEN_MAX]).is_ok());
        assert!(digits(false, &[255; LEN_MAX + 1]).is_err());
        assert!(magnitude(&"9".repeat(2 * LEN_MAX + 1)).is_none());
    }
}
