//! Finds what `--cache-from` and `--cache-to` are given in files that say how to build: docker-bake files in HCL and JSON,
//! GitHub workflows and actions, compose files. Only reads: nothing is run, no variable of the environment is looked at.
//!
//! Files: <https://docs.docker.com/build/bake/reference/>, <https://docs.github.com/actions/reference/workflows-and-actions>,
//! <https://docs.docker.com/reference/compose-file/build/>.

use crate::error::{Error, Result};
use hcl::eval::{Context, Evaluate as _};
use hcl::expr::{Expression, TemplateExpr};
use serde_json::Value;

/// No such file that people write is longer.
pub const LIMIT: u64 = 512 << 10;

/// How deep brackets may nest, and how long signs that a parser follows one by one may go on.
const DEEPEST: usize = 64;

/// Stands for what is only known when the file is used.
pub const UNKNOWN: &str = "cachedeck-unknown";

/// A value found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value; [`UNKNOWN`] for parts of it that only the run itself would tell.
    pub value: String,
    /// What is written there, where that is something else.
    pub written: String,
}

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// HCL, as bake files are.
    Hcl,
    /// JSON, as bake files may be too.
    Json,
    /// YAML, as workflows and compose files are.
    Yaml,
}

/// The values in `text`, in the order of the file. [`crate::error::Kind::Invalid`] if it is not written in `language`, or nests
/// deeper than anybody would.
pub fn read(text: &str, language: Language) -> Result<Vec<Found>> {
    if text.len() as u64 > LIMIT || is_deep(text) {
        return Err(Error::invalid("longer or deeper than such a file is"));
    }
    let mut found = Vec::new();
    match language {
        Language::Hcl => {
            let body: hcl::Body = hcl::parse(text).map_err(|error| match error {
                hcl::Error::Parse(error) => broken("HCL", Some(error.location().line() as u64)),
                _ => broken("HCL", None),
            })?;
            bake(&body, &mut found);
        }
        Language::Json => {
            let value = serde_json::from_str(text).map_err(|error| broken("JSON", Some(error.line() as u64)))?;
            walk(&value, &mut found);
        }
        Language::Yaml => {
            let value = serde_saphyr::from_str(text);
            let value = value.map_err(|error| broken("YAML", error.location().map(|at| at.line())))?;
            walk(&value, &mut found);
        }
    }
    Ok(found)
}

/// What parsers say shows the line itself, and that may hold a secret.
fn broken(language: &str, line: Option<u64>) -> Error {
    let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
    Error::invalid(format!("this is no {language}{line}"))
}

/// Whether a parser that calls itself for what is inside would go deep: roughly, brackets in strings counted too.
fn is_deep(text: &str) -> bool {
    let (mut depth, mut run) = (0usize, 0usize);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        run = if matches!(byte, b'!' | b'?' | b':') { run + 1 } else { 0 };
        if depth > DEEPEST || run > DEEPEST {
            return true;
        }
    }
    // Conditions follow one another without brackets.
    text.bytes().filter(|&byte| byte == b'?').count() > 512
}

/// Whether `key` holds what we look for, in the spelling of bake and workflows or that of compose.
fn is_ours(key: &str) -> bool {
    matches!(key, "cache-from" | "cache-to" | "cache_from" | "cache_to")
}

/// Values of attributes of blocks, with variables as they are by default.
fn bake(body: &hcl::Body, found: &mut Vec<Found>) {
    let mut known = Context::new();
    for block in body.blocks().filter(|block| block.identifier() == "variable") {
        let default = block.body().attributes().find(|attribute| attribute.key() == "default");
        let value = default.and_then(|attribute| attribute.expr().evaluate(&known).ok());
        if let (Some(name), Some(value)) = (block.labels().first(), value.filter(|value| !value.is_null())) {
            known.declare_var(name.as_str(), value);
        }
    }
    for block in body.blocks() {
        for attribute in block.body().attributes().filter(|attribute| is_ours(attribute.key())) {
            match attribute.expr() {
                Expression::Array(items) => items.iter().for_each(|item| evaluate(item, &known, found)),
                other => evaluate(other, &known, found),
            }
        }
    }
}

fn evaluate(expression: &Expression, known: &Context<'_>, found: &mut Vec<Found>) {
    if let Ok(value) = expression.evaluate(known) {
        return match serde_json::to_value(value) {
            Ok(Value::Array(items)) => items.iter().for_each(|item| take(item, found)),
            Ok(value) => take(&value, found),
            Err(_) => {}
        };
    }
    match expression {
        Expression::TemplateExpr(template) => match &**template {
            TemplateExpr::QuotedString(text) | TemplateExpr::Heredoc(hcl::expr::Heredoc { template: text, .. }) => {
                take(&Value::String(text.clone()), found);
            }
        },
        other => {
            let written = hcl::format::to_string(other).unwrap_or_default();
            found.push(Found { value: UNKNOWN.to_owned(), written });
        }
    }
}

/// Goes through a document and takes what stands under our keys, in lines of scripts, and in `set` of bake-action.
fn walk(value: &Value, found: &mut Vec<Found>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    (key, Value::Array(items)) if is_ours(key) => items.iter().for_each(|item| take(item, found)),
                    (key, value) if is_ours(key) => take(value, found),
                    ("run", Value::String(script)) => options(script, found),
                    ("set", Value::String(lines)) => {
                        for line in lines.lines() {
                            let set = line.trim().split_once('=').filter(|(target, _)| {
                                target.trim_end_matches('+').rsplit('.').next().is_some_and(is_ours)
                            });
                            set.into_iter().for_each(|(_, value)| take(&value.into(), found));
                        }
                    }
                    (_, value) => walk(value, found),
                }
            }
        }
        _ => {}
    }
}

/// Takes a value: text, a line each, or an object of options.
fn take(value: &Value, found: &mut Vec<Found>) {
    match value {
        Value::String(lines) => {
            for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                found.push(Found { value: with_unknowns(line), written: line.to_owned() });
            }
        }
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("\"{}\"", format!("{key}={value}").replace('"', "\"\""))
            };
            let line = fields.iter().map(field).collect::<Vec<_>>().join(",");
            found.push(Found { value: with_unknowns(&line), written: line });
        }
        _ => {}
    }
}

/// The values of our options in the lines of a shell script.
fn options(script: &str, found: &mut Vec<Found>) {
    let joined = script.replace("\\\n", " ");
    for line in joined.lines().filter(|line| line.contains("--cache-") && !line.trim_start().starts_with('#')) {
        let words = words(line);
        for (at, word) in words.iter().enumerate() {
            let value = ["--cache-from", "--cache-to"].iter().find_map(|option| {
                let rest = word.strip_prefix(option)?;
                match rest.strip_prefix('=') {
                    Some(value) => Some(value.to_owned()),
                    None if rest.is_empty() => words.get(at + 1).cloned(),
                    None => None,
                }
            });
            value.into_iter().for_each(|value| take(&value.into(), found));
        }
    }
}

/// A line of a shell script as words, without their quotes. What `${{ }}` holds is no end of a word.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = rest.strip_prefix("${{").and_then(|inner| inner.find("}}")).map(|at| at + 5) {
            word.get_or_insert_default().push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() || matches!(c, ';' | '|' | '&') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// `text` with [`UNKNOWN`] for expressions of workflows, and for variables of shells and bake.
fn with_unknowns(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let length = [("${{", "}}"), ("${", "}"), ("$(", ")")].iter().find_map(|(open, close)| {
            let end = from.strip_prefix(open)?.find(close);
            Some(end.map_or(from.len(), |end| open.len() + end + close.len()))
        });
        let name = || from[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(from.len(), |at| at + 1);
        let length = length.unwrap_or_else(name);
        out.push_str(if length > 1 { UNKNOWN } else { "$" });
        rest = &from[length..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str, language: Language) -> Vec<String> {
        read(text, language).unwrap().into_iter().map(|found| found.value.replace(UNKNOWN, "?")).collect()
    }

    #[test]
    fn bake_files_in_hcl() {
        let text = r#"
            variable "REGISTRY" { default = "ghcr.io/acme" }
            variable "REPO" { default = "${REGISTRY}/app" }
            variable "TAG" {}
            group "default" { targets = ["app"] }
            target "app" {
              cache-from = ["type=registry,ref=${REPO}:cache", "type=registry,ref=${REPO}:${TAG}", { type = "gha", scope = "x" }]
              cache-to   = ["type=local,dest=.cache,mode=max", CI ? "a" : "b"]
            }"#;
        assert_eq!(
            values(text, Language::Hcl),
            [
                "type=registry,ref=ghcr.io/acme/app:cache",
                "type=registry,ref=?:?",
                "\"type=gha\",\"scope=x\"",
                "type=local,dest=.cache,mode=max",
                "?"
            ]
        );
    }

    #[test]
    fn bake_files_in_json_workflows_and_compose_files() {
        let json =
            r#"{"target":{"app":{"cache-from":["type=gha","type=registry,ref=${R}"],"cache-to":["type=inline"]}}}"#;
        assert_eq!(values(json, Language::Json), ["type=gha", "type=registry,ref=?", "type=inline"]);
        let yaml = r#"
on: push
jobs:
  build:
    steps:
      - uses: docker/build-push-action@v6
        with:
          cache-from: |
            type=gha,scope=${{ github.ref_name }}
            user/app:cache
          cache-to: type=gha,mode=max
      - uses: docker/bake-action@v6
        with:
          set: |
            *.cache-from=type=s3,region=eu,bucket=b
            *.tags=x
      - run: |
          docker buildx build --cache-from "type=local,src=/tmp/c" \
            --cache-to=type=registry,ref=$REPO:x . && echo
          # --cache-from type=no
services:
  web:
    build: { cache_from: [alpine:latest] }
"#;
        assert_eq!(
            values(yaml, Language::Yaml),
            [
                "type=gha,scope=?",
                "user/app:cache",
                "type=gha,mode=max",
                "type=s3,region=eu,bucket=b",
                "type=local,src=/tmp/c",
                "type=registry,ref=?:x",
                "alpine:latest",
            ]
        );
    }

    #[test]
    fn hostile_files_are_refused() {
        for text in
            ["[".repeat(5_000), "{\"a\":".repeat(1_000), "!".repeat(2_000), format!("a = {}", "x ? ".repeat(900))]
        {
            for language in [Language::Hcl, Language::Json, Language::Yaml] {
                assert!(read(&text, language).is_err());
            }
        }
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
            + &(0..20)
                .map(|n| {
                    format!(
                        "b{n}: &b{n} [*{0},*{0},*{0},*{0},*{0},*{0},*{0},*{0}]\n",
                        if n == 0 { "a".into() } else { format!("b{}", n - 1) }
                    )
                })
                .collect::<String>();
        assert!(read(&bomb, Language::Yaml).is_err());
        assert!(read("no: [", Language::Yaml).is_err() && read("{", Language::Json).is_err());
    }
}
