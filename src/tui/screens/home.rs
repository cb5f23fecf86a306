//! The first screen: locations, the indexes of one of them, and a preview of the one under the cursor.

mod draw;
mod preview;

use super::{kinds_menu, list_answer, place_title, sort_menu, with_preview};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter;
use crate::model::inventory::CacheIndex;
use crate::model::rows::IndexRow;
use crate::tui::keys::{Action, View};
use crate::tui::list::{Clicked, List, Source};
use crate::tui::screen::{Answer, Canvas, Context, Jump, Mouse, Request, Screen, Search, bytes, count, location_word};
use crate::tui::shared::{JobKind, PlaceId, Shared, Target, Tone};
use crate::tui::widgets::table::{Column, Hit, TableState, Width};
use crate::tui::widgets::textbox::Scroll;
use preview::Preview;
use ratatui::layout::Rect;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The pane that has the focus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Focus {
    Places,
    Indexes,
    Preview,
}

/// Orders of the indexes.
mod by {
    pub const NAME: u8 = 0;
    pub const SIZE: u8 = 1;
    pub const EXCLUSIVE: u8 = 2;
    pub const AGE: u8 = 3;
    pub const LAYERS: u8 = 4;
    pub const RECORDS: u8 = 5;
    pub const FORM: u8 = 6;
}

const ORDERS: [(&str, u8); 7] = [
    ("name", by::NAME),
    ("size", by::SIZE),
    ("unique", by::EXCLUSIVE),
    ("age", by::AGE),
    ("layers", by::LAYERS),
    ("records", by::RECORDS),
    ("form", by::FORM),
];

const COLUMNS: [Column; 11] = [
    Column::new("", Width::Cells(2)),
    Column::new("name", Width::Grows(18)).sort(by::NAME),
    Column::new("digest", Width::Shrinks(12, 8)),
    Column::new("form", Width::Cells(4)).rank(3).sort(by::FORM),
    Column::new("mode", Width::Cells(4)).rank(6),
    Column::new("recs", Width::Cells(4)).right().rank(5).sort(by::RECORDS),
    Column::new("lyrs", Width::Cells(4)).right().rank(4).sort(by::LAYERS),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("", Width::Cells(8)).rank(7),
    Column::new("unique", Width::Cells(10)).right().rank(2).sort(by::EXCLUSIVE),
    Column::new("age", Width::Cells(4)).right().rank(1).sort(by::AGE),
];

const PLACE_COLUMNS: [Column; 4] = [
    Column::new("", Width::Cells(1)),
    Column::new("type", Width::Cells(6)).rank(2),
    Column::new("location", Width::Grows(10)),
    Column::new("used", Width::Cells(10)).right(),
];

/// Kinds of versions to show.
const KINDS: [&str; 4] = ["all", "tagged", "untagged", "damaged"];

/// The first screen.
pub struct Home {
    focus: Focus,
    places: TableState,
    /// A list for each place, so that each keeps its cursor, filter and marks.
    lists: HashMap<PlaceId, List<Digest>>,
    kinds: u8,
    scroll: Scroll,
    preview: Preview,
    /// Place and revision the rows were arranged for.
    seen: Option<(PlaceId, u64)>,
}

impl Default for Home {
    fn default() -> Self {
        Home::new()
    }
}

impl Home {
    /// The screen with the cursor on the first location.
    pub fn new() -> Home {
        Home {
            focus: Focus::Indexes,
            places: TableState::default(),
            lists: HashMap::new(),
            kinds: 0,
            scroll: Scroll::default(),
            preview: Preview::default(),
            seen: None,
        }
    }

    fn at(&self) -> PlaceId {
        self.places.selected()
    }

    fn list(&mut self) -> &mut List<Digest> {
        let at = self.at();
        self.lists.entry(at).or_insert_with(|| List::new(by::AGE, |by| !matches!(by, by::NAME | by::FORM)))
    }

    fn current<'a>(&self, shared: &'a Shared) -> Option<&'a CacheIndex> {
        let place = shared.places.get(self.at())?;
        place.indexes().get(self.lists.get(&self.at())?.current()?)
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        if self.focus == Focus::Places {
            self.focus = Focus::Indexes;
            return;
        }
        let Some(target) = self.target(cx.shared) else { return };
        if cx.shared.index(target).is_some_and(|index| index.cache.is_some()) {
            cx.ask(Request::Push(Box::new(super::index::Index::new(target, cx.shared))));
        } else if cx.shared.jobs.get(JobKind::Load, target.place).is_some() {
            cx.say(Tone::Note, "still loading: its layers are not known yet");
        } else {
            cx.ask(Request::Push(Box::new(super::index::Index::raw(target, cx.shared))));
        }
    }

    fn step_place(&mut self, action: Action, len: usize) -> bool {
        let page = self.places.visible() as isize;
        let by = match action {
            Action::Up => -1,
            Action::Down => 1,
            Action::HalfUp | Action::PageUp => -page,
            Action::HalfDown | Action::PageDown => page,
            Action::Top => isize::MIN + 1,
            Action::Bottom => isize::MAX,
            _ => return false,
        };
        self.places.step(by, len);
        self.seen = None;
        true
    }

    fn focus_on(&mut self, focus: Focus) {
        self.focus = focus;
    }
}

/// The order of two versions.
fn compare(by: u8, a: &CacheIndex, b: &CacheIndex) -> Ordering {
    let summary = |i: &CacheIndex| i.summary.as_ref().map(|s| (s.max_bytes, s.layers, s.records));
    match by {
        // Tagged ones first, whichever way the names go.
        by::NAME => (a.is_dangling(), a.name()).cmp(&(b.is_dangling(), b.name())).then(b.time().cmp(&a.time())),
        by::SIZE => summary(a).map(|s| s.0).cmp(&summary(b).map(|s| s.0)),
        by::EXCLUSIVE => a.exclusive_bytes.cmp(&b.exclusive_bytes),
        by::LAYERS => summary(a).map(|s| s.1).cmp(&summary(b).map(|s| s.1)),
        by::RECORDS => summary(a).map(|s| s.2).cmp(&summary(b).map(|s| s.2)),
        by::FORM => a.form.map(|f| f.name()).cmp(&b.form.map(|f| f.name())),
        _ => a.time().cmp(&b.time()),
    }
}

impl Screen for Home {
    fn view(&self) -> View {
        if self.focus == Focus::Places { View::Locations } else { View::Indexes }
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        match shared.places.len() {
            0 => vec!["locations".to_owned()],
            _ => vec![place_title(shared, self.at())],
        }
    }

    fn refresh(&mut self, shared: &Shared) {
        self.places.step(0, shared.places.len());
        let at = self.at();
        let Some(place) = shared.places.get(at) else { return };
        if self.seen != Some((at, place.revision)) {
            let (indexes, kinds) = (place.indexes(), self.kinds);
            let kind = |n: usize| match kinds {
                1 => !indexes[n].is_dangling(),
                2 => indexes[n].is_dangling(),
                3 => super::is_damaged(&indexes[n]),
                _ => true,
            };
            self.list().arrange(&Source {
                len: indexes.len(),
                key: &|n| indexes[n].digest,
                row: &|n| IndexRow { index: &indexes[n], kind: place.location.kind() },
                kind: &kind,
                order: &|by, a, b| compare(by, &indexes[a], &indexes[b]),
                now: shared.now,
            });
            self.seen = Some((at, place.revision));
        }
        let current = self.current(shared).map(|index| index.digest);
        self.preview.refresh(shared, at, current.filter(|_| self.focus != Focus::Places));
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        let places = cx.shared.places.len();
        match action {
            Action::NextPane => self.focus_on(match self.focus {
                Focus::Places => Focus::Indexes,
                Focus::Indexes => Focus::Preview,
                Focus::Preview => Focus::Places,
            }),
            Action::PrevPane => self.focus_on(match self.focus {
                Focus::Places => Focus::Preview,
                Focus::Indexes => Focus::Places,
                Focus::Preview => Focus::Indexes,
            }),
            Action::Pane(1) | Action::GoLocations => self.focus_on(Focus::Places),
            Action::Pane(2) | Action::GoIndexes => self.focus_on(Focus::Indexes),
            Action::Pane(3) => self.focus_on(Focus::Preview),
            Action::Left if self.focus != Focus::Places => self.focus_on(Focus::Places),
            Action::Open | Action::Right => self.open(cx),
            Action::PreviewDown => self.scroll.step(1, usize::MAX),
            Action::PreviewUp => self.scroll.step(-1, usize::MAX),
            Action::Sort => cx.ask(sort_menu(&ORDERS, self.list().sort)),
            Action::Kinds => cx.ask(kinds_menu(&KINDS, self.kinds)),
            Action::Toggle => {
                self.kinds = if self.kinds == 0 { 1 } else { 0 };
                self.seen = None;
            }
            Action::Info => {
                let details = self.preview.details(cx.look);
                cx.ask(Request::Show("details".to_owned(), details));
            }
            Action::Escape => {
                if self.kinds != 0 {
                    self.kinds = 0;
                    self.seen = None;
                    return true;
                }
                self.seen = None;
                return self.list().escape();
            }
            _ if self.focus == Focus::Places => return self.step_place(action, places),
            _ if self.focus == Focus::Preview => {
                let page = self.scroll.height as isize;
                match action {
                    Action::Up => self.scroll.step(-1, usize::MAX),
                    Action::Down => self.scroll.step(1, usize::MAX),
                    Action::PageUp | Action::HalfUp => self.scroll.step(-page, usize::MAX),
                    Action::PageDown | Action::HalfDown => self.scroll.step(page, usize::MAX),
                    Action::Top => self.scroll.down = 0,
                    _ => return false,
                }
            }
            _ => {
                let Some(place) = cx.shared.places.get(self.at()) else { return false };
                let indexes = place.indexes();
                let sort = self.list().sort;
                let acted = self.list().act(action, &|n| indexes[n].digest);
                if self.list().sort != sort {
                    self.seen = None;
                }
                self.scroll.down = 0;
                return acted;
            }
        }
        true
    }

    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Result<()> {
        match answer {
            Answer::Kinds(kinds) => self.kinds = kinds,
            Answer::Jump(Jump::Place(place)) => {
                self.places.select(place.min(cx.shared.places.len().saturating_sub(1)));
                self.focus = Focus::Indexes;
            }
            other => {
                list_answer(self.list(), &other, <IndexRow<'_> as filter::Row>::fields())?;
            }
        }
        self.seen = None;
        Ok(())
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        let places = cx.shared.places.len();
        if self.places.hit(mouse.at(), places).is_some() {
            self.focus = Focus::Places;
            match mouse {
                Mouse::Wheel(_, by) => self.places.scroll(by, places),
                _ => {
                    if let Some(Hit::Row(row)) = self.places.hit(mouse.at(), places) {
                        self.places.select(row);
                    }
                }
            }
            self.seen = None;
            return;
        }
        let Some(place) = cx.shared.places.get(self.at()) else { return };
        let indexes = place.indexes();
        match self.list().mouse(mouse, &|n| indexes[n].digest) {
            Clicked::Opened => self.open(cx),
            Clicked::Sorted => self.seen = None,
            Clicked::Moved => self.focus = Focus::Indexes,
            Clicked::Nothing => {}
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (width, height) = canvas.size;
        if canvas.zoomed {
            return match self.focus {
                Focus::Places => self.draw_places(area, canvas),
                Focus::Indexes => self.draw_indexes(area, canvas),
                Focus::Preview => self.draw_preview(area, canvas),
            };
        }
        if width < 100 {
            let tall = width <= 84 && height >= 46;
            let (list, below) = with_preview(area, canvas.size, 0);
            if tall {
                let places = Rect { height: (canvas.look.shared.places.len() as u16 + 3).clamp(5, 10), ..list };
                let indexes = Rect { y: places.bottom(), height: list.height - places.height, ..list };
                self.draw_places(places, canvas);
                self.draw_indexes(indexes, canvas);
            } else if self.focus == Focus::Places {
                self.draw_places(list, canvas);
            } else {
                self.draw_indexes(list, canvas);
            }
            if let Some(below) = below {
                self.draw_preview(below, canvas);
            }
            return;
        }
        let below = match height {
            0..24 => 0,
            24..30 => 6,
            30..46 => 11,
            _ => 14,
        };
        let top = Rect { height: area.height - below, ..area };
        let left = Rect { width: if width < 120 { 33 } else { 34 }, ..top };
        let right = Rect { x: left.right(), width: area.width - left.width, ..top };
        self.draw_left(left, canvas);
        self.draw_indexes(right, canvas);
        if below > 0 {
            self.draw_preview(Rect { y: top.bottom(), height: below, ..area }, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let Some(place) = shared.places.get(self.at()) else { return String::new() };
        let Some(inventory) = &place.inventory else {
            return match place.indexes().len() {
                0 => String::new(),
                n => format!("{} so far", count(n, "index")),
            };
        };
        let usage = inventory.usage;
        let mut parts = vec![count(usage.indexes, "index"), count(usage.blobs, "blob"), bytes(usage.bytes, shared)];
        if usage.orphan_blobs > 0 {
            parts.push(format!("{} in {}", bytes(usage.orphan_bytes, shared), count(usage.orphan_blobs, "orphan")));
        }
        if let Some(list) = self.lists.get(&self.at()).filter(|list| !list.marks().is_empty()) {
            parts.push(format!("marked {}", self.marked(inventory, list, shared)));
        }
        if let Some(took) = place.took {
            parts.push(format!("{:.1}s", took.as_secs_f32()));
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        let text = self.lists.get(&self.at()).map_or(String::new(), |list| list.filter_text().to_owned());
        Search { fields: <IndexRow<'_> as filter::Row>::fields(), text, hides: true }
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let place = shared.places.get(self.at())?;
        if self.focus == Focus::Places {
            return match action {
                Action::YankRef => Some(place.location.to_string()),
                Action::YankPath => place.location.local().ok().map(|local| local.dir),
                Action::YankJson => Some(super::pretty(&serde_json::json!({
                    "location": place.location.to_string(),
                    "usage": place.inventory.as_ref().map(|inventory| inventory.usage),
                }))),
                _ => None,
            };
        }
        super::yank_version(action, shared, self.target(shared)?)
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let mut words = vec!["cachedeck".to_owned(), "ls".to_owned()];
        words.extend(shared.places.get(self.at()).map(|place| location_word(&place.location)));
        if let Some(list) = self.lists.get(&self.at())
            && !list.filter_text().is_empty()
        {
            words.extend(["--filter".to_owned(), list.filter_text().to_owned()]);
        }
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.at())
    }

    fn target(&self, shared: &Shared) -> Option<Target> {
        self.current(shared).map(|index| Target { place: self.at(), digest: index.digest })
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Toggle => Some("tagged"),
            Action::Back => Some("quit"),
            _ => None,
        }
    }
}
