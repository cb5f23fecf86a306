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
    blobs: Vec<Blob>,
    at: HashMap<Digest, usize>,
    /// Documents that are known not to be there; `None` where a listing tells that of every blob.
    absent: Option<HashSet<Digest>>,
}

impl Table {
    /// The blobs that were listed, of which nothing is known yet to need any.
    /// While some versions are `unread`, what no other needs may be theirs.
    pub fn new(entries: &[BlobEntry], listed: bool, unread: bool, decoded: &Decoded) -> Self {
        let unreached = if unread { State::Unknown } else { State::Orphan };
        let blobs: Vec<Blob> = entries
            .iter()
            .map(|entry| Blob {
                digest: entry.digest,
                size: Some(entry.size),
                declared: None,
                modified: entry.modified,
                role: Role::Unknown,
                state: unreached,
                referrers: 0,
            })
            .collect();
        let at = blobs.iter().enumerate().map(|(at, b)| (b.digest, at)).collect();
        Self { blobs, at, absent: (!listed).then(|| decoded.absent().collect()) }
    }

    /// Whether an index that was counted needs it.
    pub fn is_reached(&self, digest: &Digest) -> bool {
        self.at.get(digest).is_some_and(|&at| self.blobs[at].referrers > 0)
    }

    /// Notes that `index` needs what it reaches.
    pub fn count(&mut self, index: &CacheIndex) {
        let state = if index.is_dangling() { State::Dangling } else { State::Live };
        for reached in &index.reach {
            let next = self.blobs.len();
            let at = *self.at.entry(reached.digest).or_insert(next);
            if at == next {
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
            }
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
            let blob = &self.blobs[self.at[&reached.digest]];
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
        if let Some(&at) = self.at.get(&index.digest) {
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
        self.blobs.sort_unstable_by_key(|b| b.digest);
        self.blobs
    }
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
