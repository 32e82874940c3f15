//! The arguments of our attributes: `key = value`, `key(…)` for objects, `key` alone for `true`.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Error, LitStr, Token, parenthesized};

use crate::json::{Json, Key, Kind};

/// One argument.
pub(crate) struct Arg {
    pub(crate) key: Key,
    pub(crate) value: Json,
}

/// All arguments of one attribute, in their order.
#[derive(Default)]
pub(crate) struct Args(pub(crate) Vec<Arg>);

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut args: Vec<Arg> = Vec::new();
        while !input.is_empty() {
            let key: Key = input.parse()?;
            if args.iter().any(|arg| arg.key.name == key.name) {
                return Err(Error::new(key.span, format!("`{}` is given twice", key.name)));
            }
            args.push(Arg { value: parse_value(&key, input)?, key });
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(Self(args))
    }
}

fn parse_value(key: &Key, input: ParseStream<'_>) -> syn::Result<Json> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        return input.parse();
    }
    if input.peek(syn::token::Paren) {
        let content;
        parenthesized!(content in input);
        let Args(args) = content.parse()?;
        let entries = args.into_iter().map(|arg| (arg.key, arg.value)).collect();
        return Ok(Json { kind: Kind::Object(entries), span: key.span });
    }
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Json { kind: Kind::Bool(true), span: key.span });
    }
    let message = format!("expected `{} = value`", key.name);
    Err(Error::new(input.span(), message))
}

/// The arguments of `#[event]`: the pattern, then the others.
pub(crate) struct EventArgs {
    pub(crate) pattern: LitStr,
    pub(crate) args: Args,
}

impl Parse for EventArgs {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let pattern: LitStr = input.parse().map_err(|error| {
            Error::new(
                error.span(),
                "expected the pattern of the event first: `#[event(\"user.*\")]`",
            )
        })?;
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
        Ok(Self { pattern, args: input.parse()? })
    }
}

impl Args {
    /// Takes an argument out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Arg> {
        let index = self.0.iter().position(|arg| arg.key.name == name)?;
        Some(self.0.remove(index))
    }

    /// Takes an argument that must be a text.
    pub(crate) fn take_text(
        &mut self,
        name: &str,
        errors: &mut Vec<Error>,
    ) -> Option<(String, Span)> {
        let arg = self.take(name)?;
        match arg.value.kind {
            Kind::Text(text) => Some((text, arg.value.span)),
            _ => {
                errors.push(Error::new(arg.value.span, format!("`{name}` is text in quotes")));
                None
            }
        }
    }
}

/// The one of these words that somebody who wrote `word` may have meant: at most two letters differ, and
/// not all of them.
pub(crate) fn suggest<'a>(word: &str, words: &[&'a str]) -> Option<&'a str> {
    let fold = |word: &str| word.to_lowercase().replace(['_', '-'], "");
    let word = fold(word);
    words
        .iter()
        .map(|candidate| (distance(&word, &fold(candidate)), *candidate))
        .filter(|(distance, _)| *distance <= 2 && *distance < word.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The number of letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let at = |rows: &[Vec<usize>], i: usize, j: usize| {
        rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(usize::MAX - 1)
    };
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replace = at(&rows, i, j) + usize::from(x != y);
            let insert = row.last().copied().unwrap_or(usize::MAX - 1) + 1;
            let delete = at(&rows, i, j + 1) + 1;
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            let swap = if swapped { at(&rows, i - 1, j - 1) + 1 } else { usize::MAX };
            row.push(replace.min(insert).min(delete).min(swap));
        }
        rows.push(row);
    }
    at(&rows, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let words = ["timeout", "cache", "visibility", "retryPolicy", "name"];
        let check =
            |word: &str, expected: Option<&str>| assert_eq!(suggest(word, &words), expected);
        check("timout", Some("timeout"));
        check("tiemout", Some("timeout"));
        check("retry_policy", Some("retryPolicy"));
        check("nmae", Some("name"));
        check("openapi", None);
        check("id", None);
    }
}
