//! The program in a terminal of its own: what it does to it, and that it gives it back however it ends.
//!
//! Everything is waited for by what the terminal shows; the only clock is the patience after which a test fails.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixtures;

use fixtures::Fixture;
use pty_process::Size;
use pty_process::blocking::{Command, Pty};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::termios::{LocalModes, tcgetattr};
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use tempfile::TempDir;
use vt100::{MouseProtocolMode, Parser};

/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// A terminal with a program in it.
struct Terminal {
    pty: Pty,
    child: Child,
    /// What the program writes, as it comes; ends when nobody has the terminal open any more.
    written: Receiver<Vec<u8>>,
    parser: Parser,
    /// Everything written so far.
    raw: Vec<u8>,
    /// Where the program remembers that it was started before.
    _state: TempDir,
}

impl Terminal {
    /// `cachedeck` with `args`, not started for the first time.
    fn start(args: &[&str]) -> Self {
        Self::start_program(Path::new(env!("CARGO_BIN_EXE_cachedeck")), args, &[])
    }

    fn start_program(program: &Path, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let state = TempDir::new().unwrap();
        let known = state.path().join("cachedeck");
        std::fs::create_dir_all(&known).unwrap();
        std::fs::write(known.join("tour-shown"), "").unwrap();
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(35, 120)).unwrap();
        let command = Command::new(program).args(args).env_clear().env("TERM", "xterm-256color");
        let command = command.env("XDG_STATE_HOME", state.path()).env("XDG_CONFIG_HOME", state.path());
        let command = command.env("BUILDX_CONFIG", state.path()).env("CACHEDECK_DATA_DIR", state.path());
        let child = command.envs(environment.iter().copied()).spawn(pts).unwrap();
        let (sender, written) = channel();
        let mut reader = std::fs::File::from(rustix::io::dup(&pty).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal that nobody has open any more is an error to read from.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let size = |n| NonZeroU16::new(n).unwrap();
        Self { pty, child, written, parser: Parser::new(size(35), size(120), 0), raw: Vec::new(), _state: state }
    }

    /// Takes in what is written next; `false` when there will be no more.
    fn step(&mut self) -> bool {
        match self.written.recv_timeout(PATIENCE) {
            Ok(bytes) => {
                self.parser.process(&bytes);
                self.raw.extend(bytes);
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more came; the screen is\n{}", self.text()),
        }
    }

    fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// Waits until the screen shows `text`.
    #[track_caller]
    fn see(&mut self, text: &str) -> &mut Self {
        while !self.text().contains(text) {
            assert!(self.step(), "the program ended before {text:?} was on\n{}", self.text());
        }
        self
    }

    fn press(&mut self, keys: &str) -> &mut Self {
        self.pty.write_all(keys.as_bytes()).unwrap();
        self
    }

    fn signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of the program.
    fn end(&mut self) -> ExitStatus {
        while self.step() {}
        self.child.wait().unwrap()
    }

    fn local_modes(&self) -> LocalModes {
        tcgetattr(&self.pty).unwrap().local_modes
    }

    /// Fails unless the program has the terminal.
    #[track_caller]
    fn is_taken(&self) {
        let screen = self.parser.screen();
        assert!(screen.alternate_screen() && screen.hide_cursor() && screen.bracketed_paste());
        assert_ne!(screen.mouse_protocol_mode(), MouseProtocolMode::None);
        assert!(!self.local_modes().intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    }

    /// Fails unless the terminal is as a shell wants it.
    #[track_caller]
    fn is_given_back(&self) {
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen(), "still on the other screen");
        assert!(!screen.hide_cursor(), "the cursor is hidden");
        assert!(!screen.bracketed_paste(), "pasting is still marked");
        assert_eq!(screen.mouse_protocol_mode(), MouseProtocolMode::None, "the mouse is taken");
        let focus = self.raw.windows(8).rev().find(|w| w.starts_with(b"\x1b[?1004")).map(|w| w[7]);
        assert_ne!(focus, Some(b'h'), "changes of focus are still told");
        let wanted = LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        assert!(self.local_modes().contains(wanted), "still raw");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(fixture: &Fixture) -> Terminal {
    let mut terminal = Terminal::start(&[fixture.path().to_str().unwrap()]);
    terminal.see("10 blobs");
    terminal.is_taken();
    terminal
}

#[test]
fn quitting_gives_the_terminal_back() {
    let fixture = Fixture::unpack("local-max");
    let mut terminal = open(&fixture);
    let status = terminal.press("q").end();
    assert!(status.success(), "{status}");
    terminal.is_given_back();
}

#[test]
fn a_signal_to_end_gives_the_terminal_back() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let fixture = Fixture::unpack("local-max");
        let mut terminal = open(&fixture);
        terminal.signal(signal);
        terminal.end();
        terminal.is_given_back();
    }
}

#[test]
fn ctrl_c_ends_it_and_so_does_a_second_one_while_it_loads() {
    let fixture = Fixture::unpack("local-max");
    let mut terminal = open(&fixture);
    terminal.press("\x03");
    assert_eq!(terminal.end().signal(), None, "it is a key, not a signal");
    terminal.is_given_back();

    let folder = folder_of_many(5_000);
    let mut terminal = Terminal::start(&[folder.path().to_str().unwrap()]);
    terminal.see("? help").press("\x03\x03");
    assert!(terminal.end().success());
    terminal.is_given_back();
}

#[test]
fn it_follows_the_size_of_the_terminal_and_comes_back_from_being_suspended() {
    let fixture = Fixture::unpack("local-max");
    let mut terminal = open(&fixture);
    terminal.pty.resize(Size::new(9, 39)).unwrap();
    terminal.see("needs 40x10, have 39x9");
    terminal.pty.resize(Size::new(35, 120)).unwrap();
    terminal.see("10 blobs");
    terminal.press("\x1a");
    // Once it is stopped the modes are set back; what it wrote last is the cursor.
    waitpid(Some(Pid::from_child(&terminal.child)), WaitOptions::UNTRACED).unwrap();
    while terminal.parser.screen().hide_cursor() {
        assert!(terminal.step());
    }
    terminal.is_given_back();
    terminal.signal(Signal::CONT);
    terminal.see("10 blobs").is_taken();
    terminal.press("q").end();
    terminal.is_given_back();
}

#[test]
fn the_first_start_shows_the_tour_once() {
    let fixture = Fixture::unpack("local-max");
    let place = fixture.path();
    let state = TempDir::new().unwrap();
    let start = || {
        let program = Path::new(env!("CARGO_BIN_EXE_cachedeck"));
        let environment = [("XDG_STATE_HOME", state.path().to_str().unwrap())];
        Terminal::start_program(program, &[place.to_str().unwrap()], &environment)
    };
    start().see("10 blobs").see("welcome");
    let mut again = start();
    again.see("10 blobs");
    assert!(!again.text().contains("welcome"));
}

#[test]
fn without_colour_no_colour_code_is_written_and_the_cursor_is_seen() {
    let fixture = Fixture::unpack("local-history");
    let program = Path::new(env!("CARGO_BIN_EXE_cachedeck"));
    let place = fixture.path();
    let mut terminal = Terminal::start_program(program, &[place.to_str().unwrap()], &[("NO_COLOR", "1")]);
    terminal.see("43 blobs").press("j").see("2/6");
    let screen = terminal.parser.screen();
    let row = (0..35).find(|y| (0..120).filter(|x| screen.cell(*y, *x).unwrap().inverse()).count() > 40);
    assert_eq!(row, Some(4), "the row under the cursor is reversed\n{}", terminal.text());
    terminal.press("\r").see("layers").press("]").see("layer chains").press("q").see("indexes").press("q").end();
    for sequence in terminal.raw.split(|b| *b == 0x1b).filter_map(|s| s.strip_prefix(b"[")) {
        let end = sequence.iter().position(|b| b.is_ascii_alphabetic()).unwrap_or(sequence.len());
        if sequence.get(end) == Some(&b'm') {
            let codes = std::str::from_utf8(&sequence[..end]).unwrap();
            let colour = codes.split(';').any(|code| matches!(code.parse(), Ok(30..=49 | 58 | 90..=107)));
            assert!(!colour, "{codes:?}");
        }
    }
}

/// A cache folder with `count` blobs that nothing needs.
fn folder_of_many(count: u32) -> TempDir {
    let folder = TempDir::new().unwrap();
    let blobs = folder.path().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(folder.path().join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    for number in 0..count {
        std::fs::write(blobs.join(format!("{number:064x}")), "x").unwrap();
    }
    folder
}

#[test]
fn the_first_frame_does_not_wait_for_the_folder() {
    let folder = folder_of_many(5_000);
    let mut terminal = Terminal::start(&[folder.path().to_str().unwrap()]);
    terminal.see("? help");
    assert!(!terminal.text().contains("5,000 blobs"), "{}", terminal.text());
    terminal.press("?").see("keys on").press("\x1b").see("5,000 blobs").press("q").end();
}

/// Names the socket over which the test below is told to panic.
const TOLD: &str = "CACHEDECK_TEST_PANICS_WHEN_TOLD";

/// Not a test of its own: what the next one starts in a terminal.
#[test]
fn a_program_that_panics_when_told() {
    let Ok(socket) = std::env::var(TOLD) else { return };
    let mut told = UnixStream::connect(socket).unwrap();
    let mut terminal = cachedeck::tui::terminal::Terminal::enter(true, true).unwrap();
    terminal.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
    let _ = told.read(&mut [0]);
    panic!("on purpose");
}

#[test]
fn a_panic_gives_the_terminal_back_and_can_be_read() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("told");
    let listener = UnixListener::bind(&socket).unwrap();
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "a_program_that_panics_when_told", "--nocapture"];
    let mut terminal = Terminal::start_program(&program, &arguments, &[(TOLD, socket.to_str().unwrap())]);
    let (tell, _) = listener.accept().unwrap();
    terminal.see("drawn").is_taken();
    drop(tell);
    assert!(!terminal.end().success());
    terminal.is_given_back();
    let text = terminal.text();
    assert!(text.contains("panicked at") && text.contains("on purpose"), "{text}");
}

/// Stands in for `docker buildx`: says what the real one said.
const DOCKER: &str = r#"#!/bin/sh
case "$2" in
  version) echo "github.com/docker/buildx v0.35.0 0123abc" ;;
  inspect) printf 'Name: ci\nDriver: docker-container\n\nNodes:\nName: ci0\nStatus: running\nBuildKit version: v0.31.1\n' ;;
  build) /bin/cat "${0%/*}/says" >&2 ;;
esac
"#;

#[test]
fn a_build_is_run_and_told_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::unpack("local-max");
    let bin = TempDir::new().unwrap();
    std::fs::write(bin.path().join("says"), include_str!("fixtures/builds/imported.rawjson")).unwrap();
    std::fs::write(bin.path().join("docker"), DOCKER).unwrap();
    let may_run = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bin.path().join("docker"), may_run).unwrap();
    let path = bin.path().to_str().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_cachedeck"));
    let mut terminal = Terminal::start_program(program, &[fixture.path().to_str().unwrap()], &[("PATH", path)]);
    terminal.see("10 blobs").press("b").see("docker buildx build --progress=rawjson --cache-from").press("\r");
    terminal
        .see("steps cached")
        .press("w")
        .see("with latest of local")
        .see("done")
        .press("\r")
        .see("[base 1/2] COPY busybox");
    terminal.press("q");
    terminal.press("Q").end();
}
