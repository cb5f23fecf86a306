//! A store in memory whose listings and reads are tampered with, to bring about in a fixed order what else depends on
//! chance.

use async_trait::async_trait;
use bytes::Bytes;
use cachedeck::error::{Error, Kind, Result};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::progress::Progress;
use cachedeck::store::memory::Memory;
use cachedeck::store::{BlobEntry, BlobReader, Capabilities, Listing, Opaque, Reference, References, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// What becomes of an entry in the listing of this number, from 1.
type Entry = Box<dyn Fn(usize, BlobEntry) -> Option<BlobEntry> + Send + Sync>;
/// What happens after the listing of this number.
type After = Box<dyn Fn(usize, &Memory) + Send + Sync>;

/// A tampered store.
pub struct Tampered {
    inside: Memory,
    refused: Option<(Digest, Kind)>,
    entry: Entry,
    after: After,
    /// How often blobs were listed.
    pub listings: AtomicUsize,
}

impl Tampered {
    /// One that is still honest.
    pub fn new(inside: Memory) -> Self {
        let (entry, after): (Entry, After) = (Box::new(|_, entry| Some(entry)), Box::new(|_, _| ()));
        Self { inside, refused: None, entry, after, listings: AtomicUsize::new(0) }
    }

    /// One that lists this blob, but fails to read it.
    pub fn refusing(mut self, refused: Digest, kind: Kind) -> Self {
        self.refused = Some((refused, kind));
        self
    }

    /// One whose listings bring other entries than there are.
    pub fn listing(mut self, entry: impl Fn(usize, BlobEntry) -> Option<BlobEntry> + Send + Sync + 'static) -> Self {
        self.entry = Box::new(entry);
        self
    }

    /// One that changes after each listing.
    pub fn changing(mut self, after: impl Fn(usize, &Memory) + Send + Sync + 'static) -> Self {
        self.after = Box::new(after);
        self
    }
}

#[async_trait]
impl Store for Tampered {
    fn location(&self) -> &Location {
        self.inside.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inside.capabilities()
    }

    async fn references(&self) -> Result<References> {
        self.inside.references().await
    }

    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        self.inside.document(reference, limit).await
    }

    async fn blobs(
        &self,
        progress: &Progress,
        opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        let number = self.listings.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, mut receiver) = mpsc::channel::<Vec<BlobEntry>>(1);
        let unread = |entry: &mut BlobEntry| {
            if self.refused.is_some_and(|(refused, _)| refused == entry.digest) {
                entry.document = None;
            }
        };
        let tamper = async {
            while let Some(mut batch) = receiver.recv().await {
                batch.iter_mut().for_each(unread);
                let _ = batches.send(batch.into_iter().filter_map(|e| (self.entry)(number, e)).collect()).await;
            }
        };
        let (listing, ()) = tokio::join!(self.inside.blobs(progress, opaque, sender), tamper);
        (self.after)(number, &self.inside);
        listing
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.inside.stat(digest).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        match self.refused {
            Some((refused, kind)) if refused == *digest => {
                Err(Error::new(kind, format!("reading blob {digest}: refused")))
            }
            _ => self.inside.open(digest).await,
        }
    }
}
