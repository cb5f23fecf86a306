//! `type=registry` and `type=inline`: a repository of a registry, over the OCI distribution API.
//!
//! Every tag is a reference. What has no tag can't be listed, but is read by its digest where the location names it. Only
//! `GET` and `HEAD` are sent, and only to the registry, its token server, and where it redirects to; what descriptors give as
//! further `urls` is never fetched.

mod auth;
mod credentials;
mod reference;
mod tags;

use super::http::Http;
use super::{BlobEntry, BlobReader, Capabilities, Frees, Reference, References, Store};
use crate::error::{Error, Kind, Result};
use crate::format::envelope::Envelope;
use crate::model::digest::Digest;
use crate::model::inventory::Details;
use crate::model::location::Location;
use async_trait::async_trait;
use auth::Auth;
use bytes::Bytes;
use reference::Repository;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The manifests that are read here; without it, some registries would convert them.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Opens the repository that the location's `ref` names. Asks the registry nothing. [`Kind::Invalid`] for a bad ref.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let repository = Repository::of(location)?;
    let http = Http::new()?;
    let auth = Auth::new(http.clone(), repository.clone());
    let api = Api { http, auth, repository };
    Ok(Arc::new(Registry { location: location.clone(), api, manifests: Mutex::default() }))
}

/// The API, with authorization taken care of.
struct Api {
    http: Http,
    auth: Auth,
    repository: Repository,
}

impl Api {
    /// Sends a request. When the registry refuses it, a new pass is got for it, once.
    async fn send(&self, method: Method, url: Url) -> Result<Response> {
        let mut pass = self.auth.pass().await?;
        let mut renewed = false;
        loop {
            let mut request = self.http.request(method.clone(), url.clone());
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept(&url)));
            if let Some(header) = &pass.header {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            let response = self.http.send(request).await?;
            let refused = response.status() == StatusCode::UNAUTHORIZED;
            // Only the registry itself may ask who we are, not where it sent us.
            if !refused || renewed || response.url().origin() != url.origin() {
                return Ok(response);
            }
            match self.auth.renew(&pass, response.headers()).await? {
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
            write: false,
            remove: false,
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
        let named = |name| Reference { name, digest: None, size: None, modified: None, version: None };
        Ok(References { items: tags.names.into_iter().map(named).collect(), findings: tags.findings })
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
}
