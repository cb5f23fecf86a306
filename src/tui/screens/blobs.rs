//! All blobs of a location: what they are, who needs them, what they weigh.

use super::{digest_lines, nothing_yet, place_title, used_by, version_name, with_preview, wrapped, yank_blob};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter;
use crate::model::inventory::{Blob, Inventory, Role, State};
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{
    Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, Work, bytes, count, thousands,
};
use crate::tui::shared::{PlaceId, Shared, Target};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::PathBuf;

mod by {
    pub const SIZE: u8 = 0;
    pub const AGE: u8 = 1;
    pub const REFERRERS: u8 = 2;
    pub const KIND: u8 = 3;
    pub const STATE: u8 = 4;
    pub const DIGEST: u8 = 5;
}

const ORDERS: [(&str, u8); 6] = [
    ("size", by::SIZE),
    ("age", by::AGE),
    ("users", by::REFERRERS),
    ("kind", by::KIND),
    ("state", by::STATE),
    ("digest", by::DIGEST),
];

const COLUMNS: [Column; 9] = [
    Column::new("", Width::Cells(2)).sort(by::STATE),
    Column::new("digest", Width::Cells(12)).sort(by::DIGEST),
    Column::new("kind", Width::Cells(8)).rank(5).sort(by::KIND),
    Column::new("what", Width::Name(24, 12)),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("", Width::Cells(10)).rank(6),
    Column::new("users", Width::Cells(6)).right().rank(3).sort(by::REFERRERS),
    Column::new("age", Width::Cells(5)).right().rank(1).sort(by::AGE),
    Column::new("state", Width::Cells(8)).rank(4),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| !matches!(by, by::DIGEST | by::KIND),
    kinds: &["all", "live", "dangling", "orphan", "missing", "damaged"],
    fields: <&Blob as filter::Row>::fields,
    marks: true,
};

/// The blobs of one place.
pub struct Blobs {
    place: PlaceId,
    listing: Listing<Digest>,
    /// Bars against the sum of all, not the largest.
    of_total: bool,
    /// What each blob is, where something tells: a step, or a tag.
    labels: HashMap<Digest, String>,
    labelled: Option<u64>,
    largest: u64,
    /// Who needs the blob under the cursor, for which blob and revision that was looked up.
    users: Option<(Digest, u64, String)>,
}

impl Blobs {
    /// The blobs of `place`, largest first.
    pub fn new(place: PlaceId) -> Blobs {
        Blobs {
            place,
            listing: Listing::new(&SHAPE, by::SIZE),
            of_total: false,
            labels: HashMap::new(),
            labelled: None,
            largest: 0,
            users: None,
        }
    }

    /// With the cursor on one of them.
    pub fn at(place: PlaceId, digest: Digest) -> Blobs {
        let mut blobs = Blobs::new(place);
        blobs.listing.list.aim(digest);
        blobs
    }

    fn inventory<'a>(&self, shared: &'a Shared) -> Option<&'a Inventory> {
        shared.places.get(self.place)?.inventory.as_deref()
    }

    fn current<'a>(&self, shared: &'a Shared) -> Option<&'a Blob> {
        self.inventory(shared)?.blobs.get(self.listing.list.current()?)
    }

    fn label(&mut self, inventory: &Inventory, shared: &Shared) {
        self.labels.clear();
        for index in &inventory.indexes {
            let name = version_name(index);
            for layer in index.cache.iter().flat_map(|cache| &cache.layers) {
                if let Some(step) = shared.names.of(layer) {
                    self.labels.entry(layer.blob).or_insert_with(|| text::safe(&step.step).into_owned());
                }
            }
            for reached in &index.reach {
                self.labels.entry(reached.digest).or_insert_with(|| name.clone());
            }
        }
        self.largest = inventory.blobs.iter().filter_map(|b| b.size).max().unwrap_or(0);
    }

    /// What bars are measured against.
    fn whole(&self, inventory: &Inventory) -> u64 {
        if self.of_total { inventory.usage.bytes } else { self.largest }
    }

    fn users(&self, inventory: &Inventory, digest: &Digest) -> String {
        match &self.users {
            Some((known, _, users)) if known == digest => users.clone(),
            _ => used_by(inventory, digest, 40),
        }
    }

    fn details(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let shared = look.shared;
        let (Some(inventory), Some(blob)) = (self.inventory(shared), self.current(shared)) else { return Vec::new() };
        let mut lines = digest_lines("digest", &blob.digest, width, look);
        let why = match blob.state {
            State::Live => "a tag reaches it",
            State::Dangling => "only untagged versions reach it",
            State::Orphan => "nothing reaches it",
            State::Unknown => "nothing that can be read reaches it, but not all versions can be read",
            State::Missing => "something reaches it, but it is not there",
        };
        lines.push(look.fact("state", vec![look.state(blob.state), Span::raw(format!(" {}", blob.state.name()))]));
        lines.extend(wrapped("", why, width, look));
        lines.push(look.fact("kind", vec![blob.role.name().into()]));
        let exact =
            |n: Option<u64>| n.map_or("unknown".to_owned(), |n| format!("{} ({} B)", bytes(n, shared), thousands(n)));
        lines.push(look.fact("size", vec![exact(blob.size).into()]));
        if blob.wrong_size() {
            let says = format!("{} expected", exact(blob.declared));
            lines
                .push(look.fact("", vec![Span::styled(format!("{} {says}", look.glyphs.finding), look.theme.finding)]));
        }
        lines.push(look.fact("written", look.time(blob.modified)));
        if let Some(what) = self.labels.get(&blob.digest) {
            lines.extend(wrapped("what", what, width, look));
        }
        lines.push(look.fact("users", vec![thousands(blob.referrers).into()]));
        lines.extend(wrapped("", &self.users(inventory, &blob.digest), width, look));
        lines
    }

    fn open(&self, cx: &mut Context<'_>) {
        let Some((inventory, blob)) = self.inventory(cx.shared).zip(self.current(cx.shared)) else { return };
        let target = Target { place: self.place, digest: blob.digest };
        if inventory.indexes.iter().any(|index| index.digest == blob.digest) {
            cx.ask(Request::Push(Box::new(super::index::Index::new(target, cx.shared))));
            return;
        }
        if blob.role == Role::Layer && blob.size.is_some() {
            let files = super::files::Files::new(self.place, vec![blob.digest], blob.digest.short(), blob.size);
            cx.ask(Request::Push(Box::new(files)));
            return;
        }
        cx.ask(Request::Show("blob".to_owned(), self.details(96, cx.look)));
    }
}

fn row<'a>(blob: &'a Blob, labels: &'a HashMap<Digest, String>, whole: u64, look: Look<'_>) -> Row<'a> {
    let mut sign = vec![look.state(blob.state)];
    if blob.wrong_size() {
        sign.push(Span::styled(look.glyphs.finding, look.theme.finding));
    }
    Row::from(vec![
        Cell::of(sign, 0, Cut::End),
        Cell::digest(blob.digest.short()),
        Cell::text(look.dim(blob.role.name())),
        Cell::text(labels.get(&blob.digest).map_or_else(|| look.dim(look.dash()), |what| Span::raw(what.as_str()))),
        look.size(blob.size.or(blob.declared)),
        Cell::bar(blob.size.unwrap_or(0), whole),
        Cell::text(look.dim(thousands(blob.referrers))),
        look.age(blob.modified),
        Cell::text(Span::styled(blob.state.name(), look.state(blob.state).style)),
    ])
}

fn compare(by: u8, a: &Blob, b: &Blob) -> Ordering {
    match by {
        by::SIZE => a.size.cmp(&b.size),
        by::AGE => a.modified.cmp(&b.modified),
        by::REFERRERS => a.referrers.cmp(&b.referrers),
        by::KIND => a.role.cmp(&b.role).then(a.size.cmp(&b.size)),
        by::STATE => a.state.cmp(&b.state).then(a.size.cmp(&b.size)),
        _ => a.digest.cmp(&b.digest),
    }
}

impl Screen for Blobs {
    fn view(&self) -> View {
        View::Blobs
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), "blobs".to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(place) = shared.places.get(self.place) else { return };
        let Some(inventory) = place.inventory.as_deref() else { return };
        if self.labelled != Some(place.revision) {
            self.label(inventory, shared);
            self.labelled = Some(place.revision);
        }
        if !self.listing.is_stale(place.revision) {
            return;
        }
        let (blobs, kinds) = (&inventory.blobs, self.listing.kinds);
        let kind = |n: usize| match kinds {
            1 => blobs[n].state == State::Live,
            2 => blobs[n].state == State::Dangling,
            3 => blobs[n].state == State::Orphan,
            4 => blobs[n].state == State::Missing,
            5 => blobs[n].wrong_size() || blobs[n].state == State::Missing,
            _ => true,
        };
        let source = Source {
            len: blobs.len(),
            key: &|n| blobs[n].digest,
            row: &|n| &blobs[n],
            kind: &kind,
            order: &|by, a, b| compare(by, &blobs[a], &blobs[b]),
            now: shared.now,
        };
        self.listing.arrange(place.revision, &source);
        let current = self.listing.list.current().and_then(|n| blobs.get(n)).map(|blob| blob.digest);
        if let (Some(digest), Some(inventory)) = (current, &place.inventory)
            && self.users.as_ref().is_none_or(|(known, at, _)| (*known, *at) != (digest, place.revision))
        {
            self.users = Some((digest, place.revision, used_by(inventory, &digest, 40)));
        }
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(cx),
            Action::Toggle => self.of_total = !self.of_total,
            Action::Info => cx.ask(Request::Show("blob".to_owned(), self.details(96, cx.look))),
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        let inventory = self.inventory(look.shared)?;
        Some(self.listing.text(&|n| row(&inventory.blobs[n], &self.labels, 0, look)))
    }

    fn file_name(&self, shared: &Shared) -> Option<String> {
        let blob = self.current(shared).filter(|blob| blob.size.is_some())?;
        let end = if blob.role == Role::Layer { "layer" } else { "json" };
        Some(format!("{}.{end}", blob.digest.short()))
    }

    fn save(&self, path: PathBuf, look: Look<'_>) -> Option<Work> {
        self.current(look.shared).map(|blob| Work::SaveBlob { path, digest: blob.digest })
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.open(cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (list, preview) = if canvas.zoomed { (area, None) } else { with_preview(area, canvas.size, 38) };
        let place = look.shared.places.get(self.place);
        let inventory = place.and_then(|place| place.inventory.as_deref());
        let blobs = inventory.map_or(&[][..], |inventory| &inventory.blobs);
        let whole = inventory.map_or(0, |inventory| self.whole(inventory));
        let labels = &self.labels;
        let focused = !self.listing.on_preview;
        let pane = Pane { number: Some(1), title: vec![Span::raw("blobs")], focused, ..Pane::default() };
        let id = self.place;
        let empty = || if blobs.is_empty() { nothing_yet(look.shared, place, id) } else { nothing_fits() };
        self.listing.draw(list, pane, (&|n| row(&blobs[n], labels, whole, look), &empty), canvas);
        if let Some(area) = preview {
            let inner = usize::from(area.width.saturating_sub(4));
            let lines = self.details(inner, look);
            self.listing.draw_preview(area, "blob".to_owned(), &lines, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let Some(inventory) = self.inventory(shared) else { return String::new() };
        let u = inventory.usage;
        let mut parts = vec![format!("{}, {}", count(u.blobs, "blob"), bytes(u.bytes, shared))];
        for (name, blobs, size) in [
            ("live", u.live_blobs, u.live_bytes),
            ("dangling", u.dangling_blobs, u.dangling_bytes),
            ("orphan", u.orphan_blobs, u.orphan_bytes),
        ] {
            if blobs > 0 {
                parts.push(format!("{name} {} = {}", thousands(blobs), bytes(size, shared)));
            }
        }
        if u.missing_blobs > 0 {
            parts.push(format!("missing {}", thousands(u.missing_blobs)));
        }
        if !self.listing.list.marks().is_empty() {
            let marked = inventory.blobs.iter().filter(|b| self.listing.list.is_marked(&b.digest));
            let sum = marked.filter_map(|b| b.size).fold(0u64, u64::saturating_add);
            parts.push(format!("marked {} = {}", self.listing.list.marks().len(), bytes(sum, shared)));
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let blob = self.current(shared)?;
        if action == Action::YankJson {
            return Some(super::pretty(&serde_json::json!({
                "digest": blob.digest,
                "bytes": blob.size,
                "declared_bytes": blob.declared,
                "kind": blob.role.name(),
                "state": blob.state.name(),
                "referrers": blob.referrers,
                "modified_at": blob.modified.map(|time| time.to_string()),
            })));
        }
        yank_blob(action, shared, self.target(shared)?)
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let mut words = vec!["cachedeck".to_owned(), "blobs".to_owned()];
        words.extend(shared.places.get(self.place).map(|place| place.location.to_string()));
        if !self.listing.list.filter_text().is_empty() {
            words.extend(["--filter".to_owned(), self.listing.list.filter_text().to_owned()]);
        }
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }

    fn target(&self, shared: &Shared) -> Option<Target> {
        self.current(shared).map(|blob| Target { place: self.place, digest: blob.digest })
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        (action == Action::Toggle).then_some("bars")
    }
}
