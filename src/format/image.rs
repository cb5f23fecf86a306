//! Image configs, and the cache that BuildKit's inline exporter puts into them: the records alone, base64 of a JSON
//! array under `moby.buildkit.cache.v0`. The layer table is the image's own layers, each on the one before.

use crate::error::{Error, Result};
use crate::format::cacheconfig::{RawRecord, check_bounds, records};
use crate::format::document::parse;
use crate::format::envelope::Descriptor;
use crate::model::cache::{Cache, Layer};
use base64::Engine as _;
use serde::Deserialize;
use std::sync::Arc;

/// An image's config, as far as it matters to caches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    #[serde(rename = "moby.buildkit.cache.v0", default)]
    inline: Option<String>,
    #[serde(default)]
    history: Option<Vec<History>>,
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct History {
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    empty_layer: Option<bool>,
}

impl ImageConfig {
    /// Reads an image config.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        parse(bytes, "image config")
    }

    /// Whether a cache is in it.
    pub fn has_cache(&self) -> bool {
        self.inline.is_some()
    }

    /// `os/arch[/variant]`.
    pub fn platform(&self) -> String {
        let variant = if self.variant.is_empty() { String::new() } else { format!("/{}", self.variant) };
        format!("{}/{}{variant}", self.os, self.architecture)
    }

    /// The cache of an image with these layers; `None` if the image has no cache.
    pub fn cache(&self, layers: &[Descriptor]) -> Result<Option<Cache>> {
        let Some(inline) = &self.inline else { return Ok(None) };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(inline)
            .map_err(|e| Error::corrupt("the image's inline cache is not base64").with_source(e))?;
        check_bounds(&bytes)?;
        let raw: Vec<RawRecord> = parse(&bytes, "inline cache")?;
        let mut steps = self.steps();
        let layers: Vec<Layer> = layers
            .iter()
            .enumerate()
            .map(|(index, descriptor)| layer(index, descriptor, steps.next().flatten()))
            .collect();
        let records = records(raw, layers.len())?;
        Ok(Some(Cache { layers, records }))
    }

    /// The step that made each layer, lowest first, where the history says it.
    fn steps(&self) -> impl Iterator<Item = Option<Arc<str>>> {
        let history = self.history.as_deref().unwrap_or_default();
        history.iter().filter(|h| h.empty_layer != Some(true)).map(|h| {
            // BuildKit writes the step into `created_by`; other tools leave it empty and use the comment.
            [&h.created_by, &h.comment].into_iter().flatten().find(|t| !t.is_empty()).map(|t| Arc::from(t.as_str()))
        })
    }
}

/// A layer table entry out of a descriptor, on the one before.
fn layer(index: usize, descriptor: &Descriptor, history: Option<Arc<str>>) -> Layer {
    Layer {
        blob: descriptor.digest,
        parent: index.checked_sub(1),
        size: Some(descriptor.size),
        compression: descriptor.compression(),
        media_type: Arc::from(&*descriptor.media_type),
        diff_id: descriptor.diff_id(),
        created: descriptor.created(),
        platform: None,
        history,
    }
}
