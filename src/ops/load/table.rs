//! Blobs of a location and who needs them: what is live, dangling, orphan, missing, shared or of a wrong size. Pure.

use super::decode::Decoded;
use crate::model::cache::Form;
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{Blob, CacheIndex, Reached, Role, State, Usage};
use crate::store::BlobEntry;
use std::collections::{HashMap, HashSet};

/// Blobs and who needs them.
pub struct Table {
    /// Those that were listed, sorted; after them those that only versions tell of.
    blobs: Vec<Blob>,
    listed: usize,
    /// Where those are that only versions tell of.
    told: HashMap<Digest, usize>,
    /// Documents that are known not to be there; `None` where a listing tells that of every blob.
    absent: Option<HashSet<Digest>>,
}

impl Table {
    /// The blobs that were listed, [in order](in_order), of which nothing is known yet to need any.
    /// While some versions are `unread`, what no other needs may be theirs.
    pub fn new(mut blobs: Vec<Blob>, listed: bool, unread: bool, decoded: &Decoded) -> Self {
        if unread {
            blobs.iter_mut().for_each(|blob| blob.state = State::Unknown);
        }
        let absent = (!listed).then(|| decoded.absent().collect());
        Self { listed: blobs.len(), blobs, told: HashMap::new(), absent }
    }

    fn find(&self, digest: &Digest) -> Option<usize> {
        position(&self.blobs[..self.listed], digest).or_else(|| self.told.get(digest).copied())
    }

    /// Whether an index that was counted needs it.
    pub fn is_reached(&self, digest: &Digest) -> bool {
        self.find(digest).is_some_and(|at| self.blobs[at].referrers > 0)
    }

    /// Notes that `index` needs what it reaches.
    pub fn count(&mut self, index: &CacheIndex) {
        let state = if index.is_dangling() { State::Dangling } else { State::Live };
        for reached in &index.reach {
            let at = self.find(&reached.digest).unwrap_or_else(|| {
                // Where nothing can be listed, what is needed is taken to be there until reading it fails.
                let there = self.absent.as_ref().is_some_and(|absent| !absent.contains(&reached.digest));
                self.blobs.push(Blob {
                    digest: reached.digest,
                    size: there.then_some(reached.size),
                    declared: None,
                    modified: None,
                    role: Role::Unknown,
                    state: if there { state } else { State::Missing },
                    referrers: 0,
                });
                self.told.insert(reached.digest, self.blobs.len() - 1);
                self.blobs.len() - 1
            });
            let blob = &mut self.blobs[at];
            blob.referrers += 1;
            blob.role = blob.role.min(reached.role);
            // Of several claims the wrong one is kept, for that is what there is to tell.
            if let Some(says) = claim(index, reached)
                && (blob.declared.is_none() || blob.size.is_some_and(|is| is != says))
            {
                blob.declared = Some(says);
            }
            if blob.state != State::Missing {
                blob.state = blob.state.min(state);
            }
        }
    }

    /// Fills in what follows from what others need.
    pub fn fill(&self, index: &mut CacheIndex) {
        for reached in &index.reach {
            let Some(blob) = self.find(&reached.digest).map(|at| &self.blobs[at]) else { continue };
            let Some(size) = blob.size else {
                index.missing.push(blob.digest);
                continue;
            };
            let sum = if blob.referrers == 1 { &mut index.exclusive_bytes } else { &mut index.shared_bytes };
            *sum = sum.saturating_add(size);
            if let Some(says) = claim(index, reached).filter(|&says| says != size && self.absent.is_none()) {
                let message = format!("blob {} has {size} bytes, but what leads to it says {says}", blob.digest);
                index.findings.push(Finding::new(Problem::WrongSize, Some(blob.digest), message));
            }
        }
        if let Some(at) = self.find(&index.digest) {
            let blob = &self.blobs[at];
            index.modified = index.modified.or(blob.modified);
            // One that could not be decoded takes its room all the same.
            if index.manifest_bytes == 0 {
                index.manifest_bytes = blob.size.unwrap_or(0);
            }
        }
    }

    /// All blobs, sorted.
    pub fn finish(mut self, decoded: &Decoded) -> Vec<Blob> {
        for blob in self.blobs.iter_mut().filter(|b| b.role == Role::Unknown) {
            blob.role = decoded.role(&blob.digest).unwrap_or(Role::Unknown);
        }
        if !self.told.is_empty() {
            in_order(&mut self.blobs);
        }
        self.blobs
    }
}

/// A blob as it was listed: nothing is known to need it.
pub fn listed(entry: &BlobEntry) -> Blob {
    Blob {
        digest: entry.digest,
        size: Some(entry.size),
        declared: None,
        modified: entry.modified,
        role: Role::Unknown,
        state: State::Orphan,
        referrers: 0,
    }
}

/// Puts blobs into the order in which they are found. There may be millions: an index beside them would take as much room
/// again.
pub fn in_order(blobs: &mut [Blob]) {
    blobs.sort_unstable_by_key(|b| b.digest);
}

/// Where a blob is among those [in order](in_order).
pub fn position(blobs: &[Blob], digest: &Digest) -> Option<usize> {
    blobs.binary_search_by(|b| b.digest.cmp(digest)).ok()
}

/// The length that something else says a blob has. An index tells nothing of its own.
fn claim(index: &CacheIndex, reached: &Reached) -> Option<u64> {
    let own = reached.digest == index.digest && reached.size == index.manifest_bytes;
    // A bare config that does not say how long a layer is says nothing that could be wrong.
    let silent = index.form == Some(Form::Config) && reached.size == 0;
    (!own && !silent).then_some(reached.size)
}

/// Adds blobs up by state.
pub fn usage(blobs: &[Blob], indexes: usize) -> Usage {
    let mut usage = Usage { indexes: indexes as u64, ..Usage::default() };
    for blob in blobs {
        let Some(size) = blob.size else {
            usage.missing_blobs += 1;
            continue;
        };
        let (blobs, bytes) = match blob.state {
            State::Live => (&mut usage.live_blobs, &mut usage.live_bytes),
            State::Dangling => (&mut usage.dangling_blobs, &mut usage.dangling_bytes),
            State::Orphan | State::Missing => (&mut usage.orphan_blobs, &mut usage.orphan_bytes),
            State::Unknown => (&mut usage.unknown_blobs, &mut usage.unknown_bytes),
        };
        for (count, sum) in [(blobs, bytes), (&mut usage.blobs, &mut usage.bytes)] {
            *count += 1;
            // Lengths may be mere claims, of any size, where a place can't be listed.
            *sum = sum.saturating_add(size);
        }
    }
    usage
}
