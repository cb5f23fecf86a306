//! The system calls by which a layout is changed. Each names one file in an open folder, never a path, and follows no link.
//! One that was interrupted is made again. Tests let the n-th one fail.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{self as sys, AtFlags, FlockOperation, Gid, Mode, OFlags, RenameFlags, Stat, Uid};
use rustix::io::{Errno, Result};

/// Never follows a link, never waits for a pipe's other end, is not handed to children.
const OWN: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

fn call<T>(name: &'static str, mut make: impl FnMut() -> Result<T>) -> Result<T> {
    rustix::io::retry_on_intr(|| {
        #[cfg(test)]
        super::faults::next(name)?;
        let _ = name;
        make()
    })
}

/// Opens what is there.
pub(super) fn open(at: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd> {
    call("open", || sys::openat(&at, name, flags | OWN, Mode::empty()))
}

/// Makes a file that must be new, for reading and writing.
pub(super) fn create(at: impl AsFd, name: &str, mode: Mode) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OWN;
    call("create", || sys::openat(&at, name, flags, mode))
}

pub(super) fn make_folder(at: impl AsFd, name: &str, mode: Mode) -> Result<()> {
    call("mkdir", || sys::mkdirat(&at, name, mode))
}

/// What `name` is, itself and not what it links to.
pub(super) fn stat(at: impl AsFd, name: &str) -> Result<Stat> {
    call("stat", || sys::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW))
}

pub(super) fn fstat(file: impl AsFd) -> Result<Stat> {
    call("fstat", || sys::fstat(&file))
}

/// Fills `buffer` from byte `from` on, as far as the file goes; gives how far that is.
pub(super) fn read_at(file: impl AsFd, buffer: &mut [u8], from: u64) -> Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match call("read", || rustix::io::pread(&file, &mut buffer[read..], from + read as u64))? {
            0 => break,
            some => read += some,
        }
    }
    Ok(read)
}

pub(super) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match call("write", || rustix::io::write(&file, bytes))? {
            0 => return Err(Errno::IO),
            some => bytes = &bytes[some..],
        }
    }
    Ok(())
}

/// Appends `length` bytes of `from`, from byte `at` on, to a file, without bringing them here.
pub(super) fn copy_range(from: impl AsFd, at: u64, to: impl AsFd, length: usize) -> Result<()> {
    let (mut at, end) = (at, at + length as u64);
    while at < end {
        match call("copy", || sys::copy_file_range(&from, Some(&mut at.clone()), &to, None, (end - at) as usize))? {
            // It has become shorter.
            0 => return Err(Errno::IO),
            some => at += some as u64,
        }
    }
    Ok(())
}

/// Makes a file or folder durable. An error means that what was written may be lost, whatever later calls say.
pub(super) fn sync(file: impl AsFd) -> Result<()> {
    call("fsync", || sys::fsync(&file))
}

pub(super) fn set_mode(file: impl AsFd, mode: Mode) -> Result<()> {
    call("chmod", || sys::fchmod(&file, mode))
}

/// Gives a file to the owner and group of `like`.
pub(super) fn set_owner(file: impl AsFd, like: &Stat) -> Result<()> {
    call("chown", || sys::fchown(&file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid))))
}

/// Takes the lock of an open file, without waiting: [`Errno::AGAIN`] if another has it.
pub(super) fn try_lock(file: impl AsFd) -> Result<()> {
    call("flock", || sys::flock(&file, FlockOperation::NonBlockingLockExclusive))
}

/// Moves a file in place of another, at once.
pub(super) fn rename_over(from: impl AsFd, name: &str, to: impl AsFd, new: &str) -> Result<()> {
    call("rename", || sys::renameat(&from, name, &to, new))
}

/// Moves a file to where nothing may be: [`Errno::EXIST`].
pub(super) fn rename_new(from: impl AsFd, name: &str, to: impl AsFd, new: &str) -> Result<()> {
    let renamed = call("rename", || sys::renameat_with(&from, name, &to, new, RenameFlags::NOREPLACE));
    match renamed {
        // Network file systems may lack the flag; a link never replaces anything either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            link(&from, name, &to, new)?;
            unlink(&from, name)
        }
        renamed => renamed,
    }
}

/// Gives a file a second name where nothing may be: [`Errno::EXIST`].
pub(super) fn link(from: impl AsFd, name: &str, to: impl AsFd, new: &str) -> Result<()> {
    call("link", || sys::linkat(&from, name, &to, new, AtFlags::empty()))
}

pub(super) fn unlink(at: impl AsFd, name: &str) -> Result<()> {
    call("unlink", || sys::unlinkat(&at, name, AtFlags::empty()))
}

/// Removes an empty folder.
pub(super) fn remove_folder(at: impl AsFd, name: &str) -> Result<()> {
    call("rmdir", || sys::unlinkat(&at, name, AtFlags::REMOVEDIR))
}
