//! Manifests and configs that are damaged, of another sort, too long, or not there.

use super::*;
use cachedeck::model::cache::{Form, Mode};
use cachedeck::model::finding::Severity;
use cachedeck::model::inventory::State;
use std::time::Instant;

/// A folder with sound versions, and a document of one of them to damage: its text.
fn with_document(pick: impl Fn(&CacheIndex) -> Digest) -> (Folder, Inventory, String) {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let text = fs::read_to_string(folder.blob_path(&pick(&before.indexes[0]))).unwrap();
    (folder, before, text)
}

/// Ways to damage a JSON document so that it is still of its sort, and what is said of each.
fn damaged(good: &str) -> Vec<(String, &'static str)> {
    let good = good.trim_end();
    let open = good.strip_suffix('}').unwrap();
    let key = if good.contains("schemaVersion") { r#""schemaVersion":2"# } else { r#""records":[]"# };
    let deep = "[".repeat(200_000);
    vec![
        (good[..good.len() * 2 / 3].to_owned(), "EOF"),
        (open.to_owned(), "EOF"),
        (format!("{open},{key}}}"), "duplicate field"),
        (format!("{good}{{}}"), "trailing"),
        (format!("{good}]"), "trailing"),
        (format!("{good}\u{0}"), "trailing"),
        (format!(r#"{open},"x":{deep}"#), "EOF"),
        (format!(r#"{open},"layers":{deep}"#), ""),
    ]
}

#[test]
fn a_damaged_manifest_is_a_finding_on_its_version_and_harms_no_other() {
    let (folder, before, good) = with_document(|index| index.digest);
    let mut bad = damaged(&good);
    bad.extend([
        (r#"{"schemaVersion":1}"#.to_owned(), "schema version 1"),
        (r#"{"schemaVersion":2}"#.to_owned(), "neither a config nor manifests"),
        (good.replacen("sha256:", "sha256:../", 1), "not a digest"),
        (good.replacen("sha256:", "sha512:", 1), "not a digest"),
        (good.replacen(r#""size":"#, r#""size":-"#, 1), "invalid value"),
        ("not JSON".to_owned(), "something else"),
        (String::new(), "something else"),
        ("[]".to_owned(), "something else"),
        ("{}".to_owned(), "something else"),
        (format!("{good}{}", " ".repeat(5 << 20)), "longer than 4 MiB"),
    ]);
    for (number, (text, words)) in bad.iter().enumerate() {
        let digest = folder.put(text);
        folder.tag("bad", &digest);
        let inventory = folder.load().unwrap();
        let index = tagged(&inventory, "bad");
        assert_eq!((index.form, index.summary, &index.cache), (None, None, &None), "number {number}");
        assert_eq!(problems(&index.findings), [Problem::Malformed], "number {number}: {:?}", index.findings);
        says(&index.findings, Problem::Malformed, words);
        assert!(index.findings[0].message.len() < 1000 && !index.is_sound());
        assert!(!inventory.complete, "what it needs is not known");
        unharmed(&before, &inventory);
        folder.edit_index(|list| drop(list.pop()));
        // Without its tag it may be anything, unless it begins like a manifest and is no longer than one.
        let inventory = folder.load().unwrap();
        let stranger = ["something else", "longer than 4 MiB"].contains(words);
        assert_eq!(inventory.complete, stranger, "number {number}");
        unharmed(&before, &inventory);
        fs::remove_file(folder.blob_path(&digest)).unwrap();
    }
}

#[test]
fn a_damaged_config_is_a_finding_on_its_version_and_harms_no_other() {
    let (folder, before, good) = with_document(|index| index.config.unwrap());
    let mut bad = damaged(&good);
    bad.extend([
        (good.replacen("sha256:", "sha256:../", 1), "not a digest"),
        ("not JSON".to_owned(), "something else"),
        (String::new(), "something else"),
        ("[]".to_owned(), "something else"),
        (r#"{"rootfs":{},"os":"linux"}"#.to_owned(), "another config stands where"),
        (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), "another manifest stands where"),
    ]);
    for (number, (text, words)) in bad.iter().enumerate() {
        let config = folder.put(text);
        let manifest = folder.version("bad", &config, &[]);
        let inventory = folder.load().unwrap();
        let index = tagged(&inventory, "bad");
        assert_eq!((index.form, index.summary), (Some(Form::ImageManifest), None), "number {number}");
        assert_eq!(problems(&index.findings), [Problem::Malformed], "number {number}: {:?}", index.findings);
        says(&index.findings, Problem::Malformed, words);
        assert!(index.findings[0].message.len() < 1000 && index.missing.is_empty() && !inventory.complete);
        unharmed(&before, &inventory);
        folder.edit_index(|list| drop(list.pop()));
        fs::remove_file(folder.blob_path(&manifest)).unwrap();
        fs::remove_file(folder.blob_path(&config)).unwrap();
    }
}

#[test]
fn documents_that_are_too_long_are_not_read() {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let names: Vec<Digest> = (0..4u8).map(|n| Digest::of(&[n])).collect();
    folder.put_sparse(&names[0], 1 << 30);
    folder.version("config", &names[0], &[]);
    folder.put_sparse(&names[1], 1 << 30);
    folder.tag("manifest", &names[1]);
    // Many at once, each longer than any document may be: read one by one at most.
    for n in 0..40u8 {
        let config = Digest::of(&[1, n]);
        folder.put_sparse(&config, (64 << 20) + 1);
        folder.version(&format!("many{n}"), &config, &[]);
    }
    let started = Instant::now();
    let inventory = folder.load().unwrap();
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    assert!(peak() < 1 << 30, "{} MiB were taken", peak() >> 20);
    for tag in ["config", "manifest", "many0", "many39"] {
        says(&tagged(&inventory, tag).findings, Problem::Malformed, "longer than");
        assert_eq!(tagged(&inventory, tag).summary, None);
    }
    assert!(!inventory.complete);
    unharmed(&before, &inventory);
}

#[test]
fn content_under_a_wrong_name_is_not_taken_for_what_it_claims_to_be() {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let (index, other) = (&before.indexes[0], &before.indexes[1]);
    let bytes = fs::read(folder.blob_path(&other.digest)).unwrap();
    folder.put_as(&index.digest, &bytes);
    let inventory = folder.load().unwrap();
    let swapped = inventory.version(&index.digest).unwrap();
    assert_eq!((swapped.form, swapped.summary), (None, None));
    says(&swapped.findings, Problem::Malformed, "has other content");
    assert!(inventory.version(&other.digest).unwrap().is_sound() && !inventory.complete);

    let folder = Folder::of("local-history");
    let config = index.config.unwrap();
    folder.put_as(&config, fs::read(folder.blob_path(&other.config.unwrap())).unwrap());
    let inventory = folder.load().unwrap();
    let swapped = inventory.version(&index.digest).unwrap();
    assert!(swapped.cache.is_none());
    says(&swapped.findings, Problem::Malformed, "has other content");
}

#[test]
fn what_is_missing_is_named() {
    let pick: [fn(&CacheIndex) -> Digest; 3] =
        [|index| index.digest, |index| index.config.unwrap(), |index| index.cache.as_ref().unwrap().layers[0].blob];
    for (what, pick) in ["manifest", "config", "layer"].iter().zip(pick) {
        let folder = Folder::of("local-min");
        let whole = folder.load().unwrap();
        let gone = pick(&whole.indexes[0]);
        fs::remove_file(folder.blob_path(&gone)).unwrap();
        let inventory = folder.load().unwrap();
        let index = &inventory.indexes[0];
        assert_eq!((index.digest, index.tags.len()), (whole.indexes[0].digest, 1), "the {what}");
        assert_eq!(index.missing, [gone]);
        assert!(!index.is_sound());
        assert_eq!(inventory.blob(&gone).map(|b| (b.state, b.size)), Some((State::Missing, None)));
        assert_eq!((inventory.usage.missing_blobs, inventory.usage.blobs), (1, whole.usage.blobs - 1));
        assert_eq!(index.cache.is_some(), *what == "layer");
        assert_eq!(index.summary.is_some(), *what == "layer");
        let findings = folder.verify(Level::Exists);
        says(&findings, Problem::BlobMissing, &format!("{what} blob {gone} is missing; needed by latest"));
        assert_eq!((findings.len(), findings[0].severity), (1, Severity::Error));
    }
}

#[test]
fn an_image_without_a_cache_is_an_image_and_nothing_is_wrong() {
    let folder = Folder::of("inline-image");
    let before = folder.load().unwrap();
    let inline = before.indexes.iter().find(|i| i.form == Some(Form::Inline)).unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(folder.blob_path(&inline.digest)).unwrap()).unwrap();
    let mut config: Value =
        serde_json::from_slice(&fs::read(folder.blob_path(&inline.config.unwrap())).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("moby.buildkit.cache.v0");
    let plain = folder.put(config.to_string());
    let mut image = manifest;
    image["config"]["digest"] = json!(plain);
    image["config"]["size"] = json!(config.to_string().len());
    let image = folder.put(image.to_string());
    folder.tag("plain", &image);
    let inventory = folder.load().unwrap();
    let index = tagged(&inventory, "plain");
    assert_eq!((index.form, index.summary, &index.cache), (Some(Form::Image), None, &None));
    assert!(index.is_sound() && index.findings.is_empty() && inventory.complete);
    assert!(index.reach.len() > 2, "its layers are live all the same");
}

#[test]
fn a_tag_on_a_config_is_a_finding_even_if_a_version_uses_that_config() {
    let folder = Folder::of("local-min");
    let before = folder.load().unwrap();
    let config = before.indexes[0].config.unwrap();
    folder.tag("config", &config);
    let inventory = folder.load().unwrap();
    says(&tagged(&inventory, "config").findings, Problem::Malformed, "a config stands where a manifest should");
    unharmed(&before, &inventory);
}

#[test]
fn a_config_longer_than_builds_read_is_told_and_read() {
    let folder = Folder::of("local-min");
    let before = folder.load().unwrap();
    let index = &before.indexes[0];
    let good = fs::read_to_string(folder.blob_path(&index.config.unwrap())).unwrap();
    let layers: Vec<Digest> = index.reach.iter().map(|r| r.digest).collect();
    for blanks in [2 << 20, 6 << 20] {
        let config = folder.put(format!("{}{good}", " ".repeat(blanks)));
        folder.version("long", &config, &layers);
        let inventory = folder.load().unwrap();
        let long = tagged(&inventory, "long");
        assert_eq!(problems(&long.findings), [Problem::TooLarge]);
        assert_eq!(long.summary.unwrap().mode, Mode::Min);
        assert_eq!(long.summary, index.summary);
        folder.edit_index(|list| drop(list.pop()));
    }
}
