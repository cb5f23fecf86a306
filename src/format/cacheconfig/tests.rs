use super::*;
use crate::error::Kind;
use crate::model::graph::{LayerForest, RecordGraph, Summary};

fn digest(n: usize) -> Digest {
    Digest::of(&n.to_le_bytes())
}

/// A digest that costs little to write.
fn plain(n: usize) -> String {
    format!("sha256:{n:064x}")
}

fn read(text: &str) -> Result<Cache> {
    Config::read(text.as_bytes()).map(|c| c.cache)
}

/// A config with these `layers` and `records`, `@n` standing for the n-th digest.
fn config(layers: &[&str], records: &[&str]) -> String {
    let list = |items: &[&str]| items.iter().map(|i| format!("{{{i}}}")).collect::<Vec<_>>().join(",");
    let mut text = format!(r#"{{"layers":[{}],"records":[{}]}}"#, list(layers), list(records));
    for n in (0..10).rev() {
        text = text.replace(&format!("@{n}"), &digest(n).to_string());
    }
    text
}

fn refused(layers: &[&str], records: &[&str], why: &str) {
    let text = config(layers, records);
    let error = read(&text).expect_err(&text);
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert!(error.to_string().contains(why), "{text}\n{error}\n{why}");
}

#[test]
fn a_missing_parent_is_entry_0_and_minus_one_is_none() {
    let cache = read(&config(
        &[r#""blob":"@1","parent":-1"#, r#""blob":"@2""#, r#""blob":"@3","parent":0"#, r#""blob":"@4","parent":1"#],
        &[],
    ));
    let parents: Vec<_> = cache.unwrap().layers.iter().map(|l| l.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(0), Some(1)]);
}

#[test]
fn a_first_entry_without_parent_is_its_own_parent() {
    // 0 is what a missing parent means, so this is a loop, however harmless it looks.
    refused(&[r#""blob":"@1""#], &[], "its own parent");
}

#[test]
fn one_blob_may_stand_in_several_entries() {
    // `COPY --link` makes the same blob on different parents.
    let cache = read(&config(
        &[
            r#""blob":"@1","parent":-1"#,
            r#""blob":"@2","parent":-1"#,
            r#""blob":"@9""#,
            r#""blob":"@9","parent":1"#,
            r#""blob":"@9","parent":-1"#,
        ],
        &[r#""digest":"@7","layers":[{"layer":2},{"layer":3},{"layer":4}]"#],
    ))
    .unwrap();
    assert_eq!(cache.layers.len(), 5);
    assert_eq!(cache.layers[2..].iter().map(|l| l.parent).collect::<Vec<_>>(), [Some(0), Some(1), None]);
    let summary = Summary::of(&cache);
    assert_eq!((summary.layers, summary.unique_blobs), (5, 3));
    let chains: Vec<_> = cache.records[0].results.iter().map(|r| cache.layers_of(r)).collect();
    assert_eq!(chains, [vec![0, 2], vec![1, 3], vec![4]]);
}

#[test]
fn records_keep_order_alternatives_and_selectors() {
    let cache = read(&config(
        &[r#""blob":"@1","parent":-1"#],
        &[
            r#""digest":"@1""#,
            r#""digest":"@2","inputs":[[{"selector":"sha256:aa","link":0},{"selector":""}],[{"link":3}]]"#,
            r#""digest":"@3","layers":[{"createdAt":"2026-11-20T17:31:29.465065806Z"}],"chains":[{"layers":[0,0]},{}]"#,
            r#""digest":"@4","layers":null,"chains":null,"inputs":null"#,
        ],
    ))
    .unwrap();
    let link = |record, selector: Option<&str>| Link { record, selector: selector.map(Into::into) };
    assert_eq!(cache.records[1].inputs, [vec![link(0, Some("sha256:aa")), link(0, None)], vec![link(3, None)]]);
    let created = Some("2026-11-20T17:31:29.465065806Z".parse().unwrap());
    assert_eq!(
        cache.records[2].results,
        [
            Outcome::Layer { layer: 0, created },
            Outcome::Chain { layers: vec![0, 0], created: None },
            Outcome::Chain { layers: vec![], created: None },
        ]
    );
    assert!(cache.records[3].inputs.is_empty() && cache.records[3].results.is_empty());
}

#[test]
fn annotations_stand_in_for_a_manifest() {
    let note = r#""mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","diffID":"@2","size":77"#;
    let cache = read(&config(
        &[
            &format!(r#""blob":"@1","parent":-1,"annotations":{{{note},"createdAt":"2026-01-02T03:04:05Z"}}"#),
            &format!(r#""blob":"@1","parent":-1,"annotations":{{{note},"createdAt":"0001-01-01T00:00:00Z"}}"#),
            r#""blob":"@1","parent":-1,"annotations":{"createdAt":"soon"}"#,
            r#""blob":"@1","parent":-1,"annotations":null"#,
        ],
        &[],
    ))
    .unwrap();
    let first = &cache.layers[0];
    assert_eq!((first.size, first.diff_id, first.compression), (Some(77), Some(digest(2)), Compression::Zstd));
    assert_eq!(first.created, Some("2026-01-02T03:04:05Z".parse().unwrap()));
    assert_eq!(cache.layers[1].created, None, "Go's zero time is no time");
    assert_eq!((cache.layers[2].created, cache.layers[2].size), (None, None));
    assert_eq!(cache.layers[3].compression, Compression::Unknown);
}

#[test]
fn null_lists_are_empty_lists() {
    assert_eq!(read(r#"{"layers":null,"records":null}"#).unwrap(), Cache::default());
    assert_eq!(read("{}").unwrap(), Cache::default());
    let record = config(&[], &[r#""digest":"@1","inputs":[]"#]);
    assert_eq!(read(&record).unwrap().records.len(), 1);
}

#[test]
fn parents_out_of_range_are_refused() {
    for parent in ["1", "2", "-2", "9223372036854775807", "-9223372036854775808"] {
        refused(&[&format!(r#""blob":"@1","parent":{parent}"#)], &[], "has parent");
    }
    refused(&[r#""blob":"@1","parent":9223372036854775808"#], &[], "not a valid cache config");
}

#[test]
fn links_and_results_out_of_range_are_refused() {
    let layer = r#""blob":"@1","parent":-1"#;
    for index in ["1", "2", "-1", "-2", "-9223372036854775808", "9223372036854775807"] {
        refused(&[layer], &[&format!(r#""digest":"@1","layers":[{{"layer":{index}}}]"#)], "layer");
        refused(&[layer], &[&format!(r#""digest":"@1","chains":[{{"layers":[0,{index}]}}]"#)], "chain");
        refused(&[layer], &[&format!(r#""digest":"@1","inputs":[[{{"link":{index}}}]]"#)], "link to record");
    }
    // With no layers at all, even the entry that a missing index means is out of range.
    refused(&[], &[r#""digest":"@1","layers":[{}]"#], "there are 0");
}

#[test]
fn loops_and_self_links_are_refused() {
    refused(&[r#""blob":"@1","parent":-1"#, r#""blob":"@2","parent":1"#], &[], "its own parent");
    refused(
        &[
            r#""blob":"@1","parent":-1"#,
            r#""blob":"@2","parent":2"#,
            r#""blob":"@3","parent":3"#,
            r#""blob":"@4","parent":1"#,
        ],
        &[],
        "its own parent",
    );
    refused(&[], &[r#""digest":"@1","inputs":[[{"link":0}]]"#], "loop");
    let (one, two) = (r#""digest":"@1","inputs":[[{"link":1}]]"#, r#""digest":"@2","inputs":[[{"link":2}]]"#);
    refused(&[], &[one, two, r#""digest":"@3","inputs":[[{"link":3}],[{"link":0}]]"#, r#""digest":"@4""#], "loop");
}

#[test]
fn an_input_without_alternatives_is_refused() {
    for inputs in ["[[]]", "[null]", r#"[[{"link":0}],[]]"#] {
        refused(&[], &[r#""digest":"@1""#, &format!(r#""digest":"@2","inputs":{inputs}"#)], "no alternative");
    }
}

#[test]
fn what_is_not_exactly_such_a_document_is_refused() {
    let good = config(&[r#""blob":"@1","parent":-1"#], &[r#""digest":"@1","layers":[{"layer":0}]"#]);
    assert!(read(&good).is_ok());
    assert!(read(&format!("\n {good} \r\n\t")).is_ok());
    for (from, to) in [
        (r#""parent":-1"#, r#""parent":-1.0"#),
        (r#""parent":-1"#, r#""parent":"-1""#),
        (r#""parent":-1"#, r#""parent":-1,"parent":-1"#),
        (r#""parent":-1"#, r#""parent":NaN"#),
        (r#""layer":0"#, r#""layer":0.5"#),
        (r#""layer":0"#, r#""layer":1e0"#),
        (r#""layer":0"#, r#""layer":true"#),
        (r#""records":["#, r#""records":[],"records":["#),
        (r#""records":["#, r#""records":{"#),
        (r#""digest":"#, r#""digest":null,"x":"#),
        (r#""digest":"#, r#""x":"#),
        (r#""blob":"sha256:"#, r#""blob":"sha256:../"#),
        (r#""blob":"sha256:"#, r#""blob":"sha512:"#),
        (r#""blob":"sha256:"#, r#""blob":"SHA256:"#),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert_eq!(read(&bad).expect_err(&bad).kind(), Kind::Corrupt);
    }
    for bad in ["", "[]", "null", "nul", &format!("{good}x"), &format!("{good}{good}"), &good[..good.len() - 1]] {
        assert_eq!(read(bad).expect_err(bad).kind(), Kind::Corrupt);
    }
}

#[test]
fn what_is_not_known_is_left_aside() {
    let deep = format!("{}{}", "{\"a\":".repeat(10_000), "1".to_owned() + &"}".repeat(10_000));
    let text = config(&[r#""blob":"@1","parent":-1,"y":1.5"#], &[]);
    assert!(read(&text.replacen('{', &format!(r#"{{"z":{deep},"#), 1)).is_ok());
}

#[test]
fn chains_as_long_as_the_table_cost_no_stack_and_no_squares() {
    // Both orders: parents before their children, and after.
    for up in [true, false] {
        let n = MAX_LAYERS;
        let before = |i: usize| match up {
            true => i.checked_sub(1),
            false => (i + 1 < n).then_some(i + 1),
        };
        let layers =
            (0..n).map(|i| format!(r#"{{"blob":"{}","parent":{}}}"#, plain(i), before(i).map_or(-1, |p| p as i64)));
        let records = (0..n).map(|i| {
            let inputs = before(i).map_or(String::new(), |p| format!(r#","inputs":[[{{"link":{p}}}]]"#));
            format!(r#"{{"digest":"{}","layers":[{{"layer":{i}}}]{inputs}}}"#, plain(i))
        });
        let list = |items: Vec<String>| items.join(",");
        let text = format!(r#"{{"layers":[{}],"records":[{}]}}"#, list(layers.collect()), list(records.collect()));
        let cache = read(&text).unwrap();
        let top = if up { n - 1 } else { 0 };
        assert_eq!(cache.chain(top).len(), n);
        let graph = RecordGraph::new(&cache);
        assert_eq!(graph.sinks(), [top]);
        assert_eq!(graph.family(&cache, n / 2).len(), n);
        let forest = LayerForest::new(&cache);
        assert_eq!((forest.roots().len(), forest.depth(top), forest.preorder().len()), (1, n - 1, n));
        let summary = Summary::of(&cache);
        assert_eq!((summary.layers, summary.unique_blobs, summary.mode), (n, n, crate::model::cache::Mode::Min));
    }
}

#[test]
fn a_long_loop_is_found_and_a_longer_table_refused() {
    let loop_of = |n: usize| {
        let layers = (0..n).map(|i| format!(r#"{{"blob":"{}","parent":{}}}"#, plain(0), (i + 1) % n));
        format!(r#"{{"layers":[{}]}}"#, layers.collect::<Vec<_>>().join(","))
    };
    assert!(read(&loop_of(MAX_LAYERS)).unwrap_err().to_string().contains("its own parent"));
    assert!(read(&loop_of(MAX_LAYERS + 1)).unwrap_err().to_string().contains("more than 200000 layers"));
    let records = (0..MAX_LAYERS)
        .map(|i| format!(r#"{{"digest":"{}","inputs":[[{{"link":{}}}]]}}"#, plain(0), (i + 1) % MAX_LAYERS));
    let text = format!(r#"{{"records":[{}]}}"#, records.collect::<Vec<_>>().join(","));
    assert!(read(&text).unwrap_err().to_string().contains("loop"));
}

#[test]
fn media_types_tell_how_a_layer_is_packed() {
    for (text, packed) in [
        ("application/vnd.oci.image.layer.v1.tar", Compression::Uncompressed),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.zstd", Compression::Zstd),
        ("application/vnd.docker.image.rootfs.diff.tar", Compression::Uncompressed),
        ("application/octet-stream", Compression::Unknown),
        ("", Compression::Unknown),
    ] {
        assert_eq!(compression(text), packed, "{text}");
    }
}

#[test]
fn a_blob_with_two_sizes_counts_the_same_in_both_sums() {
    let sized = |parent: i64, size: u64| format!(r#""blob":"@1","parent":{parent},"annotations":{{"size":{size}}}"#);
    let (base, top) = (sized(-1, 5), sized(-1, 900));
    let cache = read(&config(&[&base, &top], &[r#""digest":"@9","layers":[{"layer":1}]"#])).unwrap();
    let summary = Summary::of(&cache);
    assert_eq!((summary.max_bytes, summary.min_bytes, summary.unique_blobs), (5, 5, 1));
}
