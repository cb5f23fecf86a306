//! The records of a version: each cache key with its inputs and results.

use super::details::outcome_words;
use super::facts::Facts;
use super::{TABS, Tab};
use crate::error::Result;
use crate::model::filter;
use crate::model::rows::RecordRow;
use crate::model::text;
use crate::tui::keys::Action;
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Search, count};
use crate::tui::screens::{digest_lines, with_preview, wrapped};
use crate::tui::shared::Shared;
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

mod by {
    pub const NUMBER: u8 = 0;
    pub const STEP: u8 = 1;
    pub const INPUTS: u8 = 2;
    pub const USERS: u8 = 3;
    pub const SIZE: u8 = 4;
}

const ORDERS: [(&str, u8); 5] =
    [("number", by::NUMBER), ("step", by::STEP), ("inputs", by::INPUTS), ("users", by::USERS), ("size", by::SIZE)];

const COLUMNS: [Column; 7] = [
    Column::new("#", Width::Cells(5)).right().sort(by::NUMBER),
    Column::new("digest", Width::Shrinks(12, 8)),
    Column::new("result", Width::Grows(24)).sort(by::STEP),
    Column::new("inputs", Width::Cells(12)).rank(2).sort(by::INPUTS),
    Column::new("used by", Width::Cells(7)).right().rank(3).sort(by::USERS),
    Column::new("size", Width::Cells(10)).right().sort(by::SIZE),
    Column::new("age", Width::Cells(5)).right().rank(4),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| matches!(by, by::INPUTS | by::USERS | by::SIZE),
    kinds: &[],
    fields: <RecordRow<'_> as filter::Row>::fields,
    marks: true,
};

/// The tab.
pub(super) struct Records {
    listing: Listing<usize>,
}

impl Records {
    pub(super) fn new() -> Records {
        Records { listing: Listing::new(&SHAPE, by::NUMBER) }
    }

    /// The record under the cursor.
    pub(super) fn current(&self) -> Option<usize> {
        self.listing.list.current()
    }

    fn row(number: usize, facts: &Facts, look: Look<'_>) -> Row<'static> {
        let record = &facts.cache.records[number];
        let bytes = RecordRow { number, record, cache: &facts.cache, step: None }.bytes();
        let result = match (facts.top_of[number], facts.record_step(number)) {
            (None, _) => vec![look.dim("no result kept")],
            (Some(layer), Some(step)) => vec![look.dim(format!("#{layer} ")), Span::raw(step)],
            (Some(layer), None) => vec![look.dim(format!("#{layer} ")), facts.cache.layers[layer].blob.short().into()],
        };
        let gives = result.len() - 1;
        let links: Vec<String> = record
            .inputs
            .iter()
            .map(|alternatives| {
                let links: Vec<String> = alternatives.iter().take(2).map(|link| format!("#{}", link.record)).collect();
                let more = if alternatives.len() > 2 { "|.." } else { "" };
                format!("{}{more}", links.join("|"))
            })
            .collect();
        let inputs = if links.is_empty() { look.dim("root") } else { Span::raw(links.join(" ")) };
        let created = record.results.iter().filter_map(|outcome| match outcome {
            crate::model::cache::Outcome::Layer { created, .. }
            | crate::model::cache::Outcome::Chain { created, .. } => *created,
        });
        let dependents = facts.graph.dependents(number).len();
        let users = if dependents == 0 { look.dim("sink") } else { Span::raw(dependents.to_string()) };
        Row::from(vec![
            Cell::text(look.dim(number.to_string())),
            Cell::digest(record.digest.short()),
            Cell::of(result, gives, Cut::End),
            Cell::text(inputs),
            Cell::text(users),
            look.size(facts.top_of[number].map(|_| bytes)),
            look.age(created.max()),
        ])
    }
}

/// Everything known of one record.
pub(super) fn details(number: usize, facts: &Facts, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let Some(record) = facts.cache.records.get(number) else { return Vec::new() };
    let name = |record: usize| match facts.record_step(record) {
        Some(step) => format!("#{record} {step}"),
        None => format!("#{record} {}", facts.cache.records[record].digest.short()),
    };
    let mut lines = digest_lines("key", &record.digest, width, look);
    if record.inputs.is_empty() {
        lines.push(look.fact("inputs", vec![look.dim("none: it is a source")]));
    }
    for (at, alternatives) in record.inputs.iter().enumerate() {
        for (n, link) in alternatives.iter().enumerate() {
            let label = if n == 0 { format!("input {at}") } else { "  or".to_owned() };
            let room = width.saturating_sub(13);
            let says = text::fit_end(&name(link.record), room, look.glyphs.ellipsis).into_owned();
            lines.push(look.fact(&label, vec![look.dim(format!("{} ", look.glyphs.link)), says.into()]));
            if let Some(selector) = &link.selector {
                lines.extend(wrapped("", &format!("of it only {}", text::safe(selector)), width, look));
            }
        }
    }
    for outcome in &record.results {
        lines.extend(wrapped("result", &outcome_words(outcome), width, look));
        let (crate::model::cache::Outcome::Layer { created, .. } | crate::model::cache::Outcome::Chain { created, .. }) =
            outcome;
        lines.push(look.fact("", look.time(*created)));
    }
    if record.results.is_empty() {
        lines.push(look.fact("result", vec![look.dim("not kept")]));
    }
    let dependents = facts.graph.dependents(number);
    for (at, dependent) in dependents.iter().take(8).enumerate() {
        let says = text::fit_end(&name(*dependent), width.saturating_sub(10), look.glyphs.ellipsis).into_owned();
        lines.push(look.fact(if at == 0 { "used by" } else { "" }, vec![says.into()]));
    }
    if dependents.len() > 8 {
        lines.push(look.fact("", vec![look.dim(format!("and {} more", dependents.len() - 8))]));
    } else if dependents.is_empty() {
        lines.push(look.fact("used by", vec![look.dim("nothing: it is a result of the build")]));
    }
    lines
}

impl Tab for Records {
    fn refresh(&mut self, facts: &Facts, shared: &Shared) {
        if !self.listing.is_stale(facts.revision) {
            return;
        }
        let steps: Vec<Option<String>> = (0..facts.cache.records.len()).map(|r| facts.record_step(r)).collect();
        let row = |n: usize| RecordRow {
            number: n,
            record: &facts.cache.records[n],
            cache: &facts.cache,
            step: steps[n].as_deref(),
        };
        let source = Source {
            len: facts.cache.records.len(),
            key: &|n| n,
            row: &row,
            kind: &|_| true,
            order: &|by, a, b| match by {
                by::STEP => steps[a].cmp(&steps[b]),
                by::INPUTS => facts.cache.records[a].inputs.len().cmp(&facts.cache.records[b].inputs.len()),
                by::USERS => facts.graph.dependents(a).len().cmp(&facts.graph.dependents(b).len()),
                by::SIZE => row(a).bytes().cmp(&row(b).bytes()),
                _ => a.cmp(&b),
            },
            now: shared.now,
        };
        self.listing.arrange(facts.revision, &source);
    }

    fn act(&mut self, action: Action, facts: &Facts, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right | Action::Info => {
                if let Some(number) = self.current() {
                    cx.ask(Request::Show(format!("record #{number}"), details(number, facts, 96, cx.look)));
                }
            }
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _facts: &Facts, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn mouse(&mut self, mouse: Mouse, facts: &Facts, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.act(Action::Open, facts, cx);
        }
    }

    fn draw(&mut self, area: Rect, facts: &Facts, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let (list, preview) = if canvas.zoomed { (area, None) } else { with_preview(area, canvas.size, 38) };
        let pane = Pane { tabs: Some((&TABS, 2)), focused: !self.listing.on_preview, ..Pane::default() };
        let empty = || facts.nothing(look.shared).unwrap_or_else(nothing_fits);
        self.listing.draw(list, pane, (&|n| Records::row(n, facts, look), &empty), canvas);
        if let Some(area) = preview {
            let title = self.current().map_or("record".to_owned(), |number| format!("record #{number}"));
            let width = usize::from(area.width.saturating_sub(4));
            let lines = self.current().map_or_else(Vec::new, |n| details(n, facts, width, look));
            self.listing.draw_preview(area, title, &lines, canvas);
        }
    }

    fn status(&self, facts: &Facts, _shared: &Shared) -> String {
        let Some(s) = facts.index().and_then(|index| index.summary.as_ref()) else { return String::new() };
        format!(
            "{}  {} with a result  {}  {}  mode={}",
            count(s.records, "record"),
            s.records_with_result,
            count(s.roots, "root"),
            count(s.sinks, "sink"),
            s.mode.name()
        )
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, facts: &Facts, _shared: &Shared) -> Option<String> {
        let record = facts.cache.records.get(self.current()?)?;
        match action {
            Action::YankDigest => Some(record.digest.to_string()),
            Action::YankJson => {
                let link =
                    |l: &crate::model::cache::Link| serde_json::json!({"record": l.record, "selector": l.selector});
                let inputs: Vec<Vec<_>> = record.inputs.iter().map(|links| links.iter().map(link).collect()).collect();
                let results: Vec<_> = record.results.iter().map(|r| facts.cache.layers_of(r)).collect();
                Some(crate::tui::screens::pretty(
                    &serde_json::json!({"digest": record.digest, "inputs": inputs, "results": results}),
                ))
            }
            _ => None,
        }
    }

    fn text(&self, facts: &Facts, look: Look<'_>) -> String {
        self.listing.text(&|n| Records::row(n, facts, look))
    }
}
