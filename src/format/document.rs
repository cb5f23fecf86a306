//! Tells JSON documents apart by their content: an envelope, a cache config, an image config, or none of these.
//! What a descriptor calls them is not looked at: it may be empty or wrong.

use crate::error::{Error, Result};
use crate::format::cacheconfig::Config;
use crate::format::envelope::Envelope;
use crate::format::image::ImageConfig;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;

/// The longest document that is read.
pub const LIMIT: u64 = 64 << 20;

/// The most values and keys that a document may have. Tiny ones take far more memory than text: without this, 64 MiB of
/// `{},{},…` would become gigabytes. Real documents have one for every 20 bytes.
const MAX_PARTS: usize = 8_000_000;

/// What a document turned out to be.
#[derive(Debug)]
pub enum Document {
    /// A manifest, index or list.
    Envelope(Envelope),
    /// A cache config.
    Config(Config),
    /// The config of an image, with or without an inline cache.
    Image(ImageConfig),
    /// Something else: JSON of another sort, or no JSON at all.
    Other,
    /// It begins like one of these but breaks the format's rules.
    Malformed(Error),
}

/// Finds out what `bytes` are. Never fails: what is none of the known sorts is [`Document::Other`].
pub fn read(bytes: &[u8]) -> Document {
    // Nearly all documents are one of these two; only the rest are read twice.
    if let Ok(envelope) = Envelope::read(bytes) {
        return Document::Envelope(envelope);
    }
    if let Ok(config) = Config::read(bytes)
        && !(config.cache.layers.is_empty() && config.cache.records.is_empty())
    {
        return Document::Config(config);
    }
    let keys = Keys::seen_in(bytes);
    let malformed = |e: Error| Document::Malformed(e);
    if keys.schema_version {
        Envelope::read(bytes).map_or_else(malformed, Document::Envelope)
    } else if keys.rootfs {
        ImageConfig::read(bytes).map_or_else(malformed, Document::Image)
    } else if keys.layers || keys.records {
        Config::read(bytes).map_or_else(malformed, Document::Config)
    } else {
        Document::Other
    }
}

/// Parses all of `bytes` as one JSON object. Data after it, keys given twice and numbers of the wrong sort are errors, and
/// so are documents beyond the limits. Parts that no field takes are skipped, however deeply they are nested.
pub(super) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8], what: &str) -> Result<T> {
    // Without this, the list of an object's values would be taken for the object.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Error::corrupt(format!("the {what} is no JSON object")));
    }
    parse_any(bytes, what)
}

/// As [`parse`], for a document that is no object.
pub(super) fn parse_any<'de, T: Deserialize<'de>>(bytes: &'de [u8], what: &str) -> Result<T> {
    if bytes.len() as u64 > LIMIT {
        return Err(Error::corrupt(format!("the {what} is longer than {} MiB", LIMIT >> 20)));
    }
    // Short texts can't pass the bound, and are nearly all there is.
    if bytes.len() > MAX_PARTS && bytes.iter().filter(|b| matches!(b, b',' | b'{' | b'[')).count() > MAX_PARTS {
        return Err(Error::corrupt(format!("the {what} has more than {MAX_PARTS} parts")));
    }
    serde_json::from_slice(bytes).map_err(|e| Error::corrupt(format!("not a valid {what}")).with_source(told(&e)))
}

/// What is wrong, and where. A message that repeats a value of megabytes is cut in the middle.
fn told(error: &serde_json::Error) -> String {
    const MOST: usize = 200;
    let text = error.to_string();
    let length = text.chars().count();
    if length <= MOST {
        return text;
    }
    let (head, tail) = (text.chars().take(MOST / 2), text.chars().skip(length - MOST / 2));
    head.chain(['…']).chain(tail).collect()
}

/// Which of the keys that tell documents apart were seen. It takes what breaks off or gives a key twice, too: that is a
/// damaged document of its sort, and no stranger.
#[derive(Clone, Copy, Debug, Default)]
struct Keys {
    schema_version: bool,
    layers: bool,
    records: bool,
    rootfs: bool,
}

impl Keys {
    fn seen_in(bytes: &[u8]) -> Self {
        let mut keys = Self::default();
        // What stops it in the middle is told by whoever reads the document for good.
        let _ = serde_json::Deserializer::from_slice(bytes).deserialize_map(&mut keys);
        keys
    }
}

impl<'de> Visitor<'de> for &mut Keys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let seen = match &*key {
                "schemaVersion" => Some(&mut self.schema_version),
                "layers" => Some(&mut self.layers),
                "records" => Some(&mut self.records),
                "rootfs" => Some(&mut self.rootfs),
                _ => None,
            };
            let value = map.next_value::<Option<IgnoredAny>>();
            if let Some(seen) = seen {
                *seen |= !matches!(value, Ok(None));
            }
            value?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn sort(text: &str) -> &'static str {
        match read(text.as_bytes()) {
            Document::Envelope(_) => "envelope",
            Document::Config(_) => "config",
            Document::Image(_) => "image",
            Document::Other => "other",
            Document::Malformed(_) => "malformed",
        }
    }

    #[test]
    fn content_tells_documents_apart() {
        let envelope = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{DIGEST}","size":1}}}}"#);
        assert_eq!(sort(&envelope), "envelope");
        assert_eq!(sort(&format!(" \n{envelope}\n")), "envelope");
        assert_eq!(sort(r#"{"schemaVersion":2,"manifests":[]}"#), "envelope");
        assert_eq!(sort(&format!(r#"{{"records":[{{"digest":"{DIGEST}"}}]}}"#)), "config");
        assert_eq!(sort(&format!(r#"{{"layers":[{{"blob":"{DIGEST}","parent":-1}}]}}"#)), "config");
        assert_eq!(sort(r#"{"layers":[],"records":[]}"#), "config");
        assert_eq!(sort(r#"{"rootfs":{"diff_ids":[]},"layers":null}"#), "image");
        for stranger in
            ["", "{", "{}", "[]", "null", "7", "\"layers\"", r#"{"_type":"x"}"#, r#"{"layers":null}"#, "\u{0}"]
        {
            assert_eq!(sort(stranger), "other", "{stranger}");
        }
    }

    #[test]
    fn a_damaged_document_is_no_stranger() {
        for damaged in [
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":1,"manifests":[]}"#,
            r#"{"schemaVersion":"2","manifests":[]}"#,
            r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#,
            r#"{"schemaVersion":2,"manifests":[]"#,
            r#"{"schemaVersion":2,"manifests":[]}}"#,
            r#"{"layers":[{"blob":"sha256:no"}]}"#,
            r#"{"layers":[],"layers":[],"records":[]}"#,
            r#"{"records":{}}"#,
            r#"{"rootfs":{},"os":3}"#,
            r#"{"x":[1,2],"layers":[{"#,
        ] {
            assert_eq!(sort(damaged), "malformed", "{damaged}");
        }
    }

    #[test]
    fn nesting_does_not_reach_the_stack() {
        let deep = "[".repeat(1_000_000);
        assert_eq!(sort(&deep), "other");
        assert_eq!(sort(&format!(r#"{{"schemaVersion":2,"manifests":{deep}"#)), "malformed");
        let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(sort(&format!(r#"{{"x":{closed},"schemaVersion":2,"manifests":[]}}"#)), "envelope");
        assert_eq!(sort(&format!(r#"{{"layers":{closed}}}"#)), "malformed");
    }

    #[test]
    fn many_tiny_parts_are_refused_before_they_take_memory() {
        let mut bomb = String::from(r#"{"records":[],"layers":["#);
        bomb.push_str(&"{},".repeat(MAX_PARTS));
        bomb.push_str("{}]}");
        let Document::Malformed(error) = read(bomb.as_bytes()) else { panic!("taken") };
        assert!(error.to_string().contains("parts"), "{error}");
    }
}
