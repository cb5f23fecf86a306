//! `type=azblob` against Azurite.

use crate::fixtures::Fixture;
use crate::support::azure::{ACCOUNT, Container, KEY};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Output};

fn expected() -> Value {
    let all: Value = serde_json::from_str(include_str!("../fixtures/expected.json")).unwrap();
    all["azblob-container"].clone()
}

fn fixture() -> Container {
    Container::of_files(&Fixture::unpack("azblob-container").path())
}

fn cachedeck(env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
    let home = tempfile::tempdir().unwrap();
    program.env_clear().env("HOME", home.path()).envs(env.iter().copied()).args(arguments).output().unwrap()
}

#[track_caller]
fn json(env: &[(&str, &str)], arguments: &[&str]) -> Value {
    let output = cachedeck(env, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Fails with this exit code; gives back what was said.
#[track_caller]
fn fails(code: i32, env: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = cachedeck(env, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains(KEY) && !said.contains("sig="), "{said}");
    said
}

/// Holds `ls` and `du` of `location` to what a separate reading of the fixture found.
#[track_caller]
fn is_as_expected(env: &[(&str, &str)], location: &str) {
    let wanted = expected();
    let listing = json(env, &["ls", "--json", location]);
    assert_eq!((&listing["complete"], &listing["warnings"]), (&json!(true), &json!([])));
    let items = listing["items"].as_array().unwrap();
    let manifests = wanted["manifests"].as_array().unwrap();
    assert_eq!(items.len(), 1, "two names of one content are one version");
    let names: Vec<&Value> = manifests.iter().map(|manifest| &manifest["name"]).collect();
    assert_eq!(items[0]["tags"], json!(names));
    for manifest in manifests {
        for (field, value) in manifest.as_object().unwrap().iter().filter(|(field, _)| *field != "name") {
            assert_eq!(&items[0][field], value, "{field}");
        }
    }
    let usage = json(env, &["du", "--json", location]);
    for field in ["blobs", "bytes", "live_blobs", "orphan_blobs", "orphan_bytes"] {
        assert_eq!(usage["items"][0][field], wanted[field], "{field}");
    }
    assert_eq!(usage["items"][0]["missing_blobs"], 0);
    assert_eq!(usage["items"][0]["live_bytes"], wanted["bytes"]);
}

#[test]
fn a_container_is_what_a_separate_reading_found() {
    let container = fixture();
    let location = format!("{},prefix=team/", container.location());
    is_as_expected(&[], &location);
    let layers = json(&[], &["layers", "--json", &location]);
    assert_eq!(layers["items"].as_array().unwrap().len(), 10);
    let graph = json(&[], &["graph", "--json", &location]);
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 10);
    let blobs = json(&[], &["blobs", "--json", &location]);
    assert_eq!(blobs["items"].as_array().unwrap().len(), 9);
    let verified = json(&[], &["verify", "--level", "digest", "--json", &location]);
    assert_eq!(verified["items"], json!([]));
}

#[test]
fn a_name_selects_and_hides_nothing() {
    let container = fixture();
    let location = format!("{},prefix=team,name=main;other", container.location());
    is_as_expected(&[], &location);
    let one = json(&[], &["inspect", "--json", &location]);
    assert_eq!(one["items"][0]["digest"], expected()["manifests"][0]["digest"]);
    fails(5, &[], &["inspect", &format!("{},prefix=team,name=other", container.location())]);
}

#[test]
fn the_environment_fills_in_what_is_left_out() {
    let container = fixture();
    let account_url = crate::support::azure();
    let env = [
        ("BUILDKIT_AZURE_STORAGE_ACCOUNT_URL", account_url.as_str()),
        ("BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("BUILDKIT_AZURE_STORAGE_CONTAINER", &container.name),
        ("BUILDKIT_AZURE_STORAGE_PREFIX", "team"),
    ];
    is_as_expected(&env, &format!("type=azblob,secret_access_key={KEY}"));
}

#[test]
fn a_shared_access_signature_is_enough() {
    let container = fixture();
    let with = |query: &str| {
        let place = container.place().replace(&format!("/{ACCOUNT},"), &format!("/{ACCOUNT}?{query},"));
        format!("{place},prefix=team")
    };
    is_as_expected(&[], &with(&container.signature("rl")));
    let said = fails(4, &[], &["ls", &with(&container.signature("r"))]);
    assert!(said.contains("AuthorizationPermissionMismatch") && said.contains("reading and listing"), "{said}");
    let forged = container.signature("rl").replace("sp=rl", "sp=lr");
    assert!(fails(4, &[], &["ls", &with(&forged)]).contains("SAS"));
}

#[test]
fn a_wrong_key_is_told_with_what_to_check() {
    let container = fixture();
    let location = format!("{},secret_access_key=d3Jvbmc=", container.place());
    let said = fails(4, &[], &["ls", &location]);
    assert!(said.contains("AuthorizationFailure") || said.contains("AuthenticationFailed"), "{said}");
    assert!(!said.contains("d3Jvbmc"), "{said}");
}

#[test]
fn without_credentials_it_says_what_was_tried() {
    let container = fixture();
    let said = fails(4, &[("CACHEDECK_TIMEOUT", "300ms")], &["ls", &container.place()]);
    for source in ["AZURE_CLIENT_ID", "managed identity", "Azure CLI: not installed", "az login"] {
        assert!(said.contains(source), "{source}: {said}");
    }
}

#[test]
fn reading_makes_no_container() {
    let container = Container::nowhere();
    for command in ["ls", "du", "blobs", "verify"] {
        let said = fails(5, &[], &[command, &container.location()]);
        assert!(said.contains(&format!("no container {}", container.name)), "{said}");
    }
    assert!(!container.exists());
}

#[test]
fn what_is_no_blob_is_told_of() {
    let stray = ("blobs/readme.txt".to_owned(), b"hello".to_vec());
    let container = Container::with(BTreeMap::from([stray]));
    container.begin("blobs/sha256:unfinished", b"half");
    let listing = json(&[], &["blobs", "--json", &container.location()]);
    assert_eq!(listing["items"], json!([]));
    let findings = json(&[], &["verify", "--fail-on", "none", "--json", &container.location()]);
    let codes: Vec<&Value> = findings["items"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert_eq!(codes, ["stray", "leftover"], "{findings}");
}
