//! Layer 2: the cache of a GitHub repository (`type=gha`), through either of two APIs or both.
//!
//! * REST, from anywhere, lists all entries of all refs, and never gives what is in them.
//! * The cache service, in a workflow run, gives an entry whose key is known, and lists none. It saves entries, too, under one ref.
//!
//! A reference is a scope under a Git ref, `web@refs/heads/main`: of its `#n` the highest is in use, and the others are past.
//! What it deletes, it deletes by number only, never by key; nothing that was saved is ever written over. (Reading counts as use: GitHub evicts last what was read last.)

mod access;
mod discard;
mod rest;
mod save;
mod service;
mod upload;

use super::http::Http;
use super::{BlobEntry, BlobReader, Capabilities, Expected, Frees, Listing, Opaque, Reference, References, Store};
use crate::error::{Error, Kind, Result};
use crate::model::actions::{self, Actions, Entry, EntryKind, IndexKey};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{Details, Need};
use crate::model::location::Location;
use crate::model::plan::{Promise, Undo};
use crate::progress::Progress;
use access::{Api, Run};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use rest::{Listed, Rest};
use service::{Found, Service};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Why REST alone does not do.
const NO_CONTENTS: &str = "contents need a workflow run's token";
/// Blobs in a batch of the listing.
const BATCH: usize = 100;
/// Older saves of a scope that are looked for where entries can't be listed.
const OLDER: u64 = 8;
/// Lookups at a time.
const PARALLEL: usize = 8;
/// How long a list of entries answers for what is there.
const FRESH: Duration = Duration::from_secs(20);

/// A repository's cache.
#[derive(Debug)]
struct Gha {
    location: Location,
    identity: String,
    rest: Option<Rest>,
    service: Option<Service>,
    /// The scopes that are looked for where they can't be listed: the one that is meant, and those that were written.
    scopes: Mutex<BTreeSet<String>>,
    /// The entries as last listed, and when that was.
    listed: Mutex<Option<(Instant, Arc<Listed>)>>,
}

/// Opens the cache of the repository that `location` or the environment names.
///
/// [`Kind::Invalid`] where neither names a repository nor a workflow run's token is at hand, or for one that makes no sense.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let http = Http::new()?;
    let run = Run::find(location, Timestamp::now())?;
    // In a run the token for REST must be handed over explicitly: without it one is better off with the run's own.
    let api = Api::find(location)?.filter(|api| run.is_none() || api.token.is_some());
    if run.is_none() && api.is_none() {
        return Err(Error::invalid("type=gha: which repository?")
            .with_hint("add repo=OWNER/NAME, or run it in a workflow that hands ACTIONS_RUNTIME_TOKEN to this step"));
    }
    // GitHub's numbers of entries are never used twice, but keys are, which are all that a run alone knows: what was read then
    // is good for that run only.
    let identity = match (&api, &run) {
        (Some(api), _) => format!("gha {} {}", crate::store::http::shown(&api.url), api.repository.to_lowercase()),
        (None, Some(run)) => format!("gha run {}", Digest::of(run.token.as_bytes())),
        (None, None) => location.identity(),
    };
    let asked = location.value("scope").unwrap_or(location.usual_name());
    Ok(Arc::new(Gha {
        location: location.clone(),
        identity,
        rest: api.map(|api| Rest::new(http.clone(), api)),
        service: run.map(|run| Service::new(http, run)),
        scopes: Mutex::new(BTreeSet::from([actions::scope_of(asked).to_owned()])),
        listed: Mutex::default(),
    }))
}

impl Gha {
    /// All entries, as they are now.
    async fn list(&self, rest: &Rest) -> Result<Arc<Listed>> {
        let listed = Arc::new(rest.list().await?);
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), listed.clone()));
        Ok(listed)
    }

    /// All entries as they were a moment ago.
    async fn recent(&self, rest: &Rest) -> Result<Arc<Listed>> {
        let known = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known.filter(|(at, _)| at.elapsed() < FRESH) {
            Some((_, listed)) => Ok(listed),
            None => self.list(rest).await,
        }
    }

    /// What was listed before is no more.
    fn forget(&self) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The scopes under each ref that the run may read, by looking; with older saves if they are `past`.
    async fn look(&self, service: &Service, past: bool) -> Result<Vec<Reference>> {
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stems = scopes.iter().flat_map(|scope| {
            let both = |git_ref: &str| {
                [false, true].map(|signed| (IndexKey::stem(scope, git_ref, signed), git_ref.to_owned()))
            };
            service.readable().flat_map(both).collect::<Vec<_>>()
        });
        let stems: Vec<(String, String)> = stems.collect();
        let looks = stems.into_iter().map(|(stem, git_ref)| self.look_under(service, stem, git_ref, past));
        let found: Vec<Result<Vec<Reference>>> = futures::stream::iter(looks).buffered(PARALLEL).collect().await;
        let mut all: Vec<Reference> = found.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        if !past {
            all.sort();
        }
        Ok(all)
    }

    async fn look_under(&self, service: &Service, stem: String, git_ref: String, past: bool) -> Result<Vec<Reference>> {
        let Some(key) = service.newest(&stem).await?.and_then(|found| IndexKey::parse(&found.key)) else {
            return Ok(Vec::new());
        };
        let name = key.name(&git_ref);
        if !past {
            return Ok(vec![by_key(name, format!("{stem}{}", key.n))]);
        }
        let mut older = Vec::new();
        for n in (key.n.saturating_sub(OLDER).max(1)..key.n).rev() {
            let key = format!("{stem}{n}");
            if service.exact(&key).await?.is_some() {
                older.push(by_key(name.clone(), key));
            }
        }
        Ok(older)
    }

    /// The service, or why contents can't be read.
    fn contents(&self) -> Result<&Service> {
        self.service.as_ref().ok_or_else(|| {
            self.unsupported(NO_CONTENTS).with_hint(
                "run cachedeck in a workflow, with ACTIONS_RUNTIME_TOKEN and ACTIONS_RESULTS_URL in its environment",
            )
        })
    }

    /// Where the content of a blob is.
    async fn find(&self, digest: &Digest) -> Result<(&Service, Found)> {
        let service = self.contents()?;
        match service.exact(&actions::blob_key(digest)).await? {
            Some(found) => Ok((service, found)),
            None => Err(absent(digest)),
        }
    }
}

/// A reference that only its key is known of.
fn by_key(name: String, key: String) -> Reference {
    Reference { name, digest: None, size: None, modified: None, version: Some(key) }
}

fn absent(digest: &Digest) -> Error {
    Error::not_found(format!("no blob {digest} in this cache"))
}

/// Cache configs in use, and those that were before: each with its number.
fn references(entries: &[Entry]) -> (Vec<Reference>, Vec<Reference>) {
    let mut by_name: BTreeMap<String, Vec<(u64, &Entry)>> = BTreeMap::new();
    for entry in entries {
        if let EntryKind::Index(key) = &entry.kind {
            by_name.entry(key.name(&entry.git_ref)).or_default().push((key.n, entry));
        }
    }
    let (mut current, mut past) = (Vec::new(), Vec::new());
    for (name, mut saves) in by_name {
        saves.sort_by_key(|(n, entry)| std::cmp::Reverse((*n, entry.id)));
        for (at, (_, entry)) in saves.into_iter().enumerate() {
            let reference = Reference {
                name: name.clone(),
                digest: None,
                size: Some(entry.bytes),
                modified: entry.created,
                version: Some(entry.id.to_string()),
            };
            if at == 0 { current.push(reference) } else { past.push(reference) }
        }
    }
    past.sort_by_key(|reference| std::cmp::Reverse(reference.modified));
    (current, past)
}

/// Blobs by digest, each once, whichever refs have it.
fn blobs(entries: &[Entry]) -> Vec<BlobEntry> {
    let mut blobs: HashMap<Digest, BlobEntry> = HashMap::new();
    for entry in entries {
        let EntryKind::Blob(digest) = entry.kind else { continue };
        let blob = BlobEntry { digest, size: entry.bytes, modified: entry.created, document: None };
        match blobs.get_mut(&digest) {
            Some(other) if other.modified >= blob.modified => {}
            Some(other) => *other = blob,
            None => drop(blobs.insert(digest, blob)),
        }
    }
    blobs.into_values().collect()
}

/// What is to be said where a list changed each time it was read.
fn moving() -> Finding {
    Finding::new(Problem::Changed, None, "GitHub's list of caches changed each time it was read: some may be left out")
}

#[async_trait]
impl Store for Gha {
    fn location(&self) -> &Location {
        &self.location
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list_blobs: self.rest.is_some(),
            find_dangling: false,
            read_blobs: self.service.is_some(),
            bare_configs: true,
            write: self.service.as_ref().is_some_and(|service| service.writable().is_some()),
            remove: false,
            hide: false,
            discard: self.rest.is_some(),
            notes: false,
            usage: false,
            frees: Frees::Exactly,
        }
    }

    fn lacks(&self, need: Need) -> Option<String> {
        let lacking = need == Need::Contents && self.service.is_none();
        lacking.then(|| NO_CONTENTS.to_owned())
    }

    fn name_in_full(&self, name: &str) -> String {
        let is_bare = actions::scope_of(name) == name;
        match self.service.as_ref().and_then(Service::writable).filter(|_| is_bare) {
            Some(git_ref) => format!("{name}@{git_ref}"),
            None => name.to_owned(),
        }
    }

    async fn references(&self) -> Result<References> {
        let items = match (&self.rest, &self.service) {
            (Some(rest), _) => references(&self.list(rest).await?.entries).0,
            (None, Some(service)) => self.look(service, false).await?,
            (None, None) => Vec::new(),
        };
        Ok(References { items, findings: Vec::new() })
    }

    async fn past(&self) -> Result<References> {
        let items = match (&self.rest, &self.service) {
            (Some(rest), _) => references(&self.recent(rest).await?.entries).1,
            (None, Some(service)) => self.look(service, true).await?,
            (None, None) => Vec::new(),
        };
        Ok(References { items, findings: Vec::new() })
    }

    async fn details(&self) -> Result<Details> {
        let mut actions = Actions { contents: self.service.is_some(), ..Actions::default() };
        if let Some(service) = &self.service {
            actions.grants = service.grants().to_vec();
        }
        match &self.rest {
            Some(rest) => {
                let listed = self.recent(rest).await?;
                actions.repository = Some(rest.repository().to_owned());
                actions.entries = listed.entries.clone();
                actions.listed = listed.complete;
                let (usage, quota, retention) = tokio::join!(rest.usage(), rest.quota(), rest.retention());
                actions.usage = told(usage, "what GitHub counts", &mut actions.unknown);
                actions.quota = told(quota, "the quota", &mut actions.unknown);
                actions.retention_days = told(retention, "how long unused entries stay", &mut actions.unknown);
                actions.rate = rest.rate();
            }
            None => {
                actions.repository = access::variable("GITHUB_REPOSITORY");
                let why = "entries are not listed: that needs ghtoken or GH_TOKEN beside the run's token";
                actions.unknown.push(why.to_owned());
            }
        }
        if !actions.contents {
            actions.unknown.push(format!("{NO_CONTENTS}: layers and graphs are unknown"));
        }
        let notes = if actions.contents { Vec::new() } else { vec!["no contents".to_owned()] };
        Ok(Details { notes, actions: Some(Arc::new(actions)), ..Details::default() })
    }

    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        let service = self.contents()?;
        let version = reference.version.as_deref().unwrap_or_default();
        let key = match (&self.rest, version.parse::<u64>()) {
            (Some(rest), Ok(id)) => {
                let listed = self.recent(rest).await?;
                let entry = listed.entries.iter().find(|entry| entry.id == id);
                let entry = entry.ok_or_else(|| Error::not_found(format!("{} is gone", reference.name)))?;
                if !service.readable().any(|git_ref| git_ref == entry.git_ref) {
                    let what = format!("this run's token can't read caches of {}", entry.git_ref);
                    return Err(Error::new(Kind::Denied, what)
                        .with_hint("a run reads those of its own branch, its base and the default branch"));
                }
                entry.key.clone()
            }
            _ => version.to_owned(),
        };
        let found = service.exact(&key).await?;
        let found = found.ok_or_else(|| Error::not_found(format!("{key} is not there any more")))?;
        let response = service.content(&found).await?;
        service.bytes(response, limit).await
    }

    async fn blobs(
        &self,
        progress: &Progress,
        _opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        let Some(rest) = &self.rest else {
            return Err(self.unsupported("listing blobs, which needs ghtoken or GH_TOKEN"));
        };
        progress.check()?;
        let listed = self.recent(rest).await?;
        let blobs = blobs(&listed.entries);
        for batch in blobs.chunks(BATCH) {
            progress.check()?;
            progress.add(batch.len() as u64, batch.iter().map(|b| b.size).fold(0, u64::saturating_add));
            batches.send(batch.to_vec()).await.map_err(|_| Error::cancelled())?;
        }
        let findings = if listed.complete { Vec::new() } else { vec![moving()] };
        Ok(Listing { leftovers: Vec::new(), findings, complete: listed.complete })
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        let Some(rest) = &self.rest else {
            let (service, found) = self.find(digest).await?;
            return Ok(BlobEntry {
                digest: *digest,
                size: service.size(&found).await?,
                modified: None,
                document: None,
            });
        };
        let known = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let found = match known.filter(|(at, _)| at.elapsed() < FRESH) {
            Some((_, listed)) => {
                let key = EntryKind::Blob(*digest);
                blobs(&listed.entries.iter().filter(|e| e.kind == key).cloned().collect::<Vec<_>>())
            }
            None => blobs(&rest.entries_of(&actions::blob_key(digest)).await?),
        };
        found.into_iter().find(|blob| blob.digest == *digest).ok_or_else(|| absent(digest))
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        let (service, found) = self.find(digest).await?;
        let response = service.content(&found).await?;
        Ok(service.reader(response))
    }

    async fn renew(&self, digest: &Digest) -> Result<BlobEntry> {
        // What other refs have is listed, but no build of this run would find it.
        match (&self.rest, &self.service) {
            (Some(_), Some(service)) if service.exact(&actions::blob_key(digest)).await?.is_none() => {
                Err(absent(digest))
            }
            _ => self.stat(digest).await,
        }
    }

    fn may_be_called(&self, name: &str) -> Result<()> {
        match self.service.as_ref().and_then(Service::writable) {
            Some(git_ref) => save::scope(name, git_ref).map(drop),
            None => Ok(()),
        }
    }

    async fn put(&self, digest: &Digest, body: BlobReader) -> Result<()> {
        save::blob(self, digest, body).await
    }

    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        save::config(self, name, document, needs, expected).await
    }

    async fn promise(&self) -> Result<Promise> {
        let writes = self.capabilities().write;
        if self.rest.is_none() && !writes {
            return Err(self.unsupported("changing anything, which needs ghtoken or GH_TOKEN"));
        }
        let mut caveats = vec![
            "what runs on other branches have can't be read, so nothing tells what their caches need",
            "there are no pins here: GitHub evicts what was used least recently, whatever is done",
        ];
        if writes {
            caveats.extend([
                "what is saved is not written over: a name's new save takes the next number, and the old one stays until it is evicted",
                "a save that breaks off keeps its key taken until GitHub forgets it; nothing can give it up before",
                "what is saved beyond the quota lets GitHub evict caches of others",
            ]);
        }
        Ok(Promise {
            grace: SignedDuration::from_hours(24),
            settle: SignedDuration::ZERO,
            undo: Undo::Never("GitHub keeps no copy of a deleted entry".to_owned()),
            exact: true,
            caveats: caveats.into_iter().map(str::to_owned).collect(),
        })
    }

    async fn discard(&self, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
        match &self.rest {
            Some(rest) => discard::entries(self, rest, ids, progress).await,
            None => ids.iter().map(|_| Err(self.unsupported("removing, which needs ghtoken or GH_TOKEN"))).collect(),
        }
    }
}

/// What was told; if nothing was, says so.
fn told<T>(answer: Result<T>, what: &str, unknown: &mut Vec<String>) -> Option<T> {
    answer.map_err(|error| unknown.push(format!("{what} is unknown: {error}"))).ok()
}
