//! Hides blobs, brings them back, frees them: by delete markers where the bucket keeps versions, else by copies. Also tells what
//! that is worth.

use super::S3;
use super::conditions::{self, Conditions, Versioning};
use super::{attic, markers};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::model::plan::{Promise, RunId, Target, Undo};
use crate::model::units;
use crate::progress::Progress;
use crate::store::all_fail;
use futures::StreamExt as _;
use jiff::SignedDuration;
use std::collections::HashSet;

/// Requests at a time.
pub const IN_FLIGHT: usize = 32;
/// What is younger stays: twice as long as a writer may take for granted what it has renewed.
const GRACE: SignedDuration = SignedDuration::from_hours(48);
/// Longer than any export takes.
const SETTLE: SignedDuration = SignedDuration::from_hours(6);

/// Hides blobs; see [`crate::store::Store::hide`].
pub async fn hide(
    s3: &S3,
    run: &RunId,
    targets: &[Target],
    grace: SignedDuration,
    progress: &Progress,
) -> Vec<Result<()>> {
    if targets.is_empty() {
        return Vec::new();
    }
    match conditions::versioning(s3).await {
        Ok(Versioning::On) => markers::hide(s3, run, targets, grace, progress).await,
        Ok(Versioning::Off | Versioning::Unknown) => attic::hide(s3, run, targets, grace, progress).await,
        Ok(Versioning::Suspended) => all_fail(targets, &conditions::suspended(&s3.settings.bucket)),
        Err(error) => all_fail(targets, &error),
    }
}

/// What `run` hid and neither brought back nor freed.
pub async fn hidden(s3: &S3, run: &RunId, targets: &[Target]) -> Result<Vec<Target>> {
    let records = markers::records(s3, run).await?;
    let mut hidden = markers::hidden(s3, &records).await?;
    for (digest, bytes) in attic::copies(s3, run).await? {
        let modified = targets.iter().find(|target| target.digest == digest).and_then(|target| target.modified);
        hidden.push(Target { digest, bytes, modified });
    }
    hidden.sort();
    hidden.dedup_by_key(|target| target.digest);
    Ok(hidden)
}

/// Brings blobs back; see [`crate::store::Store::restore`].
pub async fn restore(s3: &S3, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
    end(s3, run, targets, End::Restored, progress).await
}

/// Frees blobs; see [`crate::store::Store::purge`].
pub async fn purge(s3: &S3, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
    end(s3, run, targets, End::Freed, progress).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Restored,
    Freed,
}

async fn end(s3: &S3, run: &RunId, targets: &[Target], end: End, progress: &Progress) -> Vec<Result<()>> {
    if targets.is_empty() {
        return Vec::new();
    }
    let known = async { Ok::<_, Error>((markers::records(s3, run).await?, attic::copies(s3, run).await?)) };
    let (records, copies) = match known.await {
        Ok(known) => known,
        Err(error) => return all_fail(targets, &error),
    };
    let of = |wanted: &dyn Fn(&Digest) -> bool| -> Vec<usize> {
        targets.iter().enumerate().filter(|(_, target)| wanted(&target.digest)).map(|(at, _)| at).collect()
    };
    let copied = of(&|digest| copies.contains_key(digest));
    let marked = of(&|digest| !copies.contains_key(digest) && records.hidden.contains_key(digest));
    let digests: Vec<Digest> = copied.iter().map(|at| targets[*at].digest).collect();
    let hidden: Vec<&markers::Hidden> =
        marked.iter().filter_map(|at| records.hidden.get(&targets[*at].digest)).collect();
    let (by_copy, by_marker) = match end {
        End::Restored => {
            (attic::restore(s3, run, &digests, progress).await, markers::restore(s3, &hidden, progress).await)
        }
        End::Freed => (attic::purge(s3, run, &digests, progress).await, markers::purge(s3, &hidden, progress).await),
    };
    let mut results: Vec<Option<Result<()>>> = targets.iter().map(|_| None).collect();
    for (at, result) in copied.into_iter().zip(by_copy).chain(marked.into_iter().zip(by_marker)) {
        results[at] = Some(result);
    }
    let done =
        |(target, result): (&Target, &Option<Result<()>>)| matches!(result, Some(Ok(()))).then_some(target.digest);
    let done: HashSet<Digest> = targets.iter().zip(&results).filter_map(done).collect();
    markers::forget(s3, &records, &done).await;
    // Of the rest nothing is hidden.
    let digests: Vec<Digest> = targets.iter().map(|target| target.digest).collect();
    let rest = digests.into_iter().zip(results).map(|(digest, result): (Digest, Option<Result<()>>)| async move {
        match (result, end) {
            (Some(result), _) => result,
            (None, End::Freed) => Ok(()),
            (None, End::Restored) => s3.head(&s3.settings.layout.blob(&digest)).await.map(drop),
        }
    });
    futures::stream::iter(rest).buffered(IN_FLIGHT).collect().await
}

/// What is promised, as far as may be known without changing anything.
pub async fn promise(s3: &S3) -> Result<Promise> {
    let mut caveats = vec![
        "an export that takes longer than the settling time may miss what was freed".to_owned(),
        format!(
            "writers renew a blob once it is {} old; where some are set to renew later (touch_refresh), set the grace to \
             twice that",
            units::short_duration(s3.settings.touch_refresh)
        ),
        "a lifecycle rule of the bucket may delete at any time: let blobs live two days longer than manifests"
            .to_owned(),
    ];
    match conditions::versioning(s3).await? {
        Versioning::On => caveats.push("older versions of a blob are freed along with it".to_owned()),
        Versioning::Suspended => {
            caveats.push("versioning is suspended: blobs can't be hidden there until it is on again".to_owned());
        }
        versioning => {
            if versioning == Versioning::Unknown {
                let why = "whether the bucket keeps versions may not be known (s3:GetBucketVersioning): it is treated as if \
                           it kept none";
                caveats.push(why.to_owned());
            }
            caveats.push(window(s3.conditions.get()));
        }
    }
    Ok(Promise { grace: GRACE, settle: SETTLE, undo: Undo::UntilFreed, exact: true, caveats })
}

/// What is left of a risk without versions.
fn window(conditions: Option<&Conditions>) -> String {
    let copied = "what is hidden is copied to .cachedeck/ and deleted";
    match conditions {
        Some(Conditions { time: true, .. }) => format!("{copied} only if it was not written since it was looked at"),
        Some(_) => format!(
            "{copied}; the server minds no condition on that, so a blob that a build renews in the milliseconds between \
             the last look and the deletion is hidden, too, until it is brought back"
        ),
        None => format!(
            "{copied}; whether the server minds conditions on that is tried out when the first blob is hidden: if not, a \
             blob that a build renews in the milliseconds between the last look and the deletion is hidden, too, until it \
             is brought back"
        ),
    }
}
