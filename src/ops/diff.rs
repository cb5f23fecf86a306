//! What differs between two versions of a cache, from whatever places they come. Pure.

use crate::model::cache::{Cache, Layer};
use crate::model::digest::Digest;
use crate::model::inventory::CacheIndex;
use std::collections::{BTreeMap, BTreeSet};

/// Which side something stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// The same step's record has another result.
    Changed,
    /// In both.
    Same,
}

impl Change {
    /// `added`, `removed`, `changed` or `same`.
    pub fn name(self) -> &'static str {
        match self {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
            Change::Same => "same",
        }
    }

    /// One character: `+ - ~ =`.
    pub fn sign(self) -> char {
        match self {
            Change::Added => '+',
            Change::Removed => '-',
            Change::Changed => '~',
            Change::Same => '=',
        }
    }
}

/// A layer blob of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Which side it is on; never [`Change::Changed`].
    pub change: Change,
    /// The blob.
    pub blob: Digest,
    /// Its bytes, if known.
    pub size: Option<u64>,
    /// Its first entry in the layer table of the second version, else of the first.
    pub layer: usize,
}

/// A record of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// Which side it is on.
    pub change: Change,
    /// The key.
    pub digest: Digest,
    /// Result blobs in the first version, sorted.
    pub before: Vec<Digest>,
    /// Result blobs in the second, sorted.
    pub after: Vec<Digest>,
}

/// All differences, and what is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Layers: largest change first, then what is the same, largest first.
    pub layers: Vec<LayerRow>,
    /// Records: changes first, then by digest.
    pub records: Vec<RecordRow>,
    /// Bytes only in the second.
    pub added_bytes: u64,
    /// Bytes only in the first.
    pub removed_bytes: u64,
    /// Bytes in both.
    pub same_bytes: u64,
}

/// Compares two versions; one without a cache counts as empty.
pub fn diff(before: &CacheIndex, after: &CacheIndex) -> Diff {
    let empty = Cache::default();
    let before = before.cache.as_deref().unwrap_or(&empty);
    let after = after.cache.as_deref().unwrap_or(&empty);
    let mut diff = Diff { records: records(before, after), ..Diff::default() };
    let (old, new) = (blobs(before), blobs(after));
    for blob in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (change, (layer, entry)) = match (old.get(blob), new.get(blob)) {
            (Some(_), Some(new)) => (Change::Same, new),
            (None, Some(new)) => (Change::Added, new),
            (Some(old), None) => (Change::Removed, old),
            (None, None) => continue,
        };
        let bytes = match change {
            Change::Added => &mut diff.added_bytes,
            Change::Removed => &mut diff.removed_bytes,
            Change::Changed | Change::Same => &mut diff.same_bytes,
        };
        *bytes = bytes.saturating_add(entry.size.unwrap_or(0));
        diff.layers.push(LayerRow { change, blob: *blob, size: entry.size, layer: *layer });
    }
    diff.layers.sort_by_key(|row| (row.change == Change::Same, std::cmp::Reverse(row.size), row.change, row.blob));
    diff
}

fn blobs(cache: &Cache) -> BTreeMap<Digest, (usize, &Layer)> {
    let mut blobs = BTreeMap::new();
    for (index, layer) in cache.layers.iter().enumerate() {
        blobs.entry(layer.blob).or_insert((index, layer));
    }
    blobs
}

fn records(before: &Cache, after: &Cache) -> Vec<RecordRow> {
    let (old, new) = (results(before), results(after));
    let mut rows: Vec<RecordRow> = old
        .keys()
        .chain(new.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|digest| {
            let (before, after) = (old.get(digest), new.get(digest));
            let change = match (before, after) {
                (Some(before), Some(after)) if before == after => Change::Same,
                (Some(_), Some(_)) => Change::Changed,
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
            };
            let list = |blobs: Option<&BTreeSet<Digest>>| blobs.into_iter().flatten().copied().collect();
            RecordRow { change, digest: *digest, before: list(before), after: list(after) }
        })
        .collect();
    rows.sort_by_key(|row| (row.change == Change::Same, row.digest));
    rows
}

/// The topmost blob of each result of each record.
fn results(cache: &Cache) -> BTreeMap<Digest, BTreeSet<Digest>> {
    use crate::model::cache::Outcome;
    let mut results: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
    for record in &cache.records {
        let tops = record.results.iter().filter_map(|r| match r {
            Outcome::Layer { layer, .. } => Some(*layer),
            Outcome::Chain { layers, .. } => layers.last().copied(),
        });
        results.entry(record.digest).or_default().extend(tops.map(|l| cache.layers[l].blob));
    }
    results
}
