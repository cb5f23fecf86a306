//! What a bucket can do about deleting safely: whether it keeps versions, and which conditions its server minds. The former is
//! only read; the latter is tried out on objects of our own, for there are servers that ignore a condition and delete.

use super::S3;
use super::classify::{changing, classify};
use super::own;
use crate::error::{Error, Kind, Result};
use crate::store::keyed::fresh;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::BucketVersioningStatus;

/// Whether a bucket keeps older versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// It does.
    On,
    /// It did once; what is written now has no version of its own.
    Suspended,
    /// It never did.
    Off,
    /// We may not know.
    Unknown,
}

/// The conditions that the server minds when it deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// That the object was last written when we think it was.
    pub time: bool,
    /// That it has the ETag that we think it has.
    pub tag: bool,
}

/// Asks the bucket whether it keeps versions.
pub async fn versioning(s3: &S3) -> Result<Versioning> {
    if s3.settings.is_directory() {
        return Ok(Versioning::Off);
    }
    let what = format!("asking bucket {} whether it keeps versions", s3.settings.bucket);
    let asked = s3.client().await?.get_bucket_versioning().bucket(&s3.settings.bucket).send().await;
    match asked.map_err(|e| classify(&what, e)) {
        Ok(answer) => Ok(match answer.status() {
            Some(BucketVersioningStatus::Enabled) => Versioning::On,
            None => Versioning::Off,
            // Any other word is no promise to keep what is written.
            Some(_) => Versioning::Suspended,
        }),
        Err(error) if error.kind() == Kind::Unsupported => Ok(Versioning::Off),
        Err(error) if matches!(error.kind(), Kind::Denied | Kind::Corrupt) => Ok(Versioning::Unknown),
        Err(error) => Err(error),
    }
}

/// Tries out the conditions, on objects below `.cachedeck/probe/`.
pub async fn probe(s3: &S3) -> Result<Conditions> {
    let key = format!("{}probe/{}", s3.settings.layout.own, fresh());
    let tried = async {
        Ok(Conditions { time: minds(s3, &key, Condition::Time).await?, tag: minds(s3, &key, Condition::Tag).await? })
    };
    let tried = tried.await;
    let erased = own::erase(s3, std::slice::from_ref(&key)).await;
    let conditions = tried?;
    if let Err(error) = erased {
        tracing::info!(%error, "a canary was left behind");
    }
    tracing::debug!(?conditions, "what the server minds");
    Ok(conditions)
}

#[derive(Clone, Copy)]
enum Condition {
    Time,
    Tag,
}

/// Whether a wrong condition keeps an object, and the right one does not.
async fn minds(s3: &S3, key: &str, condition: Condition) -> Result<bool> {
    own::write(s3, key, "a canary of cachedeck: it may be deleted".into()).await?;
    let head = s3.head(key).await?;
    let (Some(time), Some(tag)) = (head.last_modified().copied(), head.e_tag().map(str::to_owned)) else {
        return Ok(false);
    };
    let wrong = match condition {
        Condition::Time => (Some(DateTime::from_secs(time.secs() - 86_400)), None),
        Condition::Tag => (None, Some("\"00000000000000000000000000000000\"".to_owned())),
    };
    if !refuses(delete(s3, key, wrong).await)? {
        return Ok(false);
    }
    // Some say no, and delete all the same.
    match s3.head(key).await {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let right = match condition {
        Condition::Time => (Some(time), None),
        Condition::Tag => (None, Some(tag)),
    };
    match delete(s3, key, right).await {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), Kind::Denied | Kind::Unauthenticated | Kind::Unavailable) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Whether a delete was refused for its condition; what it can't be known from is an error.
fn refuses(deleted: Result<()>) -> Result<bool> {
    match deleted {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == Kind::Stale => Ok(true),
        Err(error) if matches!(error.kind(), Kind::Denied | Kind::Unauthenticated | Kind::Unavailable) => Err(error),
        // It does not know such conditions.
        Err(_) => Ok(false),
    }
}

async fn delete(s3: &S3, key: &str, (time, tag): (Option<DateTime>, Option<String>)) -> Result<()> {
    let what = format!("deleting {key} from bucket {}", s3.settings.bucket);
    let request = s3.client().await?.delete_object().bucket(&s3.settings.bucket).key(key);
    let request = request.set_if_match_last_modified_time(time).set_if_match(tag);
    request.send().await.map(drop).map_err(|e| changing(&what, e))
}

/// The error for a bucket that kept versions once.
pub fn suspended(bucket: &str) -> Error {
    let what = format!("bucket {bucket} has its versioning suspended, so that what is deleted there can't come back");
    Error::new(Kind::Unsupported, what).with_hint("turn versioning on again, then retry")
}
