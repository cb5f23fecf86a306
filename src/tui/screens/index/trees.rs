//! The two graphs unfolded into trees that can be drawn.

use super::facts::Facts;
use crate::tui::widgets::tree::Forest;
use std::collections::HashSet;

/// Places in the record graph that are drawn at most; a graph drawn as a tree can be much larger than itself.
pub(super) const MOST: usize = 200_000;

/// One place in the record graph: a record as an input of another, or as a result of the build.
pub(super) struct Seat {
    pub record: usize,
    /// Which input of the one above, and which alternative of it.
    pub input: Option<(usize, usize)>,
    /// Whether the record was drawn further up already, with its inputs.
    pub again: bool,
    children: Vec<usize>,
}

/// The record graph unfolded into a tree.
#[derive(Default)]
pub(super) struct Seats {
    pub seats: Vec<Seat>,
    roots: Vec<usize>,
}

impl Seats {
    /// From the sinks down, or only what belongs to `only`.
    pub(super) fn of(facts: &Facts, only: Option<&HashSet<usize>>) -> Seats {
        let shown = |record: &usize| only.is_none_or(|family| family.contains(record));
        let mut all = Seats::default();
        let mut drawn = vec![false; facts.cache.records.len()];
        for &sink in facts.graph.sinks().iter().filter(|record| shown(record)) {
            let root = all.add(sink, None);
            all.roots.push(root);
            let mut stack = vec![root];
            while let Some(seat) = stack.pop() {
                let record = all.seats[seat].record;
                if std::mem::replace(&mut drawn[record], true) {
                    all.seats[seat].again = !facts.cache.records[record].inputs.is_empty();
                    continue;
                }
                let links = facts.cache.records[record].inputs.iter().enumerate();
                let links = links.flat_map(|(input, alternatives)| {
                    alternatives.iter().enumerate().map(move |(n, link)| (link.record, (input, n)))
                });
                for (record, input) in links.filter(|(record, _)| shown(record)) {
                    if all.seats.len() >= MOST {
                        break;
                    }
                    let child = all.add(record, Some(input));
                    all.seats[seat].children.push(child);
                }
                stack.extend(all.seats[seat].children.iter().rev());
            }
        }
        all
    }

    fn add(&mut self, record: usize, input: Option<(usize, usize)>) -> usize {
        self.seats.push(Seat { record, input, again: false, children: Vec::new() });
        self.seats.len() - 1
    }
}

impl Forest for Seats {
    fn roots(&self) -> Vec<usize> {
        self.roots.clone()
    }

    fn children(&self, node: usize) -> &[usize] {
        &self.seats[node].children
    }
}

/// The part of the layer forest that is shown.
#[derive(Default)]
pub(super) struct Chains {
    roots: Vec<usize>,
    children: Vec<Vec<usize>>,
}

impl Chains {
    pub(super) fn of(facts: &Facts, only: Option<&HashSet<usize>>) -> Chains {
        let shown = |layer: &usize| only.is_none_or(|family| family.contains(layer));
        let children = |layer| facts.forest.children(layer).iter().copied().filter(shown).collect();
        Chains {
            roots: facts.forest.roots().iter().copied().filter(shown).collect(),
            children: (0..facts.cache.layers.len()).map(children).collect(),
        }
    }
}

impl Forest for Chains {
    fn roots(&self) -> Vec<usize> {
        self.roots.clone()
    }

    fn children(&self, node: usize) -> &[usize] {
        &self.children[node]
    }
}
