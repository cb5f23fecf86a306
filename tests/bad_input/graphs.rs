//! Configs whose graphs are impossible, and graphs that are merely huge; indexes within indexes.

use super::*;
use cachedeck::model::cache::{Form, Mode};
use cachedeck::model::graph::{LayerForest, RecordGraph};
use cachedeck::store::memory::Memory;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn impossible_graphs_are_findings_on_their_version_and_harm_no_other() {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let layers = |parents: &[&str]| {
        let layers: Vec<String> = parents.iter().map(|p| format!(r#"{{"blob":"{A}","parent":{p}}}"#)).collect();
        format!(r#"{{"layers":[{}],"records":[]}}"#, layers.join(","))
    };
    let records = |records: &[&str]| {
        let records: Vec<String> = records.iter().map(|r| format!(r#"{{"digest":"{A}",{r}}}"#)).collect();
        format!(r#"{{"layers":[{{"blob":"{A}","parent":-1}}],"records":[{}]}}"#, records.join(","))
    };
    let bad = [
        (layers(&["-1", "2"]), "layer 1 has parent 2"),
        (layers(&["-2"]), "parent -2"),
        (layers(&["-9223372036854775808"]), "parent -9223372036854775808"),
        (layers(&["9223372036854775807"]), "parent 9223372036854775807"),
        (layers(&["18446744073709551616"]), ""),
        (layers(&["0.0"]), "floating point"),
        (layers(&["0"]), "its own parent"),
        (layers(&["-1", "1"]), "its own parent"),
        (layers(&["1", "2", "0"]), "its own parent"),
        (records(&[r#""layers":[{"layer":1}]"#]), "layer 1, but there are 1"),
        (records(&[r#""layers":[{"layer":-1}]"#]), "layer -1"),
        (records(&[r#""chains":[{"layers":[0,7]}]"#]), "a chain with layer 7"),
        (records(&[r#""chains":[{"layers":[-1]}]"#]), "a chain with layer -1"),
        (records(&[r#""inputs":[[{"link":1}]]"#]), "a link to record 1"),
        (records(&[r#""inputs":[[{"link":-1}]]"#]), "a link to record -1"),
        (records(&[r#""inputs":[[{"link":0}]]"#]), "loop"),
        (records(&[r#""inputs":[[{"link":1}]]"#, r#""inputs":[[{"link":0}]]"#]), "loop"),
        (records(&[r#""inputs":[[{"link":1}]]"#, r#""inputs":[[{"link":2}]]"#, r#""inputs":[[{"link":1}]]"#]), "loop"),
        (records(&[r#""inputs":[[]]"#]), "no alternative for input 0"),
        (records(&[r#""layers":[]"#, r#""inputs":[[{"link":0}],[]]"#]), "no alternative for input 1"),
        (records(&[r#""inputs":[null]"#]), "no alternative for input 0"),
    ];
    for (n, (config, _)) in bad.iter().enumerate() {
        folder.version(&format!("bad{n}"), &folder.put(config), &[]);
    }
    let inventory = folder.load().unwrap();
    for (n, (config, words)) in bad.iter().enumerate() {
        let index = tagged(&inventory, &format!("bad{n}"));
        assert_eq!(problems(&index.findings), [Problem::Malformed], "{config}");
        says(&index.findings, Problem::Malformed, words);
        assert!(index.cache.is_none() && index.summary.is_none());
    }
    assert!(!inventory.complete);
    unharmed(&before, &inventory);
}

#[test]
fn a_chain_of_200_000_layers_is_read_and_one_more_is_refused() {
    let folder = Folder::of("local-min");
    let layer = folder.put("a layer");
    let chain = |count: i64| {
        let layers: Vec<String> = (0..count).map(|n| format!(r#"{{"blob":"{layer}","parent":{}}}"#, n - 1)).collect();
        let record = format!(r#"{{"digest":"{A}","layers":[{{"layer":{}}}]}}"#, count - 1);
        format!(r#"{{"layers":[{}],"records":[{record}]}}"#, layers.join(","))
    };
    folder.version("long", &folder.put(chain(200_000)), &[layer]);
    folder.version("longer", &folder.put(chain(200_001)), &[layer]);
    let inventory = folder.load().unwrap();
    let index = tagged(&inventory, "long");
    assert_eq!(problems(&index.findings), [Problem::TooLarge]);
    let summary = index.summary.unwrap();
    assert_eq!((summary.layers, summary.unique_blobs, summary.max_bytes, summary.min_bytes), (200_000, 1, 7, 7));
    let cache = index.cache.as_ref().unwrap();
    let forest = LayerForest::new(cache);
    assert_eq!((forest.depth(199_999), forest.subtree_bytes(0)), (199_999, 1_400_000));
    assert_eq!((forest.preorder().len(), forest.family(cache, 100_000).len()), (200_000, 200_000));
    says(&tagged(&inventory, "longer").findings, Problem::Malformed, "more than 200000 layers");
}

#[test]
fn a_chain_of_200_000_records_is_read() {
    let folder = Folder::of("local-min");
    let mut records = vec![format!(r#"{{"digest":"{A}"}}"#)];
    records.extend((1..200_000).map(|n| format!(r#"{{"digest":"{A}","inputs":[[{{"link":{}}}]]}}"#, n - 1)));
    folder.version("long", &folder.put(format!(r#"{{"records":[{}]}}"#, records.join(","))), &[]);
    // The other way round, a walk from the first goes down all of them.
    let mut records: Vec<String> =
        (1..200_000).map(|n| format!(r#"{{"digest":"{A}","inputs":[[{{"link":{n}}}]]}}"#)).collect();
    records.push(format!(r#"{{"digest":"{A}"}}"#));
    folder.version("down", &folder.put(format!(r#"{{"records":[{}]}}"#, records.join(","))), &[]);
    let inventory = folder.load().unwrap();
    for tag in ["long", "down"] {
        let index = tagged(&inventory, tag);
        let summary = index.summary.unwrap();
        assert_eq!((summary.records, summary.roots, summary.sinks), (200_000, 1, 1), "{tag}");
        assert_eq!((summary.mode, summary.records_with_result), (Mode::Min, 0));
        let cache = index.cache.as_ref().unwrap();
        assert_eq!(RecordGraph::new(cache).family(cache, 77).len(), 200_000);
    }
}

#[test]
fn many_results_on_one_long_chain_take_no_more_than_its_length() {
    let folder = Folder::of("local-min");
    let layer = folder.put("a layer");
    let layers: Vec<String> = (0..20_000).map(|n| format!(r#"{{"blob":"{layer}","parent":{}}}"#, n - 1)).collect();
    let records: Vec<String> =
        (0..20_000).map(|n| format!(r#"{{"digest":"{A}","layers":[{{"layer":{n}}}]}}"#)).collect();
    let config = format!(r#"{{"layers":[{}],"records":[{}]}}"#, layers.join(","), records.join(","));
    folder.version("square", &folder.put(config), &[layer]);
    let started = std::time::Instant::now();
    let inventory = folder.load().unwrap();
    assert_eq!(tagged(&inventory, "square").summary.unwrap().min_bytes, 7);
    assert!(started.elapsed().as_secs() < 30);
}

fn index_of(digest: &Digest, size: usize) -> String {
    let index = "application/vnd.oci.image.index.v1+json";
    let entry = json!({ "mediaType": index, "digest": digest, "size": size });
    json!({ "schemaVersion": 2, "mediaType": index, "manifests": [entry] }).to_string()
}

fn load_from(memory: Memory) -> Inventory {
    let store: Arc<dyn Store> = Arc::new(memory);
    in_time(move || async move { load::load(&store, &Progress::new()).await.unwrap() })
}

#[test]
fn indexes_10_000_deep_are_walked() {
    let store = Memory::new(Location::new("memory"));
    let mut text = r#"{"schemaVersion":2,"manifests":[]}"#.to_owned();
    let mut digest = store.insert(text.clone());
    for _ in 1..10_000 {
        text = index_of(&digest, text.len());
        digest = store.insert(text.clone());
    }
    store.name("deep", digest);
    let inventory = load_from(store);
    let [index] = inventory.indexes.as_slice() else { panic!("{} versions", inventory.indexes.len()) };
    assert_eq!((index.form, index.reach.len(), index.findings.len()), (Some(Form::Image), 10_000, 0));
    assert_eq!((inventory.usage.live_blobs, inventory.complete), (10_000, true));
}

#[test]
fn an_index_that_names_itself_is_not_what_it_is_called() {
    let store = Memory::new(Location::new("memory"));
    // No content holds its own digest, so only a lie makes a loop.
    let digest = Digest::of(b"itself");
    store.insert_as(digest, index_of(&digest, 1));
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    store.insert_as(one, index_of(&two, 1));
    store.insert_as(two, index_of(&one, 1));
    store.name("itself", digest);
    store.name("each other", one);
    let inventory = load_from(store);
    for tag in ["itself", "each other"] {
        says(&tagged(&inventory, tag).findings, Problem::Malformed, "has other content");
        assert_eq!(tagged(&inventory, tag).form, None);
    }
    assert!(!inventory.complete);
}
