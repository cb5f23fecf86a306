//! The one tree: any forest, flattened to the rows that are visible, with fold marks and guide lines. Rows are drawn
//! as cells of a [table](super::table). No recursion: a chain may be 200,000 long.

use crate::tui::glyphs::Glyphs;
use std::collections::HashSet;

/// Something with roots and children, by number.
pub trait Forest {
    /// What has no parent, in order.
    fn roots(&self) -> Vec<usize>;
    /// What hangs under `node`, in order.
    fn children(&self, node: usize) -> &[usize];
}

/// One visible row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Which node.
    pub node: usize,
    /// Row of its parent in the flattened list.
    pub parent: Option<usize>,
    /// Whether it has children and they are hidden; `None` if it has none.
    pub folded: Option<bool>,
    /// Whether it is in the middle of a straight run: one node goes on below it.
    pub runs_on: bool,
    /// How far it is indented.
    pub depth: u32,
    joint: Joint,
    /// From the nearest level outwards: whether a trunk goes on there. Levels beyond 64 are not drawn.
    trunks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    /// At the left margin.
    Root,
    /// Hangs at a trunk, with siblings below or as the last one.
    Hangs { last: bool },
    /// Goes straight on from the row above.
    Straight,
}

/// Which nodes are folded.
#[derive(Clone, Debug, Default)]
pub struct Folds {
    /// Nodes that differ from `all`.
    turned: HashSet<usize>,
    /// Whether nodes are folded unless turned.
    all: bool,
}

impl Folds {
    /// Everything folded but for what is turned later.
    pub fn folded() -> Folds {
        Folds { turned: HashSet::new(), all: true }
    }

    /// Whether `node`'s children are hidden.
    pub fn is_folded(&self, node: usize) -> bool {
        self.turned.contains(&node) != self.all
    }

    /// Folds or unfolds `node`.
    pub fn set(&mut self, node: usize, folded: bool) {
        if folded == self.all {
            self.turned.remove(&node)
        } else {
            self.turned.insert(node)
        };
    }

    /// Folds or unfolds everything.
    pub fn set_all(&mut self, folded: bool) {
        self.turned.clear();
        self.all = folded;
    }
}

/// The visible rows of `forest`. With `straight`, an only child stands below its parent without indenting, so that
/// chains run straight and only branches indent.
pub fn flatten(forest: &impl Forest, folds: &Folds, straight: bool) -> Vec<Branch> {
    let root =
        |node| Branch { node, parent: None, folded: None, runs_on: false, depth: 0, joint: Joint::Root, trunks: 0 };
    let mut stack: Vec<Branch> = forest.roots().into_iter().rev().map(root).collect();
    let mut rows: Vec<Branch> = Vec::new();
    while let Some(mut branch) = stack.pop() {
        let children = forest.children(branch.node);
        branch.folded = (!children.is_empty()).then(|| folds.is_folded(branch.node));
        branch.runs_on = straight && children.len() == 1 && branch.joint == Joint::Straight;
        let (row, last) = (rows.len(), children.len().saturating_sub(1));
        rows.push(branch);
        if branch.folded != Some(false) {
            continue;
        }
        let below = |(at, node): (usize, &usize)| {
            let parent = Some(row);
            if straight && last == 0 {
                return Branch { node: *node, parent, joint: Joint::Straight, ..branch };
            }
            let trunks = branch.trunks << 1 | u64::from(at < last);
            let joint = Joint::Hangs { last: at == last };
            Branch { node: *node, parent, folded: None, runs_on: false, depth: branch.depth + 1, joint, trunks }
        };
        stack.extend(children.iter().enumerate().map(below).rev());
    }
    rows
}

/// Levels drawn at most; what is deeper begins with an ellipsis.
const DEEPEST: u32 = 16;

impl Branch {
    /// The guide lines in front of the row.
    pub fn guides(&self, glyphs: &Glyphs) -> String {
        let shown = self.depth.min(DEEPEST);
        let mut text = String::new();
        if self.depth > DEEPEST {
            text.push_str(glyphs.ellipsis);
        }
        for level in (0..shown).rev() {
            let trunk = self.trunks >> level & 1 == 1;
            text.push_str(match self.joint {
                Joint::Hangs { last } if level == 0 => {
                    if last {
                        glyphs.last
                    } else {
                        glyphs.branch
                    }
                }
                _ if trunk => glyphs.trunk,
                _ => "  ",
            });
        }
        text
    }

    /// The fold mark, the line of a straight run, or the sign of a leaf.
    pub fn knob(&self, glyphs: &Glyphs) -> &'static str {
        match self.folded {
            None => glyphs.leaf,
            Some(false) if self.runs_on => glyphs.border[5],
            Some(true) => glyphs.folded,
            Some(false) => glyphs.unfolded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::glyphs::UNICODE;

    struct Plain(Vec<Vec<usize>>);

    impl Forest for Plain {
        fn roots(&self) -> Vec<usize> {
            vec![0]
        }
        fn children(&self, node: usize) -> &[usize] {
            &self.0[node]
        }
    }

    fn drawn(forest: &Plain, folds: &Folds, straight: bool) -> Vec<String> {
        let rows = flatten(forest, folds, straight);
        rows.iter().map(|b| format!("{}{}{}", b.guides(&UNICODE), b.knob(&UNICODE), b.node)).collect()
    }

    fn example() -> Plain {
        Plain(vec![vec![1], vec![2, 4], vec![3], vec![], vec![5], vec![6, 7], vec![], vec![]])
    }

    #[test]
    fn chains_run_straight_and_branches_indent() {
        let folds = Folds::default();
        assert_eq!(drawn(&example(), &folds, true), ["▾0", "▾1", "├─▾2", "│ ·3", "└─▾4", "  ▾5", "  ├─·6", "  └─·7"]);
        assert_eq!(drawn(&example(), &folds, false)[..4], ["▾0", "└─▾1", "  ├─▾2", "  │ └─·3"]);
    }

    #[test]
    fn the_middle_of_a_run_is_a_line() {
        let chain = Plain(vec![vec![1], vec![2], vec![3], vec![]]);
        assert_eq!(drawn(&chain, &Folds::default(), true), ["▾0", "│1", "│2", "·3"]);
    }

    #[test]
    fn folding_hides_what_is_below() {
        let mut folds = Folds::default();
        folds.set(4, true);
        assert_eq!(drawn(&example(), &folds, true), ["▾0", "▾1", "├─▾2", "│ ·3", "└─▸4"]);
        folds.set_all(true);
        assert_eq!(drawn(&example(), &folds, true), ["▸0"]);
        folds.set(0, false);
        assert_eq!(drawn(&example(), &folds, true), ["▾0", "▸1"]);
    }

    #[test]
    fn the_deepest_chain_is_no_trouble() {
        let n = 200_000;
        let chain = Plain((1..=n).map(|i| if i < n { vec![i] } else { vec![] }).collect());
        let rows = flatten(&chain, &Folds::default(), false);
        assert_eq!(rows.len(), n);
        assert!(rows[n - 1].guides(&UNICODE).starts_with('…'));
        assert_eq!(flatten(&chain, &Folds::default(), true)[n - 1].guides(&UNICODE), "");
    }
}
