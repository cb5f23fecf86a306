//! A version of a cache as `ls`, `inspect` and others show it.

use super::output::{Cell, Column, Item, Tone};
use crate::model::cache::{Form, Mode};
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row};
use crate::model::finding::Finding;
use crate::model::inventory::{CacheIndex, Condition, Inventory};
use crate::model::rows::IndexRow;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// One version.
#[derive(Clone, Copy)]
pub(super) struct IndexItem<'a>(pub(super) IndexRow<'a>);

impl<'a> IndexItem<'a> {
    /// All versions of `inventory`, in its order.
    pub(super) fn all(inventory: &'a Inventory) -> Vec<Self> {
        let kind = inventory.location.kind();
        inventory.indexes.iter().map(|index| IndexItem(IndexRow { index, kind })).collect()
    }

    /// The version itself.
    pub(super) fn index(&self) -> &'a CacheIndex {
        self.0.index
    }
}

/// A cell for how a version is.
pub(super) fn condition(index: &CacheIndex) -> Cell {
    let condition = index.condition();
    Cell::text(condition.name()).tone(match condition {
        Condition::Damaged => Tone::Bad,
        Condition::Dangling => Tone::Warn,
        Condition::Live => Tone::Good,
    })
}

/// The JSON of a version. Fields are only ever added.
#[derive(Serialize)]
struct Fields<'a> {
    digest: Option<Digest>,
    tags: &'a [String],
    form: Option<Form>,
    mode: Option<Mode>,
    layers: Option<usize>,
    unique_blobs: Option<usize>,
    records: Option<usize>,
    sinks: Option<usize>,
    records_with_result: Option<usize>,
    min_bytes: Option<u64>,
    max_bytes: Option<u64>,
    exclusive_bytes: u64,
    manifest_bytes: u64,
    created_at: Option<Timestamp>,
    missing: &'a [Digest],
    dangling: bool,
    state: Condition,
    roots: Option<usize>,
    config: Option<Digest>,
    shared_bytes: u64,
    modified_at: Option<Timestamp>,
    findings: &'a [Finding],
    formerly: &'a [String],
}

impl Serialize for IndexItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = self.0.index;
        let summary = index.summary.as_ref();
        Fields {
            digest: index.known_digest(),
            tags: &index.tags,
            form: index.form,
            mode: summary.map(|s| s.mode),
            layers: summary.map(|s| s.layers),
            unique_blobs: summary.map(|s| s.unique_blobs),
            records: summary.map(|s| s.records),
            sinks: summary.map(|s| s.sinks),
            records_with_result: summary.map(|s| s.records_with_result),
            min_bytes: summary.map(|s| s.min_bytes),
            max_bytes: summary.map(|s| s.max_bytes),
            exclusive_bytes: index.exclusive_bytes,
            manifest_bytes: index.manifest_bytes,
            created_at: index.created,
            missing: &index.missing,
            dangling: index.is_dangling(),
            state: index.condition(),
            roots: summary.map(|s| s.roots),
            config: index.config,
            shared_bytes: index.shared_bytes,
            modified_at: index.modified,
            findings: &index.findings,
            formerly: &index.formerly,
        }
        .serialize(serializer)
    }
}

impl Item for IndexItem<'_> {
    const TYPE: &'static str = "index";

    fn fields() -> &'static [Field] {
        IndexRow::fields()
    }

    fn row(&self) -> impl Row {
        self.0
    }

    fn columns() -> Vec<Column<Self>> {
        fn count(item: &IndexItem<'_>, of: fn(&crate::model::graph::Summary) -> usize) -> Cell {
            Cell::count(item.0.index.summary.as_ref().map(|s| of(s) as u64))
        }
        vec![
            Column::words("TAG", tags).cut_middle().field("tags"),
            Column::words("DIGEST", |i: &Self| Cell::digest(i.0.index.known_digest())),
            Column::words("STATE", |i: &Self| condition(i.0.index)),
            Column::words("FORM", |i: &Self| Cell::known(i.0.index.form.map(Form::name))).drop(3),
            Column::words("MODE", |i: &Self| Cell::known(i.0.index.summary.map(|s| s.mode.name()))).drop(4),
            Column::numbers("LAYERS", |i: &Self| count(i, |s| s.layers)).drop(2),
            Column::numbers("BLOBS", |i: &Self| count(i, |s| s.unique_blobs)).wide().field("unique_blobs"),
            Column::numbers("RECORDS", |i: &Self| count(i, |s| s.records)).drop(1),
            Column::numbers("SINKS", |i: &Self| count(i, |s| s.sinks)).wide(),
            Column::numbers("MIN", |i: &Self| Cell::size(i.0.index.summary.map(|s| s.min_bytes)))
                .drop(5)
                .field("min_bytes"),
            Column::numbers("MAX", |i: &Self| Cell::size(i.0.index.summary.map(|s| s.max_bytes))).field("max_bytes"),
            Column::numbers("EXCLUSIVE", |i: &Self| Cell::size(i.0.index.exclusive_bytes)).field("exclusive_bytes"),
            Column::numbers("SHARED", |i: &Self| Cell::size(i.0.index.shared_bytes)).wide().field("shared_bytes"),
            Column::numbers("MISSING", |i: &Self| Cell::count(i.0.index.missing.len() as u64)).wide(),
            Column::numbers("AGE", |i: &Self| Cell::time(i.0.index.time())).field("time"),
        ]
    }
}

/// The tags of a version, or a dash.
pub(super) fn tags(item: &IndexItem<'_>) -> Cell {
    Cell::text(item.0.index.tags.join(", "))
}
