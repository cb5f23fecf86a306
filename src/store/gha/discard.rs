//! Gives entries up, by their numbers: keys are the same for several refs, numbers are never used twice. One request at a time,
//! each for what was listed less than a minute before, and none again before it was looked what became of it.

use super::Gha;
use super::rest::Rest;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// GitHub wants no more than 180 deletions a minute.
const PACE: Duration = Duration::from_millis(350);
/// A list older than this says nothing about what is there.
const FRESH: Duration = Duration::from_secs(60);

/// Gives up the entries with these numbers, see [`crate::store::Store::discard`].
pub async fn entries(gha: &Gha, rest: &Rest, ids: &[String], progress: &Progress) -> Vec<Result<()>> {
    let mut results = Vec::new();
    let mut listed: Option<(Instant, HashSet<u64>)> = None;
    // What keeps one from being deleted, other than itself, would keep the others, too.
    let mut stopped: Option<Error> = None;
    let mut last: Option<Instant> = None;
    for id in ids {
        if progress.is_cancelled() {
            results.push(Err(Error::cancelled()));
            continue;
        }
        if let Some(error) = &stopped {
            results.push(Err(Error::new(error.kind(), format!("not tried, as another failed: {error}"))));
            continue;
        }
        let Ok(number) = id.parse::<u64>() else {
            results.push(Err(Error::invalid(format!("{id:?} is no number of an entry"))));
            continue;
        };
        if let Some(wait) = last.and_then(|last| PACE.checked_sub(last.elapsed())) {
            tokio::time::sleep(wait).await;
        }
        let fresh = listed.take().filter(|(at, _)| at.elapsed() < FRESH);
        let result = match fresh {
            Some(fresh) => Ok(fresh),
            None => now(rest).await.map(|numbers| (Instant::now(), numbers)),
        };
        let result = match result {
            Err(error) => Err(error),
            Ok((at, numbers)) => {
                let is_there = numbers.contains(&number);
                listed = Some((at, numbers));
                if is_there {
                    last = Some(Instant::now());
                    one(rest, number).await
                } else {
                    Ok(())
                }
            }
        };
        if let Err(error) = &result {
            stopped = Some(error.again());
        } else {
            progress.add(1, 0);
        }
        results.push(result);
    }
    gha.forget();
    results
}

/// Deletes one entry. Where it is not known what became of that, it is looked for.
async fn one(rest: &Rest, number: u64) -> Result<()> {
    match rest.delete(number).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::Unavailable => match now(rest).await {
            Ok(numbers) if !numbers.contains(&number) => Ok(()),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The numbers of all entries. [`Kind::Stale`] if they change each time they are read.
async fn now(rest: &Rest) -> Result<HashSet<u64>> {
    let listed = rest.list().await?;
    if !listed.complete {
        return Err(Error::new(
            Kind::Stale,
            "GitHub's list of caches changed each time it was read, so nothing was deleted",
        )
        .with_hint("try again when fewer runs save caches"));
    }
    Ok(listed.entries.iter().map(|entry| entry.id).collect())
}
