//! The layer table of a version, with the chain of the layer under the cursor.

use super::chain::ChainPane;
use super::details::{brief, details};
use super::facts::Facts;
use super::{TABS, Tab};
use crate::error::Result;
use crate::model::cache::Compression;
use crate::model::filter;
use crate::model::inventory::State;
use crate::model::rows::LayerRow;
use crate::model::text;
use crate::tui::keys::Action;
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Search, bytes, count};
use crate::tui::screens::{blob_path, pretty, with_preview};
use crate::tui::shared::Shared;
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
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
    Column::new("", Width::Cells(1)),
    Column::new("step", Width::Name(32, 20)).sort(by::STEP),
    Column::new("from", Width::Cells(7)).rank(8),
    Column::new("digest", Width::Shrinks(12, 8)),
    Column::new("comp", Width::Cells(7)).rank(7).sort(by::COMPRESSION),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("", Width::Cells(8)).rank(5),
    Column::new("ref", Width::Cells(3)).right().rank(3).sort(by::REFERRERS),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| matches!(by, by::SIZE | by::AGE | by::REFERRERS),
    kinds: &[],
    fields: <LayerRow<'_> as filter::Row>::fields,
    marks: true,
};

/// The tab.
pub(super) struct Layers {
    listing: Listing<usize>,
    chain: ChainPane,
    /// Whether the chain has the focus.
    on_chain: bool,
}

impl Layers {
    pub(super) fn new() -> Layers {
        Layers { listing: Listing::new(&SHAPE, by::SIZE), chain: ChainPane::default(), on_chain: false }
    }

    pub(super) fn aim(&mut self, layer: usize) {
        self.listing.list.aim(layer);
    }

    /// The layer under the cursor.
    pub(super) fn current(&self) -> Option<usize> {
        self.listing.list.current()
    }

    /// The pane that has the focus: list, details, chain.
    fn focus(&self) -> u8 {
        match (self.on_chain, self.listing.on_preview) {
            (true, _) => 3,
            (false, true) => 2,
            (false, false) => 1,
        }
    }

    fn focus_on(&mut self, pane: u8) {
        (self.on_chain, self.listing.on_preview) = (pane == 3, pane == 2);
    }

    fn details(&self, facts: &Facts, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        self.current().map_or_else(Vec::new, |layer| details(layer, facts, width, look))
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

fn row(number: usize, facts: &Facts, look: Look<'_>) -> Row<'static> {
    let layer = &facts.cache.layers[number];
    let source = facts.steps[number].as_ref().map_or(look.dash(), |name| name.source.word());
    let blob = facts.inventory.as_ref().and_then(|inventory| inventory.blob(&layer.blob));
    let state = match blob.map(|blob| (blob.state, blob.wrong_size())) {
        Some((State::Missing, _)) => look.state(State::Missing),
        Some((_, true)) => Span::styled(look.glyphs.finding, look.theme.finding),
        _ if facts.min[number] => Span::styled(look.glyphs.live, look.theme.dim),
        _ => Span::raw(" "),
    };
    let mut step = vec![facts.layer_name(number, look)];
    if let Some(platform) = &layer.platform {
        step.push(look.dim(format!("  {}", text::safe(platform))));
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

/// Places of list, details and chain, as far as there is room.
fn places(area: Rect, size: (u16, u16)) -> (Option<Rect>, Option<Rect>, Option<Rect>) {
    let below = match size {
        (..100, _) | (_, ..24) => 0,
        (_, 24..32) => 8,
        (_, height) => height / 3,
    };
    let top = Rect { height: area.height - below, ..area };
    let (list, preview) = with_preview(top, size, 38);
    let chain = Rect { y: top.bottom(), height: below, ..area };
    (Some(list), preview, (below > 0).then_some(chain))
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
        if !self.listing.is_stale(facts.revision) {
            self.chain.refresh(self.current(), facts);
            return;
        }
        let steps: Vec<Option<String>> = (0..facts.cache.layers.len()).map(|l| facts.step(l)).collect();
        let source = Source {
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
        };
        self.listing.arrange(facts.revision, &source);
        self.chain.refresh(self.current(), facts);
    }

    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => {
                if let Some(layer) = self.current() {
                    cx.ask(Request::Push(Box::new(facts.files(layer))));
                }
            }
            Action::NextPane => self.focus_on(self.focus() % 3 + 1),
            Action::PrevPane => self.focus_on((self.focus() + 1) % 3 + 1),
            Action::Pane(n) => self.focus_on(n),
            Action::Toggle => self.chain.whole = !self.chain.whole,
            Action::Info => cx.ask(Request::Show("layer".to_owned(), self.details(facts, 96, cx.look))),
            _ if self.on_chain && self.chain.walk(action) => {}
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _facts: &Facts, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn mouse(&mut self, mouse: Mouse, facts: &Facts, cx: &mut Context<'_>) {
        self.on_chain &= self.listing.list.state.hit(mouse.at(), usize::MAX).is_none();
        if self.listing.mouse(mouse) {
            self.act(Action::Open, facts, cx);
        }
    }

    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let focus = self.focus();
        let (mut list, mut preview, mut chain) = places(area, canvas.size);
        if canvas.zoomed {
            (list, preview, chain) = (None, None, None);
            *[&mut list, &mut preview, &mut chain][usize::from(focus) - 1] = Some(area);
        }
        if let Some(list) = list {
            let pane = Pane { tabs: Some((&TABS, 0)), focused: focus == 1, ..Pane::default() };
            let empty = || facts.nothing(look.shared).unwrap_or_else(nothing_fits);
            self.listing.draw(list, pane, (&|n| row(n, facts, look), &empty), canvas);
        }
        if let Some(area) = preview {
            let title = self.current().map_or("layer".to_owned(), |layer| format!("layer #{layer}"));
            let wide = usize::from(area.width.saturating_sub(4));
            let lines = match self.current() {
                Some(layer) if area.height < 8 && wide >= 56 => brief(layer, facts, wide, look),
                _ => self.details(facts, wide, look),
            };
            self.listing.draw_preview(area, title, &lines, canvas);
        }
        if let Some(area) = chain {
            self.chain.draw(area, focus == 3, facts, canvas);
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
        if !self.listing.list.marks().is_empty() {
            let blobs: HashSet<_> = self
                .listing
                .list
                .marks()
                .iter()
                .filter_map(|&l| facts.cache.layers.get(l))
                .map(|l| (l.blob, l.size))
                .collect();
            let sum = blobs.iter().filter_map(|(_, size)| *size).fold(0u64, u64::saturating_add);
            parts.push(format!("marked {} = {}", self.listing.list.marks().len(), bytes(sum, shared)));
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, facts: &Facts, shared: &Shared) -> Option<String> {
        let number = self.current()?;
        let layer = facts.cache.layers.get(number)?;
        match action {
            Action::YankDigest => Some(layer.blob.to_string()),
            Action::YankPath => blob_path(shared.places.get(facts.target.place)?, &layer.blob),
            Action::YankJson => Some(pretty(&serde_json::json!({
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
        self.listing.text(&|n| row(n, facts, look))
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Toggle => Some(if self.chain.whole { "chain" } else { "forest" }),
            _ => None,
        }
    }
}
