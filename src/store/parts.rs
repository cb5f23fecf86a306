//! A body that is sent in parts: cut, hashed, and sent several parts at a time. What is sent this way is visible to nobody until
//! whoever sends it says that it is whole, and the last part is handed out only if all of them are what the digest says.
//!
//! Memory is bounded for all bodies together, however many are on their way: [`AT_ONCE`] parts.

use super::{BlobReader, reading};
use crate::error::{Error, Result};
use crate::model::digest::Digest;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::Digest as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of a part; only the last is shorter. S3 takes ten thousand parts, Azure fifty thousand.
pub const PART: usize = 16 << 20;
/// Bytes that a part has room for at first.
const SHORT: usize = 64 << 10;
/// Parts of one body that are sent at a time.
const IN_FLIGHT: usize = 4;
/// Parts of all bodies in memory.
const AT_ONCE: usize = 6;

static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);

/// A body on its way.
pub struct Parts {
    digest: Digest,
    body: BlobReader,
    hasher: sha2::Sha256,
    size: u64,
    is_over: bool,
}

/// A part, which takes room in memory as long as it lives.
pub struct Part {
    /// Where in the body it begins.
    pub at: u64,
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether no other follows.
    pub is_last: bool,
    _room: Option<SemaphorePermit<'static>>,
}

impl Part {
    /// Its number, from 0.
    pub fn number(&self) -> u64 {
        self.at / PART as u64
    }
}

impl Parts {
    /// The parts of `body`, which is to be `digest`.
    pub fn of(digest: &Digest, body: BlobReader) -> Self {
        Self { digest: *digest, body, hasher: sha2::Sha256::new(), size: 0, is_over: false }
    }

    /// The next part; `None` after the last. The last may be empty. [`Kind::Corrupt`](crate::error::Kind::Corrupt) instead of
    /// the last one if the body is not what its digest says.
    pub async fn next(&mut self) -> Result<Option<Part>> {
        if self.is_over {
            return Ok(None);
        }
        // The semaphore is never closed.
        let room = ROOM.acquire().await.ok();
        let mut bytes = BytesMut::new();
        while bytes.len() < PART {
            // Most blobs are short; what is not soon fills a part, which is then made at once.
            let more = if bytes.is_empty() { SHORT } else { PART - bytes.len() };
            bytes.reserve(more);
            let left = (PART - bytes.len()) as u64;
            let read = (&mut self.body).take(left).read_buf(&mut bytes).await;
            if read.map_err(|e| reading(&self.digest, e))? == 0 {
                break;
            }
        }
        self.hasher.update(&bytes);
        let at = self.size;
        self.size += bytes.len() as u64;
        self.is_over = bytes.len() < PART;
        if self.is_over {
            let is = Digest::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
            if is != self.digest {
                return Err(Error::corrupt(format!("what was sent as {} is {is}", self.digest)));
            }
        }
        Ok(Some(Part { at, bytes: bytes.freeze(), is_last: self.is_over, _room: room }))
    }

    /// Reads the rest without sending it, so that it is known to be what its digest says.
    pub async fn check(mut self) -> Result<()> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Sends `first` and all that follow by `send`, some at a time; an empty last part is not sent. Gives how many bytes there
    /// were, and what `send` gave, in the order of the parts.
    pub fn send<'a, T: Send + 'a>(
        self,
        first: Part,
        send: impl Fn(Part) -> BoxFuture<'a, Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<(u64, Vec<T>)>> {
        let size = Arc::new(AtomicU64::new(0));
        let count = size.clone();
        let rest =
            futures::stream::try_unfold(
                self,
                |mut parts| async move { Ok(parts.next().await?.map(|part| (part, parts))) },
            );
        let all = futures::stream::once(std::future::ready(Ok(first))).chain(rest).boxed();
        let sent = all.try_filter(move |part| {
            count.fetch_add(part.bytes.len() as u64, Relaxed);
            std::future::ready(!part.bytes.is_empty())
        });
        let sent = sent.map_ok(send).try_buffered(IN_FLIGHT).try_collect();
        Box::pin(async move {
            let sent = sent.await?;
            Ok((size.load(Relaxed), sent))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn body(bytes: &[u8]) -> BlobReader {
        Box::new(std::io::Cursor::new(bytes.to_vec()))
    }

    #[tokio::test]
    async fn parts_come_in_order_whatever_order_they_are_sent_in() {
        let bytes: Vec<u8> = (0..3 * PART + 5).map(|n| (n % 251) as u8).collect();
        let mut parts = Parts::of(&Digest::of(&bytes), body(&bytes));
        let first = parts.next().await.unwrap().unwrap();
        let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let sent = parts.send(first, |part| {
            let (at_once, most) = (&at_once, &most);
            Box::pin(async move {
                most.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
                for _ in part.number()..4 {
                    tokio::task::yield_now().await;
                }
                at_once.fetch_sub(1, SeqCst);
                Ok((part.number(), part.at, part.bytes))
            })
        });
        let (size, sent) = sent.await.unwrap();
        assert_eq!(sent.iter().map(|(n, at, _)| (*n, *at)).collect::<Vec<_>>()[3], (3, 3 * PART as u64));
        assert!(sent.iter().flat_map(|(_, _, bytes)| bytes.clone()).eq(bytes.iter().copied()));
        assert!(most.into_inner() > 1 && size == bytes.len() as u64);
    }

    #[tokio::test]
    async fn the_last_part_is_not_handed_out_if_it_is_not_what_was_said() {
        let bytes = vec![7; PART + 1];
        let mut parts = Parts::of(&Digest::of(b"other"), body(&bytes));
        let first = parts.next().await.unwrap().unwrap();
        assert!(!first.is_last && first.bytes.len() == PART);
        let seen = Mutex::new(Vec::new());
        let note = |part: Part| -> BoxFuture<'_, Result<()>> {
            let seen = &seen;
            Box::pin(async move {
                seen.lock().unwrap().push(part.number());
                Ok(())
            })
        };
        let error = parts.send(first, note).await;
        assert_eq!(error.unwrap_err().kind(), crate::error::Kind::Corrupt);
        assert!(seen.into_inner().unwrap().iter().all(|n| *n == 0));
        assert!(Parts::of(&Digest::of(b"other"), body(b"one")).check().await.is_err());
        Parts::of(&Digest::of(b"one"), body(b"one")).check().await.unwrap();
    }
}
