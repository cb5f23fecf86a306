//! One key as the user presses it and as the config writes it: `j`, `G`, `ctrl+d`, `space`, `f5`, and chords `g l`.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// One key press.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Press {
    code: KeyCode,
    modifiers: KeyModifiers,
}

impl Press {
    /// What was pressed; a capital letter counts as itself, not as shift and a small one.
    pub fn of(event: KeyEvent) -> Press {
        let mut modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT | KeyModifiers::SHIFT);
        let code = match event.code {
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::SHIFT) => {
                modifiers.remove(KeyModifiers::SHIFT);
                KeyCode::Char(if c.is_ascii() { c.to_ascii_uppercase() } else { c })
            }
            KeyCode::BackTab => {
                modifiers.insert(KeyModifiers::SHIFT);
                KeyCode::Tab
            }
            code => code,
        };
        // A terminal that reports shift with a sign that needs it anyway (`?`) must mean the same key.
        Press { code, modifiers }
    }

    /// The event that this press stands for, to replay it.
    pub fn event(self) -> KeyEvent {
        KeyEvent::new(self.code, self.modifiers)
    }
}

/// Names of keys that are not one printable sign; the first of a code is the one shown.
const NAMES: &[(&str, KeyCode)] = &[
    ("space", KeyCode::Char(' ')),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
];

impl FromStr for Press {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut modifiers = KeyModifiers::NONE;
        let mut rest = text;
        while let Some((modifier, after)) = rest.split_once('+').filter(|(m, _)| !m.is_empty()) {
            modifiers |= match modifier {
                "ctrl" => KeyModifiers::CONTROL,
                "alt" => KeyModifiers::ALT,
                "shift" => KeyModifiers::SHIFT,
                _ => return Err(format!("no key called {text:?}; modifiers are ctrl, alt and shift")),
            };
            rest = after;
        }
        let mut signs = rest.chars();
        let code = match (signs.next(), signs.next()) {
            (Some(sign), None) if !sign.is_control() => KeyCode::Char(sign),
            _ => named(rest).ok_or_else(|| format!("no key called {text:?}"))?,
        };
        Ok(Press::of(KeyEvent::new(code, modifiers)))
    }
}

fn named(name: &str) -> Option<KeyCode> {
    let function = name.strip_prefix('f').and_then(|n| n.parse().ok()).filter(|n| (1..=12).contains(n));
    function.map(KeyCode::F).or_else(|| NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code))
}

impl fmt::Display for Press {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(KeyModifiers::CONTROL, "ctrl+"), (KeyModifiers::ALT, "alt+"), (KeyModifiers::SHIFT, "shift+")];
        for (modifier, text) in parts {
            if self.modifiers.contains(modifier) {
                f.write_str(text)?;
            }
        }
        match (self.code, NAMES.iter().find(|(_, code)| *code == self.code)) {
            (_, Some((name, _))) => f.write_str(name),
            (KeyCode::Char(sign), None) => write!(f, "{sign}"),
            (KeyCode::F(n), None) => write!(f, "f{n}"),
            (other, None) => write!(f, "{other}"),
        }
    }
}

/// One or more presses in a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chord(Vec<Press>);

impl Chord {
    /// The press at `at`, if the chord is that long.
    pub fn get(&self, at: usize) -> Option<Press> {
        self.0.get(at).copied()
    }
}

impl Deref for Chord {
    type Target = [Press];

    fn deref(&self) -> &[Press] {
        &self.0
    }
}

impl FromStr for Chord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let presses: Vec<Press> = text.split_whitespace().map(Press::from_str).collect::<Result<_, _>>()?;
        if presses.is_empty() { Err("a key is empty".to_owned()) } else { Ok(Chord(presses)) }
    }
}

/// As the config writes it, except that the keys of a chord stand together where that is as clear: `gg`, `yd`.
impl fmt::Display for Chord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, press) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            press.fmt(f)?;
        }
        Ok(())
    }
}

impl Chord {
    /// Short for the footer and help: `gg`, `^d`.
    pub fn short(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|press| press.to_string().replace("ctrl+", "^")).collect();
        let single = parts.iter().all(|part| part.chars().count() == 1);
        parts.join(if single { "" } else { " " })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_are_written() {
        for text in ["j", "G", "ctrl+d", "space", "enter", "f5", "shift+tab", "g l", "+", "ctrl++", "?", "é", "pgup"] {
            assert_eq!(text.parse::<Chord>().unwrap().to_string(), text);
        }
        assert_eq!("g g".parse::<Chord>().unwrap().short(), "gg");
        assert_eq!("ctrl+d".parse::<Chord>().unwrap().short(), "^d");
        for text in ["", "hyper+x", "ctrl+", "f13", "nokey", "\u{1b}"] {
            assert!(text.parse::<Chord>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn terminals_that_report_shift_and_those_that_do_not_agree() {
        let capital = Press::of(KeyEvent::new(KeyCode::Char('G'), KeyModifiers::NONE));
        assert_eq!(Press::of(KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT)), capital);
        assert_eq!(Press::of(KeyEvent::new(KeyCode::Char('g'), KeyModifiers::SHIFT)), capital);
        assert_eq!(
            Press::of(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)),
            "shift+tab".parse::<Press>().unwrap()
        );
    }
}
