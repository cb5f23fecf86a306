//! What is written to registries, and taken away: never half of it, never more than asked for, and nothing that tells who we
//! are to anybody else.

use crate::support::faults::{Answer, Asked, Fault, Proxy, When};
use crate::support::pushing::{Repository, wait};
use crate::support::{registry, unique};
use bytes::Bytes;
use cachedeck::error::{Error, Kind};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::store::{BlobReader, Expected, Reference, Store, catalog};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt as _;

/// A repository of the registry, and the store that reaches it through a proxy.
struct Place {
    pushed: Repository,
    proxy: Proxy,
    store: Arc<dyn Store>,
}

impl Place {
    fn new() -> Self {
        let pushed = Repository::new(&registry(), &unique("writes"));
        let proxy = Proxy::before(&registry());
        let reference = format!("{}/{}", proxy.authority(), pushed.name);
        let location = Location::new("registry").with("ref", reference).with("registry.insecure", "true");
        Self { store: catalog::open(&location).unwrap(), pushed, proxy }
    }

    /// Requests that change something, without the server's own words in them.
    fn changes(&self) -> Vec<String> {
        let all = self.proxy.asked().into_iter().map(|asked| asked.line);
        let path = format!("/v2/{}", self.pushed.name);
        all.filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD "))
            .map(|line| line.replace(&path, ""))
            .collect()
    }

    async fn reference(&self, name: &str) -> Reference {
        self.store.references().await.unwrap().items.into_iter().find(|r| r.name == name).unwrap()
    }

    async fn names(&self) -> Vec<String> {
        self.store.references().await.unwrap().items.into_iter().map(|r| r.name).collect()
    }

    async fn remove(&self, names: &[&str]) -> Vec<Result<(), Error>> {
        let all = self.store.references().await.unwrap().items;
        let find = |name: &&str| all.iter().find(|r| r.name == **name).unwrap().clone();
        self.store.remove(&names.iter().map(find).collect::<Vec<_>>()).await
    }
}

/// An index with nothing in it, as different as `mark`.
fn index(mark: &str) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"mark":"{mark}"}}}}"#)
}

fn kind(result: &Result<(), Error>) -> Option<Kind> {
    result.as_ref().err().map(Error::kind)
}

fn large() -> Vec<u8> {
    (0..5_000_000u32).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_large_blob_goes_up_in_pieces_and_not_before_it_is_whole() {
    wait(|| async {
        // Straight to the registry: the proxy would wait for a length that nobody knows.
        let pushed = Repository::new(&registry(), &unique("writes"));
        let reference = format!("{}/{}", registry().strip_prefix("http://").unwrap(), pushed.name);
        let location = Location::new("registry").with("ref", reference).with("registry.insecure", "true");
        let store = catalog::open(&location).unwrap();
        let (bytes, other) = (large(), Digest::of(b"other"));
        let digest = Digest::of(&bytes);
        let body = |bytes: Vec<u8>| -> BlobReader { Box::new(std::io::Cursor::new(bytes)) };

        let wrong = store.put(&other, body(bytes.clone())).await;
        assert_eq!(kind(&wrong), Some(Kind::Corrupt));
        // A source that breaks off after three of five megabytes.
        let (mut from, to) = tokio::io::duplex(1 << 20);
        let half = bytes[..3_000_000].to_vec();
        let writing = async move { tokio::io::AsyncWriteExt::write_all(&mut from, &half).await };
        let cut: BlobReader = Box::new(tokio_util::io::StreamReader::new(Box::pin(broken_after(to))));
        let (cut, _) = tokio::join!(store.put(&digest, cut), writing);
        assert!(cut.is_err());
        for absent in [digest, other] {
            assert_eq!(store.stat(&absent).await.err().unwrap().kind(), Kind::NotFound);
        }

        store.put(&digest, body(bytes.clone())).await.unwrap();
        assert_eq!(store.stat(&digest).await.unwrap().size, bytes.len() as u64);
        let mut back = Vec::new();
        store.open(&digest).await.unwrap().read_to_end(&mut back).await.unwrap();
        assert!(back == bytes);
    });
}

/// All of `reader`, then an error instead of its end.
fn broken_after(
    reader: impl tokio::io::AsyncRead + Unpin + Send,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send {
    futures::stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        let mut piece = vec![0; 64 << 10];
        match reader.read(&mut piece).await {
            Ok(0) => Some((Err(std::io::ErrorKind::ConnectionReset.into()), None)),
            Ok(read) => Some((Ok(Bytes::copy_from_slice(&piece[..read])), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

#[test]
fn an_upload_that_goes_on_elsewhere_does_not_say_who_we_are() {
    let (place, elsewhere) = (Place::new(), Proxy::before(&registry()));
    let token = Answer::status(200).with_body(r#"{"token":"good","expires_in":300}"#);
    place.proxy.play(When::always().of("/token"), Fault::Answers(token));
    let challenge = format!("Bearer realm=\"{}/token\",service=\"tests\"", place.proxy.url());
    let (own, other) = (place.proxy.authority().to_owned(), elsewhere.authority().to_owned());
    let send_on = move |asked: &Asked, answer: Answer| {
        if asked.header("authorization") != Some("Bearer good") {
            return Answer::status(401).with("www-authenticate", &challenge);
        }
        match answer.headers.get("location").and_then(|to| to.to_str().ok()).map(str::to_owned) {
            Some(to) => answer.with("location", &to.replace(&own, &other)),
            None => answer,
        }
    };
    place.proxy.play(When::always().of("/v2/"), Fault::changed(send_on));
    wait(|| async {
        let digest = Digest::of(b"blob");
        place.store.put(&digest, Box::new(&b"blob"[..])).await.unwrap();
        assert_eq!(place.store.read(&digest, 10).await.unwrap(), "blob");
    });
    assert!(elsewhere.asked().iter().any(|asked| asked.line.starts_with("PUT ")));
    assert!(elsewhere.asked().iter().all(|asked| asked.header("authorization").is_none()));
    let tokens: Vec<String> =
        place.proxy.asked().into_iter().map(|asked| asked.line).filter(|line| line.contains("/token")).collect();
    assert!(
        tokens[0].contains("%3Apull&") && tokens[1].contains("%3Apull%2Cpush&"),
        "no more than is needed: {tokens:?}"
    );
}

#[test]
fn what_arrived_is_not_sent_again_when_the_answer_is_lost() {
    let place = Place::new();
    // The registry does it, and something on the way says that it failed.
    let lost = || Fault::changed(|_, _| Answer::status(502));
    place.proxy.play(When::always().of("PUT "), lost());
    wait(|| async {
        place.store.put(&Digest::of(b"blob"), Box::new(&b"blob"[..])).await.unwrap();
        let document = Bytes::from(index("lost"));
        let told = place.store.publish("tag", &document, &[], Expected::Absent).await.unwrap();
        assert_eq!(told, place.reference("tag").await);
        assert_eq!(place.store.document(&told, 1000).await.unwrap(), document);
        let gone = place.remove(&["tag"]).await;
        assert_eq!(gone.iter().map(kind).collect::<Vec<_>>(), [None]);
    });
    let puts = place.changes().iter().filter(|line| line.starts_with("PUT ")).count();
    assert_eq!(puts, 2, "{:?}", place.changes());
}

#[test]
fn a_deletion_is_sent_once_even_if_its_answer_is_lost() {
    let place = Place::new();
    wait(|| async {
        place.pushed.manifest("tag", index("x")).await;
        place.proxy.play(
            When::always().of("DELETE "),
            Fault::changed(|asked, answer| match asked.line.contains("sha256") {
                true => Answer::status(504),
                false => answer,
            }),
        );
        assert_eq!(kind(&place.remove(&["tag"]).await[0]), None);
        assert!(place.names().await.is_empty());
    });
    assert_eq!(place.changes().iter().filter(|line| line.contains("sha256")).count(), 1, "{:?}", place.changes());
}

#[test]
fn a_version_goes_only_with_all_its_tags() {
    let place = Place::new();
    wait(|| async {
        for (tag, mark) in [("one", "a"), ("two", "a"), ("other", "b")] {
            place.pushed.manifest(tag, index(mark)).await;
        }
        let refused = place.remove(&["one"]).await.remove(0).err().unwrap();
        assert_eq!(refused.kind(), Kind::Unsupported);
        assert!(refused.to_string().contains("tag two leads to the same version"), "{refused}");
        assert_eq!(place.names().await, ["one", "other", "two"]);
        assert!(!place.changes().iter().any(|line| line.contains("sha256")), "{:?}", place.changes());

        let both = place.remove(&["two", "one"]).await;
        assert_eq!(both.iter().map(kind).collect::<Vec<_>>(), [None, None]);
        assert_eq!(place.names().await, ["other"]);
    });
    assert!(place.changes().iter().all(|line| !line.contains("/blobs/")), "{:?}", place.changes());
}

#[test]
fn what_was_taken_away_can_be_published_again() {
    let place = Place::new();
    wait(|| async {
        let layer = place.pushed.blob("layer").await;
        let document = Bytes::from(index("back"));
        place.pushed.manifest("tag", document.to_vec()).await;
        let before = place.reference("tag").await;
        assert_eq!(kind(&place.remove(&["tag"]).await[0]), None);
        assert!(place.names().await.is_empty());
        let again = place.store.publish("tag", &document, &[layer], Expected::Absent).await.unwrap();
        assert_eq!(again, before);
        assert_eq!(place.reference("tag").await, before);
    });
}

#[test]
fn a_manifest_that_a_list_leads_to_stays() {
    let place = Place::new();
    wait(|| async {
        let config = place.pushed.blob("{}").await;
        let image = serde_json::json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        })
        .to_string();
        let digest = place.pushed.manifest("one-platform", image.clone()).await;
        let entry = |digest: Digest, size: usize, kind: &str| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{kind}.v1+json"), "digest": digest, "size": size,
            })
        };
        let list =
            serde_json::json!({"schemaVersion": 2, "manifests": [entry(digest, image.len(), "manifest")]}).to_string();
        let inner = place.pushed.manifest(&Digest::of(list.as_bytes()).to_string(), list.clone()).await;
        let outer = serde_json::json!({"schemaVersion": 2, "manifests": [entry(inner, list.len(), "index")]});
        place.pushed.manifest("all-platforms", outer.to_string()).await;

        let refused = place.remove(&["one-platform"]).await.remove(0).err().unwrap();
        assert_eq!(refused.kind(), Kind::Unsupported, "{refused}");
        assert!(refused.to_string().contains("tag all-platforms leads to the same version"), "{refused}");
        assert_eq!(place.names().await, ["all-platforms", "one-platform"]);
        let both = place.remove(&["one-platform", "all-platforms"]).await;
        assert_eq!(both.iter().map(kind).collect::<Vec<_>>(), [None, None]);
    });
}

#[test]
fn a_tag_that_was_led_there_meanwhile_is_put_back() {
    let place = Place::new();
    wait(|| async {
        place.pushed.manifest("stale", index("old")).await;
        place.pushed.manifest("main", index("new")).await;
        // A build tags the old version as main after all tags were looked at, right before it is deleted.
        let (pushed, moved) = (place.pushed.clone(), Arc::new(Mutex::new(0)));
        let count = moved.clone();
        let build = move |_: &Asked, answer: Answer| {
            *count.lock().unwrap() += 1;
            wait(|| pushed.manifest("main", index("old")));
            answer
        };
        let head = format!("HEAD /v2/{}/manifests/stale", place.pushed.name);
        place.proxy.play(When::from(5).of(&head), Fault::changed(build));
        assert_eq!(kind(&place.remove(&["stale"]).await[0]), None);
        assert!(*moved.lock().unwrap() > 0, "the build came too late");
        assert_eq!(place.names().await, ["main"]);
        assert_eq!(place.reference("main").await.digest, Some(Digest::of(index("old").as_bytes())));
        let puts: Vec<String> = place.changes().into_iter().filter(|line| line.starts_with("PUT ")).collect();
        assert_eq!(puts, ["PUT /manifests/main"]);
    });
}

#[test]
fn nothing_goes_while_anything_is_unknown() {
    for what in ["HEAD /v2/NAME/manifests/other", "GET /v2/NAME/tags/list", "GET /v2/NAME/manifests/sha256"] {
        let place = Place::new();
        wait(|| async {
            place.pushed.manifest("tag", index("a")).await;
            place.pushed.manifest("other", index("b")).await;
            let tag = place.reference("tag").await;
            place.proxy.play(When::always().of(&what.replace("NAME", &place.pushed.name)), Fault::status(403));
            let ended = place.store.remove(&[tag]).await;
            assert_eq!(kind(&ended[0]), Some(Kind::Denied), "{what}");
            assert_eq!(place.changes(), Vec::<String>::new(), "{what}");
            place.proxy.heal();
            assert_eq!(place.names().await, ["other", "tag"]);
        });
    }
}

#[test]
fn a_registry_that_deletes_nothing_says_so() {
    let place = Place::new();
    place.proxy.play(When::always().of("DELETE "), Fault::status(405));
    wait(|| async {
        place.pushed.manifest("tag", index("a")).await;
        let refused = place.remove(&["tag"]).await.remove(0).err().unwrap();
        assert_eq!(refused.kind(), Kind::Unsupported);
        assert!(refused.hint().unwrap().contains("REGISTRY_STORAGE_DELETE_ENABLED"), "{refused:?}");
        assert_eq!(place.names().await, ["tag"]);
    });
}

/// Makes the registry take single tags away, as most do.
fn deletes_tags(proxy: &Proxy) {
    let gone: Mutex<BTreeSet<String>> = Mutex::default();
    let play = move |asked: &Asked, answer: Answer| {
        let (method, path) = asked.line.split_once(' ').unwrap();
        let mut gone = gone.lock().unwrap();
        match path.split_once("/manifests/") {
            Some((_, tag)) if method == "DELETE" && !tag.contains(':') => {
                gone.insert(tag.to_owned());
                Answer::status(202)
            }
            Some((_, tag)) if gone.contains(tag) && method != "PUT" => Answer::status(404),
            None if path.contains("/tags/list") => {
                let mut page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                let keep = |tag: &serde_json::Value| !gone.contains(tag.as_str().unwrap());
                page["tags"].as_array_mut().unwrap().retain(keep);
                answer.with_body(page.to_string())
            }
            _ => answer,
        }
    };
    proxy.play(When::always().of("/v2/"), Fault::changed(play));
}

#[test]
fn a_tag_goes_alone_where_the_registry_can() {
    let place = Place::new();
    deletes_tags(&place.proxy);
    wait(|| async {
        for tag in ["one", "two", "three"] {
            place.pushed.manifest(tag, index("same")).await;
        }
        let ended = place.remove(&["one", "three"]).await;
        assert_eq!(ended.iter().map(kind).collect::<Vec<_>>(), [None, None]);
        assert_eq!(place.names().await, ["two"]);
    });
    assert_eq!(place.changes(), ["DELETE /manifests/one", "DELETE /manifests/three"]);
}

#[test]
fn what_is_no_manifest_or_no_tag_is_not_published() {
    let place = Place::new();
    wait(|| async {
        let publish = |name: &'static str, document: String| {
            let store = place.store.clone();
            async move { store.publish(name, &Bytes::from(document), &[], Expected::Absent).await.err().unwrap().kind() }
        };
        assert_eq!(publish("tag", r#"{"layers":[],"records":[]}"#.to_owned()).await, Kind::Corrupt);
        assert_eq!(publish("no/tag", index("x")).await, Kind::Invalid);
    });
    assert_eq!(place.changes(), Vec::<String>::new());
}
