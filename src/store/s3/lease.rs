//! Keeps two cachedecks from changing one bucket at a time: an object that says who does, written only where there is none. It
//! runs out a while after whoever holds it is gone, and keeps no build from anything.

use super::S3;
use super::batch::{self, Doomed};
use super::classify::changing;
use super::{bare, broken, conditional};
use crate::error::{Error, Kind, Result};
use crate::model::plan::RunId;
use crate::progress::Progress;
use crate::store::keyed::{LEASE, Lease, RENEWED, beaten};
use jiff::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// A lease that is held.
pub struct Held {
    s3: S3,
    written: Arc<Mutex<Written>>,
    renewal: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// The object as we last wrote it, and the versions that we wrote, where the bucket keeps any.
struct Written {
    tag: String,
    versions: Vec<String>,
}

fn key(s3: &S3) -> String {
    format!("{}lock", s3.settings.layout.own)
}

/// Takes the lease, or that of somebody who did not renew it. [`Kind::Busy`] while somebody else holds it.
pub async fn take(s3: &S3, run: &RunId) -> Result<Held> {
    let found = found(s3).await?;
    let expired = match &found {
        None => None,
        // The server's clock: this machine's may be off.
        Some(found) if found.words.until < now(s3) => Some(found.tag.clone()),
        Some(found) => return Err(found.words.busy()),
    };
    let mut written = Written { tag: String::new(), versions: Vec::new() };
    match write(s3, run, expired, &mut written).await {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::Stale => return Err(holder(s3).await),
        Err(error) => return Err(error),
    }
    // A server that minds no conditions lets the last of two win.
    match self::found(s3).await? {
        Some(found) if found.words.run == *run => {}
        _ => return Err(holder(s3).await),
    }
    s3.lost.store(false, Relaxed);
    let written = Arc::new(Mutex::new(written));
    let renewal = tokio::spawn(renew(s3.clone(), run.clone(), written.clone()));
    Ok(Held { s3: s3.clone(), written, renewal })
}

/// Gives the lease up, if it still is ours.
pub async fn give_up(held: Held) -> Result<()> {
    held.renewal.abort();
    let written = held.written.lock().await;
    let s3 = &held.s3;
    let ours = found(s3).await?.is_some_and(|found| bare(&found.tag) == bare(&written.tag));
    if !written.versions.is_empty() {
        let own: Vec<Doomed> = written.versions.iter().map(|id| Doomed::version(&key(s3), id)).collect();
        return batch::delete(s3, &own, &Progress::new()).await.into_iter().collect();
    }
    if ours {
        let request = s3.client().await?.delete_object().bucket(&s3.settings.bucket).key(key(s3));
        request.send().await.map_err(|e| changing(&what(s3), e))?;
    }
    Ok(())
}

async fn renew(s3: S3, run: RunId, written: Arc<Mutex<Written>>) {
    loop {
        tokio::time::sleep(RENEWED).await;
        let mut written = written.lock().await;
        let tag = Some(written.tag.clone());
        match write(&s3, &run, tag, &mut written).await {
            Ok(()) => {}
            // The next time may do; three of them fit into a lease.
            Err(error) if error.kind() == Kind::Unavailable => tracing::info!(%error, "the lease was not renewed"),
            Err(error) => {
                tracing::warn!(%error, "the lease is lost");
                s3.lost.store(true, Relaxed);
                return;
            }
        }
    }
}

async fn write(s3: &S3, run: &RunId, instead_of: Option<String>, written: &mut Written) -> Result<()> {
    let until = now(s3).checked_add(LEASE).unwrap_or(Timestamp::MAX);
    let words = Lease { run: run.clone(), until }.write()?;
    let sent = conditional::put(s3, &what(s3), &key(s3), words, instead_of.as_deref()).await;
    let (tag, version) = match sent {
        Ok(answer) => (answer.e_tag().map(str::to_owned), answer.version_id().map(str::to_owned)),
        // It may have been written, and only the answer be lost.
        Err(error) if error.kind() == Kind::Unavailable => match found(s3).await? {
            Some(found) if found.words.run == *run && found.words.until == until => (Some(found.tag), found.version),
            _ => return Err(error),
        },
        Err(error) => return Err(error),
    };
    written.tag = tag.unwrap_or_default();
    written.versions.extend(version.filter(|id| id != "null"));
    Ok(())
}

/// The object that says who holds it.
struct Found {
    words: Lease,
    tag: String,
    version: Option<String>,
}

async fn found(s3: &S3) -> Result<Option<Found>> {
    let object = match s3.get(&what(s3), key(s3), None).await {
        Ok(object) => object,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let tag = object.e_tag().unwrap_or_default().to_owned();
    let version = object.version_id().map(str::to_owned);
    let bytes = object.body.collect().await.map_err(|e| broken(&what(s3), e.into()))?.into_bytes();
    let words = Lease::read(&format!("{} in bucket {}", key(s3), s3.settings.bucket), &bytes)?;
    Ok(Some(Found { words, tag, version }))
}

async fn holder(s3: &S3) -> Error {
    match found(s3).await {
        Ok(Some(found)) => found.words.busy(),
        _ => beaten(),
    }
}

fn what(s3: &S3) -> String {
    format!("holding bucket {}", s3.settings.bucket)
}

fn now(s3: &S3) -> Timestamp {
    s3.clock.now().unwrap_or_else(Timestamp::now)
}
