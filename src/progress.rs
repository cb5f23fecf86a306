//! A cheap handle that a job reports to and is stopped through. Readers poll the newest value; nothing is queued.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
struct Counters {
    items: AtomicU64,
    items_total: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
}

/// What a running job has done so far. Totals of 0 mean "not known yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Things handled.
    pub items: u64,
    /// Things to handle.
    pub items_total: u64,
    /// Bytes read or sent.
    pub bytes: u64,
    /// Bytes to read or send.
    pub bytes_total: u64,
}

impl Counts {
    /// From 0 to 100, by bytes where their total is known, else by items; `None` while neither is.
    pub fn percent(self) -> Option<u8> {
        let of = |done: u64, total: u64| (total > 0).then(|| (done.min(total) as u128 * 100 / total as u128) as u8);
        of(self.bytes, self.bytes_total).or_else(|| of(self.items, self.items_total))
    }
}

/// Progress and cancellation of one job. Clones share the same counters and the same token.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    counters: Arc<Counters>,
    token: CancellationToken,
}

impl Progress {
    /// A fresh handle with all counters at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that is stopped with this one, and counts for itself.
    pub fn uncounted(&self) -> Self {
        Self { counters: Arc::default(), token: self.token.clone() }
    }

    /// Adds to what is done.
    pub fn add(&self, items: u64, bytes: u64) {
        self.counters.items.fetch_add(items, Relaxed);
        self.counters.bytes.fetch_add(bytes, Relaxed);
    }

    /// Adds to what is to be done.
    pub fn expect(&self, items: u64, bytes: u64) {
        self.counters.items_total.fetch_add(items, Relaxed);
        self.counters.bytes_total.fetch_add(bytes, Relaxed);
    }

    /// The newest values.
    pub fn counts(&self) -> Counts {
        Counts {
            items: self.counters.items.load(Relaxed),
            items_total: self.counters.items_total.load(Relaxed),
            bytes: self.counters.bytes.load(Relaxed),
            bytes_total: self.counters.bytes_total.load(Relaxed),
        }
    }

    /// Asks the job to stop; it ends with [`crate::error::Kind::Cancelled`] soon.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Whether somebody asked it to stop.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// For `?` in loops: an error once somebody asked it to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// The token itself, for `select!` and `run_until_cancelled`.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_survives_zero_and_overshoot() {
        assert_eq!(Counts::default().percent(), None);
        assert_eq!(Counts { bytes: 5, bytes_total: 0, items: 1, items_total: 4 }.percent(), Some(25));
        assert_eq!(Counts { bytes: 50, bytes_total: 10, ..Default::default() }.percent(), Some(100));
    }
}
