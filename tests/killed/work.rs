//! What the program is doing when it is killed.

use crate::oracle::Told;
use cachedeck::error::Result;
use cachedeck::model::digest::Digest;
use cachedeck::model::inventory::{CacheIndex, Inventory};
use cachedeck::model::location::Location;
use cachedeck::model::pin::Pin;
use cachedeck::model::plan::{Plan, RunId};
use cachedeck::model::policy::Policy;
use cachedeck::ops::apply::{self, Site};
use cachedeck::ops::journal::Journal;
use cachedeck::ops::prune::{self, Sight};
use cachedeck::ops::{copy, load, pin, repair, settle};
use cachedeck::progress::Progress;
use cachedeck::state::State;
use cachedeck::store::{Store, catalog};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// A work that changes a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Hides and frees at once.
    PruneExclusive,
    /// Hides, and leaves it to settle.
    Prune,
    /// Takes that back.
    Undo,
    /// Names a version once more.
    Pin,
    /// Mends versions that miss a layer.
    Repair,
    /// Brings a version here from another cache.
    Copy,
}

/// Blobs that nothing needs, in every cache here.
const ORPHANS: usize = 6;

fn orphan(n: usize) -> Vec<u8> {
    format!("an orphan, number {n}").into_bytes()
}

fn id(n: u32) -> RunId {
    format!("20261121-150000-{n:06x}").parse().unwrap()
}

impl Work {
    pub const ALL: [Work; 6] = [Work::PruneExclusive, Work::Prune, Work::Undo, Work::Pin, Work::Repair, Work::Copy];

    /// What the program is given to do it.
    pub fn command(self, folder: &Path) -> Vec<String> {
        let folder_name = folder.to_str().unwrap();
        let words = match self {
            Work::PruneExclusive => "prune --exclusive --apply --yes",
            Work::Prune => "prune --grace 0s --settle 6h --apply --yes",
            Work::Undo => "undo --yes",
            Work::Repair => "repair --apply --yes",
            Work::Pin => "pin --name kept --digest",
            Work::Copy => "copy",
        };
        let words = words.split(' ').map(str::to_owned);
        let more = match self {
            Work::Pin => Some(version_to_pin(folder).to_string()),
            Work::Copy => Some(source(folder)),
            _ => None,
        };
        let folder_name = if self == Work::Copy { format!("{folder_name},tag=copied") } else { folder_name.to_owned() };
        words.chain(more).chain([folder_name]).collect()
    }

    /// Makes the cache one on which there is something to do.
    pub fn prepare(self, folder: &Path) {
        for n in 0..ORPHANS {
            let bytes = orphan(n);
            std::fs::write(blob(folder, &hex(&bytes)), bytes).unwrap();
        }
        match self {
            Work::Undo => run(Work::Prune, folder),
            Work::Repair => std::fs::remove_file(blob(folder, &a_layer(folder))).unwrap(),
            Work::Copy => {
                let fixture = crate::fixtures::Fixture::unpack("local-zstd");
                let copied = Command::new("cp").arg("-a").arg(fixture.path()).arg(source(folder)).status();
                assert!(copied.unwrap().success());
            }
            _ => {}
        }
    }

    /// Checks that it was done, whole.
    pub fn is_done(self, folder: &Path, before: &Told) {
        let told = crate::oracle::look(folder);
        let orphans = (0..ORPHANS).filter(|n| blob(folder, &hex(&orphan(*n))).exists()).count();
        assert!(told.broken.is_empty(), "{self:?}: {:?}", told.broken);
        match self {
            Work::PruneExclusive | Work::Prune => assert_eq!(orphans, 0, "{self:?}"),
            Work::Undo => assert_eq!(orphans, ORPHANS, "{self:?}"),
            Work::Pin => assert!(told.names.contains_key("kept"), "{self:?}: {:?}", told.names),
            Work::Copy => assert!(told.names.contains_key("copied"), "{self:?}: {:?}", told.names),
            Work::Repair => assert!(before.names.keys().all(|name| told.names.contains_key(name))),
        }
    }
}

/// Does the work on the cache in `folder`.
pub fn run(work: Work, folder: &Path) {
    // All file work is on one thread, in the same order each time.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { Place::open(folder).work(work, 1).await.unwrap() });
}

/// What the next run does: first what was begun, then its own.
pub fn recover(folder: &Path, work: Work) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::open(folder);
        match work {
            Work::Undo => {
                let site = place.site();
                // It may have been killed after the last thing it had to do.
                let run = place.journal.run(&id(1)).await.unwrap().unwrap();
                if run.is_open() {
                    let undone = settle::undo(&site, &id(1)).await.unwrap();
                    assert!(undone.failures.is_empty(), "{:?}", undone.failures);
                }
            }
            work => place.work(work, 2).await.unwrap(),
        }
        settle::empty(&place.site(), None).await.unwrap();
    });
}

struct Place {
    store: Arc<dyn Store>,
    journal: Journal,
    progress: Progress,
}

impl Place {
    fn open(folder: &Path) -> Self {
        let store = catalog::open(&Location::local_dir(folder.to_str().unwrap())).unwrap();
        let journal = Journal::new(&store, &State::at(None, None));
        Self { store, journal, progress: Progress::new() }
    }

    fn site(&self) -> Site<'_> {
        Site { store: &self.store, journal: &self.journal, clock: &Timestamp::now, progress: &self.progress }
    }

    async fn work(&self, work: Work, n: u32) -> Result<()> {
        let inventory = load::load(&self.store, &Progress::new()).await?;
        let pins = self.journal.pins().await?;
        let sight = Sight { inventory: &inventory, pins: &pins, now: Timestamp::now(), id: id(n) };
        let mut wish = prune::Wish::prune(Policy::default());
        wish.max_delete = Some(u64::MAX);
        match work {
            Work::PruneExclusive => {
                wish.exclusive = true;
                self.apply(prune::plan(&self.store, &sight, &wish).await?).await
            }
            Work::Prune => {
                wish.grace = Some(SignedDuration::ZERO);
                wish.settle = Some(SignedDuration::from_hours(6));
                self.apply(prune::plan(&self.store, &sight, &wish).await?).await
            }
            Work::Undo => settle::undo(&self.site(), &id(1)).await.map(drop),
            Work::Pin => self.pin(&inventory, &sight).await,
            Work::Copy => {
                let from = Location::local_dir(source(self.folder())).asking_for("latest");
                let from = catalog::open(&from)?;
                let seen = load::load(&from, &Progress::new()).await?;
                let to = self.store.location().clone().asking_for("copied");
                let picks = copy::picks(&seen, &copy::Selection::One, &to)?;
                let wish = copy::Wish::default();
                let plan = copy::plan(&from, &picks, &self.store, &wish, &self.progress).await?;
                let mut ids = n..;
                let ids = || id(ids.next().unwrap());
                let copied = copy::run(&self.site(), &from, plan, &wish, ids).await?;
                assert!(!matches!(copied.versions[0].fate, copy::Fate::Failed(..)), "{copied:?}");
                Ok(())
            }
            Work::Repair => {
                let plan = repair::plan(&self.store, &sight, &repair::Wish::default(), None).await?;
                self.apply(plan).await
            }
        }
    }

    fn folder(&self) -> &Path {
        Path::new(self.store.location().value("src").unwrap())
    }

    async fn pin(&self, inventory: &Inventory, sight: &Sight<'_>) -> Result<()> {
        let index = to_pin(inventory);
        let (name, made) = ("kept".to_owned(), Timestamp::now());
        let pin = Pin { name, digest: index.digest, made, until: None, reason: None };
        let plan = pin::plan(&self.store, sight, index, &pin).await?;
        let kept = pin::keep(&self.site(), &plan, &pin).await?;
        assert_eq!(kept.broken, None);
        Ok(())
    }

    async fn apply(&self, plan: Plan) -> Result<()> {
        assert!(plan.refused.is_empty(), "{:?}", plan.refused);
        let applied = apply::apply(&self.site(), &plan, None).await?;
        assert!(applied.run.failures.is_empty() && applied.stopped.is_none(), "{applied:?}");
        Ok(())
    }
}

/// Where copies come from: it goes along with the cache, which takes no notice of it.
fn source(folder: &Path) -> String {
    folder.join("source").to_str().unwrap().to_owned()
}

fn to_pin(inventory: &Inventory) -> &CacheIndex {
    inventory.indexes.iter().filter(|index| index.is_sound()).min_by_key(|index| index.digest).unwrap()
}

fn version_to_pin(folder: &Path) -> Digest {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inventory = runtime.block_on(async { load::load(&Place::open(folder).store, &Progress::new()).await.unwrap() });
    to_pin(&inventory).digest
}

/// A layer that only one of a cache's layers stands on, by the hexadecimal digits of its digest.
fn a_layer(folder: &Path) -> String {
    let told = crate::oracle::look(folder);
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&std::fs::read(blob(folder, &digest[7..])).unwrap()).unwrap()
    };
    let mut document = read(told.names.values().next().unwrap());
    while let Some(first) = document["manifests"][0]["digest"].as_str().filter(|d| is_json(folder, d)) {
        document = read(first);
    }
    let list = ["layers", "manifests"].into_iter().find_map(|name| document[name].as_array()).unwrap();
    let layers: Vec<&str> = list.iter().filter_map(|layer| layer["digest"].as_str()).collect();
    layers.iter().rfind(|digest| !is_json(folder, digest)).unwrap()[7..].to_owned()
}

fn is_json(folder: &Path, digest: &str) -> bool {
    std::fs::read(blob(folder, &digest[7..])).is_ok_and(|bytes| serde_json::from_slice::<Value>(&bytes).is_ok())
}

fn blob(folder: &Path, hex: &str) -> std::path::PathBuf {
    folder.join("blobs/sha256").join(hex)
}

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()
}
