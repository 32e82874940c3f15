//! Option `protocolVersion`: what this node speaks to which nodes.

/// Which versions of the protocol a node takes part in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Version 5 only, as Moleculer 0.15.
    #[default]
    V5,
    /// Version 4 only, as Moleculer 0.14.
    V4,
    /// Both: every node is spoken to in its own.
    Auto,
}

impl Protocol {
    /// As it is written in the option.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V5 => "5",
            Self::V4 => "4",
            Self::Auto => "auto",
        }
    }

    /// What a word means, in any case.
    #[must_use]
    pub fn from_name(word: &str) -> Option<Self> {
        let all = [Self::V5, Self::V4, Self::Auto];
        all.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(word))
    }
}
