//! Things in `blobs/` that are no blobs, and blobs that are not what they are called.

use super::*;
use cachedeck::model::finding::Severity;
use cachedeck::model::inventory::State;
use rustix::fs::{CWD, FileType, Mode, inotify};
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::unix::fs::symlink;

/// Digests of nothing that is there.
fn name(n: u8) -> Digest {
    Digest::of(&[b'x', n])
}

#[test]
fn what_is_no_file_is_told_and_never_opened() {
    let folder = Folder::of("local-history");
    let before = folder.load().unwrap();
    let manifest = before.indexes[0].digest;
    let outside = folder.path().join("outside");
    fs::write(&outside, fs::read(folder.blob_path(&manifest)).unwrap()).unwrap();
    symlink(&outside, folder.blob_path(&name(0))).unwrap();
    symlink("/dev/zero", folder.blob_path(&name(1))).unwrap();
    symlink("nowhere", folder.blob_path(&name(2))).unwrap();
    rustix::fs::mkfifoat(CWD, folder.blob_path(&name(3)), 0o644.into()).unwrap();
    fs::create_dir(folder.blob_path(&name(4))).unwrap();
    fs::copy(&outside, folder.blob_path(&name(4)).join(name(4).hex())).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind_addr(&short_address(&folder)).unwrap();
    let mut strays = 6;
    let zero = rustix::fs::makedev(1, 5);
    match rustix::fs::mknodat(CWD, folder.blob_path(&name(6)), FileType::CharacterDevice, Mode::from(0o644), zero) {
        Ok(()) => strays += 1,
        Err(errno) => eprintln!("no device is tried: making one is not allowed here ({errno})"),
    }

    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let blobs = folder.path().join("blobs/sha256");
    inotify::add_watch(&watch, &blobs, inotify::WatchFlags::OPEN).unwrap();
    let path = folder.path();
    let inventory = in_time(move || async move { load::load(&open(&path).unwrap(), &Progress::new()).await.unwrap() });
    let mut buffer = vec![MaybeUninit::uninit(); 1 << 20];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut opened = BTreeSet::new();
    while let Ok(event) = events.next() {
        opened.extend(event.file_name().map(|name| name.to_str().unwrap().to_owned()));
    }
    assert!(opened.contains(&manifest.hex()), "the watch sees what is opened");
    for n in 0..=6 {
        assert!(!opened.contains(&name(n).hex()), "number {n} was opened");
    }
    unharmed(&before, &inventory);
    assert_eq!((inventory.usage, inventory.indexes.len()), (before.usage, before.indexes.len()));
    assert_eq!(problems(&inventory.warnings), vec![Problem::Stray; strays]);
    for words in ["a symbolic link", "a pipe", "a folder", "a socket"] {
        says(&inventory.warnings, Problem::Stray, words);
    }
    assert!(inventory.warnings.iter().all(|w| w.severity == Severity::Note));
    assert!(folder.verify(Level::Digest).iter().all(|f| f.problem == Problem::Stray), "nor does verifying mind");
}

/// A socket's path may be no longer than a hundred bytes: reached through the open folder, it is short.
fn short_address(folder: &Folder) -> std::os::unix::net::SocketAddr {
    use std::os::fd::{AsRawFd as _, IntoRawFd as _};
    let blobs = fs::File::open(folder.path().join("blobs/sha256")).unwrap();
    let path = format!("/proc/self/fd/{}/{}", blobs.as_raw_fd(), name(5).hex());
    // Left open on purpose: the address is used after this.
    let _ = blobs.into_raw_fd();
    std::os::unix::net::SocketAddr::from_pathname(path).unwrap()
}

#[test]
fn odd_names_are_told_and_not_read() {
    let folder = Folder::of("local-min");
    let before = folder.load().unwrap();
    let manifest = fs::read(folder.blob_path(&before.indexes[0].digest)).unwrap();
    let blobs = folder.path().join("blobs");
    let hex = before.indexes[0].digest.hex();
    let upper = hex.to_uppercase();
    for odd in [".hidden", "..data", "tmp-123", &hex[1..], &format!("{hex}0"), &upper, "\u{1b}[2J"] {
        fs::write(blobs.join("sha256").join(odd), &manifest).unwrap();
    }
    let inventory = folder.load().unwrap();
    unharmed(&before, &inventory);
    assert_eq!(inventory.usage, before.usage);
    assert_eq!(problems(&inventory.warnings), vec![Problem::Stray; 7]);
    fs::create_dir(blobs.join("sha512")).unwrap();
    let inventory = folder.load().unwrap();
    says(&inventory.warnings, Problem::Stray, "blobs/sha512 is not read");
    assert!(!inventory.complete, "blobs of another algorithm may need these");
}

#[test]
fn a_needed_blob_that_is_no_file_is_missing() {
    let folder = Folder::of("local-min");
    let before = folder.load().unwrap();
    let layer = before.indexes[0].cache.as_ref().unwrap().layers[0].blob;
    fs::rename(folder.blob_path(&layer), folder.path().join("elsewhere")).unwrap();
    symlink(folder.path().join("elsewhere"), folder.blob_path(&layer)).unwrap();
    let inventory = folder.load().unwrap();
    assert_eq!(inventory.indexes[0].missing, [layer]);
    assert_eq!(inventory.blob(&layer).unwrap().state, State::Missing);
    let findings = folder.verify(Level::Exists);
    assert_eq!(problems(&findings), [Problem::BlobMissing, Problem::Stray]);
}

#[test]
fn each_level_of_verifying_finds_what_it_is_for() {
    let folder = Folder::of("local-history");
    for level in [Level::Exists, Level::Size, Level::Digest] {
        assert_eq!(folder.verify(level), [], "a sound cache");
    }
    let inventory = folder.load().unwrap();
    let layers: BTreeSet<Digest> =
        inventory.indexes[0].cache.as_ref().unwrap().layers.iter().map(|layer| layer.blob).collect();
    let layers: Vec<Digest> = layers.into_iter().collect();
    let [gone, longer, other, ..] = layers.as_slice() else { panic!("too few layers") };
    fs::remove_file(folder.blob_path(gone)).unwrap();
    let mut bytes = fs::read(folder.blob_path(longer)).unwrap();
    bytes.push(0);
    folder.put_as(longer, &bytes);
    let mut bytes = fs::read(folder.blob_path(other)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    folder.put_as(other, &bytes);
    let orphan = name(9);
    folder.put_as(&orphan, "an orphan of another content");

    let found = |level| {
        let findings = folder.verify(level);
        assert!(findings.iter().all(|f| f.severity == Severity::Error && f.remedy.is_some()));
        findings.iter().map(|f| (f.problem, f.digest.unwrap())).collect::<BTreeSet<_>>()
    };
    let mut wanted = BTreeSet::from([(Problem::BlobMissing, *gone)]);
    assert_eq!(found(Level::Exists), wanted);
    wanted.insert((Problem::WrongSize, *longer));
    assert_eq!(found(Level::Size), wanted);
    wanted.extend([*longer, *other, orphan].map(|digest| (Problem::WrongDigest, digest)));
    assert_eq!(found(Level::Digest), wanted);
    assert_eq!(folder.verify(Level::Digest).len(), wanted.len(), "each is told once");
}

#[test]
fn a_version_with_a_blob_of_wrong_size_says_so() {
    let folder = Folder::of("local-min");
    let layer = folder.load().unwrap().indexes[0].cache.as_ref().unwrap().layers[0].blob;
    folder.put_as(&layer, "");
    let inventory = folder.load().unwrap();
    assert_eq!(problems(&inventory.indexes[0].findings), [Problem::WrongSize]);
    assert!(!inventory.indexes[0].is_sound() && inventory.blob(&layer).unwrap().wrong_size());
}

#[test]
fn blobs_of_absurd_lengths_add_up_without_a_panic() {
    let folder = Folder::of("local-min");
    let file = fs::File::create(folder.blob_path(&name(0))).unwrap();
    // As long as the file system takes.
    let longest = (30..63).rev().map(|bits| 1u64 << bits).find(|length| file.set_len(*length).is_ok()).unwrap();
    folder.put_sparse(&name(1), longest);
    let inventory = folder.load().unwrap();
    assert!(inventory.usage.orphan_bytes >= longest && inventory.complete);
}
