//! What verifying found, or what loading saw already: how bad it is, about what, and what helps.

use super::{
    ask_file, filter_note, kinds_menu, list_answer, nothing_fits, place_title, plain, sort_menu, wrapped, yank_blob,
};
use crate::error::Result;
use crate::model::filter;
use crate::model::finding::{Finding, Severity};
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::list::{Clicked, List, Source};
use crate::tui::screen::{
    Answer, Canvas, Context, Look, Mouse, Request, Screen, Search, Work, age, bytes, count, location_word, thousands,
};
use crate::tui::shared::{JobKind, PlaceId, Shared, Target};
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Table, Width};
use crate::tui::widgets::textbox::Scroll;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::path::PathBuf;
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

const KINDS: [&str; 4] = ["all", "errors", "warnings", "notes"];

/// The findings of one place.
pub struct Findings {
    place: PlaceId,
    list: List<usize>,
    findings: Arc<[Finding]>,
    kinds: u8,
    scroll: Scroll,
    seen: Option<u64>,
}

impl Findings {
    /// What was found in `place`.
    pub fn new(place: PlaceId) -> Findings {
        Findings {
            place,
            list: List::new(by::SEVERITY, |by| by == by::SEVERITY),
            findings: Arc::new([]),
            kinds: 0,
            scroll: Scroll::default(),
            seen: None,
        }
    }

    fn current(&self) -> Option<&Finding> {
        self.findings.get(self.list.current()?)
    }

    fn row<'a>(&'a self, finding: &'a Finding, look: Look<'_>) -> Row<'a> {
        let digest = finding.digest.map(|d| d.short()).unwrap_or_default();
        Row::from(vec![
            Cell::text(Span::styled(
                format!("{} {}", sign(finding.severity, look), finding.severity.name()),
                style(finding.severity, look),
            )),
            Cell::text(finding.problem.code().replace('_', " ")),
            Cell::text(look.dim(digest)),
            Cell::text(text::safe(&super::short_digests(&finding.message)).into_owned()),
        ])
    }

    fn details(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(finding) = self.current() else { return Vec::new() };
        let mut lines = wrapped("finding", &text::safe(&finding.message), width, look);
        if let Some(remedy) = &finding.remedy {
            lines.extend(wrapped("remedy", &text::safe(remedy), width, look));
        }
        if let Some(digest) = &finding.digest {
            lines.extend(super::digest_lines("digest", digest, width, look));
            let place = look.shared.places.get(self.place).and_then(|p| p.inventory.as_deref());
            if let Some(inventory) = place {
                lines.extend(wrapped("users", &super::used_by(inventory, digest, 20), width, look));
            }
        }
        lines
    }

    fn text(&self, look: Look<'_>) -> String {
        let row = |n: usize| {
            let finding = self.list.source(n).and_then(|n| self.findings.get(n));
            finding.map_or_else(Row::default, |finding| self.row(finding, look))
        };
        plain(&COLUMNS, self.list.len(), &row)
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
        if self.seen == Some(place.revision) {
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
        let (findings, kinds) = (&self.findings, self.kinds);
        let kind = |n: usize| match kinds {
            1 => findings[n].severity == Severity::Error,
            2 => findings[n].severity == Severity::Warning,
            3 => findings[n].severity == Severity::Note,
            _ => true,
        };
        self.list.arrange(&Source {
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
        });
        self.seen = Some(place.revision);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right => self.open(cx),
            Action::PreviewDown => self.scroll.step(1, usize::MAX),
            Action::PreviewUp => self.scroll.step(-1, usize::MAX),
            Action::Sort => cx.ask(sort_menu(&ORDERS, self.list.sort)),
            Action::Kinds => cx.ask(kinds_menu(&KINDS, self.kinds)),
            Action::Info => cx.ask(Request::Show("finding".to_owned(), self.details(96, cx.look))),
            Action::Pager => cx.ask(Request::Page(self.text(cx.look))),
            Action::Export => cx.ask(ask_file("findings.txt")),
            Action::Escape => {
                self.seen = None;
                if self.kinds != 0 {
                    self.kinds = 0;
                    return true;
                }
                return self.list.escape();
            }
            _ => {
                let sort = self.list.sort;
                let acted = self.list.act(action, &|n| n);
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
                let text = self.text(cx.look);
                cx.ask(Request::Work(self.place, Work::Save { path: PathBuf::from(path), text }));
            }
            other => {
                list_answer(&mut self.list, &other, <&Finding as filter::Row>::fields())?;
            }
        }
        self.seen = None;
        Ok(())
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        match self.list.mouse(mouse, &|n| n) {
            Clicked::Opened => self.open(cx),
            Clicked::Sorted => self.seen = None,
            Clicked::Moved | Clicked::Nothing => {}
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let below = if canvas.zoomed || area.height < 14 { 0 } else { 8 };
        let list_area = Rect { height: area.height - below, ..area };
        let pane = Pane {
            title: vec![Span::raw("findings")],
            note: filter_note(&self.list, look),
            position: self.list.position(),
            focused: true,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, list_area);
        if self.list.is_empty() {
            let place = look.shared.places.get(self.place);
            let lines = if !self.findings.is_empty() {
                nothing_fits()
            } else if look.shared.jobs.get(JobKind::Verify, self.place).is_some() {
                vec!["verifying".to_owned()]
            } else if place.is_some_and(|place| place.verified.is_some()) {
                vec![format!("{} nothing wrong", look.glyphs.verified)]
            } else {
                vec!["nothing wrong as far as loading saw".to_owned(), "V looks closer".to_owned()]
            };
            canvas.nothing(&lines, inner);
        } else {
            let mut state = std::mem::take(&mut self.list.state);
            let row = |n: usize| {
                let finding = self.list.source(n).and_then(|n| self.findings.get(n));
                finding.map_or_else(Row::default, |finding| self.row(finding, look))
            };
            let (len, sort) = (self.list.len(), Some(self.list.sort));
            let table = Table { columns: &COLUMNS, len, row: &row, sort, focused: true, marks: false, stacked: false };
            canvas.table(table, inner, &mut state);
            self.list.state = state;
        }
        if below > 0 {
            let pane = Pane { title: vec![Span::raw("details")], ..Pane::default() };
            let inner = canvas.pane(&pane, Rect { y: list_area.bottom(), height: below, ..area });
            let lines = self.details(usize::from(inner.width), look);
            canvas.lines(&lines, inner, &mut self.scroll);
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
        let text = self.list.filter_text().to_owned();
        Search { fields: <&Finding as filter::Row>::fields(), text, hides: true }
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
        words.extend(place.map(|place| location_word(&place.location)));
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }

    fn target(&self, _shared: &Shared) -> Option<Target> {
        None
    }
}
