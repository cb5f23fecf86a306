//! A folder that a build writes to while it is read.

use super::*;
use cachedeck::error::Kind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Loads that have to end while the writer is at it, and the most rounds that it makes.
const LOADS: usize = 40;
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
