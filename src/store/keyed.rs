//! Where s3 and azblob keep what: one object a cache config, under its name, and one a blob, under its digest. Also what
//! changing either has in common.

use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::location::Location;
use crate::model::plan::{RunId, Target};
use crate::store::http::Clock;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The folder that is ours, after the prefix.
const OWN: &str = ".cachedeck/";

/// How long a lease holds that nobody renews.
pub const LEASE: SignedDuration = SignedDuration::from_mins(15);
/// How often it is renewed.
pub const RENEWED: Duration = Duration::from_secs(4 * 60);

/// What the object says that keeps two cachedecks from changing one place at a time.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who changes the place.
    pub run: RunId,
    /// Until when, by the server's clock, unless it is renewed.
    pub until: Timestamp,
}

impl Lease {
    /// The bytes of the object.
    pub fn write(&self) -> Result<Bytes> {
        let words = serde_json::to_vec(self).map(Bytes::from);
        words.map_err(|e| Error::new(Kind::Internal, "a lease can't be put into words").with_source(e))
    }

    /// Reads them; `key` is for the error.
    pub fn read(key: &str, bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            let what = format!("{key} is no lease of cachedeck's");
            Error::corrupt(what).with_source(e).with_hint("delete that object if no cachedeck is changing the place")
        })
    }

    /// The error for whoever wants it meanwhile.
    pub fn busy(&self) -> Error {
        let what = format!("run {} is changing the place", self.run);
        Error::new(Kind::Busy, what).with_hint("try again once it is done")
    }
}

/// The error for a lease that somebody else was quicker to take.
pub fn beaten() -> Error {
    Error::new(Kind::Busy, "another cachedeck is about to change the place").with_hint("try again later")
}

/// Whether a change may go on. [`Kind::Busy`] once the lease was taken over by somebody else.
pub fn holds(lost: &AtomicBool) -> Result<()> {
    if !lost.load(Relaxed) {
        return Ok(());
    }
    Err(Error::new(Kind::Busy, "another cachedeck has taken over the place meanwhile")
        .with_hint("what is hidden stays hidden; look again, then retry"))
}

/// Whether a blob that has `size` and was written at `modified` still is what was seen, and old enough by the server's clock.
/// [`Kind::Stale`] if not.
pub fn as_seen(
    target: &Target,
    (size, modified): (u64, Option<Timestamp>),
    grace: SignedDuration,
    clock: &Clock,
) -> Result<()> {
    // Lists tell fractions of seconds where heads do not.
    let same = target.modified.zip(modified).is_some_and(|(was, is)| was.as_second() == is.as_second());
    let old = grace <= SignedDuration::ZERO
        || modified.zip(clock.now()).is_some_and(|(modified, now)| now.duration_since(modified) >= grace);
    let why = match () {
        () if size != target.bytes || !same => "it has changed since it was looked at",
        () if !old => "a build may be about to use it, as young as it is",
        () => return Ok(()),
    };
    Err(Error::new(Kind::Stale, format!("blob {}: {why}", target.digest)).with_hint("look again, then retry"))
}

/// A word that no other cachedeck uses for an object of its own; sorts by time.
pub fn fresh() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (nanoseconds, process) = (Timestamp::now().as_nanosecond(), std::process::id());
    format!("{nanoseconds:020}-{process}-{}", COUNT.fetch_add(1, Relaxed))
}

/// The beginnings of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Of cache configs; a name follows.
    pub manifests: String,
    /// Of blobs; a digest follows.
    pub blobs: String,
    /// Of what is our own: notes, and what is hidden. No build looks there.
    pub own: String,
}

impl Layout {
    /// As BuildKit has it in s3: options put together as they are.
    pub fn plain(location: &Location) -> Self {
        let prefix = location.value("prefix").unwrap_or_default();
        // Given, but empty, is as good as any.
        let under = |key, usual| format!("{prefix}{}", location.get(key).unwrap_or(usual));
        Self {
            manifests: under("manifests_prefix", "manifests/"),
            blobs: under("blobs_prefix", "blobs/"),
            own: format!("{prefix}{OWN}"),
        }
    }

    /// As BuildKit has it in azblob: options joined as Go joins paths. What is empty is left out, `.` and `..` are resolved
    /// as far as they go, and a slash in the beginning stays.
    pub fn joined(location: &Location) -> Self {
        let under = |path: &str| {
            let all = [location.get("prefix").unwrap_or_default(), path];
            let rooted = all.iter().find(|part| !part.is_empty()).is_some_and(|part| part.starts_with('/'));
            let mut parts: Vec<&str> = Vec::new();
            for part in all.iter().flat_map(|path| path.split('/')) {
                match part {
                    "" | "." => {}
                    ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
                    ".." if rooted => {}
                    part => parts.push(part),
                }
            }
            let path: String = parts.iter().map(|part| format!("{part}/")).collect();
            if rooted { format!("/{path}") } else { path }
        };
        Self {
            manifests: under(location.get("manifests_prefix").unwrap_or("manifests")),
            blobs: under(location.get("blobs_prefix").unwrap_or("blobs")),
            own: under(OWN),
        }
    }

    /// The key of a cache config.
    pub fn manifest(&self, name: &str) -> String {
        format!("{}{name}", self.manifests)
    }

    /// The key of a blob.
    pub fn blob(&self, digest: &Digest) -> String {
        format!("{}{digest}", self.blobs)
    }

    /// The key of a note of ours.
    pub fn note(&self, key: &str) -> String {
        format!("{}notes/{key}", self.own)
    }

    /// The beginning of the keys of what `run` hid, if that are copies; a digest follows.
    pub fn trash(&self, run: &RunId) -> String {
        format!("{}{run}/trash/", self.own)
    }

    /// The name under which a cache config is kept; `None` for the key of something else.
    pub fn name_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        // Where prefixes nest, the longer one tells; under one and the same, blobs are what digests name.
        let is_blob = key.starts_with(&self.blobs)
            && match self.blobs.len().cmp(&self.manifests.len()) {
                Ordering::Greater => true,
                Ordering::Equal => self.digest_of(key).is_some(),
                Ordering::Less => false,
            };
        key.strip_prefix(&self.manifests).filter(|name| !name.is_empty() && !is_blob && !key.starts_with(&self.own))
    }

    /// The blob that is kept under `key`; `None` for the key of something else.
    pub fn digest_of(&self, key: &str) -> Option<Digest> {
        key.strip_prefix(&self.blobs)?.parse().ok()
    }

    /// Whether a key that is no blob's has its place under the blobs' prefix all the same: as a cache config, or as a mark
    /// for a prefix itself.
    pub fn is_known(&self, key: &str) -> bool {
        key == self.blobs || key == self.manifests || key.starts_with(&self.own) || self.name_of(key).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(make: fn(&Location) -> Layout, options: &str) -> (String, String) {
        let Layout { manifests, blobs, own } = make(&format!("type=s3{options}").parse().unwrap());
        assert!(own.ends_with(".cachedeck/"));
        (manifests, blobs)
    }

    #[test]
    fn options_are_put_together_as_buildkit_does() {
        let text = |(a, b): (&str, &str)| (a.to_owned(), b.to_owned());
        assert_eq!(layout(Layout::plain, ""), text(("manifests/", "blobs/")));
        assert_eq!(layout(Layout::plain, ",prefix=team,blobs_prefix=b"), text(("teammanifests/", "teamb")));
        assert_eq!(layout(Layout::joined, ""), text(("manifests/", "blobs/")));
        for (options, manifests, blobs) in [
            (",prefix=team//a/,blobs_prefix=./b", "team/a/manifests/", "team/a/b/"),
            (",prefix=/team", "/team/manifests/", "/team/blobs/"),
            (",prefix=a,manifests_prefix=../../m,blobs_prefix=/b", "../m/", "a/b/"),
            (",prefix=/,blobs_prefix=../b", "/manifests/", "/b/"),
            (",prefix=,manifests_prefix=,blobs_prefix=/b", "", "/b/"),
        ] {
            assert_eq!(layout(Layout::joined, options), text((manifests, blobs)), "{options}");
        }
    }

    #[test]
    fn prefixes_may_nest() {
        let blob = format!("{}", Digest::of(b"x"));
        let names = |options: &str, keys: &[&str]| -> Vec<bool> {
            let layout = Layout::plain(&format!("type=s3,{options}").parse().unwrap());
            keys.iter().map(|key| layout.name_of(key).is_some()).collect()
        };
        assert_eq!(names("manifests_prefix=", &["a", "blobs/a", &blob]), [true, false, true]);
        assert_eq!(names("blobs_prefix=", &["a", "manifests/a"]), [false, true]);
        assert_eq!(names("blobs_prefix=,manifests_prefix=", &["a", &blob]), [true, false]);
    }

    #[test]
    fn keys_lead_back_to_what_they_hold() {
        let layout = Layout::plain(&"type=s3,prefix=p/".parse().unwrap());
        let digest = Digest::of(b"x");
        assert_eq!(layout.digest_of(&layout.blob(&digest)), Some(digest));
        assert_eq!(layout.name_of(&layout.manifest("a/b")), Some("a/b"));
        for other in ["p/manifests/", "manifests/a", "p/blobs/a"] {
            assert_eq!((layout.name_of(other), layout.digest_of(other)), (None, None), "{other}");
        }
    }
}
