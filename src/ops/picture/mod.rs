//! Pictures of a cache's two graphs, as text: for a terminal, for Graphviz, for Mermaid, for a browser, for programs.
//! Pure functions from a [`Cache`] to a string; nothing here prints, reads or knows of screens.
//!
//! What is common to all pictures is settled once, in `sketch`: which nodes are drawn, in which order, with what on
//! them. The files beside it only know how to write one format, and how to keep untrusted text from breaking out of it.

mod dot;
mod json;
mod mermaid;
mod sketch;
mod svg;
mod tree;

use crate::model::cache::Cache;
use crate::model::digest::Digest;
use crate::model::units::SizeStyle;
use crate::ops::names::StepName;
use sketch::Sketch;

/// Which graph to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Graph {
    /// The layer table: chains of entries, with their sizes.
    Layers,
    /// The records: from the build's results down to its sources, with inputs and selectors.
    Records,
}

impl Graph {
    /// Both.
    pub const ALL: [Graph; 2] = [Graph::Layers, Graph::Records];

    /// The name in options and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Graph::Layers => "layers",
            Graph::Records => "records",
        }
    }
}

/// What to draw it as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Lines for a terminal.
    Tree,
    /// Graphviz.
    Dot,
    /// A Mermaid flowchart, as Markdown on many sites shows it.
    Mermaid,
    /// A picture that follows the viewer's light or dark scheme.
    Svg,
    /// All of the graph for programs; [`Options`] don't apply.
    Json,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 5] = [Format::Tree, Format::Dot, Format::Mermaid, Format::Svg, Format::Json];

    /// The name in options.
    pub fn name(self) -> &'static str {
        match self {
            Format::Tree => "tree",
            Format::Dot => "dot",
            Format::Mermaid => "mermaid",
            Format::Svg => "svg",
            Format::Json => "json",
        }
    }

    /// How many nodes such a picture takes before it is no use any more.
    pub fn limit(self) -> usize {
        match self {
            Format::Tree => 10_000,
            Format::Dot => 1_000,
            Format::Svg => 500,
            // Its renderer refuses more than 500 links and 50,000 characters.
            Format::Mermaid => 150,
            Format::Json => usize::MAX,
        }
    }
}

/// The cache to draw, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What to call it. Untrusted text.
    pub title: &'a str,
    /// The cache.
    pub cache: &'a Cache,
    /// The step of each layer, by index; layers beyond the end have none.
    pub steps: &'a [Option<StepName>],
    /// Blobs that are not there, sorted.
    pub missing: &'a [Digest],
}

/// How much to draw, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nodes drawn; the others become nodes that say how many they stand for, at most as many again. Of layers the
    /// largest stay, of records those nearest to the build's results.
    pub limit: usize,
    /// Runs of layers smaller than this are drawn as one node; 0 draws each.
    pub fold_below: u64,
    /// Cells in a line of [`Format::Tree`].
    pub width: usize,
    /// Keep [`Format::Tree`] to ASCII.
    pub ascii: bool,
    /// How sizes are shown.
    pub sizes: SizeStyle,
}

impl Options {
    /// What suits `format`.
    pub fn of(format: Format) -> Self {
        Self { limit: format.limit(), fold_below: 0, width: 100, ascii: false, sizes: SizeStyle::default() }
    }
}

/// The picture, ending in a line end. Time and memory grow with the cache, no faster, however deep its chains are.
pub fn draw(subject: &Subject<'_>, graph: Graph, format: Format, options: &Options) -> String {
    if format == Format::Json {
        return json::write(subject, graph);
    }
    let sketch = Sketch::new(subject, graph, options);
    match format {
        Format::Dot => dot::write(&sketch),
        Format::Mermaid => mermaid::write(&sketch),
        Format::Svg => svg::write(&sketch),
        Format::Tree | Format::Json => tree::write(&sketch, options),
    }
}

#[cfg(test)]
mod tests;
