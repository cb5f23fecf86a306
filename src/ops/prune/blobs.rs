//! Which blobs go with the versions that go, and which nothing needs at all.

use super::choose::Verdict;
use super::target;
use crate::model::digest::Digest;
use crate::model::inventory::{Blob, Inventory, State};
use crate::model::plan::Target;
use std::collections::{HashMap, HashSet};

/// So many blobs and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lot {
    pub(super) count: u64,
    pub(super) bytes: u64,
    /// What of them is freed.
    pub(super) frees: u64,
}

impl Lot {
    pub(super) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.frees = self.frees.saturating_add(bytes);
    }

    /// Adds one whose bytes may stay taken.
    fn add_target(&mut self, target: &Target, frees: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(target.bytes);
        self.frees = self.frees.saturating_add(frees);
    }
}

/// What becomes of blobs.
#[derive(Debug, Default)]
pub(super) struct Lots {
    /// Those that go.
    pub(super) targets: Vec<Target>,
    /// Bytes that they free.
    pub(super) frees: u64,
    /// Bytes that go with each version alone.
    pub(super) of_version: HashMap<Digest, u64>,
    /// Those that several versions share which all go.
    pub(super) shared: Lot,
    /// Those that nothing reaches, and that go.
    pub(super) orphans: Lot,
    /// Those that would go, were they not so young.
    pub(super) young: Lot,
    /// Those that nothing reaches, and that stay as nobody asked for them.
    pub(super) unswept: Lot,
}

/// What stays needs these.
fn needed(chosen: &[Verdict<'_>]) -> HashSet<Digest> {
    chosen.iter().filter(|v| !v.goes).flat_map(|v| v.index.reach.iter().map(|r| r.digest)).collect()
}

/// Whether a blob that nothing needs which stays may go at all.
fn may_go(blob: &Blob, sweep: bool) -> bool {
    match blob.state {
        State::Live | State::Dangling => true,
        State::Orphan => sweep,
        State::Unknown | State::Missing => false,
    }
}

/// Blobs that go, unless they are young.
pub(super) fn candidates(inventory: &Inventory, chosen: &[Verdict<'_>], sweep: bool) -> Vec<Target> {
    let needed = needed(chosen);
    let goes = |blob: &&Blob| may_go(blob, sweep) && !needed.contains(&blob.digest);
    inventory.blobs.iter().filter(goes).filter_map(target).collect()
}

/// What a place says of blobs that could go.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Those that are too young to go.
    pub(super) young: HashSet<Digest>,
    /// Those whose bytes stay taken when they go.
    pub(super) linked: HashSet<Digest>,
}

/// What becomes of all blobs. `hides` is whether the place can hide any.
pub(super) fn lots(inventory: &Inventory, chosen: &[Verdict<'_>], told: &Told, sweep: bool, hides: bool) -> Lots {
    let mut lots = Lots::default();
    if !hides {
        let own = chosen.iter().filter(|v| v.goes).map(|v| (v.index.digest, v.index.exclusive_bytes));
        lots.of_version = own.collect();
        return lots;
    }
    let needed = needed(chosen);
    // Of which version alone a blob is; `None` for one that several have.
    let mut owners: HashMap<Digest, Option<Digest>> = HashMap::new();
    for verdict in chosen.iter().filter(|v| v.goes) {
        for reached in &verdict.index.reach {
            owners.entry(reached.digest).and_modify(|owner| *owner = None).or_insert(Some(verdict.index.digest));
        }
    }
    for blob in inventory.blobs.iter().filter(|blob| !needed.contains(&blob.digest)) {
        let Some(target) = target(blob) else { continue };
        if blob.state == State::Orphan && !sweep {
            lots.unswept.add(target.bytes);
        }
        if !may_go(blob, sweep) {
            continue;
        }
        if told.young.contains(&blob.digest) {
            lots.young.add(target.bytes);
            continue;
        }
        let frees = if told.linked.contains(&blob.digest) { 0 } else { target.bytes };
        match owners.get(&blob.digest) {
            Some(Some(version)) => *lots.of_version.entry(*version).or_default() += frees,
            Some(None) => lots.shared.add_target(&target, frees),
            None => lots.orphans.add_target(&target, frees),
        }
        lots.frees = lots.frees.saturating_add(frees);
        lots.targets.push(target);
    }
    lots
}
