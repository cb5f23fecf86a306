//! Gives records up: asks buildkitd to prune those with the ids that are given, and no others.
//!
//! A request that names none would prune everything that nothing uses, and one with a filter of somebody's choosing might, as
//! filters are a language. So requests are made of [`Chosen`] only, which holds at least one id, each of small letters and
//! digits. buildkitd itself looks again whether a record is in use, under its lock.

use super::ask::{self, client, failed, within};
use super::way::Way;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Ids a request.
const BATCH: usize = 200;
/// The longest that one record takes to be removed.
const REMOVAL: Duration = Duration::from_secs(600);

/// Ids to prune: one at least, all of them harmless.
#[derive(Debug)]
struct Chosen<'a>(Vec<&'a str>);

impl<'a> Chosen<'a> {
    /// [`Kind::Internal`] for none or too many, [`Kind::Invalid`] for what is no id.
    fn new(ids: &[&'a str]) -> Result<Self> {
        if ids.is_empty() || ids.len() > BATCH {
            return Err(Error::new(Kind::Internal, "a request to prune must name records"));
        }
        match ids.iter().find(|id| !is_id(id)) {
            Some(odd) => Err(no_id(odd)),
            None => Ok(Self(ids.to_vec())),
        }
    }

    /// Takes what has one of the ids, of whatever type. An old buildkitd knows no more than these two fields either.
    fn request(&self) -> proto::PruneRequest {
        let filter = self.0.iter().map(|id| format!("id=={id}")).collect();
        proto::PruneRequest { filter, all: true, ..Default::default() }
    }
}

/// Whether text is an id as BuildKit makes them.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 128 && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

fn no_id(text: &str) -> Error {
    Error::invalid(format!("{text:?} is no id of a record"))
}

/// Gives up records, on whichever of `nodes` they are, see [`crate::store::Store::discard`]. Records go with those that build
/// on them if both are asked for.
pub async fn records(
    nodes: &[(String, Way)],
    timeout: Duration,
    ids: &[String],
    progress: &Progress,
) -> Vec<Result<()>> {
    let mut ended: HashMap<&str, Result<()>> = HashMap::new();
    let mut asked: Vec<&str> = Vec::new();
    for id in ids {
        match is_id(id) {
            true => asked.push(id),
            false => drop(ended.insert(id, Err(no_id(id)))),
        }
    }
    let mut unknown: Option<Error> = None;
    for (name, way) in nodes {
        if let Err(error) = of_node(way, timeout, &asked, progress, &mut ended).await {
            unknown.get_or_insert(error.context(format!("node {name}")));
        }
    }
    let result = |id: &String| match (ended.get(id.as_str()), &unknown) {
        (Some(Err(error)), _) => Err(error.again()),
        (_, Some(error)) => Err(error.again()),
        // It is on no node, or was until now.
        _ => Ok(()),
    };
    ids.iter().map(result).collect()
}

/// What becomes of the records of one node. An error if that is not known.
async fn of_node<'a>(
    way: &Way,
    timeout: Duration,
    asked: &[&'a str],
    progress: &Progress,
    ended: &mut HashMap<&'a str, Result<()>>,
) -> Result<()> {
    let there: HashMap<String, bool> =
        ask::records(way, timeout).await?.into_iter().map(|record| (record.id, record.in_use)).collect();
    let mut free = Vec::new();
    for id in asked {
        match there.get(*id) {
            Some(true) => drop(ended.insert(id, Err(in_use(id)))),
            Some(false) => free.push(*id),
            None => {}
        }
    }
    for batch in free.chunks(BATCH) {
        if progress.is_cancelled() {
            batch.iter().for_each(|id| drop(ended.insert(id, Err(Error::cancelled()))));
            continue;
        }
        let pruned = prune(way, timeout, &Chosen::new(batch)?, progress).await;
        // Whatever the answer was, or if there was none: what is there now tells.
        let left: HashSet<String> = match ask::records(way, timeout).await {
            Ok(records) => records.into_iter().map(|record| record.id).collect(),
            Err(error) => return Err(pruned.err().unwrap_or(error)),
        };
        for id in batch {
            let result = match (left.contains(*id), &pruned) {
                (false, _) => Ok(()),
                (true, Err(error)) => Err(error.again()),
                (true, Ok(())) => Err(in_use(id)),
            };
            ended.insert(id, result);
        }
        // It removed something else: that must not go on.
        if let Err(error) = pruned
            && error.kind() == Kind::Internal
        {
            return Err(error);
        }
    }
    Ok(())
}

/// One request, and what came of it, as far as it says.
async fn prune(way: &Way, timeout: Duration, chosen: &Chosen<'_>, progress: &Progress) -> Result<()> {
    let connection = way.connect(timeout).await?;
    let begun = within(timeout.max(REMOVAL), async { client(&connection).prune(chosen.request()).await }).await;
    let mut events = match begun {
        Ok(events) => events.into_inner(),
        Err(status) => return Err(failed(way, &connection, &status).await),
    };
    let mut others = 0_u64;
    loop {
        match within(timeout.max(REMOVAL), events.message()).await {
            Ok(Some(record)) if chosen.0.contains(&record.id.as_str()) => {
                progress.add(1, u64::try_from(record.size).unwrap_or(0));
            }
            Ok(Some(_)) => others += 1,
            Ok(None) if others == 0 => return Ok(()),
            Ok(None) => {
                let what = format!("the builder removed {others} records that it was not asked to");
                return Err(Error::new(Kind::Internal, what)
                    .with_hint("this is a fault of that BuildKit; please tell us its version"));
            }
            Err(status) => return Err(failed(way, &connection, &status).await),
        }
    }
}

fn in_use(id: &str) -> Error {
    Error::new(Kind::Stale, format!("record {id} is in use, or something builds on it by now"))
        .with_hint("look again when the build is done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_named_records_is_ever_asked_to_go() {
        assert_eq!(Chosen::new(&[]).unwrap_err().kind(), Kind::Internal);
        for odd in ["", "a,b", "a==b", "A1", "a b", "*", "a\"", "é"] {
            assert_eq!(Chosen::new(&["abc", odd]).unwrap_err().kind(), Kind::Invalid, "{odd}");
        }
        let request = Chosen::new(&["abc", "d1"]).unwrap().request();
        assert_eq!(request.filter, ["id==abc", "id==d1"]);
        assert_ne!(request, proto::PruneRequest::default());
    }
}
