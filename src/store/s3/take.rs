//! Blobs that come from another bucket of the same server and account, or from elsewhere in this one: the server copies them.
//! What it refuses is left to be sent the usual way.

use super::attic::COPIED;
use super::classify::changing;
use super::{S3, write};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;

/// Whether the same server serves both, to whoever the same keys are.
fn is_kin(s3: &S3, from: &S3) -> bool {
    let keys = |s3: &S3| s3.settings.keys.as_ref().map(|keys| (keys.id.clone(), keys.session.clone()));
    s3.settings.endpoint == from.settings.endpoint
        && s3.settings.region == from.settings.region
        && keys(s3) == keys(from)
}

/// See [`crate::store::Store::take`].
pub async fn take(s3: &S3, digest: &Digest, size: u64, from: &S3) -> Result<bool> {
    let (key, source) = (s3.settings.layout.blob(digest), from.settings.layout.blob(digest));
    let is_itself = (&s3.settings.bucket, &key) == (&from.settings.bucket, &source);
    // A longer one would have to be copied in parts.
    if !is_kin(s3, from) || is_itself || i64::try_from(size).is_ok_and(|size| size > COPIED) {
        return Ok(false);
    }
    match s3.head(&key).await {
        Ok(head) => return write::renew(s3, digest, &head).await.map(|()| true),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error.context(s3.blob(digest))),
    }
    let theirs = match from.head(&source).await {
        Ok(head) => head,
        Err(error) if may_be_sent(error.kind()) => return Ok(false),
        Err(error) => return Err(error.context(from.blob(digest))),
    };
    if theirs.content_length().and_then(|length| u64::try_from(length).ok()) != Some(size) {
        return Err(Error::corrupt(format!("{} is not {size} bytes long, as it should be", from.blob(digest))));
    }
    let what = format!("copying {}", from.blob(digest));
    let request = s3.client().await?.copy_object().bucket(&s3.settings.bucket).key(&key);
    let request = request.copy_source(from.source(&source)).set_copy_source_if_match(theirs.e_tag().map(str::to_owned));
    let copied = request.send().await.map_err(|e| changing(&what, e));
    match copied {
        Ok(_) => {}
        Err(error) if may_be_sent(error.kind()) || error.kind() == Kind::Stale => return Ok(false),
        // It may have gone well, and only the answer was lost.
        Err(error) if error.kind() == Kind::Unavailable => match s3.head(&key).await {
            Ok(_) => {}
            Err(_) => return Err(error),
        },
        Err(error) => return Err(error),
    }
    let head = s3.head(&key).await.map_err(|e| e.context(&what))?;
    match head.content_length().and_then(|length| u64::try_from(length).ok()) == Some(size) {
        true => Ok(true),
        false => Err(Error::corrupt(format!("{what}: the copy of it is not as long as it is"))),
    }
}

/// Whether what the server does not do by itself may well go the usual way.
fn may_be_sent(kind: Kind) -> bool {
    matches!(kind, Kind::NotFound | Kind::Denied | Kind::Unauthenticated | Kind::Invalid | Kind::Unsupported)
}
