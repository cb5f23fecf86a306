//! What comes of something that is asked for in a box: looked at before it can be done.

use crate::tui::screen::Look;
use ratatui::text::{Line, Span};

/// What it comes to.
#[derive(Debug)]
pub(super) enum Seen<T> {
    /// It is being looked at.
    Waiting,
    /// This.
    Ready(T),
    /// It can't be done; why, and what to do, a line each. Safe text.
    Refused(Vec<String>),
}

impl<T> Seen<T> {
    /// It, line by line: `waiting` as long as it is not known, then `ready`.
    pub(super) fn told(
        &self,
        waiting: &str,
        look: Look<'_>,
        ready: impl FnOnce(&T) -> Vec<Line<'static>>,
    ) -> Vec<Line<'static>> {
        match self {
            Seen::Waiting => vec![Line::from(vec![look.spinner(), look.dim(format!(" {waiting}"))])],
            Seen::Refused(why) => {
                let line = |(at, line): (usize, &String)| {
                    let (sign, style) = match at {
                        0 => (look.glyphs.missing, look.theme.missing),
                        _ => (" ", look.theme.dim),
                    };
                    Line::from(vec![Span::styled(format!("{sign} "), style), Span::styled(line.clone(), style)])
                };
                why.iter().enumerate().map(line).collect()
            }
            Seen::Ready(it) => ready(it),
        }
    }
}
