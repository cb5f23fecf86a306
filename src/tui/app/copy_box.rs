//! The box that a copy is asked for in: where to, under which name, how it is written, and what that comes to. Nothing is sent from
//! here: Enter only means something once what would be sent is shown.

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
use crate::tui::widgets::frame::{Pane, centred, clear};
use crate::tui::widgets::input::{Input, Typed};
use crate::tui::widgets::textbox;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use std::time::Duration;

const FORMS: [Option<Form>; 4] = [None, Some(Form::ImageManifest), Some(Form::Index), Some(Form::DockerList)];
const PACKINGS: [Option<Compression>; 4] =
    [None, Some(Compression::Gzip), Some(Compression::Zstd), Some(Compression::Uncompressed)];
/// Cells that labels take.
pub(super) const LABEL: u16 = 11;
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

/// What a copy would come to.
#[derive(Debug)]
pub(super) enum Seen {
    /// It is being looked at.
    Waiting,
    /// This.
    Ready(Box<Copying>, Box<Plan>),
    /// It can't be made; why, and what to do, a line each. Safe text.
    Refused(Vec<String>),
}

/// What a key did to the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// Nothing that matters.
    Open,
    /// It is not wanted any more.
    Closed,
    /// Another destination is wanted.
    Elsewhere,
    /// Something else is wanted.
    Changed,
    /// Something else is being typed.
    Typing,
    /// It is to be done.
    Go,
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
    pub(super) seen: Seen,
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
        let fields = self.fields();
        let at = fields.iter().position(|field| *field == self.at).unwrap_or(0);
        let next = |by: usize| fields[(at + by) % fields.len()];
        match key.code {
            KeyCode::Enter => return Pressed::Go,
            KeyCode::Tab | KeyCode::Down => self.at = next(1),
            KeyCode::BackTab | KeyCode::Up => self.at = next(fields.len() - 1),
            _ => return self.field_key(key),
        }
        Pressed::Open
    }

    fn field_key(&mut self, key: KeyEvent) -> Pressed {
        if let Some(input) = self.input() {
            return match input.key(key) {
                Typed::Cancelled => Pressed::Closed,
                Typed::Changed => Pressed::Typing,
                _ => Pressed::Open,
            };
        }
        let ctrl = key.modifiers.contains(crossterm::event::KeyModifiers::CONTROL);
        let by = match key.code {
            KeyCode::Esc => return Pressed::Closed,
            KeyCode::Char('c') if ctrl => return Pressed::Closed,
            KeyCode::Char('j') => {
                return self.key(KeyEvent::from(KeyCode::Down));
            }
            KeyCode::Char('k') => return self.key(KeyEvent::from(KeyCode::Up)),
            KeyCode::Char('q') => return Pressed::Closed,
            KeyCode::Right | KeyCode::Char(' ' | 'l') => 1,
            KeyCode::Left | KeyCode::Char('h') => 3,
            _ => return Pressed::Open,
        };
        match self.at {
            Field::To => return Pressed::Elsewhere,
            Field::Form => self.form = (self.form + by) % FORMS.len(),
            Field::Packing => self.packing = (self.packing + by) % PACKINGS.len(),
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
        let fields = self.fields();
        let place = centred(area, width, (fields.len() + told.len()) as u16 + 3);
        clear(place, ink.buffer, ink.theme);
        let keys = match width {
            0..60 => "enter copies",
            _ => "enter copies, tab next, left and right change, esc closes",
        };
        let title = vec![Span::raw(format!("copy {} of {}", self.source.what, self.source.location.title()))];
        let pane = Pane { title, position: keys.to_owned(), focused: true, ..Pane::default() };
        let inner = pane.draw(place, ink.buffer, ink.theme, ink.glyphs);
        // Where not all has room, that is the fields' matter: what it comes to is what counts.
        let below = (told.len() as u16).min(inner.height.saturating_sub(2));
        let room = inner.height.saturating_sub(below);
        let shown = usize::from(if room > fields.len() as u16 { room - 1 } else { room }).min(fields.len());
        let at = fields.iter().position(|field| *field == self.at).unwrap_or(0);
        let from = (at + 1).saturating_sub(shown).min(fields.len() - shown);
        for (row, field) in fields.iter().skip(from).take(shown).enumerate() {
            self.field(*field, Rect { y: inner.y + row as u16, height: 1, ..inner }, ink);
        }
        for (row, line) in told.iter().take(usize::from(below)).enumerate() {
            let y = inner.bottom() - below + row as u16;
            ink.buffer.set_style(Rect { y, height: 1, ..inner }, ink.theme.text);
            ink.buffer.set_line(inner.x, y, line, inner.width);
        }
    }

    fn field(&self, field: Field, area: Rect, ink: &mut Ink<'_>) {
        let own = field == self.at;
        let theme = ink.theme;
        let label = match field {
            Field::To => "to",
            Field::Name => "called",
            Field::Form => "form",
            Field::Mode => "mode",
            Field::Packing => "compressed",
            Field::Level => "level",
            Field::Overwrite => "overwrite",
        };
        let style = theme.text.patch(if own { theme.key } else { theme.dim });
        ink.buffer.set_stringn(area.x, area.y, label, usize::from(LABEL.min(area.width)), style);
        let area = Rect { x: area.x + LABEL, width: area.width.saturating_sub(LABEL), ..area };
        let names = self.source.names.clone();
        match field {
            Field::To => {
                let title = self.to.as_ref().map(Location::title).unwrap_or_default();
                let shown = text::fit_middle(&title, usize::from(area.width), ink.glyphs.ellipsis).into_owned();
                let style = if own { theme.text.patch(theme.selection) } else { theme.text };
                ink.buffer.set_stringn(area.x, area.y, shown, usize::from(area.width), style);
            }
            Field::Name if names.is_empty() => typed(&self.name, own, "it has no name here: type one", area, ink),
            Field::Name => typed(&self.name, own, &format!("as here: {names}"), area, ink),
            Field::Level => {
                let range = PACKINGS[self.packing].map(levels).unwrap_or_default();
                typed(&self.level, own, &format!("BuildKit's own; {range}"), area, ink);
            }
            Field::Form => {
                let names = FORMS.map(|form| form.map_or("as it is", Form::name));
                options(&names, self.form, own, area, ink);
            }
            Field::Packing => {
                let names = PACKINGS.map(|packing| packing.map_or("as it is", Compression::name));
                options(&names, self.packing, own, area, ink);
            }
            Field::Mode => {
                options(&["max: all of it", "min: what results need"], usize::from(self.min), own, area, ink)
            }
            Field::Overwrite => {
                let names = ["no: names there stay", "yes: lead them here"];
                options(&names, usize::from(self.overwrite), own, area, ink);
            }
        }
    }

    /// What it comes to, line by line.
    fn told(&self, look: Look<'_>) -> Vec<Line<'static>> {
        let theme = look.theme;
        let mut lines = Vec::new();
        match &self.seen {
            Seen::Waiting => {
                lines.push(Line::from(vec![look.spinner(), look.dim(" looking at both places; nothing is sent")]));
            }
            Seen::Refused(why) => {
                for (at, line) in why.iter().enumerate() {
                    let sign = if at == 0 { format!("{} ", look.glyphs.missing) } else { "  ".to_owned() };
                    let style = if at == 0 { theme.missing } else { theme.dim };
                    lines.push(Line::from(vec![Span::styled(sign, style), Span::styled(line.clone(), style)]));
                }
            }
            Seen::Ready(copying, plan) => {
                lines.extend(comes_to(plan, look));
                let command = shell(&copying.command());
                lines.push(look.fact("same as", vec![look.dim(command)]));
            }
        }
        lines
    }
}

/// A line to type, or what holds while there is nothing in it.
pub(super) fn typed(input: &Input, own: bool, empty: &str, area: Rect, ink: &mut Ink<'_>) {
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
pub(super) fn options(names: &[&str], chosen: usize, own: bool, area: Rect, ink: &mut Ink<'_>) {
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
