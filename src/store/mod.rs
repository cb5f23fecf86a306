//! Layer 2: reach one place where caches live. This file is the written contract; each backend is one file (or folder)
//! beside it and one line in [`catalog`]. `tests/conformance` holds every backend to what is said here.
//!
//! Where bytes live and how they are decoded are two questions: a store hands out bytes and never decodes a cache.
//!
//! | backend | references | what a reference names | blobs |
//! |---|---|---|---|
//! | local | tags of `index.json` | an envelope, by digest | all of `blobs/`, dangling versions found by content |
//! | registry, inline | tags of the repository | an envelope, by digest | can't be listed, only read by digest |
//! | s3, azblob | objects under the manifests prefix | a bare config, by name | objects under the blobs prefix |
//! | gha | scopes under Git refs, `web@refs/heads/main` | a bare config, by entry | entries of REST; read and saved by key in a workflow run |
//! | builder | none | none | none; [`Store::usage`] instead |

mod azblob;
mod builder;
pub mod catalog;
mod gha;
mod http;
mod keyed;
mod local;
pub mod memory;
mod parts;
mod registry;
mod remembered;
mod s3;
mod siblings;

#[cfg(doc)]
use crate::error::Kind;
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::finding::Finding;
use crate::model::inventory::{Details, Leftover, Need};
use crate::model::location::Location;
use crate::model::plan::{Promise, RunId, Target};
use crate::model::usage::UsageRecord;
use crate::progress::Progress;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use sha2::Digest as _;
use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

/// Bytes of a blob, streamed. Dropping it stops the transfer.
pub type BlobReader = Box<dyn AsyncRead + Send + Unpin>;

/// Blobs that a listing need not look into: layers of manifests that have been read. Whoever decodes adds to it while the
/// listing goes on, since most blobs of a grown cache are layers of several versions.
#[derive(Debug, Default)]
pub struct Opaque(RwLock<HashSet<Digest>>);

impl Opaque {
    /// Adds blobs.
    pub fn extend(&self, digests: impl IntoIterator<Item = Digest>) {
        // A set is whole between any two insertions, so a panic elsewhere leaves it usable.
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(digests);
    }

    /// Whether `digest` is among them.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }
}

/// What a backend can do. Keys are greyed out, commands refused and conformance cases chosen by this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// [`Store::blobs`] lists all blobs. Without it nothing can be called orphan.
    pub list_blobs: bool,
    /// [`Store::blobs`] also brings documents that no reference names, so dangling versions are found.
    pub find_dangling: bool,
    /// [`Store::open`] and [`Store::measure`] work.
    pub read_blobs: bool,
    /// A name leads to a bare cache config, which is no blob, instead of an envelope.
    pub bare_configs: bool,
    /// [`Store::put`] and [`Store::publish`] work.
    pub write: bool,
    /// [`Store::remove`] works.
    pub remove: bool,
    /// [`Store::hide`], [`Store::restore`] and [`Store::purge`] work: removing blobs can be undone for a while.
    pub hide: bool,
    /// [`Store::discard`] works.
    pub discard: bool,
    /// [`Store::note`] and its like work: what we did is known to everyone at the place.
    pub notes: bool,
    /// [`Store::usage`] works.
    pub usage: bool,
    /// What removing a blob or reference does to the space it takes.
    pub frees: Frees,
}

impl Capabilities {
    /// Whether there are caches at all. A builder has none: it only tells of the records of its own.
    pub fn has_caches(&self) -> bool {
        self.list_blobs || self.read_blobs || !self.usage
    }
}

/// Whether the space that a removal frees is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frees {
    /// Exactly the bytes removed.
    Exactly,
    /// At most those: the server collects later, or others share them.
    AtMost,
}

/// A name that leads to a cache or image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The tag, object name or scope key. Untrusted text; empty where an entry has no name.
    pub name: String,
    /// Digest of what it names, where the place says it.
    pub digest: Option<Digest>,
    /// Bytes of what it names, where the place says it.
    pub size: Option<u64>,
    /// When it was last written, where the place says it.
    pub modified: Option<Timestamp>,
    /// What changes when it is written again: a digest, ETag, version id or entry id.
    pub version: Option<String>,
}

/// The names of a place.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// Sorted by name, where nothing else is said.
    pub items: Vec<Reference>,
    /// Entries that could not be made sense of.
    pub findings: Vec<Finding>,
}

/// A blob that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// Which blob.
    pub digest: Digest,
    /// Bytes it takes.
    pub size: u64,
    /// When it was last written.
    pub modified: Option<Timestamp>,
    /// Its bytes, where listing had to look inside and it may be a manifest or config: what begins like a JSON object,
    /// after blanks at most, and is at most [`DOCUMENT_LIMIT`] bytes long.
    pub document: Option<Bytes>,
}

/// What a listing brings beside blobs.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Unfinished uploads, by name.
    pub leftovers: Vec<Leftover>,
    /// What was found that is not a blob, and what could not be looked at.
    pub findings: Vec<Finding>,
    /// Whether all of it could be listed and looked at.
    pub complete: bool,
}

/// Length and digest of a blob as it is, not as it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Bytes read.
    pub size: u64,
    /// SHA-256 of them.
    pub digest: Digest,
}

/// What [`Store::publish`] expects to find under the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing: the name must be new.
    Absent,
    /// The reference with this [`Reference::version`].
    Version(String),
}

/// What keeps other cachedecks from changing a place. What is in it is the backend's affair; dropping it gives the place free,
/// at the latest after a while.
#[derive(Default)]
pub struct Hold {
    guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Hold {
    /// A hold that lasts as long as `guard`.
    fn new(guard: impl Any + Send + Sync) -> Self {
        Self { guard: Some(Box::new(guard)) }
    }

    /// What it lasts as long as, for the backend that made it.
    fn into_guard<T: Any>(self) -> Option<Box<T>> {
        let guard: Box<dyn Any> = self.guard?;
        guard.downcast().ok()
    }
}

/// Where a place keeps its blobs, for another place of the same service, which can take them from there by itself. What is in
/// it is the backend's affair.
#[derive(Clone)]
pub struct Kin {
    whereabouts: Arc<dyn Any + Send + Sync>,
}

impl Kin {
    /// What only places of this backend understand.
    fn new(whereabouts: impl Any + Send + Sync) -> Self {
        Self { whereabouts: Arc::new(whereabouts) }
    }

    /// What is in it, if it is of the backend that asks.
    fn whereabouts<T: Any>(&self) -> Option<&T> {
        self.whereabouts.downcast_ref()
    }
}

/// Envelopes and bare configs are at most this long when found by looking; a longer one is read only if a reference or
/// envelope names it.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// Blobs that [`Store::measure`] reads at a time, unless a backend knows better.
const MEASURED_AT_ONCE: usize = 4;

/// One place where caches live.
///
/// Contract, for all methods: lists are sorted as said; a dropped future leaves nothing half-written; a blob or
/// reference that is not there is [`Kind::NotFound`], and only that (an error that leaves it open is another kind);
/// what a backend can't do answers [`Kind::Unsupported`], just as its [`Capabilities`] say.
#[async_trait]
pub trait Store: Send + Sync {
    /// Where it is.
    fn location(&self) -> &Location;

    /// What tells it from all other places, the same another time: [`Location::identity`] with what the environment adds to
    /// it, such as a bucket, an endpoint or a repository that the location does not name. Holds no secret.
    fn identity(&self) -> String {
        self.location().identity()
    }

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// What [`Store::references`] calls what people may call `name` for short, if they name something to be written.
    fn name_in_full(&self, name: &str) -> String {
        name.to_owned()
    }

    /// All names.
    async fn references(&self) -> Result<References>;

    /// What names led to before, where the place or we ourselves remember it and it can still be had: newest first, each
    /// with the name it had. [`Store::document`] reads them.
    async fn past(&self) -> Result<References> {
        Ok(References::default())
    }

    /// Why this place does not give what is needed; `None` where it does.
    fn lacks(&self, need: Need) -> Option<String> {
        let claims = self.capabilities();
        let (given, why) = match need {
            Need::Caches => {
                (claims.list_blobs || claims.read_blobs || claims.bare_configs, "it keeps no cache indexes")
            }
            Need::Contents => (claims.read_blobs, "what blobs hold can't be read there"),
        };
        (!given).then(|| why.to_owned())
    }

    /// What only this sort of place has to tell: a builder's records, a quota.
    async fn details(&self) -> Result<Details> {
        Ok(Details::default())
    }

    /// The bytes that `reference` names, an envelope or a bare config: at most `limit`, else [`Kind::Invalid`].
    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        match reference.digest {
            Some(digest) => self.read(&digest, limit).await,
            None => Err(self.unsupported("reading what a name stands for")),
        }
    }

    /// Lists all blobs in batches, in no order, each once, into `batches`. Adds each to `progress` and stops when it is
    /// cancelled. A blob that vanishes while being listed is left out. Documents that are `opaque` may be left unread.
    async fn blobs(
        &self,
        progress: &Progress,
        opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        let _ = (progress, opaque, batches);
        Err(self.unsupported("listing blobs"))
    }

    /// Whether a blob is there, and its size. Never reads it.
    async fn stat(&self, digest: &Digest) -> Result<BlobEntry>;

    /// Streams a blob from its first byte.
    async fn open(&self, digest: &Digest) -> Result<BlobReader>;

    /// A whole small blob; one longer than `limit` bytes is [`Kind::Invalid`] and not read.
    async fn read(&self, digest: &Digest, limit: u64) -> Result<Bytes> {
        let mut bytes = Vec::new();
        let reader = self.open(digest).await?;
        reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).await.map_err(|e| reading(digest, e))?;
        if bytes.len() as u64 > limit {
            return Err(too_long(digest, limit));
        }
        Ok(bytes.into())
    }

    /// Length and digest of each of `digests`, in their order. Adds each, readable or not, and the bytes read, to
    /// `progress`; once that is cancelled the rest are [`Kind::Cancelled`].
    async fn measure(&self, digests: &[Digest], progress: &Progress) -> Vec<Result<Measured>> {
        let measure = |digest: Digest| async move {
            if progress.is_cancelled() {
                return Err(Error::cancelled());
            }
            let read = match self.open(&digest).await {
                Ok(reader) => hash(&digest, reader, progress).await,
                Err(error) => Err(error),
            };
            progress.add(u64::from(!progress.is_cancelled()), 0);
            read
        };
        // Several at a time, for the way to a server is long.
        futures::stream::iter(digests.iter().copied().map(measure)).buffered(MEASURED_AT_ONCE).collect().await
    }

    /// The builder's own records, sorted by id.
    async fn usage(&self) -> Result<Vec<UsageRecord>> {
        Err(self.unsupported("usage records"))
    }

    /// Stores a blob. The digest is checked before the blob becomes visible: other bytes are [`Kind::Corrupt`] and leave
    /// nothing. A blob that is there already is success.
    async fn put(&self, digest: &Digest, body: BlobReader) -> Result<()> {
        let _ = (digest, body);
        Err(self.unsupported("writing"))
    }

    /// [`Kind::Invalid`] for what no name can be there, whatever it led to.
    fn may_be_called(&self, name: &str) -> Result<()> {
        let _ = name;
        Ok(())
    }

    /// Where its blobs are, for [`Store::take`] of another place; `None` where nobody could take them from.
    fn kin(&self) -> Option<Kin> {
        None
    }

    /// Stores a blob of `size` bytes that `from` has, without its bytes coming by here: a server copies it within itself, the
    /// kernel within a file system. `false`, and nothing done, where that can't be: then it is to be [`Store::put`]. As there,
    /// a blob that is there already is success, and one that is not what its digest says is [`Kind::Corrupt`], as far as
    /// whoever copies looks at it.
    async fn take(&self, digest: &Digest, size: u64, from: &Kin) -> Result<bool> {
        let _ = (digest, size, from);
        Ok(false)
    }

    /// Whether a blob is there, as for [`Store::stat`], for an exporter that is going to count on it: it is renewed where
    /// BuildKit's exporter would renew it.
    async fn renew(&self, digest: &Digest) -> Result<BlobEntry> {
        self.stat(digest).await
    }

    /// Lets `name` lead to `document`, an envelope or a bare config, which is stored on the way. Every blob in `needs` must
    /// be there, else [`Kind::Corrupt`]. If the name is not as `expected`: [`Kind::Stale`], nothing changed.
    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        let _ = (name, document, needs, expected);
        Err(self.unsupported("writing"))
    }

    /// Takes names away, each if it still has its [`Reference::version`], else [`Kind::Stale`]. One that is gone already is
    /// success. They come all at once, for a place may only be able to take away all names of a digest together; a name that
    /// would go beside those asked for is [`Kind::Unsupported`], and stays.
    async fn remove(&self, references: &[Reference]) -> Vec<Result<()>> {
        references.iter().map(|_| Err(self.unsupported("removing"))).collect()
    }

    /// What it promises about changes, with the usual grace and settling time. Only reads.
    async fn promise(&self) -> Result<Promise> {
        Err(self.unsupported("changing anything"))
    }

    /// Those of `targets` that may have been written here after `since`, by the place's own clock; what has no time, or a
    /// future one, is among them.
    async fn written_since(&self, targets: &[Target], since: Timestamp) -> Result<HashSet<Digest>> {
        let old = |target: &&Target| target.modified.is_some_and(|modified| modified <= since);
        Ok(targets.iter().filter(|target| !old(target)).map(|target| target.digest).collect())
    }

    /// Lets one cachedeck at a time change the place, as long as the hold lives and [`Store::release`] is not called; another
    /// one's hold is [`Kind::Busy`]. It never keeps a build from anything.
    async fn hold(&self, run: &RunId) -> Result<Hold> {
        let _ = run;
        Ok(Hold::default())
    }

    /// Gives up a hold.
    async fn release(&self, hold: Hold) -> Result<()> {
        drop(hold);
        Ok(())
    }

    /// Makes blobs not be there for writers and readers, without freeing them, on behalf of `run`. One that is not as it was
    /// seen, or younger than `grace` by the place's own clock, is [`Kind::Stale`] and stays; one that is gone is
    /// [`Kind::NotFound`].
    ///
    /// Results are in the order of `targets`. What was hidden stays so if the process ends; any cachedeck can bring it back.
    async fn hide(
        &self,
        run: &RunId,
        targets: &[Target],
        grace: SignedDuration,
        progress: &Progress,
    ) -> Vec<Result<()>> {
        let _ = (run, grace, progress);
        targets.iter().map(|_| Err(self.unsupported("hiding"))).collect()
    }

    /// What `run` hid and neither brought back nor freed. `targets` are those of its plan, for places that must be asked for
    /// each.
    async fn hidden(&self, run: &RunId, targets: &[Target]) -> Result<Vec<Target>> {
        let _ = (run, targets);
        Err(self.unsupported("hiding"))
    }

    /// Those of `targets` whose bytes stay taken once they are freed, as far as is known from having listed or hidden them: the
    /// same file has names elsewhere.
    fn linked(&self, targets: &[Target]) -> HashSet<Digest> {
        let _ = targets;
        HashSet::new()
    }

    /// Brings back what `run` hid; one that was written again meanwhile is left as it is, and its hidden copy is freed. One
    /// that is neither hidden nor there is [`Kind::NotFound`]. Results are in the order of `targets`.
    async fn restore(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let _ = (run, progress);
        targets.iter().map(|_| Err(self.unsupported("hiding"))).collect()
    }

    /// Frees what `run` hid, for good. What is not hidden any more is success. Results are in the order of `targets`.
    async fn purge(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let _ = (run, progress);
        targets.iter().map(|_| Err(self.unsupported("hiding"))).collect()
    }

    /// Gives up what can't be hidden, for good: leftovers by name, entries by number, records by id. Each is looked at again
    /// before: [`Kind::Stale`] if it is in use by now. One that is gone is success. Results are in the order of `ids`.
    async fn discard(&self, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
        let _ = progress;
        ids.iter().map(|_| Err(self.unsupported("removing"))).collect()
    }

    /// Lets a builder keep a build in its history, or no longer: its id is whole. [`Kind::NotFound`] if it knows no such build.
    async fn keep_build(&self, id: &str, kept: bool) -> Result<()> {
        let _ = (id, kept);
        Err(self.unsupported("a history of builds"))
    }

    /// Keeps a small document of our own at the place, out of the way of builds, whole or not at all. Keys are
    /// `/`-separated words of letters, digits, `.` and `-`.
    async fn note(&self, key: &str, bytes: Bytes) -> Result<()> {
        let _ = (key, bytes);
        Err(self.unsupported("keeping notes"))
    }

    /// Keys of notes that begin with `prefix`, sorted.
    async fn notes(&self, prefix: &str) -> Result<Vec<String>> {
        let _ = prefix;
        Err(self.unsupported("keeping notes"))
    }

    /// A note.
    async fn read_note(&self, key: &str) -> Result<Bytes> {
        let _ = key;
        Err(self.unsupported("keeping notes"))
    }

    /// Throws a note away; one that is not there is success.
    async fn drop_note(&self, key: &str) -> Result<()> {
        let _ = key;
        Err(self.unsupported("keeping notes"))
    }

    /// The error for what this backend can't do.
    fn unsupported(&self, what: &str) -> Error {
        Error::unsupported(self.location().kind(), what)
    }
}

/// The error for a blob that is longer than somebody was ready to read.
fn too_long(digest: &Digest, limit: u64) -> Error {
    Error::invalid(format!("blob {digest} is longer than the {limit} bytes that such a document may have"))
}

/// The same error for each of them: what keeps all from being done.
fn all_fail(of: &[impl Sized], error: &Error) -> Vec<Result<()>> {
    of.iter().map(|_| Err(error.again())).collect()
}

/// The error for a blob whose reading broke off.
fn reading(digest: &Digest, source: std::io::Error) -> Error {
    Error::io(format!("reading blob {digest}"), source)
}

async fn hash(digest: &Digest, mut reader: BlobReader, progress: &Progress) -> Result<Measured> {
    let mut hasher = sha2::Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        progress.check()?;
        let read = reader.read(&mut buffer).await.map_err(|e| reading(digest, e))?;
        if read == 0 {
            return Ok(Measured { size, digest: Digest::from_bytes(hasher.finalize().into()) });
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
        progress.add(0, read as u64);
    }
}
