//! Writes blobs and cache configs as BuildKit does: a blob that is there already is left, or renewed once it is old; what is
//! new becomes visible whole, and only if it is what its digest says.

use super::S3;
use super::attic::COPIED;
use super::classify::changing;
use super::hashed::Hashed;
use super::{VERSION_ID, bare, conditional, conditions};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::text;
use crate::store::parts::{Part, Parts};
use crate::store::{BlobReader, Expected, Reference};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

/// Requests at a time.
const IN_FLIGHT: usize = 16;

/// Stores a blob. Who stores it has asked whether it is there; if it has come to be there since, the same bytes replace it, and
/// it is young.
pub async fn put(s3: &S3, digest: &Digest, body: BlobReader) -> Result<()> {
    let key = s3.settings.layout.blob(digest);
    let mut parts = Parts::of(digest, body);
    let Some(first) = parts.next().await? else { return Ok(()) };
    let sent = match first.is_last {
        true => {
            let request = s3.client().await?.put_object().bucket(&s3.settings.bucket).key(&key);
            let request = request.body(ByteStream::from(first.bytes.clone())).customize();
            let sent = request.interceptor(Hashed(*digest)).send().await;
            sent.map(drop).map_err(|e| changing(&writing(s3, digest), e))
        }
        false => in_parts(s3, digest, first, parts).await,
    };
    match sent {
        // It may be there, and only the answer be lost. It is visible as a whole or not at all.
        Err(error) if error.kind() == Kind::Unavailable => s3.head(&key).await.map(drop).map_err(|_| error),
        sent => sent,
    }
}

async fn in_parts(s3: &S3, digest: &Digest, first: Part, parts: Parts) -> Result<()> {
    let upload = Upload::begin(s3, digest).await?;
    match parts.send(first, |part| Box::pin(upload.part(part))).await {
        Ok((_, parts)) => upload.complete(parts).await,
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

/// Whether BuildKit's exporter would renew what is told of.
pub fn is_old(s3: &S3, head: &HeadObjectOutput) -> bool {
    let now = s3.clock.now().unwrap_or_else(Timestamp::now);
    let refresh = SignedDuration::try_from(s3.settings.touch_refresh).unwrap_or(SignedDuration::MAX);
    let is_young = |modified| now.duration_since(modified) < refresh;
    head.content_length().unwrap_or_default() <= COPIED
        && !head.last_modified().and_then(super::time).is_some_and(is_young)
}

/// Copies a blob onto itself once it is old, as BuildKit does, so that what goes by age leaves it.
pub async fn renew(s3: &S3, digest: &Digest, head: &HeadObjectOutput) -> Result<()> {
    if !is_old(s3, head) {
        return Ok(());
    }
    let (now, key) = (s3.clock.now().unwrap_or_else(Timestamp::now), s3.settings.layout.blob(digest));
    let request = s3.client().await?.copy_object().bucket(&s3.settings.bucket).copy_source(s3.source(&key)).key(key);
    let request = request.metadata_directive(MetadataDirective::Replace).metadata("updated-at", now.to_string());
    request.send().await.map(drop).map_err(|e| changing(&writing(s3, digest), e))
}

/// An upload in parts. What was sent is given up if it is not completed.
struct Upload {
    s3: S3,
    digest: Digest,
    id: String,
    open: bool,
}

impl Upload {
    async fn begin(s3: &S3, digest: &Digest) -> Result<Self> {
        let request = s3.client().await?.create_multipart_upload().bucket(&s3.settings.bucket);
        let begun = request.key(s3.settings.layout.blob(digest)).send().await;
        let begun = begun.map_err(|e| changing(&writing(s3, digest), e))?;
        let nameless = || Error::corrupt(format!("{}: the answer has no upload id", writing(s3, digest)));
        let id = begun.upload_id().ok_or_else(nameless)?.to_owned();
        Ok(Self { s3: s3.clone(), digest: *digest, id, open: true })
    }

    async fn part(&self, part: Part) -> Result<CompletedPart> {
        // There are ten thousand at most, as the server will say.
        let number = i32::try_from(part.number() + 1).unwrap_or(i32::MAX);
        let request = self.s3.client().await?.upload_part().bucket(&self.s3.settings.bucket).upload_id(&self.id);
        let request = request.key(self.s3.settings.layout.blob(&self.digest)).part_number(number);
        let sent = request.body(ByteStream::from(part.bytes.clone())).send().await;
        let sent = sent.map_err(|e| changing(&writing(&self.s3, &self.digest), e))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned)).build())
    }

    async fn complete(mut self, parts: Vec<CompletedPart>) -> Result<()> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.s3.client().await?.complete_multipart_upload().bucket(&self.s3.settings.bucket);
        let request = request.key(self.s3.settings.layout.blob(&self.digest)).upload_id(&self.id);
        let done = request.multipart_upload(parts).send().await;
        done.map_err(|e| changing(&writing(&self.s3, &self.digest), e))?;
        self.open = false;
        Ok(())
    }

    async fn abort(mut self) {
        self.open = false;
        give_up(&self.s3, &self.s3.settings.layout.blob(&self.digest), &self.id).await.unwrap_or_else(|error| {
            // It is told of as left over, and pruned as such.
            tracing::info!(%error, "an upload was left behind");
        });
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(runtime) = tokio::runtime::Handle::try_current().ok().filter(|_| self.open) {
            let (s3, key, id) = (self.s3.clone(), self.s3.settings.layout.blob(&self.digest), self.id.clone());
            runtime.spawn(async move { give_up(&s3, &key, &id).await });
        }
    }
}

/// Gives up an upload in parts. One that is gone is success.
pub async fn give_up(s3: &S3, key: &str, id: &str) -> Result<()> {
    let what = format!("giving up an upload of bucket {}", s3.settings.bucket);
    let request = s3.client().await?.abort_multipart_upload().bucket(&s3.settings.bucket).key(key).upload_id(id);
    match request.send().await.map_err(|e| changing(&what, e)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a cache config under a name, see [`crate::store::Store::publish`].
pub async fn publish(s3: &S3, name: &str, document: &Bytes, needs: &[Digest], expected: Expected) -> Result<Reference> {
    let mut there = futures::stream::iter(needs.iter().copied())
        .map(|digest: Digest| async move { (digest, s3.head(&s3.settings.layout.blob(&digest)).await) })
        .buffer_unordered(IN_FLIGHT);
    while let Some((digest, head)) = there.next().await {
        match head {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {
                let what = format!("{} was not published: blob {digest} is not there", text::safe(name));
                return Err(Error::corrupt(what));
            }
            Err(error) => return Err(error.context(s3.blob(&digest))),
        }
    }
    drop(there);
    let key = s3.settings.layout.manifest(name);
    let what = format!("writing cache {} in bucket {}", text::safe(name), s3.settings.bucket);
    // Looked at first, for there are servers that mind no conditions.
    let is = tag(s3, &key).await.map_err(|e| e.context(&what))?;
    let instead_of = match expected {
        Expected::Absent if is.is_none() => None,
        Expected::Version(was) if is.as_deref().is_some_and(|is| bare(is) == bare(&was)) => is,
        _ => return Err(stale(&what)),
    };
    let version = match conditional::put(s3, &what, &key, document.clone(), instead_of.as_deref()).await {
        Ok(answer) => answer.e_tag().map(str::to_owned),
        Err(error) if error.kind() == Kind::Stale => return Err(stale(&what)),
        // It may have been written, and only the answer be lost.
        Err(error) if error.kind() == Kind::Unavailable => match s3.get(&what, key.clone(), None).await {
            Ok(object) => {
                let tag = object.e_tag().map(str::to_owned);
                let is = object.body.collect().await.map_err(|e| super::broken(&what, e.into()))?.into_bytes();
                if is != *document {
                    return Err(error);
                }
                tag
            }
            Err(_) => return Err(error),
        },
        Err(error) => return Err(error),
    };
    let (size, modified) = (Some(document.len() as u64), None);
    Ok(Reference { name: name.to_owned(), digest: None, size, modified, version })
}

/// Takes names away, see [`crate::store::Store::remove`].
pub async fn remove(s3: &S3, references: &[Reference]) -> Vec<Result<()>> {
    let unname = |reference: Reference| async move { unname(s3, &reference).await };
    futures::stream::iter(references.iter().cloned()).map(unname).buffered(IN_FLIGHT).collect().await
}

async fn unname(s3: &S3, reference: &Reference) -> Result<()> {
    let what = format!("removing cache {} from bucket {}", text::safe(&reference.name), s3.settings.bucket);
    if reference.version.as_deref().is_some_and(|version| version.starts_with(VERSION_ID)) {
        return Err(Error::new(Kind::Unsupported, format!("{what}: older versions are the bucket's own to forget")));
    }
    let key = s3.settings.layout.manifest(&reference.name);
    let is = tag(s3, &key).await.map_err(|e| e.context(&what))?;
    let Some(is) = is else { return Ok(()) };
    if reference.version.as_deref().is_none_or(|was| bare(was) != bare(&is)) {
        return Err(stale(&what));
    }
    let minds = s3.conditions().await?.tag;
    if !minds && tag(s3, &key).await? != Some(is.clone()) {
        return Err(stale(&what));
    }
    let request = s3.client().await?.delete_object().bucket(&s3.settings.bucket).key(&key);
    match request.set_if_match(minds.then_some(is)).send().await.map_err(|e| changing(&what, e)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) if error.kind() == Kind::Stale => Err(stale(&what)),
        // It may be gone, and only the answer be lost. It is not sent again: by then the name may be somebody else's.
        Err(error) if error.kind() == Kind::Unavailable => match tag(s3, &key).await {
            Ok(None) => Ok(()),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The ETag of an object; `None` if there is none.
async fn tag(s3: &S3, key: &str) -> Result<Option<String>> {
    match s3.head(key).await {
        Ok(head) => {
            let none = || Error::corrupt("the server tells no ETag, so that nobody can know what is written over");
            head.e_tag().map(|tag| Some(tag.to_owned())).ok_or_else(none)
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn stale(what: &str) -> Error {
    Error::new(Kind::Stale, format!("{what}: it has changed since it was looked at"))
        .with_hint("look again, then retry")
}

fn writing(s3: &S3, digest: &Digest) -> String {
    format!("writing {}", s3.blob(digest))
}

impl S3 {
    /// What the server minds when it deletes, tried out once.
    pub(super) async fn conditions(&self) -> Result<conditions::Conditions> {
        self.conditions.get_or_try_init(|| conditions::probe(self)).await.copied()
    }
}
