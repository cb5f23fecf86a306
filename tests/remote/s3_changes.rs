//! Buckets that are changed: a real server, and one that loses answers, minds no conditions, or minds them all.

use crate::support::faults::{Answer, Asked, Fault, Proxy, When};
use crate::support::s3::{Bucket, location};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::model::finding::Problem;
use cachedeck::model::location::Location;
use cachedeck::model::plan::{RunId, Target};
use cachedeck::ops::load::load;
use cachedeck::progress::Progress;
use cachedeck::store::{BlobReader, Expected, Store, catalog};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Barrier, mpsc};

const NOW: SignedDuration = SignedDuration::ZERO;

fn run() -> RunId {
    "20261121-134500-000001".parse().unwrap()
}

fn key(digest: &Digest) -> String {
    format!("blobs/{digest}")
}

/// A bucket with a blob, behind a proxy.
struct Stage {
    bucket: Bucket,
    proxy: Proxy,
    _mended: Proxy,
    store: Arc<dyn Store>,
    blob: Digest,
}

impl Stage {
    async fn new(versions: bool) -> Self {
        let bucket = Bucket::new().await;
        if versions {
            bucket.keep_versions().await;
        }
        let blob = Digest::of(b"blob");
        bucket.put(&key(&blob), "blob").await;
        let mended = bucket.mended(versions);
        let proxy = Proxy::before(mended.url());
        let store = catalog::open(&location(proxy.url(), &bucket.name)).unwrap();
        Self { bucket, proxy, _mended: mended, store, blob }
    }

    async fn target(&self) -> Target {
        let entry = self.store.stat(&self.blob).await.unwrap();
        Target { digest: self.blob, bytes: entry.size, modified: entry.modified }
    }

    async fn hide(&self) -> Result<(), Kind> {
        let targets = [self.target().await];
        self.store.hide(&run(), &targets, NOW, &Progress::new()).await.remove(0).map_err(|e| e.kind())
    }

    async fn hidden(&self) -> usize {
        self.store.hidden(&run(), &[]).await.unwrap().len()
    }

    async fn restore(&self) {
        let targets = [Target { digest: self.blob, bytes: 4, modified: None }];
        self.store.restore(&run(), &targets, &Progress::new()).await.remove(0).unwrap();
    }

    async fn purge(&self) {
        let targets = [Target { digest: self.blob, bytes: 4, modified: None }];
        self.store.purge(&run(), &targets, &Progress::new()).await.remove(0).unwrap();
    }

    /// Deletions of the blob that the server was asked for.
    fn deletions(&self) -> Vec<Asked> {
        let is_one = |asked: &Asked| asked.line.starts_with("DELETE ") && asked.line.contains("/blobs/sha256");
        self.proxy.asked().into_iter().filter(is_one).collect()
    }
}

/// Minds when an object was last written, which the real server of these tests does not.
fn minding() -> Fault {
    Fault::asked(|asked: Asked| {
        let Some(time) = asked.header("x-amz-if-match-last-modified-time") else { return Ok(asked) };
        // The canary's wrong time is a day off.
        let time = jiff::fmt::rfc2822::parse(time).unwrap().timestamp();
        if Timestamp::now().duration_since(time) < SignedDuration::from_hours(12) {
            Ok(asked)
        } else {
            Err(Box::new(stale()))
        }
    })
}

fn stale() -> Answer {
    let xml = "<Error><Code>PreconditionFailed</Code></Error>";
    Answer::status(412).with("content-type", "application/xml").with_body(xml)
}

/// Minds no condition at all, and deletes.
fn lying() -> Fault {
    Fault::asked(|mut asked: Asked| {
        for header in ["if-match", "if-none-match", "x-amz-if-match-last-modified-time"] {
            asked.headers.remove(header);
        }
        Ok(asked)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_it_is_hidden_survives_freeing() {
    for versions in [true, false] {
        let stage = Stage::new(versions).await;
        stage.hide().await.unwrap();
        assert!(!stage.bucket.has(&key(&stage.blob)).await);
        stage.bucket.put(&key(&stage.blob), "blob").await;
        stage.purge().await;
        assert_eq!(stage.store.read(&stage.blob, 9).await.unwrap(), "blob");
        assert_eq!(stage.bucket.versions(&key(&stage.blob)).await, (1, 0), "what was seen is freed, with its marker");
        assert_eq!(stage.hidden().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn older_versions_are_freed_along() {
    let stage = Stage::new(true).await;
    stage.bucket.put(&key(&stage.blob), "blob").await;
    stage.bucket.put(&key(&stage.blob), "blob").await;
    stage.hide().await.unwrap();
    assert_eq!(stage.bucket.versions(&key(&stage.blob)).await, (3, 1));
    stage.purge().await;
    assert_eq!(stage.bucket.versions(&key(&stage.blob)).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_between_the_look_and_the_marker_comes_back() {
    let stage = Stage::new(true).await;
    stage.hide().await.unwrap();
    // The same as if a build had renewed it just before: a newer version, and a marker above it.
    stage.bucket.put(&key(&stage.blob), "blob").await;
    stage.bucket.delete(&key(&stage.blob)).await;
    assert_eq!(stage.hidden().await, 1);
    stage.restore().await;
    assert_eq!(stage.store.read(&stage.blob, 9).await.unwrap(), "blob");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_tried_out_and_what_that_means_is_said() {
    let minds = Stage::new(false).await;
    minds.proxy.play(When::always().of("DELETE "), minding());
    minds.hide().await.unwrap();
    let said = |stage: &Stage| {
        let store = stage.store.clone();
        async move { store.promise().await.unwrap().caveats.join("\n") }
    };
    assert!(said(&minds).await.contains("only if it was not written since"));
    assert!(minds.deletions().iter().all(|d| d.header("x-amz-if-match-last-modified-time").is_some()));

    let lies = Stage::new(false).await;
    lies.proxy.play(When::always().of("DELETE "), lying());
    assert!(said(&lies).await.contains("is tried out"), "planning tries out nothing");
    assert!(lies.proxy.asked().iter().all(|asked| asked.line.starts_with("GET ")));
    lies.hide().await.unwrap();
    assert!(said(&lies).await.contains("minds no condition"));
    let lines: Vec<String> = lies.proxy.asked().into_iter().map(|asked| asked.line).collect();
    let deleted = lines.iter().position(|line| line.starts_with("DELETE ") && line.contains("/blobs/")).unwrap();
    assert!(lines[deleted - 1].starts_with("HEAD ") && lines[deleted - 1].contains("/blobs/"), "looked at just before");
    lies.restore().await;
    assert!(lies.bucket.has(&key(&lies.blob)).await);
    let probes = lines.iter().filter(|line| line.contains(".cachedeck/probe/") && line.starts_with("PUT ")).count();
    assert!(probes >= 1);
    let (sender, mut listed) = mpsc::channel(10);
    lies.store.blobs(&Progress::new(), &Arc::default(), sender).await.unwrap();
    assert_eq!(listed.recv().await.unwrap().len(), 1, "canaries are no blobs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_written_before_the_deletion_stays() {
    // A server that minds the condition says no; one that does not is asked again just before.
    let minds = Stage::new(false).await;
    minds.proxy.play(When::always().of("/.cachedeck/"), minding());
    minds.proxy.play(
        When::always().of("DELETE "),
        Fault::asked(|asked: Asked| if asked.line.contains("/blobs/") { Err(Box::new(stale())) } else { Ok(asked) }),
    );
    assert_eq!(minds.hide().await, Err(Kind::Stale));
    assert!(minds.bucket.has(&key(&minds.blob)).await);
    assert_eq!(minds.hidden().await, 0, "its copy is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_answer_is_lost_is_never_sent_again() {
    for versions in [true, false] {
        // Applied, but nobody says so.
        let stage = Stage::new(versions).await;
        let path = format!("DELETE /{}/blobs/", stage.bucket.name);
        stage.proxy.play(When::always().of(&path), Fault::Lost);
        stage.hide().await.unwrap();
        assert_eq!(stage.deletions().len(), 1);
        assert_eq!(stage.hidden().await, 1);
        stage.restore().await;
        assert_eq!(stage.store.read(&stage.blob, 9).await.unwrap(), "blob");

        // Not applied: the blob stays, and a later attempt looks at it anew.
        for fault in [Fault::Reset, Fault::status(503), Fault::status(500)] {
            let stage = Stage::new(versions).await;
            let path = format!("DELETE /{}/blobs/", stage.bucket.name);
            stage.proxy.play(When::always().of(&path), fault);
            assert_eq!(stage.hide().await, Err(Kind::Unavailable));
            assert_eq!(stage.deletions().len(), 1);
            assert!(stage.bucket.has(&key(&stage.blob)).await);
            stage.proxy.heal();
            stage.hide().await.unwrap();
            stage.purge().await;
            assert!(!stage.bucket.has(&key(&stage.blob)).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_request_fails_nothing_is_lost() {
    for versions in [true, false] {
        let mut played = 0;
        for n in 1.. {
            let status = [403, 404, 409, 412, 501, 400][n % 6];
            let mut fired = false;
            for fault in [Fault::status(status), Fault::Lost] {
                let stage = Stage::new(versions).await;
                let target = stage.target().await;
                stage.proxy.heal();
                stage.proxy.play(When::nth(n), fault);
                let progress = Progress::new();
                drop(stage.store.hide(&run(), &[target], NOW, &progress).await);
                fired = stage.proxy.asked().len() >= n;
                assert!(stage.deletions().len() <= 1, "a deletion was sent again");
                stage.proxy.heal();
                // Whatever came of it, an undo brings everything back.
                drop(stage.store.hidden(&run(), &[target]).await.unwrap());
                stage.store.restore(&run(), &[target], &progress).await.remove(0).unwrap();
                assert_eq!(stage.store.read(&stage.blob, 9).await.unwrap(), "blob", "request {n} of hiding: {status}");
            }
            if !fired {
                break;
            }
            played += 1;
        }
        assert!(played >= 4, "{played} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_in_a_success_is_told() {
    let stage = Stage::new(false).await;
    let other = Digest::of(b"other");
    stage.bucket.put(&key(&other), "other").await;
    let entry = stage.store.stat(&other).await.unwrap();
    let targets = [stage.target().await, Target { digest: other, bytes: 5, modified: entry.modified }];
    let progress = Progress::new();
    stage.store.hide(&run(), &targets, NOW, &progress).await.into_iter().for_each(|hidden| hidden.unwrap());
    let refused = |_: &Asked, answer: Answer| {
        let text = String::from_utf8(answer.body.clone()).unwrap();
        let at = text.find("<Deleted>").unwrap();
        let end = at + text[at..].find("</Deleted>").unwrap() + "</Deleted>".len();
        let error =
            text[at..end].replace("Deleted>", "Error>").replace("</Error>", "<Code>AccessDenied</Code></Error>");
        answer.with_body(format!("{}{error}{}", &text[..at], &text[end..]))
    };
    stage.proxy.play(When::always().of("POST "), Fault::changed(refused));
    let kinds: Vec<_> =
        stage.store.purge(&run(), &targets, &progress).await.into_iter().map(|r| r.err().map(|e| e.kind())).collect();
    assert_eq!(kinds.iter().flatten().collect::<Vec<_>>(), [&Kind::Denied], "{kinds:?}");
    // An answer that names nothing is not taken for one that everything is gone.
    stage.proxy.heal();
    let nothing = "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></DeleteResult>";
    stage.store.hide(&run(), &targets, NOW, &progress).await;
    let copies = stage.store.hidden(&run(), &targets).await.unwrap();
    stage.proxy.play(When::always().of("POST "), Fault::changed(move |_, answer| answer.with_body(nothing)));
    let purged = stage.store.purge(&run(), &copies, &progress).await;
    assert!(purged.iter().all(|r| r.as_ref().is_err_and(|e| e.kind() == Kind::Corrupt)), "{purged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_looked_at_is_not_hidden() {
    for versions in [true, false] {
        let stage = Stage::new(versions).await;
        let target = stage.target().await;
        stage.proxy.play(When::always().of("/blobs/"), Fault::status(403));
        stage.proxy.play(When::always().of("versions"), Fault::status(403));
        let hidden = stage.store.hide(&run(), &[target], NOW, &Progress::new()).await.remove(0);
        assert_eq!(hidden.unwrap_err().kind(), Kind::Denied);
        assert!(stage.deletions().is_empty() && stage.bucket.has(&key(&stage.blob)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_versioning_is_no_ground_to_hide_on() {
    let stage = Stage::new(true).await;
    let suspended = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     <Status>Suspended</Status></VersioningConfiguration>";
    stage.proxy.play(When::always().of("versioning"), Fault::changed(move |_, answer| answer.with_body(suspended)));
    assert_eq!(stage.hide().await, Err(Kind::Unsupported));
    assert!(stage.store.promise().await.unwrap().caveats.iter().any(|caveat| caveat.contains("suspended")));
    stage.proxy.heal();
    // It is switched off between the question and the deletion: the first answer without a marker ends it.
    let unmarked =
        Fault::asked(
            |asked: Asked| {
                if asked.line.contains("versionId") { Ok(asked) } else { Err(Box::new(Answer::status(204))) }
            },
        );
    stage.proxy.play(When::always().of("DELETE "), unmarked);
    assert_eq!(stage.hide().await, Err(Kind::Corrupt));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_runs_out_and_is_not_taken_before() {
    let stage = Stage::new(false).await;
    let lock = |until: &str| format!("{{\"run\":\"20261121-134500-00000a\",\"until\":\"{until}\"}}");
    stage.bucket.put(".cachedeck/lock", lock("2999-01-01T00:00:00Z")).await;
    let error = stage.store.hold(&run()).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.what().contains("20261121-134500-00000a"), "{error}");
    stage.bucket.put(".cachedeck/lock", lock("2020-01-01T00:00:00Z")).await;
    let hold = stage.store.hold(&run()).await.unwrap();
    assert!(stage.store.hold(&run()).await.is_err());
    stage.store.release(hold).await.unwrap();
    assert!(!stage.bucket.has(".cachedeck/lock").await);
    // Even if the server minds no conditions.
    stage.proxy.play(When::always().of("PUT "), lying());
    let hold = stage.store.hold(&run()).await.unwrap();
    assert_eq!(stage.store.hold(&run()).await.err().unwrap().kind(), Kind::Busy);
    stage.store.release(hold).await.unwrap();
}

/// Ceph's gateway takes quotes for a part of a tag, and in a bucket with versions refuses whatever a condition says.
#[tokio::test(flavor = "multi_thread")]
async fn what_minds_conditions_in_a_way_of_its_own_is_written_to_all_the_same() {
    for versions in [false, true] {
        let stage = Stage::new(versions).await;
        let ceph = move |asked: Asked| match asked.header("if-match") {
            Some(tag) if versions || tag.starts_with('"') => Err(Box::new(Answer::status(412))),
            _ => Ok(asked),
        };
        stage.proxy.play(When::always().of("PUT "), Fault::asked(ceph));
        let publish = |document: &'static str, expected: Expected| {
            let store = stage.store.clone();
            async move { store.publish("main", &Bytes::from_static(document.as_bytes()), &[], expected).await }
        };
        let first = publish("{}", Expected::Absent).await.unwrap().version.unwrap();
        let second = publish("{ }", Expected::Version(first.clone())).await.unwrap().version.unwrap();
        assert_ne!(first, second);
        assert_eq!(publish("{  }", Expected::Version(first)).await.unwrap_err().kind(), Kind::Stale);
        let expired = "{\"run\":\"20261121-134500-00000a\",\"until\":\"2020-01-01T00:00:00Z\"}";
        stage.bucket.put(".cachedeck/lock", expired).await;
        let hold = stage.store.hold(&run()).await.unwrap();
        stage.store.release(hold).await.unwrap();
        let probes: Vec<String> = stage.proxy.asked().into_iter().map(|asked| asked.line).collect();
        let probes = probes.iter().filter(|line| line.starts_with("PUT ") && line.contains("/.cachedeck/probe/"));
        let paths: BTreeSet<&str> = probes.filter_map(|line| line.split(['?', ' ']).nth(1)).collect();
        assert_eq!(paths.len(), 1, "tried out once: {paths:?}");
        for path in paths {
            let key = path.split_once("/.cachedeck/").unwrap().1;
            assert!(!stage.bucket.has(&format!(".cachedeck/{key}")).await, "{path} is left");
        }
    }
}

/// A server that does mind conditions is never written to without one, not even if what was seen is there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_as_it_is_written_is_left() {
    let stage = Stage::new(false).await;
    stage.bucket.put("manifests/main", "seen").await;
    let seen = stage.store.references().await.unwrap().items.remove(0).version.unwrap();
    stage.proxy.play(When::always().of("manifests/main?x-id=PutObject"), Fault::status(412));
    let document = Bytes::from_static(b"{}");
    let error = stage.store.publish("main", &document, &[], Expected::Version(seen)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Stale, "{error}");
    let written = |asked: &Asked| asked.line.starts_with("PUT ") && asked.line.contains("manifests/main");
    let asked = stage.proxy.asked();
    assert!(asked.iter().filter(|a| written(a)).all(|a| a.header("if-match").is_some_and(|tag| tag.starts_with('"'))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_whose_answer_is_lost_is_held() {
    for versions in [false, true] {
        let stage = Stage::new(versions).await;
        stage.proxy.play(When::always().of("PUT "), Fault::Lost);
        let hold = stage.store.hold(&run()).await.unwrap();
        stage.proxy.heal();
        stage.store.release(hold).await.unwrap();
        assert!(!stage.bucket.has(".cachedeck/lock").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_given_up_once_they_are_old() {
    let stage = Stage::new(false).await;
    stage.bucket.begin_upload(&key(&Digest::of(b"begun"))).await;
    let leftovers = || async {
        let (sender, _held) = mpsc::channel(10);
        stage.store.blobs(&Progress::new(), &Arc::default(), sender).await.unwrap().leftovers
    };
    let [leftover] = &leftovers().await[..] else { panic!("an upload was begun") };
    let names = [leftover.name.clone()];
    // The server says that every upload was begun years ago.
    let young = |_: &Asked, answer: Answer| {
        let now = Timestamp::now().to_string();
        let text = String::from_utf8(answer.body.clone()).unwrap().replace("2010-11-10T20:48:33.000Z", &now);
        answer.with_body(text)
    };
    // This server gives the answer about parts another name than S3 does.
    let named = |_: &Asked, answer: Answer| {
        let text = String::from_utf8(answer.body.clone()).unwrap().replace("ListPartsResponse", "ListPartsResult");
        answer.with_body(text)
    };
    stage.proxy.play(When::always().of("uploads"), Fault::changed(young));
    stage.proxy.play(When::always().of("GET "), Fault::changed(named));
    let refused = stage.store.discard(&names, &Progress::new()).await.remove(0).unwrap_err();
    assert_eq!(refused.kind(), Kind::Stale, "{refused}");
    stage.proxy.heal();
    stage.proxy.play(When::always().of("GET "), Fault::changed(named));
    assert_eq!(leftovers().await.len(), 1);
    for _ in 0..2 {
        stage.store.discard(&names, &Progress::new()).await.remove(0).unwrap();
        assert!(leftovers().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_blobs_come_in_parts_and_are_checked_before_they_are_there() {
    let stage = Stage::new(false).await;
    let bytes: Bytes = (0..33_600_000u32).map(|n| (n % 253) as u8).collect::<Vec<_>>().into();
    let body = || -> BlobReader { Box::new(std::io::Cursor::new(bytes.clone())) };
    let (digest, wrong) = (Digest::of(&bytes), Digest::of(b"wrong"));
    assert_eq!(stage.store.put(&wrong, body()).await.unwrap_err().kind(), Kind::Corrupt);
    assert!(!stage.bucket.has(&key(&wrong)).await);
    let (sender, _held) = mpsc::channel(10);
    let listing = stage.store.blobs(&Progress::new(), &Arc::default(), sender).await.unwrap();
    assert_eq!(listing.leftovers, [], "what was sent is given up");
    stage.store.put(&digest, body()).await.unwrap();
    let measured = stage.store.measure(&[digest], &Progress::new()).await.remove(0).unwrap();
    assert_eq!((measured.size, measured.digest), (33_600_000, digest));
    let last = stage.proxy.asked().iter().filter(|asked| asked.line.contains("partNumber=3")).count();
    assert_eq!(last, 1, "the last of the wrong one was not even sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_blob_is_renewed_as_builds_do() {
    let stage = Stage::new(false).await;
    let renew = || async { stage.store.renew(&stage.blob).await.unwrap() };
    renew().await;
    let renewals = || stage.proxy.asked().iter().filter(|asked| asked.header("x-amz-copy-source").is_some()).count();
    assert_eq!(renewals(), 0, "it is young");
    let old = |_: &Asked, answer: Answer| answer.with("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    stage.proxy.play(When::always().of("HEAD "), Fault::changed(old));
    renew().await;
    assert_eq!(renewals(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_whose_answer_is_lost_is_known_to_be_published() {
    let stage = Stage::new(false).await;
    let document = Bytes::from_static(br#"{"layers":[]}"#);
    let path = format!("PUT /{}/manifests/", stage.bucket.name);
    stage.proxy.play(When::always().of(&path), Fault::Lost);
    let reference = stage.store.publish("main", &document, &[stage.blob], Expected::Absent).await.unwrap();
    assert_eq!(stage.store.references().await.unwrap().items[0].version, reference.version);
    stage.proxy.heal();
    for status in [409, 412] {
        stage.proxy.play(When::always().of("PUT "), Fault::status(status));
        let expected = Expected::Version(reference.version.clone().unwrap());
        let refused = stage.store.publish("main", &document, &[], expected).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Stale);
        stage.proxy.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caches_beside_that_may_use_the_same_blobs_are_told_of() {
    let bucket = Bucket::new().await;
    bucket.put(&key(&Digest::of(b"orphan, or not")), "orphan, or not").await;
    for cache in ["team-a/manifests/main", "other/blobs/x"] {
        bucket.put(cache, r#"{"layers":[]}"#).await;
    }
    bucket.put("team-c/notes.txt", "{}").await;
    let look =
        |location: Location| async move { load(&catalog::open(&location).unwrap(), &Progress::new()).await.unwrap() };
    let location = bucket.location().with("manifests_prefix", "team-a/manifests/");
    let inventory = look(location.clone()).await;
    let shared = |problem: &&cachedeck::model::finding::Finding| problem.problem == Problem::Shared;
    let told: Vec<_> = inventory.warnings.iter().filter(shared).map(|finding| finding.message.clone()).collect();
    assert!(!inventory.complete && told.len() == 1 && told[0].starts_with("other/"), "{told:?}");
    bucket.delete("other/blobs/x").await;
    assert!(look(location.clone()).await.complete);
    bucket.put("team-b/manifests/main", r#" { "records": [] }"#).await;
    assert!(!look(location).await.complete);
    assert!(look(bucket.location()).await.complete, "with prefixes as usual nobody shares");
}

/// A server that has `keys`, in pages, and takes their deletion in batches; the first eight only together.
async fn many(keys: Vec<String>, batches: Arc<Mutex<Vec<usize>>>, most: Arc<AtomicUsize>) -> Location {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (keys, gate, flying) = (Arc::new(keys), Arc::new(Barrier::new(8)), Arc::new(AtomicUsize::new(0)));
    let router = Router::new().fallback(move |request: Request| {
        let (keys, gate, flying) = (keys.clone(), gate.clone(), flying.clone());
        let (batches, most) = (batches.clone(), most.clone());
        async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            if query.contains("delete") {
                most.fetch_max(flying.fetch_add(1, SeqCst) + 1, SeqCst);
                let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let keys: Vec<&str> = body.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
                let number = {
                    let mut batches = batches.lock().unwrap();
                    batches.push(keys.len());
                    batches.len()
                };
                if number <= 8 {
                    gate.wait().await;
                }
                flying.fetch_sub(1, SeqCst);
                let deleted: String = keys.iter().map(|key| format!("<Deleted><Key>{key}</Key></Deleted>")).collect();
                return xml(format!("<DeleteResult>{deleted}</DeleteResult>"));
            }
            if !query.contains("trash") {
                return xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_owned());
            }
            let mark = query.split('&').find_map(|pair| pair.strip_prefix("continuation-token="));
            let at: usize = mark.map_or(0, |mark| mark.parse().unwrap());
            let page = &keys[at..(at + 1000).min(keys.len())];
            let rows: String =
                page.iter().map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")).collect();
            let (next, more) = (at + page.len(), at + page.len() < keys.len());
            xml(format!(
                "<ListBucketResult><IsTruncated>{more}</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>\
                 {rows}</ListBucketResult>"
            ))
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    location(&endpoint, "b")
}

fn xml(text: String) -> Response {
    ([("content-type", "application/xml")], text).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn freeing_goes_in_batches_of_a_thousand_eight_at_a_time() {
    let digests: Vec<Digest> = (0..20_500).map(|n: u32| Digest::of(&n.to_le_bytes())).collect();
    let mut keys: Vec<String> = digests.iter().map(|digest| format!(".cachedeck/{}/trash/{digest}", run())).collect();
    keys.sort();
    let (batches, most) = (Arc::<Mutex<Vec<usize>>>::default(), Arc::new(AtomicUsize::new(0)));
    let store = catalog::open(&many(keys, batches.clone(), most.clone()).await).unwrap();
    let targets: Vec<Target> =
        digests.iter().map(|digest| Target { digest: *digest, bytes: 1, modified: None }).collect();
    let progress = Progress::new();
    let run = run();
    let purged = store.purge(&run, &targets, &progress);
    // The server answers nobody before eight ask at a time.
    let purged = tokio::time::timeout(Duration::from_secs(60), purged).await.expect("fewer than eight at a time");
    assert!(purged.len() == 20_500 && purged.iter().all(Result::is_ok));
    let mut batches = batches.lock().unwrap().clone();
    batches.sort();
    assert_eq!((batches.len(), batches[0], batches[1]), (21, 500, 1000));
    assert!(most.load(SeqCst) >= 8);
}
