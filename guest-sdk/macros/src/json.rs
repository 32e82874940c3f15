//! JSON in attributes: literals, arrays, and objects whose keys may go without quotes.
//!
//! Values keep the place where they stand, for messages. Text is written once, at compile time.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, Lit, LitStr, Token, braced, bracketed};

/// A JSON value.
#[derive(Clone, Debug)]
pub(crate) struct Json {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    /// Its digits as JSON has them.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(Key, Json)>),
}

/// A key, with or without quotes.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) quoted: bool,
    pub(crate) span: Span,
}

impl Parse for Key {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            let text: LitStr = input.parse()?;
            return Ok(Self { name: text.value(), quoted: true, span: text.span() });
        }
        // Keywords (`type`, `ref`) are ordinary keys.
        let ident = input.call(<Ident as syn::ext::IdentExt>::parse_any).map_err(|error| {
            syn::Error::new(error.span(), "expected a key: a name, or any text in quotes")
        })?;
        let name = syn::ext::IdentExt::unraw(&ident).to_string();
        Ok(Self { name, quoted: false, span: ident.span() })
    }
}

impl Parse for Json {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let span = input.span();
        let kind = if input.peek(syn::token::Brace) {
            let content;
            braced!(content in input);
            Kind::Object(parse_object(&content)?)
        } else if input.peek(syn::token::Bracket) {
            let content;
            bracketed!(content in input);
            let items = Punctuated::<Self, Token![,]>::parse_terminated(&content)?;
            Kind::Array(items.into_iter().collect())
        } else if input.peek(Token![-]) {
            input.parse::<Token![-]>()?;
            match input.parse::<Self>()?.kind {
                Kind::Number(digits) => Kind::Number(format!("-{digits}")),
                _ => return Err(syn::Error::new(span, "expected a number after `-`")),
            }
        } else if input.peek(Lit) {
            literal(&input.parse()?)?
        } else {
            let ident = input.call(<Ident as syn::ext::IdentExt>::parse_any).ok();
            match ident {
                Some(ident) if ident == "null" => Kind::Null,
                _ => return Err(syn::Error::new(span, NOT_JSON)),
            }
        };
        Ok(Self { kind, span })
    }
}

const NOT_JSON: &str = "expected a JSON value: a number, text in double quotes, `true`, `false`, `null`, \
                        `[…]` or `{ key: value }`";

fn parse_object(content: ParseStream<'_>) -> syn::Result<Vec<(Key, Json)>> {
    let mut object: Vec<(Key, Json)> = Vec::new();
    while !content.is_empty() {
        let key: Key = content.parse()?;
        if object.iter().any(|(other, _)| other.name == key.name) {
            return Err(syn::Error::new(key.span, format!("`{}` is given twice", key.name)));
        }
        content.parse::<Token![:]>()?;
        object.push((key, content.parse()?));
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(object)
}

fn literal(lit: &Lit) -> syn::Result<Kind> {
    match lit {
        Lit::Str(text) => Ok(Kind::Text(text.value())),
        Lit::Bool(value) => Ok(Kind::Bool(value.value)),
        Lit::Int(number) if number.suffix().is_empty() => {
            Ok(Kind::Number(number.base10_digits().to_string()))
        }
        Lit::Float(number) if number.suffix().is_empty() => float(number),
        Lit::Int(_) | Lit::Float(_) => {
            Err(syn::Error::new(lit.span(), "a JSON number has no suffix"))
        }
        _ => Err(syn::Error::new(lit.span(), NOT_JSON)),
    }
}

/// Rust allows `1.` and `1e5`; JSON wants a digit after the point.
fn float(number: &syn::LitFloat) -> syn::Result<Kind> {
    let digits = number.base10_digits();
    let value: f64 = number.base10_parse()?;
    if !value.is_finite() {
        return Err(syn::Error::new(number.span(), "this number is too large"));
    }
    Ok(Kind::Number(if digits.ends_with('.') { format!("{digits}0") } else { digits.into() }))
}

impl Json {
    /// The object with these entries.
    pub(crate) fn object(entries: Vec<(&str, Self)>) -> Self {
        let span = Span::call_site();
        let entry =
            |(name, value): (&str, Self)| (Key { name: name.into(), quoted: true, span }, value);
        Self { kind: Kind::Object(entries.into_iter().map(entry).collect()), span }
    }

    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { kind: Kind::Text(text.into()), span: Span::call_site() }
    }

    /// An array.
    pub(crate) fn array(items: Vec<Self>) -> Self {
        Self { kind: Kind::Array(items), span: Span::call_site() }
    }

    /// Its JSON text.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match &self.kind {
            Kind::Null => out.push_str("null"),
            Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Kind::Number(digits) => out.push_str(digits),
            Kind::Text(text) => write_text(text, out),
            Kind::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Kind::Object(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(&key.name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_json_becomes_json_text() {
        let check = |source: &str, expected: &str| {
            assert_eq!(syn::parse_str::<Json>(source).unwrap().to_text(), expected);
        };
        check(
            "{ id: \"number\", type: { $$: 1 } }".replace("$$", "\"$$strict\"").as_str(),
            r#"{"id":"number","type":{"$$strict":1}}"#,
        );
        check(
            "[1, -2, 1_000, 0x10, 1.5, 1., 1e3, true, null,]",
            "[1,-2,1000,16,1.5,1.0,1e3,true,null]",
        );
        check(r#""a\"\\\n\u{1}ü""#, r#""a\"\\\n\u0001ü""#);
        check("{}", "{}");
    }

    #[test]
    fn what_is_no_json_is_refused_with_a_sentence() {
        let check = |source: &str, expected: &str| {
            let error = syn::parse_str::<Json>(source).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("number", "expected a JSON value");
        check("'a'", "expected a JSON value");
        check("1u8", "a JSON number has no suffix");
        check("{ a: 1, a: 2 }", "`a` is given twice");
        check("-true", "expected a number");
        check("1e999", "this number is too large");
    }
}
