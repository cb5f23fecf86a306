//! Other caches that may use the same blobs. Installations may share one `blobs_prefix` between several `manifests_prefix`:
//! whoever looks at one of them sees blobs that only the others need, and must not take those for orphans.
//!
//! It is looked for where a location names one of the prefixes itself, in the folders beside those that it names: a bounded
//! number of objects, of each its beginning. Caches further away are not found.

use super::S3;
use super::classify::classify;
use super::pages::plain;
use crate::error::{Kind, Result};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::text;
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeSet;

/// Folders beside that are looked into; of more it is not known what they hold.
const FOLDERS: usize = 64;
/// Objects of a folder that are listed, and of those how many are read.
const LISTED: i32 = 200;
const READ: usize = 8;
/// Requests at a time.
const IN_FLIGHT: usize = 8;

/// One finding for each folder that seems to hold cache configs of others.
pub async fn look(s3: &S3) -> Result<Vec<Finding>> {
    let layout = &s3.settings.layout;
    let named = |key| s3.location.get(key).is_some();
    if !named("manifests_prefix") && !named("blobs_prefix") {
        return Ok(Vec::new());
    }
    let mut beside = BTreeSet::new();
    for prefix in [&layout.manifests, &layout.blobs] {
        // The folder itself, and that which it is in.
        let mut parent = prefix.as_str();
        for _ in 0..2 {
            parent = above(parent);
            let (folders, whole) = folders(s3, parent).await?;
            beside.extend(folders);
            if !whole {
                return Ok(vec![shared(parent, "has more folders than can be looked into")]);
            }
        }
    }
    let own = [&layout.manifests, &layout.blobs, &layout.own];
    beside.retain(|folder| !own.iter().any(|own| own.starts_with(folder.as_str()) || folder.starts_with(own.as_str())));
    if beside.len() > FOLDERS {
        return Ok(vec![shared(above(&layout.blobs), "has more folders than can be looked into")]);
    }
    let found: Vec<Option<Finding>> = futures::stream::iter(beside)
        .map(|folder| async move {
            let holds = configs(s3, &folder).await?;
            Ok::<_, crate::error::Error>(holds.then(|| shared(&folder, "seems to hold cache configs")))
        })
        .buffered(IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

fn shared(folder: &str, why: &str) -> Finding {
    let folder = if folder.is_empty() { "the bucket".to_owned() } else { text::safe(folder).into_owned() };
    let message = format!("{folder} {why}: they may need blobs that nothing here needs");
    Finding::new(Problem::Shared, None, message)
}

/// The folder that a prefix is in: all before the last slash but the one at its end.
fn above(prefix: &str) -> &str {
    let inner = prefix.strip_suffix('/').unwrap_or(prefix);
    inner.rfind('/').and_then(|at| prefix.get(..=at)).unwrap_or_default()
}

/// Folders right below one, and whether these are all.
async fn folders(s3: &S3, parent: &str) -> Result<(Vec<String>, bool)> {
    let what = format!("listing bucket {}", s3.settings.bucket);
    let request = s3.client().await?.list_objects_v2().bucket(&s3.settings.bucket).prefix(parent).delimiter("/");
    let page = request.encoding_type(EncodingType::Url).send().await.map_err(|e| classify(&what, e))?;
    let folder = |prefix: &aws_sdk_s3::types::CommonPrefix| {
        plain(prefix.prefix().unwrap_or_default(), page.encoding_type()).into_owned()
    };
    Ok((page.common_prefixes().iter().map(folder).collect(), page.is_truncated() != Some(true)))
}

/// Whether some of the first objects of a folder begin as cache configs do, or may not be read.
async fn configs(s3: &S3, folder: &str) -> Result<bool> {
    let what = format!("listing bucket {}", s3.settings.bucket);
    let request = s3.client().await?.list_objects_v2().bucket(&s3.settings.bucket).prefix(folder).max_keys(LISTED);
    let page = request.encoding_type(EncodingType::Url).send().await.map_err(|e| classify(&what, e))?;
    let keys = page.contents().iter().filter(|object| object.size().unwrap_or_default() > 0);
    let keys = keys.map(|object| plain(object.key().unwrap_or_default(), page.encoding_type()));
    let is_blob = |key: &str| key.rsplit('/').next().is_some_and(|name| name.parse::<Digest>().is_ok());
    let keys: Vec<String> = keys.filter(|key| !is_blob(key)).map(|key| key.into_owned()).take(READ).collect();
    for key in keys {
        match beginning(s3, &key).await {
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

async fn beginning(s3: &S3, key: &str) -> Result<Bytes> {
    let what = format!("{} of bucket {}", text::safe(key), s3.settings.bucket);
    let request = s3.client().await?.get_object().bucket(&s3.settings.bucket).key(key).range("bytes=0-511");
    let mut object = request.send().await.map_err(|e| classify(&what, e))?;
    // A server may send more than was asked for.
    let piece = object.body.next().await.transpose().map_err(|e| super::broken(&what, e.into()))?;
    Ok(piece.unwrap_or_default())
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
