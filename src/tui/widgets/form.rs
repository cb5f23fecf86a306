//! A form in a box: rows to type in or to choose from, and below them what they come to. What the rows mean is for whoever asks.

use crate::model::text;
use crate::tui::widgets::cell::Ink;
use crate::tui::widgets::frame::{Pane, centred, clear};
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::textbox;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Cells that labels take.
const LABEL: u16 = 11;
/// Cells that a form is wide at most.
const WIDTH: u16 = 92;

/// A row.
pub struct Row<'a> {
    /// What it is called.
    pub label: &'static str,
    /// What is in it.
    pub value: Value<'a>,
}

/// What is in a row.
pub enum Value<'a> {
    /// A line to type, and what holds while there is nothing in it. The latter is safe text.
    Typed(&'a Input, String),
    /// All that there is to choose from, and which of it is chosen.
    Options(Vec<&'static str>, usize),
    /// What is chosen elsewhere. Safe text.
    Shown(String),
}

/// What a key did to a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressed {
    /// Nothing that matters.
    Open,
    /// It is not wanted any more.
    Closed,
    /// What the row shows is to be chosen anew.
    Elsewhere,
    /// Something else is wanted.
    Changed,
    /// Something else is being typed.
    Typing,
    /// It is to be done.
    Go,
}

/// What a key means in a form.
pub enum Meant {
    /// This, whatever the row.
    Done(Pressed),
    /// So many rows further.
    Row(isize),
    /// So many options further.
    Turn(isize),
}

/// What `key` means at a row, which is typed in if there is an `input`.
pub fn key(key: KeyEvent, input: Option<&mut Input>) -> Meant {
    match (key.code, input) {
        (KeyCode::Enter, _) => Meant::Done(Pressed::Go),
        (KeyCode::Tab | KeyCode::Down, _) => Meant::Row(1),
        (KeyCode::BackTab | KeyCode::Up, _) => Meant::Row(-1),
        (_, Some(input)) => Meant::Done(match input.key(key) {
            Typed::Cancelled => Pressed::Closed,
            Typed::Changed => Pressed::Typing,
            _ => Pressed::Open,
        }),
        (KeyCode::Esc | KeyCode::Char('q'), None) => Meant::Done(Pressed::Closed),
        (KeyCode::Char('c'), None) if key.modifiers.contains(KeyModifiers::CONTROL) => Meant::Done(Pressed::Closed),
        (KeyCode::Char('j'), None) => Meant::Row(1),
        (KeyCode::Char('k'), None) => Meant::Row(-1),
        (KeyCode::Right | KeyCode::Char(' ' | 'l'), None) => Meant::Turn(1),
        (KeyCode::Left | KeyCode::Char('h'), None) => Meant::Turn(-1),
        _ => Meant::Done(Pressed::Open),
    }
}

/// Puts in what was pasted, if the row is typed in.
pub fn paste(input: Option<&mut Input>, pasted: &str) -> Pressed {
    match input {
        Some(input) => {
            input.paste(pasted);
            Pressed::Typing
        }
        None => Pressed::Open,
    }
}

/// Where one is `by` further than `at` among `of`, round and round.
pub fn turned(at: usize, by: isize, of: usize) -> usize {
    (at + of).saturating_add_signed(by) % of.max(1)
}

/// What is drawn of a form.
pub struct Form<'a> {
    /// Safe text.
    pub title: String,
    /// The keys, as long as there is room for, and else.
    pub keys: [&'static str; 2],
    /// Its rows.
    pub rows: Vec<Row<'a>>,
    /// The row at which one is.
    pub at: usize,
    /// What the rows come to.
    pub told: Vec<Line<'static>>,
}

impl Form<'_> {
    /// Draws it in the middle of `area`, as large as it needs to be.
    pub fn draw(self, area: Rect, ink: &mut Ink<'_>) {
        let width = area.width.saturating_sub(2).min(WIDTH);
        let told = textbox::reflow(&self.told, usize::from(width.saturating_sub(4)).max(8));
        let rows = self.rows.len();
        let place = centred(area, width, (rows + told.len()) as u16 + 3);
        clear(place, ink.buffer, ink.theme);
        let keys = self.keys[usize::from(width < 60)].to_owned();
        let title = vec![Span::raw(self.title)];
        let pane = Pane { title, position: keys, focused: true, ..Pane::default() };
        let inner = pane.draw(place, ink.buffer, ink.theme, ink.glyphs);
        // Where not all has room, that is the rows' matter: what they come to is what counts.
        let below = (told.len() as u16).min(inner.height.saturating_sub(2));
        let room = inner.height.saturating_sub(below);
        let shown = usize::from(if room > rows as u16 { room - 1 } else { room }).min(rows);
        let from = (self.at + 1).saturating_sub(shown).min(rows - shown);
        for (y, (at, row)) in self.rows.iter().enumerate().skip(from).take(shown).enumerate() {
            row.draw(at == self.at, Rect { y: inner.y + y as u16, height: 1, ..inner }, ink);
        }
        for (row, line) in told.iter().take(usize::from(below)).enumerate() {
            let y = inner.bottom() - below + row as u16;
            ink.buffer.set_style(Rect { y, height: 1, ..inner }, ink.theme.text);
            ink.buffer.set_line(inner.x, y, line, inner.width);
        }
    }
}

impl Row<'_> {
    /// `own` is whether one is at it.
    fn draw(&self, own: bool, area: Rect, ink: &mut Ink<'_>) {
        let theme = ink.theme;
        let style = theme.text.patch(if own { theme.key } else { theme.dim });
        ink.buffer.set_stringn(area.x, area.y, self.label, usize::from(LABEL.min(area.width)), style);
        let area = Rect { x: area.x + LABEL, width: area.width.saturating_sub(LABEL), ..area };
        match &self.value {
            Value::Typed(input, empty) => typed(input, own, empty, area, ink),
            Value::Options(names, chosen) => options(names, *chosen, own, area, ink),
            Value::Shown(text) => {
                let shown = text::fit_middle(text, usize::from(area.width), ink.glyphs.ellipsis).into_owned();
                let style = if own { theme.text.patch(theme.selection) } else { theme.text };
                ink.buffer.set_stringn(area.x, area.y, shown, usize::from(area.width), style);
            }
        }
    }
}

/// A line to type, or what holds while there is nothing in it.
fn typed(input: &Input, own: bool, empty: &str, area: Rect, ink: &mut Ink<'_>) {
    let wide = usize::from(area.width);
    if own {
        input.draw(area, Style::new(), ink);
    }
    let theme = ink.theme;
    match input.text() {
        "" => {
            let gap = usize::from(own) * 2;
            let shown = text::fit_middle(empty, wide.saturating_sub(gap), ink.glyphs.ellipsis).into_owned();
            let style = theme.text.patch(theme.dim);
            ink.buffer.set_stringn(area.x + gap as u16, area.y, shown, wide.saturating_sub(gap), style);
        }
        given if !own => {
            let shown = text::safe(given);
            let shown = text::fit_end(&shown, wide, ink.glyphs.ellipsis).into_owned();
            ink.buffer.set_stringn(area.x, area.y, shown, wide, theme.text);
        }
        _ => {}
    }
}

/// All of `names` in a row, the chosen one in brackets.
fn options(names: &[&str], chosen: usize, own: bool, area: Rect, ink: &mut Ink<'_>) {
    let theme = ink.theme;
    let mut x = area.x;
    for (at, name) in names.iter().enumerate() {
        let room = usize::from(area.right().saturating_sub(x));
        let (shown, style) = match (at == chosen, own) {
            (true, true) => (format!("[{name}]"), theme.text.patch(theme.selection)),
            (true, false) => (format!("[{name}]"), theme.text),
            (false, _) => (format!(" {name} "), theme.text.patch(theme.dim)),
        };
        x = ink.buffer.set_stringn(x, area.y, shown, room, style).0;
    }
}
