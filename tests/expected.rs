//! What `ls --json` and `du --json` say of every fixture equals what a separate reading of them found.

#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::Fixture;
use serde_json::{Value, json};
use std::process::Command;

const LOCAL: [&str; 10] = [
    "local-docker-list",
    "local-estargz",
    "local-history",
    "local-index",
    "local-max",
    "local-min",
    "local-multi",
    "local-uncompressed",
    "local-zstd",
    "inline-image",
];

fn expected() -> Value {
    serde_json::from_str(include_str!("fixtures/expected.json")).unwrap()
}

fn run(command: &str, fixture: &Fixture) -> Value {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
    program.env_clear().env("BUILDX_CONFIG", fixture.path()).env("CACHEDECK_DATA_DIR", "");
    let output = program.args([command, "--json"]).arg(fixture.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["complete"], true);
    assert_eq!(value["warnings"], json!([]));
    assert_eq!(value["location"]["type"], "local");
    assert_eq!(value["location"]["src"], fixture.path().to_str().unwrap());
    value
}

/// A manifest of `expected.json` under the names that our JSON has.
fn renamed(manifest: &Value) -> Value {
    let mut wanted = manifest.as_object().unwrap().clone();
    let form = wanted.remove("kind").unwrap();
    wanted.insert("form".to_owned(), form);
    let created = wanted.remove("created").unwrap();
    wanted.insert("created_at".to_owned(), if created == "" { Value::Null } else { created });
    Value::Object(wanted)
}

#[test]
fn ls_finds_every_version_with_its_sizes() {
    let expected = expected();
    for name in LOCAL {
        let listing = run("ls", &Fixture::unpack(name));
        assert_eq!(listing["schema"], "cachedeck.index-list/1");
        let mut found = listing["items"].as_array().unwrap().clone();
        let mut wanted: Vec<Value> = expected[name]["manifests"].as_array().unwrap().iter().map(renamed).collect();
        for items in [&mut found, &mut wanted] {
            items.sort_by_key(|item| item["digest"].to_string());
        }
        assert_eq!(found.len(), wanted.len(), "{name}");
        for (found, wanted) in found.iter().zip(&wanted) {
            for (field, value) in wanted.as_object().unwrap() {
                assert_eq!(found.get(field), Some(value), "{name}: {field} of {}", wanted["digest"]);
            }
        }
    }
}

#[test]
fn du_adds_up_to_what_is_on_disk() {
    let expected = expected();
    for name in LOCAL {
        let listing = run("du", &Fixture::unpack(name));
        assert_eq!(listing["schema"], "cachedeck.usage-list/1");
        let items = listing["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{name}");
        let wanted = &expected[name];
        for field in [
            "blobs",
            "bytes",
            "live_blobs",
            "live_bytes",
            "dangling_blobs",
            "dangling_bytes",
            "orphan_blobs",
            "orphan_bytes",
        ] {
            assert_eq!(items[0][field], wanted[field], "{name}: {field}");
        }
        assert_eq!(items[0]["missing_blobs"], wanted["missing"].as_array().unwrap().len(), "{name}");
        assert_eq!(items[0]["indexes"], wanted["manifests"].as_array().unwrap().len(), "{name}");
    }
}

#[test]
fn what_mode_min_would_hold_is_what_it_holds() {
    let bytes = |name: &str, field: &str| run("ls", &Fixture::unpack(name))["items"][0][field].clone();
    assert_eq!(bytes("local-max", "min_bytes"), bytes("local-min", "max_bytes"));
}
