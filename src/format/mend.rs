//! A cache without blobs that are lost: the config loses just what needs them, the manifest follows. All else stays as it was
//! written, unknown fields too.
//!
//! What BuildKit's reader insists on (`cache/remotecache/v1`) holds for what is written here: a root's parent is -1, indices are
//! in range, no list of inputs has an empty alternative.

use crate::error::{Error, Result};
use crate::format::cacheconfig::{self, Config};
use crate::model::cache::{Cache, Outcome};
use crate::model::digest::Digest;
use serde_json::Value;
use std::collections::HashSet;

/// A config without what was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// The config, as JSON.
    pub text: String,
    /// Blobs of the layers that are left, each once, sorted.
    pub layers: Vec<Digest>,
    /// How many layers, results and records were taken out.
    pub dropped: Dropped,
    /// How many results are left; without any the cache is of no use.
    pub results: usize,
}

/// What was taken out of a config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Entries of the layer table.
    pub layers: usize,
    /// Results of records.
    pub results: usize,
    /// Records.
    pub records: usize,
}

/// Takes what needs `lost` out of a config: layers on top of lost ones, results in such layers, and records and layers that are
/// of no use then. [`crate::error::Kind::Corrupt`] if it is not a config that can be read.
pub fn config(bytes: &[u8], lost: &HashSet<Digest>) -> Result<Mended> {
    let cache = Config::read(bytes)?.cache;
    let kept = Kept::of(&cache, lost);
    let mut value = value(bytes)?;
    let mut dropped = Dropped::default();
    let mut results = 0;
    if let Some(Value::Array(records)) = value.get_mut("records") {
        let before = records.len();
        for (at, record) in records.iter_mut().enumerate() {
            for key in ["layers", "chains"] {
                let (left, gone) = keep_results(record, key, &kept.layers);
                // What a record that goes had in results is gone, too.
                results += if kept.records[at].is_some() { left } else { 0 };
                dropped.results += gone;
            }
            renumber(record, "inputs", "link", &kept.records);
        }
        let mut at = 0;
        records.retain(|_| {
            at += 1;
            kept.records[at - 1].is_some()
        });
        dropped.records = before - records.len();
    }
    let mut blobs = HashSet::new();
    if let Some(Value::Array(layers)) = value.get_mut("layers") {
        let before = layers.len();
        let mut left = Vec::new();
        for (at, mut layer) in std::mem::take(layers).into_iter().enumerate() {
            if kept.layers[at].is_none() {
                continue;
            }
            let parent = cache.layers[at].parent.and_then(|parent| kept.layers[parent]);
            layer["parent"] = parent.map_or(Value::from(-1), Value::from);
            blobs.insert(cache.layers[at].blob);
            left.push(layer);
        }
        dropped.layers = before - left.len();
        *layers = left;
    }
    let mut layers: Vec<Digest> = blobs.into_iter().collect();
    layers.sort();
    Ok(Mended { text: text(&value)?, layers, dropped, results })
}

/// The manifest (or index, or list) of a cache, for another config and for just these layers.
///
/// [`crate::error::Kind::Corrupt`] if it is none, or lists no config.
pub fn manifest(bytes: &[u8], config: &str, layers: &[Digest]) -> Result<String> {
    let mut value = value(bytes)?;
    let own = Digest::of(config.as_bytes());
    let stays = |descriptor: &Value| {
        let digest = descriptor.get("digest").and_then(Value::as_str).and_then(|digest| digest.parse().ok());
        digest.is_some_and(|digest: Digest| layers.binary_search(&digest).is_ok())
    };
    let lead = |descriptor: &mut Value| {
        descriptor["digest"] = Value::from(own.to_string());
        descriptor["size"] = Value::from(config.len());
    };
    let is_config = |descriptor: &Value| descriptor["mediaType"] == cacheconfig::MEDIA_TYPE;
    let mut led = false;
    if let Some(descriptor) = value.get_mut("config").filter(|descriptor| is_config(descriptor)) {
        lead(descriptor);
        led = true;
    }
    for key in ["layers", "manifests"] {
        let Some(Value::Array(descriptors)) = value.get_mut(key) else { continue };
        descriptors.retain_mut(|descriptor| {
            if is_config(descriptor) {
                lead(descriptor);
                led = true;
                return true;
            }
            stays(descriptor)
        });
    }
    if !led {
        return Err(Error::corrupt("the manifest lists no cache config"));
    }
    text(&value)
}

/// New numbers of what stays; `None` for what goes.
struct Kept {
    layers: Vec<Option<usize>>,
    records: Vec<Option<usize>>,
}

impl Kept {
    fn of(cache: &Cache, lost: &HashSet<Digest>) -> Self {
        let sound = sound(cache, lost);
        let stands = |outcome: &Outcome| cache.layers_of(outcome).iter().all(|&layer| sound[layer]);
        // Of use is a record with a result, and whatever leads to such a one.
        let mut used = vec![false; cache.records.len()];
        let mut at_hand: Vec<usize> =
            (0..used.len()).filter(|&at| cache.records[at].results.iter().any(stands)).collect();
        let mut layers = vec![false; cache.layers.len()];
        for &at in &at_hand {
            let results = cache.records[at].results.iter().filter(|outcome| stands(outcome));
            for layer in results.flat_map(|outcome| cache.layers_of(outcome)) {
                layers[layer] = true;
            }
        }
        while let Some(at) = at_hand.pop() {
            if !std::mem::replace(&mut used[at], true) {
                at_hand.extend(cache.records[at].inputs.iter().flatten().map(|link| link.record));
            }
        }
        // A chain names its layers without their parents, but no entry may be without the one below it.
        for at in 0..layers.len() {
            let mut below = cache.layers[at].parent.filter(|_| layers[at]);
            while let Some(parent) = below.filter(|&parent| !layers[parent]) {
                layers[parent] = true;
                below = cache.layers[parent].parent;
            }
        }
        Self { layers: numbers(&layers), records: numbers(&used) }
    }
}

/// Which layers are whole: neither lost nor on top of a lost one.
fn sound(cache: &Cache, lost: &HashSet<Digest>) -> Vec<bool> {
    let mut sound: Vec<Option<bool>> = vec![None; cache.layers.len()];
    let mut below = Vec::new();
    for at in 0..cache.layers.len() {
        let mut next = Some(at);
        let mut is_sound = true;
        while let Some(layer) = next {
            if let Some(known) = sound[layer] {
                is_sound = known;
                break;
            }
            below.push(layer);
            next = cache.layers[layer].parent;
        }
        for layer in below.drain(..).rev() {
            is_sound &= !lost.contains(&cache.layers[layer].blob);
            sound[layer] = Some(is_sound);
        }
    }
    sound.into_iter().map(|sound| sound == Some(true)).collect()
}

fn numbers(stays: &[bool]) -> Vec<Option<usize>> {
    let mut next = 0;
    let number = |stays: &bool| {
        stays.then(|| {
            next += 1;
            next - 1
        })
    };
    stays.iter().map(number).collect()
}

/// Takes results out that need layers which go, and renumbers the rest: how many stay, how many go.
fn keep_results(record: &mut Value, key: &str, layers: &[Option<usize>]) -> (usize, usize) {
    let Some(Value::Array(results)) = record.get_mut(key) else { return (0, 0) };
    let before = results.len();
    let number = |at: Option<&Value>| layers.get(at.and_then(Value::as_u64).unwrap_or(0) as usize).copied().flatten();
    results.retain_mut(|result| {
        if key == "layers" {
            let new = number(result.get("layer"));
            if let Some(new) = new {
                result["layer"] = Value::from(new);
            }
            return new.is_some();
        }
        let Some(Value::Array(chain)) = result.get_mut("layers") else { return true };
        let new: Option<Vec<Value>> = chain.iter().map(|at| number(Some(at)).map(Value::from)).collect();
        let stays = new.is_some();
        *chain = new.unwrap_or_default();
        stays
    });
    let counts = (results.len(), before - results.len());
    if results.is_empty()
        && let Value::Object(record) = record
    {
        record.shift_remove(key);
    }
    counts
}

/// Renumbers what `inputs` link to. A link of 0 may be left out.
fn renumber(record: &mut Value, list: &str, key: &str, numbers: &[Option<usize>]) {
    let Some(Value::Array(inputs)) = record.get_mut(list) else { return };
    for link in inputs.iter_mut().filter_map(Value::as_array_mut).flatten() {
        let at = link.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
        if let Some(new) = numbers.get(at).copied().flatten() {
            link[key] = Value::from(new);
        }
    }
}

fn value(bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|e| Error::corrupt("the document is not JSON").with_source(e))
}

fn text(value: &Value) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::corrupt("the document can't be written as JSON").with_source(e))
}

#[cfg(test)]
mod tests;
