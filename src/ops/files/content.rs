//! The content of one file of a layer: its beginning to look at, or all of it to write somewhere.

use super::{LayerFiles, OpenLayer, Pick};
use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::files::{Entry, EntryKind, normal};
use crate::progress::Progress;
use sha2::Digest as _;
use std::io::{Read, Write};

/// Bytes that [`LayerFiles::peek`] gives at most.
pub const PEEK: u64 = 64 << 10;

/// A hardlink leads to a file, or to another hardlink before it; each step reads the layer again.
const MAX_LINKS: usize = 8;

/// What bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing at all.
    Empty,
    /// JSON.
    Json,
    /// Other text in UTF-8.
    Text,
    /// Anything else.
    Binary,
}

impl Look {
    /// `empty`, `json`, `text` or `binary`.
    pub fn name(self) -> &'static str {
        match self {
            Look::Empty => "empty",
            Look::Json => "json",
            Look::Text => "text",
            Look::Binary => "binary",
        }
    }

    /// What `bytes` look like; `whole` says that nothing follows them.
    pub fn of(bytes: &[u8], whole: bool) -> Self {
        if bytes.is_empty() {
            return Look::Empty;
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            // The cut may have gone through a character.
            Err(error) if !whole && error.error_len().is_none() => {
                std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Look::Binary,
        };
        if text.contains('\0') {
            return Look::Binary;
        }
        let is_json = match text.trim_start().as_bytes().first() {
            Some(b'{' | b'[') if whole => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
            Some(b'{') => text.trim_start()[1..].trim_start().starts_with(['"', '}']),
            _ => false,
        };
        if is_json { Look::Json } else { Look::Text }
    }
}

/// The beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek {
    /// The file; where a hardlink was asked for, the file it leads to.
    pub entry: Entry,
    /// At most the first [`PEEK`] bytes. Untrusted.
    pub bytes: Vec<u8>,
    /// What they look like.
    pub look: Look,
    /// SHA-256 of the file, where that was all of it.
    pub digest: Option<Digest>,
}

impl Peek {
    /// Whether `bytes` is all of the file.
    pub fn is_whole(&self) -> bool {
        self.digest.is_some()
    }
}

/// A file that was written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file; where a hardlink was asked for, the file it leads to.
    pub entry: Entry,
    /// Bytes written.
    pub bytes: u64,
    /// SHA-256 of them.
    pub digest: Digest,
}

impl LayerFiles {
    /// The first [`PEEK`] bytes of a file. Errors: [`Kind::NotFound`] if the layer has no such name; [`Kind::Invalid`]
    /// for what has no content, with a hint for links; [`Kind::Unsupported`] for sparse files; [`Kind::Corrupt`] and
    /// others if the layer can't be read that far; those of [`crate::store::Store::open`].
    pub async fn peek(&self, pick: &Pick, progress: &Progress) -> Result<Peek> {
        let peek = |layer: &mut OpenLayer, entry: Entry| {
            let mut bytes = Vec::new();
            layer.reader.by_ref().take(PEEK).read_to_end(&mut bytes).map_err(|e| layer.broken(e))?;
            let whole = entry.size == bytes.len() as u64;
            Ok(Peek { look: Look::of(&bytes, whole), digest: whole.then(|| Digest::of(&bytes)), entry, bytes })
        };
        self.content(pick, progress, peek).await
    }

    /// Writes a whole file to `writer`. Errors as for [`LayerFiles::peek`], and those of `writer`; part of the file is
    /// then written already.
    pub async fn cat<W: Write + Send + 'static>(
        &self,
        pick: &Pick,
        mut writer: W,
        progress: &Progress,
    ) -> Result<Written> {
        let write = move |layer: &mut OpenLayer, entry: Entry| {
            let (bytes, digest) = layer.copy(|part| writer.write_all(part))?;
            writer.flush().map_err(writing)?;
            Ok(Written { entry, bytes, digest })
        };
        self.content(pick, progress, write).await
    }

    /// Runs `job` where the content of the file begins.
    async fn content<T, F>(&self, pick: &Pick, progress: &Progress, job: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut OpenLayer, Entry) -> Result<T> + Send + 'static,
    {
        let mut job = Some(job);
        let mut path = pick.path.clone();
        let mut number = match pick.number {
            Some(number) => number,
            None => self.last(&path, u32::MAX, progress).await?,
        };
        for _ in 0..MAX_LINKS {
            let (wanted, taken) = (normal(&path), job.take());
            let reached = self
                .read(progress, move |layer| {
                    let entry = layer.entry(number, &wanted)?;
                    match (entry.kind, taken) {
                        (EntryKind::File, Some(_)) if layer.reader.is_sparse() => Err(sparse(&entry)),
                        (EntryKind::File, Some(job)) => job(layer, entry).map(Reached::Content),
                        (EntryKind::Hardlink, taken) => Ok(Reached::Link(entry, taken)),
                        _ => Err(no_content(&entry)),
                    }
                })
                .await?;
            match reached {
                Reached::Content(content) => return Ok(content),
                Reached::Link(link, unused) => {
                    job = unused;
                    path = link.link.unwrap_or_default();
                    let target = self.last(&path, link.number, progress).await;
                    number = target.map_err(|e| e.context(format_args!("{} is a hardlink", shown(&link.path))))?;
                }
            }
        }
        Err(Error::invalid(format!("{} leads over too many hardlinks", shown(&pick.path))))
    }

    /// The number of the last entry named `path` among those before number `before`.
    async fn last(&self, path: &[u8], before: u32, progress: &Progress) -> Result<u32> {
        let wanted = normal(path);
        self.read(progress, move |layer| {
            let mut found = None;
            loop {
                match layer.next_entry()? {
                    Ok(entry) if entry.number >= before => break,
                    Ok(entry) if normal(&entry.path) == wanted => found = Some(entry.number),
                    Ok(_) => {}
                    // A later entry with that name may be lost, but what is there can be shown.
                    Err(_) if found.is_some() => break,
                    Err(ending) => {
                        let missing = || Error::not_found(format!("no {} in layer {}", shown(&wanted), layer.digest));
                        return Err(ending.error(&layer.digest).unwrap_or_else(missing));
                    }
                }
            }
            found.ok_or_else(|| Error::not_found(format!("no {} in layer {}", shown(&wanted), layer.digest)))
        })
        .await
    }
}

enum Reached<T, F> {
    Content(T),
    Link(Entry, Option<F>),
}

impl OpenLayer {
    /// Reads up to the entry with this number, which must have the name `path`.
    fn entry(&mut self, number: u32, path: &[u8]) -> Result<Entry> {
        loop {
            match self.next_entry()? {
                Ok(entry) if entry.number < number => {}
                Ok(entry) if entry.number == number && normal(&entry.path) == path => return Ok(entry),
                Err(ending) if !ending.is_complete() => {
                    return Err(ending.error(&self.digest).unwrap_or_else(Error::cancelled));
                }
                _ => {
                    let what = format!("entry {number} of layer {} is not {}", self.digest, shown(path));
                    return Err(Error::new(Kind::Stale, what).with_hint("list the layer again"));
                }
            }
        }
    }

    /// Hands the content of this entry to `write`, part by part; gives its length and digest.
    pub(super) fn copy(&mut self, mut write: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(u64, Digest)> {
        let mut hasher = sha2::Sha256::new();
        let mut length = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = self.reader.read(&mut buffer).map_err(|e| self.broken(e))?;
            if read == 0 {
                return Ok((length, Digest::from_bytes(hasher.finalize().into())));
            }
            hasher.update(&buffer[..read]);
            write(&buffer[..read]).map_err(writing)?;
            length += read as u64;
        }
    }
}

fn writing(error: std::io::Error) -> Error {
    Error::io("writing the file", error)
}

/// Names in errors; they are made safe where errors are shown.
pub(super) fn shown(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    format!("{path:?}")
}

fn sparse(entry: &Entry) -> Error {
    Error::new(Kind::Unsupported, format!("{} is written as a sparse file, which can't be read", shown(&entry.path)))
}

fn no_content(entry: &Entry) -> Error {
    let name = shown(&entry.path);
    match (entry.kind, &entry.link) {
        (EntryKind::Symlink, Some(target)) => {
            let target = shown(target);
            Error::invalid(format!("{name} is a symbolic link to {target}")).with_hint("name the file it leads to")
        }
        (EntryKind::Directory, _) => Error::invalid(format!("{name} is a directory")),
        (kind, _) => Error::invalid(format!("{name} has no content: it is a {}", kind.name())),
    }
}
