//! Holds the picture in `docs/architecture.md`: imports go down the layers only, foreign crates stay where they belong,
//! and no file is named after nothing. It reads `src/` as text: comments, strings and `#[cfg(test)]` items are left out,
//! what remains is searched for paths.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Top-level module, and those it may name. `main` starts the program and may name all.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("progress", &["error"]),
    ("model", &["error"]),
    ("format", &["error", "progress", "model"]),
    ("state", &["error", "model"]),
    ("store", &["error", "progress", "model", "format", "state"]),
    ("ops", &["error", "progress", "model", "format", "state", "store"]),
    ("config", &["error", "progress", "model", "ops", "store"]),
    ("tui", &["error", "progress", "model", "ops", "store", "state", "config"]),
    ("cli", &["error", "progress", "model", "ops", "store", "state", "config", "tui"]),
];

/// Where `store::catalog` may be named; no other module of `store/` may be named from outside at all.
const MAY_OPEN: &[&str] = &["cli/", "config.rs", "tui/runtime"];

/// A crate, and the beginnings of the paths that may name it. A backend's SDK gets a line here.
const BELONGS: &[(&str, &[&str])] = &[
    ("ratatui", &["tui/"]),
    ("crossterm", &["tui/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_complete_nushell", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("oci_spec", &["format/", "store/registry/"]),
    ("docker_credential", &["store/registry/"]),
    ("http_auth", &["store/registry/"]),
    ("async_trait", &["store/"]),
    ("hcl", &["format/"]),
    ("rusqlite", &["state/"]),
    ("azure_core", &["store/azblob/"]),
    ("azure_identity", &["store/azblob/"]),
    ("azure_storage", &["store/azblob/"]),
    ("tonic", &["store/builder/"]),
    ("bollard_buildkit_proto", &["store/builder/"]),
    ("aws_config", &["store/s3/"]),
    ("aws_credential_types", &["store/s3/"]),
    ("aws_sdk_s3", &["store/s3/"]),
    ("aws_smithy_runtime_api", &["store/s3/"]),
    ("aws_smithy_types", &["store/s3/"]),
    ("serde_saphyr", &["format/"]),
    ("toml_edit", &["config/"]),
];

/// Text that has no place under a path, and why.
const BANNED: &[(&str, &str, &str)] = &[
    ("model/", "async", "the model is plain data: do it in ops/ or store/"),
    ("model/", "tokio", "the model is plain data: do it in ops/ or store/"),
    ("model/", "std::fs", "the model reads nothing: do it in store/"),
    ("model/", "std::env", "the model reads nothing: pass the value in"),
    ("model/", "std::net", "the model reads nothing: do it in store/"),
    ("model/", "std::process", "the model starts nothing: do it in ops/"),
    ("model/", "SystemTime", "the model has no clock: take `now` as a parameter"),
    ("model/", "Instant", "the model has no clock: take `now` as a parameter"),
    ("model/", "Timestamp::now", "the model has no clock: take `now` as a parameter"),
    ("format/", "tokio", "formats turn bytes into model: read the bytes in store/ or ops/"),
    ("format/", "std::fs", "formats turn bytes into model: read the bytes in store/ or ops/"),
    ("format/", "Timestamp::now", "formats have no clock: take `now` as a parameter"),
    ("ops/", "Timestamp::now", "take `now` as a parameter, so that it can be tested"),
    ("ops/", "SystemTime::now", "take `now` as a parameter, so that it can be tested"),
];

const NAMES_OF_NOTHING: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "types", "misc"];

#[test]
fn imports_go_down_and_crates_stay_home() {
    let files = sources(Path::new("src"), "");
    assert!(files.iter().any(|(path, _)| path == "model/mod.rs"), "src/ was not found: run this through cargo");
    let stores = store_modules(&files);
    let wrong: Vec<String> = files.iter().flat_map(|(path, text)| violations(path, text, &stores)).collect();
    assert!(wrong.is_empty(), "{} (docs/architecture.md has the picture)\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn files_are_named_after_what_they_do() {
    for (path, _) in sources(Path::new("src"), "") {
        let named = path.trim_end_matches(".rs").split('/').all(|part| !NAMES_OF_NOTHING.contains(&part));
        assert!(named, "src/{path}: name it after what it does, or put its parts where they are used");
    }
}

#[test]
fn the_scanner_sees_what_it_should() {
    let stores = BTreeSet::from(["local".to_owned(), "memory".to_owned(), "catalog".to_owned()]);
    let found = |path: &str, text: &str| violations(path, text, &stores).len();
    for (path, text) in [
        ("model/a.rs", "use crate::store::Store;"),
        ("model/a.rs", "fn f() { let x = crate :: ops :: load(); }"),
        ("model/a.rs", "use crate::{error::Error, format::{x}};"),
        ("ops/a.rs", "use crate::store::{\n    Store,\n    memory::Memory,\n};"),
        ("ops/a.rs", "use crate::store::catalog;"),
        ("ops/a.rs", "use crate::*;"),
        ("ops/a.rs", "use super::super::store::local;"),
        ("ops/picture/a.rs", "use super::super::super::cli;"),
        ("tui/screens/a.rs", "use crate::store::catalog::open;"),
        ("tui/runtime.rs", "use crate::store::local;"),
        ("cli/ls.rs", "use ratatui::style::Color;"),
        ("cli/ls.rs", "let url = \"http://x\"; ratatui::init();"),
        ("ops/a.rs", "let c = '\"'; use clap::Parser; // \""),
        ("model/a.rs", "let now = jiff::Timestamp::now();"),
        ("model/a.rs", "#[cfg(test)]\nmod tests {}\nuse crate::cli;"),
        ("new/a.rs", "fn f() {}"),
    ] {
        assert_eq!(found(path, text), 1, "{path}: {text}");
    }
    for (path, text) in [
        ("ops/a.rs", "//! [`crate::cli`]\n/* crate::tui /* crate::cli */ */ const S: &str = r#\"crate::cli \" \"#;"),
        ("ops/a.rs", "use crate::store::{Store, Capabilities};\nuse crate::format::envelope;"),
        ("ops/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::store::memory::Memory;\n    fn f() { \"}\"; }\n}"),
        ("ops/a.rs", "fn f<'a>(x: &'a str) -> char { '{' } use super::plan;"),
        ("store/local/a.rs", "use super::super::Store; use crate::store::memory;"),
        ("tui/runtime.rs", "use crate::store::{Store, catalog::open};"),
        ("main.rs", "cachedeck::cli::run()"),
    ] {
        assert_eq!(violations(path, text, &stores), [""; 0], "{path}: {text}");
    }
}

/// All `.rs` files below `folder` as (path inside `src/`, text), sorted. Files that hold only tests are left out.
fn sources(folder: &Path, prefix: &str) -> Vec<(String, String)> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            files.extend(sources(&path, &format!("{name}/")));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            files.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

/// The modules right under `store`.
fn store_modules(files: &[(String, String)]) -> BTreeSet<String> {
    let below = files.iter().filter_map(|(path, _)| path.strip_prefix("store/"));
    below.map(|rest| rest.split(['/', '.']).next().unwrap().to_owned()).filter(|module| module != "mod").collect()
}

/// One line for each thing in `text` that breaks the rules for a file at `path`; each says what to do.
fn violations(path: &str, text: &str, stores: &BTreeSet<String>) -> Vec<String> {
    let top = path.split(['/', '.']).next().unwrap();
    if ["lib", "main"].contains(&top) {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_NAME.iter().find(|(module, _)| *module == top) else {
        return vec![format!("src/{path}: `{top}` has no layer: give it a line in MAY_NAME here and in the picture")];
    };
    let code = without_tests(&without_words(text));
    let mut wrong = Vec::new();
    for (at, path_to) in crate_paths(&code) {
        let place = format!("src/{path}:{}: `crate::{}`", line(&code, at), path_to.join("::"));
        let (first, second) = (path_to[0].as_str(), path_to.get(1).map_or("", String::as_str));
        if first == top {
            continue;
        }
        if !allowed.contains(&first) {
            let down = if allowed.is_empty() { "nothing of this crate".into() } else { allowed.join(", ") };
            wrong.push(format!("{place}: {top} may name {down}: move the code down, or pass in what it needs"));
        } else if first == "store" && second == "catalog" && !MAY_OPEN.iter().any(|p| path.starts_with(p)) {
            wrong.push(format!("{place}: only {} open stores: take a `&dyn Store`", MAY_OPEN.join(", ")));
        } else if first == "store" && second != "catalog" && stores.contains(second) {
            wrong.push(format!(
                "{place}: no backend is named outside store/: take a `&dyn Store` and ask its capabilities"
            ));
        }
    }
    // In a/b/c.rs, two `super` still are inside `a`, three are the crate's root; a mod.rs stands one higher.
    let depth = path.matches('/').count() + usize::from(!path.ends_with("mod.rs"));
    let climb = "super::".repeat(depth.max(1));
    if let Some(at) = squeezed(&code).find(&climb) {
        let line = squeezed(&code)[..at].matches('\n').count() + 1;
        wrong.push(format!("src/{path}:{line}: `{climb}` leaves `{top}`: write the path from `crate::`"));
    }
    for (name, homes) in BELONGS {
        if let Some(at) = word(&code, name).filter(|_| !homes.iter().any(|home| path.starts_with(home))) {
            let (line, homes) = (line(&code, at), homes.join(", "));
            wrong.push(format!("src/{path}:{line}: `{name}` belongs to {homes}: move the code there"));
        }
    }
    for (below, what, why) in BANNED {
        if let Some(at) = word(&code, what).filter(|_| path.starts_with(below)) {
            wrong.push(format!("src/{path}:{}: `{what}`: {why}", line(&code, at)));
        }
    }
    wrong
}

fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// `code` without blanks, but with its line ends.
fn squeezed(code: &str) -> String {
    code.chars().filter(|&c| c == '\n' || !c.is_whitespace()).collect()
}

/// Where `name` stands in `code` as a word of its own.
fn word(code: &str, name: &str) -> Option<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name)
        .map(|(at, _)| at)
        .find(|&at| !code[..at].ends_with(part) && !code[at + name.len()..].starts_with(part))
}

/// Every path that begins with `crate::`, its groups spread out, with where it begins.
fn crate_paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate") {
        let rest = code[at + "crate".len()..].trim_start();
        if let Some(rest) = rest.strip_prefix("::").filter(|_| word(&code[at..], "crate") == Some(0)) {
            let mut found = Vec::new();
            tree(rest, &[], &mut found);
            paths.extend(found.into_iter().map(|path| (at, path)));
        }
    }
    paths
}

/// Reads `a::b`, `a::{b, c::d}` or `*` from the beginning of `code`; gives back what follows.
fn tree<'a>(code: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = tree(rest, before, found).trim_start();
            match rest.chars().next() {
                Some(',') => rest = &rest[1..],
                Some('}') => return &rest[1..],
                // ` as name` and the like.
                Some(c) => rest = &rest[c.len_utf8()..],
                None => return rest,
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(code.len());
    if end == 0 {
        return code;
    }
    let path = [before, &[code[..end].to_owned()]].concat();
    let rest = code[end..].trim_start();
    match rest.strip_prefix("::") {
        Some(rest) => tree(rest, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

/// `text` with comments, strings and characters blanked out; lines stay where they are.
fn without_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = literal(rest);
        if length == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// Length of the comment, string or character that `rest` begins with, or 0.
fn literal(rest: &str) -> usize {
    let to = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        let mut depth = 0;
        for at in 0..rest.len() {
            match rest.as_bytes()[at..] {
                [b'/', b'*', ..] => depth += 1,
                [b'*', b'/', ..] if depth == 1 => return at + 2,
                [b'*', b'/', ..] => depth -= 1,
                _ => {}
            }
        }
        return rest.len();
    }
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.bytes().take_while(|&b| b == b'#').count();
        if raw[hashes..].starts_with('"') {
            return to(&format!("\"{}", "#".repeat(hashes)), hashes + 2);
        }
    }
    if rest.starts_with('"') || rest.starts_with("'\\") {
        let quote = rest.as_bytes()[0];
        let mut at = 1;
        while at < rest.len() && rest.as_bytes()[at] != quote {
            at += if rest.as_bytes()[at] == b'\\' { 2 } else { 1 };
        }
        return rest.len().min(at + 1);
    }
    // A lifetime has no quote after its first character.
    match rest.strip_prefix('\'').and_then(|r| r.chars().next()) {
        Some(c) if rest[1 + c.len_utf8()..].starts_with('\'') => c.len_utf8() + 2,
        _ => 0,
    }
}

/// `code` with every item under `#[cfg(test)]` blanked out.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let mut depth = 0;
        let end = rest[at..].char_indices().find(|(_, c)| {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth == 0 && matches!(c, '}' | ';')
        });
        let end = end.map_or(rest.len(), |(length, _)| at + length + 1);
        out.extend(rest[at..end].chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = &rest[end..];
    }
    out + rest
}
