//! A box in the middle to choose one thing from: palette, jump, help and the small menus.

use crate::model::text;
use crate::tui::theme::Theme;
use crate::tui::widgets::cell::{Cell, Cut, Ink};
use crate::tui::widgets::frame::{Pane, centred, clear};
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::table::{Column, Hit, Row, Table, TableState, Width, position};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::Span;

/// One thing to choose; `T` is what choosing it means.
#[derive(Clone, Debug)]
pub struct Choice<T> {
    /// Its name. Already safe.
    pub name: String,
    /// What it is, dim beside the name. Already safe.
    pub detail: String,
    /// A key that chooses it at once in a menu, or that does the same outside.
    pub key: String,
    /// Words that find it besides those shown.
    pub also: &'static str,
    /// What it means.
    pub value: T,
}

/// The box.
#[derive(Clone, Debug)]
pub struct Picker<T> {
    title: String,
    choices: Vec<Choice<T>>,
    /// Shown choices, best first.
    shown: Vec<usize>,
    state: TableState,
    /// The search line; menus have none.
    input: Option<Input>,
    matcher: Matcher,
    area: Rect,
}

/// What a key or click did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picked<T> {
    /// This was chosen.
    Chosen(T),
    /// Nothing was, and the box should close.
    Closed,
    /// The box stays open.
    Open,
}

impl<T: Clone> Picker<T> {
    /// A box with a search line.
    pub fn searching(title: impl Into<String>, choices: Vec<Choice<T>>) -> Self {
        Picker { input: Some(Input::default()), ..Picker::menu(title, choices) }
    }

    /// A small menu: the keys of its choices work at once.
    pub fn menu(title: impl Into<String>, choices: Vec<Choice<T>>) -> Self {
        Picker {
            title: title.into(),
            shown: (0..choices.len()).collect(),
            choices,
            state: TableState::default(),
            input: None,
            matcher: Matcher::new(Config::DEFAULT),
            area: Rect::default(),
        }
    }

    /// Puts the cursor on choice `at`.
    pub fn at(mut self, at: usize) -> Self {
        self.state.select(at);
        self
    }

    /// What `key` does.
    pub fn key(&mut self, key: KeyEvent) -> Picked<T> {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let page = self.state.visible() as isize;
        let by = match key.code {
            KeyCode::Enter => return self.chosen(self.state.selected()),
            KeyCode::Up => -1,
            KeyCode::Down => 1,
            KeyCode::Char('p') if ctrl => -1,
            KeyCode::Char('n') if ctrl => 1,
            KeyCode::PageUp => -page,
            KeyCode::PageDown => page,
            KeyCode::Char('u') if ctrl && self.input.is_none() => -page / 2,
            KeyCode::Char('d') if ctrl => page / 2,
            _ => return self.type_key(key),
        };
        self.state.step(by, self.shown.len());
        Picked::Open
    }

    fn type_key(&mut self, key: KeyEvent) -> Picked<T> {
        let Some(input) = &mut self.input else { return self.menu_key(key) };
        match input.key(key) {
            Typed::Cancelled => return Picked::Closed,
            Typed::Changed => self.search(),
            _ => {}
        }
        Picked::Open
    }

    fn menu_key(&mut self, key: KeyEvent) -> Picked<T> {
        let KeyCode::Char(sign) = key.code else {
            return if key.code == KeyCode::Esc { Picked::Closed } else { Picked::Open };
        };
        if let Some(at) = self.shown.iter().position(|&c| self.choices[c].key == sign.to_string()) {
            return self.chosen(at);
        }
        match sign {
            'j' => self.state.step(1, self.shown.len()),
            'k' => self.state.step(-1, self.shown.len()),
            'q' | 'c' => return Picked::Closed,
            _ => {}
        }
        Picked::Open
    }

    /// Adds pasted text to the search.
    pub fn paste(&mut self, pasted: &str) {
        if let Some(input) = &mut self.input {
            input.paste(pasted);
            self.search();
        }
    }

    /// A click at `at`: on a choice it chooses, outside it closes.
    pub fn click(&mut self, at: Position) -> Picked<T> {
        match self.state.hit(at, self.shown.len()) {
            Some(Hit::Row(row)) => self.chosen(row),
            _ if self.area.contains(at) => Picked::Open,
            _ => Picked::Closed,
        }
    }

    /// Scrolls by `by` rows.
    pub fn scroll(&mut self, by: isize) {
        self.state.scroll(by, self.shown.len());
    }

    fn chosen(&self, row: usize) -> Picked<T> {
        let choice = self.shown.get(row).map(|&c| self.choices[c].value.clone());
        choice.map_or(Picked::Open, Picked::Chosen)
    }

    fn search(&mut self) {
        let words = self.input.as_ref().map_or("", |input| input.text());
        let pattern = Pattern::parse(words, CaseMatching::Ignore, Normalization::Smart);
        let mut buffer = Vec::new();
        let mut scored: Vec<(u32, usize)> = Vec::new();
        for (at, choice) in self.choices.iter().enumerate() {
            // A hit in the name counts for more than one in the words beside it.
            let name = pattern.score(Utf32Str::new(&choice.name, &mut buffer), &mut self.matcher).map(|s| s * 2);
            let words = format!("{} {} {} {}", choice.name, choice.detail, choice.key, choice.also);
            let all = || pattern.score(Utf32Str::new(&words, &mut buffer), &mut self.matcher);
            scored.extend(name.or_else(all).map(|score| (score, at)));
        }
        scored.sort_by_key(|(score, at)| (std::cmp::Reverse(*score), *at));
        self.shown = scored.into_iter().map(|(_, at)| at).collect();
        self.state.select(0);
    }

    /// Draws the box over `area`.
    pub fn draw(&mut self, area: Rect, ink: &mut Ink<'_>) {
        let widest = |f: &dyn Fn(&Choice<T>) -> usize| self.choices.iter().map(f).max().unwrap_or(0) as u16;
        let name = widest(&|c| text::width(&c.name)).min(area.width / 2).max(8);
        let key = widest(&|c| text::width(&c.key)).min(16);
        let detail = widest(&|c| text::width(&c.detail));
        let gaps = if detail > 0 { 4 } else { 2 };
        let least = if self.input.is_some() { 44 } else { 24 };
        let width = (name + key + detail + gaps + 4).max(self.title.len() as u16 + 6).max(least).min(100);
        let line = u16::from(self.input.is_some()) * 2;
        let height = (self.choices.len() as u16).saturating_add(line + 2).max(3 + line);
        let limit = area.height.saturating_sub(if area.height > 16 { 6 } else { 2 }).max(5);
        self.area = centred(area, width.min(area.width.saturating_sub(2)), height.min(limit));
        clear(self.area, ink.buffer, ink.theme);
        let pane = Pane {
            title: vec![Span::raw(self.title.clone())],
            position: if self.input.is_some() {
                position(self.state.selected(), self.shown.len())
            } else {
                String::new()
            },
            focused: true,
            ..Pane::default()
        };
        let mut inner = pane.draw(self.area, ink.buffer, ink.theme, ink.glyphs);
        if let Some(input) = &self.input {
            let prompt = ink.theme.text.patch(ink.theme.focus);
            ink.buffer.set_stringn(inner.x, inner.y, ink.glyphs.crumb, usize::from(inner.width), prompt);
            let line = Rect { x: inner.x + 2, width: inner.width.saturating_sub(2), height: 1, ..inner };
            input.draw(line, Style::new(), ink);
            inner = Rect { y: inner.y + 2, height: inner.height.saturating_sub(2), ..inner };
        }
        self.rows(inner, [name, detail, key], ink);
    }

    fn rows(&mut self, area: Rect, [name, detail, key]: [u16; 3], ink: &mut Ink<'_>) {
        if self.shown.is_empty() {
            let nothing = ink.theme.text.patch(ink.theme.dim);
            ink.buffer.set_stringn(area.x, area.y, "nothing like that", usize::from(area.width), nothing);
            return;
        }
        let mut columns = vec![Column::new("", Width::Cells(name))];
        if detail > 0 {
            columns.push(Column::new("", Width::Grows(4)).rank(1));
        } else {
            columns[0].width = Width::Grows(4);
        }
        columns.push(Column::new("", Width::Cells(key)).right());
        let (choices, shown, theme): (_, _, &Theme) = (&self.choices, &self.shown, ink.theme);
        let row = |n: usize| {
            let choice = &choices[shown[n]];
            let mut cells = vec![Cell::of(vec![Span::raw(&choice.name)], 0, Cut::Middle)];
            if detail > 0 {
                cells.push(Cell::text(Span::styled(&choice.detail, theme.dim)));
            }
            cells.push(Cell::text(Span::styled(&choice.key, theme.key)));
            Row::from(cells)
        };
        let table = Table {
            columns: &columns,
            len: shown.len(),
            row: &row,
            sort: None,
            focused: true,
            marks: false,
            stacked: false,
        };
        table.draw(area, ink.buffer, &mut self.state, ink.theme, ink.glyphs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(name: &str, key: &str, value: u8) -> Choice<u8> {
        Choice { name: name.into(), detail: String::new(), key: key.into(), also: "", value }
    }

    fn press(picker: &mut Picker<u8>, keys: &str) -> Picked<u8> {
        let mut last = Picked::Open;
        for sign in keys.chars() {
            let code = if sign == '\n' { KeyCode::Enter } else { KeyCode::Char(sign) };
            last = picker.key(KeyEvent::from(code));
        }
        last
    }

    #[test]
    fn searching_finds_by_a_few_letters() {
        let choices = vec![choice("fold-all", "-", 1), choice("yank-digest", "yd", 2), choice("yank-ref", "yr", 3)];
        let mut picker = Picker::searching("actions", choices);
        assert_eq!(press(&mut picker, "ydi\n"), Picked::Chosen(2));
        let mut nothing = Picker::searching("actions", vec![choice("fold", "", 1)]);
        assert_eq!(press(&mut nothing, "zzz\n"), Picked::Open);
        assert_eq!(nothing.key(KeyEvent::from(KeyCode::Esc)), Picked::Closed);
    }

    #[test]
    fn menus_answer_to_their_keys() {
        let mut menu = Picker::menu("sort", vec![choice("name", "n", 1), choice("size", "s", 2)]);
        assert_eq!(press(&mut menu, "s"), Picked::Chosen(2));
        assert_eq!(press(&mut menu, "j\n"), Picked::Chosen(2));
        assert_eq!(press(&mut menu, "q"), Picked::Closed);
    }
}
