//! What differs between two versions of a cache, from whatever places they come. Pure.

use crate::model::cache::{Cache, Layer, Outcome};
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
    caches(before.cache.as_deref().unwrap_or(&empty), after.cache.as_deref().unwrap_or(&empty))
}

fn caches(before: &Cache, after: &Cache) -> Diff {
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

/// Layers of one step on both sides, or a layer that has none on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The layer of the first version.
    pub before: Option<&'a LayerRow>,
    /// The layer of the second.
    pub after: Option<&'a LayerRow>,
}

impl Pair<'_> {
    /// What became of it: [`Change::Changed`] if another layer came for the same step.
    pub fn change(&self) -> Change {
        match (self.before, self.after) {
            (Some(before), Some(after)) if before.blob == after.blob => Change::Same,
            (Some(_), Some(_)) => Change::Changed,
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
        }
    }

    /// By how many bytes it grew; `None` where a size is not known.
    pub fn grew(&self) -> Option<i64> {
        let size = |row: Option<&LayerRow>| row.map_or(Some(0), |row| row.size).map(i128::from);
        i64::try_from(size(self.after)? - size(self.before)?).ok()
    }
}

/// Brings together layers that went and those that came for the same step, as far as `step` names them and there are as
/// many on either side. In the order of `layers`.
pub fn pairs<'a, S: Ord>(layers: &'a [LayerRow], step: impl Fn(&LayerRow) -> Option<S>) -> Vec<Pair<'a>> {
    let mut sides: BTreeMap<S, [Vec<usize>; 2]> = BTreeMap::new();
    for (at, row) in layers.iter().enumerate().filter(|(_, row)| row.change != Change::Same) {
        if let Some(step) = step(row) {
            sides.entry(step).or_default()[usize::from(row.change == Change::Added)].push(at);
        }
    }
    let mut other = vec![None; layers.len()];
    for [gone, come] in sides.into_values().filter(|[gone, come]| gone.len() == come.len()) {
        for (gone, come) in gone.into_iter().zip(come) {
            (other[gone], other[come]) = (Some(come), Some(gone));
        }
    }
    // Each pair stands where its first row stood.
    let first = layers.iter().enumerate().filter(|(at, _)| other[*at].is_none_or(|other| *at < other));
    first
        .map(|(at, row)| {
            let other = other[at].map(|other| &layers[other]);
            match row.change {
                Change::Same => Pair { before: Some(row), after: Some(row) },
                Change::Removed => Pair { before: Some(row), after: other },
                Change::Added | Change::Changed => Pair { before: other, after: Some(row) },
            }
        })
        .collect()
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
    let mut results: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
    for record in &cache.records {
        let tops = record.results.iter().filter_map(Outcome::top);
        results.entry(record.digest).or_default().extend(tops.map(|l| cache.layers[l].blob));
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cache::{Compression, Record};

    fn digest(n: u8) -> Digest {
        Digest::from_bytes([n; 32])
    }

    /// A cache of layers (blob, bytes) and records (key, topmost layers of its results).
    fn cache(layers: &[(u8, u64)], records: &[(u8, &[usize])]) -> Cache {
        let layer = |&(blob, size): &(u8, u64)| Layer {
            blob: digest(blob),
            parent: None,
            size: Some(size),
            compression: Compression::Gzip,
            media_type: "".into(),
            diff_id: None,
            created: None,
            platform: None,
            history: None,
        };
        let record = |(key, results): &(u8, &[usize])| Record {
            digest: digest(*key),
            inputs: Vec::new(),
            results: results.iter().map(|&layer| Outcome::Layer { layer, created: None }).collect(),
        };
        Cache { layers: layers.iter().map(layer).collect(), records: records.iter().map(record).collect() }
    }

    fn shown(diff: &Diff) -> (String, String) {
        let layers = diff.layers.iter().map(|l| format!("{}{}", l.change.sign(), l.blob.as_bytes()[0]));
        let records = diff.records.iter().map(|r| format!("{}{}", r.change.sign(), r.digest.as_bytes()[0]));
        (layers.collect::<Vec<_>>().join(" "), records.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn layers_of_one_step_are_brought_together() {
        let row = |change, n: u8, size| LayerRow { change, blob: digest(n), size: Some(size), layer: usize::from(n) };
        let layers = [
            row(Change::Added, 1, 100),
            row(Change::Removed, 2, 90),
            row(Change::Added, 3, 50),
            row(Change::Removed, 4, 40),
            row(Change::Removed, 5, 30),
            row(Change::Added, 6, 20),
            row(Change::Added, 7, 15),
            row(Change::Removed, 8, 12),
            row(Change::Same, 9, 10),
        ];
        // The base image has two layers on either side, another step is new, and one layer has no name.
        let steps = ["", "npm ci", "npm ci", "from", "from", "from", "from", "new", "", "same"];
        let pairs = pairs(&layers, |row| Some(steps[row.layer]).filter(|step| !step.is_empty()));
        let number = |row: Option<&LayerRow>| row.map_or(0, |row| row.layer);
        let shown: Vec<_> =
            pairs.iter().map(|p| (p.change().sign(), number(p.before), number(p.after), p.grew())).collect();
        assert_eq!(
            shown,
            [
                ('~', 2, 1, Some(10)),
                ('~', 4, 3, Some(10)),
                ('~', 5, 6, Some(-10)),
                ('+', 0, 7, Some(15)),
                ('-', 8, 0, Some(-12)),
                ('=', 9, 9, Some(0)),
            ]
        );
    }

    #[test]
    fn the_largest_change_comes_first_and_the_same_last() {
        let before = cache(&[(1, 100), (2, 30), (3, 7)], &[(1, &[0]), (2, &[1]), (3, &[])]);
        let after = cache(&[(3, 7), (1, 100), (4, 50), (5, 10)], &[(1, &[1]), (2, &[2]), (4, &[3])]);
        let diff = caches(&before, &after);
        assert_eq!(shown(&diff), ("+4 -2 +5 =1 =3".to_owned(), "~2 -3 +4 =1".to_owned()));
        assert_eq!((diff.added_bytes, diff.removed_bytes, diff.same_bytes), (60, 30, 107));
        assert_eq!(diff.layers[3].layer, 1, "an entry of the second version's table");
        let changed = &diff.records[0];
        assert_eq!(
            (changed.before.as_slice(), changed.after.as_slice()),
            ([digest(2)].as_slice(), [digest(4)].as_slice())
        );
    }

    #[test]
    fn a_version_does_not_differ_from_itself_however_it_is_written() {
        let one = cache(&[(1, 1), (2, 2), (1, 1)], &[(1, &[0, 1]), (2, &[2])]);
        let other = cache(&[(2, 2), (1, 1)], &[(2, &[1]), (1, &[0, 1])]);
        let diff = caches(&one, &other);
        assert_eq!(shown(&diff), ("=2 =1".to_owned(), "=1 =2".to_owned()));
        assert_eq!((diff.added_bytes, diff.removed_bytes, diff.same_bytes), (0, 0, 3));
    }

    #[test]
    fn against_nothing_all_is_new() {
        let some = cache(&[(1, 5), (1, 5)], &[(1, &[0])]);
        let diff = caches(&Cache::default(), &some);
        assert_eq!((shown(&diff), diff.added_bytes), (("+1".to_owned(), "+1".to_owned()), 5));
        let diff = caches(&some, &Cache::default());
        assert_eq!((shown(&diff), diff.removed_bytes), (("-1".to_owned(), "-1".to_owned()), 5));
        assert_eq!(caches(&Cache::default(), &Cache::default()), Diff::default());
    }

    #[test]
    fn claims_of_any_size_add_up_without_overflow() {
        let diff = caches(&cache(&[], &[]), &cache(&[(1, u64::MAX), (2, u64::MAX)], &[]));
        assert_eq!(diff.added_bytes, u64::MAX);
    }
}
