//! A builder's own cache: what it holds and why it keeps each, by which rules it collects, and which builds it remembers.

mod held;
mod tell;

use super::{nothing_yet, place_title, pretty};
use crate::error::Result;
use crate::model::builder::Builder;
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::listing::{Listing, nothing_fits};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, bytes, count};
use crate::tui::shared::{PlaceId, Shared};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::textbox::Scroll;
use held::{BUILDS, Held, RECORDS, by};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use tell::Why;

const TABS: [&str; 2] = ["records", "builds"];

/// A builder.
pub struct Daemon {
    place: PlaceId,
    on_builds: bool,
    records: Listing<u64>,
    builds: Listing<u64>,
    held: Held,
    /// For which revision and minute that is: rules go by time.
    known: Option<(u64, i64)>,
    /// Why the record under the cursor is kept, and which row that is.
    why: Option<(usize, Why)>,
}

impl Daemon {
    /// The builder of `place`, its largest records first.
    pub fn new(place: PlaceId) -> Daemon {
        let (records, builds) = (Listing::new(&RECORDS, by::SIZE), Listing::new(&BUILDS, by::AGE));
        Daemon { place, on_builds: false, records, builds, held: Held::default(), known: None, why: None }
    }

    fn listing(&mut self) -> &mut Listing<u64> {
        if self.on_builds { &mut self.builds } else { &mut self.records }
    }

    fn listing_ref(&self) -> &Listing<u64> {
        if self.on_builds { &self.builds } else { &self.records }
    }

    /// Which node the row under the cursor is of; without rows the first.
    fn node(&self) -> usize {
        let row = self.listing_ref().list.current();
        let node = row.and_then(|row| match self.on_builds {
            true => self.held.build(row).map(|build| build.0),
            false => self.held.record(row).map(|record| record.0),
        });
        node.unwrap_or_default()
    }

    /// The node under the cursor in at most `most` lines.
    fn header(&self, most: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let (at, nodes) = (self.node(), self.held.nodes());
        nodes.get(at).map_or_else(Vec::new, |node| tell::header(node, (at, nodes.len()), most, look))
    }

    /// What is known of the row under the cursor.
    fn details(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(row) = self.listing_ref().list.current() else { return Vec::new() };
        if self.on_builds {
            return self.held.build(row).map_or_else(Vec::new, |(_, build)| tell::build(build, width, look));
        }
        match (self.held.record(row), &self.why) {
            (Some((_, _, record, _)), Some((_, why))) => tell::record(record, why, width, look),
            _ => Vec::new(),
        }
    }

    /// The same in a box, with all that is known of the node.
    fn open(&self, cx: &mut Context<'_>) {
        let mut lines = self.details(96, cx.look);
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.extend(self.header(usize::MAX, cx.look));
        if !lines.is_empty() {
            cx.ask(Request::Show(if self.on_builds { "build" } else { "why it is kept" }.to_owned(), lines));
        }
    }

    /// Why a list has nothing to show.
    fn empty(&self, look: Look<'_>) -> Vec<String> {
        if self.held.builder.is_none() {
            return nothing_yet(look.shared, look.shared.places.get(self.place), self.place);
        }
        let rows = if self.on_builds { self.held.builds() } else { self.held.records() };
        if rows > 0 {
            return nothing_fits();
        }
        let unknown = self.held.nodes().iter().filter_map(|node| match self.on_builds {
            true => node.builds.as_ref().err().map(|why| format!("builds of {} are unknown: {why}", node.name)),
            false => node.records.as_ref().err().map(|why| format!("records of {} are unknown: {why}", node.name)),
        });
        let unknown: Vec<String> = unknown.map(|why| text::safe(&why).into_owned()).collect();
        match (unknown.is_empty(), self.on_builds) {
            (false, _) => unknown,
            (true, true) => vec!["this builder remembers no builds".to_owned()],
            (true, false) => vec!["this builder's cache is empty".to_owned()],
        }
    }
}

/// What a builder holds, in a line.
pub fn holds(builder: &Builder, shared: &Shared) -> String {
    let mut parts = Vec::new();
    if builder.nodes.iter().any(|node| node.records.is_ok()) {
        let totals = builder.totals();
        parts.push(format!("{}, {}", count(totals.records, "record"), bytes(totals.bytes, shared)));
        parts.push(format!("{} reclaimable", bytes(totals.reclaimable_bytes, shared)));
        if totals.shared_bytes > 0 {
            parts.push(format!("{} shared", bytes(totals.shared_bytes, shared)));
        }
    } else {
        parts.push("records unknown".to_owned());
    }
    let builds: Vec<usize> = builder.nodes.iter().filter_map(|node| Some(node.builds.as_ref().ok()?.len())).collect();
    parts.push(match builds.is_empty() {
        true => "builds unknown".to_owned(),
        false => count(builds.iter().sum::<usize>(), "build"),
    });
    parts.join("  ")
}

/// Lines for the header with its border, the place of the list, and that of the preview, as far as there is room.
fn parts(area: Rect, (width, height): (u16, u16)) -> (u16, Rect, Option<Rect>) {
    let (above, below) = match height {
        _ if width < 60 => (0, 0),
        0..20 => (0, 0),
        20..24 => (3, 0),
        24..30 => (3, 6),
        30..46 => (9, 9),
        _ => (12, height / 4),
    };
    let list = Rect { y: area.y + above, height: area.height.saturating_sub(above + below), ..area };
    let preview = (below > 0).then(|| Rect { y: list.bottom(), height: below, ..area });
    (above, list, preview)
}

impl Screen for Daemon {
    fn view(&self) -> View {
        View::Daemon
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), TABS[usize::from(self.on_builds)].to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(place) = shared.places.get(self.place) else { return };
        let known = (place.revision, shared.now.as_second() / 60);
        if self.known != Some(known) {
            self.known = Some(known);
            let builder = place.inventory.as_ref().and_then(|inventory| inventory.details.builder.clone());
            self.held = Held::of(builder, shared.now);
            self.why = None;
            self.records.outdate();
            self.builds.outdate();
        }
        if self.records.is_stale(place.revision) {
            self.held.arrange_records(place.revision, shared.now, &mut self.records);
        }
        if self.builds.is_stale(place.revision) {
            self.held.arrange_builds(place.revision, shared.now, &mut self.builds);
        }
        let row = self.records.list.current();
        if self.why.as_ref().map(|why| why.0) != row {
            self.why = row.and_then(|row| {
                let (node, at, ..) = self.held.record(row)?;
                Some((row, Why::of(self.held.nodes().get(node)?, at, shared)))
            });
        }
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::NextTab | Action::PrevTab => self.on_builds = !self.on_builds,
            Action::Open | Action::Right | Action::Info => self.open(cx),
            _ => return self.listing().act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing().answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        Some(match self.on_builds {
            true => self.builds.text(&|n| self.held.build_row(n, look)),
            false => self.records.text(&|n| self.held.record_row(n, look)),
        })
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        if self.listing().mouse(mouse) {
            self.open(cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (above, list, preview) = if canvas.zoomed { (0, area, None) } else { parts(area, canvas.size) };
        if above > 0 {
            let lines = self.header(usize::from(above - 2), look);
            let pane = Pane { title: vec![Span::raw("builder")], ..Pane::default() };
            let inner = canvas.pane(&pane, Rect { height: above, ..area });
            canvas.lines(&lines, inner, &mut Scroll::default());
        }
        let tab = usize::from(self.on_builds);
        let (empty, details) = (self.empty(look), preview.map(|area| self.details(usize::from(area.width) - 4, look)));
        let (title, focused) = (vec![Span::raw("cache")], !self.listing_ref().on_preview);
        let pane = Pane { number: Some(1), title, tabs: Some((&TABS, tab)), focused, ..Pane::default() };
        let held = &self.held;
        match self.on_builds {
            true => self.builds.draw(list, pane, (&|n| held.build_row(n, look), &|| empty.clone()), canvas),
            false => self.records.draw(list, pane, (&|n| held.record_row(n, look), &|| empty.clone()), canvas),
        }
        if let (Some(area), Some(lines)) = (preview, details) {
            let title = if self.on_builds { "build" } else { "why it is kept" };
            self.listing().draw_preview(area, title.to_owned(), &lines, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        self.held.builder.as_ref().map_or_else(String::new, |builder| holds(builder, shared))
    }

    fn search(&self) -> Search<'_> {
        self.listing_ref().search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let row = self.listing_ref().list.current();
        let location = || shared.places.get(self.place).map(|place| place.location.to_string());
        if self.on_builds {
            let (_, build) = self.held.build(row?)?;
            return match action {
                Action::YankDigest => build.results.first().map(|made| made.digest.clone()),
                Action::YankRef => location(),
                Action::YankPath => Some(build.id.clone()),
                Action::YankJson => Some(pretty(&tell::build_json(build))),
                _ => None,
            };
        }
        match (action, row.and_then(|row| self.held.record(row))) {
            (Action::YankRef, _) => location(),
            (Action::YankPath, Some((_, _, record, _))) => Some(record.id.clone()),
            (Action::YankJson, Some((_, _, record, kept))) => Some(pretty(&tell::record_json(record, kept))),
            _ => None,
        }
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let what = if self.on_builds { "history" } else { "du" };
        let mut words: Vec<String> = ["cachedeck", "daemon", what].map(str::to_owned).to_vec();
        words.extend(shared.places.get(self.place).map(|place| place.location.to_string()));
        let filter = self.listing_ref().list.filter_text();
        if !filter.is_empty() {
            words.extend(["--filter".to_owned(), filter.to_owned()]);
        }
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }
}
