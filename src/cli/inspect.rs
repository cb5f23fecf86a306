//! `inspect`: one version in full.

use super::Command;
use super::choice::{Choice, Chosen};
use super::failure::{Exit, Outcome};
use super::item::IndexItem;
use super::output::{Cell, Column, Item, Output, Tone};
use super::session::Session;
use crate::model::cache::{Cache, Compression, Form};
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row, Value};
use crate::model::rows::IndexRow;
use crate::model::text;
use crate::model::units::{self, Bytes};
use crate::ops::names::StepNames;
use clap::Parser;
use serde::{Serialize, Serializer};
use std::borrow::Cow;
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
        let names = session.step_names()?;
        let chosen = self.choice.load(session)?;
        let item = Detail::of(&chosen, &names);
        if session.out.format == super::output::Format::Table {
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
    layer_sizes: Option<LayerSizes>,
    compressions: BTreeMap<Compression, usize>,
    platforms: BTreeSet<&'a str>,
    largest: Vec<Large>,
    cache_from: Option<String>,
}

/// Bytes of unique layer blobs.
#[derive(Clone, Copy, Serialize)]
struct LayerSizes {
    min_bytes: u64,
    median_bytes: u64,
    max_bytes: u64,
}

#[derive(Serialize)]
struct Large {
    number: usize,
    digest: Digest,
    bytes: u64,
    step: Option<String>,
}

impl<'a> Detail<'a> {
    fn of(chosen: &'a Chosen, names: &StepNames) -> Self {
        let index = chosen.index();
        let cache = index.cache.as_deref();
        let layers = cache.map(|c| c.layers.as_slice()).unwrap_or_default();
        let mut compressions = BTreeMap::new();
        layers.iter().for_each(|layer| *compressions.entry(layer.compression).or_insert(0) += 1);
        let largest = cache.map(|c| largest(c, names)).unwrap_or_default();
        Self {
            item: IndexItem(IndexRow { index, kind: chosen.location().kind() }),
            layer_sizes: cache.and_then(layer_sizes),
            compressions,
            platforms: layers.iter().filter_map(|l| l.platform.as_deref()).collect(),
            largest,
            cache_from: chosen.location().cache_from(Some(index.digest), None).ok(),
        }
    }

    fn describe(&self, out: &mut Output) -> Outcome<()> {
        let index = self.item.index();
        let size = |bytes: u64| Bytes(bytes).show(out.look.sizes);
        let mut rows: Vec<(&str, String)> = vec![
            ("digest", index.digest.to_string()),
            ("tags", if index.tags.is_empty() { "none".to_owned() } else { index.tags.join(", ") }),
            ("form", index.form.map_or("unknown", Form::name).to_owned()),
        ];
        if index.is_dangling() {
            rows.push(("state", "dangling: no tag leads here, use it by its digest".to_owned()));
        }
        if let Some(time) = index.time() {
            let from = if index.created.is_some() { "" } else { ", by the file's own time" };
            rows.push(("made", format!("{} ago ({}{from})", units::age(out.look.now, time), units::rfc3339(time))));
        }
        match &index.summary {
            Some(summary) => rows.extend([
                ("mode", format!("{} (worked out from its records)", summary.mode.name())),
                (
                    "records",
                    format!(
                        "{}, {} with a result, {} sinks",
                        summary.records, summary.records_with_result, summary.sinks
                    ),
                ),
                ("layers", format!("{} entries, {} blobs", summary.layers, summary.unique_blobs)),
                (
                    "size",
                    format!("{}; a mode=min export would hold {}", size(summary.max_bytes), size(summary.min_bytes)),
                ),
            ]),
            None if index.form == Some(Form::Image) => rows.push(("cache", "none: a plain image".to_owned())),
            None => {}
        }
        rows.push((
            "here",
            format!("{} only this version needs, {} shared", size(index.exclusive_bytes), size(index.shared_bytes)),
        ));
        if let Some(sizes) = self.layer_sizes {
            let LayerSizes { min_bytes, median_bytes, max_bytes } = sizes;
            let (min, median, max) = (size(min_bytes), size(median_bytes), size(max_bytes));
            rows.push(("blobs", format!("min {min}, median {median}, max {max}")));
        }
        if !self.compressions.is_empty() {
            let all: Vec<_> = self.compressions.iter().map(|(c, count)| format!("{} {count}", c.name())).collect();
            rows.push(("packed", all.join(", ")));
        }
        if !self.platforms.is_empty() {
            rows.push(("platforms", self.platforms.iter().copied().collect::<Vec<_>>().join(", ")));
        }
        for (at, large) in self.largest.iter().enumerate() {
            let step = large.step.clone().unwrap_or_else(|| large.digest.short());
            let line = format!("{}  #{} {step}", text::pad_left(&size(large.bytes), 10), large.number);
            rows.push((if at == 0 { "largest" } else { "" }, line));
        }
        if let Some(from) = &self.cache_from {
            rows.push(("use it", format!("--cache-from {}", text::shell_quote(from))));
        }
        for (name, value) in rows {
            let name = out.paint(&format!("{name:<10}"), Tone::Dim);
            let value = out.paint(&value, Tone::Plain);
            out.line(&format!("{name}{value}"))?;
        }
        for (at, missing) in index.missing.iter().enumerate() {
            let name = out.paint(if at == 0 { "missing   " } else { "          " }, Tone::Bad);
            out.line(&format!("{name}{missing}"))?;
        }
        for finding in &index.findings {
            let name = out.paint(&format!("{:<10}", finding.severity.name()), Tone::Bad);
            let message = out.paint(&finding.message, Tone::Plain);
            out.line(&format!("{name}{message}"))?;
        }
        Ok(())
    }
}

fn unique(cache: &Cache) -> Vec<(u64, usize)> {
    let mut seen = BTreeSet::new();
    let fresh = cache.layers.iter().enumerate().filter(|(_, layer)| seen.insert(layer.blob));
    fresh.filter_map(|(number, layer)| Some((layer.size?, number))).collect()
}

fn layer_sizes(cache: &Cache) -> Option<LayerSizes> {
    let mut sizes: Vec<u64> = unique(cache).into_iter().map(|(size, _)| size).collect();
    sizes.sort_unstable();
    Some(LayerSizes { min_bytes: *sizes.first()?, median_bytes: sizes[sizes.len() / 2], max_bytes: *sizes.last()? })
}

fn largest(cache: &Cache, names: &StepNames) -> Vec<Large> {
    let mut layers = unique(cache);
    layers.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let large = layers.into_iter().take(LARGEST).map(|(bytes, number)| {
        let layer = &cache.layers[number];
        Large { number, digest: layer.blob, bytes, step: names.of(layer).map(|n| n.step.to_string()) }
    });
    large.collect()
}

impl Serialize for Detail<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            #[serde(flatten)]
            index: &'a IndexItem<'a>,
            layer_sizes: Option<LayerSizes>,
            compressions: &'a BTreeMap<Compression, usize>,
            platforms: &'a BTreeSet<&'a str>,
            largest: &'a [Large],
            cache_from: Option<&'a str>,
        }
        Fields {
            index: &self.item,
            layer_sizes: self.layer_sizes,
            compressions: &self.compressions,
            platforms: &self.platforms,
            largest: &self.largest,
            cache_from: self.cache_from.as_deref(),
        }
        .serialize(serializer)
    }
}

impl Row for Detail<'_> {
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

impl Item for Detail<'_> {
    const TYPE: &'static str = "index";

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("DIGEST", |d: &Self| Cell::digest(d.item.index().digest)),
            Column::words("TAG", |d: &Self| super::item::tags(&d.item)),
            Column::words("STATE", |d: &Self| d.item.state().cell()),
            Column::numbers("MIN", |d: &Self| Cell::size(d.item.index().summary.map(|s| s.min_bytes))),
            Column::numbers("MAX", |d: &Self| Cell::size(d.item.index().summary.map(|s| s.max_bytes))),
            Column::numbers("AGE", |d: &Self| Cell::time(d.item.index().time())),
        ]
    }
}
