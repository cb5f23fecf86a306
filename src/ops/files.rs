//! Looks into one layer: lists it, shows or writes out one file, extracts a file or directory. A layer can only be read
//! from its beginning, so each of these reads the blob, and stops as soon as it has what it needs.
//!
//! Reading runs on threads for blocking work, fed from the store's stream. It ends soon after the user stops it or the
//! caller drops the future. Only [`extract`] writes to disks.

pub mod content;
pub mod extract;
pub mod merge;
mod staging;

use crate::error::{Error, Kind, Result};
use crate::format::layer::{LayerReader, Limits, Stop};
use crate::model::cache::Compression;
use crate::model::digest::Digest;
use crate::model::files::{Ending, Entry};
use crate::progress::Progress;
use crate::store::{BlobReader, Store};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Entries in a batch at most.
const BATCH: usize = 1024;
/// A batch is sent at least this often while entries come.
const BATCH_TIME: Duration = Duration::from_millis(50);
/// Before content of this many bytes is skipped, what was read is sent: skipping may take a while.
const LONG: u64 = 4 << 20;

/// One layer of a store, to look into.
#[derive(Clone)]
pub struct LayerFiles {
    store: Arc<dyn Store>,
    digest: Digest,
    limits: Limits,
}

/// What one entry is meant by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its name; a leading `/` or `./` makes no difference.
    pub path: Vec<u8>,
    /// Its [`Entry::number`], where a listing told it. Then the layer is read up to there, else to its end: of several
    /// entries with one name the last counts.
    pub number: Option<u32>,
}

impl Pick {
    /// By name alone.
    pub fn path(path: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), number: None }
    }

    /// An entry that a listing told of.
    pub fn entry(path: impl Into<Vec<u8>>, number: u32) -> Self {
        Self { path: path.into(), number: Some(number) }
    }
}

/// A layer that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// How it is packed, by its content.
    pub compression: Compression,
    /// Entries sent.
    pub entries: u64,
    /// Bytes of the tar.
    pub unpacked: u64,
    /// Whether that was all.
    pub ending: Ending,
}

impl LayerFiles {
    /// The layer whose blob has this digest.
    pub fn new(store: Arc<dyn Store>, digest: Digest) -> Self {
        Self { store, digest, limits: Limits::default() }
    }

    /// With other bounds than [`Limits::default`].
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The blob's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Sends all entries into `batches`, in the order of the layer. Adds entries and bytes of the blob to `progress`;
    /// the caller, who knows the blob's size, says what to expect. Damage and bounds are no errors: they are the
    /// listing's [`Ending`], and what came before is good. Errors: those of [`Store::open`], [`Kind::Cancelled`].
    pub async fn list(&self, progress: &Progress, batches: mpsc::Sender<Vec<Entry>>) -> Result<Listing> {
        self.read(progress, move |layer| layer.list(&batches)).await
    }

    /// Runs `job` with the opened layer where blocking is allowed. It is stopped when this future is dropped.
    pub(super) async fn read<T, F>(&self, progress: &Progress, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut OpenLayer) -> Result<T> + Send + 'static,
    {
        let stop = progress.token().child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let opened = stop.run_until_cancelled(self.store.open(&self.digest)).await;
        let blob = opened.ok_or_else(Error::cancelled)??;
        let (digest, limits, progress, handle) = (self.digest, self.limits, progress.clone(), Handle::current());
        let work = tokio::task::spawn_blocking(move || {
            let bridge = Bridge { blob, handle: handle.clone(), stop: stop.clone(), progress: progress.clone() };
            let reader = LayerReader::new(bridge, limits, &progress);
            job(&mut OpenLayer { reader, digest, handle, stop, progress })
        });
        work.await.map_err(|e| Error::new(Kind::Internal, format!("reading layer {}", self.digest)).with_source(e))?
    }
}

/// A layer on a thread for blocking work.
pub(super) struct OpenLayer {
    reader: LayerReader<Bridge>,
    digest: Digest,
    handle: Handle,
    stop: CancellationToken,
    progress: Progress,
}

impl OpenLayer {
    /// The next entry, or how the layer ended.
    pub(super) fn next_entry(&mut self) -> Result<std::result::Result<Entry, Ending>> {
        match self.reader.next_entry() {
            Ok(Some(entry)) => {
                self.progress.add(1, 0);
                Ok(Ok(entry))
            }
            Ok(None) => Ok(Err(Ending::Complete)),
            Err(stop) => stop.ending().map(Err),
        }
    }

    fn list(&mut self, batches: &mpsc::Sender<Vec<Entry>>) -> Result<Listing> {
        let mut batch = Vec::new();
        let mut sent = Instant::now();
        let mut entries = 0;
        let ending = loop {
            match self.next_entry()? {
                Ok(entry) => {
                    let is_long = entry.size >= LONG;
                    batch.push(entry);
                    entries += 1;
                    if batch.len() >= BATCH || is_long || sent.elapsed() >= BATCH_TIME {
                        self.send(batches, std::mem::take(&mut batch))?;
                        sent = Instant::now();
                    }
                }
                Err(ending) => break ending,
            }
        };
        if !batch.is_empty() {
            self.send(batches, batch)?;
        }
        let (compression, unpacked) = (self.reader.compression(), self.reader.unpacked());
        Ok(Listing { compression, entries, unpacked, ending })
    }

    /// Waits until there is room. Nobody listening any more counts as being stopped.
    fn send(&self, batches: &mpsc::Sender<Vec<Entry>>, batch: Vec<Entry>) -> Result<()> {
        let sent = self.handle.block_on(self.stop.run_until_cancelled(batches.send(batch)));
        sent.and_then(std::result::Result::ok).ok_or_else(Error::cancelled)
    }

    /// The error for somebody who needs content that could not be read to its end.
    fn broken(&self, error: io::Error) -> Error {
        match Stop::from_io(error).ending() {
            Ok(ending) => ending.error(&self.digest).unwrap_or_else(Error::cancelled),
            Err(cancelled) => cancelled,
        }
    }
}

/// The store's stream for a thread that may block. Unlike [`tokio_util::io::SyncIoBridge`] it can be stopped while it
/// waits for bytes.
pub(super) struct Bridge {
    blob: BlobReader,
    handle: Handle,
    stop: CancellationToken,
    progress: Progress,
}

impl Bridge {
    /// Bytes of `blob` for a thread of `handle`'s runtime that may block. What is read counts as progress.
    pub(super) fn new(blob: BlobReader, handle: Handle, progress: &Progress) -> Self {
        Self { blob, handle, stop: progress.token().clone(), progress: progress.clone() }
    }
}

impl Read for Bridge {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.handle.block_on(self.stop.run_until_cancelled(self.blob.read(into)));
        let read = read.ok_or(Stop::Cancelled)??;
        self.progress.add(0, read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
