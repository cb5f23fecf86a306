//! A store that remembers documents: those that did not change are not read again, and versions that a place itself forgets
//! are still found.
//!
//! What is there, and how it is, is always asked of the place: listing, [`Store::stat`], [`Store::open`], [`Store::measure`]
//! never answer from memory. Only the bytes of a document do, where the place itself has just said that it is there:
//! in that version under its name, by that digest in its own list, or to `stat`.

use super::{
    BlobEntry, BlobReader, Capabilities, Expected, Hold, Kin, Listing, Measured, Opaque, Reference, References, Store,
};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::inventory::{Details, Need};
use crate::model::location::Location;
use crate::model::plan::{Promise, RunId, Target};
use crate::model::usage::UsageRecord;
use crate::progress::Progress;
use crate::state::{KEPT, Place, Read, State};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Documents are written down in batches of so many, or so many bytes, whichever comes first.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 4 << 20;

/// Former versions that are looked for, and how many at a time.
const FORMER: usize = 64;
const PARALLEL: usize = 16;

/// Lets `store` remember in `state` what is read from it. With `may_be_new` a place that is not there yet has no names, for somebody
/// who is about to write there.
pub(super) fn remembered(store: Arc<dyn Store>, state: State, may_be_new: bool) -> Arc<dyn Store> {
    let place = Place::new(&store.identity());
    Arc::new(Remembered { store, state, place, may_be_new, named: Mutex::default(), unwritten: Mutex::default() })
}

struct Remembered {
    store: Arc<dyn Store>,
    state: State,
    place: Place,
    may_be_new: bool,
    /// What names lead to, as the place last said.
    named: Mutex<Vec<(String, Digest)>>,
    /// Documents that were read and are not written down yet.
    unwritten: Mutex<Vec<Read>>,
}

impl Remembered {
    /// Whether versions that no name leads to are found only by having been seen before.
    fn forgets(&self) -> bool {
        let can = self.store.capabilities();
        can.read_blobs && !can.find_dangling && !can.bare_configs
    }

    /// Takes note of a document. It is written down with others, on a thread that may wait.
    async fn note(&self, name: Option<(String, String)>, digest: Option<Digest>, bytes: &Bytes) {
        let is_document = bytes.trim_ascii_start().starts_with(b"{");
        if !is_document || bytes.len() as u64 > KEPT {
            return;
        }
        let batch = {
            let mut unwritten = lock(&self.unwritten);
            unwritten.push(Read { name, digest, bytes: bytes.clone() });
            let length: usize = unwritten.iter().map(|read| read.bytes.len()).sum();
            if unwritten.len() < BATCH && length < BATCH_BYTES {
                return;
            }
            std::mem::take(&mut *unwritten)
        };
        self.state.keep(self.place, batch, Timestamp::now()).await;
    }

    /// Writes down what was read so far.
    async fn write_down(&self) {
        let batch = std::mem::take(&mut *lock(&self.unwritten));
        self.state.keep(self.place, batch, Timestamp::now()).await;
    }

    /// Whether the place has the blob, as long as that, as far as it says.
    async fn has(&self, digest: &Digest, length: usize) -> bool {
        if lock(&self.named).iter().any(|(_, named)| named == digest) {
            return true;
        }
        self.store.stat(digest).await.is_ok_and(|entry| entry.size == length as u64)
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        // Usually nothing: only a job that broke off leaves some.
        let batch = std::mem::take(self.unwritten.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !batch.is_empty() {
            self.state.keep_now(self.place, &batch, Timestamp::now());
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Remembered {
    fn location(&self) -> &Location {
        self.store.location()
    }

    fn identity(&self) -> String {
        self.store.identity()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn lacks(&self, need: Need) -> Option<String> {
        self.store.lacks(need)
    }

    async fn references(&self) -> Result<References> {
        let references = match self.store.references().await {
            Err(error) if self.may_be_new && error.kind() == Kind::NotFound => References::default(),
            references => references?,
        };
        let named = references.items.iter().filter_map(|item| Some((item.name.clone(), item.digest?)));
        let named: Vec<_> = named.collect();
        let is_new = {
            let mut known = lock(&self.named);
            let is_new = *known != named;
            known.clone_from(&named);
            is_new
        };
        if is_new && self.forgets() {
            self.state.saw(self.place, named, Timestamp::now()).await;
        }
        Ok(references)
    }

    /// What the place tells, then what was seen before and is still there.
    async fn past(&self) -> Result<References> {
        let mut past = self.store.past().await?;
        if !self.forgets() {
            return Ok(past);
        }
        let known: HashSet<(String, Digest)> = {
            let told = past.items.iter().filter_map(|item| Some((item.name.clone(), item.digest?)));
            lock(&self.named).iter().cloned().chain(told).collect()
        };
        let mut former = self.state.formerly(self.place, known.len() + FORMER).await;
        former.retain(|former| !known.contains(&(former.name.clone(), former.digest)));
        former.truncate(FORMER);
        let present: HashSet<Digest> = known.iter().map(|(_, digest)| *digest).collect();
        let asked: HashSet<Digest> = former.iter().map(|f| f.digest).filter(|d| !present.contains(d)).collect();
        let found: HashMap<Digest, Result<BlobEntry>> = futures::stream::iter(asked)
            .map(|digest| async move { (digest, self.store.stat(&digest).await) })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for former in former {
            let size = match found.get(&former.digest) {
                Some(Ok(entry)) => Some(entry.size),
                // Gone, or nobody knows: it is not offered.
                Some(Err(_)) => continue,
                None => None,
            };
            let version = Some(former.digest.to_string());
            let digest = Some(former.digest);
            past.items.push(Reference { name: former.name, digest, size, modified: None, version });
        }
        let gone = |(digest, found): (Digest, Result<BlobEntry>)| {
            found.is_err_and(|error| error.kind() == Kind::NotFound).then_some(digest)
        };
        self.state.missed(self.place, found.into_iter().filter_map(gone).collect()).await;
        Ok(past)
    }

    async fn details(&self) -> Result<Details> {
        // This is the last that is asked of a place when it is looked at whole.
        self.write_down().await;
        self.store.details().await
    }

    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        if let Some(digest) = &reference.digest {
            if let Some(bytes) = self.state.document(*digest).await
                && bytes.len() as u64 <= limit
                && self.has(digest, bytes.len()).await
            {
                return Ok(bytes);
            }
            let bytes = self.store.document(reference, limit).await?;
            self.note(None, Some(*digest), &bytes).await;
            return Ok(bytes);
        }
        let Some(version) = &reference.version else { return self.store.document(reference, limit).await };
        if let Some(known) = self.state.known(self.place, &reference.name, version).await
            && known.bytes.len() as u64 <= limit
        {
            return Ok(known.bytes);
        }
        let bytes = self.store.document(reference, limit).await?;
        self.note(Some((reference.name.clone(), version.clone())), None, &bytes).await;
        Ok(bytes)
    }

    async fn blobs(
        &self,
        progress: &Progress,
        opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        self.store.blobs(progress, opaque, batches).await
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.store.stat(digest).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        self.store.open(digest).await
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Bytes> {
        // A place that gives no contents gives none of what others gave either.
        if self.store.capabilities().read_blobs
            && let Some(bytes) = self.state.document(*digest).await
            && bytes.len() as u64 <= limit
            && self.has(digest, bytes.len()).await
        {
            return Ok(bytes);
        }
        let bytes = self.store.read(digest, limit).await?;
        self.note(None, Some(*digest), &bytes).await;
        Ok(bytes)
    }

    async fn measure(&self, digests: &[Digest], progress: &Progress) -> Vec<Result<Measured>> {
        self.store.measure(digests, progress).await
    }

    async fn usage(&self) -> Result<Vec<UsageRecord>> {
        self.store.usage().await
    }

    fn may_be_called(&self, name: &str) -> Result<()> {
        self.store.may_be_called(name)
    }

    fn name_in_full(&self, name: &str) -> String {
        self.store.name_in_full(name)
    }

    fn kin(&self) -> Option<Kin> {
        self.store.kin()
    }

    async fn take(&self, digest: &Digest, size: u64, from: &Kin) -> Result<bool> {
        self.store.take(digest, size, from).await
    }

    async fn renew(&self, digest: &Digest) -> Result<BlobEntry> {
        self.store.renew(digest).await
    }

    async fn put(&self, digest: &Digest, body: BlobReader) -> Result<()> {
        self.store.put(digest, body).await
    }

    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        self.store.publish(name, document, needs, expected).await
    }

    async fn remove(&self, references: &[Reference]) -> Vec<Result<()>> {
        self.store.remove(references).await
    }

    async fn promise(&self) -> Result<Promise> {
        self.store.promise().await
    }

    async fn written_since(&self, targets: &[Target], since: Timestamp) -> Result<HashSet<Digest>> {
        self.store.written_since(targets, since).await
    }

    async fn hold(&self, run: &RunId) -> Result<Hold> {
        self.store.hold(run).await
    }

    async fn release(&self, hold: Hold) -> Result<()> {
        self.store.release(hold).await
    }

    async fn hide(
        &self,
        run: &RunId,
        targets: &[Target],
        grace: SignedDuration,
        progress: &Progress,
    ) -> Vec<Result<()>> {
        self.store.hide(run, targets, grace, progress).await
    }

    async fn hidden(&self, run: &RunId, targets: &[Target]) -> Result<Vec<Target>> {
        self.store.hidden(run, targets).await
    }

    fn linked(&self, targets: &[Target]) -> HashSet<Digest> {
        self.store.linked(targets)
    }

    async fn restore(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        self.store.restore(run, targets, progress).await
    }

    async fn purge(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        self.store.purge(run, targets, progress).await
    }

    async fn discard(&self, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
        self.store.discard(ids, progress).await
    }

    async fn keep_build(&self, id: &str, kept: bool) -> Result<()> {
        self.store.keep_build(id, kept).await
    }

    async fn note(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.store.note(key, bytes).await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<String>> {
        self.store.notes(prefix).await
    }

    async fn read_note(&self, key: &str) -> Result<Bytes> {
        self.store.read_note(key).await
    }

    async fn drop_note(&self, key: &str) -> Result<()> {
        self.store.drop_note(key).await
    }

    fn unsupported(&self, what: &str) -> Error {
        self.store.unsupported(what)
    }
}

/// What is locked is whole between any two statements, and nothing panics while it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
