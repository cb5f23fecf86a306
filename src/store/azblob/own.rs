//! What is our own in a container, below `.cachedeck/`: notes and copies of what was hidden. No build looks there.

use super::Place;
use super::account::{Answer, Failure, whole};
use super::listing::Pages;
use crate::error::{Error, Kind, Result};
use azure_core::Method;
use bytes::Bytes;
use std::time::Duration;

/// The longest note that is read: the record of a run with a great many steps.
const NOTE_LIMIT: u64 = 256 << 20;
/// How often it is asked whether a copy is done. One within an account usually is at once.
const COPYING: Duration = Duration::from_millis(500);

/// Writes a small blob, on a condition: a header and its value. Its ETag.
pub(super) async fn upload(
    place: &Place,
    key: &str,
    bytes: Bytes,
    condition: Option<(&'static str, &str)>,
) -> std::result::Result<Option<String>, Failure> {
    let mut headers = vec![("x-ms-blob-type", "BlockBlob")];
    headers.extend(condition);
    let url = place.container.blob_url(key);
    place.container.send(Method::Put, url, &headers, Some(bytes)).await.map(|answer| answer.etag)
}

/// Writes a small object of ours, whatever was there.
pub(super) async fn write(place: &Place, key: &str, bytes: Bytes) -> Result<()> {
    let written = upload(place, key, bytes, None).await;
    written.map(drop).map_err(|e| place.container.changing(&format!("writing {key}"), e))
}

/// Reads an object of ours; with its ETag.
pub(super) async fn read(place: &Place, key: &str) -> Result<(Bytes, Option<String>)> {
    let what = format!("reading {key}");
    let answer = place.container.ask(Method::Get, place.container.blob_url(key)).await;
    let answer = answer.map_err(|e| place.container.classify(&what, e))?;
    let etag = answer.etag.clone();
    let bytes = whole(answer, NOTE_LIMIT).await.map_err(|e| Error::io(&what, e))?;
    let bytes = bytes.ok_or_else(|| Error::invalid(format!("{what}: it is longer than any note of ours")))?;
    Ok((bytes, etag))
}

/// What comes after `prefix` in keys that begin with it, sorted, with the lengths of the objects.
pub(super) async fn list(place: &Place, prefix: &str) -> Result<Vec<(String, u64)>> {
    let mut pages = Pages::new(&place.container, prefix, "");
    let mut found = Vec::new();
    while let Some(page) = pages.next().await? {
        let page = page.into_iter().filter(|entry| !entry.uncommitted);
        found.extend(page.filter_map(|entry| Some((entry.key.strip_prefix(prefix)?.to_owned(), entry.size))));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Deletes an object of ours. One that is gone is success.
pub(super) async fn delete(place: &Place, key: &str) -> Result<()> {
    let url = place.container.blob_url(key);
    let deleted = place.container.send(Method::Delete, url, &[("x-ms-delete-snapshots", "include")], None).await;
    match deleted.map_err(|e| place.container.changing(&format!("deleting {key}"), e)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is told of a blob without reading it.
pub(super) async fn head(place: &Place, key: &str) -> Result<Answer> {
    let answer = place.container.ask(Method::Head, place.container.blob_url(key)).await;
    answer.map_err(|e| place.container.classify(&format!("reading {key}"), e))
}

/// Copies a blob within the container, on conditions, and waits until that is done. Its length.
pub(super) async fn copy(
    place: &Place,
    (from, to): (&str, &str),
    condition: (&'static str, &str),
) -> Result<Option<u64>> {
    copy_from(place, &place.container.source_url(from), to, &[condition]).await
}

/// As [`copy`], from a URL within the account, which is never shown.
pub(super) async fn copy_from(
    place: &Place,
    source: &str,
    to: &str,
    conditions: &[(&'static str, &str)],
) -> Result<Option<u64>> {
    let what = format!("copying to {to}");
    let mut headers = vec![("x-ms-copy-source", source)];
    headers.extend(conditions);
    let copied = place.container.write(place.container.blob_url(to), &headers, None).await;
    copied.map_err(|e| place.container.changing(&what, e))?;
    loop {
        let head = head(place, to).await?;
        match head.copy.as_deref() {
            None | Some("success") => return Ok(head.length),
            Some("pending") => tokio::time::sleep(COPYING).await,
            Some(_) => return Err(Error::new(Kind::Unavailable, format!("{what}: Azure gave it up"))),
        }
    }
}
