//! Saving to GitHub's cache in a workflow run, against the stand-in, both versions of the service.

use crate::support::faults::{Fault, Proxy, When};
use crate::support::github::{Github, run_token};
use crate::support::pushing::wait;
use bytes::Bytes;
use cachedeck::error::{Error, Kind};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::model::plan::{self, Plan, Purpose, RunId, Step};
use cachedeck::model::run::Phase;
use cachedeck::ops::apply::{self, Site};
use cachedeck::ops::journal::Journal;
use cachedeck::ops::{prune, settle};
use cachedeck::progress::Progress;
use cachedeck::state::State;
use cachedeck::store::{BlobReader, Expected, Store, catalog};
use jiff::Timestamp;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;

const MAIN: &str = "refs/heads/main";
const STEM: &str = "index-web-1-f921bd05#";
const CONFIG: &[u8] = br#"{"layers":[],"records":[]}"#;

fn web(location: &Location) -> Arc<dyn Store> {
    catalog::open(&location.clone().with("scope", "web")).unwrap()
}

fn body(bytes: impl Into<Vec<u8>>) -> BlobReader {
    Box::new(std::io::Cursor::new(bytes.into()))
}

fn blob_key(digest: &Digest) -> String {
    format!("buildkit-blob-1-{digest}")
}

#[track_caller]
fn kind<T>(result: Result<T, Error>) -> Kind {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error.kind(),
    }
}

#[test]
fn what_is_saved_is_what_buildkit_looks_for() {
    for version in [1, 2] {
        for rest in [false, true] {
            let github = Github::start();
            let store = web(&if rest { github.both(version) } else { github.run(version) });
            assert!(store.capabilities().write && !store.capabilities().remove);
            // Of a length that a part has, one more, none, and several parts.
            let lengths = if rest { &[0, 5, (16 << 20) + 1][..] } else { &[0, 16 << 20, 40 << 20] };
            for &length in lengths {
                let bytes: Vec<u8> = (0..length).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
                let digest = Digest::of(&bytes);
                wait(|| async { store.put(&digest, body(bytes.clone())).await }).unwrap();
                assert!(github.contents().content(&blob_key(&digest)).unwrap() == bytes, "{version} {length}");
                let read = wait(|| async {
                    let mut read = Vec::new();
                    store.open(&digest).await.unwrap().read_to_end(&mut read).await.map(|_| read)
                });
                assert!(read.unwrap() == bytes);
            }
            let config = Bytes::from_static(CONFIG);
            let told = wait(|| store.publish("web", &config, &[], Expected::Absent)).unwrap();
            assert_eq!(told.name, "web@refs/heads/main");
            assert_eq!(github.contents().content(&format!("{STEM}1")).unwrap(), config);
            let again = wait(|| store.publish(&told.name, &config, &[], Expected::Version(told.version.unwrap())));
            let now = wait(|| store.references()).unwrap().items;
            assert_eq!(now[0].version, again.unwrap().version);
            assert!(github.contents().content(&format!("{STEM}2")).is_some());
            assert_eq!(wait(|| store.past()).unwrap().items.len(), 1, "what was there before stays");
            assert!(github.contents().reserved().is_empty());
            for request in github.seen().iter().filter(|seen| seen.origin == "storage") {
                assert!(!request.credentials, "a token left its host: {request:?}");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_never_finished() {
    for version in [1, 2] {
        let github = Github::start();
        let store = web(&github.run(version));
        let digest = Digest::of(b"something else");
        for length in [10, 20 << 20] {
            let put = wait(|| async { store.put(&digest, body(vec![1; length])).await });
            assert_eq!(kind(put), Kind::Corrupt);
            assert_eq!(kind(wait(|| store.stat(&digest))), Kind::NotFound);
        }
        assert!(github.contents().entries.is_empty());
        assert_eq!(github.contents().reserved(), [blob_key(&digest)], "of the long one only");
        let absent = Digest::of(b"absent");
        let config = Bytes::from_static(CONFIG);
        let published = wait(|| async { store.publish("web", &config, &[absent], Expected::Absent).await });
        assert_eq!(kind(published), Kind::Corrupt);
        assert!(github.contents().entries.is_empty());
    }
}

#[test]
fn a_run_writes_its_own_branch_only() {
    let github = Github::start();
    let scopes = [("refs/heads/topic", 3), (MAIN, 1)];
    let store = web(&github.run(2).with("token", run_token(&scopes)));
    let config = Bytes::from_static(CONFIG);
    let publish = |store: &Arc<dyn Store>, name: &'static str| {
        let (store, config) = (store.clone(), config.clone());
        wait(|| async move { store.publish(name, &config, &[], Expected::Absent).await })
    };
    assert_eq!(kind(publish(&store, "web@refs/heads/main")), Kind::Denied);
    assert_eq!(kind(publish(&store, "web@refs/heads/topic:signed")), Kind::Unsupported);
    assert_eq!(kind(publish(&store, "a,b")), Kind::Invalid);
    assert_eq!(store.name_in_full("web"), "web@refs/heads/topic");
    // Another scope than the one that is meant is found again, too.
    assert_eq!(publish(&store, "api").unwrap().name, "api@refs/heads/topic");
    let names: Vec<String> = wait(|| store.references()).unwrap().items.into_iter().map(|r| r.name).collect();
    assert_eq!(names, ["api@refs/heads/topic"]);
    let reads = web(&github.run(2).with("token", run_token(&[(MAIN, 1)])));
    assert!(!reads.capabilities().write);
    assert_eq!(kind(publish(&reads, "web")), Kind::Denied);
    assert_eq!(kind(wait(|| async { reads.put(&Digest::of(b"x"), body("x")).await })), Kind::Denied);
    assert_eq!(kind(wait(|| reads.promise())), Kind::Unsupported);
    let promise = wait(|| store.promise()).unwrap();
    assert!(promise.caveats.iter().any(|caveat| caveat.contains("breaks off")), "{promise:?}");
}

#[test]
fn another_run_may_be_quicker() {
    for version in [1, 2] {
        let github = Github::start();
        let proxy = Proxy::before(&github.url);
        let key = if version == 2 { "url_v2" } else { "url" };
        let store = web(&github.run(version).with(key, proxy.url()));
        let create = if version == 2 { "CreateCacheEntry" } else { "POST /_apis/artifactcache/caches " };
        let config = Bytes::from_static(CONFIG);
        let first = wait(|| store.publish("web", &config, &[], Expected::Absent)).unwrap();
        // It saves the number that comes next, just before this run would reserve it.
        let other = std::sync::Arc::new(github);
        let theirs = other.clone();
        let create = create.trim_end();
        proxy.play(
            When::nth(1).of(create),
            Fault::asked(move |asked| {
                theirs.save(MAIN, &format!("{STEM}2"), &b"{}"[..]);
                Ok(asked)
            }),
        );
        let was = Expected::Version(first.version.clone().unwrap());
        assert_eq!(kind(wait(|| store.publish("web", &config, &[], was.clone()))), Kind::Stale);
        assert_eq!(kind(wait(|| store.publish("web", &config, &[], was))), Kind::Stale);
        assert_eq!(other.contents().entries.len(), 2);
        // The same blob is the same, whoever saves it.
        let (digest, theirs) = (Digest::of(b"blob"), other.clone());
        proxy.heal();
        proxy.play(
            When::nth(1).of(create),
            Fault::asked(move |asked| {
                theirs.save(MAIN, &blob_key(&Digest::of(b"blob")), &b"blob"[..]);
                Ok(asked)
            }),
        );
        wait(|| async { store.put(&digest, body("blob")).await }).unwrap();
        assert_eq!(other.contents().entries.len(), 3);
    }
}

#[test]
fn a_run_that_broke_off_blocks_blobs_and_no_names() {
    let broken = |version: u8| {
        let github = Github::start();
        let store = web(&github.run(version));
        let digest = Digest::of(b"blob");
        github.contents().reserve(MAIN, &format!("{STEM}1"));
        github.contents().reserve(MAIN, &blob_key(&digest));
        let config = Bytes::from_static(CONFIG);
        let (put, published) = wait(|| async {
            tokio::join!(store.put(&digest, body("blob")), store.publish("web", &config, &[], Expected::Absent))
        });
        assert_eq!(kind(put), Kind::Busy);
        published.unwrap();
        assert_eq!(github.contents().content(&format!("{STEM}2")).unwrap(), config);
        github.contents().forget_reserved();
        wait(|| async { store.put(&digest, body("blob")).await }).unwrap();
    };
    std::thread::scope(|scope| {
        [1, 2].map(|version| scope.spawn(move || broken(version))).map(|done| done.join().unwrap())
    });
}

#[test]
fn a_plan_is_applied_in_a_run_without_a_token_for_rest() {
    for version in [1, 2] {
        let github = Github::start();
        let layer = Bytes::from_static(b"a layer");
        let digest = Digest::of(&layer);
        github.save(MAIN, &blob_key(&digest), layer.clone());
        github.save(MAIN, &format!("{STEM}1"), CONFIG);
        let store = web(&github.run(version));
        let config = format!(
            r#"{{"layers":[{{"blob":"{digest}","parent":-1,"annotations":{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":7,"diffID":"{digest}"}}}}],"records":[{{"digest":"{digest}","layers":[{{"layer":0}}]}}]}}"#
        );
        let before = wait(|| store.references()).unwrap();
        let [web] = before.items.as_slice() else { panic!("{before:?}") };
        let now: Timestamp = "2026-11-21T18:00:00Z".parse().unwrap();
        let plan = |n: u32, was: &cachedeck::store::References, needs: Vec<Digest>| {
            let web = &was.items[0];
            Plan {
                schema: plan::SCHEMA.to_owned(),
                id: RunId::new(now, n),
                purpose: Purpose::Repair,
                made: now,
                location: store.location().to_string(),
                identity: store.identity(),
                fingerprint: prune::fingerprint(&store.identity(), was),
                policy: Vec::new(),
                promise: wait(|| store.promise()).unwrap(),
                rows: Vec::new(),
                steps: vec![
                    Step::Write { digest: Digest::of(config.as_bytes()), text: config.clone() },
                    Step::Lead {
                        name: web.name.clone(),
                        digest: Digest::of(config.as_bytes()),
                        was: web.version.clone(),
                        before: Some(Digest::of(CONFIG)),
                        needs,
                    },
                ],
                before: 0,
                frees: 0,
                refused: Vec::new(),
                warnings: Vec::new(),
            }
        };
        assert_eq!(web.name, "web@refs/heads/main");
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(&store, &State::at(None, Some(folder.path())));
        let (clock, progress) = (move || now, Progress::new());
        let site = Site { store: &store, journal: &journal, clock: &clock, progress: &progress };
        let lacking = plan(1, &before, vec![digest, Digest::of(b"absent")]);
        let refused = wait(|| apply::apply(&site, &lacking, None)).unwrap();
        assert!(refused.stopped.is_some() && refused.run.failures.len() == 1, "{refused:?}");
        assert_eq!(wait(|| store.references()).unwrap().items, before.items, "nothing changed");
        let good = plan(2, &before, vec![digest]);
        let applied = wait(|| apply::apply(&site, &good, None)).unwrap();
        assert!(
            applied.stopped.is_none() && applied.problems.is_empty() && applied.run.failures.is_empty(),
            "{applied:?}"
        );
        assert!(applied.run.names == 1 && matches!(applied.run.phase, Phase::Done(_)), "{applied:?}");
        assert_eq!(github.contents().content(&format!("{STEM}2")).unwrap(), config);
        let seen = wait(|| cachedeck::ops::load::load(&store, &progress)).unwrap();
        let led = seen.indexes.iter().find(|index| index.tags == ["web@refs/heads/main"]).unwrap();
        assert!(led.missing.is_empty() && led.digest == Digest::of(config.as_bytes()), "{led:?}");
        // It was for the place as it was.
        let late = plan(3, &before, vec![digest]);
        assert_eq!(kind(wait(|| apply::apply(&site, &late, None))), Kind::Stale);
        // The way back is another save of what was there before.
        let undone = wait(|| settle::undo(&site, &good.id)).unwrap();
        assert!(undone.failures.is_empty() && undone.names == 1, "{undone:?}");
        assert_eq!(github.contents().content(&format!("{STEM}3")).unwrap(), CONFIG);
    }
}
