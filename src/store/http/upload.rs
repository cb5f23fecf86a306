//! Sends bodies. However long one is, the server may take its time as long as it goes on taking more of it.

use super::{Http, broken, shown, silent};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use crate::store::{BlobReader, Measured};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use reqwest::{Body, Request, Response};
use sha2::Digest as _;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::AsyncReadExt as _;

/// Bytes that are sent at a time.
const PIECE: usize = 64 << 10;

impl Http {
    /// Sends `request`, whose body may be in memory. `None` if the server is silent for as long as the timeout and takes nothing.
    pub(super) async fn execute(&self, mut request: Request) -> Option<reqwest::Result<Response>> {
        let taken = Arc::new(Taken::default());
        let is_long = |body: &mut Body| body.as_bytes().is_some_and(|bytes| bytes.len() > PIECE);
        if let Some(body) = request.body_mut().take_if(is_long) {
            let rest = match body.collect().await {
                Ok(whole) => whole.to_bytes(),
                Err(error) => return Some(Err(error)),
            };
            *request.body_mut() = Some(Body::wrap(Pieces { rest, taken: taken.clone() }));
        }
        self.while_taken(self.client.execute(request), &taken).await
    }

    /// What `sent` comes to. `None` if for as long as the timeout there is no answer and nothing more is taken.
    async fn while_taken<T>(&self, sent: impl Future<Output = T>, taken: &Taken) -> Option<T> {
        let mut sent = std::pin::pin!(sent);
        let mut before = 0;
        loop {
            match tokio::time::timeout(self.timeout, &mut sent).await {
                Ok(answer) => return Some(answer),
                Err(_) => {
                    let so_far = taken.bytes.load(Relaxed);
                    if so_far == before {
                        return None;
                    }
                    before = so_far;
                }
            }
        }
    }

    /// Sends `request` with what `body` gives, piece by piece, once: it can't be had again. Redirects are not followed.
    ///
    /// What comes second is how much was read of `body`, and its digest, if it was read to its end; an error of it is
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) or what else it says, and the request ends unfinished.
    pub async fn upload(&self, mut request: Request, body: BlobReader) -> Result<(Response, Option<Measured>)> {
        let (url, taken) = (request.url().clone(), Arc::new(Taken::default()));
        *request.body_mut() = Some(Body::wrap_stream(pieces_of(body, taken.clone())));
        match self.while_taken(self.client.execute(request), &taken).await {
            Some(Ok(response)) => {
                tracing::debug!(url = shown(&url), status = response.status().as_u16(), "answered");
                Ok((response, taken.lock().whole))
            }
            Some(Err(error)) => {
                let fault = taken.lock().fault.take();
                Err(match fault {
                    Some(fault) => Error::io("what was to be sent broke off", fault),
                    None => broken(&url, error),
                })
            }
            None => Err(silent(&url, self.timeout)),
        }
    }
}

/// What was taken so far of a body that is sent.
#[derive(Debug, Default)]
struct Taken {
    bytes: AtomicU64,
    end: Mutex<End>,
}

/// A body in memory, handed out piece by piece, so that it shows whether more of it is taken.
struct Pieces {
    rest: Bytes,
    taken: Arc<Taken>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        self.taken.bytes.fetch_add(length as u64, Relaxed);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
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
