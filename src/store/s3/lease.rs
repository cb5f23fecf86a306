//! Keeps two cachedecks from changing one bucket at a time: an object that says who does, written only where there is none. It
//! runs out a while after whoever holds it is gone, and keeps no build from anything.

use super::S3;
use super::batch::{self, Doomed};
use super::classify::changing;
use super::{bare, broken};
use crate::error::{Error, Kind, Result};
use crate::model::plan::RunId;
use crate::progress::Progress;
use aws_sdk_s3::primitives::ByteStream;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// How long a lease holds that nobody renews.
const LASTS: SignedDuration = SignedDuration::from_mins(15);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(4 * 60);

/// What the object says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Words {
    run: RunId,
    until: Timestamp,
}

/// A lease that is held.
pub struct Lease {
    s3: S3,
    held: Arc<Mutex<Held>>,
    renewal: JoinHandle<()>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// The object as we last wrote it, and the versions that we wrote, where the bucket keeps any.
struct Held {
    tag: String,
    versions: Vec<String>,
}

fn key(s3: &S3) -> String {
    format!("{}lock", s3.settings.layout.own)
}

/// Takes the lease, or that of somebody who did not renew it. [`Kind::Busy`] while somebody else holds it.
pub async fn take(s3: &S3, run: &RunId) -> Result<Lease> {
    let found = found(s3).await?;
    let expired = match &found {
        None => None,
        // The server's clock: this machine's may be off.
        Some((words, tag)) if words.until < now(s3) => Some(tag.clone()),
        Some((words, _)) => return Err(busy(&words.run)),
    };
    let mut held = Held { tag: String::new(), versions: Vec::new() };
    match write(s3, run, expired, &mut held).await {
        Ok(()) => {}
        Err(error) if error.kind() == Kind::Stale => return Err(beaten(s3).await),
        Err(error) => return Err(error),
    }
    // A server that minds no conditions lets the last of two win.
    match self::found(s3).await? {
        Some((words, _)) if words.run == *run => {}
        _ => return Err(beaten(s3).await),
    }
    s3.lost.store(false, Relaxed);
    let held = Arc::new(Mutex::new(held));
    let renewal = tokio::spawn(renew(s3.clone(), run.clone(), held.clone()));
    Ok(Lease { s3: s3.clone(), held, renewal })
}

/// Gives the lease up, if it still is ours.
pub async fn give_up(lease: Lease) -> Result<()> {
    lease.renewal.abort();
    let held = lease.held.lock().await;
    let s3 = &lease.s3;
    let ours = found(s3).await?.is_some_and(|(_, tag)| bare(&tag) == bare(&held.tag));
    if !held.versions.is_empty() {
        let own: Vec<Doomed> = held.versions.iter().map(|id| Doomed::version(&key(s3), id)).collect();
        return batch::delete(s3, &own, &Progress::new()).await.into_iter().collect();
    }
    if ours {
        let request = s3.client().await?.delete_object().bucket(&s3.settings.bucket).key(key(s3));
        request.send().await.map_err(|e| changing(&what(s3), e))?;
    }
    Ok(())
}

async fn renew(s3: S3, run: RunId, held: Arc<Mutex<Held>>) {
    loop {
        tokio::time::sleep(RENEWED).await;
        let mut held = held.lock().await;
        let tag = Some(held.tag.clone());
        match write(&s3, &run, tag, &mut held).await {
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

/// Whether a change may go on. [`Kind::Busy`] once the lease was taken over by somebody else.
pub fn check(lost: &AtomicBool) -> Result<()> {
    if !lost.load(Relaxed) {
        return Ok(());
    }
    Err(Error::new(Kind::Busy, "another cachedeck has taken over the bucket meanwhile")
        .with_hint("what is hidden stays hidden; look again, then retry"))
}

async fn write(s3: &S3, run: &RunId, instead_of: Option<String>, held: &mut Held) -> Result<()> {
    let until = now(s3).checked_add(LASTS).unwrap_or(Timestamp::MAX);
    let words = serde_json::to_vec(&Words { run: run.clone(), until });
    let words = words.map_err(|e| Error::new(Kind::Internal, "a lease can't be put into words").with_source(e))?;
    let request = s3.client().await?.put_object().bucket(&s3.settings.bucket).key(key(s3));
    let absent = instead_of.is_none().then(|| "*".to_owned());
    let replaces = instead_of.is_some();
    let request = request.set_if_none_match(absent).set_if_match(instead_of).body(ByteStream::from(words));
    let answer = request.send().await.map_err(|e| match changing(&what(s3), e) {
        // What was to be replaced is gone.
        error if replaces && error.kind() == Kind::NotFound => Error::new(Kind::Stale, error.to_string()),
        error => error,
    })?;
    held.tag = answer.e_tag().unwrap_or_default().to_owned();
    held.versions.extend(answer.version_id().filter(|id| *id != "null").map(str::to_owned));
    Ok(())
}

/// Who holds it, with the object's ETag.
async fn found(s3: &S3) -> Result<Option<(Words, String)>> {
    let object = match s3.get(&what(s3), key(s3), None).await {
        Ok(object) => object,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let tag = object.e_tag().unwrap_or_default().to_owned();
    let bytes = object.body.collect().await.map_err(|e| broken(&what(s3), e.into()))?.into_bytes();
    let words = serde_json::from_slice(&bytes).map_err(|e| {
        let what = format!("{} in bucket {} is no lease of cachedeck's", key(s3), s3.settings.bucket);
        Error::corrupt(what).with_source(e).with_hint("delete that object if no cachedeck is changing the bucket")
    })?;
    Ok(Some((words, tag)))
}

async fn beaten(s3: &S3) -> Error {
    match found(s3).await {
        Ok(Some((words, _))) => busy(&words.run),
        _ => Error::new(Kind::Busy, "another cachedeck is about to change the bucket").with_hint("try again later"),
    }
}

fn busy(run: &RunId) -> Error {
    Error::new(Kind::Busy, format!("run {run} is changing the bucket")).with_hint("try again once it is done")
}

fn what(s3: &S3) -> String {
    format!("holding bucket {}", s3.settings.bucket)
}

fn now(s3: &S3) -> Timestamp {
    s3.clock.now().unwrap_or_else(Timestamp::now)
}
