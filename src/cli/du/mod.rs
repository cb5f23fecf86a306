//! `du`: what caches take on disk, and who needs it.

mod layers;

pub(super) use layers::tone;

use super::Command;
use super::failure::{Exit, Outcome};
use super::item::{IndexItem, condition, tags};
use super::list::{ListArgs, Selection};
use super::output::{Cell, Column, Item, Tone};
use super::session::{Loaded, Many, Session};
use super::summary;
use super::usage;
use crate::model::builder::{Builder, Totals};
use crate::model::digest::Digest;
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::inventory::{Condition, Inventory, Usage};
use crate::model::units::Bytes;
use clap::{Parser, ValueEnum};
use layers::{LayerUsage, StepUsage};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::sync::Arc;

/// Show what caches take, and how much of it no tag needs
///
/// Live blobs are reached from a tag, dangling ones only from versions without a tag, orphans from nothing. A blob
/// counts once, however many versions share it.
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  name type size live dangling orphan blobs missing indexes records reclaimable
  --by index: tag digest state exclusive shared size age dangling
  --by layer: step digest size state referrers
  --by step:  step size live blobs

Examples:
  cachedeck du .buildx-cache
  cachedeck du --by layer --sort size -L 10 .buildx-cache
  cachedeck du --fail-over 8GB .buildx-cache     exit code 7 if it takes more")]
pub(super) struct Du {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// What to add up: location, index, layer or step
    #[arg(
        long,
        value_enum,
        value_name = "WHAT",
        default_value_t,
        hide_default_value = true,
        hide_possible_values = true
    )]
    by: By,

    /// End with exit code 7 if a location takes more than this
    #[arg(long, value_name = "SIZE", value_parser = usage::value::<Bytes>)]
    fail_over: Option<Bytes>,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum By {
    /// A line a location
    #[default]
    Location,
    /// A line a version: what only it needs, what it shares
    Index,
    /// A line a layer blob
    Layer,
    /// A line a build step, where its name is known
    Step,
}

impl Command for Du {
    const NAME: &'static str = "du";

    fn run(self, session: &mut Session) -> Outcome {
        match self.by {
            By::Location => {
                let (selection, many) = self.load::<PlaceUsage>(session)?;
                let sections = many.sections(|loaded| vec![PlaceUsage::of(loaded)]);
                session.show("usage-list", sections, selection, &many)?;
                self.verdict(session, &many)
            }
            By::Index => {
                let (selection, many) = self.load::<IndexUsage<'_>>(session)?;
                let sections = many.sections(|loaded| IndexUsage::all(&loaded.inventory));
                session.show("index-usage-list", sections, selection, &many)?;
                self.verdict(session, &many)
            }
            By::Layer => {
                let (selection, many) = self.load::<LayerUsage>(session)?;
                let names = session.step_names()?;
                let sections = many.sections(|loaded| layers::by_layer(&loaded.inventory, &names));
                session.show("layer-usage-list", sections, selection, &many)?;
                self.verdict(session, &many)
            }
            By::Step => {
                let (selection, many) = self.load::<StepUsage>(session)?;
                let names = session.step_names()?;
                let sections = many.sections(|loaded| layers::by_step(&loaded.inventory, &names));
                session.show("step-usage-list", sections, selection, &many)?;
                self.verdict(session, &many)
            }
        }
    }
}

impl Du {
    fn load<T: Item>(&self, session: &mut Session) -> Outcome<(Selection, Many)> {
        let selection = self.list.selection::<T>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        let many = match self.by {
            By::Location | By::Index => session.load_sums(&locations)?,
            By::Layer | By::Step => {
                session.ask_names(&locations)?;
                session.load_all(&locations)?
            }
        };
        Ok((selection, many))
    }

    /// What else there is to say, and how the command ends: by the threshold, if one was passed.
    fn verdict(&self, session: &Session, many: &Many) -> Outcome {
        if session.out.is_chatty() {
            summary::unneeded(many, session.out.look.sizes).iter().for_each(|line| session.words.note(line));
            let builders = many.loaded.iter().all(|loaded| loaded.inventory.details.builder.is_some());
            if self.by == By::Location && !builders {
                session.words.note("--by index, --by layer and --by step tell what takes it");
            }
        }
        let Some(limit) = self.fail_over else { return Ok(many.exit) };
        let over: Vec<&Loaded> = many.loaded.iter().filter(|l| l.inventory.bytes() > limit.0).collect();
        for loaded in &over {
            let sizes = session.out.look.sizes;
            let takes = Bytes(loaded.inventory.bytes()).show(sizes);
            let words = format!("{} takes {takes}, more than {}", loaded.inventory.location.title(), limit.show(sizes));
            session.words.say("limit", Tone::Bad, &words);
        }
        Ok(if over.is_empty() { many.exit } else { Exit::Limit })
    }
}

/// What a location takes.
struct PlaceUsage {
    title: String,
    kind: String,
    usage: Usage,
    leftovers: u64,
    leftover_bytes: u64,
    /// Of a builder: sums over its records, of all and by type. It has neither blobs nor versions.
    records: Option<(Totals, Vec<(String, Totals)>)>,
}

impl PlaceUsage {
    fn of(loaded: &Loaded) -> Self {
        let inventory = &loaded.inventory;
        let of_builder = |builder: &Arc<Builder>| {
            let types = Totals::by_type(builder.records().map(|(_, record)| record));
            (builder.totals(), types.into_iter().map(|(kind, totals)| (kind.to_owned(), totals)).collect())
        };
        Self {
            records: inventory.details.builder.as_ref().map(of_builder),
            title: inventory.location.title(),
            kind: inventory.location.kind().to_owned(),
            usage: Usage { bytes: inventory.bytes(), ..inventory.usage },
            leftovers: inventory.leftovers.len() as u64,
            leftover_bytes: inventory.leftovers.iter().map(|l| l.bytes).fold(0, u64::saturating_add),
        }
    }
}

impl Serialize for PlaceUsage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            #[serde(flatten)]
            usage: &'a Usage,
            leftovers: u64,
            leftover_bytes: u64,
            records: Option<u64>,
            reclaimable_bytes: Option<u64>,
            types: Option<Vec<OfType<'a>>>,
        }
        #[derive(Serialize)]
        struct OfType<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            records: u64,
            bytes: u64,
            reclaimable_bytes: u64,
        }
        let types = self.records.as_ref().map(|(_, types)| {
            let of_type = types.iter().map(|(kind, totals)| OfType {
                kind,
                records: totals.records,
                bytes: totals.bytes,
                reclaimable_bytes: totals.reclaimable_bytes,
            });
            of_type.collect()
        });
        Fields {
            usage: &self.usage,
            leftovers: self.leftovers,
            leftover_bytes: self.leftover_bytes,
            records: self.records.as_ref().map(|(all, _)| all.records),
            reclaimable_bytes: self.records.as_ref().map(|(all, _)| all.reclaimable_bytes),
            types,
        }
        .serialize(serializer)
    }
}

impl Row for PlaceUsage {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("name", FieldKind::Text),
            Field::new("type", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("live", FieldKind::Size).or(&["live_bytes"]),
            Field::new("dangling", FieldKind::Size).or(&["dangling_bytes"]),
            Field::new("orphan", FieldKind::Size).or(&["orphan_bytes"]),
            Field::new("unknown", FieldKind::Size).or(&["unknown_bytes"]),
            Field::new("blobs", FieldKind::Count),
            Field::new("missing", FieldKind::Count).or(&["missing_blobs"]),
            Field::new("indexes", FieldKind::Count).or(&["versions"]),
            Field::new("records", FieldKind::Count),
            Field::new("reclaimable", FieldKind::Size).or(&["reclaimable_bytes"]),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let usage = &self.usage;
        Some(match name {
            "name" => Value::Text(Cow::Borrowed(&self.title)),
            "type" => Value::Text(Cow::Borrowed(&self.kind)),
            "size" => Value::Size(usage.bytes),
            "live" => Value::Size(usage.live_bytes),
            "dangling" => Value::Size(usage.dangling_bytes),
            "orphan" => Value::Size(usage.orphan_bytes),
            "unknown" => Value::Size(usage.unknown_bytes),
            "blobs" => Value::Count(usage.blobs),
            "missing" => Value::Count(usage.missing_blobs),
            "indexes" => Value::Count(usage.indexes),
            "records" => Value::Count(self.records.as_ref()?.0.records),
            "reclaimable" => Value::Size(self.records.as_ref()?.0.reclaimable_bytes),
            _ => return None,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.title)
    }
}

impl Item for PlaceUsage {
    const TYPE: &'static str = "usage";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        /// Of blobs and versions, which a builder has none of.
        fn blobs(u: &PlaceUsage, n: u64) -> Option<u64> {
            u.records.is_none().then_some(n)
        }
        fn odd(u: &PlaceUsage, bytes: u64, tone: Tone) -> Cell {
            Cell::size(blobs(u, bytes)).tone(if bytes > 0 { tone } else { Tone::Plain })
        }
        vec![
            Column::numbers("VERSIONS", |u: &Self| Cell::count(blobs(u, u.usage.indexes)))
                .drop(1)
                .field("indexes")
                .if_known(),
            Column::numbers("BLOBS", |u: &Self| Cell::count(blobs(u, u.usage.blobs))).if_known(),
            Column::numbers("RECORDS", |u: &Self| Cell::count(u.records.as_ref().map(|(all, _)| all.records)))
                .if_known(),
            Column::numbers("SIZE", |u: &Self| Cell::size(u.usage.bytes)).field("bytes"),
            Column::numbers("RECLAIMABLE", |u: &Self| {
                Cell::size(u.records.as_ref().map(|(all, _)| all.reclaimable_bytes))
            })
            .field("reclaimable_bytes")
            .if_known(),
            Column::numbers("LIVE", |u: &Self| Cell::size(blobs(u, u.usage.live_bytes))).field("live_bytes").if_known(),
            Column::numbers("DANGLING", |u: &Self| odd(u, u.usage.dangling_bytes, Tone::Warn))
                .field("dangling_bytes")
                .if_known(),
            Column::numbers("ORPHAN", |u: &Self| odd(u, u.usage.orphan_bytes, Tone::Odd))
                .field("orphan_bytes")
                .if_known(),
            Column::numbers("UNKNOWN", |u: &Self| Cell::size(Some(u.usage.unknown_bytes).filter(|bytes| *bytes > 0)))
                .field("unknown_bytes")
                .if_known(),
            Column::numbers("MISSING", |u: &Self| {
                let missing = u.usage.missing_blobs;
                Cell::count(blobs(u, missing)).tone(if missing > 0 { Tone::Bad } else { Tone::Plain })
            })
            .field("missing_blobs")
            .if_known(),
            Column::numbers("UNFINISHED", |u: &Self| Cell::size(u.leftover_bytes)).wide().field("leftover_bytes"),
        ]
    }
}

/// What a version takes, apart from what it shares with others.
struct IndexUsage<'a>(IndexItem<'a>);

impl Serialize for IndexUsage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            digest: Option<Digest>,
            tags: &'a [String],
            dangling: bool,
            state: Condition,
            exclusive_bytes: u64,
            shared_bytes: u64,
            bytes: u64,
        }
        let index = self.0.index();
        Fields {
            digest: index.known_digest(),
            tags: &index.tags,
            dangling: index.is_dangling(),
            state: index.condition(),
            exclusive_bytes: index.exclusive_bytes,
            shared_bytes: index.shared_bytes,
            bytes: self.bytes(),
        }
        .serialize(serializer)
    }
}

impl<'a> IndexUsage<'a> {
    /// All versions, those first that only themselves need the most.
    fn all(inventory: &'a Inventory) -> Vec<Self> {
        let mut all: Vec<Self> = IndexItem::all(inventory).into_iter().map(IndexUsage).collect();
        all.sort_by_key(|usage| std::cmp::Reverse(usage.0.index().exclusive_bytes));
        all
    }

    fn bytes(&self) -> u64 {
        self.0.index().exclusive_bytes.saturating_add(self.0.index().shared_bytes)
    }
}

impl Row for IndexUsage<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("tag", FieldKind::Text).or(&["tags"]),
            Field::new("digest", FieldKind::Text),
            Field::new("state", FieldKind::Text),
            Field::new("exclusive", FieldKind::Size).or(&["exclusive_bytes"]),
            Field::new("shared", FieldKind::Size).or(&["shared_bytes"]),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("age", FieldKind::Time),
            Field::new("dangling", FieldKind::Flag),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        if name == "size" { Some(Value::Size(self.bytes())) } else { self.0.0.field(name) }
    }

    fn text(&self) -> Cow<'_, str> {
        self.0.0.text()
    }
}

impl Item for IndexUsage<'_> {
    const TYPE: &'static str = "index_usage";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("TAG", |u: &Self| tags(&u.0)).cut_middle().field("tags"),
            Column::words("DIGEST", |u: &Self| Cell::digest(u.0.index().digest)),
            Column::words("STATE", |u: &Self| condition(u.0.index())),
            Column::numbers("EXCLUSIVE", |u: &Self| Cell::size(u.0.index().exclusive_bytes)).field("exclusive_bytes"),
            Column::numbers("SHARED", |u: &Self| Cell::size(u.0.index().shared_bytes)).drop(2).field("shared_bytes"),
            Column::numbers("SIZE", |u: &Self| Cell::size(u.bytes())).field("bytes"),
            Column::numbers("AGE", |u: &Self| Cell::time(u.0.index().time())).field("time"),
        ]
    }
}
