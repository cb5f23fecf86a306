//! What holds for all caches: pruning twice is pruning once, undoing is as if nothing had been, what stays has all it needs.

use crate::oracle;
use crate::world::{self, Version, contents, plan, prune, undo, usual};
use cachedeck::model::location::Location;
use cachedeck::model::plan::{Fate, Step};
use cachedeck::model::policy::Policy;
use cachedeck::ops::prune::Wish;
use cachedeck::store::Store;
use cachedeck::store::memory::Memory;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::sync::Arc;

/// How many cases: more in a soak.
fn cases() -> u32 {
    std::env::var("CACHEDECK_SOAK").map_or(300, |_| 10_000)
}

#[derive(Clone, Debug)]
struct Shape {
    /// For each version: its layers, its names, and how many hours after the one before it was written.
    versions: Vec<(Vec<u8>, Vec<u8>, u16)>,
    orphans: Vec<u8>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let version = (prop::collection::vec(0..9_u8, 1..5), prop::collection::vec(0..4_u8, 0..2), 0..100_u16);
    let shape = (prop::collection::vec(version, 1..7), prop::collection::vec(20..40_u8, 0..4));
    shape.prop_map(|(versions, orphans)| Shape { versions, orphans })
}

fn policy() -> impl Strategy<Value = Wish> {
    let number = || prop::option::weighted(0.4, 0..4_u32);
    (number(), number(), prop::option::weighted(0.3, 1..200_i64), any::<bool>(), any::<bool>()).prop_map(
        |(keep_last, keep_daily, within, tags, keep_none)| {
            let policy = Policy {
                keep_last,
                keep_daily,
                keep_within: within.map(SignedDuration::from_hours),
                keep_tags: if tags { vec!["tag0".to_owned()] } else { Vec::new() },
                keep_none,
                ..Policy::default()
            };
            // Whatever the limits say, what goes must be right.
            let most = Some(cachedeck::model::units::Limit::Percent(100.0));
            Wish { max_delete_size: most, ..Wish::prune(policy) }
        },
    )
}

fn build(shape: &Shape) -> Arc<Memory> {
    let store = Arc::new(Memory::new(Location::new("memory")));
    store.advance(SignedDuration::from_hours(20_000));
    for (layers, names, hours) in &shape.versions {
        let layers: Vec<String> = layers.iter().map(u8::to_string).collect();
        let version = Version::of(&layers.iter().map(String::as_str).collect::<Vec<_>>());
        version.insert(&store);
        names.iter().for_each(|name| store.name(&format!("tag{name}"), version.digest()));
        store.advance(SignedDuration::from_hours(i64::from(*hours)));
    }
    for orphan in &shape.orphans {
        store.insert(format!("orphan {orphan}"));
    }
    store
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(20261121), max_shrink_iters: 200, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn what_stays_has_all_it_needs(shape in shape(), wish in policy()) {
        run(async {
            let store = build(&shape);
            let place: Arc<dyn Store> = store.clone();
            let planned = plan(&place, &store, &wish).await.unwrap();
            if !planned.refused.is_empty() {
                let before = contents(&store).await;
                assert!(prune(&place, &store, &wish).await.is_err());
                assert_eq!(contents(&store).await, before, "what is refused changes nothing");
                return;
            }
            let kept: Vec<_> = planned.rows.iter().filter(|r| r.fate == Fate::Keep).filter_map(|r| r.digest).collect();
            prune(&place, &store, &wish).await.unwrap();
            for digest in &kept {
                store.name(&format!("kept {digest}"), *digest);
            }
            assert_eq!(oracle::broken(&store).await, Vec::<String>::new());
        });
    }

    #[test]
    fn pruning_twice_is_pruning_once(shape in shape(), wish in policy(), exclusive in any::<bool>()) {
        run(async {
            let store = build(&shape);
            let place: Arc<dyn Store> = store.clone();
            let wish = Wish { exclusive, ..wish };
            if prune(&place, &store, &wish).await.is_err() {
                return;
            }
            let after = contents(&store).await;
            // By then other versions may be old enough, but time has stood still.
            let again = plan(&place, &store, &wish).await.unwrap();
            let steps: Vec<&Step> = again.steps.iter().collect();
            assert!(steps.is_empty() || !again.refused.is_empty(), "{steps:?}");
            let _ = prune(&place, &store, &wish).await;
            assert_eq!(contents(&store).await, after);
        });
    }

    #[test]
    fn undoing_is_as_if_nothing_had_been(shape in shape(), wish in policy()) {
        run(async {
            let store = build(&shape);
            let place: Arc<dyn Store> = store.clone();
            let before = contents(&store).await;
            let Ok(applied) = prune(&place, &store, &wish).await else { return };
            if applied.run.hidden == 0 && applied.run.names == 0 {
                return;
            }
            let undone = undo(&place, &store, &applied.run.id).await.unwrap();
            assert_eq!(undone.failures, Vec::<String>::new());
            assert_eq!(contents(&store).await, before);
            assert!(undo(&place, &store, &applied.run.id).await.is_err(), "once is enough");
        });
    }

    #[test]
    fn a_plan_changes_nothing_and_says_what_goes(shape in shape(), wish in policy()) {
        run(async {
            let store = build(&shape);
            let place: Arc<dyn Store> = store.clone();
            let before = contents(&store).await;
            let planned = plan(&place, &store, &wish).await.unwrap();
            assert_eq!(contents(&store).await, before);
            let bytes: u64 = planned.targets().map(|target| target.bytes).sum();
            assert_eq!(planned.frees, bytes);
            let rows: u64 = planned.removed().map(|row| row.frees).sum();
            assert_eq!(rows, bytes, "each byte that goes has its row: {planned:#?}");
        });
    }
}

#[test]
fn a_pin_outlives_any_policy() {
    run(async {
        let store = world::grown();
        let place: Arc<dyn Store> = store.clone();
        let digest = Version::of(&["a", "b"]).digest();
        store.name("keep-me", digest);
        let pin = cachedeck::model::pin::Pin {
            name: "keep-me".to_owned(),
            digest,
            made: store.now(),
            until: None,
            reason: None,
        };
        world::journal(&place).keep_pin(&pin).await.unwrap();
        let nothing = Policy { keep_none: true, ..Policy::default() };
        prune(&place, &store, &Wish { exclusive: true, ..Wish::prune(nothing) }).await.unwrap();
        let names: Vec<String> = store.references().await.unwrap().items.into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["keep-me"]);
        assert_eq!(oracle::broken(&store).await, Vec::<String>::new());
        let _ = usual();
    });
}
