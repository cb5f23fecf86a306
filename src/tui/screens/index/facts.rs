//! What the tabs of one version share: its cache with forest and graph, steps, and who uses what. Made once when data
//! changes, never while drawing.

use crate::model::cache::{Cache, Outcome};
use crate::model::graph::{LayerForest, RecordGraph, min_layers};
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::text;
use crate::ops::names::StepName;
use crate::tui::screen::Look;
use crate::tui::screens::files::Files;
use crate::tui::shared::{Shared, Target};
use ratatui::text::Span;
use std::sync::Arc;

/// What is known of one version. Empty while nothing is.
pub struct Facts {
    /// Which version.
    pub target: Target,
    /// The revision of its place.
    pub revision: u64,
    /// Everything of its place.
    pub inventory: Option<Arc<Inventory>>,
    /// Its number among the indexes there.
    at: Option<usize>,
    /// The cache.
    pub cache: Arc<Cache>,
    /// Layers as a forest.
    pub forest: LayerForest,
    /// Records as a graph.
    pub graph: RecordGraph,
    /// Whether a `mode=min` export would hold the layer.
    pub min: Vec<bool>,
    /// The step of each layer, where something tells it.
    pub steps: Vec<Option<StepName>>,
    /// Records whose result each layer is the top of.
    pub records_of: Vec<Vec<u32>>,
    /// Versions that reach each layer's blob.
    pub referrers: Vec<u32>,
    /// The layer on top of each record's first result.
    pub top_of: Vec<Option<usize>>,
    /// Bytes of the largest layer.
    pub largest: u64,
}

impl Facts {
    /// What is known of `target` now.
    pub fn of(target: Target, shared: &Shared) -> Facts {
        let inventory = shared.places.get(target.place).and_then(|place| place.inventory.clone());
        let at = inventory.as_ref().and_then(|i| i.indexes.iter().position(|index| index.digest == target.digest));
        let index = inventory.as_ref().zip(at).map(|(inventory, at)| &inventory.indexes[at]);
        let cache = index.and_then(|index| index.cache.clone()).unwrap_or_default();
        let graph = RecordGraph::new(&cache);
        let mut min = vec![false; cache.layers.len()];
        min_layers(&cache, &graph).into_iter().for_each(|layer| min[layer] = true);
        let top = |outcome: &Outcome| match outcome {
            Outcome::Layer { layer, .. } => Some(*layer),
            Outcome::Chain { layers, .. } => layers.last().copied(),
        };
        let mut records_of = vec![Vec::new(); cache.layers.len()];
        for (at, record) in cache.records.iter().enumerate() {
            record.results.iter().filter_map(top).for_each(|layer| records_of[layer].push(at as u32));
        }
        let referrers = cache.layers.iter().map(|layer| {
            let blob = inventory.as_ref().and_then(|inventory| inventory.blob(&layer.blob));
            blob.map_or(1, |blob| blob.referrers)
        });
        Facts {
            target,
            revision: shared.places.get(target.place).map_or(0, |place| place.revision),
            referrers: referrers.collect(),
            forest: LayerForest::new(&cache),
            min,
            steps: cache.layers.iter().map(|layer| shared.names.of(layer)).collect(),
            records_of,
            top_of: cache.records.iter().map(|record| record.results.iter().find_map(top)).collect(),
            largest: cache.layers.iter().filter_map(|l| l.size).max().unwrap_or(0),
            graph,
            at,
            inventory,
            cache,
        }
    }

    /// The version itself.
    pub fn index(&self) -> Option<&CacheIndex> {
        self.inventory.as_ref()?.indexes.get(self.at?)
    }

    /// The step of `layer`, safe.
    pub fn step(&self, layer: usize) -> Option<String> {
        self.steps.get(layer)?.as_ref().map(|name| text::safe(&name.step).into_owned())
    }

    /// What `layer` is called in lists: its step, else that it has none.
    pub fn layer_name(&self, layer: usize, look: Look<'_>) -> Span<'static> {
        match self.step(layer) {
            Some(step) => Span::raw(step),
            None => look.dim("unnamed"),
        }
    }

    /// The step of `record`: that of its result.
    pub fn record_step(&self, record: usize) -> Option<String> {
        self.step(self.top_of.get(record).copied().flatten()?)
    }

    /// The screen of the files of `layer`.
    pub fn files(&self, layer: usize) -> Files {
        let chain = self.cache.chain(layer).into_iter().map(|l| self.cache.layers[l].blob).collect();
        let blob = self.cache.layers[layer].blob;
        let name = match self.step(layer) {
            Some(step) => format!("#{layer} {}", text::fit_end(&step, 32, text::ELLIPSIS_ASCII)),
            None => format!("#{layer} {}", blob.short()),
        };
        Files::new(self.target.place, chain, name, self.cache.layers[layer].size)
    }

    /// Why there is nothing in the tabs, if there is nothing.
    pub fn nothing(&self, shared: &Shared) -> Option<Vec<String>> {
        let place = shared.places.get(self.target.place);
        match self.index() {
            None if self.inventory.is_some() => {
                Some(vec!["this version is gone".to_owned(), "the location changed since; q goes back".to_owned()])
            }
            None => Some(super::super::nothing_yet(shared, place, self.target.place)),
            Some(index) if index.cache.is_none() => {
                let mut lines = vec!["no cache in here that can be read".to_owned()];
                lines.extend(index.findings.iter().take(3).map(|f| text::safe(&f.message).into_owned()));
                lines.push("the raw tab shows what is written".to_owned());
                Some(lines)
            }
            Some(_) => None,
        }
    }
}
