//! Image configs, and the cache that BuildKit's inline exporter puts into them: the records alone, base64 of a JSON
//! array under `moby.buildkit.cache.v0`. The layer table is the image's own layers, each on the one before.

use crate::error::{Error, Result};
use crate::format::cacheconfig::{RawRecord, records};
use crate::format::document::{parse, parse_any};
use crate::format::envelope::Descriptor;
use crate::format::lenient::Lenient;
use crate::model::cache::{Cache, Layer};
use crate::model::digest::Digest;
use base64::Engine as _;
use serde::Deserialize;
use std::sync::Arc;

/// An image's config, as far as it matters to caches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    #[serde(rename = "moby.buildkit.cache.v0", default)]
    inline: Option<String>,
    #[serde(default)]
    rootfs: Option<RootFs>,
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
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Lenient<Digest>>>,
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

    /// `os/arch[/variant]`, if the image says it.
    pub fn platform(&self) -> Option<String> {
        if self.os.is_empty() && self.architecture.is_empty() {
            return None;
        }
        let variant = if self.variant.is_empty() { String::new() } else { format!("/{}", self.variant) };
        Some(format!("{}/{}{variant}", self.os, self.architecture))
    }

    /// The cache of an image with these layers; `None` if the image has no cache.
    pub fn cache(&self, layers: &[Descriptor]) -> Result<Option<Cache>> {
        let Some(inline) = &self.inline else { return Ok(None) };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(inline)
            .map_err(|e| Error::corrupt("the image's inline cache is not base64").with_source(e))?;
        let raw: Vec<RawRecord> = parse_any(&bytes, "inline cache")?;
        let diff_ids = self.rootfs.as_ref().and_then(|r| r.diff_ids.as_deref()).unwrap_or_default();
        if diff_ids.len() != layers.len() {
            let what = format!("the image has {} layers, but its config tells of {}", layers.len(), diff_ids.len());
            return Err(Error::corrupt(what));
        }
        let steps = self.steps(layers.len());
        let step = |index: usize| steps.get(index).cloned().flatten();
        let table = layers.iter().zip(diff_ids).enumerate();
        let table: Vec<Layer> = table.map(|(i, (layer, diff_id))| entry(i, layer, diff_id.0, step(i))).collect();
        let records = records(raw, table.len())?;
        Ok(Some(Cache { layers: table, records }))
    }

    /// The step that made each of `count` layers, lowest first; nothing if the history is of another number of layers,
    /// for then nothing says which step made which.
    fn steps(&self, count: usize) -> Vec<Option<Arc<str>>> {
        let history = self.history.as_deref().unwrap_or_default();
        let steps = history.iter().filter(|h| h.empty_layer != Some(true)).map(|h| {
            // BuildKit writes the step into `created_by`; other tools leave it empty and use the comment.
            [&h.created_by, &h.comment].into_iter().flatten().find(|t| !t.is_empty()).map(|t| Arc::from(t.as_str()))
        });
        Some(steps.collect()).filter(|s: &Vec<_>| s.len() == count).unwrap_or_default()
    }
}

/// A layer table entry out of a descriptor, on the one before.
fn entry(index: usize, descriptor: &Descriptor, diff_id: Option<Digest>, history: Option<Arc<str>>) -> Layer {
    Layer {
        blob: descriptor.digest,
        parent: index.checked_sub(1),
        size: Some(descriptor.size),
        compression: descriptor.compression(),
        media_type: Arc::from(&*descriptor.media_type),
        diff_id: diff_id.or(descriptor.diff_id()),
        created: descriptor.created(),
        platform: None,
        history,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::model::cache::Outcome;

    const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn layers(count: usize) -> Vec<Descriptor> {
        let layer = |n| format!(r#"{{"mediaType":"x+gzip","digest":"sha256:{n:064x}","size":{n}}}"#);
        (0..count).map(|n| serde_json::from_str(&layer(n)).unwrap()).collect()
    }

    /// An image config with `count` layers, `history` and the inline cache `records`.
    fn image(count: usize, history: &str, records: &str) -> ImageConfig {
        let inline = base64::engine::general_purpose::STANDARD.encode(records);
        let diff_ids = vec![format!(r#""{A}""#); count].join(",");
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}},
                "history":{history},"moby.buildkit.cache.v0":"{inline}"}}"#
        );
        ImageConfig::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_images_own_layers_are_the_table() {
        let records =
            format!(r#"[{{"digest":"{A}","chains":[{{"layers":[0,2],"createdAt":"2026-01-01T00:00:00Z"}}]}}]"#);
        let cache = image(3, "null", &records).cache(&layers(3)).unwrap().unwrap();
        assert_eq!(cache.layers.iter().map(|l| l.parent).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
        assert_eq!(cache.layers.iter().map(|l| l.size).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        assert!(cache.layers.iter().all(|l| l.diff_id == Some(A.parse().unwrap())));
        assert!(matches!(&cache.records[0].results[0], Outcome::Chain { layers, .. } if *layers == [0, 2]));
    }

    #[test]
    fn history_names_layers_and_skips_steps_without_one() {
        let history = r#"[{"created_by":"ADD root"},{"created_by":"ENV A=b","empty_layer":true},
            {"comment":"an import"},{"created_by":"","comment":"","empty_layer":false}]"#;
        let steps = |count| {
            let cache = image(count, history, "[]").cache(&layers(count)).unwrap().unwrap();
            cache.layers.into_iter().map(|l| l.history).collect::<Vec<_>>()
        };
        assert_eq!(steps(3), [Some("ADD root".into()), Some("an import".into()), None]);
        // A base image without history: the steps that are there belong to nobody knows which layers.
        assert_eq!(steps(4), [None, None, None, None]);
        assert_eq!(steps(2), [None, None]);
    }

    #[test]
    fn an_image_may_have_no_cache_or_an_empty_one() {
        let plain = ImageConfig::read(br#"{"rootfs":null,"history":null,"os":""}"#).unwrap();
        assert!(!plain.has_cache());
        assert_eq!((plain.cache(&layers(2)).unwrap(), plain.platform()), (None, None));
        let empty = image(1, "[]", "[]");
        assert!(empty.has_cache());
        assert_eq!(empty.cache(&layers(1)).unwrap().unwrap().records, []);
        assert_eq!(empty.platform().as_deref(), Some("linux/arm64/v8"));
    }

    #[test]
    fn a_bad_inline_cache_is_refused() {
        for (records, why) in [
            ("{}", "not a valid inline cache"),
            ("", "not a valid inline cache"),
            ("[] []", "trailing"),
            (&format!(r#"[{{"digest":"{A}","chains":[{{"layers":[1]}}]}}]"#), "a chain with layer 1"),
            (&format!(r#"[{{"digest":"{A}","inputs":[[{{"link":0}}]]}}]"#), "loop"),
        ] {
            let error = image(1, "[]", records).cache(&layers(1)).expect_err(records);
            assert_eq!(error.kind(), Kind::Corrupt);
            assert!(error.to_string().contains(why), "{error}");
        }
        let error = image(2, "[]", "[]").cache(&layers(1)).unwrap_err();
        assert!(error.to_string().contains("1 layers, but its config tells of 2"), "{error}");
        let text = r#"{"moby.buildkit.cache.v0":"%%%","rootfs":{}}"#;
        let error = ImageConfig::read(text.as_bytes()).unwrap().cache(&[]).unwrap_err();
        assert!(error.to_string().contains("not base64"), "{error}");
    }
}
