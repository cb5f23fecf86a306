//! The folder itself, `index.json` and `ingest/`.

use super::*;
use cachedeck::error::Kind;
use cachedeck::model::text;
use std::os::unix::fs::symlink;

#[track_caller]
fn refused(path: &Path, kind: Kind, words: &str) {
    let error = load_at(path).expect_err("it was loaded");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.hint().is_some() || kind == Kind::Corrupt || words == "not a path", "no hint: {error}");
}

#[test]
fn what_is_no_cache_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    refused(&path.join("absent"), Kind::NotFound, "no such folder");
    refused(path, Kind::NotFound, "not a build cache");
    fs::write(path.join("file"), "x").unwrap();
    refused(&path.join("file"), Kind::Invalid, "not a folder");
    refused(path, Kind::NotFound, "not a build cache");
    symlink("loop", path.join("loop")).unwrap();
    refused(&path.join("loop"), Kind::Invalid, "not a path");
    refused(&path.join("x".repeat(300)), Kind::Invalid, "not a path");
    refused(Path::new("a\0b"), Kind::Invalid, "not a path");
}

#[test]
fn a_folder_reached_through_a_link_is_a_cache_and_one_whose_blobs_are_elsewhere_is_not() {
    let cache = Folder::of("local-min");
    let folder = tempfile::tempdir().unwrap();
    symlink(cache.path(), folder.path().join("link")).unwrap();
    assert_eq!(load_at(&folder.path().join("link")).unwrap().indexes.len(), 1);

    let blobs = folder.path().join("blobs");
    fs::copy(cache.index_json(), folder.path().join("index.json")).unwrap();
    symlink(cache.path().join("blobs"), &blobs).unwrap();
    refused(folder.path(), Kind::Invalid, "blobs is not a folder of its own");
    fs::remove_file(&blobs).unwrap();
    fs::create_dir(&blobs).unwrap();
    symlink(cache.path().join("blobs/sha256"), blobs.join("sha256")).unwrap();
    refused(folder.path(), Kind::Invalid, "sha256 is not a folder of its own");
    fs::remove_dir_all(&blobs).unwrap();
    fs::write(&blobs, "").unwrap();
    refused(folder.path(), Kind::Invalid, "blobs is not a folder of its own");
}

#[test]
fn an_index_json_that_is_no_index_is_an_error() {
    let folder = Folder::of("local-min");
    let good = fs::read_to_string(folder.index_json()).unwrap();
    let deep = "[".repeat(200_000);
    for bad in [
        &good[..good.len() / 3],
        &good[..good.trim_end().len() - 1],
        "not JSON",
        "\u{0}\u{0}\u{0}",
        "[]",
        "null",
        "{}",
        r#"{"manifests":7}"#,
        r#"{"manifests":{}}"#,
        r#"{"manifests":[],"manifests":[]}"#,
        &format!("{good}x"),
        &format!("{good}{good}"),
        &deep,
        &format!(r#"{{"manifests":[{deep}"#),
    ] {
        fs::write(folder.index_json(), bad).unwrap();
        let head: String = bad.chars().take(40).collect();
        let error = folder.load().expect_err(&head);
        assert_eq!(error.kind(), Kind::Corrupt, "{head}: {error}");
        assert!(error.to_string().contains("index.json") && error.to_string().len() < 1000, "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_huge_index_json_is_not_read() {
    let folder = Folder::of("local-min");
    fs::File::create(folder.index_json()).unwrap().set_len(8 << 30).unwrap();
    refused(&folder.path(), Kind::Corrupt, "longer than");
}

#[test]
fn an_index_json_that_is_no_file_is_never_opened() {
    let folder = Folder::of("local-min");
    let path = folder.index_json();
    fs::remove_file(&path).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o644.into()).unwrap();
    refused(&folder.path(), Kind::Corrupt, "a pipe");
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    refused(&folder.path(), Kind::Corrupt, "a symbolic link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused(&folder.path(), Kind::Corrupt, "a folder");
}

#[test]
fn without_an_index_json_versions_are_found_in_the_blobs() {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let digests = |inventory: &Inventory| {
        let mut digests: Vec<Digest> = inventory.indexes.iter().map(|i| i.digest).collect();
        digests.sort();
        digests
    };
    fs::write(folder.index_json(), "").unwrap();
    for words in ["an empty index.json", "no index.json"] {
        let inventory = folder.load().unwrap();
        assert_eq!(digests(&inventory), digests(&before));
        assert!(inventory.indexes.iter().all(|i| i.is_dangling() && i.is_sound()));
        says(&inventory.warnings, Problem::Malformed, words);
        assert!(!inventory.complete, "what is live can't be told");
        let _ = fs::remove_file(folder.index_json());
    }
}

#[test]
fn a_bad_entry_of_index_json_is_told_and_hides_no_other() {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let good = before.indexes[0].digest.to_string();
    let hex = &good[7..];
    let digests = [
        "sha256:../../../../etc/passwd".to_owned(),
        format!("sha256:{}", &hex[1..]),
        format!("sha256:{hex}0"),
        format!("sha256:{}", hex.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A")),
        format!("sha512:{hex}{hex}"),
        hex.to_owned(),
        String::new(),
        format!("sha256:{}", "x".repeat(1 << 20)),
    ];
    let mut entries: Vec<Value> = digests.iter().map(|digest| json!({ "digest": digest, "size": 1 })).collect();
    entries.extend([
        json!({ "digest": good, "size": -1 }),
        json!({ "digest": good, "size": 1.5 }),
        json!({ "digest": good, "size": "1" }),
        json!({ "digest": good }),
        json!({ "size": 1 }),
        json!({ "digest": good, "size": 1, "annotations": 7 }),
        json!(null),
        json!(7),
        json!([good, 1]),
    ]);
    for entry in entries {
        folder.edit_index(|list| list.push(entry.clone()));
        let inventory = folder.load().unwrap();
        let shown: String = entry.to_string().chars().take(120).collect();
        assert_eq!(problems(&inventory.warnings), [Problem::Malformed], "{shown}");
        assert!(inventory.warnings[0].message.len() < 600, "{shown}");
        assert!(!inventory.complete, "what it led to is not known: {shown}");
        unharmed(&before, &inventory);
        folder.edit_index(|list| drop(list.pop()));
    }
}

#[test]
fn very_many_bad_entries_are_told_in_few_words() {
    let folder = Folder::of("local-min");
    folder.edit_index(|list| list.extend((0..50_000).map(|n| json!({ "digest": n }))));
    let inventory = folder.load().unwrap();
    assert!(inventory.warnings.len() <= 101 && inventory.indexes.len() == 1);
    says(&inventory.warnings, Problem::Malformed, "49900 more entries");
}

#[test]
fn an_entry_without_a_tag_is_a_version_without_one() {
    for annotations in
        [None, Some(json!(null)), Some(json!({})), Some(json!({ "org.opencontainers.image.ref.name": "" }))]
    {
        let folder = Folder::of("local-min");
        folder.edit_index(|list| {
            let entry = list[0].as_object_mut().unwrap();
            entry.remove("annotations");
            if let Some(annotations) = &annotations {
                entry.insert("annotations".to_owned(), annotations.clone());
            }
        });
        let inventory = folder.load().unwrap();
        let [index] = inventory.indexes.as_slice() else { panic!("{} versions", inventory.indexes.len()) };
        assert!(index.tags.is_empty() && index.listed && index.is_sound(), "{annotations:?}");
        assert!(inventory.complete && inventory.warnings.is_empty());
        assert_eq!(inventory.usage.dangling_blobs, 0, "the index leads to it, so it is live");
    }
}

#[test]
fn a_hostile_tag_survives_as_data_and_is_shown_harmless() {
    let tag = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}gpj\u{2066}\u{200b}宽字符\r\n\u{9b}31m\u{feff}";
    let folder = Folder::of("local-min");
    folder.edit_index(|list| list[0]["annotations"]["org.opencontainers.image.ref.name"] = json!(tag));
    let inventory = folder.load().unwrap();
    assert_eq!(inventory.indexes[0].tags, [tag]);
    let shown = text::safe(tag);
    assert!(!shown.chars().any(|c| c.is_control() || text::is_hostile(c)), "{shown:?}");
    assert!(shown.contains("宽字符") && shown.contains("owned"), "{shown}");
}

#[test]
fn leftovers_of_uploads_are_told_and_links_among_them_not_followed() {
    let folder = Folder::of("local-min");
    let before = folder.load().unwrap();
    let ingest = folder.path().join("ingest");
    fs::create_dir_all(ingest.join("upload\u{1b}[1m")).unwrap();
    fs::write(ingest.join("upload\u{1b}[1m/data"), "12345").unwrap();
    symlink("/etc", ingest.join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, ingest.join("pipe"), 0o644.into()).unwrap();
    let inventory = folder.load().unwrap();
    let leftovers: Vec<(&str, u64)> = inventory.leftovers.iter().map(|l| (l.name.as_str(), l.bytes)).collect();
    assert_eq!(leftovers, [("link", 4), ("pipe", 0), ("upload\u{1b}[1m", 5)]);
    assert_eq!((inventory.usage, inventory.complete), (before.usage, true), "they are no blobs");
    assert_eq!(problems(&folder.verify(Level::Exists)), [Problem::Leftover; 3]);
    fs::remove_dir_all(&ingest).unwrap();
    symlink("/etc", &ingest).unwrap();
    let inventory = folder.load().unwrap();
    says(&inventory.warnings, Problem::Unreadable, "uploads can't be looked at");
    assert!(inventory.leftovers.is_empty());
    unharmed(&before, &inventory);
}
