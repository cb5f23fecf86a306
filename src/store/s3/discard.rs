//! Gives up uploads in parts that nobody goes on with: what was sent of them takes space that no list of objects shows.

use super::S3;
use super::settings::Settings;
use super::{blobs, classify, time, write};
use crate::error::{Error, Kind, Result};
use crate::model::text;
use crate::progress::Progress;
use crate::store::keyed::holds;
use aws_sdk_s3::types::MultipartUpload;
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};

/// An upload that was begun or got a part since is somebody's who goes on with it.
const OLD: SignedDuration = SignedDuration::from_hours(48);
/// Requests at a time.
const IN_FLIGHT: usize = 8;
/// Between a key and an upload's id.
const ID: &str = "?uploadId=";

/// What an upload is called: the rest of its key, and its id.
pub fn name(settings: &Settings, key: &str, id: &str) -> String {
    format!("{}{ID}{id}", key.strip_prefix(&settings.layout.blobs).unwrap_or(key))
}

/// Gives uploads up; see [`crate::store::Store::discard`].
pub async fn uploads(s3: &S3, names: &[String], progress: &Progress) -> Vec<Result<()>> {
    let discard = |name: String| async move {
        holds(&s3.lost)?;
        progress.check()?;
        upload(s3, &name).await?;
        progress.add(1, 0);
        Ok(())
    };
    futures::stream::iter(names.iter().cloned()).map(discard).buffered(IN_FLIGHT).collect().await
}

async fn upload(s3: &S3, name: &str) -> Result<()> {
    let what = format!("giving up upload {}", text::safe(name));
    let (rest, id) = name.rsplit_once(ID).ok_or_else(|| Error::invalid(format!("{what}: it is not called so")))?;
    let key = format!("{}{rest}", s3.settings.layout.blobs);
    let begun = blobs::begun(s3.client().await?, &s3.settings, &key).await?;
    let is_it = |(of, upload): &&(String, MultipartUpload)| *of == key && upload.upload_id() == Some(id);
    let Some((_, begun)) = begun.iter().find(is_it) else { return Ok(()) };
    let request = s3.client().await?.list_parts().bucket(&s3.settings.bucket).key(&key).upload_id(id);
    let parts = match request.send().await.map_err(|e| classify::classify(&what, e)) {
        Ok(parts) => parts,
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let last = parts.parts().iter().filter_map(|part| part.last_modified().and_then(time)).max();
    let last = last.max(begun.initiated().and_then(time));
    let now = s3.clock.now().unwrap_or_else(Timestamp::now);
    // A page has a thousand parts. What has more is not looked through: its beginning is old, or it is left alone.
    if last.is_none_or(|last| now.duration_since(last) < OLD) {
        let why = "it was begun or went on in the last two days, so somebody may be at it";
        return Err(Error::new(Kind::Stale, format!("{what}: {why}")));
    }
    write::give_up(s3, &key, id).await
}
