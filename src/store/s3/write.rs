//! Writes blobs and cache configs as BuildKit does: a blob that is there already is left, or renewed once it is old; what is
//! new becomes visible whole, and only if it is what its digest says.

use super::S3;
use super::attic::COPIED;
use super::classify::changing;
use super::{VERSION_ID, bare, conditions};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::text;
use crate::store::{BlobReader, Expected, Reference};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use sha2::Digest as _;
use tokio::io::AsyncReadExt as _;

/// Bytes of a part, and of what is sent in one piece at most. S3 takes ten thousand parts.
const PART: usize = 16 << 20;
/// Requests at a time.
const IN_FLIGHT: usize = 16;

/// Stores a blob.
pub async fn put(s3: &S3, digest: &Digest, mut body: BlobReader) -> Result<()> {
    let is_there = match s3.head(&s3.settings.layout.blob(digest)).await {
        Ok(head) => Some(head),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => return Err(error.context(s3.blob(digest))),
    };
    let mut hasher = sha2::Sha256::new();
    let mut upload: Option<Upload> = None;
    loop {
        let part = part(digest, &mut body).await?;
        hasher.update(&part);
        let is_last = part.len() < PART;
        if is_last {
            let is = Digest::from_bytes(std::mem::take(&mut hasher).finalize().into());
            if is != *digest {
                if let Some(upload) = upload.take() {
                    upload.abort().await;
                }
                return Err(Error::corrupt(format!("what was sent as {digest} is {is}")));
            }
        }
        match (&is_there, &mut upload, is_last) {
            (Some(head), ..) if is_last => {
                let size = head.content_length().unwrap_or_default();
                return renew(s3, digest, size, head.last_modified().and_then(super::time)).await;
            }
            (Some(_), ..) => {}
            (None, None, true) => {
                let request = s3.client().await?.put_object().bucket(&s3.settings.bucket);
                let request = request.key(s3.settings.layout.blob(digest)).body(ByteStream::from(part));
                return request.send().await.map(drop).map_err(|e| changing(&writing(s3, digest), e));
            }
            (None, upload, _) => {
                let begun = match upload {
                    Some(begun) => begun,
                    None => upload.insert(Upload::begin(s3, digest).await?),
                };
                if !part.is_empty() {
                    begun.part(part).await?;
                }
            }
        }
        if is_last {
            return match upload.take() {
                Some(upload) => upload.complete().await,
                None => Ok(()),
            };
        }
    }
}

/// The next part: shorter than [`PART`] only at the end.
async fn part(digest: &Digest, body: &mut BlobReader) -> Result<Bytes> {
    let mut part = BytesMut::new();
    while part.len() < PART {
        part.reserve((64 << 10).min(PART - part.len()));
        let read = body.take((PART - part.len()) as u64).read_buf(&mut part).await;
        if read.map_err(|e| crate::store::reading(digest, e))? == 0 {
            break;
        }
    }
    Ok(part.freeze())
}

/// Copies a blob onto itself once it is old, as BuildKit does, so that what goes by age leaves it.
async fn renew(s3: &S3, digest: &Digest, size: i64, modified: Option<Timestamp>) -> Result<()> {
    let now = s3.clock.now().unwrap_or_else(Timestamp::now);
    let refresh = SignedDuration::try_from(s3.settings.touch_refresh).unwrap_or(SignedDuration::MAX);
    if size > COPIED || modified.is_some_and(|modified| now.duration_since(modified) < refresh) {
        return Ok(());
    }
    let key = s3.settings.layout.blob(digest);
    let request = s3.client().await?.copy_object().bucket(&s3.settings.bucket).copy_source(s3.source(&key)).key(key);
    let request = request.metadata_directive(MetadataDirective::Replace).metadata("updated-at", now.to_string());
    request.send().await.map(drop).map_err(|e| changing(&writing(s3, digest), e))
}

/// An upload in parts. What was sent is given up if it is not completed.
struct Upload {
    s3: S3,
    digest: Digest,
    id: String,
    parts: Vec<CompletedPart>,
    open: bool,
}

impl Upload {
    async fn begin(s3: &S3, digest: &Digest) -> Result<Self> {
        let request = s3.client().await?.create_multipart_upload().bucket(&s3.settings.bucket);
        let begun = request.key(s3.settings.layout.blob(digest)).send().await;
        let begun = begun.map_err(|e| changing(&writing(s3, digest), e))?;
        let nameless = || Error::corrupt(format!("{}: the answer has no upload id", writing(s3, digest)));
        let id = begun.upload_id().ok_or_else(nameless)?.to_owned();
        Ok(Self { s3: s3.clone(), digest: *digest, id, parts: Vec::new(), open: true })
    }

    async fn part(&mut self, bytes: Bytes) -> Result<()> {
        let number = self.parts.len() as i32 + 1;
        let request = self.s3.client().await?.upload_part().bucket(&self.s3.settings.bucket).upload_id(&self.id);
        let request = request.key(self.s3.settings.layout.blob(&self.digest)).part_number(number);
        let sent = request.body(ByteStream::from(bytes)).send().await;
        let sent = sent.map_err(|e| changing(&writing(&self.s3, &self.digest), e))?;
        let tag = sent.e_tag().map(str::to_owned);
        self.parts.push(CompletedPart::builder().part_number(number).set_e_tag(tag).build());
        Ok(())
    }

    async fn complete(mut self) -> Result<()> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.parts))).build();
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
    let (absent, version) = match expected {
        Expected::Absent if is.is_none() => (Some("*".to_owned()), None),
        Expected::Version(was) if is.as_deref().is_some_and(|is| bare(is) == bare(&was)) => (None, is),
        _ => return Err(stale(&what)),
    };
    let replaces = version.is_some();
    let request = s3.client().await?.put_object().bucket(&s3.settings.bucket).key(&key);
    let request = request.set_if_none_match(absent).set_if_match(version).body(ByteStream::from(document.clone()));
    let version = match request.send().await.map_err(|e| changing(&what, e)) {
        Ok(answer) => answer.e_tag().map(str::to_owned),
        // What was to be replaced has changed, or is gone.
        Err(error) if error.kind() == Kind::Stale || (error.kind() == Kind::NotFound && replaces) => {
            return Err(stale(&what));
        }
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
