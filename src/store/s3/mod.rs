//! `type=s3`: cache configs as objects under the manifests prefix, blobs as objects under the blobs prefix, in a bucket of
//! AWS or of anything that speaks its protocol. The SDK signs requests, finds credentials and reads answers; HTTP itself is
//! [`crate::store::http`]'s, as everywhere. What changes something is in files of its own:
//! `write`, `hide` and those it names. Nothing is deleted but on a condition, by its exact version, or as a copy of our own.

mod attic;
mod batch;
mod blobs;
mod classify;
mod client;
mod conditional;
mod conditions;
mod discard;
mod hashed;
mod hide;
mod lease;
mod markers;
mod own;
mod pages;
mod past;
mod ranges;
mod settings;
mod siblings;
mod take;
mod transport;
mod versions;
mod write;

use super::http::Clock;
use super::siblings::look as look_beside;
use super::{
    BlobEntry, BlobReader, Capabilities, Expected, Frees, Hold, Kin, Listing, Opaque, Reference, References, Store,
};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::inventory::Details;
use crate::model::location::Location;
use crate::model::plan::{Promise, RunId, Target};
use crate::model::text;
use crate::progress::Progress;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::EncodingType;
use bytes::{Bytes, BytesMut};
use classify::{broken, classify};
use conditional::Takes;
use conditions::Conditions;
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyDataStream;
use jiff::SignedDuration;
use pages::{Guard, plain, time};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use settings::Settings;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::io::StreamReader;

/// What begins [`Reference::version`] where it names an older version of an object; otherwise it is an ETag, which begins
/// with a quotation mark.
const VERSION_ID: &str = "versionId=";

/// A bucket.
#[derive(Clone)]
struct S3 {
    location: Location,
    settings: Arc<Settings>,
    client: Arc<OnceCell<Client>>,
    clock: Arc<Clock>,
    /// What the server minds when it deletes, once that was tried out.
    conditions: Arc<OnceCell<Conditions>>,
    /// How it takes a condition when it writes, once it refused one that seems to hold.
    takes: Arc<OnceCell<Takes>>,
    /// Whether somebody else took over the lease that we held.
    lost: Arc<AtomicBool>,
}

/// Opens the bucket that `location` names, without asking anybody yet.
///
/// [`Kind::Invalid`] for options that make no sense.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    let settings = Arc::new(Settings::new(location, |name| std::env::var(name).ok())?);
    // Named in full, so that headers and errors can say which bucket it is.
    let mut location = location.clone();
    for (key, value) in [("bucket", &settings.bucket), ("region", &settings.region)] {
        location.set(key, value.as_str());
    }
    let (client, clock, conditions, takes, lost) = Default::default();
    Ok(Arc::new(S3 { location, settings, client, clock, conditions, takes, lost }))
}

impl S3 {
    async fn client(&self) -> Result<&Client> {
        self.client.get_or_try_init(|| client::connect(&self.settings, self.clock.clone())).await
    }

    fn listing(&self) -> String {
        format!("listing bucket {}", self.settings.bucket)
    }

    /// Asks for an object, in one of its versions.
    async fn get(&self, what: &str, key: String, version: Option<&str>) -> Result<GetObjectOutput> {
        let request = self.client().await?.get_object().bucket(&self.settings.bucket).key(key);
        request.set_version_id(version.map(str::to_owned)).send().await.map_err(|e| classify(what, e))
    }

    /// What is told of an object without reading it.
    async fn head(&self, key: &str) -> Result<HeadObjectOutput> {
        let what = format!("{key} of bucket {}", self.settings.bucket);
        let request = self.client().await?.head_object().bucket(&self.settings.bucket).key(key);
        request.send().await.map_err(|e| classify(&what, e))
    }

    /// An object as the source of a copy.
    fn source(&self, key: &str) -> String {
        // Through an access point it is called otherwise.
        let between = if self.settings.bucket.starts_with("arn:") { "/object/" } else { "/" };
        utf8_percent_encode(&format!("{}{between}{key}", self.settings.bucket), IN_HEADERS).to_string()
    }

    /// A blob, by what is told of it.
    fn entry(&self, digest: &Digest, head: &HeadObjectOutput) -> Result<BlobEntry> {
        let size = head.content_length().and_then(|size| size.try_into().ok());
        let size = size.ok_or_else(|| Error::corrupt(format!("{}: it has no length", self.blob(digest))))?;
        Ok(BlobEntry { digest: *digest, size, modified: head.last_modified().and_then(time), document: None })
    }

    fn blob(&self, digest: &Digest) -> String {
        format!("blob {digest} of bucket {}", self.settings.bucket)
    }
}

#[async_trait]
impl Store for S3 {
    fn location(&self) -> &Location {
        &self.location
    }

    fn identity(&self) -> String {
        let elsewhere = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().find_map(|name| std::env::var(name).ok());
        match elsewhere.filter(|_| self.settings.endpoint.is_none()) {
            Some(endpoint) => self.location.clone().with("endpoint_url", endpoint).identity(),
            None => self.location.identity(),
        }
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
            discard: true,
            notes: true,
            usage: false,
            frees: Frees::Exactly,
        }
    }

    async fn references(&self) -> Result<References> {
        let (client, layout) = (self.client().await?, &self.settings.layout);
        let mut guard = Guard::new(&self.settings);
        let mut references = References::default();
        let mut token: Option<String> = None;
        loop {
            let request = client.list_objects_v2().bucket(&self.settings.bucket).prefix(&layout.manifests);
            let request = request.encoding_type(EncodingType::Url).set_continuation_token(token);
            let page = request.send().await.map_err(|e| classify(&self.listing(), e))?;
            for object in page.contents() {
                let key = plain(object.key().unwrap_or_default(), page.encoding_type());
                guard.key(&key, false).map_err(|e| e.context(self.listing()))?;
                let Some(name) = layout.name_of(&key) else { continue };
                references.items.push(Reference {
                    name: name.to_owned(),
                    digest: None,
                    size: object.size().and_then(|size| size.try_into().ok()),
                    modified: object.last_modified().and_then(time),
                    version: object.e_tag().map(str::to_owned),
                });
            }
            let next = guard.next(page.is_truncated(), page.next_continuation_token().map(str::to_owned));
            token = next.map_err(|e| e.context(self.listing()))?;
            if token.is_none() {
                // By name, which is not always by key: prefixes need not end with a slash.
                references.items.sort_by(|a, b| a.name.cmp(&b.name));
                return Ok(references);
            }
        }
    }

    async fn past(&self) -> Result<References> {
        past::versions(self.client().await?, &self.settings).await
    }

    async fn details(&self) -> Result<Details> {
        let plain = self.settings.endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
        Ok(Details { notes: plain.then(|| "insecure".to_owned()).into_iter().collect(), ..Details::default() })
    }

    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        let what = format!("cache {} of bucket {}", text::safe(&reference.name), self.settings.bucket);
        let version = reference.version.as_deref();
        let id = version.and_then(|version| version.strip_prefix(VERSION_ID));
        let object = self.get(&what, self.settings.layout.manifest(&reference.name), id).await?;
        // What was written since has another digest, which must not be taken for the one of the version that was listed.
        if id.is_none()
            && let (Some(was), Some(is)) = (version, object.e_tag())
            && bare(was) != bare(is)
        {
            return Err(Error::new(Kind::Stale, format!("{what}: it was written again meanwhile")));
        }
        let too_long =
            || Error::invalid(format!("{what} is longer than the {limit} bytes that such a document may have"));
        if object.content_length().is_some_and(|length| u64::try_from(length).is_ok_and(|length| length > limit)) {
            return Err(too_long());
        }
        let mut body = BodyDataStream::new(object.body.into_inner());
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await {
            bytes.extend_from_slice(&piece.map_err(|e| broken(&what, e))?);
            if bytes.len() as u64 > limit {
                return Err(too_long());
            }
        }
        Ok(bytes.freeze())
    }

    async fn blobs(
        &self,
        progress: &Progress,
        _: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        let mut listing = blobs::list(self.client().await?, &self.settings, progress, batches).await?;
        let shared = look_beside(self, &self.settings.layout, &self.location).await?;
        listing.complete &= shared.is_empty();
        listing.findings.extend(shared);
        Ok(listing)
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        let request = self.client().await?.head_object().bucket(&self.settings.bucket);
        let head = request.key(self.settings.layout.blob(digest)).send().await;
        self.entry(digest, &head.map_err(|e| classify(&self.blob(digest), e))?)
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        let object = self.get(&self.blob(digest), self.settings.layout.blob(digest), None).await?;
        let pieces = BodyDataStream::new(object.body.into_inner());
        let pieces = pieces.map_err(|error| match classify::find::<io::Error>(&*error).map(io::Error::kind) {
            Some(kind) => io::Error::new(kind, error),
            None => io::Error::new(io::ErrorKind::ConnectionReset, error),
        });
        Ok(Box::new(StreamReader::new(pieces)))
    }

    fn kin(&self) -> Option<Kin> {
        Some(Kin::new(self.clone()))
    }

    async fn take(&self, digest: &Digest, size: u64, from: &Kin) -> Result<bool> {
        match from.whereabouts::<Self>() {
            Some(from) => take::take(self, digest, size, from).await,
            None => Ok(false),
        }
    }

    async fn renew(&self, digest: &Digest) -> Result<BlobEntry> {
        let head = self.head(&self.settings.layout.blob(digest)).await.map_err(|e| e.context(self.blob(digest)))?;
        match write::is_old(self, &head) {
            true => write::renew(self, digest, &head).await?,
            false => return self.entry(digest, &head),
        }
        self.stat(digest).await
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
        hide::promise(self).await
    }

    async fn hold(&self, run: &RunId) -> Result<Hold> {
        lease::take(self, run).await.map(Hold::new)
    }

    async fn release(&self, hold: Hold) -> Result<()> {
        match hold.into_guard() {
            Some(lease) => lease::give_up(*lease).await,
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
        hide::hide(self, run, targets, grace, progress).await
    }

    async fn hidden(&self, run: &RunId, targets: &[Target]) -> Result<Vec<Target>> {
        hide::hidden(self, run, targets).await
    }

    async fn restore(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        hide::restore(self, run, targets, progress).await
    }

    async fn purge(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        hide::purge(self, run, targets, progress).await
    }

    async fn discard(&self, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
        discard::uploads(self, ids, progress).await
    }

    async fn note(&self, key: &str, bytes: Bytes) -> Result<()> {
        own::write(self, &self.settings.layout.note(key), bytes).await
    }

    async fn notes(&self, prefix: &str) -> Result<Vec<String>> {
        let found = own::list(self, &self.settings.layout.note(prefix)).await?;
        Ok(found.into_iter().map(|(rest, _)| format!("{prefix}{rest}")).collect())
    }

    async fn read_note(&self, key: &str) -> Result<Bytes> {
        own::read(self, &self.settings.layout.note(key)).await
    }

    async fn drop_note(&self, key: &str) -> Result<()> {
        own::erase(self, &[self.settings.layout.note(key)]).await
    }
}

/// What a header can hold of a key.
const IN_HEADERS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An ETag without what some servers leave out.
fn bare(tag: &str) -> &str {
    tag.trim_start_matches("W/").trim_matches('"')
}
