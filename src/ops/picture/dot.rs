//! Graphviz. `dot -Tsvg` draws layers from the bottom of a chain to its top, records from sources to results.

use super::Graph;
use super::sketch::{Item, Sketch};
use crate::model::text::{ELLIPSIS, fit_end};
use std::fmt::Write as _;

/// Cells of a line in a node.
const CELLS: usize = 48;

/// Draws the sketch.
pub(super) fn write(sketch: &Sketch) -> String {
    let mut out = format!("digraph \"{}\" {{\n", escape(&format!("cachedeck {}", sketch.graph.name())));
    let title = escape(&format!("{}: {}", sketch.title, sketch.facts));
    out += &format!("  graph [label=\"{title}\", labelloc=t, fontname=\"monospace\", rankdir=TB, ranksep=0.3];\n");
    out += "  node [shape=box, style=rounded, fontname=\"monospace\", fontsize=11, margin=\"0.12,0.06\"];\n";
    out += "  edge [fontname=\"monospace\", fontsize=9, arrowsize=0.6, color=\"#6e7781\"];\n";
    // Writing to a string cannot fail.
    for (at, item) in sketch.items.iter().enumerate() {
        let _ = writeln!(out, "  n{at} [label=\"{}\"{}];", label(sketch, item), look(sketch, item));
    }
    for link in &sketch.links {
        let (tail, head) = match sketch.graph {
            Graph::Layers => (link.from, link.to),
            Graph::Records => (link.to, link.from),
        };
        let label =
            if link.label().is_empty() { String::new() } else { format!(" [label=\" {}\"]", escape(&link.label())) };
        let _ = writeln!(out, "  n{tail} -> n{head}{label};");
    }
    out + "}\n"
}

fn label(sketch: &Sketch, item: &Item) -> String {
    let first = match item.more {
        Some(_) => format!("{ELLIPSIS} {}", item.label),
        None => fit_end(&format!("{} {}", item.name, item.label), CELLS, ELLIPSIS).into_owned(),
    };
    // `\l` ends a line and aligns it to the left.
    match sketch.details(item).join("  ") {
        details if details.is_empty() => escape(&first),
        details => format!("{}\\l{}\\l", escape(&first), escape(&details)),
    }
}

fn look(sketch: &Sketch, item: &Item) -> &'static str {
    match item {
        Item { more: Some(_), .. } => ", style=\"rounded,dashed\", color=\"#8c959f\", fontcolor=\"#6e7781\"",
        Item { missing: true, .. } => ", style=\"rounded,dashed\", color=\"#cf222e\", penwidth=2",
        Item { min: true, .. } if sketch.mixed => ", color=\"#1a7f37\", penwidth=2",
        _ => ", color=\"#8c959f\"",
    }
}

/// `text` inside a quoted label: quotes and backslashes end or change it, and `&` would begin an HTML entity.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '&' => out += "&amp;",
            c => out.push(c),
        }
    }
    out
}
