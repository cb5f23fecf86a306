//! Which blobs are on their way just now, and how far: for people who watch a copy. Readers look at it whenever they like; nothing is
//! queued, and nobody waits for them.

use crate::model::digest::Digest;
use crate::store::BlobReader;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// Blobs on their way. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    under_way: Arc<Mutex<Vec<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    size: u64,
    done: Arc<AtomicU64>,
}

/// A blob, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moving {
    /// Which.
    pub digest: Digest,
    /// Bytes at the source.
    pub size: u64,
    /// Bytes of those that were read so far.
    pub done: u64,
}

/// One blob that is on its way as long as this lives.
#[derive(Debug)]
pub struct Transfer {
    traffic: Traffic,
    done: Arc<AtomicU64>,
}

impl Traffic {
    /// Those under way now, in the order they were begun.
    pub fn now(&self) -> Vec<Moving> {
        let moving = |entry: &Entry| Moving {
            digest: entry.digest,
            size: entry.size,
            done: entry.done.load(Relaxed).min(entry.size),
        };
        self.lock().iter().map(moving).collect()
    }

    /// Notes that a blob is on its way, until what this returns is dropped.
    pub fn begin(&self, digest: Digest, size: u64) -> Transfer {
        let done = Arc::new(AtomicU64::new(0));
        self.lock().push(Entry { digest, size, done: done.clone() });
        Transfer { traffic: self.clone(), done }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        // The list is whole between any two statements.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transfer {
    /// `body`, whose bytes count as they are read.
    pub fn count(&self, body: BlobReader) -> BlobReader {
        Box::new(Counted { body, done: self.done.clone() })
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.traffic.lock().retain(|entry| !Arc::ptr_eq(&entry.done, &self.done));
    }
}

struct Counted {
    body: BlobReader,
    done: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.body).poll_read(cx, into))?;
        self.done.fetch_add((into.filled().len() - before) as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn a_blob_is_seen_as_long_as_it_is_on_its_way() {
        let traffic = Traffic::default();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let first = traffic.begin(one, 4);
        let second = traffic.begin(two, 9);
        let mut body = first.count(Box::new(&b"12345678"[..]));
        body.read_exact(&mut [0; 3]).await.unwrap();
        let moving = |digest, size, done| Moving { digest, size, done };
        assert_eq!(traffic.now(), [moving(one, 4, 3), moving(two, 9, 0)]);
        body.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(traffic.now()[0].done, 4, "never more than all of it");
        drop(first);
        assert_eq!(traffic.now(), [moving(two, 9, 0)]);
        drop(second);
        assert_eq!(traffic.now(), []);
    }
}
