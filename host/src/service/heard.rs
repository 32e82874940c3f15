//! Which of the events that a service subscribes to it may hear: those that a grant of its operator covers.
//!
//! A subscription is a pattern itself. It is covered when every name that it stands for is: a grant that covers
//! only some of them covers none, because the mesh balances by subscriptions.

use std::sync::Arc;

use crate::config::Grants;
use crate::schema::{Pattern, ServiceSchema};

/// What stands for any part of a name when patterns are compared: longer than anybody writes question marks.
const ANY_PART: &str =
    "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";

/// Takes the subscriptions out of a schema that are not granted, and says which.
pub fn keep(schema: &mut ServiceSchema, grants: &Grants) -> Vec<Arc<str>> {
    let Some(grants) = &grants.hear else { return Vec::new() };
    let grants: Vec<Pattern> =
        grants.iter().filter_map(|grant| Pattern::compile(grant).ok()).collect();
    let mut unheard = Vec::new();
    schema.events.retain(|event| {
        let heard = grants.iter().any(|grant| covers(grant, &event.key));
        if !heard {
            unheard.push(Arc::clone(&event.key));
        }
        heard
    });
    if !unheard.is_empty() {
        let (service, events) = (&*schema.full_name, unheard.join(", "));
        tracing::warn!(
            service,
            events,
            "'{service}' does not hear {events}; to allow it, add it to 'hear' in the section [grants] of its .toml"
        );
    }
    unheard
}

fn covers(grant: &Pattern, subscription: &str) -> bool {
    let deep = format!("{ANY_PART}.{ANY_PART}");
    [ANY_PART, deep.as_str(), ""].into_iter().all(|any| {
        // `**` crosses dots, `*` does not.
        let name = subscription.replace("**", "\u{2}");
        let name = name.replace('*', if any.contains('.') { ANY_PART } else { any });
        grant.matches(&name.replace('\u{2}', any).replace('?', "\u{1}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_lies_within_it() {
        let covers = |grant, subscription| covers(&Pattern::compile(grant).unwrap(), subscription);
        for (grant, subscription) in [
            ("user.created", "user.created"),
            ("user.*", "user.created"),
            ("user.*", "user.*"),
            ("user.**", "user.*"),
            ("**", "anything.*"),
            ("user.**", "user.a.**"),
        ] {
            assert!(covers(grant, subscription), "{grant} {subscription}");
        }
        for (grant, subscription) in [
            ("user.created", "user.*"),
            ("user.*", "user.**"),
            ("user.*", "**"),
            ("user.?", "user.*"),
            ("user.*", "users.created"),
            ("*.created", "user.*"),
        ] {
            assert!(!covers(grant, subscription), "{grant} {subscription}");
        }
    }
}
