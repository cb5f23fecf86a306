//! Shows a build while it goes on: a line for each step that is done, and where there is a terminal one that moves below them.
//! What the builder says comes from outside, and is made safe.

use super::super::failure::Outcome;
use super::super::job::{SPINNER, SPINNER_ASCII, Show};
use super::super::output::{Tone, Words};
use super::super::session::Session;
use crate::model::build::Assembled;
use crate::model::build::report::Report;
use crate::model::build::watch::{Kind, State, Watch, Watched};
use crate::model::text;
use crate::ops::build::{self, Found, News};
use crate::progress::Progress;
use serde_json::json;
use std::cell::RefCell;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

/// How long a step that is done may turn out to have been cached: builders fetch the result of a cached one first.
const SETTLING: Duration = Duration::from_millis(400);

/// The longest text of a line, in bytes.
const LONGEST: usize = 300;

/// Builds, and shows it. Ctrl-C, and what a CI system sends to end a job, stop it.
pub(super) fn build(
    session: &mut Session,
    found: Found,
    assembled: &Assembled,
    was_empty: Option<bool>,
) -> Outcome<Report> {
    let (show, words, ascii) = (session.jobs.show(), session.words, session.jobs.ascii());
    let painter = RefCell::new(Painter::new(show, words, ascii));
    let progress = Progress::new();
    let work = async {
        let mut tell = |news: News<'_>| painter.borrow_mut().hear(news);
        let mut building = std::pin::pin!(build::run(found, assembled, was_empty, &progress, &mut tell));
        let mut ticks = interval(Duration::from_millis(100));
        // Where these can't be listened for, they end the program as they always do.
        let mut ends = [SignalKind::terminate(), SignalKind::hangup()].map(|kind| signal(kind).ok());
        let [terminate, hangup] = &mut ends;
        loop {
            tokio::select! {
                ended = &mut building => break ended,
                _ = ticks.tick() => painter.borrow_mut().tick(),
                () = received(terminate) => progress.cancel(),
                () = received(hangup) => progress.cancel(),
            }
        }
    };
    let result = session.jobs.run_showing_itself(&progress, work);
    painter.borrow_mut().finish();
    Ok(result?)
}

async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// A vertex as it was last seen.
struct Seen {
    state: State,
    since: Instant,
    printed: bool,
    name: String,
    took: Option<Duration>,
    error: Option<String>,
}

struct Painter {
    show: Show,
    words: Words,
    ascii: bool,
    started: Instant,
    seen: Vec<Option<Seen>>,
    /// In which order those that are done at once are told.
    order: Vec<usize>,
    /// Steps that are done, those that were cached, and all.
    done: (usize, usize, usize),
    turn: usize,
    drawn: bool,
    told: Instant,
}

impl Painter {
    fn new(show: Show, words: Words, ascii: bool) -> Self {
        let now = Instant::now();
        Self {
            show,
            words,
            ascii,
            started: now,
            seen: Vec::new(),
            order: Vec::new(),
            done: (0, 0, 0),
            turn: 0,
            drawn: false,
            told: now,
        }
    }

    fn hear(&mut self, news: News<'_>) {
        match news {
            News::Changed(watch) => self.changed(watch),
            News::Line(line) if !line.trim().is_empty() => {
                self.flush(SETTLING);
                self.print(&Tone::Dim.paint(&text::safe(line), self.words.colour), line);
            }
            News::Line(_) => {}
        }
    }

    fn changed(&mut self, watch: &Watch) {
        let now = Instant::now();
        let (done, all) = watch.progress();
        let cached = watch.all().iter().filter(|v| v.kind == Kind::Step && v.state() == State::Cached).count();
        self.done = (done, cached, all);
        if self.seen.len() != watch.all().len() {
            self.seen.resize_with(watch.all().len(), || None);
            self.order = watch.order();
        }
        for (seen, watched) in self.seen.iter_mut().zip(watch.all()) {
            let state = watched.state();
            if !is_shown(watched, state) || seen.as_ref().is_some_and(|seen| seen.state == state) {
                continue;
            }
            let printed = seen.as_ref().is_some_and(|seen| seen.printed);
            let name = text::safe_within(&watched.name, LONGEST).into_owned();
            let error = watched.error.as_deref().map(|error| text::safe_within(error, LONGEST).into_owned());
            *seen = Some(Seen { state, since: now, printed, name, took: watched.took(), error });
        }
    }

    fn tick(&mut self) {
        self.turn += 1;
        self.flush(SETTLING);
        match self.show {
            Show::Tty => self.draw(),
            Show::Json if self.told.elapsed() >= Duration::from_secs(1) => {
                self.told = Instant::now();
                let (done, _, all) = self.done;
                self.words.json_line(&json!({
                    "type": "progress",
                    "phase": "building",
                    "items": done,
                    "items_total": Some(all).filter(|all| *all > 0),
                    "bytes": 0,
                    "bytes_total": null,
                }));
            }
            _ => {}
        }
    }

    /// Prints what is done for that long.
    fn flush(&mut self, settling: Duration) {
        let mut lines = Vec::new();
        for at in &self.order {
            let Some(seen) = self.seen.get_mut(*at).and_then(Option::as_mut) else { continue };
            let is_over = match seen.state {
                State::Cached | State::Failed => true,
                State::Done => seen.since.elapsed() >= settling,
                State::Waiting | State::Running | State::Canceled => false,
            };
            if is_over && !seen.printed {
                seen.printed = true;
                lines.push(seen.line(self.words.colour));
            }
        }
        for (painted, plain) in lines {
            self.print(&painted, &plain);
        }
    }

    fn finish(&mut self) {
        self.flush(Duration::ZERO);
        self.clear();
    }

    /// A line above the one that moves. `plain` is what programs get.
    fn print(&mut self, painted: &str, plain: &str) {
        if matches!(self.show, Show::None | Show::Json) {
            return;
        }
        self.clear();
        if self.words.json { self.words.note(plain) } else { self.words.line(painted) }
    }

    fn clear(&mut self) {
        if self.drawn {
            self.words.status("");
            self.drawn = false;
        }
    }

    fn draw(&mut self) {
        let signs: &[&str] = if self.ascii { &SPINNER_ASCII } else { &SPINNER };
        let sign = signs.get(self.turn % signs.len()).copied().unwrap_or_default();
        let (done, cached, all) = self.done;
        let mut line = format!(" {done} of {all} steps, {cached} cached, {}s", self.started.elapsed().as_secs());
        let running = self.seen.iter().flatten().rfind(|seen| seen.state == State::Running);
        if let Some(running) = running {
            line.push_str(": ");
            line.push_str(&running.name);
        }
        let ellipsis = if self.ascii { text::ELLIPSIS_ASCII } else { text::ELLIPSIS };
        let line = text::fit_end(&line, width().saturating_sub(2), ellipsis);
        self.words.status(&format!("{}{line}", Tone::Dim.paint(sign, self.words.colour)));
        self.drawn = true;
    }
}

impl Seen {
    /// For people, and for programs.
    fn line(&self, colour: bool) -> (String, String) {
        let (word, tone) = match self.state {
            State::Cached => ("cached".to_owned(), Tone::Good),
            State::Failed => ("failed".to_owned(), Tone::Bad),
            _ => (self.took.map(seconds).unwrap_or_default(), Tone::Dim),
        };
        let error = self.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let rest = format!("{}{error}", self.name);
        (
            format!("{:blanks$}{} {rest}", "", tone.paint(&word, colour), blanks = 8_usize.saturating_sub(word.len())),
            format!("{word} {rest}"),
        )
    }
}

/// Steps, and what is done with caches; of the rest only what fails.
fn is_shown(watched: &Watched, state: State) -> bool {
    watched.kind != Kind::Other || state == State::Failed
}

/// `12.3s`, and `2m05s` from a minute on.
pub(super) fn seconds(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1}s", took.as_secs_f64()),
        all => format!("{}m{:02}s", all / 60, all % 60),
    }
}

/// Cells in a line of the terminal that words go to.
fn width() -> usize {
    let asked = io::stderr().is_terminal().then(|| rustix::termios::tcgetwinsize(io::stderr()).ok()).flatten();
    asked.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(80)
}
