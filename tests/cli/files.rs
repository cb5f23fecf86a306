//! Looking into layers, and taking files out of them.

use crate::program::Place;
use sha2::Digest as _;
use std::path::Path;

/// Adds a blob to the layout in `folder`; gives its digest and size.
pub fn add_blob(folder: &Path, bytes: &[u8]) -> (String, usize) {
    let hex: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join("blobs/sha256").join(&hex), bytes).unwrap();
    (format!("sha256:{hex}"), bytes.len())
}

#[test]
fn a_layer_is_found_by_number_and_by_digest() {
    let place = Place::with("local-max");
    let listed = |layer: &str| place.run(&["files", "--json", "local-max", layer]).json()["items"].clone();
    let by_number = listed("#6");
    assert_eq!(by_number.as_array().unwrap().len(), 4);
    assert_eq!(listed("6"), by_number);
    assert_eq!(listed("a909a5f9"), by_number);
    for (layer, code) in [("#99", 5), ("ffff", 5), ("a909x", 2), ("#x", 2), ("04d3", 0)] {
        let ran = place.run(&["files", "local-max", layer]);
        assert_eq!(ran.code, code, "{layer}: {ran}");
    }
    // A config is no layer.
    let config = place.run(&["inspect", "--json=config", "local-max"]).json()["items"][0]["config"].clone();
    assert_eq!(place.run(&["files", "local-max", config.as_str().unwrap()]).code, 5);
}

#[test]
fn cat_gives_every_byte() {
    let place = Place::with("local-max");
    let output = place.command(&["cat", "local-max", "#4", "/deps/a.bin"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 60000));
    assert_eq!(place.run(&["cat", "local-max", "#4", "deps/none"]).code, 5);
    assert_eq!(place.run(&["cat", "local-max", "#4", "deps"]).code, 2, "a folder has no content");
}

#[test]
fn extract_writes_and_does_not_overwrite() {
    let place = Place::with("local-max");
    let ran = place.run(&["extract", "local-max", "#6", "out", "-o", "here"]);
    insta::assert_snapshot!("extract", ran);
    assert_eq!(std::fs::metadata(place.path("here/out/app")).unwrap().len(), 50000);
    assert_eq!(place.run(&["extract", "local-max", "#6", "out/app", "-o", "one"]).code, 0);
    let again = place.run(&["extract", "local-max", "#6", "out/app", "-o", "one"]);
    assert_eq!(again.code, 2, "{again}");
    let json = place.run(&["extract", "local-max", "#6", "out/app", "-o", "one", "--overwrite", "--json"]).json();
    assert_eq!((json["files"].as_u64(), json["bytes"].as_u64()), (Some(1), Some(50000)));
}

#[test]
fn nothing_found_is_told_by_the_exit_code() {
    let place = Place::with("local-max");
    let nothing = place.run(&["find", "no-such-file", "local-max"]);
    assert_eq!((nothing.code, nothing.out.as_str()), (5, ""), "{nothing}");
    assert_eq!(place.run(&["find", "app.sym", "local-max"]).code, 0);
    assert_eq!(place.run(&["find", "[", "local-max"]).code, 2);
}

#[test]
fn a_damaged_layer_shows_what_can_be_read() {
    let place = Place::with("local-max");
    let digest = "a909a5f9044c";
    let blobs = place.path("local-max/blobs/sha256");
    let blob = std::fs::read_dir(blobs).unwrap().map(|e| e.unwrap().path());
    let blob = blob.into_iter().find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(digest)).unwrap();
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, &bytes[..bytes.len() / 2]).unwrap();
    let files = place.run(&["files", "local-max", "#6", "--json"]);
    assert_eq!(files.code, 6, "{files}");
    let object: serde_json::Value = serde_json::from_str(&files.out).unwrap();
    assert_eq!(object["complete"], false);
    assert_eq!(object["warnings"][0]["code"], "malformed");
    assert!(!object["items"].as_array().unwrap().is_empty());
    assert_eq!(place.run(&["verify", "local-max"]).code, 6);
    std::fs::remove_file(&blob).unwrap();
    let gone = place.run(&["files", "local-max", "#6"]);
    assert_eq!(gone.code, 5, "{gone}");
    assert!(gone.err.contains("is missing"), "{gone}");
}

#[test]
fn a_search_that_could_not_look_everywhere_says_so() {
    let place = Place::with("local-max");
    let gone = "local-max/blobs/sha256/04d3bea617a8a9099577d77d90bf8a2d6a49181c1638f8da494f55bcfc67ebdf";
    std::fs::remove_file(place.path(gone)).unwrap();
    for pattern in ["app", "nothing-is-called-so"] {
        let ran = place.run(&["find", pattern, "local-max"]);
        assert_eq!(ran.code, 3, "{ran}");
        assert!(ran.err.contains("was not searched: it is missing"), "{ran}");
    }
    let listing = place.run(&["find", "app", "--json", "local-max"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&listing.out).unwrap()["complete"], false);
}
