//! Puts what was seen together: which versions there are, named or dangling, and the whole of the location. Pure.

use super::decode::Decoded;
use super::table::{Table, usage};
use super::version::{Nested, Reader, Version};
use super::{Keep, Named, Seen};
use crate::format::envelope::Envelope;
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{CacheIndex, Details, Inventory};
use crate::model::location::Location;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Versions that names lead to, as far as is known before blobs are listed.
pub fn preview_named(seen: &Seen) -> Vec<CacheIndex> {
    roots(seen).into_values().map(|version| preview(&seen.decoded, version)).collect()
}

/// Caches in a batch of documents that no name leads to.
pub fn preview_dangling(seen: &Seen, batch: &Decoded) -> Vec<CacheIndex> {
    let named: HashSet<Digest> = seen.named.iter().map(|n| n.digest).collect();
    let caches =
        batch.manifests.iter().filter(|(d, m)| matches!(m.envelope, Envelope::Cache { .. }) && !named.contains(d));
    caches.map(|(digest, _)| preview(batch, Version::dangling(*digest))).collect()
}

fn preview(decoded: &Decoded, version: Version) -> CacheIndex {
    Reader::new(decoded, &Nested::default(), version).preview()
}

/// What names lead to, or led to.
fn roots(seen: &Seen) -> BTreeMap<Digest, Version> {
    let mut roots: BTreeMap<Digest, Version> = BTreeMap::new();
    for Named { reference, digest, past, unread } in &seen.named {
        let version = roots.entry(*digest).or_insert_with(|| Version::dangling(*digest));
        version.listed |= !past;
        version.bare = seen.bare;
        version.unread = unread.as_ref().map(ToString::to_string);
        version.modified = version.modified.max(reference.modified);
        version.sizes.extend(reference.size);
        let names = if *past { &mut version.formerly } else { &mut version.tags };
        names.extend(Some(&reference.name).filter(|n| !n.is_empty()).cloned());
    }
    for version in roots.values_mut() {
        for names in [&mut version.tags, &mut version.formerly] {
            names.sort();
            names.dedup();
        }
        let Version { tags, formerly, .. } = version;
        formerly.retain(|name| tags.binary_search(name).is_err());
    }
    roots
}

/// Everything of a location.
pub fn inventory(location: Location, findings: Vec<Finding>, seen: Seen, keep: Keep) -> Inventory {
    let roots = roots(&seen);
    let Seen { mut decoded, blobs, listing, .. } = seen;
    let below: HashSet<Digest> =
        decoded.manifests.values().flat_map(|m| m.envelope.descriptors()).map(|d| d.digest).collect();
    let dangling = decoded.manifests.keys().filter(|d| !roots.contains_key(d) && !below.contains(d));
    let mut versions: Vec<Version> = dangling.copied().map(Version::dangling).collect();
    versions.extend(roots.into_values());
    hand_out_configs(&mut decoded, &mut versions);
    let mut indexes = read_all(&decoded, versions, keep);

    let unread = indexes.iter().any(|i| i.unread);
    let mut table = Table::new(blobs, listing.is_some(), unread, &decoded);
    indexes.iter().for_each(|i| table.count(i));
    indexes.iter_mut().for_each(|i| table.fill(i));
    indexes.sort_by(|a, b| {
        let order = (a.is_dangling(), a.tags.first()).cmp(&(b.is_dangling(), b.tags.first()));
        order.then(b.time().cmp(&a.time())).then(a.digest.cmp(&b.digest))
    });

    let mut warnings: Vec<Finding> = location
        .warnings()
        .into_iter()
        .map(|message| Finding::new(Problem::UnknownOption, None, message))
        .chain(findings)
        .chain(seen.findings)
        .collect();
    // What was deleted is no version any more, whoever still keeps it.
    let harmless = [Problem::UnknownOption, Problem::Limited, Problem::Deleted];
    let mut complete = warnings.iter().all(|w| harmless.contains(&w.problem))
        && indexes
            .iter()
            .all(|i| !i.findings.iter().any(|f| matches!(f.problem, Problem::Malformed | Problem::Unreadable)));
    // A document that is damaged and that no version reaches may have been a version itself.
    let reached = |digest: &Digest| table.is_reached(digest);
    let mut lost: Vec<_> = decoded.failed.iter().filter(|(d, _)| decoded.fault(d).is_some() && !reached(d)).collect();
    lost.sort_by_key(|(digest, _)| **digest);
    complete &= lost.is_empty();
    warnings.extend(lost.into_iter().map(|(digest, error)| {
        Finding::new(
            Problem::Malformed,
            Some(*digest),
            format!("blob {digest} may be a version that can't be read: {error}"),
        )
    }));
    let mut leftovers = Vec::new();
    if let Some(listing) = listing {
        complete &= listing.complete;
        warnings.extend(listing.findings);
        leftovers = listing.leftovers;
    }
    let blobs = table.finish(&decoded);
    let usage = usage(&blobs, indexes.len());
    Inventory { location, indexes, blobs, leftovers, usage, details: Details::default(), warnings, complete }
}

/// Gives each version its config to keep, where no other has the same.
fn hand_out_configs(decoded: &mut Decoded, versions: &mut [Version]) {
    fn config_of(decoded: &Decoded, version: &Version) -> Option<Digest> {
        if version.bare {
            return Some(version.digest);
        }
        match &decoded.manifests.get(&version.digest)?.envelope {
            Envelope::Cache { config, .. } => Some(config.digest),
            _ => None,
        }
    }
    let mut users: HashMap<Digest, usize> = HashMap::new();
    for version in versions.iter() {
        if let Some(config) = config_of(decoded, version) {
            *users.entry(config).or_default() += 1;
        }
    }
    for version in versions {
        if version.bare {
            version.sums = decoded.take_sums(&version.digest);
        }
        if let Some(config) = config_of(decoded, version).filter(|c| users.get(c) == Some(&1)) {
            version.config = decoded.take_config(&config);
        }
    }
}

/// Reads versions on all cores.
fn read_all(decoded: &Decoded, mut wanted: Vec<Version>, keep: Keep) -> Vec<CacheIndex> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let nested = Nested::default();
    let read = |version: Version| {
        let mut index = Reader::new(decoded, &nested, version).read();
        if keep == Keep::Sums {
            index.cache = None;
        }
        index
    };
    let share = wanted.len().div_ceil(cores).max(1);
    let mut shares = Vec::new();
    while wanted.len() > share {
        shares.push(wanted.split_off(wanted.len() - share));
    }
    std::thread::scope(|scope| {
        let others: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(|| share.into_iter().map(read).collect::<Vec<_>>())).collect();
        let mut indexes: Vec<CacheIndex> = wanted.into_iter().map(read).collect();
        for other in others {
            match other.join() {
                Ok(more) => indexes.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        indexes
    })
}
