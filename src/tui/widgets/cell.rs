//! One cell of a table: styled text that knows which of its parts may be cut, or a bar.

use crate::model::text;
use crate::tui::glyphs::Glyphs;
use crate::tui::theme::Theme;
use crate::tui::widgets::bar::bar;
use ratatui::buffer::Buffer;
use ratatui::style::Style;
use ratatui::text::Span;

/// Where text is cut if it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its end goes.
    End,
    /// Its middle goes: names differ at their ends.
    Middle,
    /// Its end goes and nothing says so: digests.
    Clip,
}

/// One cell.
#[derive(Clone, Debug)]
pub enum Cell<'a> {
    /// Styled text; only the part at `gives` is cut.
    Text {
        /// The parts, left to right. Already safe.
        parts: Vec<Span<'a>>,
        /// Which part gives way.
        gives: usize,
        /// Where it is cut.
        cut: Cut,
    },
    /// A bar over the whole column.
    Bar {
        /// How much.
        part: u64,
        /// Of how much.
        whole: u64,
    },
}

impl<'a> Cell<'a> {
    /// Nothing.
    pub fn empty() -> Self {
        Cell::of(Vec::new(), 0, Cut::End)
    }

    /// Text that loses its end.
    pub fn text(text: impl Into<Span<'a>>) -> Self {
        Cell::of(vec![text.into()], 0, Cut::End)
    }

    /// A name: it loses its middle.
    pub fn name(name: impl Into<Span<'a>>) -> Self {
        Cell::of(vec![name.into()], 0, Cut::Middle)
    }

    /// A digest: what does not fit is left out without a sign.
    pub fn digest(digest: impl Into<Span<'a>>) -> Self {
        Cell::of(vec![digest.into()], 0, Cut::Clip)
    }

    /// Several parts, of which the one at `gives` is cut.
    pub fn of(parts: Vec<Span<'a>>, gives: usize, cut: Cut) -> Self {
        Cell::Text { parts, gives, cut }
    }

    /// A bar.
    pub fn bar(part: u64, whole: u64) -> Self {
        Cell::Bar { part, whole }
    }

    /// Cells it would like.
    pub fn width(&self) -> usize {
        match self {
            Cell::Text { parts, .. } => parts.iter().map(|p| text::width(&p.content)).sum(),
            Cell::Bar { .. } => 0,
        }
    }

    /// Draws it into `cells` cells from (`x`, `y`), at the right end if `right`.
    pub fn draw(&self, at: (u16, u16), cells: u16, right: bool, ink: &mut Ink<'_>) {
        let spans = match self {
            Cell::Bar { part, whole } => bar(*part, *whole, cells, ink.theme, ink.glyphs).to_vec(),
            Cell::Text { parts, gives, cut } => fit(parts, *gives, *cut, usize::from(cells), ink.glyphs.ellipsis),
        };
        let width: usize = spans.iter().map(|s| text::width(&s.content)).sum();
        let indent = if right { cells.saturating_sub(width as u16) } else { 0 };
        let (mut x, end) = (at.0 + indent, at.0 + cells);
        for span in spans {
            let style = ink.theme.text.patch(ink.under).patch(span.style);
            x = ink.buffer.set_stringn(x, at.1, &span.content, usize::from(end.saturating_sub(x)), style).0;
        }
    }
}

/// What cells are drawn with.
pub struct Ink<'a> {
    /// Where to.
    pub buffer: &'a mut Buffer,
    /// Styles.
    pub theme: &'a Theme,
    /// Signs.
    pub glyphs: &'a Glyphs,
    /// The style of the row, under the cell's own.
    pub under: Style,
}

/// `parts` in at most `cells` cells.
pub fn fit<'a>(parts: &[Span<'a>], gives: usize, cut: Cut, cells: usize, ellipsis: &str) -> Vec<Span<'a>> {
    let total: usize = parts.iter().map(|p| text::width(&p.content)).sum();
    let mut parts = parts.to_vec();
    if total <= cells {
        return parts;
    }
    if let Some(part) = parts.get_mut(gives) {
        let own = text::width(&part.content);
        let room = own.saturating_sub(total - cells).max(1);
        let content = match cut {
            Cut::End => text::fit_end(&part.content, room, ellipsis).into_owned(),
            Cut::Middle => text::fit_middle(&part.content, room, ellipsis).into_owned(),
            Cut::Clip => text::head(&part.content, room).to_owned(),
        };
        part.content = content.into();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(parts: &[&'static str], gives: usize, cut: Cut, cells: usize) -> String {
        let parts: Vec<Span<'_>> = parts.iter().map(|p| Span::raw(*p)).collect();
        fit(&parts, gives, cut, cells, "…").iter().map(|p| p.content.as_ref()).collect()
    }

    #[test]
    fn only_the_giving_part_is_cut() {
        assert_eq!(fitted(&["├─ ", "feature/login", " 3"], 1, Cut::Middle, 13), "├─ fea…ogin 3");
        assert_eq!(fitted(&["a", "b"], 0, Cut::End, 9), "ab");
        assert_eq!(fitted(&["日本語のタグ"], 0, Cut::End, 6), "日本…");
    }
}
