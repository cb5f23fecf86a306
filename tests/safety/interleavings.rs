//! Every order in which the steps of builds and of pruning can come. What is collected in the right way is never missed; each of
//! the wrong ways is caught.

use crate::oracle;
use crate::stepped::{Actor, every_order};
use crate::world::{self, Version, export, plan, prune, usual};
use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::model::plan::Plan;
use cachedeck::ops::apply;
use cachedeck::ops::prune::Wish;
use cachedeck::store::memory::Memory;
use cachedeck::store::{Expected, Store};
use futures::FutureExt as _;
use jiff::SignedDuration;
use std::cell::Cell;
use std::sync::Arc;

const A: &str = "layer a";
const B: &str = "layer b";
/// Names that must be there in the end.
const BOTH: &[&str] = &["main", "new"];

/// A named version, and two old blobs that nothing needs.
async fn two_orphans() -> Arc<Memory> {
    let store = Arc::new(Memory::new(Location::new("memory")));
    let main = Version::of(&["c"]);
    main.insert(&store);
    store.name("main", main.digest());
    store.insert(A);
    store.insert(B);
    store.advance(SignedDuration::from_hours(30 * 24));
    store
}

/// An export that reuses both blobs: each look is a step, and so is naming the version. What else it writes is its own.
fn exporter(direct: &Arc<Memory>, name: &'static str) -> Actor {
    let direct = direct.clone();
    Arc::new(move |store: Arc<dyn Store>| {
        let direct = direct.clone();
        async move {
            let version = Version::of(&["a", "b"]);
            for layer in &version.layers {
                let digest = Digest::of(layer);
                match store.stat(&digest).await {
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), Kind::NotFound);
                        store.put(&digest, Box::new(std::io::Cursor::new(layer.clone()))).await.unwrap();
                    }
                }
            }
            for document in [&version.config, &version.manifest] {
                direct.put(&Digest::of(document), Box::new(std::io::Cursor::new(document.clone()))).await.unwrap();
            }
            // What was there before this step does not matter: it takes the name.
            let before = direct.references().await.unwrap().items.into_iter().find(|r| r.name == name);
            let expected = before.map_or(Expected::Absent, |r| Expected::Version(r.version.unwrap()));
            store.publish(name, &version.manifest, &[], expected).await.unwrap();
        }
        .boxed()
    })
}

/// Pruning by a plan that was made before anybody else did anything.
fn pruner(direct: &Arc<Memory>, wish: Wish) -> Actor {
    let direct = direct.clone();
    let made: Arc<tokio::sync::OnceCell<Plan>> = Arc::default();
    Arc::new(move |store: Arc<dyn Store>| {
        let (direct, wish, made) = (direct.clone(), wish.clone(), made.clone());
        async move {
            let unseen: Arc<dyn Store> = direct.clone();
            let plan = made.get_or_init(|| async { plan(&unseen, &direct, &wish).await.unwrap() }).await.clone();
            let applied = world::site(&store, &direct, async |site| apply::apply(site, &plan, None).await).await;
            // A build was faster, or another cachedeck: nothing was done.
            if let Err(error) = applied {
                assert!(matches!(error.kind(), Kind::Stale | Kind::Busy), "{error}");
            }
        }
        .boxed()
    })
}

/// Leads what is hidden to its end, once it has settled.
async fn finish(store: &Arc<Memory>) {
    for _ in 0..2 {
        store.advance(SignedDuration::from_hours(7));
        let place: Arc<dyn Store> = store.clone();
        prune(&place, store, &usual()).await.unwrap();
    }
}

/// How many orders there were, and in how many a name was left broken.
async fn count(
    begin: impl AsyncFn() -> Arc<Memory>,
    actors: impl Fn(&Arc<Memory>) -> Vec<Actor>,
    expected: &[&str],
    settles: bool,
) -> (usize, usize) {
    let broken = Cell::new(0);
    let orders = every_order(begin, actors, async |store, _| {
        if settles {
            finish(store).await;
        }
        let names: Vec<String> = store.references().await.unwrap().items.into_iter().map(|r| r.name).collect();
        let lost = expected.iter().any(|name| !names.iter().any(|is| is == name));
        broken.set(broken.get() + usize::from(lost || !oracle::broken(store).await.is_empty()));
    })
    .await;
    (orders, broken.get())
}

#[tokio::test]
async fn a_build_while_pruning_loses_nothing() {
    let actors = |store: &Arc<Memory>| vec![exporter(store, "new"), pruner(store, usual())];
    let (orders, broken) = count(two_orphans, actors, BOTH, true).await;
    println!("exporter x pruner: {orders} orders, {broken} broken");
    assert!(orders > 100);
    assert_eq!(broken, 0);
}

#[tokio::test]
async fn a_build_that_takes_the_name_meanwhile_loses_nothing() {
    let actors = |store: &Arc<Memory>| vec![exporter(store, "main"), pruner(store, usual())];
    let (orders, broken) = count(two_orphans, actors, &["main"], true).await;
    println!("exporter of the same name x pruner: {orders} orders, {broken} broken");
    assert_eq!(broken, 0);
}

#[tokio::test]
async fn a_build_while_what_is_hidden_is_freed_loses_nothing() {
    let hidden = async || {
        let store = two_orphans().await;
        let place: Arc<dyn Store> = store.clone();
        prune(&place, &store, &usual()).await.unwrap();
        store.advance(SignedDuration::from_hours(7));
        store
    };
    let actors = |store: &Arc<Memory>| vec![exporter(store, "new"), pruner(store, usual())];
    let (orders, broken) = count(hidden, actors, BOTH, true).await;
    println!("exporter x freeing: {orders} orders, {broken} broken");
    assert_eq!(broken, 0);
}

/// A named version, and one old blob that nothing needs.
async fn one_orphan() -> Arc<Memory> {
    let store = Arc::new(Memory::new(Location::new("memory")));
    let main = Version::of(&["c"]);
    main.insert(&store);
    store.name("main", main.digest());
    store.insert(A);
    store.advance(SignedDuration::from_hours(30 * 24));
    store
}

/// An export that reuses that blob.
fn small_exporter(direct: &Arc<Memory>, name: &'static str) -> Actor {
    let direct = direct.clone();
    Arc::new(move |store: Arc<dyn Store>| {
        let direct = direct.clone();
        async move {
            let version = Version::of(&["a"]);
            let layer = &version.layers[0];
            if store.stat(&Digest::of(layer)).await.is_err() {
                store.put(&Digest::of(layer), Box::new(std::io::Cursor::new(layer.clone()))).await.unwrap();
            }
            for document in [&version.config, &version.manifest] {
                direct.put(&Digest::of(document), Box::new(std::io::Cursor::new(document.clone()))).await.unwrap();
            }
            let before = direct.references().await.unwrap().items.into_iter().find(|r| r.name == name);
            let expected = before.map_or(Expected::Absent, |r| Expected::Version(r.version.unwrap()));
            store.publish(name, &version.manifest, &[], expected).await.unwrap();
        }
        .boxed()
    })
}

#[tokio::test]
async fn two_prunings_and_a_build_lose_nothing() {
    let actors = |store: &Arc<Memory>| vec![small_exporter(store, "new"), pruner(store, usual()), undoer_of_all(store)];
    let (orders, broken) = count(one_orphan, actors, BOTH, true).await;
    println!("exporter x pruner x emptier: {orders} orders, {broken} broken");
    assert_eq!(broken, 0);
}

#[tokio::test]
async fn a_build_that_ends_while_a_plan_is_made_keeps_its_name() {
    // Its manifest may be seen before its name: it must not be taken for a version that nobody wants.
    let wish = Wish { grace: Some(SignedDuration::ZERO), ..usual() };
    let planner = |direct: &Arc<Memory>| -> Actor {
        let (direct, wish) = (direct.clone(), wish.clone());
        Arc::new(move |store: Arc<dyn Store>| {
            let (direct, wish) = (direct.clone(), wish.clone());
            async move {
                if let Err(error) = prune(&store, &direct, &wish).await {
                    assert!(matches!(error.kind(), Kind::Stale | Kind::Busy), "{error}");
                }
            }
            .boxed()
        })
    };
    let actors = |store: &Arc<Memory>| vec![small_exporter(store, "main"), planner(store)];
    let (orders, broken) = count(one_orphan, actors, &["main"], true).await;
    println!("exporter x planning and pruning: {orders} orders, {broken} broken");
    assert!(orders > 50);
    assert_eq!(broken, 0);
}

/// Another cachedeck that leads on what it finds.
fn undoer_of_all(direct: &Arc<Memory>) -> Actor {
    let direct = direct.clone();
    Arc::new(move |store: Arc<dyn Store>| {
        let direct = direct.clone();
        async move {
            let led = world::site(&store, &direct, async |site| {
                let by = world::id((site.clock)());
                let hold = site.store.hold(&by).await?;
                let led = cachedeck::ops::settle::open_runs(site, cachedeck::ops::settle::Urge::WhenDue, None).await;
                site.store.release(hold).await?;
                led
            })
            .await;
            if let Err(error) = led {
                assert_eq!(error.kind(), Kind::Busy, "{error}");
            }
        }
        .boxed()
    })
}

/// The wrong ways. If one of these is not caught, the tests above prove nothing.
mod mutants {
    use super::*;

    fn mark(blobs: &'static [&'static str]) -> impl Fn(&Arc<Memory>) -> Actor {
        move |direct: &Arc<Memory>| {
            let _ = direct;
            let blobs: Vec<Digest> = blobs.iter().map(|blob| Digest::of(blob.as_bytes())).collect();
            Arc::new(move |store: Arc<dyn Store>| {
                let blobs = blobs.clone();
                async move {
                    // The look and each removal are steps; nothing is hidden.
                    let needed = needed(&store).await;
                    for digest in blobs.iter().filter(|digest| !needed.contains(digest)) {
                        remove(&store, digest).await;
                    }
                }
                .boxed()
            })
        }
    }

    async fn needed(store: &Arc<dyn Store>) -> Vec<Digest> {
        let seen = cachedeck::ops::load::load(store, &cachedeck::progress::Progress::new()).await.unwrap();
        seen.indexes.iter().flat_map(|index| index.reach.iter().map(|r| r.digest)).collect()
    }

    /// Takes a blob away for good.
    async fn remove(store: &Arc<dyn Store>, digest: &Digest) {
        let Ok(entry) = store.stat(digest).await else { return };
        let target = cachedeck::model::plan::Target { digest: *digest, bytes: entry.size, modified: entry.modified };
        let (run, progress) = (world::id(jiff::Timestamp::UNIX_EPOCH), cachedeck::progress::Progress::new());
        let _ = store.hide(&run, &[target], SignedDuration::ZERO, &progress).await;
        let _ = store.purge(&run, &[target], &progress).await;
    }

    #[tokio::test]
    async fn mark_and_sweep_is_caught() {
        let actors = |store: &Arc<Memory>| vec![exporter(store, "new"), mark(&[A, B])(store)];
        let (orders, broken) = count(two_orphans, actors, BOTH, false).await;
        println!("mark and sweep: {orders} orders, {broken} broken");
        assert!(broken > 0);
    }

    /// Waiting and looking again without hiding: an export that looked before the removal still counts on what goes.
    #[tokio::test]
    async fn looking_again_without_hiding_is_caught() {
        let patient = |direct: &Arc<Memory>| -> Actor {
            let sweep = mark(&[A, B])(direct);
            Arc::new(move |store: Arc<dyn Store>| {
                let sweep = sweep.clone();
                async move {
                    let _ = needed(&store).await;
                    sweep(store).await;
                }
                .boxed()
            })
        };
        let actors = |store: &Arc<Memory>| vec![exporter(store, "new"), patient(store)];
        let (orders, broken) = count(two_orphans, actors, BOTH, false).await;
        println!("mark, wait, mark again, sweep: {orders} orders, {broken} broken");
        assert!(broken > 0);
    }

    /// Hiding without settling, which is what `--exclusive` does: only right if no build is writing.
    #[tokio::test]
    async fn hiding_without_settling_is_caught() {
        let at_once = Wish { exclusive: true, ..usual() };
        let actors = |store: &Arc<Memory>| vec![exporter(store, "new"), pruner(store, at_once.clone())];
        let (orders, broken) = count(two_orphans, actors, BOTH, false).await;
        println!("hide, mark again at once, free: {orders} orders, {broken} broken");
        assert!(broken > 0);
    }
}

#[tokio::test]
async fn a_whole_export_after_pruning_finds_nothing_amiss() {
    let store = world::grown();
    let place: Arc<dyn Store> = store.clone();
    let applied = prune(&place, &store, &usual()).await.unwrap();
    assert!(applied.run.hidden > 0, "{applied:?}");
    export(place.clone(), "main", Version::of(&["a", "b"])).await;
    finish(&store).await;
    assert_eq!(oracle::broken(&store).await, Vec::<String>::new());
}
