//! Every sort of place as source and as destination.

use crate::places::{self, SORTS, all_there, blobs, copy, fixture, image, meaning, only};
use cachedeck::model::location::Location;
use cachedeck::ops::copy::{Fate, Selection, Wish};
use cachedeck::ops::verify::{Level, verify};
use cachedeck::progress::Progress;
use cachedeck::store::catalog;

/// The only name of a place may need to be asked for: in a run GitHub lists none.
fn source(location: &Location) -> Location {
    location.clone()
}

async fn same_everywhere(first: Location) {
    let (_, truth, cache) = only_of(&first).await;
    let mut count = 0;
    for (from_sort, from) in SORTS {
        let from = from();
        all_there(&copy(&first, &from.location, &Selection::One, &Wish::default()).await.unwrap());
        for (to_sort, to) in SORTS {
            let to = to();
            let pair = format!("{from_sort} to {to_sort}");
            let copied = copy(&source(&from.location), &to.location, &Selection::One, &Wish::default()).await;
            let copied = copied.unwrap_or_else(|e| panic!("{pair}: {e} {:?}", e.hint()));
            all_there(&copied);
            assert!(copied.sent.count + copied.taken.count > 0, "{pair}: {copied:?}");
            let (index, summary, read) = only(&to.location).await;
            assert_eq!((summary.min_bytes, summary.max_bytes), (truth.min_bytes, truth.max_bytes), "{pair}");
            assert_eq!(
                (summary.layers, summary.records, summary.mode),
                (truth.layers, truth.records, truth.mode),
                "{pair}"
            );
            assert_eq!(meaning(&read), meaning(&cache), "{pair}");
            assert_eq!(blobs(&read), blobs(&cache), "{pair}: layers are the same to the byte");
            assert_eq!(copied.versions[0].digest, Some(index.digest), "{pair}");
            let store = catalog::open(&to.location).unwrap();
            let seen = places::seen(&store).await;
            let report = verify(&store, &seen, Level::Digest, &Progress::new()).await.unwrap();
            assert_eq!(report.findings, Vec::new(), "{pair}");

            let again = copy(&from.location, &to.location, &Selection::One, &Wish::default()).await.unwrap();
            assert_eq!(again.versions[0].fate, Fate::Unchanged, "{pair}");
            assert_eq!((again.sent.count, again.taken.count), (0, 0), "{pair}: nothing is sent twice");
            count += 1;
        }
    }
    println!("{count} pairs, the same cache in all of them");
}

async fn only_of(
    location: &Location,
) -> (
    cachedeck::model::inventory::CacheIndex,
    cachedeck::model::graph::Summary,
    std::sync::Arc<cachedeck::model::cache::Cache>,
) {
    let seen = places::seen(&catalog::open(location).unwrap()).await;
    let index = seen.selected().unwrap().clone();
    (index.clone(), index.summary.unwrap(), index.cache.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_is_the_same_wherever_it_goes() {
    let max = fixture("local-max");
    same_everywhere(max.location.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_s_cache_can_be_taken_out_of_it() {
    let image = image().await;
    let (_, truth, cache) = only_of(&image.location).await;
    for (sort, to) in SORTS {
        let to = to();
        let copied = copy(&image.location, &to.location, &Selection::One, &Wish::default()).await;
        all_there(&copied.unwrap_or_else(|e| panic!("{sort}: {e}")));
        let (_, summary, read) = only(&to.location).await;
        assert_eq!((summary.min_bytes, summary.max_bytes), (truth.min_bytes, truth.max_bytes), "{sort}");
        assert_eq!(meaning(&read), meaning(&cache), "{sort}");
        assert_eq!(blobs(&read), blobs(&cache), "{sort}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_versions_and_one_without_a_name() {
    let history = fixture("local-history");
    let seen = places::seen(&catalog::open(&history.location).unwrap()).await;
    let dangling = seen.indexes.iter().find(|index| index.tags.is_empty()).unwrap();
    for (sort, to) in SORTS.iter().filter(|(sort, _)| !sort.starts_with("gha")) {
        let to = to();
        let copied = copy(&history.location, &to.location, &Selection::All, &Wish::default()).await.unwrap();
        all_there(&copied);
        assert_eq!(copied.versions.len(), 2, "{sort}");
        let by_digest =
            Selection::These { tags: Vec::new(), digests: vec![dangling.digest.to_string().parse().unwrap()] };
        let nameless = copy(&history.location, &to.location, &by_digest, &Wish::default()).await.unwrap_err();
        assert!(nameless.hint().is_some_and(|hint| hint.contains("add")), "{sort}: {nameless}");
        let named = to.location.clone().asking_for("old");
        all_there(&copy(&history.location, &named, &by_digest, &Wish::default()).await.unwrap());
        let there = places::seen(&catalog::open(&to.location).unwrap()).await;
        let mut names: Vec<&str> = there.indexes.iter().flat_map(|index| &index.tags).map(String::as_str).collect();
        names.sort();
        let usual = to.location.usual_name();
        let mut wanted = vec![usual, "old", "release"];
        wanted.sort();
        assert_eq!(names, wanted, "{sort}");
        let old = there.indexes.iter().find(|index| index.tags == ["old"]).unwrap();
        assert_eq!(meaning(old.cache.as_ref().unwrap()), meaning(dangling.cache.as_ref().unwrap()), "{sort}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_several_places_is_written_under_each() {
    let (max, bucket) = (fixture("local-max"), places::bucket());
    let to = bucket.location.clone().with("name", "main;5f1e2d3");
    all_there(&copy(&max.location, &to, &Selection::One, &Wish::default()).await.unwrap());
    let seen = places::seen(&catalog::open(&bucket.location).unwrap()).await;
    assert_eq!(seen.indexes.len(), 1);
    assert_eq!(seen.indexes[0].tags, ["5f1e2d3", "main"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_t_be_a_name_is_told_before_anything_is_sent() {
    let (max, bucket, repository) = (fixture("local-max"), places::bucket(), places::repository());
    let slashed = bucket.location.clone().with("name", "feature/x");
    all_there(&copy(&max.location, &slashed, &Selection::One, &Wish::default()).await.unwrap());
    let error = copy(&bucket.location, &repository.location, &Selection::One, &Wish::default()).await.unwrap_err();
    assert!(error.to_string().contains("feature/x") && error.hint().is_some(), "{error}");
    assert!(catalog::open(&repository.location).unwrap().references().await.is_err(), "there is no repository yet");
}
