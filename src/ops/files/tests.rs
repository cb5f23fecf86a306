use super::content::{Look, PEEK};
use super::extract::{Extracted, Target, Why};
use super::*;
use crate::format::layer::sample::{Sample, gzip, zstd};
use crate::model::files::{Limit, tree};
use crate::store::memory::Memory;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tokio::io::AsyncRead;

fn layer(bytes: Vec<u8>) -> LayerFiles {
    let store = Memory::new("type=local,src=/x".parse().unwrap());
    let digest = store.insert(bytes);
    LayerFiles::new(Arc::new(store), digest)
}

async fn list(files: &LayerFiles) -> (Vec<Entry>, Listing) {
    let (sender, mut batches) = mpsc::channel(2);
    let progress = Progress::new();
    let (listing, entries) = tokio::join!(files.list(&progress, sender), async {
        let mut entries = Vec::new();
        while let Some(batch) = batches.recv().await {
            entries.extend(batch);
        }
        entries
    });
    let listing = listing.unwrap();
    assert_eq!((listing.entries, progress.counts().items), (entries.len() as u64, entries.len() as u64));
    (entries, listing)
}

#[tokio::test]
async fn a_layer_lists_into_a_tree_and_counts_what_it_read() {
    let packed = gzip(&Sample::default().directory("usr/", 0o755).file("usr/bin/app", [1; 5000]).tar());
    let files = layer(packed.clone());
    let (entries, listing) = list(&files).await;
    assert_eq!((listing.ending, listing.compression), (Ending::Complete, Compression::Gzip));
    assert_eq!(listing.unpacked, 512 * 2 + 5120 + 1024);
    let mut tree = tree::FileTree::new();
    entries.iter().for_each(|entry| tree.insert(entry).unwrap());
    assert_eq!(tree.node(tree.find(b"usr").unwrap()).total(tree::View::Layer), 5000);

    let progress = Progress::new();
    let (sender, _batches) = mpsc::channel(9);
    files.list(&progress, sender).await.unwrap();
    assert_eq!(progress.counts().bytes, packed.len() as u64);
}

#[tokio::test]
async fn what_could_be_read_is_sent_before_the_end_is_told() {
    let tar = (0..3000).fold(Sample::default(), |s, n| s.file(&format!("f{n}"), b"")).tar();
    let files = layer(tar.clone()).with_limits(Limits { entries: 2000, ..Limits::default() });
    let (entries, listing) = list(&files).await;
    assert_eq!((entries.len(), &listing.ending), (2000, &Ending::Truncated(Limit::Entries(2000))));
    let finding = listing.ending.finding(files.digest()).unwrap();
    assert!(finding.message.contains("2000 entries"), "{}", finding.message);

    let packed = gzip(&tar);
    let (entries, listing) = list(&layer(packed[..packed.len() - 9].to_vec())).await;
    assert_eq!(entries.len(), 3000);
    assert!(matches!(listing.ending, Ending::Damaged(_)));

    let (entries, listing) = list(&layer(b"{\"not\":\"a layer\"}".to_vec())).await;
    assert!(entries.is_empty() && matches!(listing.ending, Ending::Damaged(_)));
}

#[tokio::test]
async fn a_chain_is_merged_and_a_missing_layer_is_told() {
    let memory = Memory::new("type=local,src=/x".parse().unwrap());
    let low = memory.insert(Sample::default().file("etc/a", b"1").file("etc/b", b"22").tar());
    let gone = Digest::of(b"gone");
    let top = memory.insert(gzip(&Sample::default().file("etc/.wh.a", b"").file("etc/b", b"333").tar()));
    let store: Arc<dyn Store> = Arc::new(memory);
    let merged = merge::merge(&store, &[low, gone, top], &Progress::new()).await.unwrap();
    assert!(merged.endings[0].is_complete() && !merged.endings[1].is_complete() && merged.endings[2].is_complete());
    let mark = |path: &[u8]| merged.tree.node(merged.tree.find(path).unwrap()).mark();
    assert_eq!((mark(b"etc/a"), mark(b"etc/b"), merged.tree.layer()), (tree::Mark::Deleted, tree::Mark::Modified, 2));
    assert_eq!(merged.tree.node(tree::ROOT).total(tree::View::Merged), 3);
}

/// Bytes that stop coming.
struct StuckReader(std::io::Cursor<Vec<u8>>, Arc<tokio::sync::Notify>);

impl AsyncRead for StuckReader {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if self.0.position() < self.0.get_ref().len() as u64 {
            return std::pin::Pin::new(&mut self.0).poll_read(cx, buf);
        }
        self.1.notify_one();
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn it_can_be_stopped_while_it_waits_for_bytes() {
    let bytes = Sample::default().file("a", [7; 9000]).tar();
    let waiting = Arc::new(tokio::sync::Notify::new());
    let bridge = |progress: &Progress, stop: &CancellationToken| Bridge {
        blob: Box::new(StuckReader(std::io::Cursor::new(bytes[..2000].to_vec()), Arc::clone(&waiting))),
        handle: Handle::current(),
        stop: stop.clone(),
        progress: progress.clone(),
    };
    let progress = Progress::new();
    let stop = progress.token().child_token();
    let mut source = bridge(&progress, &stop);
    let work = tokio::task::spawn_blocking(move || io::copy(&mut source, &mut io::sink()));
    waiting.notified().await;
    progress.cancel();
    assert_eq!(Stop::from_io(work.await.unwrap().unwrap_err()), Stop::Cancelled);
}

#[tokio::test]
async fn nobody_listening_ends_the_reading() {
    let tar = (0..5000).fold(Sample::default(), |s, n| s.file(&format!("f{n}"), b"")).tar();
    let (sender, batches) = mpsc::channel(1);
    drop(batches);
    let error = layer(tar).list(&Progress::new(), sender).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled);
}

#[tokio::test]
async fn a_peek_shows_the_beginning_and_says_what_it_looks_like() {
    let long = vec![b'a'; 100_000];
    let files = layer(zstd(
        &Sample::default()
            .file("etc/a.json", b"{\"a\": [1, 2]}\n")
            .file("etc/a.txt", "h\u{e9}llo\n")
            .file("etc/binary", b"\x7fELF\0\x01")
            .file("etc/empty", b"")
            .file("etc/long", &long)
            .tar(),
    ));
    let progress = Progress::new();
    for (path, look) in [
        ("etc/a.json", Look::Json),
        ("/etc/a.txt", Look::Text),
        ("./etc/binary", Look::Binary),
        ("etc/empty", Look::Empty),
    ] {
        let peek = files.peek(&Pick::path(path), &progress).await.unwrap();
        assert_eq!((peek.look, peek.digest), (look, Some(Digest::of(&peek.bytes))), "{path}");
    }
    let peek = files.peek(&Pick::path("etc/long"), &progress).await.unwrap();
    assert_eq!((peek.bytes.len() as u64, peek.entry.size, peek.is_whole()), (PEEK, 100_000, false));

    let mut whole = Vec::new();
    let path = tempfile::NamedTempFile::new().unwrap();
    let written = files.cat(&Pick::path("etc/long"), path.reopen().unwrap(), &progress).await.unwrap();
    path.reopen().unwrap().read_to_end(&mut whole).unwrap();
    assert_eq!((written.bytes, written.digest, whole == long), (100_000, Digest::of(&long), true));
}

#[test]
fn a_cut_in_the_middle_of_a_character_is_still_text() {
    let text = "h\u{e9}".as_bytes();
    assert_eq!(Look::of(&text[..2], false), Look::Text);
    assert_eq!(Look::of(&text[..2], true), Look::Binary);
    assert_eq!(Look::of(b"{\"cut\": [1, ", false), Look::Json);
    assert_eq!(Look::of(b"{ not json }", true), Look::Text);
}

#[tokio::test]
async fn content_is_found_as_unpacking_would_leave_it() {
    let files = layer(
        Sample::default()
            .file("a", b"old")
            .hardlink("early", "a")
            .file("./a", b"new")
            .hardlink("late", "/a")
            .hardlink("lost", "nowhere")
            .hardlink("self", "self")
            .symlink("s", "a")
            .directory("d", 0o755)
            .entry(b"dev", b'3', 0o600, (b"", b""))
            .tar(),
    );
    let progress = Progress::new();
    let peek = async |pick: Pick| files.peek(&pick, &progress).await;
    let content = async |path: &str| String::from_utf8(peek(Pick::path(path)).await.unwrap().bytes).unwrap();
    assert_eq!(content("a").await, "new");
    assert_eq!(content("late").await, "new");
    assert_eq!(content("early").await, "old", "a hardlink is to what stands before it");
    assert_eq!(peek(Pick::entry("a", 0)).await.unwrap().bytes, b"old");
    for (pick, kind, word) in [
        (Pick::path("none"), Kind::NotFound, "none"),
        (Pick::path("lost"), Kind::NotFound, "hardlink"),
        (Pick::path("self"), Kind::NotFound, "hardlink"),
        (Pick::path("s"), Kind::Invalid, "symbolic link to \"a\""),
        (Pick::path("d"), Kind::Invalid, "directory"),
        (Pick::path("dev"), Kind::Invalid, "char-device"),
        (Pick::entry("a", 1), Kind::Stale, "entry 1"),
        (Pick::entry("a", 99), Kind::Stale, "entry 99"),
    ] {
        let error = peek(pick).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn damage_behind_a_file_does_not_matter_and_inside_of_it_does() {
    let tar = Sample::default().file("first", [1; 4000]).file("second", [2; 4000]).tar();
    let files = layer(tar[..7000].to_vec());
    let progress = Progress::new();
    assert_eq!(files.peek(&Pick::path("first"), &progress).await.unwrap().bytes, [1; 4000]);
    for path in ["second", "third"] {
        let error = files.peek(&Pick::path(path), &progress).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    }
}

/// A folder to extract into, inside a larger one that must stay as it is.
struct Yard(tempfile::TempDir);

impl Yard {
    fn new() -> Self {
        let yard = Self(tempfile::tempdir().unwrap());
        std::fs::write(yard.0.path().join("canary"), b"untouched").unwrap();
        std::fs::create_dir(yard.0.path().join("out")).unwrap();
        yard
    }

    fn out(&self) -> std::path::PathBuf {
        self.0.path().join("out")
    }

    async fn extract(&self, tar: Vec<u8>, path: &str) -> Result<Extracted> {
        let target = Target { folder: self.out(), overwrite: false };
        let done = layer(tar).extract(&Pick::path(path), &target, &Progress::new()).await;
        self.check();
        done
    }

    /// Nothing was touched outside, and nothing half-done is left inside.
    fn check(&self) {
        let names: Vec<_> = tree_of(self.0.path()).into_keys().filter(|p| !p.starts_with("out")).collect();
        assert_eq!(names, ["canary"]);
        assert_eq!(std::fs::read(self.0.path().join("canary")).unwrap(), b"untouched");
        assert!(!tree_of(&self.out()).keys().any(|p| p.contains(".cachedeck-")));
    }
}

/// Path to content, or to where a link leads; directories end in a slash.
fn tree_of(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut stack = vec![root.to_owned()];
    while let Some(next) = stack.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                all.insert(format!("{name}/"), String::new());
                stack.push(path);
            } else if meta.is_symlink() {
                all.insert(name, format!("-> {}", std::fs::read_link(&path).unwrap().display()));
            } else {
                all.insert(name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned());
            }
        }
    }
    all
}

fn texts(tree: &BTreeMap<String, String>) -> Vec<String> {
    tree.iter().map(|(path, text)| format!("{path}={text}")).collect()
}

#[tokio::test]
async fn a_file_comes_out_with_its_mode_and_time_but_no_set_id_bits() {
    let yard = Yard::new();
    let tar = Sample::default().entry(b"usr/bin/su", b'0', 0o6755, (b"", b"program")).tar();
    let done = yard.extract(tar, "/usr/bin/su").await.unwrap();
    assert_eq!((done.path.clone(), done.files, done.bytes), (yard.out().join("su"), 1, 7));
    let meta = done.path.metadata().unwrap();
    assert_eq!(meta.permissions().mode() & 0o7000, 0);
    assert_eq!(meta.permissions().mode() & 0o700, 0o700);
    assert_eq!(meta.mtime(), 1_700_000_000);
}

#[tokio::test]
async fn a_directory_comes_out_whole() {
    let yard = Yard::new();
    let sample = Sample::default()
        .file("etc/other", b"no")
        .file("usr/shared", b"shared")
        .directory("usr/lib/", 0o555)
        .file("usr/lib/a.so.1", b"library")
        .symlink("usr/lib/a.so", "a.so.1")
        .symlink("usr/lib/x/y/up", "../../a.so")
        .hardlink("usr/lib/within", "usr/lib/a.so.1")
        .hardlink("usr/lib/a-chain", "usr/lib/within")
        .hardlink("usr/lib/outside", "./usr/shared")
        .hardlink("usr/lib/outside2", "usr/shared")
        .file("usr/lib/x/.wh.gone", b"")
        .entry(b"usr/lib/null", b'3', 0o666, (b"", b""))
        .file("usr/library", b"no");
    let done = yard.extract(gzip(&sample.tar()), "usr/lib").await.unwrap();
    assert_eq!(
        texts(&tree_of(&yard.out())),
        [
            "lib/=",
            "lib/a-chain=library",
            "lib/a.so=-> a.so.1",
            "lib/a.so.1=library",
            "lib/outside=shared",
            "lib/outside2=shared",
            "lib/within=library",
            "lib/x/=",
            "lib/x/y/=",
            "lib/x/y/up=-> ../../a.so"
        ]
    );
    assert_eq!((done.files, done.directories, done.symlinks), (5, 1, 2));
    assert_eq!(
        done.skipped,
        [(b"usr/lib/x/.wh.gone".to_vec(), Why::Whiteout), (b"usr/lib/null".to_vec(), Why::Special)]
    );
    let inode = |name: &str| yard.out().join("lib").join(name).metadata().unwrap().ino();
    assert_eq!(inode("within"), inode("a.so.1"));
}

#[tokio::test]
async fn the_root_comes_out_under_the_layers_digest() {
    let yard = Yard::new();
    let tar = Sample::default().directory("./", 0o755).file("./a", b"1").file("b/c", b"2").tar();
    let name = Digest::of(&tar).short();
    yard.extract(tar, "/").await.unwrap();
    let expect = [format!("{name}/="), format!("{name}/a=1"), format!("{name}/b/="), format!("{name}/b/c=2")];
    assert_eq!(texts(&tree_of(&yard.out())), expect);
}

#[tokio::test]
async fn nothing_gets_out_of_the_folder() {
    let yard = Yard::new();
    let canary = yard.0.path().join("canary");
    let canary = canary.to_str().unwrap();
    let sample = Sample::default()
        .file("d/ok", b"ok")
        .file("d/../../canary", b"overwritten by dots")
        .file("../canary", b"overwritten by dots")
        .file("d/..", b"dots at the end")
        .file(&format!("/{}", &canary[1..]), b"overwritten by an absolute name")
        .file("/d/absolute", b"absolute")
        .symlink("d/absolute-link", "/etc")
        .symlink("d/out", "../..")
        .symlink("d/out2", "x/../../..")
        // A chain of links that each look harmless: `down` stays inside, `down/..` would not.
        .symlink("d/x/y/down", "../..")
        .symlink("d/through", "x/y/down/..")
        // Write-through: the link first, then a file behind it.
        .symlink("d/link", "../..")
        .file("d/link/canary", b"overwritten through a link")
        .symlink("d/inner", "x")
        .file("d/inner/f", b"a directory keeps the link away")
        .symlink("d/target", canary)
        .file("d/target", b"replaces the link, does not follow it")
        .hardlink("d/hard", "../canary")
        .hardlink("d/hard2", &canary[1..])
        .symlink("d/empty", "");
    let tar = sample.tar();
    for path in ["d", "/"] {
        let yard = Yard::new();
        let done = yard.extract(tar.clone(), path).await.unwrap();
        let root = if path == "/" { done.path.join("d") } else { done.path.clone() };
        let found = tree_of(&root);
        assert_eq!(found.get("ok").map(String::as_str), Some("ok"));
        assert_eq!(found.get("target").map(String::as_str), Some("replaces the link, does not follow it"));
        assert_eq!(found.get("link/canary").map(String::as_str), Some("overwritten through a link"), "as a directory");
        for (name, leads) in found.iter().filter(|(_, text)| text.starts_with("->")) {
            assert!(!leads.starts_with("-> /"), "{name} {leads}");
            let real = root.join(name).canonicalize();
            assert!(real.is_err() || real.unwrap().starts_with(done.path.canonicalize().unwrap()), "{name} {leads}");
        }
        let why = |wanted: Why| done.skipped.iter().filter(|(_, why)| *why == wanted).count();
        assert!(why(Why::LeadsOut) >= 3 && why(Why::UnsafeName) >= 2 && why(Why::Taken) == 1, "{:?}", done.skipped);
        assert!(!found.contains_key("hard"), "{found:?}");
    }
    assert_eq!(std::fs::read(canary).unwrap(), b"untouched");
}

#[tokio::test]
async fn single_things_that_may_not_be_written_are_refused() {
    let sample = || {
        Sample::default()
            .file("/etc/passwd", b"x")
            .file("a/../b", b"x")
            .symlink("abs", "/etc/shadow")
            .symlink("up", "../secret")
            .symlink("fine", "beside")
            .entry(b"sda", b'4', 0o600, (b"", b""))
            .file(".wh.gone", b"")
            .hardlink("lost", "nowhere")
            .hardlink("loop1", "loop2")
            .hardlink("loop2", "loop1")
            .tar()
    };
    for (path, kind, word) in [
        ("etc/passwd", Kind::Invalid, "absolute"),
        ("a/../b", Kind::Invalid, ".."),
        ("abs", Kind::Invalid, "outside"),
        ("up", Kind::Invalid, "outside"),
        ("sda", Kind::Invalid, "device"),
        (".wh.gone", Kind::Invalid, "whiteout"),
        ("lost", Kind::Invalid, "hardlink"),
        ("loop1", Kind::Invalid, "hardlink"),
        ("none", Kind::NotFound, "none"),
    ] {
        let yard = Yard::new();
        let error = yard.extract(sample(), path).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
        assert!(tree_of(&yard.out()).is_empty());
    }
    let yard = Yard::new();
    yard.extract(sample(), "fine").await.unwrap();
    assert_eq!(texts(&tree_of(&yard.out())), ["fine=-> beside"]);
}

#[tokio::test]
async fn what_exists_is_replaced_only_on_request_and_never_a_directory() {
    let yard = Yard::new();
    let tar = || Sample::default().file("x/a", b"new").file("x/d/b", b"new").symlink("x/l", "a").tar();
    std::fs::write(yard.out().join("a"), b"mine").unwrap();
    std::fs::create_dir(yard.out().join("d")).unwrap();
    std::fs::write(yard.out().join("d/mine"), b"mine").unwrap();
    std::os::unix::fs::symlink(yard.0.path().join("canary"), yard.out().join("l")).unwrap();
    let before = tree_of(&yard.out());
    for path in ["x/a", "x/d", "x/l"] {
        let error = yard.extract(tar(), path).await.unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
    }
    assert_eq!(tree_of(&yard.out()), before);
    let target = Target { folder: yard.out(), overwrite: true };
    for (path, fine) in [("x/a", true), ("x/d", false), ("x/l", true)] {
        let done = layer(tar()).extract(&Pick::path(path), &target, &Progress::new()).await;
        assert_eq!(done.is_ok(), fine, "{path}: {done:?}");
        yard.check();
    }
    assert_eq!(texts(&tree_of(&yard.out())), ["a=new", "d/=", "d/mine=mine", "l=-> a"]);
}

#[tokio::test]
async fn of_two_entries_the_last_is_extracted() {
    let yard = Yard::new();
    let sample = Sample::default()
        .file("d/a", b"first")
        .file("d/a", b"second")
        .symlink("d/b", "a")
        .file("d/b", b"file")
        .file("d/c", b"file")
        .symlink("d/c", "a")
        .file("d/e/f", b"deep")
        .file("d/e", b"a file in the place of a directory")
        .file("d/g", b"file")
        .file("d/g/h", b"a file beneath a file");
    let done = yard.extract(sample.tar(), "d").await.unwrap();
    assert_eq!(texts(&tree_of(&done.path)), ["a=second", "b=file", "c=-> a", "e/=", "e/f=deep", "g=file"]);
    assert_eq!(done.skipped, [(b"d/e".to_vec(), Why::Taken), (b"d/g/h".to_vec(), Why::Taken)]);
}

#[tokio::test]
async fn a_damaged_layer_gives_whole_files_and_says_so() {
    let tar = Sample::default().file("d/first", [b'1'; 4000]).file("d/second", [b'2'; 4000]).tar()[..7000].to_vec();
    let yard = Yard::new();
    let done = yard.extract(tar.clone(), "d").await.unwrap();
    assert_eq!(tree_of(&done.path).keys().collect::<Vec<_>>(), ["first"]);
    assert!(matches!(done.ending, Ending::Damaged(_)));
    assert_eq!(done.skipped, [(b"d/second".to_vec(), Why::Cut)]);

    let yard = Yard::new();
    for path in ["d/second", "d/third"] {
        assert!(yard.extract(tar.clone(), path).await.is_err(), "{path}");
        assert!(tree_of(&yard.out()).is_empty());
    }
}

#[tokio::test]
async fn names_that_the_terminal_would_obey_are_just_names_on_disk() {
    let yard = Yard::new();
    let name = b"d/\x1b[31m\xff\n";
    let done = yard.extract(Sample::default().entry(name, b'0', 0o644, (b"", b"x")).tar(), "d").await.unwrap();
    let found: Vec<_> = std::fs::read_dir(&done.path).unwrap().map(|e| e.unwrap().file_name()).collect();
    use std::os::unix::ffi::OsStrExt;
    assert_eq!(found[0].as_bytes(), b"\x1b[31m\xff\n");

    let yard = Yard::new();
    let long = "n".repeat(300);
    let tar = {
        let mut tar = Vec::new();
        use crate::format::layer::sample::{finish, header, put};
        put(&mut tar, &header(b"././@LongLink", b'L', 303), format!("d/{long}\0").as_bytes());
        put(&mut tar, &header(b"cut", b'0', 1), b"x");
        put(&mut tar, &header(b"d/ok", b'0', 1), b"x");
        finish(tar)
    };
    let done = yard.extract(tar, "d").await.unwrap();
    assert_eq!((done.files, done.skipped[0].1), (1, Why::Name));
}

#[tokio::test]
async fn a_stopped_extraction_leaves_nothing() {
    let yard = Yard::new();
    let progress = Progress::new();
    progress.cancel();
    let target = Target { folder: yard.out().join("new"), overwrite: false };
    let files = layer(Sample::default().file("a", b"1").tar());
    let error = files.extract(&Pick::path("a"), &target, &progress).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled);
    yard.check();
    assert_eq!(tree_of(&target.folder), BTreeMap::new());
}

mod random {
    use super::*;
    use proptest::prelude::*;

    fn path() -> impl Strategy<Value = String> {
        let part =
            prop_oneof![6 => "[abc]", 2 => Just("..".to_owned()), 1 => Just(".".to_owned()), 1 => Just(String::new())];
        proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// Whatever names and links a layer has: nothing is written outside, and no link that is made leads there.
        #[test]
        fn nothing_gets_out(entries in proptest::collection::vec((path(), 0..5, path()), 1..14), root in any::<bool>()) {
            let sample = entries.iter().fold(Sample::default().file("a/a", b"x"), |sample, (name, kind, target)| match kind {
                0 | 1 => sample.symlink(name, target),
                2 => sample.hardlink(name, target),
                3 => sample.directory(name, 0o755),
                _ => sample.file(name, target),
            });
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let yard = Yard::new();
            if let Ok(done) = runtime.block_on(yard.extract(sample.tar(), if root { "/" } else { "a" })) {
                let inside = done.path.canonicalize().unwrap();
                for (name, _) in tree_of(&done.path).iter().filter(|(_, text)| text.starts_with("->")) {
                    let leads = done.path.join(name).canonicalize();
                    prop_assert!(leads.is_err() || leads.unwrap().starts_with(&inside), "{}", name);
                }
            }
        }
    }
}
