//! `type=registry` and `type=inline`: a repository of a registry, over the OCI distribution API.
//!
//! Every tag is a reference. What has no tag can't be listed, but is read by its digest where the location names it. Requests
//! go to the registry, its token server, and where it redirects to only; what descriptors give as further `urls` is never
//! fetched. Looking sends `GET` and `HEAD` alone, with a token for no more than that. Blobs are never deleted: others may have
//! them in other repositories, and the registry collects what nothing leads to.

mod auth;
mod credentials;
mod heads;
mod push;
mod reference;
mod remove;
mod tags;

use super::http::{Http, Repeat};
use super::{BlobEntry, BlobReader, Capabilities, Expected, Frees, Kin, Reference, References, Store};
use crate::error::{Error, Kind, Result};
use crate::format::envelope::Envelope;
use crate::model::digest::Digest;
use crate::model::inventory::Details;
use crate::model::location::Location;
use crate::model::plan::{Promise, Undo};
use async_trait::async_trait;
use auth::Auth;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use reference::Repository;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Mutex as AsyncMutex;

/// Requests in flight at a time, where many tags or blobs are asked for.
const PARALLEL: usize = 32;

/// The manifests that are read here; without it, some registries would convert them.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Opens the repository that the location's `ref` names. Asks the registry nothing. [`Kind::Invalid`] for a bad ref.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let repository = Repository::of(location)?;
    let http = Http::new()?;
    let auth = Auth::new(http.clone(), repository.clone());
    let (pushing, deleting) = (auth.allowing("pull,push"), auth.allowing("pull,delete"));
    let api = Api { http, auth, pushing, deleting, mounting: AsyncMutex::default(), repository };
    let (manifests, whole_digests) = (Mutex::default(), AtomicBool::default());
    Ok(Arc::new(Registry { location: location.clone(), api, manifests, whole_digests }))
}

/// The API, with authorization taken care of.
struct Api {
    http: Http,
    /// For reading.
    auth: Auth,
    /// For what is written.
    pushing: Auth,
    /// For what is taken away.
    deleting: Auth,
    /// For blobs of other repositories, by their names.
    mounting: AsyncMutex<HashMap<String, Arc<Auth>>>,
    repository: Repository,
}

impl Api {
    /// For blobs that come from the repository `from`.
    async fn mounting(&self, from: &str) -> Arc<Auth> {
        let mut known = self.mounting.lock().await;
        known.entry(from.to_owned()).or_insert_with(|| Arc::new(self.pushing.beside(from))).clone()
    }

    /// Sends a request that reads. When the registry refuses it, a new pass is got for it, once.
    async fn send(&self, method: Method, url: Url) -> Result<Response> {
        let request = self.http.request(method, url);
        self.send_as(&self.auth, request, Repeat::Safe).await
    }

    /// Sends a request with a pass of `auth`, a new one if it is refused. Its body, if any, must be one that is at hand.
    async fn send_as(&self, auth: &Auth, request: Request, repeat: Repeat) -> Result<Response> {
        let (url, mut next) = (request.url().clone(), Some(request));
        let mut pass = auth.pass().await?;
        let mut renewed = false;
        loop {
            let again = next.as_ref().and_then(Request::try_clone);
            let Some(mut request) = std::mem::replace(&mut next, again) else {
                return Err(Error::new(Kind::Internal, "a request can't be sent twice"));
            };
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept(&url)));
            if let Some(header) = &pass.header {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            let response = self.http.send_as(request, repeat).await?;
            let refused = response.status() == StatusCode::UNAUTHORIZED;
            // Only the registry itself may ask who we are, not where it sent us.
            if !refused || renewed || response.url().origin() != url.origin() {
                return Ok(response);
            }
            match auth.renew(&pass, response.headers()).await? {
                Some(next) => pass = next,
                None => return Ok(response),
            }
            renewed = true;
        }
    }

    /// The error that an answer stands for.
    fn refused(&self, what: impl std::fmt::Display, response: &Response) -> Error {
        auth::refused(&self.auth, what, response)
    }
}

fn accept(url: &Url) -> &'static str {
    if url.path().contains("/manifests/") { MANIFESTS } else { "*/*" }
}

struct Registry {
    location: Location,
    api: Api,
    /// What is known to be a manifest: the API keeps those apart from blobs, but a digest does not tell.
    manifests: Mutex<HashSet<Digest>>,
    /// Whether the registry is known to take away whole digests only, no single tags.
    whole_digests: AtomicBool,
}

impl Registry {
    /// Sends a request for what has `digest`, as what it probably is, then as the other. [`Kind::NotFound`] if it is neither.
    async fn ask(&self, method: &Method, digest: &Digest) -> Result<Response> {
        let repository = &self.api.repository;
        let mut urls = [repository.blob(digest)?, repository.manifest(digest)?];
        if self.manifests().contains(digest) {
            urls.reverse();
        }
        for url in urls {
            let response = self.api.send(method.clone(), url).await?;
            match response.status() {
                StatusCode::NOT_FOUND => {}
                status if status.is_success() => return Ok(response),
                _ => return Err(self.api.refused(format!("blob {digest}"), &response)),
            }
        }
        Err(Error::not_found(format!("no blob {digest} in {} at {}", repository.name, repository.registry)))
    }

    /// Remembers which documents are manifests: this one, and those it leads to.
    fn learn(&self, digest: Digest, bytes: &[u8]) {
        let mut manifests = self.manifests();
        manifests.insert(digest);
        if let Ok(Envelope::Images { manifests: below }) = Envelope::read(bytes) {
            manifests.extend(below.iter().filter(|d| d.may_be_envelope()).map(|d| d.digest));
        }
    }

    /// Remembers that a digest is a manifest's.
    fn learn_of(&self, manifest: Digest) {
        self.manifests().insert(manifest);
    }

    fn manifests(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        // A set is whole between any two insertions, so a panic elsewhere leaves it usable.
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Registry {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list_blobs: false,
            find_dangling: false,
            read_blobs: true,
            bare_configs: false,
            write: true,
            remove: true,
            hide: false,
            discard: false,
            notes: false,
            usage: false,
            frees: Frees::AtMost,
        }
    }

    async fn references(&self) -> Result<References> {
        let tags = match tags::list(&self.api).await {
            // What a location names by digest may be all there is.
            Err(error) if error.kind() == Kind::NotFound && !self.past().await?.items.is_empty() => {
                tags::Tags::default()
            }
            tags => tags?,
        };
        let items = heads::references(&self.api, tags.names).await;
        self.manifests().extend(items.iter().filter_map(|reference| reference.digest));
        Ok(References { items, findings: tags.findings })
    }

    /// The version that the location names by digest, which may be under no tag.
    async fn past(&self) -> Result<References> {
        let Some(digest) = self.location.asked_digest()? else { return Ok(References::default()) };
        self.manifests().insert(digest);
        let size = match self.stat(&digest).await {
            Ok(entry) => Some(entry.size),
            Err(error) if error.kind() == Kind::NotFound => return Ok(References::default()),
            Err(error) => return Err(error),
        };
        let version = Some(digest.to_string());
        let asked = Reference { name: String::new(), digest: Some(digest), size, modified: None, version };
        Ok(References { items: vec![asked], findings: Vec::new() })
    }

    async fn details(&self) -> Result<Details> {
        let insecure = self.api.repository.url().scheme() == "http";
        Ok(Details { notes: insecure.then(|| "insecure".to_owned()).into_iter().collect(), ..Details::default() })
    }

    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        if let Some(digest) = &reference.digest {
            self.manifests().insert(*digest);
            return self.read(digest, limit).await;
        }
        let repository = &self.api.repository;
        let nobody = || Error::not_found(format!("no tag {} in {}", reference.name, repository.name));
        let url = repository.tag(&reference.name).ok_or_else(nobody)?;
        let response = self.api.send(Method::GET, url).await?;
        match response.status() {
            StatusCode::NOT_FOUND => return Err(nobody()),
            status if !status.is_success() => {
                return Err(self.api.refused(format!("tag {}", reference.name), &response));
            }
            _ => {}
        }
        let says = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = self.api.http.bytes(response, limit).await?;
        let is = Digest::of(&bytes);
        if says.is_some_and(|says: Digest| says != is) {
            return Err(Error::corrupt(format!("what came for tag {} is not what the registry says", reference.name)));
        }
        self.learn(is, &bytes);
        Ok(bytes)
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        let response = self.ask(&Method::HEAD, digest).await?;
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let size = match length {
            Some(size) => size,
            // Of a body that is never read.
            None => self.ask(&Method::GET, digest).await?.content_length().ok_or_else(|| {
                Error::corrupt(format!("{} does not say how long blob {digest} is", self.api.repository.registry))
            })?,
        };
        Ok(BlobEntry { digest: *digest, size, modified: None, document: None })
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        let response = self.ask(&Method::GET, digest).await?;
        Ok(self.api.http.reader(response))
    }

    /// Checked: other bytes than `digest` stands for are [`Kind::Corrupt`].
    async fn read(&self, digest: &Digest, limit: u64) -> Result<Bytes> {
        let response = self.ask(&Method::GET, digest).await?;
        let is_manifest = response.url().path().contains("/manifests/");
        let bytes = self.api.http.bytes(response, limit).await?;
        let is = Digest::of(&bytes);
        if is != *digest {
            return Err(Error::corrupt(format!("what came for {digest} hashes to {is}")));
        }
        if is_manifest {
            self.learn(is, &bytes);
        }
        Ok(bytes)
    }

    fn may_be_called(&self, name: &str) -> Result<()> {
        push::tag(&self.api, name).map(drop)
    }

    fn kin(&self) -> Option<Kin> {
        Some(Kin::new(self.api.repository.clone()))
    }

    async fn take(&self, digest: &Digest, _size: u64, from: &Kin) -> Result<bool> {
        match from.whereabouts::<Repository>() {
            Some(from) => push::mount(&self.api, digest, from).await,
            None => Ok(false),
        }
    }

    async fn put(&self, digest: &Digest, body: BlobReader) -> Result<()> {
        push::blob(&self.api, digest, body).await
    }

    async fn publish(&self, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
        let there = |digest: Digest| async move {
            match self.ask(&Method::HEAD, &digest).await {
                Err(error) if error.kind() == Kind::NotFound => {
                    Err(Error::corrupt(format!("{name} was not published: blob {digest} is not there")))
                }
                other => other.map(drop),
            }
        };
        let checks = futures::stream::iter(needs.iter().copied().map(there)).buffer_unordered(PARALLEL);
        checks.try_collect::<()>().await?;
        let reference = push::manifest(&self.api, name, document, expected).await?;
        self.learn(Digest::of(document), document);
        Ok(reference)
    }

    async fn remove(&self, references: &[Reference]) -> Vec<Result<()>> {
        remove::tags(self, references).await
    }

    async fn promise(&self) -> Result<Promise> {
        Ok(Promise {
            grace: SignedDuration::from_hours(24),
            settle: SignedDuration::ZERO,
            undo: Undo::UntilCollected("the registry's own garbage collector".to_owned()),
            exact: false,
            caveats: [
                "space returns when your registry's own garbage collection runs (distribution: needs read-only mode)",
                "a registry can't be told to change a tag only if it is still as it was: each is looked at just before",
                "a build that finds its version there sends nothing, so nothing tells that it counts on it",
                "what has no tag can't be listed: versions that only such an index leads to may go with their tags",
            ]
            .map(str::to_owned)
            .to_vec(),
        })
    }
}
