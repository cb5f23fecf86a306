//! `index.json` as text that is edited: what an edit does not mean stays as it is written, entries that nobody can read among
//! it. What the names in it mean, and which of them are good, `format/envelope.rs` says.

use crate::error::{Error, Kind, Result};
use crate::format::envelope;
use crate::model::digest::Digest;
use crate::store::{Expected, Reference};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The file, field by field, in its order.
#[derive(Debug)]
pub(super) struct IndexText {
    fields: Vec<(String, Box<RawValue>)>,
    entries: Vec<Entry>,
    edited: bool,
}

/// One entry of the list.
#[derive(Clone, Debug)]
struct Entry {
    raw: Box<RawValue>,
    key: Key,
}

/// What tells entries apart: the tag, empty where there is none, and the digest as written.
pub(super) type Key = (String, String);

/// What a writer changed: entries that came, and those that went.
#[derive(Debug)]
pub(super) struct Difference {
    came: Vec<Entry>,
    went: Vec<Key>,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty()
    }
}

impl IndexText {
    /// Reads the file. Empty text is a list without entries, as BuildKit leaves it before it writes the first. What can't be
    /// read whole is [`Kind::Corrupt`]: it must not be overwritten.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            let fields = vec![field("schemaVersion", "2"), field("mediaType", &format!("{INDEX:?}"))];
            let fields = fields.into_iter().chain([field("manifests", "[]")]).collect::<Result<_>>()?;
            return Ok(Self { fields, entries: Vec::new(), edited: false });
        }
        // The same rules as for reading: what is shown is what is edited.
        envelope::read_index_json(bytes)?;
        let broken = |error: serde_json::Error| Error::corrupt("index.json can't be edited").with_source(error);
        let Fields(fields) = serde_json::from_slice(bytes).map_err(broken)?;
        let list = fields.iter().find(|(name, _)| name == "manifests").map_or("null", |(_, list)| list.get());
        let list: Option<Vec<Box<RawValue>>> = serde_json::from_str(list).map_err(broken)?;
        Ok(Self { fields, entries: list.unwrap_or_default().into_iter().map(Entry::new).collect(), edited: false })
    }

    /// The text, if anything was edited.
    pub(super) fn edited(&self) -> Result<Option<Vec<u8>>> {
        if !self.edited {
            return Ok(None);
        }
        let mut text = String::from("{");
        for (at, (name, value)) in self.fields.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let name = serde_json::to_string(name).map_err(unwritable)?;
            text.push_str(&format!("{comma}{name}:"));
            if name != "\"manifests\"" {
                text.push_str(value.get());
                continue;
            }
            text.push('[');
            for (at, entry) in self.entries.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                text.push_str(entry.raw.get());
            }
            text.push(']');
        }
        text.push('}');
        Ok(Some(text.into_bytes()))
    }

    /// Lets `name` lead to a document, if it is as `expected`, else [`Kind::Stale`]. What else is said of the name stays.
    pub(super) fn lead(&mut self, name: &str, document: &[u8], expected: &Expected) -> Result<()> {
        let named = self.entries.iter().position(|entry| entry.key.0 == name);
        let mut entry = match (expected, named) {
            (Expected::Absent, None) => serde_json::json!({ "annotations": { (REF_NAME): name } }),
            (Expected::Version(version), Some(_)) => {
                let key = (name.to_owned(), version.clone());
                let at = self.entries.iter().position(|entry| entry.key == key).ok_or_else(|| changed(name))?;
                let old = serde_json::from_str(self.entries[at].raw.get()).map_err(unwritable)?;
                self.entries.remove(at);
                old
            }
            _ => return Err(changed(name)),
        };
        let annotations = entry.get_mut("annotations").map(Value::take);
        // In the order in which BuildKit writes them. Of the rest of what was said of the old version nothing need be true
        // of the new one.
        let entry = serde_json::json!({
            "mediaType": media_type(document),
            "digest": Digest::of(document),
            "size": document.len(),
            "annotations": annotations,
        });
        self.entries.push(Entry::new(serde_json::value::to_raw_value(&entry).map_err(unwritable)?));
        self.edited = true;
        Ok(())
    }

    /// Takes a name away if it leads where it did, else [`Kind::Stale`]. One that is not there is success.
    pub(super) fn unname(&mut self, reference: &Reference) -> Result<()> {
        let version = reference.version.clone().unwrap_or_default();
        let key = (reference.name.clone(), version);
        let before = self.entries.len();
        self.entries.retain(|entry| entry.key != key);
        if self.entries.len() < before {
            self.edited = true;
            return Ok(());
        }
        // Entries without a name are told by what they lead to alone.
        let elsewhere = !reference.name.is_empty() && self.entries.iter().any(|e| e.key.0 == reference.name);
        if elsewhere { Err(changed(&reference.name)) } else { Ok(()) }
    }

    /// What `other`, a later text, has more and less than this.
    pub(super) fn difference(&self, other: &Self) -> Difference {
        Difference {
            came: beyond(&other.entries, &self.entries).cloned().collect(),
            went: beyond(&self.entries, &other.entries).map(|entry| entry.key.clone()).collect(),
        }
    }

    /// Does what another writer did to the text that `ours` then replaced, a text that began with the entries `base`. The
    /// build's word counts more than ours: names that both changed are given, and lead where it said. What somebody else has
    /// said of a name since then counts most.
    pub(super) fn merge(&mut self, theirs: &Difference, base: &Self, ours: &Self) -> Vec<String> {
        let mut contested = Vec::new();
        for key in &theirs.went {
            if let Some(at) = self.entries.iter().position(|entry| entry.key == *key) {
                self.entries.remove(at);
                self.edited = true;
            }
        }
        for entry in &theirs.came {
            let name = &entry.key.0;
            let of_name =
                |text: &Self| text.entries.iter().filter(|e| e.key.0 == *name).map(|e| e.key.clone()).collect();
            let (is, was, we_said): (Vec<Key>, Vec<Key>, Vec<Key>) = (of_name(self), of_name(base), of_name(ours));
            if is.contains(&entry.key) {
                continue;
            }
            let by_us = we_said != was;
            if !name.is_empty() && !is.is_empty() && is.iter().any(|key| !was.contains(key) && !we_said.contains(key)) {
                continue;
            }
            if by_us && !name.is_empty() {
                contested.push(name.clone());
                self.entries.retain(|entry| entry.key.0 != *name || was.contains(&entry.key));
            }
            self.entries.push(entry.clone());
            self.edited = true;
        }
        contested
    }
}

impl Entry {
    fn new(raw: Box<RawValue>) -> Self {
        let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        let digest = value.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned();
        // As reading does it: containerd's name comes first, and an empty one is none.
        let said = |name: &str| value.get("annotations")?.get(name)?.as_str().filter(|name| !name.is_empty());
        let tag = said("io.containerd.image.name").or_else(|| said(REF_NAME)).unwrap_or_default().to_owned();
        Self { raw, key: (tag, digest) }
    }
}

/// Those of `entries` that `others` has not, one by one: a thing that is there twice must be there twice.
fn beyond<'a>(entries: &'a [Entry], others: &[Entry]) -> impl Iterator<Item = &'a Entry> {
    let mut counts: HashMap<Key, usize> = HashMap::new();
    others.iter().for_each(|entry| *counts.entry(entry.key.clone()).or_default() += 1);
    entries.iter().filter(move |entry| match counts.get_mut(&entry.key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    })
}

/// What the document says it is, else what it looks like.
fn media_type(document: &[u8]) -> String {
    let value: Value = serde_json::from_slice(document).unwrap_or_default();
    let by_shape = if value.get("manifests").is_some() { INDEX } else { MANIFEST };
    value.get("mediaType").and_then(Value::as_str).filter(|said| !said.is_empty()).unwrap_or(by_shape).to_owned()
}

fn changed(name: &str) -> Error {
    Error::new(Kind::Stale, format!("{name} has changed since it was looked at")).with_hint("look again, then retry")
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::corrupt("an entry of index.json can't be written").with_source(error)
}

fn field(name: &str, value: &str) -> Result<(String, Box<RawValue>)> {
    Ok((name.to_owned(), RawValue::from_string(value.to_owned()).map_err(unwritable)?))
}

/// An object's fields in their order, each at most once.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Fields, A::Error> {
                let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = object.next_entry::<String, Box<RawValue>>()? {
                    if fields.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom(format!("field {name:?} is there twice")));
                    }
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests;
