//! A picture to look at. One node a row: chains run straight down, branches indent, sizes and bars line up on the right.
//! Links of the record graph that the indents cannot show run in lanes beside the rows.

mod lanes;
mod style;

use super::Graph;
use super::sketch::{Item, Link, Sketch};
use crate::model::text::{ELLIPSIS, fit_end, width};
use crate::model::units::thousands;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Width of one cell of the 15 px monospace face: of the common ones the widest (0.602 em), and a little more.
const CELL: f64 = 9.1;
/// The same at the 12.5 px of small print.
const SMALL: f64 = 7.6;
/// And at the 20 px of the title.
const TITLE: f64 = 12.3;
/// Around the picture.
const MARGIN: f64 = 22.0;
/// From the left edge of a box to that of what is indented below it.
const INDENT: f64 = 28.0;
/// Levels that indent; deeper boxes stand below one another.
const DEEPEST: usize = 24;
/// From the left edge of a box to the line that its children hang at.
const TRUNK: f64 = 14.0;
/// Inside a box, left and right.
const PAD: f64 = 14.0;
/// Heights of boxes with one line and with two.
const ONE_LINE: f64 = 32.0;
const TWO_LINES: f64 = 50.0;
/// Between boxes, and between trees.
const GAP: f64 = 9.0;
const TREE_GAP: f64 = 20.0;
/// Cells of a name, before it makes the picture wider for all, and of a digest.
const NAME_CELLS: usize = 56;
const DIGEST_CELLS: usize = 12;
/// Width of a full bar.
const BAR: f64 = 104.0;
/// From the top of the picture to the first row.
const HEAD: f64 = 84.0;
/// Below the last row.
const FOOT: f64 = 50.0;
/// Pictures are not narrower, so that the legend fits.
const NARROWEST: f64 = 660.0;
/// Inputs of a record that are told in words.
const INPUTS: usize = 16;

/// Where everything stands.
struct Plan {
    names: Vec<String>,
    /// Second lines; empty for items without one.
    details: Vec<String>,
    left: Vec<f64>,
    top: Vec<f64>,
    height: Vec<f64>,
    /// Below the last box.
    bottom: f64,
    /// Right edge of the digests, of the sizes, and of the boxes.
    digests: f64,
    sizes: f64,
    right: f64,
}

impl Plan {
    fn new(sketch: &Sketch) -> Self {
        let mut names: Vec<String> = sketch.items.iter().map(name).collect();
        let mut details: Vec<String> = (0..names.len()).map(|at| detail(sketch, at)).collect();
        let left: Vec<f64> = levels(sketch).into_iter().map(|l| MARGIN + INDENT * l.min(DEEPEST) as f64).collect();
        let height: Vec<f64> = details.iter().map(|d| if d.is_empty() { ONE_LINE } else { TWO_LINES }).collect();
        let (mut top, mut bottom) = (Vec::with_capacity(names.len()), HEAD);
        for (item, height) in sketch.items.iter().zip(&height) {
            if item.parent.is_none() && bottom > HEAD {
                bottom += TREE_GAP - GAP;
            }
            top.push(bottom);
            bottom += height + GAP;
        }
        // The most indented name has the room it needs, up to a limit; others may be as long as reaches there.
        let reach = |at: usize| left[at] + PAD + width(&names[at]).min(NAME_CELLS) as f64 * CELL;
        let widest = (0..names.len()).map(reach).fold(MARGIN + 160.0, f64::max);
        let size = sketch.items.iter().map(|i| width(&sketch.size(i))).max().unwrap_or(0) as f64 * CELL;
        let digests = widest + 20.0 + DIGEST_CELLS as f64 * SMALL;
        for (at, left) in left.iter().enumerate() {
            cut(&mut names[at], (widest - left - PAD) / CELL);
            // Nothing but the name stands beside the digest.
            cut(&mut details[at], (digests - left - PAD) / SMALL);
        }
        let right = digests + 20.0 + size + 14.0 + BAR + PAD;
        let facts = MARGIN + width(&sketch.facts) as f64 * SMALL;
        let right = right.max(facts).max(NARROWEST - MARGIN);
        let sizes = right - PAD - BAR - 14.0;
        Self { names, details, left, top, height, bottom, digests: sizes - size - 20.0, sizes, right }
    }

    fn middle(&self, at: usize) -> f64 {
        self.top[at] + self.height[at] / 2.0
    }
}

/// Draws the sketch.
pub(super) fn write(sketch: &Sketch) -> String {
    let plan = Plan::new(sketch);
    let lanes = lanes::assign(sketch);
    let wide = (plan.right + lanes::width(&lanes) + MARGIN).ceil();
    let high = (plan.bottom + FOOT).ceil();
    let shown = fit_end(&sketch.title, ((plan.right - MARGIN) / TITLE) as usize, ELLIPSIS);
    let (title, shown) = (escape(&sketch.title), escape(&shown));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" viewBox=\"0 0 {wide} {high}\" role=\"img\">\n\
         <title>{title}: {}</title>\n<style>{}</style>\n\
         <rect class=\"page\" width=\"{wide}\" height=\"{high}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"38\">{shown}</text>\n\
         <text class=\"small\" x=\"{MARGIN}\" y=\"61\">{}</text>\n",
        sketch.graph.name(),
        style::SHEET,
        escape(&sketch.facts),
    );
    for at in 0..sketch.items.len() {
        connector(&mut out, sketch, &plan, at);
    }
    lanes::draw(&mut out, &lanes, plan.right, |at| plan.middle(at));
    for at in 0..sketch.items.len() {
        node(&mut out, sketch, &plan, at);
    }
    legend(&mut out, sketch, plan.bottom + 18.0);
    out + "</svg>\n"
}

/// Leaves as much of `text` as fits into `cells`.
fn cut(text: &mut String, cells: f64) {
    if let Cow::Owned(shorter) = fit_end(text, (cells + 0.01).max(0.0) as usize, ELLIPSIS) {
        *text = shorter;
    }
}

/// How far each item is indented: an only child stands right below its parent.
fn levels(sketch: &Sketch) -> Vec<usize> {
    let mut levels: Vec<usize> = Vec::with_capacity(sketch.items.len());
    for item in &sketch.items {
        levels.push(match item.parent {
            Some(parent) => levels[parent] + usize::from(sketch.items[parent].children.len() > 1),
            None => 0,
        });
    }
    levels
}

fn name(item: &Item) -> String {
    match item.more {
        Some(_) => format!("{ELLIPSIS} {}", item.label),
        None => format!("{} {}", item.name, item.label),
    }
}

/// The second line of a record: what it made, and from what.
fn detail(sketch: &Sketch, at: usize) -> String {
    let item = &sketch.items[at];
    if sketch.graph == Graph::Layers || item.more.is_some() {
        return String::new();
    }
    let made = if item.result.is_empty() { String::new() } else { format!("made {}", item.result) };
    let from = inputs(sketch, at);
    let from = if from.is_empty() { String::new() } else { format!("from {}", from.join(", ")) };
    let words: Vec<String> = [made, from].into_iter().filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// What a record is made from, no more than anybody reads.
fn inputs(sketch: &Sketch, at: usize) -> Vec<String> {
    let first = sketch.links.partition_point(|l| l.from < at);
    let links = &sketch.links[first..sketch.links.partition_point(|l| l.from <= at)];
    let source = |link: &Link| {
        let to = &sketch.items[link.to];
        let to = if to.more.is_some() { "what is not drawn" } else { &to.name };
        let number = if link.number.is_empty() { String::new() } else { format!("{}: ", link.number) };
        let selector = if link.selector.is_empty() { String::new() } else { format!(" [{}]", link.selector) };
        format!("{number}{to}{selector}")
    };
    let mut from: Vec<String> = links.iter().take(INPUTS).map(source).collect();
    let rest = links.len().saturating_sub(INPUTS) + sketch.items[at].left_out;
    if rest > 0 {
        from.push(format!("{} more", thousands(rest)));
    }
    from
}

/// The line from an item up to its parent.
fn connector(out: &mut String, sketch: &Sketch, plan: &Plan, at: usize) {
    let Some(parent) = sketch.items[at].parent else { return };
    let (x, from) = (plan.left[parent] + TRUNK, plan.top[parent] + plan.height[parent]);
    // Writing to a string cannot fail.
    if plan.left[at] == plan.left[parent] {
        let _ = writeln!(out, "<path class=\"line\" d=\"M{x} {from}V{}\"/>", plan.top[at]);
    } else {
        let (y, to) = (plan.middle(at) - 6.0, plan.left[at]);
        let _ = writeln!(out, "<path class=\"line\" d=\"M{x} {from}V{y}q0 6 6 6H{to}\"/>");
    }
}

fn node(out: &mut String, sketch: &Sketch, plan: &Plan, at: usize) {
    let item = &sketch.items[at];
    let (x, y, high, wide) = (plan.left[at], plan.top[at], plan.height[at], plan.right - plan.left[at]);
    let class = match item {
        Item { more: Some(_), .. } => "box more",
        Item { missing: true, .. } => "box lost",
        _ => "box",
    };
    let _ = write!(out, "<g><title>{}</title>", escape(&tooltip(sketch, at)));
    let _ = write!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{wide:.1}\" height=\"{high}\" rx=\"6\"/>");
    if item.min && sketch.mixed {
        let (y, high) = (y + 6.0, high - 12.0);
        let _ = write!(out, "<rect class=\"min\" x=\"{x}\" y=\"{y}\" width=\"4\" height=\"{high}\" rx=\"2\"/>");
    }
    let mut text = |class: &str, x: f64, y: f64, text: &str| {
        let _ = write!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\">{}</text>", escape(text));
    };
    text(if item.named { "name" } else { "dim" }, x + PAD, y + 21.0, &plan.names[at]);
    if !plan.details[at].is_empty() {
        text("small", x + PAD, y + 40.0, &plan.details[at]);
    }
    if let Some(digest) = item.digest {
        text("small end", plan.digests, y + 21.0, &digest.short());
    }
    let line = y + high / 2.0 + 5.0;
    text("size end", plan.sizes, line, &sketch.size(item));
    if item.missing {
        text("alarm end", plan.right - PAD, line, "\u{2715} missing");
    } else if item.more.is_none() && item.bytes.is_some() {
        bar(out, plan.right - PAD - BAR, y + high / 2.0 - 4.5, sketch.share(item));
    }
    out.push_str("</g>\n");
}

fn bar(out: &mut String, x: f64, y: f64, share: f64) {
    let _ = write!(out, "<rect class=\"track\" x=\"{x:.1}\" y=\"{y}\" width=\"{BAR}\" height=\"9\" rx=\"2\"/>");
    if share > 0.0 {
        let full = (share * BAR).max(2.0);
        let _ = write!(out, "<rect class=\"bar\" x=\"{x:.1}\" y=\"{y}\" width=\"{full:.1}\" height=\"9\" rx=\"2\"/>");
    }
}

/// All that is known, for a pointer that rests on a node.
fn tooltip(sketch: &Sketch, at: usize) -> String {
    let item = &sketch.items[at];
    let mut lines = vec![format!("{} {}", item.name, item.label).trim_start().to_owned()];
    lines.extend(item.digest.map(|d| d.to_string()));
    lines.extend(sketch.details(item).into_iter().skip(usize::from(item.digest.is_some())));
    if sketch.graph == Graph::Records && item.more.is_none() {
        lines.extend(inputs(sketch, at).into_iter().map(|input| format!("from {input}")));
    }
    lines.join("\n")
}

/// What the marks mean, as far as there are any.
fn legend(out: &mut String, sketch: &Sketch, y: f64) {
    let mut x = MARGIN;
    if sketch.mixed {
        let words = "kept by mode=min";
        let _ = write!(out, "<rect class=\"min\" x=\"{x}\" y=\"{}\" width=\"4\" height=\"12\" rx=\"2\"/>", y - 6.0);
        let _ = writeln!(out, "<text class=\"small\" x=\"{}\" y=\"{}\">{words}</text>", x + 10.0, y + 4.0);
        x += 10.0 + width(words) as f64 * SMALL + 24.0;
    }
    let words = match sketch.graph {
        Graph::Layers => "each layer stands on the one it hangs at",
        Graph::Records if sketch.links.iter().all(|l| l.holds) => "each record is made from those that hang at it",
        Graph::Records => "each record is made from those that hang at it or that its lines lead to",
    };
    let _ = writeln!(out, "<text class=\"small\" x=\"{x:.1}\" y=\"{}\">{words}</text>", y + 4.0);
}

/// `text` as XML. Control characters, which XML refuses, are gone from it already.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
