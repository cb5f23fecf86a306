//! What is there and can't be read: by its permissions where the tests run as an ordinary user; as root, whom those do
//! not stop, by a store that refuses.

use super::*;
use crate::tampered::Tampered;
use cachedeck::error::Kind;
use cachedeck::store::memory::Memory;
use std::os::unix::fs::PermissionsExt as _;

/// The versions of the fixture, in a store that refuses one blob of the first.
fn refusing(kind: Kind, pick: fn(&CacheIndex) -> Digest) -> (Inventory, Inventory, Vec<Finding>) {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let inside = Memory::new(Location::new("memory"));
    before.blobs.iter().for_each(|b| inside.insert_as(b.digest, fs::read(folder.blob_path(&b.digest)).unwrap()));
    before.indexes.iter().for_each(|i| i.tags.iter().for_each(|tag| inside.name(tag, i.digest)));
    let store: Arc<dyn Store> = Arc::new(Tampered::new(inside).refusing(pick(&before.indexes[0]), kind));
    let (inventory, findings) = in_time(move || async move {
        let inventory = load::load(&store, &Progress::new()).await.unwrap();
        let report = verify::verify(&store, &inventory, Level::Digest, &Progress::new()).await.unwrap();
        (inventory, report.findings)
    });
    (before, inventory, findings)
}

#[test]
fn an_unreadable_document_is_a_finding_on_its_version_alone() {
    let picks: [fn(&CacheIndex) -> Digest; 2] = [|index| index.digest, |index| index.config.unwrap()];
    for pick in picks {
        for kind in [Kind::Denied, Kind::Unavailable, Kind::Internal] {
            let (before, inventory, findings) = refusing(kind, pick);
            let (bad, others): (Vec<&CacheIndex>, Vec<&CacheIndex>) =
                inventory.indexes.iter().partition(|i| i.digest == before.indexes[0].digest);
            assert_eq!(problems(&bad[0].findings), [Problem::Unreadable]);
            assert!(bad[0].cache.is_none() && bad[0].missing.is_empty(), "it is there, so it is not missing");
            assert!(others.iter().all(|i| i.is_sound() && i.cache.is_some()));
            assert!(!inventory.complete);
            assert!(findings.iter().all(|f| f.problem == Problem::Unreadable), "{findings:#?}");
        }
    }
}

#[test]
fn an_unreadable_layer_is_found_by_hashing() {
    let layer: fn(&CacheIndex) -> Digest = |index| index.cache.as_ref().unwrap().layers[0].blob;
    let (_, inventory, findings) = refusing(Kind::Denied, layer);
    assert!(inventory.complete && inventory.indexes.iter().all(CacheIndex::is_sound));
    assert_eq!(problems(&findings), [Problem::Unreadable]);
    // What was there when listed and is not by now went away, and is no damage.
    assert_eq!(problems(&refusing(Kind::NotFound, layer).2), [Problem::Changed]);
}

#[test]
fn files_without_permission_are_told() {
    if rustix::process::geteuid().is_root() {
        eprintln!("permissions do not stop root: left to the tests above");
        return;
    }
    let folder = Folder::of("local-history");
    let index = folder.load().unwrap().indexes[0].clone();
    let none = fs::Permissions::from_mode(0o000);
    fs::set_permissions(folder.blob_path(&index.digest), none.clone()).unwrap();
    let inventory = folder.load().unwrap();
    assert_eq!(problems(&inventory.version(&index.digest).unwrap().findings), [Problem::Unreadable]);
    assert!(!inventory.complete);
    fs::set_permissions(folder.index_json(), none).unwrap();
    assert_eq!(folder.load().unwrap_err().kind(), Kind::Denied);
}
