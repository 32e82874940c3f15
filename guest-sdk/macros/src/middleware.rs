//! `#[middleware]`: from the hooks that an `impl Middleware` block writes to its description and exports.
//!
//! The block stays as its author wrote it. Everything that is wrong is reported at once.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::spanned::Spanned as _;
use syn::{Error, ImplItem, ItemImpl, Type};

use crate::args::{Arg, Args};
use crate::json::{Json, Kind};
use crate::schema::{check_limits, is_service_name, unknown};

/// Keys of `#[middleware(…)]`.
const KEYS: [&str; 6] = ["name", "actions", "events", "settings", "mode", "limits"];

/// Functions that the host calls around actions and events: Rust's name and the WIT's.
const HOOKS: [(&str, &str); 4] = [
    ("before_call", "before-call"),
    ("after_call", "after-call"),
    ("on_error", "on-error"),
    ("before_event", "before-event"),
];

/// Expands `#[middleware(attr)] item`.
pub(crate) fn expand(attr: TokenStream, item: TokenStream) -> (TokenStream, Vec<Error>) {
    let block = match syn::parse2::<ItemImpl>(item.clone()) {
        Ok(block) if is_middleware(&block) => block,
        Ok(_) | Err(_) => {
            let message = "`#[middleware]` stands on an `impl Middleware for …` block";
            return (item.clone(), vec![Error::new(item.span(), message)]);
        }
    };
    let mut errors = Vec::new();
    let written: Vec<String> = block
        .items
        .iter()
        .filter_map(|item| match item {
            ImplItem::Fn(function) => Some(function.sig.ident.to_string()),
            _ => None,
        })
        .collect();
    let has = |name: &str| written.iter().any(|written| written == name);
    let hooks: Vec<Json> =
        HOOKS.iter().filter(|(rust, _)| has(rust)).map(|(_, wit)| Json::text(*wit)).collect();
    if hooks.is_empty() {
        let names = HOOKS.map(|(rust, _)| format!("`{rust}`")).join(", ");
        let message = format!("a middleware writes at least one of {names}");
        errors.push(Error::new(block.self_ty.span(), message));
    }
    let lifecycle = ["started", "stopped"].into_iter().filter(|name| has(name));
    let lifecycle = Json::array(lifecycle.map(Json::text).collect());
    let schema = match syn::parse2::<Args>(attr) {
        Ok(args) => schema(args, hooks, lifecycle, &mut errors),
        Err(error) => {
            errors.push(error);
            String::new()
        }
    };
    let mut tokens = block.to_token_stream();
    if errors.is_empty() {
        tokens.extend(implement(&block.self_ty, &schema));
    }
    (tokens, errors)
}

fn is_middleware(block: &ItemImpl) -> bool {
    let path = block.trait_.as_ref().map(|(_, path, _)| path);
    path.and_then(|path| path.segments.last()).is_some_and(|last| last.ident == "Middleware")
}

/// The text of the description.
fn schema(mut args: Args, hooks: Vec<Json>, lifecycle: Json, errors: &mut Vec<Error>) -> String {
    let name = args.take_text("name", errors);
    match &name {
        Some((name, _)) if is_service_name(name) => {}
        Some((_, span)) => errors.push(Error::new(
            *span,
            "the name of a middleware has letters, digits, `-`, `_` and `.`, and is not empty",
        )),
        None => errors.push(Error::new(
            proc_macro2::Span::call_site(),
            "a middleware needs a name: `#[middleware(name = \"auth\")]`",
        )),
    }
    let sdk = Json::text(concat!("rust/", env!("CARGO_PKG_VERSION")));
    let mut isomer = vec![("sdk", sdk), ("lifecycle", lifecycle)];
    let mut entries = vec![
        ("name".to_owned(), Json::text(name.map(|(name, _)| name).unwrap_or_default())),
        ("hooks".to_owned(), Json::array(hooks)),
    ];
    for Arg { key, value } in args.0 {
        match (key.name.as_str(), &value.kind) {
            ("actions" | "events", Kind::Array(items)) if items.iter().all(is_text) => {
                entries.push((key.name, value));
            }
            ("settings", Kind::Object(_)) => entries.push((key.name, value)),
            ("mode", Kind::Text(mode)) if mode == "pooled" || mode == "fresh" => {
                isomer.push(("mode", value));
            }
            ("limits", Kind::Object(_)) => {
                check_limits(&value, errors);
                isomer.push(("limits", value));
            }
            ("actions" | "events", _) => errors.push(Error::new(
                value.span,
                format!("`{}` is a list of patterns: `[\"posts.*\"]`", key.name),
            )),
            ("settings" | "limits", _) => {
                let message = format!("`{}` is an object: `{{ key: value }}`", key.name);
                errors.push(Error::new(value.span, message));
            }
            ("mode", _) => {
                errors.push(Error::new(value.span, "`mode` is \"pooled\" or \"fresh\""));
            }
            _ => errors.push(unknown("a middleware", &key.name, &KEYS, key.span, "")),
        }
    }
    let mut all: Vec<(&str, Json)> =
        entries.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    all.push(("isomer", Json::object(isomer)));
    Json::object(all).to_text()
}

fn is_text(item: &Json) -> bool {
    matches!(item.kind, Kind::Text(_))
}

/// The description, and in Wasm builds the exports.
fn implement(own: &Type, schema: &str) -> TokenStream {
    quote! {
        const _: () = {
            impl ::isomer_sdk::__private::Described for #own {
                const SCHEMA: &'static str = #schema;

                fn create() -> Self {
                    <#own as ::core::default::Default>::default()
                }
            }

            // Without exports nothing would use the struct, and its author would be warned of that.
            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> #own = <#own as ::isomer_sdk::__private::Described>::create;

            #[cfg(target_family = "wasm")]
            const _: () = {
                impl ::isomer_sdk::__private::MiddlewarePlace for #own {
                    fn instance() -> &'static ::isomer_sdk::__private::Instance<Self> {
                        ::std::thread_local! {
                            static INSTANCE: ::core::cell::RefCell<::core::option::Option<#own>> =
                                const { ::core::cell::RefCell::new(::core::option::Option::None) };
                        }
                        &INSTANCE
                    }
                }

                type Exports = ::isomer_sdk::__private::Interceptor<#own>;
                ::isomer_sdk::__private::export_middleware!(Exports);
            };
        };
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn expanded(attr: &str, item: &str) -> (String, Vec<String>) {
        let (attr, item) = (TokenStream::from_str(attr), TokenStream::from_str(item));
        let (tokens, errors) = expand(attr.unwrap(), item.unwrap());
        (tokens.to_string(), errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_description_names_the_hooks_that_are_written() {
        let attr = r#"name = "auth", actions = ["posts.*"], mode = "fresh""#;
        let (tokens, errors) = expanded(
            attr,
            "impl Middleware for A { async fn started(&mut self, ctx: &C) {} \
             async fn on_error(&mut self) {} async fn before_call(&mut self) {} }",
        );
        assert!(errors.is_empty(), "{errors:?}");
        let hooks = r#"\"name\":\"auth\",\"hooks\":[\"before-call\",\"on-error\"],\"actions\":[\"posts.*\"]"#;
        assert!(tokens.contains(hooks), "{tokens}");
        assert!(tokens.contains(r#"\"lifecycle\":[\"started\"],\"mode\":\"fresh\""#), "{tokens}");
    }

    #[test]
    fn mistakes_are_reported_together() {
        let attr = r#"nam = "x", actions = "posts.*", mode = "shared""#;
        let (_, errors) = expanded(attr, "impl Middleware for A { fn check(&self) {} }");
        assert_eq!(errors.len(), 5, "{errors:#?}");
        let (_, errors) = expanded(r#"name = "x""#, "impl A {}");
        assert!(errors[0].contains("impl Middleware for"), "{errors:?}");
    }
}
