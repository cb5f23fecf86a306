//! The terminal UI.

pub mod glyphs;
pub mod keys;
pub mod terminal;
pub mod theme;
pub mod widgets;
