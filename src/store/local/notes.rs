//! Small documents of ours in `.cachedeck/notes/`, a file each below folders by their keys. Each is written whole, durable
//! before it is seen.

use super::area::AREA;
use super::{Folder, calls, folder_at};
use crate::error::{Error, Result};
use bytes::Bytes;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

const NOTES: &str = "notes";

/// The longest note that is read: a plan of a million steps takes some 200 bytes each.
const LIMIT: u64 = 256 << 20;

/// Words that a key may have.
const DEEP: usize = 8;

/// The folders and the name of a key; anything that could lead elsewhere is no key.
fn words(key: &str) -> Result<(Vec<&str>, &str)> {
    let is_word = |word: &&str| {
        let first = word.chars().next();
        first.is_some_and(|c| c.is_ascii_alphanumeric())
            && word.len() <= 200
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
    };
    let mut words: Vec<&str> = key.split('/').collect();
    let good = words.len() <= DEEP && words.iter().all(is_word);
    match words.pop() {
        Some(name) if good => Ok((words, name)),
        _ => Err(Error::invalid(format!("{key:?} can't be the key of a note"))
            .with_hint("keys are words of letters, digits, `.` and `-` with `/` between them")),
    }
}

impl Folder {
    fn notes_folder(&self) -> Result<Option<OwnedFd>> {
        match self.area()? {
            Some(area) => folder_at(&area, NOTES).map_err(|e| e.context(self.path.display())),
            None => Ok(None),
        }
    }

    /// The open folders to a key from the notes' own on, as far as they are there.
    fn way(&self, folders: &[&str]) -> Result<Option<Vec<OwnedFd>>> {
        let Some(notes) = self.notes_folder()? else { return Ok(None) };
        let mut way = vec![notes];
        for folder in folders {
            let next = match way.last() {
                Some(last) => folder_at(last, folder).map_err(|e| e.context(self.path.display()))?,
                None => None,
            };
            match next {
                Some(next) => way.push(next),
                None => return Ok(None),
            }
        }
        Ok(Some(way))
    }

    /// See [`crate::store::Store::note`].
    pub(super) fn note(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let (folders, name) = words(key)?;
        let written = self.written(bytes, None)?;
        let fault = |errno| self.note_fault("writing note", key, errno);
        let mut last = None;
        // Whoever drops the last note of a folder removes that, too, maybe just before ours is in it.
        for _ in 0..4 {
            let mut folder = self.make_folder(&self.make_area()?, NOTES)?;
            for name in &folders {
                folder = match self.make_folder(&folder, name) {
                    Ok(folder) => folder,
                    Err(error) => {
                        last = Some(error);
                        break;
                    }
                };
            }
            if last.is_some() {
                break;
            }
            match written.place_over(&folder, name) {
                Ok(()) => return calls::sync(&folder).map_err(fault),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(fault(errno)),
            }
        }
        Err(last.unwrap_or_else(|| fault(Errno::NOENT)))
    }

    /// See [`crate::store::Store::notes`].
    pub(super) fn note_keys(&self, prefix: &str) -> Result<Vec<String>> {
        let Some(notes) = self.notes_folder()? else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        let mut folders = vec![(String::new(), notes)];
        while let Some((above, folder)) = folders.pop() {
            for (name, kind) in super::scan::entries(&folder, "notes")? {
                let key = format!("{above}{name}");
                if words(&key).is_err() {
                    continue;
                }
                match kind {
                    FileType::RegularFile if key.starts_with(prefix) => keys.push(key),
                    FileType::Directory => {
                        let below = format!("{key}/");
                        let may = below.starts_with(prefix) || prefix.starts_with(&below);
                        if let Some(folder) = folder_at(&folder, &name)?.filter(|_| may) {
                            folders.push((below, folder));
                        }
                    }
                    _ => {}
                }
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// See [`crate::store::Store::read_note`].
    pub(super) fn read_note(&self, key: &str) -> Result<Bytes> {
        let (folders, name) = words(key)?;
        let absent = || Error::not_found(format!("no note {key} in {}", self.path.display()));
        let fault = |errno| match errno {
            Errno::NOENT => absent(),
            errno => self.note_fault("reading note", key, errno),
        };
        let way = self.way(&folders)?.ok_or_else(absent)?;
        let folder = way.last().ok_or_else(absent)?;
        self.regular(key, calls::stat(folder, name).map_err(fault)?)?;
        let file = calls::open(folder, name, OFlags::RDONLY).map_err(fault)?;
        let size = calls::fstat(&file).map_err(fault)?.st_size as u64;
        if size > LIMIT {
            return Err(Error::invalid(format!("note {key} in {} is too long", self.path.display())));
        }
        let mut bytes = vec![0; size as usize];
        let read = calls::read_at(&file, &mut bytes, 0).map_err(fault)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    /// See [`crate::store::Store::drop_note`].
    pub(super) fn drop_note(&self, key: &str) -> Result<()> {
        let (folders, name) = words(key)?;
        let fault = |errno| self.note_fault("removing note", key, errno);
        let Some(mut way) = self.way(&folders)? else { return Ok(()) };
        let Some(folder) = way.pop() else { return Ok(()) };
        match calls::unlink(&folder, name) {
            Ok(()) => calls::sync(&folder).map_err(fault)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(fault(errno)),
        }
        // Folders without notes go; the first that holds something ends it.
        for name in folders.iter().rev() {
            let Some(above) = way.pop() else { break };
            if calls::remove_folder(&above, name).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn note_fault(&self, what: &str, key: &str, errno: Errno) -> Error {
        self.changing(what, &format!("{AREA}/{NOTES}/{key}"), errno)
    }
}
