//! The schema of a service: which keys there are, what they may hold, and the JSON text of all.

use syn::{Error, LitStr};

use crate::args::{Arg, Args, suggest};
use crate::hook::Moment;
use crate::json::{Json, Kind};

/// Keys of `#[service(…)]`.
const SERVICE: [&str; 8] =
    ["name", "version", "settings", "metadata", "dependencies", "mode", "limits", "probe"];

/// Keys of an action that Moleculer or the host knows (moleculer: index.d.ts ActionSchema).
const ACTION: [&str; 18] = [
    "name",
    "params",
    "cache",
    "timeout",
    "visibility",
    "rest",
    "retryPolicy",
    "bulkhead",
    "circuitBreaker",
    "fallback",
    "hooks",
    "tracing",
    "metadata",
    "description",
    "strategy",
    "strategyOptions",
    "openapi",
    "limits",
];

/// Keys of an event that Moleculer or the host knows (moleculer: index.d.ts EventSchema).
const EVENT: [&str; 9] =
    ["name", "group", "params", "context", "debounce", "throttle", "bulkhead", "tracing", "limits"];

/// Limits that a service may ask for, for all its actions or for one. The operator sets the others.
const LIMITS: [&str; 4] = ["fuel", "timeout", "memory", "payload"];

/// The service's part of the schema.
pub(crate) struct Service {
    pub(crate) name: String,
    entries: Vec<(String, Json)>,
    isomer: Vec<(&'static str, Json)>,
}

impl Service {
    /// Whether many handlers run in one instance at once.
    pub(crate) fn is_shared(&self) -> bool {
        let shared = |value: &Json| matches!(&value.kind, Kind::Text(mode) if mode == "shared");
        self.isomer.iter().any(|(key, value)| *key == "mode" && shared(value))
    }
}

/// Reads `#[service(…)]`. What is wrong goes to `errors`; what can be used is.
pub(crate) fn service(mut args: Args, errors: &mut Vec<Error>) -> Service {
    // A misspelt `name` is reported as that, not also as missing.
    let names = |arg: &Arg| suggest(&arg.key.name, &SERVICE) == Some("name");
    let named = args.0.iter().any(names);
    let name = args.take_text("name", errors);
    match &name {
        Some((name, span)) if !is_service_name(name) => errors.push(Error::new(
            *span,
            "the name of a service has letters, digits, `-`, `_` and `.`, and is not empty",
        )),
        None if !named => errors.push(Error::new(
            proc_macro2::Span::call_site(),
            "a service needs a name: `#[service(name = \"posts\")]`",
        )),
        _ => {}
    }
    let name = name.map(|(name, _)| name).unwrap_or_default();
    let mut service = Service {
        entries: vec![("name".into(), Json::text(name.clone()))],
        isomer: vec![("sdk", Json::text(concat!("rust/", env!("CARGO_PKG_VERSION"))))],
        name,
    };
    for Arg { key, value } in args.0 {
        match (key.name.as_str(), &value.kind) {
            ("version", Kind::Number(_) | Kind::Text(_)) | ("settings" | "metadata", Kind::Object(_)) => {
                service.entries.push((key.name, value));
            }
            ("dependencies", Kind::Text(_) | Kind::Array(_) | Kind::Object(_)) => {
                service.entries.push((key.name, value));
            }
            ("mode", Kind::Text(mode)) if ["pooled", "fresh", "shared"].contains(&mode.as_str()) => {
                service.isomer.push(("mode", value));
            }
            ("limits", Kind::Object(_)) => {
                check_limits(&value, errors);
                service.isomer.push(("limits", value));
            }
            ("probe", Kind::Text(_) | Kind::Object(_)) => service.isomer.push(("probe", value)),
            ("probe", _) => errors.push(Error::new(
                value.span,
                "`probe` is the name of an action, or `{ action: \"health\", timeout: 1000 }`",
            )),
            ("version", _) => errors.push(Error::new(value.span, "`version` is a number or text")),
            ("settings" | "metadata" | "limits", _) => {
                let message = format!("`{}` is an object: `{{ key: value }}`", key.name);
                errors.push(Error::new(value.span, message));
            }
            ("dependencies", _) => errors.push(Error::new(
                value.span,
                "`dependencies` is a list of names, or of objects `{ name: \"users\", version: 2 }`",
            )),
            ("mode", _) => {
                errors.push(Error::new(value.span, "`mode` is \"pooled\", \"fresh\" or \"shared\""));
            }
            _ => errors.push(unknown("service", &key.name, &SERVICE, key.span, "")),
        }
    }
    service
}

/// Moleculer accepts any text; a name must also survive in topics and file names.
pub(crate) fn is_service_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.chars().all(allowed)
}

pub(crate) fn unknown(
    what: &str,
    key: &str,
    known: &[&str],
    span: proc_macro2::Span,
    more: &str,
) -> Error {
    let message = match suggest(key, known) {
        Some(meant) => format!("unknown key `{key}`; did you mean `{meant}`?{more}"),
        None => format!("unknown key `{key}`; {what} has {}", list(known)),
    };
    Error::new(span, message)
}

fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn check_limits(limits: &Json, errors: &mut Vec<Error>) {
    let Kind::Object(entries) = &limits.kind else {
        errors.push(Error::new(limits.span, "`limits` is written `limits(fuel = 1_000_000)`"));
        return;
    };
    for (key, value) in entries {
        if !LIMITS.contains(&key.name.as_str()) {
            errors.push(unknown("`limits`", &key.name, &LIMITS, key.span, ""));
        } else if !matches!(&value.kind, Kind::Number(digits) if is_whole(digits)) {
            let message = format!("`{}` is a whole number{}", key.name, unit(&key.name));
            errors.push(Error::new(value.span, message));
        }
    }
}

fn is_whole(digits: &str) -> bool {
    digits.chars().all(|digit| digit.is_ascii_digit())
}

/// What a limit is counted in, as the end of a message.
fn unit(limit: &str) -> &'static str {
    match limit {
        "timeout" => " of milliseconds",
        "memory" | "payload" => " of bytes",
        _ => "",
    }
}

/// One action or event: its key in the schema and what stands under it.
pub(crate) struct Item {
    pub(crate) key: String,
    pub(crate) span: proc_macro2::Span,
    /// Methods that run around an action, in the order of its author.
    pub(crate) hooks: Vec<(Moment, Method)>,
    /// The method that answers when an action failed.
    pub(crate) fallback: Option<Method>,
    body: Vec<(String, Json)>,
}

/// The name of a method, and where it stands.
pub(crate) type Method = (String, proc_macro2::Span);

/// Keys of `hooks(…)` of an action.
const HOOKS: [&str; 3] = ["before", "after", "error"];

/// Reads `#[action(…)]` on a function of this name.
pub(crate) fn action(function: &syn::Ident, mut args: Args, errors: &mut Vec<Error>) -> Item {
    let name = args.take_text("name", errors);
    if let Some((name, span)) = &name
        && (name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '|'))
    {
        errors.push(Error::new(*span, "the name of an action is a word, without `|`"));
    }
    let (key, span) =
        name.unwrap_or_else(|| (syn::ext::IdentExt::unraw(function).to_string(), function.span()));
    if let Some(arg) = args.0.iter().find(|arg| arg.key.name == "visibility") {
        let known = ["published", "public", "protected", "private"];
        if !matches!(&arg.value.kind, Kind::Text(text) if known.contains(&text.as_str())) {
            let message = format!("`visibility` is one of {}", list(&known));
            errors.push(Error::new(arg.value.span, message));
        }
    }
    let hooks = args.take("hooks").map(|hooks| own_hooks(hooks, errors)).unwrap_or_default();
    let fallback = fallback(&args, errors);
    Item { key, span, hooks, fallback, body: body("an action", args, &ACTION, errors) }
}

/// Reads `hooks(before = "method", after = ["one", "two"])`. Other nodes are not told of them.
fn own_hooks(hooks: Arg, errors: &mut Vec<Error>) -> Vec<(Moment, Method)> {
    let Kind::Object(entries) = hooks.value.kind else {
        let message = "`hooks` is written `hooks(before = \"method\")`";
        errors.push(Error::new(hooks.value.span, message));
        return Vec::new();
    };
    let mut methods = Vec::new();
    for (key, value) in entries {
        let moment = match key.name.as_str() {
            "before" => Moment::Before,
            "after" => Moment::After,
            "error" => Moment::Error,
            _ => {
                errors.push(unknown("`hooks`", &key.name, &HOOKS, key.span, ""));
                continue;
            }
        };
        let items = match value.kind {
            Kind::Array(items) => items,
            _ => vec![value],
        };
        for item in items {
            match item.kind {
                Kind::Text(method) => methods.push((moment, (method, item.span))),
                _ => {
                    let message =
                        format!("`{}` is the name of a method, or a list of names", key.name);
                    errors.push(Error::new(item.span, message));
                }
            }
        }
    }
    methods
}

/// Reads `fallback = "method"`, which stays in the schema for the host.
fn fallback(args: &Args, errors: &mut Vec<Error>) -> Option<Method> {
    let arg = args.0.iter().find(|arg| arg.key.name == "fallback")?;
    match &arg.value.kind {
        Kind::Text(method) => Some((method.clone(), arg.value.span)),
        _ => {
            let message = "`fallback` is the name of a method: `fallback = \"from_archive\"`";
            errors.push(Error::new(arg.value.span, message));
            None
        }
    }
}

/// Reads the arguments of `#[event(…)]`.
pub(crate) fn event(pattern: &LitStr, mut args: Args, errors: &mut Vec<Error>) -> Item {
    let key = pattern.value();
    if key.is_empty() || key.contains(char::is_whitespace) {
        errors.push(Error::new(pattern.span(), "the pattern of an event is a word: `user.*`"));
    }
    let group = args.take_text("group", errors).map(|(text, _)| text);
    let mut body = body("an event", args, &EVENT, errors);
    if let Some(group) = group {
        body.insert(0, ("group".into(), Json::text(group)));
    }
    Item { key, span: pattern.span(), hooks: Vec::new(), fallback: None, body }
}

/// The other arguments: known ones, and own ones in quotes.
fn body(what: &str, args: Args, known: &[&str], errors: &mut Vec<Error>) -> Vec<(String, Json)> {
    let mut body = Vec::new();
    for Arg { key, value } in args.0 {
        if key.name == "limits" {
            check_limits(&value, errors);
            body.push(("isomer".into(), Json::object(vec![("limits", value)])));
            continue;
        }
        let quoted = key.quoted;
        if !quoted && !known.contains(&key.name.as_str()) {
            let own = format!(
                " (a key of your own that looks like it goes in quotes: `\"{}\" = …`)",
                key.name
            );
            if suggest(&key.name, known).is_some() {
                errors.push(unknown(what, &key.name, known, key.span, &own));
            }
        }
        if key.name == "timeout" && !matches!(value.kind, Kind::Number(_)) {
            errors.push(Error::new(value.span, "`timeout` is a number of milliseconds"));
        }
        body.push((key.name, value));
    }
    body
}

/// The whole schema as JSON text.
pub(crate) fn text(
    service: Service,
    actions: Vec<Item>,
    events: Vec<Item>,
    lifecycle: Vec<Json>,
) -> String {
    let mut isomer = service.isomer;
    isomer.push(("lifecycle", Json::array(lifecycle)));
    let entries = service.entries.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let mut schema: Vec<(&str, Json)> = entries.collect();
    schema.push(("actions", items(actions)));
    schema.push(("events", items(events)));
    schema.push(("isomer", Json::object(isomer)));
    Json::object(schema).to_text()
}

fn items(items: Vec<Item>) -> Json {
    let bodies: Vec<(String, Json)> = items
        .into_iter()
        .map(|item| {
            let body = item.body.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
            (item.key, Json::object(body))
        })
        .collect();
    Json::object(bodies.iter().map(|(key, body)| (key.as_str(), body.clone())).collect())
}
