//! The cases. Each makes the places it needs; none looks at which backend it is for.

use crate::{Harness, World};
use bytes::Bytes;
use cachedeck::error::{Kind, Result};
use cachedeck::model::digest::Digest;
use cachedeck::model::location::Location;
use cachedeck::model::plan::{RunId, Target};
use cachedeck::model::usage::UsageRecord;
use cachedeck::progress::Progress;
use cachedeck::store::memory::Memory;
use cachedeck::store::{BlobEntry, BlobReader, DOCUMENT_LIMIT, Expected, Listing, Opaque, Reference, Store, catalog};
use futures::future::BoxFuture;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

type Case = fn(Harness) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case, with its name.
        pub const ALL: &[(&str, Case)] = &[$((stringify!($name), |harness| Box::pin($name(harness)))),*];
    };
}

cases![
    an_empty_place_is_no_error,
    references_are_sorted_and_whole,
    a_name_leads_to_its_document,
    blobs_come_once_each_and_are_counted,
    documents_come_with_the_listing,
    what_is_known_may_stay_unread,
    a_cancelled_listing_stops,
    a_listing_that_nobody_reads_stops,
    claims_hold,
    only_the_absent_is_not_found,
    a_blob_is_read_up_to_a_limit,
    a_blob_streams_from_its_first_byte,
    measuring_tells_what_is_there_in_order,
    cancelled_measuring_says_so_for_the_rest,
    a_blob_is_put_only_if_it_is_what_it_says,
    an_upload_that_breaks_off_leaves_nothing,
    taking_brings_what_kin_have,
    what_is_foreign_is_not_taken,
    renewing_tells_what_is_there,
    publishing_needs_all_blobs,
    publishing_minds_what_was_expected,
    removing_is_idempotent_and_minds_the_version,
    hiding_can_be_undone,
    what_is_freed_is_gone,
    hiding_leaves_what_is_not_as_it_was_seen,
    restoring_leaves_what_was_written_again,
    freeing_leaves_what_was_written_again,
    notes_are_kept,
    one_at_a_time_holds_a_place,
    usage_is_sorted,
];

const DOCUMENT: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

fn absent() -> Digest {
    Digest::of(b"nobody has this")
}

fn body(bytes: &'static [u8]) -> BlobReader {
    Box::new(bytes)
}

#[track_caller]
fn fails<T>(result: Result<T>, kind: Kind) {
    match result {
        Ok(_) => panic!("{kind:?} was expected, but it went well"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

async fn list_with(
    store: &Arc<dyn Store>,
    progress: &Progress,
    opaque: Opaque,
) -> (Vec<Vec<BlobEntry>>, Result<Listing>) {
    let (sender, mut receiver) = mpsc::channel(1);
    let opaque = Arc::new(opaque);
    let collect = async {
        let mut batches = Vec::new();
        while let Some(batch) = receiver.recv().await {
            batches.push(batch);
        }
        batches
    };
    let (listing, batches) = tokio::join!(store.blobs(progress, &opaque, sender), collect);
    (batches, listing)
}

async fn list(store: &Arc<dyn Store>) -> BTreeMap<Digest, BlobEntry> {
    let (batches, listing) = list_with(store, &Progress::new(), Opaque::default()).await;
    assert!(listing.unwrap().complete);
    batches.into_iter().flatten().map(|entry| (entry.digest, entry)).collect()
}

async fn reference(store: &Arc<dyn Store>, name: &str) -> Option<Reference> {
    let name = store.name_in_full(name);
    store.references().await.unwrap().items.into_iter().find(|r| r.name == name)
}

/// Whether it can; asked before a place is filled with a great many, which takes its time with some.
fn lists_blobs(harness: Harness) -> bool {
    harness(&World::default()).store.capabilities().list_blobs
}

/// Whether it has any; a builder has not.
fn has_caches(harness: Harness) -> bool {
    harness(&World::default()).store.capabilities().has_caches()
}

async fn is_there(store: &Arc<dyn Store>, digest: &Digest) -> bool {
    match store.stat(digest).await {
        Ok(entry) => {
            assert_eq!(entry.digest, *digest);
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::NotFound, "{error}");
            false
        }
    }
}

async fn an_empty_place_is_no_error(harness: Harness) {
    let place = harness(&World::default());
    let references = place.store.references().await.unwrap();
    assert_eq!((references.items, references.findings), (vec![], vec![]));
    if place.store.capabilities().list_blobs {
        assert!(list(&place.store).await.is_empty());
    }
}

async fn references_are_sorted_and_whole(harness: Harness) {
    let mut world = World::default();
    let (one, two) = (world.blob(DOCUMENT), world.blob(&b"{\"schemaVersion\":2, \"manifests\":[]}"[..]));
    let hostile = "\u{1b}[2J\u{202e}x";
    world.names = [("z", one), ("a", two), ("latest", one), (hostile, two), ("B", one)]
        .map(|(name, digest)| (name.to_owned(), digest))
        .to_vec();
    let place = harness(&world);
    let references = place.store.references().await.unwrap();
    let mut names = place.names.clone();
    names.sort();
    assert_eq!(
        references.items.iter().map(|r| &r.name).collect::<Vec<_>>(),
        names.iter().map(|n| &n.0).collect::<Vec<_>>()
    );
    assert_eq!(references.findings, []);
    for (reference, (_, digest)) in references.items.iter().zip(&names) {
        assert!(reference.digest.is_none_or(|d| d == *digest), "{reference:?}");
        assert!(reference.size.is_none_or(|s| s == world.blobs[digest].len() as u64), "{reference:?}");
    }
    let again = place.store.references().await.unwrap();
    assert_eq!(again.items, references.items, "nothing changed, so nothing may seem changed");
}

async fn a_name_leads_to_its_document(harness: Harness) {
    if !has_caches(harness) {
        return;
    }
    let mut world = World::default();
    world.names = vec![("there".to_owned(), world.blob(DOCUMENT)), ("gone".to_owned(), absent())];
    let place = harness(&world);
    let there = reference(&place.store, &place.called("there").unwrap()).await.unwrap();
    if !place.store.capabilities().read_blobs {
        return fails(place.store.document(&there, 1000).await, Kind::Unsupported);
    }
    assert_eq!(place.store.document(&there, DOCUMENT.len() as u64).await.unwrap(), DOCUMENT);
    fails(place.store.document(&there, DOCUMENT.len() as u64 - 1).await, Kind::Invalid);
    if let Some(name) = place.called("gone")
        && let Some(gone) = reference(&place.store, &name).await
    {
        fails(place.store.document(&gone, 1000).await, Kind::NotFound);
    }
}

async fn blobs_come_once_each_and_are_counted(harness: Harness) {
    if !lists_blobs(harness) {
        let place = harness(&World::default());
        let (_, listing) = list_with(&place.store, &Progress::new(), Opaque::default()).await;
        return fails(listing, Kind::Unsupported);
    }
    let mut world = World::default();
    for n in 0..1000usize {
        world.blob(format!("{}{n}", " ".repeat(n % 7)));
    }
    world.blob("");
    let place = harness(&world);
    let progress = Progress::new();
    let (batches, listing) = list_with(&place.store, &progress, Opaque::default()).await;
    let listing = listing.unwrap();
    assert!(listing.complete && listing.findings.is_empty() && listing.leftovers.is_empty(), "{listing:?}");
    assert!(batches.len() > 1, "rows are to show before all is listed");
    let mut found: Vec<(Digest, u64)> = batches.iter().flatten().map(|b| (b.digest, b.size)).collect();
    found.sort_unstable();
    let there: Vec<(Digest, u64)> = world.blobs.iter().map(|(digest, bytes)| (*digest, bytes.len() as u64)).collect();
    assert_eq!(found, there);
    let counts = progress.counts();
    assert_eq!((counts.items, counts.bytes), (there.len() as u64, there.iter().map(|b| b.1).sum()));
}

/// What may be a document, and what may not be.
fn mixed() -> (World, BTreeMap<Digest, bool>) {
    let mut world = World::default();
    let mut longest = b"{".to_vec();
    longest.resize(DOCUMENT_LIMIT as usize, b' ');
    let mut too_long = longest.clone();
    too_long.push(b' ');
    let documents: Vec<Bytes> = vec![
        DOCUMENT.into(),
        "{".into(),
        "{ broken".into(),
        " \n\t {}".into(),
        format!("{}{{}}", " \n".repeat(1500)).into(),
        longest.into(),
    ];
    let others: Vec<Bytes> = vec![
        "".into(),
        "[{}]".into(),
        "\u{1f}\u{8b}{".into(),
        "x{".into(),
        " ".repeat(2000).into(),
        format!("{}x{{", " ".repeat(2000)).into(),
        too_long.into(),
    ];
    let mut is = BTreeMap::new();
    is.extend(documents.into_iter().map(|bytes| (world.blob(bytes), true)));
    is.extend(others.into_iter().map(|bytes| (world.blob(bytes), false)));
    (world, is)
}

async fn documents_come_with_the_listing(harness: Harness) {
    if !lists_blobs(harness) {
        return;
    }
    let (world, is_document) = mixed();
    let place = harness(&world);
    if !place.store.capabilities().find_dangling {
        return;
    }
    let found = list(&place.store).await;
    for (digest, bytes) in &world.blobs {
        let wanted = is_document[digest].then_some(bytes);
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]);
        assert!(found[digest].document.as_ref() == wanted, "{} bytes that begin with {head:?}", bytes.len());
    }
}

async fn what_is_known_may_stay_unread(harness: Harness) {
    if !lists_blobs(harness) {
        return;
    }
    let (world, is_document) = mixed();
    let place = harness(&world);
    let opaque = Opaque::default();
    opaque.extend(world.blobs.keys().copied());
    let (batches, listing) = list_with(&place.store, &Progress::new(), opaque).await;
    assert!(listing.unwrap().complete, "what is known is not missing");
    let found: Vec<BlobEntry> = batches.into_iter().flatten().collect();
    assert_eq!(found.len(), world.blobs.len());
    for entry in found {
        assert_eq!(entry.size, world.blobs[&entry.digest].len() as u64);
        assert!(entry.document.is_none_or(|d| is_document[&entry.digest] && d == world.blobs[&entry.digest]));
    }
}

async fn a_cancelled_listing_stops(harness: Harness) {
    if !lists_blobs(harness) {
        return;
    }
    let mut world = World::default();
    for n in 0..600 {
        world.blob(format!("{n}"));
    }
    let place = harness(&world);
    let progress = Progress::new();
    progress.cancel();
    let (batches, listing) = list_with(&place.store, &progress, Opaque::default()).await;
    fails(listing, Kind::Cancelled);
    assert!(batches.is_empty());
}

async fn a_listing_that_nobody_reads_stops(harness: Harness) {
    if !lists_blobs(harness) {
        return;
    }
    let mut world = World::default();
    for n in 0..600 {
        world.blob(format!("{n}"));
    }
    let place = harness(&world);
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    fails(place.store.blobs(&Progress::new(), &Arc::default(), sender).await, Kind::Cancelled);
}

/// What is claimed answers anything but `Unsupported`; what is not claimed answers that and nothing else.
async fn claims_hold(harness: Harness) {
    let mut world = World::default();
    let document = world.blob(DOCUMENT);
    world.names = vec![("latest".to_owned(), document)];
    let place = harness(&world);
    let store = &*place.store;
    let claims = store.capabilities();
    let progress = Progress::new();
    let (sender, receiver) = mpsc::channel(1000);
    let new = Digest::of(b"new");
    let calls: Vec<(&str, bool, Option<Kind>)> = vec![
        ("blobs", claims.list_blobs, kind(store.blobs(&progress, &Arc::default(), sender).await)),
        ("open", claims.read_blobs, kind(store.open(&document).await)),
        ("read", claims.read_blobs, kind(store.read(&document, 1000).await)),
        ("measure", claims.read_blobs, kind(store.measure(&[document], &progress).await.pop().unwrap())),
        ("usage", claims.usage, kind(store.usage().await)),
        ("put", claims.write, kind(store.put(&new, body(b"new")).await)),
        ("publish", claims.write, kind(store.publish("next", &DOCUMENT.into(), &[], Expected::Absent).await)),
        ("remove", claims.remove, kind(store.remove(&[named("nobody", "x")]).await.remove(0))),
        ("promise", claims.remove || claims.discard, kind(store.promise().await)),
        ("hidden", claims.hide, kind(store.hidden(&run(), &[target(absent(), 1)]).await)),
        ("purge", claims.hide, kind(store.purge(&run(), &[target(absent(), 1)], &progress).await.remove(0))),
        ("notes", claims.notes, kind(store.notes("runs/").await)),
    ];
    drop(receiver);
    for (call, claimed, answer) in calls {
        match claimed {
            true => assert_eq!(answer, None, "{call} is claimed"),
            false => assert_eq!(answer, Some(Kind::Unsupported), "{call} is not claimed"),
        }
    }
    assert!(!claims.find_dangling || claims.list_blobs, "documents come with a listing");
    assert!(!claims.hide || claims.remove, "what is hidden is to be removed");
    if !claims.write {
        let names: Vec<String> = place.called("latest").into_iter().collect();
        assert!(reference_names(store).await == names && store.stat(&new).await.is_err(), "refused, yet done");
    }
}

fn kind<T>(result: Result<T>) -> Option<Kind> {
    result.err().map(|e| e.kind())
}

async fn reference_names(store: &dyn Store) -> Vec<String> {
    store.references().await.unwrap().items.into_iter().map(|r| r.name).collect()
}

async fn only_the_absent_is_not_found(harness: Harness) {
    let mut world = World::default();
    let (empty, full) = (world.blob(""), world.blob("full"));
    let place = harness(&world);
    let store = &place.store;
    if !store.capabilities().has_caches() {
        return fails(store.stat(&empty).await, Kind::Unsupported);
    }
    for (digest, size) in [(empty, 0), (full, 4)] {
        let entry = store.stat(&digest).await.unwrap();
        assert_eq!((entry.digest, entry.size, entry.document), (digest, size, None));
    }
    fails(store.stat(&absent()).await, Kind::NotFound);
    if store.capabilities().read_blobs {
        fails(store.open(&absent()).await, Kind::NotFound);
        fails(store.read(&absent(), 0).await, Kind::NotFound);
        fails(store.measure(&[absent()], &Progress::new()).await.remove(0), Kind::NotFound);
        assert_eq!(store.read(&empty, 0).await.unwrap(), "");
    }
}

async fn a_blob_is_read_up_to_a_limit(harness: Harness) {
    let mut world = World::default();
    let bytes = Bytes::from(vec![7; 100_000]);
    let digest = world.blob(bytes.clone());
    let place = harness(&world);
    if !place.store.capabilities().read_blobs {
        return;
    }
    for limit in [100_000, 100_001, u64::MAX] {
        assert!(place.store.read(&digest, limit).await.unwrap() == bytes, "{limit}");
    }
    for limit in [0, 1, 99_999] {
        fails(place.store.read(&digest, limit).await, Kind::Invalid);
    }
}

async fn a_blob_streams_from_its_first_byte(harness: Harness) {
    let mut world = World::default();
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let digest = world.blob(bytes.clone());
    let place = harness(&world);
    if !place.store.capabilities().read_blobs {
        return;
    }
    for _ in 0..2 {
        let mut read = Vec::new();
        place.store.open(&digest).await.unwrap().read_to_end(&mut read).await.unwrap();
        assert!(read == bytes);
    }
}

async fn measuring_tells_what_is_there_in_order(harness: Harness) {
    let mut world = World::default();
    let good = world.blob(vec![1; 700_000]);
    let empty = world.blob("");
    let wrong = Digest::of(b"what it is called");
    world.blobs.insert(wrong, "what it is".into());
    let place = harness(&world);
    if !place.store.capabilities().read_blobs {
        return;
    }
    let progress = Progress::new();
    let mut measured = place.store.measure(&[wrong, good, absent(), empty, good], &progress).await;
    assert_eq!(measured.len(), 5);
    fails(measured.remove(2), Kind::NotFound);
    let measured: Vec<(u64, Digest)> = measured.into_iter().map(|m| m.unwrap()).map(|m| (m.size, m.digest)).collect();
    assert_eq!(measured, [(10, Digest::of(b"what it is")), (700_000, good), (0, empty), (700_000, good)]);
    let counts = progress.counts();
    assert_eq!((counts.items, counts.bytes), (5, 1_400_010), "the absent one is done with, too");
    assert!(place.store.measure(&[], &progress).await.is_empty());
}

async fn cancelled_measuring_says_so_for_the_rest(harness: Harness) {
    let mut world = World::default();
    let digests = [world.blob("one"), world.blob(""), absent()];
    let place = harness(&world);
    if !place.store.capabilities().read_blobs {
        return;
    }
    let progress = Progress::new();
    progress.cancel();
    let measured = place.store.measure(&digests, &progress).await;
    assert_eq!(measured.len(), 3);
    measured.into_iter().for_each(|m| fails(m, Kind::Cancelled));
    assert_eq!(progress.counts().items, 0);
}

async fn a_blob_is_put_only_if_it_is_what_it_says(harness: Harness) {
    let place = harness(&World::default());
    let store = &place.store;
    if !store.capabilities().write {
        return;
    }
    let digest = Digest::of(b"blob");
    fails(store.put(&digest, body(b"other")).await, Kind::Corrupt);
    assert!(!is_there(store, &digest).await && !is_there(store, &Digest::of(b"other")).await);
    for _ in 0..2 {
        store.put(&digest, body(b"blob")).await.unwrap();
        assert_eq!(store.read(&digest, 4).await.unwrap(), "blob");
    }
    fails(store.put(&digest, body(b"other")).await, Kind::Corrupt);
    assert_eq!(store.read(&digest, 4).await.unwrap(), "blob", "what was there stays");
}

async fn an_upload_that_breaks_off_leaves_nothing(harness: Harness) {
    let place = harness(&World::default());
    let store = &place.store;
    if !store.capabilities().write {
        return;
    }
    let digest = Digest::of(b"half of it");
    let broken = breaking_off(b"half of");
    assert!(store.put(&digest, broken).await.is_err());
    assert!(!is_there(store, &digest).await);
    // A writer that is never done, and whoever waits for it gives up.
    let (_held, never) = tokio::io::duplex(16);
    let never: BlobReader = Box::new(never);
    let gave_up = tokio::time::timeout(std::time::Duration::from_millis(20), store.put(&digest, never)).await;
    assert!(gave_up.is_err() && !is_there(store, &digest).await);
    if store.capabilities().list_blobs {
        assert!(list(store).await.is_empty());
    }
}

/// Gives `bytes`, then an error.
fn breaking_off(bytes: &'static [u8]) -> BlobReader {
    struct Broken;
    impl tokio::io::AsyncRead for Broken {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<std::io::Result<()>> {
            std::task::Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()))
        }
    }
    Box::new(bytes.chain(Broken))
}

async fn taking_brings_what_kin_have(harness: Harness) {
    let mut world = World::default();
    let digest = world.blob("somewhere else");
    let (from, to) = (harness(&world), harness(&World::default()));
    let (store, Some(kin)) = (&to.store, from.store.kin()) else { return };
    if !store.capabilities().write {
        return;
    }
    match store.take(&digest, 14, &kin).await.unwrap() {
        true => assert_eq!(store.read(&digest, 14).await.unwrap(), "somewhere else"),
        false => assert!(!is_there(store, &digest).await),
    }
    assert!(!matches!(store.take(&absent(), 3, &kin).await, Ok(true)));
    assert!(!is_there(store, &absent()).await);
    assert!(is_there(&from.store, &digest).await, "it stays where it was");
}

async fn what_is_foreign_is_not_taken(harness: Harness) {
    let place = harness(&World::default());
    let (store, bytes) = (&place.store, Bytes::from_static(b"foreign"));
    if !store.capabilities().write {
        return;
    }
    let (memory, folder) = (Memory::new(Location::new("memory")), tempfile::tempdir().unwrap());
    let local = catalog::make(&Location::local_dir(folder.path().to_str().unwrap())).unwrap();
    let digest = memory.insert(bytes.clone());
    local.put(&digest, Box::new(std::io::Cursor::new(bytes))).await.unwrap();
    let foreign = if store.location().kind() == "memory" { local.kin() } else { memory.kin() };
    assert!(!store.take(&digest, 7, &foreign.unwrap()).await.unwrap());
    assert!(!is_there(store, &digest).await);
}

async fn renewing_tells_what_is_there(harness: Harness) {
    let mut world = World::default();
    let digest = world.blob("there");
    let place = harness(&world);
    if !place.store.capabilities().has_caches() {
        return;
    }
    let before = place.store.stat(&digest).await.unwrap();
    assert_eq!(place.store.renew(&digest).await.unwrap(), before);
    fails(place.store.renew(&absent()).await, Kind::NotFound);
}

async fn publishing_needs_all_blobs(harness: Harness) {
    let mut world = World::default();
    let layer = world.blob("layer");
    let place = harness(&world);
    let store = &place.store;
    if !store.capabilities().write {
        return;
    }
    let document = Bytes::from_static(DOCUMENT);
    fails(store.publish("new", &document, &[layer, absent()], Expected::Absent).await, Kind::Corrupt);
    assert_eq!(reference(store, "new").await, None);
    let told = store.publish("new", &document, &[layer], Expected::Absent).await.unwrap();
    let new = reference(store, "new").await.unwrap();
    assert_eq!((&told.name, &told.version), (&new.name, &new.version));
    assert_eq!(store.document(&new, 1000).await.unwrap(), document);
}

async fn publishing_minds_what_was_expected(harness: Harness) {
    let mut world = World::default();
    world.names = vec![("tag".to_owned(), world.blob(DOCUMENT))];
    let place = harness(&world);
    let store = &place.store;
    if !store.capabilities().write {
        return;
    }
    let two = Bytes::from_static(b"{\"schemaVersion\":2, \"manifests\":[]}");
    let before = reference(store, "tag").await.unwrap();
    let version = before.version.clone().unwrap();
    fails(store.publish("tag", &two, &[], Expected::Absent).await, Kind::Stale);
    fails(store.publish("tag", &two, &[], Expected::Version("another".to_owned())).await, Kind::Stale);
    fails(store.publish("new", &two, &[], Expected::Version(version.clone())).await, Kind::Stale);
    assert_eq!(store.references().await.unwrap().items, [before], "nothing changed");
    store.publish("tag", &two, &[], Expected::Version(version.clone())).await.unwrap();
    let after = reference(store, "tag").await.unwrap();
    assert_ne!(after.version, Some(version));
    assert_eq!(store.document(&after, 1000).await.unwrap(), two);
}

async fn removing_is_idempotent_and_minds_the_version(harness: Harness) {
    let mut world = World::default();
    world.names =
        vec![("tag".to_owned(), world.blob(DOCUMENT)), ("other".to_owned(), world.blob([DOCUMENT, b" "].concat()))];
    let place = harness(&world);
    let store = &place.store;
    if !store.capabilities().remove {
        return;
    }
    let tag = reference(store, "tag").await.unwrap();
    fails(store.remove(&[named("tag", "another")]).await.remove(0), Kind::Stale);
    assert!(reference(store, "tag").await.is_some());
    for _ in 0..2 {
        store.remove(std::slice::from_ref(&tag)).await.remove(0).unwrap();
        assert_eq!(reference_names(&**store).await, ["other"]);
    }
}

async fn hiding_can_be_undone(harness: Harness) {
    let mut world = World::default();
    let (hidden, left) = (world.blob("hidden"), world.blob("left"));
    let place = harness(&world);
    let store = &place.store;
    if !store.capabilities().hide {
        return;
    }
    let (run, progress) = (run(), Progress::new());
    let targets = [seen(store, hidden).await, target(absent(), 1)];
    let mut results = store.hide(&run, &targets, SignedDuration::ZERO, &progress).await;
    fails(results.remove(1), Kind::NotFound);
    results.remove(0).unwrap();
    assert!(!is_there(store, &hidden).await && is_there(store, &left).await);
    fails(store.read(&hidden, 10).await, Kind::NotFound);
    if store.capabilities().list_blobs {
        assert_eq!(list(store).await.into_keys().collect::<Vec<_>>(), [left]);
    }
    if store.capabilities().write {
        fails(store.publish("new", &DOCUMENT.into(), &[hidden], Expected::Absent).await, Kind::Corrupt);
    }
    let digests = |targets: Vec<Target>| targets.iter().map(|t| (t.digest, t.bytes)).collect::<Vec<_>>();
    assert_eq!(digests(store.hidden(&run, &targets).await.unwrap()), [(hidden, 6)]);
    assert!(store.hidden(&another_run(), &targets).await.unwrap().is_empty(), "what others hid is theirs");
    for _ in 0..2 {
        let mut results = store.restore(&run, &targets, &progress).await;
        fails(results.remove(1), Kind::NotFound);
        results.remove(0).unwrap();
        assert_eq!(store.read(&hidden, 10).await.unwrap(), "hidden");
    }
    assert!(store.hidden(&run, &targets).await.unwrap().is_empty());
}

async fn what_is_freed_is_gone(harness: Harness) {
    let mut world = World::default();
    let (freed, left) = (world.blob("freed"), world.blob("left"));
    let place = harness(&world);
    let store = &place.store;
    if !store.capabilities().hide {
        return;
    }
    let (run, progress) = (run(), Progress::new());
    let targets = [seen(store, freed).await];
    store.hide(&run, &targets, SignedDuration::ZERO, &progress).await.remove(0).unwrap();
    for _ in 0..2 {
        store.purge(&run, &targets, &progress).await.remove(0).unwrap();
        assert!(store.hidden(&run, &targets).await.unwrap().is_empty());
    }
    fails(store.restore(&run, &targets, &progress).await.remove(0), Kind::NotFound);
    assert!(!is_there(store, &freed).await && is_there(store, &left).await);
}

async fn hiding_leaves_what_is_not_as_it_was_seen(harness: Harness) {
    let mut world = World::default();
    let digest = world.blob("written a moment ago");
    let place = harness(&world);
    let store = &place.store;
    if !store.capabilities().hide {
        return;
    }
    let (run, progress, is) = (run(), Progress::new(), seen(store, digest).await);
    let young = store.hide(&run, &[is], SignedDuration::from_hours(24), &progress).await.remove(0);
    fails(young, Kind::Stale);
    let longer = Target { bytes: is.bytes + 1, ..is };
    fails(store.hide(&run, &[longer], SignedDuration::ZERO, &progress).await.remove(0), Kind::Stale);
    let earlier = is.modified.unwrap() - SignedDuration::from_hours(1);
    let older = Target { modified: Some(earlier), ..is };
    fails(store.hide(&run, &[older], SignedDuration::ZERO, &progress).await.remove(0), Kind::Stale);
    assert!(is_there(store, &digest).await);
    let young = store.written_since(&[is], earlier).await.unwrap();
    assert_eq!(young.into_iter().collect::<Vec<_>>(), [digest]);
}

async fn restoring_leaves_what_was_written_again(harness: Harness) {
    let mut world = World::default();
    let digest = world.blob("again");
    let place = harness(&world);
    let store = &place.store;
    if !(store.capabilities().hide && store.capabilities().write) {
        return;
    }
    let (run, progress) = (run(), Progress::new());
    let targets = [seen(store, digest).await];
    store.hide(&run, &targets, SignedDuration::ZERO, &progress).await.remove(0).unwrap();
    store.put(&digest, body(b"again")).await.unwrap();
    assert!(is_there(store, &digest).await, "a writer that missed it brings it back");
    store.restore(&run, &targets, &progress).await.remove(0).unwrap();
    assert_eq!(store.read(&digest, 10).await.unwrap(), "again");
    assert!(store.hidden(&run, &targets).await.unwrap().is_empty());
}

async fn freeing_leaves_what_was_written_again(harness: Harness) {
    let mut world = World::default();
    let digest = world.blob("again");
    let place = harness(&world);
    let store = &place.store;
    if !(store.capabilities().hide && store.capabilities().write) {
        return;
    }
    let (run, progress) = (run(), Progress::new());
    let targets = [seen(store, digest).await];
    store.hide(&run, &targets, SignedDuration::ZERO, &progress).await.remove(0).unwrap();
    store.put(&digest, body(b"again")).await.unwrap();
    store.purge(&run, &targets, &progress).await.remove(0).unwrap();
    assert_eq!(store.read(&digest, 10).await.unwrap(), "again");
}

async fn notes_are_kept(harness: Harness) {
    let place = harness(&World::default());
    let store = &place.store;
    if !store.capabilities().notes {
        return;
    }
    assert!(store.notes("runs/").await.unwrap().is_empty());
    fails(store.read_note("runs/1.json").await, Kind::NotFound);
    store.note("runs/2.json", Bytes::from_static(b"two")).await.unwrap();
    store.note("runs/1.json", Bytes::from_static(b"one")).await.unwrap();
    store.note("pins/1.json", Bytes::from_static(b"a pin")).await.unwrap();
    store.note("runs/1.json", Bytes::from_static(b"another")).await.unwrap();
    assert_eq!(store.notes("runs/").await.unwrap(), ["runs/1.json", "runs/2.json"]);
    assert_eq!(store.read_note("runs/1.json").await.unwrap(), "another");
    for _ in 0..2 {
        store.drop_note("runs/1.json").await.unwrap();
        assert_eq!(store.notes("runs/").await.unwrap(), ["runs/2.json"]);
    }
    if store.capabilities().list_blobs {
        assert!(list(store).await.is_empty(), "notes are no blobs");
    }
    assert!(store.references().await.unwrap().items.is_empty(), "nor names");
}

async fn one_at_a_time_holds_a_place(harness: Harness) {
    let place = harness(&World::default());
    let store = &place.store;
    if !store.capabilities().notes {
        return;
    }
    let hold = store.hold(&run()).await.unwrap();
    fails(store.hold(&another_run()).await.map(drop), Kind::Busy);
    store.release(hold).await.unwrap();
    let again = store.hold(&another_run()).await.unwrap();
    store.release(again).await.unwrap();
}

fn run() -> RunId {
    "20261121-134500-000001".parse().unwrap()
}

fn another_run() -> RunId {
    "20261121-134500-000002".parse().unwrap()
}

fn named(name: &str, version: &str) -> Reference {
    let version = Some(version.to_owned());
    Reference { name: name.to_owned(), digest: None, size: None, modified: None, version }
}

fn target(digest: Digest, bytes: u64) -> Target {
    Target { digest, bytes, modified: None }
}

/// A blob as it is there now.
async fn seen(store: &Arc<dyn Store>, digest: Digest) -> Target {
    let entry = store.stat(&digest).await.unwrap();
    Target { digest, bytes: entry.size, modified: entry.modified }
}

async fn usage_is_sorted(harness: Harness) {
    let record = |id: &str| UsageRecord {
        id: id.to_owned(),
        parents: Vec::new(),
        kind: "regular".to_owned(),
        description: String::new(),
        bytes: 1,
        created: None,
        last_used: None,
        uses: 0,
        in_use: false,
        mutable: false,
        shared: false,
    };
    let place = harness(&World { usage: ["c", "a", "b"].map(record).to_vec(), ..World::default() });
    if !place.store.capabilities().usage {
        return;
    }
    let ids: Vec<String> = place.store.usage().await.unwrap().into_iter().map(|r| r.id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
}
