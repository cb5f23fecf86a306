//! Containers that are changed, on Azurite: what is written meanwhile, answers that are lost, accounts that may not be asked.

use crate::support::azure::{ACCOUNT, Container, KEY};
use crate::support::faults::{Asked, Fault, Proxy, When};
use bytes::Bytes;
use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::model::finding::Problem;
use cachedeck::model::location::Location;
use cachedeck::model::plan::{RunId, Target};
use cachedeck::ops::load::load;
use cachedeck::progress::Progress;
use cachedeck::store::{BlobReader, Expected, Store, catalog};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: SignedDuration = SignedDuration::ZERO;

fn run() -> RunId {
    "20261121-134500-000001".parse().unwrap()
}

/// A container with a blob, behind a proxy.
struct Stage {
    container: Container,
    proxy: Proxy,
    store: Arc<dyn Store>,
    blob: Digest,
}

impl Stage {
    fn new() -> Self {
        let blob = Digest::of(b"blob");
        let container = Container::with(BTreeMap::from([(format!("blobs/{blob}"), b"blob".to_vec())]));
        let proxy = Proxy::before(&crate::support::azure());
        let location = Location::new("azblob")
            .with("account_url", proxy.url())
            .with("account_name", ACCOUNT)
            .with("container", &container.name)
            .with("secret_access_key", KEY);
        let store = catalog::open(&location).unwrap();
        Self { container, proxy, store, blob }
    }

    /// The same place, asked without the proxy between.
    fn direct(&self) -> Arc<dyn Store> {
        catalog::open(&self.container.location().parse().unwrap()).unwrap()
    }

    async fn target(&self) -> Target {
        let entry = self.store.stat(&self.blob).await.unwrap();
        Target { digest: self.blob, bytes: entry.size, modified: entry.modified }
    }

    async fn hide(&self) -> Result<(), Kind> {
        let targets = [self.target().await];
        self.store.hide(&run(), &targets, NOW, &Progress::new()).await.remove(0).map_err(|e| e.kind())
    }

    async fn is_there(&self) -> bool {
        self.direct().stat(&self.blob).await.is_ok()
    }

    async fn copies(&self) -> usize {
        self.direct().hidden(&run(), &[]).await.unwrap().len()
    }

    /// Deletions of the blob that the server was asked for.
    fn deletions(&self) -> Vec<Asked> {
        let is_one = |asked: &Asked| asked.line.starts_with("DELETE ") && asked.line.contains("/blobs%2F");
        self.proxy.asked().into_iter().filter(is_one).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_it_is_hidden_survives_freeing_and_is_not_written_over() {
    let stage = Stage::new();
    let targets = [stage.target().await];
    let progress = Progress::new();
    stage.hide().await.unwrap();
    assert!(!stage.is_there().await && stage.copies().await == 1);
    stage.direct().put(&stage.blob, Box::new(&b"blob"[..])).await.unwrap();
    let written = stage.direct().stat(&stage.blob).await.unwrap().modified;
    stage.store.restore(&run(), &targets, &progress).await.remove(0).unwrap();
    let back = stage
        .proxy
        .asked()
        .into_iter()
        .filter(|asked| asked.line.starts_with("PUT ") && asked.line.contains("/blobs%2F"));
    assert_eq!(back.count(), 0, "nothing is copied over it");
    assert_eq!((stage.direct().stat(&stage.blob).await.unwrap().modified, stage.copies().await), (written, 0));
    stage.hide().await.unwrap();
    stage.direct().put(&stage.blob, Box::new(&b"blob"[..])).await.unwrap();
    stage.store.purge(&run(), &targets, &progress).await.remove(0).unwrap();
    assert!(stage.is_there().await && stage.copies().await == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_but_on_a_condition_and_never_twice() {
    // Applied, but nobody says so.
    let stage = Stage::new();
    let deletion = format!("DELETE /{ACCOUNT}/{}/blobs%2F", stage.container.name);
    stage.proxy.play(When::always().of(&deletion), Fault::Lost);
    stage.hide().await.unwrap();
    let [deleted] = &stage.deletions()[..] else { panic!("one deletion") };
    assert!(deleted.header("if-match").is_some_and(|tag| tag.starts_with('"')));
    let targets = [Target { digest: stage.blob, bytes: 4, modified: None }];
    stage.store.restore(&run(), &targets, &Progress::new()).await.remove(0).unwrap();
    assert!(stage.is_there().await);

    // Not applied: the blob stays, with its copy until the run ends.
    for fault in [Fault::Reset, Fault::status(503)] {
        let stage = Stage::new();
        let deletion = format!("DELETE /{ACCOUNT}/{}/blobs%2F", stage.container.name);
        stage.proxy.play(When::always().of(&deletion), fault);
        assert_eq!(stage.hide().await, Err(Kind::Unavailable));
        assert_eq!(stage.deletions().len(), 1);
        assert!(stage.is_there().await);
    }

    // It was written between the look and the deletion.
    let stage = Stage::new();
    let deletion = format!("DELETE /{ACCOUNT}/{}/blobs%2F", stage.container.name);
    stage.proxy.play(When::always().of(&deletion), Fault::status(412));
    assert_eq!(stage.hide().await, Err(Kind::Stale));
    assert!(stage.is_there().await && stage.copies().await == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_request_fails_nothing_is_lost() {
    let mut played = 0;
    for n in 1.. {
        let status = [403, 404, 409, 412, 400][n % 5];
        let mut fired = false;
        for fault in [Fault::status(status), Fault::Lost] {
            let stage = Stage::new();
            let target = stage.target().await;
            stage.proxy.heal();
            stage.proxy.play(When::nth(n), fault);
            let progress = Progress::new();
            drop(stage.store.hide(&run(), &[target], NOW, &progress).await);
            fired = stage.proxy.asked().len() >= n;
            assert!(stage.deletions().len() <= 1, "a deletion was sent again");
            stage.proxy.heal();
            stage.store.restore(&run(), &[target], &progress).await.remove(0).unwrap();
            assert_eq!(stage.store.read(&stage.blob, 9).await.unwrap(), "blob", "request {n} of hiding: {status}");
            assert_eq!(stage.copies().await, 0);
        }
        if !fired {
            break;
        }
        played += 1;
    }
    assert!(played >= 4, "{played} requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_blobs_come_in_blocks_and_are_checked_before_they_are_there() {
    let stage = Stage::new();
    let bytes: Bytes = (0..33_600_000u32).map(|n| (n % 253) as u8).collect::<Vec<_>>().into();
    let body = || -> BlobReader { Box::new(std::io::Cursor::new(bytes.clone())) };
    let (digest, wrong) = (Digest::of(&bytes), Digest::of(b"wrong"));
    let store = stage.direct();
    assert_eq!(store.put(&wrong, body()).await.unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(store.stat(&wrong).await.unwrap_err().kind(), Kind::NotFound);
    store.put(&digest, body()).await.unwrap();
    let measured = store.measure(&[digest], &Progress::new()).await.remove(0).unwrap();
    assert_eq!((measured.size, measured.digest), (33_600_000, digest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_runs_out_and_is_not_taken_before() {
    let lock = |until: &str| format!("{{\"run\":\"20261121-134500-00000a\",\"until\":\"{until}\"}}").into_bytes();
    for (until, free) in [("2999-01-01T00:00:00Z", false), ("2020-01-01T00:00:00Z", true)] {
        let container = Container::with(BTreeMap::from([(".cachedeck/lock".to_owned(), lock(until))]));
        let store = catalog::open(&container.location().parse().unwrap()).unwrap();
        match store.hold(&run()).await {
            Ok(hold) => {
                assert!(free);
                store.release(hold).await.unwrap();
            }
            Err(error) => {
                assert!(
                    !free && error.kind() == Kind::Busy && error.what().contains("20261121-134500-00000a"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_whose_answer_is_lost_is_known_to_be_published() {
    let stage = Stage::new();
    let document = Bytes::from_static(br#"{"layers":[]}"#);
    stage.proxy.play(When::always().of("PUT "), Fault::Lost);
    let reference = stage.store.publish("main", &document, &[stage.blob], Expected::Absent).await.unwrap();
    assert_eq!(stage.store.references().await.unwrap().items[0].version, reference.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_account_keeps_is_said() {
    let stage = Stage::new();
    let said = || async {
        let promise = stage.store.promise().await.unwrap();
        (promise.exact, promise.caveats.join("\n"))
    };
    let keeping = "<?xml version=\"1.0\"?><StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled>\
                   <Days>14</Days></DeleteRetentionPolicy></StorageServiceProperties>";
    stage.proxy.play(When::always().of("comp=properties"), Fault::changed(move |_, answer| answer.with_body(keeping)));
    let (exact, caveats) = said().await;
    assert!(!exact && caveats.contains("14 days"), "{caveats}");
    stage.proxy.heal();
    stage.proxy.play(When::always().of("comp=properties"), Fault::status(403));
    let (exact, caveats) = said().await;
    assert!(!exact && caveats.contains("may not be known"), "{caveats}");
    stage.proxy.heal();
    assert!(said().await.0, "this account keeps nothing");
    assert!(stage.proxy.asked().iter().all(|asked| asked.line.starts_with("GET ")), "promising changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_beside_that_may_use_the_same_blobs_are_told_of() {
    let config = br#"{"layers":[]}"#.to_vec();
    let objects = |more: &[&str]| {
        let keys = ["team-a/manifests/main"].iter().chain(more);
        let mut objects: BTreeMap<String, Vec<u8>> = keys.map(|key| ((*key).to_owned(), config.clone())).collect();
        objects.insert(format!("blobs/{}", Digest::of(b"x")), b"x".to_vec());
        objects.insert("team-c/notes.txt".to_owned(), b"{}".to_vec());
        objects
    };
    for (more, shared) in [(&["team-b/manifests/main"][..], true), (&[], false)] {
        let container = Container::with(objects(more));
        let location = format!("{},manifests_prefix=team-a/manifests", container.location()).parse().unwrap();
        let inventory = load(&catalog::open(&location).unwrap(), &Progress::new()).await.unwrap();
        let told: Vec<_> = inventory.warnings.iter().filter(|f| f.problem == Problem::Shared).collect();
        assert_eq!((inventory.complete, told.len()), (!shared, usize::from(shared)), "{told:?}");
    }
}
