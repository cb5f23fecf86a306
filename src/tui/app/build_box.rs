//! The box that a build is asked for in: what is built, whether its cache is exported again, by whom, and the command that this is.
//! Nothing is built from here: Enter only means something once the command is shown.

use super::seen::Seen;
use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::text;
use crate::ops::build::Target;
use crate::tui::building::{Building, Checked};
use crate::tui::screen::{Look, shell};
use crate::tui::shared::PlaceId;
use crate::tui::widgets::cell::Ink;
use crate::tui::widgets::form::{self, Form, Meant, Pressed, Row, Value};
use crate::tui::widgets::input::Input;
use crossterm::event::KeyEvent;
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
const EXPORTS: [&str; 3] = ["no", "mode=max: all steps", "mode=min: what results need"];

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
    /// Which of [`EXPORTS`].
    export: usize,
    builder: Input,
    more: Input,
    at: usize,
    pub(super) seen: Seen<(Box<Building>, Checked)>,
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
        let more = self.more.text().split_whitespace().map(str::to_owned).collect();
        let target = match self.builder.text().trim() {
            "" => Target::Buildx(None),
            address if address.contains("://") => Target::Buildctl(address.to_owned()),
            name => Target::Buildx(Some(name.to_owned())),
        };
        let Source { place, what, from, to, .. } = &self.source;
        let to = (self.export > 0).then(|| (to.clone(), self.export == 1));
        let context = context.to_owned();
        Ok(Building { place: *place, what: what.clone(), from: from.clone(), to, target, context, more })
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
        match form::key(key, self.input()) {
            Meant::Done(pressed) => pressed,
            Meant::Row(by) => {
                self.at = form::turned(self.at, by, FIELDS.len());
                Pressed::Open
            }
            Meant::Turn(by) => {
                self.export = form::turned(self.export, by, EXPORTS.len());
                Pressed::Changed
            }
        }
    }

    pub(super) fn paste(&mut self, pasted: &str) -> Pressed {
        form::paste(self.input(), pasted)
    }

    pub(super) fn draw(&self, area: Rect, look: Look<'_>, ink: &mut Ink<'_>) {
        let typed = |label, input, empty: &str| Row { label, value: Value::Typed(input, empty.to_owned()) };
        let rows = FIELDS.map(|field| match field {
            Field::Context => typed("context", &self.context, "a folder, or the URL of a repository"),
            Field::Export => Row { label: "export", value: Value::Options(EXPORTS.to_vec(), self.export) },
            Field::Builder => {
                typed("builder", &self.builder, "buildx's current one; buildctl with tcp://.. or unix://..")
            }
            Field::More => typed("more", &self.more, "-t NAME, --target STAGE, --push, .."),
        });
        let told = self.seen.told("asking the builder; nothing is built", look, |(_, checked)| command(checked, look));
        let title = format!("build with {}", self.source.what);
        let keys = ["enter builds, tab next, esc closes", "enter builds"];
        Form { title, keys, rows: rows.into(), at: self.at, told }.draw(area, ink);
    }
}

/// The command, line by line, and what deserves to be known.
fn command(checked: &Checked, look: Look<'_>) -> Vec<Line<'static>> {
    let mut lines = vec![look.fact("runs", vec![Span::raw(shell(&checked.words))])];
    if !checked.variables.is_empty() {
        let names = look.dim(format!("{}, set for it alone", checked.variables.join(", ")));
        lines.push(look.fact("secrets", vec![names]));
    }
    lines.extend(checked.warnings.iter().map(|warning| {
        let line = format!("{} {}", look.glyphs.finding, text::safe(warning));
        Line::from(Span::styled(line, look.theme.finding))
    }));
    lines
}
