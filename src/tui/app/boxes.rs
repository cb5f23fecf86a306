//! Boxes over the screen: choosing, typing, reading. They hold the keys while they are open.

use super::App;
use super::build_box::BuildBox;
use super::confirm::{Confirm, Filling};
use super::copy_box::CopyBox;
use crate::model::text;
use crate::tui::screen::{Answer, Mouse, Question};
use crate::tui::shared::error_line;
use crate::tui::widgets::cell::Ink;
use crate::tui::widgets::frame::{Pane, centred, clear, thumb};
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::picker::{Choice, Picked, Picker};
use crate::tui::widgets::textbox::{self, Scroll};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// What lies over the screen.
pub(super) enum Modal {
    /// Something to choose from.
    Pick(Box<Picker<Answer>>),
    /// A line to type.
    Type(Box<Prompt>),
    /// Text to read.
    Read(Box<Reading>),
    /// A change to confirm.
    Confirm(Box<Confirm>),
    /// What a pin needs.
    Fill(Box<Filling>),
    /// A copy that is asked for.
    Copy(Box<CopyBox>),
    /// A build that is asked for.
    Build(Box<BuildBox>),
}

/// A line being typed, at the bottom of the screen.
pub(super) struct Prompt {
    question: Question,
    pub(super) input: Input,
    /// What was searched before, to go back to.
    before: String,
    /// Why what is typed can't be taken.
    problem: Option<String>,
    /// What Tab completes to.
    pub(super) words: Vec<String>,
    /// Whether rows that do not fit are hidden.
    pub(super) filters: bool,
}

/// Text in a box.
pub(super) struct Reading {
    title: String,
    lines: Vec<Line<'static>>,
    /// How many lines they were when they were drawn last, broken where the box is narrow.
    drawn: usize,
    scroll: Scroll,
    area: Rect,
    /// What `y` copies.
    pub(super) copies: Option<String>,
}

impl Modal {
    /// Text to read.
    pub(super) fn text(title: impl Into<String>, lines: Vec<Line<'static>>) -> Modal {
        let (scroll, area) = (Scroll::default(), Rect::default());
        Modal::Read(Box::new(Reading { title: title.into(), drawn: lines.len(), lines, scroll, area, copies: None }))
    }
}

impl Prompt {
    pub(super) fn new(question: Question, text: String, history: Vec<String>) -> Prompt {
        let words = match question {
            Question::Location | Question::Source => vec!["type=local,src=".to_owned()],
            Question::Destination => vec!["type=local,dest=".to_owned()],
            _ => Vec::new(),
        };
        let input = Input::new(text.clone(), history);
        Prompt { question, input, before: text, problem: None, words, filters: false }
    }

    fn label(&self) -> &'static str {
        match self.question {
            Question::Search if self.filters => "filter",
            Question::Search => "find",
            Question::Location => "add location",
            Question::Destination => "copy to",
            Question::Source => "fetch from",
            Question::Folder => "extract into folder",
            Question::File => "write to file",
            Question::Pattern => "find file in layers",
            Question::Rule(rule) => rule.label(),
        }
    }

    fn hint(&self) -> String {
        match self.question {
            Question::Search if self.words.is_empty() => "enter keeps, esc drops; n next, N previous".to_owned(),
            Question::Search => {
                format!("words, re:.., fz:.., !.., or {} with = != ~= > <; tab completes", self.words.join(" "))
            }
            Question::Location | Question::Source => "a folder, type=local,src=.., or @name from the config".to_owned(),
            Question::Destination => "a folder (./new is made), type=s3,bucket=.., or @name from the config".to_owned(),
            Question::Folder => "it is made if it is not there; nothing is overwritten".to_owned(),
            Question::File => "a file that exists is not overwritten".to_owned(),
            Question::Pattern => "a name, /a/whole/path, or a glob like *.json or usr/**/node".to_owned(),
            Question::Rule(rule) => rule.hint().to_owned(),
        }
    }

    /// Completes the last word to what all words that begin like it have in common.
    fn complete(&mut self) {
        let typed = self.input.text().to_owned();
        let from = typed.rfind([' ', '!']).map_or(0, |at| at + 1);
        let (head, word) = typed.split_at(from);
        let mut fits = self.words.iter().filter(|w| w.starts_with(word));
        let Some(first) = fits.next().filter(|_| !word.is_empty() || self.words.len() == 1) else { return };
        let common = fits.fold(first.as_str(), |common, next| {
            let same = common.bytes().zip(next.bytes()).take_while(|(a, b)| a == b).count();
            &common[..same]
        });
        self.input.set(format!("{head}{common}"));
    }

    fn answer(&self) -> Answer {
        let text = self.input.text().to_owned();
        match self.question {
            Question::Search => Answer::Search(text),
            Question::Location => Answer::Location(text),
            Question::Destination => Answer::Destination(text),
            Question::Source => Answer::Source(text),
            Question::Folder => Answer::Folder(text),
            Question::File => Answer::File(text),
            Question::Pattern => Answer::Pattern(text),
            Question::Rule(rule) => Answer::Rule(rule, text),
        }
    }

    /// Draws it into the bottom lines of `area`, two high: the line, and what may be typed or is wrong.
    pub(super) fn draw(&self, area: Rect, ink: &mut Ink<'_>) {
        clear(area, ink.buffer, ink.theme);
        let width = usize::from(area.width.saturating_sub(2));
        let label = format!("{} {} ", self.label(), ink.glyphs.crumb);
        let style = ink.theme.text.patch(ink.theme.focus).patch(ink.theme.strong);
        let x = ink.buffer.set_stringn(area.x + 1, area.y, &label, width, style).0;
        let line = Rect { x, width: area.right().saturating_sub(x + 1), height: 1, ..area };
        self.input.draw(line, Style::new(), ink);
        if area.height > 1 {
            let (text, style) = match &self.problem {
                Some(problem) => (text::fit_end(problem, width, ink.glyphs.ellipsis).into_owned(), ink.theme.missing),
                None => (text::fit_end(&self.hint(), width, ink.glyphs.ellipsis).into_owned(), ink.theme.dim),
            };
            ink.buffer.set_stringn(area.x + 1, area.y + 1, text, width, ink.theme.text.patch(style));
        }
    }
}

impl Reading {
    pub(super) fn draw(&mut self, area: Rect, ink: &mut Ink<'_>) {
        let widest = self.lines.iter().map(Line::width).max().unwrap_or(0) as u16;
        let width = widest.max(self.title.len() as u16 + 4).saturating_add(4).clamp(30, 110);
        let limit = area.height.saturating_sub(2).max(3);
        let width = width.min(area.width);
        let lines = textbox::reflow(&self.lines, usize::from(width.saturating_sub(4)).max(8));
        self.drawn = lines.len();
        self.area = centred(area, width, (lines.len() as u16).saturating_add(2).min(limit));
        clear(self.area, ink.buffer, ink.theme);
        let copies = if self.copies.is_some() { "y copies" } else { "" };
        let pane = Pane {
            title: vec![Span::raw(self.title.clone())],
            note: vec![Span::styled(copies, ink.theme.dim)].into_iter().filter(|s| !s.content.is_empty()).collect(),
            position: "esc closes".to_owned(),
            focused: true,
            ..Pane::default()
        };
        let inner = pane.draw(self.area, ink.buffer, ink.theme, ink.glyphs);
        textbox::draw(lines.len(), &|n| lines[n].clone(), inner, &mut self.scroll, ink);
        thumb(inner, (self.scroll.down, self.scroll.height, lines.len()), ink.buffer, ink.glyphs);
    }

    fn key(&mut self, key: KeyEvent) -> Option<bool> {
        let page = self.scroll.height as isize;
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let by = match key.code {
            KeyCode::Char('d') if ctrl => page / 2,
            KeyCode::Char('u') if ctrl => -page / 2,
            KeyCode::Char('c') if ctrl => return Some(false),
            KeyCode::Char('j') | KeyCode::Down => 1,
            KeyCode::Char('k') | KeyCode::Up => -1,
            KeyCode::PageDown | KeyCode::Char(' ') => page,
            KeyCode::PageUp => -page,
            KeyCode::Char('G') | KeyCode::End => isize::MAX,
            KeyCode::Char('g') | KeyCode::Home => isize::MIN + 1,
            KeyCode::Char('y') if self.copies.is_some() => return Some(true),
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?' | 'i' | '@') => return Some(false),
            _ => 0,
        };
        self.scroll.step(by, self.drawn);
        None
    }
}

impl App {
    pub(super) fn menu(&mut self, title: String, choices: Vec<Choice<Answer>>, at: usize) {
        self.modal = Some(Modal::Pick(Box::new(Picker::menu(title, choices).at(at))));
    }

    pub(super) fn modal_key(&mut self, key: KeyEvent) {
        match &mut self.modal {
            Some(Modal::Pick(picker)) => {
                let picked = picker.key(key);
                self.picked(picked);
            }
            Some(Modal::Read(reading)) => {
                if let Some(copy) = reading.key(key) {
                    if let Some(text) = reading.copies.take().filter(|_| copy) {
                        self.effects.push(super::Effect::Copy(text));
                    }
                    self.modal = None;
                }
            }
            Some(Modal::Type(prompt)) => {
                let typed = prompt.input.key(key);
                self.type_key(typed);
            }
            Some(Modal::Confirm(confirm)) => {
                let settled = confirm.key(key);
                self.settled(settled);
            }
            Some(Modal::Fill(filling)) => {
                let settled = filling.key(key);
                self.settled(settled);
            }
            Some(Modal::Copy(copy)) => {
                let pressed = copy.key(key);
                self.copy_pressed(pressed);
            }
            Some(Modal::Build(build)) => {
                let pressed = build.key(key);
                self.build_pressed(pressed);
            }
            None => {}
        }
    }

    fn type_key(&mut self, typed: Typed) {
        match typed {
            Typed::Changed => self.typed(),
            Typed::Complete => {
                if let Some(Modal::Type(prompt)) = &mut self.modal {
                    prompt.complete();
                }
                self.typed();
            }
            Typed::Done => self.done_typing(),
            Typed::Cancelled => {
                if let Some(Modal::Type(prompt)) = self.modal.take()
                    && prompt.question == Question::Search
                {
                    let before = Answer::Search(prompt.before.clone());
                    // It was accepted once.
                    let _ = self.answer(before);
                }
                self.copy_back();
            }
            Typed::Same | Typed::Other => {}
        }
    }

    /// Searches while the text is being typed.
    pub(super) fn typed(&mut self) {
        let Some(Modal::Type(prompt)) = &mut self.modal else { return };
        prompt.problem = None;
        if prompt.question == Question::Search {
            let answer = prompt.answer();
            let result = self.answer(answer);
            if let (Err(error), Some(Modal::Type(prompt))) = (result, &mut self.modal) {
                prompt.problem = Some(error_line(&error));
            }
        }
    }

    fn done_typing(&mut self) {
        let Some(Modal::Type(mut prompt)) = self.modal.take() else { return };
        let text = prompt.input.text().to_owned();
        // A rule without a value is none.
        if text.trim().is_empty() && !matches!(prompt.question, Question::Search | Question::Rule(_)) {
            return self.copy_back();
        }
        match self.answer(prompt.answer()) {
            Ok(()) => {
                let history = self.history.entry(prompt.question).or_default();
                history.retain(|old| *old != text);
                history.extend(Some(text).filter(|t| !t.is_empty()));
            }
            Err(error) => {
                prompt.problem = Some(error_line(&error));
                self.modal = Some(Modal::Type(prompt));
            }
        }
    }

    fn picked(&mut self, picked: Picked<Answer>) {
        match picked {
            Picked::Open => {}
            Picked::Closed => {
                self.modal = None;
                self.copy_back();
            }
            Picked::Chosen(answer) => {
                self.modal = None;
                if let Err(error) = self.answer(answer) {
                    self.say(crate::tui::shared::Tone::Failed, error_line(&error));
                }
            }
        }
    }

    pub(super) fn modal_mouse(&mut self, mouse: Mouse) {
        match (&mut self.modal, mouse) {
            (Some(Modal::Pick(picker)), Mouse::Click(at) | Mouse::Double(at)) => {
                let picked = picker.click(at);
                self.picked(picked);
            }
            (Some(Modal::Pick(picker)), Mouse::Wheel(_, by)) => picker.scroll(by),
            (Some(Modal::Read(reading)), Mouse::Wheel(_, by)) => reading.scroll.step(by, reading.drawn),
            (Some(Modal::Read(reading)), Mouse::Click(at)) if !reading.area.contains(at) => self.modal = None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_completes_as_far_as_it_is_sure() {
        let mut prompt = Prompt::new(Question::Search, "age>3d !d".into(), Vec::new());
        prompt.words = ["digest", "dangling", "size"].map(String::from).to_vec();
        prompt.complete();
        assert_eq!(prompt.input.text(), "age>3d !d");
        prompt.input.set("age>3d !da");
        prompt.complete();
        assert_eq!(prompt.input.text(), "age>3d !dangling");
    }
}
