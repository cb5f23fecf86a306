//! The signs the screens draw with, one cell each, and their ASCII twins. Nothing here carries colour.

/// One set of signs. Every sign is exactly one cell wide, except where its line says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// A tag reaches it.
    pub live: &'static str,
    /// Only an untagged version reaches it.
    pub dangling: &'static str,
    /// Nothing reaches it.
    pub orphan: &'static str,
    /// It should be there and is not, or is damaged.
    pub missing: &'static str,
    /// A finding.
    pub finding: &'static str,
    /// Protected from removal.
    pub pinned: &'static str,
    /// Checked and sound.
    pub verified: &'static str,
    /// A folded node.
    pub folded: &'static str,
    /// An unfolded node.
    pub unfolded: &'static str,
    /// A node without children.
    pub leaf: &'static str,
    /// Branch of a tree with more siblings below; two cells.
    pub branch: &'static str,
    /// Last branch of a tree; two cells.
    pub last: &'static str,
    /// Trunk that goes on below; two cells.
    pub trunk: &'static str,
    /// A link to another node; two cells.
    pub link: &'static str,
    /// Between crumbs.
    pub crumb: &'static str,
    /// In front of the selected row.
    pub cursor: &'static str,
    /// In front of a marked row.
    pub mark: &'static str,
    /// Sorted upwards, downwards.
    pub sort: [&'static str; 2],
    /// Stands for what was cut; two cells in ASCII.
    pub ellipsis: &'static str,
    /// Parts of one line.
    pub dot: &'static str,
    /// Eighths of a bar, from one to eight.
    pub eighths: [&'static str; 8],
    /// The empty part of a bar.
    pub track: &'static str,
    /// Frames of the spinner.
    pub spinner: &'static [&'static str],
    /// Corners and sides of a panel: top left, top right, bottom left, bottom right, horizontal, vertical.
    pub border: [&'static str; 6],
    /// The thumb of a scroll bar.
    pub thumb: &'static str,
    /// Whether this is the ASCII set.
    pub ascii: bool,
}

/// The default set.
pub const UNICODE: Glyphs = Glyphs {
    live: "●",
    dangling: "◌",
    orphan: "○",
    missing: "✕",
    finding: "!",
    pinned: "◆",
    verified: "✓",
    folded: "▸",
    unfolded: "▾",
    leaf: "·",
    branch: "├─",
    last: "└─",
    trunk: "│ ",
    link: "─▶",
    crumb: "›",
    cursor: "▌",
    mark: "◼",
    sort: ["▴", "▾"],
    ellipsis: "…",
    dot: "·",
    eighths: ["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
    track: "·",
    spinner: &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
    border: ["╭", "╮", "╰", "╯", "─", "│"],
    thumb: "┃",
    ascii: false,
};

/// The set for terminals and fonts without the signs above: 7-bit only.
pub const ASCII: Glyphs = Glyphs {
    live: "*",
    dangling: "~",
    orphan: "o",
    missing: "x",
    finding: "!",
    pinned: "P",
    verified: "+",
    folded: ">",
    unfolded: "v",
    leaf: ".",
    branch: "|-",
    last: "`-",
    trunk: "| ",
    link: "->",
    crumb: ">",
    cursor: ">",
    mark: "#",
    sort: ["^", "v"],
    ellipsis: "..",
    dot: "|",
    eighths: [" ", " ", " ", "#", "#", "#", "#", "#"],
    track: ".",
    spinner: &["|", "/", "-", "\\"],
    border: ["+", "+", "+", "+", "-", "|"],
    thumb: "#",
    ascii: true,
};

impl Glyphs {
    /// The ASCII set if `ascii`, else the Unicode one.
    pub fn pick(ascii: bool) -> &'static Glyphs {
        if ascii { &ASCII } else { &UNICODE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn every_sign_keeps_the_columns() {
        for set in [&UNICODE, &ASCII] {
            let one = [
                set.live,
                set.dangling,
                set.orphan,
                set.missing,
                set.finding,
                set.pinned,
                set.verified,
                set.folded,
                set.unfolded,
                set.leaf,
                set.crumb,
                set.cursor,
                set.mark,
                set.dot,
                set.track,
                set.thumb,
            ];
            let more = set.sort.iter().chain(&set.eighths).chain(set.spinner).chain(&set.border);
            for sign in one.iter().chain(more) {
                assert_eq!(sign.width(), 1, "{sign:?}");
            }
            for sign in [set.branch, set.last, set.trunk, set.link] {
                assert_eq!(sign.width(), 2, "{sign:?}");
            }
        }
    }

    #[test]
    fn the_twin_is_seven_bit() {
        assert!(format!("{ASCII:?}").is_ascii());
    }
}
