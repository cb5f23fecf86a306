use super::*;
use crate::format::cacheconfig::Config;
use crate::format::envelope::{Envelope, IndexEntry, read_index_json};
use crate::model::graph::Summary;
use crate::model::reduce::min_form;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// The files of a fixture, by path.
fn files(name: &str) -> HashMap<String, Vec<u8>> {
    let tar = format!("{}/tests/fixtures/{name}.tar.gz", env!("CARGO_MANIFEST_DIR"));
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(File::open(tar).unwrap()));
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().strip_prefix(name).unwrap().display().to_string();
        let mut bytes = Vec::new();
        Read::read_to_end(&mut entry, &mut bytes).unwrap();
        (path, bytes)
    };
    tar.entries().unwrap().map(read).collect()
}

struct Written {
    manifest: Vec<u8>,
    config: Vec<u8>,
    form: Form,
    cache: Cache,
}

/// The version that `latest` leads to in a local fixture, with all that its manifest says of layers.
fn latest(name: &str) -> Written {
    let files = files(name);
    let blob = |digest: &Digest| files[&format!("blobs/sha256/{}", digest.hex())].clone();
    let index = read_index_json(&files["index.json"]).unwrap();
    let latest = index.entries.iter().find(|entry: &&IndexEntry| entry.tag() == Some("latest")).unwrap();
    let manifest = blob(&latest.digest);
    let Envelope::Cache { form, config, layers } = Envelope::read(&manifest).unwrap() else { panic!("{name}") };
    let config = blob(&config.digest);
    let mut cache = Config::read(&config).unwrap().cache;
    for (layer, descriptor) in cache.layers.iter_mut().zip(&layers) {
        assert_eq!(layer.blob, descriptor.digest, "one descriptor an entry, in order");
        layer.size = Some(descriptor.size);
        layer.diff_id = descriptor.diff_id();
        layer.created = descriptor.created();
        layer.media_type = Arc::from(&*descriptor.media_type);
        layer.compression = descriptor.compression();
    }
    Written { manifest, config, form, cache }
}

#[track_caller]
fn same(is: &str, should: &[u8], what: &str) {
    assert_eq!(is, String::from_utf8_lossy(should), "{what}");
}

#[test]
fn what_buildkit_wrote_comes_out_the_same() {
    let all = ["local-max", "local-min", "local-index", "local-docker-list", "local-zstd", "local-uncompressed"];
    for name in all.into_iter().chain(["local-estargz", "local-multi", "local-history"]) {
        let is = latest(name);
        let config = config(&is.cache, false).unwrap();
        same(&config, &is.config, name);
        let more = annotations_of(&is.manifest);
        same(&envelope(is.form, &is.cache, &config, &more).unwrap(), &is.manifest, name);
    }
}

#[test]
fn configs_of_object_stores_come_out_the_same() {
    for name in ["s3-bucket", "azblob-container"] {
        let files = files(name);
        let configs = files.iter().filter(|(path, bytes)| path.contains("manifests/") && !bytes.is_empty());
        let mut count = 0;
        for (path, bytes) in configs {
            let cache = Config::read(bytes).unwrap().cache;
            same(&config(&cache, true).unwrap(), bytes, path);
            count += 1;
        }
        assert!(count > 1, "{name} has {count} configs");
    }
}

#[test]
fn every_flavour_can_become_every_other() {
    let flavours = ["local-max", "local-index", "local-docker-list"].map(latest);
    for from in &flavours {
        for to in &flavours {
            let config = config(&from.cache, false).unwrap();
            let more = annotations_of(&from.manifest);
            same(&envelope(to.form, &from.cache, &config, &more).unwrap(), &to.manifest, to.form.name());
        }
    }
}

#[test]
fn a_max_cache_has_the_min_form_that_a_min_export_has() {
    let (max, min) = (latest("local-max"), latest("local-min"));
    let made = min_form(&max.cache);
    let shape = |cache: &Cache| {
        let layers: Vec<_> = cache.layers.iter().map(|layer| (layer.blob, layer.parent)).collect();
        let records: Vec<_> = cache
            .records
            .iter()
            .map(|record| {
                let results: Vec<_> = record.results.iter().map(|outcome| cache.layers_of(outcome)).collect();
                (record.digest, record.inputs.clone(), results)
            })
            .collect();
        (layers, records)
    };
    // They are two builds, so their times differ.
    assert_eq!(shape(&made), shape(&min.cache));
    assert_eq!(Summary::of(&made).max_bytes, Summary::of(&max.cache).min_bytes);
    assert_eq!(shape(&min_form(&made)), shape(&made), "twice is once");
}

#[test]
fn an_annotation_needs_what_it_tells() {
    let mut cache = latest("local-max").cache;
    cache.layers[0].diff_id = None;
    let error = config(&cache, true).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Unsupported);
    assert!(error.to_string().contains(&cache.layers[0].blob.to_string()), "{error}");
    config(&cache, false).unwrap();
}
