//! Other caches that may use the same blobs. In s3 and azblob, installations may share one `blobs_prefix` between several
//! `manifests_prefix`: whoever looks at one of them sees blobs that only the others need, and must not take those for orphans.
//!
//! It is looked for where a location names one of the prefixes itself, in the folders beside those that it names: a bounded
//! number of objects, of each its beginning. Caches further away are not found.

use super::keyed::Layout;
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::location::Location;
use crate::model::text;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeSet;

/// Folders beside that are looked into; of more it is not known what they hold.
const FOLDERS: usize = 64;
/// Objects of a folder that are read.
const READ: usize = 8;
/// Bytes of an object that are read.
pub const BEGINNING: u64 = 512;
/// Requests at a time.
const IN_FLIGHT: usize = 8;

/// What must be asked of a place for that.
#[async_trait]
pub trait Beside: Sync {
    /// Folders right below one, and whether these are all.
    async fn folders(&self, parent: &str) -> Result<(Vec<String>, bool)>;

    /// Some objects below a folder, with their lengths.
    async fn some(&self, folder: &str) -> Result<Vec<(String, u64)>>;

    /// The first [`BEGINNING`] bytes of an object, or more.
    async fn beginning(&self, key: &str) -> Result<Bytes>;
}

/// One finding for each folder that seems to hold cache configs of others.
pub async fn look(place: &dyn Beside, layout: &Layout, location: &Location) -> Result<Vec<Finding>> {
    let named = |key| location.get(key).is_some();
    if !named("manifests_prefix") && !named("blobs_prefix") {
        return Ok(Vec::new());
    }
    let mut parents = BTreeSet::new();
    for prefix in [&layout.manifests, &layout.blobs] {
        // The folder that it is in, and that which this is in.
        parents.extend([above(prefix), above(above(prefix))]);
    }
    let mut beside = BTreeSet::new();
    for parent in parents {
        let (folders, all) = place.folders(parent).await?;
        if !all || folders.len() > FOLDERS {
            return Ok(vec![shared(parent, "has more folders than can be looked into")]);
        }
        beside.extend(folders);
    }
    let own = [&layout.manifests, &layout.blobs, &layout.own];
    beside.retain(|folder| !own.iter().any(|own| own.starts_with(folder.as_str()) || folder.starts_with(own.as_str())));
    let found: Vec<Option<Finding>> = futures::stream::iter(beside)
        .map(|folder| async move {
            let holds = configs(place, &folder).await?;
            Ok::<_, Error>(holds.then(|| shared(&folder, "seems to hold cache configs")))
        })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

fn shared(folder: &str, why: &str) -> Finding {
    let folder = if folder.is_empty() { "the top folder".to_owned() } else { text::safe(folder).to_string() };
    Finding::new(Problem::Shared, None, format!("{folder} {why}: they may need blobs that nothing here needs"))
}

/// The folder that a prefix is in: all before the last slash but the one at its end.
fn above(prefix: &str) -> &str {
    let inner = prefix.strip_suffix('/').unwrap_or(prefix);
    inner.rfind('/').and_then(|at| prefix.get(..=at)).unwrap_or_default()
}

/// Whether some of the first objects of a folder begin as cache configs do, or may not be read.
async fn configs(place: &dyn Beside, folder: &str) -> Result<bool> {
    let is_blob = |key: &str| key.rsplit('/').next().is_some_and(|name| name.parse::<Digest>().is_ok());
    let mut objects = place.some(folder).await?;
    objects.retain(|(key, size)| *size > 0 && !is_blob(key));
    for (key, _) in objects.into_iter().take(READ) {
        match place.beginning(&key).await {
            Ok(bytes) if !is_config(&bytes) => {}
            Ok(_) => return Ok(true),
            Err(error) if error.kind() == Kind::NotFound => {}
            // What may not be read may be one.
            Err(error) if error.kind() == Kind::Denied => return Ok(true),
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a document begins like a cache config.
fn is_config(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let inside = text.trim_start().strip_prefix('{').map(str::trim_start);
    inside.is_some_and(|inside| inside.starts_with("\"layers\"") || inside.starts_with("\"records\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_in_folders() {
        for (prefix, parent) in [("", ""), ("blobs/", ""), ("a/blobs/", "a/"), ("a/b/c", "a/b/"), ("team-", "")] {
            assert_eq!(above(prefix), parent, "{prefix}");
        }
    }
}
