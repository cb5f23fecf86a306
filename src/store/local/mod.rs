//! `type=local`: an OCI image layout in a folder, as BuildKit's local exporter writes it. Reads only: nothing here
//! creates, locks or touches a file, so looking at a cache can never disturb a build that writes to it.

mod scan;

use super::{BlobEntry, BlobReader, Capabilities, Frees, Listing, Measured, Opaque, Reference, References, Store};
use crate::error::{Error, Kind, Result};
use crate::format::envelope::{self, IndexEntry, IndexJson};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::location::Location;
use crate::progress::Progress;
use async_trait::async_trait;
use bytes::Bytes;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self as sys, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::Digest as _;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest `index.json` that is read; a tag takes some 300 bytes.
const INDEX_LIMIT: u64 = 64 << 20;

/// Never follow a link that the folder's owner did not mean, never wait for a pipe's other end.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens the folder that `location` names.
pub(super) fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let folder = Folder::open(location.local()?.dir.into())?;
    Ok(Arc::new(Local { location: location.clone(), folder: Arc::new(folder) }))
}

struct Local {
    location: Location,
    folder: Arc<Folder>,
}

/// An open layout. Everything is reached from these descriptors, so a folder swapped in its place is not mixed in.
struct Folder {
    path: PathBuf,
    root: OwnedFd,
    /// `blobs/sha256`, if there is one.
    blobs: Option<OwnedFd>,
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
        let blobs = match folder_at(&root, "blobs")? {
            Some(blobs) => folder_at(&blobs, "sha256")?,
            None => None,
        };
        if blobs.is_none() && sys::statat(&root, "index.json", AtFlags::SYMLINK_NOFOLLOW).is_err() {
            return Err(Error::new(
                Kind::NotFound,
                format!("not a build cache: {shown} has no index.json and no blobs"),
            )
            .with_hint("give the folder that `--cache-to type=local,dest=DIR` writes"));
        }
        Ok(Self { path, root, blobs })
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
        let blobs = self.blobs.as_ref().ok_or_else(absent)?;
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
            write: false,
            remove: false,
            hide: false,
            discard: false,
            notes: false,
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
