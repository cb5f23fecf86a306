//! Blobs that a run hid: moved out of `blobs/`, where no build sees them, into `.cachedeck/<run>/trash/`, and from there back
//! or away. A build that misses one writes it anew, and that is never overwritten.
//!
//! A blob is in one of the two folders at any moment, whatever ends the process; moving keeps its time of writing.

use super::area::changed;
use super::{Folder, calls, folder_at, modified};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::plan::{RunId, Target};
use crate::progress::Progress;
use crate::store::all_fail;
use jiff::{SignedDuration, Timestamp};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

const TRASH: &str = "trash";

/// Blobs that are worth a thread of their own.
const SHARE: usize = 1024;

/// Threads that move or free blobs: the file system lets few do so in one folder at a time.
const THREADS: usize = 4;

/// The folders that blobs move between.
struct Attic {
    area: OwnedFd,
    run: OwnedFd,
    trash: OwnedFd,
}

impl Folder {
    /// See [`crate::store::Store::hide`]. What was moved is durable when this returns; where that fails, all of it is told as
    /// failed, though it may be hidden.
    pub(super) fn hide(
        &self,
        run: &RunId,
        targets: &[Target],
        grace: SignedDuration,
        progress: &Progress,
    ) -> Vec<Result<()>> {
        let ready = || -> Result<(&OwnedFd, Attic, Timestamp)> {
            let none = || Error::not_found(format!("{} has no blobs", self.path.display()));
            let blobs = self.blobs()?.ok_or_else(none)?;
            let attic = self.make_attic(run, blobs)?;
            Ok((blobs, attic, self.clock()?))
        };
        let (blobs, attic, now) = match ready() {
            Ok(ready) => ready,
            Err(error) => return all_fail(targets, &error),
        };
        let hide = |target: &Target| {
            progress.check()?;
            let name = target.digest.hex();
            let fault = |errno| self.at_blob_fault("hiding", &target.digest, errno);
            let stat = calls::stat(blobs, &name).map_err(fault)?;
            self.unchanged(target, &stat)?;
            if age(now, &stat).is_none_or(|age| age < grace) {
                let what = format!("blob {} was written too short a time ago", target.digest);
                return Err(Error::new(Kind::Stale, what).with_hint("a build may need it: it stays for now"));
            }
            calls::rename_new(blobs, &name, &attic.trash, &name).map_err(|errno| match errno {
                Errno::EXIST => changed_blob(&target.digest),
                errno => fault(errno),
            })?;
            progress.add(1, target.bytes);
            Ok(())
        };
        let results = each(targets, hide);
        if results.iter().all(Result::is_err) {
            self.tidy(run, attic);
            return results;
        }
        // Where it went before where it came from: it is never in neither.
        let durable = calls::sync(&attic.trash).and_then(|()| calls::sync(blobs));
        self.unless_lost(durable, "hiding blobs in", results)
    }

    /// See [`crate::store::Store::hidden`]. Sorted by digest.
    pub(super) fn hidden(&self, run: &RunId) -> Result<Vec<Target>> {
        let Some(Attic { trash, .. }) = self.attic(run)? else { return Ok(Vec::new()) };
        let mut hidden = Vec::new();
        for (name, kind) in super::scan::entries(&trash, "what is hidden")? {
            let Ok(digest) = Digest::from_hex(&name) else { continue };
            if kind != FileType::RegularFile {
                continue;
            }
            match calls::stat(&trash, &name) {
                Ok(stat) => {
                    self.links.look(&digest, &stat);
                    hidden.push(Target { digest, bytes: stat.st_size as u64, modified: modified(&stat) });
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.changing("looking at a hidden blob in", super::area::AREA, errno)),
            }
        }
        hidden.sort();
        Ok(hidden)
    }

    /// See [`crate::store::Store::restore`].
    pub(super) fn restore(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let attic = match self.attic(run) {
            Ok(Some(attic)) => attic,
            // Nothing is made where nothing is hidden.
            Ok(None) => return targets.iter().map(|target| self.is_back(target)).collect(),
            Err(error) => return all_fail(targets, &error),
        };
        let blobs = match self.make_blobs() {
            Ok(blobs) => blobs,
            Err(error) => return all_fail(targets, &error),
        };
        let mut linked = Vec::new();
        let mut restore = |target: &Target| {
            progress.check()?;
            let name = target.digest.hex();
            let fault = |errno| self.at_blob_fault("restoring", &target.digest, errno);
            let stat = match calls::stat(&attic.trash, &name) {
                Err(Errno::NOENT) => return self.is_back(target),
                stat => stat.map_err(fault)?,
            };
            self.regular(&name, stat)?;
            match calls::link(&attic.trash, &name, &blobs, &name) {
                Ok(()) => linked.push(name),
                Err(Errno::EXIST) => {
                    // Written again by a build, or brought back before we were killed.
                    let there = calls::stat(&blobs, &name).map_err(fault)?;
                    if self.regular(&name, there)?.st_size != stat.st_size {
                        let what = format!("blob {} was written again, and has another length", target.digest);
                        let hint = "`cachedeck verify` tells whether it is whole; the hidden one is kept";
                        return Err(Error::corrupt(what).with_hint(hint));
                    }
                    linked.push(name);
                }
                // Not every file system has links, and not every user may link to another's files.
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::MLINK | Errno::NOSYS) => {
                    calls::rename_new(&attic.trash, &name, &blobs, &name).map_err(fault)?;
                }
                Err(errno) => return Err(fault(errno)),
            }
            progress.add(1, stat.st_size as u64);
            Ok(())
        };
        let results: Vec<Result<()>> = targets.iter().map(&mut restore).collect();
        // The second name goes only once the first is durable.
        let durable = calls::sync(&blobs);
        if durable.is_ok() {
            for name in &linked {
                if let Err(errno) = calls::unlink(&attic.trash, name) {
                    tracing::warn!(blob = name, %errno, "it is back; its hidden copy stays until the run is freed");
                }
            }
            let _ = calls::sync(&attic.trash);
        }
        let results = self.unless_lost(durable, "restoring blobs in", results);
        self.tidy(run, attic);
        results
    }

    /// See [`crate::store::Store::purge`].
    pub(super) fn purge(&self, run: &RunId, targets: &[Target], progress: &Progress) -> Vec<Result<()>> {
        let attic = match self.attic(run) {
            Ok(Some(attic)) => attic,
            Ok(None) => return targets.iter().map(|_| Ok(())).collect(),
            Err(error) => return all_fail(targets, &error),
        };
        let purge = |target: &Target| {
            progress.check()?;
            match calls::unlink(&attic.trash, &target.digest.hex()) {
                Ok(()) | Err(Errno::NOENT) => progress.add(1, target.bytes),
                Err(errno) => return Err(self.at_blob_fault("freeing", &target.digest, errno)),
            }
            Ok(())
        };
        let results = each(targets, purge);
        let Attic { area, run: folder, trash } = attic;
        // Where all are gone their folders go, too: what then lasts or not is that, and a large folder is not written for nothing.
        let emptied = results.iter().all(Result::is_ok) && {
            drop(folder);
            remove_if_empty(&area, run.as_str());
            folder_at(&area, run.as_str()).is_ok_and(|folder| folder.is_none())
        };
        let durable = if emptied { calls::sync(&area) } else { calls::sync(&trash) };
        self.unless_lost(durable, "freeing blobs in", results)
    }

    /// See [`crate::store::Store::written_since`].
    pub(super) fn written_since(&self, targets: &[Target], since: Timestamp) -> Result<HashSet<Digest>> {
        let Some(blobs) = self.blobs()? else { return Ok(HashSet::new()) };
        let may_be_young = |target: &&Target| match calls::stat(blobs, &target.digest.hex()) {
            Ok(stat) => written(&stat).is_none_or(|written| written > since),
            // What is not there was not written; of anything else nobody knows.
            Err(errno) => errno != Errno::NOENT,
        };
        Ok(targets.iter().filter(may_be_young).map(|target| target.digest).collect())
    }

    fn attic(&self, run: &RunId) -> Result<Option<Attic>> {
        let Some(area) = self.area()? else { return Ok(None) };
        let context = |e: Error| e.context(self.path.display());
        let Some(run) = folder_at(&area, run.as_str()).map_err(context)? else { return Ok(None) };
        let trash = folder_at(&run, TRASH).map_err(context)?;
        Ok(trash.map(|trash| Attic { area, run, trash }))
    }

    fn make_attic(&self, run: &RunId, blobs: &OwnedFd) -> Result<Attic> {
        let area = self.make_area()?;
        let run = self.make_folder(&area, run.as_str())?;
        let trash = self.make_folder(&run, TRASH)?;
        let device = |folder| calls::fstat(folder).map(|stat| stat.st_dev);
        let fault = |errno| self.changing("looking at", TRASH, errno);
        if device(&trash).map_err(fault)? != device(blobs).map_err(fault)? {
            let what = format!("the blobs of {} are on another file system than the folder", self.path.display());
            return Err(Error::invalid(what).with_hint("nothing can be hidden there; use a cache in one piece"));
        }
        Ok(Attic { area, run, trash })
    }

    /// Removes the folders of a run that hides nothing.
    fn tidy(&self, run: &RunId, attic: Attic) {
        let Attic { area, run: folder, trash } = attic;
        drop((trash, folder));
        remove_if_empty(&area, run.as_str());
    }

    /// Whether a blob that is not hidden is back already.
    fn is_back(&self, target: &Target) -> Result<()> {
        let there = self.at_blob(&target.digest, |blobs, name| self.stat(blobs, name));
        there.map(drop).map_err(|error| match error.kind() {
            Kind::NotFound => Error::not_found(format!("blob {} is neither hidden nor there", target.digest))
                .with_hint("what was freed can't be brought back: build again to have it"),
            _ => error,
        })
    }

    fn unchanged(&self, target: &Target, stat: &Stat) -> Result<()> {
        self.regular(&target.digest.hex(), *stat)?;
        let is = (stat.st_size as u64, modified(stat));
        if is == (target.bytes, target.modified) { Ok(()) } else { Err(changed_blob(&target.digest)) }
    }

    /// The results, or that none of it is sure to last.
    fn unless_lost(
        &self,
        durable: std::result::Result<(), Errno>,
        what: &str,
        results: Vec<Result<()>>,
    ) -> Vec<Result<()>> {
        let Err(errno) = durable else { return results };
        let lost = |result: Result<()>| result.and_then(|()| Err(self.changing(what, "", errno)));
        results.into_iter().map(lost).collect()
    }

    fn at_blob_fault(&self, what: &str, digest: &Digest, errno: Errno) -> Error {
        match errno {
            Errno::NOENT => Error::not_found(format!("no blob {digest} in {}", self.path.display())),
            errno => self.changing(what, &format!("blobs/sha256/{}", digest.hex()), errno),
        }
    }
}

/// When a blob was written, or anything about it changed: a copy made with its old times is no older than the copying.
fn written(stat: &Stat) -> Option<Timestamp> {
    Some(modified(stat)?.max(changed(stat)?))
}

fn age(now: Timestamp, stat: &Stat) -> Option<SignedDuration> {
    Some(now.duration_since(written(stat)?))
}

fn changed_blob(digest: &Digest) -> Error {
    Error::new(Kind::Stale, format!("blob {digest} has changed since it was looked at"))
        .with_hint("look again, then retry")
}

/// Removes the folders of a run in our area. Those that hold something stay by themselves.
pub(super) fn remove_if_empty(area: &OwnedFd, run: &str) {
    if let Ok(Some(folder)) = folder_at(area, run) {
        let _ = calls::remove_folder(&folder, TRASH);
        let _ = calls::remove_folder(area, run);
    }
}

/// Does the same to all of them, on several threads where they are many. Results are in their order.
fn each(targets: &[Target], work: impl Fn(&Target) -> Result<()> + Sync) -> Vec<Result<()>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(THREADS).min(targets.len() / SHARE);
    if threads < 2 {
        return targets.iter().map(work).collect();
    }
    let (next, shares) = (AtomicUsize::new(0), targets.chunks(SHARE / 8).collect::<Vec<_>>());
    // Small shares, so that all of them end at about the same time.
    let run = || {
        let mut done = Vec::new();
        while let Some((at, share)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            shares.get(at).map(|share| (at, share))
        } {
            done.push((at, share.iter().map(&work).collect::<Vec<_>>()));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut done = run();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().flat_map(|(_, results)| results).collect()
}
