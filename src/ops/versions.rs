//! The versions of a location over time: which came after which, and what each added. Pure.

use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory};
use std::collections::HashSet;

/// A version and what its export did to the location.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// The version.
    pub index: &'a CacheIndex,
    /// The one made before it.
    pub previous: Option<&'a CacheIndex>,
    /// Bytes of the blobs that no older version has: by this much its export let the location grow.
    pub added_bytes: u64,
    /// How much larger its cache is than that of the one before; `None` where one of them is no cache.
    pub delta_bytes: Option<i64>,
}

/// All versions of `inventory`, newest first; those of unknown time count as oldest.
pub fn history(inventory: &Inventory) -> Vec<Version<'_>> {
    let mut indexes: Vec<&CacheIndex> = inventory.indexes.iter().collect();
    indexes.sort_by(|a, b| a.time().cmp(&b.time()).then(b.digest.cmp(&a.digest)));
    let mut seen: HashSet<Digest> = HashSet::new();
    let mut previous: Option<&CacheIndex> = None;
    let mut versions = Vec::with_capacity(indexes.len());
    for index in indexes {
        let added = index.reach.iter().filter(|reached| seen.insert(reached.digest));
        let added_bytes = added.map(|reached| reached.size).fold(0, u64::saturating_add);
        let delta_bytes = previous.and_then(|previous| difference(index, previous));
        versions.push(Version { index, previous, added_bytes, delta_bytes });
        previous = Some(index);
    }
    versions.reverse();
    versions
}

fn difference(index: &CacheIndex, previous: &CacheIndex) -> Option<i64> {
    let size = |index: &CacheIndex| Some(i128::from(index.summary?.max_bytes));
    i64::try_from(size(index)? - size(previous)?).ok()
}
