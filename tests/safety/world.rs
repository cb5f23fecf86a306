//! Small caches, an exporter that works in BuildKit's order, and pruning as the commands do it.

use bytes::Bytes;
use cachedeck::error::{Kind, Result};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::model::plan::{Plan, RunId};
use cachedeck::model::policy::Policy;
use cachedeck::ops::apply::{self, Applied, Site};
use cachedeck::ops::journal::Journal;
use cachedeck::ops::prune::{self, Sight, Wish};
use cachedeck::ops::{load, settle};
use cachedeck::progress::Progress;
use cachedeck::state::State;
use cachedeck::store::memory::Memory;
use cachedeck::store::{Expected, Store};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A cache as BuildKit would export it: a manifest, its config, and layers.
#[derive(Clone)]
pub struct Version {
    pub layers: Vec<Bytes>,
    pub config: Bytes,
    pub manifest: Bytes,
}

impl Version {
    /// A version with these layers, one on top of the other.
    pub fn of(layers: &[&str]) -> Self {
        let layers: Vec<Bytes> = layers.iter().map(|layer| Bytes::from(format!("layer {layer}"))).collect();
        let digests: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let entry = |(at, digest): (usize, &Digest)| json!({"blob": digest, "parent": at as i64 - 1});
        // Each step has a result, and builds on the one before.
        let record = |at: usize| {
            let inputs = at.checked_sub(1).map(|below| json!([[{"link": below}]])).unwrap_or_default();
            json!({"digest": Digest::of(format!("step {at}").as_bytes()), "layers": [{"layer": at}], "inputs": inputs})
        };
        let config = json!({
            "layers": digests.iter().enumerate().map(entry).collect::<Vec<_>>(),
            "records": (0..digests.len()).map(record).collect::<Vec<_>>(),
        });
        let config = Bytes::from(config.to_string());
        let layer = |(digest, layer): (&Digest, &Bytes)| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": layer.len()});
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.buildkit.cacheconfig.v0",
                "digest": Digest::of(&config),
                "size": config.len(),
            },
            "layers": digests.iter().zip(&layers).map(layer).collect::<Vec<_>>(),
        });
        Self { layers, config, manifest: Bytes::from(manifest.to_string()) }
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// Puts all of it there at once.
    pub fn insert(&self, store: &Memory) {
        for bytes in self.layers.iter().chain([&self.config, &self.manifest]) {
            store.insert(bytes.clone());
        }
    }
}

/// `main` with `c`; an older version with `a` and `b` that lost its name; an orphan. All of them a month old.
pub fn grown() -> Arc<Memory> {
    let store = Arc::new(Memory::new(Location::new("memory")));
    let main = Version::of(&["c"]);
    main.insert(&store);
    store.name("main", main.digest());
    Version::of(&["a", "b"]).insert(&store);
    store.insert("layer orphan");
    store.advance(SignedDuration::from_hours(30 * 24));
    store
}

/// Exports as BuildKit does: each blob is looked for and skipped if it is there; config and manifest come then; the name last.
/// A name that somebody changed meanwhile is taken anyway.
pub async fn export(store: Arc<dyn Store>, name: &str, version: Version) {
    for bytes in version.layers.iter().chain([&version.config, &version.manifest]) {
        let digest = Digest::of(bytes);
        match store.stat(&digest).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound => {
                store.put(&digest, Box::new(std::io::Cursor::new(bytes.clone()))).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    loop {
        let references = store.references().await.unwrap().items;
        let expected = match references.into_iter().find(|reference| reference.name == name) {
            Some(reference) => Expected::Version(reference.version.unwrap()),
            None => Expected::Absent,
        };
        // BuildKit does not ask whether all is there.
        match store.publish(name, &version.manifest, &[], expected).await {
            Err(error) if error.kind() == Kind::Stale => continue,
            done => {
                done.unwrap();
                return;
            }
        }
    }
}

/// The id of a new plan.
pub fn id(now: Timestamp) -> RunId {
    static SALT: AtomicU32 = AtomicU32::new(0);
    RunId::new(now, SALT.fetch_add(1, Ordering::Relaxed))
}

pub async fn plan(store: &Arc<dyn Store>, clock: &Memory, wish: &Wish) -> Result<Plan> {
    let inventory = load::load(store, &Progress::new()).await?;
    let pins = journal(store).pins().await?;
    let now = clock.now();
    prune::plan(store, &Sight { inventory: &inventory, pins: &pins, now, id: id(now) }, wish).await
}

pub fn journal(store: &Arc<dyn Store>) -> Journal {
    Journal::new(store, &State::at(None, None))
}

/// Does `work` with what changing the place needs.
pub async fn site<T>(store: &Arc<dyn Store>, clock: &Arc<Memory>, work: impl AsyncFnOnce(&Site<'_>) -> T) -> T {
    let (journal, progress) = (journal(store), Progress::new());
    let clock = clock.clone();
    let now = move || clock.now();
    work(&Site { store, journal: &journal, clock: &now, progress: &progress }).await
}

/// Plans and applies, as `cachedeck prune --apply` does.
pub async fn prune(store: &Arc<dyn Store>, clock: &Arc<Memory>, wish: &Wish) -> Result<Applied> {
    let plan = plan(store, clock, wish).await?;
    site(store, clock, async |site| apply::apply(site, &plan, None).await).await
}

pub async fn undo(store: &Arc<dyn Store>, clock: &Arc<Memory>, run: &RunId) -> Result<settle::Undone> {
    site(store, clock, async |site| settle::undo(site, run).await).await
}

/// What `cachedeck prune DIR` wants.
pub fn usual() -> Wish {
    Wish::prune(Policy::default())
}

/// Blobs and names, all of them, with their bytes.
pub async fn contents(store: &Memory) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for reference in store.references().await.unwrap().items {
        all.push((reference.name, reference.digest.unwrap().to_string().into_bytes()));
    }
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1000);
    store.blobs(&Progress::new(), &Arc::default(), sender).await.unwrap();
    while let Some(batch) = receiver.recv().await {
        for entry in batch {
            let bytes = store.read(&entry.digest, u64::MAX - 1).await.unwrap();
            all.push((format!("{} {:?}", entry.digest, entry.modified), bytes.to_vec()));
        }
    }
    all.sort();
    all
}
