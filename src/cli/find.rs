//! `find`: which cached layers hold a file.

use super::Command;
use super::failure::{Exit, Outcome, Stop};
use super::files::lossy;
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Section, Tone};
use super::session::{Loaded, Session};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::files::{Entry, EntryKind, mode_string};
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::inventory::{CacheIndex, Need};
use crate::model::units::{count, thousands};
use crate::ops::find::{Found, Pattern, Report, find};
use crate::ops::names::StepNames;
use crate::progress::Progress;
use clap::Parser;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Find which cached layers hold a file
///
/// Looks into every layer of every version, or of the one that the location's tag= or digest= names. Exit code 5 if
/// nothing is found, 3 if some layers could not be searched.
#[derive(Parser)]
#[command(after_help = "\
PATTERN is a name (package.json), a path (etc/os-release), or a glob: * stops at slashes, ** does not.
Layers that delete such a file are found too (w).

Fields to filter and sort by:
  path kind size layer step tag age

Examples:
  cachedeck find libssl.so.3 .buildx-cache
  cachedeck find 'app/**/*.map' .buildx-cache,tag=main --sort size")]
pub(super) struct Find {
    /// A name, path or glob
    #[arg(value_name = "PATTERN", value_parser = Pattern::new)]
    pattern: Pattern,

    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Find {
    const NAME: &'static str = "find";

    fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<FoundItem<'_>>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        session.ask_names(&locations)?;
        let many = session.load_all(&locations)?;
        let mut searched = Vec::new();
        for loaded in &many.loaded {
            let result = self.search(session, loaded);
            searched.push(result.map_err(|error| Stop::at(&loaded.inventory.location, error))?);
        }
        let names = session.step_names()?;
        let found: usize = searched.iter().map(|(found, _)| found.len()).sum();
        let sections: Vec<Section<'_, FoundItem<'_>>> = many
            .loaded
            .iter()
            .zip(&searched)
            .map(|(loaded, (found, report))| Section {
                location: Some(&loaded.inventory.location),
                items: found.iter().flat_map(|found| FoundItem::all(loaded, found, &names)).collect(),
                warnings: loaded.inventory.warnings.iter().chain(&report.findings).collect(),
                complete: loaded.inventory.complete && is_whole(found, report) && many.exit == Exit::Done,
            })
            .collect();
        session.show("found-list", sections, selection, &many)?;
        let is_whole = searched.iter().all(|(found, report)| is_whole(found, report));
        if !session.out.is_json() {
            let layers: u64 = searched.iter().map(|(_, report)| report.layers).sum();
            let entries: u64 = searched.iter().map(|(_, report)| report.entries).sum();
            let more: u64 = searched.iter().flat_map(|(found, _)| found).map(|found| found.more).sum();
            let more = if more > 0 { format!("; {} not listed", count(more, "hit")) } else { String::new() };
            let (of, entries) = (count(layers, "layer"), count(entries, "file"));
            session.words.note(&format!("found in {} of {of} with {entries}{more}", thousands(found as u64)));
            if found == 0 && self.pattern.is_whole_path() {
                session.words.say(
                    "hint",
                    Tone::Dim,
                    "a pattern with a slash is a whole path; **/ before it finds it in any folder",
                );
            }
        }
        Ok(match (found, many.exit) {
            (0, Exit::Done) if is_whole => Exit::Nothing,
            (_, Exit::Done) if !is_whole => Exit::Partly,
            (_, exit) => exit,
        })
    }
}

/// Whether every layer was searched to its end and all that was found is listed.
fn is_whole(found: &[Found], report: &Report) -> bool {
    report.findings.is_empty() && found.iter().all(|found| found.more == 0)
}

impl Find {
    fn search(&self, session: &mut Session, loaded: &Loaded) -> Result<(Vec<Found>, Report)> {
        let inventory = &loaded.inventory;
        inventory.require(Need::Caches)?;
        inventory.require(Need::Contents)?;
        let asked = inventory.location.asked_name().is_some() || inventory.location.asked_digest()?.is_some();
        let indexes: Vec<&CacheIndex> =
            if asked { vec![inventory.selected()?] } else { inventory.indexes.iter().collect() };
        let progress = Progress::new();
        let (sender, mut receiver) = mpsc::channel(8);
        let work = async {
            let collect = async {
                let mut all = Vec::new();
                while let Some(found) = receiver.recv().await {
                    all.push(found);
                }
                all
            };
            let search = find(&loaded.store, &indexes, &self.pattern, &progress, sender);
            let (report, found) = tokio::join!(search, collect);
            Ok((found, report?))
        };
        session.jobs.run("searching", &progress, work)
    }
}

/// A file in a layer.
struct FoundItem<'a> {
    entry: &'a Entry,
    layer: Digest,
    step: Option<Arc<str>>,
    versions: Vec<(&'a CacheIndex, &'a [usize])>,
}

impl<'a> FoundItem<'a> {
    fn all(loaded: &'a Loaded, found: &'a Found, names: &StepNames) -> Vec<Self> {
        let versions: Vec<(&CacheIndex, &[usize])> = found
            .users
            .iter()
            .filter_map(|user| Some((loaded.inventory.version(&user.index)?, user.layers.as_slice())))
            .collect();
        let step = versions.iter().find_map(|(index, layers)| {
            let layer = index.cache.as_ref()?.layers.get(*layers.first()?)?;
            Some(names.of(layer)?.step)
        });
        let item = |entry| FoundItem { entry, layer: found.blob, step: step.clone(), versions: versions.clone() };
        found.hits.iter().map(item).collect()
    }

    fn tags(&self) -> Vec<&'a str> {
        self.versions.iter().flat_map(|(index, _)| &index.tags).map(String::as_str).collect()
    }

    /// Its versions, for people: the tags, and how many have none.
    fn who(&self) -> String {
        let mut who = self.tags().join(", ");
        let dangling = self.versions.iter().filter(|(index, _)| index.tags.is_empty()).count();
        if dangling > 0 {
            who.push_str(&format!("{}{dangling} dangling", if who.is_empty() { "" } else { ", " }));
        }
        who
    }

    fn time(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.entry.mtime).ok()
    }
}

impl Serialize for FoundItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Version<'a> {
            digest: Digest,
            tags: &'a [String],
            layers: &'a [usize],
        }
        #[derive(Serialize)]
        struct Fields<'a> {
            path: Cow<'a, str>,
            kind: EntryKind,
            bytes: u64,
            mode: u32,
            modified_at: Option<Timestamp>,
            layer: Digest,
            step: Option<&'a str>,
            versions: Vec<Version<'a>>,
        }
        Fields {
            path: lossy(&self.entry.path),
            kind: self.entry.kind,
            bytes: self.entry.size,
            mode: self.entry.mode,
            modified_at: self.time(),
            layer: self.layer,
            step: self.step.as_deref(),
            versions: self
                .versions
                .iter()
                .map(|(index, layers)| Version { digest: index.digest, tags: &index.tags, layers })
                .collect(),
        }
        .serialize(serializer)
    }
}

impl Row for FoundItem<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("path", FieldKind::Text),
            Field::new("kind", FieldKind::Text),
            Field::new("size", FieldKind::Size).or(&["bytes"]),
            Field::new("layer", FieldKind::Text),
            Field::new("step", FieldKind::Text),
            Field::new("tag", FieldKind::Text).or(&["tags"]),
            Field::new("age", FieldKind::Time).or(&["modified_at"]),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "path" => Some(Value::Text(lossy(&self.entry.path))),
            "kind" => Some(Value::Text(Cow::Borrowed(self.entry.kind.name()))),
            "size" => Some(Value::Size(self.entry.size)),
            "layer" => Some(Value::Text(Cow::Owned(self.layer.to_string()))),
            "step" => self.step.as_deref().map(|s| Value::Text(Cow::Borrowed(s))),
            "tag" => Some(Value::Texts(self.tags().into_iter().map(Cow::Borrowed).collect())),
            "age" => self.time().map(Value::Time),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        lossy(&self.entry.path)
    }
}

impl Item for FoundItem<'_> {
    const TYPE: &'static str = "found";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("LAYER", |f: &Self| Cell::digest(f.layer)),
            Column::words("MODE", |f: &Self| {
                let tone = if f.entry.kind.is_whiteout() { Tone::Warn } else { Tone::Plain };
                Cell::text(mode_string(f.entry.kind, f.entry.mode)).tone(tone)
            }),
            Column::numbers("SIZE", |f: &Self| Cell::size((f.entry.kind == EntryKind::File).then_some(f.entry.size)))
                .field("bytes"),
            Column::words("PATH", |f: &Self| Cell::text(lossy(&f.entry.path))).cut_middle(),
            Column::words("VERSIONS", |f: &Self| Cell::text(f.who())).cut_end(),
            Column::words("STEP", |f: &Self| Cell::known(f.step.as_deref())).cut_end().if_known().drop(1),
        ]
    }
}
