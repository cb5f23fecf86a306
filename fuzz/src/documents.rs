//! JSON: `index.json`, envelopes, cache configs, inline caches, usage records.

use super::refused;
use base64::Engine as _;
use cachedeck::error::Kind;
use cachedeck::format::buildx;
use cachedeck::format::cacheconfig::{self, Config};
use cachedeck::format::document::{self, Document};
use cachedeck::format::envelope::{Descriptor, Envelope, read_index_json};
use cachedeck::format::image::ImageConfig;
use cachedeck::format::rawjson;
use cachedeck::model::build::watch::{State, Watch};
use cachedeck::model::cache::{Cache, Outcome};
use cachedeck::model::graph::{LayerForest, RecordGraph, Summary};
use cachedeck::model::text;

/// `index.json` of an OCI layout.
pub fn index(data: &[u8]) {
    match read_index_json(data) {
        Ok(index) => {
            assert!(index.faults.len() <= index.bad);
            index.faults.iter().for_each(|fault| refused(fault, Kind::Corrupt));
            for tag in index.entries.iter().filter_map(|entry| entry.tag()) {
                assert!(!tag.is_empty());
                let safe = text::safe(tag);
                assert_eq!(text::safe(&safe), safe, "making text safe twice changes it");
            }
        }
        Err(error) => refused(&error, Kind::Corrupt),
    }
}

/// Anything that a blob may be when it is a document, and manifests, indexes and lists above all.
pub fn envelope(data: &[u8]) {
    let envelope = Envelope::read(data);
    match (document::read(data), &envelope) {
        (Document::Envelope(found), Ok(read)) => assert_eq!(found, *read),
        (other, Ok(_)) => panic!("read as {other:?}, but it is an envelope"),
        (Document::Envelope(_), Err(error)) => panic!("found to be an envelope, but not read: {error}"),
        (Document::Malformed(error), _) => refused(&error, Kind::Corrupt),
        (Document::Config(config), _) => check(&config.cache),
        (Document::Image(image), _) => {
            image.platform();
        }
        (Document::Other, _) => {}
    }
    match envelope {
        Ok(envelope) => {
            if let Envelope::Cache { config, .. } = &envelope {
                assert_eq!(&*config.media_type, cacheconfig::MEDIA_TYPE);
            }
            for descriptor in envelope.descriptors() {
                descriptor.created();
                descriptor.diff_id();
                descriptor.compression();
                descriptor.may_be_envelope();
                let _ = descriptor.platform.as_ref().map(ToString::to_string);
            }
        }
        Err(error) => refused(&error, Kind::Corrupt),
    }
}

/// A cache config; the same bytes as an image's config, and as the records inside of one.
pub fn config(data: &[u8]) {
    match Config::read(data) {
        Ok(config) => check(&config.cache),
        Err(error) => refused(&error, Kind::Corrupt),
    }
    inline(data);
    // An inline cache is a list, which neither of the above is.
    if data.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
        let records = base64::engine::general_purpose::STANDARD.encode(data);
        let image = format!(r#"{{"rootfs":{{"diff_ids":["","",""]}},"moby.buildkit.cache.v0":"{records}"}}"#);
        inline(image.as_bytes());
    }
}

fn inline(data: &[u8]) {
    let image = match ImageConfig::read(data) {
        Ok(image) => image,
        Err(error) => return refused(&error, Kind::Corrupt),
    };
    image.platform();
    for count in 0..=3 {
        match image.cache(&image_layers(count)) {
            Ok(Some(cache)) => {
                assert_eq!(cache.layers.len(), count);
                check(&cache);
            }
            Ok(None) => assert!(!image.has_cache()),
            Err(error) => refused(&error, Kind::Corrupt),
        }
    }
}

/// Lists of usage records.
pub fn usage(data: &[u8]) {
    if let Err(error) = cachedeck::format::usage::read(data) {
        refused(&error, Kind::Invalid);
    }
}

fn image_layers(count: usize) -> Vec<Descriptor> {
    let layer = |n: usize| format!(r#"{{"mediaType":"x+gzip","digest":"sha256:{n:064x}","size":{n}}}"#);
    let layers: Vec<String> = (0..count).map(layer).collect();
    let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, layers.join(","));
    Envelope::read(text.as_bytes()).unwrap().descriptors().cloned().collect()
}

/// What whoever walks a [`Cache`] relies on: indices in range, no loops, sizes that fit together.
fn check(cache: &Cache) {
    let (layers, records) = (cache.layers.len(), cache.records.len());
    assert!(cache.layers.iter().filter_map(|layer| layer.parent).all(|parent| parent < layers));
    for record in &cache.records {
        assert!(record.inputs.iter().all(|alternatives| !alternatives.is_empty()));
        assert!(record.inputs.iter().flatten().all(|link| link.record < records));
        for outcome in &record.results {
            match outcome {
                Outcome::Layer { layer, .. } => assert!(*layer < layers),
                Outcome::Chain { layers: chain, .. } => assert!(chain.iter().all(|layer| *layer < layers)),
            }
        }
    }
    // A loop hangs on no root, so a walk from the roots misses its members.
    let forest = LayerForest::new(cache);
    assert_eq!(forest.preorder().len(), layers, "the layers form a loop");
    assert!((0..layers).all(|layer| cache.layers[layer].parent.is_none() || forest.depth(layer) > 0));
    assert!(!has_loop(cache), "the records form a loop");
    if let Some(layer) = (0..layers).max_by_key(|&layer| forest.depth(layer)) {
        let chain = cache.chain(layer);
        assert_eq!(chain.len(), forest.depth(layer) + 1);
        assert!(forest.family(cache, layer).len() >= chain.len());
    }

    let summary = Summary::of(cache);
    assert!(summary.min_bytes <= summary.max_bytes, "{summary:?}");
    assert!(summary.unique_blobs <= summary.layers && summary.records_with_result <= summary.records);
    assert_eq!((summary.layers, summary.records), (layers, records));
    assert_eq!((summary.sinks > 0, summary.roots > 0), (records > 0, records > 0));
    if records > 0 {
        assert!(!RecordGraph::new(cache).family(cache, records - 1).is_empty());
    }
}

/// Whether a record is made from itself. A walk in depth, unlike the reader's own check.
fn has_loop(cache: &Cache) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; cache.records.len()];
    for start in 0..states.len() {
        let mut stack = vec![start];
        while let Some(&at) = stack.last() {
            if states[at] != State::New {
                states[at] = State::Done;
                stack.pop();
                continue;
            }
            states[at] = State::Open;
            for link in cache.records[at].inputs.iter().flatten() {
                match states[link.record] {
                    State::New => stack.push(link.record),
                    State::Open => return true,
                    State::Done => {}
                }
            }
        }
    }
    false
}

/// What buildx prints: messages of a build, or what it tells of a builder.
pub fn build(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut watch = Watch::default();
    for line in text.lines() {
        match rawjson::decode(line) {
            Ok(Some(status)) => watch.take(status),
            Ok(None) => assert!(!line.starts_with('{')),
            Err(error) => refused(&error, Kind::Corrupt),
        }
    }
    let mut order = watch.order();
    order.sort_unstable();
    assert!(order.into_iter().eq(0..watch.all().len()), "every vertex has one place");
    let (done, all) = watch.progress();
    assert!(done <= all && all == watch.steps().len());
    for watched in watch.all() {
        assert_eq!(watched.error.is_some(), matches!(watched.state(), State::Failed | State::Canceled));
        assert!(watched.log().len() <= 21);
        if let (Some(took), Some((begin, end))) = (watched.took(), watch.span()) {
            // Runs that end before they begin take no time.
            assert!(took <= end.duration_since(begin).unsigned_abs(), "{took:?}");
        }
    }
    let facts = buildx::inspected(&text);
    assert!(facts.image_store.is_none() || facts.driver.as_deref() == Some("docker"));
    buildx::version(&text, "buildx");
}
