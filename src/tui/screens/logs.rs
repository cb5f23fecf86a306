//! The log of this session: what was loaded, written, refused.

use crate::error::Result;
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::listing::kinds_menu;
use crate::tui::screen::{Answer, Canvas, Context, Look, Mouse, Screen, Search, count};
use crate::tui::shared::{Entry, PlaceId, Shared, Tone};
use crate::tui::widgets::frame::Pane;
use crate::tui::widgets::textbox::{self, Scroll};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

const KINDS: [&str; 4] = ["all", "done", "notes", "failures"];

/// The log.
pub struct Logs {
    scroll: Scroll,
    /// Whether the newest line stays in sight.
    follows: bool,
    kinds: u8,
    word: String,
    /// Lines shown, by their place in the log.
    shown: Vec<usize>,
    seen: Option<u64>,
    found: usize,
}

impl Default for Logs {
    fn default() -> Self {
        Logs::new()
    }
}

impl Logs {
    /// The log, following its newest line.
    pub fn new() -> Logs {
        Logs {
            scroll: Scroll::default(),
            follows: true,
            kinds: 0,
            word: String::new(),
            shown: Vec::new(),
            seen: None,
            found: 0,
        }
    }

    fn step(&mut self, by: isize) {
        self.scroll.step(by, self.shown.len());
        self.follows = self.scroll.down + self.scroll.height >= self.shown.len();
    }

    fn find(&mut self, forward: bool, shared: &Shared) {
        let word = self.word.to_lowercase();
        let hits: Vec<usize> = (0..self.shown.len())
            .filter(|&n| shared.log.get(self.shown[n]).is_some_and(|e| e.text.to_lowercase().contains(&word)))
            .collect();
        let next = match forward {
            true => hits.iter().find(|&&n| n > self.found).or(hits.first()),
            false => hits.iter().rev().find(|&&n| n < self.found).or(hits.last()),
        };
        if let Some(&next) = next.filter(|_| !word.is_empty()) {
            self.found = next;
            self.scroll.reveal(next);
            self.follows = false;
        }
    }
}

fn word(tone: Tone) -> &'static str {
    match tone {
        Tone::Done => "done",
        Tone::Note => "note",
        Tone::Failed => "failed",
    }
}

fn line(entry: &Entry, found: &str, canvas: &Canvas<'_>) -> Line<'static> {
    let (theme, glyphs) = (canvas.look.theme, canvas.look.glyphs);
    let (sign, style) = match entry.tone {
        Tone::Done => (glyphs.verified, theme.verified),
        Tone::Note => (glyphs.leaf, theme.dim),
        Tone::Failed => (glyphs.missing, theme.missing),
    };
    let time = entry.at.strftime("%H:%M:%S").to_string();
    let mut spans = vec![Span::styled(format!("{time}  "), theme.dim), Span::styled(format!("{sign} "), style)];
    spans.extend(textbox::highlight(&entry.text, found, theme.found).spans);
    Line::from(spans)
}

impl Screen for Logs {
    fn view(&self) -> View {
        View::Logs
    }

    fn crumbs(&self, _shared: &Shared) -> Vec<String> {
        vec!["log".to_owned()]
    }

    fn refresh(&mut self, shared: &Shared) {
        if self.seen == Some(shared.revision) {
            return;
        }
        self.seen = Some(shared.revision);
        let kinds = self.kinds;
        let fits = |entry: &Entry| match kinds {
            1 => entry.tone == Tone::Done,
            2 => entry.tone == Tone::Note,
            3 => entry.tone == Tone::Failed,
            _ => true,
        };
        self.shown = (0..shared.log.len()).filter(|&n| fits(&shared.log[n])).collect();
        if self.follows {
            self.scroll.step(isize::MAX, self.shown.len());
        }
    }

    fn act(&mut self, action: Action, cx: &mut Context<'_>) -> bool {
        if let Some(by) = action.distance(self.scroll.height) {
            self.step(by);
            return true;
        }
        match action {
            Action::Left => self.scroll.right = self.scroll.right.saturating_sub(8),
            Action::Right => self.scroll.right += 8,
            Action::FindNext => self.find(true, cx.shared),
            Action::FindPrev => self.find(false, cx.shared),
            Action::Kinds => cx.ask(kinds_menu(&KINDS, self.kinds)),
            Action::Escape if !self.word.is_empty() => self.word.clear(),
            Action::Escape if self.kinds != 0 => {
                self.kinds = 0;
                self.seen = None;
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, answer: Answer, cx: &mut Context<'_>) -> Result<()> {
        match answer {
            Answer::Search(word) => {
                self.word = word;
                self.found = self.scroll.down;
                self.find(true, cx.shared);
            }
            Answer::Kinds(kinds) => self.kinds = kinds,
            _ => {}
        }
        self.seen = None;
        Ok(())
    }

    fn text(&self, look: Look<'_>) -> Option<String> {
        let lines = self.shown.iter().filter_map(|&n| look.shared.log.get(n));
        Some(lines.map(|entry| format!("{} {} {}\n", entry.at, word(entry.tone), entry.text)).collect())
    }

    fn file_name(&self, _shared: &Shared) -> Option<String> {
        Some("cachedeck.log".to_owned())
    }

    fn mouse(&mut self, mouse: Mouse, _cx: &mut Context<'_>) {
        if let Mouse::Wheel(_, by) = mouse {
            self.step(by);
        }
    }

    fn draw(&mut self, area: Rect, canvas: &mut Canvas<'_>) {
        let (look, len) = (canvas.look, self.shown.len());
        let mut note = Vec::new();
        if !self.word.is_empty() {
            note.push(Span::styled("/ ", look.theme.key));
            note.push(Span::styled(text::safe(&self.word).into_owned(), look.theme.found));
        }
        let pane = Pane {
            title: vec![Span::raw(format!("log{}", if self.follows { "" } else { " (G follows again)" }))],
            note,
            position: count(len, "line"),
            focused: true,
            ..Pane::default()
        };
        let inner = canvas.pane(&pane, area);
        if len == 0 {
            return canvas.nothing(&["nothing was logged yet".to_owned()], inner);
        }
        let found = self.word.to_lowercase();
        let log = &look.shared.log;
        let lines: Vec<Line<'static>> =
            self.shown.iter().filter_map(|&n| log.get(n)).map(|entry| line(entry, &found, canvas)).collect();
        canvas.lines(&lines, inner, &mut self.scroll);
    }

    fn status(&self, _shared: &Shared) -> String {
        "of this session only".to_owned()
    }

    fn search(&self) -> Search<'_> {
        Search { fields: &[], text: self.word.clone(), hides: false }
    }

    fn yank(&self, action: Action, shared: &Shared) -> Option<String> {
        (action == Action::YankJson).then(|| {
            let lines = self.shown.iter().filter_map(|&n| shared.log.get(n));
            let entry = |e: &Entry| serde_json::json!({"at": e.at.to_string(), "level": word(e.tone), "text": e.text});
            super::pretty(&lines.map(entry).collect())
        })
    }

    fn command(&self, _shared: &Shared) -> Vec<String> {
        vec!["cachedeck".to_owned()]
    }

    fn place(&self) -> Option<PlaceId> {
        None
    }
}
