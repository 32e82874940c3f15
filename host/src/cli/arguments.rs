//! Reading JSON that a person typed: on the command line, from a file or from standard input.

use std::io::Read;

use bytestring::ByteString;

use crate::admin::protocol::BODY_LEN_MAX;
use crate::cli::Failure;
use crate::payload::{Object, Payload};

/// Params or data: JSON text, `@FILE`, or `-` for standard input. Nothing given is nothing sent.
///
/// # Errors
/// [`Failure::Use`] with the place in the text and a hint.
pub fn payload(what: &str, argument: Option<&str>) -> Result<Payload, Failure> {
    let Some(argument) = argument else { return Ok(Payload::Absent) };
    let (source, text) = match argument.strip_prefix('@') {
        _ if argument == "-" => ("standard input", read_all(std::io::stdin(), "standard input")?),
        Some(path) => {
            let file = std::fs::File::open(path)
                .map_err(|error| Failure::Use(format!("{path} cannot be read: {error}")))?;
            (path, read_all(file, path)?)
        }
        None => ("", argument.to_owned()),
    };
    Payload::from_json_text(ByteString::from(text.trim()))
        .map_err(|_| Failure::Use(explain(what, source, text.trim())))
}

/// Meta or headers: a JSON object; `flag` is where it was given.
///
/// # Errors
/// [`Failure::Use`].
pub fn object(flag: &str, argument: Option<&str>) -> Result<Option<Object>, Failure> {
    let Some(text) = argument else { return Ok(None) };
    match Object::from_json_text(ByteString::from(text.trim())) {
        Ok(object) => Ok(Some(object)),
        Err(crate::payload::Error::NotAnObject) => Err(Failure::Use(format!(
            "{flag} is not a JSON object, such as '{{\"user\":1}}': {text}"
        ))),
        Err(_) => Err(Failure::Use(explain(flag, "", text.trim()))),
    }
}

fn read_all(source: impl Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = source.take(BODY_LEN_MAX as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::Use(format!("{name} cannot be read as text: {error}")))?;
    if text.len() > BODY_LEN_MAX {
        return Err(Failure::Use(format!("{name} is longer than {BODY_LEN_MAX} bytes")));
    }
    Ok(text)
}

/// Says where JSON went wrong: the line, a caret below the place, and what most likely happened.
fn explain(what: &str, source: &str, text: &str) -> String {
    let from = if source.is_empty() { String::new() } else { format!(" from {source}") };
    let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) else {
        return format!("{what}{from} cannot be used");
    };
    let (line_number, column) = (error.line(), error.column());
    let line = text.lines().nth(line_number.saturating_sub(1)).unwrap_or_default();
    let (shown, caret) = window(line, column);
    let mut message = format!("{what}{from}: not valid JSON: {error}\n  {shown}\n  {caret}^");
    if source.is_empty() {
        // The shell takes double quotes away; what is left looks like this.
        message.push_str(
            "\n  In a shell, put JSON into single quotes: '{\"name\":\"Ada\"}'; \
             @FILE and - (standard input) work too.",
        );
    }
    message
}

/// The part of a line around a column (from 1), and the blanks in front of the caret.
fn window(line: &str, column: usize) -> (String, String) {
    const BEFORE: usize = 50;
    const WIDTH: usize = 70;
    // serde counts bytes; what is shown are characters.
    let at = line.char_indices().take_while(|(offset, _)| offset + 1 < column).count();
    let start = at.saturating_sub(BEFORE);
    let shown = line.chars().skip(start).take(WIDTH).collect();
    (shown, " ".repeat(at - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_json_is_shown_with_its_place() {
        let error = payload("params", Some("{name:\"Ada\"}")).unwrap_err();
        assert_eq!(error.code(), 2);
        let text = error.text();
        assert!(
            text.starts_with(
                "params: not valid JSON: key must be a string at line 1 column 2\n  \
                 {name:\"Ada\"}\n   ^\n  In a shell,"
            ),
            "{text}"
        );
        let long = format!("[{}x]", "1,".repeat(100));
        let error = payload("params", Some(&long)).unwrap_err();
        let lines: Vec<_> = error.text().lines().collect();
        assert_eq!(lines[1].chars().nth(lines[2].len() - 1), Some('x'), "{}", error.text());
    }

    #[test]
    fn params_are_read_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("params.json");
        std::fs::write(&path, "{\"a\":\n 1}\n").unwrap();
        let argument = format!("@{}", path.display());
        let read = payload("params", Some(&argument)).unwrap();
        assert_eq!(read, Payload::Json("{\"a\":\n 1}".into()));
        assert_eq!(payload("params", None).unwrap(), Payload::Absent);
        assert_eq!(payload("params", Some("@/nowhere")).unwrap_err().code(), 2);
    }

    #[test]
    fn meta_and_headers_are_objects() {
        assert_eq!(object("--meta", Some("[1]")).unwrap_err().code(), 2);
        assert_eq!(object("--meta", Some("{\"a\":1}")).unwrap().unwrap().as_str(), "{\"a\":1}");
        assert!(object("--meta", None).unwrap().is_none());
    }
}
