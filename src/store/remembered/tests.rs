use super::*;
use crate::store::memory::Memory;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A place like S3: names with versions lead to documents that are no blobs. Counts what is read of it.
struct Far {
    memory: Memory,
    /// Name to version and bytes.
    named: Mutex<BTreeMap<String, (String, Bytes)>>,
    /// Whether names tell their digest and lead to blobs, as in a registry.
    digests: bool,
    reads: Mutex<Vec<String>>,
}

impl Far {
    fn new(digests: bool) -> Arc<Self> {
        let memory = Memory::new("type=s3,bucket=b".parse().unwrap());
        Arc::new(Self { memory, named: Mutex::default(), digests, reads: Mutex::default() })
    }

    fn write(&self, name: &str, version: &str, bytes: &'static str) {
        self.memory.insert(bytes);
        lock(&self.named).insert(name.to_owned(), (version.to_owned(), bytes.into()));
    }

    /// What was read since the last time.
    fn reads(&self) -> Vec<String> {
        let mut reads = std::mem::take(&mut *lock(&self.reads));
        reads.sort();
        reads
    }
}

#[async_trait]
impl Store for Far {
    fn location(&self) -> &Location {
        self.memory.location()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            list_blobs: !self.digests,
            find_dangling: false,
            bare_configs: !self.digests,
            ..self.memory.capabilities()
        }
    }

    async fn references(&self) -> Result<References> {
        let item = |(name, (version, bytes)): (&String, &(String, Bytes))| Reference {
            name: name.clone(),
            digest: self.digests.then(|| Digest::of(bytes)),
            size: None,
            modified: None,
            version: Some(version.clone()),
        };
        Ok(References { items: lock(&self.named).iter().map(item).collect(), findings: Vec::new() })
    }

    async fn document(&self, reference: &Reference, limit: u64) -> Result<Bytes> {
        if let Some(digest) = &reference.digest {
            return self.read(digest, limit).await;
        }
        lock(&self.reads).push(reference.name.clone());
        let named = lock(&self.named);
        let (_, bytes) = named.get(&reference.name).ok_or_else(|| Error::not_found("gone"))?;
        Ok(bytes.clone())
    }

    async fn stat(&self, digest: &Digest) -> Result<BlobEntry> {
        self.memory.stat(digest).await
    }

    async fn open(&self, digest: &Digest) -> Result<BlobReader> {
        lock(&self.reads).push(digest.short());
        self.memory.open(digest).await
    }
}

struct Run {
    folder: TempDir,
    far: Arc<Far>,
}

impl Run {
    fn new(digests: bool) -> Self {
        Self { folder: TempDir::new().unwrap(), far: Far::new(digests) }
    }

    /// Another start of the program.
    fn store(&self) -> Arc<dyn Store> {
        let state = State::at(Some(self.folder.path()), Some(self.folder.path()));
        remembered(self.far.clone(), state, false)
    }
}

/// Reads all names, and looks at what they led to before.
async fn look(store: &Arc<dyn Store>) -> (Vec<(String, Bytes)>, Vec<(String, Digest)>) {
    let mut all = Vec::new();
    for reference in store.references().await.unwrap().items {
        let bytes = store.document(&reference, 1 << 20).await.unwrap();
        all.push((reference.name, bytes));
    }
    let past = store.past().await.unwrap().items;
    let past = past.into_iter().map(|reference| (reference.name, reference.digest.unwrap())).collect();
    store.details().await.unwrap();
    (all, past)
}

#[tokio::test]
async fn a_second_look_reads_only_what_changed() {
    let run = Run::new(false);
    run.far.write("a", "1", "{\"a\":1}");
    run.far.write("b", "1", "{\"b\":1}");
    let first = look(&run.store()).await;
    assert_eq!(run.far.reads(), ["a", "b"]);
    assert_eq!(look(&run.store()).await, first);
    assert_eq!(run.far.reads(), [""; 0]);
    run.far.write("b", "2", "{\"b\":2}");
    let (all, past) = look(&run.store()).await;
    assert_eq!(run.far.reads(), ["b"]);
    assert_eq!((&all[1].1[..], past), (&b"{\"b\":2}"[..], vec![]));
}

#[tokio::test]
async fn what_a_job_that_broke_off_read_is_kept() {
    let run = Run::new(false);
    run.far.write("a", "1", "{\"a\":1}");
    let store = run.store();
    let references = store.references().await.unwrap();
    store.document(&references.items[0], 100).await.unwrap();
    drop(store);
    assert_eq!(run.far.reads(), ["a"]);
    look(&run.store()).await;
    assert_eq!(run.far.reads(), [""; 0]);
}

#[tokio::test]
async fn documents_longer_than_asked_for_or_not_documents_are_read() {
    let run = Run::new(false);
    run.far.write("a", "1", "{\"a\":1}");
    run.far.write("b", "1", "plain");
    look(&run.store()).await;
    run.far.reads();
    look(&run.store()).await;
    assert_eq!(run.far.reads(), ["b"], "what is no document is not kept");
    let store = run.store();
    let reference = store.references().await.unwrap().items.remove(0);
    store.document(&reference, 3).await.unwrap();
    assert_eq!(run.far.reads(), ["a"], "the place itself says that it is too long");
}

#[tokio::test]
async fn what_is_gone_is_gone_though_it_is_remembered() {
    let run = Run::new(true);
    run.far.write("a", "1", "{\"a\":1}");
    let digest = Digest::of(b"{\"a\":1}");
    look(&run.store()).await;
    assert_eq!(run.far.reads(), [digest.short()]);
    let store = run.store();
    assert_eq!(store.read(&digest, 100).await.unwrap(), "{\"a\":1}");
    assert_eq!(run.far.reads(), [""; 0]);
    run.far.memory.lose(&digest);
    assert_eq!(store.read(&digest, 100).await.unwrap_err().kind(), Kind::NotFound);
    assert!(store.stat(&digest).await.is_err() && store.open(&digest).await.is_err());
    // Shorter than it was: damage is for the place to show.
    run.far.memory.insert_as(digest, "{");
    assert_eq!(store.read(&digest, 100).await.unwrap(), "{");
}

#[tokio::test]
async fn digests_once_seen_are_offered_while_they_are_there() {
    let run = Run::new(true);
    let (one, two) = (Digest::of(b"{\"a\":1}"), Digest::of(b"{\"a\":2}"));
    run.far.write("a", "1", "{\"a\":1}");
    assert_eq!(look(&run.store()).await.1, []);
    run.far.write("a", "2", "{\"a\":2}");
    assert_eq!(look(&run.store()).await.1, [("a".to_owned(), one)]);
    run.far.memory.lose(&one);
    assert_eq!(look(&run.store()).await.1, []);
    // Back again, under another name as well: then it needs no check.
    run.far.write("b", "1", "{\"a\":1}");
    assert_eq!(look(&run.store()).await.1, [("a".to_owned(), one)]);
    lock(&run.far.named).remove("a");
    let past: HashSet<_> = look(&run.store()).await.1.into_iter().collect();
    assert_eq!(
        past,
        HashSet::from([("a".to_owned(), one), ("a".to_owned(), two)]),
        "a name that is gone had versions, too"
    );
}

#[tokio::test]
async fn two_at_once_and_a_broken_file_change_nothing() {
    let run = Run::new(false);
    for name in ["a", "b", "c", "d"] {
        run.far.write(name, "1", "{\"x\":1}");
    }
    let (one, two) = (run.store(), run.store());
    let (first, second) = tokio::join!(look(&one), look(&two));
    assert_eq!(first, second);
    drop((one, two));
    std::fs::write(run.folder.path().join("catalog.db"), [7; 5000]).unwrap();
    run.far.reads();
    assert_eq!(look(&run.store()).await, first);
    assert_eq!(run.far.reads().len(), 4);
    assert_eq!(look(&run.store()).await, first);
    assert_eq!(run.far.reads().len(), 0, "begun anew");
}
