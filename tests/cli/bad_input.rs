//! Input that makes no sense: a clear error, the right exit code, nothing written, never a panic.

use crate::program::{Place, Ran, write_index};
use std::os::unix::fs::symlink;
use std::path::Path;

/// Everything in a folder, with sizes, to see that nothing was written.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            all.push((entry.path(), metadata.len()));
        }
    }
    all.sort();
    all
}

/// Runs and sees that the place stays as it is and the program does not panic.
fn run(place: &Place, arguments: &[&str]) -> Ran {
    let before = contents(&place.path(""));
    let ran = place.run(arguments);
    assert!(!ran.err.contains("panicked"), "{arguments:?}: {ran}");
    assert_eq!(contents(&place.path("")), before, "{arguments:?} wrote something");
    ran
}

#[test]
fn command_lines_that_make_no_sense() {
    let place = Place::with("local-history");
    for (name, arguments, code) in [
        ("no_folder", &["ls", "./nowhere"][..], 5),
        ("no_cache", &["ls", "."], 5),
        ("typo", &["lss"], 5),
        ("no_such_folder", &["du", "cache"], 5),
        ("no_type", &["ls", "src=local-history"], 2),
        ("no_src", &["ls", "type=local"], 2),
        ("unknown_type", &["ls", "type=nonsense,src=x"], 10),
        ("unknown_option", &["ls", "--nonsense"], 2),
        ("unknown_format", &["ls", "--format", "xml", "local-history"], 2),
        ("unknown_sort", &["ls", "--sort", "siez", "local-history"], 2),
        ("bad_filter", &["ls", "--filter", "size>many", "local-history"], 2),
        ("bad_template", &["ls", "--format", "{{.dgst}}", "local-history"], 2),
        ("no_tag", &["inspect", "local-history", "--tag", "nope"], 5),
        ("no_digest", &["inspect", "local-history", "--digest", "ffffff"], 5),
        ("bad_digest", &["inspect", "type=local,src=local-history,digest=sha256:../../etc/passwd"], 2),
        ("bad_digest_prefix", &["inspect", "local-history", "--digest", "xyz"], 2),
        ("bad_level", &["verify", "--level", "deep", "local-history"], 2),
        ("bad_fail_on", &["verify", "--fail-on", "mising", "local-history"], 2),
        ("bad_state", &["blobs", "--state", "lost", "local-history"], 2),
        ("file_no_folder", &["ls", "./local-history/index.json"], 2),
        ("no_names", &["layers", "local-history", "--names", "nowhere.json"], 5),
        ("bad_names", &["layers", "local-history", "--names", "local-history/oci-layout"], 2),
    ] {
        let ran = run(&place, arguments);
        assert_eq!(ran.code, code, "{name}: {ran}");
        assert_eq!(ran.out, "", "{name}");
        insta::assert_snapshot!(format!("error_{name}"), ran.err);
    }
}

#[test]
fn errors_are_json_for_programs() {
    let place = Place::with("local-history");
    for (arguments, code, exit) in [
        (&["ls", "--json", "./nowhere"][..], "not_found", 5),
        (&["ls", "--json", "--nonsense"], "invalid", 2),
        (&["ls", "--format", "jsonl", "type=nonsense,bucket=b"], "unsupported", 10),
        (&["ls", "--format", "jsonl", "type=s3,bucket=b"], "invalid", 2),
        (&["inspect", "--json", "local-history,tag=nope"], "not_found", 5),
        (&["ls", "--json", "--sort", "nope", "local-history"], "invalid", 2),
    ] {
        let ran = run(&place, arguments);
        let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap_or_else(|_| panic!("{ran}"));
        assert_eq!(error["type"], "error");
        assert_eq!((error["code"].as_str(), error["exit"].as_i64()), (Some(code), Some(exit)), "{error}");
        assert_eq!(i64::from(ran.code), exit);
        assert!(error["message"].is_string() && error.get("hint").is_some() && error.get("location").is_some());
    }
}

#[test]
fn unknown_keys_are_warned_about_and_kept() {
    let place = Place::with("local-min");
    let ran = run(&place, &["ls", "type=local,src=local-min,tga=main"]);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.err.contains("did you mean tag?"), "{ran}");
    let object = run(&place, &["ls", "--json", "type=local,src=local-min,tga=main"]).json();
    assert_eq!(object["location"]["tga"], "main");
    assert_eq!(object["warnings"][0]["code"], "unknown_option");
}

#[test]
fn an_index_json_that_is_none() {
    let place = Place::with("local-min");
    let folder = place.path("local-min");
    let good = std::fs::read_to_string(folder.join("index.json")).unwrap();
    for bad in ["{", "nonsense", "[]", "{\"manifests\": 1}", &good[..good.len() / 2], &format!("{good}{good}")] {
        write_index(&folder, bad);
        let ran = run(&place, &["ls", "local-min"]);
        assert_eq!(ran.code, 6, "{bad:?}: {ran}");
        assert!(ran.err.contains("local-min/index.json"), "{ran}");
    }
    // BuildKit empties it before it writes it: what is in the blobs is told all the same.
    write_index(&folder, "");
    let ran = run(&place, &["ls", "local-min"]);
    assert!(ran.code == 0 && ran.out.contains("dangling") && ran.err.contains("empty index.json"), "{ran}");
    assert_eq!(run(&place, &["verify", "local-min"]).code, 6);
    std::fs::remove_file(folder.join("index.json")).unwrap();
    symlink("/etc/passwd", folder.join("index.json")).unwrap();
    let ran = run(&place, &["ls", "local-min"]);
    assert_ne!(ran.code, 0);
    assert!(!ran.to_string().contains("root:"), "{ran}");
}

#[test]
fn damaged_documents_are_findings_and_hide_nothing_else() {
    let place = Place::with("local-history");
    let blobs = place.path("local-history/blobs/sha256");
    let manifest = blobs.join("2ea56c9ca5d9d0822097de3065cedb0bf8c9a2afed1a9f8ae24c97ed1f8a5e24");
    let good = std::fs::read_to_string(&manifest).unwrap();
    std::fs::remove_file(&manifest).unwrap();
    for bad in ["{", "{}", &good[..good.len() / 2], &format!("{good}{good}")] {
        std::fs::write(&manifest, bad).unwrap();
        let listing = run(&place, &["ls", "--json", "local-history"]).json();
        assert_eq!(listing["items"].as_array().unwrap().len(), 6, "{bad:?}");
        assert_eq!(listing["complete"], false, "{bad:?}");
        assert_eq!(run(&place, &["verify", "local-history"]).code, 6, "{bad:?}");
        let layers = run(&place, &["layers", "local-history"]);
        assert_eq!(layers.code, 6, "{bad:?}: {layers}");
        assert_eq!(run(&place, &["layers", "local-history", "--tag", "release"]).code, 0);
    }
    std::fs::remove_file(&manifest).unwrap();
    let listing = run(&place, &["ls", "--json", "local-history"]).json();
    let latest = listing["items"].as_array().unwrap().iter().find(|i| i["tags"][0] == "latest").unwrap().clone();
    assert_eq!(latest["form"], serde_json::Value::Null);
    assert_eq!(latest["missing"].as_array().unwrap().len(), 1);
}

#[test]
fn verify_fails_on_what_it_is_told_to() {
    let place = Place::with("local-max");
    let blobs = place.path("local-max/blobs/sha256");
    let sound = run(&place, &["verify", "--level", "digest", "local-max"]);
    assert_eq!(sound.code, 0, "{sound}");
    let layer = blobs.join("1eb8e816bf12d20ae1ec101263399c9244c062e2b74d93e7f07db2045516ce96");
    let mut bytes = std::fs::read(&layer).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::remove_file(&layer).unwrap();
    std::fs::write(&layer, &bytes).unwrap();
    for (arguments, code) in [
        (&["--level", "exists"][..], 0),
        (&["--level", "size"], 0),
        (&["--level", "digest"], 6),
        (&["--level", "digest", "--fail-on", "missing"], 0),
        (&["--level", "digest", "--fail-on", "missing,corrupt"], 6),
        (&["--level", "digest", "--fail-on", "none"], 0),
        (&["--level", "digest", "--fail-on", "wrong_digest"], 6),
    ] {
        let mut all = vec!["verify", "local-max"];
        all.extend(arguments);
        let ran = run(&place, &all);
        assert_eq!(ran.code, code, "{arguments:?}: {ran}");
    }
    std::fs::remove_file(&layer).unwrap();
    assert_eq!(run(&place, &["verify", "--level", "exists", "local-max"]).code, 6);
    assert_eq!(run(&place, &["verify", "--fail-on", "missing", "local-max"]).code, 6);
    assert_eq!(run(&place, &["verify", "--fail-on", "corrupt", "local-max"]).code, 0);
}

#[test]
fn what_is_no_blob_is_told_and_not_opened() {
    let place = Place::with("local-min");
    let blobs = place.path("local-min/blobs/sha256");
    let hex = |digit: &str| digit.repeat(64);
    symlink("/etc/passwd", blobs.join(hex("a"))).unwrap();
    std::fs::create_dir(blobs.join(hex("b"))).unwrap();
    std::fs::write(blobs.join("UPPER"), "x").unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(blobs.join(hex("c"))).status().unwrap();
    assert!(fifo.success());
    let before = place.run(&["ls", "--json", "local-min"]).json();
    let strays = before["warnings"].as_array().unwrap().iter().filter(|w| w["code"] == "stray").count();
    assert_eq!(strays, 4, "{before}");
    assert_eq!(before["items"].as_array().unwrap().len(), 1);
    let verified = place.run(&["verify", "--level", "digest", "local-min"]);
    assert_eq!(verified.code, 0, "notes are no damage: {verified}");
}

#[test]
fn an_old_upload_is_told() {
    let place = Place::with("local-min");
    let upload = place.path("local-min/ingest/abc");
    std::fs::create_dir_all(&upload).unwrap();
    std::fs::write(upload.join("data"), [0; 100]).unwrap();
    let usage = run(&place, &["du", "--json", "local-min"]).json();
    assert_eq!(usage["items"][0]["leftover_bytes"], 100);
    let findings = run(&place, &["verify", "--json", "local-min"]).json();
    assert_eq!(findings["items"][0]["code"], "leftover");
}
