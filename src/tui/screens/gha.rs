//! All caches of a GitHub repository, BuildKit's and everybody else's: where they belong, what they take of the quota, which go
//! next.

use super::{nothing_yet, place_title, with_preview, wrapped};
use crate::error::Result;
use crate::model::actions::{Actions, Entry, EntryKind, short_ref};
use crate::model::digest::Digest;
use crate::model::filter;
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, age, bytes, count, thousands};
use crate::tui::shared::{PlaceId, Shared, Target};
use crate::tui::widgets::bar::bar;
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::sync::Arc;

mod by {
    pub const USED: u8 = 0;
    pub const SIZE: u8 = 1;
    pub const AGE: u8 = 2;
    pub const SCOPE: u8 = 3;
    pub const REF: u8 = 4;
    pub const KIND: u8 = 5;
}

const ORDERS: [(&str, u8); 6] = [
    ("used", by::USED),
    ("size", by::SIZE),
    ("age", by::AGE),
    ("what", by::SCOPE),
    ("ref", by::REF),
    ("kind", by::KIND),
];

const COLUMNS: [Column; 7] = [
    Column::new("kind", Width::Cells(9)).sort(by::KIND).rank(4),
    Column::new("what", Width::Name(28, 14)).sort(by::SCOPE),
    Column::new("ref", Width::Shrinks(22, 12)).sort(by::REF).rank(2),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("", Width::Cells(10)).rank(5),
    Column::new("age", Width::Cells(5)).right().sort(by::AGE).rank(3),
    Column::new("used", Width::Cells(5)).right().sort(by::USED).rank(1),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| by == by::SIZE,
    kinds: &["all", "blobs", "indexes", "others"],
    fields: <&Entry as filter::Row>::fields,
    marks: false,
};

/// The entries of one place.
pub struct Gha {
    place: PlaceId,
    listing: Listing<u64>,
    actions: Option<Arc<Actions>>,
    largest: u64,
}

impl Gha {
    /// The entries of `place`, those first that go next.
    pub fn new(place: PlaceId) -> Gha {
        Gha { place, listing: Listing::new(&SHAPE, by::USED), actions: None, largest: 0 }
    }

    fn entries(&self) -> &[Entry] {
        self.actions.as_ref().map_or(&[], |actions| &actions.entries)
    }

    fn current(&self) -> Option<&Entry> {
        self.entries().get(self.listing.list.current()?)
    }

    fn digest(&self) -> Option<Digest> {
        match self.current()?.kind {
            EntryKind::Blob(digest) | EntryKind::Signature(digest) => Some(digest),
            EntryKind::Index(_) | EntryKind::Other => None,
        }
    }

    /// How full it is, what is left of the requests, what could not be had; then the entry under the cursor.
    fn details(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(actions) = &self.actions else { return Vec::new() };
        let mut lines = Vec::new();
        match (actions.used(), actions.quota) {
            (Some(used), Some(quota)) => {
                let cells = width.saturating_sub(16).clamp(8, 30) as u16;
                let percent = u128::from(used) * 100 / u128::from(quota.max(1));
                let mut spans = bar(used, quota, cells, look.theme, look.glyphs).to_vec();
                spans.push(Span::raw(format!(" {percent}%")));
                lines.push(look.fact("quota", spans));
                lines.push(look.fact("", vec![format!("{} of {}", look.bytes(used), look.bytes(quota)).into()]));
            }
            (Some(used), None) => {
                lines.push(look.fact("used", vec![format!("{}, quota unknown", look.bytes(used)).into()]));
            }
            (None, _) => lines.push(look.fact("used", vec!["unknown".into()])),
        }
        if let Some(told) = actions.usage.filter(|told| actions.listed && Some(told.bytes) != actions.used()) {
            let words = format!("{} in {}", look.bytes(told.bytes), count(told.entries, "entry"));
            lines.push(look.fact("github", vec![words.into(), look.dim(" some minutes ago")]));
        }
        let days = actions.retention().as_hours() / 24;
        let asked = if actions.retention_days.is_some() { "" } else { " usually" };
        lines.push(look.fact("unused", vec![format!("go after {days} days{asked}").into()]));
        if let Some(rate) = actions.rate {
            let words = format!("{} of {} left", thousands(rate.remaining), thousands(rate.limit));
            lines.push(look.fact("requests", vec![words.into()]));
        }
        if let Some(entry) = self.current() {
            lines.push(Line::default());
            lines.extend(wrapped("key", &text::safe(&entry.key), width, look));
            lines.extend(wrapped("ref", &text::safe(&entry.git_ref), width, look));
            lines.push(look.fact("id", vec![entry.id.to_string().into()]));
            lines.push(look.fact("saved", look.time(entry.created)));
            lines.push(look.fact("used", look.time(entry.last_used)));
            if let Some(expires) = actions.expires(entry) {
                let left = expires.duration_since(look.shared.now);
                let words = if left.is_negative() {
                    "any time".to_owned()
                } else {
                    format!("in {}", age(expires, look.shared.now))
                };
                lines.push(look.fact("goes", vec![words.into(), look.dim(" unless it is used")]));
            }
        }
        if !actions.unknown.is_empty() {
            lines.push(Line::default());
            actions.unknown.iter().for_each(|what| lines.extend(wrapped("note", &text::safe(what), width, look)));
        }
        lines
    }

    fn open(&self, cx: &mut Context<'_>) {
        let Some(digest) = self.digest() else { return };
        let known = cx.shared.places.get(self.place).and_then(|p| p.inventory.as_ref());
        if known.is_some_and(|inventory| inventory.blob(&digest).is_some()) {
            cx.ask(Request::Push(Box::new(super::blobs::Blobs::at(self.place, digest))));
        }
    }
}

fn row<'a>(entry: &'a Entry, largest: u64, look: Look<'_>) -> Row<'a> {
    let style = match entry.kind {
        EntryKind::Other => look.theme.dim,
        _ => look.theme.text,
    };
    Row::from(vec![
        Cell::text(look.dim(entry.kind.name())),
        Cell::name(Span::styled(text::safe(&entry.what()).into_owned(), style)),
        Cell::name(text::safe(short_ref(&entry.git_ref))),
        look.size(Some(entry.bytes)),
        Cell::bar(entry.bytes, largest),
        look.age(entry.created),
        look.age(entry.last_used),
    ])
}

impl Screen for Gha {
    fn view(&self) -> View {
        View::Gha
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), "entries".to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(place) = shared.places.get(self.place) else { return };
        if !self.listing.is_stale(place.revision) {
            return;
        }
        self.actions = place.inventory.as_ref().and_then(|inventory| inventory.details.actions.clone());
        let entries = self.actions.as_ref().map_or(&[][..], |actions| &actions.entries);
        self.largest = entries.iter().map(|entry| entry.bytes).max().unwrap_or(0);
        let kinds = self.listing.kinds;
        let kind = |n: usize| match (kinds, &entries[n].kind) {
            (1, kind) => matches!(kind, EntryKind::Blob(_)),
            (2, kind) => matches!(kind, EntryKind::Index(_) | EntryKind::Signature(_)),
            (3, kind) => *kind == EntryKind::Other,
            _ => true,
        };
        let source = Source {
            len: entries.len(),
            key: &|n| entries[n].id,
            row: &|n| &entries[n],
            kind: &kind,
            order: &|by, a, b| {
                let (a, b) = (&entries[a], &entries[b]);
                match by {
                    by::SIZE => a.bytes.cmp(&b.bytes),
                    by::AGE => a.created.cmp(&b.created),
                    by::SCOPE => a.what().cmp(&b.what()),
                    by::REF => a.git_ref.cmp(&b.git_ref),
                    by::KIND => a.kind.name().cmp(b.kind.name()),
                    _ => (a.touched(), a.id).cmp(&(b.touched(), b.id)),
                }
            },
            now: shared.now,
        };
        self.listing.arrange(place.revision, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(cx),
            Action::Info => cx.ask(Request::Show("cache of a repository".to_owned(), self.details(96, cx.look))),
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        Some(self.listing.text(&|n| row(&self.entries()[n], self.largest, look)))
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.open(cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (list, preview) = if canvas.zoomed { (area, None) } else { with_preview(area, canvas.size, 40) };
        let place = look.shared.places.get(self.place);
        let actions = self.actions.clone();
        let entries = actions.as_ref().map_or(&[][..], |actions| &actions.entries);
        let (largest, id) = (self.largest, self.place);
        let empty = || match &actions {
            None => nothing_yet(look.shared, place, id),
            Some(actions) if !actions.listed && entries.is_empty() => {
                vec!["entries can't be listed here".to_owned(), "that needs ghtoken=.. or GH_TOKEN".to_owned()]
            }
            Some(_) if entries.is_empty() => vec!["this repository has no caches".to_owned()],
            Some(_) => nothing_fits(),
        };
        let focused = !self.listing.on_preview;
        let pane = Pane { number: Some(1), title: vec![Span::raw("entries")], focused, ..Pane::default() };
        self.listing.draw(list, pane, (&|n| row(&entries[n], largest, look), &empty), canvas);
        if let Some(area) = preview {
            let lines = self.details(usize::from(area.width.saturating_sub(4)), look);
            self.listing.draw_preview(area, "repository".to_owned(), &lines, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let Some(actions) = &self.actions else { return String::new() };
        let total = actions.total();
        let mut parts = vec![format!("{}, {}", count(total.entries, "entry"), bytes(total.bytes, shared))];
        if let Some(quota) = actions.quota {
            parts.push(format!("of {}", bytes(quota, shared)));
        }
        parts.push(format!("blobs {} = {}", thousands(total.blobs), bytes(total.blob_bytes, shared)));
        if let Some(rate) = actions.rate {
            parts.push(format!("{} requests left", thousands(rate.remaining)));
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let entry = self.current()?;
        match action {
            Action::YankDigest => self.digest().map(|digest| digest.to_string()),
            Action::YankRef => shared.places.get(self.place).map(|place| place.location.to_string()),
            Action::YankPath => Some(entry.key.clone()),
            Action::YankJson => Some(super::pretty(&serde_json::json!({
                "id": entry.id,
                "key": entry.key,
                "ref": entry.git_ref,
                "kind": entry.kind.name(),
                "scope": entry.scope(),
                "bytes": entry.bytes,
                "created_at": entry.created.map(|time| time.to_string()),
                "last_used_at": entry.last_used.map(|time| time.to_string()),
            }))),
            _ => None,
        }
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let mut words: Vec<String> = ["cachedeck", "gha", "entries"].map(str::to_owned).to_vec();
        words.extend(shared.places.get(self.place).map(|place| place.location.to_string()));
        if !self.listing.list.filter_text().is_empty() {
            words.extend(["--filter".to_owned(), self.listing.list.filter_text().to_owned()]);
        }
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }

    fn target(&self, _shared: &Shared) -> Option<Target> {
        self.digest().map(|digest| Target { place: self.place, digest })
    }
}
