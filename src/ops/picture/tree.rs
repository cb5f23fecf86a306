//! Lines for a terminal. Chains run straight down, branches indent; sizes and bars line up on the right.

use super::Options;
use super::sketch::{Item, Link, Sketch};
use crate::model::text::{ELLIPSIS, ELLIPSIS_ASCII, fit_end, pad_left, pad_right, width};
use crate::model::units::thousands;

/// Levels drawn at most; what is deeper begins with an ellipsis.
const DEEPEST: u32 = 16;

/// Cells of a bar.
const BAR: usize = 8;

/// Cells left for names at least, before columns on the right go.
const NAMES: usize = 30;

/// Cells that a step keeps; a selector that leaves it fewer is not told.
const LABEL: usize = 12;

struct Signs {
    branch: &'static str,
    last: &'static str,
    trunk: &'static str,
    node: &'static str,
    missing: &'static str,
    /// A node that stands further down too.
    link: &'static str,
    result: &'static str,
    ellipsis: &'static str,
    eighths: [&'static str; 8],
}

const UNICODE: Signs = Signs {
    branch: "├─",
    last: "└─",
    trunk: "│ ",
    node: "●",
    missing: "✕",
    link: "▶",
    result: "→",
    ellipsis: ELLIPSIS,
    eighths: ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
};

const ASCII: Signs = Signs {
    branch: "|-",
    last: "`-",
    trunk: "| ",
    node: "*",
    missing: "x",
    link: ">",
    result: "->",
    ellipsis: ELLIPSIS_ASCII,
    eighths: ["", "", "", "#", "#", "#", "#", "#"],
};

/// Where a row stands.
#[derive(Clone, Copy)]
struct Rail {
    depth: u32,
    /// From the nearest level outwards: whether a trunk goes on there.
    trunks: u64,
    /// Whether it goes straight on from the row above, hangs with siblings below, or hangs last.
    joint: Joint,
}

#[derive(Clone, Copy, PartialEq)]
enum Joint {
    Straight,
    Hangs,
    Last,
}

impl Rail {
    /// The place of child number `at` of `count`.
    fn below(self, at: usize, count: usize) -> Self {
        if count == 1 {
            return Self { joint: Joint::Straight, ..self };
        }
        let more = at + 1 < count;
        let joint = if more { Joint::Hangs } else { Joint::Last };
        Self { depth: self.depth + 1, trunks: self.trunks << 1 | u64::from(more), joint }
    }

    fn draw(self, signs: &Signs) -> String {
        let shown = self.depth.min(DEEPEST);
        let mut out = String::from(if self.depth > shown { signs.ellipsis } else { "" });
        for level in (0..shown).rev() {
            out += match (self.joint, level) {
                (Joint::Hangs, 0) => signs.branch,
                (Joint::Last, 0) => signs.last,
                _ if self.trunks >> level & 1 == 1 => signs.trunk,
                _ => "  ",
            };
        }
        out
    }
}

/// Draws the sketch.
pub(super) fn write(sketch: &Sketch, options: &Options) -> String {
    let signs = if options.ascii { &ASCII } else { &UNICODE };
    let rows = rows(sketch, signs);
    let columns = Columns::new(sketch, &rows, options);
    let mut out = format!("{}: {}", sketch.title, sketch.facts);
    out = fit_end(&out, options.width.max(NAMES), signs.ellipsis).into_owned() + "\n";
    for row in &rows {
        let mut line = pad_right(&row.fit(columns.left, signs), columns.left).into_owned();
        if let Some(item) = row.item {
            columns.add_right(&mut line, sketch, item, signs);
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// One line.
struct Row<'a> {
    /// Rails, sign and number.
    before: String,
    /// The step: what gives way first.
    label: &'a str,
    /// The selector.
    after: String,
    /// Whose numbers follow.
    item: Option<&'a Item>,
}

impl Row<'_> {
    fn width(&self) -> usize {
        width(&self.before) + width(self.label) + width(&self.after)
    }

    fn fit(&self, cells: usize, signs: &Signs) -> String {
        let room = cells.saturating_sub(width(&self.before) + width(&self.after));
        let fits = width(self.label) <= room || room >= LABEL;
        let (after, room) = if fits { (self.after.as_str(), room) } else { ("", cells) };
        let text = format!("{}{}{after}", self.before, fit_end(self.label, room, signs.ellipsis));
        fit_end(&text, cells, signs.ellipsis).into_owned()
    }
}

fn rows<'a>(sketch: &'a Sketch, signs: &Signs) -> Vec<Row<'a>> {
    let start = Rail { depth: 0, trunks: 0, joint: Joint::Straight };
    let roots: Vec<usize> = (0..sketch.items.len()).filter(|&i| sketch.items[i].parent.is_none()).collect();
    let mut stack: Vec<(Rail, usize, Option<&Link>)> =
        roots.iter().enumerate().rev().map(|(at, &root)| (start.below(at, roots.len()), root, None)).collect();
    let mut rows = Vec::new();
    while let Some((rail, at, link)) = stack.pop() {
        let item = &sketch.items[at];
        let again = link.is_some_and(|l| !l.holds);
        let mut before = rail.draw(signs) + if again { signs.link } else { knob(item, signs) } + " ";
        if let Some(link) = link.filter(|l| !l.number.is_empty()) {
            before += &format!("{}: ", link.number);
        }
        if !item.name.is_empty() {
            before += &format!("{} ", item.name);
        }
        if !item.result.is_empty() && !again {
            before += &format!("{} {} ", signs.result, item.result);
        }
        let selector = link.map(|l| l.selector.as_str()).filter(|s| !s.is_empty());
        let after = selector.map(|s| format!(" [{s}]")).unwrap_or_default();
        rows.push(Row { before, label: &item.label, after, item: (!again).then_some(item) });
        if again {
            continue;
        }
        let first = sketch.links.partition_point(|l| l.from < at);
        let links = &sketch.links[first..sketch.links.partition_point(|l| l.from <= at)];
        let skip = usize::from(item.left_out > 0);
        let count = links.len() + skip;
        if item.left_out > 0 {
            let rails = rail.below(0, count).draw(signs);
            let before = format!("{rails}{} {} inputs not drawn", signs.ellipsis, thousands(item.left_out));
            rows.push(Row { before, label: "", after: String::new(), item: None });
        }
        let below = |(n, link): (usize, &'a Link)| (rail.below(n + skip, count), link.to, Some(link));
        stack.extend(links.iter().enumerate().rev().map(below));
    }
    rows
}

fn knob(item: &Item, signs: &Signs) -> &'static str {
    match item {
        Item { more: Some(_), .. } => signs.ellipsis,
        Item { missing: true, .. } => signs.missing,
        _ => signs.node,
    }
}

/// Which columns there are, and how wide.
struct Columns {
    left: usize,
    digest: bool,
    size: usize,
    min: bool,
    bar: bool,
}

impl Columns {
    fn new(sketch: &Sketch, rows: &[Row<'_>], options: &Options) -> Self {
        let widest = rows.iter().map(Row::width).max().unwrap_or(0);
        let size = sketch.items.iter().map(|i| width(&sketch.size(i))).max().unwrap_or(0);
        let mut columns = Self { left: widest, digest: true, size, min: sketch.mixed, bar: sketch.largest > 0 };
        let room = |c: &Self| options.width.saturating_sub(c.right());
        // What a narrow terminal can do without goes, the least important first.
        if room(&columns) < NAMES.min(widest) {
            columns.bar = false;
        }
        if room(&columns) < NAMES.min(widest) {
            columns.min = false;
        }
        if room(&columns) < NAMES.min(widest) {
            columns.digest = false;
        }
        columns.left = widest.min(room(&columns).max(1));
        columns
    }

    /// Cells of all columns on the right, with the blanks before them.
    fn right(&self) -> usize {
        let digest = if self.digest { 2 + 12 } else { 0 };
        let min = if self.min { 2 + 3 } else { 0 };
        let bar = if self.bar { 2 + BAR } else { 0 };
        digest + min + 2 + self.size + bar
    }

    fn add_right(&self, line: &mut String, sketch: &Sketch, item: &Item, signs: &Signs) {
        if self.digest {
            let digest = item.digest.map(|d| d.short()).unwrap_or_default();
            *line += &format!("  {digest:12}");
        }
        *line += "  ";
        *line += &pad_left(&sketch.size(item), self.size);
        if self.min {
            *line += if item.min { "  min" } else { "     " };
        }
        if self.bar && item.more.is_none() {
            *line += "  ";
            *line += &bar(sketch.share(item), signs);
        }
    }
}

/// A bar of at most [`BAR`] cells; whatever is not nothing gets a sliver.
fn bar(share: f64, signs: &Signs) -> String {
    let eighths = (share * (BAR * 8) as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    let part = if eighths % 8 > 0 { signs.eighths[eighths % 8 - 1] } else { "" };
    signs.eighths[7].repeat(eighths / 8) + part
}
