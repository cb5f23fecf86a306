//! `versions`: every digest of a location over time, with what it added and how a build can use it.

use super::Command;
use super::failure::Outcome;
use super::item::{IndexItem, tags};
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Value as Shown};
use super::session::Session;
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row, Value};
use crate::model::inventory::Inventory;
use crate::model::rows::IndexRow;
use crate::model::text;
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// List all versions over time, newest first, with how to use each
///
/// Exporting again takes the tag from the version before, but leaves that version in place. Builds can go on using it
/// by its digest: --format wide shows the value for --cache-from, `cachedeck flags` prints the whole line.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck versions .buildx-cache
  cachedeck versions --format wide --filter 'age<7d' .buildx-cache
  cachedeck versions --json .buildx-cache | jq -r '.items[1].cache_from'")]
pub(super) struct Versions {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Versions {
    const NAME: &'static str = "versions";

    fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<VersionItem<'_>>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        let many = session.load_all(&locations)?;
        let sections = many.sections(|loaded| VersionItem::all(&loaded.inventory));
        session.show("version-list", sections, selection, &many)?;
        if session.out.is_chatty() {
            session.words.note("use one with --cache-from: `cachedeck flags LOCATION --digest DIGEST` prints the line");
        }
        Ok(many.exit)
    }
}

/// A version, and the one made before it.
struct VersionItem<'a> {
    item: IndexItem<'a>,
    delta: Option<i64>,
    cache_from: Option<String>,
}

impl<'a> VersionItem<'a> {
    /// All versions, newest first; those of unknown time last.
    fn all(inventory: &'a Inventory) -> Vec<Self> {
        let mut items = IndexItem::all(inventory);
        items.sort_by(|a, b| b.index().time().cmp(&a.index().time()).then(a.index().digest.cmp(&b.index().digest)));
        let sizes: Vec<Option<u64>> = items.iter().map(|i| i.index().summary.map(|s| s.max_bytes)).collect();
        let befores = sizes.iter().skip(1).copied().chain([None]);
        let deltas = sizes.iter().zip(befores).map(|(now, before)| difference((*now)?, before?));
        let versions = items.into_iter().zip(deltas).map(|(item, delta)| {
            let cache_from = inventory.location.cache_from(Some(item.index().digest), None).ok();
            VersionItem { item, delta, cache_from }
        });
        versions.collect()
    }
}

fn difference(now: u64, before: u64) -> Option<i64> {
    i64::try_from(i128::from(now) - i128::from(before)).ok()
}

impl Serialize for VersionItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            digest: Digest,
            tags: &'a [String],
            dangling: bool,
            created_at: Option<Timestamp>,
            modified_at: Option<Timestamp>,
            max_bytes: Option<u64>,
            delta_bytes: Option<i64>,
            exclusive_bytes: u64,
            missing: &'a [Digest],
            cache_from: Option<&'a str>,
        }
        let index = self.item.index();
        Fields {
            digest: index.digest,
            tags: &index.tags,
            dangling: index.is_dangling(),
            created_at: index.created,
            modified_at: index.modified,
            max_bytes: index.summary.map(|s| s.max_bytes),
            delta_bytes: self.delta,
            exclusive_bytes: index.exclusive_bytes,
            missing: &index.missing,
            cache_from: self.cache_from.as_deref(),
        }
        .serialize(serializer)
    }
}

impl Row for VersionItem<'_> {
    fn fields() -> &'static [Field] {
        IndexRow::fields()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        self.item.field(name)
    }

    fn text(&self) -> Cow<'_, str> {
        self.item.text()
    }
}

impl Item for VersionItem<'_> {
    const TYPE: &'static str = "version";

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::numbers("AGE", |v: &Self| Cell::time(v.item.index().time())),
            Column::words("TAG", |v: &Self| tags(&v.item)).cut_middle(),
            Column::words("DIGEST", |v: &Self| Cell::digest(v.item.index().digest)),
            Column::words("STATE", |v: &Self| v.item.state().cell()).drop(2),
            Column::numbers("SIZE", |v: &Self| Cell::size(v.item.index().summary.map(|s| s.max_bytes))),
            Column::numbers("CHANGE", |v: &Self| Cell::new(v.delta.map_or(Shown::None, Shown::Delta))),
            Column::numbers("EXCLUSIVE", |v: &Self| Cell::size(v.item.index().exclusive_bytes)).drop(1),
            Column::words("CACHE-FROM", |v: &Self| {
                let quoted = v.cache_from.as_deref().map(|line| text::shell_quote(line).into_owned());
                Cell::new(quoted.map_or(Shown::None, Shown::Whole))
            })
            .wide(),
        ]
    }
}
