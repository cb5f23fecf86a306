//! What the library makes of every fixture, beside the sums that `tests/expected.rs` checks through the program: each is
//! sound to the last byte, versions come in the order promised, and a builder's records name the layers.

#![allow(clippy::unwrap_used)]

mod fixtures;

use cachedeck::model::cache::{Compression, Form, Mode};
use cachedeck::model::inventory::{CacheIndex, Inventory};
use cachedeck::model::location::Location;
use cachedeck::ops::names::StepNames;
use cachedeck::ops::verify::{Level, verify};
use cachedeck::progress::Progress;
use cachedeck::store::{Store, catalog};
use fixtures::Fixture;
use std::sync::Arc;

fn open(fixture: &Fixture) -> (Arc<dyn Store>, Inventory) {
    let store = catalog::open(&Location::local_dir(fixture.path().to_str().unwrap())).unwrap();
    let inventory = wait(cachedeck::ops::load::load(&store, &Progress::new())).unwrap();
    (store, inventory)
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

fn only(name: &str) -> CacheIndex {
    let (_, mut inventory) = open(&Fixture::unpack(name));
    assert_eq!(inventory.indexes.len(), 1, "{name}");
    inventory.indexes.remove(0)
}

#[test]
fn every_fixture_is_sound_to_the_last_byte() {
    for name in [
        "local-docker-list",
        "local-estargz",
        "local-history",
        "local-index",
        "local-max",
        "local-min",
        "local-multi",
        "local-uncompressed",
        "local-zstd",
        "inline-image",
    ] {
        let fixture = Fixture::unpack(name);
        let (store, inventory) = open(&fixture);
        assert!(inventory.complete && inventory.warnings.is_empty(), "{name}");
        assert!(inventory.indexes.iter().all(CacheIndex::is_sound), "{name}");
        let report = wait(verify(&store, &inventory, Level::Digest, &Progress::new())).unwrap();
        assert_eq!((report.findings.as_slice(), report.hashed_bytes), ([].as_slice(), inventory.usage.bytes), "{name}");
    }
}

#[test]
fn sums_alone_are_those_of_the_whole() {
    for name in ["local-history", "local-max", "local-multi", "inline-image"] {
        let fixture = Fixture::unpack(name);
        let (store, mut whole) = open(&fixture);
        let sums = wait(cachedeck::ops::load::load_sums(&store, &Progress::new())).unwrap();
        assert!(whole.indexes.iter().any(|index| index.cache.is_some()), "{name}");
        whole.indexes.iter_mut().for_each(|index| index.cache = None);
        assert_eq!(format!("{sums:#?}"), format!("{whole:#?}"), "{name}");
    }
}

#[test]
fn forms_and_packings_are_told_by_content() {
    let packed = |name: &str| {
        let index = only(name);
        let mut seen: Vec<_> = index.cache.unwrap().layers.iter().map(|l| l.compression).collect();
        seen.dedup();
        (index.form.unwrap(), seen)
    };
    assert_eq!(packed("local-max"), (Form::ImageManifest, vec![Compression::Gzip]));
    assert_eq!(packed("local-index"), (Form::Index, vec![Compression::Gzip]));
    assert_eq!(packed("local-docker-list"), (Form::DockerList, vec![Compression::Gzip]));
    assert_eq!(packed("local-zstd"), (Form::ImageManifest, vec![Compression::Zstd]));
    assert_eq!(packed("local-estargz"), (Form::ImageManifest, vec![Compression::Estargz]));
    assert_eq!(packed("local-uncompressed"), (Form::ImageManifest, vec![Compression::Uncompressed]));
    assert_eq!(packed("inline-image"), (Form::Inline, vec![Compression::Gzip]));
}

#[test]
fn min_is_what_a_min_export_holds() {
    let (max, min) = (only("local-max").summary.unwrap(), only("local-min").summary.unwrap());
    assert_eq!(max.min_bytes, min.max_bytes);
    assert_eq!((max.mode, min.mode), (Mode::Max, Mode::Min));
}

#[test]
fn named_versions_come_first_and_dangling_ones_from_new_to_old() {
    let (_, inventory) = open(&Fixture::unpack("local-history"));
    let tags: Vec<Option<&str>> = inventory.indexes.iter().map(CacheIndex::name).collect();
    assert_eq!(tags, [Some("latest"), Some("release"), None, None, None, None]);
    assert!(inventory.indexes[2..].iter().all(CacheIndex::is_dangling));
    assert!(inventory.indexes[2..].is_sorted_by_key(|i| std::cmp::Reverse(i.time())));
    let oldest = inventory.indexes.last().unwrap();
    let by_digest = inventory.location.clone().with("digest", oldest.digest.to_string());
    let again = Inventory { location: by_digest, ..inventory.clone() };
    assert_eq!(again.selected().unwrap().digest, oldest.digest);
}

#[test]
fn a_builders_records_name_the_layers_of_what_it_exported() {
    let names = StepNames::read(include_bytes!("fixtures/daemon-du.json")).unwrap();
    for name in ["local-max", "local-index", "local-docker-list"] {
        let cache = only(name).cache.unwrap();
        let unnamed = cache.layers.iter().filter(|l| names.of(l).is_none()).count();
        assert_eq!(unnamed, 0, "{name}: {} layers", cache.layers.len());
    }
    let inline = only("inline-image").cache.unwrap();
    assert!(inline.layers.iter().all(|l| l.history.is_some()), "an image's own history names its layers");
}
