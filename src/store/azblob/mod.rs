//! `type=azblob`: a container of an Azure storage account, as BuildKit's azblob exporter writes it: a bare cache config under
//! each name, blobs under their digests. Only what writes makes a container that is not there.
//! What changes something is in files of its own: `write`, `attic` and `lease`.

mod account;
mod attic;
mod credentials;
mod lease;
mod listing;
mod own;
mod promise;
mod settings;
mod transport;
mod write;

use super::keyed::Layout;
use super::siblings;
use super::{
    BlobEntry, BlobReader, Capabilities, Expected, Frees, Hold, Kin, Listing, Opaque, Reference, References, Store,
    http,
};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{Details, Leftover};
use crate::model::location::Location;
use crate::model::plan::{Promise, RunId, Target};
use crate::progress::Progress;
use account::{Answer, Container, broken, whole};
use async_trait::async_trait;
use azure_core::Method;
use bytes::Bytes;
use futures::TryStreamExt as _;
use jiff::SignedDuration;
use listing::{Entry, Pages};
use settings::Settings;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

/// What a [`Reference::version`] of the past begins with; Azure's own id of the version follows.
const VERSION: &str = "versionid=";

/// First digits of digests: a long list is asked for in as many parts at a time.
const PARTS: &str = "0123456789abcdef";

/// Blobs handed on at a time.
const BATCH: usize = 500;

/// The container that `location` and the environment name. Asks nothing yet.
pub(super) fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let settings = Settings::read(location, |name| std::env::var(name).ok())?;
    let insecure = settings.account_url.scheme() == "http" && !http::is_loopback(&settings.account_url);
    let layout = settings.layout.clone();
    let place = location.clone().without("prefix").without("account_name");
    let place = place.with("account_url", settings.account_url.as_str()).with("container", &settings.container);
    let place = place.with("manifests_prefix", &layout.manifests).with("blobs_prefix", &layout.blobs);
    let (location, identity) = (location.clone(), place.identity());
    let (container, lost) = (Container::new(settings)?, AtomicBool::default());
    Ok(Arc::new(Azblob(Arc::new(Place { location, identity, layout, insecure, container, lost }))))
}

struct Azblob(Arc<Place>);

/// A container, and where in it things are.
struct Place {
    location: Location,
    identity: String,
    layout: Layout,
    /// Whether what is read goes over a wire as it is.
    insecure: bool,
    container: Container,
    /// Whether somebody else took over the lease that we held.
    lost: AtomicBool,
}

/// Blobs on their way to whoever asked for them.
struct Sink<'a> {
    progress: &'a Progress,
    batches: mpsc::Sender<Vec<BlobEntry>>,
}

#[async_trait]
impl Store for Azblob {
    fn location(&self) -> &Location {
        &self.location
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list_blobs: true,
            find_dangling: false,
            read_blobs: true,
            bare_configs: true,
            write: true,
            remove: true,
            hide: true,
            discard: false,
            notes: true,
            usage: false,
            frees: Frees::Exactly,
        }
    }

    async fn references(&self) -> Result<References> {
        let mut pages = Pages::new(&self.container, &self.layout.manifests, "");
        let mut references = References::default();
        while let Some(page) = pages.next().await? {
            references.items.extend(page.into_iter().filter(|entry| !entry.uncommitted).filter_map(|entry| {
                let name = self.name_of(&entry.key)?;
                let Entry { size, modified, etag: version, .. } = entry;
                Some(Reference { name, digest: None, size: Some(size), modified, version })
            }));
        }
        references.items.sort();
        references.items.dedup_by(|a, b| a.name == b.name);
        Ok(references)
    }

    async fn past(&self) -> Result<References> {
        let mut past = References::default();
        for entry in self.kept().await? {
            let Some(name) = self.name_of(&entry.key) else { continue };
            match entry {
                // A deleted one can be read only once it is brought back.
                Entry { deleted: true, days_left, .. } => {
                    let left = days_left.map(|days| format!(" for {days} more days")).unwrap_or_default();
                    let message = format!("a version of {name} was deleted; the account keeps it{left}");
                    past.findings.push(Finding::new(Problem::Deleted, None, message));
                }
                Entry { version: Some(id), is_current: false, size, modified, .. } => {
                    let version = Some(format!("{VERSION}{id}"));
                    past.items.push(Reference { name, digest: None, size: Some(size), modified, version });
                }
                _ => {}
            }
        }
        past.items.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| b.version.cmp(&a.version)));
        past.items.dedup();
        Ok(past)
    }

    async fn details(&self) -> Result<Details> {
        let mut details = Details::default();
        if self.insecure {
            details.notes.push("insecure".to_owned());
        }
        Ok(details)
    }

    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        let name = &reference.name;
        let mut url = self.container.blob_url(&self.layout.manifest(name));
        if let Some(id) = reference.version.as_deref().and_then(|version| version.strip_prefix(VERSION)) {
            url.query_pairs_mut().append_pair("versionid", id);
        }
        let what = format!("reading {name}");
        let answer = self.container.ask(Method::Get, url).await.map_err(|e| self.container.classify(&what, e))?;
        let bytes = whole(answer, limit).await.map_err(|e| Error::io(what, e))?;
        bytes.ok_or_else(|| {
            Error::invalid(format!("{name} is longer than the {limit} bytes that such a document may have"))
        })
    }

    async fn blobs(
        &self,
        progress: &Progress,
        _: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        let sink = Sink { progress, batches };
        let token = progress.token().clone();
        let listed = token.run_until_cancelled(self.list(&sink)).await.ok_or_else(Error::cancelled)?;
        let mut listing = listed?;
        let shared = siblings::look(&*self.0, &self.layout, &self.location).await?;
        listing.complete &= shared.is_empty();
        listing.findings.extend(shared);
        Ok(listing)
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        let Answer { length, modified, .. } = self.blob(Method::Head, digest).await?;
        let size =
            length.ok_or_else(|| Error::corrupt(format!("the server does not say how long blob {digest} is")))?;
        Ok(BlobEntry { digest: *digest, size, modified, document: None })
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        let answer = self.blob(Method::Get, digest).await?;
        Ok(Box::new(StreamReader::new(answer.body.map_err(broken))))
    }

    fn kin(&self) -> Option<Kin> {
        Some(Kin::new(self.0.clone()))
    }

    async fn take(&self, digest: &Digest, size: u64, from: &Kin) -> Result<bool> {
        match from.whereabouts::<Arc<Place>>() {
            Some(from) => write::take(self, digest, size, from).await,
            None => Ok(false),
        }
    }

    async fn put(&self, digest: &Digest, body: BlobReader) -> Result<()> {
        write::put(self, digest, body).await
    }

    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        write::publish(self, name, document, needs, expected).await
    }

    async fn remove(&self, references: &[Reference]) -> Vec<Result<()>> {
        write::remove(self, references).await
    }

    async fn promise(&self) -> Result<Promise> {
        promise::promise(self).await
    }

    async fn hold(&self, run: &RunId) -> Result<Hold> {
        lease::take(&self.0, run).await.map(Hold::new)
    }

    async fn release(&self, hold: Hold) -> Result<()> {
        match hold.into_guard() {
            Some(held) => lease::give_up(*held).await,
            None => Ok(()),
        }
    }

    async fn hide(
        &self,
        run: &RunId,
        targets: &[Target],
        grace: SignedDuration,
        progress: &Progress,
    ) -> Vec<Result<()>> {
        attic::hide(self, run, targets, grace, progress).await
    }

    async fn hidden(&self, run: &RunId, targets: &[Target]) -> Result<Vec<Target>> {
        attic::hidden(self, run, targets).await
    }

    async fn restore(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        attic::restore(self, run, targets, progress).await
    }

    async fn purge(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        attic::purge(self, run, targets, progress).await
    }

    async fn note(&self, key: &str, bytes: Bytes) -> Result<()> {
        own::write(self, &self.layout.note(key), bytes).await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<String>> {
        let found = own::list(self, &self.layout.note(prefix)).await?;
        Ok(found.into_iter().map(|(rest, _)| format!("{prefix}{rest}")).collect())
    }

    async fn read_note(&self, key: &str) -> Result<Bytes> {
        own::read(self, &self.layout.note(key)).await.map(|(bytes, _)| bytes)
    }

    async fn drop_note(&self, key: &str) -> Result<()> {
        own::delete(self, &self.layout.note(key)).await
    }
}

impl Deref for Azblob {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
}

#[async_trait]
impl siblings::Beside for Place {
    async fn folders(&self, parent: &str) -> Result<(Vec<String>, bool)> {
        let mut pages = Pages::new(&self.container, parent, "").without("/");
        pages.next().await?;
        Ok((pages.folders(), !pages.has_more()))
    }

    async fn some(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let page = Pages::new(&self.container, folder, "").next().await?.unwrap_or_default();
        Ok(page.into_iter().filter(|entry| !entry.uncommitted).map(|entry| (entry.key, entry.size)).collect())
    }

    async fn beginning(&self, key: &str) -> Result<Bytes> {
        let what = format!("reading {key}");
        let range = format!("bytes=0-{}", siblings::BEGINNING - 1);
        let asked = self.container.send(Method::Get, self.container.blob_url(key), &[("range", &range)], None).await;
        let mut answer = asked.map_err(|e| self.container.classify(&what, e))?;
        // A server may send more than was asked for.
        let piece = answer.body.try_next().await.map_err(|e| Error::io(what, broken(e)))?;
        Ok(piece.unwrap_or_default())
    }
}

impl Place {
    async fn blob(&self, method: Method, digest: &Digest) -> Result<Answer> {
        let url = self.container.blob_url(&self.layout.blob(digest));
        let asked = self.container.ask(method, url).await;
        asked.map_err(|e| self.container.classify(&format!("reading blob {digest}"), e))
    }

    /// Versions of manifests and deleted ones, as far as the account keeps any and tells.
    async fn kept(&self) -> Result<Vec<Entry>> {
        'next: for include in ["versions,deleted", "versions", "deleted"] {
            let mut pages = Pages::new(&self.container, &self.layout.manifests, include);
            let mut kept = Vec::new();
            loop {
                match pages.ask().await? {
                    Ok(Some(page)) => kept.extend(page),
                    Ok(None) => return Ok(kept),
                    Err(failure) => {
                        let error = self.container.classify("listing older versions", failure);
                        if matches!(error.kind(), Kind::Unavailable | Kind::Cancelled) {
                            return Err(error);
                        }
                        // Not every account has both, nor may everyone see them.
                        tracing::debug!(include, %error, "no such list");
                        continue 'next;
                    }
                }
            }
        }
        Ok(Vec::new())
    }

    async fn list(&self, sink: &Sink<'_>) -> Result<Listing> {
        sink.progress.check()?;
        let mut pages = Pages::new(&self.container, &self.layout.blobs, "uncommittedblobs");
        let first = pages.next().await?.unwrap_or_default();
        let mut listing = Listing { complete: true, ..Listing::default() };
        if !pages.has_more() {
            self.take(first, &mut HashSet::new(), &mut listing, sink).await?;
            return Ok(listing);
        }
        // A long list: one after the other its pages would take too long, so it is asked for anew, in parts. What is no
        // digest is listed by itself: of all that has a colon in it that list says nothing.
        let digests = format!("{}sha256:", self.layout.blobs);
        let parts =
            PARTS.chars().map(|digit| Pages::new(&self.container, format!("{digests}{digit}"), "uncommittedblobs"));
        let strays = Pages::new(&self.container, &self.layout.blobs, "uncommittedblobs").without(":");
        let all: Vec<_> = parts.chain([strays]).map(|pages| self.part(pages, sink)).collect();
        for part in futures::future::try_join_all(all).await? {
            listing.leftovers.extend(part.leftovers);
            listing.findings.extend(part.findings);
        }
        Ok(listing)
    }

    async fn part(&self, mut pages: Pages<'_>, sink: &Sink<'_>) -> Result<Listing> {
        let (mut listing, mut seen) = (Listing { complete: true, ..Listing::default() }, HashSet::new());
        while let Some(page) = pages.next().await? {
            self.take(page, &mut seen, &mut listing, sink).await?;
        }
        Ok(listing)
    }

    /// Sends on the blobs of a page that were not `seen` before; notes what else it holds.
    async fn take(
        &self,
        page: Vec<Entry>,
        seen: &mut HashSet<Digest>,
        listing: &mut Listing,
        sink: &Sink<'_>,
    ) -> Result<()> {
        let mut batch = Vec::with_capacity(page.len());
        for Entry { key, uncommitted, size, modified, .. } in page {
            let name = key.strip_prefix(&self.layout.blobs).unwrap_or(&key);
            match self.layout.digest_of(&key) {
                _ if uncommitted => {
                    listing.leftovers.push(Leftover { name: name.to_owned(), bytes: size, modified });
                }
                Some(digest) if seen.insert(digest) => {
                    sink.progress.add(1, size);
                    batch.push(BlobEntry { digest, size, modified, document: None });
                }
                Some(_) => {}
                None if self.is_manifest(&key) || key.starts_with(&self.layout.own) => {}
                None => {
                    let message = format!("{name} is no blob of a cache: {size} bytes");
                    listing.findings.push(Finding::new(Problem::Stray, None, message));
                }
            }
        }
        // A page has up to 5,000; whoever takes them wants to begin before.
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(BATCH));
            sink.batches.send(batch).await.map_err(|_| Error::cancelled())?;
            batch = rest;
        }
        Ok(())
    }

    /// The name that a manifest has; `None` for a blob that lies among manifests.
    fn name_of(&self, key: &str) -> Option<String> {
        let Layout { manifests, blobs, .. } = &self.layout;
        let is_blob = blobs.len() > manifests.len() && key.starts_with(blobs);
        self.layout.name_of(key).filter(|_| !is_blob).map(str::to_owned)
    }

    /// Whether it lies among blobs only because their prefix is one of manifests' too.
    fn is_manifest(&self, key: &str) -> bool {
        self.layout.manifests.len() > self.layout.blobs.len() && key.starts_with(&self.layout.manifests)
    }
}
