//! How soon there is something to see and keys are answered when a folder of 100,000 blobs is opened, in a terminal of
//! its own. Prints medians of eleven runs; the bar for the first frame is 50 ms.

#![allow(clippy::expect_used, clippy::print_stdout, missing_docs)]

use pty_process::Size;
use pty_process::blocking::{Command, Pty};
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::path::Path;
use std::time::{Duration, Instant};
use vt100::Parser;

const BLOBS: u32 = 100_000;
const RUNS: usize = 11;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fill(folder.path());
    // The first run reads the folder from the disk; it counts for nothing.
    run(folder.path());
    let mut runs: Vec<[Duration; 3]> = (0..RUNS).map(|_| run(folder.path())).collect();
    for (at, what) in ["first frame", "a key answered while it loads, after its press", "loaded"].iter().enumerate() {
        runs.sort_by_key(|times| times[at]);
        let of = |run: usize| runs[run][at].as_secs_f64() * 1000.0;
        println!("{what}: {:.1} ms (from {:.1} to {:.1})", of(RUNS / 2), of(0), of(RUNS - 1));
    }
}

/// A cache folder whose blobs nothing needs.
fn fill(folder: &Path) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a folder");
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
    std::fs::write(folder.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).expect("a file");
    let content = [b'x'; 512];
    for number in 0..BLOBS {
        std::fs::write(blobs.join(format!("{number:064x}")), content).expect("a file");
    }
}

/// Starts the program and gives the time to its first frame, to the answer to a key pressed then, and to the end of
/// loading.
fn run(folder: &Path) -> [Duration; 3] {
    let (mut pty, pts) = pty_process::blocking::open().expect("a terminal");
    pty.resize(Size::new(35, 120)).expect("a size");
    let command = Command::new(env!("CARGO_BIN_EXE_cachedeck")).arg(folder).env_clear().env("TERM", "xterm-256color");
    let size = |n| NonZeroU16::new(n).expect("a size");
    let mut parser = Parser::new(size(35), size(120), 0);
    let start = Instant::now();
    let mut child = command.spawn(pts).expect("cachedeck starts");
    let mut until = |text: &str, pty: &mut Pty| {
        let mut buffer = [0; 16 << 10];
        while !parser.screen().contents().contains(text) {
            let read = pty.read(&mut buffer).expect("the program goes on");
            parser.process(&buffer[..read]);
        }
        assert!(text == LOADED || !parser.screen().contents().contains(LOADED), "it was loaded before {text:?}");
        start.elapsed()
    };
    let first = until("? help", &mut pty);
    pty.write_all(b"?").expect("a key");
    let key = until("keys on", &mut pty);
    pty.write_all(b"\x1b").expect("a key");
    let loaded = until(LOADED, &mut pty);
    pty.write_all(b"Q").expect("a key");
    child.wait().expect("an end");
    [first, key - first, loaded]
}

const LOADED: &str = "100,000 blobs";
