//! `.cachedeck/` in a layout: what we keep there for ourselves, out of the way of builds. It is made when something is
//! changed, never by looking.
//!
//! ```text
//! .cachedeck/
//!   lock               held by the one cachedeck that changes the layout; never removed
//!   notes/             small documents of ours, see `notes.rs`
//!   <run>/trash/<hex>  blobs that a run hid, see `attic.rs`
//!   tmp-<...>          what is being written; a day later it is rubbish
//! ```

use super::{Folder, calls, failed, folder_at};
use crate::error::{Error, Kind, Result};
use crate::model::plan::RunId;
use jiff::SignedDuration;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Its name.
pub(super) const AREA: &str = ".cachedeck";

const LOCK: &str = "lock";
const TEMPORARY: &str = "tmp-";

/// What was being written so long ago is not written any more.
const RUBBISH: SignedDuration = SignedDuration::from_hours(24);

/// Who may read and write a file of ours: those who may do so with the folder it is for.
const FILE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);

/// The permission bits of something.
pub(super) fn mode(of: &Stat) -> Mode {
    Mode::from_raw_mode(of.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO | Mode::SGID)
}

impl Folder {
    /// Our area, if there is one.
    pub(super) fn area(&self) -> Result<Option<OwnedFd>> {
        folder_at(&self.root, AREA).map_err(|e| e.context(self.path.display()))
    }

    /// Our area, made if it is not there yet. Fails if the folder is not at its path any more: then another one is meant.
    pub(super) fn make_area(&self) -> Result<OwnedFd> {
        let is = calls::fstat(&self.root).map_err(|e| self.changing("looking at the folder", "", e))?;
        let there = rustix::fs::stat(&self.path).ok();
        if there.is_none_or(|there| (there.st_dev, there.st_ino) != (is.st_dev, is.st_ino)) {
            let what = format!("{} was moved or replaced since it was opened", self.path.display());
            return Err(Error::new(Kind::Stale, what).with_hint("look again, then retry"));
        }
        let area = self.make_folder(&self.root, AREA)?;
        let own = calls::fstat(&area).map_err(|e| self.changing("looking at", AREA, e))?;
        if own.st_dev != is.st_dev {
            let what = format!("{} is on another file system than its cache", self.path.join(AREA).display());
            return Err(Error::invalid(what).with_hint("unmount it, so that blobs can be moved there and back"));
        }
        Ok(area)
    }

    /// Folder `name` in `at`, made if it is not there, with the owner and permissions of the layout's own folder.
    pub(super) fn make_folder(&self, at: &OwnedFd, name: &str) -> Result<OwnedFd> {
        let fault = |errno| self.changing("making folder", name, errno);
        if let Some(folder) = folder_at(at, name).map_err(|e| e.context(self.path.display()))? {
            return Ok(folder);
        }
        let like = calls::fstat(&self.root).map_err(fault)?;
        let made = match calls::make_folder(at, name, mode(&like)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(fault(errno)),
        };
        let folder = calls::open(at, name, OFlags::RDONLY | OFlags::DIRECTORY).map_err(fault)?;
        if made {
            self.adopt(&folder, mode(&like), &like).map_err(fault)?;
            calls::sync(at).map_err(fault)?;
        }
        Ok(folder)
    }

    /// Gives a file or folder of ours `mode` and, as far as we may, the owner of `like`. Only root may give things away.
    fn adopt(&self, file: &OwnedFd, mode: Mode, like: &Stat) -> std::result::Result<(), Errno> {
        let is = calls::fstat(file)?;
        if (is.st_uid, is.st_gid) != (like.st_uid, like.st_gid) {
            match calls::set_owner(file, like) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno),
            }
        }
        // After the owner, for a change of that drops bits.
        if self::mode(&is) == mode { Ok(()) } else { calls::set_mode(file, mode) }
    }

    /// Gives a new file the owner of the layout's folder and the permissions of files in it.
    pub(super) fn adopt_file(&self, file: &OwnedFd) -> std::result::Result<(), Errno> {
        let like = calls::fstat(&self.root)?;
        self.adopt(file, mode(&like) & FILE, &like)
    }

    /// Permissions of a new file in the layout's folder, before [`Folder::adopt_file`].
    pub(super) fn file_mode(&self) -> Mode {
        calls::fstat(&self.root).map_or(Mode::RUSR | Mode::WUSR, |like| mode(&like) & FILE)
    }

    /// A new file in our area.
    pub(super) fn temporary(&self) -> Result<Temporary> {
        let area = self.make_area()?;
        loop {
            let name = temporary_name();
            match calls::create(&area, &name, Mode::RUSR | Mode::WUSR) {
                Ok(file) => return Ok(Temporary { area, name, file, shown: self.path.display().to_string() }),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.changing("writing a file in", AREA, errno)),
            }
        }
    }

    /// A file in our area that holds `bytes` for good, with the owner and permissions of `like`, or else of the folder.
    pub(super) fn written(&self, bytes: &[u8], like: Option<&Stat>) -> Result<Temporary> {
        let temporary = self.temporary()?;
        let adopted = match like {
            Some(like) => self.adopt(&temporary.file, mode(like), like),
            None => self.adopt_file(&temporary.file),
        };
        adopted
            .and_then(|()| calls::write_all(&temporary.file, bytes))
            .and_then(|()| calls::sync(&temporary.file))
            .map_err(|errno| self.changing("writing a file in", AREA, errno))?;
        Ok(temporary)
    }

    /// The time by the file system's own clock, which is the one that blobs get their times from.
    pub(super) fn clock(&self) -> Result<jiff::Timestamp> {
        let fault = |errno| self.changing("writing a file in", AREA, errno);
        let temporary = self.temporary()?;
        calls::write_all(&temporary.file, b"?").map_err(fault)?;
        let stat = calls::fstat(&temporary.file).map_err(fault)?;
        super::modified(&stat).ok_or_else(|| {
            Error::corrupt(format!("the clock of the file system of {} is broken", self.path.display()))
                .with_hint("set the clock, then try again")
        })
    }

    /// Takes the lock of the layout, for `run`. Another cachedeck's is [`Kind::Busy`].
    pub(super) fn hold(&self, run: &RunId) -> Result<OwnedFd> {
        let area = self.make_area()?;
        let fault = |errno| self.changing("locking", ".cachedeck/lock", errno);
        let lock = loop {
            match calls::create(&area, LOCK, self.file_mode()) {
                Ok(lock) => {
                    self.adopt_file(&lock).map_err(fault)?;
                    break lock;
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(fault(errno)),
            }
            match calls::open(&area, LOCK, OFlags::RDWR) {
                Ok(lock) => break lock,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(fault(errno)),
            }
        };
        match calls::try_lock(&lock) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Err(self.held(&lock)),
            Err(errno) => {
                return Err(fault(errno).with_hint("without file locks two cachedecks could get into each other's way"));
            }
        }
        // Who has it is for people only: what counts is the lock, which ends with the process.
        let _ = rustix::fs::ftruncate(&lock, 0).and_then(|()| rustix::io::pwrite(&lock, run.as_str().as_bytes(), 0));
        self.clear(&area);
        Ok(lock)
    }

    fn held(&self, lock: &OwnedFd) -> Error {
        let mut by = [0; 22];
        let read = calls::read_at(lock, &mut by, 0).unwrap_or_default();
        let by = std::str::from_utf8(&by[..read]).ok().and_then(|by| by.parse::<RunId>().ok());
        let by = by.map_or_else(String::new, |run| format!(" (run {run})"));
        Error::new(Kind::Busy, format!("another cachedeck{by} is changing {}", self.path.display()))
            .with_hint("try again once it is done")
    }

    /// Removes what was left when a process was killed: folders of runs that hide nothing, and what was being written. No
    /// reason to fail.
    fn clear(&self, area: &OwnedFd) {
        let Ok(entries) = super::scan::entries(area, AREA) else { return };
        for (name, kind) in entries {
            if kind == FileType::Directory && name.parse::<RunId>().is_ok() {
                super::attic::remove_if_empty(area, &name);
            }
            if !name.starts_with(TEMPORARY) {
                continue;
            }
            let Ok(stat) = calls::stat(area, &name) else { continue };
            // A folder moved here keeps its old time of writing; when it was moved is told by its time of change.
            let age = changed(&stat).map(|at| jiff::Timestamp::now().duration_since(at));
            if age.is_none_or(|age| age < RUBBISH) {
                continue;
            }
            let _ = match kind {
                FileType::Directory => super::leftovers::remove_tree(area, &name),
                _ => calls::unlink(area, &name),
            };
        }
    }

    /// What a file system that is not this machine's own can't promise.
    pub(super) fn far_away(&self) -> Option<String> {
        // As `statfs(2)` has them.
        const FAR: [(u32, &str); 6] = [
            (0x6969, "NFS"),
            (0xff53_4d42, "SMB"),
            (0xfe53_4d42, "SMB"),
            (0x517b, "SMB"),
            (0x0102_1997, "9p"),
            (0x6573_5546, "FUSE"),
        ];
        let is = rustix::fs::fstatfs(&self.root).ok()?.f_type as u32;
        let (_, name) = FAR.iter().find(|(magic, _)| *magic == is)?;
        Some(format!("the folder is on {name}, where locks and times of other machines can't be relied on"))
    }

    /// The error for a change that failed, by what was done and to which file below the folder.
    pub(super) fn changing(&self, what: &str, name: &str, errno: Errno) -> Error {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        let what = format!("{what} {}", path.display());
        let (kind, hint) = match errno {
            Errno::ACCESS | Errno::PERM => (Kind::Denied, "run cachedeck as the user who owns the cache"),
            Errno::ROFS => (Kind::Denied, "mount the file system for writing, then try again"),
            Errno::NOSPC | Errno::DQUOT => (Kind::Unavailable, "make room on the file system, then try again"),
            Errno::XDEV => (Kind::Invalid, "nothing below the cache's folder may be mounted from elsewhere"),
            Errno::LOOP | Errno::NOTDIR => (Kind::Invalid, "a symbolic link could lead out of the cache: remove it"),
            Errno::IO => {
                (Kind::Unavailable, "the disk failed: check it and the cache (`cachedeck verify`), then retry")
            }
            _ => return failed(what, errno).with_hint("nothing was lost: look again, then retry"),
        };
        Error::new(kind, what).with_source(std::io::Error::from(errno)).with_hint(hint)
    }
}

/// When something about a file last changed, its name too.
pub(super) fn changed(stat: &Stat) -> Option<jiff::Timestamp> {
    // The field types of `stat` differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    jiff::Timestamp::new(stat.st_ctime as i64, i32::try_from(stat.st_ctime_nsec).unwrap_or(0)).ok()
}

/// A file of ours that goes away again unless it is moved to its place.
pub(super) struct Temporary {
    area: OwnedFd,
    name: String,
    /// The file, open for reading and writing.
    pub(super) file: OwnedFd,
    shown: String,
}

impl Temporary {
    /// Moves it to `name` in `to`, where nothing may be: [`Errno::EXIST`].
    pub(super) fn place_new(&self, to: &OwnedFd, name: &str) -> std::result::Result<(), Errno> {
        calls::rename_new(&self.area, &self.name, to, name)
    }

    /// Moves it to `name` in `to`, in place of what is there.
    pub(super) fn place_over(&self, to: &OwnedFd, name: &str) -> std::result::Result<(), Errno> {
        calls::rename_over(&self.area, &self.name, to, name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Once it was moved nothing is there under this name, and nobody else uses it.
        match rustix::fs::unlinkat(&self.area, &*self.name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => tracing::debug!(folder = self.shown, %errno, "a temporary file stays for a day"),
        }
    }
}

/// A name that nobody else uses: by process, time and count.
pub(super) fn temporary_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    format!("{TEMPORARY}{}-{nanos:x}-{count}", std::process::id())
}
