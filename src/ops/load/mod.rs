//! Looks at a location whole: names, documents, blobs; decodes every version, named or dangling; adds up sizes.

mod assemble;
mod decode;
mod table;
#[cfg(test)]
mod tests;
mod version;

use crate::error::{Error, Kind, Result};
use crate::format::document;
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{CacheIndex, Inventory};
use crate::progress::Progress;
use crate::store::{BlobEntry, DOCUMENT_LIMIT, Listing, Opaque, References, Store};
use bytes::Bytes;
use decode::Decoded;
use futures::StreamExt as _;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Documents fetched at a time, where a backend must be asked for each.
const PARALLEL: usize = 16;

/// How often documents are asked for that others led to: indexes that name indexes. Real ones need two.
const ROUNDS: usize = 32;

/// How often a location is read anew when a build changes it meanwhile.
const TRIES: usize = 3;

/// Versions as they are found, before sizes of all others are known: `cache` and what follows from it are still empty.
pub type Found = mpsc::Sender<Vec<CacheIndex>>;

/// Reads the location. Damage is told as findings; an error means that there is nothing to show.
///
/// `progress` counts blobs and their bytes.
pub async fn load(store: &Arc<dyn Store>, progress: &Progress) -> Result<Inventory> {
    load_showing(store, progress, None).await
}

/// As [`load`]; sends each version to `found` as soon as its manifest is read.
pub async fn load_showing(store: &Arc<dyn Store>, progress: &Progress, found: Option<Found>) -> Result<Inventory> {
    let mut references = store.references().await?;
    for attempt in 1.. {
        let found = found.clone().filter(|_| attempt == 1);
        let seen = look(store, &references, progress, found).await?;
        let now = store.references().await?;
        let changed = now.items != references.items;
        if changed && attempt < TRIES {
            references = now;
            continue;
        }
        let location = store.location().clone();
        let mut inventory = blocking(move || Ok(assemble::inventory(location, references, seen))).await?;
        if changed {
            let message = "a build changed the location each time it was read".to_owned();
            inventory.warnings.push(Finding::new(Problem::Changed, None, message));
            inventory.complete = false;
        }
        return Ok(inventory);
    }
    Err(Error::new(Kind::Internal, "reading a location ended without a result"))
}

/// All that was seen of a location in one pass.
struct Seen {
    decoded: Decoded,
    blobs: Vec<BlobEntry>,
    /// `None` where the backend can't list blobs: then none can be called orphan.
    listing: Option<Listing>,
}

async fn look(
    store: &Arc<dyn Store>,
    references: &References,
    progress: &Progress,
    found: Option<Found>,
) -> Result<Seen> {
    let mut seen = Seen { decoded: Decoded::default(), blobs: Vec::new(), listing: None };
    // What names lead to comes first: that is what people look for.
    let named = references.items.iter().filter_map(|r| r.digest).collect();
    fetch(store, &mut seen.decoded, named, progress).await?;
    show(&found, || assemble::preview_named(references, &seen.decoded)).await;
    if store.capabilities().list_blobs {
        let (sender, mut batches) = mpsc::channel(8);
        let (lister, counter) = (store.clone(), progress.clone());
        let opaque = Arc::new(Opaque::default());
        opaque.extend(seen.decoded.layers());
        let known = opaque.clone();
        let lister = tokio::spawn(async move { lister.blobs(&counter, &known, sender).await });
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let mut decoding = JoinSet::new();
        while let Some(mut batch) = batches.recv().await {
            let documents: Vec<_> = batch.iter_mut().filter_map(|b| b.document.take().map(|d| (b.digest, d))).collect();
            seen.blobs.append(&mut batch);
            if decoding.len() >= cores
                && let Some(done) = decoding.join_next().await
            {
                take_in(&mut seen.decoded, done.map_err(broke_off)?, references, &found).await;
            }
            if !documents.is_empty() {
                let opaque = opaque.clone();
                decoding.spawn_blocking(move || {
                    let decoded = Decoded::read(&documents);
                    opaque.extend(decoded.layers());
                    decoded
                });
            }
        }
        while let Some(done) = decoding.join_next().await {
            take_in(&mut seen.decoded, done.map_err(broke_off)?, references, &found).await;
        }
        seen.listing = Some(lister.await.map_err(broke_off)??);
    }
    // What is left was too long to be found by looking, or can't be listed: it is asked for by name.
    let present: Option<HashSet<Digest>> = seen.listing.as_ref().map(|_| seen.blobs.iter().map(|b| b.digest).collect());
    for round in 0.. {
        progress.check()?;
        let mut wanted = seen.decoded.wanted();
        wanted.retain(|d| present.as_ref().is_none_or(|p| p.contains(d)));
        if wanted.is_empty() {
            break;
        }
        if round == ROUNDS {
            let fault = || Error::corrupt(format!("indexes name indexes more than {ROUNDS} deep"));
            wanted.into_iter().for_each(|d| seen.decoded.fail(d, fault()));
            break;
        }
        fetch(store, &mut seen.decoded, wanted, progress).await?;
    }
    Ok(seen)
}

async fn take_in(decoded: &mut Decoded, batch: Decoded, references: &References, found: &Option<Found>) {
    show(found, || assemble::preview_dangling(references, &batch)).await;
    decoded.merge(batch);
}

async fn show(found: &Option<Found>, rows: impl FnOnce() -> Vec<CacheIndex>) {
    if let Some(found) = found {
        let rows = rows();
        if !rows.is_empty() {
            // Nobody looking any more is no reason to stop: whoever asked still gets the whole.
            let _ = found.send(rows).await;
        }
    }
}

/// Reads documents by digest; each ends up decoded, absent or failed in `decoded`. Long ones are read one at a time, so
/// that many of them take no more memory than one.
async fn fetch(store: &Arc<dyn Store>, decoded: &mut Decoded, wanted: Vec<Digest>, progress: &Progress) -> Result<()> {
    let mut long = Vec::new();
    let mut reads = futures::stream::iter(wanted)
        .map(|digest| async move { (digest, store.read(&digest, DOCUMENT_LIMIT).await) })
        .buffer_unordered(PARALLEL);
    while let Some((digest, read)) = reads.next().await {
        progress.check()?;
        match read {
            Err(error) if error.kind() == Kind::Invalid => long.push(digest),
            read => take(decoded, digest, read).await?,
        }
    }
    drop(reads);
    for digest in long {
        progress.check()?;
        take(decoded, digest, store.read(&digest, document::LIMIT).await).await?;
    }
    Ok(())
}

/// Decodes what reading a document gave.
async fn take(decoded: &mut Decoded, digest: Digest, read: Result<Bytes>) -> Result<()> {
    match read {
        Ok(bytes) => decoded.merge(blocking(move || Ok(Decoded::read(&[(digest, bytes)]))).await?),
        Err(error) if error.kind() == Kind::Cancelled => return Err(error),
        Err(error) => decoded.fail(digest, error),
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(broke_off)?
}

fn broke_off(error: tokio::task::JoinError) -> Error {
    if error.is_cancelled() {
        return Error::cancelled();
    }
    Error::new(Kind::Internal, "a task of loading broke off").with_source(error)
}
