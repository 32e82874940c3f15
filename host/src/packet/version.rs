//! The versions of the protocol that this node can speak, and how they are written.
//!
//! What differs between them is little (moleculer: 0.14 and 0.15, src/transit.js): version 4 has no `headers`
//! in REQ, RES and EVENT, and marks streams in `meta` where version 5 does in `headers`.

use std::sync::{Arc, LazyLock};

/// A version that this node can speak; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// `"4"`: Moleculer 0.14.
    V4,
    /// `"5"`: Moleculer 0.15.
    V5,
}

impl ProtocolVersion {
    /// All of them, the latest first.
    pub const ALL: [Self; 2] = [Self::V5, Self::V4];

    /// As it stands in `ver`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V5 => "5",
        }
    }

    /// The version that a `ver` means; `None` for one that this node cannot speak. Moleculer compares
    /// strictly, so `"5.0"` is none (moleculer: src/transit.js messageHandler).
    #[must_use]
    pub fn from_wire(ver: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == ver)
    }

    /// The value of `ver`, which all packets of a version share.
    #[must_use]
    pub fn shared(self) -> Arc<str> {
        static V4: LazyLock<Arc<str>> = LazyLock::new(|| ProtocolVersion::V4.as_str().into());
        static V5: LazyLock<Arc<str>> = LazyLock::new(|| ProtocolVersion::V5.as_str().into());
        match self {
            Self::V4 => Arc::clone(&V4),
            Self::V5 => Arc::clone(&V5),
        }
    }

    /// Whether packets have `headers`.
    #[must_use]
    pub fn has_headers(self) -> bool {
        self >= Self::V5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_text_is_a_version() {
        for version in ProtocolVersion::ALL {
            assert_eq!(ProtocolVersion::from_wire(version.as_str()), Some(version));
            assert_eq!(&*version.shared(), version.as_str());
        }
        for strange in ["", "3", "5.0", " 5", "5 (not a string)"] {
            assert_eq!(ProtocolVersion::from_wire(strange), None, "{strange}");
        }
        assert!(ProtocolVersion::V5 > ProtocolVersion::V4);
    }
}
