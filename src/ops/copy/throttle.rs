//! How fast, and how much at most, is sent.

use crate::progress::Progress;
use crate::store::BlobReader;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes that are read at a time where there is a limit, so that no burst is longer.
const BURST: usize = 64 << 10;

/// Limits that all transfers of a copy share.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes a second.
    rate: Option<u64>,
    /// When the line is free again.
    free: Mutex<Option<Instant>>,
    /// Bytes that may still be begun.
    budget: Option<AtomicU64>,
}

impl Throttle {
    pub(super) fn new(rate: Option<u64>, budget: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            rate: rate.map(|rate| rate.max(1)),
            free: Mutex::default(),
            budget: budget.map(AtomicU64::new),
        })
    }

    /// Takes `bytes` off what may be sent at all; `false` if so much is not left.
    pub(super) fn afford(&self, bytes: u64) -> bool {
        let Some(budget) = &self.budget else { return true };
        budget.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }

    /// When `bytes` more may have been sent.
    fn book(&self, bytes: usize) -> Option<Instant> {
        let rate = self.rate?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let from = free.filter(|free| *free > now).unwrap_or(now);
        let until = from + Duration::from_secs_f64(bytes as f64 / rate as f64);
        *free = Some(until);
        Some(until)
    }

    /// `body`, no faster than that; what is read of it counts as progress.
    pub(super) fn wrap(self: &Arc<Self>, body: BlobReader, progress: &Progress) -> BlobReader {
        Box::new(Metered { body, throttle: self.clone(), progress: progress.clone(), wait: None })
    }
}

struct Metered {
    body: BlobReader,
    throttle: Arc<Throttle>,
    progress: Progress,
    wait: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.progress.is_cancelled() {
            return Poll::Ready(Err(io::Error::other(crate::error::Error::cancelled())));
        }
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            self.wait = None;
        }
        let read = match self.throttle.rate {
            None => {
                let before = into.filled().len();
                ready!(Pin::new(&mut self.body).poll_read(cx, into))?;
                into.filled().len() - before
            }
            Some(_) => {
                let room = into.remaining().min(BURST);
                let mut part = ReadBuf::new(into.initialize_unfilled_to(room));
                ready!(Pin::new(&mut self.body).poll_read(cx, &mut part))?;
                let read = part.filled().len();
                into.advance(read);
                read
            }
        };
        self.progress.add(0, read as u64);
        self.wait = self.throttle.book(read).map(|until| Box::pin(sleep_until(until)));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    #[tokio::test]
    async fn transfers_share_one_rate() {
        let throttle = Throttle::new(Some(4 << 20), None);
        let progress = Progress::new();
        let begun = Instant::now();
        let read = |_| {
            let body: BlobReader = Box::new(tokio::io::repeat(7).take(256 << 10));
            let mut body = throttle.wrap(body, &progress);
            async move {
                let mut bytes = Vec::new();
                body.read_to_end(&mut bytes).await.unwrap();
                bytes.len()
            }
        };
        let read = futures::future::join_all((0..3).map(read)).await;
        assert_eq!(read, [256 << 10; 3], "every byte comes through");
        // Another end of a transfer than the last byte's waits for nobody.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(170), "768 KiB at 4 MiB a second took {took:?}");
        assert_eq!(progress.counts().bytes, 768 << 10);
    }

    #[test]
    fn a_budget_is_spent_once() {
        let throttle = Throttle::new(None, Some(10));
        assert!(throttle.afford(6) && !throttle.afford(5) && throttle.afford(4) && !throttle.afford(1));
    }
}
