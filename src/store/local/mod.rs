//! `type=local`: an OCI image layout in a folder, as BuildKit's local exporter writes it.
//!
//! Reading creates, locks and touches no file, so looking at a cache can never disturb a build that writes to it. What changes
//! a cache is in files of its own: blobs are hidden and brought back (`attic.rs`), stored (`write.rs`, `take.rs`), `index.json` is edited
//! beside builds that edit it, too (`index_edit.rs`), uploads that never finished are given up (`leftovers.rs`), and what we
//! need for that is in `.cachedeck/` (`area.rs`, `notes.rs`). All of it names single files in open folders, never paths.

mod area;
mod attic;
mod calls;
#[cfg(test)]
mod faults;
mod index_edit;
mod index_json;
mod leftovers;
mod links;
mod make;
mod notes;
mod reviews;
mod scan;
mod take;
#[cfg(test)]
mod tests;
mod write;

pub(in crate::store) use make::make;

use super::{
    BlobEntry, BlobReader, Capabilities, Expected, Frees, Hold, Kin, Listing, Measured, Opaque, Reference, References,
    Store, all_fail,
};
use crate::error::{Error, Kind, Result};
use crate::format::envelope::{self, IndexEntry, IndexJson};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::location::Location;
use crate::model::plan::{Promise, RunId, Target, Undo};
use crate::progress::Progress;
use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use reviews::Reviews;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::Digest as _;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest `index.json` that is read; a tag takes some 300 bytes.
const INDEX_LIMIT: u64 = 64 << 20;

/// Blobs younger than that stay: a build may be about to name them.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Longer than any export takes.
const SETTLE: SignedDuration = SignedDuration::from_hours(6);

/// Never follow a link that the folder's owner did not mean, never wait for a pipe's other end.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens the folder that `location` names.
pub(super) fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let folder = Folder::open(location.local()?.dir.into())?;
    Ok(Arc::new(Local { location: location.clone(), folder: Arc::new(folder), reviews: Arc::default() }))
}

struct Local {
    location: Location,
    folder: Arc<Folder>,
    reviews: Arc<Reviews>,
}

/// An open layout. Everything is reached from these descriptors, so a folder swapped in its place is not mixed in.
struct Folder {
    path: PathBuf,
    root: OwnedFd,
    /// `blobs/sha256`, once there is one.
    blobs: OnceLock<OwnedFd>,
    links: links::Links,
}

impl Folder {
    fn open(path: PathBuf) -> Result<Self> {
        let shown = path.display().to_string();
        let root = sys::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let root = root.map_err(|errno| match errno {
            Errno::NOENT => Error::not_found(format!("no such folder: {shown}"))
                .with_hint("check the path, or see an example with `cachedeck demo`"),
            Errno::NOTDIR => Error::invalid(format!("not a folder: {shown}"))
                .with_hint("give the folder that `--cache-to type=local,dest=DIR` writes"),
            Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL => {
                Error::invalid(format!("not a path to a folder: {shown}")).with_source(std::io::Error::from(errno))
            }
            other => failed(format!("opening folder {shown}"), other),
        })?;
        let folder = Self { path, root, blobs: OnceLock::new(), links: links::Links::default() };
        let has_index = || sys::statat(&folder.root, "index.json", AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if folder.blobs()?.is_none() && !has_index() {
            return Err(Error::new(
                Kind::NotFound,
                format!("not a build cache: {shown} has no index.json and no blobs"),
            )
            .with_hint("give the folder that `--cache-to type=local,dest=DIR` writes"));
        }
        Ok(folder)
    }

    /// `blobs/sha256`; `None` if it is not there yet.
    fn blobs(&self) -> Result<Option<&OwnedFd>> {
        if self.blobs.get().is_none()
            && let Some(blobs) = folder_at(&self.root, "blobs")?
            && let Some(blobs) = folder_at(&blobs, "sha256")?
        {
            let _ = self.blobs.set(blobs);
        }
        Ok(self.blobs.get())
    }

    /// Size and times of a regular file in `at`; anything else is [`Kind::Corrupt`].
    fn stat(&self, at: impl AsFd, name: &str) -> Result<Stat> {
        let stat = sys::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| self.reading(name, errno))?;
        self.regular(name, stat)
    }

    /// Opens a regular file in `at`, and nothing else; gives its size and times.
    fn file(&self, at: impl AsFd, name: &str) -> Result<(File, Stat)> {
        // Looked at before it is opened, for opening a pipe or device already does something; and again after, for it may
        // have been swapped in between.
        self.stat(&at, name)?;
        self.listed_file(at, name)
    }

    /// As [`Folder::file`], for what a listing has just called a regular file: it is looked at only once it is open.
    fn listed_file(&self, at: impl AsFd, name: &str) -> Result<(File, Stat)> {
        let file = sys::openat(&at, name, READ, Mode::empty()).map_err(|errno| self.reading(name, errno))?;
        let stat = sys::fstat(&file).map_err(|errno| self.reading(name, errno))?;
        Ok((File::from(file), self.regular(name, stat)?))
    }

    fn regular(&self, name: &str, stat: Stat) -> Result<Stat> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(stat),
            other => Err(Error::corrupt(format!("{name} in {} is {}, not a file", self.path.display(), kind(other)))),
        }
    }

    fn reading(&self, name: &str, errno: Errno) -> Error {
        failed(format!("reading {name} in {}", self.path.display()), errno)
    }

    /// Does `work` on a blob's file, by folder and name.
    fn at_blob<T>(&self, digest: &Digest, work: impl FnOnce(&OwnedFd, &str) -> Result<T>) -> Result<T> {
        let absent = || Error::not_found(format!("no blob {digest} in {}", self.path.display()));
        let blobs = self.blobs()?.ok_or_else(absent)?;
        work(blobs, &digest.hex()).map_err(|e| if e.kind() == Kind::NotFound { absent() } else { e })
    }

    fn blob(&self, digest: &Digest) -> Result<(File, Stat)> {
        self.at_blob(digest, |blobs, name| self.file(blobs, name))
    }

    /// The names; `None` if `index.json` is empty, as it is for a moment when BuildKit creates it.
    fn references(&self) -> Result<Option<References>> {
        let (file, stat) = self.file(&self.root, "index.json")?;
        let path = self.path.join("index.json");
        if stat.st_size as u64 > INDEX_LIMIT {
            return Err(Error::corrupt(format!("{} is longer than {} MiB", path.display(), INDEX_LIMIT >> 20)));
        }
        let mut bytes = Vec::new();
        let failed = |e| Error::io(format!("reading {}", path.display()), e);
        file.take(INDEX_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let index = envelope::read_index_json(&bytes).map_err(|e| {
            e.context(path.display())
                .with_hint("the versions in its blobs can be opened by digest once index.json is mended or removed")
        })?;
        Ok(Some(references(index)))
    }

    fn measure(&self, digest: &Digest, buffer: &mut [u8], progress: &Progress) -> Result<Measured> {
        progress.check()?;
        let measured = self.hash(digest, buffer, progress);
        progress.add(u64::from(!progress.is_cancelled()), 0);
        measured
    }

    fn hash(&self, digest: &Digest, buffer: &mut [u8], progress: &Progress) -> Result<Measured> {
        let (mut file, stat) = self.at_blob(digest, |blobs, name| self.listed_file(blobs, name))?;
        let mut hasher = sha2::Sha256::new();
        let mut size = 0;
        // Up to the length it had when opened: most blobs are small, and one more read to see their end costs as much.
        while size < stat.st_size as u64 {
            progress.check()?;
            match file.read(buffer).map_err(|e| super::reading(digest, e))? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    size += read as u64;
                    progress.add(0, read as u64);
                }
            }
        }
        Ok(Measured { size, digest: Digest::from_bytes(hasher.finalize().into()) })
    }
}

/// What a file of this type is called.
fn kind(of: FileType) -> &'static str {
    match of {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown sort",
    }
}

/// Opens folder `name` in `at` without following a link; `None` if it is not there.
fn folder_at(at: &OwnedFd, name: &str) -> Result<Option<OwnedFd>> {
    match sys::openat(at, name, READ | OFlags::DIRECTORY, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => {
            Err(Error::invalid(format!("{name} is not a folder of its own, so the cache is not looked at"))
                .with_hint("a symbolic link could lead out of the cache: give the folder it points to"))
        }
        Err(errno) => Err(failed(format!("opening folder {name}"), errno)),
    }
}

fn failed(what: String, errno: Errno) -> Error {
    Error::io(what, errno.into())
}

/// Runs file work where it may block. Its only own failure is that the program is ending.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Err(Error::cancelled()),
        Err(error) => Err(Error::new(Kind::Internal, "a file task broke off").with_source(error)),
    }
}

fn modified(stat: &Stat) -> Option<jiff::Timestamp> {
    // The field types of `stat` differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    jiff::Timestamp::new(stat.st_mtime as i64, i32::try_from(stat.st_mtime_nsec).unwrap_or(0)).ok()
}

impl Local {
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Folder) -> Result<T> + Send + 'static) -> Result<T> {
        let folder = self.folder.clone();
        blocking(move || work(&folder)).await
    }

    /// Work on many things that tells of each how it went.
    async fn each<I: Clone + Send + Sync + 'static>(
        &self,
        things: &[I],
        work: impl FnOnce(&Folder, &[I]) -> Vec<Result<()>> + Send + 'static,
    ) -> Vec<Result<()>> {
        let own = things.to_vec();
        let done = self.blocking(move |folder| Ok(work(folder, &own))).await;
        done.unwrap_or_else(|error| all_fail(things, &error))
    }
}

#[async_trait]
impl Store for Local {
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
            usage: false,
            frees: Frees::Exactly,
        }
    }

    async fn references(&self) -> Result<References> {
        let mut tries = 0;
        let written = || self.folder.stat(&self.folder.root, "index.json").ok().and_then(|s| modified(&s));
        let before = written();
        loop {
            let folder = self.folder.clone();
            let read = blocking(move || folder.references()).await;
            // BuildKit rewrites the file in place: what a read in the middle of that sees is empty or not JSON.
            let torn = match &read {
                Ok(references) => references.is_none(),
                Err(error) => error.kind() == Kind::Corrupt,
            };
            if torn && tries < 3 {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            if torn && written() != before {
                let what = format!("{} is being written all the time", self.folder.path.join("index.json").display());
                return Err(Error::new(Kind::Busy, what).with_hint("look again once the build that writes it is done"));
            }
            let without = |what: &str| {
                let message = format!("{} has {what} index.json, so no version has a tag", self.folder.path.display());
                let findings = vec![Finding::new(Problem::Malformed, None, message)];
                Ok(References { items: Vec::new(), findings })
            };
            return match read {
                Ok(Some(references)) => Ok(references),
                Ok(None) => without("an empty"),
                Err(error) if error.kind() == Kind::NotFound => without("no"),
                Err(error) => Err(error),
            };
        }
    }

    async fn blobs(
        &self,
        progress: &Progress,
        opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        scan::scan(&self.folder, progress, opaque, batches).await
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        let (folder, digest) = (self.folder.clone(), *digest);
        blocking(move || {
            let stat = folder.at_blob(&digest, |blobs, name| folder.stat(blobs, name))?;
            Ok(BlobEntry { digest, size: stat.st_size as u64, modified: modified(&stat), document: None })
        })
        .await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        let (folder, digest) = (self.folder.clone(), *digest);
        let (file, _) = blocking(move || folder.blob(&digest)).await?;
        Ok(Box::new(tokio::fs::File::from_std(file)))
    }

    async fn read(&self, digest: &Digest, limit: u64) -> Result<Bytes> {
        let (folder, digest) = (self.folder.clone(), *digest);
        blocking(move || {
            let (file, stat) = folder.blob(&digest)?;
            if stat.st_size as u64 > limit {
                return Err(super::too_long(&digest, limit));
            }
            let mut bytes = Vec::with_capacity(stat.st_size as usize);
            file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| super::reading(&digest, e))?;
            // It may have grown since.
            if bytes.len() as u64 > limit { Err(super::too_long(&digest, limit)) } else { Ok(bytes.into()) }
        })
        .await
    }

    async fn measure(&self, digests: &[Digest], progress: &Progress) -> Vec<Result<Measured>> {
        let (folder, progress, batch) = (self.folder.clone(), progress.clone(), digests.to_vec());
        let measured = blocking(move || {
            let mut buffer = vec![0; 128 << 10];
            Ok(batch.iter().map(|digest| folder.measure(digest, &mut buffer, &progress)).collect())
        });
        measured.await.unwrap_or_else(|_| digests.iter().map(|_| Err(Error::cancelled())).collect())
    }

    async fn put(&self, digest: &Digest, body: BlobReader) -> Result<()> {
        write::put(&self.folder, *digest, body).await
    }

    fn kin(&self) -> Option<Kin> {
        Some(Kin::new(self.folder.clone()))
    }

    async fn take(&self, digest: &Digest, _size: u64, from: &Kin) -> Result<bool> {
        let Some(from) = from.whereabouts::<Arc<Folder>>() else { return Ok(false) };
        let (to, from, digest) = (self.folder.clone(), from.clone(), *digest);
        blocking(move || take::take(&to, &digest, &from)).await
    }

    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        if name.is_empty() {
            return Err(Error::invalid("a version can't be named by nothing").with_hint("give it a name"));
        }
        let (folder, needs) = (self.folder.clone(), needs.to_vec());
        let (tag, bytes) = (name.to_owned(), document.clone());
        let replaced = self.blocking(move |_| folder.publish(&tag, &bytes, &needs, &expected)).await?;
        self.reviews.add(&self.folder, replaced).await?;
        let digest = Digest::of(document);
        Ok(Reference {
            name: name.to_owned(),
            digest: Some(digest),
            size: Some(document.len() as u64),
            modified: None,
            version: Some(digest.to_string()),
        })
    }

    async fn remove(&self, references: &[Reference]) -> Vec<Result<()>> {
        let names = references.to_vec();
        let removed = match self.blocking(move |folder| folder.unname(&names)).await {
            Ok((removed, replaced)) => self.reviews.add(&self.folder, replaced).await.map(|()| removed),
            Err(error) => Err(error),
        };
        removed.unwrap_or_else(|error| all_fail(references, &error))
    }

    async fn promise(&self) -> Result<Promise> {
        let mut caveats =
            vec!["an export that takes longer than the settling time may count on a blob that was freed".to_owned()];
        let folder = self.folder.clone();
        caveats.extend(blocking(move || Ok(folder.far_away())).await?);
        Ok(Promise { grace: GRACE, settle: SETTLE, undo: Undo::UntilFreed, exact: true, caveats })
    }

    async fn written_since(&self, targets: &[Target], since: Timestamp) -> Result<HashSet<Digest>> {
        let targets = targets.to_vec();
        self.blocking(move |folder| folder.written_since(&targets, since)).await
    }

    async fn hold(&self, run: &RunId) -> Result<Hold> {
        let run = run.clone();
        let lock = self.blocking(move |folder| folder.hold(&run)).await?;
        Ok(Hold::new(self.reviews.during(lock)))
    }

    async fn release(&self, hold: Hold) -> Result<()> {
        let reviewed = self.reviews.finish().await;
        drop(hold);
        reviewed
    }

    async fn hide(
        &self,
        run: &RunId,
        targets: &[Target],
        grace: SignedDuration,
        progress: &Progress,
    ) -> Vec<Result<()>> {
        let (run, progress) = (run.clone(), progress.clone());
        self.each(targets, move |folder, targets| folder.hide(&run, targets, grace, &progress)).await
    }

    async fn hidden(&self, run: &RunId, _targets: &[Target]) -> Result<Vec<Target>> {
        let run = run.clone();
        self.blocking(move |folder| folder.hidden(&run)).await
    }

    fn linked(&self, targets: &[Target]) -> HashSet<Digest> {
        self.folder.links.among(targets)
    }

    async fn restore(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let (run, progress) = (run.clone(), progress.clone());
        self.each(targets, move |folder, targets| folder.restore(&run, targets, &progress)).await
    }

    async fn purge(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let (run, progress) = (run.clone(), progress.clone());
        self.each(targets, move |folder, targets| folder.purge(&run, targets, &progress)).await
    }

    async fn discard(&self, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
        let progress = progress.clone();
        self.each(ids, move |folder, ids| folder.discard(ids, &progress)).await
    }

    async fn note(&self, key: &str, bytes: Bytes) -> Result<()> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.note(&key, &bytes)).await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<String>> {
        let prefix = prefix.to_owned();
        self.blocking(move |folder| folder.note_keys(&prefix)).await
    }

    async fn read_note(&self, key: &str) -> Result<Bytes> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.read_note(&key)).await
    }

    async fn drop_note(&self, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.blocking(move |folder| folder.drop_note(&key)).await
    }
}

/// Entries of `index.json` as references, and findings for those that can't be read.
fn references(index: IndexJson) -> References {
    let entry = |entry: &IndexEntry| Reference {
        name: entry.tag().unwrap_or_default().to_owned(),
        digest: Some(entry.digest),
        size: Some(entry.size),
        modified: None,
        version: Some(entry.digest.to_string()),
    };
    let mut references = References { items: index.entries.iter().map(entry).collect(), findings: Vec::new() };
    references.items.sort();
    let more = index.bad - index.faults.len();
    let faults = index.faults.into_iter().map(|e| format!("an entry of index.json can't be read: {e}"));
    let more = (more > 0).then(|| format!("{more} more entries of index.json can't be read"));
    references.findings = faults.chain(more).map(|m| Finding::new(Problem::Malformed, None, m)).collect();
    references
}
