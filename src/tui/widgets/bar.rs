//! Bars in eighths of a cell on a dim track, and their ASCII twin.

use crate::tui::glyphs::Glyphs;
use crate::tui::theme::Theme;
use ratatui::text::Span;

/// `part` of `whole` as a bar of `cells` cells: the filled part and the track. Anything above nothing shows at least
/// the thinnest bar, and only the whole fills the last cell.
pub fn bar(part: u64, whole: u64, cells: u16, theme: &Theme, glyphs: &Glyphs) -> [Span<'static>; 2] {
    let steps = if glyphs.ascii { 1 } else { 8 };
    let (full, rest) = eighths(part, whole, u64::from(cells) * steps, steps);
    let mut filled = glyphs.eighths[7].repeat(full);
    if rest > 0 {
        filled.push_str(glyphs.eighths[rest - 1]);
    }
    let empty = usize::from(cells) - full - usize::from(rest > 0);
    let sign = if theme.track_is_background { " " } else { glyphs.track };
    // The unfilled part of the last cell continues the track where that is a background.
    let on_track = theme.track.bg.filter(|_| theme.track_is_background);
    let style = on_track.map_or(theme.bar, |bg| theme.bar.bg(bg));
    [Span::styled(filled, style), Span::styled(sign.repeat(empty), theme.track)]
}

/// Full cells and remaining steps out of `total` steps.
fn eighths(part: u64, whole: u64, total: u64, steps: u64) -> (usize, usize) {
    if whole == 0 || part == 0 || total == 0 {
        return (0, 0);
    }
    let part = part.min(whole);
    let exact = (u128::from(part) * u128::from(total) / u128::from(whole)) as u64;
    let filled = exact.clamp(1, if part == whole { total } else { total.saturating_sub(1).max(1) });
    ((filled / steps) as usize, (filled % steps) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::glyphs::{ASCII, UNICODE};

    fn text(part: u64, whole: u64, cells: u16, glyphs: &Glyphs) -> String {
        bar(part, whole, cells, &Theme::terminal(), glyphs).iter().map(|s| s.content.as_ref()).collect()
    }

    #[test]
    fn bars_say_nothing_little_and_all_apart() {
        assert_eq!(text(0, 100, 4, &UNICODE), "····");
        assert_eq!(text(1, 1_000_000, 4, &UNICODE), "▏···");
        assert_eq!(text(50, 100, 4, &UNICODE), "██··");
        assert_eq!(text(9, 16, 4, &UNICODE), "██▎·");
        assert_eq!(text(999_999, 1_000_000, 4, &UNICODE), "███▉");
        assert_eq!(text(100, 100, 4, &UNICODE), "████");
        assert_eq!(text(u64::MAX, u64::MAX, 4, &UNICODE), "████");
        assert_eq!(text(7, 0, 3, &UNICODE), "···");
        assert_eq!(text(1, 2, 4, &ASCII), "##..");
        assert_eq!(text(5, 9, 0, &UNICODE), "");
    }
}
