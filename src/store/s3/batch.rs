//! Deletes in batches of a thousand, several at a time. Only for what nobody else can have written under that name and version:
//! exact versions, and objects of our own. Hence a batch of which it is not known what became of it is sent again.

use super::S3;
use super::classify::changing;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::store::http;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::StreamExt as _;
use reqwest::StatusCode;
use std::collections::HashMap;
use std::time::Duration;

/// What S3 takes in one request.
pub const BATCH: usize = 1000;
/// Requests at a time.
const IN_FLIGHT: usize = 12;
/// Times that a batch, or what is left of it, is sent at most.
const ATTEMPTS: usize = 5;

/// What is deleted, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Doomed {
    key: String,
    version: Option<String>,
}

impl Doomed {
    /// One version of an object, or a delete marker.
    pub fn version(key: &str, id: &str) -> Self {
        Self { key: key.to_owned(), version: Some(id.to_owned()) }
    }

    /// An object of our own.
    pub fn object(key: &str) -> Self {
        Self { key: key.to_owned(), version: None }
    }
}

/// Deletes; results are in the order of `doomed`. What is gone already is success. Adds each to `progress`.
pub async fn delete(s3: &S3, doomed: &[Doomed], progress: &Progress) -> Vec<Result<()>> {
    let one = |at: usize| async move {
        let batch = doomed.get(at..(at + BATCH).min(doomed.len())).unwrap_or_default();
        one(s3, batch, progress).await
    };
    let batches = (0..doomed.len()).step_by(BATCH).map(one);
    let done: Vec<Vec<Result<()>>> = futures::stream::iter(batches).buffered(IN_FLIGHT).collect().await;
    done.into_iter().flatten().collect()
}

async fn one(s3: &S3, batch: &[Doomed], progress: &Progress) -> Vec<Result<()>> {
    let mut failed: HashMap<&Doomed, (Kind, String)> = HashMap::new();
    let mut left: Vec<&Doomed> = batch.iter().collect();
    let mut delays = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(ATTEMPTS - 1)
        .build();
    loop {
        let refused = match (progress.check(), left.is_empty()) {
            (_, true) => break,
            (Ok(()), _) => send(s3, &left).await,
            (Err(stopped), _) => Err(stopped),
        };
        let refused = refused.unwrap_or_else(|error| {
            let (kind, what) = (error.kind(), error.to_string());
            left.iter().map(|doomed| (*doomed, (kind, what.clone()))).collect()
        });
        progress.add((left.len() - refused.len()) as u64, 0);
        // What may succeed later is sent again, for as long as there is patience.
        let (passing, for_good): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|(_, (kind, _))| *kind == Kind::Unavailable);
        failed.extend(for_good);
        left = passing.iter().map(|(doomed, _)| *doomed).collect();
        match delays.next() {
            Some(wait) if !left.is_empty() => tokio::time::sleep(wait).await,
            _ => {
                failed.extend(passing);
                break;
            }
        }
    }
    batch.iter().map(|doomed| failed.get(doomed).map_or(Ok(()), |(kind, what)| Err(Error::new(*kind, what)))).collect()
}

/// Those that the answer does not say are gone, and why.
async fn send<'a>(s3: &S3, batch: &[&'a Doomed]) -> Result<Vec<(&'a Doomed, (Kind, String))>> {
    let what = format!("deleting from bucket {}", s3.settings.bucket);
    let internal = |e: aws_sdk_s3::error::BuildError| Error::new(Kind::Internal, what.clone()).with_source(e);
    let mut objects = Vec::with_capacity(batch.len());
    for Doomed { key, version } in batch {
        objects.push(ObjectIdentifier::builder().key(key).set_version_id(version.clone()).build().map_err(internal)?);
    }
    let list = Delete::builder().set_objects(Some(objects)).build().map_err(internal)?;
    let request = s3.client().await?.delete_objects().bucket(&s3.settings.bucket).delete(list);
    let answer = request.send().await.map_err(|e| changing(&what, e))?;
    // A success may be none for some of its keys, and those that it does not even name are not known to be gone.
    let named = |key: Option<&str>, version: Option<&str>| Doomed {
        key: key.unwrap_or_default().to_owned(),
        version: version.filter(|id| !id.is_empty()).map(str::to_owned),
    };
    let mut told: HashMap<Doomed, Option<(Kind, String)>> = HashMap::new();
    for deleted in answer.deleted() {
        told.insert(named(deleted.key(), deleted.version_id()), None);
        told.insert(named(deleted.key(), None), None);
    }
    for error in answer.errors() {
        let refused = refused(&what, error.code().unwrap_or_default());
        told.insert(named(error.key(), error.version_id()), refused);
    }
    let fate = |doomed: &&'a Doomed| match told.get(*doomed) {
        Some(None) => None,
        Some(Some(refused)) => Some((*doomed, refused.clone())),
        None => {
            Some((*doomed, (Kind::Corrupt, format!("{what}: the answer does not say what became of {}", doomed.key))))
        }
    };
    Ok(batch.iter().filter_map(fate).collect())
}

/// What a code stands for among the errors of a batch; nothing where it means that there is nothing to delete.
fn refused(what: &str, code: &str) -> Option<(Kind, String)> {
    let status = match code {
        "NoSuchKey" | "NoSuchVersion" => return None,
        "AccessDenied" | "InvalidObjectState" => 403,
        "PreconditionFailed" => 412,
        "OperationAborted" | "ConditionalRequestConflict" => 409,
        "InternalError" | "SlowDown" | "ServiceUnavailable" | "RequestTimeout" => 503,
        _ => 400,
    };
    let kind = StatusCode::from_u16(status).map_or(Kind::Corrupt, http::kind_of);
    let is_word = code.len() <= 64 && code.chars().all(|c| c.is_ascii_alphanumeric());
    let code = if is_word { code } else { "a code that makes no sense" };
    Some((kind, format!("{what}: refused ({code})")))
}
