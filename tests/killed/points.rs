//! Where the program can be killed: before each system call that changes something. After one is before the next.

use crate::work::Work;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The calls that change files, and those that must come in between.
const CALLS: &str = "openat,mkdirat,renameat,renameat2,linkat,unlinkat,write,pwrite64,copy_file_range,ftruncate,fchmod,fchown,fsync,flock";

const WORK: &str = "CACHEDECK_KILLED_WORK";
const FOLDER: &str = "CACHEDECK_KILLED_FOLDER";

/// The n-th of a kind of call, by the thread that does the file work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub call: String,
    pub number: usize,
}

/// What the environment says is to be done.
pub fn told() -> Option<(Work, PathBuf)> {
    let work = std::env::var(WORK).ok()?;
    let work = Work::ALL.into_iter().find(|known| format!("{known:?}") == work).unwrap();
    Some((work, PathBuf::from(std::env::var_os(FOLDER)?)))
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The library, called by this program, with all file work on one thread, so that the calls are the same each time.
    Library,
    /// The program itself. Its threads share the calls in another way each time, so the n-th call of a thread is another moment
    /// each time, too: which one it was, the calls that were made before tell.
    Program,
}

fn strace(by: By, work: Work, folder: &Path, arguments: &[&str]) -> std::process::ExitStatus {
    let log = folder.with_extension("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(log).arg(format!("-etrace={CALLS}")).args(arguments);
    match by {
        By::Library => {
            command.arg(std::env::current_exe().unwrap()).args(["--exact", "the_work_itself", "--nocapture"]);
            command.env(WORK, format!("{work:?}")).env(FOLDER, folder).env("RUST_BACKTRACE", "0");
        }
        By::Program => {
            let own = folder.with_extension("own");
            command.arg(env!("CARGO_BIN_EXE_cachedeck")).args(work.command(folder)).stderr(Stdio::null());
            command.env("CACHEDECK_DATA_DIR", &own).env("CACHEDECK_CACHE_DIR", &own).env("BUILDX_CONFIG", &own);
            command.env("HOME", &own).env("XDG_CONFIG_HOME", &own).env_remove("CACHEDECK_CONFIG");
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .status()
        .unwrap_or_else(|e| panic!("strace can't be run ({e}): run tests through tests/run, which installs it"))
}

/// A call that was made, by its thread.
struct Call {
    thread: String,
    name: String,
    changes: bool,
}

fn made(folder: &Path) -> Vec<Call> {
    let log = std::fs::read_to_string(folder.with_extension("log")).unwrap();
    let line = |line: &str| {
        let (thread, rest) = line.split_once(' ')?;
        // A call that another thread's came in between is told twice: as begun, and as `<... resumed>`.
        let (name, arguments) = rest.trim_start().split_once('(').filter(|(name, _)| !name.starts_with('<'))?;
        let changes = name != "openat" || arguments.contains("O_CREAT");
        Some(Call { thread: thread.to_owned(), name: name.to_owned(), changes })
    };
    log.lines().filter_map(line).collect()
}

/// What a clean run does.
pub struct Clean {
    /// Where it is killed, in the order of time.
    pub points: Vec<Point>,
    /// How many calls change something, by all threads.
    pub moments: usize,
}

/// Does the work under strace.
pub fn clean_run(by: By, work: Work, folder: &Path) -> Clean {
    assert!(strace(by, work, folder, &[]).success(), "{work:?} by {by:?} failed without being killed");
    let mut calls = made(folder);
    let moments = calls.iter().filter(|call| call.changes).count();
    if by == By::Library {
        // One thread does all file work.
        let mut threads: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &calls {
            *threads.entry(&call.thread).or_default() += usize::from(call.name == "renameat2" || call.name == "fsync");
        }
        let (thread, _) = threads.into_iter().max_by_key(|(_, count)| *count).unwrap();
        let thread = thread.to_owned();
        calls.retain(|call| call.thread == thread);
    }
    let mut numbers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut points: Vec<Point> = Vec::new();
    for call in &calls {
        let number = numbers.entry((&call.thread, &call.name)).or_default();
        *number += 1;
        let point = Point { call: call.name.clone(), number: *number };
        if call.changes && !points.contains(&point) {
            points.push(point);
        }
    }
    assert!(points.iter().any(|point| point.call == "fsync") && points.len() > 10, "{work:?}: only {points:?}");
    Clean { points, moments }
}

/// Does the work and kills it there; tells how many calls that change something were made by then, the last of them not done any
/// more, or nothing if it did not come that far.
pub fn kill_at(point: &Point, by: By, work: Work, folder: &Path) -> Option<usize> {
    let inject = format!("-einject={}:signal=KILL:when={}", point.call, point.number);
    let ended = strace(by, work, folder, &[&inject]);
    assert!(ended.success() || ended.signal() == Some(9), "{work:?} by {by:?} at {point}: {ended}");
    (ended.signal() == Some(9)).then(|| made(folder).iter().filter(|call| call.changes).count())
}
