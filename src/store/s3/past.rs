//! Older versions of cache configs, where the bucket keeps them: what was written over, and what was deleted.

use super::VERSION_ID;
use super::classify::classify;
use super::pages::{Guard, plain, time};
use super::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::model::finding::{Finding, Problem};
use crate::model::units;
use crate::store::{Reference, References};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{BucketVersioningStatus, EncodingType, ObjectVersion};
use std::collections::HashSet;

/// Versions of one name that are looked at: each takes a request.
const A_NAME: usize = 20;

/// What names led to before, newest first. Nothing where the bucket keeps no versions, or where we may not know.
pub async fn versions(client: &Client, settings: &Settings) -> Result<References> {
    let what = format!("listing older versions in bucket {}", settings.bucket);
    let versioning = client.get_bucket_versioning().bucket(&settings.bucket).send().await;
    let is_off = versioning
        .as_ref()
        .err()
        .and_then(SdkError::raw_response)
        .is_some_and(|answer| answer.status().is_success() && answer.body().bytes().is_some_and(says_never));
    match versioning.map_err(|e| classify(&what, e)) {
        _ if is_off => return Ok(References::default()),
        Ok(answer) if !is_kept(answer.status()) => return Ok(References::default()),
        Ok(_) => {}
        // Whether there are versions may be secret where they themselves are not, and some servers put it in other words.
        Err(error) if matches!(error.kind(), Kind::Denied | Kind::Corrupt) => {}
        Err(error) => return tolerate(error),
    }
    let mut found = Found::default();
    let mut guard = Guard::new(settings);
    let mut mark: Option<Mark> = None;
    loop {
        let request = client.list_object_versions().bucket(&settings.bucket).prefix(&settings.layout.manifests);
        let request = request
            .encoding_type(EncodingType::Url)
            .set_key_marker(mark.as_ref().map(|m| m.key.clone()))
            .set_version_id_marker(mark.and_then(|m| m.version));
        let page = match request.send().await.map_err(|e| classify(&what, e)) {
            Ok(page) => page,
            Err(error) => return tolerate(error),
        };
        for version in page.versions() {
            let key = plain(version.key().unwrap_or_default(), page.encoding_type());
            guard.key(&key, true).map_err(|e| e.context(&what))?;
            if let Some(name) = settings.layout.name_of(&key) {
                found.add(name, version);
            }
        }
        let version = page.next_version_id_marker().map(str::to_owned);
        let next = page.next_key_marker().map(|key| plain(key, page.encoding_type()).into_owned());
        let next = next.map(|key| Mark { whole: format!("{key}\0{}", version.as_deref().unwrap_or("")), key, version });
        mark = guard.next(page.is_truncated(), next).map_err(|e| e.context(&what))?;
        if mark.is_none() {
            return Ok(found.finish());
        }
    }
}

/// Where the next page begins.
struct Mark {
    key: String,
    version: Option<String>,
    whole: String,
}

impl AsRef<str> for Mark {
    fn as_ref(&self) -> &str {
        &self.whole
    }
}

/// Also where versions are no longer kept, those from before are.
fn is_kept(status: Option<&BucketVersioningStatus>) -> bool {
    matches!(status, Some(BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended))
}

/// Whether an answer about versioning, in other words than S3's, says that there never was any. It is worth a look: some servers
/// take longer to list versions than for all else.
fn says_never(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let is_whole = text.trim_start().starts_with('<') && text.trim_end().ends_with('>');
    is_whole && text.contains("Versioning") && !text.contains("Status")
}

/// Without the right to see versions, or on a server that has none, there are none to choose from.
fn tolerate(error: Error) -> Result<References> {
    match error.kind() {
        Kind::Denied | Kind::Unsupported => Ok(References::default()),
        _ => Err(error),
    }
}

/// Versions come by name, and newest first.
#[derive(Default)]
struct Found {
    items: Vec<Reference>,
    name: String,
    /// Contents of this name so far, the current one among them: a build that changes nothing writes the same again.
    tags: HashSet<String>,
    kept: usize,
    left_out: usize,
}

impl Found {
    fn add(&mut self, name: &str, version: &ObjectVersion) {
        if name != self.name {
            (self.name, self.kept) = (name.to_owned(), 0);
            self.tags.clear();
        }
        let known = version.e_tag().is_some_and(|tag| !self.tags.insert(tag.to_owned()));
        let Some(id) = version.version_id().filter(|_| !known && version.is_latest() != Some(true)) else { return };
        if self.kept == A_NAME {
            self.left_out += 1;
            return;
        }
        self.kept += 1;
        self.items.push(Reference {
            name: name.to_owned(),
            digest: None,
            size: version.size().and_then(|size| size.try_into().ok()),
            modified: version.last_modified().and_then(time),
            version: Some(format!("{VERSION_ID}{id}")),
        });
    }

    fn finish(mut self) -> References {
        self.items.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.name.cmp(&b.name)));
        let message = format!(
            "{} not shown: of each name, the {A_NAME} newest are",
            units::count(self.left_out, "older version")
        );
        let findings = (self.left_out > 0).then(|| Finding::new(Problem::Limited, None, message));
        References { items: self.items, findings: findings.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_without_a_status_says_that_there_are_no_versions() {
        let answer = |inner: &str| {
            format!("<?xml version=\"1.0\"?>\n<GetBucketVersioningResponse>{inner}</GetBucketVersioningResponse>\n")
        };
        assert!(says_never(answer("").as_bytes()));
        for other in [
            answer("<Status>Enabled</Status>"),
            answer("<Status>Suspended</Status>"),
            String::new(),
            "<html/>".to_owned(),
        ] {
            assert!(!says_never(other.as_bytes()), "{other}");
        }
        assert!(!says_never(b"<GetBucketVersioningResponse><Sta"));
    }
}
