//! The log that `--log-file` and `-v` ask for. Nothing is logged otherwise.

use super::globals::Globals;
use crate::error::{Error, Kind, Result};
use crate::model::text;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// Starts logging, if that is asked for; without a file only if `stderr` may be written to.
pub(super) fn start(globals: &Globals, stderr: bool) -> Result<()> {
    let level = match (globals.verbose, &globals.log_file) {
        (0, None) => return Ok(()),
        (_, None) if !stderr => return Ok(()),
        (0 | 1, _) => LevelFilter::INFO,
        (2, _) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let writer = match &globals.log_file {
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            let file = file.map_err(|e| Error::io(format!("opening the log {}", path.display()), e))?;
            BoxMakeWriter::new(Mutex::new(Safe(file)))
        }
        None => BoxMakeWriter::new(|| Safe(io::stderr())),
    };
    // Only what cachedeck itself says: some libraries log requests with all that authorises them.
    let own = Targets::new().with_target(env!("CARGO_PKG_NAME"), level);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(own));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|e| Error::new(Kind::Internal, "starting the log").with_source(e))
}

/// Writes lines of text from anywhere, made safe.
struct Safe<W>(W);

impl<W: Write> Write for Safe<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (text, end) = line.strip_suffix(b"\n").map_or((line, ""), |text| (text, "\n"));
        write!(self.0, "{}{end}", text::safe_bytes(text))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
