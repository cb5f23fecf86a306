//! What is our own in a bucket, below `.cachedeck/`: notes, records of what was hidden, canaries. No build looks there.

use super::S3;
use super::batch::{self, Doomed};
use super::classify::{changing, classify};
use super::pages::{Guard, plain};
use super::versions;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http_body_util::BodyDataStream;

/// The longest note that is read: the record of a run with a great many steps.
const NOTE_LIMIT: usize = 256 << 20;

/// Writes a small object of ours, whatever was there.
pub async fn write(s3: &S3, key: &str, bytes: Bytes) -> Result<()> {
    let what = format!("writing {key} in bucket {}", s3.settings.bucket);
    let request = s3.client().await?.put_object().bucket(&s3.settings.bucket).key(key);
    request.body(ByteStream::from(bytes)).send().await.map_err(|e| changing(&what, e))?;
    Ok(())
}

/// Reads an object of ours.
pub async fn read(s3: &S3, key: &str) -> Result<Bytes> {
    let what = format!("{key} in bucket {}", s3.settings.bucket);
    let object = s3.get(&what, key.to_owned(), None).await?;
    let mut body = BodyDataStream::new(object.body.into_inner());
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|e| super::broken(&what, e))?);
        if bytes.len() > NOTE_LIMIT {
            return Err(Error::invalid(format!("{what} is longer than any note of ours")));
        }
    }
    Ok(bytes.freeze())
}

/// What comes after `prefix` in keys that begin with it, sorted, with the lengths of the objects.
pub async fn list(s3: &S3, prefix: &str) -> Result<Vec<(String, u64)>> {
    let what = format!("listing {prefix} in bucket {}", s3.settings.bucket);
    let (mut found, mut token) = (Vec::new(), None);
    let mut guard = Guard::new(&s3.settings);
    loop {
        let request = s3.client().await?.list_objects_v2().bucket(&s3.settings.bucket).prefix(prefix);
        let request = request.encoding_type(EncodingType::Url).set_continuation_token(token);
        let page = request.send().await.map_err(|e| classify(&what, e))?;
        for object in page.contents() {
            let key = plain(object.key().unwrap_or_default(), page.encoding_type());
            guard.key(&key, false).map_err(|e| e.context(&what))?;
            let size = object.size().and_then(|size| size.try_into().ok()).unwrap_or_default();
            found.extend(key.strip_prefix(prefix).map(|rest| (rest.to_owned(), size)));
        }
        let next = page.next_continuation_token().map(str::to_owned);
        token = guard.next(page.is_truncated(), next).map_err(|e| e.context(&what))?;
        if token.is_none() {
            found.sort();
            return Ok(found);
        }
    }
}

/// Removes objects of ours for good, with whatever versions the bucket keeps of them.
pub async fn erase(s3: &S3, keys: &[String]) -> Result<()> {
    let mut doomed = Vec::new();
    for key in keys {
        match versions::of_key(s3, key).await {
            Ok(kept) if !kept.ids().is_empty() => {
                doomed.extend(kept.ids().into_iter().map(|id| Doomed::version(key, id)))
            }
            // A server that keeps none, or does not tell.
            Ok(_) => doomed.push(Doomed::object(key)),
            Err(error) if matches!(error.kind(), Kind::Denied | Kind::Unsupported | Kind::Corrupt | Kind::Invalid) => {
                doomed.push(Doomed::object(key));
            }
            Err(error) => return Err(error),
        }
    }
    batch::delete(s3, &doomed, &Progress::new()).await.into_iter().collect()
}
