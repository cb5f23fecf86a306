//! Keeps two cachedecks from changing one container at a time: an object that says who does, written only where there is none.
//! It runs out a while after whoever holds it is gone, and keeps no build from anything.

use super::Place;
use super::own;
use crate::error::{Error, Kind, Result};
use crate::model::plan::RunId;
use crate::store::keyed::{LEASE, Lease, RENEWED, beaten};
use azure_core::Method;
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// A lease that is held.
pub(super) struct Held {
    place: Arc<Place>,
    /// Of the object as we last wrote it.
    etag: Arc<Mutex<String>>,
    renewal: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

fn key(place: &Place) -> String {
    format!("{}lock", place.layout.own)
}

/// Takes the lease, or that of somebody who did not renew it. [`Kind::Busy`] while somebody else holds it.
pub(super) async fn take(place: &Arc<Place>, run: &RunId) -> Result<Held> {
    let expired = match found(place).await? {
        None => None,
        // The server's clock: this machine's may be off.
        Some((lease, etag)) if lease.until < now(place) => Some(etag),
        Some((lease, _)) => return Err(lease.busy()),
    };
    let etag = match write(place, run, expired.as_deref()).await {
        Ok(etag) => Arc::new(Mutex::new(etag)),
        Err(error) if error.kind() == Kind::Stale => {
            return Err(found(place).await.ok().flatten().map_or_else(beaten, |(lease, _)| lease.busy()));
        }
        Err(error) => return Err(error),
    };
    place.lost.store(false, Relaxed);
    let renewal = tokio::spawn(renew(place.clone(), run.clone(), etag.clone()));
    Ok(Held { place: place.clone(), etag, renewal })
}

/// Gives the lease up, if it still is ours.
pub(super) async fn give_up(held: Held) -> Result<()> {
    held.renewal.abort();
    let (place, etag) = (&held.place, held.etag.lock().await);
    let url = place.container.blob_url(&key(place));
    let given_up = place.container.send(Method::Delete, url, &[("if-match", &etag)], None).await;
    match given_up.map_err(|e| place.container.changing(&what(place), e)) {
        Ok(_) => Ok(()),
        // It ran out, or somebody else's is there by now.
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Stale) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn renew(place: Arc<Place>, run: RunId, etag: Arc<Mutex<String>>) {
    loop {
        tokio::time::sleep(RENEWED).await;
        let mut etag = etag.lock().await;
        match write(&place, &run, Some(&etag)).await {
            Ok(renewed) => *etag = renewed,
            // The next time may do; three of them fit into a lease.
            Err(error) if error.kind() == Kind::Unavailable => tracing::info!(%error, "the lease was not renewed"),
            Err(error) => {
                tracing::warn!(%error, "the lease is lost");
                place.lost.store(true, Relaxed);
                return;
            }
        }
    }
}

/// Writes the object, where there is none or `instead_of` one; its ETag.
async fn write(place: &Place, run: &RunId, instead_of: Option<&str>) -> Result<String> {
    let until = now(place).checked_add(LEASE).unwrap_or(Timestamp::MAX);
    let words = Lease { run: run.clone(), until }.write()?;
    let condition = instead_of.map_or(("if-none-match", "*"), |etag| ("if-match", etag));
    let written = own::upload(place, &key(place), words, Some(condition)).await;
    let etag = written.map_err(|e| place.container.changing(&what(place), e))?;
    etag.ok_or_else(|| Error::corrupt(format!("{}: the answer has no ETag", what(place))))
}

/// Who holds it, with the object's ETag.
async fn found(place: &Place) -> Result<Option<(Lease, String)>> {
    match own::read(place, &key(place)).await {
        Ok((bytes, etag)) => Ok(Some((Lease::read(&key(place), &bytes)?, etag.unwrap_or_default()))),
        Err(error) if error.kind() == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn what(place: &Place) -> String {
    format!("holding container {}", place.container.name())
}

fn now(place: &Place) -> Timestamp {
    place.container.clock.now().unwrap_or_else(Timestamp::now)
}
