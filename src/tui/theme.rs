//! Themes: styles named by meaning. Screens never name a colour, and no state is told by colour alone.
//!
//! The default theme uses the terminal's own 16 colours and leaves text and background as they are. The `mono` theme
//! sets no colour at all: crossterm writes an empty sequence for a colour under `NO_COLOR`, which would switch the
//! reverse of the selection off.

use crate::error::{Error, Result};
use ratatui::style::{Color, Modifier, Style};

/// Styles by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// The name in the config.
    pub name: &'static str,
    /// Ordinary text, laid under everything.
    pub text: Style,
    /// What matters less: units, headings of columns, borders' neighbours.
    pub dim: Style,
    /// What matters more.
    pub strong: Style,
    /// Borders of panes without the focus.
    pub border: Style,
    /// The one accent: border and title of the focused pane, keys that were found, the place one is at.
    pub focus: Style,
    /// The row under the cursor in the focused pane; laid over the row's own styles.
    pub selection: Style,
    /// The row under the cursor in a pane without focus.
    pub selection_idle: Style,
    /// A marked row's sign.
    pub marked: Style,
    /// Reached by a tag.
    pub live: Style,
    /// Reached by an untagged version only.
    pub dangling: Style,
    /// Reached by nothing.
    pub orphan: Style,
    /// Missing, damaged, failed.
    pub missing: Style,
    /// Protected.
    pub pinned: Style,
    /// Something to look at.
    pub finding: Style,
    /// Checked and sound.
    pub verified: Style,
    /// The filled part of a bar.
    pub bar: Style,
    /// The empty part of a bar.
    pub track: Style,
    /// A key in the footer and help.
    pub key: Style,
    /// Found text.
    pub found: Style,
    /// A badge in the header.
    pub badge: Style,
    /// Whether the empty part of a bar is a background and not a sign.
    pub track_is_background: bool,
}

/// The names one can give, the default first.
pub const NAMES: [&str; 6] = ["default", "dark", "light", "high-contrast", "colour-blind", "mono"];

/// The colours a truecolour theme is made of.
struct Palette {
    name: &'static str,
    back: u32,
    text: u32,
    dim: u32,
    border: u32,
    focus: u32,
    select: (u32, u32),
    live: u32,
    dangling: u32,
    orphan: u32,
    missing: u32,
    pinned: u32,
    bar: u32,
    track: u32,
}

const DARK: Palette = Palette {
    name: "dark",
    back: 0x15181e,
    text: 0xd3d7de,
    dim: 0x79818f,
    border: 0x343a46,
    focus: 0x7aa2f7,
    select: (0x2a3550, 0xf2f4f8),
    live: 0x8fc573,
    dangling: 0xe0b765,
    orphan: 0xc58fd6,
    missing: 0xf07a83,
    pinned: 0x63c4c9,
    bar: 0x6286c4,
    track: 0x252a34,
};

const LIGHT: Palette = Palette {
    name: "light",
    back: 0xfbfbf9,
    text: 0x24272e,
    dim: 0x6f7683,
    border: 0xcfd3da,
    focus: 0x2a5bd0,
    select: (0xd9e4fd, 0x111318),
    live: 0x2c7a30,
    dangling: 0x8f6000,
    orphan: 0x8a3ea8,
    missing: 0xc02532,
    pinned: 0x0a767d,
    bar: 0x6d92dc,
    track: 0xe6e9ee,
};

const HIGH_CONTRAST: Palette = Palette {
    name: "high-contrast",
    back: 0x000000,
    text: 0xffffff,
    dim: 0xd0d0d0,
    border: 0xb0b0b0,
    focus: 0xffe600,
    select: (0xffe600, 0x000000),
    live: 0x62ff62,
    dangling: 0xffc14d,
    orphan: 0xff9dff,
    missing: 0xff8080,
    pinned: 0x66ffff,
    bar: 0xffffff,
    track: 0x4a4a4a,
};

/// Okabe and Ito's colours, which stay apart under the common kinds of colour blindness.
const COLOUR_BLIND: Palette = Palette {
    name: "colour-blind",
    back: 0x15181e,
    text: 0xd9dce2,
    dim: 0x8a919e,
    border: 0x3a404c,
    focus: 0xf0e442,
    select: (0x323a4d, 0xffffff),
    live: 0x56b4e9,
    dangling: 0xe69f00,
    orphan: 0xcc79a7,
    missing: 0xd55e00,
    pinned: 0x1fbf92,
    bar: 0x3f8fc4,
    track: 0x272c36,
};

fn rgb(hex: u32) -> Color {
    let [_, r, g, b] = hex.to_be_bytes();
    Color::Rgb(r, g, b)
}

const PLAIN: Style = Style::new();

impl Theme {
    /// The theme with that name. `Invalid` with the known names if there is none.
    pub fn named(name: &str) -> Result<Theme> {
        match name {
            "default" => Ok(Theme::terminal()),
            "dark" => Ok(Theme::of(&DARK)),
            "light" => Ok(Theme::of(&LIGHT)),
            "high-contrast" => Ok(Theme::of(&HIGH_CONTRAST)),
            "colour-blind" | "color-blind" => Ok(Theme::of(&COLOUR_BLIND)),
            "mono" => Ok(Theme::mono()),
            other => Err(Error::invalid(format!("no theme called {other:?}"))
                .with_hint(format!("themes are {}", NAMES.join(", ")))),
        }
    }

    /// The 16 colours of the terminal's own scheme, on its own background.
    pub fn terminal() -> Theme {
        let dim = PLAIN.add_modifier(Modifier::DIM);
        let accent = PLAIN.fg(Color::LightBlue);
        Theme {
            name: "default",
            text: PLAIN,
            dim,
            strong: PLAIN.add_modifier(Modifier::BOLD),
            border: dim,
            focus: accent,
            // The accent is legible on the background, so its reverse is too, whatever the scheme.
            selection: accent.bg(Color::Reset).add_modifier(Modifier::REVERSED).remove_modifier(Modifier::DIM),
            selection_idle: PLAIN.add_modifier(Modifier::BOLD),
            marked: accent.add_modifier(Modifier::BOLD),
            live: PLAIN.fg(Color::Green),
            dangling: PLAIN.fg(Color::Yellow),
            orphan: PLAIN.fg(Color::Magenta),
            missing: PLAIN.fg(Color::Red),
            pinned: PLAIN.fg(Color::Cyan),
            finding: PLAIN.fg(Color::Yellow).add_modifier(Modifier::BOLD),
            verified: PLAIN.fg(Color::Green),
            bar: accent,
            track: dim,
            key: PLAIN.add_modifier(Modifier::BOLD),
            found: PLAIN.fg(Color::Yellow).add_modifier(Modifier::UNDERLINED),
            badge: dim,
            track_is_background: false,
        }
    }

    /// Attributes only: no colour code is ever written.
    pub fn mono() -> Theme {
        let dim = PLAIN.add_modifier(Modifier::DIM);
        let bold = PLAIN.add_modifier(Modifier::BOLD);
        Theme {
            name: "mono",
            text: PLAIN,
            dim,
            strong: bold,
            border: dim,
            focus: bold,
            selection: PLAIN.add_modifier(Modifier::REVERSED).remove_modifier(Modifier::DIM),
            selection_idle: bold,
            marked: bold,
            live: PLAIN,
            dangling: PLAIN,
            orphan: PLAIN,
            missing: bold,
            pinned: PLAIN,
            finding: bold,
            verified: PLAIN,
            bar: PLAIN,
            track: dim,
            key: bold,
            found: PLAIN.add_modifier(Modifier::UNDERLINED),
            badge: PLAIN,
            track_is_background: false,
        }
    }

    fn of(p: &Palette) -> Theme {
        let fg = |hex: u32| PLAIN.fg(rgb(hex));
        Theme {
            name: p.name,
            text: fg(p.text).bg(rgb(p.back)),
            dim: fg(p.dim),
            strong: PLAIN.add_modifier(Modifier::BOLD),
            border: fg(p.border),
            focus: fg(p.focus),
            selection: fg(p.select.1).bg(rgb(p.select.0)),
            selection_idle: PLAIN.add_modifier(Modifier::BOLD),
            marked: fg(p.focus).add_modifier(Modifier::BOLD),
            live: fg(p.live),
            dangling: fg(p.dangling),
            orphan: fg(p.orphan),
            missing: fg(p.missing),
            pinned: fg(p.pinned),
            finding: fg(p.dangling).add_modifier(Modifier::BOLD),
            verified: fg(p.live),
            bar: fg(p.bar),
            track: PLAIN.bg(rgb(p.track)),
            key: PLAIN.add_modifier(Modifier::BOLD),
            found: fg(p.dangling).add_modifier(Modifier::UNDERLINED),
            badge: fg(p.dim),
            track_is_background: true,
        }
    }

    /// Whether this theme colours nothing.
    pub fn is_mono(&self) -> bool {
        self.name == "mono"
    }

    /// What is added to the open tab, so that it is known without colour.
    pub fn open_tab(&self) -> Style {
        PLAIN.add_modifier(Modifier::UNDERLINED)
    }

    /// Whether a selected row keeps the colours of its parts (they stay legible on its background).
    pub fn selection_keeps_colours(&self) -> bool {
        self.track_is_background && self.name != "high-contrast"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn styles(t: &Theme) -> [Style; 20] {
        [
            t.text,
            t.dim,
            t.strong,
            t.border,
            t.focus,
            t.selection,
            t.selection_idle,
            t.marked,
            t.live,
            t.dangling,
            t.orphan,
            t.missing,
            t.pinned,
            t.finding,
            t.verified,
            t.bar,
            t.track,
            t.key,
            t.found,
            t.badge,
        ]
    }

    #[test]
    fn mono_sets_no_colour_at_all_and_still_shows_the_selection() {
        let mono = Theme::mono();
        for style in styles(&mono) {
            assert_eq!((style.fg, style.bg, style.underline_color), (None, None, None), "{style:?}");
        }
        assert!(mono.selection.add_modifier.contains(Modifier::REVERSED));
    }

    #[test]
    fn the_default_names_only_the_sixteen() {
        for style in styles(&Theme::terminal()) {
            for colour in [style.fg, style.bg].into_iter().flatten() {
                assert!(!matches!(colour, Color::Rgb(..) | Color::Indexed(_)), "{colour:?}");
            }
        }
    }

    /// WCAG contrast of two colours.
    fn contrast(a: u32, b: u32) -> f64 {
        let light = |hex: u32| {
            let [_, r, g, b] = hex.to_be_bytes().map(|c| {
                let c = f64::from(c) / 255.0;
                if c <= 0.03928 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
            });
            0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
        };
        let (a, b) = (light(a), light(b));
        a.max(b) / a.min(b)
    }

    #[test]
    fn words_are_legible_in_every_palette() {
        for p in [DARK, LIGHT, HIGH_CONTRAST, COLOUR_BLIND] {
            for colour in [p.text, p.dim, p.focus, p.live, p.dangling, p.orphan, p.missing, p.pinned] {
                assert!(contrast(colour, p.back) >= 4.4, "{} {colour:06x}", p.name);
            }
            assert!(contrast(p.select.0, p.select.1) >= 7.0, "{}", p.name);
        }
        assert!(contrast(HIGH_CONTRAST.dim, HIGH_CONTRAST.back) >= 7.0);
    }

    #[test]
    fn an_unknown_theme_says_which_there_are() {
        assert!(NAMES.iter().all(|name| Theme::named(name).is_ok()));
        let error = Theme::named("neon").unwrap_err();
        assert!(error.hint().unwrap_or_default().contains("high-contrast"));
    }
}
