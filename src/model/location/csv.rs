//! One line of CSV as buildx reads and writes its `key=value` lists: commas, double quotes, nothing trimmed.
//!
//! Follows the behaviour of Go's `csvvalue.Fields` and buildx's `csvBuilder`. Errors name columns, never content: a
//! field may be a secret.

use crate::error::{Error, Result};
use std::borrow::Cow;

/// The fields of `line`. One trailing newline is allowed and dropped; an empty line is an error.
pub(super) fn fields(line: &str) -> Result<Vec<String>> {
    let line = line.strip_suffix('\n').map_or(line, |l| l.strip_suffix('\r').unwrap_or(l));
    if line.is_empty() {
        return Err(Error::invalid("empty location"));
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(line, quoted)?,
            None => bare_field(line, rest)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// A field and what follows its comma; `None` at the end of the line.
type Field<'a> = Result<(String, Option<&'a str>)>;

fn bare_field<'a>(line: &str, rest: &'a str) -> Field<'a> {
    let (field, after) = match rest.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (rest, None),
    };
    match field.find('"') {
        Some(at) => Err(bad("quote inside a field that does not start with one", line, &rest[at..])),
        None => Ok((field.to_owned(), after)),
    }
}

fn quoted_field<'a>(line: &str, quoted: &'a str) -> Field<'a> {
    let mut field = String::new();
    let mut rest = quoted;
    while let Some((text, after)) = rest.split_once('"') {
        field.push_str(text);
        match after.as_bytes().first() {
            None => return Ok((field, None)),
            Some(b',') => return Ok((field, Some(&after[1..]))),
            Some(b'"') => {
                field.push('"');
                rest = &after[1..];
            }
            Some(_) => return Err(bad("text after a closing quote", line, &rest[text.len()..])),
        }
    }
    Err(bad("quote that is never closed", line, rest))
}

/// `at` is the end of `line` that starts at the fault.
fn bad(what: &str, line: &str, at: &str) -> Error {
    Error::invalid(format!("bad location: {what}, at byte {}", line.len() - at.len() + 1))
        .with_hint("quote a whole key=value with \"..\" and write \"\" for a quote in it")
}

/// `pair` as one field, quoted where reading it back would not give the same.
pub(super) fn quote(pair: &str) -> Cow<'_, str> {
    if pair.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", pair.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (line, wanted) in [
            ("foo,bar,baz", vec!["foo", "bar", "baz"]),
            ("foo,bar,baz\n", vec!["foo", "bar", "baz"]),
            ("foo,bar,baz\r\n", vec!["foo", "bar", "baz"]),
            ("foo\n\n", vec!["foo\n"]),
            ("foo\r", vec!["foo\r"]),
            (" ", vec![" "]),
            ("   foo, bar ,baz", vec!["   foo", " bar ", "baz"]),
            ("a,\"b,cc ,ddd\",e", vec!["a", "b,cc ,ddd", "e"]),
            ("\"\"", vec![""]),
            ("a,,b,", vec!["a", "", "b", ""]),
            (",", vec!["", ""]),
            ("\"\",", vec!["", ""]),
            ("a,\"foo\"\"\",c", vec!["a", "foo\"", "c"]),
            ("\"\"\"\"", vec!["\""]),
            ("\"a\nb\"", vec!["a\nb"]),
            (r#"t=d,"c={""E"":[""i"", ""l""]}""#, vec!["t=d", r#"c={"E":["i", "l"]}"#]),
            ("日本,\"語,\"", vec!["日本", "語,"]),
        ] {
            assert_eq!(fields(line).unwrap(), wanted, "{line:?}");
        }
    }

    #[test]
    fn refuses_what_go_refuses_at_the_same_place() {
        for (line, column) in [
            ("\"", 2),
            ("\"\"\"", 4),
            ("foo,aa\"bb,cc", 7),
            ("a\"b", 2),
            ("a\"\"b,c", 2),
            ("a \"word\",\"b\"", 3),
            ("\"a word\",b\"", 11),
            ("\"a \"word\",\"b\"", 4),
            ("\"open,field", 2),
        ] {
            let error = fields(line).unwrap_err();
            assert!(error.what().ends_with(&format!("at byte {column}")), "{line:?}: {error}");
        }
        for line in ["", "\n", "\r\n"] {
            assert!(fields(line).is_err(), "{line:?}");
        }
    }
}
