//! `docs/json.md` and the JSON are the same: every field, its place and its type.

use crate::builder::{Builder, Told};
use crate::fixtures::Fixture;
use crate::github::Github;
use crate::program::Place;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A schema as the page describes it.
struct Section {
    schema: String,
    command: String,
    /// Field and type, in the order of the page.
    fields: Vec<(String, String)>,
}

fn sections() -> Vec<Section> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md")).unwrap();
    let parts = page.split("\n### ").skip(1);
    parts
        .map(|part| {
            let schema = part.lines().next().unwrap().to_owned();
            let command = part.split('`').nth(1).unwrap();
            let command = command.strip_prefix("cachedeck ").unwrap().strip_suffix(" --json").unwrap().to_owned();
            let rows = part.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
            let cells = |row: &str| -> (String, String) {
                let mut cells = row.split('|').map(str::trim).skip(1);
                (cells.next().unwrap().trim_matches('`').to_owned(), cells.next().unwrap().to_owned())
            };
            Section { schema, command, fields: rows.map(cells).collect() }
        })
        .collect()
}

/// What is documented as a whole: maps, and objects that stand elsewhere on the page.
const WHOLE: [&str; 12] = [
    "attributes",
    "cache_from",
    "cache_to",
    "compressions",
    "error",
    "findings",
    "labels",
    "location",
    "promise.undo",
    "response",
    "skipped",
    "steps",
];

/// Every field of `value` under its path, with all values it has.
fn flatten<'a>(path: &str, value: &'a Value, into: &mut BTreeMap<String, Vec<&'a Value>>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                into.entry(path.clone()).or_default().push(value);
                if !WHOLE.contains(&path.as_str()) {
                    flatten(&path, value, into);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| flatten(&format!("{path}[]"), item, into)),
        _ => {}
    }
}

fn fits(value: &Value, documented: &str) -> bool {
    let (kind, or_null) = documented.strip_suffix(" or null").map_or((documented, false), |kind| (kind, true));
    match kind {
        _ if value.is_null() => or_null,
        "integer" | "bytes" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "digest" => value.as_str().is_some_and(|text| text.starts_with("sha256:") && text.len() == 71),
        "time" => value.as_str().is_some_and(|text| text.ends_with('Z') && text.as_bytes()[10] == b'T'),
        "object" => value.is_object(),
        list if list.starts_with("list of ") => value.is_array(),
        other => panic!("{other} is no type"),
    }
}

fn check(section: &Section, fields: &[(String, String)], objects: &[Value]) {
    let schema = &section.schema;
    assert!(!objects.is_empty(), "{schema}");
    let mut found = BTreeMap::new();
    objects.iter().for_each(|object| flatten("", object, &mut found));
    let documented: BTreeSet<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), documented, "{schema}");
    for (name, kind) in fields {
        for value in &found[name] {
            assert!(fits(value, kind), "{schema}: {name} is documented as {kind}, and is {value}");
        }
    }
    let is_top = |name: &&str| !name.contains(['.', '[']);
    let order: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).filter(is_top).collect();
    let keys: Vec<&str> = objects[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, order, "{schema}");
}

#[test]
fn the_page_says_exactly_what_comes_out() {
    let place = Place::with("local-history");
    place.add("inline-image", "inline-image");
    place.add("local-history", "changed");
    place.add("local-max", "damaged");
    let gone = "blobs/sha256/04d3bea617a8a9099577d77d90bf8a2d6a49181c1638f8da494f55bcfc67ebdf";
    std::fs::remove_file(place.path("damaged").join(gone)).unwrap();
    crate::build::stand_in(&place, include_str!("../fixtures/builds/imported.rawjson"), 0);
    let names = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/daemon-du.json");
    let github = Github::start();
    github.fill(&Fixture::unpack("gha-cache").path());
    let actions = github.rest().reveal();
    let builder = Builder::start(Told::recorded());
    let daemon = format!("type=daemon,addr={}", builder.address());
    let record = cachedeck::format::usage::read(&std::fs::read(names).unwrap()).unwrap().remove(0).id;
    let sections = sections();
    let listing = sections.iter().find(|s| s.command == "ls").unwrap().fields.clone();
    std::fs::write(place.path("config.toml"), "locations.here = './local-history'").unwrap();
    let records = sections.iter().find(|s| s.command == "daemon du").unwrap().fields.clone();
    let mut seen = BTreeSet::new();
    for section in &sections {
        let command: Vec<&str> = section.command.split(' ').collect();
        let more: &[&[&str]] = match command[0] {
            "files" => &[&["local-history", "#6"]],
            "copy" => &[&["local-history", "./copied"], &["inline-image", "./elsewhere", "--dry-run"]],
            "extract" => &[&["local-history", "#6", "deps", "--out", "out"]],
            "find" => &[&["app", "local-history"]],
            "verify" => &[&["damaged"]],
            "pin" => &[&["changed", "--digest", "d9d014"]],
            "prune" if command.len() > 1 => &[&["changed", "--yes", "--grace", "0s"]],
            "undo" => &[&["changed", "--yes"]],
            "pins" | "prune" | "log" => &[&["changed"]],
            "diff" => &[&["local-history"]],
            "version" => &[&[]],
            "build" if command.len() > 1 => &[&["--cache", "local-history", "--", "."]],
            "build" => &[&["--cache", "local-history", "--", "."], &["--cache-from", "inline-image", "--", "."]],
            "gha" => &[&[&actions]],
            "locations" if command[1] == "ls" => &[&["--config", "config.toml"]],
            "locations" => &[&["local-history", "./gone"]],
            "daemon" if command[1] == "why" => &[&[&record, &daemon]],
            "daemon" => &[&[&daemon]],
            "du" if command.len() == 1 => &[&["local-history"], &["inline-image"], &[&daemon]],
            _ => &[&["local-history"], &["inline-image"]],
        };
        let mut objects = Vec::new();
        for more in more {
            // What stands behind dashes is another program's.
            let dashes = more.iter().position(|word| *word == "--").unwrap_or(more.len());
            let arguments = [&command, &more[..dashes], &["--json", "--names", names], &more[dashes..]].concat();
            let ran = place.run(&arguments);
            let object: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{arguments:?}: {ran}"));
            assert_eq!(Some(object["schema"].as_str().unwrap()), section.schema.split(' ').next(), "{arguments:?}");
            match object.get("items") {
                Some(items) => objects.extend(items.as_array().unwrap().iter().cloned()),
                None => objects.push(object),
            }
        }
        let mut fields = section.fields.clone();
        if section.command == "inspect" {
            fields.splice(0..0, listing.iter().cloned());
        }
        if section.command == "daemon why" {
            let schema = (String::from("schema"), String::from("string"));
            fields.splice(0..0, std::iter::once(schema).chain(records.iter().cloned()));
        }
        check(section, &fields, &objects);
        seen.insert(command[0].to_owned());
    }
    for list in crate::json::LISTS {
        assert!(seen.contains(list[0]), "{} is not documented", list[0]);
    }
}
