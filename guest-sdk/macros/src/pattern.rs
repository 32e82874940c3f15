//! Which actions does a hook's pattern mean? `*`, `get`, `get|list`, `create*`.
//!
//! The rules are Moleculer's (moleculer: src/middlewares/action-hook.js, src/utils.js match). A pattern, or a
//! part of it between bars, that means no action is a mistake here, which JavaScript lets pass in silence.

use syn::{Error, LitStr};

use crate::args::suggest;

/// The pattern that means all actions, whatever their names; hooks of it stand outermost.
pub(crate) const ALL: &str = "*";

/// Whether a pattern means the action of this name.
pub(crate) fn matches(pattern: &str, action: &str) -> bool {
    pattern == ALL || pattern.split('|').any(|part| glob(part.as_bytes(), action.as_bytes()))
}

/// Refuses a pattern of which a part means no action.
pub(crate) fn check(pattern: &LitStr, actions: &[&str]) -> Result<(), Error> {
    let text = pattern.value();
    if text == ALL && !actions.is_empty() {
        return Ok(());
    }
    let nobody =
        |part: &&str| !actions.iter().any(|action| glob(part.as_bytes(), action.as_bytes()));
    let Some(part) = text.split('|').find(nobody) else { return Ok(()) };
    let message = match suggest(part, actions) {
        Some(meant) => format!("no action is called `{part}`; did you mean `{meant}`?"),
        None => format!("no action is called `{part}`"),
    };
    Err(Error::new(pattern.span(), message))
}

/// `*` stands for any characters but dots, `**` for any at all, `?` for one. As in JavaScript, what follows
/// the text before a single `*` may begin with a dot: `user*` means `user.x`.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    if let [prefix @ .., b'*'] = pattern
        && !prefix.is_empty()
        && !prefix.iter().any(|byte| b"*?".contains(byte))
    {
        let rest = name.strip_prefix(prefix);
        return rest.is_some_and(|rest| rest.iter().skip(1).all(|byte| *byte != b'.'));
    }
    match (pattern, name) {
        ([b'*', b'*', pattern @ ..], _) => {
            (0..=name.len()).any(|skip| name.get(skip..).is_some_and(|rest| glob(pattern, rest)))
        }
        ([b'*', pattern @ ..], _) => {
            let word = name.iter().position(|byte| *byte == b'.').unwrap_or(name.len());
            (0..=word).any(|skip| name.get(skip..).is_some_and(|rest| glob(pattern, rest)))
        }
        ([b'?', pattern @ ..], [_, name @ ..]) => glob(pattern, name),
        ([a, pattern @ ..], [b, name @ ..]) => a == b && glob(pattern, name),
        _ => pattern.is_empty() && name.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_actions_as_in_moleculer() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            for action in yes {
                assert!(matches(pattern, action), "{pattern} should mean {action}");
            }
            for action in no {
                assert!(!matches(pattern, action), "{pattern} should not mean {action}");
            }
        };
        check("*", &["get", "a.b"], &[]);
        check("get", &["get"], &["gets", "Get"]);
        check("get|list", &["get", "list"], &["create", "get|list"]);
        check("create-*", &["create-user"], &["create-user.x", "update-user"]);
        check("user*", &["user", "userx", "user.x"], &["user.x.y"]);
        check("admin.*", &["admin.get"], &["admin.a.b"]);
        check("**", &["get", "a.b"], &[]);
        check("g?t|x*y", &["get", "got", "xy", "xaby"], &["gt", "xa.by"]);
    }
}
