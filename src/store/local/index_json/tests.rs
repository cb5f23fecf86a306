use super::*;
use crate::error::Kind;

/// As BuildKit writes it, with what it does not know of: fields, numbers, order, an entry that is none.
const WRITTEN: &str = r#"{"manifests":[{"size":12, "digest":"sha256:aaaa","annotations":{"z":"1","org.opencontainers.image.ref.name":"one","a":1.50}},{"digest":7},null,{"digest":"sha256:bbbb","size":1,"annotations":{"io.containerd.image.name":"two","org.opencontainers.image.ref.name":"latest"},"x":12345678901234567890123}],"schemaVersion":2,"extra":{"b":1e2,"a":[]}}"#;

const DOCUMENT: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#;

fn text(text: &str) -> IndexText {
    IndexText::read(text.as_bytes()).unwrap()
}

fn written(text: &IndexText) -> String {
    String::from_utf8(text.edited().unwrap().unwrap()).unwrap()
}

fn entry(name: &str, digest: &str) -> String {
    format!(r#"{{"digest":"{digest}","annotations":{{"{REF_NAME}":"{name}"}}}}"#)
}

fn index(entries: &[(&str, &str)]) -> IndexText {
    let entries: Vec<String> = entries.iter().map(|(name, digest)| entry(name, digest)).collect();
    text(&format!(r#"{{"manifests":[{}]}}"#, entries.join(",")))
}

fn keys(text: &IndexText) -> Vec<(&str, &str)> {
    text.entries.iter().map(|entry| (&*entry.key.0, &*entry.key.1)).collect()
}

fn named(name: &str, version: &str) -> Reference {
    Reference { name: name.to_owned(), digest: None, size: None, modified: None, version: Some(version.to_owned()) }
}

#[test]
fn an_edit_leaves_all_else_as_it_is_written() {
    let mut index = text(WRITTEN);
    assert!(index.edited().unwrap().is_none(), "nothing was changed");
    index.lead("new", DOCUMENT, &Expected::Absent).unwrap();
    let digest = Digest::of(DOCUMENT);
    let size = DOCUMENT.len();
    let entry = format!(
        r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{size},"annotations":{{"{REF_NAME}":"new"}}}}"#
    );
    assert_eq!(written(&index), WRITTEN.replace(r#"}],"schema"#, &format!(r#"}},{entry}],"schema"#)));
    index.unname(&named("new", &digest.to_string())).unwrap();
    assert_eq!(written(&index), WRITTEN);
}

#[test]
fn the_first_entry_makes_an_index() {
    let mut index = IndexText::read(b"").unwrap();
    index.lead("new", DOCUMENT, &Expected::Absent).unwrap();
    let value: Value = serde_json::from_str(&written(&index)).unwrap();
    assert_eq!((&value["schemaVersion"], &value["mediaType"]), (&2.into(), &INDEX.into()));
    assert_eq!(value["manifests"][0]["annotations"][REF_NAME], "new");
}

#[test]
fn a_name_is_what_reading_says_it_is() {
    let mut index = text(WRITTEN);
    assert_eq!(keys(&index), [("one", "sha256:aaaa"), ("", ""), ("", ""), ("two", "sha256:bbbb")]);
    let stale = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), Kind::Stale);
    stale(index.lead("one", DOCUMENT, &Expected::Absent));
    stale(index.lead("one", DOCUMENT, &Expected::Version("sha256:bbbb".to_owned())));
    stale(index.lead("latest", DOCUMENT, &Expected::Version("sha256:bbbb".to_owned())));
    stale(index.unname(&named("one", "sha256:bbbb")));
    index.unname(&named("latest", "sha256:bbbb")).unwrap();
    assert!(index.edited().unwrap().is_none());
    index.lead("two", DOCUMENT, &Expected::Version("sha256:bbbb".to_owned())).unwrap();
    assert_eq!(keys(&index).last(), Some(&("two", Digest::of(DOCUMENT).to_string().as_str())));
}

#[test]
fn an_entry_without_a_name_is_told_by_its_digest() {
    let mut index = index(&[("", "sha256:aaaa"), ("", "sha256:bbbb")]);
    index.unname(&named("", "sha256:cccc")).unwrap();
    index.unname(&named("", "sha256:aaaa")).unwrap();
    assert_eq!(keys(&index), [("", "sha256:bbbb")]);
}

#[test]
fn what_can_not_be_read_whole_is_not_edited() {
    for bad in ["{", "[]", "{}", r#"{"manifests":[],"manifests":[]}"#, r#"{"manifests":7}"#, r#"{"manifests":[]}x"#] {
        assert_eq!(IndexText::read(bad.as_bytes()).unwrap_err().kind(), Kind::Corrupt, "{bad}");
    }
    let mut null = text(r#"{"manifests":null}"#);
    null.lead("new", DOCUMENT, &Expected::Absent).unwrap();
    assert_eq!(keys(&text(&written(&null))).len(), 1);
}

/// What a build wrote into the file that our edit replaced, brought over to `now`; the names that both changed.
fn merged(base: &IndexText, ours: &IndexText, theirs: &IndexText, now: &mut IndexText) -> Vec<String> {
    now.merge(&base.difference(theirs), base, ours)
}

#[test]
fn what_a_build_wrote_meanwhile_is_brought_over() {
    let base = index(&[("latest", "1"), ("other", "2"), ("", "3")]);
    // We added a pin and took `other` away; the build exported `latest` anew, as another document that means the same.
    let (ours, theirs) = (
        index(&[("latest", "1"), ("", "3"), ("pin", "1")]),
        index(&[("other", "2"), ("", "3"), ("", "1"), ("latest", "4")]),
    );
    let mut now = index(&[("latest", "1"), ("", "3"), ("pin", "1"), ("third", "5")]);
    assert!(merged(&base, &ours, &theirs, &mut now).is_empty());
    assert_eq!(keys(&now), [("", "3"), ("pin", "1"), ("third", "5"), ("", "1"), ("latest", "4")]);
    let before = keys(&now).len();
    assert!(merged(&base, &ours, &base, &mut now).is_empty());
    assert_eq!(keys(&now).len(), before, "nothing was written");
}

#[test]
fn of_a_name_that_both_changed_the_build_has_its_way() {
    let base = index(&[("latest", "1")]);
    let theirs = index(&[("latest", "4")]);
    let (repaired, removed) = (index(&[("latest", "9")]), index(&[]));
    for ours in [repaired, removed] {
        let mut now = text(&format!(r#"{{"manifests":[{}]}}"#, ours.entries.first().map_or("", |e| e.raw.get())));
        assert_eq!(merged(&base, &ours, &theirs, &mut now), ["latest"]);
        assert_eq!(keys(&now), [("latest", "4")]);
    }
    // A later build's word counts more.
    let mut now = index(&[("latest", "5")]);
    assert!(merged(&base, &index(&[("latest", "9")]), &theirs, &mut now).is_empty());
    assert_eq!(keys(&now), [("latest", "5")]);
}
