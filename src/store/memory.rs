//! The reference implementation and test double: a store in memory that holds the contract to the letter, stricter than
//! any real backend. It never touches a disk or a network.

use super::{
    BlobEntry, BlobReader, Capabilities, DOCUMENT_LIMIT, Expected, Frees, Listing, Opaque, Reference, References, Store,
};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::location::Location;
use crate::model::usage::UsageRecord;
use crate::progress::Progress;
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

#[derive(Debug, Default)]
struct Contents {
    blobs: BTreeMap<Digest, Bytes>,
    hidden: BTreeMap<Digest, Bytes>,
    names: BTreeMap<String, Digest>,
    usage: Vec<UsageRecord>,
}

/// A store in memory.
#[derive(Debug)]
pub struct Memory {
    location: Location,
    contents: Mutex<Contents>,
}

impl Memory {
    /// An empty store that says it is at `location`.
    pub fn new(location: Location) -> Self {
        Self { location, contents: Mutex::default() }
    }

    /// Puts a blob under the digest it has. For tests: [`Store::put`] checks, this computes.
    pub fn insert(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.lock().blobs.insert(digest, bytes);
        digest
    }

    /// Puts bytes under any digest, right or wrong. For tests of damage.
    pub fn insert_as(&self, digest: Digest, bytes: impl Into<Bytes>) {
        self.lock().blobs.insert(digest, bytes.into());
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
        // No code panics while it holds the lock, and the maps are whole between any two statements.
        self.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn blob(&self, digest: &Digest) -> Result<Bytes> {
        self.lock().blobs.get(digest).cloned().ok_or_else(|| Error::not_found(format!("no blob {digest}")))
    }
}

fn entry(digest: Digest, bytes: &Bytes) -> BlobEntry {
    let document = bytes.len() as u64 <= DOCUMENT_LIMIT && bytes.trim_ascii_start().starts_with(b"{");
    BlobEntry { digest, size: bytes.len() as u64, modified: None, document: document.then(|| bytes.clone()) }
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
            usage: true,
            frees: Frees::Exactly,
        }
    }

    async fn references(&self) -> Result<References> {
        let contents = self.lock();
        let reference = |(name, digest): (&String, &Digest)| Reference {
            name: name.clone(),
            digest: Some(*digest),
            size: contents.blobs.get(digest).map(|b| b.len() as u64),
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
        let all: Vec<BlobEntry> = self.lock().blobs.iter().map(|(digest, bytes)| entry(*digest, bytes)).collect();
        // Small batches, so that readers which expect a single one fail here and not on a large cache.
        for batch in all.chunks(3) {
            progress.check()?;
            progress.add(batch.len() as u64, batch.iter().map(|b| b.size).sum());
            batches.send(batch.to_vec()).await.map_err(|_| Error::cancelled())?;
        }
        Ok(Listing { complete: true, ..Listing::default() })
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.blob(digest).map(|bytes| BlobEntry { document: None, ..entry(*digest, &bytes) })
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        Ok(Box::new(std::io::Cursor::new(self.blob(digest)?)))
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
        self.lock().blobs.insert(*digest, bytes.into());
        Ok(())
    }

    async fn publish(&self, name: &str, digest: &Digest, needs: &[Digest], expected: Expected) -> Result<()> {
        let mut contents = self.lock();
        if let Some(missing) = needs.iter().chain([digest]).find(|d| !contents.blobs.contains_key(d)) {
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
        contents.names.insert(name.to_owned(), *digest);
        Ok(())
    }

    async fn remove(&self, name: &str, version: &str) -> Result<()> {
        let mut contents = self.lock();
        if contents.names.get(name).is_some_and(|is| is.to_string() != version) {
            return Err(changed(name));
        }
        contents.names.remove(name);
        Ok(())
    }

    async fn hide(&self, digests: &[Digest]) -> Result<()> {
        let mut contents = self.lock();
        for digest in digests {
            if let Some(bytes) = contents.blobs.remove(digest) {
                contents.hidden.insert(*digest, bytes);
            }
        }
        Ok(())
    }

    async fn restore(&self, digests: &[Digest]) -> Result<()> {
        let mut contents = self.lock();
        for digest in digests {
            if let Some(bytes) = contents.hidden.remove(digest) {
                contents.blobs.entry(*digest).or_insert(bytes);
            }
        }
        Ok(())
    }
}

fn changed(name: &str) -> Error {
    Error::new(Kind::Stale, format!("{name} has changed since it was looked at")).with_hint("look again, then retry")
}
