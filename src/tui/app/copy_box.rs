//! The box that a copy is asked for in: where to, under which name, how it is written, and what that comes to. Nothing is sent from
//! here: Enter only means something once what would be sent is shown.

use super::seen::Seen;
use crate::error::{Error, Result};
use crate::model::cache::{Compression, Form};
use crate::model::digest::Digest;
use crate::model::location::Location;
use crate::model::text;
use crate::ops::copy::{Packing, Plan, Version, Wish};
use crate::tui::copying::{Copying, levels};
use crate::tui::screen::{Look, bytes, count, shell};
use crate::tui::shared::PlaceId;
use crate::tui::widgets::cell::Ink;
use crate::tui::widgets::form::{self, Meant, Pressed, Row, Value};
use crate::tui::widgets::input::Input;
use crossterm::event::KeyEvent;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use std::time::Duration;

const FORMS: [Option<Form>; 4] = [None, Some(Form::ImageManifest), Some(Form::Index), Some(Form::DockerList)];
const PACKINGS: [Option<Compression>; 4] =
    [None, Some(Compression::Gzip), Some(Compression::Zstd), Some(Compression::Uncompressed)];
/// Versions that are told one by one.
const TOLD: usize = 4;

/// What can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    To,
    Name,
    Form,
    Mode,
    Packing,
    Level,
    Overwrite,
}

/// What is copied.
pub(super) struct Source {
    pub(super) place: PlaceId,
    pub(super) location: Location,
    pub(super) versions: Vec<Digest>,
    /// In words. Safe text.
    pub(super) what: String,
    /// The names they have. Safe text.
    pub(super) names: String,
}

/// A copy that is being asked for.
pub(super) struct CopyBox {
    pub(super) source: Source,
    /// Where to, without a name there.
    to: Option<Location>,
    name: Input,
    level: Input,
    form: usize,
    min: bool,
    packing: usize,
    overwrite: bool,
    at: Field,
    pub(super) seen: Seen<(Box<Copying>, Box<Plan>)>,
    /// When what is being typed is looked at.
    pub(super) due: Option<Duration>,
}

impl CopyBox {
    pub(super) fn new(source: Source) -> CopyBox {
        CopyBox {
            source,
            to: None,
            name: Input::default(),
            level: Input::default(),
            form: 0,
            min: false,
            packing: 0,
            overwrite: false,
            at: Field::Name,
            seen: Seen::Waiting,
            due: None,
        }
    }

    /// Another destination. A name that it asks for is that of a single version.
    pub(super) fn go_to(&mut self, to: Location) {
        if self.source.versions.len() == 1 {
            self.name = Input::new(to.asked_names().join(";"), Vec::new());
        }
        self.to = Some(to.asking_for_none());
        if !self.fields().contains(&self.at) {
            self.at = Field::Name;
        }
    }

    /// Whether a destination was chosen.
    pub(super) fn has_destination(&self) -> bool {
        self.to.is_some()
    }

    /// Whether manifests are written there.
    fn has_forms(&self) -> bool {
        self.to.as_ref().is_some_and(|to| matches!(to.kind(), "local" | "registry"))
    }

    /// The fields there are now, in their order.
    fn fields(&self) -> Vec<Field> {
        let all = [Field::To, Field::Name, Field::Form, Field::Mode, Field::Packing, Field::Level, Field::Overwrite];
        let has_level = PACKINGS[self.packing].is_some_and(|compression| !levels(compression).is_empty());
        let there = |field: &Field| match field {
            Field::Form => self.has_forms(),
            Field::Level => has_level,
            _ => true,
        };
        all.into_iter().filter(there).collect()
    }

    /// What is wanted. Errors: [`crate::error::Kind::Invalid`] for what was typed.
    pub(super) fn wanted(&self) -> Result<Copying> {
        let to = self.to.clone().ok_or_else(|| Error::invalid("where to is not said yet"))?;
        let name = self.name.text().trim();
        let to = if name.is_empty() { to } else { to.asking_for(name) };
        let packing = match PACKINGS[self.packing] {
            None => None,
            Some(compression) => {
                let typed = self.level.text().trim();
                let has = levels(compression);
                let level = match typed {
                    _ if has.is_empty() => None,
                    "" => None,
                    typed => Some(typed.parse::<i32>().map_err(|_| {
                        Error::invalid(format!("{} is no level", text::safe(typed))).with_hint(has.to_owned())
                    })?),
                };
                let packing = Packing { compression, level, force: false };
                packing.check()?;
                Some(packing)
            }
        };
        let form = FORMS[self.form].filter(|_| self.has_forms());
        let wish = Wish { form, min: self.min, packing, overwrite: self.overwrite, ..Wish::default() };
        let Source { place, location, versions, what, .. } = &self.source;
        let (source, versions, what) = (location.clone(), versions.clone(), what.clone());
        Ok(Copying { from: *place, source, versions, what, to, wish })
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Pressed {
        match form::key(key, self.input()) {
            Meant::Done(pressed) => pressed,
            Meant::Row(by) => {
                let fields = self.fields();
                self.at = fields[form::turned(self.row(&fields), by, fields.len())];
                Pressed::Open
            }
            Meant::Turn(by) => self.turn(by),
        }
    }

    /// Where the field at which one is stands among `fields`.
    fn row(&self, fields: &[Field]) -> usize {
        fields.iter().position(|field| *field == self.at).unwrap_or(0)
    }

    fn turn(&mut self, by: isize) -> Pressed {
        match self.at {
            Field::To => return Pressed::Elsewhere,
            Field::Form => self.form = form::turned(self.form, by, FORMS.len()),
            Field::Packing => self.packing = form::turned(self.packing, by, PACKINGS.len()),
            Field::Mode => self.min = !self.min,
            Field::Overwrite => self.overwrite = !self.overwrite,
            Field::Name | Field::Level => return Pressed::Open,
        }
        Pressed::Changed
    }

    fn input(&mut self) -> Option<&mut Input> {
        match self.at {
            Field::Name => Some(&mut self.name),
            Field::Level => Some(&mut self.level),
            _ => None,
        }
    }

    pub(super) fn paste(&mut self, pasted: &str) -> Pressed {
        form::paste(self.input(), pasted)
    }

    pub(super) fn draw(&self, area: Rect, look: Look<'_>, ink: &mut Ink<'_>) {
        let fields = self.fields();
        let told = self.seen.told("looking at both places; nothing is sent", look, |(copying, plan)| {
            let mut lines = comes_to(plan, look);
            lines.push(look.fact("same as", vec![look.dim(shell(&copying.command()))]));
            lines
        });
        let title = format!("copy {} of {}", self.source.what, self.source.location.title());
        let keys = ["enter copies, tab next, left and right change, esc closes", "enter copies"];
        let rows = fields.iter().map(|field| self.shown(*field)).collect();
        form::Form { title, keys, rows, at: self.row(&fields), told }.draw(area, ink);
    }

    fn shown(&self, field: Field) -> Row<'_> {
        let row = |label, value| Row { label, value };
        match field {
            Field::To => row("to", Value::Shown(self.to.as_ref().map(Location::title).unwrap_or_default())),
            Field::Name => {
                let empty = match self.source.names.as_str() {
                    "" => "it has no name here: type one".to_owned(),
                    names => format!("as here: {names}"),
                };
                row("called", Value::Typed(&self.name, empty))
            }
            Field::Form => {
                let names = FORMS.map(|form| form.map_or("as it is", Form::name));
                row("form", Value::Options(names.into(), self.form))
            }
            Field::Mode => {
                let names = vec!["max: all of it", "min: what results need"];
                row("mode", Value::Options(names, usize::from(self.min)))
            }
            Field::Packing => {
                let names = PACKINGS.map(|packing| packing.map_or("as it is", Compression::name));
                row("compressed", Value::Options(names.into(), self.packing))
            }
            Field::Level => {
                let range = PACKINGS[self.packing].map(levels).unwrap_or_default();
                row("level", Value::Typed(&self.level, format!("BuildKit's own; {range}")))
            }
            Field::Overwrite => {
                let names = vec!["no: names there stay", "yes: lead them here"];
                row("overwrite", Value::Options(names, usize::from(self.overwrite)))
            }
        }
    }
}

/// What a copy comes to: bytes, names, and what deserves to be known.
fn comes_to(plan: &Plan, look: Look<'_>) -> Vec<Line<'static>> {
    let (shared, theme) = (look.shared, look.theme);
    let amount = |blobs: usize, size: u64| format!("{}, {}", count(blobs, "blob"), bytes(size, shared));
    let there = plan.blobs.iter().filter(|blob| blob.there);
    let (there, there_bytes) = there.fold((0, 0), |(n, sum), blob| (n + 1, sum + blob.size));
    let mut lines = Vec::new();
    if plan.is_done() {
        let all = format!("{} all of it is there, under these names: nothing to do", look.glyphs.verified);
        lines.push(Line::from(Span::styled(all, theme.verified)));
    } else {
        let mut sends = vec![Span::styled(amount(plan.blobs.len() - there, plan.to_send()), theme.strong)];
        let packs = plan.blobs.iter().filter(|blob| blob.packs).count();
        if packs > 0 {
            sends.push(look.dim(format!("  before {} are packed anew", count(packs, "layer"))));
        }
        lines.push(look.fact("sends", sends));
    }
    if there > 0 {
        lines.push(look.fact("there", vec![Span::raw(amount(there, there_bytes)), look.dim("  not sent again")]));
    }
    let saves: u64 = plan.versions.iter().map(|version| version.saves).sum();
    if saves > 0 {
        let why = look.dim("  left out: only intermediate steps need it");
        lines.push(look.fact("saves", vec![Span::raw(bytes(saves, shared)), why]));
    }
    for (at, version) in plan.versions.iter().take(TOLD).enumerate() {
        lines.push(look.fact(if at == 0 { "writes" } else { "" }, writes(version, look)));
    }
    if plan.versions.len() > TOLD {
        lines.push(look.fact("", vec![look.dim(format!("and {} more", plan.versions.len() - TOLD))]));
    }
    for warning in &plan.warnings {
        let line = format!("{} {}", look.glyphs.finding, text::safe(warning));
        lines.push(Line::from(Span::styled(line, theme.finding)));
    }
    lines
}

/// A version as it will be: its names there, how it is written, and what those names led to.
fn writes(version: &Version, look: Look<'_>) -> Vec<Span<'static>> {
    let theme = look.theme;
    let names: Vec<_> = version.names.iter().map(|named| text::safe(&named.name).into_owned()).collect();
    let digest = version.digest.map(|digest| format!("  {}", digest.short())).unwrap_or_default();
    let mut parts = vec![
        Span::raw(text::fit_middle(&names.join(", "), 40, look.glyphs.ellipsis).into_owned()),
        look.dim(format!("  {}{digest}", version.form.name())),
    ];
    let differs = version.names.iter().find(|named| named.leads_to.is_some() && named.leads_to != version.digest);
    match differs.and_then(|named| named.leads_to) {
        _ if version.is_done() => parts.push(Span::styled("  there already", theme.verified)),
        Some(old) if version.digest.is_some() => {
            parts.push(Span::styled(format!("  instead of {}", old.short()), theme.finding));
        }
        _ => {}
    }
    parts
}
