//! Tells whether every name resolves, to the last blob and byte. Reads documents as plain JSON, knows nothing of the program's
//! own model, and follows whatever looks like a digest in them.

use bytes::Bytes;
use cachedeck::model::digest::Digest;
use cachedeck::store::Store;
use cachedeck::store::memory::Memory;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// What is wrong with the names of a place; nothing if all is whole.
pub async fn broken(store: &Memory) -> Vec<String> {
    let mut broken = Vec::new();
    for reference in store.references().await.unwrap().items {
        let root = reference.digest.unwrap();
        let mut wanted = vec![root];
        let mut seen = BTreeSet::new();
        while let Some(digest) = wanted.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let Some(bytes) = blob(store, &digest).await else {
                broken.push(format!("{} needs {digest}, which is not there", reference.name));
                continue;
            };
            if format!("sha256:{}", hex(&Sha256::digest(&bytes))) != digest.to_string() {
                broken.push(format!("{} needs {digest}, which is something else", reference.name));
            }
            if let Ok(document) = serde_json::from_slice::<Value>(&bytes) {
                pointers(&document, &mut wanted);
            }
        }
    }
    broken
}

async fn blob(store: &Memory, digest: &Digest) -> Option<Bytes> {
    store.read(digest, u64::MAX - 1).await.ok()
}

/// Everything that a manifest or config points to. Keys of records are digests of nothing that is stored.
fn pointers(document: &Value, into: &mut Vec<Digest>) {
    match document {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("records", _) => {}
                    ("digest" | "blob", Value::String(text)) => into.extend(text.parse::<Digest>()),
                    _ => pointers(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| pointers(item, into)),
        _ => {}
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
