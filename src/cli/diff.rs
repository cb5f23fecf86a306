//! `diff`: what changed between two versions, wherever they are.

use super::Command;
use super::choice::{Chosen, VersionArgs};
use super::failure::{Exit, Outcome, Stop};
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Place, Section, Tone, Value as Shown};
use super::session::Session;
use crate::error::{Error, Kind};
use crate::model::digest::{Digest, DigestPrefix};
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::location::Location;
use crate::model::units::Bytes;
use crate::ops::diff::{Change, Diff as Differences, LayerRow, Pair, diff, pairs};
use crate::ops::names::StepNames;
use clap::Parser;
use serde::Serialize;
use serde_json::{Map, json};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Compare two versions: which layers came, which went, what grew
///
/// With one location its version is compared with the one made before it, or with --base.
#[derive(Parser)]
#[command(after_help = "\
With --names a step that has another layer now is one line, with how much it grew.

Fields to filter and sort by:
  kind change digest size step

Examples:
  cachedeck diff .buildx-cache,tag=v1.0 .buildx-cache,tag=main
  cachedeck diff .buildx-cache --tag main --base 21450e49
  cachedeck diff --json .buildx-cache | jq .added_bytes")]
pub(super) struct Diff {
    /// The older one; or the newer, if it is the only one
    #[arg(value_name = "LOCATION")]
    first: Option<String>,

    /// The newer one
    #[arg(value_name = "LOCATION", conflicts_with_all = ["tag", "digest", "base"])]
    second: Option<String>,

    #[command(flatten)]
    version: VersionArgs,

    /// Compare with this version of the same location: a tag, or the beginning of a digest
    #[arg(long, value_name = "VERSION")]
    base: Option<String>,

    /// List records too
    #[arg(long)]
    records: bool,

    /// List what is the same too
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Diff {
    const NAME: &'static str = "diff";

    fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<DiffItem>(&mut session.out)?;
        session.ask_names(&[])?;
        let first = session.location(self.first.as_deref())?;
        match &self.second {
            Some(second) => {
                let second = session.location(Some(second))?;
                let before = VersionArgs::default().load(session, first)?;
                let after = VersionArgs::default().load(session, second)?;
                let names = session.step_names()?;
                self.show(session, &mut selection, &names, [side(&before), side(&after)])
            }
            None => {
                let after = self.version.load(session, first)?;
                let before = self.base(&after)?;
                let names = session.step_names()?;
                self.show(session, &mut selection, &names, [(after.location(), before), side(&after)])
            }
        }
    }
}

/// A version and where it is.
type Side<'a> = (&'a Location, &'a CacheIndex);

fn side(chosen: &Chosen) -> Side<'_> {
    (chosen.location(), chosen.index())
}

impl Diff {
    /// What to compare with in the same location.
    fn base<'a>(&self, after: &'a Chosen) -> Outcome<&'a CacheIndex> {
        let inventory = &after.loaded.inventory;
        let found = match &self.base {
            Some(name) => named(inventory, name).ok_or_else(|| {
                Error::not_found(format!("no version {name} in {}", inventory.location.title()))
                    .with_hint("`cachedeck versions` lists those that are there")
            }),
            None => {
                let time = after.index().time();
                let older = inventory.indexes.iter().filter(|i| i.time() < time && i.cache.is_some());
                older.max_by_key(|i| i.time()).ok_or_else(|| {
                    Error::new(Kind::NotFound, "there is no older version to compare with")
                        .with_hint("name two locations, or one version with --base")
                })
            }
        };
        found.map_err(|error| Stop::at(&inventory.location, error))
    }

    fn show(
        &self,
        session: &mut Session,
        selection: &mut super::list::Selection,
        names: &StepNames,
        [before, after]: [Side<'_>; 2],
    ) -> Outcome {
        let differences = diff(before.1, after.1);
        let mut items = layers(&differences, names, before.1, after.1);
        if self.records || session.out.is_json() {
            items.extend(records(&differences));
        }
        items.retain(|item| self.all || item.change != Change::Same);
        let mut section = Section { location: None, items, warnings: Vec::new(), complete: true };
        section.select(selection, session.out.look.now);
        let mut facts = Map::new();
        for (name, (location, index)) in [("before", before), ("after", after)] {
            facts.insert(
                name.to_owned(),
                json!({"location": json!(Place(location)), "digest": index.known_digest(), "tags": index.tags}),
            );
        }
        facts.insert("added_bytes".to_owned(), differences.added_bytes.into());
        facts.insert("removed_bytes".to_owned(), differences.removed_bytes.into());
        facts.insert("same_bytes".to_owned(), differences.same_bytes.into());
        session.out.list_with("diff", facts, &[section], false)?;
        if !session.out.is_json() {
            let size = |bytes| Bytes(bytes).show(session.out.look.sizes);
            let (added, removed) = (size(differences.added_bytes), size(differences.removed_bytes));
            let same = size(differences.same_bytes);
            let net = match differences.added_bytes.cmp(&differences.removed_bytes) {
                Ordering::Less => format!("{} less", size(differences.removed_bytes - differences.added_bytes)),
                Ordering::Equal => "as large as before".to_owned(),
                Ordering::Greater => format!("{} more", size(differences.added_bytes - differences.removed_bytes)),
            };
            session.words.note(&format!("{}: +{added}, -{removed} ({net}), {same} the same", between(before, after)));
        }
        Ok(Exit::Done)
    }
}

/// Which versions these are; where they are only if that is not one place.
fn between(before: Side<'_>, after: Side<'_>) -> String {
    let name = |(_, index): Side<'_>| index.name().map_or_else(|| index.short(), str::to_owned);
    let title = |(location, _): Side<'_>| location.title();
    match title(before) == title(after) {
        true => format!("{} -> {} in {}", name(before), name(after), title(after)),
        false => format!("{} {} -> {} {}", title(before), name(before), title(after), name(after)),
    }
}

/// The version with this tag, else the only one whose digest begins so.
fn named<'a>(inventory: &'a Inventory, name: &str) -> Option<&'a CacheIndex> {
    let tagged = inventory.indexes.iter().find(|i| i.tags.iter().any(|t| t == name));
    tagged.or_else(|| {
        let prefix: DigestPrefix = name.parse().ok()?;
        let mut fitting = inventory.indexes.iter().filter(|i| prefix.matches(&i.digest));
        fitting.next().filter(|_| fitting.next().is_none())
    })
}

/// A layer or a record that differs, or does not.
#[derive(Serialize)]
struct DiffItem {
    kind: &'static str,
    #[serde(serialize_with = "change_name")]
    change: Change,
    /// Of the newer layer where there are two.
    digest: Digest,
    bytes: Option<u64>,
    delta_bytes: Option<i64>,
    step: Option<String>,
    /// The layer, or the result blobs of a record, on either side.
    before: Vec<Digest>,
    after: Vec<Digest>,
}

fn change_name<S: serde::Serializer>(change: &Change, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(change.name())
}

fn layers(differences: &Differences, names: &StepNames, before: &CacheIndex, after: &CacheIndex) -> Vec<DiffItem> {
    let step = |row: &LayerRow| {
        let side = if row.change == Change::Removed { before } else { after };
        let layer = side.cache.as_ref()?.layers.get(row.layer)?;
        Some(names.of(layer)?.step)
    };
    let item = |pair: Pair<'_>| {
        let row = pair.after.or(pair.before)?;
        let side = |row: Option<&LayerRow>| row.map(|row| row.blob).into_iter().collect();
        Some(DiffItem {
            kind: "layer",
            change: pair.change(),
            digest: row.blob,
            bytes: row.size,
            delta_bytes: pair.grew(),
            step: step(row).map(|step| step.to_string()),
            before: side(pair.before),
            after: side(pair.after),
        })
    };
    pairs(&differences.layers, step).into_iter().filter_map(item).collect()
}

fn records(differences: &Differences) -> impl Iterator<Item = DiffItem> {
    differences.records.iter().map(|row| DiffItem {
        kind: "record",
        change: row.change,
        digest: row.digest,
        bytes: None,
        delta_bytes: None,
        step: None,
        before: row.before.clone(),
        after: row.after.clone(),
    })
}

impl Row for DiffItem {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("kind", FieldKind::Text),
            Field::new("change", FieldKind::Text),
            Field::new("digest", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("step", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "kind" => Some(Value::Text(Cow::Borrowed(self.kind))),
            "change" => Some(Value::Text(Cow::Borrowed(self.change.name()))),
            "digest" => Some(Value::Text(Cow::Owned(self.digest.to_string()))),
            "size" => self.bytes.map(Value::Size),
            "step" => self.step.as_deref().map(|s| Value::Text(Cow::Borrowed(s))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {} {}", self.change.name(), self.digest, self.step.as_deref().unwrap_or_default()))
    }
}

impl Item for DiffItem {
    const TYPE: &'static str = "difference";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("CHANGE", |d: &Self| {
                Cell::text(format!("{} {}", d.change.sign(), d.change.name())).tone(match d.change {
                    Change::Added => Tone::Good,
                    Change::Removed => Tone::Bad,
                    Change::Changed => Tone::Warn,
                    Change::Same => Tone::Dim,
                })
            }),
            Column::words("KIND", |d: &Self| Cell::text(d.kind)),
            Column::words("DIGEST", |d: &Self| Cell::digest(d.digest)),
            Column::numbers("SIZE", |d: &Self| Cell::size(d.bytes)).field("bytes"),
            Column::numbers("GREW", |d: &Self| Cell::new(d.delta_bytes.map_or(Shown::None, Shown::Delta)))
                .field("delta_bytes"),
            Column::words("STEP", |d: &Self| Cell::known(d.step.as_deref())).cut_end().if_known(),
        ]
    }
}
