//! Manifest and config of a version exactly as they are written, as a tree that folds.

use super::facts::Facts;
use super::{TABS, Tab};
use crate::error::Result;
use crate::model::text;
use crate::tui::json::{Sort, Tree};
use crate::tui::keys::Action;
use crate::tui::list::walk;
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Search, Work, count};
use crate::tui::shared::{Fetched, Shared, Target, error_line};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Hit, Row, Table, TableState, Width, position};
use crate::tui::widgets::textbox::highlight;
use crate::tui::widgets::tree::{Branch, Folds, flatten};
use ratatui::layout::Rect;
use ratatui::text::Span;
use std::sync::Arc;

const COLUMNS: [Column; 1] = [Column::new("", Width::Grows(10))];

/// The tab.
pub(super) struct RawTab {
    state: TableState,
    folds: Folds,
    rows: Vec<Branch>,
    tree: Option<Arc<Tree>>,
    word: String,
    stale: bool,
}

impl RawTab {
    pub(super) fn new() -> RawTab {
        RawTab {
            state: TableState::default(),
            folds: Folds::default(),
            rows: Vec::new(),
            tree: None,
            word: String::new(),
            stale: true,
        }
    }

    /// Asks for the documents unless they are there.
    pub(super) fn load(&self, facts: &Facts, cx: &mut Context<'_>) {
        let known = cx.shared.raws.get(&facts.target);
        if matches!(known, None | Some(Fetched::Failed(_))) {
            let config = facts.index().and_then(|index| index.config);
            cx.ask(Request::Work(facts.target.place, Work::Raw { digest: facts.target.digest, config }));
        }
    }

    fn find(&mut self, forward: bool) {
        let Some(tree) = self.tree.clone() else { return };
        let word = self.word.to_lowercase();
        if word.is_empty() {
            return;
        }
        let fits = |node: usize| {
            let node = tree.get(node);
            node.key.to_lowercase().contains(&word) || node.value.to_lowercase().contains(&word)
        };
        // Nodes are numbered as they are written, so order of number is order of reading.
        let here = self.rows.get(self.state.selected()).map_or(0, |row| row.node);
        let next = match forward {
            true => (here + 1..tree.len()).chain(0..=here).find(|&n| fits(n)),
            false => (0..here).rev().chain((here..tree.len()).rev()).find(|&n| fits(n)),
        };
        if let Some(next) = next {
            self.reveal(next);
        }
    }

    fn reveal(&mut self, node: usize) {
        if !self.rows.iter().any(|row| row.node == node) {
            self.folds.set_all(false);
            self.flatten();
        }
        if let Some(at) = self.rows.iter().position(|row| row.node == node) {
            self.state.select(at);
        }
    }

    fn flatten(&mut self) {
        if let Some(tree) = &self.tree {
            self.rows = flatten(tree.as_ref(), &self.folds, false);
        }
    }

    fn fold(&mut self, folded: bool) {
        let Some(row) = self.rows.get(self.state.selected()).copied() else { return };
        match row.folded {
            Some(now) if now != folded => {
                self.folds.set(row.node, folded);
                self.flatten();
            }
            _ if folded => self.state.select(row.parent.unwrap_or(self.state.selected())),
            _ => self.state.step(1, self.rows.len()),
        }
    }

    fn row(tree: &Tree, branch: &Branch, word: &str, look: Look<'_>) -> Row<'static> {
        let node = tree.get(branch.node);
        let theme = look.theme;
        let mut parts = vec![Span::styled(branch.guides(look.glyphs), theme.dim)];
        parts.push(Span::styled(format!("{} ", branch.knob(look.glyphs)), theme.dim));
        let found = |text: &str| highlight(text, word, theme.found).spans;
        match node.sort {
            Sort::Title => {
                parts.push(Span::styled(node.key.clone(), theme.strong));
                parts.push(Span::styled(node.value.clone(), theme.missing));
            }
            _ => {
                parts.extend(found(&node.key));
                parts.push(look.dim(" "));
            }
        }
        let style = match node.sort {
            Sort::Text => theme.live,
            Sort::Other => theme.pinned,
            _ => theme.dim,
        };
        let value = if node.sort == Sort::Title { "" } else { &node.value };
        parts.extend(found(value).into_iter().map(|span| {
            let own = if span.style == theme.found { span.style } else { style };
            Span::styled(span.content, own)
        }));
        parts.push(look.dim(tree.summary(branch.node)));
        let gives = parts.len().saturating_sub(2);
        Row::from(vec![Cell::of(parts, gives, Cut::End)])
    }
}

impl Tab for RawTab {
    fn refresh(&mut self, facts: &Facts, shared: &Shared) {
        let tree = match shared.raws.get(&facts.target) {
            Some(Fetched::Ready(tree)) => Some(tree.clone()),
            _ => None,
        };
        let same = match (&self.tree, &tree) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        if !same {
            // Long lists begin folded: what they are is more telling than what is in them.
            if let (None, Some(tree)) = (&self.tree, &tree) {
                (0..tree.len()).filter(|&n| tree.is_long(n)).for_each(|n| self.folds.set(n, true));
            }
            self.tree = tree;
            self.stale = true;
        }
        if self.stale {
            self.flatten();
            self.stale = false;
        }
    }

    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool {
        match action {
            _ if walk(&mut self.state, action, self.rows.len()) => {}
            Action::Left => self.fold(true),
            Action::Right => self.fold(false),
            Action::FoldAll | Action::UnfoldAll => {
                self.folds.set_all(action == Action::FoldAll);
                if let Some(tree) = self.tree.as_ref().filter(|_| action == Action::FoldAll) {
                    crate::tui::widgets::tree::Forest::roots(tree.as_ref())
                        .into_iter()
                        .for_each(|r| self.folds.set(r, false));
                }
                self.flatten();
            }
            Action::FindNext => self.find(true),
            Action::FindPrev => self.find(false),
            Action::Refresh => self.load(facts, cx),
            Action::Escape if !self.word.is_empty() => self.word.clear(),
            _ => return false,
        }
        true
    }

    fn answer(&mut self, answer: Answer, _facts: &Facts, _cx: &mut Context<'_>) -> Result<()> {
        if let Answer::Search(word) = answer {
            self.word = word;
            let here = self.rows.get(self.state.selected()).map(|row| row.node);
            let fits = here.zip(self.tree.clone()).is_some_and(|(node, tree)| {
                let word = self.word.to_lowercase();
                tree.get(node).key.to_lowercase().contains(&word) || tree.get(node).value.to_lowercase().contains(&word)
            });
            if !fits {
                self.find(true);
            }
        }
        Ok(())
    }

    fn mouse(&mut self, mouse: Mouse, _facts: &Facts, _cx: &mut Context<'_>) {
        let len = self.rows.len();
        match (mouse, self.state.hit(mouse.at(), len)) {
            (Mouse::Wheel(_, by), _) => self.state.scroll(by, len),
            (Mouse::Double(_), Some(Hit::Row(_))) => {
                let folded = self.rows.get(self.state.selected()).and_then(|row| row.folded);
                if let Some(folded) = folded {
                    self.fold(!folded);
                }
            }
            (_, Some(Hit::Row(row))) => self.state.select(row),
            _ => {}
        }
    }

    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let mut note = Vec::new();
        if !self.word.is_empty() {
            note = vec![
                Span::styled("/ ", look.theme.key),
                Span::styled(text::safe(&self.word).into_owned(), look.theme.found),
            ];
        }
        let pane = Pane {
            tabs: Some((&TABS, 3)),
            note,
            position: position(self.state.selected(), self.rows.len()),
            focused: true,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, area);
        let Some(tree) = self.tree.clone() else {
            let lines = match look.shared.raws.get(&facts.target) {
                Some(Fetched::Failed(error)) => vec![error_line(error), "r tries again".to_owned()],
                _ => vec!["reading the documents".to_owned()],
            };
            return canvas.nothing(&lines, inner);
        };
        let word = self.word.to_lowercase();
        let mut state = std::mem::take(&mut self.state);
        let rows = &self.rows;
        let row = |n: usize| rows.get(n).map_or_else(Row::default, |branch| RawTab::row(&tree, branch, &word, look));
        let table = Table {
            columns: &COLUMNS,
            len: rows.len(),
            row: &row,
            sort: None,
            focused: true,
            marks: false,
            stacked: false,
        };
        canvas.table(table, inner, &mut state);
        self.state = state;
    }

    fn status(&self, facts: &Facts, _shared: &Shared) -> String {
        let path = self.tree.as_ref().zip(self.rows.get(self.state.selected())).map(|(tree, row)| tree.path(row.node));
        let size = facts.index().map_or(0, |index| index.manifest_bytes);
        match path.filter(|path| !path.is_empty()) {
            Some(path) => path,
            None => format!("manifest of {}", count(size, "byte")),
        }
    }

    fn search(&self) -> Search<'_> {
        Search { fields: &[], text: self.word.clone(), hides: false }
    }

    fn yank(&self, action: Action, facts: &Facts, _shared: &Shared) -> Option<String> {
        let target: Target = facts.target;
        match action {
            Action::YankJson => self.tree.as_ref().map(|tree| tree.source.clone()),
            Action::YankDigest => Some(target.digest.to_string()),
            _ => None,
        }
    }

    fn text(&self, _facts: &Facts, _look: Look<'_>) -> String {
        self.tree.as_ref().map_or_else(String::new, |tree| tree.source.clone())
    }
}
