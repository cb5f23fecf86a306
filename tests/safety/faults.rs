//! Each call to the place fails once, at every n, before it is done or after; what came of it is whole, and doing it again gets it
//! done.

use crate::oracle;
use crate::stepped::{Hook, Hooked};
use crate::world::{self, Version, contents, export, plan, prune, undo, usual};
use async_trait::async_trait;
use cachedeck::error::{Error, Kind, Result};
use cachedeck::model::pin::Pin;
use cachedeck::model::policy::Policy;
use cachedeck::ops::prune::{Sight, Wish};
use cachedeck::ops::{apply, load, pin, repair};
use cachedeck::progress::Progress;
use cachedeck::store::Store;
use cachedeck::store::memory::Memory;
use jiff::SignedDuration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Fails the `at`-th call.
struct Fails {
    at: usize,
    done: bool,
    calls: AtomicUsize,
    after: AtomicUsize,
}

impl Fails {
    fn new(at: usize, done: bool) -> Arc<Self> {
        Arc::new(Self { at, done, calls: AtomicUsize::new(0), after: AtomicUsize::new(0) })
    }

    fn has_fired(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > self.at
    }
}

#[async_trait]
impl Hook for Fails {
    async fn before(&self, call: &'static str) -> Result<()> {
        let fails = self.calls.fetch_add(1, Ordering::Relaxed) == self.at;
        if fails && self.done {
            self.after.store(1, Ordering::Relaxed);
            return Ok(());
        }
        if fails { Err(Error::new(Kind::Unavailable, format!("{call} was made to fail"))) } else { Ok(()) }
    }

    async fn after(&self, call: &'static str) -> Result<()> {
        if self.after.swap(0, Ordering::Relaxed) == 1 {
            return Err(Error::new(Kind::Unavailable, format!("the answer to {call} was made to get lost")));
        }
        Ok(())
    }
}

type Change = fn(Arc<dyn Store>, Arc<Memory>) -> futures::future::BoxFuture<'static, Result<()>>;

/// What changes a place, and what begins it.
const CHANGES: &[(&str, Change)] = &[
    ("prune", |place, clock| Box::pin(async move { prune(&place, &clock, &usual()).await.map(drop) })),
    ("prune, exclusive", |place, clock| {
        let wish = Wish { exclusive: true, ..usual() };
        Box::pin(async move { prune(&place, &clock, &wish).await.map(drop) })
    }),
    ("prune twice", |place, clock| {
        Box::pin(async move {
            prune(&place, &clock, &usual()).await?;
            // Somebody needs some of it again.
            let direct: Arc<dyn Store> = clock.clone();
            export(direct, "main", Version::of(&["a"])).await;
            clock.advance(SignedDuration::from_hours(7));
            prune(&place, &clock, &usual()).await.map(drop)
        })
    }),
    ("prune and undo", |place, clock| {
        Box::pin(async move {
            let applied = prune(&place, &clock, &usual()).await?;
            undo(&place, &clock, &applied.run.id).await.map(drop)
        })
    }),
    ("delete", |place, clock| {
        let wish = Wish::delete(vec!["main".to_owned()]);
        Box::pin(async move { prune(&place, &clock, &wish).await.map(drop) })
    }),
    ("pin", |place, clock| Box::pin(pin_old(place, clock))),
    ("repair", |place, clock| Box::pin(mend(place, clock))),
];

async fn pin_old(place: Arc<dyn Store>, clock: Arc<Memory>) -> Result<()> {
    let inventory = load::load(&place, &Progress::new()).await?;
    let digest = Version::of(&["a", "b"]).digest();
    // It may be pinned already, or hidden by what came before.
    let Some(index) = inventory.version(&digest) else { return Ok(()) };
    let wanted = Pin { name: "kept".to_owned(), digest, made: clock.now(), until: None, reason: None };
    let sight = Sight { inventory: &inventory, pins: &[], now: clock.now(), id: world::id(clock.now()) };
    let plan = pin::plan(&place, &sight, index, &wanted).await?;
    world::site(&place, &clock, async |site| apply::apply(site, &plan, None).await.map(drop)).await?;
    world::journal(&place).keep_pin(&wanted).await
}

async fn mend(place: Arc<dyn Store>, clock: Arc<Memory>) -> Result<()> {
    let inventory = load::load(&place, &Progress::new()).await?;
    let sight = Sight { inventory: &inventory, pins: &[], now: clock.now(), id: world::id(clock.now()) };
    let plan = repair::plan(&place, &sight, &repair::Wish::default(), None).await?;
    world::site(&place, &clock, async |site| apply::apply(site, &plan, None).await.map(drop)).await
}

/// What comes next: whatever has a name stays, also if nothing has.
fn next() -> Wish {
    Wish::prune(Policy { keep_tags: vec!["*".to_owned()], keep_none: true, ..Policy::default() })
}

#[tokio::test]
async fn a_call_that_fails_loses_nothing_and_can_be_made_again() {
    let mut cases = 0;
    for (name, change) in CHANGES {
        for done in [false, true] {
            for n in 0.. {
                let store = world::grown();
                let fails = Fails::new(n, done);
                let place: Arc<dyn Store> = Arc::new(Hooked { store: store.clone(), hook: fails.clone() });
                let _ = change(place, store.clone()).await;
                if !fails.has_fired() {
                    break;
                }
                cases += 1;
                let seen = format!("{name}, call {n}, done: {done}");
                assert_eq!(oracle::broken(&store).await, Vec::<String>::new(), "{seen}");
                // A hold whose answer got lost is given up in the end.
                let direct: Arc<dyn Store> = store.clone();
                store.advance(SignedDuration::from_hours(7));
                prune(&direct, &store, &next()).await.unwrap_or_else(|e| panic!("{seen}: the next run: {e}"));
                assert_eq!(oracle::broken(&store).await, Vec::<String>::new(), "{seen}, after the next run");
                // What came back in the first must be hidden anew, and settle.
                for _ in 0..3 {
                    store.advance(SignedDuration::from_hours(7));
                    prune(&direct, &store, &next()).await.unwrap();
                }
                let planned = plan(&direct, &store, &next()).await.unwrap();
                assert!(planned.is_empty(), "{seen}: something is left to do: {planned:?}");
                let open =
                    world::journal(&direct).runs().await.unwrap().into_iter().filter(|run| run.is_open()).count();
                assert_eq!(open, 0, "{seen}: a run is left open: {:?}", world::journal(&direct).runs().await.unwrap());
                let _ = contents(&store).await;
            }
        }
    }
    println!("{cases} calls failed");
    assert!(cases > 300, "{cases}");
}

#[tokio::test]
async fn a_broken_version_is_mended_and_then_whole() {
    let store = world::grown();
    let place: Arc<dyn Store> = store.clone();
    let version = Version::of(&["x", "y", "z"]);
    export(place.clone(), "other", version.clone()).await;
    store.lose(&cachedeck::model::digest::Digest::of(&version.layers[2]));
    assert_eq!(oracle::broken(&store).await.len(), 1);
    mend(place.clone(), store.clone()).await.unwrap();
    let names = |references: cachedeck::store::References| references.items.into_iter().map(|r| r.name).collect();
    let is: Vec<String> = names(store.references().await.unwrap());
    assert_eq!(is, ["main", "other"]);
    assert_eq!(oracle::broken(&store).await, Vec::<String>::new());
    let inventory = load::load(&place, &Progress::new()).await.unwrap();
    let other = inventory.indexes.iter().find(|index| index.name() == Some("other")).unwrap();
    assert_eq!(other.summary.unwrap().layers, 2, "the layers below the lost one are still of use");
    // There is nothing to mend any more, and nobody is led anywhere.
    let sight = Sight { inventory: &inventory, pins: &[], now: store.now(), id: world::id(store.now()) };
    assert!(repair::plan(&place, &sight, &repair::Wish::default(), None).await.unwrap().is_empty());
    // Without its lowest layer nothing of it is of use: its name goes.
    store.lose(&cachedeck::model::digest::Digest::of(&version.layers[0]));
    mend(place.clone(), store.clone()).await.unwrap();
    let is: Vec<String> = names(store.references().await.unwrap());
    assert_eq!(is, ["main"]);
    assert_eq!(oracle::broken(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_another_place_has_is_fetched() {
    let (store, other) = (world::grown(), Arc::new(Memory::new(cachedeck::model::location::Location::new("memory"))));
    let place: Arc<dyn Store> = store.clone();
    let version = Version::of(&["x", "y"]);
    export(place.clone(), "main", version.clone()).await;
    version.insert(&other);
    store.lose(&cachedeck::model::digest::Digest::of(&version.layers[0]));
    let inventory = load::load(&place, &Progress::new()).await.unwrap();
    let sight = Sight { inventory: &inventory, pins: &[], now: store.now(), id: world::id(store.now()) };
    let from: Arc<dyn Store> = other;
    let plan = repair::plan(&place, &sight, &repair::Wish::default(), Some(&from)).await.unwrap();
    world::site(&place, &store, async |site| apply::apply(site, &plan, Some(&from)).await.map(drop)).await.unwrap();
    assert_eq!(oracle::broken(&store).await, Vec::<String>::new());
    let main = store.references().await.unwrap().items.remove(0);
    assert_eq!(main.digest, Some(version.digest()), "the version itself is as it was");
}
