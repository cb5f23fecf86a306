//! The cache of a GitHub repository as GitHub tells of it: entries, how much room they take, when they go. BuildKit keeps its
//! blobs and indexes among the entries of everybody else, and all of them share one quota.
//!
//! Keys are BuildKit's (`cache/remotecache/gha` and tonistiigi/go-actions-cache): `buildkit-blob-1-<digest>`, and
//! `index-<scope>-1-<first 8 hex of sha256(ref)>[-sig]#<n>`.

use crate::model::digest::Digest;
use crate::model::filter::{Field, FieldKind, Row, Value};
use jiff::{SignedDuration, Timestamp};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What every entry of BuildKit has as its `version`: the SHA-256 of `|go-actionscache-1.0`.
pub const VERSION: &str = "693bb7016429d80366022f036f84856888c9f13e00145f5f6f4dce303a38d6f2";

/// Where blobs begin; the digest follows.
const BLOB: &str = "buildkit-blob-1-";

/// How long GitHub keeps an entry that nobody uses, unless it says otherwise.
const USUAL_RETENTION: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A repository's cache.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actions {
    /// `OWNER/NAME`, where it is known. Untrusted text.
    pub repository: Option<String>,
    /// All entries, of BuildKit and of others, as they will be evicted: least recently used first.
    pub entries: Vec<Entry>,
    /// Whether `entries` are all there are. A workflow run's token alone lists none.
    pub listed: bool,
    /// What GitHub itself says is used; it lags some minutes behind.
    pub usage: Option<Used>,
    /// Bytes the repository may use. `None` where GitHub does not say.
    pub quota: Option<u64>,
    /// Days after which an unused entry goes. `None` where GitHub does not say.
    pub retention_days: Option<u32>,
    /// Requests that are left.
    pub rate: Option<Rate>,
    /// Refs that the run's token reaches; empty outside a run. Untrusted text.
    pub grants: Vec<Grant>,
    /// Whether contents can be read.
    pub contents: bool,
    /// What could not be had, and why, a sentence each. May hold untrusted text.
    pub unknown: Vec<String>,
}

/// Totals as GitHub tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How many requests of an hour are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests an hour.
    pub limit: u64,
    /// Those left.
    pub remaining: u64,
    /// When the hour is over.
    pub resets: Option<Timestamp>,
}

/// What a run's token may do with the entries of one ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The Git ref. Untrusted text.
    pub git_ref: String,
    /// Whether it may read.
    pub read: bool,
    /// Whether it may write.
    pub write: bool,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// GitHub's number of it; never used twice.
    pub id: u64,
    /// Its key. Untrusted text.
    pub key: String,
    /// The Git ref it belongs to. Untrusted text.
    pub git_ref: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes it takes.
    pub bytes: u64,
    /// When it was saved.
    pub created: Option<Timestamp>,
    /// When it was last restored.
    pub last_used: Option<Timestamp>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A layer blob.
    Blob(Digest),
    /// A cache config.
    Index(IndexKey),
    /// The signature of the cache config with this digest.
    Signature(Digest),
    /// Not BuildKit's.
    Other,
}

/// The key of a cache config.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexKey {
    /// The scope. Untrusted text.
    pub scope: String,
    /// First 8 hex digits of the SHA-256 of the Git ref.
    pub hash: String,
    /// Whether the builder signs its configs.
    pub signed: bool,
    /// The number of the save; the highest is the one in use.
    pub n: u64,
}

impl EntryKind {
    /// What the entry with `key` and `version` is.
    pub fn of(key: &str, version: &str) -> Self {
        if version != VERSION {
            return EntryKind::Other;
        }
        if let Some(rest) = key.strip_prefix(BLOB) {
            let (digest, signature) = rest.strip_suffix("-sig").map_or((rest, false), |digest| (digest, true));
            return match (digest.parse(), signature) {
                (Ok(digest), false) => EntryKind::Blob(digest),
                (Ok(digest), true) => EntryKind::Signature(digest),
                (Err(_), _) => EntryKind::Other,
            };
        }
        IndexKey::parse(key).map_or(EntryKind::Other, EntryKind::Index)
    }

    /// `blob`, `index`, `signature` or `other`.
    pub fn name(&self) -> &'static str {
        match self {
            EntryKind::Blob(_) => "blob",
            EntryKind::Index(_) => "index",
            EntryKind::Signature(_) => "signature",
            EntryKind::Other => "other",
        }
    }
}

/// The key of a layer blob.
pub fn blob_key(digest: &Digest) -> String {
    format!("{BLOB}{digest}")
}

impl IndexKey {
    /// Reads a key; `None` if it is no cache config's.
    pub fn parse(key: &str) -> Option<Self> {
        let (stem, n) = key.strip_prefix("index-")?.rsplit_once('#')?;
        let n = n.bytes().all(|b| b.is_ascii_digit()).then(|| n.parse().ok())??;
        let (stem, signed) = stem.strip_suffix("-sig").map_or((stem, false), |stem| (stem, true));
        let (scope, hash) = stem.rsplit_once("-1-")?;
        let is_hash = hash.len() == 8 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then(|| Self { scope: scope.to_owned(), hash: hash.to_owned(), signed, n })
    }

    /// The beginning of the keys of `scope` under `git_ref`, up to and with the `#`.
    pub fn stem(scope: &str, git_ref: &str, signed: bool) -> String {
        let signed = if signed { "-sig" } else { "" };
        format!("index-{scope}-1-{}{signed}#", &Digest::of(git_ref.as_bytes()).hex()[..8])
    }

    /// What the config is called here: the scope and the ref. An `@` in a scope does no harm, as refs begin with `refs/`.
    pub fn name(&self, git_ref: &str) -> String {
        // No ref can hold a colon.
        format!("{}@{git_ref}{}", self.scope, if self.signed { ":signed" } else { "" })
    }
}

/// The scope in a name that [`IndexKey::name`] made; any other text is a scope itself.
pub fn scope_of(name: &str) -> &str {
    name.rfind("@refs/").map_or(name, |at| &name[..at])
}

/// A ref as people say it: branches by their name alone.
pub fn short_ref(git_ref: &str) -> &str {
    git_ref.strip_prefix("refs/heads/").or(git_ref.strip_prefix("refs/")).unwrap_or(git_ref)
}

impl Entry {
    /// What it holds, in a word or two: its digest, its scope, its key. May hold untrusted text.
    pub fn what(&self) -> Cow<'_, str> {
        match &self.kind {
            EntryKind::Blob(digest) | EntryKind::Signature(digest) => digest.short().into(),
            EntryKind::Index(key) => format!("{}#{}", key.scope, key.n).into(),
            EntryKind::Other => self.key.as_str().into(),
        }
    }

    /// The scope, of a cache config. Untrusted text.
    pub fn scope(&self) -> Option<&str> {
        match &self.kind {
            EntryKind::Index(key) => Some(&key.scope),
            _ => None,
        }
    }

    /// When somebody last needed it.
    pub fn touched(&self) -> Option<Timestamp> {
        self.last_used.or(self.created)
    }
}

impl Row for Entry {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("key", FieldKind::Text),
            Field::new("kind", FieldKind::Text),
            Field::new("scope", FieldKind::Text),
            Field::new("ref", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("used", FieldKind::Time).or(&["last_used_at"]),
            Field::new("age", FieldKind::Time).or(&["created", "created_at"]),
            Field::new("id", FieldKind::Count),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let text = |text| Some(Value::Text(Cow::Borrowed(text)));
        match name {
            "key" => text(&self.key),
            "kind" => text(self.kind.name()),
            "scope" => text(self.scope()?),
            "ref" => text(&self.git_ref),
            "size" => Some(Value::Size(self.bytes)),
            "used" => self.touched().map(Value::Time),
            "age" => self.created.map(Value::Time),
            "id" => Some(Value::Count(self.id)),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {}", self.key, self.git_ref))
    }
}

/// What a group of entries adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Entries.
    pub entries: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Of them, cache configs.
    pub indexes: u64,
    /// Of them, layer blobs.
    pub blobs: u64,
    /// Bytes of the layer blobs.
    pub blob_bytes: u64,
    /// When one of them was last used.
    pub last_used: Option<Timestamp>,
}

impl Total {
    fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.bytes);
        match entry.kind {
            EntryKind::Index(_) => self.indexes += 1,
            EntryKind::Blob(_) => {
                self.blobs += 1;
                self.blob_bytes = self.blob_bytes.saturating_add(entry.bytes);
            }
            EntryKind::Signature(_) | EntryKind::Other => {}
        }
        self.last_used = self.last_used.max(entry.touched());
    }
}

impl Actions {
    /// Puts entries in the order they will be evicted in.
    pub fn sort(entries: &mut [Entry]) {
        entries.sort_by_key(|entry| (entry.touched(), entry.id));
    }

    /// Entries added up by what `group` says of each, sorted by it. What it says nothing of is left out.
    pub fn totals<'a, K: Ord>(&'a self, group: impl Fn(&'a Entry) -> Option<K>) -> BTreeMap<K, Total> {
        let mut totals: BTreeMap<K, Total> = BTreeMap::new();
        for entry in &self.entries {
            if let Some(key) = group(entry) {
                totals.entry(key).or_default().add(entry);
            }
        }
        totals
    }

    /// All entries added up.
    pub fn total(&self) -> Total {
        self.totals(|_| Some(())).into_values().next().unwrap_or_default()
    }

    /// Bytes used: what the entries add up to, or where they can't be listed, what GitHub says.
    pub fn used(&self) -> Option<u64> {
        if self.listed { Some(self.total().bytes) } else { self.usage.map(|used| used.bytes) }
    }

    /// How long an entry stays that nobody uses.
    pub fn retention(&self) -> SignedDuration {
        self.retention_days.map_or(USUAL_RETENTION, |days| SignedDuration::from_hours(i64::from(days) * 24))
    }

    /// When `entry` goes if nobody uses it, room or no room.
    pub fn expires(&self, entry: &Entry) -> Option<Timestamp> {
        entry.touched()?.checked_add(self.retention()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(key: &str) -> EntryKind {
        EntryKind::of(key, VERSION)
    }

    #[test]
    fn keys_say_what_entries_are() {
        let digest = Digest::of(b"x");
        assert_eq!(Digest::of(b"|go-actionscache-1.0").hex(), VERSION);
        assert_eq!(kind(&blob_key(&digest)), EntryKind::Blob(digest));
        assert_eq!(kind(&format!("{}-sig", blob_key(&digest))), EntryKind::Signature(digest));
        assert_eq!(EntryKind::of(&blob_key(&digest), "another"), EntryKind::Other);
        let index = |scope: &str, signed, n| {
            EntryKind::Index(IndexKey { scope: scope.into(), hash: "f921bd05".into(), signed, n })
        };
        assert_eq!(kind("index-web-1-f921bd05#1"), index("web", false, 1));
        assert_eq!(kind("index-web-1-f921bd05-sig#12"), index("web", true, 12));
        assert_eq!(kind("index--1-f921bd05#1"), index("", false, 1));
        assert_eq!(kind("index-a-1-b-1-f921bd05#1"), index("a-1-b", false, 1), "the hash is the last part");
        for other in [
            "index-web-1-f921bd05",
            "index-web-1-f921bd05#",
            "index-web-1-f921bd05#+1",
            "index-web-1-F921BD05#1",
            "index-web-1-f921bd0#1",
            "index-web-1-f921bd05#99999999999999999999999",
            "buildkit-blob-1-sha256:12",
            "node-cache-Linux-x64-npm",
        ] {
            assert_eq!(kind(other), EntryKind::Other, "{other}");
        }
    }

    #[test]
    fn names_lead_back_to_scopes() {
        assert_eq!(IndexKey::stem("web", "refs/heads/main", false), "index-web-1-f921bd05#");
        let key = IndexKey::parse("index-a@b-1-f921bd05-sig#3").unwrap();
        let name = key.name("refs/heads/main");
        assert_eq!(name, "a@b@refs/heads/main:signed");
        assert_eq!((scope_of(&name), scope_of("web")), ("a@b", "web"));
        assert_eq!(short_ref("refs/pull/7/merge"), "pull/7/merge");
    }
}
