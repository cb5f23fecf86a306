//! The first screen: locations, the indexes of one of them, and a preview of the one under the cursor.

mod draw;
mod preview;

use super::{is_damaged, place_title, with_preview};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter;
use crate::model::inventory::CacheIndex;
use crate::model::rows::IndexRow;
use crate::tui::keys::{Action, View};
use crate::tui::list::{Source, walk};
use crate::tui::listing::{Listing, Shape};
use crate::tui::screen::{Answer, Canvas, Context, Jump, Mouse, Request, Screen, Search, bytes, count};
use crate::tui::shared::{JobKind, PlaceId, Shared, Target, Tone};
use crate::tui::widgets::table::{Column, Hit, TableState, Width};
use preview::Preview;
use ratatui::layout::Rect;
use std::cmp::Ordering;
use std::collections::HashMap;

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

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| !matches!(by, by::NAME | by::FORM),
    kinds: &["all", "tagged", "untagged", "damaged"],
    fields: <IndexRow<'_> as filter::Row>::fields,
    marks: true,
};

/// The first screen.
pub struct Home {
    /// Whether the locations have the focus, and not the indexes or their preview.
    on_places: bool,
    places: TableState,
    /// A list for each place, so that each keeps its cursor, filter and marks.
    listings: HashMap<PlaceId, Listing<Digest>>,
    preview: Preview,
}

impl Default for Home {
    fn default() -> Self {
        Home::new()
    }
}

impl Home {
    /// The screen with the cursor on the first location.
    pub fn new() -> Home {
        let (places, preview) = (TableState::default(), Preview::default());
        Home { on_places: false, places, listings: HashMap::new(), preview }
    }

    fn at(&self) -> PlaceId {
        self.places.selected()
    }

    fn listing(&mut self) -> &mut Listing<Digest> {
        let at = self.at();
        self.listings.entry(at).or_insert_with(|| Listing::new(&SHAPE, by::AGE))
    }

    fn known_listing(&self) -> Option<&Listing<Digest>> {
        self.listings.get(&self.at())
    }

    fn current<'a>(&self, shared: &'a Shared) -> Option<&'a CacheIndex> {
        let place = shared.places.get(self.at())?;
        place.indexes().get(self.known_listing()?.list.current()?)
    }

    /// The pane that has the focus: locations, indexes, preview.
    fn focus(&self) -> u8 {
        match self.known_listing() {
            _ if self.on_places => 1,
            Some(listing) if listing.on_preview => 3,
            _ => 2,
        }
    }

    fn focus_on(&mut self, pane: u8) {
        self.on_places = pane == 1;
        self.listing().on_preview = pane == 3;
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        let place = cx.shared.places.get(self.at());
        if place.is_some_and(|place| place.location.kind() == "daemon") {
            cx.ask(Request::Push(Box::new(super::daemon::Daemon::new(self.at()))));
            return;
        }
        if self.on_places {
            self.on_places = false;
            return;
        }
        let Some(target) = self.target(cx.shared) else { return };
        if cx.shared.index(target).is_some_and(|index| index.cache.is_some()) {
            cx.ask(Request::Push(Box::new(super::index::Index::new(target, cx.shared))));
        } else if cx.shared.jobs.get(JobKind::Load, target.place).is_some() {
            cx.say(Tone::Note, "still loading: its layers are not known yet");
        } else {
            let documents = super::index::Index::raw(target, cx);
            cx.ask(Request::Push(Box::new(documents)));
        }
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
        if self.on_places { View::Locations } else { View::Indexes }
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
        if self.listing().is_stale(place.revision) {
            let (indexes, kinds) = (place.indexes(), self.listing().kinds);
            let kind = |n: usize| match kinds {
                1 => !indexes[n].is_dangling(),
                2 => indexes[n].is_dangling(),
                3 => is_damaged(&indexes[n]),
                _ => true,
            };
            let source = Source {
                len: indexes.len(),
                key: &|n| indexes[n].digest,
                row: &|n| IndexRow { index: &indexes[n], kind: place.location.kind() },
                kind: &kind,
                order: &|by, a, b| compare(by, &indexes[a], &indexes[b]),
                now: shared.now,
            };
            self.listing().arrange(place.revision, &source);
        }
        let current = self.current(shared).map(|index| index.digest);
        self.preview.refresh(shared, at, current.filter(|_| !self.on_places));
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        let places = cx.shared.places.len();
        match action {
            Action::NextPane => self.focus_on(self.focus() % 3 + 1),
            Action::PrevPane => self.focus_on((self.focus() + 1) % 3 + 1),
            Action::Pane(n) => self.focus_on(n),
            Action::GoLocations => self.focus_on(1),
            Action::GoIndexes => self.focus_on(2),
            Action::Left if !self.on_places => self.focus_on(1),
            Action::Open | Action::Right => self.open(cx),
            Action::Toggle => {
                let listing = self.listing();
                listing.kinds = u8::from(listing.kinds == 0);
                listing.outdate();
            }
            Action::Info => {
                let details = self.preview.details(cx.look);
                cx.ask(Request::Show("details".to_owned(), details));
            }
            _ if self.on_places && walk(&mut self.places, action, places) => {}
            _ => return self.listing().act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Result<()> {
        if let Answer::Jump(Jump::Place(place)) = answer {
            self.places.select(place.min(cx.shared.places.len().saturating_sub(1)));
            self.focus_on(2);
            return Ok(());
        }
        self.listing().answer(&answer)
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        let places = cx.shared.places.len();
        match (self.places.hit(mouse.at(), places), mouse) {
            (Some(_), Mouse::Wheel(_, by)) => self.places.scroll(by, places),
            (Some(Hit::Row(row)), _) => {
                self.places.select(row);
                self.on_places = true;
            }
            _ => {
                if self.listing().mouse(mouse) {
                    self.open(cx);
                }
                self.on_places &= self.listing().list.state.hit(mouse.at(), usize::MAX).is_none();
            }
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (width, height) = canvas.size;
        if canvas.zoomed {
            return match self.focus() {
                1 => self.draw_places(area, canvas),
                2 => self.draw_indexes(area, canvas),
                _ => self.draw_preview(area, canvas),
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
            } else if self.on_places {
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
        let places = &canvas.look.shared.places;
        // Types need a column of their own where there are several.
        let mixed = places.iter().any(|place| place.location.kind() != places[0].location.kind());
        let left = match width {
            0..120 => 33,
            _ if mixed => 40,
            _ => 34,
        };
        let left = Rect { width: left, ..top };
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
        if let Some(builder) = &inventory.details.builder {
            return super::daemon::holds(builder, shared);
        }
        let mut parts = Vec::new();
        if let Some(listing) = self.known_listing().filter(|listing| !listing.list.marks().is_empty()) {
            parts.push(format!("marked {}", self.marked(inventory, &listing.list, shared)));
        }
        parts.extend([count(usage.indexes, "index"), count(usage.blobs, "blob"), bytes(usage.bytes, shared)]);
        if usage.orphan_blobs > 0 {
            parts.push(format!("{} in {}", bytes(usage.orphan_bytes, shared), count(usage.orphan_blobs, "orphan")));
        }
        if let Some(took) = place.took {
            parts.push(format!("{:.1}s", took.as_secs_f32()));
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        let nothing = Search { fields: &[], text: String::new(), hides: true };
        self.known_listing().map_or(nothing, Listing::search)
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let place = shared.places.get(self.at())?;
        if self.on_places {
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
        words.extend(shared.places.get(self.at()).map(|place| place.location.to_string()));
        let filter = self.known_listing().map_or("", |listing| listing.list.filter_text());
        if !filter.is_empty() {
            words.extend(["--filter".to_owned(), filter.to_owned()]);
        }
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.at())
    }

    fn target(&self, shared: &Shared) -> Option<Target> {
        self.current(shared).map(|index| Target { place: self.at(), digest: index.digest })
    }

    fn chosen(&self, shared: &Shared) -> Vec<Target> {
        let marks = self.known_listing().map(|listing| listing.list.marks());
        let Some(place) = shared.places.get(self.at()) else { return Vec::new() };
        let marked = place.indexes().iter().filter(|index| marks.is_some_and(|marks| marks.contains(&index.digest)));
        let marked: Vec<Target> = marked.map(|index| Target { place: self.at(), digest: index.digest }).collect();
        if marked.is_empty() { self.target(shared).into_iter().collect() } else { marked }
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Toggle => Some("tagged"),
            Action::Back => Some("quit"),
            _ => None,
        }
    }
}
