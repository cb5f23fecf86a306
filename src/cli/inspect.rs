//! `inspect`: one version in full.

use super::Command;
use super::choice::{Choice, Chosen};
use super::failure::{Exit, Outcome};
use super::item::{IndexItem, condition};
use super::output::{Cell, Column, Format, Item, Output, Tone};
use super::session::Session;
use crate::model::cache::{Cache, Compression, Form};
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row};
use crate::model::finding::{Finding, Problem};
use crate::model::inventory::{CacheIndex, Condition};
use crate::model::rows::IndexRow;
use crate::model::text;
use crate::model::units::{self, Bytes, count, thousands};
use crate::ops::names::StepNames;
use crate::ops::versions::{Version, history};
use clap::Parser;
use jiff::{Timestamp, Unit};
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// Show one version in full
///
/// The version is the one that the location's digest= or tag= names, else the one tagged latest, else the only one.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck inspect .buildx-cache --tag main
  cachedeck inspect .buildx-cache --digest 2ea56c9c
  cachedeck inspect --json type=local,src=.buildx-cache,tag=main | jq '.items[0].min_bytes'")]
pub(super) struct Inspect {
    #[command(flatten)]
    choice: Choice,
}

impl Command for Inspect {
    const NAME: &'static str = "inspect";

    fn run(self, session: &mut Session) -> Outcome {
        session.ask_names(&[])?;
        let chosen = self.choice.load(session)?;
        let names = session.step_names()?;
        let item = Detail::of(&chosen, &names);
        if matches!(session.out.format, Format::Table | Format::Wide) {
            item.describe(&mut session.out)?;
            session.out.flush()?;
        } else {
            session.out.list("index", &[chosen.section(vec![item])], false)?;
        }
        Ok(Exit::Done)
    }
}

/// How many of the largest layers are named.
const LARGEST: usize = 5;

struct Detail<'a> {
    item: IndexItem<'a>,
    place: String,
    version: Option<Version<'a>>,
    layer_sizes: Option<LayerSizes>,
    compressions: BTreeMap<Compression, usize>,
    platforms: BTreeSet<&'a str>,
    largest: Vec<LayerPart>,
    absent: Vec<LayerPart>,
    cache_from: Option<String>,
}

/// Bytes of unique layer blobs.
#[derive(Clone, Copy, Serialize)]
struct LayerSizes {
    min_bytes: u64,
    median_bytes: u64,
    max_bytes: u64,
}

/// A layer that is worth a line.
#[derive(Serialize)]
struct LayerPart {
    number: usize,
    digest: Digest,
    bytes: Option<u64>,
    step: Option<String>,
}

impl<'a> Detail<'a> {
    fn of(chosen: &'a Chosen, names: &StepNames) -> Self {
        let index = chosen.index();
        let cache = index.cache.as_deref();
        let layers = cache.map(|c| c.layers.as_slice()).unwrap_or_default();
        let mut compressions = BTreeMap::new();
        layers.iter().for_each(|layer| *compressions.entry(layer.compression).or_insert(0) += 1);
        let part = |number: usize| {
            let layer = &layers[number];
            let step = names.of(layer).map(|name| name.step.to_string());
            LayerPart { number, digest: layer.blob, bytes: layer.size, step }
        };
        let unique = cache.map(unique).unwrap_or_default();
        let is_absent = |&number: &usize| index.missing.contains(&layers[number].blob);
        let absent = unique.iter().copied().filter(is_absent).map(part).collect();
        let mut largest: Vec<LayerPart> = unique.into_iter().map(part).collect();
        largest.sort_by_key(|layer| (std::cmp::Reverse(layer.bytes), layer.number));
        let layer_sizes = layer_sizes(&largest);
        largest.truncate(LARGEST);
        Self {
            item: IndexItem(IndexRow { index, kind: chosen.location().kind() }),
            place: chosen.location().title(),
            version: history(&chosen.loaded.inventory).into_iter().find(|v| v.index.digest == index.digest),
            layer_sizes,
            compressions,
            platforms: layers.iter().filter_map(|l| l.platform.as_deref()).collect(),
            largest,
            absent,
            cache_from: chosen.location().cache_from(index.known_digest(), index.name()).ok(),
        }
    }

    /// A line a fact.
    fn describe(&self, out: &mut Output) -> Outcome<()> {
        let mut facts = self.facts(out);
        facts.extend(self.damage(out));
        if let Some(from) = &self.cache_from {
            facts.push(("use it", format!("--cache-from {}", text::shell_quote(from)), Tone::Plain));
        }
        let mut before = "";
        for (name, value, tone) in facts {
            let shown = if name == before { "" } else { name };
            let name_tone = if tone == Tone::Plain { Tone::Dim } else { tone };
            let name_cell = out.paint(&format!("{shown:<10}"), name_tone);
            let value = out.paint(&value, Tone::Plain);
            out.line(&format!("{name_cell}{value}"))?;
            before = name;
        }
        Ok(())
    }

    fn facts(&self, out: &Output) -> Vec<(&'static str, String, Tone)> {
        let index = self.item.index();
        let size = |bytes: u64| Bytes(bytes).show(out.look.sizes);
        let mut facts: Vec<(&'static str, String)> = vec![
            ("location", self.place.clone()),
            ("digest", index.known_digest().map_or("not known".to_owned(), |digest| digest.to_string())),
            ("tags", if index.tags.is_empty() { "none".to_owned() } else { index.tags.join(", ") }),
            ("state", state(index)),
            ("form", index.form.map_or("unknown", Form::name).to_owned()),
        ];
        if let Some(time) = index.time() {
            let from = if index.created.is_some() { "" } else { ", by the file's own time" };
            facts.push(("made", format!("{} ago ({}{from})", units::age(out.look.now, time), to_the_second(time))));
        }
        match &index.summary {
            Some(summary) => {
                facts.push(("mode", format!("{} (worked out from its records)", summary.mode.name())));
                let min = size(summary.min_bytes);
                facts.push(("size", format!("{}; a mode=min export would hold {min}", size(summary.max_bytes))));
            }
            None if index.form == Some(Form::Image) => facts.push(("cache", "none: a plain image".to_owned())),
            None => {}
        }
        let (own, shared) = (size(index.exclusive_bytes), size(index.shared_bytes));
        facts.push(("on disk", format!("{own} that only this version needs, {shared} shared with others")));
        if let Some(Version { added_bytes, previous: Some(previous), .. }) = self.version {
            let name = previous.name().map_or_else(|| previous.short(), str::to_owned);
            facts.push(("added", format!("{} that no older version has; the one before is {name}", size(added_bytes))));
        }
        if let Some(summary) = &index.summary {
            let (layers, blobs) = (thousands(summary.layers), count(summary.unique_blobs, "blob"));
            facts.push(("layers", format!("{layers} in {blobs}{}{}", self.packing(), self.spread(size))));
        }
        if !self.platforms.is_empty() {
            facts.push(("platforms", self.platforms.iter().copied().collect::<Vec<_>>().join(", ")));
        }
        if let Some(summary) = &index.summary {
            let (records, results) = (thousands(summary.records), thousands(summary.records_with_result));
            facts.push(("records", format!("{records}, {results} with a result, {}", count(summary.sinks, "sink"))));
        }
        let largest = self.largest.iter().filter_map(|layer| {
            let step = layer.step.clone().unwrap_or_else(|| layer.digest.short());
            Some(("largest", format!("{}  #{} {step}", text::pad_left(&size(layer.bytes?), 10), layer.number)))
        });
        facts.extend(largest);
        facts.into_iter().map(|(name, value)| (name, value, Tone::Plain)).collect()
    }

    /// How layers are packed.
    fn packing(&self) -> String {
        let names: Vec<String> = match self.compressions.len() {
            1 => self.compressions.keys().map(|c| c.name().to_owned()).collect(),
            _ => self.compressions.iter().map(|(c, layers)| format!("{layers} {}", c.name())).collect(),
        };
        if names.is_empty() { String::new() } else { format!(", {}", names.join(", ")) }
    }

    fn spread(&self, size: impl Fn(u64) -> String) -> String {
        let Some(LayerSizes { min_bytes, median_bytes, max_bytes }) = self.layer_sizes else { return String::new() };
        format!(", {} to {}, median {}", size(min_bytes), size(max_bytes), size(median_bytes))
    }

    /// What is missing and what else is wrong.
    fn damage(&self, out: &Output) -> Vec<(&'static str, String, Tone)> {
        let index = self.item.index();
        let mut damage = Vec::new();
        for digest in &index.missing {
            let about = self.absent.iter().find(|layer| layer.digest == *digest).map(|layer| {
                let size = layer.bytes.map(|bytes| format!(", {}", Bytes(bytes).show(out.look.sizes)));
                let step = layer.step.as_deref().map(|step| format!(", {step}"));
                format!("  layer #{}{}{}", layer.number, size.unwrap_or_default(), step.unwrap_or_default())
            });
            damage.push(("missing", format!("{digest}{}", about.unwrap_or_default()), Tone::Bad));
        }
        let findings = index.findings.iter().filter(|finding| finding.problem != Problem::BlobMissing);
        damage.extend(findings.map(|finding| (finding.severity.name(), finding.message.clone(), Tone::Bad)));
        let remedy = match index.findings.iter().find_map(|finding| finding.remedy.clone()) {
            None if !index.missing.is_empty() => Finding::new(Problem::BlobMissing, None, "").remedy,
            remedy => remedy,
        };
        damage.extend(remedy.map(|remedy| ("remedy", remedy, Tone::Plain)));
        damage
    }
}

fn state(index: &CacheIndex) -> String {
    let dangling = "no tag leads here any more, builds can use it by its digest";
    match (index.condition(), index.is_dangling()) {
        (Condition::Live, _) => "live".to_owned(),
        (Condition::Dangling, _) => format!("dangling: {dangling}"),
        (Condition::Damaged, false) => "damaged: a build that needs what is missing fails".to_owned(),
        (Condition::Damaged, true) => format!("damaged, and dangling: {dangling}"),
    }
}

/// People count no nanoseconds; JSON has them.
fn to_the_second(time: Timestamp) -> String {
    units::rfc3339(time.round(Unit::Second).unwrap_or(time))
}

/// The first entry of each layer blob.
fn unique(cache: &Cache) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let fresh = cache.layers.iter().enumerate().filter(|(_, layer)| seen.insert(layer.blob));
    fresh.map(|(number, _)| number).collect()
}

/// Of layers that are sorted by size, the largest first.
fn layer_sizes(layers: &[LayerPart]) -> Option<LayerSizes> {
    let sizes: Vec<u64> = layers.iter().rev().filter_map(|layer| layer.bytes).collect();
    Some(LayerSizes { min_bytes: *sizes.first()?, median_bytes: sizes[sizes.len() / 2], max_bytes: *sizes.last()? })
}

impl Serialize for Detail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            #[serde(flatten)]
            index: &'a IndexItem<'a>,
            previous: Option<Digest>,
            delta_bytes: Option<i64>,
            added_bytes: Option<u64>,
            layer_sizes: Option<LayerSizes>,
            compressions: &'a BTreeMap<Compression, usize>,
            platforms: &'a BTreeSet<&'a str>,
            largest: &'a [LayerPart],
            cache_from: Option<&'a str>,
        }
        Fields {
            index: &self.item,
            previous: self.version.and_then(|version| version.previous).map(|previous| previous.digest),
            delta_bytes: self.version.and_then(|version| version.delta_bytes),
            added_bytes: self.version.map(|version| version.added_bytes),
            layer_sizes: self.layer_sizes,
            compressions: &self.compressions,
            platforms: &self.platforms,
            largest: &self.largest,
            cache_from: self.cache_from.as_deref(),
        }
        .serialize(serializer)
    }
}

impl Item for Detail<'_> {
    const TYPE: &'static str = "index";

    fn fields() -> &'static [Field] {
        IndexRow::fields()
    }

    fn row(&self) -> impl Row {
        self.item.0
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("DIGEST", |d: &Self| Cell::digest(d.item.index().digest)),
            Column::words("TAG", |d: &Self| super::item::tags(&d.item)).field("tags"),
            Column::words("STATE", |d: &Self| condition(d.item.index())),
            Column::numbers("MIN", |d: &Self| Cell::size(d.item.index().summary.map(|s| s.min_bytes)))
                .field("min_bytes"),
            Column::numbers("MAX", |d: &Self| Cell::size(d.item.index().summary.map(|s| s.max_bytes)))
                .field("max_bytes"),
            Column::numbers("AGE", |d: &Self| Cell::time(d.item.index().time())).field("time"),
        ]
    }
}
