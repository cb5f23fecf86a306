//! The part of docker's `--format` templates that needs no programming: `{{.field}}`, and before the field `json` for
//! its JSON, `human` for a size, `ago` for an age. Fields are those of `--json`, in any case, with or without `_`.

use super::Look;
use crate::error::{Error, Result};
use crate::model::text;
use crate::model::units::{self, Bytes};
use serde_json::{Map, Value};

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Words(String),
    Field(Shape, Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Plain,
    Json,
    Human,
    Ago,
}

impl Template {
    /// Reads a template. `\t` and `\n` in it are a tab and a line break.
    pub(in crate::cli) fn parse(source: &str) -> Result<Self> {
        let bad = |why: String| {
            Error::invalid(format!("bad template: {}", text::safe(&why)))
                .with_hint("templates are like '{{.digest}} {{human .max_bytes}} {{ago .created_at}} {{json .tags}}'")
        };
        let mut pieces = Vec::new();
        let mut rest = source;
        while let Some((words, after)) = rest.split_once("{{") {
            let (action, after) = after.split_once("}}").ok_or_else(|| bad("a {{ without its }}".to_owned()))?;
            if !words.is_empty() {
                pieces.push(Piece::Words(unescape(words)));
            }
            let (shape, field) = match action.split_whitespace().collect::<Vec<_>>()[..] {
                [field] => (Shape::Plain, field),
                ["json", field] => (Shape::Json, field),
                ["human", field] => (Shape::Human, field),
                ["ago", field] => (Shape::Ago, field),
                _ => return Err(bad(format!("{{{{{action}}}}} is not understood"))),
            };
            let path = field.strip_prefix('.').ok_or_else(|| bad(format!("no field: {{{{{action}}}}}")))?;
            let path = path.split('.').filter(|part| !part.is_empty()).map(plain_name).collect();
            pieces.push(Piece::Field(shape, path));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Words(unescape(rest)));
        }
        Ok(Self(pieces))
    }

    /// One line for `item`, an object; safe to print.
    pub(in crate::cli) fn line(&self, item: &Value, look: &Look) -> Result<String> {
        let mut line = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Words(words) => line.push_str(words),
                Piece::Field(shape, path) => line.push_str(&shape.show(find(item, path)?, look)),
            }
        }
        Ok(line)
    }
}

impl Shape {
    fn show(self, value: &Value, look: &Look) -> String {
        match (self, value) {
            (Shape::Json, value) => text::safe_within(&value.to_string(), usize::MAX).into_owned(),
            (Shape::Human, Value::Number(n)) if n.as_u64().is_some() => {
                Bytes(n.as_u64().unwrap_or_default()).show(look.sizes)
            }
            (Shape::Ago, Value::String(time)) => {
                units::parse_time(time).map_or_else(|_| text::safe(time).into_owned(), |t| units::age(look.now, t))
            }
            (_, Value::Null) => "-".to_owned(),
            (_, Value::String(words)) => text::safe(words).into_owned(),
            (_, Value::Array(items)) if items.is_empty() => "-".to_owned(),
            (_, Value::Array(items)) => {
                items.iter().map(|item| Shape::Plain.show(item, look)).collect::<Vec<_>>().join(",")
            }
            (_, other) => text::safe(&other.to_string()).into_owned(),
        }
    }
}

/// Lower case and without `_`, so that docker's `CreatedAt` finds `created_at`.
fn plain_name(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

fn find<'a>(item: &'a Value, path: &[String]) -> Result<&'a Value> {
    let mut value = item;
    for part in path {
        let Value::Object(fields) = value else { return Ok(&Value::Null) };
        value = match fields.iter().find(|(name, _)| plain_name(name) == *part) {
            Some((_, value)) => value,
            None => return Err(unknown_field(part, fields)),
        };
    }
    Ok(value)
}

/// The error for a field that items do not have.
pub(super) fn unknown_field(name: &str, fields: &Map<String, Value>) -> Error {
    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
    let meant = text::nearest(name, known.iter().copied());
    let meant = meant.map(|meant| format!("did you mean {meant}? ")).unwrap_or_default();
    Error::invalid(format!("no field {}", text::safe(name)))
        .with_hint(format!("{meant}fields here: {}", known.join(", ")))
}

fn unescape(words: &str) -> String {
    words.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::SizeStyle;
    use jiff::Timestamp;
    use serde_json::json;

    fn line(template: &str) -> Result<String> {
        let look = Look { colour: false, ascii: true, whole: false, sizes: SizeStyle::Iec, now: Timestamp::UNIX_EPOCH };
        let item = json!({
            "tags": ["a\u{1b}[31m", "b"], "max_bytes": 2048, "mode": null,
            "created_at": "1969-12-31T22:00:00Z", "location": {"type": "local"},
        });
        Template::parse(template)?.line(&item, &look)
    }

    #[test]
    fn fields_are_found_as_docker_spells_them() {
        for (template, shown) in [
            ("{{.max_bytes}}", "2048"),
            ("{{ .MaxBytes }}\\t{{human .MaxBytes}}", "2048\t2.0 KiB"),
            ("{{.Tags}} {{.Mode}}!", r"a\x1b[31m,b -!"),
            ("{{json .tags}}", "[\"a\\u001b[31m\",\"b\"]"),
            ("{{ago .created_at}}", "2h"),
            ("{{.location.type}}", "local"),
        ] {
            assert_eq!(line(template).unwrap(), shown, "{template}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for template in ["{{.max_byte}}", "{{.a", "{{range .tags}}", "{{tags}}"] {
            assert!(line(template).is_err(), "{template}");
        }
        let hint = line("{{.maxbyts}}").unwrap_err();
        assert!(hint.hint().unwrap_or_default().contains("did you mean max_bytes?"), "{hint:?}");
    }
}
