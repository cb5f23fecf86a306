//! Writes an object on a condition: that there is none, or still the very one that was seen.

use super::classify::changing;
use super::{S3, bare, own};
use crate::error::{Error, Kind, Result};
use crate::store::keyed::fresh;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

/// What must be there for an object to be written.
enum If<'a> {
    Absent,
    Match(&'a str),
    Anything,
}

/// Writes `key` where there is nothing, or in place of what has the ETag `instead_of`; `what` says what for.
///
/// [`Kind::Stale`] if there is something else, or nothing any more.
pub async fn put(s3: &S3, what: &str, key: &str, body: Bytes, instead_of: Option<&str>) -> Result<PutObjectOutput> {
    let Some(seen) = instead_of else { return send(s3, what, key, body, If::Absent).await };
    let refused = match replace(s3, what, key, &body, seen).await {
        Err(error) if error.kind() == Kind::Stale => error,
        sent => return sent,
    };
    match is_there(s3, key, seen).await && refuses_all(s3).await? && is_there(s3, key, seen).await {
        true => send(s3, what, key, body, If::Anything).await,
        false => Err(refused),
    }
}

async fn replace(s3: &S3, what: &str, key: &str, body: &Bytes, seen: &str) -> Result<PutObjectOutput> {
    match send(s3, what, key, body.clone(), If::Match(seen)).await {
        // Ceph's gateway, 16 at least, takes the quotes for a part of the tag, which no object has then.
        Err(error) if error.kind() == Kind::Stale && is_there(s3, key, seen).await => {
            send(s3, what, key, body.clone(), If::Match(bare(seen))).await
        }
        sent => sent,
    }
}

/// Whether the server refuses even the condition that holds: Ceph's gateway does, 16 at least, where a bucket keeps versions. It is
/// tried out on an object of our own.
async fn refuses_all(s3: &S3) -> Result<bool> {
    let (key, canary) = (format!("{}probe/{}", s3.settings.layout.own, fresh()), Bytes::from("a canary of cachedeck"));
    let tried = async {
        own::write(s3, &key, canary.clone()).await?;
        let tag = s3.head(&key).await?.e_tag().unwrap_or_default().to_owned();
        replace(s3, "trying out a condition", &key, &canary, &tag).await
    };
    let tried = tried.await;
    if let Err(error) = own::erase(s3, std::slice::from_ref(&key)).await {
        tracing::info!(%error, "a canary was left behind");
    }
    match tried {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == Kind::Stale => Ok(true),
        Err(error) => Err(error),
    }
}

async fn is_there(s3: &S3, key: &str, tag: &str) -> bool {
    s3.head(key).await.is_ok_and(|head| head.e_tag().is_some_and(|is| bare(is) == bare(tag)))
}

async fn send(s3: &S3, what: &str, key: &str, body: Bytes, condition: If<'_>) -> Result<PutObjectOutput> {
    let request = s3.client().await?.put_object().bucket(&s3.settings.bucket).key(key).body(ByteStream::from(body));
    let request = match condition {
        If::Absent => request.if_none_match("*"),
        If::Match(tag) => request.if_match(tag),
        If::Anything => request,
    };
    request.send().await.map_err(|e| match (changing(what, e), condition) {
        (error, If::Match(_)) if error.kind() == Kind::NotFound => Error::new(Kind::Stale, error.to_string()),
        (error, _) => error,
    })
}
