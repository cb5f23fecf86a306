//! The box that a build is asked for in: what is built, whether its cache is exported again, by whom, and the command that this is.
//! Nothing is built from here: Enter only means something once the command is shown.

use super::copy_box::{LABEL, options, typed};
use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::text;
use crate::tui::building::{Building, Checked};
use crate::tui::screen::{Look, shell};
use crate::tui::shared::PlaceId;
use crate::tui::widgets::cell::Ink;
use crate::tui::widgets::frame::{Pane, centred, clear};
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::textbox;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::time::Duration;

/// What can be set, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Context,
    Export,
    Builder,
    More,
}

const FIELDS: [Field; 4] = [Field::Context, Field::Export, Field::Builder, Field::More];

/// What a build comes to.
#[derive(Debug)]
pub(super) enum Seen {
    /// It is being checked.
    Waiting,
    /// This.
    Ready(Box<Building>, Checked),
    /// It can't be built; why, and what to do, a line each. Safe text.
    Refused(Vec<String>),
}

/// What a key did to the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// Nothing that matters.
    Open,
    /// It is not wanted any more.
    Closed,
    /// Something else is wanted.
    Changed,
    /// Something else is being typed.
    Typing,
    /// It is to be done.
    Go,
}

/// The cache that is built with.
pub(super) struct Source {
    pub(super) place: PlaceId,
    /// In words. Safe text.
    pub(super) what: String,
    pub(super) from: Location,
    /// Where it would be exported to.
    pub(super) to: Location,
    /// Why nothing may be exported there, if so. Safe text.
    pub(super) fixed: Option<String>,
}

/// A build that is being asked for.
pub(super) struct BuildBox {
    pub(super) source: Source,
    context: Input,
    /// Not at all, all steps, or what the result needs.
    export: usize,
    builder: Input,
    more: Input,
    at: usize,
    pub(super) seen: Seen,
    /// When what is being typed is looked at.
    pub(super) due: Option<Duration>,
}

impl BuildBox {
    pub(super) fn new(source: Source) -> BuildBox {
        let (builder, more) = (Input::default(), Input::default());
        let context = Input::new(".", Vec::new());
        BuildBox { source, context, export: 0, builder, more, at: 0, seen: Seen::Waiting, due: None }
    }

    /// What is wanted. [`crate::error::Kind::Invalid`] without a context, [`crate::error::Kind::Denied`] for an export that may not be.
    pub(super) fn wanted(&self) -> Result<Building> {
        let context = self.context.text().trim();
        if context.is_empty() {
            return Err(Error::invalid("a build needs a context").with_hint("a folder, or the URL of a repository"));
        }
        if let Some(why) = self.source.fixed.as_ref().filter(|_| self.export > 0) {
            return Err(Error::new(crate::error::Kind::Denied, why.clone()).with_hint("build without exporting"));
        }
        let mut arguments: Vec<String> = self.more.text().split_whitespace().map(str::to_owned).collect();
        arguments.push(context.to_owned());
        let builder = Some(self.builder.text().trim().to_owned()).filter(|builder| !builder.is_empty());
        let Source { place, what, from, to, .. } = &self.source;
        let to = (self.export > 0).then(|| (to.clone(), self.export == 1));
        Ok(Building { place: *place, what: what.clone(), from: from.clone(), to, builder, arguments })
    }

    fn input(&mut self) -> Option<&mut Input> {
        match FIELDS[self.at] {
            Field::Context => Some(&mut self.context),
            Field::Builder => Some(&mut self.builder),
            Field::More => Some(&mut self.more),
            Field::Export => None,
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Pressed {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => return Pressed::Go,
            KeyCode::Tab | KeyCode::Down => self.at = (self.at + 1) % FIELDS.len(),
            KeyCode::BackTab | KeyCode::Up => self.at = (self.at + FIELDS.len() - 1) % FIELDS.len(),
            code => {
                if let Some(input) = self.input() {
                    return match input.key(key) {
                        Typed::Cancelled => Pressed::Closed,
                        Typed::Changed => Pressed::Typing,
                        _ => Pressed::Open,
                    };
                }
                match code {
                    KeyCode::Esc | KeyCode::Char('q') => return Pressed::Closed,
                    KeyCode::Char('c') if ctrl => return Pressed::Closed,
                    KeyCode::Right | KeyCode::Char(' ' | 'l') => self.export = (self.export + 1) % 3,
                    KeyCode::Left | KeyCode::Char('h') => self.export = (self.export + 2) % 3,
                    _ => return Pressed::Open,
                }
                return Pressed::Changed;
            }
        }
        Pressed::Open
    }

    pub(super) fn paste(&mut self, pasted: &str) -> Pressed {
        match self.input() {
            Some(input) => {
                input.paste(pasted);
                Pressed::Typing
            }
            None => Pressed::Open,
        }
    }

    pub(super) fn draw(&self, area: Rect, look: Look<'_>, ink: &mut Ink<'_>) {
        let width = area.width.saturating_sub(2).min(92);
        let told = textbox::reflow(&self.told(look), usize::from(width.saturating_sub(4)).max(8));
        let place = centred(area, width, (FIELDS.len() + told.len()) as u16 + 3);
        clear(place, ink.buffer, ink.theme);
        let keys = if width < 60 { "enter builds" } else { "enter builds, tab next, esc closes" };
        let title = vec![Span::raw(format!("build with {}", self.source.what))];
        let pane = Pane { title, position: keys.to_owned(), focused: true, ..Pane::default() };
        let inner = pane.draw(place, ink.buffer, ink.theme, ink.glyphs);
        for (row, field) in FIELDS.iter().enumerate().take(usize::from(inner.height)) {
            let own = row == self.at;
            let line = Rect { y: inner.y + row as u16, height: 1, ..inner };
            let label = match field {
                Field::Context => "context",
                Field::Export => "export",
                Field::Builder => "builder",
                Field::More => "more",
            };
            let style = ink.theme.text.patch(if own { ink.theme.key } else { ink.theme.dim });
            ink.buffer.set_stringn(line.x, line.y, label, usize::from(LABEL.min(line.width)), style);
            let line = Rect { x: line.x + LABEL, width: line.width.saturating_sub(LABEL), ..line };
            match field {
                Field::Context => typed(&self.context, own, "a folder, or the URL of a repository", line, ink),
                Field::Builder => typed(&self.builder, own, "buildx's current one", line, ink),
                Field::More => typed(&self.more, own, "-t NAME, --target STAGE, --push, ..", line, ink),
                Field::Export => {
                    options(&["no", "mode=max: all steps", "mode=min: what results need"], self.export, own, line, ink);
                }
            }
        }
        let top = FIELDS.len() as u16 + 1;
        for (row, line) in told.iter().enumerate() {
            let y = inner.y + top + row as u16;
            if y < inner.bottom() {
                ink.buffer.set_style(Rect { y, height: 1, ..inner }, ink.theme.text);
                ink.buffer.set_line(inner.x, y, line, inner.width);
            }
        }
    }

    /// The command, or why there is none, line by line.
    fn told(&self, look: Look<'_>) -> Vec<Line<'static>> {
        let theme = look.theme;
        match &self.seen {
            Seen::Waiting => vec![Line::from(vec![look.spinner(), look.dim(" asking the builder; nothing is built")])],
            Seen::Refused(why) => why
                .iter()
                .enumerate()
                .map(|(at, line)| {
                    let sign = if at == 0 { look.glyphs.missing } else { " " };
                    let style = if at == 0 { theme.missing } else { theme.dim };
                    Line::from(Span::styled(format!("{sign} {line}"), style))
                })
                .collect(),
            Seen::Ready(_, checked) => {
                let mut lines = vec![look.fact("runs", vec![Span::raw(shell(&checked.words))])];
                if !checked.variables.is_empty() {
                    let names = look.dim(format!("{}, set for it alone", checked.variables.join(", ")));
                    lines.push(look.fact("secrets", vec![names]));
                }
                lines.extend(checked.warnings.iter().map(|warning| {
                    let line = format!("{} {}", look.glyphs.finding, text::safe(warning));
                    Line::from(Span::styled(line, theme.finding))
                }));
                lines
            }
        }
    }
}
