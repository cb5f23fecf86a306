use super::*;
use crate::error::Kind;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;
use std::collections::BTreeSet;

fn digest(kind: u8, n: usize) -> Digest {
    Digest::of(&[kind, n as u8, (n >> 8) as u8])
}

/// A config of random shape: parents and links go to lower entries, as in what BuildKit writes there are no loops.
fn any_config() -> impl Strategy<Value = Value> {
    let layers = prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize), 1..14);
    let records = prop::collection::vec(
        (
            prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..3), 0..3),
            prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..3), 0..2),
        ),
        1..14,
    );
    (layers, records).prop_map(|(layers, records)| {
        let count = layers.len();
        let layers: Vec<Value> = layers
            .iter()
            .enumerate()
            .map(|(at, (parent, shared))| {
                let parent = parent.index(at + 1) as i64 - 1;
                // Some blobs stand in several entries.
                let blob = digest(b'l', if *shared == 0 { at / 2 } else { 100 + at });
                match parent {
                    0 => json!({"blob": blob, "unknown": at}),
                    parent => json!({"blob": blob, "parent": parent}),
                }
            })
            .collect();
        let records: Vec<Value> = records
            .iter()
            .enumerate()
            .map(|(at, (inputs, results, chains))| {
                let link = |index: &prop::sample::Index| json!({"link": index.index(at), "selector": "s"});
                let inputs: Vec<Vec<Value>> = match at {
                    0 => Vec::new(),
                    _ => inputs.iter().map(|input| input.iter().map(link).collect()).collect(),
                };
                let results: Vec<Value> = results.iter().map(|l| json!({"layer": l.index(count)})).collect();
                let chains: Vec<Value> = chains
                    .iter()
                    .map(|chain| json!({"layers": chain.iter().map(|l| l.index(count)).collect::<Vec<_>>()}))
                    .collect();
                json!({"digest": digest(b'r', at), "inputs": inputs, "layers": results, "chains": chains})
            })
            .collect();
        json!({"layers": layers, "records": records})
    })
}

/// Results as anybody would read them: the record's key and the blobs below it.
fn results(bytes: &[u8]) -> Vec<(Digest, Vec<Digest>)> {
    let cache = Config::read(bytes).unwrap().cache;
    let of = |record: &crate::model::cache::Record| {
        let key = record.digest;
        let blobs = |outcome: &Outcome| cache.layers_of(outcome).iter().map(|&l| cache.layers[l].blob).collect();
        record.results.iter().map(|outcome| (key, blobs(outcome))).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = cache.records.iter().flat_map(of).collect();
    all.sort();
    all
}

/// Whether a result needs a lost blob, its layers' parents included.
fn needs_lost(config: &Value, lost: &HashSet<Digest>, layer: i64) -> bool {
    let mut at = layer;
    while at >= 0 {
        let entry = &config["layers"][at as usize];
        if lost.contains(&entry["blob"].as_str().unwrap().parse().unwrap()) {
            return true;
        }
        at = entry.get("parent").map_or(0, |p| p.as_i64().unwrap());
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(20261121), ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn just_what_needs_lost_blobs_goes(config_value in any_config(), picks in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let bytes = config_value.to_string().into_bytes();
        prop_assume!(Config::read(&bytes).is_ok());
        let blobs: BTreeSet<Digest> = Config::read(&bytes).unwrap().cache.layers.iter().map(|l| l.blob).collect();
        let blobs: Vec<Digest> = blobs.into_iter().collect();
        let lost: HashSet<Digest> = picks.iter().map(|pick| *pick.get(&blobs)).collect();
        let mended = config(&bytes, &lost).unwrap();
        let text = mended.text.as_bytes();

        let after = Config::read(text).expect("what was mended can be read");
        prop_assert!(after.cache.layers.iter().all(|layer| !lost.contains(&layer.blob)));
        let mut left: Vec<Digest> = after.cache.layers.iter().map(|l| l.blob).collect();
        left.sort();
        left.dedup();
        prop_assert_eq!(&left, &mended.layers);

        // Results that need nothing lost stay, with the same key and the same blobs; the others go.
        let mut expected = Vec::new();
        let cache = Config::read(&bytes).unwrap().cache;
        for (at, record) in cache.records.iter().enumerate() {
            for outcome in &record.results {
                let layers = cache.layers_of(outcome);
                if layers.iter().any(|&layer| needs_lost(&config_value, &lost, layer as i64)) {
                    continue;
                }
                expected.push((digest(b'r', at), layers.iter().map(|&l| cache.layers[l].blob).collect::<Vec<_>>()));
            }
        }
        expected.sort();
        prop_assert_eq!(results(text), expected.clone());
        prop_assert_eq!(mended.results, expected.len());

        // What leads to a result still leads to it: every record of use has the inputs it had.
        for record in &after.cache.records {
            let was = cache.records.iter().find(|was| was.digest == record.digest).unwrap();
            let keys = |cache: &Cache, record: &crate::model::cache::Record| -> Vec<Vec<Digest>> {
                record.inputs.iter().map(|input| input.iter().map(|l| cache.records[l.record].digest).collect()).collect()
            };
            prop_assert_eq!(keys(&after.cache, record), keys(&cache, was));
        }

        // Doing it twice is doing it once.
        let again = config(text, &lost).unwrap();
        prop_assert_eq!(&again.text, &mended.text);
        prop_assert_eq!(again.dropped, Dropped::default());
    }
}

#[test]
fn a_root_has_no_parent_and_unknown_fields_stay() {
    let [base, lost, other] = [0, 1, 2].map(|n| digest(b'l', n));
    let bytes = json!({
        "layers": [
            {"blob": lost, "parent": -1},
            {"blob": base, "parent": -1, "annotations": {"mediaType": "x", "more": 1}},
            {"blob": other, "parent": 1},
        ],
        "records": [
            {"digest": digest(b'r', 0), "layers": [{"layer": 0}, {"layer": 2, "createdAt": "2026-01-01T00:00:00Z"}]},
            {"digest": digest(b'r', 1), "layers": [{"layer": 0}], "inputs": [[{"link": 0}]]},
        ],
        "more": true,
    });
    let mended = config(bytes.to_string().as_bytes(), &HashSet::from([lost])).unwrap();
    let expected = json!({
        "layers": [
            {"blob": base, "parent": -1, "annotations": {"mediaType": "x", "more": 1}},
            {"blob": other, "parent": 0},
        ],
        "records": [{"digest": digest(b'r', 0), "layers": [{"layer": 1, "createdAt": "2026-01-01T00:00:00Z"}]}],
        "more": true,
    });
    assert_eq!(serde_json::from_str::<Value>(&mended.text).unwrap(), expected);
    assert_eq!(mended.dropped, Dropped { layers: 1, results: 2, records: 1 });
    assert_eq!(mended.results, 1);
}

#[test]
fn a_manifest_follows_its_config() {
    let [kept, gone] = [0, 1].map(|n| digest(b'l', n));
    let old = digest(b'c', 0);
    let image = json!({
        "schemaVersion": 2,
        "config": {"mediaType": cacheconfig::MEDIA_TYPE, "digest": old, "size": 9},
        "layers": [{"digest": gone, "size": 1}, {"digest": kept, "size": 2, "annotations": {"a": "b"}}],
    });
    let text = manifest(image.to_string().as_bytes(), "{}", &[kept]).unwrap();
    let expected = json!({
        "schemaVersion": 2,
        "config": {"mediaType": cacheconfig::MEDIA_TYPE, "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"digest": kept, "size": 2, "annotations": {"a": "b"}}],
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let list = json!({
        "schemaVersion": 2,
        "manifests": [{"digest": kept}, {"digest": gone}, {"mediaType": cacheconfig::MEDIA_TYPE, "digest": old}],
    });
    let text = manifest(list.to_string().as_bytes(), "{}", &[kept]).unwrap();
    let expected = json!({
        "schemaVersion": 2,
        "manifests": [
            {"digest": kept},
            {"mediaType": cacheconfig::MEDIA_TYPE, "digest": Digest::of(b"{}"), "size": 2},
        ],
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let none = json!({"schemaVersion": 2, "manifests": [{"digest": kept}]});
    assert_eq!(manifest(none.to_string().as_bytes(), "{}", &[kept]).unwrap_err().kind(), Kind::Corrupt);
}
