//! Blobs that a server copies by itself from one place to another, on real servers; and what happens where it does not.

use crate::support::azure::Container;
use crate::support::faults::{Answer, Asked, Fault, Proxy, When};
use crate::support::pushing::Repository;
use crate::support::s3::{Bucket, location};
use crate::support::{azure, registry, unique};
use bytes::Bytes;
use cachedeck::error::Kind;
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::store::{Expected, Store, catalog};
use std::collections::BTreeMap;
use std::sync::Arc;

const BLOB: &[u8] = b"a blob that is elsewhere";
const SIZE: u64 = BLOB.len() as u64;

async fn is_there(store: &Arc<dyn Store>) -> bool {
    match store.stat(&Digest::of(BLOB)).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), Kind::NotFound, "{error}");
            false
        }
    }
}

/// How often a request whose line holds `part` was sent, and what was sent as the body of any request.
fn asked(proxy: &Proxy, part: &str) -> usize {
    proxy.asked().iter().filter(|asked| asked.line.contains(part)).count()
}

async fn take(to: &Arc<dyn Store>, from: &Arc<dyn Store>) -> bool {
    to.take(&Digest::of(BLOB), SIZE, &from.kin().unwrap()).await.unwrap()
}

/// A repository that has the blob, and one that has not, of one registry.
async fn repositories() -> (Proxy, Arc<dyn Store>, Arc<dyn Store>) {
    let proxy = Proxy::before(&registry());
    let (has, lacks) = (unique("has"), unique("lacks"));
    Repository::new(&registry(), &has).blob(BLOB).await;
    Repository::new(&registry(), &lacks).make_empty().await;
    let open = |name: &str| {
        let reference = format!("{}/{name}", proxy.authority());
        let location = Location::new("registry").with("ref", reference).with("registry.insecure", "true");
        catalog::open(&location).unwrap()
    };
    let (has, lacks) = (open(&has), open(&lacks));
    (proxy, has, lacks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_mounts_blobs_of_another_repository() {
    let (proxy, has, lacks) = repositories().await;
    assert!(take(&lacks, &has).await);
    assert_eq!(lacks.read(&Digest::of(BLOB), 100).await.unwrap(), BLOB);
    assert!(proxy.asked().iter().all(|asked| asked.body.is_empty()), "no byte of it was sent");
    let before = asked(&proxy, "POST ");
    assert!(take(&lacks, &has).await, "it is there already");
    assert_eq!(asked(&proxy, "POST "), before);
    assert!(!take(&has, &has).await, "a repository is no kin of itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_mount_is_left_with_no_upload() {
    let (proxy, has, lacks) = repositories().await;
    // It begins an upload instead, as it may.
    let plain = Fault::asked(|mut asked| {
        asked.line = asked.line.split('?').next().unwrap().to_owned();
        Ok(asked)
    });
    proxy.play(When::always().of("mount="), plain);
    assert!(!take(&lacks, &has).await && !is_there(&lacks).await);
    assert_eq!(asked(&proxy, "DELETE "), 1);
    for status in [401, 403, 404, 405, 501] {
        proxy.heal();
        proxy.play(When::always().of("mount="), Fault::status(status));
        assert!(!take(&lacks, &has).await && !is_there(&lacks).await, "{status}");
    }
    // An answer that is lost is no refusal.
    proxy.heal();
    proxy.play(When::nth(1).of("mount="), Fault::Lost);
    assert!(take(&lacks, &has).await && is_there(&lacks).await);
    // Another registry is none of its kin.
    let (_other, elsewhere, _) = repositories().await;
    let (_proxy, _, lacks) = repositories().await;
    assert!(!take(&lacks, &elsewhere).await && !is_there(&lacks).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_copies_blobs_of_another_bucket() {
    let (has, lacks) = (Bucket::new().await, Bucket::new().await);
    has.put(&format!("team/blobs/{}", Digest::of(BLOB)), BLOB).await;
    let proxy = Proxy::before(&lacks.endpoint);
    let from = catalog::open(&location(proxy.url(), &has.name).with("prefix", "team/")).unwrap();
    let to = catalog::open(&location(proxy.url(), &lacks.name)).unwrap();
    for fault in [403, 404, 501].map(Fault::status) {
        proxy.heal();
        proxy.play(When::always().of("PUT "), fault);
        assert!(!take(&to, &from).await && !is_there(&to).await);
    }
    proxy.heal();
    let wrong = to.take(&Digest::of(BLOB), SIZE + 1, &from.kin().unwrap()).await;
    assert!(wrong.is_err_and(|error| error.kind() == Kind::Corrupt) && !is_there(&to).await);
    proxy.play(When::nth(1).of("PUT "), Fault::Lost);
    assert!(take(&to, &from).await, "it was done, and the answer lost");
    assert_eq!(to.read(&Digest::of(BLOB), 100).await.unwrap(), BLOB);
    assert!(take(&to, &from).await && asked(&proxy, "PUT ") == 1, "it is there already");
    assert!(proxy.asked().iter().all(|asked| asked.body.is_empty()), "no byte of it was sent");
    // Whoever has other keys may not read there.
    let other = location(proxy.url(), &has.name).with("prefix", "team/").with("access_key_id", "other");
    let (other, empty) = (catalog::open(&other).unwrap(), Bucket::new().await);
    let empty = catalog::open(&location(proxy.url(), &empty.name)).unwrap();
    assert!(!take(&empty, &other).await && !is_there(&empty).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_renews_what_is_old_as_buildkit_does() {
    let bucket = Bucket::new().await;
    let digest = Digest::of(BLOB);
    bucket.put(&format!("blobs/{digest}"), BLOB).await;
    let proxy = Proxy::before(&bucket.endpoint);
    for (refresh, copies) in [("24h", 0), ("0s", 1)] {
        proxy.heal();
        let location = location(proxy.url(), &bucket.name).with("touch_refresh", refresh);
        let store = catalog::open(&location).unwrap();
        let entry = store.renew(&digest).await.unwrap();
        assert_eq!((entry.digest, entry.size), (digest, SIZE));
        assert_eq!(asked(&proxy, "PUT "), copies, "{refresh}");
        assert_eq!(store.read(&digest, 100).await.unwrap(), BLOB);
        let absent = store.renew(&Digest::of(b"absent")).await;
        assert!(absent.is_err_and(|error| error.kind() == Kind::NotFound));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_copies_blobs_of_another_container() {
    let blob = (format!("team/blobs/{}", Digest::of(BLOB)), BLOB.to_vec());
    let (has, lacks) = (Container::with(BTreeMap::from([blob])), Container::with(BTreeMap::new()));
    let proxy = Proxy::before(&azure());
    let open = |location: String| catalog::open(&location.replace(&azure(), proxy.url()).parse().unwrap()).unwrap();
    let (from, to) = (open(format!("{},prefix=team", has.location())), open(lacks.location()));
    for status in [403, 404, 501] {
        proxy.heal();
        proxy.play(When::always().of("PUT "), Fault::status(status));
        assert!(!take(&to, &from).await && !is_there(&to).await, "{status}");
    }
    proxy.heal();
    let wrong = to.take(&Digest::of(BLOB), SIZE + 1, &from.kin().unwrap()).await;
    assert!(wrong.is_err_and(|error| error.kind() == Kind::Corrupt) && !is_there(&to).await);
    // A copy takes some time.
    proxy.heal();
    let pending = Fault::changed(|_, answer| answer.with("x-ms-copy-status", "pending"));
    proxy.play(When::nth(3).of("HEAD "), pending);
    assert!(take(&to, &from).await);
    assert_eq!(asked(&proxy, "HEAD "), 4, "it was waited for");
    assert_eq!(to.read(&Digest::of(BLOB), 100).await.unwrap(), BLOB);
    assert!(take(&to, &from).await && asked(&proxy, "PUT ") == 1, "it is there already");
    assert!(proxy.asked().iter().all(|asked| asked.body.is_empty()), "no byte of it was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_makes_a_container_for_what_writes_and_for_nothing_else() {
    let with = |name: &str| {
        let there = Container::with(BTreeMap::new());
        let location = there.location().replace(&there.name, name);
        catalog::open(&location.parse().unwrap()).unwrap()
    };
    let (long, bytes) = (vec![3; (16 << 20) + 1], Bytes::from_static(b"{\"layers\":[]}"));
    let opened = with(&unique("new"));
    let made = catalog::make(opened.location()).unwrap();
    assert!(made.references().await.unwrap().items.is_empty(), "as good as an empty one");
    assert_eq!(opened.references().await.unwrap_err().kind(), Kind::NotFound, "and not made yet");
    let held = made.hold(&"20261121-134500-000001".parse().unwrap()).await;
    assert!(held.is_err_and(|error| error.kind() == Kind::NotFound), "nothing of ours makes one");
    for what in ["blob", "long blob", "config"] {
        let store = with(&unique("new"));
        assert_eq!(store.references().await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.stat(&Digest::of(BLOB)).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.references().await.unwrap_err().kind(), Kind::NotFound, "looking made none");
        match what {
            "blob" => store.put(&Digest::of(BLOB), Box::new(BLOB)).await.unwrap(),
            "config" => drop(store.publish("main", &bytes, &[], Expected::Absent).await.unwrap()),
            _ => store.put(&Digest::of(&long), Box::new(std::io::Cursor::new(long.clone()))).await.unwrap(),
        }
        assert_eq!(store.references().await.unwrap().items.len(), usize::from(what == "config"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_long_blob_are_sent_at_a_time_and_again_if_need_be() {
    let bytes: Bytes = (0..60_000_000u32).map(|n| (n % 253) as u8).collect::<Vec<_>>().into();
    let digest = Digest::of(&bytes);
    let (bucket, container) = (Bucket::new().await, Container::with(BTreeMap::new()));
    let (s3, azblob) = (Proxy::before(&bucket.endpoint), Proxy::before(&azure()));
    let stores = [
        (&s3, catalog::open(&location(s3.url(), &bucket.name)), "partNumber="),
        (&azblob, catalog::open(&container.location().replace(&azure(), azblob.url()).parse().unwrap()), "comp=block&"),
    ];
    for (proxy, store, part) in stores {
        let store = store.unwrap();
        let busy = Fault::Answers(Answer::status(503).with("retry-after", "0"));
        proxy.play(When::nth(2).of(part), busy);
        store.put(&digest, Box::new(std::io::Cursor::new(bytes.clone()))).await.unwrap();
        assert_eq!(asked(proxy, part), 4 + 1);
        let ids = proxy.asked().into_iter().filter_map(|asked| Some(asked.line.split_once("blockid=")?.1.to_owned()));
        let ids: Vec<String> = ids.map(|id| id.split([' ', '&']).next().unwrap().replace("%3D", "=")).collect();
        assert!(ids.iter().all(|id| id.len() == 88), "as long as others make them, for no two lengths mix: {ids:?}");
        assert!(store.read(&digest, 60_000_000).await.unwrap() == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_mounting_is_good_for_both_repositories() {
    let (proxy, has, lacks) = repositories().await;
    let challenge = format!("Bearer realm=\"{}/token\",service=\"tests\"", proxy.url());
    let check = move |asked: &Asked, answer: Answer| match asked.header("authorization") {
        Some("Bearer good") => answer,
        _ => Answer::status(401).with("www-authenticate", &challenge),
    };
    let token = Answer::status(200).with_body(r#"{"token":"good"}"#);
    proxy.play(When::always().of("/token"), Fault::Answers(token));
    proxy.play(When::always().of("/v2/"), Fault::changed(check));
    assert!(take(&lacks, &has).await);
    let name = |store: &Arc<dyn Store>| store.location().value("ref").unwrap().rsplit_once('/').unwrap().1.to_owned();
    let both = format!("scope=repository%3A{}%3Apull%2Cpush&scope=repository%3A{}%3Apull&", name(&lacks), name(&has));
    let tokens: Vec<String> =
        proxy.asked().into_iter().map(|asked| asked.line).filter(|l| l.contains("/token")).collect();
    assert!(tokens.iter().any(|line| line.contains(&both)), "{tokens:?}");
    assert!(tokens.iter().all(|line| line.contains(&both) || !line.contains(&name(&has))), "{tokens:?}");
}
