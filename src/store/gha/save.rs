//! Saves blobs and cache configs in a workflow run, under the one ref that its token may write, as BuildKit's exporter does: a blob
//! under its digest, once; a config under its scope's next number, for nothing that is saved can be written over.

use super::service::Service;
use super::upload::Upload;
use super::{Gha, PARALLEL, absent};
use crate::error::{Error, Kind, Result};
use crate::model::actions::{self, IndexKey};
use crate::model::digest::Digest;
use crate::model::text;
use crate::store::parts::Parts;
use crate::store::{BlobReader, Expected, Reference};
use bytes::Bytes;
use futures::StreamExt as _;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How long what another run is saving is waited for; as long as BuildKit waits before it goes on to the next number.
const OTHERS: Duration = Duration::from_secs(15);
/// How often it is looked for meanwhile.
const LOOK: Duration = Duration::from_secs(1);
/// Numbers in a row that runs which broke off may have taken.
const TAKEN: u64 = 32;
/// The longest key that GitHub takes.
const LONGEST: usize = 512;

/// The service, and the ref that may be written; why not, if none may.
pub fn writable(gha: &Gha) -> Result<(&Service, &str)> {
    let service = gha.contents()?;
    let git_ref = service.writable().ok_or_else(|| {
        Error::new(Kind::Denied, "this run's token may write no caches")
            .with_hint("a run for a pull request of a fork only reads them")
    })?;
    Ok((service, git_ref))
}

/// Stores a blob, see [`crate::store::Store::put`].
pub async fn blob(gha: &Gha, digest: &Digest, body: BlobReader) -> Result<()> {
    let (service, _) = writable(gha)?;
    let key = actions::blob_key(digest);
    let mut parts = Parts::of(digest, body);
    // Nothing is reserved before there is something to send, and never for a small one that is wrong.
    let first = parts.next().await?.ok_or_else(|| absent(digest))?;
    if service.exact(&key).await?.is_some() {
        drop(first);
        return parts.check().await;
    }
    let Some(upload) = service.reserve(&key).await? else {
        drop(first);
        parts.check().await?;
        return others(service, &key).await;
    };
    let size = upload.send(first, parts).await?;
    upload.finish(size).await?;
    gha.forget();
    Ok(())
}

/// Waits for a blob that another run is saving.
async fn others(service: &Service, key: &str) -> Result<()> {
    let since = Instant::now();
    loop {
        if service.exact(key).await?.is_some() {
            return Ok(());
        }
        if since.elapsed() >= OTHERS {
            let what = format!("{key} is being saved by another run, or by one that broke off");
            return Err(Error::new(Kind::Busy, what).with_hint("try again once GitHub has it, or has forgotten it"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Saves a cache config, see [`crate::store::Store::publish`].
pub async fn config(
    gha: &Gha,
    name: &str,
    document: &Bytes,
    needs: &[Digest],
    expected: Expected,
) -> Result<Reference> {
    let (service, git_ref) = writable(gha)?;
    let scope = scope(name, git_ref)?;
    let shown = text::safe(name).to_string();
    let looked = |digest: Digest| async move { (digest, service.exact(&actions::blob_key(&digest)).await) };
    let mut there = futures::stream::iter(needs.iter().copied()).map(looked).buffer_unordered(PARALLEL);
    while let Some((digest, found)) = there.next().await {
        if found?.is_none() {
            return Err(Error::corrupt(format!("{shown} was not published: blob {digest} is not there")));
        }
    }
    drop(there);
    let stem = IndexKey::stem(scope, git_ref, false);
    let now = newest(service, &stem).await?;
    if !is_expected(gha, &stem, git_ref, now, &expected).await? {
        return Err(stale(&shown));
    }
    let (n, upload) = next(service, &stem, now, &shown).await?;
    let mut parts = Parts::of(&Digest::of(document), Box::new(std::io::Cursor::new(document.clone())));
    let first = parts.next().await?.ok_or_else(|| Error::new(Kind::Internal, "a config has no parts"))?;
    let size = upload.send(first, parts).await?;
    let number = upload.finish(size).await?;
    gha.forget();
    gha.scopes.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned());
    let key = IndexKey::parse(&format!("{stem}{n}"));
    let name = key.map(|key| key.name(git_ref)).unwrap_or_default();
    let key = format!("{stem}{n}");
    let version = match &gha.rest {
        None => Some(key),
        Some(rest) => {
            let entries = rest.entries_of(&key).await.unwrap_or_default();
            let listed = entries.into_iter().find(|entry| entry.git_ref == git_ref).map(|entry| entry.id);
            listed.or(number).map(|id| id.to_string())
        }
    };
    Ok(Reference { name, digest: None, size: Some(document.len() as u64), modified: None, version })
}

/// The scope of a name that may be written: a bare scope, or one under the ref that the run writes.
pub fn scope<'a>(name: &'a str, git_ref: &str) -> Result<&'a str> {
    let scope = actions::scope_of(name);
    if scope != name {
        let under = name.get(scope.len() + 1..).unwrap_or_default();
        if under.strip_prefix(git_ref) == Some(":signed") {
            let what = format!("{} is signed by its builder, which nobody else can do", text::safe(name));
            return Err(Error::unsupported("gha", "signing").context(what));
        }
        if under != git_ref {
            let what = format!("this run's token can't write caches of {}", text::safe(under));
            return Err(Error::new(Kind::Denied, what).with_hint(format!("it writes those of {git_ref}")));
        }
    }
    // In v1 a comma parts keys.
    if scope.contains(',') || scope.len() + 64 > LONGEST {
        let what = format!("{} can't be a scope", text::safe(scope));
        return Err(Error::invalid(what).with_hint("a scope is short, and has no commas"));
    }
    Ok(scope)
}

/// The number in use; `None` if there is none.
async fn newest(service: &Service, stem: &str) -> Result<Option<u64>> {
    let Some(found) = service.newest(stem).await? else { return Ok(None) };
    let n = found.key.strip_prefix(stem).and_then(|n| n.parse().ok());
    let bad = || Error::corrupt(format!("{} has no number that a cache config has", text::safe(&found.key)));
    n.map(Some).ok_or_else(bad)
}

/// Whether what is in use is what was expected. It is known by its key, or, from REST, by its entry's number.
async fn is_expected(gha: &Gha, stem: &str, git_ref: &str, now: Option<u64>, expected: &Expected) -> Result<bool> {
    match (expected, now) {
        (Expected::Absent, now) => Ok(now.is_none()),
        (Expected::Version(_), None) => Ok(false),
        (Expected::Version(was), Some(n)) => {
            let key = format!("{stem}{n}");
            if *was == key {
                return Ok(true);
            }
            let Some(rest) = gha.rest.as_ref().filter(|_| was.parse::<u64>().is_ok()) else { return Ok(false) };
            let entries = rest.entries_of(&key).await?;
            Ok(entries.iter().any(|entry| entry.git_ref == git_ref && entry.id.to_string() == *was))
        }
    }
}

/// Reserves the next number. One that is taken is another run's, which is waited for as BuildKit does: if its config appears, the
/// name has changed; if none does, the run broke off, and the number after it is taken.
async fn next<'a>(service: &'a Service, stem: &str, now: Option<u64>, shown: &str) -> Result<(u64, Upload<'a>)> {
    let (mut n, since) = (now.unwrap_or_default(), Instant::now());
    let most = n.saturating_add(TAKEN);
    while n < most {
        n += 1;
        loop {
            if let Some(upload) = service.reserve(&format!("{stem}{n}")).await? {
                return Ok((n, upload));
            }
            if newest(service, stem).await? != now {
                return Err(stale(shown));
            }
            if since.elapsed() >= OTHERS {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    let what = format!("{shown} can't be saved: its next {TAKEN} numbers are taken by runs that broke off");
    Err(Error::new(Kind::Busy, what).with_hint("try again once GitHub has forgotten them"))
}

fn stale(shown: &str) -> Error {
    Error::new(Kind::Stale, format!("saving {shown}: it has changed since it was looked at"))
        .with_hint("look again, then retry")
}
