//! Looking again at files that edits of `index.json` replaced. That takes a second each, so while a run holds the place it
//! happens beside the run's further work; the run is not given up before all of it is done.

use super::Folder;
use super::index_edit::Replaced;
use crate::error::{Error, Kind, Result};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinHandle;

/// Reviews that may be going on; each keeps a file open and a thread waiting.
const MOST: usize = 256;

type Review = JoinHandle<Result<()>>;

/// What is still to be looked at.
#[derive(Default)]
pub(super) struct Reviews {
    holds: AtomicUsize,
    going_on: Mutex<VecDeque<Review>>,
    failed: Mutex<Option<Error>>,
}

/// The lock of the place, held by a run.
pub(super) struct Held {
    _lock: OwnedFd,
    reviews: Arc<Reviews>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.reviews.holds.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reviews {
    /// Lets reviews go on in the background until what is given is dropped.
    pub(super) fn during(self: &Arc<Self>, lock: OwnedFd) -> Held {
        self.holds.fetch_add(1, Ordering::Relaxed);
        Held { _lock: lock, reviews: self.clone() }
    }

    /// Has what an edit replaced looked at. Waits for it only where no run holds the place.
    pub(super) async fn add(&self, folder: &Arc<Folder>, replaced: Option<Replaced>) -> Result<()> {
        let Some(replaced) = replaced else { return Ok(()) };
        let folder = folder.clone();
        // On a thread, which ends its work even if whoever asked for it does not wait.
        let review = tokio::task::spawn_blocking(move || {
            let mut next = Some(replaced);
            while let Some(replaced) = next {
                next = folder.review(replaced).inspect_err(|error| tracing::warn!(%error, "index.json"))?;
            }
            Ok(())
        });
        if self.holds.load(Ordering::Relaxed) == 0 {
            return end(review).await;
        }
        lock(&self.going_on).push_back(review);
        self.wait(MOST).await;
        Ok(())
    }

    /// Waits for all of them; the first failure, if there was one.
    pub(super) async fn finish(&self) -> Result<()> {
        self.wait(0).await;
        lock(&self.failed).take().map_or(Ok(()), Err)
    }

    async fn wait(&self, most: usize) {
        let next = || {
            let mut going_on = lock(&self.going_on);
            if going_on.len() > most { going_on.pop_front() } else { None }
        };
        while let Some(review) = next() {
            if let Err(error) = end(review).await {
                lock(&self.failed).get_or_insert(error);
            }
        }
    }
}

async fn end(review: Review) -> Result<()> {
    match review.await {
        Ok(result) => result,
        Err(error) => Err(Error::new(Kind::Internal, "looking at index.json again broke off").with_source(error)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both are whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
