//! Whole locations, written as documents into the reference store and looked at; sums against an oracle of sets.

use super::*;
use crate::format::cacheconfig::{BUILDKIT_LIMIT, MEDIA_TYPE};
use crate::model::inventory::{Role, State};
use crate::store::memory::Memory;
use crate::store::{BlobEntry, BlobReader, Capabilities};
use base64::Engine as _;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::collections::{BTreeMap, BTreeSet};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn memory() -> Memory {
    Memory::new("type=local,src=memory".parse().unwrap())
}

fn look_at(store: impl Store + 'static) -> Inventory {
    let store: Arc<dyn Store> = Arc::new(store);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(load(&store, &Progress::new())).unwrap()
}

fn descriptor(media_type: &str, digest: Digest, size: impl TryInto<u64>) -> String {
    let size = size.try_into().unwrap_or_default();
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn manifest(config: &str, layers: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]}}"#, layers.join(","))
}

fn index(entries: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

/// A config whose records, one for each layer, have that layer for a result; `salt` makes it another one.
fn config(layers: &[Digest], salt: usize) -> String {
    let entry = layers.iter().map(|blob| format!(r#"{{"blob":"{blob}","parent":-1}}"#));
    let record = (0..layers.len()).map(|l| format!(r#"{{"digest":"{}","layers":[{{"layer":{l}}}]}}"#, layers[l]));
    let (layers, records) = (entry.collect::<Vec<_>>().join(","), record.collect::<Vec<_>>().join(","));
    format!(r#"{{"layers":[{layers}],"records":[{records}],"salt":{salt}}}"#)
}

/// A cache over `layers` in `store`: its manifest's digest.
fn cache(store: &Memory, layers: &[&[u8]], salt: usize) -> Digest {
    let blobs: Vec<Digest> = layers.iter().map(|l| store.insert(l.to_vec())).collect();
    let config = config(&blobs, salt);
    let config = descriptor(MEDIA_TYPE, store.insert(config.clone()), config.len());
    let layers: Vec<String> = blobs.iter().zip(layers).map(|(d, l)| descriptor(LAYER, *d, l.len())).collect();
    store.insert(manifest(&config, &layers))
}

fn problems(findings: &[Finding]) -> Vec<Problem> {
    findings.iter().map(|f| f.problem).collect()
}

#[test]
fn versions_are_found_with_and_without_names() {
    let store = memory();
    let (old, new) = (cache(&store, &[b"a", b"bb"], 0), cache(&store, &[b"bb", b"cccc"], 1));
    store.name("latest", new);
    store.name("v1", new);
    let orphan = store.insert("nobody's");
    let found = look_at(store);
    assert!(found.complete && found.warnings.is_empty());
    let shown: Vec<_> = found.indexes.iter().map(|i| (i.digest, i.tags.join("+"), i.is_dangling())).collect();
    assert_eq!(shown, [(new, "latest+v1".to_owned(), false), (old, String::new(), true)]);
    let (new, old) = (&found.indexes[0], &found.indexes[1]);
    assert!(new.is_sound() && new.form == Some(Form::ImageManifest));
    assert_eq!(new.summary.unwrap().max_bytes, 6);
    let documents = |i: &CacheIndex| i.manifest_bytes + found.blob(&i.config.unwrap()).unwrap().size.unwrap();
    assert_eq!((old.exclusive_bytes, old.shared_bytes), (documents(old) + 1, 2));
    assert_eq!((new.exclusive_bytes, new.shared_bytes), (documents(new) + 4, 2));
    let state = |bytes: &[u8]| found.blob(&Digest::of(bytes)).unwrap().state;
    assert_eq!((state(b"a"), state(b"bb"), state(b"cccc")), (State::Dangling, State::Live, State::Live));
    assert_eq!(found.blob(&orphan).unwrap().state, State::Orphan);
    assert_eq!((found.usage.orphan_blobs, found.usage.orphan_bytes, found.usage.indexes), (1, 8, 2));
}

#[test]
fn a_missing_layer_config_or_manifest_is_missing_and_nothing_else() {
    for what in 0..3 {
        let store = memory();
        let digest = cache(&store, &[b"a", b"bb"], 0);
        store.name("latest", digest);
        let config = Digest::of(config(&[Digest::of(b"a"), Digest::of(b"bb")], 0).as_bytes());
        let lost = [Digest::of(b"a"), config, digest][what];
        store.lose(&lost);
        let found = look_at(store);
        let index = &found.indexes[0];
        assert_eq!((index.missing.as_slice(), index.findings.len()), ([lost].as_slice(), 0));
        assert_eq!(index.cache.is_some(), what == 0);
        assert_eq!(index.summary.is_some_and(|s| s.max_bytes == 3), what == 0, "sizes are the manifest's");
        let blob = found.blob(&lost).unwrap();
        assert_eq!((blob.state, blob.size), (State::Missing, None));
        assert_eq!(found.usage.missing_blobs, 1);
        assert!(found.complete, "that it is missing is known");
    }
}

#[test]
fn damage_is_told_of_the_version_it_is_in() {
    let store = memory();
    let sound = cache(&store, &[b"a"], 0);
    store.name("sound", sound);
    let blob = store.insert("b");
    let with = |text: &str| {
        let config = descriptor(MEDIA_TYPE, store.insert(text.to_owned()), text.len());
        store.insert(manifest(&config, &[descriptor(LAYER, blob, 1)]))
    };
    store.name("broken", with(r#"{"layers":[{"blob":"sha256:no"}]}"#));
    store.name("image", with(r#"{"rootfs":{"diff_ids":[]}}"#));
    store.name("other", with("no json"));
    store.name("not-a-manifest", store.insert("{}"));
    store.name("config", store.insert(config(&[blob], 9)));
    let found = look_at(store);
    assert!(!found.complete);
    for index in &found.indexes {
        let expected: &[Problem] = if index.name() == Some("sound") { &[] } else { &[Problem::Malformed] };
        assert_eq!(problems(&index.findings), expected, "{:?}", index.tags);
        assert!(index.manifest_bytes > 0);
    }
    assert_eq!(found.indexes.len(), 6);
}

#[test]
fn a_document_with_other_content_is_not_what_it_claims_to_be() {
    let store = memory();
    let digest = cache(&store, &[b"a"], 0);
    let text = manifest(&descriptor(MEDIA_TYPE, digest, 1_u64), &[]);
    let claimed = Digest::of(b"something else");
    store.insert_as(claimed, text);
    let found = look_at(store);
    assert!(found.version(&claimed).is_none());
    assert!(!found.complete);
    assert_eq!(problems(&found.warnings), [Problem::Malformed]);
    assert!(found.version(&digest).is_some_and(CacheIndex::is_sound));
}

#[test]
fn a_wrong_size_is_told_of_whoever_claims_it() {
    let store = memory();
    let right = cache(&store, &[b"four"], 0);
    let config = config(&[Digest::of(b"four")], 1);
    let config = descriptor(MEDIA_TYPE, store.insert(config.clone()), config.len());
    let wrong = store.insert(manifest(&config, &[descriptor(LAYER, Digest::of(b"four"), 5_u64)]));
    store.name("right", right);
    store.name("wrong", wrong);
    let found = look_at(store);
    let of = |name: &str| found.indexes.iter().find(|i| i.name() == Some(name)).unwrap();
    assert_eq!(problems(&of("right").findings), []);
    assert_eq!(problems(&of("wrong").findings), [Problem::WrongSize]);
    let blob = found.blob(&Digest::of(b"four")).unwrap();
    assert_eq!((blob.declared, blob.wrong_size()), (Some(5), true));
    assert!(found.complete);
}

#[test]
fn what_builds_are_too_strict_to_read_is_told() {
    let store = memory();
    let blob = store.insert("b");
    let long = format!("{}{}", config(&[blob], 0), " ".repeat(BUILDKIT_LIMIT as usize));
    let layers = [descriptor(LAYER, blob, 1_u64)];
    let pointer = descriptor(MEDIA_TYPE, store.insert(long.clone()), long.len());
    store.name("long-config", store.insert(manifest(&pointer, &layers)));
    let short = config(&[blob], 1);
    let pointer = descriptor(MEDIA_TYPE, store.insert(short.clone()), short.len());
    let padded = format!("{}{}", manifest(&pointer, &layers), " ".repeat(BUILDKIT_LIMIT as usize));
    store.name("long-manifest", store.insert(padded));
    let unlisted = config(&[blob, Digest::of(b"nowhere")], 2);
    let pointer = descriptor(MEDIA_TYPE, store.insert(unlisted.clone()), unlisted.len());
    store.name("unlisted", store.insert(manifest(&pointer, &layers)));
    let found = look_at(store);
    let shown: Vec<_> = found.indexes.iter().map(|i| (i.name().unwrap(), problems(&i.findings))).collect();
    assert_eq!(
        shown,
        [
            ("long-config", vec![Problem::TooLarge]),
            ("long-manifest", vec![Problem::TooLarge]),
            ("unlisted", vec![Problem::UnlistedLayer]),
        ]
    );
    assert!(found.indexes.iter().all(|i| i.cache.is_some()), "they are shown all the same");
}

#[test]
fn a_config_longer_than_what_is_found_by_looking_is_read_by_name() {
    let store = memory();
    let blob = store.insert("b");
    let long = format!("{}{}", config(&[blob], 0), " ".repeat(DOCUMENT_LIMIT as usize));
    let pointer = descriptor(MEDIA_TYPE, store.insert(long.clone()), long.len());
    store.insert(manifest(&pointer, &[descriptor(LAYER, blob, 1_u64)]));
    let found = look_at(store);
    assert_eq!(found.indexes[0].summary.unwrap().max_bytes, 1);
}

#[test]
fn versions_may_share_a_config() {
    let store = memory();
    let one = cache(&store, &[b"a"], 0);
    let text = config(&[Digest::of(b"a")], 0);
    let pointer = descriptor(MEDIA_TYPE, Digest::of(text.as_bytes()), text.len());
    let other = store.insert(format!(" {}", manifest(&pointer, &[descriptor(LAYER, Digest::of(b"a"), 1_u64)])));
    // And a name may lead to the config itself, where a manifest should be.
    store.name("slip", Digest::of(text.as_bytes()));
    let found = look_at(store);
    for digest in [one, other] {
        assert_eq!(found.version(&digest).unwrap().summary.unwrap().max_bytes, 1);
    }
    assert_eq!(problems(&found.indexes[0].findings), [Problem::Malformed]);
}

/// An image with `layers` and an inline cache: its manifest.
fn inline(store: &Memory, layers: &[&[u8]], os: &str) -> String {
    let blobs: Vec<Digest> = layers.iter().map(|l| store.insert(l.to_vec())).collect();
    let records = format!(r#"[{{"digest":"{}","chains":[{{"layers":[0]}}]}}]"#, Digest::of(os.as_bytes()));
    let records = base64::engine::general_purpose::STANDARD.encode(records);
    let diff_ids: Vec<String> = blobs.iter().map(|b| format!(r#""{b}""#)).collect();
    let text = format!(
        r#"{{"os":"{os}","architecture":"any","rootfs":{{"diff_ids":[{}]}},"moby.buildkit.cache.v0":"{records}"}}"#,
        diff_ids.join(",")
    );
    let pointer = descriptor("application/vnd.oci.image.config.v1+json", store.insert(text.clone()), text.len());
    let layers: Vec<String> = blobs.iter().zip(layers).map(|(d, l)| descriptor(LAYER, *d, l.len())).collect();
    manifest(&pointer, &layers)
}

#[test]
fn all_platforms_of_an_image_are_one_cache() {
    let store = memory();
    let texts = [inline(&store, &[b"a", b"bb"], "linux"), inline(&store, &[b"a", b"cccc"], "plan9")];
    let entries = texts.each_ref().map(|t| descriptor(MANIFEST, store.insert(t.clone()), t.len()));
    store.name("latest", store.insert(index(&entries)));
    let found = look_at(store);
    assert_eq!((found.indexes.len(), found.complete), (1, true), "what an index leads to is no version of its own");
    let image = &found.indexes[0];
    assert_eq!((image.form, image.findings.as_slice()), (Some(Form::Inline), [].as_slice()));
    let cache = image.cache.as_deref().unwrap();
    let parents: Vec<_> = cache.layers.iter().map(|l| (l.parent, l.platform.as_deref().unwrap())).collect();
    let (linux, plan9) = ("linux/any", "plan9/any");
    assert_eq!(parents, [(None, linux), (Some(0), linux), (None, plan9), (Some(2), plan9)]);
    let summary = image.summary.unwrap();
    assert_eq!((summary.max_bytes, summary.min_bytes, summary.sinks, summary.unique_blobs), (7, 1, 2, 3));
    assert_eq!(found.usage.orphan_blobs, 0);
}

#[test]
fn what_merely_travels_as_an_image_is_no_damage() {
    let store = memory();
    let empty = descriptor("application/vnd.oci.empty.v1+json", store.insert("{}"), 2_u64);
    let chart = store.insert("a chart");
    store.name("chart", store.insert(manifest(&empty, &[descriptor("application/x-chart", chart, 7_u64)])));
    let note = store.insert("a note");
    store.name("notes", store.insert(index(&[descriptor("text/plain", note, 6_u64)])));
    let found = look_at(store);
    assert!(found.complete && found.indexes.iter().all(CacheIndex::is_sound), "{:?}", found.indexes);
    assert!(found.indexes.iter().all(|i| i.form == Some(Form::Image) && i.cache.is_none()));
    assert_eq!(found.usage.orphan_blobs, 0);
}

#[test]
fn indexes_nested_without_end_end() {
    let store = memory();
    let mut top = index(&[]);
    for _ in 0..10_000 {
        top = index(&[descriptor("application/vnd.oci.image.index.v1+json", store.insert(top.clone()), top.len())]);
    }
    store.name("deep", store.insert(top));
    // With true digests nothing can lead to itself; a false one is found out before it is followed.
    let looping = Digest::of(b"itself");
    store.insert_as(looping, index(&[descriptor("", looping, 1_u64)]));
    store.name("loop", looping);
    let found = look_at(store);
    let of = |name: &str| found.indexes.iter().find(|i| i.name() == Some(name)).unwrap();
    assert_eq!((of("deep").reach.len(), of("deep").findings.len()), (10_001, 0));
    assert_eq!(problems(&of("loop").findings), [Problem::Malformed]);
}

#[test]
fn many_names_for_one_great_index_do_not_take_memory_many_times() {
    let store = memory();
    let leaves: Vec<String> = (0..20_000_u32).map(|n| descriptor("x", Digest::of(&n.to_le_bytes()), 1_u64)).collect();
    let great = index(&leaves);
    let pointer = descriptor("", store.insert(great.clone()), great.len());
    for n in 0..300 {
        let text = format!("{}{}", index(std::slice::from_ref(&pointer)), " ".repeat(n));
        store.name(&format!("t{n:03}"), store.insert(text));
    }
    let found = look_at(store);
    assert!(found.indexes.iter().map(|i| i.reach.len()).sum::<usize>() < 2_100_000);
    assert!(found.indexes.iter().any(|i| problems(&i.findings) == [Problem::Malformed]) && !found.complete);
}

#[test]
fn rows_come_before_the_whole() {
    let store = memory();
    let (named, dangling) = (cache(&store, &[b"a"], 0), cache(&store, &[b"b"], 1));
    store.name("latest", named);
    let store: Arc<dyn Store> = Arc::new(store);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let rows = runtime.block_on(async {
        let (sender, mut rows) = mpsc::channel(8);
        let loading = async { load_showing(&store, &Progress::new(), Some(sender)).await.unwrap() };
        let listening = async {
            let mut seen = Vec::new();
            while let Some(more) = rows.recv().await {
                seen.extend(more);
            }
            seen
        };
        futures::join!(loading, listening).1
    });
    let shown: Vec<_> = rows.iter().map(|i| (i.digest, i.tags.len(), i.form)).collect();
    assert_eq!(shown[0], (named, 1, Some(Form::ImageManifest)));
    assert_eq!(shown[1], (dangling, 0, Some(Form::ImageManifest)));
}

#[test]
fn a_cancelled_load_says_so() {
    let store = memory();
    cache(&store, &[b"a"], 0);
    let store: Arc<dyn Store> = Arc::new(store);
    let progress = Progress::new();
    progress.cancel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(load(&store, &progress)).unwrap_err().kind(), Kind::Cancelled);
}

/// A place that tells no more than a registry does: no list of blobs.
struct Unlisted(Memory);

#[async_trait::async_trait]
impl Store for Unlisted {
    fn location(&self) -> &crate::model::location::Location {
        self.0.location()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { list_blobs: false, find_dangling: false, ..self.0.capabilities() }
    }

    async fn references(&self) -> Result<References> {
        self.0.references().await
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.0.stat(digest).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        self.0.open(digest).await
    }
}

#[test]
fn where_blobs_cannot_be_listed_what_is_needed_is_taken_to_be_there() {
    let store = memory();
    let digest = cache(&store, &[b"a", b"bb"], 0);
    store.name("latest", digest);
    store.lose(&Digest::of(b"a"));
    store.name("gone", Digest::of(b"gone"));
    let huge = descriptor(LAYER, Digest::of(b"huge"), u64::MAX);
    let text = config(&[Digest::of(b"huge")], 5);
    let pointer = descriptor(MEDIA_TYPE, store.insert(text.clone()), text.len());
    store.name(
        "huge",
        store.insert(manifest(
            &pointer,
            &[huge.clone(), huge.replace(&Digest::of(b"huge").hex(), &Digest::of(b"too").hex())],
        )),
    );
    let found = look_at(Unlisted(store));
    let of = |name: &str| found.indexes.iter().find(|i| i.name() == Some(name)).unwrap();
    assert!(of("latest").missing.is_empty());
    assert_eq!(of("gone").missing, [Digest::of(b"gone")], "but what was asked for and is not there is missing");
    assert_eq!(of("huge").exclusive_bytes, u64::MAX, "claims add up without overflow");
    assert_eq!(found.usage.bytes, u64::MAX);
    assert_eq!(found.usage.orphan_blobs, 0);
}

#[test]
fn a_place_without_lists_cannot_make_it_ask_for_ever() {
    let store = memory();
    let mut top = index(&[]);
    for _ in 0..200 {
        top = index(&[descriptor("", store.insert(top.clone()), top.len())]);
    }
    store.name("deep", store.insert(top));
    let found = look_at(Unlisted(store));
    assert_eq!(problems(&found.indexes[0].findings), [Problem::Malformed]);
    assert!(!found.complete);
}

type Blobs = BTreeSet<usize>;

/// What a folder of caches is made of: versions over blobs 0..12 and whether they have a name, blobs beside them, and blobs
/// taken away.
fn places() -> impl Strategy<Value = (Vec<(Blobs, bool)>, Blobs, Blobs)> {
    let version = (prop::collection::btree_set(0..12usize, 1..6), any::<bool>());
    let some = || prop::collection::btree_set(0..12usize, 0..4);
    (prop::collection::vec(version, 0..6), some(), some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, rng_seed: RngSeed::Fixed(20), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_needs_what_is_what_sets_say((versions, extra, lost) in places()) {
        let store = memory();
        // Every set of blobs has a sum of its own, but for the documents.
        let blob = |n: &usize| vec![b'x'; 1 << n];
        let mut needs: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
        let mut named = BTreeSet::new();
        for (salt, (layers, has_name)) in versions.iter().enumerate() {
            let contents: Vec<Vec<u8>> = layers.iter().map(blob).collect();
            let slices: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
            let digest = cache(&store, &slices, salt);
            let digests: Vec<Digest> = contents.iter().map(|c| Digest::of(c)).collect();
            let text = config(&digests, salt);
            needs.insert(digest, digests.into_iter().chain([digest, Digest::of(text.as_bytes())]).collect());
            if *has_name {
                store.name(&format!("v{salt}"), digest);
                named.insert(digest);
            }
        }
        extra.iter().for_each(|n| { store.insert(blob(n)); });
        lost.iter().for_each(|n| store.lose(&Digest::of(&blob(n))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let all: Vec<Digest> = needs.values().flatten().copied().chain(extra.iter().map(|n| Digest::of(&blob(n)))).collect();
        for digest in all {
            if let Ok(entry) = runtime.block_on(store.stat(&digest)) {
                sizes.insert(digest, entry.size);
            }
        }
        let found = look_at(store);
        prop_assert!(found.complete && found.warnings.is_empty());
        prop_assert_eq!(found.indexes.iter().map(|i| i.digest).collect::<BTreeSet<_>>(), needs.keys().copied().collect());
        let sum = |of: &BTreeSet<Digest>| of.iter().filter_map(|d| sizes.get(d)).sum::<u64>();
        for index in &found.indexes {
            let mine = &needs[&index.digest];
            let others: BTreeSet<Digest> = needs.iter().filter(|(d, _)| **d != index.digest).flat_map(|(_, n)| n).copied().collect();
            prop_assert_eq!(index.exclusive_bytes, sum(&mine.difference(&others).copied().collect()));
            prop_assert_eq!(index.shared_bytes, sum(&mine.intersection(&others).copied().collect()));
            let missing: Vec<Digest> = mine.iter().filter(|d| !sizes.contains_key(d)).copied().collect();
            prop_assert_eq!(&index.missing, &missing);
            prop_assert_eq!(index.is_dangling(), !named.contains(&index.digest));
        }
        let live: BTreeSet<Digest> = named.iter().flat_map(|d| &needs[d]).copied().collect();
        let needed: BTreeSet<Digest> = needs.values().flatten().copied().collect();
        for blob in &found.blobs {
            let expected = match () {
                () if !sizes.contains_key(&blob.digest) => State::Missing,
                () if live.contains(&blob.digest) => State::Live,
                () if needed.contains(&blob.digest) => State::Dangling,
                () => State::Orphan,
            };
            prop_assert_eq!(blob.state, expected);
            prop_assert_eq!(blob.referrers as usize, needs.values().filter(|n| n.contains(&blob.digest)).count());
            prop_assert_eq!(blob.role == Role::Unknown, expected == State::Orphan);
        }
        let present = sizes.keys().copied().collect::<BTreeSet<_>>();
        let of = |set: &BTreeSet<Digest>| set.intersection(&present).copied().collect::<BTreeSet<_>>();
        let orphans: BTreeSet<Digest> = present.difference(&needed).copied().collect();
        let dangling: BTreeSet<Digest> = needed.difference(&live).copied().collect();
        let usage = found.usage;
        prop_assert_eq!((usage.blobs, usage.bytes), (sizes.len() as u64, sizes.values().sum()));
        prop_assert_eq!((usage.live_blobs, usage.live_bytes), (of(&live).len() as u64, sum(&live)));
        prop_assert_eq!((usage.dangling_blobs, usage.dangling_bytes), (of(&dangling).len() as u64, sum(&dangling)));
        prop_assert_eq!((usage.orphan_blobs, usage.orphan_bytes), (orphans.len() as u64, sum(&orphans)));
        prop_assert_eq!(usage.missing_blobs, (needed.len() - of(&needed).len()) as u64);
    }
}
