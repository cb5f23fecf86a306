//! Tells whether the names of an OCI layout in a folder resolve, to the last blob and byte. It reads files and plain JSON, and
//! shares no code with the program.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each name leads to, and what of that is not there or not what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Digests by name.
    pub names: BTreeMap<String, String>,
    /// By name, a sentence for each blob.
    pub broken: BTreeMap<String, Vec<String>>,
    /// By name, the blobs it needs that are there and whole.
    pub live: BTreeMap<String, BTreeSet<String>>,
}

/// Looks at the layout in `folder`. Fails if its `index.json` can't be read.
pub fn look(folder: &Path) -> Told {
    let index = std::fs::read(folder.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap_or_else(|e| panic!("index.json is broken: {e}"));
    let mut told = Told::default();
    for entry in index["manifests"].as_array().into_iter().flatten() {
        let name = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or_default().to_owned();
        let digest = entry["digest"].as_str().unwrap().to_owned();
        let mut wanted = vec![digest.clone()];
        let mut seen = BTreeSet::new();
        while let Some(digest) = wanted.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let hex = digest.strip_prefix("sha256:").unwrap();
            let mut say = |what: &str| told.broken.entry(name.clone()).or_default().push(format!("{digest} {what}"));
            match std::fs::read(folder.join("blobs/sha256").join(hex)) {
                Err(error) => say(&format!("can't be read: {error}")),
                Ok(bytes) if hex_of(&bytes) != hex => say("is something else"),
                Ok(bytes) => {
                    if let Ok(document) = serde_json::from_slice::<Value>(&bytes) {
                        pointers(&document, &mut wanted);
                    }
                    told.live.entry(name.clone()).or_default().insert(digest);
                }
            }
        }
        told.names.insert(name, digest);
    }
    told
}

/// All that a manifest or cache config points to: digests of its descriptors, and blobs of its layers.
fn pointers(document: &Value, into: &mut Vec<String>) {
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let descriptors = list("manifests").into_iter().chain(list("layers")).chain([document["config"].clone()]);
    for descriptor in descriptors {
        for name in ["digest", "blob"] {
            into.extend(descriptor[name].as_str().filter(|d| d.starts_with("sha256:")).map(str::to_owned));
        }
    }
}

fn hex_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
