//! Which keys of the cacher a service may use: its own, and those that its operator grants.
//!
//! Own keys begin with the full name of the service and a dot (results of its actions) or a colon. A pattern
//! that removes keys must take none beyond these, so only stars at its end are allowed: anything else is a
//! regular expression, whose reach cannot be told by looking at it.

use std::sync::Arc;

use crate::schema::Pattern;

/// The keys of one service.
#[derive(Debug)]
pub(super) struct CacheGrant {
    service: Arc<str>,
    patterns: Vec<(String, Pattern)>,
}

impl CacheGrant {
    /// Patterns that cannot be compiled allow nothing, which is the safe side.
    pub(super) fn new(service: &Arc<str>, patterns: &[String]) -> Self {
        let compiled = patterns.iter().filter_map(|text| match Pattern::compile(text) {
            Ok(pattern) => Some((text.clone(), pattern)),
            Err(error) => {
                tracing::warn!(service = &**service, %error, "a pattern in the grants is ignored");
                None
            }
        });
        Self { service: Arc::clone(service), patterns: compiled.collect() }
    }

    /// Whether it may use this key.
    pub(super) fn allows_key(&self, key: &str) -> bool {
        self.owns(key) || self.patterns.iter().any(|(_, pattern)| pattern.matches(key))
    }

    /// Whether it may use every key that this pattern takes.
    pub(super) fn allows_pattern(&self, pattern: &str) -> bool {
        if self.patterns.iter().any(|(text, _)| text == "**" || text == pattern) {
            return true;
        }
        let Some(wildcard) = pattern.find(['*', '?']) else { return self.allows_key(pattern) };
        let (head, stars) = pattern.split_at(wildcard);
        if stars != "*" && stars != "**" {
            return false;
        }
        self.owns(head) || self.patterns.iter().any(|(text, _)| takes_all_behind(text, head))
    }

    fn owns(&self, key: &str) -> bool {
        key.strip_prefix(&*self.service).is_some_and(|rest| rest.starts_with(['.', ':']))
    }
}

/// Whether a grant takes every key that begins like this.
fn takes_all_behind(grant: &str, head: &str) -> bool {
    grant
        .strip_suffix("**")
        .is_some_and(|prefix| !prefix.contains(['*', '?']) && head.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(patterns: &[&str]) -> CacheGrant {
        let patterns: Vec<String> = patterns.iter().map(|text| String::from(*text)).collect();
        CacheGrant::new(&"users".into(), &patterns)
    }

    #[test]
    fn a_service_has_its_own_keys() {
        let own = grant(&[]);
        for key in ["users.get:5", "users:session", "users."] {
            assert!(own.allows_key(key), "{key}");
        }
        for key in ["users", "users2.get:5", "posts.get:5", "", "v2.users.get"] {
            assert!(!own.allows_key(key), "{key}");
        }
    }

    #[test]
    fn a_pattern_may_not_reach_beyond_the_own_keys() {
        let own = grant(&[]);
        for pattern in ["users.**", "users.*", "users.get:*", "users:**", "users.get:5"] {
            assert!(own.allows_pattern(pattern), "{pattern}");
        }
        for pattern in
            ["**", "*", "users*", "users**", "users.?", "users.*.x", "users.?|.*", "posts.**", "u*"]
        {
            assert!(!own.allows_pattern(pattern), "{pattern}");
        }
    }

    #[test]
    fn grants_add_keys_and_patterns() {
        let granted = grant(&["posts.**", "exact", "a.*.b"]);
        assert!(granted.allows_key("posts.get:1") && granted.allows_key("exact"));
        assert!(granted.allows_key("a.x.b") && !granted.allows_key("other"));
        for pattern in ["posts.**", "posts.get:*", "exact", "a.*.b"] {
            assert!(granted.allows_pattern(pattern), "{pattern}");
        }
        for pattern in ["posts*", "exact*", "a.*", "**"] {
            assert!(!granted.allows_pattern(pattern), "{pattern}");
        }
        let all = grant(&["**"]);
        assert!(all.allows_key("x") && all.allows_pattern("x.?") && all.allows_pattern("**"));
    }
}
