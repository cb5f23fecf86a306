//! What a screen is: it answers to actions, arranges what it shows, and draws. It never loads, waits or writes; for
//! that it hands out requests.

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::filter::Field;
use crate::model::inventory::State;
use crate::model::location::Location;
use crate::model::pin::Pin;
use crate::model::plan::{Plan, Purpose, RunId};
use crate::model::text;
use crate::model::units::{self, Bytes};
use crate::ops::prune::Wish;
use crate::ops::verify::Level;
use crate::tui::building::Building;
use crate::tui::contents::{Chain, File};
use crate::tui::copying::Copying;
use crate::tui::glyphs::Glyphs;
use crate::tui::keys::{Action, View};
use crate::tui::shared::{PlaceId, Shared, Target, Tone};
use crate::tui::theme::Theme;
use crate::tui::widgets::cell::{Cell, Cut, Ink};
use crate::tui::widgets::frame::{Pane, thumb};
use crate::tui::widgets::header::spinner;
use crate::tui::widgets::picker::Choice;
use crate::tui::widgets::table::{Table, TableState};
use crate::tui::widgets::textbox::{self, Scroll};
use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::path::PathBuf;
use std::sync::Arc;

/// One screen.
pub trait Screen {
    /// What has the focus: which keys are valid.
    fn view(&self) -> View;

    /// Where one is, outermost first. Safe text.
    fn crumbs(&self, shared: &Shared) -> Vec<String>;

    /// What it needs to have read when it opens.
    fn begin(&self, _shared: &Shared) -> Option<Request> {
        None
    }

    /// Arranges rows after data, filter or order changed. Called before drawing, whenever that may be so.
    fn refresh(&mut self, shared: &Shared);

    /// Does what `action` says; `false` if that means nothing here now.
    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool;

    /// Takes what the user chose or typed. `Err` is shown beside what was typed.
    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Result<()>;

    /// What it shows as plain text, for the pager and for files.
    fn text(&self, _look: Look<'_>) -> Option<String> {
        None
    }

    /// What a file of it would be called; `None` where there is nothing to write.
    fn file_name(&self, _shared: &Shared) -> Option<String> {
        None
    }

    /// The work of writing it to `path`.
    fn save(&self, path: PathBuf, look: Look<'_>) -> Option<Work> {
        self.text(look).map(|text| Work::Save { path, text })
    }

    /// Follows the mouse.
    fn mouse(&mut self, mouse: Mouse, cx: &mut Context<'_>);

    /// Draws itself.
    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>);

    /// What it holds, in a line.
    fn status(&self, shared: &Shared) -> String;

    /// What `/` searches: fields of the filter language, or none where text is found.
    fn search(&self) -> Search<'_>;

    /// What one of the yank actions copies, and what that is called.
    fn yank(&self, action: Action, shared: &Shared) -> Option<String>;

    /// The same thing on the command line.
    fn command(&self, shared: &Shared) -> Vec<String>;

    /// The location it is about.
    fn place(&self) -> Option<PlaceId>;

    /// The version it is about, or the one under the cursor.
    fn target(&self, _shared: &Shared) -> Option<Target> {
        None
    }

    /// The versions that are meant: those marked, else the one it is about.
    fn chosen(&self, shared: &Shared) -> Vec<Target> {
        self.target(shared).into_iter().collect()
    }

    /// What the plan that it shows is for.
    fn purpose(&self) -> Option<Purpose> {
        None
    }

    /// Why `action` means nothing to the row under the cursor, if so.
    fn refuses(&self, _action: Action, _shared: &Shared) -> Option<String> {
        None
    }

    /// A word for the footer where the table's own says too little.
    fn word(&self, _action: Action) -> Option<&'static str> {
        None
    }
}

/// What `/` does on a screen.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// Fields that can be compared; empty where plain text is found.
    pub fields: &'a [Field],
    /// What is searched now.
    pub text: String,
    /// Whether rows that do not fit are hidden.
    pub hides: bool,
}

/// What a screen works with while it answers.
pub struct Context<'a> {
    /// The data.
    pub shared: &'a Shared,
    /// How things look.
    pub look: Look<'a>,
    /// What is to be done.
    pub requests: Vec<Request>,
}

impl Context<'_> {
    /// Asks for `request`.
    pub fn ask(&mut self, request: Request) {
        self.requests.push(request);
    }

    /// Says something in the status line and the log. `text` must be safe.
    pub fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.requests.push(Request::Say(tone, text.into()));
    }
}

/// What a screen wants done.
pub enum Request {
    /// Show another screen on top.
    Push(Box<dyn Screen>),
    /// Go back.
    Back,
    /// Say something.
    Say(Tone, String),
    /// Let the user choose; the answer comes back to the screen.
    Menu(String, Vec<Choice<Answer>>, usize),
    /// Let the user type.
    Type(Question, String),
    /// Show text in a box.
    Show(String, Vec<Line<'static>>),
    /// Start reading or writing.
    Work(PlaceId, Work),
    /// Show text in the user's pager.
    Page(String),
    /// Remember the base of comparisons.
    Base(Target),
    /// Want something else changed at a place; a plan is made of it, and no more.
    Want(PlaceId, Box<Wish>),
    /// Want what was wanted before.
    Unwant(PlaceId, Purpose),
    /// Want again what was taken back.
    Rewant(PlaceId, Purpose),
    /// Make the plan anew if it is not of what is wanted.
    Plan(PlaceId, Purpose),
    /// Let the user confirm something that changes a place.
    Confirm(Box<Confirmation>),
    /// Let the user fill in what a pin needs.
    AskPin(Target, String),
    /// Stop a change.
    Stop(u64),
    /// Try a change again that failed.
    Retry(u64),
}

/// What is to be confirmed.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// What it is about, as the box's title.
    pub title: String,
    /// What happens, line by line. Safe text.
    pub lines: Vec<Line<'static>>,
    /// What must be typed; without it choosing the verb is enough.
    pub name: Option<String>,
    /// What is done, in a word.
    pub verb: &'static str,
    /// What that means.
    pub answer: Answer,
}

/// What is to be typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// What to filter by or find; told as it is typed.
    Search,
    /// A location to add.
    Location,
    /// A location to copy to.
    Destination,
    /// A location to fetch from what is missing.
    Source,
    /// A folder to extract into.
    Folder,
    /// A file to write to.
    File,
    /// A name to find in all layers.
    Pattern,
    /// The value of a rule.
    Rule(Rule),
}

/// What the user chose or typed.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Do this.
    Act(Action),
    /// Order by this column.
    Sort(u8),
    /// Show one kind only; 0 is all.
    Kinds(u8),
    /// Verify this closely.
    Verify(Level),
    /// Go there.
    Jump(Jump),
    /// Use this theme.
    Theme(&'static str),
    /// Search for this.
    Search(String),
    /// Add this location.
    Location(String),
    /// Copy to this place.
    CopyTo(Box<Location>),
    /// Type where to copy to.
    CopyElsewhere,
    /// Copy to what was typed.
    Destination(String),
    /// Fetch what is missing from there, or from nowhere.
    RepairFrom(Option<Box<Location>>),
    /// Type where to fetch from.
    RepairElsewhere,
    /// Fetch from what was typed.
    Source(String),
    /// Extract into this folder.
    Folder(String),
    /// Write to this file.
    File(String),
    /// Find this in all layers.
    Pattern(String),
    /// Give a rule this value.
    Rule(Rule, String),
    /// Do this, that was confirmed.
    Change(PlaceId, Box<Changing>),
    /// Pin a version: the name, until when, and what for, as typed.
    Pin(Target, [String; 3]),
    /// Stop what changes caches after the current step, and quit.
    StopAndQuit,
}

/// A rule of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are those of the policy")]
pub enum Rule {
    KeepLast,
    KeepWithin,
    KeepHourly,
    KeepDaily,
    KeepWeekly,
    KeepMonthly,
    KeepNames,
    KeepPins,
    KeepNone,
    MaxSize,
    GroupBy,
    Sweep,
    Grace,
    Settle,
    Exclusive,
    MaxDelete,
    MaxDeleteSize,
}

/// Where to jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// To a location.
    Place(PlaceId),
    /// To a version.
    Index(Target),
    /// To a layer of a version, by its entry.
    Layer(Target, usize),
    /// To a blob.
    Blob(Target),
}

/// Work for a job.
#[derive(Clone, Debug)]
pub enum Work {
    /// Load the location.
    Load,
    /// Verify it.
    Verify(Level),
    /// Read manifest and config of a version as written.
    Raw {
        /// Which version.
        digest: Digest,
        /// Its config, where it is a blob of its own.
        config: Option<Digest>,
    },
    /// List the files of a layer, or of a chain of layers merged.
    Files(Chain),
    /// Read the beginning of a file.
    Peek(File),
    /// Read a file and show it in the user's pager.
    Page(File),
    /// Look for a file in all layers of the location, or in those of one version.
    Find {
        /// As typed.
        pattern: String,
        /// The version.
        scope: Option<Digest>,
    },
    /// Extract a file or directory of a layer.
    Extract {
        /// The layer.
        layer: Digest,
        /// The name in it, as written.
        path: Vec<u8>,
        /// The folder to extract into.
        folder: PathBuf,
    },
    /// Write `text` to a new file.
    Save {
        /// Where to.
        path: PathBuf,
        /// What.
        text: String,
    },
    /// Plan a change.
    Plan(Box<Wish>),
    /// Check a build against its builder.
    Check(Box<Building>),
    /// See what a copy would come to.
    Estimate(Box<Copying>),
    /// Change the place.
    Change(Box<Changing>),
    /// Copy a blob as it is stored to a new file.
    SaveBlob {
        /// Where to.
        path: PathBuf,
        /// Which.
        digest: Digest,
    },
}

/// What changes a place.
#[derive(Clone, Debug, PartialEq)]
pub enum Changing {
    /// Apply a plan; what it fetches comes from that place.
    Apply(Arc<Plan>, Option<Box<Location>>),
    /// Take a run back.
    Undo(RunId),
    /// Free what a run hid, or all runs.
    Empty(Option<RunId>),
    /// Keep a version under a name, and prove it.
    Pin(Digest, Pin),
    /// Take a pin away.
    Unpin(String),
    /// Bring versions here from another place.
    Copy(Box<Copying>),
    /// Build with a version that is here, and perhaps export to here.
    Build(Box<Building>),
}

impl Changing {
    /// What it does, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Changing::Apply(plan, _) => plan.purpose.name(),
            Changing::Undo(_) => "undo",
            Changing::Empty(_) => "empty",
            Changing::Pin(..) => "pin",
            Changing::Unpin(_) => "unpin",
            Changing::Copy(_) => "copy",
            Changing::Build(_) => "build",
        }
    }

    /// What it does, in a line. Safe text.
    pub fn what(&self) -> String {
        match self {
            Changing::Apply(plan, _) => {
                let gone = count(plan.targets().count(), "blob");
                format!("{} steps, {gone} hidden", plan.steps.len())
            }
            Changing::Undo(run) => format!("run {run}"),
            Changing::Empty(Some(run)) => format!("what run {run} hid"),
            Changing::Empty(None) => "what all runs hid".to_owned(),
            Changing::Pin(digest, pin) => format!("{} as {}", digest.short(), text::safe(&pin.name)),
            Changing::Unpin(name) => text::safe(name).into_owned(),
            Changing::Copy(copying) => format!("{} of {}", copying.what, copying.source.title()),
            Changing::Build(building) => format!("with {}", building.what),
        }
    }

    /// The plan it applies, and what that is for.
    pub fn plan(&self) -> Option<(Purpose, RunId)> {
        match self {
            Changing::Apply(plan, _) => Some((plan.purpose, plan.id.clone())),
            _ => None,
        }
    }
}

/// The mouse, in meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mouse {
    /// A click.
    Click(Position),
    /// The second click of two.
    Double(Position),
    /// Moved with the button held.
    Drag(Position),
    /// The wheel, in rows, downwards positive.
    Wheel(Position, isize),
}

impl Mouse {
    /// Where it is.
    pub fn at(self) -> Position {
        match self {
            Mouse::Click(at) | Mouse::Double(at) | Mouse::Drag(at) | Mouse::Wheel(at, _) => at,
        }
    }
}

/// How things look: styles, signs, and the data whose units and time count. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Styles.
    pub theme: &'a Theme,
    /// Signs.
    pub glyphs: &'static Glyphs,
    /// The data.
    pub shared: &'a Shared,
}

/// What screens draw with.
pub struct Canvas<'a> {
    /// Where to.
    pub buffer: &'a mut Buffer,
    /// How.
    pub look: Look<'a>,
    /// Width and height of the whole terminal: what is left out depends on it.
    pub size: (u16, u16),
    /// Whether one pane has the whole place.
    pub zoomed: bool,
}

impl Canvas<'_> {
    /// For single cells and lines.
    pub fn ink(&mut self) -> Ink<'_> {
        Ink { buffer: self.buffer, theme: self.look.theme, glyphs: self.look.glyphs, under: Style::new() }
    }

    /// Draws a pane's border and returns the room inside.
    pub fn pane(&mut self, pane: &Pane<'_>, area: Rect) -> Rect {
        pane.draw(area, self.buffer, self.look.theme, self.look.glyphs)
    }

    /// Draws a table; in narrow terminals its rows take two lines.
    pub fn table(&mut self, mut table: Table<'_>, area: Rect, state: &mut TableState) {
        table.stacked = self.size.0 < 60;
        let len = table.len;
        table.draw(area, self.buffer, state, self.look.theme, self.look.glyphs);
        thumb(area, (state.offset(), state.visible(), len), self.buffer, self.look.glyphs);
    }

    /// Draws lines that scroll.
    pub fn lines(&mut self, lines: &[Line<'static>], area: Rect, scroll: &mut Scroll) {
        self.scrolling(lines.len(), &|n| lines[n].clone(), area, scroll);
    }

    /// Draws those of `len` lines that are on the screen.
    pub fn scrolling(&mut self, len: usize, line: &dyn Fn(usize) -> Line<'static>, area: Rect, scroll: &mut Scroll) {
        textbox::draw(len, line, area, scroll, &mut self.ink());
        thumb(area, (scroll.down, scroll.height, len), self.buffer, self.look.glyphs);
    }

    /// Says why there is nothing: the first line plainly, the others dim below it.
    pub fn nothing(&mut self, lines: &[String], area: Rect) {
        let theme = self.look.theme;
        let wide = usize::from(area.width);
        let mut y = area.y + u16::from(area.height > 6);
        for (at, line) in lines.iter().enumerate() {
            let style = if at == 0 { theme.text } else { theme.text.patch(theme.dim) };
            for part in textbox::wrap(line, wide.max(8)) {
                if y >= area.bottom() {
                    return;
                }
                self.buffer.set_stringn(area.x, y, part, wide, style);
                y += 1;
            }
        }
    }
}

impl Look<'_> {
    /// Cell of a size; unknown is a dim dash. Units stand in a column of their own.
    pub fn size(&self, bytes: Option<u64>) -> Cell<'static> {
        let dim = self.theme.dim;
        match bytes {
            None => Cell::text(Span::styled(format!("{}   ", self.dash()), dim)),
            Some(bytes) => {
                let (number, unit) = Bytes(bytes).split(self.shared.sizes);
                Cell::of(vec![Span::raw(number), Span::styled(format!(" {unit:<3}"), dim)], 0, Cut::End)
            }
        }
    }

    /// Cell of an age; unknown is a dim dash.
    pub fn age(&self, time: Option<Timestamp>) -> Cell<'static> {
        match time {
            None => Cell::text(Span::styled(self.dash(), self.theme.dim)),
            // A clock that is ahead must not be wider than the column.
            Some(time) => Cell::text(age(self.shared.now, time).replacen("in ", "+", 1)),
        }
    }

    /// A point in time and how long ago it was.
    pub fn time(&self, time: Option<Timestamp>) -> Vec<Span<'static>> {
        match time {
            None => vec![self.dim("unknown")],
            Some(time) => vec![
                Span::raw(time.strftime("%Y-%m-%d %H:%M UTC").to_string()),
                self.dim(format!("  {}", age(self.shared.now, time))),
            ],
        }
    }

    /// Bytes with their unit.
    pub fn bytes(&self, n: u64) -> String {
        bytes(n, self.shared)
    }

    /// What stands for nothing.
    pub fn dash(&self) -> &'static str {
        if self.glyphs.ascii { "-" } else { "–" }
    }

    /// Dim text.
    pub fn dim(&self, text: impl Into<std::borrow::Cow<'static, str>>) -> Span<'static> {
        Span::styled(text, self.theme.dim)
    }

    /// The sign of a blob's or version's state.
    pub fn state(&self, state: State) -> Span<'static> {
        let (glyphs, theme) = (self.glyphs, self.theme);
        match state {
            State::Live => Span::styled(glyphs.live, theme.live),
            State::Dangling => Span::styled(glyphs.dangling, theme.dangling),
            State::Orphan | State::Unknown => Span::styled(glyphs.orphan, theme.orphan),
            State::Missing => Span::styled(glyphs.missing, theme.missing),
        }
    }

    /// The spinner's sign now.
    pub fn spinner(&self) -> Span<'static> {
        let beat = (self.shared.clock.as_millis() / 100) as u64;
        Span::styled(spinner(beat, self.glyphs), self.theme.focus)
    }

    /// A dim label and what it says, for previews. The label takes nine cells.
    pub fn fact(&self, label: &str, mut says: Vec<Span<'static>>) -> Line<'static> {
        says.insert(0, Span::styled(format!("{label:<9}"), self.theme.dim));
        Line::from(says)
    }
}

pub use crate::model::units::{count, thousands};

/// How long ago, short.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    units::age(now, then)
}

/// How old, in words.
pub fn old(now: Timestamp, then: Timestamp) -> String {
    if then > now { format!("dated {}", age(now, then)) } else { format!("{} old", age(now, then)) }
}

/// Bytes with their unit.
pub fn bytes(bytes: u64, shared: &Shared) -> String {
    Bytes(bytes).show(shared.sizes)
}

/// The words of a command, quoted for a shell and safe to show.
pub fn shell(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| text::shell_quote(word)).collect();
    quoted.join(" ")
}

/// `location` narrowed to one version.
pub fn version_word(location: &Location, digest: &Digest) -> String {
    location.clone().asking_for_digest(digest).to_string()
}
