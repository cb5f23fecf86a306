//! What the first screen says about the version or location under the cursor. Sums are made once when the cursor
//! moves, not in every frame.

use crate::model::builder::{Builder, Totals};
use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory, State};
use crate::model::text;
use crate::model::units;
use crate::tui::screen::{Canvas, Look, age, bytes, count, old, thousands};
use crate::tui::screens::{is_damaged, shared_bytes, version_name, version_state};
use crate::tui::shared::{Job, JobKind, Place, PlaceId, Shared, error_line};
use crate::tui::widgets::bar::bar;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::textbox::{Scroll, wrap};
use jiff::Timestamp;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// What is known of the thing under the cursor.
#[derive(Default)]
pub(super) struct Preview {
    /// For what, and at which revision, the facts were gathered.
    key: Option<(PlaceId, Option<Digest>, u64)>,
    facts: Option<Facts>,
}

/// Facts of one version.
struct Facts {
    smallest: u64,
    median: u64,
    largest: u64,
    /// Bytes, what made it, and who says so.
    largest_layers: Vec<(u64, String, String)>,
    compressions: Vec<&'static str>,
    /// This version and older ones, newest first.
    history: Vec<(String, Option<Timestamp>)>,
    /// The versions that share most, and how many more share something.
    shares: (Vec<String>, usize),
    /// Whether there are so many versions that not all were compared.
    and_more: bool,
}

/// Versions that one is compared with for its preview; more would be felt at every step of the cursor.
const COMPARED: usize = 10_000;

/// The first `most` of `items` in the order of `key`, and how many more there are.
fn first<T: Copy, K: Ord>(most: usize, items: impl Iterator<Item = T>, key: impl Fn(&T) -> K) -> (Vec<T>, usize) {
    let (mut kept, mut more) = (Vec::with_capacity(most + 1), 0);
    for item in items {
        let at = kept.partition_point(|other| key(other) <= key(&item));
        kept.insert(at, item);
        if kept.len() > most {
            kept.pop();
            more += 1;
        }
    }
    (kept, more)
}

impl Preview {
    pub(super) fn refresh(&mut self, shared: &Shared, place: PlaceId, digest: Option<Digest>) {
        let Some(known) = shared.places.get(place) else { return };
        let key = (place, digest, known.revision);
        if self.key != Some(key) {
            self.key = Some(key);
            self.facts = digest.and_then(|digest| known.index(&digest)).and_then(|i| Facts::of(i, known, shared));
        }
    }

    fn index<'a>(&self, shared: &'a Shared) -> Option<(&'a Place, Option<&'a CacheIndex>)> {
        let (place, digest, _) = self.key?;
        let place = shared.places.get(place)?;
        Some((place, digest.and_then(|digest| place.index(&digest))))
    }

    /// The lines of the preview pane, most telling first if there are only few.
    pub(super) fn lines(&self, width: usize, height: usize, look: Look<'_>) -> Vec<Line<'static>> {
        match self.index(look.shared) {
            Some((place, Some(index))) => self.version(place, index, (width, height), look),
            Some((place, None)) => place_lines(place, width, look),
            None => Vec::new(),
        }
    }

    /// Everything, for a box of its own.
    pub(super) fn details(&self, look: Look<'_>) -> Vec<Line<'static>> {
        let shared = look.shared;
        let Some((place, Some(index))) = self.index(shared) else { return self.lines(96, 99, look) };
        let mut lines = vec![
            look.fact("digest", vec![index.known_digest().map_or("not known".to_owned(), |d| d.to_string()).into()]),
            look.fact("config", vec![index.config.map_or("-".to_owned(), |d| d.to_string()).into()]),
            look.fact("manifest", vec![bytes(index.manifest_bytes, shared).into()]),
        ];
        for tag in &index.tags {
            lines.push(look.fact("tag", vec![text::safe(tag).into_owned().into()]));
        }
        lines.push(look.fact("created", look.time(index.created)));
        lines.push(look.fact("written", look.time(index.modified)));
        if let Some(s) = &index.summary {
            let records = format!(
                "{} ({} with a result, {} sinks, {} roots)",
                s.records, s.records_with_result, s.sinks, s.roots
            );
            lines.push(look.fact("records", vec![records.into()]));
            lines.push(look.fact("layers", vec![format!("{} in {}", s.layers, count(s.unique_blobs, "blob")).into()]));
            lines.push(look.fact("mode=max", vec![bytes(s.max_bytes, shared).into()]));
            lines.push(look.fact("mode=min", vec![bytes(s.min_bytes, shared).into()]));
        }
        lines.push(look.fact("unique", vec![bytes(index.exclusive_bytes, shared).into()]));
        lines.push(look.fact("shared", vec![bytes(index.shared_bytes, shared).into()]));
        lines.push(Line::default());
        lines.extend(self.version(place, index, (96, 99), look).into_iter().skip(1));
        for digest in &index.missing {
            lines.push(look.fact("missing", vec![digest.to_string().into()]));
        }
        lines
    }

    fn version(
        &self,
        place: &Place,
        index: &CacheIndex,
        (width, height): (usize, usize),
        look: Look<'_>,
    ) -> Vec<Line<'static>> {
        let theme = look.theme;
        let dot = format!(" {} ", look.glyphs.dot);
        let mut title =
            vec![look.state(version_state(index)), Span::raw(" "), Span::styled(version_name(index), theme.strong)];
        let mut words = vec![index.short()];
        words.push(index.form.map_or("unreadable", |form| form.name()).to_owned());
        words.extend(index.summary.as_ref().map(|s| format!("mode={}", s.mode.name())));
        words.extend(self.facts.iter().map(|f| f.compressions.join("+")).filter(|c| !c.is_empty()));
        words.extend(index.time().map(|time| old(look.shared.now, time)));
        title.push(look.dim(format!("  {}", words.join(&dot))));
        let mut lines = vec![Line::from(title)];
        let Some(facts) = &self.facts else {
            lines.extend(problems(place, index, width, look));
            lines.push(use_it(place, index, width, look));
            return lines;
        };
        lines.push(facts.sizes(index, look));
        lines.push(facts.sharing(index, look));
        if is_damaged(index) {
            lines.extend(problems(place, index, width, look));
        }
        let room = height.saturating_sub(lines.len() + 3);
        lines.extend(facts.layers(room.min(3), width, look));
        lines.push(facts.lineage(look));
        lines.push(use_it(place, index, width, look));
        if !is_damaged(index) {
            lines.extend(problems(place, index, width, look));
        }
        lines
    }
}

impl Facts {
    fn of(index: &CacheIndex, place: &Place, shared: &Shared) -> Option<Facts> {
        let cache = index.cache.as_ref()?;
        let mut sizes: Vec<u64> = cache.layers.iter().filter_map(|l| l.size).collect();
        sizes.sort_unstable();
        let mut order: Vec<usize> = (0..cache.layers.len()).collect();
        order.sort_by_key(|&l| std::cmp::Reverse(cache.layers[l].size));
        let mut blobs = std::collections::HashSet::new();
        order.retain(|&l| blobs.insert(cache.layers[l].blob));
        let largest_layers = order.iter().take(3).map(|&l| {
            let layer = &cache.layers[l];
            let name = shared.names.of(layer);
            let source = name.as_ref().map_or("no name".to_owned(), |name| format!("named by {}", name.source.word()));
            let step = name.map_or_else(|| layer.blob.short(), |n| text::safe(&n.step).into_owned());
            (layer.size.unwrap_or(0), step, source)
        });
        let mut compressions: Vec<&'static str> = cache.layers.iter().map(|l| l.compression.name()).collect();
        compressions.sort_unstable();
        compressions.dedup();
        let older = place.indexes().iter().filter(|i| i.time() <= index.time() && i.cache.is_some());
        let history = first(6, older, |i| std::cmp::Reverse(i.time())).0;
        let history = history.iter().map(|i| (i.short().chars().take(6).collect(), i.time())).collect();
        let others = place.indexes().iter().take(COMPARED).filter(|i| i.digest != index.digest);
        let sharing = others.map(|i| (i, shared_bytes(index, i))).filter(|(_, bytes)| *bytes > 0);
        let (most, more) = first(3, sharing, |(_, bytes)| std::cmp::Reverse(*bytes));
        let shares = (most.into_iter().map(|(i, _)| version_name(i)).collect(), more);
        Some(Facts {
            smallest: sizes.first().copied().unwrap_or(0),
            median: sizes.get(sizes.len() / 2).copied().unwrap_or(0),
            largest: sizes.last().copied().unwrap_or(0),
            largest_layers: largest_layers.collect(),
            compressions,
            history,
            shares,
            and_more: place.indexes().len() > COMPARED,
        })
    }

    fn sizes(&self, index: &CacheIndex, look: Look<'_>) -> Line<'static> {
        let Some(s) = &index.summary else { return Line::default() };
        let mut says = vec![Span::raw(format!("{}", s.layers))];
        for (label, n) in [("min", self.smallest), ("median", self.median), ("max", self.largest), ("sum", s.max_bytes)]
        {
            says.push(look.dim(format!("   {label} ")));
            says.push(look.bytes(n).into());
        }
        if s.min_bytes != s.max_bytes {
            says.push(look.dim("   mode=min "));
            says.push(look.bytes(s.min_bytes).into());
        }
        look.fact("layers", says)
    }

    fn sharing(&self, index: &CacheIndex, look: Look<'_>) -> Line<'static> {
        let mut says: Vec<Span<'static>> = vec![look.bytes(index.exclusive_bytes).into()];
        let (names, more) = &self.shares;
        if index.shared_bytes > 0 || !names.is_empty() {
            says.push(look.dim("   shared "));
            says.push(look.bytes(index.shared_bytes).into());
            let more = match more {
                _ if self.and_more => " and more".to_owned(),
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            if !names.is_empty() {
                says.push(look.dim(format!(" with {}{more}", names.join(", "))));
            }
        } else {
            says.push(look.dim("   shares nothing with other versions"));
        }
        look.fact("unique", says)
    }

    fn layers(&self, most: usize, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let cells = (width / 4).clamp(8, 30) as u16;
        let rows = self.largest_layers.iter().take(most).enumerate();
        rows.map(|(at, (size, step, source))| {
            let mut says = vec![Span::raw(format!("{:>10}  ", look.bytes(*size)))];
            says.extend(bar(*size, self.largest, cells, look.theme, look.glyphs));
            let room = width.saturating_sub(9 + 12 + usize::from(cells) + 4 + source.len() + 2);
            says.push(Span::raw(format!("  {}", text::fit_end(step, room, look.glyphs.ellipsis))));
            says.push(look.dim(format!("  {source}")));
            look.fact(if at == 0 { "largest" } else { "" }, says)
        })
        .collect()
    }

    fn lineage(&self, look: Look<'_>) -> Line<'static> {
        let mut says = Vec::new();
        for (at, (name, time)) in self.history.iter().enumerate() {
            if at > 0 {
                says.push(look.dim(if look.glyphs.ascii { " <- " } else { " ← " }));
            }
            says.push(Span::raw(name.clone()));
            says.push(look.dim(format!(" {}", time.map_or("?".to_owned(), |t| age(look.shared.now, t)))));
        }
        look.fact("history", says)
    }
}

fn use_it(place: &Place, index: &CacheIndex, width: usize, look: Look<'_>) -> Line<'static> {
    match place.location.cache_from(index.known_digest(), index.name()) {
        Ok(line) => {
            let all = format!("--cache-from {}", text::shell_quote(&line));
            let shown = text::fit_end(&all, width.saturating_sub(20), look.glyphs.ellipsis).into_owned();
            look.fact("use it", vec![shown.into(), look.dim("  yf copies")])
        }
        Err(error) => look.fact("use it", vec![look.dim(error_line(&error))]),
    }
}

fn problems(place: &Place, index: &CacheIndex, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let (theme, glyphs) = (look.theme, look.glyphs);
    let mut lines = Vec::new();
    for finding in index.findings.iter().take(3) {
        let room = width.saturating_sub(12);
        let words = text::safe(&finding.message).into_owned();
        let says = text::fit_end(&words, room, glyphs.ellipsis).into_owned();
        lines
            .push(look.fact("problem", vec![Span::styled(format!("{} ", glyphs.finding), theme.finding), says.into()]));
    }
    if index.findings.is_empty() && !index.missing.is_empty() {
        let says = format!("{} {} missing", glyphs.missing, count(index.missing.len(), "blob"));
        lines.push(look.fact("problem", vec![Span::styled(says, theme.missing)]));
    }
    if lines.is_empty() {
        let says = match &place.verified {
            Some(v) => vec![
                Span::styled(format!("{} ", glyphs.verified), theme.verified),
                format!("none; verified {} ago, level {}", age(look.shared.now, v.at), v.level.name()).into(),
            ],
            None => vec!["none seen".into(), look.dim("   V verifies")],
        };
        lines.push(look.fact("problems", says));
    }
    lines
}

fn place_lines(place: &Place, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let mut lines = vec![Line::from(Span::styled(place.location.to_string(), look.theme.strong))];
    if let Some(error) = &place.error {
        lines.extend(
            wrap(&error_line(error), width.max(8)).into_iter().map(|l| Line::from(Span::styled(l, look.theme.missing))),
        );
        return lines;
    }
    let Some(inventory) = &place.inventory else { return lines };
    lines.extend(forms(inventory, look));
    for leftover in inventory.leftovers.iter().take(3) {
        let says = format!("{} {}, unfinished", text::safe(&leftover.name), look.bytes(leftover.bytes));
        lines.push(look.fact("upload", vec![says.into()]));
    }
    for warning in inventory.warnings.iter().take(4) {
        lines.push(look.fact("warning", vec![text::safe(&warning.message).into_owned().into()]));
    }
    if let Some(v) = &place.verified {
        let found = if v.findings.is_empty() { "no findings".to_owned() } else { count(v.findings.len(), "finding") };
        let says = format!(
            "{found} at level {}, {} ago, {} hashed",
            v.level.name(),
            age(look.shared.now, v.at),
            look.bytes(v.hashed)
        );
        lines.push(look.fact("verified", vec![says.into()]));
    }
    lines
}

fn forms(inventory: &Inventory, look: Look<'_>) -> Option<Line<'static>> {
    let mut counts = std::collections::BTreeMap::new();
    for index in &inventory.indexes {
        *counts.entry(index.form.map_or("unreadable", |f| f.name())).or_insert(0usize) += 1;
    }
    let words: Vec<String> = counts.iter().map(|(form, n)| format!("{n} {form}")).collect();
    (!words.is_empty()).then(|| look.fact("forms", vec![words.join(", ").into()]))
}

/// The pane that shows what a location's bytes are.
pub(super) fn draw_usage(area: Rect, place: Option<&Place>, canvas: &mut Canvas<'_>) {
    let look = canvas.look;
    let pane = Pane { title: vec![Span::raw("usage")], ..Pane::default() };
    let inner = canvas.pane(&pane, area);
    let Some(inventory) = place.and_then(|place| place.inventory.as_ref()) else {
        return draw_loading(inner, place, canvas);
    };
    if let Some(builder) = &inventory.details.builder {
        return draw_builder(inner, builder, canvas);
    }
    let usage = inventory.usage;
    // While not all versions can be read, nothing is an orphan.
    let unreached = match usage.unknown_blobs {
        0 => (State::Orphan, usage.orphan_blobs, usage.orphan_bytes),
        unknown => (State::Unknown, unknown, usage.unknown_bytes),
    };
    let rows = [
        (State::Live, usage.live_blobs, usage.live_bytes),
        (State::Dangling, usage.dangling_blobs, usage.dangling_bytes),
        unreached,
        (State::Missing, usage.missing_blobs, 0),
    ];
    let mut lines = vec![Line::from(stacked(&rows, usage.bytes, inner.width, look)), Line::default()];
    for (state, blobs, size) in rows {
        let (number, unit) = units::Bytes(size).split(look.shared.sizes);
        let style = if blobs == 0 { look.theme.dim } else { look.theme.text };
        let size = if state == State::Missing { " ".repeat(11) } else { format!("{number:>7} {unit:<3}") };
        lines.push(Line::from(vec![
            look.state(state),
            Span::styled(format!(" {:<8}", state.name()), style),
            Span::styled(size, style),
            look.dim(format!(" {:>7}", thousands(blobs))),
        ]));
    }
    let tags: usize = inventory.indexes.iter().map(|i| i.tags.len()).sum();
    let dangling = inventory.indexes.iter().filter(|i| i.is_dangling()).count();
    lines.push(Line::from(look.dim(format!("{}, {dangling} untagged", count(tags, "tag")))));
    let mut scroll = Scroll::default();
    canvas.lines(&lines, inner, &mut scroll);
}

/// What a builder's records are, the largest types first.
fn draw_builder(area: Rect, builder: &Builder, canvas: &mut Canvas<'_>) {
    let look = canvas.look;
    let totals = builder.totals();
    let held = totals.bytes.saturating_sub(totals.reclaimable_bytes);
    let mut lines = vec![Line::from(bar(held, totals.bytes, area.width, look.theme, look.glyphs).to_vec())];
    lines.push(Line::from(look.dim(format!("{} of it in use", look.bytes(held)))));
    let types = Totals::by_type(builder.records().map(|(_, record)| record));
    for (kind, totals) in types.iter().take(usize::from(area.height).saturating_sub(2)) {
        let (number, unit) = units::Bytes(totals.bytes).split(look.shared.sizes);
        let kind = text::pad_right(&text::fit_end(&text::safe(kind), 12, look.glyphs.ellipsis), 12).into_owned();
        lines.push(Line::from(vec![
            Span::raw(kind),
            Span::raw(format!("{number:>7} {unit:<3}")),
            look.dim(format!(" {:>5}", thousands(totals.records))),
        ]));
    }
    canvas.lines(&lines, area, &mut Scroll::default());
}

/// How far loading is, where there are no totals yet.
fn draw_loading(area: Rect, place: Option<&Place>, canvas: &mut Canvas<'_>) {
    let look = canvas.look;
    let mut jobs = look.shared.jobs.running().iter();
    let here = |job: &&Job| {
        let there = look.shared.places.get(job.place);
        job.kind == JobKind::Load && there.zip(place).is_some_and(|(a, b)| std::ptr::eq(a, b))
    };
    let Some(job) = jobs.find(here) else { return };
    let counts = job.progress.counts();
    let percent = counts.percent();
    let mut lines = vec![match percent {
        Some(percent) => Line::from(bar(percent.into(), 100, area.width, look.theme, look.glyphs).to_vec()),
        None => Line::from(vec![look.spinner(), look.dim(" listing")]),
    }];
    lines.push(Line::default());
    lines.push(look.fact("blobs", vec![thousands(counts.items).into()]));
    lines.push(look.fact("bytes", vec![look.bytes(counts.bytes).into()]));
    lines.push(look.fact("indexes", vec![thousands(place.map_or(0, |p| p.preview.len()) as u64).into()]));
    lines.push(Line::from(vec![Span::styled("esc", look.theme.key), look.dim(" stops")]));
    canvas.lines(&lines, area, &mut Scroll::default());
}

/// One bar for all states side by side.
fn stacked(rows: &[(State, u64, u64)], whole: u64, cells: u16, look: Look<'_>) -> Vec<Span<'static>> {
    let glyph = look.glyphs.eighths[7];
    let ascii = ["#", "=", "-", "x"];
    let mut spans = Vec::new();
    let (mut done, mut drawn) = (0u64, 0usize);
    for (at, (state, _, size)) in rows.iter().enumerate() {
        done = done.saturating_add(*size);
        let to = if whole == 0 { 0 } else { (u128::from(done) * u128::from(cells) / u128::from(whole)) as usize };
        // What is there shows, however little it is.
        let to = to.max(drawn + usize::from(*size > 0)).min(usize::from(cells));
        let sign = if look.glyphs.ascii || look.theme.is_mono() { ascii[at] } else { glyph };
        spans.push(Span::styled(sign.repeat(to - drawn), look.state(*state).style));
        drawn = to;
    }
    let track = if look.theme.track_is_background { " " } else { look.glyphs.track };
    spans.push(Span::styled(track.repeat(usize::from(cells) - drawn), look.theme.track));
    spans
}
