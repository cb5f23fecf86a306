//! Two versions side by side: what layers and records the second has that the first has not, and the other way round.

use super::{place_title, version_name, wrapped};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter::{self, Field, FieldKind, Value};
use crate::model::text;
use crate::ops::diff::{Change, Diff, diff};
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{
    Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, bytes, count, thousands, version_word,
};
use crate::tui::shared::{PlaceId, Shared, Target};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::borrow::Cow;

mod by {
    pub const DELTA: u8 = 0;
    pub const CHANGE: u8 = 1;
    pub const NAME: u8 = 2;
}

const ORDERS: [(&str, u8); 3] = [("bytes", by::DELTA), ("change", by::CHANGE), ("name", by::NAME)];
const COLUMNS: [Column; 5] = [
    Column::new("", Width::Cells(2)).sort(by::CHANGE),
    Column::new("digest", Width::Cells(12)).rank(1),
    Column::new("step", Width::Grows(12)).sort(by::NAME),
    Column::new("bytes", Width::Cells(11)).right().sort(by::DELTA),
    Column::new("", Width::Cells(12)).rank(2),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| by == by::DELTA,
    kinds: &["changes", "added", "removed", "changed", "all"],
    fields: <EntryRow<'_> as filter::Row>::fields,
    marks: false,
};

/// One row, of a layer or a record.
struct Entry {
    change: Change,
    digest: Digest,
    /// The step, safe; empty if nothing tells.
    step: String,
    bytes: u64,
    /// Result blobs before and after, for records.
    results: Option<(Vec<Digest>, Vec<Digest>)>,
}

struct EntryRow<'a>(&'a Entry);

impl filter::Row for EntryRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("change", FieldKind::Text),
            Field::new("digest", FieldKind::Text),
            Field::new("step", FieldKind::Text),
            Field::new("size", FieldKind::Size),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "change" => Some(Value::Text(Cow::Borrowed(self.0.change.name()))),
            "digest" => Some(Value::Text(Cow::Owned(self.0.digest.to_string()))),
            "step" => Some(Value::Text(Cow::Borrowed(&self.0.step))),
            "size" => Some(Value::Size(self.0.bytes)),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {} {}", self.0.change.name(), self.0.step, self.0.digest))
    }
}

/// A comparison.
pub struct Comparison {
    before: Target,
    after: Target,
    diff: Diff,
    entries: Vec<Entry>,
    /// Records, not layers.
    records: bool,
    listing: Listing<(Digest, bool)>,
    largest: u64,
    /// Revisions of both places the comparison was made for.
    made: Option<(u64, u64)>,
    /// Grows with every comparison made.
    turn: u64,
}

impl Comparison {
    /// What `after` has that `before` has not.
    pub fn new(before: Target, after: Target) -> Comparison {
        Comparison {
            before,
            after,
            diff: Diff::default(),
            entries: Vec::new(),
            records: false,
            listing: Listing::new(&SHAPE, by::DELTA),
            largest: 0,
            made: None,
            turn: 0,
        }
    }

    fn gather(&mut self, shared: &Shared) {
        let (Some(before), Some(after)) = (shared.index(self.before), shared.index(self.after)) else { return };
        self.diff = diff(before, after);
        self.largest = self.diff.layers.iter().filter_map(|row| row.size).max().unwrap_or(0);
        let layer = |change: Change, at: usize| {
            let side = if change == Change::Removed { before } else { after };
            side.cache.as_ref().and_then(|cache| cache.layers.get(at))
        };
        let step = |layer: Option<&crate::model::cache::Layer>| {
            let name = layer.and_then(|layer| shared.names.of(layer));
            name.map(|n| text::safe(&n.step).into_owned()).unwrap_or_default()
        };
        self.entries = match self.records {
            false => self
                .diff
                .layers
                .iter()
                .map(|row| Entry {
                    change: row.change,
                    digest: row.blob,
                    step: step(layer(row.change, row.layer)),
                    bytes: row.size.unwrap_or(0),
                    results: None,
                })
                .collect(),
            true => {
                let sizes = |index: &crate::model::inventory::CacheIndex| {
                    index
                        .cache
                        .iter()
                        .flat_map(|c| &c.layers)
                        .map(|l| (l.blob, l.clone()))
                        .collect::<std::collections::HashMap<_, _>>()
                };
                let (old, new) = (sizes(before), sizes(after));
                self.diff
                    .records
                    .iter()
                    .map(|row| {
                        let (blobs, side) = if row.after.is_empty() { (&row.before, &old) } else { (&row.after, &new) };
                        let layers = || blobs.iter().filter_map(|blob| side.get(blob));
                        Entry {
                            change: row.change,
                            digest: row.digest,
                            step: step(layers().next()),
                            bytes: layers().filter_map(|l| l.size).fold(0, u64::saturating_add),
                            results: Some((row.before.clone(), row.after.clone())),
                        }
                    })
                    .collect()
            }
        };
    }

    fn current(&self) -> Option<&Entry> {
        self.entries.get(self.listing.list.current()?)
    }

    fn details(&self, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(entry) = self.current() else { return Vec::new() };
        let mut lines = vec![look.fact("digest", vec![entry.digest.to_string().into()])];
        lines.push(look.fact("change", vec![Span::styled(entry.change.name(), style(entry.change, look))]));
        if !entry.step.is_empty() {
            lines.extend(wrapped("step", &entry.step, 96, look));
        }
        lines.push(
            look.fact("size", vec![format!("{} ({} B)", look.bytes(entry.bytes), thousands(entry.bytes)).into()]),
        );
        if let Some((before, after)) = &entry.results {
            for (label, blobs) in [("before", before), ("after", after)] {
                lines.extend(blobs.iter().map(|blob| look.fact(label, vec![blob.to_string().into()])));
            }
        }
        lines
    }

    fn open(&self, cx: &mut Context<'_>) {
        let Some(entry) = self.current() else { return };
        if self.records {
            cx.ask(Request::Show("record".to_owned(), self.details(cx.look)));
            return;
        }
        let side = if entry.change == Change::Removed { self.before } else { self.after };
        cx.ask(Request::Push(Box::new(super::blobs::Blobs::at(side.place, entry.digest))));
    }

    fn header(&self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let line = |label: &str, target: Target| {
            let index = look.shared.index(target);
            let name = index.map_or("gone".to_owned(), version_name);
            let size = index.and_then(|i| i.summary.as_ref()).map_or(String::new(), |s| look.bytes(s.max_bytes));
            let age =
                index.and_then(|i| i.time()).map_or(String::new(), |t| crate::tui::screen::old(look.shared.now, t));
            look.fact(
                label,
                vec![
                    Span::styled(name, look.theme.strong),
                    look.dim(format!("  {}  {}  ", target.digest.short(), place_title(look.shared, target.place))),
                    Span::raw(size),
                    look.dim(format!("  {age}")),
                ],
            )
        };
        let d = &self.diff;
        let totals = look.fact(
            "bytes",
            vec![
                Span::styled(format!("+{}", look.bytes(d.added_bytes)), style(Change::Added, look)),
                Span::styled(format!("  -{}", look.bytes(d.removed_bytes)), style(Change::Removed, look)),
                look.dim(format!("  ={} in both", look.bytes(d.same_bytes))),
            ],
        );
        let lines = [line("from", self.before), line("to", self.after), totals];
        canvas.lines(&lines, area, &mut Default::default());
    }
}

fn row<'a>(entry: &'a Entry, largest: u64, look: Look<'_>) -> Row<'a> {
    let style = style(entry.change, look);
    let sign = match entry.change {
        Change::Added => "+",
        Change::Removed => "-",
        Change::Changed => "~",
        Change::Same => "=",
    };
    let step = if entry.step.is_empty() { look.dim("unnamed") } else { Span::raw(entry.step.as_str()) };
    let (number, unit) = crate::model::units::Bytes(entry.bytes).split(look.shared.sizes);
    let sized = vec![Span::styled(format!("{sign}{number}"), style), look.dim(format!(" {unit:<3}"))];
    Row::from(vec![
        Cell::text(Span::styled(sign, style)),
        Cell::digest(Span::styled(entry.digest.short(), look.theme.dim)),
        Cell::text(step),
        Cell::of(sized, 0, Cut::End),
        Cell::bar(entry.bytes, largest),
    ])
}

fn style(change: Change, look: Look<'_>) -> Style {
    match change {
        Change::Added => look.theme.live,
        Change::Removed => look.theme.missing,
        Change::Changed => look.theme.dangling,
        Change::Same => look.theme.dim,
    }
}

impl Screen for Comparison {
    fn view(&self) -> View {
        View::Diff
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        let name = |target| shared.index(target).map_or("gone".to_owned(), version_name);
        vec!["diff".to_owned(), format!("{} to {}", name(self.before), name(self.after))]
    }

    fn refresh(&mut self, shared: &Shared) {
        let revision = |t: Target| shared.places.get(t.place).map_or(0, |place| place.revision);
        let now = (revision(self.before), revision(self.after));
        if self.made != Some(now) {
            self.gather(shared);
            self.made = Some(now);
            self.turn += 1;
        }
        if !self.listing.is_stale(self.turn) {
            return;
        }
        let (entries, kinds) = (&self.entries, self.listing.kinds);
        let kind = |n: usize| match kinds {
            0 => entries[n].change != Change::Same,
            1 => entries[n].change == Change::Added,
            2 => entries[n].change == Change::Removed,
            3 => entries[n].change == Change::Changed,
            _ => true,
        };
        let source = Source {
            len: entries.len(),
            key: &|n| (entries[n].digest, entries[n].change == Change::Removed),
            row: &|n| EntryRow(&entries[n]),
            kind: &kind,
            order: &|by, a, b| {
                let (a, b) = (&entries[a], &entries[b]);
                match by {
                    by::CHANGE => a.change.cmp(&b.change).then(b.bytes.cmp(&a.bytes)),
                    by::NAME => a.step.cmp(&b.step),
                    _ => a.bytes.cmp(&b.bytes),
                }
            },
            now: shared.now,
        };
        self.listing.arrange(self.turn, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(cx),
            Action::Toggle | Action::NextPane | Action::PrevPane => {
                self.records = !self.records;
                self.made = None;
            }
            Action::Info => cx.ask(Request::Show("difference".to_owned(), self.details(cx.look))),
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        Some(self.listing.text(&|n| row(&self.entries[n], self.largest, look)))
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        Some("diff.txt".to_owned())
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.open(cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let top = if area.height < 14 || canvas.zoomed { 0 } else { 5 };
        if top > 0 {
            let inner = canvas
                .pane(&Pane { title: vec![Span::raw("versions")], ..Pane::default() }, Rect { height: top, ..area });
            self.header(inner, canvas);
        }
        let area = Rect { y: area.y + top, height: area.height - top, ..area };
        let tabs = Some((&["layers", "records"][..], usize::from(self.records)));
        let pane = Pane { tabs, focused: true, ..Pane::default() };
        let (entries, largest, kinds) = (&self.entries, self.largest, self.listing.kinds);
        let all = self.listing.list.filter_text().is_empty() && kinds == 0;
        let empty = || match (entries.is_empty(), all) {
            (true, _) => vec!["nothing to compare: a version holds no cache or is gone".to_owned()],
            (_, true) => vec!["no differences".to_owned(), "T then 4 shows what is the same".to_owned()],
            _ => nothing_fits(),
        };
        self.listing.draw(area, pane, (&|n| row(&entries[n], largest, look), &empty), canvas);
    }

    fn status(&self, shared: &Shared) -> String {
        let of = |change| self.entries.iter().filter(|e| e.change == change).count();
        let word = if self.records { "record" } else { "layer" };
        format!(
            "{} added, {} removed, {} changed, {} the same; +{} -{}",
            count(of(Change::Added), word),
            of(Change::Removed),
            of(Change::Changed),
            of(Change::Same),
            bytes(self.diff.added_bytes, shared),
            bytes(self.diff.removed_bytes, shared)
        )
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let entry = self.current()?;
        match action {
            Action::YankDigest => Some(entry.digest.to_string()),
            Action::YankPath if !self.records => super::blob_path(shared.places.get(self.after.place)?, &entry.digest),
            Action::YankJson => Some(super::pretty(&serde_json::json!({
                "change": entry.change.name(),
                "digest": entry.digest,
                "bytes": entry.bytes,
                "step": entry.step,
            }))),
            _ => None,
        }
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let mut words = vec!["cachedeck".to_owned(), "diff".to_owned()];
        for target in [self.before, self.after] {
            words.extend(shared.places.get(target.place).map(|place| version_word(&place.location, &target.digest)));
        }
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.after.place)
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        (action == Action::Toggle).then_some("records")
    }
}
