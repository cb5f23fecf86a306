//! `layers`: the layer table of one version.

use super::Command;
use super::choice::{Choice, Chosen};
use super::failure::{Exit, Outcome};
use super::list::ListArgs;
use super::output::{Cell, Column, Item};
use super::session::Session;
use crate::model::cache::{Compression, Outcome as Made};
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row};
use crate::model::rows::LayerRow;
use crate::ops::names::{StepName, StepNames};
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// List the layers of a version
///
/// A layer is known by its number: the same blob may stand in several entries, upon different parents.
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  step digest size compression age created referrers number named platform

Examples:
  cachedeck layers .buildx-cache --tag main --sort size
  docker buildx du --verbose --format json > names.json && cachedeck layers .buildx-cache --names names.json")]
pub(super) struct Layers {
    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Layers {
    const NAME: &'static str = "layers";

    fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<LayerItem<'_>>(&mut session.out)?;
        session.ask_names(&[])?;
        let chosen = self.choice.load(session)?;
        let names = session.step_names()?;
        let mut section = chosen.section(LayerItem::all(&chosen, &names)?);
        section.select(&mut selection, session.out.look.now);
        session.out.list("layer-list", &[section], false)?;
        Ok(Exit::Done)
    }
}

/// One entry of a layer table.
pub(super) struct LayerItem<'a> {
    row: LayerRow<'a>,
    name: Option<StepName>,
    /// Records that have it as the top of a result.
    records: u64,
    /// Whether its blob is there, where that can be told.
    present: Option<bool>,
}

impl<'a> LayerItem<'a> {
    /// All entries of the chosen version, in the order of its table.
    pub(super) fn all(chosen: &'a Chosen, names: &StepNames) -> Outcome<Vec<Self>> {
        let cache = chosen.cache()?;
        let inventory = &chosen.loaded.inventory;
        let mut records = vec![0; cache.layers.len()];
        let tops = cache.records.iter().flat_map(|r| &r.results).filter_map(Made::top);
        tops.for_each(|layer| records[layer] += 1);
        let entries = cache.layers.iter().enumerate();
        Ok(entries
            .map(|(number, layer)| {
                let blob = inventory.blob(&layer.blob);
                let referrers = blob.map_or(0, |b| b.referrers);
                let name = names.of(layer);
                // The step is lent to the row when it is asked for.
                let row = LayerRow { number, layer, step: None, referrers };
                LayerItem { row, name, records: records[number], present: blob.map(|b| b.size.is_some()) }
            })
            .collect())
    }
}

impl Serialize for LayerItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            number: usize,
            digest: Digest,
            parent: Option<usize>,
            bytes: Option<u64>,
            compression: Compression,
            media_type: &'a str,
            diff_id: Option<Digest>,
            created_at: Option<Timestamp>,
            platform: Option<&'a str>,
            step: Option<&'a str>,
            step_source: Option<&'static str>,
            records: u64,
            referrers: u32,
            present: Option<bool>,
        }
        let layer = self.row.layer;
        Fields {
            number: self.row.number,
            digest: layer.blob,
            parent: layer.parent,
            bytes: layer.size,
            compression: layer.compression,
            media_type: &layer.media_type,
            diff_id: layer.diff_id,
            created_at: layer.created,
            platform: layer.platform.as_deref(),
            step: self.name.as_ref().map(|n| &*n.step),
            step_source: self.name.as_ref().map(|n| n.source.name()),
            records: self.records,
            referrers: self.row.referrers,
            present: self.present,
        }
        .serialize(serializer)
    }
}

impl Item for LayerItem<'_> {
    const TYPE: &'static str = "layer";

    fn fields() -> &'static [Field] {
        LayerRow::fields()
    }

    fn row(&self) -> impl Row {
        LayerRow { step: self.name.as_ref().map(|n| &*n.step), ..self.row }
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::numbers("#", |l: &Self| Cell::count(l.row.number as u64)).field("number"),
            Column::numbers("PARENT", |l: &Self| Cell::count(l.row.layer.parent.map(|p| p as u64))).drop(3),
            Column::words("DIGEST", |l: &Self| Cell::digest(l.row.layer.blob)),
            Column::words("COMPRESSION", |l: &Self| Cell::text(l.row.layer.compression.name())).drop(2),
            Column::numbers("SIZE", |l: &Self| Cell::size(l.row.layer.size)).field("bytes"),
            Column::numbers("RECORDS", |l: &Self| Cell::count(l.records)).drop(1),
            Column::numbers("VERSIONS", |l: &Self| Cell::count(u64::from(l.row.referrers))).wide().field("referrers"),
            Column::numbers("AGE", |l: &Self| Cell::time(l.row.layer.created)).drop(5).field("created_at"),
            Column::words("PLATFORM", |l: &Self| Cell::known(l.row.layer.platform.as_deref())).wide(),
            Column::words("FROM", |l: &Self| Cell::known(l.name.as_ref().map(|n| n.source.name())))
                .drop(4)
                .if_known()
                .field("step_source"),
            Column::words("STEP", |l: &Self| Cell::known(l.name.as_ref().map(|n| &*n.step))).cut_end().if_known(),
        ]
    }
}
