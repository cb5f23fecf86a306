//! Races on real folders: exporters that work in BuildKit's order, step by step and without regard for anybody, while a cache is
//! pruned. Times are drawn at random; an export that began before blobs were hidden is done before they have settled, as is
//! promised. `just soak` runs 10,000 races.

use crate::world::{self, Version, usual};
use bytes::Bytes;
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::ops::apply::{self, Site};
use cachedeck::ops::journal::Journal;
use cachedeck::ops::prune::{self, Sight, Wish};
use cachedeck::ops::{load, settle};
use cachedeck::progress::Progress;
use cachedeck::state::State;
use cachedeck::store::{Store, catalog};
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Numbers that look random and can be drawn again from their seed: Knuth's MMIX generator.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn races() -> u64 {
    std::env::var("CACHEDECK_SOAK").map_or(200, |_| 10_000)
}

fn blob_path(folder: &Path, digest: &Digest) -> std::path::PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

/// As BuildKit's content store: what is there is left as it is, the rest goes through `ingest/`.
fn put(folder: &Path, bytes: &[u8]) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let digest = Digest::of(bytes);
    let path = blob_path(folder, &digest);
    if path.exists() {
        return;
    }
    let upload = folder.join("ingest").join(format!("{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&upload).unwrap();
    fs::write(upload.join("data"), bytes).unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::rename(upload.join("data"), path).unwrap();
    fs::remove_dir_all(upload).unwrap();
}

/// As BuildKit's index: a lock that is only tried, a rewrite in place, and the lock's file removed after it was given up.
/// Whether it could be had: if not, the build fails.
fn name(folder: &Path, name: &str, manifest: &[u8]) -> bool {
    let path = folder.join("index.json.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).unwrap();
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    let index: File =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.join("index.json")).unwrap();
    let mut bytes = vec![0; index.metadata().unwrap().len() as usize];
    index.read_exact_at(&mut bytes, 0).unwrap();
    let mut value: Value =
        serde_json::from_slice(&bytes).unwrap_or_else(|_| json!({"schemaVersion": 2, "manifests": []}));
    let entries = value["manifests"].as_array_mut().unwrap();
    let key = "org.opencontainers.image.ref.name";
    entries.retain(|entry| entry["annotations"][key] != name);
    entries.push(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(manifest),
        "size": manifest.len(),
        "annotations": {key: name},
    }));
    let bytes = value.to_string().into_bytes();
    index.write_all_at(&bytes, 0).unwrap();
    index.set_len(bytes.len() as u64).unwrap();
    flock(&lock, FlockOperation::Unlock).unwrap();
    let _ = fs::remove_file(&path);
    true
}

fn export(folder: &Path, tag: &str, version: &Version, dice: &mut Lcg, refused: &AtomicUsize) {
    let pause = |dice: &mut Lcg| std::thread::sleep(Duration::from_micros(dice.below(1500)));
    for bytes in version.layers.iter().chain([&version.config, &version.manifest]) {
        put(folder, bytes);
        pause(dice);
    }
    // Other exports may be at it: BuildKit would fail then, these go on trying.
    while !name(folder, tag, &version.manifest) {
        refused.fetch_add(1, Ordering::Relaxed);
        pause(dice);
    }
}

/// Tags that are gone, and blobs that are. Knows nothing of the program.
fn broken(folder: &Path, tags: &BTreeSet<String>) -> Vec<String> {
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    let is_there =
        |tag: &&String| entries.iter().any(|e| e["annotations"]["org.opencontainers.image.ref.name"] == **tag);
    let mut broken: Vec<String> = tags.iter().filter(|tag| !is_there(tag)).map(|tag| format!("tag {tag}")).collect();
    let mut wanted: Vec<String> = Vec::new();
    let digests = |value: &Value, into: &mut Vec<String>| {
        for key in ["config", "layers", "manifests"] {
            for entry in value[key].as_array().into_iter().flatten().chain(value.get(key).filter(|v| v.is_object())) {
                into.extend(entry["digest"].as_str().or(entry["blob"].as_str()).map(str::to_owned));
            }
        }
    };
    digests(&index, &mut wanted);
    while let Some(digest) = wanted.pop() {
        match fs::read(folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))) {
            Ok(bytes) => {
                if let Ok(value) = serde_json::from_slice::<Value>(&bytes) {
                    digests(&value, &mut wanted);
                }
            }
            Err(_) => broken.push(digest),
        }
    }
    broken
}

/// Some of five layers: exports share much.
fn some_version(dice: &mut Lcg) -> Version {
    let layers: Vec<String> = (0..=dice.below(4)).map(|_| format!("layer {}", dice.below(5))).collect();
    Version::of(&layers.iter().map(String::as_str).collect::<Vec<_>>())
}

struct Place {
    store: Arc<dyn Store>,
    journal: Journal,
    /// How far the clock is ahead: what has settled.
    ahead: SignedDuration,
}

impl Place {
    fn open(folder: &Path) -> Self {
        let store = catalog::open(&Location::local_dir(folder.to_str().unwrap())).unwrap();
        let journal = Journal::new(&store, &State::at(None, None));
        Self { store, journal, ahead: SignedDuration::ZERO }
    }

    async fn prune(&self, wish: &Wish) -> cachedeck::error::Result<apply::Applied> {
        let clock = || Timestamp::now() + self.ahead;
        let progress = Progress::new();
        let site = Site { store: &self.store, journal: &self.journal, clock: &clock, progress: &progress };
        let inventory = load::load(&self.store, &progress).await?;
        let sight = Sight { inventory: &inventory, pins: &[], now: clock(), id: world::id(clock()) };
        let plan = prune::plan(&self.store, &sight, wish).await?;
        apply::apply(&site, &plan, None).await
    }

    async fn settle(&self) -> cachedeck::error::Result<settle::Settled> {
        let clock = || Timestamp::now() + self.ahead;
        let progress = Progress::new();
        let site = Site { store: &self.store, journal: &self.journal, clock: &clock, progress: &progress };
        let hold = self.store.hold(&world::id(clock())).await?;
        let settled = settle::open_runs(&site, settle::Urge::WhenDue, None).await;
        self.store.release(hold).await?;
        settled
    }
}

/// One race; what it leaves broken, and what became of blobs: hidden, restored, freed.
fn race(seed: u64) -> (Vec<String>, [u64; 3]) {
    let mut dice = Lcg(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let folder = tempfile::tempdir().unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    fs::create_dir_all(folder.path().join("ingest")).unwrap();
    // What has grown: some exports of one tag, and an orphan.
    for _ in 0..3 {
        let version = some_version(&mut dice);
        version.layers.iter().chain([&version.config, &version.manifest]).for_each(|bytes| put(folder.path(), bytes));
        assert!(name(folder.path(), "main", &version.manifest));
    }
    put(folder.path(), &Bytes::from_static(b"layer 4"));
    let mut place = Place::open(folder.path());
    // Blobs of a moment ago are fair game here: what protects them is not their age.
    let wish = Wish { grace: Some(SignedDuration::ZERO), ..usual() };
    let mut counts = [0; 3];
    let mut tags = BTreeSet::from(["main".to_owned()]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for round in 0..2_u64 {
        let exporters: Vec<_> = (0..=dice.below(3))
            .map(|number| {
                let (path, mut dice) = (folder.path().to_owned(), Lcg(dice.below(1 << 30) + number));
                let refused = refused.clone();
                let tag = if dice.below(2) == 0 { "main".to_owned() } else { format!("tag-{round}-{number}") };
                tags.insert(tag.clone());
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_micros(dice.below(8000)));
                    let version = some_version(&mut dice);
                    export(&path, &tag, &version, &mut dice, &refused);
                })
            })
            .collect();
        std::thread::sleep(Duration::from_micros(dice.below(4000)));
        // In the second round what the first hid is looked at again while new exports run.
        match runtime.block_on(place.prune(&wish)) {
            Ok(applied) => {
                assert_eq!(applied.run.failures, Vec::<String>::new(), "seed {seed}");
                counts[0] += applied.run.hidden;
                counts[1] += applied.run.restored + applied.earlier.restored;
                counts[2] += applied.run.freed + applied.earlier.freed;
            }
            // A build came in between plan and change, or wrote all the time.
            Err(error) => {
                use cachedeck::error::Kind;
                assert!(matches!(error.kind(), Kind::Stale | Kind::Busy | Kind::Invalid), "seed {seed}: {error}");
            }
        }
        // Exports that counted on what was hidden are done before it has settled.
        exporters.into_iter().for_each(|exporter| exporter.join().unwrap());
        place.ahead += SignedDuration::from_hours(7);
    }
    let settled = runtime.block_on(place.settle()).unwrap();
    counts[1] += settled.restored;
    counts[2] += settled.freed;
    place.ahead += SignedDuration::from_hours(7);
    runtime.block_on(place.settle()).unwrap();
    (broken(folder.path(), &tags), counts)
}

/// Runs races with seeds from 0 on, several at a time; what each of them left.
fn all_races(races: u64) -> Vec<(u64, Vec<String>, [u64; 3])> {
    let next = AtomicUsize::new(0);
    let done = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed) as u64;
                    if seed >= races {
                        break;
                    }
                    let (broken, counts) = race(seed);
                    done.lock().unwrap().push((seed, broken, counts));
                }
            });
        }
    });
    done.into_inner().unwrap()
}

#[test]
fn builds_and_pruning_race_and_nothing_is_lost() {
    let races = races();
    let done = all_races(races);
    let lost: Vec<_> = done.iter().filter(|(_, broken, _)| !broken.is_empty()).collect();
    let [hidden, restored, freed] = [0, 1, 2].map(|at| done.iter().map(|(_, _, counts)| counts[at]).sum::<u64>());
    let last = races - 1;
    println!(
        "{races} races, seeds 0 to {last}: {} broken; {hidden} blobs hidden after a run, {restored} restored, {freed} freed",
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:?}");
    // Races in which nobody needed what was hidden would prove nothing.
    assert!(restored > 0 && freed > 0, "{restored} restored, {freed} freed");
}

/// An export that has looked for its layers, then a whole run of pruning, then the rest of the export: what is broken once all has
/// settled.
fn caught_between(settles: bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("ingest")).unwrap();
    let main = Version::of(&["layer 0"]);
    main.layers.iter().chain([&main.config, &main.manifest]).for_each(|bytes| put(folder.path(), bytes));
    assert!(name(folder.path(), "main", &main.manifest));
    let next = Version::of(&["layer 1", "layer 2"]);
    // They are there already, of no use to anybody: the export skips them.
    next.layers.iter().for_each(|bytes| put(folder.path(), bytes));
    let mut place = Place::open(folder.path());
    let wish = Wish { grace: Some(SignedDuration::ZERO), exclusive: !settles, ..usual() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let applied = runtime.block_on(place.prune(&wish)).unwrap();
    assert_eq!((applied.run.hidden, applied.run.freed), if settles { (2, 0) } else { (0, 2) });
    [&next.config, &next.manifest].into_iter().for_each(|bytes| put(folder.path(), bytes));
    assert!(name(folder.path(), "next", &next.manifest));
    place.ahead += SignedDuration::from_hours(7);
    runtime.block_on(place.settle()).unwrap();
    broken(folder.path(), &BTreeSet::from(["main".to_owned(), "next".to_owned()]))
}

#[test]
fn an_export_caught_between_its_look_and_its_name_gets_its_blobs_back() {
    assert_eq!(caught_between(true), Vec::<String>::new());
}

/// The wrong way, which is right only if nobody writes: it must break something here, or the races are none.
#[test]
fn freeing_at_once_is_caught() {
    assert!(!caught_between(false).is_empty());
}
