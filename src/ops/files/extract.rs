//! Writes one file, or a directory with all it holds, of a layer to disk. Layers are written by others, so: nothing is
//! written outside the folder that the user names, no link is followed, links that lead out are left out, as are
//! devices; set-id bits, owners and attributes are dropped; what exists is not replaced unless the user says so. It
//! appears whole under its name, or not at all.

use super::content::shown;
use super::staging::{Fault, Put, Staging, set_mtime, taken};
use super::{LayerFiles, OpenLayer, Pick};
use crate::error::{Error, Kind, Result};
use crate::model::files::{Ending, Entry, EntryKind, base, normal, parts};
use crate::progress::Progress;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;

/// Skipped entries that are told one by one.
const MAX_SKIPPED: usize = 1000;
/// Hardlinks that lead out of what is extracted are looked up in the whole layer, and so on from there.
const MAX_LINKS: usize = 8;

/// Where to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The folder to write into; made if need be.
    pub folder: PathBuf,
    /// Whether a file of that name may be replaced. A directory is never replaced.
    pub overwrite: bool,
}

/// Why an entry was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// Its name begins with `/` or has `..` in it.
    UnsafeName,
    /// It is a link that leads, or could lead, outside.
    LeadsOut,
    /// It is a device, a pipe or of an unknown type.
    Special,
    /// It stands for a deletion.
    Whiteout,
    /// It is a hardlink to a file that the layer does not have.
    NoTarget,
    /// It is written as a sparse file.
    Sparse,
    /// Something of another kind has its name.
    Taken,
    /// The file system does not take its name.
    Name,
    /// The layer could not be read to its end.
    Cut,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::UnsafeName => "its name is absolute or has .. in it",
            Why::LeadsOut => "it is a link that leads outside",
            Why::Special => "it is a device, a pipe or of an unknown type",
            Why::Whiteout => "it is a whiteout",
            Why::NoTarget => "it is a hardlink to a file that the layer does not have",
            Why::Sparse => "it is written as a sparse file, which can't be read",
            Why::Taken => "something of another kind has its name",
            Why::Name => "the file system does not take its name",
            Why::Cut => "the layer can't be read that far",
        })
    }
}

/// What was extracted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Where it is now.
    pub path: PathBuf,
    /// Files written, hardlinks among them.
    pub files: u64,
    /// Directories that the layer has entries for.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The first entries that were left out. Names are untrusted.
    pub skipped: Vec<(Vec<u8>, Why)>,
    /// How many were left out.
    pub skipped_count: u64,
    /// Whether all of the layer could be read.
    pub ending: Ending,
}

impl LayerFiles {
    /// Extracts what `pick` names into the target's folder, under the last part of its name; for the root, under the
    /// layer's short digest. Hardlinks become what they lead to. [`Pick::number`] is not looked at: a directory is made
    /// of many entries, and of several with one name the last counts.
    ///
    /// A damaged layer gives what could be read, and says so. Errors: [`Kind::NotFound`] if the layer has no such name;
    /// [`Kind::Invalid`] if the name is taken, or if what was asked for may not be written; those of the disk and of
    /// [`crate::store::Store::open`]. After an error nothing is left but the folder.
    pub async fn extract(&self, pick: &Pick, target: &Target, progress: &Progress) -> Result<Extracted> {
        let wanted = normal(&pick.path);
        if parts(&wanted).any(|part| part == b"..") {
            return Err(Error::invalid(format!("{} can't be extracted: {}", shown(&pick.path), Why::UnsafeName)));
        }
        let name = base(&wanted).map_or_else(|| self.digest.short().into_bytes(), <[u8]>::to_vec);
        let staging = Staging::new(&target.folder)?;
        if staging.is_taken(&name) && !target.overwrite {
            use std::os::unix::ffi::OsStrExt as _;
            return Err(taken(&target.folder.join(std::ffi::OsStr::from_bytes(&name)), false));
        }
        let mut work = Extraction { wanted, name, staging, pending: BTreeMap::new(), done: Extracted::default() };
        work = self.read(progress, move |layer| work.first_pass(layer).map(|()| work)).await?;
        for _ in 0..MAX_LINKS {
            let elsewhere = work.link_within()?;
            if elsewhere.is_empty() {
                break;
            }
            work = self.read(progress, move |layer| work.fetch(layer, &elsewhere).map(|()| work)).await?;
        }
        let overwrite = target.overwrite;
        let finished = tokio::task::spawn_blocking(move || work.finish(overwrite)).await;
        finished.map_err(|e| Error::new(Kind::Internal, "finishing the extraction").with_source(e))?
    }
}

/// A link that is made once all files are there.
enum Pending {
    /// To what the layer has under this name.
    Hard(Vec<u8>),
    /// To wherever this leads.
    Symbolic(Vec<u8>),
}

struct Extraction {
    /// The name that was asked for.
    wanted: Vec<u8>,
    /// What it is called in the target folder.
    name: Vec<u8>,
    staging: Staging,
    /// Links by their place.
    pending: BTreeMap<Vec<u8>, Pending>,
    done: Extracted,
}

impl Extraction {
    /// Where an entry goes, if it is part of what was asked for.
    fn place(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = match self.wanted.as_slice() {
            b"" => path,
            wanted => match path.strip_prefix(wanted)? {
                b"" => b"",
                rest => rest.strip_prefix(b"/")?,
            },
        };
        Some(if rest.is_empty() { self.name.clone() } else { [&self.name[..], b"/", rest].concat() })
    }

    fn first_pass(&mut self, layer: &mut OpenLayer) -> Result<()> {
        let mut found = false;
        self.done.ending = loop {
            let entry = match layer.next_entry()? {
                Ok(entry) => entry,
                Err(ending) => break ending,
            };
            let Some(place) = self.place(&normal(&entry.path)) else { continue };
            found = true;
            if is_unsafe(&entry.path) {
                self.skip(&entry.path, Why::UnsafeName);
                continue;
            }
            self.put(layer, entry, place)?;
        };
        if found {
            return Ok(());
        }
        let missing = || Error::not_found(format!("no {} in layer {}", shown(&self.wanted), layer.digest));
        Err(self.done.ending.error(&layer.digest).unwrap_or_else(missing))
    }

    fn put(&mut self, layer: &mut OpenLayer, entry: Entry, place: Vec<u8>) -> Result<()> {
        let skip = match entry.kind {
            EntryKind::Directory => {
                let made = self.staging.directory(&place, entry.mode);
                if made.is_ok() {
                    self.pending.remove(&place);
                    self.done.directories += 1;
                }
                return self.note(made, &entry.path);
            }
            EntryKind::File if layer.reader.is_sparse() => Why::Sparse,
            EntryKind::File => {
                self.pending.remove(&place);
                return self.file(layer, &entry, &place);
            }
            EntryKind::Hardlink | EntryKind::Symlink => {
                let link = entry.link.unwrap_or_default();
                let pending = if entry.kind == EntryKind::Hardlink {
                    Pending::Hard(normal(&link))
                } else {
                    Pending::Symbolic(link)
                };
                self.pending.insert(place, pending);
                return Ok(());
            }
            EntryKind::Whiteout | EntryKind::Opaque => Why::Whiteout,
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::Fifo | EntryKind::Other => Why::Special,
        };
        self.skip(&entry.path, skip);
        Ok(())
    }

    fn file(&mut self, layer: &mut OpenLayer, entry: &Entry, place: &[u8]) -> Result<()> {
        let (mut file, replaced) = match self.staging.file(place, entry.mode) {
            Ok(made) => made,
            Err(fault) => return self.note(Err(fault), &entry.path),
        };
        match layer.copy(|part| file.write_all(part)) {
            Ok((bytes, _)) => {
                set_mtime(&file, entry.mtime);
                self.done.files += u64::from(!replaced);
                self.done.bytes += bytes;
                Ok(())
            }
            // The next entry says how the layer ended. Half a file must not look like one.
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Invalid) => {
                let removed = self.staging.remove(place);
                self.skip(&entry.path, Why::Cut);
                self.note(removed, &entry.path)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the hardlinks whose file was extracted. Gives the others' places by the name that they lead to.
    fn link_within(&mut self) -> Result<BTreeMap<Vec<u8>, Vec<Vec<u8>>>> {
        let mut elsewhere: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        let mut links: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for (place, pending) in &self.pending {
            if let Pending::Hard(target) = pending {
                links.push((place.clone(), target.clone()));
            }
        }
        // A link may lead to another one that comes later by name: go round until nothing moves.
        loop {
            let before = links.len();
            let mut left = Vec::new();
            for (place, target) in links {
                let linked = match self.place(&target) {
                    Some(from) if from != place => self.staging.hardlink(&from, &place),
                    _ => Ok(false),
                };
                match linked {
                    Ok(false) => left.push((place, target)),
                    Ok(true) => {
                        self.pending.remove(&place);
                        self.done.files += 1;
                    }
                    Err(fault) => {
                        self.pending.remove(&place);
                        self.note(Err(fault), &place)?;
                    }
                }
            }
            links = left;
            if links.len() == before || links.is_empty() {
                break;
            }
        }
        for (place, target) in links {
            elsewhere.entry(target).or_default().push(place);
        }
        Ok(elsewhere)
    }

    /// Reads the layer again for files outside of what was asked for, to which hardlinks inside lead.
    fn fetch(&mut self, layer: &mut OpenLayer, elsewhere: &BTreeMap<Vec<u8>, Vec<Vec<u8>>>) -> Result<()> {
        let mut met = BTreeMap::new();
        while let Ok(entry) = layer.next_entry()? {
            if is_unsafe(&entry.path) {
                continue;
            }
            let name = normal(&entry.path);
            let Some(places) = elsewhere.get(&name) else { continue };
            match entry.kind {
                EntryKind::File if !layer.reader.is_sparse() => {
                    let skipped = self.done.skipped_count;
                    self.file(layer, &entry, &places[0])?;
                    if self.done.skipped_count == skipped {
                        met.insert(name, None);
                    }
                }
                EntryKind::Hardlink => {
                    met.insert(name, entry.link.as_deref().map(normal));
                }
                _ => {}
            }
        }
        for (name, places) in elsewhere {
            for (at, place) in places.iter().enumerate() {
                match met.get(name) {
                    Some(Some(next)) => {
                        self.pending.insert(place.clone(), Pending::Hard(next.clone()));
                        continue;
                    }
                    Some(None) if at == 0 => {}
                    Some(None) => {
                        let linked = self.staging.hardlink(&places[0], place).map(|_| ());
                        self.done.files += u64::from(linked.is_ok());
                        self.note(linked, place)?;
                    }
                    None => self.skip(place, Why::NoTarget),
                }
                self.pending.remove(place);
            }
        }
        Ok(())
    }

    /// Makes the symbolic links, then lets it all appear.
    fn finish(mut self, overwrite: bool) -> Result<Extracted> {
        for (place, pending) in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Hard(_) => self.skip(&place, Why::NoTarget),
                Pending::Symbolic(target) if !stays_inside(&target, &place) => self.skip(&place, Why::LeadsOut),
                Pending::Symbolic(target) => {
                    let made = self.staging.symlink(&target, &place);
                    self.done.symlinks += u64::from(made.is_ok());
                    self.note(made, &place)?;
                }
            }
        }
        let Extracted { files, directories, symlinks, ref skipped, ref ending, .. } = self.done;
        if files + directories + symlinks == 0 {
            let why = match (skipped.first(), ending.is_complete()) {
                (Some((_, Why::Cut)) | None, false) => ending.to_string(),
                (Some((path, why)), _) => format!("{}: {why}", shown(path)),
                (None, true) => "the layer has nothing there".into(),
            };
            return Err(Error::invalid(format!("{} was not extracted: {why}", shown(&self.wanted))));
        }
        self.done.path = self.staging.publish(&self.name, overwrite)?;
        Ok(self.done)
    }

    fn skip(&mut self, path: &[u8], why: Why) {
        self.done.skipped_count += 1;
        if self.done.skipped.len() < MAX_SKIPPED {
            self.done.skipped.push((path.to_vec(), why));
        }
    }

    /// Goes on after what is the layer's fault.
    fn note(&mut self, put: Put<()>, path: &[u8]) -> Result<()> {
        match put {
            Ok(()) => {}
            Err(Fault::Taken) => self.skip(path, Why::Taken),
            Err(Fault::Name) => self.skip(path, Why::Name),
            Err(Fault::Failed(errno)) => {
                let what = format!("writing {} beneath {}", shown(path), self.staging.path().display());
                return Err(Error::io(what, errno.into()));
            }
        }
        Ok(())
    }
}

fn is_unsafe(path: &[u8]) -> bool {
    path.starts_with(b"/") || parts(path).any(|part| part == b"..")
}

/// Whether a symbolic link at `place` can only lead to what was extracted with it. Steps up come first and are no more
/// than the directories around it, which are real ones; whatever comes after them goes down, and a link on that way has
/// passed the same test.
fn stays_inside(target: &[u8], place: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") {
        return false;
    }
    // The outermost part is the thing that was extracted; what is around it is the user's.
    let room = parts(place).count().saturating_sub(2);
    let ups = parts(target).take_while(|part| *part == b"..").count();
    ups <= room && parts(target).skip(ups).all(|part| part != b"..")
}
