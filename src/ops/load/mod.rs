//! Looks at a location whole: names, documents, blobs; decodes every version, named or dangling; adds up sizes.

mod assemble;
mod decode;
#[cfg(test)]
mod keyed_tests;
mod table;
#[cfg(test)]
mod tests;
mod version;

use crate::error::{Error, Kind, Result};
use crate::format::document;
use crate::model::cache::Form;
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{Blob, CacheIndex, Inventory, Need};
use crate::progress::Progress;
use crate::store::{DOCUMENT_LIMIT, Listing, Opaque, Reference, References, Store};
use bytes::Bytes;
use decode::Decoded;
use futures::StreamExt as _;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Documents fetched at a time, where a backend must be asked for each: enough to hide the way to a far server.
const PARALLEL: usize = 32;

/// Documents fetched at a time by their names: short ones, from stores that take many requests.
const BY_NAME: usize = 64;

/// Documents decoded in one go at most, where a name leads to each: handing over every single one costs more than it takes.
const AT_ONCE: usize = 16;

/// How often documents are asked for that others led to: indexes that name indexes. Real ones need two.
const ROUNDS: usize = 32;

/// How often a location is read anew when a build changes it meanwhile.
const TRIES: usize = 3;

/// What is kept of each version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// All, decoded.
    Caches,
    /// No layers and no records.
    Sums,
}

/// Versions as they are found, before sizes of all others are known: `cache` and what follows from it are still empty.
pub type Found = mpsc::Sender<Vec<CacheIndex>>;

/// Reads the location. Damage is told as findings; an error means that there is nothing to show.
///
/// `progress` counts blobs and their bytes.
pub async fn load(store: &Arc<dyn Store>, progress: &Progress) -> Result<Inventory> {
    load_keeping(store, progress, None, Keep::Caches).await
}

/// As [`load`], for whoever needs sums and states alone: no version has its `cache`, all else is the same. Of a large bucket
/// this takes a fraction of the memory.
pub async fn load_sums(store: &Arc<dyn Store>, progress: &Progress) -> Result<Inventory> {
    load_keeping(store, progress, None, Keep::Sums).await
}

/// As [`load`]; sends each version to `found` as soon as its manifest is read.
pub async fn load_showing(store: &Arc<dyn Store>, progress: &Progress, found: Option<Found>) -> Result<Inventory> {
    load_keeping(store, progress, found, Keep::Caches).await
}

async fn load_keeping(
    store: &Arc<dyn Store>,
    progress: &Progress,
    found: Option<Found>,
    keep: Keep,
) -> Result<Inventory> {
    let mut references = store.references().await?;
    for attempt in 1.. {
        let found = found.clone().filter(|_| attempt == 1);
        let past = store.past().await?;
        let seen = look(store, &references, past, Watch { progress, found, keep }).await?;
        // Names that can be read no more have changed, too: what was seen under them still stands.
        let now = store.references().await.ok();
        let changed = seen.changed || now.as_ref().is_none_or(|now| now.items != references.items);
        if !changed || attempt == TRIES {
            let (location, names) = (store.location().clone(), references.clone());
            let mut inventory = blocking(move || Ok(assemble::inventory(location, names.findings, seen, keep))).await?;
            inventory.details = store.details().await?;
            let lacks = [Need::Caches, Need::Contents].map(|need| store.lacks(need).map(|why| (need, why)));
            inventory.details.lacks.extend(lacks.into_iter().flatten());
            if !changed && !has_moved(store, &inventory).await {
                return Ok(inventory);
            }
            if attempt == TRIES {
                let message = "a build changed the location each time it was read".to_owned();
                inventory.warnings.push(Finding::new(Problem::Changed, None, message));
                inventory.complete = false;
                return Ok(inventory);
            }
        }
        references = now.unwrap_or(references);
    }
    Err(Error::new(Kind::Internal, "reading a location ended without a result"))
}

/// The manifest of `index` as it is written, or its bare config: at most `limit` bytes.
///
/// [`Kind::Stale`] if its name leads elsewhere by now, and nothing else leads to it.
pub async fn manifest(store: &Arc<dyn Store>, index: &CacheIndex, limit: u64) -> Result<Bytes> {
    if !store.capabilities().bare_configs {
        return store.read(&index.digest, limit).await;
    }
    let names = |mut all: Vec<Reference>, names: &[String]| {
        all.retain(|reference| names.contains(&reference.name));
        all
    };
    let mut candidates = names(store.references().await?.items, &index.tags);
    candidates.extend(names(store.past().await?.items, &index.formerly));
    for reference in candidates {
        let bytes = store.document(&reference, limit).await?;
        if Digest::of(&bytes) == index.digest {
            return Ok(bytes);
        }
    }
    let name = index.tags.iter().chain(&index.formerly).next().map_or("it", String::as_str);
    Err(Error::new(Kind::Stale, format!("{name} leads to another version by now")).with_hint("look again"))
}

/// Whether what was missing when blobs were listed is there by now, or what needs it is gone. A build writes layers before
/// the version that needs them, and a listing that takes a while may catch the one without the other.
async fn has_moved(store: &Arc<dyn Store>, inventory: &Inventory) -> bool {
    if !store.capabilities().list_blobs {
        return false;
    }
    let broken = || inventory.indexes.iter().filter(|i| !i.missing.is_empty());
    let missing: HashSet<Digest> = broken().flat_map(|i| &i.missing).copied().collect();
    // A bare config is no blob: its name would lead elsewhere, and names are looked at anyway.
    let blobs = broken().filter(|i| i.form != Some(Form::Config));
    let versions: Vec<Digest> = blobs.map(|i| i.digest).filter(|d| !missing.contains(d)).collect();
    let came = futures::stream::iter(missing).map(|digest| async move { store.stat(&digest).await.is_ok() });
    let went = futures::stream::iter(versions)
        .map(|digest| async move { store.stat(&digest).await.is_err_and(|e| e.kind() == Kind::NotFound) });
    // Versions last: whoever collects takes them away before their layers.
    let mut changes = came.buffer_unordered(PARALLEL).chain(went.buffer_unordered(PARALLEL));
    while let Some(changed) = changes.next().await {
        if changed {
            return true;
        }
    }
    false
}

/// A name, and what it turned out to lead to.
struct Named {
    reference: Reference,
    /// Of its document; of an unread one, something to know it by.
    digest: Digest,
    /// Whether the name leads there no more.
    past: bool,
    /// Why its document could not be read, where not even its digest is known.
    unread: Option<Error>,
}

/// All that was seen of a location in one pass.
struct Seen {
    /// Names with what they lead to, or led to.
    named: Vec<Named>,
    /// Whether names lead to bare configs.
    bare: bool,
    /// What could not be told of past versions.
    findings: Vec<Finding>,
    decoded: Decoded,
    /// Sorted, once all are there.
    blobs: Vec<Blob>,
    /// `None` where the backend can't list blobs: then none can be called orphan.
    listing: Option<Listing>,
    /// Whether something went away between being listed and being read.
    changed: bool,
}

/// Who looks on, and for what.
struct Watch<'a> {
    progress: &'a Progress,
    found: Option<Found>,
    keep: Keep,
}

async fn look(store: &Arc<dyn Store>, references: &References, past: References, watch: Watch<'_>) -> Result<Seen> {
    let Watch { progress, found, keep } = watch;
    let capabilities = store.capabilities();
    let mut seen = Seen {
        named: Vec::new(),
        bare: capabilities.bare_configs,
        findings: past.findings,
        decoded: Decoded::default(),
        blobs: Vec::new(),
        listing: None,
        changed: false,
    };
    // What names lead to comes first: that is what people look for.
    let current = references.items.iter().map(|r| (r.clone(), false));
    let all = current.chain(past.items.into_iter().map(|r| (r, true)));
    let (digests, names): (Vec<_>, Vec<_>) = all.partition(|(reference, _)| reference.digest.is_some());
    for (reference, past) in digests {
        if let Some(digest) = reference.digest {
            seen.named.push(Named { reference, digest, past, unread: None });
        }
    }
    let mut scan = None;
    if capabilities.list_blobs && !capabilities.find_dangling {
        // A listing that looks into no blob learns nothing from what names lead to, so it need not wait. What a version needs
        // was there before its name was listed, and whether names were led elsewhere since is asked afterwards.
        scan = Some(Scan::begin(store, progress, Arc::default()));
    }
    let named = seen.named.iter().map(|n| n.digest).collect();
    fetch(store, &mut seen.decoded, named, progress).await?;
    fetch_named(store, &mut seen, names, progress, keep).await?;
    show(&found, || assemble::preview_named(&seen)).await;
    let opaque = Arc::new(Opaque::default());
    if capabilities.list_blobs && scan.is_none() {
        opaque.extend(seen.decoded.layers());
        scan = Some(Scan::begin(store, progress, opaque.clone()));
    }
    if let Some(mut scan) = scan {
        let mut decoding = JoinSet::new();
        while let Some(documents) = scan.documents.recv().await {
            if decoding.len() >= cores()
                && let Some(done) = decoding.join_next().await
            {
                take_in(&mut seen, done.map_err(broke_off)?, &found).await;
            }
            let opaque = opaque.clone();
            decoding.spawn_blocking(move || {
                let decoded = Decoded::read(&documents);
                opaque.extend(decoded.layers());
                decoded
            });
        }
        while let Some(done) = decoding.join_next().await {
            take_in(&mut seen, done.map_err(broke_off)?, &found).await;
        }
        let (blobs, listing) = scan.task.await.map_err(broke_off)??;
        (seen.blobs, seen.listing) = (blobs, Some(listing));
    }
    // What is left was too long to be found by looking, or can't be listed: it is asked for by name.
    let is_listed = seen.listing.is_some();
    for round in 0.. {
        progress.check()?;
        let mut wanted = seen.decoded.wanted();
        wanted.retain(|d| !is_listed || table::position(&seen.blobs, d).is_some());
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
    let has_come = |digest| table::position(&seen.blobs, &digest).is_some();
    seen.changed |= is_listed && seen.decoded.absent().any(has_come);
    Ok(seen)
}

/// A listing of blobs on its way. Dropping it stops it.
struct Scan {
    /// Documents among them, as they are found.
    documents: mpsc::Receiver<Vec<(Digest, Bytes)>>,
    /// Ends with the blobs, sorted.
    task: AbortOnDropHandle<Result<(Vec<Blob>, Listing)>>,
}

impl Scan {
    /// Begins it; blobs that are `opaque` are no documents.
    fn begin(store: &Arc<dyn Store>, progress: &Progress, opaque: Arc<Opaque>) -> Self {
        let (store, progress) = (store.clone(), progress.clone());
        let (sender, mut batches) = mpsc::channel(8);
        let (found, documents) = mpsc::channel(8);
        let lister = tokio::spawn(async move { store.blobs(&progress, &opaque, sender).await });
        let lister = AbortOnDropHandle::new(lister);
        let task = tokio::spawn(async move {
            let mut blobs = Vec::new();
            while let Some(batch) = batches.recv().await {
                blobs.extend(batch.iter().map(table::listed));
                let batch: Vec<_> = batch.into_iter().filter_map(|b| b.document.map(|d| (b.digest, d))).collect();
                if !batch.is_empty() && found.send(batch).await.is_err() {
                    return Err(Error::cancelled());
                }
            }
            let listing = lister.await.map_err(broke_off)??;
            table::in_order(&mut blobs);
            Ok((blobs, listing))
        });
        Self { documents, task: AbortOnDropHandle::new(task) }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

async fn take_in(seen: &mut Seen, batch: Decoded, found: &Option<Found>) {
    show(found, || assemble::preview_dangling(seen, &batch)).await;
    seen.decoded.merge(batch);
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

/// Reads documents by name, where only that leads to them.
async fn fetch_named(
    store: &Arc<dyn Store>,
    seen: &mut Seen,
    names: Vec<(Reference, bool)>,
    progress: &Progress,
    keep: Keep,
) -> Result<()> {
    // Only a config that is a version itself may be given up for its sums: others fill in what a manifest says.
    let keep = if seen.bare { keep } else { Keep::Caches };
    let mut long = Vec::new();
    let mut decoding = JoinSet::new();
    let reads = futures::stream::iter(names)
        .map(|(reference, past)| async move {
            let read = store.document(&reference, DOCUMENT_LIMIT).await;
            (reference, past, read)
        })
        .buffer_unordered(BY_NAME);
    let mut reads = reads.ready_chunks(AT_ONCE);
    while let Some(chunk) = reads.next().await {
        progress.check()?;
        let mut whole = Vec::with_capacity(chunk.len());
        for (reference, past, read) in chunk {
            match read {
                Ok(bytes) => whole.push((reference, past, bytes)),
                Err(error) if error.kind() == Kind::Invalid => long.push((reference, past)),
                Err(error) => lost(seen, reference, past, error)?,
            }
        }
        if whole.is_empty() {
            continue;
        }
        if decoding.len() >= cores()
            && let Some(done) = decoding.join_next().await
        {
            seen.take_named(done.map_err(broke_off)?);
        }
        decoding.spawn_blocking(move || Names::decode(whole, keep));
    }
    drop(reads);
    while let Some(done) = decoding.join_next().await {
        seen.take_named(done.map_err(broke_off)?);
    }
    for (reference, past) in long {
        progress.check()?;
        match store.document(&reference, document::LIMIT).await {
            Ok(bytes) => {
                let whole = vec![(reference, past, bytes)];
                seen.take_named(blocking(move || Ok(Names::decode(whole, keep))).await?);
            }
            Err(error) => lost(seen, reference, past, error)?,
        }
    }
    Ok(())
}

/// Names whose documents were read, and those, decoded.
struct Names {
    named: Vec<Named>,
    decoded: Decoded,
}

impl Names {
    /// Of names, each with whether it leads there no more, and with its document.
    fn decode(all: Vec<(Reference, bool, Bytes)>, keep: Keep) -> Self {
        let mut decoded = Decoded::default();
        let mut named = Vec::with_capacity(all.len());
        for (reference, past, bytes) in all {
            let digest = Digest::of(&bytes);
            decoded.add(digest, &bytes);
            // One by one, so that there is never more than one of them whole.
            if keep == Keep::Sums {
                decoded.add_up();
            }
            named.push(Named { reference, digest, past, unread: None });
        }
        Self { named, decoded }
    }
}

impl Seen {
    fn take_named(&mut self, names: Names) {
        self.decoded.merge(names.decoded);
        self.named.extend(names.named);
    }
}

/// Takes note of a name whose document could not be read.
fn lost(seen: &mut Seen, reference: Reference, past: bool, error: Error) -> Result<()> {
    match error.kind() {
        Kind::Cancelled => return Err(error),
        // It was listed a moment ago, so a build wrote it again or took it away; of the past nothing is promised.
        Kind::NotFound | Kind::Stale => seen.changed |= !past,
        _ => {
            let known_by = (&reference.name, &reference.version, past);
            let digest = Digest::of(format!("{known_by:?}").as_bytes());
            seen.named.push(Named { reference, digest, past, unread: Some(error) });
        }
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
