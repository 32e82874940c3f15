//! The table of limits: everything that a guest, a peer or a client can make grow, what happens one past the
//! bound, what counts it, and the tests that go there.
//!
//! A limit is an option, or a constant where nobody needs another value. `docs/limits.md` is written from this
//! table; `tests/it/limits.rs` checks that its options, constants, metrics and tests exist, and that no bound of
//! the source is missing. Not here: the limits themselves, which stand where they are kept.

mod guest;
mod mesh;
mod node;

/// What a limit is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each call of an action; the schema may ask for less.
    Action,
    /// Each handler of a service that runs.
    Handler,
    /// Each instance of a service.
    Instance,
    /// Each service, or the file that it comes from.
    Service,
    /// Each other node of the mesh, or its connection.
    Peer,
    /// The whole node.
    Node,
}

/// Where the number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// An option of the configuration, by its name.
    Option(&'static str),
    /// A constant: its file below `host/src`, and its name.
    Constant(&'static str, &'static str),
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Where its number stands.
    pub place: Place,
    /// What is bounded; empty for options, which say it themselves.
    pub what: &'static str,
    /// What it is counted for.
    pub scope: Scope,
    /// What happens to one more: the type of the error, or what is done.
    pub beyond: &'static str,
    /// The metric that counts it; `None` where nothing is refused, only slowed down, cut or told at once to
    /// whoever asked.
    pub metric: Option<&'static str>,
    /// The test that goes to the limit.
    pub at: &'static str,
    /// The test that goes past it.
    pub past: &'static str,
}

impl Limit {
    const fn of(place: Place, what: &'static str, scope: Scope) -> Self {
        Self { place, what, scope, beyond: "", metric: None, at: "", past: "" }
    }

    const fn beyond(mut self, beyond: &'static str) -> Self {
        self.beyond = beyond;
        self
    }

    const fn counted(mut self, metric: &'static str) -> Self {
        self.metric = Some(metric);
        self
    }

    /// One test goes to the limit and past it.
    const fn shown(mut self, test: &'static str) -> Self {
        self.at = test;
        self.past = test;
        self
    }

    const fn shown_apart(mut self, at: &'static str, past: &'static str) -> Self {
        self.at = at;
        self.past = past;
        self
    }
}

const fn option(name: &'static str, scope: Scope) -> Limit {
    Limit::of(Place::Option(name), "", scope)
}

const fn constant(
    file: &'static str,
    name: &'static str,
    scope: Scope,
    what: &'static str,
) -> Limit {
    Limit::of(Place::Constant(file, name), what, scope)
}

/// A part of the table, with its heading.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Who can make these things grow.
    pub who: &'static str,
    /// The limits.
    pub limits: &'static [Limit],
}

/// The table.
#[must_use]
pub fn table() -> [Part; 3] {
    [
        Part { who: "What a guest can make grow", limits: guest::LIMITS },
        Part { who: "What the mesh can make grow", limits: mesh::LIMITS },
        Part { who: "What files, clients and time can make grow", limits: node::LIMITS },
    ]
}
