//! All of a graph for programs: nothing left out, nothing cut, indices as in the cache config.

use super::{Graph, Subject};
use crate::model::cache::{Compression, Layer, Link, Outcome, Record};
use crate::model::digest::Digest;
use crate::model::graph::{LayerForest, RecordGraph, min_layers};
use crate::model::text;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Write as _;

/// Name and version of what [`write()`] writes.
const SCHEMA: &str = "cachedeck.graph/1";

#[derive(Serialize)]
struct Document<'a, N> {
    schema: &'static str,
    graph: &'static str,
    title: &'a str,
    /// Layers without a parent; records that nothing is made from.
    roots: Vec<usize>,
    nodes: Vec<N>,
}

#[derive(Serialize)]
struct LayerNode<'a> {
    number: usize,
    digest: Digest,
    parent: Option<usize>,
    step: Option<&'a str>,
    step_source: Option<&'static str>,
    bytes: Option<u64>,
    /// Its own and those of all layers above it.
    subtree_bytes: u64,
    compression: Compression,
    created_at: Option<Timestamp>,
    /// Whether a `mode=min` export would hold it.
    min: bool,
    missing: bool,
}

#[derive(Serialize)]
struct RecordNode<'a> {
    number: usize,
    digest: Digest,
    inputs: Vec<Vec<Input<'a>>>,
    results: Vec<ResultNode<'a>>,
}

#[derive(Serialize)]
struct Input<'a> {
    record: usize,
    selector: Option<&'a str>,
}

#[derive(Serialize)]
struct ResultNode<'a> {
    /// It is this layer with all its parents,
    layer: Option<usize>,
    /// or exactly these.
    chain: Option<&'a [usize]>,
    created_at: Option<Timestamp>,
}

/// Writes the graph.
pub(super) fn write(subject: &Subject<'_>, graph: Graph) -> String {
    let json = match graph {
        Graph::Layers => layers(subject),
        Graph::Records => records(subject),
    };
    // Numbers, texts and lists cannot fail to be written.
    visible(&json.unwrap_or_default()) + "\n"
}

fn layers(subject: &Subject<'_>) -> serde_json::Result<String> {
    let cache = subject.cache;
    let forest = LayerForest::new(cache);
    let mut min = vec![false; cache.layers.len()];
    min_layers(cache, &RecordGraph::new(cache)).into_iter().for_each(|l| min[l] = true);
    let node = |(index, layer): (usize, &Layer)| {
        let step = subject.steps.get(index).and_then(Option::as_ref);
        LayerNode {
            number: index,
            digest: layer.blob,
            parent: layer.parent,
            step: step.map(|s| &*s.step),
            step_source: step.map(|s| s.source.name()),
            bytes: layer.size,
            subtree_bytes: forest.subtree_bytes(index),
            compression: layer.compression,
            created_at: layer.created,
            min: min[index],
            missing: subject.missing.binary_search(&layer.blob).is_ok(),
        }
    };
    let nodes: Vec<LayerNode<'_>> = cache.layers.iter().enumerate().map(node).collect();
    document(subject, Graph::Layers, forest.roots().to_vec(), nodes)
}

fn records(subject: &Subject<'_>) -> serde_json::Result<String> {
    let graph = RecordGraph::new(subject.cache);
    let nodes: Vec<RecordNode<'_>> = subject.cache.records.iter().enumerate().map(record).collect();
    document(subject, Graph::Records, graph.sinks().to_vec(), nodes)
}

fn record((index, record): (usize, &Record)) -> RecordNode<'_> {
    RecordNode {
        number: index,
        digest: record.digest,
        inputs: record.inputs.iter().map(|a| a.iter().map(Input::of).collect()).collect(),
        results: record.results.iter().map(ResultNode::of).collect(),
    }
}

impl<'a> Input<'a> {
    fn of(link: &'a Link) -> Self {
        Self { record: link.record, selector: link.selector.as_deref() }
    }
}

impl<'a> ResultNode<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Layer { layer, created } => Self { layer: Some(*layer), chain: None, created_at: *created },
            Outcome::Chain { layers, created } => Self { layer: None, chain: Some(layers), created_at: *created },
        }
    }
}

fn document<N: Serialize>(
    subject: &Subject<'_>,
    graph: Graph,
    roots: Vec<usize>,
    nodes: Vec<N>,
) -> serde_json::Result<String> {
    let document = Document { schema: SCHEMA, graph: graph.name(), title: subject.title, roots, nodes };
    serde_json::to_string_pretty(&document)
}

/// `json` with what a terminal would act on spelt out. Outside strings there is nothing of that sort but line ends.
fn visible(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c == '\n' || !text::is_hostile(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut units) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}
