//! The lines around the panes: breadcrumb with badges above, keys and status below.

use crate::model::text;
use crate::tui::glyphs::Glyphs;
use crate::tui::theme::Theme;
use crate::tui::widgets::cell::{Cell, Cut, Ink};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Span;

/// The breadcrumb on the left, badges on the right. Crumbs leave from the left, the last one never.
pub fn header(crumbs: &[String], badges: &[Span<'_>], area: Rect, ink: &mut Ink<'_>) {
    let (theme, glyphs) = (ink.theme, ink.glyphs);
    let mut right: Vec<Span<'_>> = Vec::new();
    for badge in badges {
        if !right.is_empty() {
            right.push(Span::styled(format!(" {} ", glyphs.dot), theme.dim));
        }
        right.push(badge.clone());
    }
    let right_cells: usize = right.iter().map(|s| text::width(&s.content)).sum();
    let room = usize::from(area.width).saturating_sub(right_cells + 3);
    let gap = format!(" {} ", glyphs.crumb);
    let width = |from: usize| -> usize {
        let names: usize = crumbs[from..].iter().map(|c| text::width(c)).sum();
        names + (crumbs.len() - from).saturating_sub(1) * 3 + if from > 0 { 5 } else { 0 }
    };
    let from = (0..crumbs.len()).find(|&from| width(from) <= room).unwrap_or(crumbs.len().saturating_sub(1));
    let mut left = Vec::new();
    if from > 0 {
        left.push(Span::styled(format!("..{gap}"), theme.dim));
    }
    for (i, crumb) in crumbs.iter().enumerate().skip(from) {
        let last = i + 1 == crumbs.len();
        left.push(Span::styled(crumb.clone(), if last { theme.strong } else { Style::new() }));
        if !last {
            left.push(Span::styled(gap.clone(), theme.dim));
        }
    }
    let gives = left.len().saturating_sub(1);
    let at = (area.x + 1, area.y);
    Cell::of(left, gives, Cut::Middle).draw(at, room.min(usize::from(area.width.saturating_sub(1))) as u16, false, ink);
    let width = (right_cells as u16).min(area.width.saturating_sub(1));
    Cell::of(right, 0, Cut::End).draw((area.right() - width - 1, area.y), width, true, ink);
}

/// A key and its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The key, short.
    pub key: String,
    /// What it does, in a word.
    pub word: String,
    /// Whether it does nothing here, for the place does not give what it needs.
    pub off: bool,
}

/// As many hints as fit, in order; `help` last of all and always.
pub fn footer(hints: &[Hint], help: &Hint, area: Rect, buffer: &mut Buffer, theme: &Theme) {
    let cells = |hint: &Hint| (text::width(&hint.key) + 1 + text::width(&hint.word)) as u16;
    let mut x = area.x + 1;
    for hint in hints {
        if x + cells(hint) + 2 + cells(help) >= area.right() {
            continue;
        }
        x = put(hint, x, area, buffer, theme) + 2;
    }
    put(help, x.min(area.right().saturating_sub(cells(help))), area, buffer, theme);
}

fn put(hint: &Hint, x: u16, area: Rect, buffer: &mut Buffer, theme: &Theme) -> u16 {
    let room = |x: u16| usize::from(area.right().saturating_sub(x));
    let key = if hint.off { theme.dim } else { theme.key };
    let x = buffer.set_stringn(x, area.y, &hint.key, room(x), theme.text.patch(key)).0;
    buffer.set_stringn(x + 1, area.y, &hint.word, room(x + 1), theme.text.patch(theme.dim)).0
}

/// The status line: what happened on the left, what runs on the right.
pub fn status(left: Vec<Span<'_>>, right: Vec<Span<'_>>, area: Rect, ink: &mut Ink<'_>) {
    let width: usize = right.iter().map(|s| text::width(&s.content)).sum();
    let width = (width as u16).min(area.width.saturating_sub(1));
    let room = area.width.saturating_sub(width + 3);
    let gives = left.len().saturating_sub(1);
    Cell::of(left, gives, Cut::End).draw((area.x + 1, area.y), room, false, ink);
    if width > 0 {
        Cell::of(right, 0, Cut::End).draw((area.right() - width - 1, area.y), width, true, ink);
    }
}

/// A spinner's sign at `beat`.
pub fn spinner(beat: u64, glyphs: &Glyphs) -> &'static str {
    glyphs.spinner[(beat % glyphs.spinner.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::glyphs::UNICODE;

    fn line(width: u16, draw: impl FnOnce(Rect, &mut Ink<'_>)) -> String {
        let area = Rect::new(0, 0, width, 1);
        let mut buffer = Buffer::empty(area);
        let theme = Theme::terminal();
        draw(area, &mut Ink { buffer: &mut buffer, theme: &theme, glyphs: &UNICODE, under: Style::new() });
        (0..width).map(|x| buffer[(x, 0)].symbol()).collect::<String>()
    }

    #[test]
    fn crumbs_leave_from_the_left() {
        let crumbs = ["cachedeck", "local:./.buildcache", "main", "layers"].map(String::from);
        let badges = [Span::raw("RO"), Span::raw("? help")];
        let at = |width| line(width, |area, ink| header(&crumbs, &badges, area, ink));
        assert_eq!(at(64), " cachedeck › local:./.buildcache › main › layers    RO · ? help ");
        assert_eq!(at(40), " .. › main › layers         RO · ? help ");
        assert_eq!(at(22), " .. › l…s RO · ? help ");
    }

    #[test]
    fn the_footer_keeps_help() {
        let hint = |key: &str, word: &str| Hint { key: key.into(), word: word.into(), off: false };
        let hints = [hint("enter", "open"), hint("space", "mark"), hint("/", "filter")];
        let at = |width| line(width, |area, ink| footer(&hints, &hint("?", "help"), area, ink.buffer, ink.theme));
        assert_eq!(at(42).trim_end(), " enter open  space mark  / filter  ? help");
        assert_eq!(at(28).trim_end(), " enter open  ? help");
    }
}
