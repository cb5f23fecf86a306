use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[tokio::test]
async fn looking_makes_nothing() {
    let layout = Layout::new(&[b"blob"]);
    let before = layout.everything();
    let store = layout.store();
    let target = layout.target(Digest::of(b"blob"));
    store.promise().await.unwrap();
    assert!(store.hidden(&run(), &[target]).await.unwrap().is_empty());
    assert!(store.notes("").await.unwrap().is_empty());
    assert_eq!(store.read_note("runs/1.json").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.written_since(&[target], Timestamp::MAX).await.unwrap().len(), 0);
    // Nor does what turns out to have nothing to do.
    store.restore(&run(), &[target], &Progress::new()).await.remove(0).unwrap();
    store.purge(&run(), &[target], &Progress::new()).await.remove(0).unwrap();
    store.drop_note("runs/1.json").await.unwrap();
    store.discard(&["gone".to_owned()], &Progress::new()).await.remove(0).unwrap();
    let gone = Reference { name: "gone".to_owned(), digest: None, size: None, modified: None, version: None };
    store.remove(&[gone]).await.remove(0).unwrap();
    assert_eq!(layout.everything(), before);
}

#[test]
fn a_blob_that_comes_back_is_as_old_as_before() {
    let layout = Layout::new(&[b"blob"]);
    let digest = Digest::of(b"blob");
    layout.age(&format!("blobs/sha256/{}", digest.hex()), 1000);
    let (before, target) = (layout.everything(), layout.target(digest));
    hide(&layout, digest).unwrap();
    assert!(!layout.blob_path(&digest).exists());
    assert_eq!(layout.folder().hidden(&run()).unwrap(), [target]);
    layout.folder().restore(&run(), &[target], &Progress::new()).remove(0).unwrap();
    assert_eq!(layout.target(digest), target);
    let after: Vec<String> = layout.everything();
    assert_eq!(after, [&[".cachedeck".to_owned()], &*before].concat(), "the run's folders are gone");
}

#[test]
fn many_blobs_are_moved_at_once_and_each_tells_how_it_went() {
    let layout = Layout::new(&[]);
    let digests: Vec<Digest> = (0..5000u32).map(|n| layout.blob(&n.to_le_bytes())).collect();
    let targets: Vec<Target> = digests.iter().map(|digest| layout.target(*digest)).collect();
    let (gone, changed) = (1234, 4321);
    std::fs::remove_file(layout.blob_path(&digests[gone])).unwrap();
    std::fs::write(layout.blob_path(&digests[changed]), b"longer").unwrap();
    let (folder, progress) = (layout.folder(), Progress::new());
    let hidden = folder.hide(&run(), &targets, SignedDuration::ZERO, &progress);
    for (at, result) in hidden.iter().enumerate() {
        let kind = result.as_ref().err().map(Error::kind);
        let expected = if at == gone { Some(Kind::NotFound) } else { (at == changed).then_some(Kind::Stale) };
        assert_eq!(kind, expected, "{at}");
    }
    let mut left = targets.clone();
    left.retain(|target| ![digests[gone], digests[changed]].contains(&target.digest));
    left.sort();
    assert_eq!(folder.hidden(&run()).unwrap(), left);
    let freed = folder.purge(&run(), &targets, &progress);
    assert!(freed.len() == targets.len() && freed.iter().all(Result::is_ok));
    assert_eq!(layout.everything().iter().filter(|path| path.starts_with("blobs/sha256/")).count(), 2);
    assert!(!layout.path(".cachedeck").join(run().as_str()).exists());
}

#[test]
fn what_was_copied_a_moment_ago_is_young_however_old_it_says_it_is() {
    let layout = Layout::new(&[b"blob"]);
    let digest = Digest::of(b"blob");
    layout.age(&format!("blobs/sha256/{}", digest.hex()), 1000);
    let (folder, target) = (layout.folder(), layout.target(digest));
    let hour = SignedDuration::from_hours(1);
    let error = folder.hide(&run(), &[target], hour, &Progress::new()).remove(0).unwrap_err();
    assert_eq!(error.kind(), Kind::Stale);
    assert!(folder.written_since(&[target], Timestamp::now() - hour).unwrap().contains(&digest));
    assert!(layout.blob_path(&digest).exists());
}

#[test]
fn a_time_to_come_is_young() {
    let layout = Layout::new(&[b"blob"]);
    let digest = Digest::of(b"blob");
    let file = File::open(layout.blob_path(&digest)).unwrap();
    let then = std::time::SystemTime::now() + Duration::from_secs(3600);
    file.set_times(std::fs::FileTimes::new().set_modified(then)).unwrap();
    assert_eq!(hide(&layout, digest).unwrap_err().kind(), Kind::Stale);
    let young = layout.folder().written_since(&[layout.target(digest)], Timestamp::now()).unwrap();
    assert!(young.contains(&digest));
}

#[test]
fn a_damaged_blob_in_the_place_of_a_hidden_one_is_told_and_both_are_kept() {
    let layout = Layout::new(&[b"blob"]);
    let digest = Digest::of(b"blob");
    let target = layout.target(digest);
    hide(&layout, digest).unwrap();
    std::fs::write(layout.blob_path(&digest), "bl").unwrap();
    let folder = layout.folder();
    let error = folder.restore(&run(), &[target], &Progress::new()).remove(0).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.hint().is_some());
    assert_eq!(folder.hidden(&run()).unwrap().len(), 1);
}

#[test]
fn nothing_is_moved_or_removed_through_a_link() {
    let layout = Layout::new(&[b"blob"]);
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), layout.path(".cachedeck")).unwrap();
    let digest = Digest::of(b"blob");
    let error = hide(&layout, digest).unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.hint().is_some(), "{error}");
    assert!(layout.folder().note("a/b", b"note").is_err() && layout.folder().hold(&run()).is_err());
    std::fs::remove_file(layout.path(".cachedeck")).unwrap();
    hide(&layout, digest).unwrap();
    // A link in the trash is not brought back, nor followed when it is freed.
    let hidden = layout.path(".cachedeck/20261121-134500-000001/trash").join(digest.hex());
    let precious = elsewhere.path().join("precious");
    std::fs::rename(&hidden, &precious).unwrap();
    symlink(&precious, &hidden).unwrap();
    let folder = layout.folder();
    assert!(folder.hidden(&run()).unwrap().is_empty());
    let target = Target { digest, bytes: 4, modified: None };
    assert!(folder.restore(&run(), &[target], &Progress::new()).remove(0).is_err());
    folder.purge(&run(), &[target], &Progress::new()).remove(0).unwrap();
    assert!(precious.exists() && !hidden.exists() && !layout.blob_path(&digest).exists());
    // Nor is a link hidden.
    symlink(&precious, layout.blob_path(&digest)).unwrap();
    let error = folder.hide(&run(), &[target], SignedDuration::ZERO, &Progress::new()).remove(0).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
}

#[test]
fn a_folder_that_was_replaced_is_left_alone() {
    let (layout, other) = (Layout::new(&[b"blob"]), Layout::new(&[b"blob"]));
    let (folder, target) = (layout.folder(), layout.target(Digest::of(b"blob")));
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(layout.root.path(), elsewhere.path().join("moved")).unwrap();
    std::fs::rename(other.root.path(), layout.root.path()).unwrap();
    let before = layout.everything();
    let error = folder.hide(&run(), &[target], SignedDuration::ZERO, &Progress::new()).remove(0).unwrap_err();
    assert_eq!(error.kind(), Kind::Stale);
    assert_eq!(folder.note("a", b"note").unwrap_err().kind(), Kind::Stale);
    assert_eq!(layout.everything(), before);
}

#[tokio::test]
async fn what_is_written_is_as_builds_write_it() {
    let layout = Layout::new(&[]);
    std::fs::set_permissions(layout.root.path(), std::fs::Permissions::from_mode(0o775)).unwrap();
    let mode = |below: &str| std::fs::metadata(layout.path(below)).unwrap().mode() & 0o777;
    std::fs::set_permissions(layout.path("index.json"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let store = layout.store();
    let document = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[{}]}"#);
    store.publish("new", &document, &[], Expected::Absent).await.unwrap();
    store.note("runs/1.json", Bytes::from_static(b"note")).await.unwrap();
    let hold = store.hold(&run()).await.unwrap();
    assert_eq!(mode(&format!("blobs/sha256/{}", Digest::of(&document).hex())), 0o444);
    assert_eq!(mode("index.json"), 0o640);
    assert_eq!([".cachedeck", ".cachedeck/notes", ".cachedeck/notes/runs"].map(mode), [0o775; 3]);
    assert_eq!([".cachedeck/notes/runs/1.json", ".cachedeck/lock"].map(mode), [0o664; 2]);
    assert!(!layout.path("index.json.lock").exists());
    store.release(hold).await.unwrap();
    let ours = |path: &String| path.starts_with(".cachedeck/");
    let left: Vec<String> = layout.everything().into_iter().filter(ours).collect();
    assert_eq!(left, [".cachedeck/lock", ".cachedeck/notes", ".cachedeck/notes/runs", ".cachedeck/notes/runs/1.json"]);
}

#[tokio::test]
async fn a_blobs_folder_is_made_where_there_is_none() {
    let layout = Layout::new(&[]);
    std::fs::remove_dir_all(layout.path("blobs")).unwrap();
    let store = layout.store();
    store.put(&Digest::of(b"new"), Box::new(&b"new"[..])).await.unwrap();
    assert_eq!(store.read(&Digest::of(b"new"), 3).await.unwrap(), "new");
}

#[tokio::test]
async fn an_index_that_can_not_be_read_is_not_overwritten() {
    let layout = Layout::new(&[]);
    layout.write("index.json", b"{\"manifests\":[");
    let error = layout.store().publish("new", &Bytes::from_static(DOCUMENT), &[], Expected::Absent).await.unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.hint().is_some(), "{error}");
    assert_eq!(std::fs::read(layout.path("index.json")).unwrap(), b"{\"manifests\":[");
}

#[test]
fn a_lock_of_a_build_is_waited_for_and_left_to_it() {
    let layout = Layout::new(&[]);
    let lock = File::create(layout.path("index.json.lock")).unwrap();
    sys::flock(&lock, sys::FlockOperation::LockExclusive).unwrap();
    let (folder, path) = (layout.folder(), layout.path("index.json.lock"));
    std::thread::scope(|scope| {
        let edit = scope.spawn(|| folder.publish("new", DOCUMENT, &[], &Expected::Absent).unwrap());
        assert!(!std::fs::read_to_string(layout.path("index.json")).unwrap().contains("new"));
        // As BuildKit ends it: the lock first, then the file.
        drop(lock);
        let _ = std::fs::remove_file(&path);
        assert!(edit.join().unwrap().is_some());
    });
    assert!(std::fs::read_to_string(layout.path("index.json")).unwrap().contains("new"));
}

#[test]
fn leftovers_are_given_up_once_nobody_writes_to_them() {
    let layout = Layout::new(&[]);
    for upload in ["old", "young"] {
        std::fs::create_dir_all(layout.path(&format!("ingest/{upload}"))).unwrap();
        for file in ["data", "ref", "updatedat"] {
            layout.write(&format!("ingest/{upload}/{file}"), b"1");
            layout.age(&format!("ingest/{upload}/{file}"), 25);
        }
    }
    layout.write("ingest/young/data", b"12");
    layout.write("precious", b"1");
    symlink(layout.path("precious"), layout.path("ingest/old/link")).unwrap();
    ["ingest/old", "ingest/young"].iter().for_each(|folder| layout.age(folder, 25));
    let discard = |name: &str| layout.folder().discard(&[name.to_owned()], &Progress::new()).remove(0);
    // The link was made just now.
    assert_eq!(discard("old").unwrap_err().kind(), Kind::Stale);
    std::fs::remove_file(layout.path("ingest/old/link")).unwrap();
    layout.age("ingest/old", 25);
    discard("old").unwrap();
    discard("old").unwrap();
    assert_eq!(discard("young").unwrap_err().kind(), Kind::Stale);
    for name in ["", ".", "..", "../blobs", "old/data"] {
        assert_eq!(discard(name).unwrap_err().kind(), Kind::Invalid, "{name}");
    }
    let left: Vec<String> = layout.everything();
    assert!(left.contains(&"ingest/young/data".to_owned()) && !left.contains(&"ingest/old".to_owned()));
    assert!(!left.iter().any(|path| path.contains("tmp-")), "{left:?}");
}

#[test]
fn keys_of_notes_lead_nowhere_else() {
    let layout = Layout::new(&[]);
    let folder = layout.folder();
    for key in ["", "/", "a/", "/a", "..", "a/../b", ".hidden", "a//b", "a b", "a\0", "ä", "a/b/c/d/e/f/g/h/i"] {
        assert_eq!(folder.note(key, b"").unwrap_err().kind(), Kind::Invalid, "{key:?}");
        assert_eq!(folder.read_note(key).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(folder.drop_note(key).unwrap_err().kind(), Kind::Invalid);
    }
}
