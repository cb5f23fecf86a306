//! Boxes that stand before a change: one to confirm it, which does nothing unless its answer is chosen on purpose, and one to
//! fill in what a pin needs.

use super::App;
use super::boxes::Modal;
use crate::model::text;
use crate::tui::screen::{Answer, Confirmation};
use crate::tui::shared::{Target, error_line};
use crate::tui::widgets::cell::Ink;
use crate::tui::widgets::frame::{Pane, centred, clear};
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::textbox;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// What has the focus of a box that asks whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Focus {
    Cancel,
    Name,
    Verb,
}

/// A change to be confirmed. It begins on Cancel, and a name must be typed before its verb does anything.
pub(super) struct Confirm {
    asks: Confirmation,
    input: Input,
    focus: Focus,
    problem: Option<&'static str>,
}

/// What a key did to a box.
#[derive(Debug)]
pub(super) enum Settled {
    /// It stays.
    Open,
    /// It closes, and nothing is done.
    Closed,
    /// This was chosen.
    Chosen(Answer),
}

impl Confirm {
    pub(super) fn new(asks: Confirmation) -> Confirm {
        Confirm { asks, input: Input::default(), focus: Focus::Cancel, problem: None }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Settled {
        let named = self.asks.name.is_some();
        let order: &[Focus] =
            if named { &[Focus::Cancel, Focus::Name, Focus::Verb] } else { &[Focus::Cancel, Focus::Verb] };
        let at = order.iter().position(|focus| *focus == self.focus).unwrap_or(0);
        let writes = named && self.focus == Focus::Name;
        match key.code {
            KeyCode::Enter if self.focus == Focus::Cancel => return Settled::Closed,
            KeyCode::Enter => return self.decide(),
            KeyCode::Tab | KeyCode::Down => self.focus = order[(at + 1) % order.len()],
            KeyCode::BackTab | KeyCode::Up => self.focus = order[(at + order.len() - 1) % order.len()],
            KeyCode::Right if !writes => self.focus = order[(at + 1) % order.len()],
            KeyCode::Left if !writes => self.focus = order[(at + order.len() - 1) % order.len()],
            _ => match self.input.key(key) {
                Typed::Cancelled => return Settled::Closed,
                // Without a name to type, letters do nothing: no single key does it.
                Typed::Changed if named => (self.focus, self.problem) = (Focus::Name, None),
                Typed::Changed => self.input = Input::default(),
                _ => {}
            },
        }
        Settled::Open
    }

    fn decide(&mut self) -> Settled {
        match &self.asks.name {
            Some(name) if self.input.text().trim() != name => {
                self.problem = Some("that is not its name; nothing was done");
                self.focus = Focus::Name;
                Settled::Open
            }
            _ => Settled::Chosen(self.asks.answer.clone()),
        }
    }

    pub(super) fn paste(&mut self, pasted: &str) {
        if self.asks.name.is_some() {
            self.input.paste(pasted);
            (self.focus, self.problem) = (Focus::Name, None);
        }
    }

    pub(super) fn draw(&self, area: Rect, ink: &mut Ink<'_>) {
        let width = area.width.saturating_sub(2).min(84);
        let mut lines = textbox::reflow(&self.asks.lines, usize::from(width.saturating_sub(4)).max(8));
        // What is typed and the buttons are never pushed out.
        let room = usize::from(area.height.saturating_sub(8));
        if lines.len() > room {
            lines.truncate(room.saturating_sub(1));
            lines.push(Line::from(Span::styled(ink.glyphs.ellipsis, ink.theme.dim)));
        }
        let asks = if self.asks.name.is_some() { 3 } else { 0 };
        let place = centred(area, width, lines.len() as u16 + asks + 4);
        clear(place, ink.buffer, ink.theme);
        let pane = Pane { title: vec![Span::raw(self.asks.title.clone())], focused: true, ..Pane::default() };
        let inner = pane.draw(place, ink.buffer, ink.theme, ink.glyphs);
        let wide = usize::from(inner.width);
        let mut y = inner.y;
        for line in &lines {
            if y < inner.bottom() {
                ink.buffer.set_style(Rect { y, height: 1, ..inner }, ink.theme.text);
                ink.buffer.set_line(inner.x, y, line, inner.width);
            }
            y += 1;
        }
        if let Some(name) = &self.asks.name {
            let words = format!("type {name} to {}:", self.asks.verb);
            let cut = text::fit_middle(&words, wide, ink.glyphs.ellipsis).into_owned();
            ink.buffer.set_stringn(inner.x, y + 1, cut, wide, ink.theme.text.patch(ink.theme.strong));
            let sign = ink.theme.text.patch(if self.focus == Focus::Name { ink.theme.key } else { ink.theme.dim });
            ink.buffer.set_stringn(inner.x, y + 2, ink.glyphs.crumb, 1, sign);
            let line = Rect { x: inner.x + 2, y: y + 2, width: inner.width.saturating_sub(2), height: 1 };
            match self.focus {
                Focus::Name => self.input.draw(line, Style::new(), ink),
                _ => {
                    let style = ink.theme.text.patch(ink.theme.dim);
                    ink.buffer.set_stringn(line.x, line.y, self.input.text(), usize::from(line.width), style);
                }
            }
        }
        let y = inner.bottom().saturating_sub(1);
        let mut x = inner.x;
        for (focus, word) in [(Focus::Cancel, "cancel"), (Focus::Verb, self.asks.verb)] {
            let style = match focus == self.focus {
                true => ink.theme.text.patch(ink.theme.selection),
                false => ink.theme.text.patch(ink.theme.dim),
            };
            x = ink.buffer.set_stringn(x, y, format!("[ {word} ]"), wide, style).0 + 2;
        }
        if let Some(problem) = self.problem {
            let room = usize::from(inner.right().saturating_sub(x));
            ink.buffer.set_stringn(x, y, problem, room, ink.theme.text.patch(ink.theme.missing));
        }
    }
}

/// What a pin needs, line by line.
pub(super) struct Filling {
    target: Target,
    title: String,
    inputs: [Input; 3],
    at: usize,
    pub(super) problem: Option<String>,
}

const LABELS: [&str; 3] = ["name", "until", "reason"];
const HINTS: [&str; 3] = [
    "an extra name that keeps the version, whatever later exports do",
    "90d, 2027-01-31, or nothing: for ever; afterwards pruning takes it away",
    "what for, if somebody asks",
];

impl Filling {
    pub(super) fn new(target: Target, title: String, name: String) -> Filling {
        let inputs = [Input::new(name, Vec::new()), Input::default(), Input::default()];
        Filling { target, title, inputs, at: 0, problem: None }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Settled {
        let last = self.inputs.len();
        match key.code {
            KeyCode::Tab | KeyCode::Down => self.at = (self.at + 1) % last,
            KeyCode::BackTab | KeyCode::Up => self.at = (self.at + last - 1) % last,
            _ => match self.inputs[self.at].key(key) {
                Typed::Cancelled => return Settled::Closed,
                Typed::Done => {
                    let typed = std::array::from_fn(|at| self.inputs[at].text().trim().to_owned());
                    return Settled::Chosen(Answer::Pin(self.target, typed));
                }
                Typed::Changed => self.problem = None,
                _ => {}
            },
        }
        Settled::Open
    }

    pub(super) fn paste(&mut self, pasted: &str) {
        self.inputs[self.at].paste(pasted);
    }

    pub(super) fn draw(&self, area: Rect, ink: &mut Ink<'_>) {
        let place = centred(area, area.width.saturating_sub(2).min(84), 7);
        clear(place, ink.buffer, ink.theme);
        let pane = Pane {
            title: vec![Span::raw(self.title.clone())],
            position: "enter pins, tab next, esc closes".to_owned(),
            focused: true,
            ..Pane::default()
        };
        let inner = pane.draw(place, ink.buffer, ink.theme, ink.glyphs);
        for (at, (label, input)) in LABELS.iter().zip(&self.inputs).enumerate() {
            let y = inner.y + at as u16;
            let own = at == self.at;
            let style = ink.theme.text.patch(if own { ink.theme.key } else { ink.theme.dim });
            ink.buffer.set_stringn(inner.x, y, label, 8, style);
            let line = Rect { x: inner.x + 9, y, width: inner.width.saturating_sub(9), height: 1 };
            match own {
                true => input.draw(line, Style::new(), ink),
                false => {
                    let shown = text::safe(input.text());
                    ink.buffer.set_stringn(line.x, y, shown, usize::from(line.width), ink.theme.text);
                }
            }
        }
        let (words, style) = match &self.problem {
            Some(problem) => (problem.as_str(), ink.theme.missing),
            None => (HINTS[self.at], ink.theme.dim),
        };
        let wide = usize::from(inner.width);
        let cut = text::fit_end(words, wide, ink.glyphs.ellipsis).into_owned();
        ink.buffer.set_stringn(inner.x, inner.bottom().saturating_sub(1), cut, wide, ink.theme.text.patch(style));
    }
}

impl App {
    pub(super) fn confirm(&mut self, asks: Confirmation) {
        self.modal = Some(Modal::Confirm(Box::new(Confirm::new(asks))));
    }

    /// What was chosen in one of the boxes above.
    pub(super) fn settled(&mut self, settled: Settled) {
        match settled {
            Settled::Open => {}
            Settled::Closed => self.modal = None,
            Settled::Chosen(answer) => {
                let asked = self.modal.take();
                let Err(error) = self.answer(answer) else { return };
                match asked {
                    Some(Modal::Fill(mut filling)) => {
                        filling.problem = Some(error_line(&error));
                        self.modal = Some(Modal::Fill(filling));
                    }
                    _ => self.say(crate::tui::shared::Tone::Failed, error_line(&error)),
                }
            }
        }
    }
}
