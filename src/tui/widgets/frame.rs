//! A pane: a thin border with a title, what it holds at the bottom, and one blank column inside.

use crate::tui::glyphs::Glyphs;
use crate::tui::theme::Theme;
use crate::tui::widgets::cell::{Cut, fit};
use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::text::Span;

/// A pane, ready to be drawn.
#[derive(Clone, Debug, Default)]
pub struct Pane<'a> {
    /// The number key that focuses it.
    pub number: Option<u8>,
    /// Its title.
    pub title: Vec<Span<'a>>,
    /// Tabs after the title, and which one is open.
    pub tabs: Option<(&'a [&'a str], usize)>,
    /// Words in the bottom border, left.
    pub note: Vec<Span<'a>>,
    /// Words in the bottom border, right: the position.
    pub position: String,
    /// Whether it has the focus.
    pub focused: bool,
}

impl Pane<'_> {
    /// Draws the border into `area` and returns the room inside, without the blank columns.
    pub fn draw(&self, area: Rect, buffer: &mut Buffer, theme: &Theme, glyphs: &Glyphs) -> Rect {
        if area.width < 4 || area.height < 2 {
            return Rect { width: 0, height: 0, ..area };
        }
        let line = if self.focused { theme.text.patch(theme.focus) } else { theme.text.patch(theme.border) };
        self.sides(area, buffer, line, glyphs);
        self.top(area, buffer, theme, glyphs);
        self.bottom(area, buffer, theme, glyphs);
        area.inner(Margin { horizontal: 2, vertical: 1 })
    }

    fn sides(&self, area: Rect, buffer: &mut Buffer, style: Style, glyphs: &Glyphs) {
        let [tl, tr, bl, br, across, down] = glyphs.border;
        let (right, bottom) = (area.right() - 1, area.bottom() - 1);
        for x in area.x..area.right() {
            buffer[(x, area.y)].set_symbol(across).set_style(style);
            buffer[(x, bottom)].set_symbol(across).set_style(style);
        }
        for y in area.y..area.bottom() {
            buffer[(area.x, y)].set_symbol(down).set_style(style);
            buffer[(right, y)].set_symbol(down).set_style(style);
        }
        buffer[(area.x, area.y)].set_symbol(tl);
        buffer[(right, area.y)].set_symbol(tr);
        buffer[(area.x, bottom)].set_symbol(bl);
        buffer[(right, bottom)].set_symbol(br);
    }

    fn top(&self, area: Rect, buffer: &mut Buffer, theme: &Theme, glyphs: &Glyphs) {
        let name = if self.focused { theme.focus.patch(theme.strong) } else { theme.text };
        let mut parts = vec![Span::raw(" ")];
        if let Some(number) = self.number {
            parts.push(Span::styled(format!("{number} "), theme.dim));
        }
        let gives = parts.len();
        parts.extend(self.title.iter().map(|t| Span::styled(t.content.clone(), name.patch(t.style))));
        if let Some((tabs, open)) = self.tabs {
            let cells: usize = tabs.iter().map(|tab| tab.len() + 2).sum();
            let between = if cells + 4 > usize::from(area.width) { " " } else { "  " };
            for (i, tab) in tabs.iter().enumerate() {
                let gap = if i > 0 || !self.title.is_empty() { between } else { "" };
                parts.push(Span::raw(gap));
                if i == open {
                    parts.push(Span::styled((*tab).to_owned(), name.patch(theme.strong).patch(theme.open_tab())));
                } else {
                    parts.push(Span::styled((*tab).to_owned(), theme.dim));
                }
            }
        }
        parts.push(Span::raw(" "));
        let room = usize::from(area.width.saturating_sub(3));
        put(area.x + 1, area.y, fit(&parts, gives, Cut::Middle, room, glyphs.ellipsis), room, (buffer, theme));
    }

    fn bottom(&self, area: Rect, buffer: &mut Buffer, theme: &Theme, glyphs: &Glyphs) {
        let y = area.bottom() - 1;
        let mut end = area.right() - 1;
        if !self.position.is_empty() {
            let text = format!(" {} ", self.position);
            let width = super::table::cells(&text);
            if width + 2 < area.width {
                end = end.saturating_sub(width + 1);
                put(end, y, vec![Span::styled(text, theme.dim)], usize::from(width), (buffer, theme));
            }
        }
        let room = usize::from(end.saturating_sub(area.x + 3));
        if !self.note.is_empty() && room > 3 {
            let mut parts = vec![Span::raw(" ")];
            parts.extend(self.note.iter().cloned());
            parts.push(Span::raw(" "));
            put(area.x + 1, y, fit(&parts, self.note.len(), Cut::End, room, glyphs.ellipsis), room, (buffer, theme));
        }
    }
}

/// Draws the thumb of a scroll bar over the right border of the pane around `inner`: the first row shown, rows shown,
/// all rows. Nothing if all are shown.
pub fn thumb(inner: Rect, (first, shown, all): (usize, usize, usize), buffer: &mut Buffer, glyphs: &Glyphs) {
    let track = usize::from(inner.height);
    if shown >= all || track == 0 {
        return;
    }
    let length = (track * shown / all).clamp(1, track);
    let start = (track - length) * first.min(all - shown) / (all - shown);
    for i in start..(start + length).min(track) {
        if let Some(cell) = buffer.cell_mut((inner.right() + 1, inner.y + i as u16)) {
            cell.set_symbol(glyphs.thumb);
        }
    }
}

/// Draws `parts` from (`x`, `y`), at most `room` cells.
fn put(x: u16, y: u16, parts: Vec<Span<'_>>, room: usize, (buffer, theme): (&mut Buffer, &Theme)) {
    let (mut at, end) = (x, x + room as u16);
    let cells: usize = parts.iter().map(|part| crate::model::text::width(&part.content)).sum();
    // The border's own colour must not shine through.
    clear(Rect { x, y, width: cells.min(room) as u16, height: 1 }, buffer, theme);
    for part in parts {
        let left = usize::from(end.saturating_sub(at));
        at = buffer.set_stringn(at, y, &part.content, left, theme.text.patch(part.style)).0;
    }
}

/// Fills `area` with blanks in the theme's own colours.
pub fn clear(area: Rect, buffer: &mut Buffer, theme: &Theme) {
    for position in area.positions() {
        if let Some(cell) = buffer.cell_mut(position) {
            cell.reset();
            cell.set_style(theme.text);
        }
    }
}

/// A place of `width` by `height` in the middle of `area`, or as much of it as there is.
pub fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::glyphs::{ASCII, UNICODE};

    fn lines(pane: &Pane<'_>, width: u16, height: u16, glyphs: &Glyphs) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        let inner = pane.draw(area, &mut buffer, &Theme::terminal(), glyphs);
        thumb(inner, (0, 2, 9), &mut buffer, glyphs);
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        (0..height).map(line).collect()
    }

    #[test]
    fn a_pane_shows_title_tabs_and_position() {
        let pane = Pane { number: Some(2), title: vec!["indexes".into()], position: "3/9".into(), ..Pane::default() };
        assert_eq!(
            lines(&pane, 24, 4, &UNICODE),
            [
                "╭ 2 indexes ───────────╮",
                "│                      ┃",
                "│                      │",
                "╰──────────────── 3/9 ─╯"
            ]
        );
        assert_eq!(lines(&pane, 12, 3, &ASCII)[0], "+ 2 i..es -+");
    }

    #[test]
    fn no_size_is_too_small() {
        let pane = Pane { title: vec!["indexes".into()], note: vec!["x".into()], ..Pane::default() };
        for (w, h) in [(0, 0), (1, 1), (3, 9), (4, 2), (5, 2), (9, 1)] {
            let area = Rect::new(0, 0, w, h);
            pane.draw(area, &mut Buffer::empty(area), &Theme::mono(), &ASCII);
        }
    }
}
