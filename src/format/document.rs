//! Tells JSON documents apart by their content: an envelope, a cache config, an image config, or none of these.
//! What a descriptor calls them is not looked at: it may be empty or wrong.

use crate::error::{Error, Result};
use crate::format::cacheconfig::Config;
use crate::format::envelope::Envelope;
use crate::format::image::ImageConfig;
use serde::Deserialize;

/// What a document turned out to be.
#[derive(Debug)]
pub enum Document {
    /// A manifest, index or list.
    Envelope(Envelope),
    /// A cache config.
    Config(Config),
    /// The config of an image, with or without an inline cache.
    Image(ImageConfig),
    /// JSON of another sort.
    Other,
    /// It begins like one of these but breaks the format's rules.
    Malformed(Error),
}

/// The keys that tell documents apart. Their values are skipped, not read.
#[derive(serde::Deserialize)]
struct Keys {
    #[serde(rename = "schemaVersion")]
    schema_version: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    records: Option<serde::de::IgnoredAny>,
    rootfs: Option<serde::de::IgnoredAny>,
}

/// Finds out what `bytes` are. Never fails: what is not JSON, or no object, is [`Document::Other`].
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
    let Ok(keys) = serde_json::from_slice::<Keys>(bytes) else { return Document::Other };
    let malformed = |e: Error| Document::Malformed(e);
    if keys.schema_version.is_some() {
        Envelope::read(bytes).map_or_else(malformed, Document::Envelope)
    } else if keys.rootfs.is_some() {
        ImageConfig::read(bytes).map_or_else(malformed, Document::Image)
    } else if keys.layers.is_some() || keys.records.is_some() {
        Config::read(bytes).map_or_else(malformed, Document::Config)
    } else {
        Document::Other
    }
}

/// Parses all of `bytes` as one JSON value. Data after it, keys given twice and numbers of the wrong sort are errors.
pub(super) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8], what: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::corrupt(format!("not a valid {what}")).with_source(e))
}
