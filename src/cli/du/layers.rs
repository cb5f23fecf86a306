//! Usage by layer blob and by build step.

use crate::cli::output::{Cell, Column, Item, Tone};
use crate::model::digest::Digest;
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::inventory::{Inventory, Role, State};
use crate::ops::names::{StepName, StepNames};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a layer blob takes.
#[derive(Serialize)]
pub(super) struct LayerUsage {
    digest: Digest,
    bytes: u64,
    state: State,
    referrers: u32,
    #[serde(serialize_with = "step")]
    step: Option<Arc<str>>,
    step_source: Option<&'static str>,
}

/// What all layers of a build step take.
#[derive(Serialize)]
pub(super) struct StepUsage {
    #[serde(serialize_with = "step")]
    step: Option<Arc<str>>,
    step_source: Option<&'static str>,
    blobs: u64,
    bytes: u64,
    live_bytes: u64,
}

fn step<S: Serializer>(step: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    step.as_deref().serialize(serializer)
}

/// All layer blobs that are there, the largest first.
pub(super) fn by_layer(inventory: &Inventory, names: &StepNames) -> Vec<LayerUsage> {
    let steps = steps(inventory, names);
    let layers = inventory.blobs.iter().filter(|b| b.role == Role::Layer);
    let mut usage: Vec<LayerUsage> = layers
        .filter_map(|blob| {
            let name = steps.get(&blob.digest);
            Some(LayerUsage {
                digest: blob.digest,
                bytes: blob.size?,
                state: blob.state,
                referrers: blob.referrers,
                step: name.map(|n| n.step.clone()),
                step_source: name.map(|n| n.source.name()),
            })
        })
        .collect();
    usage.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.digest.cmp(&b.digest)));
    usage
}

/// The layers of each step together, the largest first; those without a name as one.
pub(super) fn by_step(inventory: &Inventory, names: &StepNames) -> Vec<StepUsage> {
    let mut steps: BTreeMap<Option<Arc<str>>, StepUsage> = BTreeMap::new();
    for layer in by_layer(inventory, names) {
        let usage = steps.entry(layer.step.clone()).or_insert(StepUsage {
            step: layer.step,
            step_source: layer.step_source,
            blobs: 0,
            bytes: 0,
            live_bytes: 0,
        });
        usage.blobs += 1;
        usage.bytes = usage.bytes.saturating_add(layer.bytes);
        if layer.state == State::Live {
            usage.live_bytes = usage.live_bytes.saturating_add(layer.bytes);
        }
    }
    let mut usage: Vec<StepUsage> = steps.into_values().collect();
    usage.sort_by_key(|step| std::cmp::Reverse(step.bytes));
    usage
}

fn steps(inventory: &Inventory, names: &StepNames) -> HashMap<Digest, StepName> {
    let layers = inventory.indexes.iter().filter_map(|i| i.cache.as_deref()).flat_map(|cache| &cache.layers);
    layers.filter_map(|layer| Some((layer.blob, names.of(layer)?))).collect()
}

impl Row for LayerUsage {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("step", FieldKind::Text),
            Field::new("digest", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("state", FieldKind::Text),
            Field::new("referrers", FieldKind::Count),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "step" => self.step.as_deref().map(|s| Value::Text(Cow::Borrowed(s))),
            "digest" => Some(Value::Text(Cow::Owned(self.digest.to_string()))),
            "size" => Some(Value::Size(self.bytes)),
            "state" => Some(Value::Text(Cow::Borrowed(self.state.name()))),
            "referrers" => Some(Value::Count(self.referrers.into())),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {}", self.step.as_deref().unwrap_or_default(), self.digest))
    }
}

impl Item for LayerUsage {
    const TYPE: &'static str = "layer_usage";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("DIGEST", |u: &Self| Cell::digest(u.digest)),
            Column::numbers("SIZE", |u: &Self| Cell::size(u.bytes)).field("bytes"),
            Column::words("STATE", |u: &Self| Cell::text(u.state.name()).tone(tone(u.state))),
            Column::numbers("VERSIONS", |u: &Self| Cell::count(u64::from(u.referrers))).field("referrers"),
            Column::words("STEP", |u: &Self| Cell::known(u.step.as_deref())).cut_end().if_known(),
        ]
    }
}

/// The colour of a blob's state.
pub(in crate::cli) fn tone(state: State) -> Tone {
    match state {
        State::Live => Tone::Good,
        State::Dangling => Tone::Warn,
        State::Orphan | State::Unknown => Tone::Odd,
        State::Missing => Tone::Bad,
    }
}

impl Row for StepUsage {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("step", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("live", FieldKind::Size).or(&["live_bytes"]),
            Field::new("blobs", FieldKind::Count),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "step" => self.step.as_deref().map(|s| Value::Text(Cow::Borrowed(s))),
            "size" => Some(Value::Size(self.bytes)),
            "live" => Some(Value::Size(self.live_bytes)),
            "blobs" => Some(Value::Count(self.blobs)),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.step.as_deref().unwrap_or_default())
    }
}

impl Item for StepUsage {
    const TYPE: &'static str = "step_usage";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::numbers("BLOBS", |u: &Self| Cell::count(u.blobs)),
            Column::numbers("SIZE", |u: &Self| Cell::size(u.bytes)).field("bytes"),
            Column::numbers("LIVE", |u: &Self| Cell::size(u.live_bytes)).field("live_bytes"),
            Column::words("FROM", |u: &Self| Cell::known(u.step_source)).field("step_source"),
            Column::words("STEP", |u: &Self| Cell::text(u.step.as_deref().unwrap_or("(no name)"))).cut_end(),
        ]
    }
}
