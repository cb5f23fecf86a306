//! One line that the user types into: readline keys, history on up and down, no knowledge of what it is for.

use crate::model::text;
use crate::tui::widgets::cell::Ink;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use tui_input::InputRequest as Do;

/// A line being typed.
#[derive(Clone, Debug, Default)]
pub struct Input {
    line: tui_input::Input,
    history: Vec<String>,
    /// Place in the history while going through it, counted from its end.
    back: usize,
    /// What was typed before going into the history.
    draft: String,
}

/// What a key did to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// The text is another one.
    Changed,
    /// Only the cursor moved, or nothing happened.
    Same,
    /// It is finished.
    Done,
    /// It is not wanted any more.
    Cancelled,
    /// Complete it.
    Complete,
    /// Not a key of a line.
    Other,
}

/// Longest line; pasting a file must not hang the screen.
const LONGEST: usize = 4096;

impl Input {
    /// A line that already holds `text`, with `history` behind it, oldest first.
    pub fn new(text: impl Into<String>, history: Vec<String>) -> Input {
        Input { line: tui_input::Input::new(text.into()), history, ..Input::default() }
    }

    /// What is typed.
    pub fn text(&self) -> &str {
        self.line.value()
    }

    /// Puts another text there, cursor at its end.
    pub fn set(&mut self, text: impl Into<String>) {
        self.line = tui_input::Input::new(text.into());
    }

    /// Adds pasted text; line breaks become blanks.
    pub fn paste(&mut self, pasted: &str) {
        for sign in pasted.chars().take(LONGEST) {
            self.insert(if sign.is_control() { ' ' } else { sign });
        }
    }

    fn insert(&mut self, sign: char) {
        if self.line.value().len() < LONGEST {
            self.line.handle(Do::InsertChar(sign));
        }
    }

    /// What `key` does.
    pub fn key(&mut self, key: KeyEvent) -> Typed {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let request = match (key.code, ctrl, alt) {
            (KeyCode::Enter, ..) => return Typed::Done,
            (KeyCode::Esc, ..) | (KeyCode::Char('c'), true, _) => return Typed::Cancelled,
            (KeyCode::Tab, ..) => return Typed::Complete,
            (KeyCode::Up, ..) | (KeyCode::Char('p'), true, _) => return self.recall(1),
            (KeyCode::Down, ..) | (KeyCode::Char('n'), true, _) => return self.recall(-1),
            (KeyCode::Left, true, _) | (KeyCode::Char('b'), _, true) => Do::GoToPrevWord,
            (KeyCode::Right, true, _) | (KeyCode::Char('f'), _, true) => Do::GoToNextWord,
            (KeyCode::Left, ..) | (KeyCode::Char('b'), true, _) => Do::GoToPrevChar,
            (KeyCode::Right, ..) | (KeyCode::Char('f'), true, _) => Do::GoToNextChar,
            (KeyCode::Home, ..) | (KeyCode::Char('a'), true, _) => Do::GoToStart,
            (KeyCode::End, ..) | (KeyCode::Char('e'), true, _) => Do::GoToEnd,
            (KeyCode::Backspace, _, true) | (KeyCode::Char('w'), true, _) => Do::DeletePrevWord,
            (KeyCode::Backspace, ..) | (KeyCode::Char('h'), true, _) => Do::DeletePrevChar,
            (KeyCode::Delete, ..) | (KeyCode::Char('d'), true, _) => Do::DeleteNextChar,
            (KeyCode::Char('d'), _, true) => Do::DeleteNextWord,
            (KeyCode::Char('u'), true, _) => Do::DeleteFromStart,
            (KeyCode::Char('k'), true, _) => Do::DeleteTillEnd,
            (KeyCode::Char('y'), true, _) => Do::Yank,
            (KeyCode::Char(sign), false, false) if !sign.is_control() => {
                self.insert(sign);
                return Typed::Changed;
            }
            _ => return Typed::Other,
        };
        match self.line.handle(request) {
            Some(change) if change.value => Typed::Changed,
            _ => Typed::Same,
        }
    }

    fn recall(&mut self, by: isize) -> Typed {
        if self.back == 0 {
            self.draft = self.line.value().to_owned();
        }
        let to = self.back.saturating_add_signed(by).min(self.history.len());
        if to == self.back {
            return Typed::Same;
        }
        self.back = to;
        let text = if to == 0 { self.draft.clone() } else { self.history[self.history.len() - to].clone() };
        self.set(text);
        Typed::Changed
    }

    /// Draws the line and its cursor; it scrolls sideways where it must.
    pub fn draw(&self, area: Rect, style: Style, ink: &mut Ink<'_>) {
        let width = usize::from(area.width);
        if width == 0 {
            return;
        }
        let shown = text::safe(self.line.value());
        let before: String = self.line.value().chars().take(self.line.cursor()).collect();
        let cursor = text::width(&text::safe(&before));
        let skip = (cursor + 1).saturating_sub(width);
        let visible = text::tail(&shown, text::width(&shown).saturating_sub(skip));
        let style = ink.theme.text.patch(style);
        ink.buffer.set_stringn(area.x, area.y, visible, width, style);
        if let Some(cell) = ink.buffer.cell_mut((area.x + (cursor - skip) as u16, area.y)) {
            cell.set_style(Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &mut Input, keys: &str) {
        for sign in keys.chars() {
            input.key(KeyEvent::new(KeyCode::Char(sign), KeyModifiers::NONE));
        }
    }

    #[test]
    fn it_edits_like_a_shell() {
        let mut input = Input::default();
        typed(&mut input, "size>1GiB age>3d");
        input.key(KeyEvent::new(KeyCode::Char('w'), KeyModifiers::CONTROL));
        input.key(KeyEvent::new(KeyCode::Char('a'), KeyModifiers::CONTROL));
        typed(&mut input, "!");
        assert!(input.text().starts_with("!size>1GiB "), "{}", input.text());
        assert_eq!(input.key(KeyEvent::from(KeyCode::Esc)), Typed::Cancelled);
    }

    #[test]
    fn history_comes_and_goes_without_losing_the_draft() {
        let mut input = Input::new("", vec!["one".into(), "two".into()]);
        typed(&mut input, "dra");
        let up = KeyEvent::from(KeyCode::Up);
        let down = KeyEvent::from(KeyCode::Down);
        input.key(up);
        assert_eq!(input.text(), "two");
        input.key(up);
        input.key(up);
        assert_eq!(input.text(), "one");
        input.key(down);
        input.key(down);
        assert_eq!(input.text(), "dra");
    }

    #[test]
    fn pasted_line_breaks_do_not_finish_it() {
        let mut input = Input::default();
        input.paste("a\nb\u{1b}c");
        assert_eq!(input.text(), "a b c");
        input.paste(&"x".repeat(100_000));
        assert!(input.text().len() <= LONGEST);
    }
}
