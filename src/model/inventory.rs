//! Everything found at one location: its cache indexes, named or not, its blobs, and what is wrong.

use crate::error::{Error, Result};
use crate::model::actions::{self, Actions};
use crate::model::builder::Builder;
use crate::model::cache::{Cache, Form};
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Severity};
use crate::model::graph::Summary;
use crate::model::location::Location;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// One version of a cache (or an image): a manifest, or a config under a name.
#[derive(Clone, Debug)]
pub struct CacheIndex {
    /// Digest of the manifest, or of the bare config.
    pub digest: Digest,
    /// Its content could not be had, nor does the place tell its digest: then `digest` only tells it apart from others, and
    /// is never shown.
    pub unread: bool,
    /// Names that lead here, sorted. Untrusted text.
    pub tags: Vec<String>,
    /// Names that led here before, sorted, where the place or we ourselves remember it. Untrusted text.
    pub formerly: Vec<String>,
    /// Whether the location's own list leads here, with a name or without one; otherwise it is a dangling version.
    pub listed: bool,
    /// How it is written; `None` if it could not be read.
    pub form: Option<Form>,
    /// Bytes of the manifest itself.
    pub manifest_bytes: u64,
    /// Digest of the cache config, where it is a blob of its own.
    pub config: Option<Digest>,
    /// The cache; `None` for an image without one, for what could not be decoded, and where only sums were asked for.
    pub cache: Option<Arc<Cache>>,
    /// Counts and sizes of `cache`.
    pub summary: Option<Summary>,
    /// Every blob it reaches, itself included, with the size its parent gives; sorted by digest, each once.
    pub reach: Vec<Reached>,
    /// Reached blobs that are not there, sorted.
    pub missing: Vec<Digest>,
    /// Bytes of the present blobs that no other index of the location reaches: what collecting would free if this one went.
    pub exclusive_bytes: u64,
    /// Bytes of the present blobs that other indexes reach too.
    pub shared_bytes: u64,
    /// When its newest layer was made, of a cache's own; no file's time.
    pub created: Option<Timestamp>,
    /// When the manifest was written here.
    pub modified: Option<Timestamp>,
    /// What is wrong with this index; `exclusive_bytes` can't be trusted while it has errors.
    pub findings: Vec<Finding>,
}

/// A blob that an index reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// Which blob.
    pub digest: Digest,
    /// Bytes, as the descriptor says.
    pub size: u64,
    /// What it is used as.
    pub role: Role,
}

impl CacheIndex {
    /// Whether nothing leads here but knowing its digest.
    pub fn is_dangling(&self) -> bool {
        !self.listed
    }

    /// Whether it can be used as it is: read whole, and nothing missing.
    pub fn is_sound(&self) -> bool {
        self.missing.is_empty() && self.findings.iter().all(|f| f.severity < Severity::Error)
    }

    /// In one word, how it is.
    pub fn condition(&self) -> Condition {
        match (self.is_sound(), self.is_dangling()) {
            (false, _) => Condition::Damaged,
            (true, true) => Condition::Dangling,
            (true, false) => Condition::Live,
        }
    }

    /// When it was made: the newest layer, else the file's own time.
    pub fn time(&self) -> Option<Timestamp> {
        self.created.or(self.modified)
    }

    /// Its digest, where that is known.
    pub fn known_digest(&self) -> Option<Digest> {
        (!self.unread).then_some(self.digest)
    }

    /// The beginning of its digest for people, or a dash.
    pub fn short(&self) -> String {
        self.known_digest().map_or_else(|| "-".to_owned(), |digest| digest.short())
    }

    /// The first name, if any. Untrusted text.
    pub fn name(&self) -> Option<&str> {
        self.tags.first().map(String::as_str)
    }
}

/// What a blob is used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An envelope: manifest, index or list.
    Manifest,
    /// A cache config or an image config.
    Config,
    /// A layer.
    Layer,
    /// Nothing tells.
    Unknown,
}

impl Role {
    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Manifest => "manifest",
            Role::Config => "config",
            Role::Layer => "layer",
            Role::Unknown => "unknown",
        }
    }
}

/// How a version is, as far as one word says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// Whole, and under a name.
    Live,
    /// Whole, but under no name.
    Dangling,
    /// Something it needs is missing or unreadable, under a name or not.
    Damaged,
}

impl Condition {
    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Live => "live",
            Condition::Dangling => "dangling",
            Condition::Damaged => "damaged",
        }
    }
}

/// Who needs a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A name reaches it.
    Live,
    /// Only versions without a name reach it.
    Dangling,
    /// Nothing reaches it.
    Orphan,
    /// No version that could be read reaches it, but there are others.
    Unknown,
    /// Something reaches it, but it is not there.
    Missing,
}

impl State {
    /// The JSON name.
    pub fn name(self) -> &'static str {
        match self {
            State::Live => "live",
            State::Dangling => "dangling",
            State::Orphan => "orphan",
            State::Unknown => "unknown",
            State::Missing => "missing",
        }
    }
}

/// A blob of the location, or one that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Which blob.
    pub digest: Digest,
    /// Bytes it takes here; `None` if it is missing.
    pub size: Option<u64>,
    /// Bytes that manifests say it has, where one says so.
    pub declared: Option<u64>,
    /// When it was written here.
    pub modified: Option<Timestamp>,
    /// What it is used as.
    pub role: Role,
    /// Who needs it.
    pub state: State,
    /// How many indexes reach it.
    pub referrers: u32,
}

impl Blob {
    /// Whether it is there with another length than its manifests say.
    pub fn wrong_size(&self) -> bool {
        matches!((self.size, self.declared), (Some(is), Some(should)) if is != should)
    }
}

/// An upload that never finished, in `ingest/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Name of its folder. Untrusted text.
    pub name: String,
    /// Bytes in it.
    pub bytes: u64,
    /// When it was last written to.
    pub modified: Option<Timestamp>,
}

/// Totals of a location, in blobs and bytes. Missing blobs have no bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Blobs present.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that a name reaches.
    pub live_blobs: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Blobs that only versions without a name reach.
    pub dangling_blobs: u64,
    /// Their bytes.
    pub dangling_bytes: u64,
    /// Blobs that nothing reaches.
    pub orphan_blobs: u64,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Blobs of which it can't be told.
    pub unknown_blobs: u64,
    /// Their bytes.
    pub unknown_bytes: u64,
    /// Blobs that should be there and are not.
    pub missing_blobs: u64,
    /// Cache indexes and images, named or dangling.
    pub indexes: u64,
}

/// What looking closer needs of a place, and not every place gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Versions of caches.
    Caches,
    /// What blobs hold.
    Contents,
}

/// What only some sorts of places have to tell.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// What can't be had from this place, and why not, in half a sentence.
    pub lacks: Vec<(Need, String)>,
    /// What holds for the whole place and deserves to be seen all the time, in a few words each: `insecure`.
    pub notes: Vec<String>,
    /// Of a GitHub repository's cache: its entries, usage and limits.
    pub actions: Option<Arc<Actions>>,
    /// What a builder tells of itself.
    pub builder: Option<Arc<Builder>>,
}

/// A location, looked at whole.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// Where.
    pub location: Location,
    /// Named indexes by name, then dangling ones from new to old.
    pub indexes: Vec<CacheIndex>,
    /// Blobs sorted by digest, missing ones among them. Where the backend can't list any, those that versions need.
    pub blobs: Vec<Blob>,
    /// Unfinished uploads, by name.
    pub leftovers: Vec<Leftover>,
    /// Totals.
    pub usage: Usage,
    /// What only this sort of place has to tell.
    pub details: Details,
    /// What is wrong with the location as a whole.
    pub warnings: Vec<Finding>,
    /// Whether everything could be read. While it is `false`, "orphan" and "exclusive" are not to be relied on.
    pub complete: bool,
}

impl Inventory {
    /// Bytes that it takes: of blobs, or of a builder's records.
    pub fn bytes(&self) -> u64 {
        self.details.builder.as_ref().map_or(self.usage.bytes, |builder| builder.totals().bytes)
    }

    /// The version that the location itself names: by `digest`, else by `tag`, else `latest`, else the only one.
    ///
    /// [`crate::error::Kind::NotFound`] says which there are.
    pub fn selected(&self) -> Result<&CacheIndex> {
        // As BuildKit looks: for the whole name first, then for the tag of an image's name.
        let named = |is: &dyn Fn(&str) -> bool| self.indexes.iter().find(|i| i.tags.iter().any(|t| is(t)));
        let with_tag = |tag: &str| {
            let tag_of = |name: &str| name.rsplit_once(':').is_some_and(|(image, t)| t == tag && !image.is_empty());
            named(&|name| name == tag).or_else(|| named(&tag_of))
        };
        if let Some(digest) = self.location.asked_digest()? {
            return self.version(&digest).ok_or_else(|| {
                let what = format!("no version {digest} in {}", self.location.title());
                Error::not_found(what).with_hint("`cachedeck versions` lists those that are there")
            });
        }
        // Of a scope that several Git refs have, the one that was saved last.
        let in_scope = |scope: &str| {
            let is_it = |i: &&CacheIndex| i.tags.iter().any(|name| actions::scope_of(name) == scope);
            self.indexes.iter().filter(is_it).max_by_key(|i| i.modified.max(i.created))
        };
        let called = |name: &str| with_tag(name).or_else(|| in_scope(name));
        let usual = self.location.usual_name();
        let found = match (self.location.asked_name(), self.indexes.as_slice()) {
            (Some(tag), _) => called(tag),
            (None, [only]) => Some(only),
            (None, _) => called(usual),
        };
        found.ok_or_else(|| {
            let title = self.location.title();
            let what = match self.location.asked_name() {
                Some(tag) => format!("no tag {tag} in {title}"),
                None => format!("which version? nothing in {title} is tagged {usual}"),
            };
            let mut tags: Vec<&str> = self.indexes.iter().flat_map(|i| &i.tags).map(String::as_str).collect();
            tags.truncate(8);
            let hint = match tags.is_empty() {
                true => "no version has a tag: choose one by its digest, `cachedeck ls` lists them".to_owned(),
                false => format!("choose one by tag or digest; tags there: {}", tags.join(", ")),
            };
            Error::not_found(what).with_hint(hint)
        })
    }

    /// Why the place does not give what is needed, if it does not.
    pub fn lacks(&self, need: Need) -> Option<&str> {
        self.details.lacks.iter().find(|(what, _)| *what == need).map(|(_, why)| why.as_str())
    }

    /// [`crate::error::Kind::Unsupported`], and why, if the place does not give what is needed.
    pub fn require(&self, need: Need) -> Result<()> {
        let refuse = |why| Err(Error::unsupported(self.location.kind(), why));
        self.lacks(need).map_or(Ok(()), refuse)
    }

    /// The version with this digest.
    pub fn version(&self, digest: &Digest) -> Option<&CacheIndex> {
        self.indexes.iter().find(|i| i.digest == *digest)
    }

    /// The blob with this digest.
    pub fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs.binary_search_by(|b| b.digest.cmp(digest)).ok().map(|at| &self.blobs[at])
    }

    /// The indexes that reach `digest`.
    pub fn referrers<'a>(&'a self, digest: &'a Digest) -> impl Iterator<Item = &'a CacheIndex> + 'a {
        self.indexes.iter().filter(move |i| i.reach.binary_search_by(|r| r.digest.cmp(digest)).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn index(n: u8, tags: &[&str]) -> CacheIndex {
        CacheIndex {
            digest: Digest::from_bytes([n; 32]),
            unread: false,
            tags: tags.iter().map(|&t| t.to_owned()).collect(),
            formerly: Vec::new(),
            listed: !tags.is_empty(),
            form: None,
            manifest_bytes: 0,
            config: None,
            cache: None,
            summary: None,
            reach: Vec::new(),
            missing: Vec::new(),
            exclusive_bytes: 0,
            shared_bytes: 0,
            created: None,
            modified: None,
            findings: Vec::new(),
        }
    }

    fn inventory(location: &str, indexes: Vec<CacheIndex>) -> Inventory {
        Inventory {
            location: location.parse().unwrap(),
            indexes,
            blobs: Vec::new(),
            leftovers: Vec::new(),
            usage: Usage::default(),
            details: Details::default(),
            warnings: Vec::new(),
            complete: true,
        }
    }

    /// The number of the version that `location` leads to in a place with several.
    fn selected(location: &str) -> Result<u8> {
        let all = vec![
            index(1, &["docker.io/library/app:1.2", "v1"]),
            index(2, &["latest"]),
            index(3, &["localhost:5000/app"]),
            index(4, &[]),
        ];
        inventory(location, all).selected().map(|i| i.digest.as_bytes()[0])
    }

    #[test]
    fn a_location_names_its_version() {
        assert_eq!(selected("type=local,src=x").unwrap(), 2, "latest, where nothing is said");
        assert_eq!(selected("type=local,src=x,tag=v1").unwrap(), 1);
        let by_digest = format!("type=local,src=x,tag=v1,digest={}", Digest::from_bytes([4; 32]));
        assert_eq!(selected(&by_digest).unwrap(), 4, "a digest goes before a tag, and finds dangling versions");
        assert_eq!(selected("type=local,src=x,tag=1.2").unwrap(), 1, "an image's name ends with its tag");
        assert_eq!(selected("type=local,src=x,tag=docker.io/library/app:1.2").unwrap(), 1);
    }

    #[test]
    fn what_is_not_there_is_said_with_what_is() {
        let error = selected("type=local,src=x,tag=v2").unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.hint().unwrap().contains("v1, latest"), "{error:?}");
        let gone = format!("type=local,src=x,digest={}", Digest::from_bytes([9; 32]));
        assert_eq!(selected(&gone).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(selected("type=local,src=x,digest=sha256:12").unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn an_only_version_needs_no_name() {
        let only = |location: &str| inventory(location, vec![index(7, &[])]).selected().map(|i| i.digest);
        assert!(only("type=local,src=x").is_ok());
        let hint = only("type=local,src=x,tag=latest").unwrap_err();
        assert!(hint.hint().unwrap().contains("no version has a tag"));
        assert_eq!(inventory("type=local,src=x", vec![]).selected().unwrap_err().kind(), Kind::NotFound);
    }
}
