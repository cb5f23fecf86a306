//! JSON that is safe to look at: characters that act on a terminal or hide are written as `\u` escapes, which any
//! parser reads back as they were.

use crate::model::text;
use std::io::{self, Write};

/// Sits between a JSON writer and its sink. Relies on serde_json writing whole characters, and characters other than
/// ASCII only inside strings.
pub(super) struct JsonSafe<W>(pub(super) W);

impl<W: Write> Write for JsonSafe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.iter().all(|b| matches!(b, 0x20..=0x7e | b'\n')) {
            self.0.write_all(bytes)?;
            return Ok(bytes.len());
        }
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let mut plain = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| *c != '\n' && text::is_hostile(*c)) {
            self.0.write_all(&bytes[plain..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(self.0, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        self.0.write_all(&bytes[plain..])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_active_is_left_and_nothing_is_lost() {
        let tag = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{e0041}\u{7f}é日本\n";
        let mut out = Vec::new();
        serde_json::to_writer_pretty(JsonSafe(&mut out), &[tag]).unwrap();
        let json = String::from_utf8(out).unwrap();
        assert!(!json.chars().any(|c| c != '\n' && text::is_hostile(c)), "{json}");
        assert!(json.contains("é日本"));
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [tag]);
    }
}
