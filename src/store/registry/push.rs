//! Writing to a repository: blobs, and manifests under tags.
//!
//! A blob goes up in a session: nothing is seen of it before its last request, which is sent only when all bytes are there
//! and hash to what they should. What can't be read a second time is sent once. Where a session leads to another host, our
//! credentials stay behind.

use super::Api;
use super::heads::head;
use super::reference::Repository;
use crate::error::{Error, Kind, Result};
use crate::format::envelope;
use crate::model::digest::Digest;
use crate::progress::Progress;
use crate::store::http::{self, Repeat};
use crate::store::{BlobReader, Expected, Reference};
use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Request, Response, StatusCode, Url};
use tokio::io::AsyncReadExt as _;

/// Blobs up to this size are read whole before anything is sent.
const SMALL: usize = 1 << 20;

/// Stores a blob, see [`crate::store::Store::put`].
pub async fn blob(api: &Api, digest: &Digest, mut body: BlobReader) -> Result<()> {
    let differs = |is: Digest| Error::corrupt(format!("what was given as {digest} is {is}"));
    if is_there(api, digest).await? {
        // Nothing to send; what is given must be the same nevertheless.
        let is = crate::store::hash(digest, body, &Progress::new()).await?.digest;
        return if is == *digest { Ok(()) } else { Err(differs(is)) };
    }
    let mut head = BytesMut::with_capacity(SMALL + 1);
    while head.len() <= SMALL && body.read_buf(&mut head).await.map_err(|e| crate::store::reading(digest, e))? > 0 {}
    let head = head.freeze();
    if head.len() <= SMALL {
        let is = Digest::of(&head);
        if is != *digest {
            return Err(differs(is));
        }
        let session = begin(api).await?;
        return end(api, session, digest, head).await;
    }
    let session = begin(api).await?;
    let whole: BlobReader = Box::new(std::io::Cursor::new(head).chain(body));
    let (session, is) = match send(api, session.clone(), whole).await {
        Ok(sent) => sent,
        Err(error) => {
            give_up(api, session).await;
            return Err(error.context(format!("sending blob {digest}")));
        }
    };
    if is != *digest {
        give_up(api, session).await;
        return Err(differs(is));
    }
    end(api, session, digest, Bytes::new()).await
}

/// Where a tag is. [`Kind::Invalid`] for what can't be one.
pub fn tag(api: &Api, name: &str) -> Result<Url> {
    api.repository.tag(name).ok_or_else(|| {
        Error::invalid(format!("{name:?} can't be a tag"))
            .with_hint("a tag has letters, digits, `_`, `.` and `-`, at most 128 of them: choose another name")
    })
}

/// Stores a blob that another repository of this registry has, without sending it, see [`crate::store::Store::take`].
pub async fn mount(api: &Api, digest: &Digest, from: &Repository) -> Result<bool> {
    let here = &api.repository;
    if from.url().origin() != here.url().origin() || from.name == here.name {
        return Ok(false);
    }
    if is_there(api, digest).await? {
        return Ok(true);
    }
    let uploads = here.uploads()?;
    let mut url = uploads.clone();
    url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", &from.name);
    let mut request = api.http.request(Method::POST, url);
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    // That it is mounted twice does no harm.
    let answered = api.send_as(&*api.mounting(&from.name).await, request, Repeat::IfLimited).await;
    let response = match answered {
        Ok(response) => response,
        // Who may not read there may be given what the user has.
        Err(error) if may_be_sent(error.kind()) => return Ok(false),
        // It may have gone well, and only the answer was lost.
        Err(error) if error.kind() == Kind::Unavailable => match is_there(api, digest).await {
            Ok(true) => return Ok(true),
            _ => return Err(error),
        },
        Err(error) => return Err(error),
    };
    match response.status() {
        StatusCode::CREATED => Ok(true),
        // It does not, and has begun an upload instead.
        StatusCode::ACCEPTED => {
            if let Some(session) = session(&uploads, response.headers()).await? {
                give_up(api, session).await;
            }
            Ok(false)
        }
        _ => {
            let error = refused(api, format!("blob {digest}"), &response);
            if may_be_sent(error.kind()) { Ok(false) } else { Err(error) }
        }
    }
}

/// Whether what the registry does not do by itself may well go the usual way.
fn may_be_sent(kind: Kind) -> bool {
    matches!(kind, Kind::NotFound | Kind::Denied | Kind::Unauthenticated | Kind::Invalid | Kind::Unsupported)
}

/// Lets a tag lead to a manifest, see [`crate::store::Store::publish`]; that what it needs is there has been seen to.
pub async fn manifest(api: &Api, name: &str, document: &Bytes, expected: Expected) -> Result<Reference> {
    let media_type = envelope::media_type(document).map_err(|e| e.context("a tag leads to manifests only"))?;
    let url = tag(api, name)?;
    let now = head(api, name).await?.map(|head| head.digest.to_string());
    let fits = match &expected {
        Expected::Absent => now.is_none(),
        Expected::Version(version) => now.as_ref() == Some(version),
    };
    if !fits {
        let why = if now.is_some() { "leads elsewhere by now" } else { "is gone by now" };
        return Err(Error::new(Kind::Stale, format!("tag {name} {why}")).with_hint("look again, then retry"));
    }
    let led = lead(api, url, &media_type, document).await.map_err(|e| e.context(format!("publishing {name}")));
    // If the answer was lost it may have gone well all the same.
    let lost = match led {
        Err(error) if error.kind() != Kind::Unavailable => return Err(error),
        led => led.err(),
    };
    match (head(api, name).await?, lost) {
        (Some(head), _) if head.digest == Digest::of(document) => Ok(head.reference(name.to_owned())),
        (_, Some(error)) => Err(error),
        (_, None) => {
            let what = format!("tag {name} leads elsewhere, right after it was written: somebody else writes it, too");
            Err(Error::new(Kind::Stale, what).with_hint("look again, then retry"))
        }
    }
}

/// Sends a manifest to where a tag's is. That it arrived twice does no harm, but it might undo what another writes in between:
/// where it is not known what became of it, one looks instead of sending it again.
pub async fn lead(api: &Api, url: Url, media_type: &str, document: &Bytes) -> Result<()> {
    let mut request = api.http.request(Method::PUT, url);
    let bad = |_| Error::invalid(format!("{media_type:?} is no media type"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_str(media_type).map_err(bad)?);
    *request.body_mut() = Some(document.clone().into());
    let response = api.send_as(&api.pushing, request, Repeat::Never).await?;
    if response.status().is_success() { Ok(()) } else { Err(refused(api, "the registry does not take it", &response)) }
}

/// Whether there is such a blob in this repository. Of manifests the registry says so elsewhere.
async fn is_there(api: &Api, digest: &Digest) -> Result<bool> {
    let response = api.send(Method::HEAD, api.repository.blob(digest)?).await?;
    match response.status() {
        StatusCode::NOT_FOUND => Ok(false),
        status if status.is_success() => Ok(true),
        _ => Err(api.refused(format!("blob {digest}"), &response)),
    }
}

/// Begins a session, and tells where it goes on. One that is never ended is the registry's to throw away.
async fn begin(api: &Api) -> Result<Url> {
    let url = api.repository.uploads()?;
    let mut request = api.http.request(Method::POST, url.clone());
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    let what = || format!("an upload to {}", api.repository.name);
    let response = api.send_as(&api.pushing, request, Repeat::Never).await.map_err(|e| e.context(what()))?;
    if response.status() != StatusCode::ACCEPTED {
        return Err(refused(api, what(), &response));
    }
    let nowhere = || Error::corrupt(format!("{}: {} does not say where", what(), api.repository.registry));
    session(&url, response.headers()).await?.ok_or_else(nowhere)
}

/// Where a session goes on, if an answer says so. A registry behind a proxy may take its own scheme for ours.
async fn session(from: &Url, answer: &HeaderMap) -> Result<Option<Url>> {
    let Some(location) = answer.get(LOCATION) else { return Ok(None) };
    let to = location.to_str().ok().and_then(|location| from.join(location).ok());
    let to = to.filter(|to| matches!(to.scheme(), "http" | "https"));
    let mut to = to.ok_or_else(|| Error::corrupt("an upload is to go on at what is no URL"))?;
    if to.host() == from.host() && from.scheme() == "https" && to.scheme() == "http" {
        let (path, query) = (to.path().to_owned(), to.query().map(str::to_owned));
        to = from.clone();
        to.set_path(&path);
        to.set_query(query.as_deref());
    }
    if to.origin() != from.origin() {
        http::allow(from, &to).await?;
    }
    Ok(Some(to))
}

/// Whether a session is the registry's own, so that it may see who we are.
fn is_own(api: &Api, session: &Url) -> bool {
    session.origin() == api.repository.url().origin()
}

/// Sends all of `body`. Tells where the session goes on, and what was sent.
async fn send(api: &Api, url: Url, body: BlobReader) -> Result<(Url, Digest)> {
    let mut request = api.http.request(Method::PATCH, url.clone());
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if is_own(api, &url)
        && let Some(header) = api.pushing.pass().await?.header
    {
        request.headers_mut().insert(AUTHORIZATION, header);
    }
    let (response, sent) = api.http.upload(request, body).await?;
    if !response.status().is_success() {
        return Err(refused(api, "the registry does not take it", &response));
    }
    let sent = sent.ok_or_else(|| Error::corrupt("the registry answers before it has all of it"))?;
    let next = session(&url, response.headers()).await?.unwrap_or(url);
    Ok((next, sent.digest))
}

/// Ends a session, with the bytes that it still lacks. From here on the blob is there.
async fn end(api: &Api, session: Url, digest: &Digest, rest: Bytes) -> Result<()> {
    let mut url = session.clone();
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    let mut request = api.http.request(Method::PUT, url);
    let length = HeaderValue::from(rest.len());
    request.headers_mut().insert(CONTENT_LENGTH, length);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    *request.body_mut() = Some(rest.into());
    let ended = to_session(api, &session, request).await.and_then(|response| match response.status() {
        status if status.is_success() => Ok(()),
        _ => Err(refused(api, format!("blob {digest}"), &response)),
    });
    match ended {
        // It may have gone well, and only the answer was lost.
        Err(error) if error.kind() == Kind::Unavailable => match is_there(api, digest).await {
            Ok(true) => Ok(()),
            _ => Err(error),
        },
        Err(error) => {
            give_up(api, session).await;
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

async fn to_session(api: &Api, session: &Url, request: Request) -> Result<Response> {
    match is_own(api, session) {
        true => api.send_as(&api.pushing, request, Repeat::Never).await,
        false => api.http.send_as(request, Repeat::Never).await,
    }
}

/// Gives up a session. What comes of that does not matter: the registry throws it away some day.
async fn give_up(api: &Api, session: Url) {
    let request = api.http.request(Method::DELETE, session.clone());
    if let Err(error) = to_session(api, &session, request).await {
        tracing::info!(%error, "an upload was left unfinished");
    }
}

/// The error for an answer to a request that writes.
fn refused(api: &Api, what: impl std::fmt::Display, response: &Response) -> Error {
    super::auth::refused(&api.pushing, what, response)
}
