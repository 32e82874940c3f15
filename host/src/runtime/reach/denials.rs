//! Uses that go beyond the grants of one version of a service: counted, and told once for each thing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::metrics::Metric;

/// Different things of one grant that are told; a guest could try names without end.
const TOLD_MAX: usize = 16;
/// Longest text of what was wanted, in bytes.
const WANTED_LEN_MAX: usize = 200;

/// What would have allowed a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runtime) enum Grant {
    /// `dirs`
    Dirs,
    /// `hosts`
    Hosts,
    /// `tcp`
    Tcp,
}

impl Grant {
    /// Its name in the section `[grants]`.
    pub(in crate::runtime) fn name(self) -> &'static str {
        match self {
            Self::Dirs => "dirs",
            Self::Hosts => "hosts",
            Self::Tcp => "tcp",
        }
    }
}

/// What was denied.
pub(in crate::runtime) struct Denials {
    service: Arc<str>,
    counter: Metric,
    told: Mutex<BTreeMap<Grant, BTreeSet<String>>>,
}

impl Denials {
    pub(super) fn new(service: Arc<str>, counter: Metric) -> Self {
        Self { service, counter, told: Mutex::default() }
    }

    /// Counts a use, and says what was wanted unless that was said before.
    pub(in crate::runtime) fn note(&self, grant: Grant, wanted: &str) {
        self.counter.increment();
        let wanted = wanted.get(..wanted.floor_char_boundary(WANTED_LEN_MAX)).unwrap_or(wanted);
        let Some(n_told) = self.tell(grant, wanted) else { return };
        let (service, grant) = (&*self.service, grant.name());
        let more = if n_told == TOLD_MAX { "; what else it wants of this is not told" } else { "" };
        tracing::warn!(
            service,
            grant,
            wanted,
            "denied: '{service}' wanted {wanted}; to allow it, add it to '{grant}' in the section [grants] of \
             its .toml{more}"
        );
    }

    /// How many things of a grant have been told, this one included; `None` when it is not to be told.
    fn tell(&self, grant: Grant, wanted: &str) -> Option<usize> {
        let mut told = self.told.lock();
        let told = told.entry(grant).or_default();
        if told.len() >= TOLD_MAX || told.contains(wanted) {
            return None;
        }
        told.insert(wanted.to_owned());
        Some(told.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_told_once_and_not_without_end_but_all_are_counted() {
        let counter = Metric::default();
        let denials = Denials::new("s".into(), counter.clone());
        assert_eq!(denials.tell(Grant::Dirs, "a"), Some(1));
        assert_eq!(denials.tell(Grant::Dirs, "a"), None);
        assert_eq!(denials.tell(Grant::Tcp, "a"), Some(1), "another grant");
        let told = (0..100).filter(|n| denials.tell(Grant::Dirs, &n.to_string()).is_some()).count();
        assert_eq!(told, TOLD_MAX - 1);
        (0..100).for_each(|n| denials.note(Grant::Tcp, &n.to_string()));
        assert_eq!(counter.get(), 100);
    }
}
