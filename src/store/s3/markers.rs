//! Hides blobs of a bucket that keeps versions: a delete marker takes the blob's place, and the version that was seen stays
//! below it. What a build writes or renews meanwhile is a newer version, which nothing here ever deletes.
//!
//! A marker does not say who made it. So what a run hides is written down before, below `.cachedeck/RUN/hidden/`, and with the
//! markers' ids after.

use super::S3;
use super::batch::{self, Doomed};
use super::classify::changing;
use super::hide::IN_FLIGHT;
use super::own;
use super::versions::{self, Kept};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::plan::{RunId, Target};
use crate::progress::Progress;
use crate::store::all_fail;
use crate::store::keyed::{as_seen, fresh, holds};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A blob that a run hid, or was about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hidden {
    /// The blob as it was seen.
    pub target: Target,
    /// The version that was seen.
    pub version: String,
    /// The marker over it; unknown if we were interrupted.
    pub marker: Option<String>,
}

/// What a run wrote down.
#[derive(Debug, Default)]
pub struct Records {
    /// By blob.
    pub hidden: HashMap<Digest, Hidden>,
    /// Keys of the records, with the blobs that each has.
    files: Vec<(String, Vec<Digest>)>,
}

fn folder(s3: &S3, run: &RunId) -> String {
    format!("{}{run}/hidden/", s3.settings.layout.own)
}

/// Reads what `run` wrote down.
pub async fn records(s3: &S3, run: &RunId) -> Result<Records> {
    let folder = folder(s3, run);
    let names = own::list(s3, &folder).await?;
    let read: Vec<(String, Vec<Hidden>)> = futures::stream::iter(names)
        .map(|(name, _)| format!("{folder}{name}"))
        .map(|key| async move {
            let bytes = own::read(s3, &key).await?;
            let hidden = serde_json::from_slice(&bytes).map_err(|e| {
                Error::corrupt(format!("{key} in bucket {} is no record of ours", s3.settings.bucket)).with_source(e)
            })?;
            Ok::<_, Error>((key, hidden))
        })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    let mut records = Records::default();
    for (key, hidden) in read {
        records.files.push((key, hidden.iter().map(|hidden| hidden.target.digest).collect()));
        for hidden in hidden {
            // A later record of the same blob is the truer one, unless it was interrupted.
            let before = records.hidden.insert(hidden.target.digest, hidden.clone());
            if let Some(before) = before.filter(|before| hidden.marker.is_none() && before.marker.is_some()) {
                records.hidden.insert(before.target.digest, before);
            }
        }
    }
    Ok(records)
}

/// Hides blobs; see [`crate::store::Store::hide`].
pub async fn hide(
    s3: &S3,
    run: &RunId,
    targets: &[Target],
    grace: SignedDuration,
    progress: &Progress,
) -> Vec<Result<()>> {
    let mut results = Vec::with_capacity(targets.len());
    let stop = AtomicBool::new(false);
    for batch in targets.chunks(batch::BATCH) {
        results.extend(match some(s3, run, batch, (grace, &stop), progress).await {
            Ok(results) => results,
            Err(error) => all_fail(batch, &error),
        });
    }
    results
}

async fn some(
    s3: &S3,
    run: &RunId,
    targets: &[Target],
    (grace, stop): (SignedDuration, &AtomicBool),
    progress: &Progress,
) -> Result<Vec<Result<()>>> {
    let digests: Vec<Digest> = targets.iter().map(|target| target.digest).collect();
    let kept = versions::of_blobs(s3, &digests, progress).await?;
    let fit = |target: &Target| {
        let gone = || Error::not_found(format!("no {}", s3.blob(&target.digest)));
        let current = kept.get(&target.digest).and_then(Kept::current).ok_or_else(gone)?;
        as_seen(target, (current.size, current.modified), grace, &s3.clock)?;
        Ok(Hidden { target: *target, version: current.id.clone(), marker: None })
    };
    let fit: Vec<Result<Hidden>> = targets.iter().map(fit).collect();
    let record = format!("{}{}", folder(s3, run), fresh());
    let mut hidden: HashMap<Digest, Hidden> = fit.iter().flatten().map(|h| (h.target.digest, h.clone())).collect();
    write_down(s3, &record, hidden.values()).await?;
    let mark = |fit: std::result::Result<Hidden, Error>| async move {
        let mut hidden = fit?;
        holds(&s3.lost)?;
        progress.check()?;
        if stop.load(Relaxed) {
            return Err(no_marker(s3));
        }
        let marked = mark(s3, &hidden).await;
        stop.fetch_or(matches!(&marked, Err(e) if e.kind() == Kind::Corrupt), Relaxed);
        hidden.marker = marked?;
        progress.add(1, hidden.target.bytes);
        Ok(hidden)
    };
    let done: Vec<Result<Hidden>> = futures::stream::iter(fit).map(mark).buffered(IN_FLIGHT).collect().await;
    // What was not hidden after all stays written down: it may be, where an answer was lost.
    hidden.extend(done.iter().flatten().map(|h| (h.target.digest, h.clone())));
    write_down(s3, &record, hidden.values()).await?;
    Ok(done.into_iter().map(|done| done.map(drop)).collect())
}

async fn write_down(s3: &S3, record: &str, hidden: impl Iterator<Item = &Hidden>) -> Result<()> {
    let hidden: Vec<&Hidden> = hidden.collect();
    if hidden.is_empty() {
        return Ok(());
    }
    let bytes = serde_json::to_vec(&hidden);
    let bytes = bytes.map_err(|e| Error::new(Kind::Internal, "a record can't be put into words").with_source(e))?;
    own::write(s3, record, bytes.into()).await
}

/// Puts a marker over a blob; its id.
async fn mark(s3: &S3, hidden: &Hidden) -> Result<Option<String>> {
    let key = s3.settings.layout.blob(&hidden.target.digest);
    let what = format!("hiding {}", s3.blob(&hidden.target.digest));
    let request = s3.client().await?.delete_object().bucket(&s3.settings.bucket).key(&key);
    match request.send().await.map_err(|e| changing(&what, e)) {
        Ok(answer) => {
            let id = answer.version_id().filter(|id| *id != "null" && answer.delete_marker() == Some(true));
            id.map(|id| Some(id.to_owned())).ok_or_else(|| no_marker(s3))
        }
        // The marker may be there, and only the answer be lost.
        Err(error) if error.kind() == Kind::Unavailable => {
            let kept = versions::of_key(s3, &key).await?;
            kept.hidden_by().map(|marker| Some(marker.id.clone())).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

fn no_marker(s3: &S3) -> Error {
    let what = format!("bucket {} keeps no versions any more: nothing more is hidden", s3.settings.bucket);
    Error::corrupt(what).with_hint("turn versioning on again, then retry")
}

/// Those of `records` that are hidden.
pub async fn hidden(s3: &S3, records: &Records) -> Result<Vec<Target>> {
    let digests: Vec<Digest> = records.hidden.keys().copied().collect();
    let kept = versions::of_blobs(s3, &digests, &Progress::new()).await?;
    let is_hidden = |hidden: &&Hidden| {
        let kept = kept.get(&hidden.target.digest);
        kept.is_some_and(|kept| kept.hidden_by().is_some() && !kept.versions.is_empty())
    };
    Ok(records.hidden.values().filter(is_hidden).map(|hidden| hidden.target).collect())
}

/// Takes the markers away, one blob or more. A blob that was written again stays, and the version that was hidden is freed.
pub async fn restore(s3: &S3, hidden: &[&Hidden], progress: &Progress) -> Vec<Result<()>> {
    let plan = |hidden: &Hidden, kept: &Kept| match (kept.hidden_by(), kept.current(), kept.versions.first()) {
        (Some(top), _, Some(newest)) => {
            // Every marker over the newest version. Those of the same second may be below it, where they do nothing.
            let above = kept.markers.iter().filter(|marker| marker.id == top.id || marker.modified >= newest.modified);
            Ok((Vec::new(), above.map(|marker| marker.id.clone()).collect()))
        }
        (None, Some(current), _) if current.id == hidden.version => Ok((Vec::new(), Vec::new())),
        // It was never hidden.
        (None, Some(_), _) if hidden.marker.is_none() => Ok((Vec::new(), Vec::new())),
        (None, Some(_), _) => Ok(freed(hidden, kept)),
        _ => Err(Error::not_found(format!("no {}", s3.blob(&hidden.target.digest)))),
    };
    change(s3, hidden, plan, progress).await
}

/// Frees the versions that were hidden, and those before; then the markers, so that what was written since is what it stands for.
pub async fn purge(s3: &S3, hidden: &[&Hidden], progress: &Progress) -> Vec<Result<()>> {
    let plan = |hidden: &Hidden, kept: &Kept| match kept.current() {
        // Somebody brought it back, or it was never hidden.
        Some(current) if current.id == hidden.version || hidden.marker.is_none() => Ok((Vec::new(), Vec::new())),
        _ => Ok(freed(hidden, kept)),
    };
    change(s3, hidden, plan, progress).await
}

/// Versions, and then markers, that go.
type Going = (Vec<String>, Vec<String>);

fn freed(hidden: &Hidden, kept: &Kept) -> Going {
    let versions: Vec<String> =
        kept.since(&hidden.version, hidden.target.modified).iter().map(|version| version.id.clone()).collect();
    let newer = kept.versions.len() > versions.len();
    let ours =
        |id: &str| hidden.marker.as_deref().map_or_else(|| kept.hidden_by().is_some_and(|m| m.id == id), |m| m == id);
    let markers = kept.markers.iter().filter(|marker| !newer || ours(&marker.id)).map(|marker| marker.id.clone());
    (versions, markers.collect())
}

/// Deletes what `plan` says of each blob: versions first, and the markers over them only once those are gone.
async fn change(
    s3: &S3,
    hidden: &[&Hidden],
    plan: impl Fn(&Hidden, &Kept) -> Result<Going>,
    progress: &Progress,
) -> Vec<Result<()>> {
    let digests: Vec<Digest> = hidden.iter().map(|hidden| hidden.target.digest).collect();
    let kept = match versions::of_blobs(s3, &digests, progress).await {
        Ok(kept) => kept,
        Err(error) => return all_fail(hidden, &error),
    };
    let none = Kept::default();
    let going = |hidden: &&Hidden| plan(hidden, kept.get(&hidden.target.digest).unwrap_or(&none));
    let going: Vec<Result<Going>> = hidden.iter().map(going).collect();
    let mut results: Vec<Result<()>> =
        going.iter().map(|going| going.as_ref().map(drop).map_err(Error::again)).collect();
    for markers in [false, true] {
        let mut doomed = Vec::new();
        for (at, going) in going.iter().enumerate().filter(|(at, _)| results.get(*at).is_some_and(Result::is_ok)) {
            let key = s3.settings.layout.blob(&hidden[at].target.digest);
            let ids = going.iter().flat_map(|(versions, above)| if markers { above } else { versions });
            doomed.extend(ids.map(|id| (at, Doomed::version(&key, id))));
        }
        if let Err(lost) = holds(&s3.lost) {
            return all_fail(hidden, &lost);
        }
        let (places, doomed): (Vec<usize>, Vec<Doomed>) = doomed.into_iter().unzip();
        let deleted = batch::delete(s3, &doomed, progress).await;
        for (at, deleted) in places.into_iter().zip(deleted) {
            if let (Some(result), Err(error)) = (results.get_mut(at), deleted) {
                *result = Err(error);
            }
        }
    }
    results
}

/// Forgets the records all of whose blobs are `done`.
pub async fn forget(s3: &S3, records: &Records, done: &HashSet<Digest>) {
    let over = records.files.iter().filter(|(_, digests)| digests.iter().all(|digest| done.contains(digest)));
    let over: Vec<String> = over.map(|(key, _)| key.clone()).collect();
    if let Err(error) = own::erase(s3, &over).await {
        // It says of each that it is not hidden any more.
        tracing::info!(%error, "a record was left behind");
    }
}
