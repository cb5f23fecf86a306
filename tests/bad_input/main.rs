//! Damaged, hostile and changing folders: each ends in a clear error or finding, in good time, without a panic, and
//! nothing in the folder is touched. Folders are real ones, built from the fixtures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
// Pipes, devices and what is opened are made and watched as Linux does it.
#![cfg(target_os = "linux")]

mod blobs;
mod changing;
mod documents;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod folder;
mod graphs;
mod tampered;
mod unreadable;

use cachedeck::error::Result;
use cachedeck::model::digest::Digest;
use cachedeck::model::finding::{Finding, Problem};
use cachedeck::model::inventory::{CacheIndex, Inventory};
use cachedeck::model::location::Location;
use cachedeck::ops::load;
use cachedeck::ops::verify::{self, Level};
use cachedeck::progress::Progress;
use cachedeck::store::{Store, catalog};
use fixtures::Fixture;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Whatever hangs is caught after this; all of it takes a fraction.
const LONGEST: Duration = Duration::from_secs(120);

/// A cache folder to be damaged.
struct Folder(Fixture);

impl Folder {
    /// The fixture `name`.
    fn of(name: &str) -> Self {
        Self(Fixture::unpack(name))
    }

    fn path(&self) -> PathBuf {
        self.0.path()
    }

    fn index_json(&self) -> PathBuf {
        self.path().join("index.json")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.hex())
    }

    /// Writes a blob, right or wrong.
    fn put_as(&self, digest: &Digest, bytes: impl AsRef<[u8]>) {
        // Blobs are read-only, as BuildKit leaves them.
        let _ = fs::remove_file(self.blob_path(digest));
        fs::write(self.blob_path(digest), bytes).unwrap();
    }

    fn put(&self, bytes: impl AsRef<[u8]>) -> Digest {
        let digest = Digest::of(bytes.as_ref());
        self.put_as(&digest, bytes);
        digest
    }

    /// A file of this length that takes no room.
    fn put_sparse(&self, digest: &Digest, length: u64) {
        fs::File::create(self.blob_path(digest)).unwrap().set_len(length).unwrap();
    }

    /// Changes what `index.json` lists.
    fn edit_index(&self, edit: impl FnOnce(&mut Vec<Value>)) {
        let mut index: Value = serde_json::from_slice(&fs::read(self.index_json()).unwrap()).unwrap();
        edit(index["manifests"].as_array_mut().unwrap());
        fs::write(self.index_json(), index.to_string()).unwrap();
    }

    /// Lets a new tag lead to `digest`.
    fn tag(&self, name: &str, digest: &Digest) {
        let size = fs::metadata(self.blob_path(digest)).map_or(0, |m| m.len());
        let annotations = json!({ "org.opencontainers.image.ref.name": name });
        self.edit_index(|list| list.push(json!({ "digest": digest, "size": size, "annotations": annotations })));
    }

    /// Writes a manifest with this config and layers, and tags it.
    fn version(&self, tag: &str, config: &Digest, layers: &[Digest]) -> Digest {
        let size = |digest: &Digest| fs::metadata(self.blob_path(digest)).map_or(7, |m| m.len());
        let layer = |d: &Digest| json!({ "mediaType": LAYER, "digest": d, "size": size(d) });
        let manifest = json!({
            "schemaVersion": 2,
            "config": { "mediaType": CACHE_CONFIG, "digest": config, "size": size(config) },
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        let digest = self.put(manifest.to_string());
        self.tag(tag, &digest);
        digest
    }

    fn load(&self) -> Result<Inventory> {
        load_at(&self.path())
    }

    fn verify(&self, level: Level) -> Vec<Finding> {
        untouched(&self.path(), move |path| async move {
            let store = open(&path)?;
            let inventory = load::load(&store, &Progress::new()).await?;
            Ok(verify::verify(&store, &inventory, level, &Progress::new()).await?.findings)
        })
        .unwrap()
    }
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

fn open(path: &Path) -> Result<Arc<dyn Store>> {
    catalog::open(&Location::local_dir(path.to_str().unwrap()))
}

/// Loads a folder and makes sure that nothing in it changed.
fn load_at(path: &Path) -> Result<Inventory> {
    untouched(path, |path| async move { load::load(&open(&path)?, &Progress::new()).await })
}

/// Does `work` in bounded time, and holds it to touching nothing below `path`.
fn untouched<T: Send + 'static, F: Future<Output = Result<T>>>(
    path: &Path,
    work: impl FnOnce(PathBuf) -> F + Send + 'static,
) -> Result<T> {
    let before = listing(path);
    let owned = path.to_owned();
    let result = in_time(move || work(owned));
    assert_eq!(listing(path), before, "something was touched");
    result
}

/// Does `work` on a thread of its own, so that even what blocks for ever fails in time.
fn in_time<T: Send + 'static, F: Future<Output = T>>(work: impl FnOnce() -> F + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let _ = sender.send(runtime.block_on(work()));
        runtime.shutdown_background();
    });
    match receiver.recv_timeout(LONGEST) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("not done after {LONGEST:?}"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(worker.join().unwrap_err()),
    }
}

/// Everything below `path`, as it would change if written to: type and mode, length, times of content and of state.
fn listing(path: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64, i64)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.unwrap();
            let m = entry.metadata().unwrap();
            all.insert(entry.path(), (m.mode(), m.len(), m.mtime(), m.mtime_nsec(), m.ctime_nsec()));
            if m.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    all
}

/// The version that `tag` leads to.
fn tagged<'a>(inventory: &'a Inventory, tag: &str) -> &'a CacheIndex {
    inventory.indexes.iter().find(|i| i.tags.iter().any(|t| t == tag)).unwrap_or_else(|| panic!("no {tag}"))
}

fn problems(findings: &[Finding]) -> Vec<Problem> {
    findings.iter().map(|f| f.problem).collect()
}

/// One finding of this sort, with these words.
#[track_caller]
fn says(findings: &[Finding], problem: Problem, words: &str) {
    let found = findings.iter().any(|f| f.problem == problem && f.message.contains(words));
    assert!(found, "no {problem:?} with {words:?} in {findings:#?}");
}

/// Each version of `before` is the same now.
#[track_caller]
fn unharmed(before: &Inventory, after: &Inventory) {
    for was in &before.indexes {
        let is = after.version(&was.digest).unwrap_or_else(|| panic!("{} is lost", was.digest));
        assert_eq!((&is.tags, is.form, is.summary), (&was.tags, was.form, was.summary));
        assert_eq!((&is.cache, &is.reach), (&was.cache, &was.reach));
        assert_eq!((&is.missing, &is.findings), (&was.missing, &was.findings));
    }
}

/// The most memory that this process ever took, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
