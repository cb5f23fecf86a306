//! Held against an oracle that shares no code with it: sets, recursion and the definitions of `docs/formats.md`, as slow as
//! they read.

use super::*;
use crate::model::cache::{Compression, Layer, Link};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::BTreeSet;

fn layer(blob: u8, parent: Option<usize>) -> Layer {
    Layer {
        blob: Digest::from_bytes([blob; 32]),
        parent,
        // Powers of two: every set of blobs has a sum of its own.
        size: Some(1 << blob),
        compression: Compression::Gzip,
        media_type: "".into(),
        diff_id: None,
        created: None,
        platform: None,
        history: None,
    }
}

fn record(inputs: Vec<Vec<usize>>, results: Vec<Outcome>) -> Record {
    let link = |record| Link { record, selector: None };
    let inputs = inputs.into_iter().map(|i| i.into_iter().map(link).collect()).collect();
    Record { digest: Digest::from_bytes([0; 32]), inputs, results }
}

fn tip(layer: usize) -> Outcome {
    Outcome::Layer { layer, created: None }
}

fn chain(layers: &[usize]) -> Outcome {
    Outcome::Chain { layers: layers.to_vec(), created: None }
}

/// Any valid cache of up to a dozen layers and records, in tables of any order.
fn caches() -> impl Strategy<Value = Cache> {
    let layers = prop::collection::vec((0u8..9, any::<prop::sample::Index>(), any::<bool>()), 0..12);
    let links = prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..3), 0..3);
    let result = (any::<bool>(), prop::collection::vec(any::<prop::sample::Index>(), 1..4));
    let records = prop::collection::vec((links, prop::collection::vec(result, 0..3)), 0..12);
    (layers, records, any::<u64>()).prop_map(|(layers, records, seed)| {
        let (layer_at, record_at) = (shuffled(layers.len(), seed), shuffled(records.len(), seed >> 7));
        let mut table: Vec<Option<Layer>> = vec![None; layers.len()];
        for (index, (blob, parent, root)) in layers.iter().enumerate() {
            let parent = (index > 0 && !root).then(|| layer_at[parent.index(index)]);
            table[layer_at[index]] = Some(layer(*blob, parent));
        }
        let table: Vec<Layer> = table.into_iter().flatten().collect();
        let mut keys: Vec<Option<Record>> = vec![None; records.len()];
        for (index, (inputs, results)) in records.iter().enumerate() {
            let inputs = if index == 0 { &[] } else { inputs.as_slice() };
            let inputs = inputs.iter().map(|i| i.iter().map(|l| record_at[l.index(index)]).collect()).collect();
            let results = if table.is_empty() { &[] } else { results.as_slice() };
            let result = |(is_chain, of): &(bool, Vec<prop::sample::Index>)| match is_chain {
                true => chain(&of.iter().map(|l| l.index(table.len())).collect::<Vec<_>>()),
                false => tip(of[0].index(table.len())),
            };
            keys[record_at[index]] = Some(record(inputs, results.iter().map(result).collect()));
        }
        Cache { layers: table, records: keys.into_iter().flatten().collect() }
    })
}

/// The numbers below `count` in an order that `seed` decides.
fn shuffled(count: usize, mut seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(at, (seed >> 33) as usize % (at + 1));
    }
    order
}

mod oracle {
    use super::*;

    pub fn below(cache: &Cache, layer: usize) -> BTreeSet<usize> {
        let mut all = cache.layers[layer].parent.map(|p| below(cache, p)).unwrap_or_default();
        all.insert(layer);
        all
    }

    pub fn above(cache: &Cache, layer: usize) -> BTreeSet<usize> {
        (0..cache.layers.len()).filter(|&l| below(cache, l).contains(&layer)).collect()
    }

    pub fn result_layers(cache: &Cache, record: usize) -> BTreeSet<usize> {
        let of = |outcome: &Outcome| match outcome {
            Outcome::Layer { layer, .. } => below(cache, *layer),
            Outcome::Chain { layers, .. } => layers.iter().copied().collect(),
        };
        cache.records[record].results.iter().flat_map(of).collect()
    }

    pub fn inputs(cache: &Cache, record: usize) -> BTreeSet<usize> {
        cache.records[record].inputs.iter().flatten().map(|l| l.record).collect()
    }

    pub fn dependents(cache: &Cache, record: usize) -> BTreeSet<usize> {
        (0..cache.records.len()).filter(|&r| inputs(cache, r).contains(&record)).collect()
    }

    /// What the record needs in a `mode=min` export.
    pub fn needs(cache: &Cache, record: usize) -> BTreeSet<usize> {
        match cache.records[record].results.is_empty() {
            true => inputs(cache, record).into_iter().flat_map(|i| needs(cache, i)).collect(),
            false => result_layers(cache, record),
        }
    }

    pub fn sinks(cache: &Cache) -> Vec<usize> {
        (0..cache.records.len()).filter(|&r| dependents(cache, r).is_empty()).collect()
    }

    pub fn min(cache: &Cache) -> BTreeSet<usize> {
        sinks(cache).into_iter().flat_map(|s| needs(cache, s)).collect()
    }

    pub fn blobs(cache: &Cache, layers: impl IntoIterator<Item = usize>) -> BTreeSet<Digest> {
        layers.into_iter().map(|l| cache.layers[l].blob).collect()
    }

    pub fn bytes(cache: &Cache, blobs: &BTreeSet<Digest>) -> u64 {
        blobs.iter().map(|b| cache.layers.iter().find(|l| l.blob == *b).unwrap().size.unwrap()).sum()
    }

    fn reaching(from: usize, step: impl Fn(usize) -> BTreeSet<usize>) -> BTreeSet<usize> {
        let mut all = BTreeSet::from([from]);
        while let Some(next) = all.iter().flat_map(|&n| step(n)).find(|n| !all.contains(n)) {
            all.insert(next);
        }
        all
    }

    pub fn family(cache: &Cache, record: usize) -> BTreeSet<usize> {
        let made_from = reaching(record, |r| inputs(cache, r));
        made_from.union(&reaching(record, |r| dependents(cache, r))).copied().collect()
    }
}

fn set(of: &[usize]) -> BTreeSet<usize> {
    let set: BTreeSet<usize> = of.iter().copied().collect();
    assert_eq!(set.len(), of.len(), "each once");
    set
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(20), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_what_the_definitions_say(cache in caches()) {
        let summary = Summary::of(&cache);
        let all = oracle::blobs(&cache, 0..cache.layers.len());
        let min = oracle::blobs(&cache, oracle::min(&cache));
        let results = (0..cache.records.len()).flat_map(|r| oracle::result_layers(&cache, r));
        let beyond = !oracle::blobs(&cache, results).is_subset(&min);
        prop_assert_eq!(summary, Summary {
            layers: cache.layers.len(),
            unique_blobs: all.len(),
            records: cache.records.len(),
            roots: cache.records.iter().filter(|r| r.inputs.is_empty()).count(),
            sinks: oracle::sinks(&cache).len(),
            records_with_result: cache.records.iter().filter(|r| !r.results.is_empty()).count(),
            max_bytes: oracle::bytes(&cache, &all),
            min_bytes: oracle::bytes(&cache, &min),
            mode: if beyond { Mode::Max } else { Mode::Min },
        });
        prop_assert_eq!(set(&min_layers(&cache, &RecordGraph::new(&cache))), oracle::min(&cache));
    }

    #[test]
    fn the_forest_is_what_the_parents_say(cache in caches()) {
        let forest = LayerForest::new(&cache);
        let all: Vec<usize> = (0..cache.layers.len()).collect();
        prop_assert_eq!(set(forest.roots()), all.iter().copied().filter(|&l| cache.layers[l].parent.is_none()).collect());
        let order = forest.preorder();
        prop_assert_eq!(set(&order), all.iter().copied().collect());
        let place = |l: usize| order.iter().position(|&o| o == l).unwrap();
        let mut leaves = BTreeSet::new();
        for &layer in &all {
            let children = set(forest.children(layer));
            prop_assert!(children.iter().all(|&c| cache.layers[c].parent == Some(layer)));
            let above = oracle::above(&cache, layer);
            prop_assert_eq!(children.len(), above.iter().filter(|&&l| cache.layers[l].parent == Some(layer)).count());
            if children.is_empty() {
                leaves.insert(layer);
            }
            prop_assert_eq!(forest.depth(layer) + 1, oracle::below(&cache, layer).len());
            prop_assert_eq!(forest.subtree_bytes(layer), above.iter().map(|&l| cache.layers[l].size.unwrap()).sum::<u64>());
            // A tree is drawn in one piece, under its root.
            let places: BTreeSet<usize> = above.iter().map(|&l| place(l)).collect();
            prop_assert_eq!(places.first().copied(), Some(place(layer)));
            prop_assert_eq!(places.last().unwrap() - places.first().unwrap() + 1, above.len());
            let below = oracle::below(&cache, layer);
            prop_assert_eq!(set(&forest.family(&cache, layer)), below.union(&above).copied().collect());
            prop_assert_eq!(set(&cache.chain(layer)), below);
            prop_assert_eq!(cache.chain(layer).last().copied(), Some(layer));
        }
        prop_assert_eq!(set(&forest.leaves()), leaves);
        let sizes = |of: &[usize]| of.iter().map(|&l| std::cmp::Reverse(forest.subtree_bytes(l))).collect::<Vec<_>>();
        prop_assert!(sizes(forest.roots()).is_sorted());
        prop_assert!(all.iter().all(|&l| sizes(forest.children(l)).is_sorted()));
    }

    #[test]
    fn the_record_graph_is_what_the_links_say(cache in caches()) {
        let graph = RecordGraph::new(&cache);
        prop_assert_eq!(graph.sinks(), oracle::sinks(&cache));
        let roots: Vec<usize> = (0..cache.records.len()).filter(|&r| oracle::inputs(&cache, r).is_empty()).collect();
        prop_assert_eq!(graph.roots(), roots);
        for record in 0..cache.records.len() {
            prop_assert_eq!(set(graph.dependents(record)), oracle::dependents(&cache, record));
            prop_assert_eq!(set(&graph.family(&cache, record)), oracle::family(&cache, record));
        }
    }
}

#[test]
fn a_sink_without_result_asks_its_inputs() {
    // 3 is the sink; it has no result, and neither has 2: what counts is 0 through 2, and 1, but not 0's own input.
    let cache = Cache {
        layers: vec![layer(0, None), layer(1, None), layer(2, Some(0)), layer(3, None)],
        records: vec![
            record(vec![vec![4]], vec![tip(2)]),
            record(vec![], vec![tip(1)]),
            record(vec![vec![0]], vec![]),
            record(vec![vec![2], vec![1]], vec![]),
            record(vec![], vec![tip(3)]),
        ],
    };
    let summary = Summary::of(&cache);
    assert_eq!((summary.min_bytes, summary.max_bytes, summary.mode), (1 + 2 + 4, 15, Mode::Max));
}

#[test]
fn a_chain_counts_its_entries_without_their_parents() {
    let layers = vec![layer(0, None), layer(1, Some(0)), layer(2, Some(1))];
    let of = |outcome| Summary::of(&Cache { layers: layers.clone(), records: vec![record(vec![], vec![outcome])] });
    assert_eq!(of(chain(&[1, 2])).min_bytes, 2 + 4);
    assert_eq!(of(tip(2)).min_bytes, 7);
    assert_eq!(of(chain(&[])).min_bytes, 0);
}

#[test]
fn a_blob_in_several_entries_counts_once_and_decides_the_mode() {
    // The same blob on two parents: the second entry is beyond what the sink needs, but its blob is not.
    let cache = Cache {
        layers: vec![layer(0, None), layer(1, Some(0)), layer(1, None)],
        records: vec![record(vec![vec![1]], vec![tip(1)]), record(vec![], vec![tip(2)])],
    };
    let summary = Summary::of(&cache);
    assert_eq!((summary.max_bytes, summary.min_bytes, summary.unique_blobs), (3, 3, 2));
    assert_eq!(summary.mode, Mode::Min);
}

#[test]
fn layers_of_unknown_or_impossible_size_add_up() {
    let mut cache = Cache { layers: vec![layer(0, None), layer(1, Some(0)), layer(2, Some(1))], records: vec![] };
    cache.layers[0].size = None;
    cache.layers[1].size = Some(u64::MAX);
    assert_eq!(Summary::of(&cache).max_bytes, u64::MAX);
    assert_eq!(LayerForest::new(&cache).subtree_bytes(0), u64::MAX);
    let empty = Summary::of(&Cache::default());
    assert_eq!((empty.max_bytes, empty.mode, empty.sinks), (0, Mode::Min, 0));
}
