//! Golden outputs: what becomes of `tests/golden/NAME.in` is kept in `NAME.out`.
//!
//! `BLESS=1 cargo test -p isomer-sdk-macros` writes the outputs anew; then read the difference.

use std::path::PathBuf;
use std::str::FromStr as _;

use super::*;

/// The attribute's arguments and the item of a source that consists of one annotated block.
fn split(source: &str) -> (TokenStream, TokenStream) {
    let mut block: ItemImpl = syn::parse_str(source).unwrap();
    let index = block.attrs.iter().position(|attr| attr.path().is_ident("service")).unwrap();
    let attribute = block.attrs.remove(index);
    let syn::Meta::List(list) = attribute.meta else { panic!("#[service(…)]") };
    (list.tokens, block.to_token_stream())
}

fn check(name: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let source = std::fs::read_to_string(folder.join(format!("{name}.in"))).unwrap();
    let (attr, item) = split(&source);
    let (tokens, errors) = expand(attr, item);
    assert!(errors.is_empty(), "{errors:?}");
    let output = prettyplease::unparse(&syn::parse2(tokens).unwrap());
    let path = folder.join(format!("{name}.out"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &output).unwrap();
    }
    assert_eq!(output, std::fs::read_to_string(path).unwrap());
}

#[test]
fn everything_at_once_expands_as_recorded() {
    check("everything");
}

#[test]
fn hooks_and_fallbacks_expand_as_recorded() {
    check("hooks");
}

#[test]
fn a_service_without_handlers_expands_as_recorded() {
    check("empty");
}

#[test]
fn all_mistakes_are_reported_together_and_the_block_survives() {
    let attr = TokenStream::from_str(r#"nmae = "x", mode = "solo""#).unwrap();
    let item = TokenStream::from_str(
        "impl S { #[action(timout = 5)] fn a(self) {} #[event] fn b(&self) {} fn c(&self) {} }",
    );
    let (tokens, errors) = expand(attr, item.unwrap());
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 4, "{messages:#?}");
    let block: ItemImpl = syn::parse2(tokens).unwrap();
    assert_eq!(block.items.len(), 3);
}
