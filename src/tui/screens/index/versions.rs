//! The versions around one: all of its place in the order they were made, with what each added and what it shares.

use super::facts::Facts;
use super::{TABS, Tab};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter;
use crate::model::inventory::CacheIndex;
use crate::model::rows::IndexRow;
use crate::model::text;
use crate::model::units::Bytes;
use crate::tui::keys::Action;
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Search, count};
use crate::tui::screens::{kept, name_cell, shared_bytes};
use crate::tui::shared::{Shared, Target};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
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

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| by != by::NAME,
    kinds: &[],
    fields: <IndexRow<'_> as filter::Row>::fields,
    marks: true,
};

/// The tab.
pub(super) struct Versions {
    listing: Listing<Digest>,
    sums: Sums,
    counted: Option<u64>,
}

/// What versions are compared by.
#[derive(Default)]
struct Sums {
    /// Bytes more or fewer than the version made before it; none for the first.
    deltas: HashMap<Digest, i128>,
    /// Bytes in common with the version that is shown.
    shares: HashMap<Digest, u64>,
    /// Bytes of that version.
    whole: u64,
}

impl Versions {
    pub(super) fn new() -> Versions {
        Versions { listing: Listing::new(&SHAPE, by::AGE), sums: Sums::default(), counted: None }
    }

    fn open(&self, facts: &Facts, cx: &mut Context<'_>) {
        if let Some(target) = self.target(facts, cx.shared).filter(|target| *target != facts.target) {
            cx.ask(Request::Push(Box::new(super::Index::new(target, cx.shared))));
        }
    }
}

impl Sums {
    fn of(facts: &Facts, indexes: &[CacheIndex]) -> Sums {
        let mut order: Vec<&CacheIndex> = indexes.iter().filter(|i| i.summary.is_some()).collect();
        order.sort_by_key(|i| i.time());
        let size = |i: &CacheIndex| i.summary.as_ref().map_or(0, |s| i128::from(s.max_bytes));
        let deltas = order.windows(2).map(|pair| (pair[1].digest, size(pair[1]) - size(pair[0]))).collect();
        let Some(own) = facts.index() else { return Sums { deltas, ..Sums::default() } };
        let shares = indexes.iter().map(|other| (other.digest, shared_bytes(own, other))).collect();
        let whole = own.reach.iter().fold(0u64, |sum, r| sum.saturating_add(r.size));
        Sums { deltas, shares, whole }
    }
}

fn row<'a>(index: &'a CacheIndex, shown: Target, sums: &Sums, look: Look<'_>) -> Row<'a> {
    let size = index.summary.as_ref().map(|s| s.max_bytes);
    let delta = match sums.deltas.get(&index.digest) {
        None => Cell::text(Span::styled(format!("{}   ", look.dash()), look.theme.dim)),
        Some(delta) => {
            let (number, unit) = Bytes(delta.unsigned_abs() as u64).split(look.shared.sizes);
            let (sign, style) = match delta.cmp(&0) {
                std::cmp::Ordering::Less => ("-", look.theme.missing),
                std::cmp::Ordering::Equal => ("=", look.theme.dim),
                std::cmp::Ordering::Greater => ("+", look.theme.live),
            };
            let parts = vec![Span::styled(format!("{sign}{number}"), style), look.dim(format!(" {unit:<3}"))];
            Cell::of(parts, 0, Cut::End)
        }
    };
    let shares = sums.shares.get(&index.digest).copied().unwrap_or(0);
    let mut flags = kept(index, shown.place, look);
    if flags.len() < 2 && index.digest == shown.digest {
        flags.push(Span::styled(look.glyphs.crumb, look.theme.focus));
    }
    Row::from(vec![
        Cell::of(flags, 0, Cut::End),
        name_cell(index, look),
        Cell::digest(look.dim(index.short())),
        Cell::text(index.summary.as_ref().map_or(String::new(), |s| s.layers.to_string())),
        look.size(size),
        delta,
        look.size(Some(shares)),
        Cell::bar(shares, sums.whole),
        look.age(index.time()),
    ])
}

fn indexes(facts: &Facts) -> &[CacheIndex] {
    facts.inventory.as_ref().map_or(&[], |inventory| &inventory.indexes)
}

impl Tab for Versions {
    fn refresh(&mut self, facts: &Facts, shared: &Shared) {
        let all = indexes(facts);
        if self.counted != Some(facts.revision) {
            self.sums = Sums::of(facts, all);
            self.counted = Some(facts.revision);
            if self.listing.list.is_empty() {
                self.listing.list.aim(facts.target.digest);
            }
        }
        if !self.listing.is_stale(facts.revision) {
            return;
        }
        let sums = &self.sums;
        let kind = shared.places.get(facts.target.place).map_or("", |place| place.location.kind());
        let size = |n: usize| all[n].summary.as_ref().map(|s| s.max_bytes);
        let source = Source {
            len: all.len(),
            key: &|n| all[n].digest,
            row: &|n| IndexRow { index: &all[n], kind },
            kind: &|n| all[n].cache.is_some() || all[n].digest == facts.target.digest,
            order: &|by, a, b| match by {
                by::SIZE => size(a).cmp(&size(b)),
                by::DELTA => sums.deltas.get(&all[a].digest).cmp(&sums.deltas.get(&all[b].digest)),
                by::SHARED => sums.shares.get(&all[a].digest).cmp(&sums.shares.get(&all[b].digest)),
                by::NAME => all[a].name().cmp(&all[b].name()),
                _ => all[a].time().cmp(&all[b].time()),
            },
            now: shared.now,
        };
        self.listing.arrange(facts.revision, &source);
    }

    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(facts, cx),
            Action::Info => {
                if let Some(index) = self.listing.list.current().and_then(|n| indexes(facts).get(n)) {
                    let look = cx.look;
                    let mut lines = vec![look.fact(
                        "digest",
                        vec![index.known_digest().map_or("not known".to_owned(), |d| d.to_string()).into()],
                    )];
                    lines.extend(
                        index.tags.iter().map(|tag| look.fact("tag", vec![text::safe(tag).into_owned().into()])),
                    );
                    lines.push(look.fact("reaches", vec![count(index.reach.len(), "blob").into()]));
                    lines.push(look.fact("unique", vec![look.bytes(index.exclusive_bytes).into()]));
                    cx.ask(Request::Show("version".to_owned(), lines));
                }
            }
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _facts: &Facts, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn mouse(&mut self, mouse: Mouse, facts: &Facts, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.open(facts, cx);
        }
    }

    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (all, sums, own) = (indexes(facts), &self.sums, facts.target);
        let empty = || match all.is_empty() {
            true => facts.nothing(look.shared).unwrap_or_default(),
            false => nothing_fits(),
        };
        let pane = Pane { tabs: Some((&TABS, 4)), focused: true, ..Pane::default() };
        self.listing.draw(area, pane, (&|n| row(&all[n], own, sums, look), &empty), canvas);
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
        self.listing.search()
    }

    fn yank(&self, _action: Action, _facts: &Facts, _shared: &Shared) -> Option<String> {
        None
    }

    fn text(&self, facts: &Facts, look: Look<'_>) -> String {
        let all = indexes(facts);
        self.listing.text(&|n| row(&all[n], facts.target, &self.sums, look))
    }

    fn marked(&self, facts: &Facts) -> Vec<Target> {
        let marks = self.listing.list.marks();
        let marked = indexes(facts).iter().filter(|index| marks.contains(&index.digest));
        marked.map(|index| Target { place: facts.target.place, digest: index.digest }).collect()
    }

    fn target(&self, facts: &Facts, _shared: &Shared) -> Option<Target> {
        let index = indexes(facts).get(self.listing.list.current()?)?;
        Some(Target { place: facts.target.place, digest: index.digest })
    }
}
