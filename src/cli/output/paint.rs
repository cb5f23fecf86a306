//! The sixteen ANSI colours, used sparsely, and only where somebody wants them.

use clap::builder::styling::{AnsiColor, Style};

/// What a text is, as far as colour tells it. Colour never tells what the words do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// Less important than what is beside it.
    Dim,
    /// In use and sound.
    Good,
    /// Worth a look.
    Warn,
    /// Damaged or missing.
    Bad,
    /// Belongs to nothing.
    Odd,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| colour.on_default();
        match self {
            Tone::Plain => Style::new(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Warn => colour(AnsiColor::Yellow),
            Tone::Bad => colour(AnsiColor::Red),
            Tone::Odd => colour(AnsiColor::Magenta),
        }
    }

    /// `text`, which must be safe already, in this tone if `colour` is wanted.
    pub(in crate::cli) fn paint(self, text: &str, colour: bool) -> String {
        if !colour || self == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}
