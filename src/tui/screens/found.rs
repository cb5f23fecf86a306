//! Which layers hold a file: what a search through all layers of a location, or of one version, brings up.

use super::{place_title, version_name};
use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::files::{Entry, EntryKind, mode_string};
use crate::model::filter::{self, Field, FieldKind, Value};
use crate::model::text;
use crate::ops::find::Found;
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{
    Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, Work, count, thousands, version_word,
};
use crate::tui::screens::files::Files;
use crate::tui::shared::{JobKind, PlaceId, Shared, Target, error_line};
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::borrow::Cow;

mod by {
    pub const FOUND: u8 = 0;
    pub const PATH: u8 = 1;
    pub const SIZE: u8 = 2;
    pub const LAYER: u8 = 3;
}

const ORDERS: [(&str, u8); 4] = [("as found", by::FOUND), ("path", by::PATH), ("size", by::SIZE), ("layer", by::LAYER)];

const COLUMNS: [Column; 6] = [
    Column::new("mode", Width::Cells(10)).rank(6),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("path", Width::Grows(34)).sort(by::PATH),
    Column::new("layer", Width::Cells(12)).sort(by::LAYER),
    Column::new("step", Width::Cells(26)).rank(3),
    Column::new("versions", Width::Cells(20)).rank(2),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| by == by::SIZE,
    kinds: &[],
    fields: <HitRow<'_> as filter::Row>::fields,
    marks: false,
};

/// One search.
pub struct Finds {
    place: PlaceId,
    pattern: String,
    scope: Option<Digest>,
    listing: Listing<(usize, usize)>,
    /// Each hit: which layer's, and which of its.
    hits: Vec<(usize, usize)>,
}

impl Finds {
    /// Looks for `pattern` in all layers of `place`, or only in those of the version `scope`.
    pub fn new(place: PlaceId, pattern: String, scope: Option<Digest>) -> Finds {
        Finds { place, pattern, scope, listing: Listing::new(&SHAPE, by::FOUND), hits: Vec::new() }
    }

    fn found<'a>(&self, shared: &'a Shared) -> &'a [Found] {
        let search = shared.searches.get(&self.place).filter(|search| search.pattern == self.pattern);
        search.map_or(&[], |search| &search.found)
    }

    fn hit<'a>(&self, n: usize, shared: &'a Shared) -> Option<(&'a Found, &'a Entry)> {
        let (layer, hit) = *self.hits.get(n)?;
        let found = self.found(shared).get(layer)?;
        Some((found, found.hits.get(hit)?))
    }

    fn current<'a>(&self, shared: &'a Shared) -> Option<(&'a Found, &'a Entry)> {
        self.hit(self.listing.list.current()?, shared)
    }

    fn open(&self, cx: &mut Context<'_>) {
        let Some((found, entry)) = self.current(cx.shared) else { return };
        let place = cx.shared.places.get(self.place);
        let chain = found.users.iter().find_map(|user| {
            let cache = place?.index(&user.index)?.cache.as_ref()?;
            Some(cache.chain(*user.layers.first()?).into_iter().map(|l| cache.layers[l].blob).collect())
        });
        let size = place.and_then(|p| p.inventory.as_ref()).and_then(|i| i.blob(&found.blob)).and_then(|b| b.size);
        let name = step(self.place, found, cx.shared).unwrap_or_else(|| found.blob.short());
        let chain = chain.unwrap_or_else(|| vec![found.blob]);
        cx.ask(Request::Push(Box::new(Files::new(self.place, chain, name, size).at(entry.path.clone()))));
    }

    fn details(&self, look: Look<'_>) -> Vec<Line<'static>> {
        let Some((found, entry)) = self.current(look.shared) else { return Vec::new() };
        let mut lines = vec![look.fact("path", vec![text::safe_bytes(&entry.path).into_owned().into()])];
        lines.push(look.fact("kind", vec![entry.kind.name().into()]));
        lines.push(look.fact("size", vec![format!("{} B", thousands(entry.size)).into()]));
        lines.push(look.fact("layer", vec![found.blob.to_string().into()]));
        lines.extend(step(self.place, found, look.shared).map(|step| look.fact("step", vec![step.into()])));
        let place = look.shared.places.get(self.place);
        for user in &found.users {
            let name = place.and_then(|p| p.index(&user.index)).map_or_else(|| user.index.short(), version_name);
            let layers: Vec<String> = user.layers.iter().map(|layer| format!("#{layer}")).collect();
            lines.push(look.fact("version", vec![name.into(), look.dim(format!("  {}", layers.join(" ")))]));
        }
        lines
    }
}

/// The step of the layer, where something tells it. Safe.
fn step(place: PlaceId, found: &Found, shared: &Shared) -> Option<String> {
    let place = shared.places.get(place)?;
    found.users.iter().find_map(|user| {
        let cache = place.index(&user.index)?.cache.as_ref()?;
        let name = shared.names.of(cache.layers.get(*user.layers.first()?)?)?;
        Some(text::safe(&name.step).into_owned())
    })
}

/// The newest version that has the layer, and how many more there are.
fn versions(place: PlaceId, found: &Found, shared: &Shared) -> String {
    let place = shared.places.get(place);
    let name = |digest: &Digest| place.and_then(|p| p.index(digest)).map_or_else(|| digest.short(), version_name);
    match found.users.as_slice() {
        [] => String::new(),
        [one] => name(&one.index),
        [one, more @ ..] => format!("{} +{}", name(&one.index), more.len()),
    }
}

fn row(place: PlaceId, found: &Found, entry: &Entry, look: Look<'_>) -> Row<'static> {
    let gone = entry.kind.is_whiteout();
    let path = text::safe_bytes(&entry.path).into_owned();
    let path = if gone { Span::styled(path, look.theme.dim) } else { Span::raw(path) };
    let sized = matches!(entry.kind, EntryKind::File);
    Row::from(vec![
        Cell::text(look.dim(mode_string(entry.kind, entry.mode))),
        if sized { look.size(Some(entry.size)) } else { Cell::text(look.dim(entry.kind.name())) },
        Cell::of(vec![path], 0, Cut::Middle),
        Cell::digest(look.dim(found.blob.short())),
        Cell::text(step(place, found, look.shared).unwrap_or_default()),
        Cell::text(look.dim(versions(place, found, look.shared))),
    ])
}

struct HitRow<'a>(&'a Found, &'a Entry);

impl filter::Row for HitRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("path", FieldKind::Text),
            Field::new("size", FieldKind::Size),
            Field::new("kind", FieldKind::Text),
            Field::new("layer", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "path" => Some(Value::Text(text::safe_bytes(&self.1.path))),
            "size" => Some(Value::Size(self.1.size)),
            "kind" => Some(Value::Text(Cow::Borrowed(self.1.kind.name()))),
            "layer" => Some(Value::Text(Cow::Owned(self.0.blob.to_string()))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{} {}", text::safe_bytes(&self.1.path), self.0.blob))
    }
}

impl Screen for Finds {
    fn view(&self) -> View {
        View::Found
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), format!("find {}", text::safe(&self.pattern))]
    }

    fn begin(&self, _shared: &Shared) -> Option<Request> {
        let (pattern, scope) = (self.pattern.clone(), self.scope);
        Some(Request::Work(self.place, Work::Find { pattern, scope }))
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(revision) = shared.searches.get(&self.place).map(|search| search.revision) else { return };
        if !self.listing.is_stale(revision) {
            return;
        }
        let found = self.found(shared);
        self.hits = found.iter().enumerate().flat_map(|(n, f)| (0..f.hits.len()).map(move |hit| (n, hit))).collect();
        let hits = &self.hits;
        let at = |n: usize| (&found[hits[n].0], &found[hits[n].0].hits[hits[n].1]);
        let source = Source {
            len: hits.len(),
            key: &|n| hits[n],
            row: &|n| HitRow(at(n).0, at(n).1),
            kind: &|_| true,
            order: &|by, a, b| match by {
                by::PATH => at(a).1.path.cmp(&at(b).1.path),
                by::SIZE => at(a).1.size.cmp(&at(b).1.size),
                by::LAYER => at(a).0.blob.cmp(&at(b).0.blob),
                _ => a.cmp(&b),
            },
            now: shared.now,
        };
        self.listing.arrange(revision, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(cx),
            Action::Info => cx.ask(Request::Show("found".to_owned(), self.details(cx.look))),
            Action::Refresh => cx.requests.extend(self.begin(cx.shared)),
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        let hit = |n: usize| self.hit(n, look.shared);
        Some(
            self.listing
                .text(&|n| hit(n).map_or_else(Row::default, |(found, entry)| row(self.place, found, entry, look))),
        )
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        Some("found.txt".to_owned())
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.open(cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (look, place) = (canvas.look, self.place);
        let title = vec![Span::raw(format!("{} in layers", text::safe(&self.pattern)))];
        let (hits, found) = (&self.hits, self.found(look.shared));
        let empty = || {
            let search = look.shared.searches.get(&place);
            let running = look.shared.jobs.get(JobKind::Find, place).is_some();
            match search.map(|search| (&search.error, search.findings.len())) {
                _ if !hits.is_empty() => nothing_fits(),
                _ if running => vec!["looking into all layers".to_owned()],
                Some((Some(error), _)) => vec![error_line(error), "r looks again".to_owned()],
                Some((None, unread)) if unread > 0 => {
                    vec![format!("not found, but {} could not be read; gL tells which", count(unread, "layer"))]
                }
                _ => {
                    vec!["no layer has that".to_owned(), "names may hold * and ?; a / makes it a whole path".to_owned()]
                }
            }
        };
        let row = |n: usize| {
            let hit = hits.get(n).and_then(|(layer, hit)| Some((found.get(*layer)?, *hit)));
            let hit = hit.and_then(|(found, hit)| Some((found, found.hits.get(hit)?)));
            hit.map_or_else(Row::default, |(found, entry)| row(place, found, entry, look))
        };
        let pane = Pane { title, focused: true, ..Pane::default() };
        self.listing.draw(area, pane, (&row, &empty), canvas);
    }

    fn status(&self, shared: &Shared) -> String {
        let layers = self.found(shared).len();
        let mut line = format!("{} in {layers} layers", thousands(self.hits.len() as u64));
        let more: u64 = self.found(shared).iter().map(|found| found.more).sum();
        if more > 0 {
            line.push_str(&format!(", and {} more that are not kept", thousands(more)));
        }
        if let Some(search) = shared.searches.get(&self.place).filter(|search| !search.findings.is_empty()) {
            line.push_str(&format!("; {} could not be read", count(search.findings.len(), "layer")));
        }
        line
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let (found, entry) = self.current(shared)?;
        match action {
            Action::YankPath => Some(String::from_utf8_lossy(&entry.path).into_owned()),
            Action::YankJson => Some(super::pretty(&serde_json::json!({
                "path": String::from_utf8_lossy(&entry.path),
                "kind": entry.kind.name(),
                "bytes": entry.size,
                "layer": found.blob,
                "versions": found.users.iter().map(|user| user.index).collect::<Vec<_>>(),
            }))),
            _ => super::yank_blob(action, shared, Target { place: self.place, digest: found.blob }),
        }
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let mut words = vec!["cachedeck".to_owned(), "find".to_owned(), self.pattern.clone()];
        words.extend(shared.places.get(self.place).map(|place| match &self.scope {
            Some(digest) => version_word(&place.location, digest),
            None => place.location.to_string(),
        }));
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }
}
