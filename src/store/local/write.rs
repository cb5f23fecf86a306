//! Blobs that are stored. They are written in our own area, hashed on the way, and moved to their place whole and durable:
//! `ingest/` is BuildKit's.

use super::area::Temporary;
use super::{Folder, blocking, calls};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::BlobReader;
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;
use sha2::Digest as _;
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// Bytes that are read before they are written.
const CHUNK: usize = 1 << 20;

/// Nobody changes a blob, as BuildKit has it.
const BLOB: Mode = Mode::RUSR.union(Mode::RGRP).union(Mode::ROTH);

/// A blob on its way to its place. Dropped before it is finished, it leaves nothing.
pub(super) struct Upload {
    folder: Arc<Folder>,
    temporary: Temporary,
    hasher: sha2::Sha256,
    size: u64,
}

/// See [`crate::store::Store::put`].
pub(super) async fn put(folder: &Arc<Folder>, digest: Digest, mut body: BlobReader) -> Result<()> {
    let begin = {
        let folder = folder.clone();
        move || Upload::begin(folder)
    };
    let mut upload = blocking(begin).await?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK {
            if body.read_buf(&mut chunk).await.map_err(|e| crate::store::reading(&digest, e))? == 0 {
                break;
            }
        }
        if chunk.is_empty() {
            break;
        }
        upload = blocking(move || {
            upload.write(&digest, &chunk)?;
            Ok(upload)
        })
        .await?;
    }
    blocking(move || upload.finish(&digest)).await
}

impl Folder {
    /// Stores a small blob.
    pub(super) fn store(self: &Arc<Self>, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let mut upload = Upload::begin(self.clone())?;
        upload.write(digest, bytes)?;
        upload.finish(digest)
    }

    /// `blobs/sha256`, made if it is not there.
    pub(super) fn make_blobs(&self) -> Result<OwnedFd> {
        self.make_area()?;
        let blobs = self.make_folder(&self.root, "blobs")?;
        self.make_folder(&blobs, "sha256")
    }
}

impl Upload {
    pub(super) fn begin(folder: Arc<Folder>) -> Result<Self> {
        let temporary = folder.temporary()?;
        Ok(Self { folder, temporary, hasher: sha2::Sha256::new(), size: 0 })
    }

    fn write(&mut self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        calls::write_all(&self.temporary.file, bytes).map_err(|errno| self.fault(digest, errno))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Adds `bytes`, which are those of `from` at `at`, by a copy within the kernel.
    pub(super) fn copy(&mut self, from: &std::fs::File, at: u64, bytes: &[u8]) -> std::result::Result<(), Errno> {
        calls::copy_range(from, at, &self.temporary.file, bytes.len())?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Moves it to its place, if it is what `digest` says.
    pub(super) fn finish(mut self, digest: &Digest) -> Result<()> {
        let is = Digest::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        if is != *digest {
            return Err(Error::corrupt(format!("what was sent as {digest} is {is}"))
                .with_hint("nothing was stored: send it again"));
        }
        let fault = |errno| self.fault(digest, errno);
        let (folder, name) = (&self.folder, digest.hex());
        folder.adopt_file(&self.temporary.file).map_err(fault)?;
        calls::set_mode(&self.temporary.file, BLOB).map_err(fault)?;
        calls::sync(&self.temporary.file).map_err(fault)?;
        let blobs = folder.make_blobs()?;
        match self.temporary.place_new(&blobs, &name) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = folder.regular(&name, calls::stat(&blobs, &name).map_err(fault)?)?;
                if there.st_size as u64 != self.size {
                    let what = format!("blob {digest} is there already, but with another length");
                    return Err(
                        Error::corrupt(what).with_hint("remove the broken one (`cachedeck repair`), then retry")
                    );
                }
            }
            Err(errno) => return Err(fault(errno)),
        }
        calls::sync(&blobs).map_err(fault)
    }

    fn fault(&self, digest: &Digest, errno: Errno) -> Error {
        self.folder.changing("writing", &format!("blobs/sha256/{}", digest.hex()), errno)
    }
}
