//! `versions`: every digest of a location over time, with what it added and how a build can use it.

use super::Command;
use super::failure::Outcome;
use super::item::{IndexItem, condition, tags};
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Value};
use super::places;
use super::session::{Many, Session};
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row};
use crate::model::inventory::{Condition, Inventory};
use crate::model::rows::IndexRow;
use crate::model::text;
use crate::ops::versions::{Version, history};
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// List all versions over time, newest first, with how to use each
///
/// Exporting again takes the tag from the version before, but leaves that version in place. Builds can go on using it
/// by its digest: --format wide shows the value for --cache-from, `cachedeck flags` prints the whole line.
#[derive(Parser)]
#[command(after_help = "\
ADDED is what a version brought that no older one has: by that much its export let the cache grow.
EXCLUSIVE is what no other version has: by that much the cache would shrink without it.

Fields to filter and sort by:
  tag digest state form mode size min exclusive shared layers blobs records missing age created
  dangling type

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
        if session.out.is_chatty()
            && let Some(example) = example(&many)
        {
            session.words.note(&format!("to build from an older one: `{example}` prints its --cache-from line"));
        }
        Ok(many.exit)
    }
}

/// The command for the version that somebody most likely wants back: the newest that has lost its tag.
fn example(many: &Many) -> Option<String> {
    let versions =
        many.loaded.iter().flat_map(|loaded| history(&loaded.inventory).into_iter().map(move |v| (loaded, v)));
    let mut dangling = versions.filter(|(_, v)| v.index.condition() == Condition::Dangling && !v.index.unread);
    let (loaded, version) = dangling.next()?;
    let place = places::typed(&loaded.inventory.location);
    Some(format!("cachedeck flags {} --digest {}", text::shell_quote(&place), version.index.digest.short()))
}

/// A version, and what came with it.
struct VersionItem<'a> {
    item: IndexItem<'a>,
    version: Version<'a>,
    cache_from: Option<String>,
}

impl<'a> VersionItem<'a> {
    /// All versions, newest first; those of unknown time last.
    fn all(inventory: &'a Inventory) -> Vec<Self> {
        let kind = inventory.location.kind();
        let versions = history(inventory).into_iter().map(|version| VersionItem {
            item: IndexItem(IndexRow { index: version.index, kind }),
            version,
            cache_from: inventory.location.cache_from(version.index.known_digest(), version.index.name()).ok(),
        });
        versions.collect()
    }
}

impl Serialize for VersionItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            digest: Option<Digest>,
            tags: &'a [String],
            dangling: bool,
            state: Condition,
            created_at: Option<Timestamp>,
            modified_at: Option<Timestamp>,
            max_bytes: Option<u64>,
            delta_bytes: Option<i64>,
            added_bytes: u64,
            exclusive_bytes: u64,
            missing: &'a [Digest],
            cache_from: Option<&'a str>,
        }
        let index = self.item.index();
        Fields {
            digest: index.known_digest(),
            tags: &index.tags,
            dangling: index.is_dangling(),
            state: index.condition(),
            created_at: index.created,
            modified_at: index.modified,
            max_bytes: index.summary.map(|s| s.max_bytes),
            delta_bytes: self.version.delta_bytes,
            added_bytes: self.version.added_bytes,
            exclusive_bytes: index.exclusive_bytes,
            missing: &index.missing,
            cache_from: self.cache_from.as_deref(),
        }
        .serialize(serializer)
    }
}

impl Item for VersionItem<'_> {
    const TYPE: &'static str = "version";

    fn fields() -> &'static [Field] {
        IndexRow::fields()
    }

    fn row(&self) -> impl Row {
        self.item.0
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::numbers("AGE", |v: &Self| Cell::time(v.item.index().time())).field("time"),
            Column::words("TAG", |v: &Self| tags(&v.item)).cut_middle().field("tags"),
            Column::words("DIGEST", |v: &Self| Cell::digest(v.item.index().known_digest())),
            Column::words("STATE", |v: &Self| condition(v.item.index())).drop(2),
            Column::numbers("SIZE", |v: &Self| Cell::size(v.item.index().summary.map(|s| s.max_bytes)))
                .field("max_bytes"),
            Column::numbers("CHANGE", |v: &Self| Cell::new(v.version.delta_bytes.map_or(Value::None, Value::Delta)))
                .wide()
                .field("delta_bytes"),
            Column::numbers("ADDED", |v: &Self| Cell::size(v.version.added_bytes)).field("added_bytes"),
            Column::numbers("EXCLUSIVE", |v: &Self| Cell::size(v.item.index().exclusive_bytes))
                .drop(1)
                .field("exclusive_bytes"),
            Column::words("CACHE-FROM", |v: &Self| {
                let quoted = v.cache_from.as_deref().map(|line| text::shell_quote(line).into_owned());
                Cell::new(quoted.map_or(Value::None, Value::Whole))
            })
            .wide(),
        ]
    }
}
