//! A folder of our own, beneath which files of a layer are put before they appear under their name. Every step goes from
//! an opened directory to one name in it and follows no links, so nothing here can reach outside, whatever a layer's
//! names and links say.

use crate::error::{Error, Kind, Result};
use crate::model::files::parts;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const PREFIX: &str = ".cachedeck-";

/// Why one thing could not be put: the layer's fault, so that the rest can go on, or not.
#[derive(Debug)]
pub(super) enum Fault {
    /// Something of another kind has the name, or is where a directory should be.
    Taken,
    /// The file system does not take such a name.
    Name,
    /// The file system failed.
    Failed(Errno),
}

/// What became of putting one thing.
pub(super) type Put<T> = std::result::Result<T, Fault>;

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EXIST | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::NOTEMPTY => Fault::Taken,
            Errno::NAMETOOLONG | Errno::ILSEQ | Errno::INVAL => Fault::Name,
            errno => Fault::Failed(errno),
        }
    }
}

/// The folder. Dropping it removes it with all that was not published.
pub(super) struct Staging {
    folder: TempDir,
    root: OwnedFd,
    target: OwnedFd,
    into: PathBuf,
    /// The directory that was opened last: entries of a layer come directory by directory.
    opened: Option<(Vec<u8>, OwnedFd)>,
}

impl Staging {
    /// In the folder `into`, which is made if need be. That path is the user's own: links in it are followed.
    pub(super) fn new(into: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::io(format!("making a folder in {}", into.display()), e);
        std::fs::create_dir_all(into).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(into).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target = fs::open(into, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let root = fs::open(folder.path(), flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|e| failed(e.into()))?;
        Ok(Self { folder, root, target, into: into.to_owned(), opened: None })
    }

    /// Whether the target folder has something called `name`.
    pub(super) fn is_taken(&self, name: &[u8]) -> bool {
        fs::statat(&self.target, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Makes a directory; one that is there already is left as it is. Its owner can always use it.
    pub(super) fn directory(&mut self, path: &[u8], mode: u32) -> Put<()> {
        let (parent, name) = self.parent(path)?;
        match fs::mkdirat(parent, name, permissions(mode) | Mode::RWXU) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if kind(parent, name)? == FileType::Directory => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes a file, in the place of one that is there; tells whether there was one. It never has set-id bits, and the
    /// user's mask applies.
    pub(super) fn file(&mut self, path: &[u8], mode: u32) -> Put<(File, bool)> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let replaced = remove(parent, name)?;
        Ok((fs::openat(parent, name, flags, permissions(mode))?.into(), replaced))
    }

    /// Makes `path` another name of the file at `existing`; `false` if there is no such file.
    pub(super) fn hardlink(&mut self, existing: &[u8], path: &[u8]) -> Put<bool> {
        let from = match self.parent(existing).and_then(|(parent, name)| match kind(parent, name) {
            Ok(FileType::RegularFile) => {
                Ok(Some(parent.try_clone_to_owned().map_err(|_| Fault::Failed(Errno::MFILE))?))
            }
            _ => Ok(None),
        }) {
            Ok(Some(from)) => from,
            Ok(None) | Err(Fault::Taken | Fault::Name) => return Ok(false),
            Err(failed) => return Err(failed),
        };
        if existing == path {
            return Ok(true);
        }
        let (parent, name) = self.parent(path)?;
        remove(parent, name)?;
        fs::linkat(&from, base(existing), parent, name, AtFlags::empty())?;
        Ok(true)
    }

    /// Makes a symbolic link. Only at the very end: nothing must be put behind one.
    pub(super) fn symlink(&mut self, target: &[u8], path: &[u8]) -> Put<()> {
        let (parent, name) = self.parent(path)?;
        remove(parent, name)?;
        Ok(fs::symlinkat(target, parent, name)?)
    }

    /// Takes a file away again.
    pub(super) fn remove(&mut self, path: &[u8]) -> Put<()> {
        let (parent, name) = self.parent(path)?;
        remove(parent, name).map(|_| ())
    }

    /// Lets `name` appear in the target folder. Without `overwrite` it takes nobody's place.
    pub(super) fn publish(self, name: &[u8], overwrite: bool) -> Result<PathBuf> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = self.into.join(std::ffi::OsStr::from_bytes(name));
        let moved =
            if overwrite { fs::renameat(&self.root, name, &self.target, name) } else { self.rename_to_new(name) };
        match moved {
            Ok(()) => Ok(path),
            Err(Errno::EXIST | Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY) => Err(taken(&path, overwrite)),
            Err(errno) => Err(Error::io(format!("writing {}", path.display()), errno.into())),
        }
    }

    fn rename_to_new(&self, name: &[u8]) -> rustix::io::Result<()> {
        match fs::renameat_with(&self.root, name, &self.target, name, fs::RenameFlags::NOREPLACE) {
            // Some file systems don't know this flag. A link refuses to take a place; a directory takes at most that of
            // an empty one.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                if kind(self.root.as_fd(), name)? != FileType::Directory {
                    return fs::linkat(&self.root, name, &self.target, name, AtFlags::empty());
                }
                if self.is_taken(name) {
                    return Err(Errno::EXIST);
                }
                fs::renameat(&self.root, name, &self.target, name)
            }
            renamed => renamed,
        }
    }

    /// The opened directory of `path`, made if need be, and the last part of `path`.
    fn parent<'a>(&mut self, path: &'a [u8]) -> Put<(BorrowedFd<'_>, &'a [u8])> {
        let name = base(path);
        let above = &path[..path.len() - name.len()];
        if self.opened.as_ref().is_none_or(|(opened, _)| opened != above) {
            let mut at: Option<OwnedFd> = None;
            for part in parts(above) {
                let from = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
                let next = open_beneath(from, part)?;
                at = Some(next);
            }
            let Some(at) = at else { return Ok((self.root.as_fd(), name)) };
            self.opened = Some((above.to_vec(), at));
        }
        let at = self.opened.as_ref().map_or(self.root.as_fd(), |(_, at)| at.as_fd());
        Ok((at, name))
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The error for a name that is taken in the target folder.
pub(super) fn taken(path: &Path, overwrite: bool) -> Error {
    let error = Error::new(Kind::Invalid, format!("{} exists already", path.display()));
    match overwrite {
        true => error.with_hint("only a file can take the place of a file: remove it first, or choose another folder"),
        false => error.with_hint("choose another folder, or allow it to be overwritten"),
    }
}

/// Sets when a file was last changed. That it can't be is no reason to fail.
pub(super) fn set_mtime(file: &File, seconds: i64) {
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time(0, fs::UTIME_OMIT), last_modification: time(seconds, 0) };
    if let Err(error) = fs::futimens(file, &times) {
        tracing::debug!(%error, seconds, "setting a file's time");
    }
}

/// One directory deeper. The name is one part, and `..` is none that is ever put here.
fn open_beneath(from: BorrowedFd<'_>, part: &[u8]) -> Put<OwnedFd> {
    if part == b".." || part.contains(&b'/') {
        return Err(Fault::Name);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat(from, part, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            fs::mkdirat(from, part, Mode::from_raw_mode(0o755))?;
            Ok(fs::openat(from, part, flags, Mode::empty())?)
        }
        opened => Ok(opened?),
    }
}

/// Takes away what is no directory, if there is something; a directory is [`Fault::Taken`].
fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Put<bool> {
    if matches!(name, b"" | b"." | b"..") {
        return Err(Fault::Name);
    }
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        // Linux says ISDIR, POSIX says PERM.
        Err(Errno::ISDIR | Errno::PERM) => Err(Fault::Taken),
        Err(errno) => Err(errno.into()),
    }
}

fn kind(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<FileType> {
    fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode))
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode((mode & 0o777) as fs::RawMode)
}

fn base(path: &[u8]) -> &[u8] {
    parts(path).next_back().unwrap_or_default()
}
