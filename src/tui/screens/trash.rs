//! The trash of a location: what runs hid and have not freed yet, until when it can come back, and the runs before.

use super::{nothing_yet, place_title, pretty};
use crate::error::Result;
use crate::model::filter::{self, Field, FieldKind, Value};
use crate::model::run::{Phase, Run};
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::list::Source;
use crate::tui::listing::{Listing, Shape, nothing_fits};
use crate::tui::screen::{
    Answer, Canvas, Changing, Confirmation, Context, Look, Mouse, Request, Screen, Search, age, bytes, count, thousands,
};
use crate::tui::shared::{PlaceId, Shared, Tone};
use crate::tui::widgets::cell::Cell;
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::table::{Column, Row, Width};
use crate::tui::widgets::textbox;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::borrow::Cow;

mod by {
    pub const AGE: u8 = 0;
    pub const BYTES: u8 = 1;
    pub const STATE: u8 = 2;
}

const COLUMNS: [Column; 7] = [
    Column::new("when", Width::Cells(6)).right().sort(by::AGE),
    Column::new("what", Width::Cells(7)),
    Column::new("state", Width::Cells(8)).sort(by::STATE),
    Column::new("blobs", Width::Cells(9)).right().rank(2),
    Column::new("bytes", Width::Cells(10)).right().sort(by::BYTES),
    Column::new("free after", Width::Cells(16)),
    Column::new("run", Width::Grows(22)).rank(3),
];

const SHAPE: Shape = Shape {
    columns: &COLUMNS,
    orders: &[("age", by::AGE), ("bytes", by::BYTES), ("state", by::STATE)],
    falls: |by| by != by::STATE,
    kinds: &["hidden", "all"],
    fields: <RunRow<'_> as filter::Row>::fields,
    marks: false,
};

struct RunRow<'a>(&'a Run);

impl filter::Row for RunRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("what", FieldKind::Text),
            Field::new("state", FieldKind::Text),
            Field::new("run", FieldKind::Text),
            Field::new("bytes", FieldKind::Size),
            Field::new("age", FieldKind::Time),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let run = self.0;
        Some(match name {
            "what" => Value::Text(run.purpose.name().into()),
            "state" => Value::Text(run.phase.name().into()),
            "run" => Value::Text(run.id.as_str().into()),
            "bytes" => Value::Size(run.hidden_bytes),
            "age" => Value::Time(run.begun),
            _ => return None,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        format!("{} {} {}", self.0.purpose.name(), self.0.phase.name(), self.0.id).into()
    }
}

/// The trash of one place.
pub struct Trash {
    place: PlaceId,
    listing: Listing<usize>,
    runs: Vec<Run>,
}

impl Trash {
    /// That of `place`.
    pub fn new(place: PlaceId) -> Trash {
        Trash { place, listing: Listing::new(&SHAPE, by::AGE), runs: Vec::new() }
    }

    fn current(&self) -> Option<&Run> {
        self.runs.get(self.listing.list.current()?)
    }

    /// Lets the user confirm that a run is taken back.
    fn undo(&self, cx: &mut Context<'_>) {
        let Some(run) = self.current() else { return };
        match undoing(self.place, run, cx.look) {
            Ok(asks) => cx.ask(Request::Confirm(Box::new(asks))),
            Err(why) => cx.say(Tone::Note, why),
        }
    }

    /// Lets the user confirm that what a run hid is freed.
    fn empty(&self, cx: &mut Context<'_>) {
        let Some(run) = self.current() else { return };
        if !run.is_open() {
            return cx.say(Tone::Note, "nothing of this run is hidden any more");
        }
        let lines = vec![
            Line::from(format!("{}, {}, go for good", count(run.hidden, "blob"), cx.look.bytes(run.hidden_bytes))),
            Line::from("there is no undo after this; what a version needs by now comes back instead"),
            Line::from(
                "a build that was writing when they were hidden may still count on them until they have settled",
            ),
        ];
        let title = place_title(cx.shared, self.place);
        let answer = Answer::Change(self.place, Box::new(Changing::Empty(Some(run.id.clone()))));
        cx.ask(Request::Confirm(Box::new(Confirmation {
            title: format!("empty the trash of {title}"),
            lines,
            name: cx.shared.places.get(self.place).map(|place| place.name.clone()),
            verb: "empty",
            answer,
        })));
    }

    fn details(&self, look: Look<'_>) -> Vec<Line<'static>> {
        let Some(run) = self.current() else { return Vec::new() };
        let say = |label: &str, text: String| look.fact(label, vec![Span::raw(text)]);
        let mut lines = vec![
            say("run", run.id.to_string()),
            look.fact("begun", look.time(Some(run.begun))),
            say("state", standing(run)),
        ];
        if run.hidden > 0 {
            lines.push(say("hidden", format!("{}, {}", count(run.hidden, "blob"), look.bytes(run.hidden_bytes))));
        }
        if let Some(due) = run.due() {
            lines.push(look.fact("due", look.time(Some(due))));
        }
        if run.freed > 0 {
            lines.push(say("freed", format!("{}, {}", count(run.freed, "blob"), look.bytes(run.freed_bytes))));
        }
        if run.restored > 0 {
            lines.push(say("back", format!("{}, as something needs them", count(run.restored, "blob"))));
        }
        if run.names > 0 {
            lines.push(say("names", format!("{} changed", names(run))));
        }
        lines.extend(
            run.failures
                .iter()
                .map(|why| look.fact("failed", vec![Span::styled(text::safe(why).into_owned(), look.theme.missing)])),
        );
        let undo = fixed(run).unwrap_or_else(|| format!("u here, or cachedeck undo {}", run.id));
        lines.push(say("undo", undo));
        lines
    }
}

fn names(run: &Run) -> String {
    count(run.names, "name")
}

/// What is to be confirmed before a run of `place` is taken back, or why it can't be.
pub fn undoing(place: PlaceId, run: &Run, look: Look<'_>) -> std::result::Result<Confirmation, String> {
    if let Some(why) = fixed(run) {
        return Err(why);
    }
    let mut lines = Vec::new();
    if run.hidden > 0 {
        let hid = count(run.hidden, "blob");
        lines.push(Line::from(format!("{hid}, {}, come back", look.bytes(run.hidden_bytes))));
    }
    if run.names > 0 {
        lines.push(Line::from(format!("{} changed lead back; those that lead elsewhere by now stay", names(run))));
    }
    let title = format!("undo this {} of {} ago", run.purpose.name(), age(look.shared.now, run.begun));
    let answer = Answer::Change(place, Box::new(Changing::Undo(run.id.clone())));
    Ok(Confirmation { title, lines, name: None, verb: "undo", answer })
}

/// Why a run can't be taken back, if so.
fn fixed(run: &Run) -> Option<String> {
    match run.phase {
        Phase::Undone(_) => Some("this run was undone".to_owned()),
        Phase::Done(_) if run.freed > 0 => Some("what this run hid is freed: it can't come back".to_owned()),
        Phase::Done(_) if run.names == 0 => Some("this run left nothing that can be taken back".to_owned()),
        _ => None,
    }
}

fn standing(run: &Run) -> String {
    match run.phase {
        Phase::Applying => "it broke off, or goes on just now; the next change here leads it to its end".to_owned(),
        phase => phase.name().to_owned(),
    }
}

fn cells<'a>(run: &'a Run, look: Look<'_>) -> Row<'a> {
    let now = look.shared.now;
    let style = match run.phase {
        Phase::Applying => look.theme.finding,
        Phase::Hidden(_) => look.theme.dangling,
        Phase::Done(_) | Phase::Undone(_) => look.theme.dim,
    };
    let due = match run.due() {
        Some(due) if due > now => age(now, due),
        Some(_) => "with the next run".to_owned(),
        None if run.freed > 0 => "freed".to_owned(),
        None => look.dash().to_owned(),
    };
    let hides = run.hidden > 0;
    Row::from(vec![
        look.age(Some(run.begun)),
        Cell::text(run.purpose.name()),
        Cell::text(Span::styled(run.phase.name(), style)),
        Cell::text(if hides { thousands(run.hidden) } else { String::new() }),
        look.size(Some(run.hidden_bytes).filter(|_| hides)),
        Cell::text(due),
        Cell::text(look.dim(run.id.to_string())),
    ])
}

impl Screen for Trash {
    fn view(&self) -> View {
        View::Trash
    }

    fn crumbs(&self, shared: &Shared) -> Vec<String> {
        vec![place_title(shared, self.place), "trash".to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        let Some(place) = shared.places.get(self.place) else { return };
        if !self.listing.is_stale(place.revision) {
            return;
        }
        self.runs = place.ledger.iter().flat_map(|ledger| &ledger.runs).cloned().collect();
        let (runs, kinds) = (&self.runs, self.listing.kinds);
        let source = Source {
            len: runs.len(),
            key: &|n| n,
            row: &|n| RunRow(&runs[n]),
            kind: &|n| kinds == 1 || runs[n].is_open(),
            order: &|by, a, b| match by {
                by::BYTES => runs[a].hidden_bytes.cmp(&runs[b].hidden_bytes),
                by::STATE => runs[a].phase.name().cmp(runs[b].phase.name()),
                _ => runs[a].id.cmp(&runs[b].id),
            },
            now: shared.now,
        };
        self.listing.arrange(place.revision, &source);
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        match action {
            Action::Open | Action::Right | Action::Info => {
                if self.current().is_some() {
                    cx.ask(Request::Show("run".to_owned(), self.details(cx.look)));
                }
            }
            Action::Undo => self.undo(cx),
            Action::Empty => self.empty(cx),
            _ => return self.listing.act(action, cx),
        }
        true
    }

    fn answer(&mut self, answer: Answer, _cx: &mut Context<'_>) -> Result<()> {
        self.listing.answer(&answer)
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        Some(self.listing.text(&|n| cells(&self.runs[n], look)))
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        Some("trash.txt".to_owned())
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
        let place = look.shared.places.get(self.place);
        let ledger = place.and_then(|place| place.ledger.as_ref());
        let runs = &self.runs;
        let at = self.place;
        let kinds = self.listing.kinds;
        let empty = || match ledger {
            None => nothing_yet(look.shared, place, at),
            Some(ledger) => match &ledger.problem {
                Some(problem) => vec![problem.clone()],
                None if runs.is_empty() => {
                    vec![
                        "nothing was changed here".to_owned(),
                        "P plans a prune; what it hides is here then".to_owned(),
                    ]
                }
                None if kinds == 0 => vec!["nothing is hidden".to_owned(), "T shows all runs".to_owned()],
                None => nothing_fits(),
            },
        };
        let hidden: u64 = runs.iter().filter(|run| run.is_open()).map(|run| run.hidden_bytes).sum();
        let title = format!("trash {} {} hidden", look.glyphs.dot, look.bytes(hidden));
        let pane = Pane {
            number: Some(1),
            title: vec![Span::raw(title)],
            focused: !self.listing.on_preview,
            ..Pane::default()
        };
        self.listing.draw(list, pane, (&|n| cells(&runs[n], look), &empty), canvas);
        if below > 0 {
            let area = Rect { y: list.bottom(), height: below, ..area };
            let width = usize::from(area.width.saturating_sub(4)).max(8);
            let lines = textbox::reflow(&self.details(look), width);
            self.listing.draw_preview(area, "details".to_owned(), &lines, canvas);
        }
    }

    fn status(&self, shared: &Shared) -> String {
        let open: Vec<&Run> = self.runs.iter().filter(|run| run.is_open()).collect();
        let hidden: u64 = open.iter().map(|run| run.hidden_bytes).sum();
        format!(
            "{} hidden by {}; it takes its space until it is freed",
            bytes(hidden, shared),
            count(open.len(), "run")
        )
    }

    fn search(&self) -> Search<'_> {
        self.listing.search()
    }

    fn yank(&self, action: Action, _shared: &Shared) -> Option<String> {
        let run = self.current()?;
        match action {
            Action::YankRef | Action::YankPath => Some(run.id.to_string()),
            Action::YankJson => Some(pretty(&serde_json::to_value(run).ok()?)),
            _ => None,
        }
    }

    fn command(&self, shared: &Shared) -> Vec<String> {
        let mut words = ["cachedeck", "trash", "ls"].map(str::to_owned).to_vec();
        words.extend(shared.places.get(self.place).map(|place| place.location.to_string()));
        words
    }

    fn place(&self) -> Option<PlaceId> {
        Some(self.place)
    }

    fn word(&self, action: Action) -> Option<&'static str> {
        (action == Action::Undo).then_some("restore")
    }
}
