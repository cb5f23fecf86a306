//! The layer table of a version, with the chain of the layer under the cursor.

use super::details::{brief, details};
use super::facts::Facts;
use super::{TABS, Tab};
use crate::error::Result;
use crate::model::cache::Compression;
use crate::model::filter;
use crate::model::inventory::State;
use crate::model::rows::LayerRow;
use crate::tui::keys::Action;
use crate::tui::list::{Clicked, List, Source};
use crate::tui::screen::{Answer, Canvas, Context, Jump, Look, Mouse, Request, Search, bytes, count};
use crate::tui::screens::{filter_note, list_answer, nothing_fits, plain, sort_menu};
use crate::tui::shared::{Shared, Target};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Table, Width};
use crate::tui::widgets::textbox::Scroll;
use crate::tui::widgets::tree::{Folds, Forest, flatten};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::cmp::Ordering;
use std::collections::HashSet;

mod by {
    pub const NUMBER: u8 = 0;
    pub const SIZE: u8 = 1;
    pub const STEP: u8 = 2;
    pub const AGE: u8 = 3;
    pub const REFERRERS: u8 = 4;
    pub const COMPRESSION: u8 = 5;
}

const ORDERS: [(&str, u8); 6] = [
    ("number", by::NUMBER),
    ("size", by::SIZE),
    ("step", by::STEP),
    ("age", by::AGE),
    ("users", by::REFERRERS),
    ("compression", by::COMPRESSION),
];

const COLUMNS: [Column; 9] = [
    Column::new("#", Width::Cells(4)).right().sort(by::NUMBER),
    Column::new("", Width::Cells(1)).rank(6),
    Column::new("step", Width::Grows(32)).sort(by::STEP),
    Column::new("from", Width::Cells(7)).rank(5),
    Column::new("digest", Width::Shrinks(12, 8)),
    Column::new("comp", Width::Cells(7)).rank(4).sort(by::COMPRESSION),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("", Width::Cells(8)).rank(2),
    Column::new("ref", Width::Cells(3)).right().rank(3).sort(by::REFERRERS),
];

/// The tab.
pub(super) struct Layers {
    list: List<usize>,
    scroll: Scroll,
    chain_scroll: Scroll,
    /// Whether the chain pane shows the whole forest.
    whole: bool,
    focus: u8,
    seen: Option<(Target, usize)>,
}

impl Layers {
    pub(super) fn new() -> Layers {
        Layers {
            list: List::new(by::SIZE, |by| matches!(by, by::SIZE | by::AGE | by::REFERRERS)),
            scroll: Scroll::default(),
            chain_scroll: Scroll::default(),
            whole: false,
            focus: 1,
            seen: None,
        }
    }

    pub(super) fn aim(&mut self, layer: usize) {
        self.list.aim(layer);
    }

    /// The layer under the cursor.
    pub(super) fn current(&self) -> Option<usize> {
        self.list.current()
    }

    fn row(&self, number: usize, facts: &Facts, look: Look<'_>) -> Row<'static> {
        let layer = &facts.cache.layers[number];
        let source = facts.steps[number].as_ref().map_or(look.dash(), |name| name.source.name());
        let blob = facts.inventory.as_ref().and_then(|inventory| inventory.blob(&layer.blob));
        let state = match blob.map(|blob| (blob.state, blob.wrong_size())) {
            Some((State::Missing, _)) => look.state(State::Missing),
            Some((_, true)) => Span::styled(look.glyphs.finding, look.theme.finding),
            _ if facts.min[number] => Span::styled(look.glyphs.live, look.theme.dim),
            _ => Span::raw(" "),
        };
        let mut step = vec![facts.layer_name(number, look)];
        if let Some(platform) = &layer.platform {
            step.push(look.dim(format!("  {}", crate::model::text::safe(platform))));
        }
        Row::from(vec![
            Cell::text(look.dim(number.to_string())),
            Cell::text(state),
            Cell::of(step, 0, Cut::End),
            Cell::text(look.dim(source)),
            Cell::digest(look.dim(layer.blob.short())),
            Cell::text(look.dim(short(layer.compression))),
            look.size(layer.size),
            Cell::bar(layer.size.unwrap_or(0), facts.largest),
            Cell::text(look.dim(facts.referrers[number].to_string())),
        ])
    }

    fn details(&self, facts: &Facts, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        self.current().map_or_else(Vec::new, |layer| details(layer, facts, width, look))
    }

    fn chain(&self, facts: &Facts, look: Look<'_>, width: usize) -> (Vec<Line<'static>>, usize) {
        let Some(current) = self.current() else { return (Vec::new(), 0) };
        let family: HashSet<usize> = facts.forest.family(&facts.cache, current).into_iter().collect();
        let shown =
            Shown { facts, only: (!self.whole).then_some(&family), children: children(facts, &family, self.whole) };
        let rows = flatten(&shown, &Folds::default(), true);
        let at = rows.iter().position(|row| row.node == current).unwrap_or(0);
        let lines = rows.iter().map(|row| {
            let layer = row.node;
            let guides = Span::styled(row.guides(look.glyphs), look.theme.dim);
            let style = match layer {
                l if l == current => look.theme.focus.patch(look.theme.strong),
                l if family.contains(&l) => look.theme.text,
                _ => look.theme.dim,
            };
            let sign = if layer == current { look.glyphs.live } else { look.glyphs.leaf };
            let name = facts.step(layer).unwrap_or_else(|| facts.cache.layers[layer].blob.short());
            let name =
                crate::model::text::fit_end(&name, width.saturating_sub(30).max(12), look.glyphs.ellipsis).into_owned();
            let size = facts.cache.layers[layer].size.map_or(String::new(), |n| look.bytes(n));
            let end = if facts.forest.children(layer).is_empty() { "  leaf" } else { "" };
            Line::from(vec![
                guides,
                Span::styled(format!("{sign} #{layer} {name}"), style),
                look.dim(format!("  {size}{end}")),
            ])
        });
        (lines.collect(), at)
    }
}

/// A layer's compression in one narrow word.
fn short(compression: Compression) -> &'static str {
    match compression {
        Compression::Uncompressed => "none",
        Compression::Unknown => "?",
        other => other.name(),
    }
}

/// Children lists of the part of the forest that is shown.
fn children(facts: &Facts, family: &HashSet<usize>, whole: bool) -> Vec<Vec<usize>> {
    let all = 0..facts.cache.layers.len();
    all.map(|layer| facts.forest.children(layer).iter().copied().filter(|c| whole || family.contains(c)).collect())
        .collect()
}

struct Shown<'a> {
    facts: &'a Facts,
    only: Option<&'a HashSet<usize>>,
    children: Vec<Vec<usize>>,
}

impl Forest for Shown<'_> {
    fn roots(&self) -> Vec<usize> {
        let roots = self.facts.forest.roots().iter().copied();
        roots.filter(|root| self.only.is_none_or(|family| family.contains(root))).collect()
    }

    fn children(&self, node: usize) -> &[usize] {
        &self.children[node]
    }
}

fn compare(by: u8, a: usize, b: usize, facts: &Facts) -> Ordering {
    let layers = &facts.cache.layers;
    match by {
        by::SIZE => layers[a].size.cmp(&layers[b].size),
        by::STEP => facts.step(a).cmp(&facts.step(b)),
        by::AGE => layers[a].created.cmp(&layers[b].created),
        by::REFERRERS => facts.referrers[a].cmp(&facts.referrers[b]),
        by::COMPRESSION => layers[a].compression.cmp(&layers[b].compression),
        _ => a.cmp(&b),
    }
}

impl Tab for Layers {
    fn refresh(&mut self, facts: &Facts, shared: &Shared) {
        if self.seen == Some((facts.target, facts.cache.layers.len())) {
            return;
        }
        self.seen = Some((facts.target, facts.cache.layers.len()));
        let steps: Vec<Option<String>> = (0..facts.cache.layers.len()).map(|l| facts.step(l)).collect();
        self.list.arrange(&Source {
            len: facts.cache.layers.len(),
            key: &|n| n,
            row: &|n| LayerRow {
                number: n,
                layer: &facts.cache.layers[n],
                step: steps[n].as_deref(),
                referrers: facts.referrers[n],
            },
            kind: &|_| true,
            order: &|by, a, b| compare(by, a, b, facts),
            now: shared.now,
        });
    }

    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => {
                if let Some(layer) = self.current() {
                    cx.ask(Request::Push(Box::new(facts.files(layer))));
                }
            }
            Action::NextPane => self.focus = self.focus % 3 + 1,
            Action::PrevPane => self.focus = (self.focus + 1) % 3 + 1,
            Action::Pane(n) => self.focus = n,
            Action::PreviewDown => self.scroll.step(1, usize::MAX),
            Action::PreviewUp => self.scroll.step(-1, usize::MAX),
            Action::Toggle => self.whole = !self.whole,
            Action::Sort => cx.ask(sort_menu(&ORDERS, self.list.sort)),
            Action::Info => cx.ask(Request::Show("layer".to_owned(), self.details(facts, 96, cx.look))),
            Action::Escape => {
                self.seen = None;
                return self.list.escape();
            }
            Action::Up if self.focus == 3 => self.chain_scroll.step(-1, usize::MAX),
            Action::Down if self.focus == 3 => self.chain_scroll.step(1, usize::MAX),
            Action::Up if self.focus == 2 => self.scroll.step(-1, usize::MAX),
            Action::Down if self.focus == 2 => self.scroll.step(1, usize::MAX),
            _ => {
                let before = self.current();
                let acted = self.list.act(action, &|n| n);
                if action == Action::Reverse {
                    self.seen = None;
                }
                if self.current() != before {
                    self.scroll.down = 0;
                }
                return acted;
            }
        }
        true
    }

    fn answer(&mut self, answer: Answer, _facts: &Facts, _cx: &mut Context<'_>) -> Result<()> {
        self.seen = None;
        if let Answer::Jump(Jump::Layer(_, layer)) = answer {
            self.list.aim(layer);
            return Ok(());
        }
        list_answer(&mut self.list, &answer, <LayerRow<'_> as filter::Row>::fields()).map(drop)
    }

    fn mouse(&mut self, mouse: Mouse, facts: &Facts, cx: &mut Context<'_>) {
        match self.list.mouse(mouse, &|n| n) {
            Clicked::Opened => drop(self.act(Action::Open, facts, cx)),
            Clicked::Sorted => self.seen = None,
            Clicked::Moved => (self.focus, self.scroll.down) = (1, 0),
            Clicked::Nothing => {}
        }
    }

    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (width, height) = canvas.size;
        let zoomed = canvas.zoomed;
        let below = match height {
            _ if zoomed || width < 100 => 0,
            0..24 => 0,
            24..32 => 8,
            _ => height / 3,
        };
        let top = Rect { height: area.height - below, ..area };
        let (list_area, preview) =
            if zoomed { (area, None) } else { crate::tui::screens::with_preview(top, canvas.size, 38) };
        let pane = Pane {
            tabs: Some((&TABS, 0)),
            note: filter_note(&self.list, look),
            position: self.list.position(),
            focused: self.focus == 1,
            ..Pane::default()
        };
        if !zoomed || self.focus == 1 {
            let inner = canvas.pane(&pane, list_area);
            let nothing = facts.nothing(look.shared).or_else(|| self.list.is_empty().then(nothing_fits));
            if let Some(lines) = nothing {
                canvas.nothing(&lines, inner);
            } else {
                let mut state = std::mem::take(&mut self.list.state);
                let row = |n: usize| {
                    let Some(number) = self.list.source(n) else { return Row::default() };
                    let marked = self.list.is_marked(&number) || self.list.in_range(n);
                    Row { marked, ..self.row(number, facts, look) }
                };
                let (len, sort, focused) = (self.list.len(), Some(self.list.sort), self.focus == 1);
                let table = Table { columns: &COLUMNS, len, row: &row, sort, focused, marks: true, stacked: false };
                canvas.table(table, inner, &mut state);
                self.list.state = state;
            }
        }
        let preview = if zoomed && self.focus == 2 { Some(area) } else { preview };
        if let Some(area) = preview {
            let title = self.current().map_or("layer".to_owned(), |layer| format!("layer #{layer}"));
            let pane = Pane { number: Some(2), title: vec![title.into()], focused: self.focus == 2, ..Pane::default() };
            let inner = canvas.pane(&pane, area);
            let wide = usize::from(inner.width);
            let lines = match self.current() {
                Some(layer) if inner.height < 6 && wide >= 56 => brief(layer, facts, wide, look),
                _ => self.details(facts, wide, look),
            };
            canvas.lines(&lines, inner, &mut self.scroll);
        }
        if below > 0 || (zoomed && self.focus == 3) {
            let area = if zoomed { area } else { Rect { y: top.bottom(), height: below, ..area } };
            self.draw_chain(area, facts, canvas);
        }
    }

    fn status(&self, facts: &Facts, shared: &Shared) -> String {
        let Some(s) = facts.index().and_then(|index| index.summary.as_ref()) else { return String::new() };
        let named = facts.steps.iter().flatten().count();
        let share = if s.max_bytes > 0 { s.min_bytes as u128 * 100 / s.max_bytes as u128 } else { 100 };
        let mut parts = vec![
            format!("{} in {}", count(s.layers, "layer"), count(s.unique_blobs, "blob")),
            format!("sum {}", bytes(s.max_bytes, shared)),
            format!("mode=min {} ({share}%)", bytes(s.min_bytes, shared)),
            format!("{named} named"),
        ];
        if !self.list.marks().is_empty() {
            let blobs: HashSet<_> =
                self.list.marks().iter().filter_map(|&l| facts.cache.layers.get(l)).map(|l| (l.blob, l.size)).collect();
            let sum = blobs.iter().filter_map(|(_, size)| *size).fold(0u64, u64::saturating_add);
            parts.push(format!("marked {} = {}", self.list.marks().len(), bytes(sum, shared)));
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        let text = self.list.filter_text().to_owned();
        Search { fields: <LayerRow<'_> as filter::Row>::fields(), text, hides: true }
    }

    fn yank(&self, action: Action, facts: &Facts, shared: &Shared) -> Option<String> {
        let number = self.current()?;
        let layer = facts.cache.layers.get(number)?;
        match action {
            Action::YankDigest => Some(layer.blob.to_string()),
            Action::YankPath => crate::tui::screens::blob_path(shared.places.get(facts.target.place)?, &layer.blob),
            Action::YankJson => Some(crate::tui::screens::pretty(&serde_json::json!({
                "layer": number,
                "digest": layer.blob,
                "diff_id": layer.diff_id,
                "bytes": layer.size,
                "parent": layer.parent,
                "compression": layer.compression.name(),
                "media_type": layer.media_type.as_ref(),
                "created_at": layer.created.map(|time| time.to_string()),
                "step": facts.steps[number].as_ref().map(|name| name.step.as_ref()),
                "step_from": facts.steps[number].as_ref().map(|name| name.source.name()),
            }))),
            _ => None,
        }
    }

    fn text(&self, facts: &Facts, look: Look<'_>) -> String {
        let row = |n: usize| self.list.source(n).map_or_else(Row::default, |number| self.row(number, facts, look));
        plain(&COLUMNS, self.list.len(), &row)
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Toggle => Some(if self.whole { "chain" } else { "forest" }),
            _ => None,
        }
    }
}

impl Layers {
    fn draw_chain(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let title = match self.current() {
            Some(layer) if !self.whole => format!("chain of #{layer}: what it builds on, what builds on it"),
            _ => "all chains".to_owned(),
        };
        let (lines, at) = self.chain(facts, look, usize::from(area.width));
        let outside = facts.cache.layers.len() - lines.len().min(facts.cache.layers.len());
        let note = if outside > 0 { vec![look.dim(format!("{outside} more outside this chain"))] } else { Vec::new() };
        let pane =
            Pane { number: Some(3), title: vec![title.into()], note, focused: self.focus == 3, ..Pane::default() };
        let inner = canvas.pane(&pane, area);
        if self.focus != 3 {
            self.chain_scroll.height = usize::from(inner.height);
            self.chain_scroll.down = at.saturating_sub(usize::from(inner.height) / 2);
        }
        canvas.lines(&lines, inner, &mut self.chain_scroll);
    }
}
