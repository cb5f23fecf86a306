//! Places where names lead to bare configs, and where not all can be read.

use super::{load, load_sums};
use crate::error::{Error, Kind, Result};
use crate::model::cache::Form;
use crate::model::digest::Digest;
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{CacheIndex, Inventory, State};
use crate::model::location::Location;
use crate::progress::Progress;
use crate::store::memory::Memory;
use crate::store::{BlobEntry, BlobReader, Capabilities, Listing, Opaque, Reference, References, Store};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A bucket: names with configs, and blobs.
struct Bucket {
    blobs: Memory,
    current: Vec<(&'static str, Bytes)>,
    past: Vec<(&'static str, Bytes)>,
    /// What is said of the past.
    told: Vec<Finding>,
    /// Names whose config can't be had, and why.
    refused: Vec<(&'static str, Kind)>,
}

impl Bucket {
    fn new(current: &[(&'static str, &[&[u8]])]) -> Self {
        let blobs = Memory::new(Location::new("s3"));
        let current = current.iter().map(|(name, layers)| (*name, config(layers))).collect();
        Self { blobs, current, past: Vec::new(), told: Vec::new(), refused: Vec::new() }
    }

    fn look(self) -> Inventory {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store: Arc<dyn Store> = Arc::new(self);
        let found = runtime.block_on(load(&store, &Progress::new())).unwrap();
        let sums = runtime.block_on(load_sums(&store, &Progress::new())).unwrap();
        assert!(sums.indexes.iter().all(|index| index.cache.is_none()));
        let mut bare = found.clone();
        bare.indexes.iter_mut().for_each(|index| index.cache = None);
        assert_eq!(format!("{sums:#?}"), format!("{bare:#?}"), "sums alone are the same sums");
        found
    }
}

/// A config that says all about its layers itself.
fn config(layers: &[&[u8]]) -> Bytes {
    let layer = |bytes: &&[u8]| {
        serde_json::json!({
            "blob": Digest::of(bytes),
            "parent": -1,
            "annotations": {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "diffID": Digest::of(bytes),
                "size": bytes.len(),
                "createdAt": "2026-01-01T00:00:00Z",
            },
        })
    };
    serde_json::json!({ "layers": layers.iter().map(layer).collect::<Vec<_>>() }).to_string().into()
}

fn references(when: &str, all: &[(&'static str, Bytes)]) -> References {
    let reference = |(at, (name, bytes)): (usize, &(&str, Bytes))| Reference {
        name: (*name).to_owned(),
        digest: None,
        size: Some(bytes.len() as u64),
        modified: Some("2026-02-02T00:00:00Z".parse().unwrap()),
        version: Some(format!("{when} {at}")),
    };
    References { items: all.iter().enumerate().map(reference).collect(), findings: Vec::new() }
}

#[async_trait::async_trait]
impl Store for Bucket {
    fn location(&self) -> &Location {
        self.blobs.location()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { bare_configs: true, find_dangling: false, ..self.blobs.capabilities() }
    }

    async fn references(&self) -> Result<References> {
        Ok(references("now", &self.current))
    }

    async fn past(&self) -> Result<References> {
        Ok(References { findings: self.told.clone(), ..references("past", &self.past) })
    }

    async fn document(&self, reference: &Reference, _limit: u64) -> Result<Bytes> {
        if let Some((_, kind)) = self.refused.iter().find(|(name, _)| *name == reference.name) {
            return Err(Error::new(*kind, "no"));
        }
        let (when, at) = reference.version.as_deref().unwrap().split_once(' ').unwrap();
        let all = if when == "now" { &self.current } else { &self.past };
        Ok(all[at.parse::<usize>().unwrap()].1.clone())
    }

    async fn blobs(
        &self,
        progress: &Progress,
        opaque: &Arc<Opaque>,
        batches: mpsc::Sender<Vec<BlobEntry>>,
    ) -> Result<Listing> {
        self.blobs.blobs(progress, opaque, batches).await
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.blobs.stat(digest).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        self.blobs.open(digest).await
    }
}

fn named<'a>(inventory: &'a Inventory, name: &str) -> &'a CacheIndex {
    inventory.indexes.iter().find(|i| i.tags.iter().any(|tag| tag == name)).unwrap()
}

fn state(inventory: &Inventory, bytes: &[u8]) -> State {
    inventory.blob(&Digest::of(bytes)).unwrap().state
}

#[test]
fn a_name_leads_to_a_config_that_is_no_blob() {
    let bucket = Bucket::new(&[("main", &[b"a", b"bb", b"gone"]), ("rel", &[b"bb"])]);
    let blobs: [&'static [u8]; 3] = [b"a", b"bb", b"nobody's"];
    for bytes in blobs {
        bucket.blobs.insert(bytes);
    }
    let found = bucket.look();
    let main = named(&found, "main");
    assert_eq!((main.form, main.is_dangling()), (Some(Form::Config), false));
    assert_eq!(main.digest, Digest::of(&config(&[b"a", b"bb", b"gone"])));
    assert_eq!(main.missing, [Digest::of(b"gone")]);
    assert_eq!((main.exclusive_bytes, main.shared_bytes), (1, 2));
    assert_eq!(main.summary.unwrap().max_bytes, 7);
    assert_eq!(main.modified, Some("2026-02-02T00:00:00Z".parse().unwrap()));
    assert_eq!((state(&found, b"a"), state(&found, b"nobody's")), (State::Live, State::Orphan));
    assert_eq!((found.usage.bytes, found.usage.indexes), (11, 2), "configs take no blob's room");
    assert!(found.complete);
}

#[test]
fn a_layer_that_says_nothing_of_itself_makes_it_useless() {
    let mut bucket = Bucket::new(&[]);
    bucket.blobs.insert(&b"a"[..]);
    let bare = serde_json::json!({ "layers": [{ "blob": Digest::of(b"a"), "parent": -1 }] });
    bucket.current.push(("main", bare.to_string().into()));
    let found = bucket.look();
    let problems: Vec<Problem> = named(&found, "main").findings.iter().map(|f| f.problem).collect();
    assert_eq!(problems, [Problem::Malformed]);
    assert_eq!(state(&found, b"a"), State::Live, "it is needed all the same");
}

#[test]
fn what_an_unread_version_needs_is_no_orphan() {
    for kind in [Kind::Denied, Kind::Unsupported, Kind::Unavailable, Kind::Unauthenticated] {
        let mut bucket = Bucket::new(&[("main", &[b"a"]), ("secret", &[b"bb"])]);
        bucket.refused.push(("secret", kind));
        bucket.blobs.insert(&b"a"[..]);
        bucket.blobs.insert(&b"bb"[..]);
        let found = bucket.look();
        let unread = named(&found, "secret");
        assert!(unread.unread && unread.known_digest().is_none() && !unread.is_dangling());
        assert_eq!(unread.findings[0].problem, Problem::Unreadable);
        assert_eq!((state(&found, b"a"), state(&found, b"bb")), (State::Live, State::Unknown), "{kind:?}");
        assert_eq!((found.usage.unknown_bytes, found.usage.orphan_bytes), (2, 0));
        assert!(!found.complete);
    }
}

#[test]
fn what_was_deleted_leaves_nothing_open() {
    for (problem, complete) in [(Problem::Deleted, true), (Problem::Limited, true), (Problem::Unreadable, false)] {
        let mut bucket = Bucket::new(&[("main", &[b"a"])]);
        bucket.blobs.insert(&b"a"[..]);
        bucket.told.push(Finding::new(problem, None, "something"));
        let found = bucket.look();
        assert_eq!((found.complete, found.warnings.len()), (complete, 1), "{problem:?}");
    }
}

#[test]
fn older_versions_of_a_name_can_be_chosen() {
    let mut bucket = Bucket::new(&[("main", &[b"a"]), ("rel", &[b"a", b"bb"])]);
    bucket.past = vec![("main", config(&[b"a", b"old"])), ("main", config(&[b"a", b"bb"])), ("main", config(&[b"a"]))];
    for bytes in ["a", "bb", "old"] {
        bucket.blobs.insert(bytes);
    }
    let found = bucket.look();
    assert_eq!(found.indexes.len(), 3, "the same content is the same version");
    let old = found.version(&Digest::of(&config(&[b"a", b"old"]))).unwrap();
    assert!(old.is_dangling() && old.tags.is_empty());
    assert_eq!(old.formerly, ["main"]);
    assert_eq!(named(&found, "main").formerly, Vec::<String>::new());
    assert_eq!(named(&found, "rel").formerly, ["main"], "one name's past is another's present");
    assert_eq!((state(&found, b"old"), state(&found, b"bb")), (State::Dangling, State::Live));
}
