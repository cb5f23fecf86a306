//! Jobs: those that change caches, in the order they were asked for, with what came of them, and those that read just now.

use super::{place_title, trash};
use crate::error::Result;
use crate::model::filter::{self, Field, FieldKind, Value};
use crate::ops::copy::Moving;
use crate::progress::Counts;
use crate::tui::building::Transcript;
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::pace;
use crate::tui::screen::{
    Answer, Canvas, Confirmation, Context, Look, Mouse, Request, Screen, Search, age, bytes, count, thousands,
};
use crate::tui::shared::{Change, Job, PlaceId, Shared, Standing, Tone};
use crate::tui::widgets::bar::bar;
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use jiff::Timestamp;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::borrow::Cow;

mod by {
    pub const ID: u8 = 0;
    pub const STATE: u8 = 1;
}

const COLUMNS: [Column; 6] = [
    Column::new("id", Width::Cells(4)).right().sort(by::ID),
    Column::new("job", Width::Cells(13)),
    Column::new("location", Width::Shrinks(26, 12)),
    Column::new("state", Width::Cells(8)).sort(by::STATE),
    Column::new("progress", Width::Cells(18)).rank(2),
    Column::new("result", Width::Grows(16)).rank(1),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &[("id", by::ID), ("state", by::STATE)],
    falls: |by| by == by::ID,
    kinds: &[],
    fields: <JobRow as filter::Row>::fields,
    marks: false,
};

/// One job as it is shown. All safe text.
struct JobRow {
    id: u64,
    /// Whether it changes something, and so can be waited for.
    changes: bool,
    kind: &'static str,
    what: String,
    location: String,
    state: &'static str,
    progress: String,
    result: Vec<String>,
    /// The last run it became.
    undo: Option<String>,
    asked: Option<Timestamp>,
    counts: Counts,
    /// Blobs on their way.
    moving: Vec<Moving>,
    /// What a build said.
    said: Transcript,
    /// The job that tries it again.
    again: Option<u64>,
}

/// Blobs on their way that are told one by one.
const MOVING: usize = 6;

impl JobRow {
    /// Whether it ended before all was done.
    fn can_go_on(&self) -> bool {
        self.changes && matches!(self.state, "failed" | "partly")
    }

    /// Why it can't be tried again, if so.
    fn is_final(&self) -> Option<String> {
        match self.state {
            _ if !self.changes => Some("it reads only; what began it begins it again".to_owned()),
            "waits" | "runs" => Some("it is not over yet".to_owned()),
            _ if !self.can_go_on() => Some("all of it was done".to_owned()),
            _ => self.again.map(|again| format!("job {again} tries it again")),
        }
    }
}

impl filter::Row for JobRow {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("job", FieldKind::Text),
            Field::new("location", FieldKind::Text),
            Field::new("state", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        Some(Value::Text(Cow::Borrowed(match name {
            "job" => self.kind,
            "location" => &self.location,
            "state" => self.state,
            _ => return None,
        })))
    }

    fn text(&self) -> Cow<'_, str> {
        format!("{} {} {} {}", self.kind, self.location, self.state, self.result.join(" ")).into()
    }
}

/// The list of jobs.
pub struct JobList {
    listing: Listing<u64>,
    rows: Vec<JobRow>,
}

impl Default for JobList {
    fn default() -> Self {
        JobList::new()
    }
}

impl JobList {
    /// All jobs, the last first.
    pub fn new() -> JobList {
        JobList { listing: Listing::new(&SHAPE, by::ID), rows: Vec::new() }
    }

    fn current(&self) -> Option<&JobRow> {
        self.rows.get(self.listing.list.current()?)
    }

    /// All about the job under the cursor; of what it said as much as has room in `most` lines.
    fn details(&self, most: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(row) = self.current() else { return Vec::new() };
        let say = |label: &str, text: String| look.fact(label, vec![Span::raw(text)]);
        let mut lines = vec![say("job", format!("{} {}", row.kind, row.what)), say("location", row.location.clone())];
        if let Some(asked) = row.asked {
            lines.push(look.fact("asked", look.time(Some(asked))));
        }
        let mut state = vec![Span::raw(format!("{} {}", row.state, row.progress).trim_end().to_owned())];
        if row.state == "runs" && row.counts.bytes_total > 0 {
            state.push(Span::raw("  "));
            state.extend(bar(row.counts.bytes, row.counts.bytes_total, 24, look.theme, look.glyphs));
        }
        lines.push(look.fact("state", state));
        lines.extend(
            row.result.iter().enumerate().map(|(at, line)| say(if at == 0 { "result" } else { "" }, line.clone())),
        );
        for (at, blob) in row.moving.iter().take(MOVING).enumerate() {
            let mut parts = bar(blob.done, blob.size, 12, look.theme, look.glyphs).to_vec();
            let (done, size) = (look.bytes(blob.done), look.bytes(blob.size));
            parts.extend([Span::raw(format!("  {}  ", blob.digest.short())), look.dim(format!("{done} of {size}"))]);
            lines.push(look.fact(if at == 0 { "blobs" } else { "" }, parts));
        }
        if row.moving.len() > MOVING {
            lines.push(look.fact("", vec![look.dim(format!("and {} more", row.moving.len() - MOVING))]));
        }
        if let Some(again) = row.again {
            lines.push(say("again", format!("job {again} tries it again")));
        } else if row.can_go_on() {
            let how = match row.kind {
                "copy" => "A tries again; what arrived is not sent again",
                _ => "A tries again",
            };
            lines.push(say("again", how.to_owned()));
        }
        lines.extend(row.undo.iter().map(|run| say("undo", format!("u here, or cachedeck undo {run}"))));
        let said = row.said.last(most.saturating_sub(lines.len()));
        lines.extend(said.into_iter().enumerate().map(|(at, line)| say(if at == 0 { "says" } else { "" }, line)));
        lines
    }

    /// What is to be confirmed before what the job did is taken back, or why it can't be.
    fn undoing(&self, look: Look<'_>) -> std::result::Result<Confirmation, String> {
        let nothing = || "this job changed nothing that can be taken back".to_owned();
        let change = self.current().and_then(|row| look.shared.changes.get(row.id)).ok_or_else(nothing)?;
        let place = look.shared.places.get(change.place).ok_or_else(nothing)?;
        if let Some(why) = place.is_fixed() {
            return Err(why);
        }
        let runs = place.ledger.iter().flat_map(|ledger| &ledger.runs);
        let own: Vec<_> = runs.filter(|run| change.runs.contains(&run.id)).collect();
        // The last one first; they are listed so.
        let undone = own.iter().map(|run| trash::undoing(change.place, run, look));
        undone.reduce(|last, earlier| if last.is_ok() { last } else { earlier }).unwrap_or_else(|| Err(nothing()))
    }
}

fn of_change(change: &Change, shared: &Shared) -> JobRow {
    let counts = change.progress.counts();
    let progress = match (&change.state, counts.percent()) {
        (Standing::Runs, _) if change.progress.is_cancelled() => "stopping".to_owned(),
        (Standing::Runs, Some(percent)) => {
            let done = counts.items.min(counts.items_total);
            format!("{} of {} {percent}%", thousands(done), thousands(counts.items_total))
        }
        (Standing::Runs, None) if counts.items > 0 => thousands(counts.items),
        _ => String::new(),
    };
    let runs = change.state == Standing::Runs;
    JobRow {
        id: change.id,
        changes: true,
        kind: change.kind,
        what: change.what.clone(),
        location: place_title(shared, change.place),
        state: change.state.name(),
        progress,
        result: if runs { flow(change, shared) } else { change.state.lines().to_vec() },
        undo: change.runs.last().map(ToString::to_string),
        asked: Some(change.asked),
        counts,
        moving: if runs { change.traffic.now() } else { Vec::new() },
        said: change.said.clone(),
        again: change.again,
    }
}

/// Bytes of a change that runs, how fast they go, and how long that will take.
fn flow(change: &Change, shared: &Shared) -> Vec<String> {
    let counts = change.progress.counts();
    if counts.bytes_total == 0 {
        return change.said.last(1);
    }
    let done = counts.bytes.min(counts.bytes_total);
    let mut parts = vec![format!("{} of {}", bytes(done, shared), bytes(counts.bytes_total, shared))];
    if let Some(speed) = change.pace.speed(counts) {
        parts.push(format!("{}/s", bytes(speed.rate, shared)));
        parts.extend(speed.left.map(|left| format!("{} left", pace::words(left))));
    }
    vec![parts.join("  ")]
}

fn of_job(job: &Job, shared: &Shared) -> JobRow {
    let counts = job.progress.counts();
    JobRow {
        id: job.id,
        changes: false,
        kind: job.kind.doing(),
        what: String::new(),
        location: place_title(shared, job.place),
        state: "reads",
        progress: counts.percent().map_or_else(|| thousands(counts.items), |percent| format!("{percent}%")),
        result: Vec::new(),
        undo: None,
        asked: None,
        counts,
        moving: Vec::new(),
        said: Transcript::default(),
        again: None,
    }
}

fn cells<'a>(row: &'a JobRow, look: Look<'_>) -> Row<'a> {
    let style = match row.state {
        "done" => look.theme.verified,
        "failed" | "partly" => look.theme.missing,
        "runs" | "reads" => look.theme.focus,
        _ => look.theme.dim,
    };
    Row::from(vec![
        Cell::text(look.dim(row.id.to_string())),
        Cell::text(row.kind),
        Cell::name(row.location.as_str()),
        Cell::text(Span::styled(row.state, style)),
        Cell::text(row.progress.as_str()),
        Cell::text(row.result.join("; ")),
    ])
}

impl Screen for JobList {
    fn view(&self) -> View {
        View::Jobs
    }

    fn crumbs(&self, _shared: &Shared) -> Vec<String> {
        vec!["jobs".to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        // There are few, and how far they are changes all the time.
        let changes = shared.changes.all().iter().map(|change| of_change(change, shared));
        self.rows = changes.chain(shared.jobs.running().iter().map(|job| of_job(job, shared))).collect();
        let rows = &self.rows;
        let source = Source {
            len: rows.len(),
            key: &|n| rows[n].id,
            row: &|n| &rows[n],
            kind: &|_| true,
            order: &|by, a, b| match by {
                by::STATE => rows[a].state.cmp(rows[b].state),
                _ => rows[a].id.cmp(&rows[b].id),
            },
            now: shared.now,
        };
        self.listing.arrange(shared.revision, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right | Action::Info => {
                if self.current().is_some() {
                    cx.ask(Request::Show("job".to_owned(), self.details(usize::MAX, cx.look)));
                }
            }
            Action::Retry => {
                if let Some(row) = self.current() {
                    cx.ask(Request::Retry(row.id));
                }
            }
            Action::Undo => match self.undoing(cx.look) {
                Ok(asks) => cx.ask(Request::Confirm(Box::new(asks))),
                Err(why) => cx.say(Tone::Note, why),
            },
            Action::Interrupt => {
                let Some(row) = self.current() else { return false };
                let id = row.id;
                if !row.changes {
                    let Some(job) = cx.shared.jobs.by_id(id).filter(|job| !job.progress.is_cancelled()) else {
                        return false;
                    };
                    job.progress.cancel();
                    cx.say(Tone::Note, format!("{} is stopping", row.kind));
                    return true;
                }
                let Some(change) = cx.shared.changes.get(id) else { return false };
                if !change.is_open() || change.progress.is_cancelled() {
                    return false;
                }
                match change.state {
                    Standing::Waits => cx.say(Tone::Note, format!("{} was stopped before it began", row.kind)),
                    _ => cx.say(Tone::Note, format!("{} stops after its current step", row.kind)),
                }
                cx.ask(Request::Stop(id));
            }
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        Some(self.listing.text(&|n| cells(&self.rows[n], look)))
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        Some("jobs.txt".to_owned())
    }

    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>) {
        if self.listing.mouse(mouse) {
            self.act(Action::Open, cx);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let look = canvas.look;
        let below = if canvas.zoomed || area.height < 18 { 0 } else { area.height / 3 };
        let list = Rect { height: area.height - below, ..area };
        let rows = &self.rows;
        let empty = || match rows.is_empty() {
            true => {
                vec!["nothing runs, and nothing was changed".to_owned(), "P on a location plans a prune".to_owned()]
            }
            false => nothing_fits(),
        };
        let pane = Pane {
            number: Some(1),
            title: vec![Span::raw("jobs")],
            focused: !self.listing.on_preview,
            ..Pane::default()
        };
        self.listing.draw(list, pane, (&|n| cells(&rows[n], look), &empty), canvas);
        if below > 0 {
            let area = Rect { y: list.bottom(), height: below, ..area };
            let width = usize::from(area.width.saturating_sub(4)).max(8);
            let lines =
                crate::tui::widgets::textbox::reflow(&self.details(usize::from(below.saturating_sub(2)), look), width);
            self.listing.draw_preview(area, "details".to_owned(), &lines, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let open = shared.changes.open().count();
        let done = shared.changes.all().len() - open;
        let last =
            shared.changes.all().last().map(|change| format!("; last asked {} ago", age(shared.now, change.asked)));
        format!("{} to do, {done} over{}", count(open, "change"), last.unwrap_or_default())
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, _shared: &Shared) -> Option<String> {
        let row = self.current()?;
        match action {
            Action::YankRef | Action::YankPath => Some(row.location.clone()),
            Action::YankJson => Some(super::pretty(&serde_json::json!({
                "id": row.id,
                "job": row.kind,
                "location": row.location,
                "state": row.state,
                "result": row.result,
                "run": row.undo,
            }))),
            _ => None,
        }
    }

    fn command(&self, _shared: &Shared) -> Vec<String> {
        ["cachedeck", "log"].map(str::to_owned).to_vec()
    }

    fn place(&self) -> Option<PlaceId> {
        None
    }

    fn refuses(&self, action: Action, _shared: &Shared) -> Option<String> {
        let nothing = || Some("there is no job here".to_owned());
        match action {
            Action::Retry => self.current().map_or_else(nothing, JobRow::is_final),
            Action::Undo => match self.current() {
                None => nothing(),
                Some(row) if row.undo.is_none() => Some("this job changed nothing that can be taken back".to_owned()),
                Some(_) => None,
            },
            _ => None,
        }
    }
}
