//! Every fault, at every request of what changes a place: whatever is told, nothing that was there is lost, nothing can be
//! found half, and doing it again completes it.

use crate::support::azure::Container;
use crate::support::faults::{Answer, Fault, Proxy, When};
use crate::support::github::Github;
use crate::support::pushing::Repository;
use crate::support::s3::{Bucket, location};
use crate::support::{azure, registry, unique};
use bytes::Bytes;
use cachedeck::error::{Kind, Result};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::model::plan::{RunId, Target};
use cachedeck::progress::Progress;
use cachedeck::store::{Expected, Reference, Store, catalog};
use futures::future::BoxFuture;
use jiff::SignedDuration;
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

const OLD: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;
const NEW: &[u8] = br#"{"schemaVersion":2, "manifests":[]}"#;
const NEEDED: &[u8] = b"what versions need";
const HIDDEN: &[u8] = b"what was hidden";
const SMALL: &[u8] = b"what is written";

/// A place with a blob and a name, behind proxies.
struct Stage {
    /// Through the proxies.
    store: Arc<dyn Store>,
    /// Past them.
    direct: Arc<dyn Store>,
    proxies: Vec<Proxy>,
    /// Lets the server forget what was begun and never ended, as it does some day.
    forget: Box<dyn Fn() + Send + Sync>,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Stage {
    async fn new(store: &Location, direct: &Location, proxies: Vec<Proxy>, keep: impl Any + Send + Sync) -> Self {
        let (store, direct) = (catalog::open(store).unwrap(), catalog::open(direct).unwrap());
        put(&direct, NEEDED.into()).await.unwrap();
        direct.publish("main", &OLD.into(), &[Digest::of(NEEDED)], Expected::Absent).await.unwrap();
        Self { store, direct, proxies, forget: Box::new(|| {}), _keep: Box::new(keep) }
    }

    async fn s3(versions: bool) -> Self {
        let bucket = Bucket::new().await;
        if versions {
            bucket.keep_versions().await;
        }
        let mended = bucket.mended(versions);
        let proxy = Proxy::before(mended.url());
        let at = |url: &str| location(url, &bucket.name);
        Self::new(&at(proxy.url()), &at(mended.url()), vec![proxy], mended).await
    }

    async fn azblob() -> Self {
        let container = Container::with(BTreeMap::new());
        let proxy = Proxy::before(&azure());
        let direct = container.location();
        let location = direct.replace(&azure(), proxy.url());
        Self::new(&location.parse().unwrap(), &direct.parse().unwrap(), vec![proxy], container).await
    }

    async fn registry() -> Self {
        let repository = Repository::new(&registry(), &unique("faults"));
        repository.make_empty().await;
        let proxy = Proxy::before(&registry());
        let at = |host: &str| {
            let reference = format!("{host}/{}", repository.name);
            Location::new("registry").with("ref", reference).with("registry.insecure", "true")
        };
        let direct = at(registry().trim_start_matches("http://"));
        Self::new(&at(proxy.authority()), &direct, vec![proxy], ()).await
    }

    async fn gha(version: u8) -> Self {
        let github = Arc::new(Github::start());
        let (api, storage) = (Proxy::before(&github.url), Proxy::before(&github.storage));
        let direct = github.run(version).with("scope", "main");
        let location = direct.clone().with(if version == 2 { "url_v2" } else { "url" }, api.url());
        let mut stage = Self::new(&location, &direct, Vec::new(), github.clone()).await;
        github.sign_for(storage.url());
        stage.proxies = vec![api, storage];
        stage.forget = Box::new(move || github.contents().forget_reserved());
        stage
    }
}

/// What is done to a place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Put,
    PutInParts,
    Publish,
    Restore,
    Purge,
}

async fn put(store: &Arc<dyn Store>, bytes: Bytes) -> Result<()> {
    store.put(&Digest::of(&bytes), Box::new(std::io::Cursor::new(bytes))).await
}

fn long() -> Bytes {
    (0..(8u32 << 20) + 77).map(|n| (n % 249) as u8).collect::<Vec<_>>().into()
}

fn run() -> RunId {
    "20261121-134500-000001".parse().unwrap()
}

async fn main_of(store: &Arc<dyn Store>) -> (Reference, Bytes) {
    let name = store.name_in_full("main");
    let mut items = store.references().await.unwrap().items;
    items.retain(|reference| reference.name == name);
    assert_eq!(items.len(), 1, "{items:?}");
    let bytes = store.document(&items[0], 1000).await.unwrap();
    (items.remove(0), bytes)
}

async fn is_there(store: &Arc<dyn Store>, bytes: &Bytes) -> bool {
    let digest = Digest::of(bytes);
    match store.measure(&[digest], &Progress::new()).await.remove(0) {
        Ok(measured) => {
            assert_eq!((measured.size, measured.digest), (bytes.len() as u64, digest), "half of it is there");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::NotFound, "{error}");
            false
        }
    }
}

impl Work {
    fn bytes(self) -> Bytes {
        match self {
            Work::Put => Bytes::from_static(SMALL),
            Work::PutInParts => long(),
            _ => Bytes::from_static(HIDDEN),
        }
    }

    /// Past the proxies.
    async fn prepare(self, stage: &Stage) -> Vec<Target> {
        if !matches!(self, Work::Restore | Work::Purge) {
            return Vec::new();
        }
        let digest = Digest::of(HIDDEN);
        put(&stage.direct, HIDDEN.into()).await.unwrap();
        let entry = stage.direct.stat(&digest).await.unwrap();
        let targets = vec![Target { digest, bytes: entry.size, modified: entry.modified }];
        let hidden = stage.direct.hide(&run(), &targets, SignedDuration::ZERO, &Progress::new()).await;
        hidden.into_iter().for_each(|hidden| hidden.unwrap());
        targets
    }

    async fn act(self, store: &Arc<dyn Store>, targets: &[Target], bytes: &Bytes) -> Result<()> {
        match self {
            Work::Put | Work::PutInParts => put(store, bytes.clone()).await,
            Work::Restore => store.restore(&run(), targets, &Progress::new()).await.remove(0),
            Work::Purge => store.purge(&run(), targets, &Progress::new()).await.remove(0),
            Work::Publish => {
                // As whoever looked at it beforehand.
                let (was, is) = main_of(store).await;
                if is == NEW {
                    return Ok(());
                }
                let expected = Expected::Version(was.version.unwrap());
                store.publish("main", &NEW.into(), &[Digest::of(NEEDED)], expected).await.map(drop)
            }
        }
    }

    /// Whether it is done. Fails if something is lost or half there, whatever it is.
    async fn is_done(self, stage: &Stage, targets: &[Target], bytes: &Bytes) -> bool {
        let direct = &stage.direct;
        assert!(is_there(direct, &NEEDED.into()).await, "what versions need is lost");
        let (_, leads) = main_of(direct).await;
        assert!(leads == OLD || (leads == NEW && self == Work::Publish), "the name leads to {leads:?}");
        match self {
            Work::Publish => leads == NEW,
            Work::Put | Work::PutInParts => is_there(direct, bytes).await,
            Work::Restore | Work::Purge => {
                let hidden = !direct.hidden(&run(), targets).await.unwrap().is_empty();
                let there = is_there(direct, bytes).await;
                assert!(hidden || there || self == Work::Purge, "it is neither hidden nor there");
                assert!(!there || self == Work::Restore, "what was to be freed is there again");
                !hidden
            }
        }
    }
}

fn faults() -> Vec<(&'static str, Fault)> {
    let busy = Answer::status(429).with("retry-after", "0");
    vec![
        ("401", Fault::status(401)),
        ("403", Fault::status(403)),
        ("404", Fault::status(404)),
        ("409", Fault::status(409)),
        ("429", Fault::Answers(busy)),
        ("500", Fault::status(500)),
        ("503", Fault::Answers(Answer::status(503).with("retry-after", "0"))),
        ("lost", Fault::Lost),
        ("reset", Fault::Reset),
    ]
}

/// Plays all faults at all requests of all work that there can be.
async fn all(name: &str, make: impl Fn() -> BoxFuture<'static, Stage>, work: &[Work]) {
    let mut report = String::new();
    for &work in work {
        let bytes = work.bytes();
        let (mut played, mut failed, mut done_nevertheless) = (0, 0, 0);
        let mut requests = 0;
        for at in 0..make().await.proxies.len() {
            for n in 1.. {
                let mut fired = false;
                let some = |(name, _): &(&str, Fault)| {
                    // Long blobs take their time.
                    work != Work::PutInParts || matches!(*name, "403" | "409" | "503" | "lost" | "reset")
                };
                for (fault_name, fault) in faults().into_iter().filter(some) {
                    let stage = make().await;
                    let targets = work.prepare(&stage).await;
                    // Names were looked at before.
                    let was = if work == Work::Publish { Some(main_of(&stage.store).await) } else { None };
                    stage.proxies.iter().for_each(Proxy::heal);
                    stage.proxies[at].play(When::nth(n), fault);
                    let result = match was {
                        Some((was, _)) => {
                            let expected = Expected::Version(was.version.unwrap());
                            let needs = [Digest::of(NEEDED)];
                            stage.store.publish("main", &NEW.into(), &needs, expected).await.map(drop)
                        }
                        None => work.act(&stage.store, &targets, &bytes).await,
                    };
                    let asked = stage.proxies[at].asked();
                    let Some(line) = asked.get(n - 1).map(|asked| asked.line.clone()) else { break };
                    fired = true;
                    played += 1;
                    let case = format!("{name}: {work:?}, {fault_name} at request {n} ({line})");
                    stage.proxies.iter().for_each(Proxy::heal);
                    let done = work.is_done(&stage, &targets, &bytes).await;
                    match result {
                        // Who is told that what is to be deleted is gone already has to believe it; the copy is found again.
                        Ok(()) if fault_name == "404" && matches!(work, Work::Restore | Work::Purge) => {}
                        Ok(()) => assert!(done, "{case}: it is told to be done, and is not"),
                        Err(error) => {
                            assert_ne!(error.kind(), Kind::Internal, "{case}: {error}");
                            failed += 1;
                            done_nevertheless += usize::from(done);
                        }
                    }
                    (stage.forget)();
                    let again = work.act(&stage.store, &targets, &bytes).await;
                    assert!(again.is_ok(), "{case}: again: {}", again.unwrap_err());
                    assert!(work.is_done(&stage, &targets, &bytes).await, "{case}: again");
                }
                if !fired {
                    break;
                }
                requests += 1;
            }
        }
        assert!(requests > 0, "{name}: {work:?} asks nothing");
        writeln!(
            report,
            "{name} {work:?}: {played} faults at {requests} requests: {failed} told ({done_nevertheless} of them done all the \
             same), {} overcome, 0 lost, 0 half",
            played - failed
        )
        .unwrap();
    }
    println!("{report}");
}

const ALL: &[Work] = &[Work::Put, Work::PutInParts, Work::Publish, Work::Restore, Work::Purge];
const WRITES: &[Work] = &[Work::Put, Work::PutInParts, Work::Publish];

#[tokio::test(flavor = "multi_thread")]
async fn s3_without_versions() {
    all("s3", || Box::pin(Stage::s3(false)), ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_with_versions() {
    // Blobs are put there the same way.
    all("s3 with versions", || Box::pin(Stage::s3(true)), &[Work::Publish, Work::Restore, Work::Purge]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azblob() {
    all("azblob", || Box::pin(Stage::azblob()), ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry() {
    all("registry", || Box::pin(Stage::registry()), WRITES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gha_v1() {
    all("gha v1", || Box::pin(Stage::gha(1)), WRITES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gha_v2() {
    all("gha v2", || Box::pin(Stage::gha(2)), WRITES).await;
}
