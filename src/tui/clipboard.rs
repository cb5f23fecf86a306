//! The clipboard: OSC 52 through the terminal, which also works over SSH, else a program of the desktop.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Longest text sent through the terminal, in bytes; many terminals drop longer sequences without a word.
pub const LONGEST: usize = 74_994;

/// How the text got to the clipboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// A program of the desktop took it.
    Desktop(&'static str),
    /// It was sent to the terminal, which does not say whether it took it.
    Terminal,
    /// No way was left: too long for the terminal, and no program took it.
    No,
}

/// The sequence that asks the terminal to put `text` on the clipboard, wrapped so that tmux or screen passes it on.
/// `None` if it is too long.
pub fn sequence(text: &str, tmux: bool, screen: bool) -> Option<Vec<u8>> {
    if text.len() > LONGEST {
        return None;
    }
    let plain = format!("\x1b]52;c;{}\x07", STANDARD.encode(text));
    let wrapped = match (tmux, screen) {
        (true, _) => format!("\x1bPtmux;{}\x1b\\", plain.replace('\x1b', "\x1b\x1b")),
        // screen takes at most 768 bytes in one piece.
        (_, true) => {
            let pieces =
                plain.as_bytes().chunks(700).map(|piece| format!("\x1bP{}\x1b\\", String::from_utf8_lossy(piece)));
            pieces.collect()
        }
        _ => plain,
    };
    Some(wrapped.into_bytes())
}

/// Programs that take the clipboard from their standard input, and the variable without which they can't work.
const PROGRAMS: [(&str, &[&str], Option<&str>); 6] = [
    ("wl-copy", &[], Some("WAYLAND_DISPLAY")),
    ("xclip", &["-selection", "clipboard"], Some("DISPLAY")),
    ("xsel", &["--clipboard", "--input"], Some("DISPLAY")),
    ("pbcopy", &[], None),
    ("clip.exe", &[], Some("WSL_DISTRO_NAME")),
    ("termux-clipboard-set", &[], Some("TERMUX_VERSION")),
];

/// Hands `text` to the desktop's own program, if there is one and this is not a remote session. Blocks until the
/// program has read it.
pub fn desktop(text: &str) -> Option<&'static str> {
    if std::env::var_os("SSH_CONNECTION").is_some() {
        return None;
    }
    PROGRAMS.iter().find_map(|(program, arguments, needs)| {
        if needs.is_some_and(|name| std::env::var_os(name).is_none()) {
            return None;
        }
        let quiet = || Stdio::null();
        let mut child = Command::new(program)
            .args(*arguments)
            .stdin(Stdio::piped())
            .stdout(quiet())
            .stderr(quiet())
            .spawn()
            .ok()?;
        child.stdin.take()?.write_all(text.as_bytes()).ok()?;
        child.wait().ok()?.success().then_some(*program)
    })
}

/// Copies by every way there is: the desktop's program first, and the terminal, through `write`.
pub fn copy(text: &str, write: impl FnOnce(&[u8]) -> bool) -> Copied {
    if let Some(program) = desktop(text) {
        return Copied::Desktop(program);
    }
    let term = std::env::var("TERM").unwrap_or_default();
    let (tmux, screen) = (std::env::var_os("TMUX").is_some(), term.starts_with("screen"));
    match sequence(text, tmux, screen) {
        Some(bytes) if write(&bytes) => Copied::Terminal,
        _ => Copied::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmux_and_screen_pass_the_sequence_on() {
        assert_eq!(sequence("hi", false, false).unwrap(), b"\x1b]52;c;aGk=\x07");
        assert_eq!(sequence("hi", true, false).unwrap(), b"\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\");
        let long = sequence(&"x".repeat(2000), false, true).unwrap();
        assert!(long.split(|b| *b == 0x5c).all(|piece| piece.len() <= 768));
        assert_eq!(sequence(&"x".repeat(LONGEST + 1), false, false), None);
    }
}
