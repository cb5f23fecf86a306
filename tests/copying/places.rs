//! Places to copy between, and copying as the program does it.

use crate::fixtures::Fixture;
use crate::support::azure::Container;
use crate::support::github::{Github, run_token};
use crate::support::pushing::Repository;
use crate::support::s3::Bucket;
use crate::support::{registry, unique};
use cachedeck::error::Result;
use cachedeck::model::cache::{Cache, Outcome};
use cachedeck::model::digest::Digest;
use cachedeck::model::graph::Summary;
use cachedeck::model::inventory::{CacheIndex, Inventory};
use cachedeck::model::location::Location;
use cachedeck::model::plan::RunId;
use cachedeck::ops::apply::Site;
use cachedeck::ops::copy::{self, Copied, Fate, Selection, Wish};
use cachedeck::ops::journal::Journal;
use cachedeck::ops::load;
use cachedeck::progress::Progress;
use cachedeck::state::State;
use cachedeck::store::{Store, catalog};
use jiff::Timestamp;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A place that lives as long as this.
pub struct Place {
    pub location: Location,
    #[allow(dead_code, reason = "it ends with the place")]
    pub keep: Box<dyn Any + Send + Sync>,
}

/// A sort of place, and what makes one.
type Sort = (&'static str, fn() -> Place);

/// Places that hold nothing yet, one of every sort that can be written.
pub const SORTS: [Sort; 6] = [
    ("local", local),
    ("registry", repository),
    ("s3", bucket),
    ("azblob", container),
    ("gha v2", || github(2)),
    ("gha v1", || github(1)),
];

pub fn local() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place { location: Location::local_dir(folder.path().join("cache").to_str().unwrap()), keep: Box::new(folder) }
}

pub fn repository() -> Place {
    Place { location: at_registry(&registry(), &unique("copies")), keep: Box::new(()) }
}

/// A repository of the registry at `server`.
pub fn at_registry(server: &str, name: &str) -> Location {
    let host = server.strip_prefix("http://").unwrap();
    Location::new("registry").with("ref", format!("{host}/{name}")).with("registry.insecure", "true")
}

pub fn bucket() -> Place {
    let bucket = crate::support::pushing::wait(Bucket::new);
    Place { location: bucket.location(), keep: Box::new(()) }
}

pub fn container() -> Place {
    let container = Container::with(BTreeMap::new());
    Place { location: container.location().parse().unwrap(), keep: Box::new(()) }
}

pub fn github(version: u8) -> Place {
    let github = Github::start();
    // A run's token is its own, and what was read with it is good for that run.
    let token = run_token(&[("refs/heads/main", 3), (&format!("refs/heads/{}", unique("run")), 1)]);
    let location = github.run(version).with("scope", "copied").with("token", token);
    Place { location, keep: Box::new(github) }
}

/// The location of a fixture, which lives as long as the other.
pub fn fixture(name: &str) -> Place {
    let fixture = Fixture::unpack(name);
    let path = fixture.path();
    Place { location: Location::local_dir(path.to_str().unwrap()), keep: Box::new(fixture) }
}

/// An image with a cache in it, in the registry.
pub async fn image() -> Place {
    let fixture = Fixture::unpack("inline-image");
    let pushed = Repository::new(&registry(), &unique("image"));
    pushed.layout(fixture.path(), &[]).await;
    let mut location = at_registry(&registry(), &pushed.name);
    let seen = seen(&catalog::open(&location).unwrap()).await;
    location = location.asking_for(seen.indexes[0].name().unwrap());
    let location =
        Location::new("inline").with("ref", location.value("ref").unwrap()).with("registry.insecure", "true");
    Place { location, keep: Box::new(fixture) }
}

pub async fn seen(store: &Arc<dyn Store>) -> Inventory {
    load::load(store, &Progress::new()).await.unwrap()
}

/// A copy as the program makes it.
pub async fn copy(from: &Location, to: &Location, selection: &Selection, wish: &Wish) -> Result<Copied> {
    let (from, to) = (catalog::open(from)?, catalog::make(to)?);
    copy_between(&from, &to, selection, wish, &Progress::new()).await
}

/// The same between stores that are open.
pub async fn copy_between(
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    selection: &Selection,
    wish: &Wish,
    progress: &Progress,
) -> Result<Copied> {
    copy_noting(from, to, selection, wish, progress, &State::usual()).await
}

/// The same, written down in `state`.
pub async fn copy_noting(
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    selection: &Selection,
    wish: &Wish,
    progress: &Progress,
    state: &State,
) -> Result<Copied> {
    static SALT: AtomicU32 = AtomicU32::new(0);
    let inventory = load::load(from, progress).await?;
    let picks = copy::picks(&inventory, selection, to.location())?;
    let plan = copy::plan(from, &picks, to, wish, progress).await?;
    let journal = Journal::new(to, state);
    let site = Site { store: to, journal: &journal, clock: &Timestamp::now, progress };
    let id = || RunId::new(Timestamp::now(), std::process::id() << 12 | SALT.fetch_add(1, Ordering::Relaxed));
    copy::run(&site, from, plan, wish, id).await
}

/// That every version is there now.
#[track_caller]
pub fn all_there(copied: &Copied) {
    for version in &copied.versions {
        assert!(matches!(version.fate, Fate::Copied | Fate::Unchanged), "{version:?} {:?}", copied.problems);
    }
    assert_eq!(copied.problems, Vec::<String>::new());
}

/// The only version of a place, and what it holds.
pub async fn only(place: &Location) -> (CacheIndex, Summary, Arc<Cache>) {
    let seen = seen(&catalog::open(place).unwrap()).await;
    assert_eq!(seen.indexes.len(), 1, "{}: {:?}", place, seen.indexes.iter().map(|i| &i.tags).collect::<Vec<_>>());
    assert!(seen.indexes[0].is_sound(), "{:?}", seen.indexes[0].findings);
    let index = seen.indexes.into_iter().next().unwrap();
    (index.clone(), index.summary.unwrap(), index.cache.unwrap())
}

/// What a cache holds whatever it is written as: its records with inputs, and of each result the unpacked layers, lowest first.
pub fn meaning(cache: &Cache) -> impl PartialEq + std::fmt::Debug + use<> {
    let chain = |outcome: &Outcome| -> Vec<Option<Digest>> {
        cache.layers_of(outcome).into_iter().map(|layer| cache.layers[layer].diff_id).collect()
    };
    let time = |outcome: &Outcome| match outcome {
        Outcome::Layer { created, .. } | Outcome::Chain { created, .. } => *created,
    };
    let record = |record: &cachedeck::model::cache::Record| {
        let results: Vec<_> = record.results.iter().map(|outcome| (chain(outcome), time(outcome))).collect();
        let links = |input: &Vec<cachedeck::model::cache::Link>| -> Vec<_> {
            input.iter().map(|link| (cache.records[link.record].digest, link.selector.clone())).collect()
        };
        (record.digest, record.inputs.iter().map(links).collect::<Vec<_>>(), results)
    };
    let layers: BTreeMap<Digest, _> =
        cache.layers.iter().map(|layer| (layer.diff_id.unwrap(), layer.created)).collect();
    (cache.records.iter().map(record).collect::<Vec<_>>(), layers)
}

/// The blobs of its layers, sorted, each once.
pub fn blobs(cache: &Cache) -> Vec<(Digest, Option<u64>)> {
    let mut blobs: Vec<_> = cache.layers.iter().map(|layer| (layer.blob, layer.size)).collect();
    blobs.sort();
    blobs.dedup();
    blobs
}
