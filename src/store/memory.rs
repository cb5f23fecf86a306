//! The reference implementation and test double: a store in memory that holds the contract to the letter, stricter than
//! any real backend. It never touches a disk or a network.

use super::{
    BlobEntry, BlobReader, Capabilities, DOCUMENT_LIMIT, Expected, Frees, Hold, Kin, Listing, Opaque, Reference,
    References, Store,
};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::inventory::Leftover;
use crate::model::location::Location;
use crate::model::plan::{Promise, RunId, Target, Undo};
use crate::model::usage::UsageRecord;
use crate::progress::Progress;
use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

#[derive(Clone, Debug)]
struct Stored {
    bytes: Bytes,
    written: Timestamp,
}

#[derive(Debug, Default)]
struct Contents {
    now: Timestamp,
    blobs: BTreeMap<Digest, Stored>,
    hidden: BTreeMap<(RunId, Digest), Stored>,
    names: BTreeMap<String, Digest>,
    leftovers: Vec<Leftover>,
    usage: Vec<UsageRecord>,
    notes: BTreeMap<String, Bytes>,
    holder: Option<RunId>,
}

/// A store in memory. Its clock stands still unless [`Memory::advance`] moves it.
#[derive(Debug)]
pub struct Memory {
    location: Location,
    contents: Arc<Mutex<Contents>>,
}

/// Gives the place free when it is dropped.
struct Held(Arc<Mutex<Contents>>);

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.0).holder = None;
    }
}

impl Memory {
    /// An empty store that says it is at `location`.
    pub fn new(location: Location) -> Self {
        Self { location, contents: Arc::default() }
    }

    /// Lets time go by.
    pub fn advance(&self, by: SignedDuration) {
        let mut contents = self.lock();
        contents.now = contents.now.saturating_add(by).unwrap_or(Timestamp::MAX);
    }

    /// Its clock.
    pub fn now(&self) -> Timestamp {
        self.lock().now
    }

    /// Leaves an unfinished upload behind.
    pub fn leave(&self, name: &str, bytes: u64) {
        let mut contents = self.lock();
        let modified = Some(contents.now);
        contents.leftovers.push(Leftover { name: name.to_owned(), bytes, modified });
    }

    /// Puts a blob under the digest it has. For tests: [`Store::put`] checks, this computes.
    pub fn insert(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.insert_as(digest, bytes);
        digest
    }

    /// Puts bytes under any digest, right or wrong. For tests of damage.
    pub fn insert_as(&self, digest: Digest, bytes: impl Into<Bytes>) {
        self.lock().write(digest, bytes.into());
    }

    /// Takes a blob away. For tests of damage.
    pub fn lose(&self, digest: &Digest) {
        self.lock().blobs.remove(digest);
    }

    /// Lets a name lead to a digest, whether or not it is there. For tests of damage.
    pub fn name(&self, name: &str, digest: Digest) {
        self.lock().names.insert(name.to_owned(), digest);
    }

    /// Sets the usage records.
    pub fn set_usage(&self, mut usage: Vec<UsageRecord>) {
        usage.sort_by(|a, b| a.id.cmp(&b.id));
        self.lock().usage = usage;
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }

    fn blob(&self, digest: &Digest) -> Result<Stored> {
        self.lock().blobs.get(digest).cloned().ok_or_else(|| Error::not_found(format!("no blob {digest}")))
    }
}

impl Contents {
    /// As a writer does it: what is there already stays as it is.
    fn put(&mut self, digest: Digest, bytes: Bytes) {
        let stored = Stored { bytes, written: self.now };
        self.blobs.entry(digest).or_insert(stored);
    }

    fn write(&mut self, digest: Digest, bytes: Bytes) {
        self.blobs.insert(digest, Stored { bytes, written: self.now });
    }
}

fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    // No code panics while it holds the lock, and the maps are whole between any two statements.
    contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn entry(digest: Digest, stored: &Stored) -> BlobEntry {
    let (bytes, modified) = (&stored.bytes, Some(stored.written));
    let document = bytes.len() as u64 <= DOCUMENT_LIMIT && bytes.trim_ascii_start().starts_with(b"{");
    BlobEntry { digest, size: bytes.len() as u64, modified, document: document.then(|| bytes.clone()) }
}

#[async_trait]
impl Store for Memory {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list_blobs: true,
            find_dangling: true,
            read_blobs: true,
            bare_configs: false,
            write: true,
            remove: true,
            hide: true,
            discard: true,
            notes: true,
            usage: true,
            frees: Frees::Exactly,
        }
    }

    async fn references(&self) -> Result<References> {
        let contents = self.lock();
        let reference = |(name, digest): (&String, &Digest)| Reference {
            name: name.clone(),
            digest: Some(*digest),
            size: contents.blobs.get(digest).map(|b| b.bytes.len() as u64),
            modified: None,
            version: Some(digest.to_string()),
        };
        Ok(References { items: contents.names.iter().map(reference).collect(), findings: Vec::new() })
    }

    async fn blobs(
        &self,
        progress: &Progress,
        _opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        let all: Vec<BlobEntry> = self.lock().blobs.iter().map(|(digest, stored)| entry(*digest, stored)).collect();
        // Small batches, so that readers which expect a single one fail here and not on a large cache.
        for batch in all.chunks(3) {
            progress.check()?;
            progress.add(batch.len() as u64, batch.iter().map(|b| b.size).sum());
            batches.send(batch.to_vec()).await.map_err(|_| Error::cancelled())?;
        }
        let leftovers = self.lock().leftovers.clone();
        Ok(Listing { leftovers, complete: true, ..Listing::default() })
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.blob(digest).map(|stored| BlobEntry { document: None, ..entry(*digest, &stored) })
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        Ok(Box::new(std::io::Cursor::new(self.blob(digest)?.bytes)))
    }

    async fn usage(&self) -> Result<Vec<UsageRecord>> {
        Ok(self.lock().usage.clone())
    }

    async fn put(&self, digest: &Digest, mut body: BlobReader) -> Result<()> {
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).await.map_err(|e| super::reading(digest, e))?;
        let is = Digest::of(&bytes);
        if is != *digest {
            return Err(Error::corrupt(format!("what was sent as {digest} is {is}")));
        }
        self.lock().put(*digest, bytes.into());
        Ok(())
    }

    fn kin(&self) -> Option<Kin> {
        Some(Kin::new(self.contents.clone()))
    }

    async fn take(&self, digest: &Digest, _size: u64, from: &Kin) -> Result<bool> {
        let Some(from) = from.whereabouts::<Arc<Mutex<Contents>>>() else { return Ok(false) };
        let bytes = lock(from).blobs.get(digest).map(|stored| stored.bytes.clone());
        let bytes = bytes.ok_or_else(|| Error::not_found(format!("no blob {digest}")))?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::corrupt(format!("what was taken as {digest} is {}", Digest::of(&bytes))));
        }
        self.lock().put(*digest, bytes);
        Ok(true)
    }

    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        let mut contents = self.lock();
        if let Some(missing) = needs.iter().find(|d| !contents.blobs.contains_key(d)) {
            return Err(Error::corrupt(format!("{name} was not published: blob {missing} is not there")));
        }
        let is = contents.names.get(name).map(Digest::to_string);
        let fits = match expected {
            Expected::Absent => is.is_none(),
            Expected::Version(version) => is.is_some_and(|is| is == version),
        };
        if !fits {
            return Err(changed(name));
        }
        let digest = Digest::of(document);
        contents.put(digest, document.clone());
        contents.names.insert(name.to_owned(), digest);
        let (size, version) = (Some(document.len() as u64), Some(digest.to_string()));
        Ok(Reference { name: name.to_owned(), digest: Some(digest), size, modified: None, version })
    }

    async fn remove(&self, references: &[Reference]) -> Vec<Result<()>> {
        let mut contents = self.lock();
        let mut remove = |reference: &Reference| {
            let is = contents.names.get(&reference.name).map(Digest::to_string);
            if is.is_some() && is != reference.version {
                return Err(changed(&reference.name));
            }
            contents.names.remove(&reference.name);
            Ok(())
        };
        references.iter().map(&mut remove).collect()
    }

    async fn promise(&self) -> Result<Promise> {
        Ok(Promise {
            grace: SignedDuration::from_hours(24),
            settle: SignedDuration::from_hours(6),
            undo: Undo::UntilFreed,
            exact: true,
            caveats: Vec::new(),
        })
    }

    async fn hold(&self, run: &RunId) -> Result<Hold> {
        let mut contents = self.lock();
        if let Some(other) = &contents.holder {
            return Err(Error::new(Kind::Busy, format!("run {other} is changing the place")));
        }
        contents.holder = Some(run.clone());
        Ok(Hold::new(Held(self.contents.clone())))
    }

    async fn hide(
        &self,
        run: &RunId,
        targets: &[Target],
        grace: SignedDuration,
        _progress: &Progress,
    ) -> Vec<Result<()>> {
        let mut contents = self.lock();
        let mut hide = |target: &Target| {
            let absent = || Error::not_found(format!("no blob {}", target.digest));
            let stored = contents.blobs.get(&target.digest).ok_or_else(absent)?;
            let old = contents.now.duration_since(stored.written) >= grace;
            if Some(stored.written) != target.modified || stored.bytes.len() as u64 != target.bytes || !old {
                return Err(changed(&format!("blob {}", target.digest)));
            }
            if let Some(stored) = contents.blobs.remove(&target.digest) {
                contents.hidden.insert((run.clone(), target.digest), stored);
            }
            Ok(())
        };
        targets.iter().map(&mut hide).collect()
    }

    async fn hidden(&self, run: &RunId, _targets: &[Target]) -> Result<Vec<Target>> {
        let contents = self.lock();
        let own = contents.hidden.iter().filter(|((by, _), _)| by == run);
        let target = |((_, digest), stored): (&(RunId, Digest), &Stored)| Target {
            digest: *digest,
            bytes: stored.bytes.len() as u64,
            modified: Some(stored.written),
        };
        Ok(own.map(target).collect())
    }

    async fn restore(&self, run: &RunId, targets: &[Target], _progress: &Progress) -> Vec<Result<()>> {
        let mut contents = self.lock();
        let mut restore = |target: &Target| match contents.hidden.remove(&(run.clone(), target.digest)) {
            Some(stored) => {
                contents.blobs.entry(target.digest).or_insert(stored);
                Ok(())
            }
            None if contents.blobs.contains_key(&target.digest) => Ok(()),
            None => Err(Error::not_found(format!("blob {} is not hidden", target.digest))),
        };
        targets.iter().map(&mut restore).collect()
    }

    async fn purge(&self, run: &RunId, targets: &[Target], _progress: &Progress) -> Vec<Result<()>> {
        let mut contents = self.lock();
        for target in targets {
            contents.hidden.remove(&(run.clone(), target.digest));
        }
        targets.iter().map(|_| Ok(())).collect()
    }

    async fn discard(&self, ids: &[String], _progress: &Progress) -> Vec<Result<()>> {
        let mut contents = self.lock();
        contents.leftovers.retain(|leftover| !ids.contains(&leftover.name));
        ids.iter().map(|_| Ok(())).collect()
    }

    async fn note(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.lock().notes.insert(key.to_owned(), bytes);
        Ok(())
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.lock().notes.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    async fn read_note(&self, key: &str) -> Result<Bytes> {
        self.lock().notes.get(key).cloned().ok_or_else(|| Error::not_found(format!("no note {key}")))
    }

    async fn drop_note(&self, key: &str) -> Result<()> {
        self.lock().notes.remove(key);
        Ok(())
    }
}

fn changed(name: &str) -> Error {
    Error::new(Kind::Stale, format!("{name} has changed since it was looked at")).with_hint("look again, then retry")
}
