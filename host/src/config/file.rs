//! Reading a configuration file, TOML or JSON (with comments), into values that know their lines.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonc_parser::ast;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::{Place, Problems};
use crate::config::value::{Located, Value};

/// Largest file that is read. A configuration is written by hand; this only stops a wrong file.
const FILE_SIZE_MAX: u64 = 4 << 20;

/// Reads a file; what it is written in is told by its extension.
///
/// `None` when it could not be read or is no TOML or JSON; why is in `problems`.
pub fn read(path: &Path, problems: &mut Problems) -> Option<Located> {
    read_text_of(path, problems).and_then(|text| parse(path, &text, problems))
}

/// The text of a file; `None` when it could not be read, and why is in `problems`.
pub fn read_text_of(path: &Path, problems: &mut Problems) -> Option<String> {
    let text = read_text(path);
    let tell = |why| problems.add_general(format!("{}: cannot be read: {why}", path.display()));
    text.map_err(tell).ok()
}

/// Parses the text of a file.
pub fn parse(path: &Path, text: &str, problems: &mut Problems) -> Option<Located> {
    let source = Source { path: Arc::new(path.to_owned()), lines: line_starts(text) };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => source.parse_toml(text, problems),
        Some("json" | "jsonc") => source.parse_json(text, problems),
        Some("js" | "cjs" | "mjs" | "ts") => {
            problems.add_general(format!(
                "{}: JavaScript cannot be read; write the options as .toml or .json",
                path.display()
            ));
            None
        }
        _ => {
            problems.add_general(format!(
                "{}: a configuration file ends with .toml or .json",
                path.display()
            ));
            None
        }
    }
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > FILE_SIZE_MAX {
        return Err(format!("it has {size} bytes; at most {FILE_SIZE_MAX} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// A file and where its lines begin.
struct Source {
    path: Arc<PathBuf>,
    lines: Vec<usize>,
}

impl Source {
    fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        Place::File { path: Arc::clone(&self.path), line }
    }

    fn parse_toml(&self, text: &str, problems: &mut Problems) -> Option<Located> {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().replace('\n', "; ");
            problems.add(&self.place(offset), format!("not valid TOML: {message}"));
        }
        // What a parser makes up after a syntax error would only cause follow-up messages.
        errors.is_empty().then(|| self.toml_table(document.get_ref(), document.span(), problems))
    }

    fn toml_table(
        &self,
        table: &DeTable<'_>,
        span: Range<usize>,
        problems: &mut Problems,
    ) -> Located {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.get_ref().to_string(), self.toml_value(value, problems)))
            .collect();
        Located { value: Value::Table(entries), place: self.place(span.start) }
    }

    fn toml_value(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Located {
        let place = self.place(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => {
                        problems
                            .add(&place, format!("the number {} is too large", number.as_str()));
                        Value::Null
                    }
                }
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.toml_value(item, problems)).collect())
            }
            DeValue::Table(table) => return self.toml_table(table, value.span(), problems),
        };
        Located { value, place }
    }

    fn parse_json(&self, text: &str, problems: &mut Problems) -> Option<Located> {
        let parsed = jsonc_parser::parse_to_ast(text, &Default::default(), &strict_json());
        match parsed {
            Ok(parsed) => match parsed.value {
                Some(value) => Some(self.json_value(&value, problems)),
                // An empty file says nothing, as an empty TOML file does.
                None => Some(Located::table(self.place(0))),
            },
            Err(error) => {
                let place = self.place(error.range().start);
                let kind = error.kind().to_string();
                problems.add(
                    &place,
                    format!("not valid JSON: {kind} (column {})", error.column_display()),
                );
                None
            }
        }
    }

    fn json_value(&self, value: &ast::Value<'_>, problems: &mut Problems) -> Located {
        let (value, start) = match value {
            ast::Value::StringLit(text) => (Value::Text(text.value.to_string()), text.range.start),
            ast::Value::NumberLit(number) => (json_number(number.value), number.range.start),
            ast::Value::BooleanLit(value) => (Value::Bool(value.value), value.range.start),
            ast::Value::NullKeyword(null) => (Value::Null, null.range.start),
            ast::Value::Array(array) => {
                let items = array.elements.iter().map(|item| self.json_value(item, problems));
                (Value::List(items.collect()), array.range.start)
            }
            ast::Value::Object(object) => (self.json_object(object, problems), object.range.start),
        };
        Located { value, place: self.place(start) }
    }

    fn json_object(&self, object: &ast::Object<'_>, problems: &mut Problems) -> Value {
        let mut entries: Vec<(String, Located)> = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            let key = property.name.as_str();
            if entries.iter().any(|(name, _)| name == key) {
                let place = self.place(property.range.start);
                problems.add(&place, format!("'{key}' is given twice in this object"));
                continue;
            }
            entries.push((key.to_owned(), self.json_value(&property.value, problems)));
        }
        Value::Table(entries)
    }
}

/// JSON with comments and trailing commas, which people expect in a configuration, and nothing looser.
fn strict_json() -> jsonc_parser::ParseOptions {
    jsonc_parser::ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
    }
}

fn json_number(text: &str) -> Value {
    match text.parse() {
        Ok(number) => Value::Integer(number),
        Err(_) => Value::Float(text.parse().unwrap_or(f64::NAN)),
    }
}

/// The offset at which each line begins.
fn line_starts(text: &str) -> Vec<usize> {
    let after_breaks = text.match_indices('\n').map(|(offset, _)| offset + 1);
    std::iter::once(0).chain(after_breaks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_as_large_as_the_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let len = usize::try_from(FILE_SIZE_MAX).unwrap();
        std::fs::write(file.path(), "#".repeat(len)).unwrap();
        assert_eq!(read_text(file.path()).unwrap().len(), len);
        std::fs::write(file.path(), "#".repeat(len + 1)).unwrap();
        assert!(read_text(file.path()).unwrap_err().contains("at most 4194304 are read"));
    }
}
