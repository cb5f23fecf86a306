//! Runs the program and holds what came out.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Some days after the fixtures were made.
pub const NOW: &str = "2026-11-27T18:00:00Z";

/// A folder to run in, with nothing of the machine's around it.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// An empty one.
    pub fn empty() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// One that holds the fixture `name` in a folder of that name.
    pub fn with(name: &str) -> Self {
        let place = Self::empty();
        place.add(name, name);
        place
    }

    /// Puts a fixture in folder `under`.
    pub fn add(&self, name: &str, under: &str) {
        let fixture = crate::fixtures::Fixture::unpack(name);
        std::fs::rename(fixture.path(), self.path(under)).unwrap();
    }

    /// A path in here.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// The program, ready to run in here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachedeck"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("CACHEDECK_NOW", NOW)
            .env("COLUMNS", "100")
            .env("TMPDIR", self.folder.path())
            .env("CACHEDECK_CACHE_DIR", self.path(".remembered"))
            .env("CACHEDECK_DATA_DIR", self.path(".remembered"))
            // Without a home the system's word for it counts, and there may be builders in it.
            .env("BUILDX_CONFIG", self.path(".buildx"))
            // What stands in for other programs, where a test has some.
            .env("PATH", self.path("bin"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }
}

/// What came out.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Data.
    pub out: String,
    /// Words.
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The data as JSON, of a run that succeeded.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 0, "{self}");
        serde_json::from_str(&self.out).unwrap()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.out.is_empty() {
            write!(f, "{}", self.out)?;
        }
        if !self.err.is_empty() {
            write!(f, "--- stderr\n{}", self.err)?;
        }
        write!(f, "--- exit {}", self.code)
    }
}

/// Replaces `index.json` of the cache in `folder`.
pub fn write_index(folder: &Path, text: &str) {
    std::fs::write(folder.join("index.json"), text).unwrap();
}
