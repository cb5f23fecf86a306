//! The versions around one: all of its place in the order they were made, with what each added and what it shares.

use super::facts::Facts;
use super::{TABS, Tab};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter;
use crate::model::inventory::CacheIndex;
use crate::model::rows::IndexRow;
use crate::tui::keys::Action;
use crate::tui::list::{Clicked, List, Source};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Search, count};
use crate::tui::screens::{
    filter_note, list_answer, name_cell, nothing_fits, plain, shared_bytes, sort_menu, version_state,
};
use crate::tui::shared::{Shared, Target};
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Table, Width};
use ratatui::layout::Rect;
use ratatui::text::Span;
use std::collections::HashMap;

mod by {
    pub const AGE: u8 = 0;
    pub const SIZE: u8 = 1;
    pub const DELTA: u8 = 2;
    pub const SHARED: u8 = 3;
    pub const NAME: u8 = 4;
}

const ORDERS: [(&str, u8); 5] =
    [("age", by::AGE), ("size", by::SIZE), ("delta", by::DELTA), ("in common", by::SHARED), ("name", by::NAME)];

const COLUMNS: [Column; 9] = [
    Column::new("", Width::Cells(2)),
    Column::new("name", Width::Grows(12)).sort(by::NAME),
    Column::new("digest", Width::Shrinks(12, 8)),
    Column::new("lyrs", Width::Cells(5)).right().rank(4),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("delta", Width::Cells(11)).right().rank(1).sort(by::DELTA),
    Column::new("in common", Width::Cells(10)).right().rank(2).sort(by::SHARED),
    Column::new("", Width::Cells(10)).rank(3),
    Column::new("age", Width::Cells(5)).right().sort(by::AGE),
];

/// The tab.
pub(super) struct Versions {
    list: List<Digest>,
    /// Bytes more or fewer than the version made before it; none for the first.
    deltas: HashMap<Digest, i128>,
    shares: HashMap<Digest, u64>,
    seen: Option<Digest>,
    counted: Option<(Target, usize)>,
}

impl Versions {
    pub(super) fn new() -> Versions {
        Versions {
            list: List::new(by::AGE, |by| by != by::NAME),
            deltas: HashMap::new(),
            shares: HashMap::new(),
            seen: None,
            counted: None,
        }
    }

    fn count(&mut self, facts: &Facts, indexes: &[CacheIndex]) {
        let mut order: Vec<&CacheIndex> = indexes.iter().filter(|i| i.summary.is_some()).collect();
        order.sort_by_key(|i| i.time());
        let size = |i: &CacheIndex| i.summary.as_ref().map_or(0, |s| i128::from(s.max_bytes));
        self.deltas = order.windows(2).map(|pair| (pair[1].digest, size(pair[1]) - size(pair[0]))).collect();
        let Some(own) = facts.index() else { return };
        self.shares = indexes.iter().map(|other| (other.digest, shared_bytes(own, other))).collect();
    }

    fn row<'a>(&self, index: &'a CacheIndex, facts: &Facts, look: Look<'_>) -> Row<'a> {
        let own = index.digest == facts.target.digest;
        let size = index.summary.as_ref().map(|s| s.max_bytes);
        let delta = match self.deltas.get(&index.digest) {
            None => Cell::text(Span::styled(format!("{}   ", look.dash()), look.theme.dim)),
            Some(delta) => {
                let (number, unit) = crate::model::units::Bytes(delta.unsigned_abs() as u64).split(look.shared.sizes);
                let (sign, style) = match delta.cmp(&0) {
                    std::cmp::Ordering::Less => ("-", look.theme.missing),
                    std::cmp::Ordering::Equal => ("=", look.theme.dim),
                    std::cmp::Ordering::Greater => ("+", look.theme.live),
                };
                let parts = vec![Span::styled(format!("{sign}{number}"), style), look.dim(format!(" {unit:<3}"))];
                Cell::of(parts, 0, crate::tui::widgets::cell::Cut::End)
            }
        };
        let shares = self.shares.get(&index.digest).copied().unwrap_or(0);
        let whole = facts.index().map_or(0, |own| own.reach.iter().fold(0u64, |sum, r| sum.saturating_add(r.size)));
        let mut flags = vec![look.state(version_state(index))];
        if own {
            flags.push(Span::styled(look.glyphs.crumb, look.theme.focus));
        }
        Row::from(vec![
            Cell::of(flags, 0, crate::tui::widgets::cell::Cut::End),
            name_cell(index, look),
            Cell::digest(look.dim(index.digest.short())),
            Cell::text(index.summary.as_ref().map_or(String::new(), |s| s.layers.to_string())),
            look.size(size),
            delta,
            look.size(Some(shares)),
            Cell::bar(shares, whole),
            look.age(index.time()),
        ])
    }

    fn open(&self, facts: &Facts, cx: &mut Context<'_>) {
        if let Some(target) = self.target(facts, cx.shared).filter(|target| *target != facts.target) {
            cx.ask(Request::Push(Box::new(super::Index::new(target, cx.shared))));
        }
    }
}

fn indexes(facts: &Facts) -> &[CacheIndex] {
    facts.inventory.as_ref().map_or(&[], |inventory| &inventory.indexes)
}

impl Tab for Versions {
    fn refresh(&mut self, facts: &Facts, shared: &Shared) {
        let all = indexes(facts);
        if self.counted != Some((facts.target, all.len())) {
            self.count(facts, all);
            self.counted = Some((facts.target, all.len()));
            if self.list.is_empty() {
                self.list.aim(facts.target.digest);
            }
            self.seen = None;
        }
        if self.seen == Some(facts.target.digest) {
            return;
        }
        self.seen = Some(facts.target.digest);
        let kind = shared.places.get(facts.target.place).map_or("", |place| place.location.kind());
        let size = |n: usize| all[n].summary.as_ref().map(|s| s.max_bytes);
        self.list.arrange(&Source {
            len: all.len(),
            key: &|n| all[n].digest,
            row: &|n| IndexRow { index: &all[n], kind },
            kind: &|n| all[n].cache.is_some() || all[n].digest == facts.target.digest,
            order: &|by, a, b| match by {
                by::SIZE => size(a).cmp(&size(b)),
                by::DELTA => self.deltas.get(&all[a].digest).cmp(&self.deltas.get(&all[b].digest)),
                by::SHARED => self.shares.get(&all[a].digest).cmp(&self.shares.get(&all[b].digest)),
                by::NAME => all[a].name().cmp(&all[b].name()),
                _ => all[a].time().cmp(&all[b].time()),
            },
            now: shared.now,
        });
    }

    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(facts, cx),
            Action::Sort => cx.ask(sort_menu(&ORDERS, self.list.sort)),
            Action::Escape => {
                self.seen = None;
                return self.list.escape();
            }
            Action::Info => {
                if let Some(index) = self.list.current().and_then(|n| indexes(facts).get(n)) {
                    let look = cx.look;
                    let mut lines = vec![look.fact("digest", vec![index.digest.to_string().into()])];
                    lines.extend(
                        index
                            .tags
                            .iter()
                            .map(|tag| look.fact("tag", vec![crate::model::text::safe(tag).into_owned().into()])),
                    );
                    lines.push(look.fact("reaches", vec![count(index.reach.len(), "blob").into()]));
                    lines.push(look.fact("unique", vec![look.bytes(index.exclusive_bytes).into()]));
                    cx.ask(Request::Show("version".to_owned(), lines));
                }
            }
            _ => {
                let all = indexes(facts);
                if all.is_empty() {
                    return false;
                }
                let acted = self.list.act(action, &|n| all[n].digest);
                if action == Action::Reverse {
                    self.seen = None;
                }
                return acted;
            }
        }
        true
    }

    fn answer(&mut self, answer: Answer, _facts: &Facts, _cx: &mut Context<'_>) -> Result<()> {
        self.seen = None;
        list_answer(&mut self.list, &answer, <IndexRow<'_> as filter::Row>::fields()).map(drop)
    }

    fn mouse(&mut self, mouse: Mouse, facts: &Facts, cx: &mut Context<'_>) {
        let all = indexes(facts);
        if all.is_empty() {
            return;
        }
        match self.list.mouse(mouse, &|n| all[n].digest) {
            Clicked::Opened => self.open(facts, cx),
            Clicked::Sorted => self.seen = None,
            Clicked::Moved | Clicked::Nothing => {}
        }
    }

    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let pane = Pane {
            tabs: Some((&TABS, 4)),
            note: filter_note(&self.list, look),
            position: self.list.position(),
            focused: true,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, area);
        let all = indexes(facts);
        if self.list.is_empty() {
            let lines = match all.is_empty() {
                true => facts.nothing(look.shared).unwrap_or_default(),
                false => nothing_fits(),
            };
            return canvas.nothing(&lines, inner);
        }
        let mut state = std::mem::take(&mut self.list.state);
        let row = |n: usize| {
            let Some(index) = self.list.source(n).and_then(|n| all.get(n)) else { return Row::default() };
            let marked = self.list.is_marked(&index.digest) || self.list.in_range(n);
            Row { marked, ..self.row(index, facts, look) }
        };
        let (len, sort) = (self.list.len(), Some(self.list.sort));
        let table = Table { columns: &COLUMNS, len, row: &row, sort, focused: true, marks: true, stacked: false };
        canvas.table(table, inner, &mut state);
        self.list.state = state;
    }

    fn status(&self, facts: &Facts, _shared: &Shared) -> String {
        let tagged = indexes(facts).iter().filter(|i| !i.is_dangling()).count();
        let all = indexes(facts).len();
        format!(
            "{}, {tagged} tagged, {} untagged; delta is against the one made before",
            count(all, "version"),
            all - tagged
        )
    }

    fn search(&self) -> Search<'_> {
        let text = self.list.filter_text().to_owned();
        Search { fields: <IndexRow<'_> as filter::Row>::fields(), text, hides: true }
    }

    fn yank(&self, _action: Action, _facts: &Facts, _shared: &Shared) -> Option<String> {
        None
    }

    fn text(&self, facts: &Facts, look: Look<'_>) -> String {
        let all = indexes(facts);
        let row = |n: usize| {
            let index = self.list.source(n).and_then(|n| all.get(n));
            index.map_or_else(Row::default, |index| self.row(index, facts, look))
        };
        plain(&COLUMNS, self.list.len(), &row)
    }

    fn target(&self, facts: &Facts, _shared: &Shared) -> Option<Target> {
        let index = indexes(facts).get(self.list.current()?)?;
        Some(Target { place: facts.target.place, digest: index.digest })
    }
}
