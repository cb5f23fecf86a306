//! Draws a frame: header, screen, footer, and the box over them.

use super::boxes::Modal;
use super::{App, BEAT, PATIENCE};
use crate::model::text;
use crate::tui::keys::{Action, View};
use crate::tui::pace;
use crate::tui::screen::{Canvas, Look, bytes, count, thousands};
use crate::tui::screens::version_name;
use crate::tui::shared::{Job, Tone};
use crate::tui::theme::Theme;
use crate::tui::widgets::cell::Ink;
use crate::tui::widgets::frame::{Pane, clear};
use crate::tui::widgets::header::{self, Hint};
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

/// Actions whose words may stand in the footer after those of the screen, whatever the table's order.
const LAST: [Action; 2] = [Action::Back, Action::Palette];

impl App {
    /// Draws everything into `frame`.
    pub fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        self.size = (area.width, area.height);
        self.draw_into(area, frame.buffer_mut());
    }

    /// Draws everything into `area` of `buffer`.
    pub fn draw_into(&mut self, area: Rect, buffer: &mut Buffer) {
        self.size = (area.width, area.height);
        clear(area, buffer, &self.theme);
        let last = self.stack.len() - 1;
        // First of all: what is said around the screen is about the rows as they are now.
        self.shared.height = area.height;
        self.stack[last].refresh(&self.shared);
        if self.too_small() {
            return self.draw_too_small(area, buffer);
        }
        let theme = self.theme;
        let last = self.stack.len() - 1;
        self.shared.height = area.height;
        self.stack[last].refresh(&self.shared);
        let mut ink = Ink { buffer, theme: &theme, glyphs: self.glyphs, under: Style::new() };
        let low = area.height < 16;
        let head = u16::from(!low);
        let foot = if low { 1 } else { 2 };
        let body = Rect { y: area.y + head, height: area.height - head - foot, ..area };
        let line = |y| Rect { y, height: 1, ..area };
        if !low {
            self.draw_header(line(area.y), &mut ink);
            self.draw_footer(line(area.bottom() - 2), &mut ink);
        }
        self.draw_status(line(area.bottom() - 1), low, &mut ink);
        let screen = &mut self.stack[last];
        let look = Look { theme: &theme, glyphs: self.glyphs, shared: &self.shared };
        screen.draw(body, &mut Canvas { buffer: &mut *ink.buffer, look, size: self.size, zoomed: self.zoomed });
        self.draw_chord(body, &mut ink);
        match &mut self.modal {
            Some(Modal::Pick(picker)) => picker.draw(body, &mut ink),
            Some(Modal::Read(reading)) => reading.draw(body, &mut ink),
            Some(Modal::Confirm(confirm)) => confirm.draw(body, &mut ink),
            Some(Modal::Fill(filling)) => filling.draw(body, &mut ink),
            Some(Modal::Build(build)) => {
                build.draw(body, Look { theme: &theme, glyphs: self.glyphs, shared: &self.shared }, &mut ink);
            }
            Some(Modal::Copy(copy)) => {
                copy.draw(body, Look { theme: &theme, glyphs: self.glyphs, shared: &self.shared }, &mut ink);
            }
            Some(Modal::Type(prompt)) => {
                prompt.draw(Rect { y: area.bottom() - 2, height: 2, ..area }, &mut ink);
            }
            None => {}
        }
    }

    fn draw_too_small(&self, area: Rect, buffer: &mut Buffer) {
        let (width, height) = (area.width, area.height);
        let says = [
            format!("needs 40x10, have {width}x{height} - q quits"),
            format!("needs 40x10, have {width}x{height}"),
            "needs 40x10".to_owned(),
        ];
        let text = says.iter().find(|text| text.len() <= usize::from(width)).unwrap_or(&says[2]);
        let width = text.len() as u16;
        let x = area.x + area.width.saturating_sub(width) / 2;
        buffer.set_stringn(x, area.y + area.height / 2, text, usize::from(area.width), self.theme.text);
    }

    fn draw_header(&self, area: Rect, ink: &mut Ink<'_>) {
        let mut crumbs = vec!["cachedeck".to_owned()];
        crumbs.extend(self.top().crumbs(&self.shared));
        let (theme, narrow) = (ink.theme, area.width < 80);
        let mut badges: Vec<Span<'_>> = Vec::new();
        if let Some(job) = self.waited_for() {
            badges.push(Span::styled(self.doing(job, narrow), theme.focus));
        }
        if self.frozen.is_some() {
            badges.push(Span::styled("frozen", theme.finding));
        }
        if let Some(base) = self.shared.base.and_then(|base| self.shared.index(base)).filter(|_| !narrow) {
            badges.push(Span::styled(format!("base {}", version_name(base)), theme.pinned));
        }
        let inventory = self.top().place().and_then(|place| self.shared.places.get(place)?.inventory.as_ref());
        for note in inventory.iter().flat_map(|inventory| &inventory.details.notes) {
            badges.push(Span::styled(text::safe(note).into_owned(), theme.finding));
        }
        self.change_badges(area.width < 100, &mut badges, theme);
        if area.width >= 60 {
            badges.push(Span::styled("? help", theme.badge));
        }
        header::header(&crumbs, &badges, area, ink);
    }

    /// What is about to be changed, what is being changed, and whether it may be.
    fn change_badges(&self, narrow: bool, badges: &mut Vec<Span<'_>>, theme: &Theme) {
        let staged = self.shared.drafts.staged();
        if staged > 0 {
            badges.push(Span::styled(format!("{staged} staged"), theme.missing));
        }
        let open = self.shared.changes.open().count();
        if let Some(change) = self.shared.changes.open().next() {
            let beat = (self.shared.clock.as_millis() / BEAT.as_millis()) as u64;
            let mut text = format!("{} {}", header::spinner(beat, self.glyphs), change.kind);
            if let Some(percent) = change.progress.counts().percent() {
                text.push_str(&format!(" {percent}%"));
            }
            if open > 1 {
                text.push_str(&format!(" +{}", open - 1));
            }
            badges.push(Span::styled(text, theme.finding));
        }
        if self.top().view() == View::Plan {
            let key = self.keymap.keys_of(View::Plan, Action::Apply).first().map(|chord| chord.short());
            let words = match key {
                Some(key) if !narrow => format!("DRY RUN - nothing is removed until {key}"),
                _ => "DRY RUN".to_owned(),
            };
            badges.push(Span::styled(words, theme.finding));
        }
        let at = self.top().place().and_then(|place| self.shared.places.get(place));
        let writable = match at {
            Some(place) => place.is_writable(),
            None => self.shared.places.iter().any(crate::tui::shared::Place::is_writable),
        };
        badges.push(Span::styled(if writable { "RW" } else { "RO" }, theme.badge));
    }

    /// The newest job that has run long enough to be worth a word.
    fn waited_for(&self) -> Option<&Job> {
        let patience = |job: &&Job| self.shared.clock >= job.since + PATIENCE;
        self.shared.jobs.running().iter().rev().find(patience)
    }

    fn doing(&self, job: &Job, narrow: bool) -> String {
        let beat = (self.shared.clock.as_millis() / BEAT.as_millis()) as u64;
        let spin = header::spinner(beat, self.glyphs);
        let counts = job.progress.counts();
        let mut text = format!("{spin} {}", job.kind.doing());
        match counts.percent() {
            Some(percent) => text.push_str(&format!(" {percent}%")),
            None if counts.items > 0 && !narrow => text.push_str(&format!(" {}", thousands(counts.items))),
            None => {}
        }
        let waiting = self.shared.jobs.running().len() - 1;
        if waiting > 0 && !narrow {
            text.push_str(&format!(" +{waiting}"));
        }
        text
    }

    fn hints(&self) -> (Vec<Hint>, Hint) {
        let view = self.top().view();
        let hint = |action: Action, word: &str| {
            let key = self.keymap.keys_of(view, action).first().map(|chord| chord.short())?;
            let word = match action {
                Action::Find if !self.top().search().hides => "find",
                _ => self.top().word(action).unwrap_or(word),
            };
            let word = word.to_owned();
            (!word.is_empty()).then_some(Hint { key, word, off: self.refused(action).is_some() })
        };
        let words = || self.keymap.bindings(view).filter(|b| !b.word.is_empty() && b.action != Action::Help);
        let first = words().filter(|b| !LAST.contains(&b.action));
        let last = words().filter(|b| LAST.contains(&b.action));
        let hints = first.chain(last).filter_map(|b| hint(b.action, b.word)).collect();
        let help = hint(Action::Help, "help").unwrap_or(Hint { key: ":".into(), word: "palette".into(), off: false });
        (hints, help)
    }

    fn draw_footer(&self, area: Rect, ink: &mut Ink<'_>) {
        let (mut hints, help) = self.hints();
        if area.width < 60 {
            hints.retain(|h| [":", "q", "enter"].contains(&h.key.as_str()));
        }
        header::footer(&hints, &help, area, ink.buffer, ink.theme);
    }

    fn draw_status(&self, area: Rect, low: bool, ink: &mut Ink<'_>) {
        let theme = ink.theme;
        let left = match &self.said {
            Some((tone, text, _)) => {
                let style = match tone {
                    Tone::Done => theme.verified,
                    Tone::Note => theme.text,
                    Tone::Failed => theme.missing,
                };
                let sign = match tone {
                    Tone::Failed => format!("{} ", ink.glyphs.missing),
                    Tone::Done => format!("{} ", ink.glyphs.verified),
                    Tone::Note => String::new(),
                };
                vec![Span::styled(sign, style), Span::styled(text.clone(), style)]
            }
            None => vec![Span::styled(self.top().status(&self.shared), theme.dim)],
        };
        let mut right = Vec::new();
        if let Some(job) = self.waited_for() {
            let counts = job.progress.counts();
            let mut parts = Vec::new();
            if counts.items > 0 && counts.bytes_total == 0 {
                parts.push(count(counts.items, "blob"));
            }
            if counts.bytes > 0 {
                let of = if counts.bytes_total > 0 {
                    format!(" of {}", bytes(counts.bytes_total, &self.shared))
                } else {
                    String::new()
                };
                parts.push(format!("{}{of}", bytes(counts.bytes, &self.shared)));
                parts.extend(self.pace(job));
            }
            right.push(Span::styled(parts.join("  "), theme.dim));
            if !low {
                // Escape stops only what runs at the place one is at.
                let here = self.top().place().is_none_or(|place| place == job.place);
                right.push(Span::styled(if here { "  esc " } else { "  ^c " }, theme.key));
                right.push(Span::styled("stop", theme.dim));
            }
        }
        header::status(left, right, area, ink);
    }

    /// Rate, and the time left where the total is known.
    fn pace(&self, job: &Job) -> Option<String> {
        let counts = job.progress.counts();
        let samples = [(job.since, 0), (self.shared.clock, counts.bytes)];
        let speed = pace::speed(samples, counts).filter(|_| counts.bytes_total > 0)?;
        let left = speed.left.map(|left| format!("  {} left", pace::words(left)));
        Some(format!("{}/s{}", bytes(speed.rate, &self.shared), left.unwrap_or_default()))
    }

    /// What may follow the first key of a chord.
    fn draw_chord(&self, body: Rect, ink: &mut Ink<'_>) {
        if self.pending.is_empty() {
            return;
        }
        let view = self.top().view();
        let next = self.keymap.continuations(view, &self.pending);
        let lines: Vec<(String, &str)> = next
            .iter()
            .filter_map(|(press, action)| {
                let binding = self.keymap.bindings(view).find(|b| b.action == *action)?;
                Some((press.to_string(), binding.help_in(view)))
            })
            .collect();
        let widest = lines.iter().map(|(key, help)| key.len() + 2 + help.len()).max().unwrap_or(0) as u16;
        let (width, height) = ((widest + 4).min(body.width), (lines.len() as u16 + 2).min(body.height));
        let area = Rect { x: body.right() - width, y: body.bottom() - height, width, height };
        clear(area, ink.buffer, ink.theme);
        let title: Vec<String> = self.pending.iter().map(ToString::to_string).collect();
        let pane = Pane { title: vec![Span::raw(title.join(" "))], focused: true, ..Pane::default() };
        let inner = pane.draw(area, ink.buffer, ink.theme, ink.glyphs);
        for (y, (key, help)) in (inner.y..inner.bottom()).zip(&lines) {
            let room = usize::from(inner.width);
            ink.buffer.set_stringn(inner.x, y, key, room, ink.theme.text.patch(ink.theme.key));
            ink.buffer.set_stringn(inner.x + 3, y, help, room.saturating_sub(3), ink.theme.text.patch(ink.theme.dim));
        }
    }
}
