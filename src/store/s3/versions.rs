//! All versions of objects, where a bucket keeps them. Those of many blobs are listed along with their neighbours, which takes
//! far fewer requests than asking for each; those of a few are asked for one by one.

use super::S3;
use super::classify::classify;
use super::pages::{Guard, plain, time};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::progress::Progress;
use aws_sdk_s3::types::EncodingType;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// Lists at a time.
const IN_FLIGHT: usize = 24;
/// Blobs that a list of neighbours is meant to hold.
const SHARE: usize = 64;
/// A page of neighbours of which fewer than one in so many is asked for is not worth it.
const DENSITY: usize = 64;

/// A version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub id: String,
    pub size: u64,
    pub modified: Option<Timestamp>,
    /// Whether it is what the key stands for.
    pub is_latest: bool,
}

/// A delete marker: in the place of an object, it says that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub id: String,
    pub modified: Option<Timestamp>,
    /// Whether it is what the key stands for, so that the object is not there.
    pub is_latest: bool,
}

/// All that a bucket keeps of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Newest first.
    pub versions: Vec<Version>,
    /// Newest first.
    pub markers: Vec<Marker>,
}

impl Kept {
    /// What the key stands for.
    pub fn current(&self) -> Option<&Version> {
        self.versions.first().filter(|version| version.is_latest)
    }

    /// The marker that hides the object.
    pub fn hidden_by(&self) -> Option<&Marker> {
        self.markers.iter().find(|marker| marker.is_latest)
    }

    /// The ids of all, markers last.
    pub fn ids(&self) -> Vec<&str> {
        let versions = self.versions.iter().map(|version| version.id.as_str());
        versions.chain(self.markers.iter().map(|marker| marker.id.as_str())).collect()
    }

    /// The version with this id, and all older ones; without it, those written before `modified`.
    pub fn since(&self, id: &str, modified: Option<Timestamp>) -> &[Version] {
        // What has no version of its own is written over in place, and is another by then.
        let is_it = |version: &Version| {
            let same = version.modified.zip(modified).is_some_and(|(is, was)| is.as_second() == was.as_second());
            version.id == id && (id != "null" || same)
        };
        let older = |version: &Version| version.modified.zip(modified).is_some_and(|(is, was)| is < was);
        let at = self.versions.iter().position(is_it).or_else(|| self.versions.iter().position(older));
        at.and_then(|at| self.versions.get(at..)).unwrap_or_default()
    }
}

/// All versions of one key.
pub async fn of_key(s3: &S3, key: &str) -> Result<Kept> {
    let mut pages = Pages::new(s3, key);
    let mut found = BTreeMap::new();
    loop {
        let last = pages.next(&mut found).await?;
        // Keys that begin with this one come after it.
        if last.is_none_or(|last| last.as_str() > key) || pages.is_over() {
            return Ok(found.remove(key).unwrap_or_default());
        }
    }
}

/// All versions of blobs. Those of which there are none are left out.
pub async fn of_blobs(s3: &S3, digests: &[Digest], progress: &Progress) -> Result<HashMap<Digest, Kept>> {
    let mut length = 0;
    while digests.len() >> (4 * length) > SHARE && length < 8 {
        length += 1;
    }
    let mut groups: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    for digest in digests {
        groups.entry(digest.hex().chars().take(length).collect()).or_default().push(*digest);
    }
    let found: Vec<HashMap<Digest, Kept>> = futures::stream::iter(groups)
        .map(|(beginning, digests)| async move { neighbours(s3, &beginning, digests, progress).await })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

async fn neighbours(
    s3: &S3,
    beginning: &str,
    mut digests: Vec<Digest>,
    progress: &Progress,
) -> Result<HashMap<Digest, Kept>> {
    let layout = &s3.settings.layout;
    digests.sort();
    let mut found = HashMap::new();
    if digests.len() > 2 {
        let mut pages = Pages::new(s3, &format!("{}sha256:{beginning}", layout.blobs));
        let mut kept = BTreeMap::new();
        loop {
            progress.check()?;
            let last = pages.next(&mut kept).await?;
            let over = pages.is_over();
            // The last key of a page may go on with the next.
            let done = |digest: &Digest| over || last.as_ref().is_some_and(|last| layout.blob(digest) < *last);
            let asked = digests.iter().filter(|digest| done(digest)).count();
            let seen = kept.len();
            for digest in digests.extract_if(.., |digest| done(digest)) {
                found.extend(kept.remove(&layout.blob(&digest)).map(|kept| (digest, kept)));
            }
            kept.retain(|key, _| last.as_ref().is_some_and(|last| key == last));
            if over || digests.is_empty() {
                return Ok(found);
            }
            if asked * DENSITY < seen {
                break;
            }
        }
    }
    let each = digests.into_iter().map(|digest| async move {
        progress.check()?;
        Ok((digest, of_key(s3, &layout.blob(&digest)).await?))
    });
    let each: Vec<(Digest, Kept)> = futures::stream::iter(each).buffer_unordered(IN_FLIGHT / 4).try_collect().await?;
    found.extend(each.into_iter().filter(|(_, kept)| *kept != Kept::default()));
    Ok(found)
}

/// The pages of a list of versions.
struct Pages<'a> {
    s3: &'a S3,
    prefix: String,
    guard: Guard,
    mark: Option<(String, Option<String>)>,
    over: bool,
}

impl<'a> Pages<'a> {
    fn new(s3: &'a S3, prefix: &str) -> Self {
        Self { s3, prefix: prefix.to_owned(), guard: Guard::new(&s3.settings), mark: None, over: false }
    }

    fn is_over(&self) -> bool {
        self.over
    }

    /// Adds a page to `found`; the last key of it.
    async fn next(&mut self, found: &mut BTreeMap<String, Kept>) -> Result<Option<String>> {
        let bucket = &self.s3.settings.bucket;
        let what = format!("listing versions in bucket {bucket}");
        let (key, id) = self.mark.take().map_or((None, None), |(key, id)| (Some(key), id));
        let request = self.s3.client().await?.list_object_versions().bucket(bucket).prefix(&self.prefix);
        let request = request.encoding_type(EncodingType::Url).set_key_marker(key).set_version_id_marker(id);
        let page = request.send().await.map_err(|e| classify(&what, e))?;
        let mut last: Option<String> = None;
        for version in page.versions() {
            let key = plain(version.key().unwrap_or_default(), page.encoding_type()).into_owned();
            let kept = found.entry(key.clone()).or_default();
            kept.versions.push(Version {
                id: version.version_id().unwrap_or("null").to_owned(),
                size: version.size().and_then(|size| size.try_into().ok()).unwrap_or_default(),
                modified: version.last_modified().and_then(time),
                is_latest: version.is_latest() == Some(true),
            });
            last = last.max(Some(key));
        }
        for marker in page.delete_markers() {
            let key = plain(marker.key().unwrap_or_default(), page.encoding_type()).into_owned();
            found.entry(key.clone()).or_default().markers.push(Marker {
                id: marker.version_id().unwrap_or("null").to_owned(),
                modified: marker.last_modified().and_then(time),
                is_latest: marker.is_latest() == Some(true),
            });
            last = last.max(Some(key));
        }
        let id = page.next_version_id_marker().map(str::to_owned);
        let key = page.next_key_marker().map(|key| plain(key, page.encoding_type()).into_owned());
        let whole = key.as_ref().map(|key| format!("{key}\0{}", id.as_deref().unwrap_or_default()));
        if let Some(last) = &last {
            self.guard.key(last, true).map_err(|e| e.context(&what))?;
        }
        match self.guard.next(page.is_truncated(), whole).map_err(|e| e.context(&what))? {
            Some(_) => self.mark = key.map(|key| (key, id)),
            None => self.over = true,
        }
        Ok(last)
    }
}
