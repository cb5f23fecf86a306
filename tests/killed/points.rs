//! Where the program can be killed: before each system call that changes something. After one is before the next.

use crate::work::Work;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The calls that change files, and those that must come in between.
const CALLS: &str =
    "openat,mkdirat,renameat,renameat2,linkat,unlinkat,write,pwrite64,ftruncate,fchmod,fchown,fsync,flock";

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

fn strace(work: Work, folder: &Path, arguments: &[&str]) -> std::process::ExitStatus {
    let log = folder.with_extension("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(log).arg(format!("-etrace={CALLS}")).args(arguments);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "the_work_itself", "--nocapture"]);
    command.env(WORK, format!("{work:?}")).env(FOLDER, folder).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
        .status()
        .unwrap_or_else(|e| panic!("strace can't be run ({e}): run tests through tests/run, which installs it"))
}

/// Does the work under strace; gives its points in the order of time.
pub fn of_a_clean_run(work: Work, folder: &Path) -> Vec<Point> {
    assert!(strace(work, folder, &[]).success(), "{work:?} failed without being killed");
    let log = std::fs::read_to_string(folder.with_extension("log")).unwrap();
    let line = |line: &str| {
        let (thread, rest) = line.split_once(' ')?;
        let (call, arguments) = rest.trim_start().split_once('(')?;
        Some((thread.to_owned(), call.to_owned(), arguments.to_owned()))
    };
    let calls: Vec<(String, String, String)> = log.lines().filter_map(line).collect();
    // One thread does all file work.
    let mut threads: BTreeMap<&str, usize> = BTreeMap::new();
    for (thread, call, _) in &calls {
        *threads.entry(thread).or_default() += usize::from(call == "renameat2" || call == "fsync");
    }
    let (thread, _) = threads.into_iter().max_by_key(|(_, count)| *count).unwrap();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for (_, call, arguments) in calls.iter().filter(|(own, _, _)| own == thread) {
        let number = numbers.entry(call).or_default();
        *number += 1;
        if call != "openat" || arguments.contains("O_CREAT") {
            points.push(Point { call: call.clone(), number: *number });
        }
    }
    assert!(points.iter().any(|point| point.call == "fsync") && points.len() > 10, "{work:?}: only {points:?}");
    points
}

/// Does the work and kills it there; tells whether it came that far.
pub fn kill_at(point: &Point, work: Work, folder: &Path) -> bool {
    let inject = format!("-einject={}:signal=KILL:when={}", point.call, point.number);
    let ended = strace(work, folder, &[&inject]);
    assert!(ended.success() || ended.signal() == Some(9), "{work:?} at {point}: {ended}");
    ended.signal() == Some(9)
}
