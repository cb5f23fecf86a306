//! Text that scrolls: previews, peeks, details, the log. It can show where a word was found.

use crate::model::text;
use crate::tui::keys::Action;
use crate::tui::widgets::cell::Ink;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// Where the text is scrolled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scroll {
    /// First line shown.
    pub down: usize,
    /// Cells hidden at the left.
    pub right: usize,
    /// Lines that fit, as drawn last.
    pub height: usize,
}

impl Scroll {
    /// Scrolls by `by` lines of `len`.
    pub fn step(&mut self, by: isize, len: usize) {
        self.down = self.down.saturating_add_signed(by).min(len.saturating_sub(self.height.max(1)));
    }

    /// Scrolls as `action` says; `false` if it scrolls nothing. The end is found when the text is drawn.
    pub fn walk(&mut self, action: Action) -> bool {
        let by = action.distance(self.height);
        self.step(by.unwrap_or(0), usize::MAX);
        by.is_some()
    }

    /// Brings line `line` onto the screen.
    pub fn reveal(&mut self, line: usize) {
        let height = self.height.max(1);
        if line < self.down || line >= self.down + height {
            self.down = line.saturating_sub(height / 3);
        }
    }
}

/// Draws `lines` into `area`; `lines` may be asked for any line number below `len`.
pub fn draw<'a>(len: usize, line: &dyn Fn(usize) -> Line<'a>, area: Rect, scroll: &mut Scroll, ink: &mut Ink<'_>) {
    scroll.height = usize::from(area.height);
    scroll.down = scroll.down.min(len.saturating_sub(scroll.height.max(1)));
    for row in 0..area.height {
        let number = scroll.down + usize::from(row);
        if number >= len {
            return;
        }
        let mut skip = scroll.right;
        let mut x = area.x;
        let line = line(number);
        let cut = line.width().saturating_sub(skip) > usize::from(area.width);
        for span in line.spans {
            let width = text::width(&span.content);
            let content = text::tail(&span.content, width.saturating_sub(skip));
            skip = skip.saturating_sub(width);
            let room = usize::from(area.right().saturating_sub(x));
            let style = ink.theme.text.patch(ink.under).patch(span.style);
            x = ink.buffer.set_stringn(x, area.y + row, content, room, style).0;
        }
        if cut {
            let dots = ink.glyphs.ellipsis;
            let x = area.right().saturating_sub(text::width(dots) as u16).max(area.x);
            ink.buffer.set_stringn(x, area.y + row, dots, usize::from(area.width), ink.theme.text.patch(ink.theme.dim));
        }
    }
}

/// `line` with every occurrence of `word` (lower case; letters' case is ignored) in the style of found text.
pub fn highlight(line: &str, word: &str, ink: ratatui::style::Style) -> Line<'static> {
    let lower = line.to_lowercase();
    // Where lower-casing moves bytes, positions would lie: such lines stay plain.
    if word.is_empty() || lower.len() != line.len() {
        return Line::from(line.to_owned());
    }
    let mut spans = Vec::new();
    let mut from = 0;
    for (at, found) in lower.match_indices(word) {
        let (Some(before), Some(here)) = (line.get(from..at), line.get(at..at + found.len())) else { break };
        spans.push(Span::raw(before.to_owned()));
        spans.push(Span::styled(here.to_owned(), ink));
        from = at + found.len();
    }
    spans.push(Span::raw(line.get(from..).unwrap_or_default().to_owned()));
    Line::from(spans)
}

/// `lines` broken so that none is longer than `cells`. What follows a label stays beside it.
pub fn reflow(lines: &[Line<'static>], cells: usize) -> Vec<Line<'static>> {
    lines.iter().flat_map(|line| if line.width() > cells { broken(line, cells) } else { vec![line.clone()] }).collect()
}

/// The longest label that others are put beside.
const LABEL: usize = 12;

fn broken(line: &Line<'static>, cells: usize) -> Vec<Line<'static>> {
    let label = line.spans.first().filter(|span| span.content.ends_with(' ')).map_or(0, Span::width);
    let indent = if label <= LABEL && label * 3 < cells { label } else { 0 };
    let mut lines = Vec::new();
    let mut parts: Vec<Span<'static>> = Vec::new();
    let mut at = 0;
    let mut end = |parts: &mut Vec<Span<'static>>| {
        if let Some(last) = parts.last_mut() {
            last.content = last.content.trim_end().to_owned().into();
        }
        lines.push(Line::from(std::mem::replace(parts, vec![Span::raw(" ".repeat(indent))])));
        indent
    };
    for span in &line.spans {
        for word in span.content.split_inclusive(' ') {
            let mut word = word;
            if at > indent && at + text::width(word.trim_end()) > cells {
                at = end(&mut parts);
            }
            while at + text::width(word.trim_end()) > cells {
                let head = text::head(word, cells.saturating_sub(at).max(1));
                if head.is_empty() {
                    break;
                }
                parts.push(Span::styled(head.to_owned(), span.style));
                word = &word[head.len()..];
                at = end(&mut parts);
            }
            at += text::width(word);
            parts.push(Span::styled(word.to_owned(), span.style));
        }
    }
    end(&mut parts);
    lines
}

/// `text` broken into lines of at most `cells` cells, at blanks where there are some.
pub fn wrap(text_: &str, cells: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text_.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word = word;
            if !line.is_empty() && text::width(&line) + 1 + text::width(word) > cells {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            while text::width(word) > cells.max(1) {
                let head = text::head(word, cells.max(1));
                if head.is_empty() {
                    break;
                }
                lines.push(head.to_owned());
                word = &word[head.len()..];
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Style;

    #[test]
    fn wrapping_breaks_at_blanks_and_in_long_words_only_if_it_must() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("0123456789 a", 4), ["0123", "4567", "89 a"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
    }

    #[test]
    fn long_lines_go_on_beside_their_label() {
        let line = Line::from(vec![Span::raw("digest   "), Span::raw("sha256:0123456789abcdef0123456789")]);
        let broken = reflow(&[line], 30);
        let text: Vec<String> = broken.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["digest   sha256:0123456789abcd", "         ef0123456789"]);
        let words: Vec<String> = reflow(&[Line::from("one two three")], 8).iter().map(ToString::to_string).collect();
        assert_eq!(words, ["one two", "three"]);
    }

    #[test]
    fn found_words_are_marked_whatever_their_case() {
        let line = highlight("RUN npm run", "run", Style::new().bold());
        let bold: Vec<_> = line.spans.iter().filter(|s| s.style != Style::new()).map(|s| s.content.as_ref()).collect();
        assert_eq!(bold, ["RUN", "run"]);
        assert_eq!(highlight("İx", "x", Style::new().bold()).spans.len(), 1);
    }
}
