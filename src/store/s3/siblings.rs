//! What [`crate::store::siblings`] asks of a bucket.

use super::S3;
use super::classify::classify;
use super::pages::plain;
use crate::error::Result;
use crate::model::text;
use crate::store::siblings::{BEGINNING, Beside};
use async_trait::async_trait;
use aws_sdk_s3::types::{CommonPrefix, EncodingType};
use bytes::Bytes;

/// Objects of a folder that are listed.
const LISTED: i32 = 200;

#[async_trait]
impl Beside for S3 {
    async fn folders(&self, parent: &str) -> Result<(Vec<String>, bool)> {
        let request = self.client().await?.list_objects_v2().bucket(&self.settings.bucket).prefix(parent);
        let page = request.delimiter("/").encoding_type(EncodingType::Url).send().await;
        let page = page.map_err(|e| classify(&self.listing(), e))?;
        let folder =
            |prefix: &CommonPrefix| plain(prefix.prefix().unwrap_or_default(), page.encoding_type()).into_owned();
        Ok((page.common_prefixes().iter().map(folder).collect(), page.is_truncated() != Some(true)))
    }

    async fn some(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let request = self.client().await?.list_objects_v2().bucket(&self.settings.bucket).prefix(folder);
        let page = request.max_keys(LISTED).encoding_type(EncodingType::Url).send().await;
        let page = page.map_err(|e| classify(&self.listing(), e))?;
        let objects = page.contents().iter().map(|object| {
            let key = plain(object.key().unwrap_or_default(), page.encoding_type()).into_owned();
            (key, object.size().and_then(|size| size.try_into().ok()).unwrap_or_default())
        });
        Ok(objects.collect())
    }

    async fn beginning(&self, key: &str) -> Result<Bytes> {
        let what = format!("{} of bucket {}", text::safe(key), self.settings.bucket);
        let request = self.client().await?.get_object().bucket(&self.settings.bucket).key(key);
        let object = request.range(format!("bytes=0-{}", BEGINNING - 1)).send().await;
        let mut object = object.map_err(|e| classify(&what, e))?;
        // A server may send more than was asked for.
        let piece = object.body.next().await.transpose().map_err(|e| super::broken(&what, e.into()))?;
        Ok(piece.unwrap_or_default())
    }
}
