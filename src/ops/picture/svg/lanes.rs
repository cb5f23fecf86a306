//! Lanes beside the rows, for links that the indents do not show. All links to one item share a lane, so that a source
//! which many records use costs one line, not many.

use crate::ops::picture::sketch::Sketch;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Width of a lane.
const LANE: f64 = 9.0;

/// Lanes at most; what finds none free shares one.
const MOST: usize = 40;

/// Colours of lanes, by turns.
const COLOURS: usize = 4;

/// The links to one item.
pub(super) struct Lane {
    /// The item they lead to.
    to: usize,
    /// The items they come from, in order, each once.
    from: Vec<usize>,
    /// How far from the rows it runs, from 0.
    column: usize,
}

/// Lanes for all links that do not hold the tree together, those that begin higher up first.
pub(super) fn assign(sketch: &Sketch) -> Vec<Lane> {
    let mut links: Vec<(usize, usize)> = sketch.links.iter().filter(|l| !l.holds).map(|l| (l.to, l.from)).collect();
    links.sort_unstable();
    links.dedup();
    let mut lanes: Vec<Lane> = Vec::new();
    for (to, from) in links {
        match lanes.last_mut().filter(|lane| lane.to == to) {
            Some(lane) => lane.from.push(from),
            None => lanes.push(Lane { to, from: vec![from], column: 0 }),
        }
    }
    // Short lanes stay near the rows.
    lanes.sort_by_key(|lane| (lane.last() - lane.first(), lane.first()));
    // What runs in each column: from the first row to the last.
    let mut columns: Vec<BTreeMap<usize, usize>> = Vec::new();
    for lane in &mut lanes {
        let (first, last) = (lane.first(), lane.last());
        let free = |c: &BTreeMap<usize, usize>| c.range(..=last).next_back().is_none_or(|(_, &end)| end < first);
        lane.column = match columns.iter().position(free) {
            Some(column) => column,
            None if columns.len() < MOST => {
                columns.push(BTreeMap::new());
                columns.len() - 1
            }
            None => {
                lane.column = lane.to % MOST;
                continue;
            }
        };
        columns[lane.column].insert(first, last);
    }
    lanes
}

impl Lane {
    fn first(&self) -> usize {
        self.from.first().map_or(self.to, |&f| f.min(self.to))
    }

    fn last(&self) -> usize {
        self.from.last().map_or(self.to, |&f| f.max(self.to))
    }
}

/// How much room the lanes take.
pub(super) fn width(lanes: &[Lane]) -> f64 {
    lanes.iter().map(|lane| 16.0 + LANE * (lane.column + 1) as f64).fold(0.0, f64::max)
}

/// Draws the lanes to the right of `right`; `middle` tells the height of an item. Lines leave a little below the middle
/// and arrive a little above it, so that they can be told apart.
pub(super) fn draw(out: &mut String, lanes: &[Lane], right: f64, middle: impl Fn(usize) -> f64) {
    for lane in lanes {
        let x = right + 16.0 + LANE * lane.column as f64;
        let colour = lane.column % COLOURS;
        let (tip, end) = (right + 1.0, middle(lane.to) - 6.0);
        let mut path = String::new();
        for &from in &lane.from {
            let start = middle(from) + 6.0;
            let turn = if start < end { 4.0 } else { -4.0 };
            // Writing to a string cannot fail.
            let _ = write!(path, "M{right} {start}H{}q4 0 4 {turn}V{}", x - 4.0, end - turn);
        }
        let last_turn = if lane.first() < lane.to { 4.0 } else { -4.0 };
        let _ = write!(path, "q0 {last_turn} -4 {last_turn}H{}", tip + 5.0);
        let _ = writeln!(out, "<path class=\"lane k{colour}\" d=\"{path}\"/>");
        let _ = writeln!(out, "<path class=\"a{colour}\" d=\"M{tip} {end}l7 -3.5v7z\"/>");
    }
}
