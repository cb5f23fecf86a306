//! Blobs that come from another layout on this machine: the kernel copies them, without their bytes passing through us where
//! it can. They are hashed from where they come from, as their pages are at hand anyway.

use super::write::Upload;
use super::{Folder, calls};
use crate::error::Result;
use crate::model::digest::Digest;
use rustix::io::Errno;
use std::sync::Arc;

/// Bytes copied, and hashed, at a time.
const CHUNK: usize = 1 << 20;

/// Copies a blob of `from` to `to`. `false` if the kernel can't copy between them.
pub(super) fn take(to: &Arc<Folder>, digest: &Digest, from: &Folder) -> Result<bool> {
    let (file, _) = from.blob(digest)?;
    let mut upload = Upload::begin(to.clone())?;
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let read = calls::read_at(&file, &mut buffer, at).map_err(|errno| {
            from.reading(&digest.hex(), errno)
                .with_hint("nothing was stored of it; `cachedeck verify` tells whether it is whole")
        })?;
        if read == 0 {
            upload.finish(digest)?;
            return Ok(true);
        }
        match upload.copy(&file, at, &buffer[..read]) {
            Ok(()) => at += read as u64,
            // Another file system, or one that has no such call.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) if at == 0 => return Ok(false),
            Err(errno) => return Err(to.changing("writing", &format!("blobs/sha256/{}", digest.hex()), errno)),
        }
    }
}
