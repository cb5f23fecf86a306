//! Flavours, modes and packings.

use crate::places::{self, all_there, blobs, copy, fixture, meaning, only};
use cachedeck::error::Kind;
use cachedeck::model::cache::{Compression, Form, Mode};
use cachedeck::model::digest::Digest;
use cachedeck::ops::copy::{Packing, Selection, Wish};
use cachedeck::ops::verify::{Level, verify};
use cachedeck::progress::Progress;
use cachedeck::store::catalog;

const FORMS: [(&str, Form); 3] =
    [("local-max", Form::ImageManifest), ("local-index", Form::Index), ("local-docker-list", Form::DockerList)];

/// The digest that `latest` has in a fixture: what BuildKit wrote.
async fn latest(name: &str) -> Digest {
    only(&fixture(name).location).await.0.digest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flavour_comes_out_as_buildkit_writes_it() {
    let places: [fn() -> places::Place; 2] = [places::local, places::repository];
    for (from, _) in FORMS {
        let from = fixture(from);
        for (truth, form) in FORMS {
            for to in places {
                let to = to();
                let wish = Wish { form: Some(form), ..Wish::default() };
                all_there(&copy(&from.location, &to.location, &Selection::One, &wish).await.unwrap());
                let (index, ..) = only(&to.location).await;
                assert_eq!((index.form, index.digest), (Some(form), latest(truth).await), "{}", to.location);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_s_cache_becomes_every_flavour() {
    let (max, bucket) = (fixture("local-max"), places::bucket());
    all_there(&copy(&max.location, &bucket.location, &Selection::One, &Wish::default()).await.unwrap());
    for (truth, form) in FORMS {
        let to = places::local();
        let wish = Wish { form: Some(form), ..Wish::default() };
        all_there(&copy(&bucket.location, &to.location, &Selection::One, &wish).await.unwrap());
        assert_eq!(only(&to.location).await.0.digest, latest(truth).await, "back to what it was, to the byte");
    }
    let wish = Wish { form: Some(Form::Index), ..Wish::default() };
    let error = copy(&max.location, &bucket.location, &Selection::One, &wish).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_are_packed_anew_in_every_way_and_hold_the_same() {
    let kinds = [Compression::Gzip, Compression::Zstd, Compression::Uncompressed];
    let froms = ["local-max", "local-zstd", "local-uncompressed", "local-estargz", "local-docker-list"];
    for from in froms {
        let from = fixture(from);
        let (_, summary, cache) = only(&from.location).await;
        for compression in kinds {
            for (force, level) in [(false, None), (true, Some(1))] {
                let level = level.filter(|_| compression != Compression::Uncompressed);
                let packing = Packing { compression, level, force };
                let to = if force { places::bucket() } else { places::local() };
                let wish = Wish { packing: Some(packing), ..Wish::default() };
                let what = format!("{} as {compression:?}, force {force}", from.location);
                let copied = copy(&from.location, &to.location, &Selection::One, &wish).await;
                all_there(&copied.unwrap_or_else(|e| panic!("{what}: {e}")));
                let (index, is, read) = only(&to.location).await;
                assert_eq!(meaning(&read), meaning(&cache), "{what}");
                assert_eq!((is.layers, is.records, is.mode), (summary.layers, summary.records, summary.mode), "{what}");
                for (new, old) in read
                    .layers
                    .iter()
                    .map(|new| (new, cache.layers.iter().find(|old| old.diff_id == new.diff_id).unwrap()))
                {
                    let stays = old.compression == Compression::Estargz && !force;
                    let wanted = if stays { Compression::Estargz } else { compression };
                    // A bucket does not say that a layer is estargz.
                    assert_eq!(new.compression, wanted, "{what}");
                    assert!(force || old.compression != compression || new.blob == old.blob, "{what}: left as it is");
                }
                let store = catalog::open(&to.location).unwrap();
                let report =
                    verify(&store, &places::seen(&store).await, Level::Digest, &Progress::new()).await.unwrap();
                assert_eq!(report.findings, Vec::new(), "{what}");
                let again = copy(&from.location, &to.location, &Selection::One, &wish).await.unwrap();
                assert_eq!(again.versions[0].digest, Some(index.digest), "{what}: packing is the same every time");
                assert_eq!(again.sent.count, 0, "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn min_leaves_out_what_only_intermediate_steps_need() {
    let max = fixture("local-max");
    let (_, truth, _) = only(&max.location).await;
    let (_, fresh, small) = only(&fixture("local-min").location).await;
    for (sort, to) in places::SORTS {
        let to = to();
        let wish = Wish { min: true, ..Wish::default() };
        let copied = copy(&max.location, &to.location, &Selection::One, &wish).await.unwrap();
        all_there(&copied);
        assert_eq!(copied.versions[0].saves, truth.max_bytes - truth.min_bytes, "{sort}");
        let (_, is, read) = only(&to.location).await;
        assert_eq!((is.max_bytes, is.min_bytes, is.mode), (truth.min_bytes, truth.min_bytes, Mode::Min), "{sort}");
        assert_eq!(
            (is.layers, is.records, is.records_with_result),
            (fresh.layers, fresh.records, fresh.records_with_result)
        );
        assert_eq!(blobs(&read), blobs(&small), "{sort}: the blobs of a fresh min export");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_t_be_is_told_before_anything_is_written() {
    let (max, to) = (fixture("local-max"), places::local());
    let packing = |compression, level| Packing { compression, level, force: false };
    for (wrong, word) in [
        (packing(Compression::Estargz, None), "estargz"),
        (packing(Compression::Zstd, Some(23)), "23"),
        (packing(Compression::Gzip, Some(10)), "10"),
        (packing(Compression::Uncompressed, Some(1)), "no level"),
    ] {
        let wish = Wish { packing: Some(wrong), ..Wish::default() };
        let error = copy(&max.location, &to.location, &Selection::One, &wish).await.unwrap_err();
        assert!(error.kind() == Kind::Invalid && error.to_string().contains(word), "{error}");
    }
    let there = places::seen(&catalog::open(&to.location).unwrap()).await;
    assert!(there.indexes.is_empty() && there.blobs.is_empty());
}
