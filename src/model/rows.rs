//! The rows of lists as the filter language sees them: which fields an index, a layer, a record, a blob and a finding
//! have. `--filter` and the lists of the terminal UI share them.

use crate::model::builder::Build;
use crate::model::cache::{Cache, Layer, Record};
use crate::model::digest::Digest;
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::finding::Finding;
use crate::model::inventory::{Blob, CacheIndex};
use crate::model::usage::UsageRecord;
use std::borrow::Cow;

/// One version of a cache.
#[derive(Clone, Copy, Debug)]
pub struct IndexRow<'a> {
    /// The version.
    pub index: &'a CacheIndex,
    /// The type of its location.
    pub kind: &'a str,
}

impl Row for IndexRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("tag", FieldKind::Text).or(&["tags"]),
            Field::new("digest", FieldKind::Text),
            Field::new("state", FieldKind::Text),
            Field::new("form", FieldKind::Text),
            Field::new("mode", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["max", "max_bytes"]),
            Field::new("min", FieldKind::Size).or(&["min_bytes"]),
            Field::new("exclusive", FieldKind::Size).or(&["exclusive_bytes"]),
            Field::new("shared", FieldKind::Size).or(&["shared_bytes"]),
            Field::new("layers", FieldKind::Count),
            Field::new("blobs", FieldKind::Count).or(&["unique_blobs"]),
            Field::new("records", FieldKind::Count),
            Field::new("missing", FieldKind::Count),
            Field::new("age", FieldKind::Time),
            Field::new("created", FieldKind::Time).or(&["created_at"]),
            Field::new("dangling", FieldKind::Flag),
            Field::new("type", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let index = self.index;
        let summary = index.summary.as_ref();
        let text = |t: &'static str| Value::Text(Cow::Borrowed(t));
        match name {
            "tag" => Some(Value::Texts(index.tags.iter().map(|t| Cow::Borrowed(t.as_str())).collect())),
            "digest" => Some(Value::Text(Cow::Owned(index.digest.to_string()))),
            "state" => Some(text(index.condition().name())),
            "form" => index.form.map(|form| text(form.name())),
            "mode" => summary.map(|s| text(s.mode.name())),
            "size" => summary.map(|s| Value::Size(s.max_bytes)),
            "min" => summary.map(|s| Value::Size(s.min_bytes)),
            "exclusive" => Some(Value::Size(index.exclusive_bytes)),
            "shared" => Some(Value::Size(index.shared_bytes)),
            "layers" => summary.map(|s| Value::Count(s.layers as u64)),
            "blobs" => summary.map(|s| Value::Count(s.unique_blobs as u64)),
            "records" => summary.map(|s| Value::Count(s.records as u64)),
            "missing" => Some(Value::Count(index.missing.len() as u64)),
            "age" | "created" => index.time().map(Value::Time),
            "dangling" => Some(Value::Flag(index.is_dangling())),
            "type" => Some(Value::Text(Cow::Borrowed(self.kind))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        let names = if self.index.is_dangling() { "untagged".to_owned() } else { self.index.tags.join(" ") };
        Cow::Owned(format!("{names} {}", self.index.digest))
    }
}

/// One entry of a layer table.
#[derive(Clone, Copy, Debug)]
pub struct LayerRow<'a> {
    /// Its index in the table.
    pub number: usize,
    /// The entry.
    pub layer: &'a Layer,
    /// The Dockerfile step, where something tells it.
    pub step: Option<&'a str>,
    /// Versions that reach its blob.
    pub referrers: u32,
}

impl Row for LayerRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("step", FieldKind::Text),
            Field::new("digest", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("compression", FieldKind::Text),
            Field::new("age", FieldKind::Time),
            Field::new("created", FieldKind::Time).or(&["created_at"]),
            Field::new("referrers", FieldKind::Count),
            Field::new("number", FieldKind::Count),
            Field::new("named", FieldKind::Flag),
            Field::new("platform", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "step" => self.step.map(|step| Value::Text(Cow::Borrowed(step))),
            "digest" => Some(Value::Text(Cow::Owned(self.layer.blob.to_string()))),
            "size" => self.layer.size.map(Value::Size),
            "compression" => Some(Value::Text(Cow::Borrowed(self.layer.compression.name()))),
            "age" | "created" => self.layer.created.map(Value::Time),
            "referrers" => Some(Value::Count(self.referrers.into())),
            "number" => Some(Value::Count(self.number as u64)),
            "named" => Some(Value::Flag(self.step.is_some())),
            "platform" => self.layer.platform.as_deref().map(|p| Value::Text(Cow::Borrowed(p))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("#{} {} {}", self.number, self.step.unwrap_or_default(), self.layer.blob))
    }
}

/// One record of a cache.
#[derive(Clone, Copy, Debug)]
pub struct RecordRow<'a> {
    /// Its index among the records.
    pub number: usize,
    /// The record.
    pub record: &'a Record,
    /// The cache it is in.
    pub cache: &'a Cache,
    /// The step of its result, where something tells it.
    pub step: Option<&'a str>,
}

impl RecordRow<'_> {
    /// Bytes of the topmost layer of each result.
    pub fn bytes(&self) -> u64 {
        let tops = self.record.results.iter().filter_map(|outcome| outcome.top());
        tops.filter_map(|layer| self.cache.layers[layer].size).fold(0, u64::saturating_add)
    }
}

impl Row for RecordRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("step", FieldKind::Text),
            Field::new("digest", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["result_bytes"]),
            Field::new("inputs", FieldKind::Count),
            Field::new("results", FieldKind::Count),
            Field::new("number", FieldKind::Count),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "step" => self.step.map(|step| Value::Text(Cow::Borrowed(step))),
            "digest" => Some(Value::Text(Cow::Owned(self.record.digest.to_string()))),
            "size" => Some(Value::Size(self.bytes())),
            "inputs" => Some(Value::Count(self.record.inputs.len() as u64)),
            "results" => Some(Value::Count(self.record.results.len() as u64)),
            "number" => Some(Value::Count(self.number as u64)),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("#{} {} {}", self.number, self.step.unwrap_or_default(), self.record.digest))
    }
}

impl Row for Blob {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("digest", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("kind", FieldKind::Text),
            Field::new("state", FieldKind::Text),
            Field::new("age", FieldKind::Time),
            Field::new("modified", FieldKind::Time).or(&["modified_at"]),
            Field::new("referrers", FieldKind::Count),
            Field::new("damaged", FieldKind::Flag),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "digest" => Some(Value::Text(Cow::Owned(self.digest.to_string()))),
            "size" => self.size.or(self.declared).map(Value::Size),
            "kind" => Some(Value::Text(Cow::Borrowed(self.role.name()))),
            "state" => Some(Value::Text(Cow::Borrowed(self.state.name()))),
            "age" | "modified" => self.modified.map(Value::Time),
            "referrers" => Some(Value::Count(self.referrers.into())),
            "damaged" => Some(Value::Flag(self.wrong_size())),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {} {}", self.digest, self.role.name(), self.state.name()))
    }
}

/// One record of a builder's own cache.
#[derive(Clone, Copy, Debug)]
pub struct RecordOfBuilder<'a> {
    /// The node it is on.
    pub node: &'a str,
    /// The record.
    pub record: &'a UsageRecord,
    /// Why it is kept, in a word.
    pub kept: &'static str,
}

impl Row for RecordOfBuilder<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("type", FieldKind::Text),
            Field::new("description", FieldKind::Text).or(&["step"]),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("kept", FieldKind::Text),
            Field::new("in_use", FieldKind::Flag).or(&["inuse"]),
            Field::new("shared", FieldKind::Flag),
            Field::new("reclaimable", FieldKind::Flag),
            Field::new("mutable", FieldKind::Flag),
            Field::new("used", FieldKind::Time).or(&["age", "last_used_at"]),
            Field::new("created", FieldKind::Time).or(&["created_at"]),
            Field::new("uses", FieldKind::Count),
            Field::new("id", FieldKind::Text),
            Field::new("node", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let record = self.record;
        let text = |text| Some(Value::Text(Cow::Borrowed(text)));
        match name {
            "type" => text(&record.kind),
            "description" => text(&record.description),
            "size" => Some(Value::Size(record.bytes)),
            "kept" => text(self.kept),
            "in_use" => Some(Value::Flag(record.in_use)),
            "shared" => Some(Value::Flag(record.shared)),
            "reclaimable" => Some(Value::Flag(!record.in_use)),
            "mutable" => Some(Value::Flag(record.mutable)),
            "used" => record.last_used.or(record.created).map(Value::Time),
            "created" => record.created.map(Value::Time),
            "uses" => Some(Value::Count(record.uses)),
            "id" => text(&record.id),
            "node" => text(self.node),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {} {}", self.record.id, self.record.kind, self.record.description))
    }
}

/// One build that a builder remembers.
#[derive(Clone, Copy, Debug)]
pub struct BuildRow<'a> {
    /// The node it ran on.
    pub node: &'a str,
    /// The build.
    pub build: &'a Build,
}

impl Row for BuildRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("state", FieldKind::Text),
            Field::new("target", FieldKind::Text),
            Field::new("error", FieldKind::Text),
            Field::new("pinned", FieldKind::Flag),
            Field::new("created", FieldKind::Time).or(&["age", "created_at"]),
            Field::new("took", FieldKind::Count),
            Field::new("cached", FieldKind::Count).or(&["cached_steps"]),
            Field::new("steps", FieldKind::Count).or(&["total_steps"]),
            Field::new("id", FieldKind::Text),
            Field::new("node", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let build = self.build;
        let text = |text| Some(Value::Text(Cow::Borrowed(text)));
        match name {
            "state" => text(build.state()),
            "target" => build.target.as_deref().and_then(text),
            "error" => build.error.as_deref().and_then(text),
            "pinned" => Some(Value::Flag(build.pinned)),
            "created" => build.created.map(Value::Time),
            "took" => build.took().map(|took| Value::Count(took.as_secs())),
            "cached" => Some(Value::Count(build.cached_steps.into())),
            "steps" => Some(Value::Count(build.total_steps.into())),
            "id" => text(&build.id),
            "node" => text(self.node),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        let build = self.build;
        let error = build.error.as_deref().unwrap_or_default();
        Cow::Owned(format!("{} {} {} {error}", build.id, build.target.as_deref().unwrap_or_default(), build.produced()))
    }
}

impl Row for Finding {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("severity", FieldKind::Text),
            Field::new("code", FieldKind::Text),
            Field::new("digest", FieldKind::Text),
            Field::new("message", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "severity" => Some(Value::Text(Cow::Borrowed(self.severity.name()))),
            "code" => Some(Value::Text(Cow::Borrowed(self.problem.code()))),
            "digest" => self.digest.map(|digest: Digest| Value::Text(Cow::Owned(digest.to_string()))),
            "message" => Some(Value::Text(Cow::Borrowed(&self.message))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {} {}", self.severity.name(), self.problem.code(), self.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::filter::Filter;
    use crate::model::inventory::{Role, State};
    use jiff::{SignedDuration, Timestamp};

    fn blob() -> Blob {
        Blob {
            digest: Digest::of(b"x"),
            size: Some(2048),
            declared: Some(2048),
            modified: Some(Timestamp::UNIX_EPOCH),
            role: Role::Layer,
            state: State::Orphan,
            referrers: 0,
        }
    }

    #[test]
    fn blobs_are_found_by_state_size_and_age() {
        let blob = blob();
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(48);
        for (source, passes) in [
            ("state=orphan size>1KiB age>1d", true),
            ("state=live", false),
            ("kind=layer !damaged=true", true),
            ("sha256:2d71", true),
            ("age<1d", false),
        ] {
            let mut filter = Filter::parse(source, <&Blob as Row>::fields()).unwrap();
            assert_eq!(filter.matches(&blob, now), passes, "{source}");
        }
    }

    #[test]
    fn every_field_named_is_answered() {
        let blob = blob();
        for field in <&Blob as Row>::fields() {
            assert!(blob.field(field.name).is_some(), "{}", field.name);
        }
    }
}
