//! Layer 2: what cachedeck remembers between runs, in SQLite files that only the user can read.
//!
//! * `catalog.db` in the cache folder: documents that were read, by place, name and version, and by digest. All of it can be
//!   had again, so whatever cannot be read of it is thrown away.
//! * `journal.db` in the data folder: what we did to places, and pins of places that can keep no notes.
//! * `history.db` in the data folder: digests that names once led to, and names of build steps. That cannot be had again: a
//!   file that a newer version wrote is left alone and unused, a damaged one is kept beside the new one.
//!
//! Remembering is a convenience: nothing here ever fails a command. What goes wrong is told in the log, and things go on as
//! if nothing had been remembered. Two cachedecks may use the files at once. Neither credentials nor the locations
//! themselves are in there: a place is known by a hash.

mod catalog;
mod database;
mod history;
mod journal;
#[cfg(test)]
mod tests;

use crate::model::digest::Digest;
use crate::model::usage::LearntStep;
use bytes::Bytes;
use catalog::Catalog;
pub use catalog::{KEPT, Known, Read};
use directories::ProjectDirs;
pub use history::Former;
use history::History;
use jiff::Timestamp;
use journal::Journal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder for what can be had again; empty for nowhere.
pub const CACHE_VARIABLE: &str = "CACHEDECK_CACHE_DIR";
/// The folder for what cannot be had again; empty for nowhere.
pub const DATA_VARIABLE: &str = "CACHEDECK_DATA_DIR";

/// A place as it is known here: a hash of what tells it from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place(Digest);

impl Place {
    /// The place with this identity, which must be the same another time and nowhere else.
    pub fn new(identity: &str) -> Self {
        Self(Digest::of(identity.as_bytes()))
    }

    fn key(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What is remembered. Cheap to clone; the files are opened when they are first needed.
#[derive(Clone, Debug)]
pub struct State(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: Catalog,
    history: History,
    journal: Journal,
}

impl State {
    /// In the user's folders, or where [`CACHE_VARIABLE`] and [`DATA_VARIABLE`] say. Nowhere for a process that was given no home.
    pub fn usual() -> Self {
        let homeless = cfg!(unix) && std::env::var_os("HOME").is_none();
        let folder = |variable, usual: fn(&ProjectDirs) -> &Path| match std::env::var_os(variable) {
            Some(folder) => Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty()),
            None if homeless => None,
            None => Some(usual(&ProjectDirs::from("", "", "cachedeck")?).to_owned()),
        };
        let cache = folder(CACHE_VARIABLE, ProjectDirs::cache_dir);
        let data = folder(DATA_VARIABLE, ProjectDirs::data_local_dir);
        Self::at(cache.as_deref(), data.as_deref())
    }

    /// In these folders, which are made when they are needed; without one, that part forgets everything.
    pub fn at(cache: Option<&Path>, data: Option<&Path>) -> Self {
        Self(Arc::new(Inner { catalog: Catalog::new(cache), history: History::new(data), journal: Journal::new(data) }))
    }

    /// The document that `name` had in `version` at `place`.
    pub async fn known(&self, place: Place, name: &str, version: &str) -> Option<Known> {
        let (name, version) = (name.to_owned(), version.to_owned());
        self.run(move |inner| inner.catalog.known(place, &name, &version)).await?
    }

    /// The document with this digest, wherever it was seen.
    pub async fn document(&self, digest: Digest) -> Option<Bytes> {
        self.run(move |inner| inner.catalog.document(&digest)).await?
    }

    /// Keeps documents that were read at `place`.
    pub async fn keep(&self, place: Place, read: Vec<Read>, now: Timestamp) {
        if !read.is_empty() {
            self.run(move |inner| inner.catalog.keep(place, &read, now)).await;
        }
    }

    /// As [`State::keep`], for where nothing can wait: it blocks, for a second at most.
    pub fn keep_now(&self, place: Place, read: &[Read], now: Timestamp) {
        self.0.catalog.keep(place, read, now);
    }

    /// Keeps which digests the names at `place` lead to now.
    pub async fn saw(&self, place: Place, names: Vec<(String, Digest)>, now: Timestamp) {
        if !names.is_empty() {
            self.run(move |inner| inner.history.saw(place, &names, now)).await;
        }
    }

    /// What names at `place` led to, those seen last first: at most `limit`.
    pub async fn formerly(&self, place: Place, limit: usize) -> Vec<Former> {
        self.run(move |inner| inner.history.formerly(place, limit)).await.unwrap_or_default()
    }

    /// Keeps that these were looked for at `place` and are not there any more. Those missed several times are forgotten.
    pub async fn missed(&self, place: Place, gone: Vec<Digest>) {
        if !gone.is_empty() {
            self.run(move |inner| inner.history.missed(place, &gone)).await;
        }
    }

    /// Keeps names of steps that a builder told, `now`. What is known already stays.
    pub async fn learn(&self, steps: Vec<LearntStep>, now: Timestamp) {
        if !steps.is_empty() {
            self.run(move |inner| inner.history.learn(&steps, now)).await;
        }
    }

    /// All names of steps that were learnt, by the time their layers were made.
    pub async fn learnt(&self) -> Vec<LearntStep> {
        self.run(|inner| inner.history.learnt()).await.unwrap_or_default()
    }

    /// Forgets names of steps that were learnt before `time`. How many those were.
    pub async fn forget_steps(&self, time: Timestamp) -> usize {
        self.run(move |inner| inner.history.forget_steps(time)).await.unwrap_or_default()
    }

    /// Keeps a note about `place`; whether it could be written down.
    pub async fn note(&self, place: Place, key: &str, body: Bytes) -> bool {
        let key = key.to_owned();
        self.run(move |inner| inner.journal.note(place, &key, &body)).await.unwrap_or_default()
    }

    /// Keys of the notes about `place` that begin with `prefix`, sorted.
    pub async fn notes(&self, place: Place, prefix: &str) -> Vec<String> {
        let prefix = prefix.to_owned();
        self.run(move |inner| inner.journal.notes(place, &prefix)).await.unwrap_or_default()
    }

    /// Notes about all places whose keys begin with `prefix` and end with `end`, by key, the last first.
    pub async fn notes_everywhere(&self, prefix: &'static str, end: &'static str) -> Vec<Vec<u8>> {
        self.run(move |inner| inner.journal.everywhere(prefix, end)).await.unwrap_or_default()
    }

    /// A note about `place`.
    pub async fn read_note(&self, place: Place, key: &str) -> Option<Bytes> {
        let key = key.to_owned();
        self.run(move |inner| inner.journal.read(place, &key)).await.flatten().map(Bytes::from)
    }

    /// Throws a note about `place` away.
    pub async fn drop_note(&self, place: Place, key: &str) {
        let key = key.to_owned();
        self.run(move |inner| inner.journal.drop_note(place, &key)).await;
    }

    /// Does `work` on a thread that may wait; `None` if that broke off.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Inner) -> T + Send + 'static) -> Option<T> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.ok()
    }
}
