//! Draws the first screen's panes.

use super::{Home, PLACE_COLUMNS, preview};
use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory, State};
use crate::model::text;
use crate::tui::list::List;
use crate::tui::listing::nothing_fits;
use crate::tui::screen::{Canvas, Look, bytes};
use crate::tui::screens::{name_cell, nothing_yet};
use crate::tui::shared::{JobKind, Place, PlaceId, Shared};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Row, Table, Width, position};
use ratatui::layout::Rect;
use ratatui::text::Span;
use std::collections::HashMap;

impl Home {
    /// How many are marked, and what they hold.
    pub(super) fn marked(&self, inventory: &Inventory, list: &List<Digest>, shared: &Shared) -> String {
        let marked = inventory.indexes.iter().filter(|i| list.is_marked(&i.digest));
        let mut reached: HashMap<_, (u64, u32)> = HashMap::new();
        for index in marked {
            for r in &index.reach {
                let entry = reached.entry(r.digest).or_insert((r.size, 0));
                entry.1 += 1;
            }
        }
        let all = reached.values().fold(0u64, |sum, (size, _)| sum.saturating_add(*size));
        // What only marked versions reach.
        let alone = reached.iter().filter(|(digest, (_, times))| {
            inventory.blob(digest).is_some_and(|blob| blob.state != State::Missing && blob.referrers == *times)
        });
        let frees = alone.fold(0u64, |sum, (_, (size, _))| sum.saturating_add(*size));
        format!("{} = {}, {} theirs alone", list.marks().len(), bytes(all, shared), bytes(frees, shared))
    }

    pub(super) fn draw_left(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let usage = 9;
        if area.height < usage + 6 {
            return self.draw_places(area, canvas);
        }
        let places = Rect { height: area.height - usage, ..area };
        self.draw_places(places, canvas);
        let place = canvas.look.shared.places.get(self.at());
        preview::draw_usage(Rect { y: places.bottom(), height: usage, ..area }, place, canvas);
    }

    pub(super) fn draw_places(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let places = &look.shared.places;
        let len = places.len();
        let focused = self.on_places;
        let pane = Pane {
            number: Some(1),
            title: vec![Span::raw("locations")],
            position: if len > 1 { position(self.places.selected(), len) } else { String::new() },
            focused,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, area);
        if len == 0 {
            return canvas.nothing(&nothing_yet(look.shared, None, 0), inner);
        }
        let row = |id: usize| {
            let place = &places[id];
            let used = place.inventory.as_ref().map(|inventory| inventory.bytes());
            let kind = place.location.kind().to_owned();
            let title = place.location.title();
            let name = title.strip_prefix(&format!("{kind}:")).unwrap_or(&title).to_owned();
            let short = if kind == "registry" { "reg" } else { &kind };
            let kind = look.dim(text::safe(short).into_owned());
            Row::from(vec![Cell::text(health(place, id, look)), Cell::text(kind), Cell::name(name), look.size(used)])
        };
        // The type says nothing where all are of one.
        let one = places.iter().all(|place| place.location.kind() == places[0].location.kind());
        let mut columns = PLACE_COLUMNS;
        if one {
            columns[1].width = Width::Cells(0);
        }
        let table = Table { columns: &columns, len, row: &row, sort: None, focused, marks: false, stacked: false };
        canvas.table(table, inner, &mut self.places);
    }

    pub(super) fn draw_indexes(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (look, at, focused) = (canvas.look, self.at(), self.focus() == 2);
        let place = look.shared.places.get(at);
        let indexes = place.map(Place::indexes).unwrap_or_default();
        let largest = indexes.iter().filter_map(|i| i.summary.as_ref()).map(|s| s.max_bytes).max().unwrap_or(0);
        let known = place.is_some_and(|place| place.inventory.is_some());
        let is_builder = place.is_some_and(|place| place.location.kind() == "daemon");
        let empty = || match indexes.is_empty() {
            true if is_builder && known => vec![
                "a builder has no versions: it keeps records of steps".to_owned(),
                "enter shows them, why they are kept, and its builds".to_owned(),
            ],
            true => nothing_yet(look.shared, place, at),
            false => nothing_fits(),
        };
        let pane = Pane { number: Some(2), title: vec![Span::raw("indexes")], focused, ..Pane::default() };
        let row = |n: usize| index_row(&indexes[n], (largest, known), super::super::kept(&indexes[n], at, look), look);
        self.listing().draw(area, pane, (&row, &empty), canvas);
    }

    pub(super) fn draw_preview(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (width, height) = (area.width.saturating_sub(4), area.height.saturating_sub(2));
        let lines = self.preview.lines(usize::from(width), usize::from(height), canvas.look);
        self.listing().draw_preview_as(3, area, ("preview".to_owned(), &lines), canvas);
    }
}

/// Whether a location is well, in one sign.
fn health(place: &Place, id: PlaceId, look: Look<'_>) -> Span<'static> {
    let (glyphs, theme) = (look.glyphs, look.theme);
    if look.shared.jobs.get(JobKind::Load, id).is_some() {
        return look.spinner();
    }
    let inventory = place.inventory.as_ref();
    let missing = inventory.is_some_and(|i| i.usage.missing_blobs > 0);
    let found = inventory.is_some_and(|i| !i.warnings.is_empty() || !i.complete);
    match &place.verified {
        _ if place.error.is_some() || missing => Span::styled(glyphs.missing, theme.missing),
        _ if found => Span::styled(glyphs.finding, theme.finding),
        Some(verified) if verified.findings.is_empty() => Span::styled(glyphs.verified, theme.verified),
        Some(_) => Span::styled(glyphs.finding, theme.finding),
        None => Span::raw(" "),
    }
}

/// Cells of one version.
fn index_row<'a>(
    index: &'a CacheIndex,
    (largest, known): (u64, bool),
    mut flags: Vec<Span<'static>>,
    look: Look<'_>,
) -> Row<'a> {
    let (glyphs, theme) = (look.glyphs, look.theme);
    // One cell is left for it, unless the version is about to go.
    if !index.missing.is_empty() {
        flags.push(Span::styled(glyphs.missing, theme.missing));
    } else if !index.findings.is_empty() {
        flags.push(Span::styled(glyphs.finding, theme.finding));
    }
    flags.truncate(2);
    let summary = index.summary.as_ref();
    let number = |n: Option<usize>| Cell::text(n.map_or(String::new(), |n| n.to_string()));
    let size = summary.map(|s| s.max_bytes);
    Row::from(vec![
        Cell::of(flags, 0, Cut::End),
        name_cell(index, look),
        Cell::digest(look.dim(index.short())),
        Cell::text(look.dim(index.form.map_or("?", |f| f.abbreviation()))),
        Cell::text(look.dim(summary.map_or("", |s| s.mode.name()))),
        number(summary.map(|s| s.records)),
        number(summary.map(|s| s.layers)),
        look.size(size),
        Cell::bar(size.unwrap_or(0), largest),
        look.size(Some(index.exclusive_bytes).filter(|_| known)),
        look.age(index.time()),
    ])
}
