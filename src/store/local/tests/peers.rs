//! Edits of `index.json` beside writers that do what BuildKit does, in its order: take the lock or fail, write in place, give
//! up the lock, and only then remove the lock file, whose path may be another one's by then.
//!
//! That order lets two builds write at once and lose each other's entries without any cachedeck. Here the builds keep from
//! each other's section by a lock of their own, so that whatever is lost is lost through us.

use super::*;
use crate::store::local::faults;
use serde_json::{Value, json};
use std::io::Seek;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Builds at once.
const BUILDS: usize = 4;

/// Edits between two looks at all entries, each of which takes a second more: what was replaced is looked at that much later.
const ROUND: usize = 400;

/// Of so many names that we write one stays; the others go again.
const STAYS: usize = 8;

/// Names that a build writes in a round; then it writes them again.
const NAMES: usize = 25;

const SEED: u64 = 0x9e37_79b9;

#[derive(Default)]
struct Builds {
    section: Mutex<()>,
    over: AtomicBool,
    exports: AtomicUsize,
    /// Builds that have the lock.
    locked: AtomicUsize,
    /// Exports that another build kept from the lock, and those that we did.
    refused: [AtomicUsize; 2],
}

impl Builds {
    /// Exports until told to stop, with at most so many microseconds between two; gives what each name leads to at last.
    fn run(&self, folder: &Path, thinks: u64, build: usize, seed: u64) -> Vec<(String, String)> {
        let mut names: Vec<(String, String)> = Vec::new();
        let mut random = seed | 1;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut count = 0;
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_micros(next(thinks)));
            let entry =
                (format!("build-{build}-{}", count % NAMES), Digest::of(&next(u64::MAX).to_le_bytes()).to_string());
            if !self.export(folder, &entry, next(300)) {
                continue;
            }
            self.exports.fetch_add(1, Ordering::Relaxed);
            match names.get_mut(count % NAMES) {
                Some(known) => *known = entry,
                None => names.push(entry),
            }
            count += 1;
        }
        names
    }

    /// Whether it could take the lock. A real build that could not fails.
    fn export(&self, folder: &Path, (name, digest): &(String, String), late: u64) -> bool {
        let path = folder.join("index.json.lock");
        let lock = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).unwrap();
        if sys::flock(&lock, sys::FlockOperation::NonBlockingLockExclusive).is_err() {
            let by_us = self.locked.load(Ordering::Relaxed) == 0;
            self.refused[usize::from(by_us)].fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.locked.fetch_add(1, Ordering::Relaxed);
        {
            let _alone = self.section.lock().unwrap();
            let mut file = File::options().read(true).write(true).open(folder.join("index.json")).unwrap();
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            let mut index: Value = serde_json::from_str(&text).unwrap();
            let list = index["manifests"].as_array_mut().unwrap();
            list.retain(|entry| entry["annotations"][REF_NAME] != **name);
            list.push(json!({ "digest": digest, "size": 1, "annotations": { (REF_NAME): name } }));
            let text = serde_json::to_vec(&index).unwrap();
            file.write_all_at(&text, 0).unwrap();
            file.set_len(text.len() as u64).unwrap();
        }
        self.locked.fetch_sub(1, Ordering::Relaxed);
        drop(lock);
        // Builds of other processes come in between here.
        std::thread::sleep(Duration::from_micros(late));
        let _ = std::fs::remove_file(&path);
        true
    }
}

fn entries(layout: &Layout) -> Vec<(String, String)> {
    let index: Value = serde_json::from_slice(&std::fs::read(layout.path("index.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |entry: &Value| (text(&entry["annotations"][REF_NAME]), text(&entry["digest"]));
    let mut entries: Vec<_> = index["manifests"].as_array().unwrap().iter().map(entry).collect();
    entries.sort();
    entries
}

fn is_soak() -> bool {
    std::env::var("CACHEDECK_SOAK").is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entry_is_lost_on_either_side_while_four_builds_write() {
    let place = Place { name: "in memory", thinks: 30_000, layout: Layout::in_memory };
    beside_builds(&place, if is_soak() { 20_000 } else { 600 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entry_is_lost_on_a_disk_either() {
    // An edit is prepared, and the disk waited for, between two exports: a little more time is there for that.
    let place = Place { name: "in the temporary folder", thinks: 120_000, layout: || Layout::new(&[]) };
    beside_builds(&place, if is_soak() { 20_000 } else { 100 });
}

/// Where edits are made.
struct Place {
    name: &'static str,
    /// Microseconds between two exports of a build, at most.
    thinks: u64,
    layout: fn() -> Layout,
}

/// Makes exactly so many edits.
fn beside_builds(place: &Place, wanted: usize) {
    // How long the lock is held is told for the whole process.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    faults::take_held();
    let builds = Builds::default();
    let (mut edits, mut retried, mut round) = (0, 0, 0);
    while edits < wanted {
        round += 1;
        let layout = (place.layout)();
        let mut ours = Ours { wanted: ROUND.min(wanted - edits), edits: 0, retried: 0, left: Vec::new() };
        builds.over.store(false, Ordering::Relaxed);
        let written = std::thread::scope(|scope| {
            let builds = &builds;
            let run_one = |build| {
                let (folder, seed) = (layout.root.path().to_owned(), (round * BUILDS + build + 1) as u64 * SEED);
                scope.spawn(move || builds.run(&folder, place.thinks, build, seed))
            };
            let running: Vec<_> = (0..BUILDS).map(run_one).collect();
            let edited = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(ours.edit(layout.store(), &builds.over))
            });
            builds.over.store(true, Ordering::Relaxed);
            edited.unwrap();
            running.into_iter().flat_map(|build| build.join().unwrap()).collect::<Vec<_>>()
        });
        edits += ours.edits;
        retried += ours.retried;
        let latest = ("latest".to_owned(), Digest::of(DOCUMENT).to_string());
        let mut expected: Vec<_> = ours.left.into_iter().chain(written).chain([latest]).collect();
        expected.sort();
        let is = entries(&layout);
        let lost: Vec<_> = expected.iter().filter(|entry| !is.contains(entry)).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        assert_eq!(is, expected, "round {round}");
    }
    assert_eq!(edits, wanted);
    let mut held = faults::take_held();
    held.sort();
    let at = |share: usize| held[(held.len() - 1) * share / 1000];
    let [by_builds, by_us] = builds.refused.map(AtomicUsize::into_inner);
    println!(
        "{edits} edits {} beside {} exports of {BUILDS} builds, seeds from {SEED:#x} on: none lost; of the exports {by_us} \
         more found our lock, and {by_builds} another build's; we held the lock {} times, {:?} in the middle, {:?} at 99 %, \
         {:?} at most; {retried} edits gave up and were retried",
        place.name,
        builds.exports.into_inner(),
        held.len(),
        at(500),
        at(990),
        at(1000),
    );
    // A machine that does much else at a time may stop us while we have the lock; half of the time it must not.
    let bar = if is_soak() { at(990) } else { at(500) };
    assert!(bar < Duration::from_millis(5), "the lock was held {bar:?}");
}

/// What we do beside the builds.
struct Ours {
    wanted: usize,
    edits: usize,
    /// Edits that found no gap between the builds for all their patience.
    retried: usize,
    /// Names that should be there in the end, with what they lead to.
    left: Vec<(String, String)>,
}

impl Ours {
    /// Names come, and most of them go again, until enough edits are made; then the builds are told to stop.
    async fn edit(&mut self, store: Arc<dyn Store>, over: &AtomicBool) -> Result<()> {
        let (document, digest) = (Bytes::from_static(DOCUMENT), Digest::of(DOCUMENT).to_string());
        let hold = store.hold(&run()).await?;
        for n in 0.. {
            let name = format!("pin-{n}");
            let pin = loop {
                match store.publish(&name, &document, &[], Expected::Absent).await {
                    Err(error) if error.kind() == Kind::Busy => self.retried += 1,
                    pin => break pin?,
                }
            };
            self.edits += 1;
            if n % STAYS == STAYS - 1 || self.edits == self.wanted {
                self.left.push((name, digest.clone()));
            } else {
                while let Err(error) = store.remove(std::slice::from_ref(&pin)).await.remove(0) {
                    assert_eq!(error.kind(), Kind::Busy, "{error}");
                    self.retried += 1;
                }
                self.edits += 1;
            }
            if self.edits == self.wanted {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        store.release(hold).await
    }
}
