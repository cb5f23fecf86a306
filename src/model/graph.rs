//! The two graphs of a cache: its layers as a forest of chains, its records as a directed acyclic graph; and the sizes
//! that follow from them. Every walk is iterative: a chain may be 200,000 long.

use crate::model::cache::{Cache, Mode, Outcome, Record};
use crate::model::digest::Digest;
use std::collections::{HashMap, HashSet};

/// The layer table as a forest: an entry's children are the entries that name it as parent.
#[derive(Clone, Debug)]
pub struct LayerForest {
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    depth: Vec<usize>,
    subtree: Vec<u64>,
}

impl LayerForest {
    /// Builds the forest; siblings are ordered by the bytes below them, largest first, then by index.
    pub fn new(cache: &Cache) -> Self {
        let count = cache.layers.len();
        let mut children = vec![Vec::new(); count];
        let mut roots = Vec::new();
        for (index, layer) in cache.layers.iter().enumerate() {
            match layer.parent {
                Some(parent) => children[parent].push(index),
                None => roots.push(index),
            }
        }
        let mut order = roots.clone();
        let mut depth = vec![0; count];
        let mut at = 0;
        while at < order.len() {
            let node = order[at];
            for &child in &children[node] {
                depth[child] = depth[node] + 1;
                order.push(child);
            }
            at += 1;
        }
        let mut subtree: Vec<u64> = cache.layers.iter().map(|l| l.size.unwrap_or(0)).collect();
        for &node in order.iter().rev() {
            if let Some(parent) = cache.layers[node].parent {
                subtree[parent] = subtree[parent].saturating_add(subtree[node]);
            }
        }
        let by_size = |a: &usize, b: &usize| subtree[*b].cmp(&subtree[*a]).then(a.cmp(b));
        children.iter_mut().for_each(|c| c.sort_by(by_size));
        roots.sort_by(by_size);
        Self { children, roots, depth, subtree }
    }

    /// Entries without a parent, largest subtree first.
    pub fn roots(&self) -> &[usize] {
        &self.roots
    }

    /// Entries right above `layer`, largest subtree first.
    pub fn children(&self, layer: usize) -> &[usize] {
        &self.children[layer]
    }

    /// How many parents `layer` has.
    pub fn depth(&self, layer: usize) -> usize {
        self.depth[layer]
    }

    /// Bytes of `layer` and all entries above it.
    pub fn subtree_bytes(&self, layer: usize) -> u64 {
        self.subtree[layer]
    }

    /// All entries, parents before children, as a tree is drawn.
    pub fn preorder(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.children.len());
        let mut stack: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(node) = stack.pop() {
            order.push(node);
            stack.extend(self.children[node].iter().rev());
        }
        order
    }

    /// Entries that no other entry builds on.
    pub fn leaves(&self) -> Vec<usize> {
        (0..self.children.len()).filter(|&l| self.children[l].is_empty()).collect()
    }

    /// `layer` with everything below and above it: the part of the forest it belongs to.
    pub fn family(&self, cache: &Cache, layer: usize) -> Vec<usize> {
        let mut family = cache.chain(layer);
        let mut stack: Vec<usize> = self.children[layer].clone();
        while let Some(node) = stack.pop() {
            family.push(node);
            stack.extend(&self.children[node]);
        }
        family.sort_unstable();
        family
    }
}

/// The records as a graph. A record's inputs are what it was made from; its dependents are made from it.
#[derive(Clone, Debug)]
pub struct RecordGraph {
    dependents: Vec<Vec<usize>>,
    roots: Vec<usize>,
    sinks: Vec<usize>,
}

impl RecordGraph {
    /// Builds the graph.
    pub fn new(cache: &Cache) -> Self {
        let mut dependents = vec![Vec::new(); cache.records.len()];
        let mut roots = Vec::new();
        for (index, record) in cache.records.iter().enumerate() {
            if record.inputs.is_empty() {
                roots.push(index);
            }
            for link in record.inputs.iter().flatten() {
                // Inputs may name one record many times; one visit adds them in a row, so the last one tells.
                if dependents[link.record].last() != Some(&index) {
                    dependents[link.record].push(index);
                }
            }
        }
        let sinks = (0..dependents.len()).filter(|&r| dependents[r].is_empty()).collect();
        Self { dependents, roots, sinks }
    }

    /// Records made from `record`, by index.
    pub fn dependents(&self, record: usize) -> &[usize] {
        &self.dependents[record]
    }

    /// Records with no inputs: sources.
    pub fn roots(&self) -> &[usize] {
        &self.roots
    }

    /// Records that no other record is made from: the build's results.
    pub fn sinks(&self) -> &[usize] {
        &self.sinks
    }

    /// `record` with all it was made from and all that is made from it, by index.
    pub fn family(&self, cache: &Cache, record: usize) -> Vec<usize> {
        let mut family = HashSet::from([record]);
        let mut stack = vec![record];
        while let Some(node) = stack.pop() {
            stack.extend(cache.records[node].inputs.iter().flatten().map(|l| l.record).filter(|&r| family.insert(r)));
        }
        let mut above = vec![record];
        while let Some(node) = above.pop() {
            above.extend(self.dependents[node].iter().copied().filter(|&r| family.insert(r)));
        }
        let mut family: Vec<usize> = family.into_iter().collect();
        family.sort_unstable();
        family
    }
}

/// Layer entries that a fresh `mode=min` export would hold: the chains of the sinks' results, or, where a sink has no
/// result, of its inputs' nearest results.
pub fn min_layers(cache: &Cache, graph: &RecordGraph) -> Vec<usize> {
    let mut seen = vec![false; cache.records.len()];
    let mut taken = Taken::new(cache);
    let mut stack = graph.sinks().to_vec();
    while let Some(at) = stack.pop() {
        if std::mem::replace(&mut seen[at], true) {
            continue;
        }
        let record = &cache.records[at];
        if record.results.is_empty() {
            stack.extend(record.inputs.iter().flatten().map(|l| l.record));
        }
        taken.add_results(cache, record);
    }
    taken.layers()
}

/// A set of layer entries. It remembers which were added with all of their parents, so that many long chains over the
/// same entries cost no more than the table is long.
struct Taken {
    entry: Vec<bool>,
    with_parents: Vec<bool>,
}

impl Taken {
    fn new(cache: &Cache) -> Self {
        Self { entry: vec![false; cache.layers.len()], with_parents: vec![false; cache.layers.len()] }
    }

    fn add_results(&mut self, cache: &Cache, record: &Record) {
        for outcome in &record.results {
            match outcome {
                Outcome::Layer { layer, .. } => {
                    let mut next = Some(*layer);
                    while let Some(layer) = next.filter(|&l| !self.with_parents[l]) {
                        self.entry[layer] = true;
                        self.with_parents[layer] = true;
                        next = cache.layers[layer].parent;
                    }
                }
                Outcome::Chain { layers, .. } => layers.iter().for_each(|&l| self.entry[l] = true),
            }
        }
    }

    fn layers(&self) -> Vec<usize> {
        (0..self.entry.len()).filter(|&l| self.entry[l]).collect()
    }
}

/// Counts and sizes of one cache. Bytes are sums over unique blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Entries of the layer table.
    pub layers: usize,
    /// Different blobs among them.
    pub unique_blobs: usize,
    /// Cache keys.
    pub records: usize,
    /// Records with no inputs.
    pub roots: usize,
    /// Records that no other links to.
    pub sinks: usize,
    /// Records that have a result.
    pub records_with_result: usize,
    /// Bytes of all layers.
    pub max_bytes: u64,
    /// Bytes of the layers that a fresh `mode=min` export would hold.
    pub min_bytes: u64,
    /// Whether there is more than that.
    pub mode: Mode,
}

impl Summary {
    /// Adds everything up.
    pub fn of(cache: &Cache) -> Self {
        let graph = RecordGraph::new(cache);
        let min = min_layers(cache, &graph);
        let sizes = blob_sizes(cache);
        let min_blobs: HashSet<Digest> = min.into_iter().map(|l| cache.layers[l].blob).collect();
        let max_bytes = sizes.values().fold(0, |sum: u64, size| sum.saturating_add(*size));
        let min_bytes = min_blobs.iter().fold(0, |sum: u64, blob| sum.saturating_add(sizes[blob]));
        let mut results = Taken::new(cache);
        cache.records.iter().for_each(|r| results.add_results(cache, r));
        let beyond = results.layers().into_iter().any(|l| !min_blobs.contains(&cache.layers[l].blob));
        Self {
            layers: cache.layers.len(),
            unique_blobs: sizes.len(),
            records: cache.records.len(),
            roots: graph.roots().len(),
            sinks: graph.sinks().len(),
            records_with_result: cache.records.iter().filter(|r| !r.results.is_empty()).count(),
            max_bytes,
            min_bytes,
            mode: if beyond { Mode::Max } else { Mode::Min },
        }
    }
}

/// The different blobs with their bytes. Where entries of one blob disagree, the first that says anything is taken, so
/// that it counts the same in every sum.
fn blob_sizes(cache: &Cache) -> HashMap<Digest, u64> {
    let mut sizes = HashMap::with_capacity(cache.layers.len());
    for layer in &cache.layers {
        let size = sizes.entry(layer.blob).or_insert(0);
        if *size == 0 {
            *size = layer.size.unwrap_or(0);
        }
    }
    sizes
}

#[cfg(test)]
mod tests;
