//! Lists a layout's blobs on all cores. Small files that begin like JSON are read whole: only so are the versions found
//! that no tag names. Anything in the folder that is not a blob is told, and never opened.

use super::{Folder, READ, blocking, failed, folder_at, modified};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::Leftover;
use crate::progress::Progress;
use crate::store::{BlobEntry, DOCUMENT_LIMIT, Listing, Opaque};
use rustix::fd::OwnedFd;
use rustix::fs::{self as sys, AtFlags, Dir, FileType, Mode};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Blobs in a batch: enough to make a channel's cost vanish, few enough to show rows at once.
const BATCH: usize = 256;

/// What tells a JSON object from a packed layer.
const SNIFF: usize = 512;

/// Lists everything; see [`crate::store::Store::blobs`].
pub(super) async fn scan(
    folder: &Arc<Folder>,
    progress: &Progress,
    opaque: &Arc<Opaque>,
    batches: mpsc::Sender<Vec<BlobEntry>>,
) -> Result<Listing> {
    let names = {
        let folder = folder.clone();
        blocking(move || names(&folder)).await?
    };
    let mut listing = names.listing;
    progress.expect(names.digests.len() as u64, 0);
    let digests = Arc::new(names.digests);
    let next = Arc::new(AtomicUsize::new(0));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let workers: Vec<_> = (0..workers)
        .map(|_| {
            let work = Worker {
                folder: folder.clone(),
                digests: digests.clone(),
                next: next.clone(),
                progress: progress.clone(),
                opaque: opaque.clone(),
            };
            let batches = batches.clone();
            blocking(move || work.run(&batches))
        })
        .collect();
    for findings in futures::future::try_join_all(workers).await? {
        listing.findings.extend(findings);
    }
    listing.complete &= !listing.findings.iter().any(|f| f.problem == Problem::Unreadable);
    listing.findings.sort_by(|a, b| (a.digest, &a.message).cmp(&(b.digest, &b.message)));
    Ok(listing)
}

struct Names {
    digests: Vec<Digest>,
    listing: Listing,
}

fn names(folder: &Folder) -> Result<Names> {
    let mut names = Names { digests: Vec::new(), listing: Listing { complete: true, ..Listing::default() } };
    let findings = &mut names.listing.findings;
    if let Some(blobs) = folder.blobs()? {
        for (name, kind) in entries(blobs, "blobs/sha256")? {
            match (Digest::from_hex(&name), kind) {
                (Ok(digest), FileType::RegularFile) => names.digests.push(digest),
                (Ok(_), kind) => findings.push(stray(&format!("blobs/sha256/{name}"), kind)),
                (Err(_), _) => findings.push(Finding::new(
                    Problem::Stray,
                    None,
                    format!("blobs/sha256/{name} is no blob: its name is not a digest"),
                )),
            }
        }
    }
    if let Some(blobs) = folder_at(&folder.root, "blobs")? {
        for (name, kind) in entries(&blobs, "blobs")?.into_iter().filter(|(name, _)| name != "sha256") {
            let message = format!("blobs/{name} is not read: BuildKit writes sha256 only");
            findings.push(Finding::new(Problem::Stray, None, message));
            // It may hold blobs under another algorithm's digests, and what those need.
            names.listing.complete &= kind != FileType::Directory;
        }
    }
    match leftovers(folder) {
        Ok(leftovers) => names.listing.leftovers = leftovers,
        // No reason not to show the cache.
        Err(error) => {
            let message = format!("unfinished uploads can't be looked at: {error}");
            findings.push(Finding::new(Problem::Unreadable, None, message));
        }
    }
    Ok(names)
}

/// Names and file types in a folder. Types that the file system does not tell are asked for.
pub(super) fn entries(folder: &OwnedFd, shown: &str) -> Result<Vec<(String, FileType)>> {
    let what = || format!("listing {shown}");
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder).map_err(|e| failed(what(), e))? {
        let entry = entry.map_err(|e| failed(what(), e))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match sys::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(what(), errno)),
            },
            known => known,
        };
        entries.push((name.to_string_lossy().into_owned(), kind));
    }
    Ok(entries)
}

fn stray(path: &str, kind: FileType) -> Finding {
    let message = format!("{path} is {}, not a blob; it is not opened", super::kind(kind));
    Finding::new(Problem::Stray, None, message)
}

/// Uploads in `ingest/`, each a folder of small files.
fn leftovers(folder: &Folder) -> Result<Vec<Leftover>> {
    let Some(ingest) = folder_at(&folder.root, "ingest")? else { return Ok(Vec::new()) };
    let mut leftovers = Vec::new();
    for (name, kind) in entries(&ingest, "ingest")? {
        let mut leftover = Leftover { name: name.clone(), bytes: 0, modified: None };
        // An upload may end while it is looked at: what is gone is not a leftover.
        let Ok(stat) = sys::statat(&ingest, &*name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        leftover.modified = modified(&stat);
        if kind == FileType::Directory {
            let Ok(Some(upload)) = folder_at(&ingest, &name) else { continue };
            for (file, _) in entries(&upload, "ingest")? {
                let Ok(stat) = sys::statat(&upload, &*file, AtFlags::SYMLINK_NOFOLLOW) else { continue };
                leftover.bytes = leftover.bytes.saturating_add(stat.st_size as u64);
                leftover.modified = leftover.modified.max(modified(&stat));
            }
        } else {
            leftover.bytes = stat.st_size as u64;
        }
        leftovers.push(leftover);
    }
    leftovers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(leftovers)
}

/// Takes batches of names off a shared list until none are left.
struct Worker {
    folder: Arc<Folder>,
    digests: Arc<Vec<Digest>>,
    next: Arc<AtomicUsize>,
    progress: Progress,
    opaque: Arc<Opaque>,
}

impl Worker {
    fn run(&self, batches: &mpsc::Sender<Vec<BlobEntry>>) -> Result<Vec<Finding>> {
        let Some(blobs) = self.folder.blobs()? else { return Ok(Vec::new()) };
        let mut findings = Vec::new();
        loop {
            self.progress.check()?;
            let from = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(rest) = self.digests.get(from..) else { return Ok(findings) };
            if rest.is_empty() {
                return Ok(findings);
            }
            let mut batch = Vec::with_capacity(BATCH);
            let mut bytes = 0;
            for digest in rest.iter().take(BATCH) {
                if let Some(entry) = self.look(blobs, digest, &mut findings) {
                    bytes = u64::saturating_add(bytes, entry.size);
                    batch.push(entry);
                }
            }
            self.progress.add(batch.len() as u64, bytes);
            batches.blocking_send(batch).map_err(|_| Error::cancelled())?;
        }
    }

    /// Size and, for what may be a document, content of a blob. A blob that is gone by now is left out.
    fn look(&self, blobs: &OwnedFd, digest: &Digest, findings: &mut Vec<Finding>) -> Option<BlobEntry> {
        let name = digest.hex();
        let mut unreadable = |error: std::io::Error| {
            let message = format!("blob {digest} can't be looked at: {error}");
            findings.push(Finding::new(Problem::Unreadable, Some(*digest), message));
        };
        let stat = match sys::statat(blobs, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => stat,
            Ok(_) | Err(Errno::NOENT) => return None,
            Err(errno) => {
                unreadable(errno.into());
                return None;
            }
        };
        self.folder.links.look(digest, &stat);
        let size = stat.st_size as u64;
        let mut entry = BlobEntry { digest: *digest, size, modified: modified(&stat), document: None };
        if (1..=DOCUMENT_LIMIT).contains(&size) && !self.opaque.contains(digest) {
            match sys::openat(blobs, &*name, READ, Mode::empty()) {
                // What can't be read may be a version: its size still counts, but that stays open.
                Ok(file) => {
                    entry.document = document(File::from(file), size).unwrap_or_else(|e| {
                        unreadable(e);
                        None
                    })
                }
                Err(Errno::NOENT | Errno::LOOP) => return None,
                Err(errno) => unreadable(errno.into()),
            }
        }
        Some(entry)
    }
}

/// The whole file, if it begins like a JSON object.
fn document(mut file: File, size: u64) -> std::io::Result<Option<bytes::Bytes>> {
    let mut head = [0; SNIFF];
    let read = file.read(&mut head)?;
    // One that begins with nothing but blanks may still be one.
    if head[..read].trim_ascii_start().first().is_some_and(|b| *b != b'{') {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(size as usize);
    bytes.extend_from_slice(&head[..read]);
    file.take(DOCUMENT_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes.trim_ascii_start().starts_with(b"{").then(|| bytes.into()))
}
