//! Edits of `index.json` beside builds that edit it, too.
//!
//! BuildKit takes `index.json.lock`, writes the file in place, gives up the lock, and only then removes the lock file, whose
//! path may be another one's by then; a build that finds the lock taken fails. So the lock is held as briefly as can be, with
//! everything prepared before, and it is not relied on: the file is replaced, its old one kept open, and looked at again a
//! second later. Whoever wrote into that meanwhile, taking it for the current one, has what was written brought over.

use super::area::{Temporary, mode};
use super::index_json::IndexText;
use super::{Folder, INDEX_LIMIT, calls};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::store::{Expected, Reference};
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

const INDEX: &str = "index.json";
const LOCK: &str = "index.json.lock";

/// How long the lock is tried for. Builds hold it for a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long after it was replaced the old file is looked at. A build writes it within a few milliseconds of opening it.
const LINGER: Duration = Duration::from_secs(1);

/// What `index.json` was when it was read.
struct Seen {
    /// The open file; `None` where there is none.
    file: Option<(OwnedFd, Stat)>,
    bytes: Vec<u8>,
}

/// The file that an edit replaced. A build may still be writing into it.
pub(super) struct Replaced {
    /// `None` where there was none.
    file: Option<OwnedFd>,
    before: Vec<u8>,
    after: Vec<u8>,
    since: Instant,
}

/// The lock, as long as this lives.
struct Lock<'a> {
    folder: &'a Folder,
    file: OwnedFd,
    /// Whether we made the file. One that others made is left to them.
    made: bool,
    #[cfg(test)]
    since: Instant,
}

impl Folder {
    /// Lets `name` lead to `document`, see [`crate::store::Store::publish`].
    pub(super) fn publish(
        self: &Arc<Self>,
        name: &str,
        document: &[u8],
        needs: &[Digest],
        expected: &Expected,
    ) -> Result<Option<Replaced>> {
        // Looked at before anything is stored, and again when it is.
        self.text(&self.seen_whole(Instant::now() + PATIENCE)?)?.lead(name, document, expected)?;
        for need in needs {
            self.at_blob(need, |blobs, file| self.stat(blobs, file)).map_err(|error| match error.kind() {
                Kind::NotFound => {
                    let what = format!("{name} was not published: blob {need} is not there");
                    Error::corrupt(what).with_hint("export the cache again, or see `cachedeck repair`")
                }
                _ => error,
            })?;
        }
        self.store(&Digest::of(document), document)?;
        let (_, replaced) = self.edit(|text| text.lead(name, document, expected))?;
        Ok(replaced)
    }

    /// Takes names away, see [`crate::store::Store::remove`].
    pub(super) fn unname(&self, references: &[Reference]) -> Result<(Vec<Result<()>>, Option<Replaced>)> {
        self.edit(|text| Ok(references.iter().map(|reference| text.unname(reference)).collect()))
    }

    /// Changes `index.json` as `change` says, which may be asked again if somebody else was faster. Its error changes
    /// nothing. What was replaced must be looked at later, see [`Folder::review`].
    pub(super) fn edit<T>(&self, change: impl Fn(&mut IndexText) -> Result<T>) -> Result<(T, Option<Replaced>)> {
        let until = Instant::now() + PATIENCE;
        for attempt in 0.. {
            let seen = self.seen_whole(until)?;
            let mut text = self.text(&seen)?;
            let told = change(&mut text)?;
            let Some(edited) = text.edited()? else { return Ok((told, None)) };
            let like = seen.file.as_ref().map(|(_, stat)| stat);
            let prepared = self.written(&edited, like)?;
            let lock = self.lock(until)?;
            let now = self.seen()?;
            if now.is(&seen) && self.replace(&lock, &prepared, now.file.is_some())? {
                return self.done(lock, now, edited).map(|replaced| (told, Some(replaced)));
            }
            // A build was faster. What it wrote is read and prepared for anew without the lock: while we wait for the disk no
            // build may have to.
            drop(lock);
            self.pause(attempt, until)?;
        }
        Err(self.busy())
    }

    /// Looks whether somebody wrote into the file that was replaced, once that can't happen any more, and brings it over. Then
    /// another file was replaced, which must be looked at likewise. Blocks until it is time. [`Kind::Stale`] if a build wrote
    /// a name at the same moment as we: its version is the one that stays.
    pub(super) fn review(&self, replaced: Replaced) -> Result<Option<Replaced>> {
        let Some(file) = &replaced.file else { return Ok(None) };
        std::thread::sleep(LINGER.saturating_sub(replaced.since.elapsed()));
        let fault = |errno| self.changing("reading what was replaced in", INDEX, errno);
        let until = Instant::now() + PATIENCE;
        let theirs = loop {
            let size = calls::fstat(file).map_err(fault)?.st_size as u64;
            let bytes = self.contents(file, size)?;
            if bytes == replaced.before {
                return Ok(None);
            }
            match IndexText::read(&bytes) {
                // It is not empty but while it is being written.
                Ok(text) if !bytes.is_empty() => break text,
                _ if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
                _ => {
                    let what = format!("what a build wrote to {} can't be read", self.path.join(INDEX).display());
                    return Err(Error::corrupt(what).with_hint("run the build that was exporting just now again"));
                }
            }
        };
        let (before, after) = (IndexText::read(&replaced.before)?, IndexText::read(&replaced.after)?);
        let difference = before.difference(&theirs);
        if difference.is_empty() {
            return Ok(None);
        }
        tracing::info!(index = %self.path.join(INDEX).display(), "a build wrote at the same moment: both are kept");
        let (contested, next) = self.edit(|text| Ok(text.merge(&difference, &before, &after)))?;
        match contested.first() {
            None => Ok(next),
            Some(name) => {
                let what = format!("a build exported {name} at the same moment; its version is the one that stays");
                Err(Error::new(Kind::Stale, what).with_hint("look again, then retry"))
            }
        }
    }

    fn text(&self, seen: &Seen) -> Result<IndexText> {
        IndexText::read(&seen.bytes).map_err(|e| {
            e.context(self.path.join(INDEX).display())
                .with_hint("nothing was changed: mend index.json first, or remove it")
        })
    }

    /// `index.json` as it is, maybe half-written.
    fn seen(&self) -> Result<Seen> {
        let fault = |errno| self.changing("reading", INDEX, errno);
        let file = match calls::stat(&self.root, INDEX) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                let what = format!("{} is not a file", self.path.join(INDEX).display());
                return Err(Error::corrupt(what).with_hint("move it away, then try again"));
            }
            Ok(_) => calls::open(&self.root, INDEX, OFlags::RDONLY),
            Err(errno) => Err(errno),
        };
        let file = match file {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Seen { file: None, bytes: Vec::new() }),
            Err(errno) => return Err(fault(errno)),
        };
        let stat = calls::fstat(&file).map_err(fault)?;
        let bytes = self.contents(&file, stat.st_size as u64)?;
        Ok(Seen { file: Some((file, stat)), bytes })
    }

    /// `index.json` once it can be read. A build may be writing it.
    fn seen_whole(&self, until: Instant) -> Result<Seen> {
        let mut tries = 0;
        loop {
            let seen = self.seen()?;
            match self.text(&seen) {
                Ok(_) if !seen.bytes.is_empty() || seen.file.is_none() || tries > 3 => return Ok(seen),
                Err(error) if tries > 3 => return Err(error),
                _ => std::thread::sleep(Duration::from_millis(50).min(until.saturating_duration_since(Instant::now()))),
            }
            tries += 1;
        }
    }

    fn contents(&self, file: &OwnedFd, size: u64) -> Result<Vec<u8>> {
        if size > INDEX_LIMIT {
            let what = format!("{} is longer than {} MiB", self.path.join(INDEX).display(), INDEX_LIMIT >> 20);
            return Err(Error::corrupt(what).with_hint("remove entries that nobody needs, then try again"));
        }
        let mut bytes = vec![0; size as usize];
        let read = calls::read_at(file, &mut bytes, 0).map_err(|e| self.changing("reading", INDEX, e))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Puts what was prepared in place of `index.json`; not if the lock is not ours any more.
    fn replace(&self, lock: &Lock<'_>, prepared: &Temporary, is_there: bool) -> Result<bool> {
        let fault = |errno| self.changing("writing", INDEX, errno);
        if !lock.is_ours().map_err(fault)? {
            return Ok(false);
        }
        let placed = match is_there {
            true => prepared.place_over(&self.root, INDEX),
            false => prepared.place_new(&self.root, INDEX),
        };
        match placed {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(fault(errno)),
        }
    }

    /// Gives up the lock, then makes the edit durable: builds need not wait for the disk.
    fn done(&self, lock: Lock<'_>, was: Seen, after: Vec<u8>) -> Result<Replaced> {
        drop(lock);
        let since = Instant::now();
        calls::sync(&self.root).map_err(|errno| self.changing("writing", INDEX, errno))?;
        Ok(Replaced { file: was.file.map(|(file, _)| file), before: was.bytes, after, since })
    }

    /// Takes the lock of builds, as they do.
    fn lock(&self, until: Instant) -> Result<Lock<'_>> {
        let fault = |errno| self.changing("locking", LOCK, errno);
        for attempt in 0.. {
            let (file, made) = match calls::create(&self.root, LOCK, self.file_mode()) {
                // A build of another user must be able to open what we leave behind if we are killed.
                Ok(file) => {
                    self.adopt_file(&file).map_err(fault)?;
                    (Some(file), true)
                }
                Err(Errno::EXIST) => (self.lock_of_others()?, false),
                Err(errno) => return Err(fault(errno)),
            };
            if let Some(file) = file {
                match calls::try_lock(&file) {
                    Ok(()) => {
                        let lock = Lock {
                            folder: self,
                            file,
                            made,
                            #[cfg(test)]
                            since: Instant::now(),
                        };
                        // It may have been removed before it was locked.
                        if lock.is_ours().map_err(fault)? {
                            return Ok(lock);
                        }
                    }
                    Err(Errno::AGAIN) => {}
                    Err(errno) => return Err(fault(errno).with_hint("the file system must have file locks")),
                }
            }
            self.pause(attempt, until)?;
        }
        Err(self.busy())
    }

    /// The lock file that is there; `None` if it has just been removed.
    fn lock_of_others(&self) -> Result<Option<OwnedFd>> {
        let path = || self.path.join(LOCK).display().to_string();
        match calls::open(&self.root, LOCK, OFlags::RDONLY) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::ACCESS) => Err(Error::new(Kind::Denied, format!("{} is another user's", path()))
                .with_hint("remove it if no build is running, then try again")),
            Err(errno) => Err(self.changing("opening", LOCK, errno)),
        }
    }

    /// Waits a little before the next attempt, each time longer and by chance, so that two don't keep meeting.
    fn pause(&self, attempt: u32, until: Instant) -> Result<()> {
        if Instant::now() >= until {
            return Err(self.busy());
        }
        let most = 500 << attempt.min(4);
        std::thread::sleep(Duration::from_micros(100 + RandomState::new().hash_one(attempt) % most));
        Ok(())
    }

    fn busy(&self) -> Error {
        let what = format!("builds keep {} busy", self.path.join(INDEX).display());
        Error::new(Kind::Busy, what).with_hint(format!("try again; if no build is running, remove {LOCK} beside it"))
    }
}

impl Seen {
    /// Whether nobody wrote the file between the two.
    fn is(&self, other: &Self) -> bool {
        let inode =
            |seen: &Self| seen.file.as_ref().map(|(_, stat)| (stat.st_dev, stat.st_ino, mode(stat), stat.st_uid));
        inode(self) == inode(other) && self.bytes == other.bytes
    }
}

impl Lock<'_> {
    /// Whether the file at the path is still the one we locked: a build that is late may remove it.
    fn is_ours(&self) -> std::result::Result<bool, Errno> {
        let is = calls::fstat(&self.file)?;
        match calls::stat(&self.folder.root, LOCK) {
            Ok(there) => Ok((there.st_dev, there.st_ino) == (is.st_dev, is.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Removed before it is given up, so that nobody can have locked what we remove. What stays does no harm.
        if self.made && self.is_ours().is_ok_and(|ours| ours) {
            let _ = calls::unlink(&self.folder.root, LOCK);
        }
        #[cfg(test)]
        super::faults::held(self.since.elapsed());
    }
}
