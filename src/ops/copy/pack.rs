//! Layers that are packed anew on their way: unpacked, packed, and put aside in a file that has no name, so that memory stays
//! bounded. Both ends are checked: the blob against its digest, what is in it against its diffID.

use super::Packing;
use crate::error::{Error, Kind, Result};
use crate::format::layer::{self, Limits, Stop};
use crate::model::cache::Compression;
use crate::model::digest::Digest;
use crate::ops::files::Bridge;
use crate::progress::Progress;
use crate::store::BlobReader;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use tokio::runtime::Handle;

/// Bytes moved at a time.
const CHUNK: usize = 256 << 10;
/// BuildKit's own level where none is given: that of Go's `gzip`, and of `zstd` its "default", which is 3.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// A layer that was packed.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: Digest,
    /// From its first byte.
    pub(super) file: File,
}

/// Packs `body`, which is the layer `digest`. [`Kind::Corrupt`] if that is not what comes, or not what `diff_id` says is in it.
pub(super) async fn pack(
    digest: Digest,
    diff_id: Option<Digest>,
    body: BlobReader,
    packing: &Packing,
    progress: &Progress,
) -> Result<Packed> {
    let bridge = Bridge::new(body, Handle::current(), progress);
    let (packing, progress) = (packing.clone(), progress.clone());
    let work = move || work(digest, diff_id, bridge, &packing, &progress);
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(Kind::Internal, "packing broke off").with_source(e))?
}

fn work(
    digest: Digest,
    diff_id: Option<Digest>,
    source: impl Read,
    packing: &Packing,
    progress: &Progress,
) -> Result<Packed> {
    let aside = |e| Error::io("putting a packed layer aside in the folder for temporary files", e);
    let file = tempfile::tempfile().map_err(aside)?;
    let mut packer = Packer::new(Hashed::new(BufWriter::with_capacity(CHUNK, file)), packing).map_err(aside)?;
    let mut source = HashedSource { source, hasher: Sha256::new() };
    let mut inner = Sha256::new();
    {
        // How much a layer unpacks to is its own affair here: nothing of it stays in memory.
        let limits = Limits { output: u64::MAX, ..Limits::default() };
        let (_, mut unpacked) = layer::unpacked(&mut source, limits, progress);
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = unpacked.read(&mut buffer).map_err(|e| broken(&digest, e))?;
            if read == 0 {
                break;
            }
            inner.update(&buffer[..read]);
            packer.write_all(&buffer[..read]).map_err(aside)?;
        }
    }
    // What may follow the packed data is part of the blob.
    io::copy(&mut source, &mut io::sink()).map_err(|e| broken(&digest, e))?;
    let is = Digest::from_bytes(source.hasher.finalize().into());
    if is != digest {
        return Err(Error::corrupt(format!("what was read as {digest} is {is}"))
            .with_hint("`cachedeck verify` tells more, `cachedeck repair` mends it"));
    }
    let inner = Digest::from_bytes(inner.finalize().into());
    if let Some(diff_id) = diff_id.filter(|diff_id| *diff_id != inner) {
        return Err(Error::corrupt(format!("layer {digest} holds {inner}, not {diff_id} as is said of it")));
    }
    let hashed = packer.finish().map_err(aside)?;
    let (digest, size) = (Digest::from_bytes(hashed.hasher.finalize().into()), hashed.count);
    let mut file = hashed.into.into_inner().map_err(|e| aside(e.into_error()))?;
    file.rewind().map_err(aside)?;
    Ok(Packed { digest, size, diff_id: inner, file })
}

fn broken(digest: &Digest, error: io::Error) -> Error {
    match Stop::from_io(error) {
        Stop::Cancelled => Error::cancelled(),
        Stop::Unreadable(what) => Error::new(Kind::Unavailable, format!("reading layer {digest}: {what}")),
        stop => Error::corrupt(format!("layer {digest} can't be unpacked: {stop}"))
            .with_hint("`cachedeck verify` tells more"),
    }
}

struct HashedSource<R> {
    source: R,
    hasher: Sha256,
}

impl<R: Read> Read for HashedSource<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.hasher.update(&into[..read]);
        Ok(read)
    }
}

struct Hashed<W> {
    into: W,
    hasher: Sha256,
    count: u64,
}

impl<W> Hashed<W> {
    fn new(into: W) -> Self {
        Self { into, hasher: Sha256::new(), count: 0 }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

enum Packer<W: Write> {
    Plain(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    fn new(into: W, packing: &Packing) -> io::Result<Self> {
        Ok(match packing.compression {
            Compression::Gzip => {
                let level = packing.level.map_or(GZIP_LEVEL, |level| level.clamp(0, 9) as u32);
                Packer::Gzip(flate2::write::GzEncoder::new(into, flate2::Compression::new(level)))
            }
            Compression::Zstd => Packer::Zstd(zstd::Encoder::new(into, packing.level.unwrap_or(ZSTD_LEVEL))?),
            _ => Packer::Plain(into),
        })
    }

    fn finish(self) -> io::Result<W> {
        let mut into = match self {
            Packer::Plain(into) => into,
            Packer::Gzip(encoder) => encoder.finish()?,
            Packer::Zstd(encoder) => encoder.finish()?,
        };
        into.flush()?;
        Ok(into)
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::Plain(into) => into.write(bytes),
            Packer::Gzip(encoder) => encoder.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packer::Plain(into) => into.flush(),
            Packer::Gzip(encoder) => encoder.flush(),
            Packer::Zstd(encoder) => encoder.flush(),
        }
    }
}
