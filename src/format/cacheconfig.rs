//! The cache config, `application/vnd.buildkit.cacheconfig.v0`: one JSON object, the same in every backend.
//!
//! Read as strictly as BuildKit reads it, and bounded: a document from anywhere must not cost more than it is long.

use crate::error::{Error, Result};
use crate::format::document::parse;
use crate::format::lenient::{GoTime, Lenient};
use crate::model::cache::{Cache, Compression, Layer, Link, Outcome, Record};
use crate::model::digest::Digest;
use serde::Deserialize;
use std::sync::Arc;

/// The media type of a cache config.
pub const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The longest manifest or config that BuildKit reads from a registry or folder; a longer one fails its import.
pub const BUILDKIT_LIMIT: u64 = 1 << 20;

const MAX_LAYERS: usize = 200_000;

/// A decoded config. Indices are in range and there are no loops; layers may lack what only a manifest tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The cache, its layers without size unless the config carries annotations (s3, azblob, gha).
    pub cache: Cache,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    layers: Option<Vec<RawLayer>>,
    #[serde(default)]
    records: Option<Vec<RawRecord>>,
}

#[derive(Deserialize)]
struct RawLayer {
    blob: Digest,
    // BuildKit drops a parent of 0 on writing, so a missing one is 0 and not "none", which is -1.
    #[serde(default)]
    parent: i64,
    #[serde(default)]
    annotations: Option<RawAnnotations>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAnnotations {
    #[serde(default)]
    media_type: Option<Box<str>>,
    #[serde(default, rename = "diffID")]
    diff_id: Option<Digest>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    created_at: Lenient<GoTime>,
}

#[derive(Deserialize)]
pub(super) struct RawRecord {
    digest: Digest,
    #[serde(default)]
    inputs: Option<Vec<Option<Vec<RawLink>>>>,
    #[serde(default)]
    layers: Option<Vec<RawResult>>,
    #[serde(default)]
    chains: Option<Vec<RawChain>>,
}

#[derive(Deserialize)]
struct RawLink {
    #[serde(default)]
    selector: Option<Box<str>>,
    #[serde(default)]
    link: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawResult {
    #[serde(default)]
    layer: i64,
    #[serde(default)]
    created_at: Lenient<GoTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawChain {
    #[serde(default)]
    layers: Option<Vec<i64>>,
    #[serde(default)]
    created_at: Lenient<GoTime>,
}

impl Config {
    /// Reads a config. [`crate::error::Kind::Corrupt`] says which rule it breaks.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let raw: RawConfig = parse(bytes, "cache config")?;
        let layers = layers(raw.layers.unwrap_or_default())?;
        let records = records(raw.records.unwrap_or_default(), layers.len())?;
        Ok(Self { cache: Cache { layers, records } })
    }
}

fn layers(raw: Vec<RawLayer>) -> Result<Vec<Layer>> {
    let count = raw.len();
    if count > MAX_LAYERS {
        return Err(Error::corrupt(format!("the cache config has more than {MAX_LAYERS} layers")));
    }
    let mut layers = Vec::with_capacity(count);
    let mut media_types = Interner::default();
    for (index, raw) in raw.into_iter().enumerate() {
        let parent = match raw.parent {
            -1 => None,
            parent => Some(in_range(parent, count).ok_or_else(|| {
                Error::corrupt(format!("layer {index} has parent {parent}, but there are {count} layers"))
            })?),
        };
        let notes = raw.annotations;
        let media_type = notes.as_ref().and_then(|a| a.media_type.as_deref()).unwrap_or_default();
        layers.push(Layer {
            blob: raw.blob,
            parent,
            size: notes.as_ref().and_then(|a| a.size),
            compression: compression(media_type),
            media_type: media_types.get(media_type),
            diff_id: notes.as_ref().and_then(|a| a.diff_id),
            created: notes.as_ref().and_then(|a| a.created_at.time()),
            platform: None,
            history: None,
        });
    }
    check_parents(&layers)?;
    Ok(layers)
}

/// Shares the few media types among the many layers of a cache.
#[derive(Default)]
pub(crate) struct Interner(Option<Arc<str>>);

impl Interner {
    /// `text`, shared with the call before if that had the same.
    pub(crate) fn get(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(last) if **last == *text => last.clone(),
            _ => self.0.insert(Arc::from(text)).clone(),
        }
    }
}

/// Refuses a loop of parents. Each entry is visited once: a walk stops at what an earlier one has passed.
fn check_parents(layers: &[Layer]) -> Result<()> {
    let mut walk = vec![0u32; layers.len()];
    for start in 0..layers.len() {
        let mark = start as u32 + 1;
        let mut next = Some(start);
        while let Some(at) = next {
            if walk[at] == mark {
                return Err(Error::corrupt(format!("layer {at} is its own parent, directly or through others")));
            }
            if walk[at] != 0 {
                break;
            }
            walk[at] = mark;
            next = layers[at].parent;
        }
    }
    Ok(())
}

/// Checks and converts records whose results point into a table of `layers` entries.
pub(super) fn records(raw: Vec<RawRecord>, layers: usize) -> Result<Vec<Record>> {
    let count = raw.len();
    let mut records = Vec::with_capacity(count);
    for (index, raw) in raw.into_iter().enumerate() {
        let wrong = |what: &str, is: i64, of: usize| {
            Error::corrupt(format!("record {index} has {what} {is}, but there are {of}"))
        };
        // A large cache has a hundred thousand records of one input and one result each, so no list may keep room to
        // grow: what a parser leaves behind would be most of the memory.
        let raw_inputs = raw.inputs.unwrap_or_default();
        let mut inputs = Vec::with_capacity(raw_inputs.len());
        for (number, alternatives) in raw_inputs.into_iter().enumerate() {
            let alternatives = alternatives.unwrap_or_default();
            if alternatives.is_empty() {
                return Err(Error::corrupt(format!("record {index} has no alternative for input {number}")));
            }
            let link = |l: RawLink| match in_range(l.link, count) {
                Some(record) => Ok(Link { record, selector: l.selector.filter(|s| !s.is_empty()) }),
                None => Err(wrong("a link to record", l.link, count)),
            };
            let mut links = Vec::with_capacity(alternatives.len());
            for alternative in alternatives {
                links.push(link(alternative)?);
            }
            inputs.push(links);
        }
        let (raw_layers, raw_chains) = (raw.layers.unwrap_or_default(), raw.chains.unwrap_or_default());
        let mut results = Vec::with_capacity(raw_layers.len() + raw_chains.len());
        for result in raw_layers {
            let layer = in_range(result.layer, layers).ok_or_else(|| wrong("layer", result.layer, layers))?;
            results.push(Outcome::Layer { layer, created: result.created_at.time() });
        }
        for chain in raw_chains {
            let entry = |&l: &i64| in_range(l, layers).ok_or_else(|| wrong("a chain with layer", l, layers));
            let entries = chain.layers.unwrap_or_default().iter().map(entry).collect::<Result<Vec<usize>>>()?;
            results.push(Outcome::Chain { layers: entries, created: chain.created_at.time() });
        }
        records.push(Record { digest: raw.digest, inputs, results });
    }
    check_records(&records)?;
    Ok(records)
}

/// Refuses a loop of records: takes away records without inputs until none are left (Kahn's algorithm).
fn check_records(records: &[Record]) -> Result<()> {
    let mut waiting: Vec<usize> = records.iter().map(|r| r.inputs.iter().flatten().count()).collect();
    let mut dependents = vec![Vec::new(); records.len()];
    for (index, record) in records.iter().enumerate() {
        record.inputs.iter().flatten().for_each(|l| dependents[l.record].push(index));
    }
    let mut ready: Vec<usize> = (0..records.len()).filter(|&r| waiting[r] == 0).collect();
    let mut done = 0;
    while let Some(at) = ready.pop() {
        done += 1;
        for &next in &dependents[at] {
            waiting[next] -= 1;
            if waiting[next] == 0 {
                ready.push(next);
            }
        }
    }
    match (0..records.len()).find(|&r| waiting[r] > 0) {
        Some(stuck) if done < records.len() => {
            Err(Error::corrupt(format!("the records form a loop (record {stuck} can't come before its own input)")))
        }
        _ => Ok(()),
    }
}

fn in_range(index: i64, count: usize) -> Option<usize> {
    usize::try_from(index).ok().filter(|&i| i < count)
}

/// How a layer of this media type is packed; estargz is told apart by its annotations, not here.
pub(super) fn compression(media_type: &str) -> Compression {
    let tail = media_type.as_bytes();
    let ends =
        |end: &str| tail.len() >= end.len() && tail[tail.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes());
    if ends("+gzip") || ends(".gzip") {
        Compression::Gzip
    } else if ends("+zstd") || ends(".zstd") {
        Compression::Zstd
    } else if ends(".tar") {
        Compression::Uncompressed
    } else {
        Compression::Unknown
    }
}

#[cfg(test)]
mod tests;
