//! What verifying found, or what loading saw already: how bad it is, about what, and what helps.

use super::{digest_lines, place_title, used_by, wrapped, yank_blob};
use crate::error::Result;
use crate::model::digest;
use crate::model::filter;
use crate::model::finding::{Finding, Severity};
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, age, bytes, count, thousands};
use crate::tui::shared::{JobKind, PlaceId, Shared, Target};
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::sync::Arc;

mod by {
    pub const SEVERITY: u8 = 0;
    pub const CODE: u8 = 1;
    pub const DIGEST: u8 = 2;
}

const ORDERS: [(&str, u8); 3] = [("severity", by::SEVERITY), ("what", by::CODE), ("digest", by::DIGEST)];

const COLUMNS: [Column; 4] = [
    Column::new("severity", Width::Cells(9)).sort(by::SEVERITY),
    Column::new("what", Width::Cells(14)).sort(by::CODE).rank(2),
    Column::new("digest", Width::Cells(12)).sort(by::DIGEST).rank(1),
    Column::new("finding", Width::Grows(20)),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &ORDERS,
    falls: |by| by == by::SEVERITY,
    kinds: &["all", "errors", "warnings", "notes"],
    fields: <&Finding as filter::Row>::fields,
    marks: false,
};

/// The findings of one place.
pub struct Findings {
    place: PlaceId,
    listing: Listing<usize>,
    findings: Arc<[Finding]>,
}

impl Findings {
    /// What was found in `place`.
    pub fn new(place: PlaceId) -> Findings {
        Findings { place, listing: Listing::new(&SHAPE, by::SEVERITY), findings: Arc::new([]) }
    }

    fn current(&self) -> Option<&Finding> {
        self.findings.get(self.listing.list.current()?)
    }

    fn details(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(finding) = self.current() else { return Vec::new() };
        let mut lines = wrapped("finding", &text::safe(&finding.message), width, look);
        if let Some(remedy) = &finding.remedy {
            lines.extend(wrapped("remedy", &text::safe(remedy), width, look));
        }
        if let Some(digest) = &finding.digest {
            lines.extend(digest_lines("digest", digest, width, look));
            let place = look.shared.places.get(self.place).and_then(|p| p.inventory.as_deref());
            if let Some(inventory) = place {
                lines.extend(wrapped("users", &used_by(inventory, digest, 20), width, look));
            }
        }
        lines
    }

    fn open(&self, cx: &mut Context<'_>) {
        let Some(digest) = self.current().and_then(|finding| finding.digest) else { return };
        let target = Target { place: self.place, digest };
        let known = cx.shared.places.get(self.place).and_then(|p| p.inventory.as_ref());
        if known.is_some_and(|inventory| inventory.blob(&digest).is_some()) {
            cx.ask(Request::Push(Box::new(super::blobs::Blobs::at(target.place, target.digest))));
        }
    }
}

fn row<'a>(finding: &'a Finding, look: Look<'_>) -> Row<'a> {
    let digest = finding.digest.map(|d| d.short()).unwrap_or_default();
    Row::from(vec![
        Cell::text(Span::styled(
            format!("{} {}", sign(finding.severity, look), finding.severity.name()),
            style(finding.severity, look),
        )),
        Cell::text(finding.problem.code().replace('_', " ")),
        Cell::text(look.dim(digest)),
        Cell::text(text::safe(&digest::shorten(&finding.message)).into_owned()),
    ])
}

fn sign(severity: Severity, look: Look<'_>) -> &'static str {
    match severity {
        Severity::Error => look.glyphs.missing,
        Severity::Warning => look.glyphs.finding,
        Severity::Note => look.glyphs.leaf,
    }
}

fn style(severity: Severity, look: Look<'_>) -> Style {
    match severity {
        Severity::Error => look.theme.missing,
        Severity::Warning => look.theme.finding,
        Severity::Note => look.theme.dim,
    }
}

impl Screen for Findings {
    fn view(&self) -> View {
        View::Findings
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), "findings".to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(place) = shared.places.get(self.place) else { return };
        if !self.listing.is_stale(place.revision) {
            return;
        }
        self.findings = match (&place.verified, &place.inventory) {
            (Some(verified), _) => verified.findings.clone(),
            (None, Some(inventory)) => {
                let seen = inventory.indexes.iter().flat_map(|index| &index.findings);
                inventory.warnings.iter().chain(seen).cloned().collect()
            }
            (None, None) => Arc::new([]),
        };
        let (findings, kinds) = (&self.findings, self.listing.kinds);
        let kind = |n: usize| match kinds {
            1 => findings[n].severity == Severity::Error,
            2 => findings[n].severity == Severity::Warning,
            3 => findings[n].severity == Severity::Note,
            _ => true,
        };
        let source = Source {
            len: findings.len(),
            key: &|n| n,
            row: &|n| &findings[n],
            kind: &kind,
            order: &|by, a, b| {
                let (a, b) = (&findings[a], &findings[b]);
                match by {
                    by::CODE => a.problem.cmp(&b.problem),
                    by::DIGEST => a.digest.cmp(&b.digest),
                    _ => a.severity.cmp(&b.severity),
                }
            },
            now: shared.now,
        };
        self.listing.arrange(place.revision, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(cx),
            Action::Info => cx.ask(Request::Show("finding".to_owned(), self.details(96, cx.look))),
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        Some(self.listing.text(&|n| row(&self.findings[n], look)))
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        Some("findings.txt".to_owned())
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.open(cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let below = if canvas.zoomed || area.height < 14 { 0 } else { 8 };
        let list = Rect { height: area.height - below, ..area };
        let (findings, place) = (&self.findings, self.place);
        let empty = || {
            let known = look.shared.places.get(place);
            if !findings.is_empty() {
                nothing_fits()
            } else if look.shared.jobs.get(JobKind::Verify, place).is_some() {
                vec!["verifying".to_owned()]
            } else if known.is_some_and(|place| place.verified.is_some()) {
                vec![format!("{} nothing wrong", look.glyphs.verified)]
            } else {
                vec!["nothing wrong as far as loading saw".to_owned(), "V looks closer".to_owned()]
            }
        };
        let focused = !self.listing.on_preview;
        let pane = Pane { number: Some(1), title: vec![Span::raw("findings")], focused, ..Pane::default() };
        self.listing.draw(list, pane, (&|n| row(&findings[n], look), &empty), canvas);
        if below > 0 {
            let area = Rect { y: list.bottom(), height: below, ..area };
            let lines = self.details(usize::from(area.width.saturating_sub(4)), look);
            self.listing.draw_preview(area, "details".to_owned(), &lines, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let Some(place) = shared.places.get(self.place) else { return String::new() };
        match &place.verified {
            Some(v) => format!(
                "{} in {}, level {}, {} hashed, {} ago",
                count(v.findings.len(), "finding"),
                count(v.blobs, "blob"),
                v.level.name(),
                bytes(v.hashed, shared),
                age(shared.now, v.at)
            ),
            None => format!("{} from loading; not verified yet", thousands(self.findings.len() as u64)),
        }
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        let finding = self.current()?;
        if action == Action::YankJson {
            return serde_json::to_string_pretty(finding).ok();
        }
        yank_blob(action, shared, Target { place: self.place, digest: finding.digest? })
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let place = shared.places.get(self.place);
        let level = place.and_then(|p| p.verified.as_ref()).map_or("exists", |v| v.level.name());
        let mut words: Vec<String> = ["cachedeck", "verify", "--level", level].map(str::to_owned).to_vec();
        words.extend(place.map(|place| place.location.to_string()));
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }
}
