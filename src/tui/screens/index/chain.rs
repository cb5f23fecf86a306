//! The pane that shows where a layer stands: what it builds on and what builds on it, or the whole forest.

use super::facts::Facts;
use super::trees::Chains;
use crate::model::text;
use crate::tui::keys::Action;
use crate::tui::screen::{Canvas, Look};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::textbox::Scroll;
use crate::tui::widgets::tree::{Branch, Folds, flatten};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::collections::HashSet;

/// The pane.
#[derive(Default)]
pub(super) struct ChainPane {
    /// Whether the whole forest is shown.
    pub whole: bool,
    scroll: Scroll,
    rows: Vec<Branch>,
    family: HashSet<usize>,
    /// The layer, and the revision of its place, that the rows were made for.
    made: Option<(usize, bool, u64)>,
}

impl ChainPane {
    /// Makes the rows for `layer`.
    pub(super) fn refresh(&mut self, layer: Option<usize>, facts: &Facts) {
        let key = layer.map(|layer| (layer, self.whole, facts.revision));
        if self.made == key {
            return;
        }
        self.made = key;
        self.family = layer.map_or_else(HashSet::new, |l| facts.forest.family(&facts.cache, l).into_iter().collect());
        let only = (!self.whole).then_some(&self.family);
        self.rows = flatten(&Chains::of(facts, only), &Folds::default(), true);
    }

    /// Scrolls; `false` if `action` is none of that.
    pub(super) fn walk(&mut self, action: Action) -> bool {
        self.scroll.walk(action)
    }

    /// Draws it; without the focus the layer stays in sight.
    pub(super) fn draw(&mut self, area: Rect, focused: bool, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let layer = self.made.map(|(layer, ..)| layer);
        let title = match layer {
            Some(layer) if !self.whole => format!("chain of #{layer}: what it builds on, what builds on it"),
            _ => "all chains".to_owned(),
        };
        let outside = facts.cache.layers.len().saturating_sub(self.rows.len());
        let note = if outside > 0 { vec![look.dim(format!("{outside} more outside this chain"))] } else { Vec::new() };
        let inner =
            canvas.pane(&Pane { number: Some(3), title: vec![title.into()], note, focused, ..Pane::default() }, area);
        if !focused {
            let at = self.rows.iter().position(|row| Some(row.node) == layer).unwrap_or(0);
            self.scroll.down = at.saturating_sub(usize::from(inner.height) / 2);
        }
        let (rows, family) = (&self.rows, &self.family);
        let line = |n: usize| line(&rows[n], layer, family.contains(&rows[n].node), (facts, look, area.width));
        canvas.scrolling(rows.len(), &line, inner, &mut self.scroll);
    }
}

fn line(
    row: &Branch,
    current: Option<usize>,
    near: bool,
    (facts, look, width): (&Facts, Look<'_>, u16),
) -> Line<'static> {
    let layer = row.node;
    let here = current == Some(layer);
    let style = match near {
        _ if here => look.theme.focus.patch(look.theme.strong),
        true => look.theme.text,
        false => look.theme.dim,
    };
    let sign = if here { look.glyphs.live } else { look.glyphs.leaf };
    let name = facts.step(layer).unwrap_or_else(|| facts.cache.layers[layer].blob.short());
    let room = usize::from(width).saturating_sub(30).max(12);
    let name = text::fit_end(&name, room, look.glyphs.ellipsis).into_owned();
    let size = facts.cache.layers[layer].size.map_or(String::new(), |n| look.bytes(n));
    let end = if facts.forest.children(layer).is_empty() { "  leaf" } else { "" };
    Line::from(vec![
        look.dim(row.guides(look.glyphs)),
        Span::styled(format!("{sign} #{layer} {name}"), style),
        look.dim(format!("  {size}{end}")),
    ])
}
