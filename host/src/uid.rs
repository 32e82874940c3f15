//! Identifiers and randomness: the one place that makes them.

use std::sync::Arc;

use uuid::Uuid;

#[cfg(test)]
pub(crate) mod damage;

/// A new identifier for a context, a node run or a ping: a UUID v4 in lower-case text.
///
/// Other nodes treat identifiers as opaque text, and so does this one.
#[must_use]
pub fn new() -> Arc<str> {
    let mut text = [0u8; uuid::fmt::Hyphenated::LENGTH];
    Arc::from(&*Uuid::new_v4().hyphenated().encode_lower(&mut text))
}

/// A random number below `bound` (0 when `bound` is 0). Good enough to spread load, not for secrets.
#[must_use]
pub fn random_below(bound: usize) -> usize {
    let Ok(wide) = u128::try_from(bound) else { return 0 };
    if wide == 0 {
        return 0;
    }
    usize::try_from(Uuid::new_v4().as_u128() % wide).unwrap_or(0)
}
