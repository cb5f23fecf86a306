//! What the contract does not say of places in general: files, folders, times, and what is left behind.

mod failing;
mod files;
mod peers;

use super::*;
use crate::model::plan::RunId;
use std::path::Path;

/// A layout with some blobs and one name.
pub(super) struct Layout {
    root: tempfile::TempDir,
}

/// What the name leads to.
const DOCUMENT: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;

impl Layout {
    fn new(blobs: &[&[u8]]) -> Self {
        Self::at(tempfile::tempdir().unwrap(), blobs)
    }

    /// One in memory, where there is such a thing: for tests of speed that are not about the disk's.
    fn in_memory() -> Self {
        Self::at(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(), &[])
    }

    fn at(root: tempfile::TempDir, blobs: &[&[u8]]) -> Self {
        let layout = Self { root };
        std::fs::create_dir_all(layout.path("blobs/sha256")).unwrap();
        for bytes in blobs.iter().chain([&DOCUMENT]) {
            layout.blob(bytes);
        }
        let digest = Digest::of(DOCUMENT);
        let entry = format!(
            r#"{{"digest":"{digest}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"latest"}}}}"#,
            DOCUMENT.len()
        );
        layout.write("index.json", format!(r#"{{"schemaVersion":2,"manifests":[{entry}]}}"#).as_bytes());
        layout
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn write(&self, below: &str, bytes: &[u8]) {
        std::fs::write(self.path(below), bytes).unwrap();
    }

    fn blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.write(&format!("blobs/sha256/{}", digest.hex()), bytes);
        digest
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }

    fn folder(&self) -> Arc<Folder> {
        Arc::new(Folder::open(self.root.path().to_owned()).unwrap())
    }

    fn store(&self) -> Arc<dyn Store> {
        open(&Location::local_dir(self.root.path().to_str().unwrap())).unwrap()
    }

    /// A blob as it is there now.
    fn target(&self, digest: Digest) -> Target {
        let stat = sys::stat(self.blob_path(&digest)).unwrap();
        Target { digest, bytes: stat.st_size as u64, modified: modified(&stat) }
    }

    fn age(&self, below: &str, hours: u64) {
        let file = File::open(self.path(below)).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(hours * 3600);
        file.set_times(std::fs::FileTimes::new().set_modified(then)).unwrap();
    }

    /// All files and folders, by their paths below the layout.
    fn everything(&self) -> Vec<String> {
        everything(self.root.path(), "")
    }
}

fn everything(folder: &Path, above: &str) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        let name = format!("{above}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            all.extend(everything(&entry.path(), &format!("{name}/")));
        }
        all.push(name);
    }
    all.sort();
    all
}

fn run() -> RunId {
    "20261121-134500-000001".parse().unwrap()
}

fn hide(layout: &Layout, digest: Digest) -> Result<()> {
    layout.folder().hide(&run(), &[layout.target(digest)], SignedDuration::ZERO, &Progress::new()).remove(0)
}
