//! Writes an object on a condition: that there is none, or still the very one that was seen. Not every server takes the second
//! condition as S3 does; which way it does is tried out on an object of our own, once it has refused what seems to hold.

use super::classify::changing;
use super::{S3, bare, own};
use crate::error::{Error, Kind, Result};
use crate::store::keyed::fresh;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

/// How a server takes the condition that an object has an ETag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// In quotes, as it should be.
    Quoted,
    /// Without quotes: Ceph's gateway, 16 at least.
    Bare,
    /// Not at all, it is never met: the same, where a bucket keeps versions.
    Never,
}

/// What must be there for an object to be written.
enum If {
    Absent,
    Match(String),
    Anything,
}

/// Writes `key` where there is nothing, or in place of what has the ETag `instead_of`; `what` says what for.
///
/// [`Kind::Stale`] if there is something else, or nothing any more.
pub async fn put(s3: &S3, what: &str, key: &str, body: Bytes, instead_of: Option<&str>) -> Result<PutObjectOutput> {
    let Some(seen) = instead_of else { return send(s3, what, key, body, If::Absent).await };
    let takes = s3.takes.get().copied().unwrap_or(Takes::Quoted);
    let refused = match replace(s3, what, key, &body, seen, takes).await {
        Err(error) if error.kind() == Kind::Stale => error,
        sent => return sent,
    };
    if s3.takes.initialized() || !is_there(s3, key, seen).await? {
        return Err(refused);
    }
    match s3.takes.get_or_try_init(|| probe(s3)).await? {
        Takes::Quoted => Err(refused),
        takes => replace(s3, what, key, &body, seen, *takes).await,
    }
}

async fn replace(s3: &S3, what: &str, key: &str, body: &Bytes, seen: &str, takes: Takes) -> Result<PutObjectOutput> {
    let condition = match takes {
        Takes::Quoted => quoted(seen),
        Takes::Bare => If::Match(bare(seen).to_owned()),
        Takes::Never if is_there(s3, key, seen).await? => If::Anything,
        Takes::Never => return Err(Error::new(Kind::Stale, format!("{what}: it has changed"))),
    };
    send(s3, what, key, body.clone(), condition).await
}

/// Tries it out. Nothing but an answer that leaves no doubt is taken for a way of the server's own.
async fn probe(s3: &S3) -> Result<Takes> {
    let key = format!("{}probe/{}", s3.settings.layout.own, fresh());
    let tried = try_out(s3, &key).await;
    if let Err(error) = own::erase(s3, std::slice::from_ref(&key)).await {
        tracing::info!(%error, "a canary was left behind");
    }
    tracing::debug!(?tried, "how the server takes conditions");
    tried
}

async fn try_out(s3: &S3, key: &str) -> Result<Takes> {
    let canary = Bytes::from("a canary of cachedeck: it may be deleted");
    own::write(s3, key, canary.clone()).await?;
    let Some(tag) = s3.head(key).await?.e_tag().map(str::to_owned) else { return Ok(Takes::Quoted) };
    let is_refused = async |condition| match send(s3, "trying out a condition", key, canary.clone(), condition).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == Kind::Stale => Ok(true),
        Err(error) => Err(error),
    };
    if !is_refused(quoted(&tag)).await? {
        return Ok(Takes::Quoted);
    }
    if is_refused(If::Match("0".repeat(32))).await? && !is_refused(If::Match(bare(&tag).to_owned())).await? {
        return Ok(Takes::Bare);
    }
    // What is busy refuses this, too, or refuses nothing a moment later.
    match !is_refused(If::Anything).await? && is_refused(quoted(&tag)).await? {
        true => Ok(Takes::Never),
        false => Ok(Takes::Quoted),
    }
}

fn quoted(tag: &str) -> If {
    If::Match(format!("\"{}\"", bare(tag)))
}

async fn is_there(s3: &S3, key: &str, tag: &str) -> Result<bool> {
    match s3.head(key).await {
        Ok(head) => Ok(head.e_tag().is_some_and(|is| bare(is) == bare(tag))),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn send(s3: &S3, what: &str, key: &str, body: Bytes, condition: If) -> Result<PutObjectOutput> {
    let replaces = matches!(condition, If::Match(_));
    let request = s3.client().await?.put_object().bucket(&s3.settings.bucket).key(key).body(ByteStream::from(body));
    let request = match condition {
        If::Absent => request.if_none_match("*"),
        If::Match(tag) => request.if_match(tag),
        If::Anything => request,
    };
    request.send().await.map_err(|e| match changing(what, e) {
        error if replaces && error.kind() == Kind::NotFound => Error::new(Kind::Stale, error.to_string()),
        error => error,
    })
}
