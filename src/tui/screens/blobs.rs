//! All blobs of a location: what they are, who needs them, what they weigh.

use super::{
    ask_file, filter_note, kinds_menu, list_answer, nothing_fits, nothing_yet, place_title, plain, sort_menu, used_by,
    version_name, with_preview, wrapped, yank_blob,
};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter;
use crate::model::inventory::{Blob, Inventory, Role, State};
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::list::{Clicked, List, Source};
use crate::tui::screen::{
    Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, Work, bytes, count, location_word, thousands,
};
use crate::tui::shared::{PlaceId, Shared, Target};
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Table, Width};
use crate::tui::widgets::textbox::Scroll;
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
    Column::new("kind", Width::Cells(8)).rank(2).sort(by::KIND),
    Column::new("what", Width::Grows(24)).rank(4),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("", Width::Cells(10)).rank(6),
    Column::new("users", Width::Cells(6)).right().rank(3).sort(by::REFERRERS),
    Column::new("age", Width::Cells(5)).right().rank(1).sort(by::AGE),
    Column::new("state", Width::Cells(8)).rank(5),
];

const KINDS: [&str; 6] = ["all", "live", "dangling", "orphan", "missing", "damaged"];

/// The blobs of one place.
pub struct Blobs {
    place: PlaceId,
    list: List<Digest>,
    kinds: u8,
    /// Bars against the sum of all, not the largest.
    of_total: bool,
    scroll: Scroll,
    focus_preview: bool,
    /// What each blob is, where something tells: a step, or a tag.
    labels: HashMap<Digest, String>,
    labelled: Option<u64>,
    largest: u64,
    seen: Option<u64>,
}

impl Blobs {
    /// The blobs of `place`, largest first.
    pub fn new(place: PlaceId) -> Blobs {
        Blobs {
            place,
            list: List::new(by::SIZE, |by| !matches!(by, by::DIGEST | by::KIND)),
            kinds: 0,
            of_total: false,
            scroll: Scroll::default(),
            focus_preview: false,
            labels: HashMap::new(),
            labelled: None,
            largest: 0,
            seen: None,
        }
    }

    /// With the cursor on one of them.
    pub fn at(place: PlaceId, digest: Digest) -> Blobs {
        let mut blobs = Blobs::new(place);
        blobs.list.aim(digest);
        blobs
    }

    fn inventory<'a>(&self, shared: &'a Shared) -> Option<&'a Inventory> {
        shared.places.get(self.place)?.inventory.as_deref()
    }

    fn current<'a>(&self, shared: &'a Shared) -> Option<&'a Blob> {
        self.inventory(shared)?.blobs.get(self.list.current()?)
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

    fn row<'a>(&'a self, blob: &'a Blob, total: u64, look: Look<'_>) -> Row<'a> {
        let mut sign = vec![look.state(blob.state)];
        if blob.wrong_size() {
            sign.push(Span::styled(look.glyphs.finding, look.theme.finding));
        }
        let what = self.labels.get(&blob.digest).map_or("", String::as_str);
        Row::from(vec![
            Cell::of(sign, 0, crate::tui::widgets::cell::Cut::End),
            Cell::digest(blob.digest.short()),
            Cell::text(look.dim(blob.role.name())),
            Cell::text(what),
            look.size(blob.size.or(blob.declared)),
            Cell::bar(blob.size.unwrap_or(0), if self.of_total { total } else { self.largest }),
            Cell::text(look.dim(thousands(blob.referrers.into()))),
            look.age(blob.modified),
            Cell::text(Span::styled(blob.state.name(), look.state(blob.state).style)),
        ])
    }

    fn text(&self, cx: &Context<'_>) -> String {
        let Some(inventory) = self.inventory(cx.shared) else { return String::new() };
        let row = |n: usize| {
            let blob = self.list.source(n).and_then(|n| inventory.blobs.get(n));
            blob.map_or_else(Row::default, |blob| self.row(blob, inventory.usage.bytes, cx.look))
        };
        plain(&COLUMNS, self.list.len(), &row)
    }

    fn details(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let shared = look.shared;
        let (Some(inventory), Some(blob)) = (self.inventory(shared), self.current(shared)) else { return Vec::new() };
        let mut lines = super::digest_lines("digest", &blob.digest, width, look);
        let why = match blob.state {
            State::Live => "a tag reaches it",
            State::Dangling => "only untagged versions reach it",
            State::Orphan => "nothing reaches it",
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
        lines.push(look.fact("users", vec![thousands(blob.referrers.into()).into()]));
        lines.extend(wrapped("", &used_by(inventory, &blob.digest, 40), width, look));
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
            self.seen = None;
        }
        if self.seen == Some(place.revision) {
            return;
        }
        let (blobs, kinds) = (&inventory.blobs, self.kinds);
        let kind = |n: usize| match kinds {
            1 => blobs[n].state == State::Live,
            2 => blobs[n].state == State::Dangling,
            3 => blobs[n].state == State::Orphan,
            4 => blobs[n].state == State::Missing,
            5 => blobs[n].wrong_size() || blobs[n].state == State::Missing,
            _ => true,
        };
        self.list.arrange(&Source {
            len: blobs.len(),
            key: &|n| blobs[n].digest,
            row: &|n| &blobs[n],
            kind: &kind,
            order: &|by, a, b| compare(by, &blobs[a], &blobs[b]),
            now: shared.now,
        });
        self.seen = Some(place.revision);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        let page = self.scroll.height as isize;
        match action {
            Action::Open | Action::Right => self.open(cx),
            Action::NextPane | Action::PrevPane => self.focus_preview = !self.focus_preview,
            Action::Pane(n) => self.focus_preview = n == 2,
            Action::PreviewDown => self.scroll.step(1, usize::MAX),
            Action::PreviewUp => self.scroll.step(-1, usize::MAX),
            Action::Sort => cx.ask(sort_menu(&ORDERS, self.list.sort)),
            Action::Kinds => cx.ask(kinds_menu(&KINDS, self.kinds)),
            Action::Toggle => self.of_total = !self.of_total,
            Action::Info => cx.ask(Request::Show("blob".to_owned(), self.details(96, cx.look))),
            Action::Pager => cx.ask(Request::Page(self.text(cx))),
            Action::Export => {
                if let Some(blob) = self.current(cx.shared).filter(|blob| blob.size.is_some()) {
                    let end = if blob.role == Role::Layer { "layer" } else { "json" };
                    cx.ask(ask_file(&format!("{}.{end}", blob.digest.short())));
                }
            }
            Action::Escape => {
                self.seen = None;
                if self.kinds != 0 {
                    self.kinds = 0;
                    return true;
                }
                return self.list.escape();
            }
            Action::Up if self.focus_preview => self.scroll.step(-1, usize::MAX),
            Action::Down if self.focus_preview => self.scroll.step(1, usize::MAX),
            Action::PageUp if self.focus_preview => self.scroll.step(-page, usize::MAX),
            Action::PageDown if self.focus_preview => self.scroll.step(page, usize::MAX),
            _ => {
                let Some(inventory) = self.inventory(cx.shared) else { return false };
                let sort = self.list.sort;
                let acted = self.list.act(action, &|n| inventory.blobs[n].digest);
                if self.list.sort != sort {
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
            Answer::File(path) => {
                if let Some(blob) = self.current(cx.shared) {
                    cx.ask(Request::Work(
                        self.place,
                        Work::SaveBlob { path: PathBuf::from(path), digest: blob.digest },
                    ));
                }
                return Ok(());
            }
            other => {
                list_answer(&mut self.list, &other, <&Blob as filter::Row>::fields())?;
            }
        }
        self.seen = None;
        Ok(())
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        let Some(inventory) = self.inventory(cx.shared) else { return };
        match self.list.mouse(mouse, &|n| inventory.blobs[n].digest) {
            Clicked::Opened => self.open(cx),
            Clicked::Sorted => self.seen = None,
            Clicked::Moved => self.focus_preview = false,
            Clicked::Nothing => {}
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (list_area, preview) = if canvas.zoomed { (area, None) } else { with_preview(area, canvas.size, 38) };
        let mut title = vec![Span::raw("blobs")];
        if self.kinds != 0 {
            title.push(Span::raw(format!(" {} {}", look.glyphs.dot, KINDS[usize::from(self.kinds)])));
        }
        let pane = Pane {
            number: Some(1),
            title,
            note: filter_note(&self.list, look),
            position: self.list.position(),
            focused: !self.focus_preview,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, list_area);
        let place = look.shared.places.get(self.place);
        let inventory = self.inventory(look.shared);
        match inventory.filter(|_| !self.list.is_empty()) {
            None => {
                let lines = match inventory {
                    Some(inventory) if !inventory.blobs.is_empty() => nothing_fits(),
                    _ => nothing_yet(look.shared, place, self.place),
                };
                canvas.nothing(&lines, inner);
            }
            Some(inventory) => {
                let mut state = std::mem::take(&mut self.list.state);
                let row = |n: usize| {
                    let Some(blob) = self.list.source(n).and_then(|n| inventory.blobs.get(n)) else {
                        return Row::default();
                    };
                    let marked = self.list.is_marked(&blob.digest) || self.list.in_range(n);
                    Row { marked, ..self.row(blob, inventory.usage.bytes, look) }
                };
                let (len, sort) = (self.list.len(), Some(self.list.sort));
                let focused = !self.focus_preview;
                let table = Table { columns: &COLUMNS, len, row: &row, sort, focused, marks: true, stacked: false };
                canvas.table(table, inner, &mut state);
                self.list.state = state;
            }
        }
        if let Some(area) = preview {
            let focused = self.focus_preview;
            let pane = Pane { number: Some(2), title: vec![Span::raw("blob")], focused, ..Pane::default() };
            let inner = canvas.pane(&pane, area);
            let lines = self.details(usize::from(inner.width), look);
            canvas.lines(&lines, inner, &mut self.scroll);
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
        if !self.list.marks().is_empty() {
            let marked = inventory.blobs.iter().filter(|b| self.list.is_marked(&b.digest));
            let sum = marked.filter_map(|b| b.size).fold(0u64, u64::saturating_add);
            parts.push(format!("marked {} = {}", self.list.marks().len(), bytes(sum, shared)));
        }
        parts.join("  ")
    }

    fn search(&self) -> Search<'_> {
        let text = self.list.filter_text().to_owned();
        Search { fields: <&Blob as filter::Row>::fields(), text, hides: true }
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
        words.extend(shared.places.get(self.place).map(|place| location_word(&place.location)));
        if !self.list.filter_text().is_empty() {
            words.extend(["--filter".to_owned(), self.list.filter_text().to_owned()]);
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
