//! A Mermaid flowchart. Its renderers read labels as Markdown, HTML, entities, icons and even directives, so a label
//! spells out all but letters, digits and a few signs.

use super::Graph;
use super::sketch::{Item, Sketch};
use crate::model::text::{ELLIPSIS, fit_end};
use crate::model::units::thousands;
use std::fmt::Write as _;

/// Cells of a line in a node.
const CELLS: usize = 40;

/// Links at most: renderers refuse more than 500.
const LINKS: usize = 480;

/// Draws the sketch.
pub(super) fn write(sketch: &Sketch) -> String {
    let mut out = String::from("flowchart TD\n");
    // Writing to a string cannot fail.
    let _ = writeln!(out, "  accTitle: {}", line(&sketch.title));
    let _ = writeln!(out, "  accDescr: {}", line(&sketch.facts));
    for (at, item) in sketch.items.iter().enumerate() {
        let (open, close) = if item.more.is_some() { ("([", "])") } else { ("[", "]") };
        let _ = writeln!(out, "  n{at}{open}\"{}\"{close}{}", label(sketch, item), class(sketch, item));
    }
    let mut room = LINKS.saturating_sub(sketch.links.iter().filter(|l| l.holds).count());
    let mut left_out = 0;
    for link in &sketch.links {
        if !link.holds {
            if room == 0 {
                left_out += 1;
                continue;
            }
            room -= 1;
        }
        let (tail, head) = match sketch.graph {
            Graph::Layers => (link.from, link.to),
            Graph::Records => (link.to, link.from),
        };
        let label = if link.label().is_empty() { String::new() } else { format!("|\"{}\"|", escape(&link.label())) };
        let _ = writeln!(out, "  n{tail} -->{label} n{head}");
    }
    if left_out > 0 {
        let _ = writeln!(out, "  rest([\"{ELLIPSIS} {} links not drawn\"]):::more", thousands(left_out));
    }
    // Only lines: fills and letters are the theme's, dark or light.
    out += "  classDef min stroke:#2da44e,stroke-width:2px\n";
    out += "  classDef missing stroke:#cf222e,stroke-width:2px,stroke-dasharray:5 3\n";
    out += "  classDef more stroke-dasharray:2 3\n";
    out
}

fn label(sketch: &Sketch, item: &Item) -> String {
    let first = match item.more {
        Some(_) => format!("{ELLIPSIS} {}", item.label),
        None => fit_end(&format!("{} {}", item.name, item.label), CELLS, ELLIPSIS).into_owned(),
    };
    match sketch.details(item).join(", ") {
        details if details.is_empty() => escape(&first),
        details => format!("{}<br/>{}", escape(&first), escape(&details)),
    }
}

fn class(sketch: &Sketch, item: &Item) -> &'static str {
    match item {
        Item { more: Some(_), .. } => ":::more",
        Item { missing: true, .. } => ":::missing",
        Item { min: true, .. } if sketch.mixed => ":::min",
        _ => "",
    }
}

/// `text` inside a quoted label.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' | '-' | '.' | ',' | '/' | '=' | '+' | '(' | ')' | '…' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c => {
                let _ = write!(out, "#{};", u32::from(c));
            }
        }
    }
    out
}

/// `text` on a line that is not quoted and where nothing can be spelt out: what is not plain is left blank.
fn line(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || " -.,/=()".contains(c) { c } else { ' ' };
    text.chars().map(plain).collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}
