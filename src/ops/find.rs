//! Which layers of which versions hold a file. Each blob is read once, however many versions share it, the newest
//! versions first, on all cores. Only reads.

use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::files::{Ending, Entry, EntryKind, base, normal, parts, whiteout_target};
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{CacheIndex, Role};
use crate::ops::files::LayerFiles;
use crate::progress::Progress;
use crate::store::Store;
use futures::StreamExt as _;
use globset::{GlobBuilder, GlobMatcher};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Hits that are kept of one layer.
const MAX_HITS: usize = 10_000;

/// What to look for.
#[derive(Clone, Debug)]
pub struct Pattern(How);

#[derive(Clone, Debug)]
enum How {
    Path(Vec<u8>),
    Name(Vec<u8>),
    PathGlob(GlobMatcher),
    NameGlob(GlobMatcher),
}

impl Pattern {
    /// From what a user types: `etc/passwd` and `/passwd` are whole paths, `passwd` is a file of that name anywhere;
    /// with `*`, `?`, `[` or `{` it is a glob, in which `*` stops at slashes and `**` does not. Errors:
    /// [`Kind::Invalid`].
    pub fn new(text: &str) -> Result<Self> {
        let is_path = text.contains('/');
        if !text.contains(['*', '?', '[', '{']) {
            return match (normal(text.as_bytes()), is_path) {
                (path, _) if path.is_empty() => {
                    Err(Error::invalid(format!("no file is called {text:?}"))
                        .with_hint("give a path, a name or a glob"))
                }
                (path, true) => Ok(Self(How::Path(path))),
                (name, false) => Ok(Self(How::Name(name))),
            };
        }
        let pattern = text.trim_start_matches("./").trim_start_matches('/');
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|e| {
            Error::invalid(format!("{text:?} is no glob"))
                .with_source(e)
                .with_hint("put \\ before *, ?, [ and { that stand for themselves")
        })?;
        let matcher = glob.compile_matcher();
        Ok(Self(if is_path { How::PathGlob(matcher) } else { How::NameGlob(matcher) }))
    }

    /// Whether an entry of this name is looked for.
    pub fn matches(&self, path: &[u8]) -> bool {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;
        match &self.0 {
            How::Path(wanted) => parts(path).eq(parts(wanted)),
            How::Name(wanted) => base(path) == Some(wanted),
            How::PathGlob(glob) => glob.is_match(OsStr::from_bytes(&normal(path))),
            How::NameGlob(glob) => base(path).is_some_and(|name| glob.is_match(OsStr::from_bytes(name))),
        }
    }

    /// Whether only one path fits.
    pub fn is_whole_path(&self) -> bool {
        matches!(self.0, How::Path(_))
    }

    /// Whether the entry is looked for, or deletes what is looked for.
    fn hits(&self, entry: &Entry) -> bool {
        if self.matches(&entry.path) {
            return true;
        }
        let name = base(&entry.path).unwrap_or_default();
        let (EntryKind::Whiteout, Some(target)) = (entry.kind, whiteout_target(name)) else { return false };
        let directory = normal(&entry.path);
        let directory = &directory[..directory.len() - name.len()];
        self.matches(&[directory, target].concat())
    }
}

/// A version that has a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Digest of the version, as in [`CacheIndex::digest`].
    pub index: Digest,
    /// Where it has the layer in its layer table; empty for an image without a cache.
    pub layers: Vec<usize>,
}

/// A layer in which something was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The layer's blob.
    pub blob: Digest,
    /// The versions that have it, newest first.
    pub users: Vec<User>,
    /// What was found, in the layer's order. A whiteout deletes what was looked for.
    pub hits: Vec<Entry>,
    /// Hits beyond those.
    pub more: u64,
}

/// How a search went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Layers read.
    pub layers: u64,
    /// Entries looked at.
    pub entries: u64,
    /// Entries found.
    pub hits: u64,
    /// Layers that could not be looked at, or not to their end. While there are any, not finding a file means little.
    pub findings: Vec<Finding>,
}

/// Searches the layers of `indexes` for `pattern` and sends those that have it, in the order of the newest version they
/// are in. `progress` counts entries and packed bytes. Errors: [`Kind::Cancelled`], also when nobody listens any more.
pub async fn find(
    store: &Arc<dyn Store>,
    indexes: &[&CacheIndex],
    pattern: &Pattern,
    progress: &Progress,
    found: mpsc::Sender<Found>,
) -> Result<Report> {
    let layers = layers(indexes);
    progress.expect(0, layers.iter().map(|layer| layer.size).sum());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let search = |layer: Candidate| async move {
        let files = LayerFiles::new(Arc::clone(store), layer.blob);
        let searched = files.search(pattern.clone(), progress).await;
        (layer, searched)
    };
    let mut searches = std::pin::pin!(futures::stream::iter(layers).map(search).buffered(cores));
    let mut report = Report::default();
    while let Some((layer, searched)) = searches.next().await {
        match searched {
            Ok(searched) => {
                report.layers += 1;
                report.entries += searched.entries;
                report.hits += searched.hits.len() as u64 + searched.more;
                report.findings.extend(searched.ending.finding(&layer.blob));
                if !searched.hits.is_empty() {
                    let Searched { hits, more, .. } = searched;
                    let sent = found.send(Found { blob: layer.blob, users: layer.users, hits, more }).await;
                    sent.map_err(|_| Error::cancelled())?;
                }
            }
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => report.findings.push(unread(&layer.blob, &error)),
        }
    }
    Ok(report)
}

struct Candidate {
    blob: Digest,
    size: u64,
    users: Vec<User>,
}

/// The layers of all versions, each blob once, those of the newest version first and there the topmost first.
fn layers(indexes: &[&CacheIndex]) -> Vec<Candidate> {
    let mut sorted = indexes.to_vec();
    sorted.sort_by_key(|index| Reverse(index.time()));
    let mut layers: Vec<Candidate> = Vec::new();
    let mut known: HashMap<Digest, usize> = HashMap::new();
    for index in sorted {
        let mut add = |blob: Digest, size: u64, layer: Option<usize>| {
            let at = *known.entry(blob).or_insert_with(|| {
                layers.push(Candidate { blob, size, users: Vec::new() });
                layers.len() - 1
            });
            let users = &mut layers[at].users;
            match users.last_mut() {
                Some(user) if user.index == index.digest => user.layers.extend(layer),
                _ => users.push(User { index: index.digest, layers: layer.into_iter().collect() }),
            }
        };
        match &index.cache {
            Some(cache) => {
                cache.layers.iter().enumerate().rev().for_each(|(at, l)| add(l.blob, l.size.unwrap_or(0), Some(at)));
            }
            None => {
                let layers = index.reach.iter().filter(|reached| reached.role == Role::Layer);
                layers.for_each(|reached| add(reached.digest, reached.size, None));
            }
        }
    }
    for user in layers.iter_mut().flat_map(|layer| &mut layer.users) {
        user.layers.reverse();
    }
    layers
}

fn unread(blob: &Digest, error: &Error) -> Finding {
    let (problem, why) = match error.kind() {
        Kind::NotFound => (Problem::BlobMissing, "it is missing".to_owned()),
        _ => (Problem::Unreadable, error.to_string()),
    };
    Finding::new(problem, Some(*blob), format!("layer {blob} was not searched: {why}"))
}

struct Searched {
    entries: u64,
    hits: Vec<Entry>,
    more: u64,
    ending: Ending,
}

impl LayerFiles {
    async fn search(&self, pattern: Pattern, progress: &Progress) -> Result<Searched> {
        self.read(progress, move |layer| {
            let mut searched = Searched { entries: 0, hits: Vec::new(), more: 0, ending: Ending::Complete };
            searched.ending = loop {
                let entry = match layer.next_entry()? {
                    Ok(entry) => entry,
                    Err(ending) => break ending,
                };
                searched.entries += 1;
                if !pattern.hits(&entry) {
                    continue;
                }
                if searched.hits.len() < MAX_HITS {
                    searched.hits.push(entry);
                } else {
                    searched.more += 1;
                }
            };
            Ok(searched)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::layer::sample::{Sample, gzip, zstd};
    use crate::model::cache::{Cache, Compression, Layer};
    use crate::store::memory::Memory;

    fn index(name: &str, age: i64, blobs: &[Digest]) -> CacheIndex {
        let layer = |blob: &Digest| Layer {
            blob: *blob,
            parent: None,
            size: Some(100),
            compression: Compression::Gzip,
            media_type: "".into(),
            diff_id: None,
            created: None,
            platform: None,
            history: None,
        };
        let layers = blobs.iter().map(layer).collect();
        CacheIndex {
            digest: Digest::of(name.as_bytes()),
            unread: false,
            tags: vec![name.into()],
            formerly: Vec::new(),
            listed: true,
            form: None,
            manifest_bytes: 0,
            config: None,
            cache: Some(Arc::new(Cache { layers, records: Vec::new() })),
            summary: None,
            reach: Vec::new(),
            missing: Vec::new(),
            exclusive_bytes: 0,
            shared_bytes: 0,
            created: Some(jiff::Timestamp::from_second(1_700_000_000 - age).unwrap()),
            modified: None,
            findings: Vec::new(),
        }
    }

    async fn run(store: &Arc<dyn Store>, indexes: &[&CacheIndex], pattern: &str) -> (Vec<Found>, Report, Progress) {
        let (sender, mut receiver) = mpsc::channel(1);
        let (pattern, progress) = (Pattern::new(pattern).unwrap(), Progress::new());
        let (report, found) = tokio::join!(find(store, indexes, &pattern, &progress, sender), async {
            let mut all = Vec::new();
            while let Some(found) = receiver.recv().await {
                all.push(found);
            }
            all
        });
        (found, report.unwrap(), progress)
    }

    #[tokio::test]
    async fn each_blob_is_read_once_and_the_newest_version_comes_first() {
        let memory = Memory::new("type=local,src=/x".parse().unwrap());
        let base = memory.insert(gzip(&Sample::default().file("etc/passwd", b"1").file("bin/sh", b"").tar()));
        let old = memory.insert(zstd(&Sample::default().file("./etc/passwd", b"22").tar()));
        let new = memory.insert(Sample::default().file("etc/.wh.passwd", b"").file("opt/passwd", b"").tar());
        let store: Arc<dyn Store> = Arc::new(memory);
        let indexes = [index("old", 9, &[base, old]), index("new", 1, &[base, new, base])];
        let (found, report, progress) = run(&store, &[&indexes[0], &indexes[1]], "/etc/passwd").await;
        let names: Vec<_> = found.iter().map(|f| (f.blob, f.hits.len())).collect();
        assert_eq!(names, [(base, 1), (new, 1), (old, 1)]);
        assert_eq!(
            found[0].users,
            [User { index: indexes[1].digest, layers: vec![0, 2] }, User { index: indexes[0].digest, layers: vec![0] }]
        );
        assert_eq!(found[1].hits[0].kind, EntryKind::Whiteout, "a layer that deletes it is found as well");
        assert_eq!((report.layers, report.entries, report.hits, report.findings.len()), (3, 5, 3, 0));
        assert_eq!(progress.counts().items, 5);
        let (found, ..) = run(&store, &[&indexes[1]], "passwd").await;
        assert_eq!(found.iter().map(|f| f.hits.len()).sum::<usize>(), 3);
    }

    #[tokio::test]
    async fn layers_that_cannot_be_searched_are_told() {
        let memory = Memory::new("type=local,src=/x".parse().unwrap());
        let tar = Sample::default().file("a", b"1").file("b", [2; 5000]).tar();
        let cut = memory.insert(tar[..3000].to_vec());
        let gone = Digest::of(b"gone");
        let store: Arc<dyn Store> = Arc::new(memory);
        let (found, report, _) = run(&store, &[&index("x", 0, &[cut, gone])], "a").await;
        assert_eq!(found.len(), 1, "what stands before the damage is found");
        let problems: Vec<Problem> = report.findings.iter().map(|f| f.problem).collect();
        assert_eq!(problems, [Problem::BlobMissing, Problem::Malformed]);
    }

    #[tokio::test]
    async fn a_search_can_be_stopped() {
        let memory = Memory::new("type=local,src=/x".parse().unwrap());
        let blob = memory.insert(Sample::default().file("a", b"1").tar());
        let store: Arc<dyn Store> = Arc::new(memory);
        let progress = Progress::new();
        progress.cancel();
        let (sender, _receiver) = mpsc::channel(1);
        let pattern = Pattern::new("a").unwrap();
        let error = find(&store, &[&index("x", 0, &[blob])], &pattern, &progress, sender).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled);
    }

    #[test]
    fn patterns_are_paths_names_or_globs() {
        for (pattern, path, matches) in [
            ("etc/passwd", "./etc//passwd", true),
            ("/etc/passwd", "etc/passwd", true),
            ("./etc/passwd", "/etc/passwd", true),
            ("etc/passwd", "usr/etc/passwd", false),
            ("passwd", "usr/etc/passwd", true),
            ("passwd", "passwd", true),
            ("/passwd", "usr/etc/passwd", false),
            ("etc/", "etc", true),
            ("*.so", "usr/lib/a.so", true),
            ("lib*.so.?", "usr/lib/libc.so.6", true),
            ("usr/*.so", "usr/lib/a.so", false),
            ("usr/**/*.so", "usr/lib/x/a.so", true),
            ("/usr/{bin,sbin}/app", "usr/sbin/app", true),
            ("*", "", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(path.as_bytes()), matches, "{pattern} {path}");
        }
        assert!(Pattern::new("*.so").unwrap().matches(b"lib/\xff.so"));
        for bad in ["", "/", ".", "a[", "{a"] {
            assert_eq!(Pattern::new(bad).unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }
}
