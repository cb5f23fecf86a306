//! Uploads that never finished, in `ingest/`, which nobody has written to for a day: they are given up. Each is first moved
//! out of BuildKit's way, then looked at once more, then removed.

use super::area::{AREA, temporary_name};
use super::scan::entries;
use super::{Folder, calls, folder_at, modified};
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::store::all_fail;
use jiff::{SignedDuration, Timestamp};
use rustix::fd::OwnedFd;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::rc::Rc;

/// BuildKit may go on with what is younger.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Folders, and things in all of them, up to which something is still an upload.
const FOLDERS: usize = 32;
const MANY: usize = 4096;

impl Folder {
    /// See [`crate::store::Store::discard`].
    pub(super) fn discard(&self, names: &[String], progress: &Progress) -> Vec<Result<()>> {
        let ready = || -> Result<Option<(OwnedFd, OwnedFd, Timestamp)>> {
            match folder_at(&self.root, "ingest").map_err(|e| e.context(self.path.display()))? {
                Some(ingest) => Ok(Some((ingest, self.make_area()?, self.clock()?))),
                None => Ok(None),
            }
        };
        match ready() {
            Ok(None) => names.iter().map(|name| checked(name)).collect(),
            Ok(Some((ingest, area, now))) => {
                let discard = |name: &String| {
                    progress.check()?;
                    self.discard_one((&ingest, &area), name, now)?;
                    progress.add(1, 0);
                    Ok(())
                };
                names.iter().map(discard).collect()
            }
            Err(error) => all_fail(names, &error),
        }
    }

    fn discard_one(&self, (ingest, area): (&OwnedFd, &OwnedFd), name: &str, now: Timestamp) -> Result<()> {
        checked(name)?;
        let fault = |errno| self.changing("removing upload", &format!("ingest/{name}"), errno);
        let old = |at: &OwnedFd, name: &str| match last_written(at, name) {
            Ok(written) if now.duration_since(written) >= GRACE => Ok(()),
            Ok(_) => Err(Error::new(Kind::Stale, format!("upload {name} was written to within the last day"))
                .with_hint("a build may go on with it: it stays for now")),
            Err(errno) => Err(fault(errno)),
        };
        match calls::stat(ingest, name) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(fault(errno)),
            Ok(_) => old(ingest, name)?,
        }
        let moved = temporary_name();
        match calls::rename_new(ingest, name, area, &moved) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(fault(errno)),
        }
        if let Err(error) = old(area, &moved) {
            // A build went on with it just then.
            return match calls::rename_new(area, &moved, ingest, name) {
                Ok(()) => Err(error),
                Err(errno) => Err(self.changing("putting back upload", &format!("{AREA}/{moved}"), errno)),
            };
        }
        remove_tree(area, &moved).map_err(fault)
    }
}

/// Whether `name` is one thing in a folder.
fn checked(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
        return Err(Error::invalid(format!("{name:?} can't be the name of an upload")));
    }
    Ok(())
}

/// Something in an upload: the folder it is in, its name, and what it is.
type Part = (Rc<OwnedFd>, String, FileType);

/// Everything in `name`, and itself, folders before what is in them; links are not followed.
fn tree(at: &OwnedFd, name: &str) -> std::result::Result<Vec<Part>, Errno> {
    let kind = FileType::from_raw_mode(calls::stat(at, name)?.st_mode);
    let mut found = vec![(Rc::new(rustix::io::fcntl_dupfd_cloexec(at, 0)?), name.to_owned(), kind)];
    let (mut next, mut folders) = (0, 0);
    while let Some((folder, name, kind)) = found.get(next).cloned() {
        next += 1;
        if kind != FileType::Directory {
            continue;
        }
        folders += 1;
        let unreadable = |_| Errno::ACCESS;
        let Some(folder) = folder_at(&folder, &name).map_err(unreadable)?.map(Rc::new) else { continue };
        let parts = entries(&folder, "an upload").map_err(unreadable)?;
        if folders > FOLDERS || found.len() + parts.len() > MANY {
            return Err(Errno::TOOBIG);
        }
        found.extend(parts.into_iter().map(|(name, kind)| (folder.clone(), name, kind)));
    }
    Ok(found)
}

/// When anything in it was last written. The time of the whole may be older than that of a file in it.
fn last_written(at: &OwnedFd, name: &str) -> std::result::Result<Timestamp, Errno> {
    let mut last = Timestamp::MIN;
    for (folder, name, _) in tree(at, name)? {
        match calls::stat(&*folder, &name) {
            Ok(stat) => last = last.max(modified(&stat).unwrap_or(Timestamp::MAX)),
            // It is being worked on.
            Err(Errno::NOENT) => return Ok(Timestamp::MAX),
            Err(errno) => return Err(errno),
        }
    }
    Ok(last)
}

/// Removes a file, or a folder with all that is in it.
pub(super) fn remove_tree(at: &OwnedFd, name: &str) -> std::result::Result<(), Errno> {
    for (folder, name, kind) in tree(at, name)?.iter().rev() {
        let removed = match kind {
            FileType::Directory => calls::remove_folder(&**folder, name),
            _ => calls::unlink(&**folder, name),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
