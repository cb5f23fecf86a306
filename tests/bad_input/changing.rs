//! A folder that a build writes to while it is read.

use super::*;
use crate::tampered::Tampered;
use cachedeck::error::Kind;
use cachedeck::store::BlobEntry;
use cachedeck::store::memory::Memory;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Loads that have to end while the writer is at it, and the most rounds that it makes.
const LOADS: usize = 100;
const ROUNDS: usize = 100_000;

/// Exports and collects as BuildKit does: blobs, each renamed into place, then the config, then the manifest, then
/// `index.json` in place; then the version before goes, its manifest first.
struct Writer {
    folder: PathBuf,
}

impl Writer {
    fn put(&self, bytes: &str) -> Digest {
        let digest = Digest::of(bytes.as_bytes());
        let upload = self.folder.join("ingest/upload");
        fs::create_dir_all(&upload).unwrap();
        fs::write(upload.join("data"), bytes).unwrap();
        fs::rename(upload.join("data"), self.folder.join("blobs/sha256").join(digest.hex())).unwrap();
        fs::remove_dir_all(&upload).unwrap();
        digest
    }

    fn export(&self, round: usize) -> Vec<Digest> {
        let layers: Vec<Digest> = (0..3).map(|n| self.put(&format!("layer {n} of round {round}"))).collect();
        let layer = |digest: &Digest| json!({ "blob": digest, "parent": -1 });
        let records = json!([{ "digest": layers[0], "layers": [{ "layer": 0 }, { "layer": 1 }, { "layer": 2 }] }]);
        let config = json!({ "layers": layers.iter().map(layer).collect::<Vec<_>>(), "records": records }).to_string();
        let size = |n: usize| format!("layer {n} of round {round}").len();
        let descriptor = |(n, d): (usize, &Digest)| json!({ "mediaType": LAYER, "digest": d, "size": size(n) });
        let descriptors: Vec<Value> = layers.iter().enumerate().map(descriptor).collect();
        let digest = self.put(&config);
        let manifest = json!({
            "schemaVersion": 2,
            "config": { "mediaType": CACHE_CONFIG, "digest": digest, "size": config.len() },
            "layers": descriptors,
        })
        .to_string();
        let version = self.put(&manifest);
        let annotations = json!({ "org.opencontainers.image.ref.name": "latest" });
        let entry = json!({ "digest": version, "size": manifest.len(), "annotations": annotations });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        fs::write(self.folder.join("index.json"), index).unwrap();
        [version, digest].into_iter().chain(layers).collect()
    }

    fn collect(&self, blobs: &[Digest]) {
        blobs.iter().for_each(|b| fs::remove_file(self.folder.join("blobs/sha256").join(b.hex())).unwrap());
    }
}

#[test]
fn what_is_told_of_a_changing_folder_is_right_or_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    let writer = Writer { folder: folder.path().to_owned() };
    let mut last = writer.export(0);
    let (done, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (stop, count) = (done.clone(), rounds.clone());
    let writing = std::thread::spawn(move || {
        for round in 1..ROUNDS {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let next = writer.export(round);
            writer.collect(&last);
            last = next;
            count.store(round, Ordering::Relaxed);
        }
        last
    });
    let path = folder.path().to_owned();
    let (mut right, mut busy, mut changed) = (0, 0, 0);
    for _ in 0..LOADS {
        let path = path.clone();
        match in_time(move || async move { load::load(&open(&path)?, &Progress::new()).await }) {
            Err(error) => {
                assert_eq!(error.kind(), Kind::Busy, "{error}");
                busy += 1;
            }
            Ok(inventory) if !inventory.complete => {
                says(&inventory.warnings, Problem::Changed, "changed the location each time");
                changed += 1;
            }
            Ok(inventory) => {
                assert_eq!(inventory.warnings, [], "a changing folder is not a damaged one");
                assert_eq!(tagged(&inventory, "latest").summary.unwrap().layers, 3);
                for index in &inventory.indexes {
                    assert!(index.is_sound() && index.findings.is_empty() && index.reach.len() == 5, "{index:#?}");
                }
                right += 1;
            }
        }
    }
    done.store(true, Ordering::Relaxed);
    let last = writing.join().unwrap();
    eprintln!("{} rounds: {right} loads right, {changed} said changed, {busy} busy", rounds.load(Ordering::Relaxed));
    let inventory = load_at(folder.path()).unwrap();
    assert!(inventory.complete && inventory.warnings.is_empty());
    let [index] = inventory.indexes.as_slice() else { panic!("{} versions", inventory.indexes.len()) };
    assert_eq!((index.digest, inventory.usage.blobs, inventory.usage.orphan_blobs), (last[0], 5, 0));
}

#[test]
fn an_index_json_that_is_torn_each_time_is_busy_and_not_damaged() {
    let folder = Folder::of("local-min");
    let path = folder.index_json();
    let text = fs::read_to_string(&path).unwrap();
    let half = text[..text.len() / 2].to_owned();
    fs::write(&path, &half).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let stop = done.clone();
    let writing = std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            fs::write(&path, &half).unwrap();
        }
    });
    let load = || {
        let path = folder.path();
        in_time(move || async move { load::load(&open(&path)?, &Progress::new()).await }).unwrap_err()
    };
    // On a busy machine the writer may not get to write while a load waits for it.
    let error = (0..50).map(|_| load()).find(|e| e.kind() == Kind::Busy);
    done.store(true, Ordering::Relaxed);
    writing.join().unwrap();
    let error = error.expect("never said to be busy");
    assert!(error.to_string().contains("is being written") && error.hint().is_some());
    // Once nobody writes it any more, half of it is damage.
    assert_eq!(folder.load().unwrap_err().kind(), Kind::Corrupt);
}

/// A cache of one version in memory: its manifest, config and layer.
fn small() -> (Memory, [Digest; 3]) {
    let memory = Memory::new(Location::new("memory"));
    let layer = memory.insert("layer");
    let text = json!({ "layers": [{ "blob": layer, "parent": -1 }], "records": [] }).to_string();
    let config = memory.insert(text.clone());
    let manifest = json!({
        "schemaVersion": 2,
        "config": { "mediaType": CACHE_CONFIG, "digest": config, "size": text.len() },
        "layers": [{ "mediaType": LAYER, "digest": layer, "size": 5 }],
    });
    let manifest = memory.insert(manifest.to_string());
    (memory, [manifest, config, layer])
}

/// What is made of a store, and how often its blobs were listed.
fn load_from(store: Tampered) -> (Inventory, usize) {
    let store = Arc::new(store);
    let opened: Arc<dyn Store> = store.clone();
    let inventory = in_time(move || async move { load::load(&opened, &Progress::new()).await.unwrap() });
    (inventory, store.listings.load(Ordering::Relaxed))
}

#[track_caller]
fn sound(inventory: &Inventory, versions: usize) {
    assert!(inventory.complete && inventory.warnings.is_empty(), "{:?}", inventory.warnings);
    assert!(inventory.indexes.len() == versions && inventory.indexes.iter().all(CacheIndex::is_sound));
}

#[test]
fn a_folder_that_keeps_still_is_listed_once() {
    let (memory, [manifest, ..]) = small();
    memory.name("latest", manifest);
    let (inventory, listings) = load_from(Tampered::new(memory));
    sound(&inventory, 1);
    assert_eq!(listings, 1);
    // Nor does real damage cause more than a look at what is missing.
    let (memory, [_, _, layer]) = small();
    memory.lose(&layer);
    let (inventory, listings) = load_from(Tampered::new(memory));
    assert_eq!((inventory.indexes[0].missing.as_slice(), inventory.complete, listings), ([layer].as_slice(), true, 1));
}

#[test]
fn a_version_listed_before_its_layer_is_looked_at_again() {
    let (memory, [_, _, layer]) = small();
    let late = move |number, entry: BlobEntry| Some(entry).filter(|e| number > 1 || e.digest != layer);
    let (inventory, listings) = load_from(Tampered::new(memory).listing(late));
    sound(&inventory, 1);
    assert_eq!(listings, 2);
}

#[test]
fn a_version_collected_while_listed_is_not_damage() {
    let (memory, [manifest, _, layer]) = small();
    memory.lose(&layer);
    let collect = move |_, memory: &Memory| memory.lose(&manifest);
    let (inventory, listings) = load_from(Tampered::new(memory).changing(collect));
    sound(&inventory, 0);
    assert_eq!(listings, 2);
}

#[test]
fn a_config_that_goes_between_listing_and_reading_is_looked_at_again() {
    let (memory, [manifest, config, layer]) = small();
    memory.name("latest", manifest);
    let unread = move |_, mut entry: BlobEntry| {
        entry.document = entry.document.filter(|_| entry.digest != config);
        Some(entry)
    };
    let lose = move |number, memory: &Memory| {
        if number == 1 {
            memory.lose(&config);
        }
    };
    let (inventory, listings) = load_from(Tampered::new(memory).listing(unread).changing(lose));
    let index = tagged(&inventory, "latest");
    assert_eq!((index.missing.as_slice(), &index.cache, listings), ([config].as_slice(), &None, 2));
    assert!(!index.missing.contains(&layer) && index.findings.is_empty());
}

#[test]
fn what_changes_each_time_is_shown_and_said() {
    let (memory, [manifest, _, layer]) = small();
    memory.name("latest", manifest);
    let renamed = |number: usize, memory: &Memory| memory.name(&format!("tag{number}"), Digest::of(b"other"));
    let (other, _) = small();
    let never = move |_, entry: BlobEntry| Some(entry).filter(|e| e.digest != layer);
    for store in [Tampered::new(memory).changing(renamed), Tampered::new(other).listing(never)] {
        let (inventory, listings) = load_from(store);
        assert_eq!((listings, inventory.complete), (3, false));
        says(&inventory.warnings, Problem::Changed, "a build changed the location");
        assert!(inventory.version(&manifest).is_some_and(|v| v.cache.is_some()), "what was seen is shown");
    }
}
