//! Walks the blocks of a tar, front to back. Own code and not the `tar` crate's reader, because that one holds name and
//! pax records of any length in memory, splits pax records at newlines although values (capabilities, for one) hold
//! such bytes, and reads content behind links: a layer could so show other names here than where it is unpacked.
//!
//! What decides in doubt is how Go's `archive/tar` reads, since BuildKit and containerd unpack layers with it.
//! Formats: POSIX.1-2001 pax, and GNU tar's manual for long names, base-256 numbers and sparse files.

use super::{Limits, Stop};
use crate::model::files::{Entry, EntryKind, Limit, OPAQUE, base, whiteout_target};
use std::io::{self, Read};

const BLOCK: usize = 512;
const XATTR: &[u8] = b"SCHILY.xattr.";

/// A header, taken apart.
struct Header {
    name: Vec<u8>,
    link: Vec<u8>,
    flag: u8,
    mode: u32,
    uid: i64,
    gid: i64,
    size: u64,
    mtime: i64,
    device: (u32, u32),
}

/// What a pax record says about the next entry.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<i64>,
    gid: Option<i64>,
    mtime: Option<i64>,
    xattrs: Vec<Vec<u8>>,
    sparse: bool,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
}

/// The entries of a tar. Reading from it reads the content of the entry that [`Tar::next_entry`] gave last.
pub(super) struct Tar<R> {
    source: R,
    limits: Limits,
    /// Content bytes of this entry that were not read yet.
    left: u64,
    /// Bytes after the content up to the next header.
    padding: u64,
    entries: u64,
    headers: u64,
    names: u64,
    sparse: bool,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(source: R, limits: Limits) -> Self {
        Self { source, limits, left: 0, padding: 0, entries: 0, headers: 0, names: 0, sparse: false }
    }

    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// Whether the content of this entry is a sparse map, which nothing here resolves.
    pub(super) fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// The next entry; `None` at the tar's end, after which all that follows was read too, so that checksums of the
    /// packing are checked.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, Stop> {
        let mut long_name = None;
        let mut long_link = None;
        let mut pax = None;
        loop {
            self.skip_content()?;
            let Some(block) = self.block()? else {
                if long_name.is_some() || long_link.is_some() || pax.is_some() {
                    return Err(Stop::Damaged("it ends after a record that describes a next entry".into()));
                }
                return Ok(None);
            };
            let header = Header::parse(&block)?;
            self.headers += 1;
            // Each entry takes at most four headers: its own, two long names, one record.
            if self.headers > self.limits.entries.saturating_mul(4) {
                return Err(Stop::Limit(Limit::Entries(self.limits.entries)));
            }
            match header.flag {
                b'L' => long_name = Some(self.record(&header, true)?),
                b'K' => long_link = Some(self.record(&header, true)?),
                b'x' => pax = Some(Pax::parse(&self.record(&header, false)?)?),
                b'g' => self.expect_content(header.size)?,
                _ => {
                    let pax = pax.unwrap_or_default();
                    return self.entry(header, &block, pax, (long_name, long_link)).map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: Header,
        block: &[u8; BLOCK],
        pax: Pax,
        (long_name, long_link): (Option<Vec<u8>>, Option<Vec<u8>>),
    ) -> Result<Entry, Stop> {
        if self.entries >= self.limits.entries {
            return Err(Stop::Limit(Limit::Entries(self.limits.entries)));
        }
        // As for Go, these words mean nothing where no map is told of.
        let (sparse_name, sparse_size) = if pax.sparse { (pax.sparse_name, pax.sparse_size) } else { (None, None) };
        let path = long_name.or(sparse_name).or(pax.path).unwrap_or(header.name);
        let link = long_link.or(pax.link).unwrap_or(header.link);
        let kind = kind(header.flag, &path);
        // Go reads no content behind what can have none, whatever size is written there.
        let stored = match header.flag {
            b'1'..=b'6' => 0,
            _ => pax.size.unwrap_or(header.size),
        };
        self.expect_content(stored)?;
        self.sparse = pax.sparse || header.flag == b'S';
        let mut size = sparse_size.unwrap_or(stored);
        if header.flag == b'S' {
            size = self.old_sparse(block)?;
        }
        let link = matches!(header.flag, b'1' | b'2').then_some(link);
        let names = path.len() + link.as_ref().map_or(0, Vec::len) + pax.xattrs.iter().map(Vec::len).sum::<usize>();
        self.check_names(path.len().max(link.as_ref().map_or(0, Vec::len)), names)?;
        let entry = Entry {
            number: u32::try_from(self.entries).unwrap_or(u32::MAX),
            kind,
            mode: header.mode,
            uid: id(pax.uid.unwrap_or(header.uid)),
            gid: id(pax.gid.unwrap_or(header.gid)),
            size: if kind == EntryKind::File { size } else { 0 },
            mtime: pax.mtime.unwrap_or(header.mtime),
            device: matches!(header.flag, b'3' | b'4').then_some(header.device),
            xattrs: pax.xattrs,
            path,
            link,
        };
        self.entries += 1;
        Ok(entry)
    }

    fn check_names(&mut self, longest: usize, all: usize) -> Result<(), Stop> {
        if longest as u64 > self.limits.name {
            return Err(Stop::Limit(Limit::Name(self.limits.name)));
        }
        self.names += all as u64;
        if self.names > self.limits.names {
            return Err(Stop::Limit(Limit::Names(self.limits.names)));
        }
        Ok(())
    }

    fn expect_content(&mut self, size: u64) -> Result<(), Stop> {
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let Some(padded) = padded.filter(|_| i64::try_from(size).is_ok()) else {
            return Err(Stop::Damaged(format!("an entry says that it has {size} bytes")));
        };
        (self.left, self.padding) = (size, padded - size);
        Ok(())
    }

    /// The content of a header that describes the next one: at most the limit for records, never by its word alone.
    fn record(&mut self, header: &Header, is_name: bool) -> Result<Vec<u8>, Stop> {
        let limit = self.limits.record;
        if header.size > limit {
            return Err(Stop::Limit(Limit::Name(limit)));
        }
        self.expect_content(header.size)?;
        let mut bytes = Vec::new();
        // This grows with what is there, not with what the header says.
        self.by_ref().take(limit).read_to_end(&mut bytes).map_err(Stop::from_io)?;
        if is_name {
            bytes.truncate(until_nul(&bytes).len());
        }
        Ok(bytes)
    }

    /// The maps of an old GNU sparse file, which stand between header and content; gives the file's real size.
    fn old_sparse(&mut self, block: &[u8; BLOCK]) -> Result<u64, Stop> {
        let size = size_of(&block[483..495])?;
        let mut more = block[482] != 0;
        while more {
            self.headers += 1;
            if self.headers > self.limits.entries.saturating_mul(4) {
                return Err(Stop::Limit(Limit::Entries(self.limits.entries)));
            }
            let mut map = [0; BLOCK];
            if !self.fill(&mut map)? {
                return Err(cut());
            }
            more = map[504] != 0;
        }
        Ok(size)
    }

    /// The next header block; `None` at the end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Stop> {
        let mut block = [0; BLOCK];
        if !self.fill(&mut block)? {
            return Ok(None);
        }
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        // Two blocks of zeros end a tar; one, and nothing after it, is taken as well.
        if self.fill(&mut block)? && block != [0; BLOCK] {
            return Err(Stop::Damaged("it has an empty header between others".into()));
        }
        io::copy(&mut self.source, &mut io::sink()).map_err(Stop::from_io)?;
        Ok(None)
    }

    /// Fills `block`; `false` if there is nothing left at all.
    fn fill(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, Stop> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]).map_err(Stop::from_io)? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(cut()),
                read => filled += read,
            }
        }
        Ok(true)
    }

    fn skip_content(&mut self) -> Result<(), Stop> {
        let skip = self.left + self.padding;
        (self.left, self.padding, self.sparse) = (0, 0, false);
        if skip == 0 {
            return Ok(());
        }
        let skipped = io::copy(&mut self.source.by_ref().take(skip), &mut io::sink()).map_err(Stop::from_io)?;
        if skipped < skip { Err(cut()) } else { Ok(()) }
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let want = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut into[..want])?;
        if read == 0 {
            return Err(cut().into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn cut() -> Stop {
    Stop::Damaged("it ends in the middle of an entry".into())
}

/// Negative numbers make no sense here and Linux has 32 bits.
fn id(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

fn kind(flag: u8, path: &[u8]) -> EntryKind {
    let name = base(path).unwrap_or_default();
    if name == OPAQUE {
        return EntryKind::Opaque;
    }
    if whiteout_target(name).is_some() {
        return EntryKind::Whiteout;
    }
    match flag {
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => EntryKind::Other,
    }
}

impl Header {
    fn parse(block: &[u8; BLOCK]) -> Result<Self, Stop> {
        let said = number(&block[148..156]);
        // The field itself counts as spaces.
        let field: i64 = block[148..156].iter().map(|&b| i64::from(b)).sum();
        let sum: i64 = block.iter().map(|&b| i64::from(b)).sum::<i64>() - field + 8 * i64::from(b' ');
        if said != Some(sum) {
            // Some old writers summed signed bytes.
            let high = |bytes: &[u8]| bytes.iter().filter(|&&b| b >= 0x80).count() as i64;
            if said != Some(sum - 256 * (high(block) - high(&block[148..156]))) {
                return Err(Stop::Damaged("a header's checksum is wrong".into()));
            }
        }
        let flag = block[156];
        let field = |range: std::ops::Range<usize>| number(&block[range]);
        let bad = |what: &str| Stop::Damaged(format!("a header's {what} is no number"));
        let is_device = matches!(flag, b'3' | b'4');
        let device = |range| if is_device { field(range).map(id).ok_or_else(|| bad("device")) } else { Ok(0) };
        Ok(Self {
            name: name(block),
            link: until_nul(&block[157..257]).to_vec(),
            flag,
            mode: (field(100..108).ok_or_else(|| bad("mode"))? & 0o7777) as u32,
            uid: field(108..116).ok_or_else(|| bad("owner"))?,
            gid: field(116..124).ok_or_else(|| bad("group"))?,
            size: size_of(&block[124..136])?,
            mtime: field(136..148).ok_or_else(|| bad("time"))?,
            device: (device(329..337)?, device(337..345)?),
        })
    }
}

/// The name field, after the prefix field where the flavour has one.
fn name(block: &[u8; BLOCK]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = match (&block[257..263], &block[508..512]) {
        (b"ustar\0", b"tar\0") => until_nul(&block[345..476]),
        (b"ustar\0", _) => until_nul(&block[345..500]),
        _ => b"",
    };
    if prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn size_of(field: &[u8]) -> Result<u64, Stop> {
    let size = number(field).and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| Stop::Damaged("a header's size is no number".into()))
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// A number of a header: octal digits, or base 256 if the first bit is set. Empty fields are 0.
fn number(field: &[u8]) -> Option<i64> {
    let Some(&first) = field.first() else { return Some(0) };
    if first & 0x80 == 0 {
        let text = until_nul(trim(field)).trim_ascii_end();
        if text.is_empty() {
            return Some(0);
        }
        return text.iter().try_fold(0_i64, |sum, b| match b {
            b'0'..=b'7' => sum.checked_mul(8)?.checked_add(i64::from(b - b'0')),
            _ => None,
        });
    }
    // Two's complement; the first bit is the mark, the second is the sign.
    let start = if first & 0x40 == 0 { i128::from(first & 0x3f) } else { i128::from(first | 0x80) - 256 };
    let shift = |sum: i128, b: &u8| sum.checked_mul(256)?.checked_add(i128::from(*b));
    field[1..].iter().try_fold(start, shift).and_then(|n| i64::try_from(n).ok())
}

/// Without the spaces and zero bytes that writers put before or after numbers.
fn trim(field: &[u8]) -> &[u8] {
    let fill = |b: &u8| matches!(b, b' ' | 0);
    let from = field.iter().position(|b| !fill(b)).unwrap_or(field.len());
    let to = field.iter().rposition(|b| !fill(b)).map_or(from, |at| at + 1);
    &field[from..to]
}

impl Pax {
    /// Records of the form `length key=value\n`, where the length counts itself and the newline.
    fn parse(mut bytes: &[u8]) -> Result<Self, Stop> {
        let bad = || Stop::Damaged("a pax record is malformed".into());
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let space = bytes.iter().take(20).position(|&b| b == b' ').ok_or_else(bad)?;
            let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|n| n.parse::<usize>().ok());
            let length = length.filter(|n| (space + 2..=bytes.len()).contains(n)).ok_or_else(bad)?;
            let (record, rest) = bytes.split_at(length);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = record.iter().position(|&b| b == b'=').filter(|&at| at > 0).ok_or_else(bad)?;
            pax.set(&record[..equals], &record[equals + 1..]).ok_or_else(bad)?;
            bytes = rest;
        }
        Ok(pax)
    }

    /// Takes one record; `None` if its value makes no sense. A later record wins, an empty value takes back.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let text = || (!value.contains(&0)).then(|| (!value.is_empty()).then(|| value.to_vec()));
        let decimal = || match value {
            b"" => Some(None),
            _ => std::str::from_utf8(value).ok()?.parse::<i64>().ok().map(Some),
        };
        let size = || decimal()?.map(u64::try_from).transpose().ok();
        match key {
            b"path" => self.path = text()?,
            b"linkpath" => self.link = text()?,
            b"size" => self.size = size()?,
            b"uid" => self.uid = decimal()?,
            b"gid" => self.gid = decimal()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(seconds(value)?),
            b"GNU.sparse.name" => self.sparse_name = text()?,
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse_size = size()?,
            b"GNU.sparse.map" | b"GNU.sparse.major" | b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse = true
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR).filter(|name| !name.is_empty()) {
                    self.xattrs.push(name.to_vec());
                }
            }
        }
        Some(())
    }
}

/// Whole seconds of a time like `-12.34`, rounded down.
fn seconds(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let part = whole.starts_with('-') && fraction.bytes().any(|b| b != b'0');
    seconds.checked_sub(i64::from(part))
}
