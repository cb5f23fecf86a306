//! Blobs whose files have names elsewhere, too: a copy that was made with links, say. Removing such a blob frees nothing.
//! Whoever looks at a blob's file anyway tells of it here, so that nobody has to look again.

use crate::model::digest::Digest;
use crate::model::plan::Target;
use rustix::fs::Stat;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Blobs that were last seen with more than one name.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Whether there is any: mostly there is none, and nobody has to wait for another.
    any: AtomicBool,
    seen: Mutex<HashSet<Digest>>,
}

impl Links {
    /// A blob's file was looked at.
    pub(super) fn look(&self, digest: &Digest, stat: &Stat) {
        let linked = stat.st_nlink > 1;
        if !linked && !self.any.load(Ordering::Relaxed) {
            return;
        }
        // A set is whole between any two insertions.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if linked {
            self.any.store(true, Ordering::Relaxed);
            seen.insert(*digest);
        } else {
            seen.remove(digest);
        }
    }

    /// Those of `targets` that were seen so.
    pub(super) fn among(&self, targets: &[Target]) -> HashSet<Digest> {
        if !self.any.load(Ordering::Relaxed) {
            return HashSet::new();
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        targets.iter().map(|target| target.digest).filter(|digest| seen.contains(digest)).collect()
    }
}
