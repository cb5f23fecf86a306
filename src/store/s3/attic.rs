//! Hides blobs of a bucket that keeps no versions: a copy goes to `.cachedeck/RUN/trash/`, and once it is there the blob itself
//! is deleted, on the condition that it was not written since. Where the server minds no such condition the blob is looked at
//! once more just before; what is then left of a risk is told by the store's promise.

use super::S3;
use super::batch::{self, Doomed};
use super::classify::changing;
use super::conditions::Conditions;
use super::hide::IN_FLIGHT;
use super::{own, time};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::plan::{RunId, Target};
use crate::progress::Progress;
use crate::store::all_fail;
use crate::store::keyed::{as_seen, holds};
use aws_sdk_s3::types::MetadataDirective;
use futures::StreamExt as _;
use jiff::SignedDuration;
use std::collections::HashMap;

/// Bytes that S3 copies in one request at most.
pub const COPIED: i64 = 5 << 30;

/// Hides blobs; see [`crate::store::Store::hide`].
pub async fn hide(
    s3: &S3,
    run: &RunId,
    targets: &[Target],
    grace: SignedDuration,
    progress: &Progress,
) -> Vec<Result<()>> {
    let conditions = match s3.conditions().await {
        Ok(conditions) => conditions,
        Err(error) => return all_fail(targets, &error),
    };
    let hide = |target: Target| async move {
        holds(&s3.lost)?;
        progress.check()?;
        one(s3, run, &target, grace, conditions).await?;
        progress.add(1, target.bytes);
        Ok(())
    };
    futures::stream::iter(targets.iter().copied()).map(hide).buffered(IN_FLIGHT).collect().await
}

async fn one(s3: &S3, run: &RunId, target: &Target, grace: SignedDuration, conditions: Conditions) -> Result<()> {
    let key = s3.settings.layout.blob(&target.digest);
    let copy = format!("{}{}", s3.settings.layout.trash(run), target.digest);
    let what = format!("hiding {}", s3.blob(&target.digest));
    let look = async || -> Result<(Option<aws_sdk_s3::primitives::DateTime>, Option<String>)> {
        let head = s3.head(&key).await.map_err(|e| e.context(&what))?;
        let size = head.content_length().and_then(|size| size.try_into().ok()).unwrap_or_default();
        as_seen(target, (size, head.last_modified().and_then(time)), grace, &s3.clock)?;
        Ok((head.last_modified().copied(), head.e_tag().map(str::to_owned)))
    };
    let (modified, tag) = look().await?;
    if i64::try_from(target.bytes).is_ok_and(|bytes| bytes > COPIED) {
        let why = "it is longer than the 5 GiB that S3 copies at once, so it could not come back";
        return Err(Error::new(Kind::Unsupported, format!("{what}: {why}")));
    }
    let request = s3.client().await?.copy_object().bucket(&s3.settings.bucket).key(&copy).copy_source(s3.source(&key));
    let request = request.set_copy_source_if_match(tag.clone()).metadata_directive(MetadataDirective::Replace);
    let request = request.metadata("cachedeck-modified", target.modified.map(|at| at.to_string()).unwrap_or_default());
    request.send().await.map_err(|e| changing(&what, e))?;
    let copied = s3.head(&copy).await.map_err(|e| e.context(&what))?;
    if copied.content_length().and_then(|size| u64::try_from(size).ok()) != Some(target.bytes) {
        return Err(Error::corrupt(format!("{what}: the copy of it is not as long as it is")));
    }
    if !conditions.time
        && let Err(error) = look().await
    {
        return Err(discarded(s3, copy, error).await);
    }
    let request = s3.client().await?.delete_object().bucket(&s3.settings.bucket).key(&key);
    let request = request.set_if_match(tag.filter(|_| conditions.tag && !conditions.time));
    let request = request.set_if_match_last_modified_time(modified.filter(|_| conditions.time));
    match request.send().await.map_err(|e| changing(&what, e)) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), Kind::Stale | Kind::NotFound) => Err(discarded(s3, copy, error).await),
        // It is not sent again, for by then the blob may be somebody else's. The copy stays: it may be all there is.
        Err(error) if error.kind() == Kind::Unavailable => match s3.head(&key).await {
            Err(gone) if gone.kind() == Kind::NotFound => Ok(()),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Takes a copy away that is not needed, for the blob stays, or is gone by itself.
async fn discarded(s3: &S3, copy: String, error: Error) -> Error {
    if error.kind() == Kind::NotFound {
        // Whoever deleted it may not have meant to; the copy is freed with the run.
        return error;
    }
    if let Err(left) = own::erase(s3, &[copy]).await {
        tracing::info!(error = %left, "a copy was left behind");
    }
    error
}

/// Copies that `run` made, with their lengths.
pub async fn copies(s3: &S3, run: &RunId) -> Result<HashMap<Digest, u64>> {
    let found = own::list(s3, &s3.settings.layout.trash(run)).await?;
    Ok(found.into_iter().filter_map(|(name, bytes)| Some((name.parse().ok()?, bytes))).collect())
}

/// Copies blobs back; one that is there by now stays as it is. The copies are freed.
pub async fn restore(s3: &S3, run: &RunId, digests: &[Digest], progress: &Progress) -> Vec<Result<()>> {
    let restore = |digest: Digest| async move {
        progress.check()?;
        back(s3, run, &digest).await?;
        progress.add(1, 0);
        Ok(())
    };
    let mut results: Vec<Result<()>> =
        futures::stream::iter(digests.iter().copied()).map(restore).buffered(IN_FLIGHT).collect().await;
    let back: Vec<Digest> =
        digests.iter().zip(&results).filter(|(_, r)| r.is_ok()).map(|(digest, _)| *digest).collect();
    let mut freed = purge(s3, run, &back, &Progress::new()).await.into_iter();
    for result in results.iter_mut().filter(|result| result.is_ok()) {
        *result = freed.next().unwrap_or(Ok(()));
    }
    results
}

async fn back(s3: &S3, run: &RunId, digest: &Digest) -> Result<()> {
    let key = s3.settings.layout.blob(digest);
    let copy = format!("{}{digest}", s3.settings.layout.trash(run));
    let what = format!("bringing back {}", s3.blob(digest));
    match s3.head(&key).await {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == Kind::NotFound => {}
        Err(error) => return Err(error.context(&what)),
    }
    let request = s3.client().await?.copy_object().bucket(&s3.settings.bucket).key(&key).copy_source(s3.source(&copy));
    // With the time it was written before, for whoever wants to know.
    match request.if_none_match("*").send().await.map_err(|e| changing(&what, e)) {
        Ok(_) => {}
        // Somebody else may have written it meanwhile; the copy goes only if it is known to be there.
        Err(error) if error.kind() == Kind::Stale => return s3.head(&key).await.map(drop).map_err(|_| error),
        // A server that knows no such condition. What it would write over has the same bytes, as its digest says.
        Err(error) if matches!(error.kind(), Kind::Unsupported | Kind::Invalid) => {
            let request = s3.client().await?.copy_object().bucket(&s3.settings.bucket).key(&key);
            request.copy_source(s3.source(&copy)).send().await.map_err(|e| changing(&what, e))?;
        }
        Err(error) => return Err(error),
    }
    s3.head(&key).await.map(drop).map_err(|e| e.context(&what))
}

/// Frees copies, for good.
pub async fn purge(s3: &S3, run: &RunId, digests: &[Digest], progress: &Progress) -> Vec<Result<()>> {
    if let Err(lost) = holds(&s3.lost) {
        return all_fail(digests, &lost);
    }
    let trash = s3.settings.layout.trash(run);
    let doomed: Vec<Doomed> = digests.iter().map(|digest| Doomed::object(&format!("{trash}{digest}"))).collect();
    batch::delete(s3, &doomed, progress).await
}
