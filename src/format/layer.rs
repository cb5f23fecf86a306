//! Reads what a layer holds, from its first byte to its last: tar, tar+gzip, tar+zstd and eStargz, found out by content
//! and never by media type. Works on any [`Read`], holds one entry at a time, and stops at bounds: it never trusts a
//! length that a layer gives for itself. It writes nothing and follows no links.

mod tar;

use crate::error::{Error, Result};
use crate::model::cache::Compression;
use crate::model::files::{Ending, Entry, Limit, parts};
use crate::progress::Progress;
use flate2::bufread::MultiGzDecoder;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufReader, Cursor, Read};
use std::rc::Rc;
use tar::Tar;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// A frame to be skipped has any of 16 first bytes; pzstd writes one at the beginning.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];

/// The last bytes of an eStargz: an empty gzip member whose extra field says where the table of contents begins
/// (stargz-snapshotter's `docs/estargz.md`). BuildKit writes that table behind the tar's end, others as its last entry.
const STARGZ_FOOTER: usize = 51;
/// The table of contents and the marks that say what to fetch first. They are part of the packing: no file system that
/// is made from the layer has them.
const STARGZ_TOC: &[u8] = b"stargz.index.json";
const STARGZ_MARKS: [&[u8]; 2] = [b".prefetch.landmark", b".no.prefetch.landmark"];

/// Packed bytes that are asked of the source at a time.
const BUFFER: usize = 256 << 10;

/// How much of a layer is read at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes unpacked.
    pub output: u64,
    /// Bytes unpacked for each byte stored.
    pub ratio: u64,
    /// Bytes unpacked before the ratio counts.
    pub ratio_floor: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of one name or link target.
    pub name: u64,
    /// Bytes of all names, link targets and attribute names together.
    pub names: u64,
    /// Bytes of one pax record or GNU long name, as in Go's `archive/tar`.
    pub record: u64,
    /// Binary logarithm of the window that a zstd frame may ask for.
    pub window_log: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output: 16 << 30,
            ratio: 1000,
            ratio_floor: 16 << 20,
            entries: 1_000_000,
            name: 4096,
            names: 256 << 20,
            record: 1 << 20,
            window_log: 27,
        }
    }
}

/// Why reading stopped before the end. Travels through [`io::Error`] where a [`Read`] must fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A bound was reached.
    Limit(Limit),
    /// It is not what a layer should be. May hold untrusted text.
    Damaged(String),
    /// The source of the bytes failed.
    Unreadable(String),
    /// The user stopped it.
    Cancelled,
}

impl Stop {
    /// What stopped a [`Read`] of this module. An error of another origin is damage: the source's own are marked.
    pub fn from_io(error: io::Error) -> Self {
        match error.downcast::<Stop>() {
            Ok(stop) => stop,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Stop::Damaged("the packed data ends too early".into())
            }
            Err(error) => Stop::Damaged(format!("the packed data is damaged: {error}")),
        }
    }

    /// As the end of a listing, or [`crate::error::Kind::Cancelled`].
    pub fn ending(self) -> Result<Ending> {
        match self {
            Stop::Limit(limit) => Ok(Ending::Truncated(limit)),
            Stop::Damaged(what) => Ok(Ending::Damaged(what)),
            Stop::Unreadable(what) => Ok(Ending::Unreadable(what)),
            Stop::Cancelled => Err(Error::cancelled()),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Limit(limit) => limit.fmt(f),
            Stop::Damaged(what) | Stop::Unreadable(what) => f.write_str(what),
            Stop::Cancelled => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for Stop {}

impl From<Stop> for io::Error {
    fn from(stop: Stop) -> Self {
        io::Error::other(stop)
    }
}

/// A layer being read. As a [`Read`] it gives the content of the entry that [`LayerReader::next_entry`] gave last; what
/// is not read of it is skipped.
pub struct LayerReader<R: Read> {
    tar: Tar<Bounded<R>>,
    compression: Compression,
    origin: Rc<RefCell<Origin>>,
    over: bool,
}

impl<R: Read> LayerReader<R> {
    /// Reads the first bytes of `source` and finds out how the layer is packed. What fails here fails the first
    /// [`LayerReader::next_entry`].
    pub fn new(source: R, limits: Limits, progress: &Progress) -> Self {
        let (compression, bounded) = Bounded::new(source, limits, progress);
        let origin = Rc::clone(&bounded.origin);
        Self { tar: Tar::new(bounded, limits), compression, origin, over: false }
    }

    /// How it is packed. An eStargz shows as gzip until it was read to its end: only there it differs.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes unpacked so far.
    pub fn unpacked(&self) -> u64 {
        self.tar.source().given
    }

    /// The next entry; `None` at the end and after an error. Entries of the packing itself are left out.
    pub fn next_entry(&mut self) -> std::result::Result<Option<Entry>, Stop> {
        while !self.over {
            let next = self.tar.next_entry();
            self.over = !matches!(next, Ok(Some(_)));
            match next {
                Ok(Some(entry)) if self.belongs_to_packing(&entry) => {}
                Ok(None) => {
                    if self.compression == Compression::Gzip && self.origin.borrow().ends_as_stargz() {
                        self.compression = Compression::Estargz;
                    }
                    return Ok(None);
                }
                next => return next,
            }
        }
        Ok(None)
    }

    /// Whether the content of the entry can't be read because it is written as the map of a sparse file.
    pub fn is_sparse(&self) -> bool {
        self.tar.is_sparse()
    }

    fn belongs_to_packing(&mut self, entry: &Entry) -> bool {
        if !matches!(self.compression, Compression::Gzip | Compression::Estargz) {
            return false;
        }
        let mut parts = parts(&entry.path);
        let (Some(name), None) = (parts.next(), parts.next()) else { return false };
        if name == STARGZ_TOC {
            self.compression = Compression::Estargz;
            return true;
        }
        STARGZ_MARKS.contains(&name)
    }
}

impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.tar.read(into)
    }
}

/// What `source`, a layer, unpacks to, as it is: all bytes of its tar, and how it was packed, found out by content. What fails
/// fails the first read.
pub fn unpacked<R: Read>(source: R, limits: Limits, progress: &Progress) -> (Compression, impl Read) {
    Bounded::new(source, limits, progress)
}

fn detect(start: &[u8]) -> std::result::Result<Compression, Stop> {
    let foreign = |name: &str| Err(Stop::Damaged(format!("it is packed with {name}, which layers are not")));
    match start {
        [] => Err(Stop::Damaged("the blob is empty".into())),
        _ if start.starts_with(GZIP) => Ok(Compression::Gzip),
        _ if start.starts_with(ZSTD) => Ok(Compression::Zstd),
        [0x50..=0x5f, rest @ ..] if rest.starts_with(ZSTD_SKIPPABLE) => Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', ..] => foreign("xz"),
        [b'B', b'Z', b'h', ..] => foreign("bzip2"),
        _ => Ok(Compression::Uncompressed),
    }
}

/// What is known of the packed bytes that were taken from the source.
struct Origin {
    taken: u64,
    last: [u8; STARGZ_FOOTER],
}

impl Default for Origin {
    fn default() -> Self {
        Self { taken: 0, last: [0; STARGZ_FOOTER] }
    }
}

impl Origin {
    fn take(&mut self, bytes: &[u8]) {
        self.taken += bytes.len() as u64;
        let last = &bytes[bytes.len().saturating_sub(STARGZ_FOOTER)..];
        self.last.copy_within(last.len().., 0);
        self.last[STARGZ_FOOTER - last.len()..].copy_from_slice(last);
    }

    fn ends_as_stargz(&self) -> bool {
        self.last.starts_with(&[0x1f, 0x8b, 0x08, 0x04])
            && &self.last[12..14] == b"SG"
            && &self.last[32..38] == b"STARGZ"
    }
}

/// Watches what is taken from the source, and marks its errors as not the layer's fault.
struct Counted<R> {
    source: R,
    origin: Rc<RefCell<Origin>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.source.read(into) {
                Ok(read) => {
                    self.origin.borrow_mut().take(&into[..read]);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(match error.downcast::<Stop>() {
                        Ok(stop) => stop.into(),
                        Err(error) => Stop::Unreadable(error.to_string()).into(),
                    });
                }
            }
        }
    }
}

type Source<R> = BufReader<io::Chain<Cursor<Vec<u8>>, Counted<R>>>;

enum Unpacked<R: Read> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::Decoder<'static, Source<R>>>),
    Failed(Stop),
}

impl<R: Read> Unpacked<R> {
    fn new(packing: Compression, source: Source<R>, limits: Limits) -> std::result::Result<Self, Stop> {
        Ok(match packing {
            Compression::Gzip => Unpacked::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(source).map_err(Stop::from_io)?;
                decoder.window_log_max(limits.window_log).map_err(Stop::from_io)?;
                Unpacked::Zstd(Box::new(decoder))
            }
            _ => Unpacked::Plain(source),
        })
    }
}

/// Unpacked bytes, until a bound is reached or the user stops it.
struct Bounded<R: Read> {
    unpacked: Unpacked<R>,
    limits: Limits,
    origin: Rc<RefCell<Origin>>,
    given: u64,
    progress: Progress,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.progress.is_cancelled() {
            return Err(Stop::Cancelled.into());
        }
        let read = match &mut self.unpacked {
            Unpacked::Plain(from) => from.read(into),
            Unpacked::Gzip(from) => from.read(into),
            Unpacked::Zstd(from) => from.read(into).map_err(|e| self.window(e)),
            Unpacked::Failed(stop) => Err(stop.clone().into()),
        }?;
        self.given += read as u64;
        let Limits { output, ratio, ratio_floor, .. } = self.limits;
        if self.given > output {
            return Err(Stop::Limit(Limit::Output(output)).into());
        }
        if self.given > ratio_floor && self.given > self.origin.borrow().taken.saturating_mul(ratio) {
            return Err(Stop::Limit(Limit::Ratio(ratio)).into());
        }
        Ok(read)
    }
}

impl<R: Read> Bounded<R> {
    /// Reads the first bytes of `source` to find out how it is packed.
    fn new(source: R, limits: Limits, progress: &Progress) -> (Compression, Self) {
        let origin = Rc::default();
        let mut source = Counted { source, origin: Rc::clone(&origin) };
        let mut start = Vec::new();
        let detected = source.by_ref().take(4).read_to_end(&mut start).map_err(Stop::from_io);
        let detected = detected.and_then(|_| detect(&start));
        let compression = *detected.as_ref().unwrap_or(&Compression::Unknown);
        let source = BufReader::with_capacity(BUFFER, Cursor::new(start).chain(source));
        let unpacked =
            detected.and_then(|packing| Unpacked::new(packing, source, limits)).unwrap_or_else(Unpacked::Failed);
        (compression, Bounded { unpacked, limits, origin: Rc::clone(&origin), given: 0, progress: progress.clone() })
    }

    /// zstd tells of a window beyond the bound by words alone.
    fn window(&self, error: io::Error) -> io::Error {
        if error.get_ref().is_some_and(|e| !e.is::<Stop>()) && error.to_string().contains("too much memory") {
            return Stop::Limit(Limit::Window(1 << self.limits.window_log)).into();
        }
        error
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
