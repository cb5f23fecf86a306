//! What is drawn, before anything is said of how: nodes with their words, in drawing order, and the links between them.
//! Untrusted text is made safe here; each format still escapes what means something to it.

use super::{Graph, Options, Subject};
use crate::model::cache::{Cache, Link as Input, Mode, Outcome, Record};
use crate::model::digest::Digest;
use crate::model::graph::{LayerForest, RecordGraph, Summary, min_layers};
use crate::model::text;
use crate::model::units::{Bytes, SizeStyle, count, thousands};
use std::collections::HashSet;

/// Longest name of a step in a picture, in bytes. Formats cut further, by cells.
const LABEL_BYTES: usize = 400;

/// Links of one record that are drawn beside those that hold the tree together.
const EXTRA_LINKS: usize = 64;

/// A graph, ready to be drawn.
#[derive(Debug)]
pub(super) struct Sketch {
    /// Which one it is.
    pub graph: Graph,
    /// What it shows. Safe text.
    pub title: String,
    /// Counts and sizes of the whole cache, in one line.
    pub facts: String,
    /// Nodes as a tree is drawn: each below its parent, siblings in order.
    pub items: Vec<Item>,
    /// For layers from an entry to the one above it; for records from a record to one of its inputs. Sorted by `from`.
    pub links: Vec<Link>,
    /// Bytes of the largest item that is one layer.
    pub largest: u64,
    /// Whether some layers are kept by `mode=min` and others are not, so that it is worth telling which.
    pub mixed: bool,
    /// How sizes are shown.
    pub sizes: SizeStyle,
}

/// A node of the picture.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// `#3` for a layer, `r3` for a record, empty for a node that stands for others.
    pub name: String,
    /// The step, or what else is known. Safe text.
    pub label: String,
    /// Whether `label` is a step.
    pub named: bool,
    /// Its digest.
    pub digest: Option<Digest>,
    /// Bytes of the layer, or of the layer that the record made.
    pub bytes: Option<u64>,
    /// Whether a `mode=min` export would hold it.
    pub min: bool,
    /// Whether a blob it needs is not there.
    pub missing: bool,
    /// How many nodes it stands for, if it is not one itself.
    pub more: Option<usize>,
    /// The layer that a record made, `#3`; empty for layers.
    pub result: String,
    /// Links to inputs that are not drawn, as there are too many.
    pub left_out: usize,
    /// The item it hangs at.
    pub parent: Option<usize>,
    /// The items that hang at it.
    pub children: Vec<usize>,
}

/// A line between two nodes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The item higher up.
    pub from: usize,
    /// The item further down.
    pub to: usize,
    /// For records: which input it is, `1`, or `1.2` for one of several alternatives; empty for an only one.
    pub number: String,
    /// For records: which part of the input matters; a digest is short. Safe text.
    pub selector: String,
    /// Whether it makes `from` the parent of `to`.
    pub holds: bool,
}

impl Link {
    fn plain(from: usize, to: usize) -> Self {
        Self { from, to, number: String::new(), selector: String::new(), holds: true }
    }

    /// Number and selector.
    pub fn label(&self) -> String {
        match self.selector.as_str() {
            "" => self.number.clone(),
            selector => format!("{} selector {selector}", self.number).trim_start().to_owned(),
        }
    }
}

impl Sketch {
    /// Chooses what to draw.
    pub fn new(subject: &Subject<'_>, graph: Graph, options: &Options) -> Self {
        let facts = Facts::new(subject);
        let forest = match graph {
            Graph::Layers => layer_forest(subject.cache),
            Graph::Records => record_forest(subject.cache),
        };
        let kept = match graph {
            Graph::Layers => facts.keep_layers(&forest, options),
            Graph::Records => keep_near(&forest, options.limit),
        };
        let (groups, group_of) = contract(&forest, &kept, |node| match graph {
            Graph::Layers => subject.cache.layers[node].size.unwrap_or(0),
            Graph::Records => 0,
        });
        let (mut items, position) = ordered(&groups, |node| match graph {
            Graph::Layers => facts.layer(node),
            Graph::Records => facts.record(node),
        });
        let mut group_at = vec![0; groups.len()];
        position.iter().enumerate().for_each(|(group, &at)| group_at[at] = group);
        let mut links = Vec::new();
        for from in 0..items.len() {
            match (items[from].more, graph) {
                (None, Graph::Records) => {
                    let record = groups[group_at[from]].first;
                    let to = |record: usize| position[group_of[record]];
                    record_links(&subject.cache.records[record], from, &mut items, &mut links, to);
                }
                // Of nodes drawn together only what hangs at them is known.
                _ => links.extend(items[from].children.iter().map(|&to| Link::plain(from, to))),
            }
        }
        let largest = items.iter().filter(|i| i.more.is_none()).filter_map(|i| i.bytes).max().unwrap_or(0);
        Self {
            graph,
            title: text::safe_within(subject.title, LABEL_BYTES).into_owned(),
            facts: facts.line(graph, options.sizes),
            items,
            links,
            largest,
            mixed: facts.summary.mode == Mode::Max,
            sizes: options.sizes,
        }
    }

    /// An item's size; empty if nothing tells it.
    pub fn size(&self, item: &Item) -> String {
        match item.bytes {
            Some(bytes) => Bytes(bytes).show(self.sizes),
            None => String::new(),
        }
    }

    /// What is known of an item beside its name: digest, result, size and whatever is out of order.
    pub fn details(&self, item: &Item) -> Vec<String> {
        let details = [
            item.digest.map(|d| d.short()).unwrap_or_default(),
            if item.result.is_empty() { String::new() } else { format!("made {}", item.result) },
            self.size(item),
            if item.missing { "missing".to_owned() } else { String::new() },
            if item.left_out > 0 { format!("{} inputs not drawn", thousands(item.left_out)) } else { String::new() },
        ];
        details.into_iter().filter(|detail| !detail.is_empty()).collect()
    }

    /// How large an item is beside the largest, from 0 to 1.
    pub fn share(&self, item: &Item) -> f64 {
        let bytes = item.bytes.unwrap_or(0).min(self.largest);
        if self.largest == 0 { 0.0 } else { bytes as f64 / self.largest as f64 }
    }
}

/// What is asked of the cache for every node.
struct Facts<'a> {
    subject: &'a Subject<'a>,
    summary: Summary,
    min: Vec<bool>,
    absent: Vec<bool>,
    /// Layers that are not there, and all that stand on them.
    broken: Vec<bool>,
}

impl<'a> Facts<'a> {
    fn new(subject: &'a Subject<'a>) -> Self {
        let cache = subject.cache;
        let mut min = vec![false; cache.layers.len()];
        min_layers(cache, &RecordGraph::new(cache)).into_iter().for_each(|l| min[l] = true);
        let absent: Vec<bool> = cache.layers.iter().map(|l| subject.missing.binary_search(&l.blob).is_ok()).collect();
        let mut broken = absent.clone();
        if absent.contains(&true) {
            for layer in LayerForest::new(cache).preorder() {
                broken[layer] |= cache.layers[layer].parent.is_some_and(|p| broken[p]);
            }
        }
        Self { subject, summary: Summary::of(cache), min, absent, broken }
    }

    fn line(&self, graph: Graph, sizes: SizeStyle) -> String {
        let s = &self.summary;
        let size = |bytes| Bytes(bytes).show(sizes);
        let counts = match graph {
            Graph::Layers => format!("{}, {}", count(s.layers, "layer"), count(s.unique_blobs, "blob")),
            Graph::Records => {
                let results = format!("{} with results", thousands(s.records_with_result));
                format!("{}, {results}, {}", count(s.records, "record"), count(s.sinks, "sink"))
            }
        };
        match s.mode {
            Mode::Min => format!("{counts}, mode=min {}", size(s.max_bytes)),
            Mode::Max => format!("{counts}, mode=max {}, of that mode=min {}", size(s.max_bytes), size(s.min_bytes)),
        }
    }

    fn step(&self, layer: usize) -> Option<String> {
        let step = self.subject.steps.get(layer)?.as_ref()?;
        Some(text::safe_within(&step.step, LABEL_BYTES).into_owned())
    }

    fn layer(&self, index: usize) -> Item {
        let layer = &self.subject.cache.layers[index];
        let step = self.step(index);
        Item {
            name: format!("#{index}"),
            named: step.is_some(),
            label: step.unwrap_or_else(|| "unnamed".to_owned()),
            digest: Some(layer.blob),
            bytes: layer.size,
            min: self.min[index],
            missing: self.absent[index],
            ..Item::default()
        }
    }

    fn record(&self, index: usize) -> Item {
        let record = &self.subject.cache.records[index];
        let tops: Vec<usize> = record
            .results
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Layer { layer, .. } => Some(*layer),
                Outcome::Chain { layers, .. } => layers.last().copied(),
            })
            .collect();
        let lost = |outcome: &Outcome| match outcome {
            Outcome::Layer { layer, .. } => self.broken[*layer],
            Outcome::Chain { layers, .. } => layers.iter().any(|&l| self.absent[l]),
        };
        let step = tops.iter().find_map(|&layer| self.step(layer));
        let named = step.is_some();
        let label = match step {
            Some(step) => step,
            None if !tops.is_empty() => "unnamed".to_owned(),
            None if record.inputs.is_empty() => "source".to_owned(),
            None => "no result kept".to_owned(),
        };
        let result = match tops.as_slice() {
            [] => String::new(),
            [one] => format!("#{one}"),
            [first, rest @ ..] => format!("#{first} and {} more", thousands(rest.len())),
        };
        Item {
            name: format!("r{index}"),
            label,
            named,
            digest: Some(record.digest),
            bytes: tops.first().and_then(|&layer| self.subject.cache.layers[layer].size),
            min: tops.iter().any(|&layer| self.min[layer]),
            missing: record.results.iter().any(lost),
            result,
            ..Item::default()
        }
    }

    /// The largest layers, without those that [`Options::fold_below`] folds away.
    fn keep_layers(&self, forest: &Forest, options: &Options) -> Vec<bool> {
        let size = |layer: usize| self.subject.cache.layers[layer].size.unwrap_or(0);
        let mut order = forest.preorder();
        // Ends and forks stay, so that the shape does.
        order.retain(|&l| size(l) >= options.fold_below || forest.children[l].len() != 1 || self.absent[l]);
        if order.len() > options.limit {
            // Stable: among equals those nearest to a root stay.
            order.sort_by_key(|&l| std::cmp::Reverse(size(l)));
            order.truncate(options.limit);
        }
        chosen(forest.children.len(), order)
    }
}

/// Any nodes that hang at one another.
struct Forest {
    roots: Vec<usize>,
    children: Vec<Vec<usize>>,
    parent: Vec<Option<usize>>,
}

impl Forest {
    fn preorder(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.children.len());
        let mut stack: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(node) = stack.pop() {
            order.push(node);
            stack.extend(self.children[node].iter().rev());
        }
        order
    }
}

fn layer_forest(cache: &Cache) -> Forest {
    let forest = LayerForest::new(cache);
    Forest {
        roots: forest.roots().to_vec(),
        children: (0..cache.layers.len()).map(|l| forest.children(l).to_vec()).collect(),
        parent: cache.layers.iter().map(|l| l.parent).collect(),
    }
}

/// Every record once, below one of those made from it: the last that a reader meets, so that all links lead downwards.
fn record_forest(cache: &Cache) -> Forest {
    let count = cache.records.len();
    let graph = RecordGraph::new(cache);
    let mut parent = vec![None; count];
    let mut children = vec![Vec::new(); count];
    let mut seen = vec![false; count];
    // A walk that takes inputs from the last to the first finds them in the reverse of the order they are drawn in.
    for &sink in graph.sinks().iter().rev() {
        seen[sink] = true;
        let mut stack = vec![(sink, inputs(cache, sink))];
        while let Some((node, rest)) = stack.last_mut() {
            let (node, next) = (*node, rest.next());
            match next {
                Some(link) if !seen[link.record] => {
                    seen[link.record] = true;
                    parent[link.record] = Some(node);
                    children[node].push(link.record);
                    stack.push((link.record, inputs(cache, link.record)));
                }
                Some(_) => {}
                None => {
                    stack.pop();
                }
            }
        }
    }
    children.iter_mut().for_each(|c| c.reverse());
    Forest { roots: graph.sinks().to_vec(), children, parent }
}

/// Links of `record` from the last to the first.
fn inputs(cache: &Cache, record: usize) -> impl Iterator<Item = &Input> {
    cache.records[record].inputs.iter().rev().flat_map(|alternatives| alternatives.iter().rev())
}

/// The `limit` nodes with the fewest others above them.
fn keep_near(forest: &Forest, limit: usize) -> Vec<bool> {
    let mut order = forest.roots.clone();
    let mut at = 0;
    while at < order.len() && order.len() < limit {
        order.extend(&forest.children[order[at]]);
        at += 1;
    }
    order.truncate(limit);
    chosen(forest.children.len(), order)
}

fn chosen(count: usize, nodes: Vec<usize>) -> Vec<bool> {
    let mut kept = vec![false; count];
    nodes.into_iter().for_each(|node| kept[node] = true);
    kept
}

/// Nodes that are drawn as one.
struct Group {
    first: usize,
    kept: bool,
    count: usize,
    bytes: u64,
    parent: Option<usize>,
}

/// The forest with all nodes that are not `kept` drawn together: those that hang at one another or at the same node
/// become one group. Also the group of every node.
fn contract(forest: &Forest, kept: &[bool], bytes: impl Fn(usize) -> u64) -> (Vec<Group>, Vec<usize>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of = vec![usize::MAX; kept.len()];
    // Which group gathers the nodes left out at a group, or at the roots.
    let mut rest_of: Vec<Option<usize>> = Vec::new();
    let mut rest_of_roots = None;
    for node in forest.preorder() {
        let parent = forest.parent[node].map(|p| group_of[p]);
        let rest = match parent {
            Some(parent) if !groups[parent].kept => Some(parent),
            Some(parent) => rest_of[parent],
            None => rest_of_roots,
        };
        if let Some(group) = rest.filter(|_| !kept[node]) {
            group_of[node] = group;
            groups[group].count += 1;
            groups[group].bytes = groups[group].bytes.saturating_add(bytes(node));
            continue;
        }
        let group = groups.len();
        group_of[node] = group;
        groups.push(Group { first: node, kept: kept[node], count: 1, bytes: bytes(node), parent });
        rest_of.push(None);
        if !kept[node] {
            match parent {
                Some(parent) => rest_of[parent] = Some(group),
                None => rest_of_roots = Some(group),
            }
        }
    }
    (groups, group_of)
}

/// Groups in drawing order, those that stand for many after their siblings. Also the item of every group.
fn ordered(groups: &[Group], item: impl Fn(usize) -> Item) -> (Vec<Item>, Vec<usize>) {
    let mut children = vec![Vec::new(); groups.len()];
    let mut roots = Vec::new();
    let (single, many): (Vec<usize>, Vec<usize>) = (0..groups.len()).partition(|&g| groups[g].count == 1);
    for group in single.into_iter().chain(many) {
        match groups[group].parent {
            Some(parent) => children[parent].push(group),
            None => roots.push(group),
        }
    }
    let mut items: Vec<Item> = Vec::with_capacity(groups.len());
    let mut position = vec![usize::MAX; groups.len()];
    let mut stack: Vec<usize> = roots.into_iter().rev().collect();
    while let Some(group) = stack.pop() {
        let Group { first, count, bytes, parent, .. } = groups[group];
        let parent = parent.map(|p| position[p]);
        position[group] = items.len();
        if let Some(parent) = parent {
            items[parent].children.push(position[group]);
        }
        let drawn = if count == 1 { item(first) } else { more(count, bytes) };
        items.push(Item { parent, ..drawn });
        stack.extend(children[group].iter().rev());
    }
    (items, position)
}

fn more(count: usize, bytes: u64) -> Item {
    let label = format!("and {} more", thousands(count));
    Item { label, bytes: (bytes > 0).then_some(bytes), more: Some(count), ..Item::default() }
}

/// Adds the links of `record`, which is drawn as `from`; says on that item how many of them are not drawn.
fn record_links(
    record: &Record,
    from: usize,
    items: &mut [Item],
    links: &mut Vec<Link>,
    item_of: impl Fn(usize) -> usize,
) {
    let several = record.inputs.iter().map(Vec::len).sum::<usize>() > 1;
    let (mut met, mut extra, mut left_out) = (HashSet::new(), 0, 0);
    for (number, alternatives) in record.inputs.iter().enumerate() {
        for (alternative, input) in alternatives.iter().enumerate() {
            let to = item_of(input.record);
            let first = met.insert(to);
            let holds = first && items[to].parent == Some(from);
            if !holds && !first && items[to].more.is_some() {
                continue;
            }
            if !holds && extra == EXTRA_LINKS {
                left_out += 1;
                continue;
            }
            extra += usize::from(!holds);
            let number = match (several, alternatives.len()) {
                (false, _) => String::new(),
                (true, 1) => number.to_string(),
                (true, _) => format!("{number}.{alternative}"),
            };
            let selector = input.selector.as_deref().map(short).unwrap_or_default();
            links.push(Link { from, to, number, selector, holds });
        }
    }
    items[from].left_out = left_out;
}

/// A selector for people.
fn short(selector: &str) -> String {
    match selector.parse::<Digest>() {
        Ok(digest) => digest.short(),
        Err(_) => text::safe_within(selector, 64).into_owned(),
    }
}
