//! Runs the async part of a command: the runtime, Ctrl-C, and progress while it lasts. The runtime is built by the first
//! job, so that `--help` and the like do without.

use super::output::{Tone, Words};
use crate::error::{Error, Kind, Result};
use crate::model::units::Bytes;
use crate::progress::{Counts, Progress};
use clap::ValueEnum;
use serde_json::json;
use std::cell::Cell;
use std::env;
use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval_at};

/// What to show while something takes its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Show {
    /// A line that moves on a terminal, else plain.
    #[default]
    Auto,
    /// A line that moves.
    Tty,
    /// A line every ten seconds.
    Plain,
    /// An object every second.
    Json,
    /// Nothing.
    None,
}

impl Show {
    /// How long to wait before the first sign, and between signs. Never, where nothing is shown.
    fn pace(self) -> Option<(Duration, Duration)> {
        match self {
            Show::Tty => Some((Duration::from_millis(150), Duration::from_millis(100))),
            Show::Plain => Some((Duration::from_secs(10), Duration::from_secs(10))),
            Show::Json => Some((Duration::from_secs(1), Duration::from_secs(1))),
            Show::None | Show::Auto => None,
        }
    }
}

/// Runs jobs one after another.
pub(super) struct Jobs {
    runtime: Option<Runtime>,
    /// The job that Ctrl-C stops. While there is none it ends the program.
    current: Arc<Mutex<Option<Progress>>>,
    show: Show,
    words: Words,
    ascii: bool,
}

impl Jobs {
    /// Shows progress as `show` says.
    pub(super) fn new(show: Show, words: Words, ascii: bool) -> Self {
        let show = match show {
            Show::Auto if io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|t| t != "dumb") => Show::Tty,
            Show::Auto => Show::Plain,
            other => other,
        };
        Self { runtime: None, current: Arc::default(), show, words, ascii }
    }

    fn runtime(&mut self) -> Result<&Runtime> {
        if self.runtime.is_none() {
            let runtime = new_runtime()?;
            runtime.spawn(listen(self.current.clone()));
            self.runtime = Some(runtime);
        }
        self.runtime.as_ref().ok_or_else(|| Error::new(Kind::Internal, "no runtime"))
    }

    /// Does `work` beside what is waited for.
    pub(super) fn spawn<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        Ok(self.runtime()?.spawn(work))
    }

    /// Waits for `work`, showing how far `progress` is. `phase` says in a word or two what is being done.
    ///
    /// [`Kind::Cancelled`] when the user stops it.
    pub(super) fn run<T>(
        &mut self,
        phase: &str,
        progress: &Progress,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let stopped = progress.token().cancelled();
        self.run_showing(self.show, phase, progress, stopped, work)
    }

    /// As [`Jobs::run`], for work that changes something: when the user stops it, it is asked to come to an end, and waited for.
    /// Only the second Ctrl-C ends the program on the spot.
    pub(super) fn run_to_its_end<T>(
        &mut self,
        phase: &str,
        progress: &Progress,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.run_showing(self.show, phase, progress, std::future::pending(), work)
    }

    /// As [`Jobs::run_to_its_end`], for work that shows itself how far it is.
    pub(super) fn run_showing_itself<T>(
        &mut self,
        progress: &Progress,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.run_showing(Show::None, "", progress, std::future::pending(), work)
    }

    /// How progress is shown.
    pub(super) fn show(&self) -> Show {
        self.show
    }

    /// Whether to stay with ASCII.
    pub(super) fn ascii(&self) -> bool {
        self.ascii
    }

    /// Waits for `work` without showing anything, because it writes to the terminal itself.
    pub(super) fn run_quietly<T>(&mut self, progress: &Progress, work: impl Future<Output = Result<T>>) -> Result<T> {
        let stopped = progress.token().cancelled();
        self.run_showing(Show::None, "", progress, stopped, work)
    }

    fn run_showing<T>(
        &mut self,
        show: Show,
        phase: &str,
        progress: &Progress,
        stopped: impl Future<Output = ()>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
        let sign = Sign { show, words: self.words, ascii: self.ascii, phase, drawn: Cell::new(false) };
        let result = self.runtime()?.block_on(async {
            tokio::select! {
                done = work => done,
                () = stopped => Err(Error::cancelled()),
                never = sign.keep_showing(progress) => match never {},
            }
        });
        sign.clear();
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        result
    }
}

/// Waits for something that looks after the terminal, its signals and its progress itself.
pub(super) fn run_alone<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = new_runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}

fn new_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Error::io("starting", e))
}

impl Drop for Jobs {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What still reads has been told to stop, and nobody waits for it.
            runtime.shutdown_background();
        }
    }
}

/// The first Ctrl-C stops the job; without a job, or the second time, it ends the program.
async fn listen(current: Arc<Mutex<Option<Progress>>>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        match current.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(job) => job.cancel(),
            None => std::process::exit(130),
        }
    }
}

pub(super) const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
pub(super) const SPINNER_ASCII: [&str; 4] = ["|", "/", "-", "\\"];

struct Sign<'a> {
    show: Show,
    words: Words,
    ascii: bool,
    phase: &'a str,
    drawn: Cell<bool>,
}

impl Sign<'_> {
    async fn keep_showing(&self, progress: &Progress) -> std::convert::Infallible {
        let Some((first, then)) = self.show.pace() else { return std::future::pending().await };
        let mut ticks = interval_at(Instant::now() + first, then);
        for tick in 0.. {
            ticks.tick().await;
            self.draw(progress.counts(), tick);
        }
        std::future::pending().await
    }

    fn draw(&self, counts: Counts, tick: usize) {
        let spinner: &[&str] = if self.ascii { &SPINNER_ASCII } else { &SPINNER };
        match self.show {
            Show::Tty => {
                let turn = Tone::Dim.paint(spinner[tick % spinner.len()], self.words.colour);
                self.drawn.set(true);
                self.words.status(&format!("{turn} {}: {}", self.phase, so_far(counts)));
            }
            Show::Json => self.words.json_line(&json!({
                "type": "progress",
                "phase": self.phase,
                "items": counts.items,
                "items_total": Some(counts.items_total).filter(|n| *n > 0),
                "bytes": counts.bytes,
                "bytes_total": Some(counts.bytes_total).filter(|n| *n > 0),
            })),
            _ => self.words.line(&format!("{}: {}", self.phase, so_far(counts))),
        }
    }

    fn clear(&self) {
        if self.drawn.get() {
            self.words.status("");
        }
    }
}

fn so_far(counts: Counts) -> String {
    let percent = counts.percent().map(|p| format!("{p}%, ")).unwrap_or_default();
    let items = match counts.items_total {
        0 => counts.items.to_string(),
        total => format!("{} of {total}", counts.items),
    };
    format!("{percent}{items} blobs, {}", Bytes(counts.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs() -> Jobs {
        Jobs::new(Show::None, Words { json: false, colour: false }, true)
    }

    #[test]
    fn a_stopped_job_is_cancelled_at_once() {
        let progress = Progress::new();
        progress.cancel();
        let result: Result<()> = jobs().run("waiting", &progress, std::future::pending());
        assert_eq!(result.map_err(|e| e.kind()), Err(Kind::Cancelled));
    }

    #[test]
    fn a_change_that_is_stopped_comes_to_its_own_end() {
        let progress = Progress::new();
        let work = async {
            progress.cancel();
            tokio::task::yield_now().await;
            Ok(progress.is_cancelled())
        };
        assert!(jobs().run_to_its_end("changing", &progress, work).unwrap());
    }

    #[test]
    fn progress_reads_well() {
        let counts = Counts { items: 3, items_total: 12, bytes: 2048, bytes_total: 0 };
        assert_eq!(so_far(counts), "25%, 3 of 12 blobs, 2.0 KiB");
        assert_eq!(so_far(Counts::default()), "0 blobs, 0 B");
    }
}
