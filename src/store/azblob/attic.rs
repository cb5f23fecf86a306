//! Hides blobs: a copy goes to `.cachedeck/RUN/trash/`, and once it is there the blob itself is deleted, on the condition that it
//! was not written since it was looked at. Azure's ETags change with every write.

use super::{Place, own, write};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::plan::{RunId, Target};
use crate::progress::Progress;
use crate::store::all_fail;
use crate::store::keyed::{as_seen, holds};
use futures::StreamExt as _;
use jiff::SignedDuration;
use std::collections::{HashMap, HashSet};

/// Requests at a time.
const IN_FLIGHT: usize = 32;

/// Hides blobs; see [`crate::store::Store::hide`].
pub(super) async fn hide(
    place: &Place,
    run: &RunId,
    targets: &[Target],
    grace: SignedDuration,
    progress: &Progress,
) -> Vec<Result<()>> {
    let hide = |target: Target| async move {
        holds(&place.lost)?;
        progress.check()?;
        one(place, run, &target, grace).await?;
        progress.add(1, target.bytes);
        Ok(())
    };
    futures::stream::iter(targets.iter().copied()).map(hide).buffered(IN_FLIGHT).collect().await
}

async fn one(place: &Place, run: &RunId, target: &Target, grace: SignedDuration) -> Result<()> {
    let (key, copy) = (place.layout.blob(&target.digest), copy(place, run, &target.digest));
    let what = format!("hiding blob {}", target.digest);
    let head = own::head(place, &key).await.map_err(|e| e.context(&what))?;
    let size = head.length.ok_or_else(|| Error::corrupt(format!("{what}: the server does not say how long it is")))?;
    as_seen(target, (size, head.modified), grace, &place.container.clock)?;
    let tag = head.etag.ok_or_else(|| Error::corrupt(format!("{what}: the server tells no ETag")))?;
    let length = own::copy(place, (&key, &copy), ("x-ms-source-if-match", &tag)).await.map_err(|e| e.context(&what))?;
    if length != Some(target.bytes) {
        return Err(Error::corrupt(format!("{what}: the copy of it is not as long as it is")));
    }
    match write::delete(place, &key, &tag).await.map_err(|e| place.container.changing(&what, e)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == Kind::Stale => {
            // It stays where it is, so the copy is not needed.
            if let Err(left) = own::delete(place, &copy).await {
                tracing::info!(error = %left, "a copy was left behind");
            }
            Err(error)
        }
        // It is not sent again, for by then the blob may be somebody else's. The copy stays: it may be all there is.
        Err(error) if error.kind() == Kind::Unavailable => match own::head(place, &key).await {
            Err(gone) if gone.kind() == Kind::NotFound => Ok(()),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

fn copy(place: &Place, run: &RunId, digest: &Digest) -> String {
    format!("{}{digest}", place.layout.trash(run))
}

/// What `run` hid and neither brought back nor freed.
pub(super) async fn hidden(place: &Place, run: &RunId, targets: &[Target]) -> Result<Vec<Target>> {
    let written: HashMap<Digest, _> = targets.iter().map(|target| (target.digest, target.modified)).collect();
    let target = |(name, bytes): (String, u64)| {
        let digest = name.parse().ok()?;
        Some(Target { digest, bytes, modified: written.get(&digest).copied().flatten() })
    };
    Ok(own::list(place, &place.layout.trash(run)).await?.into_iter().filter_map(target).collect())
}

/// Copies blobs back; one that is there by now stays as it is. The copies are freed.
pub(super) async fn restore(place: &Place, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
    let copies = match hidden(place, run, targets).await {
        Ok(copies) => copies.into_iter().map(|copy| copy.digest).collect::<HashSet<Digest>>(),
        Err(error) => return all_fail(targets, &error),
    };
    let copies = &copies;
    let restore = |target: Target| async move {
        progress.check()?;
        let key = place.layout.blob(&target.digest);
        match own::head(place, &key).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound && copies.contains(&target.digest) => {
                let copy = copy(place, run, &target.digest);
                match own::copy(place, (&copy, &key), ("if-none-match", "*")).await {
                    Ok(length) if length == Some(target.bytes) => {}
                    Ok(_) => return Err(Error::corrupt(format!("blob {} did not come back whole", target.digest))),
                    // Somebody else may have written it meanwhile. The copy goes only if it is known to be there.
                    Err(error) if error.kind() == Kind::Stale => {
                        own::head(place, &key).await.map_err(|_| error)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        }
        if copies.contains(&target.digest) {
            own::delete(place, &copy(place, run, &target.digest)).await?;
        }
        progress.add(1, 0);
        Ok(())
    };
    futures::stream::iter(targets.iter().copied()).map(restore).buffered(IN_FLIGHT).collect().await
}

/// Frees copies, for good.
pub(super) async fn purge(place: &Place, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
    let free = |target: Target| async move {
        holds(&place.lost)?;
        progress.check()?;
        own::delete(place, &copy(place, run, &target.digest)).await?;
        progress.add(1, 0);
        Ok(())
    };
    futures::stream::iter(targets.iter().copied()).map(free).buffered(IN_FLIGHT).collect().await
}
