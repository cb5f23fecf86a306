//! Sends a body that can be read once only.

use super::{Http, broken, shown, silent};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::{BlobReader, Measured};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use reqwest::{Request, Response};
use sha2::Digest as _;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncReadExt as _;

/// Bytes that are sent at a time.
const PIECE: usize = 64 << 10;

impl Http {
    /// Sends `request` with what `body` gives, piece by piece, once: it can't be had again. The server may take its time as
    /// long as it goes on taking pieces. Redirects are not followed.
    ///
    /// What comes second is how much was read of `body`, and its digest, if it was read to its end; an error of it is
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) or what else it says, and the request ends unfinished.
    pub async fn upload(&self, mut request: Request, body: BlobReader) -> Result<(Response, Option<Measured>)> {
        let (url, taken) = (request.url().clone(), Arc::new(Taken::default()));
        *request.body_mut() = Some(reqwest::Body::wrap_stream(pieces_of(body, taken.clone())));
        let mut sent = std::pin::pin!(self.client.execute(request));
        let mut before = 0;
        loop {
            let answer = tokio::time::timeout(self.timeout, &mut sent).await;
            let so_far = taken.bytes.load(Relaxed);
            match answer {
                Ok(Ok(response)) => {
                    tracing::debug!(url = shown(&url), status = response.status().as_u16(), "answered");
                    return Ok((response, taken.lock().whole));
                }
                Ok(Err(error)) => {
                    let fault = taken.lock().fault.take();
                    return Err(match fault {
                        Some(fault) => Error::io("what was to be sent broke off", fault),
                        None => broken(&url, error),
                    });
                }
                Err(_) if so_far > before => before = so_far,
                Err(_) => return Err(silent(&url, self.timeout)),
            }
        }
    }
}

/// What was taken so far of a body that is sent.
#[derive(Debug, Default)]
struct Taken {
    bytes: AtomicU64,
    end: Mutex<End>,
}

/// How a body ended.
#[derive(Debug, Default)]
struct End {
    whole: Option<Measured>,
    fault: Option<io::Error>,
}

impl Taken {
    fn lock(&self) -> MutexGuard<'_, End> {
        // It is whole between any two statements.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body in pieces. It ends with an error where the reader does, so that no server takes half of it for all.
fn pieces_of(body: BlobReader, taken: Arc<Taken>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let start = Some((body, sha2::Sha256::new(), 0));
    futures::stream::unfold(start, move |state| {
        let taken = taken.clone();
        async move {
            let (mut body, mut hasher, size) = state?;
            let mut piece = BytesMut::with_capacity(PIECE);
            match body.read_buf(&mut piece).await {
                Ok(0) => {
                    let digest = Digest::from_bytes(hasher.finalize().into());
                    taken.lock().whole = Some(Measured { size, digest });
                    None
                }
                Ok(read) => {
                    hasher.update(&piece);
                    taken.bytes.fetch_add(read as u64, Relaxed);
                    Some((Ok(piece.freeze()), Some((body, hasher, size + read as u64))))
                }
                Err(fault) => {
                    taken.lock().fault = Some(fault);
                    Some((Err(io::ErrorKind::BrokenPipe.into()), None))
                }
            }
        }
    })
}
