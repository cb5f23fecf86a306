//! Every call that a copy makes fails once, at every n: the destination's old index stays whole, and a second try completes.

use crate::places::{self, Place, SORTS, all_there, copy, copy_between, fixture, meaning, only};
use crate::support::azure::Container;
use crate::support::faults::{Answer, Fault, Proxy, When};
use crate::support::s3::Bucket;
use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::ops::copy::{Fate, Selection, Wish};
use cachedeck::progress::Progress;
use cachedeck::state::State;
use cachedeck::store::memory::Memory;
use cachedeck::store::{Store, catalog};
use std::sync::Arc;

/// A place behind a proxy, with an older version under the name.
struct Guarded {
    proxy: Proxy,
    through: Location,
    direct: Location,
    _keep: Place,
}

impl Guarded {
    /// Takes away what says that a run is changing the place, as a quarter of an hour does.
    async fn wait_for_the_lease(&self) {
        let bare = |key: &str| self.direct.value(key).unwrap().to_owned();
        match self.direct.kind() {
            "s3" => Bucket::at(&bare("endpoint_url"), &bare("bucket")).delete(LEASE).await,
            "azblob" => Container::called(&bare("container")).delete(LEASE),
            _ => {}
        }
    }
}

/// Who changes a place holds it by this object.
const LEASE: &str = ".cachedeck/lock";

async fn guarded(sort: &str) -> Guarded {
    let place = SORTS.iter().find(|(name, _)| *name == sort).unwrap().1();
    let (key, upstream) = match sort {
        "registry" => ("ref", crate::support::registry()),
        "s3" => ("endpoint_url", crate::support::s3()),
        "azblob" => ("account_url", crate::support::azure()),
        _ => panic!("{sort}"),
    };
    let origin = upstream.split('/').take(3).collect::<Vec<_>>().join("/");
    let proxy = Proxy::before(&origin);
    let (host, new) = (origin.strip_prefix("http://").unwrap(), proxy.authority());
    let through = place.location.clone().with(key, place.location.value(key).unwrap().replace(host, new));
    let min = fixture("local-min");
    all_there(&copy(&min.location, &place.location, &Selection::One, &Wish::default()).await.unwrap());
    Guarded { proxy, through, direct: place.location.clone(), _keep: place }
}

async fn fails_everywhere(sort: &str, fault: fn() -> Fault, step: usize) -> usize {
    let max = fixture("local-max");
    let (.., wanted) = only(&max.location).await;
    let (.., old) = only(&fixture("local-min").location).await;
    let wish = Wish { overwrite: true, ..Wish::default() };
    let mut n = 1;
    loop {
        let place = guarded(sort).await;
        let before = place.proxy.asked().len();
        place.proxy.play(When::nth(before + n), fault());
        let copied = copy(&max.location, &place.through, &Selection::One, &wish).await;
        let asked = place.proxy.asked().len() - before;
        place.proxy.heal();
        place.wait_for_the_lease().await;
        let seen = places::seen(&catalog::open(&place.direct).unwrap()).await;
        let named = seen.indexes.iter().find(|index| !index.tags.is_empty());
        let named = named.unwrap_or_else(|| panic!("{sort}, request {n}: the name is gone"));
        assert!(named.is_sound(), "{sort}, request {n}: {:?}", named.findings);
        let is = meaning(named.cache.as_ref().unwrap());
        match &copied {
            Ok(copied) if copied.versions.iter().all(|version| version.fate == Fate::Copied) => {
                assert_eq!(is, meaning(&wanted), "{sort}, request {n}");
            }
            // It may be there although the answer was lost.
            _ => assert!(is == meaning(&old) || is == meaning(&wanted), "{sort}, request {n}: neither old nor new"),
        }
        all_there(&copy(&max.location, &place.direct, &Selection::One, &wish).await.unwrap());
        let seen = places::seen(&catalog::open(&place.direct).unwrap()).await;
        let named = seen.indexes.iter().find(|index| !index.tags.is_empty()).unwrap();
        assert_eq!(meaning(named.cache.as_ref().unwrap()), meaning(&wanted), "{sort}, request {n}: done at last");
        if asked < n {
            return n - 1;
        }
        n += step;
    }
}

/// In the fast core every fifth request, all with CACHEDECK_SOAK.
fn step() -> usize {
    if std::env::var_os("CACHEDECK_SOAK").is_some() { 1 } else { 5 }
}

macro_rules! every_request {
    ($($name:ident: $sort:literal),*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let refused = fails_everywhere($sort, || Fault::status(403), step()).await;
            let broken = fails_everywhere($sort, || Fault::changed(|_, _| Answer::status(500)), step()).await;
            println!("{}: refused at each of {refused} requests, done and told as failed at each of {broken}", $sort);
        }
    )*};
}

every_request!(every_request_to_a_registry: "registry", every_request_to_s3: "s3", every_request_to_azure: "azblob");

/// A cache in memory.
async fn in_memory(name: &str) -> (Arc<Memory>, Digest) {
    let from = fixture(name);
    let local = catalog::open(&from.location).unwrap();
    let memory = Arc::new(Memory::new(Location::local_dir("in memory")));
    let to: Arc<dyn Store> = memory.clone();
    all_there(&copy_between(&local, &to, &Selection::One, &Wish::default(), &Progress::new()).await.unwrap());
    let (index, ..) = only(&from.location).await;
    (memory, index.digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_bytes_are_refused_wherever_they_go() {
    let (memory, _) = in_memory("local-max").await;
    let from: Arc<dyn Store> = memory.clone();
    let seen = places::seen(&from).await;
    let layer = seen.indexes[0].cache.as_ref().unwrap().layers[4].clone();
    memory.lose(&layer.blob);
    memory.insert_as(layer.blob, vec![7; layer.size.unwrap() as usize]);
    for (sort, to) in SORTS {
        let place = to();
        let min = fixture("local-min");
        all_there(&copy(&min.location, &place.location, &Selection::One, &Wish::default()).await.unwrap());
        let to = catalog::make(&place.location).unwrap();
        let wish = Wish { overwrite: true, ..Wish::default() };
        let copied = copy_between(&from, &to, &Selection::One, &wish, &Progress::new()).await.unwrap();
        let Fate::Failed(kind, why) = &copied.versions[0].fate else { panic!("{sort}: {copied:?}") };
        assert!(*kind == Kind::Corrupt && why.contains(&layer.blob.to_string()), "{sort}: {why}");
        assert_eq!(to.stat(&layer.blob).await.err().map(|e| e.kind()), Some(Kind::NotFound), "{sort}: not stored");
        let seen = places::seen(&to).await;
        let named: Vec<_> = seen.indexes.iter().filter(|index| !index.tags.is_empty()).collect();
        let (.., old) = only(&min.location).await;
        assert_eq!(meaning(named[0].cache.as_ref().unwrap()), meaning(&old), "{sort}: the old version stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_may_not_be_read_holds_up_its_own_versions_alone() {
    let bucket = SORTS.iter().find(|(name, _)| *name == "s3").unwrap().1();
    all_there(
        &copy(&fixture("local-history").location, &bucket.location, &Selection::All, &Wish::default()).await.unwrap(),
    );
    let upstream = crate::support::s3();
    let proxy = Proxy::before(&upstream);
    let through = bucket.location.clone().with("endpoint_url", proxy.url());
    let seen = places::seen(&catalog::open(&bucket.location).unwrap()).await;
    let uses = |digest: &Digest| {
        let with =
            seen.indexes.iter().filter(|index| index.cache.as_ref().unwrap().layers.iter().any(|l| l.blob == *digest));
        with.map(|index| index.name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let layers = seen.indexes.iter().flat_map(|index| &index.cache.as_ref().unwrap().layers);
    let cold = layers.map(|layer| layer.blob).find(|blob| uses(blob).len() < seen.indexes.len()).unwrap();
    proxy.play(When::always().of(&format!("{}?x-id=GetObject", cold.hex())), Fault::status(403));
    let to: Arc<dyn Store> = Arc::new(Memory::new(Location::local_dir("elsewhere")));
    let from = catalog::open(&through).unwrap();
    let copied = copy_between(&from, &to, &Selection::All, &Wish::default(), &Progress::new()).await.unwrap();
    for version in &copied.versions {
        match uses(&cold).contains(&version.title) {
            true => {
                assert!(matches!(&version.fate, Fate::Failed(Kind::Denied, why) if why.contains(&cold.to_string())))
            }
            false => assert_eq!(version.fate, Fate::Copied),
        }
    }
    assert!(copied.versions.iter().any(|version| version.fate == Fate::Copied), "{copied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_that_could_not_be_written_down() {
    let place = guarded("registry").await;
    let (from, to) = (fixture("local-max"), catalog::open(&place.through).unwrap());
    let from = catalog::open(&from.location).unwrap();
    let wish = Wish { overwrite: true, ..Wish::default() };
    let nowhere = State::at(None, None);
    let error = places::copy_noting(&from, &to, &Selection::One, &wish, &Progress::new(), &nowhere).await.unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("data folder")), "{error}");
    let sent = place
        .proxy
        .asked()
        .into_iter()
        .filter(|asked| !asked.line.starts_with("GET ") && !asked.line.starts_with("HEAD "));
    assert_eq!(sent.count(), 0);
}

#[tokio::test]
async fn a_version_that_misses_blobs_is_not_copied() {
    let (memory, _) = in_memory("local-max").await;
    let from: Arc<dyn Store> = memory.clone();
    let layer = places::seen(&from).await.indexes[0].cache.as_ref().unwrap().layers[4].blob;
    memory.lose(&layer);
    let to: Arc<dyn Store> = Arc::new(Memory::new(Location::local_dir("elsewhere")));
    let error = copy_between(&from, &to, &Selection::One, &Wish::default(), &Progress::new()).await.unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.hint().is_some_and(|hint| hint.contains("repair")), "{error}");
    assert!(places::seen(&to).await.blobs.is_empty());
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_stays_unless_told() {
    let (from, _) = in_memory("local-max").await;
    let (to, old) = in_memory("local-min").await;
    let (from, to): (Arc<dyn Store>, Arc<dyn Store>) = (from, to);
    let error = copy_between(&from, &to, &Selection::One, &Wish::default(), &Progress::new()).await.unwrap_err();
    assert!(error.kind() == Kind::Stale && error.hint().is_some_and(|hint| hint.contains("--overwrite")), "{error}");
    let leads = async |to: &Arc<dyn Store>| to.references().await.unwrap().items[0].digest;
    assert_eq!(leads(&to).await, Some(old));
    let wish = Wish { overwrite: true, ..Wish::default() };
    let copied = copy_between(&from, &to, &Selection::One, &wish, &Progress::new()).await.unwrap();
    all_there(&copied);
    assert_eq!(leads(&to).await, copied.versions[0].digest);
    // And back, as every change.
    let journal = cachedeck::ops::journal::Journal::new(&to, &cachedeck::state::State::usual());
    let site = cachedeck::ops::apply::Site {
        store: &to,
        journal: &journal,
        clock: &jiff::Timestamp::now,
        progress: &Progress::new(),
    };
    cachedeck::ops::settle::undo(&site, &copied.applied[0].run.id).await.unwrap();
    assert_eq!(leads(&to).await, Some(old), "undo leads it back");
}

#[tokio::test]
async fn a_config_that_buildkit_would_refuse_is_not_written() {
    let memory = Arc::new(Memory::new(Location::local_dir("large")));
    let layer = memory.insert(vec![1; 10]);
    let records: Vec<String> = (0..12_000_u32)
        .map(|n| format!(r#"{{"digest":"{}","layers":[{{"layer":0}}]}}"#, Digest::of(&n.to_le_bytes())))
        .collect();
    let config = format!(r#"{{"layers":[{{"blob":"{layer}","parent":-1}}],"records":[{}]}}"#, records.join(","));
    assert!(config.len() > 1 << 20);
    let (size, config) = (config.len(), memory.insert(config));
    let manifest = memory.insert(format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"{config}","size":{size}}},
        "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":10,
        "annotations":{{"containerd.io/uncompressed":"{layer}"}}}}]}}"#
    ));
    memory.name("latest", manifest);
    let from: Arc<dyn Store> = memory;
    let to: Arc<dyn Store> = Arc::new(Memory::new(Location::local_dir("elsewhere")));
    let error = copy_between(&from, &to, &Selection::One, &Wish::default(), &Progress::new()).await.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.hint().is_some_and(|hint| hint.contains("s3")), "{error}");
    assert!(places::seen(&to).await.blobs.is_empty(), "it is told before anything is sent");
    let bucket = places::bucket();
    let bucket = catalog::make(&bucket.location).unwrap();
    all_there(&copy_between(&from, &bucket, &Selection::One, &Wish::default(), &Progress::new()).await.unwrap());
}
