//! Kills the library's work, and the program itself, at every system call that changes a local cache, and looks at what is
//! left: each name must resolve to the last byte, told by an oracle of its own, and the next run must lead what was begun to its
//! end.
//!
//! The calls are taken from a clean run under strace, which then kills at the n-th of each. `just soak` goes through all of them;
//! otherwise a few, spread evenly, stand for the rest. strace is installed by `tests/run`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../support/oracle.rs"]
mod oracle;
mod points;
mod work;

use points::{By, Point};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use work::Work;

const LAYOUTS: [&str; 3] = ["local-history", "local-multi", "local-docker-list"];

/// Points of a work on a layout that are tried where not all of them are.
const FEW: usize = 4;

/// How often each of the program's own points is tried where all of them are.
const TIMES: usize = 3;

/// A cache as it is before the work, and a copy in which the program is killed.
struct Scene {
    folder: tempfile::TempDir,
    _fixture: fixtures::Fixture,
    template: PathBuf,
}

impl Scene {
    fn new(layout: &str, work: Work) -> Self {
        let fixture = fixtures::Fixture::unpack(layout);
        let template = fixture.path();
        work.prepare(&template);
        Self { folder: tempfile::tempdir().unwrap(), _fixture: fixture, template }
    }

    /// The copy, made anew.
    fn fresh(&self) -> PathBuf {
        let copy = self.folder.path().join("cache");
        let _ = std::fs::remove_dir_all(&copy);
        assert!(Command::new("cp").arg("-a").arg(&self.template).arg(&copy).status().unwrap().success());
        copy
    }
}

fn kill_everywhere(by: By, work: Work) {
    // A thread that starts a program hands it, for a moment, the locks that others of this process hold.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let all = std::env::var("CACHEDECK_SOAK").is_ok();
    let few = if by == By::Library { FEW } else { FEW / 2 };
    let (mut known, mut tried, mut killed, mut moments, mut met) = (0, 0, 0, 0, 0);
    for layout in LAYOUTS {
        let scene = Scene::new(layout, work);
        let before = oracle::look(&scene.template);
        let copy = scene.fresh();
        let clean = points::clean_run(by, work, &copy);
        work.is_done(&copy, &before);
        known += clean.points.len();
        moments += clean.moments;
        let stride = if all { 1 } else { clean.points.len().div_ceil(few) };
        // Each time its threads share the calls in another way.
        let times = if all && by == By::Program { TIMES } else { 1 };
        let mut at = BTreeSet::new();
        for point in (0..times).flat_map(|_| clean.points.iter().step_by(stride)) {
            let copy = scene.fresh();
            tried += 1;
            let reached = points::kill_at(point, by, work, &copy);
            killed += usize::from(reached.is_some());
            at.extend(reached);
            check(&copy, work, &before, &format!("{work:?} of {layout} by {by:?}, killed at {point}"));
        }
        met += at.len();
    }
    println!(
        "{work:?} by {by:?}: {known} points in {} layouts, {tried} tried, {killed} killed there, at {met} different of some \
         {moments} calls; nothing lost",
        LAYOUTS.len()
    );
    let least = if by == By::Library { tried * 9 / 10 } else { tried / 2 };
    assert!(killed >= least, "the points of a clean run are not those of the next");
}

fn check(copy: &Path, work: Work, before: &oracle::Told, what: &str) {
    let left = oracle::look(copy);
    for (name, broken) in &left.broken {
        assert_eq!(before.broken.get(name), Some(broken), "{what}: {name} is broken");
    }
    for name in before.names.keys() {
        assert!(left.names.contains_key(name), "{what}: {name} is gone");
        // A version that was whole still leads to the same; one that was not may have been mended by now.
        let whole = !before.broken.contains_key(name);
        assert!(
            !whole || (&before.names[name], &before.live[name]) == (&left.names[name], &left.live[name]),
            "{what}: {name}"
        );
    }
    work::recover(copy, work);
    work.is_done(copy, before);
    let trash = |entry: &std::fs::DirEntry| entry.path().join("trash").exists();
    let left: Vec<_> = std::fs::read_dir(copy.join(".cachedeck")).unwrap().map(Result::unwrap).filter(trash).collect();
    assert!(left.is_empty(), "{what}: {left:?} is still hidden");
}

#[test]
fn prune_exclusive() {
    kill_everywhere(By::Library, Work::PruneExclusive);
}

#[test]
fn prune() {
    kill_everywhere(By::Library, Work::Prune);
}

#[test]
fn undo() {
    kill_everywhere(By::Library, Work::Undo);
}

#[test]
fn pin() {
    kill_everywhere(By::Library, Work::Pin);
}

#[test]
fn repair() {
    kill_everywhere(By::Library, Work::Repair);
}

#[test]
fn copy() {
    kill_everywhere(By::Library, Work::Copy);
}

#[test]
fn program_prune_exclusive() {
    kill_everywhere(By::Program, Work::PruneExclusive);
}

#[test]
fn program_prune() {
    kill_everywhere(By::Program, Work::Prune);
}

#[test]
fn program_undo() {
    kill_everywhere(By::Program, Work::Undo);
}

#[test]
fn program_pin() {
    kill_everywhere(By::Program, Work::Pin);
}

#[test]
fn program_repair() {
    kill_everywhere(By::Program, Work::Repair);
}

#[test]
fn program_copy() {
    kill_everywhere(By::Program, Work::Copy);
}

/// What strace runs: this program itself, told by its environment what to do. Without that it has nothing to do.
#[test]
fn the_work_itself() {
    if let Some((work, folder)) = points::told() {
        work::run(work, &folder);
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} number {}", self.call, self.number)
    }
}
