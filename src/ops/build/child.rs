//! The program that asks for a build, as a child of ours: its output line by line, and its end.

use crate::error::{Error, Kind, Result};
use crate::model::text;
use crate::progress::Progress;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fmt;
use std::io::{ErrorKind, IsTerminal as _};
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command as Process};
use tokio::sync::mpsc;

/// The longest line that is read whole; the rest of a longer one is left out.
const LONGEST_LINE: u64 = 8 << 20;

/// How long the program may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(15);

/// What is kept of an answer.
const MOST: u64 = 1 << 20;

/// A program with its arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// What is changed in its environment: secrets. `None` takes a variable away.
    pub environment: Vec<(&'static str, Option<String>)>,
}

/// Without the values of the environment.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Command").field("words", &self.words).field("variables", &names).finish()
    }
}

/// A line that the program said, untrusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// On stdout.
    Out(String),
    /// On stderr.
    Err(String),
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether it says that it did its work.
    pub success: bool,
    /// Its exit code, where it was not killed.
    pub code: Option<i32>,
    /// Whether the user stopped it.
    pub stopped: bool,
}

impl Command {
    /// Runs it to its end; `hear` is given each line as it comes. Once `progress` is cancelled the program is asked to end, as by
    /// Ctrl-C, and waited for; one that does not end then is killed.
    ///
    /// [`Kind::NotFound`] if there is no such program.
    pub async fn run(&self, progress: &Progress, mut hear: impl FnMut(Said)) -> Result<Ended> {
        let mut process = self.process()?;
        // A Dockerfile or a context may come through stdin; a terminal is ours.
        let stdin = if std::io::stdin().is_terminal() { Stdio::null() } else { Stdio::inherit() };
        let mut child = process.stdin(stdin).spawn().map_err(|error| self.not_started(error))?;
        let group = group(&child);
        let (lines, mut heard) = mpsc::channel(256);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(forward(BufReader::new(stdout), Said::Out, lines.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(forward(BufReader::new(stderr), Said::Err, lines));
        }
        let mut stopped = false;
        let (mut open, mut status) = (true, None);
        let mut deadline: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async {
            progress.token().cancelled().await;
            tokio::time::sleep(GRACE).await;
        });
        while open || status.is_none() {
            tokio::select! {
                line = heard.recv(), if open => match line {
                    Some(line) => hear(line),
                    None => open = false,
                },
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended.map_err(|error| Error::io(format!("waiting for {}", self.name()), error))?);
                }
                () = progress.token().cancelled(), if !stopped => {
                    stopped = true;
                    signal(group, Signal::INT);
                }
                () = &mut deadline => {
                    signal(group, Signal::KILL);
                    // What it started may hold its pipes open; nothing more is worth waiting for.
                    if status.is_some() {
                        break;
                    }
                    deadline = Box::pin(tokio::time::sleep(GRACE));
                }
            }
        }
        let status = status.ok_or_else(|| Error::new(Kind::Internal, format!("{} has no end", self.name())))?;
        Ok(Ended { success: status.success(), code: status.code(), stopped })
    }

    fn process(&self) -> Result<Process> {
        let (program, arguments) =
            self.words.split_first().ok_or_else(|| Error::new(Kind::Internal, "no program to start"))?;
        let mut process = Process::new(program);
        process
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: `docker` starts its plugins, which have to end with it; and Ctrl-C is ours to handle.
            .process_group(0)
            .kill_on_drop(true);
        for (name, value) in &self.environment {
            match value {
                Some(value) => process.env(name, value),
                None => process.env_remove(name),
            };
        }
        Ok(process)
    }

    fn name(&self) -> String {
        text::safe(self.words.first().map(String::as_str).unwrap_or_default()).into_owned()
    }

    fn not_started(&self, error: std::io::Error) -> Error {
        let missing = error.kind() == ErrorKind::NotFound;
        let error = Error::io(format!("starting {}", self.name()), error);
        if missing { error.with_hint("is it installed, and on the PATH?") } else { error }
    }
}

fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // It may have ended meanwhile.
        let _ = kill_process_group(group, signal);
    }
}

/// Sends each line on.
async fn forward(mut from: impl AsyncBufRead + Unpin, said: fn(String) -> Said, lines: mpsc::Sender<Said>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let whole = line.ends_with(b"\n");
        while line.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
            line.pop();
        }
        if lines.send(said(String::from_utf8_lossy(&line).into_owned())).await.is_err() {
            return;
        }
        if !whole && !skip_line(&mut from).await {
            return;
        }
    }
}

/// Reads to the end of a line that is too long. Gives whether there is more.
async fn skip_line(from: &mut (impl AsyncBufRead + Unpin)) -> bool {
    loop {
        let Ok(buffer) = from.fill_buf().await else { return false };
        if buffer.is_empty() {
            return false;
        }
        let (used, done) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        from.consume(used);
        if done {
            return true;
        }
    }
}

/// What a program answered.
#[derive(Debug)]
pub(super) struct Told {
    /// Whether it went well.
    pub(super) success: bool,
    /// Its stdout.
    pub(super) out: String,
    err: String,
}

impl Told {
    /// Why it did not go well: its last line, safe to show.
    pub(super) fn last_words(&self) -> String {
        let line = self.err.lines().chain(self.out.lines()).map(str::trim).rfind(|line| !line.is_empty());
        let line = line.unwrap_or("it does not say why");
        let line = ["ERROR: ", "error: "].iter().find_map(|prefix| line.strip_prefix(prefix)).unwrap_or(line);
        text::safe_within(line, 600).into_owned()
    }
}

/// Asks the program `words` something, for at most `patience`.
pub(super) async fn ask(words: &[String], question: &[&str], patience: Duration) -> Result<Told> {
    let words = words.iter().cloned().chain(question.iter().map(|word| (*word).to_owned())).collect();
    let command = Command { words, environment: Vec::new() };
    let mut child = command.process()?.stdin(Stdio::null()).spawn().map_err(|error| command.not_started(error))?;
    let group = group(&child);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let answer = async {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let read_out = async {
            if let Some(stdout) = stdout {
                let _ = stdout.take(MOST).read_to_end(&mut out).await;
            }
        };
        let read_err = async {
            if let Some(stderr) = stderr {
                let _ = stderr.take(MOST).read_to_end(&mut err).await;
            }
        };
        tokio::join!(read_out, read_err);
        (child.wait().await, out, err)
    };
    let shown = || command.words.iter().map(|word| text::shell_quote(word)).collect::<Vec<_>>().join(" ");
    match tokio::time::timeout(patience, answer).await {
        Ok((Ok(status), out, err)) => {
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok(Told { success: status.success(), out: text(out), err: text(err) })
        }
        Ok((Err(error), _, _)) => Err(Error::io(format!("running `{}`", shown()), error)),
        Err(_) => {
            signal(group, Signal::KILL);
            Err(Error::new(Kind::Unavailable, format!("`{}` did not end within {patience:?}", shown())))
        }
    }
}
