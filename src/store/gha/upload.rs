//! How an entry gets to the cache service: its key is reserved, its bytes go up, and it is finished, which makes it visible. A
//! reserved key that is never finished stays taken until GitHub forgets it: there is no call to give it up.
//!
//! In v2 the bytes go to a signed URL of Azure's storage, as a block blob; in v1 to the service itself, in chunks.

use super::service::{ANSWER, Service, v1, v2};
use crate::error::{Error, Kind, Result};
use crate::model::actions::VERSION;
use crate::model::text;
use crate::store::http::{self, Repeat};
use crate::store::parts::{Part, Parts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::Deserialize;
use std::time::Duration;

/// How often it is tried to finish an entry of which all bytes are there.
const TRIES: u32 = 4;
/// How long to wait before the second of them.
const PAUSE: Duration = Duration::from_millis(300);

/// A reserved entry.
pub struct Upload<'a> {
    service: &'a Service,
    key: String,
    to: To,
}

/// Where bytes go.
enum To {
    /// A signed URL: never shown.
    Azure(Url),
    /// An entry of v1, by its number.
    Service(u64),
}

impl Service {
    /// Reserves a key under the ref that is written; `None` if it is taken, by an entry or by one on its way. Asked once only:
    /// who asks again after a lost answer finds the key taken.
    pub async fn reserve(&self, key: &str) -> Result<Option<Upload<'_>>> {
        let what = || format!("saving {}", text::safe(key));
        let body = serde_json::json!({ "key": key, "version": VERSION });
        let path = if self.run.v2 { v2("CreateCacheEntry") } else { v1("caches") };
        let answered = self.post(&path, &body, Repeat::IfLimited).await;
        let response = answered.map_err(|e| e.context(what()))?;
        if !response.status().is_success() {
            let error = http::fault(what(), &response);
            return if self.is_taken(response).await { Ok(None) } else { Err(may_not(error)) };
        }
        let to =
            if self.run.v2 { self.signed(&what(), response).await? } else { self.numbered(&what(), response).await? };
        Ok(Some(Upload { service: self, key: key.to_owned(), to }))
    }

    async fn signed(&self, what: &str, response: Response) -> Result<To> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            ok: bool,
            #[serde(default)]
            signed_upload_url: String,
        }
        let answer: Answer = self.answer(response).await?;
        if !answer.ok {
            return Err(may_not(Error::new(Kind::Denied, format!("{what}: GitHub's cache service does not take it"))));
        }
        let bad = || Error::corrupt(format!("{what}: the service gives no URL"));
        let url = Url::parse(&answer.signed_upload_url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(bad)?;
        http::allow(&self.run.url, &url).await?;
        Ok(To::Azure(url))
    }

    async fn numbered(&self, what: &str, response: Response) -> Result<To> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "cacheId", alias = "cacheID", default)]
            id: u64,
        }
        let answer: Answer = self.answer(response).await?;
        let bad = || Error::corrupt(format!("{what}: the service gives no number"));
        (answer.id != 0).then_some(To::Service(answer.id)).ok_or_else(bad)
    }

    /// Whether a refusal says that the key is taken, as BuildKit's client tells it.
    async fn is_taken(&self, response: Response) -> bool {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Refusal {
            code: String,
            type_key: String,
            message: String,
        }
        if response.status() == StatusCode::CONFLICT {
            return true;
        }
        let Ok(bytes) = self.http.bytes(response, ANSWER).await else { return false };
        let refusal: Refusal =
            serde_json::from_slice(bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes)).unwrap_or_default();
        refusal.code == "already_exists"
            || refusal.type_key.contains("AlreadyExists")
            || refusal.message.to_lowercase().contains("already exists")
    }
}

impl Upload<'_> {
    /// Sends a body, of which `first` was read already, and gives its length. Nobody sees it yet.
    pub async fn send(&self, first: Part, parts: Parts) -> Result<u64> {
        let url = match &self.to {
            To::Azure(url) => url,
            To::Service(id) => return self.send_chunks(*id, first, parts).await,
        };
        if first.is_last {
            let size = first.bytes.len() as u64;
            return self.sent(blob(url, first.bytes.clone())).await.map(|()| size);
        }
        let sent = parts.send(first, |part| -> BoxFuture<'_, _> {
            Box::pin(async move {
                // Of one length, as Azure wants them.
                let id = STANDARD.encode(format!("{:08}", part.number()));
                let mut at = url.clone();
                at.query_pairs_mut().append_pair("comp", "block").append_pair("blockid", &id);
                self.sent(to_azure(at, part.bytes.clone())).await.map(|()| id)
            })
        });
        let (size, ids) = sent.await?;
        let ids: String = ids.iter().map(|id| format!("<Latest>{id}</Latest>")).collect();
        let list = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{ids}</BlockList>");
        let mut at = url.clone();
        at.query_pairs_mut().append_pair("comp", "blocklist");
        self.sent(to_azure(at, list.into())).await.map(|()| size)
    }

    async fn send_chunks(&self, id: u64, first: Part, parts: Parts) -> Result<u64> {
        let url = &self.service.url(&v1(&format!("caches/{id}")))?;
        let sent = parts.send(first, |part| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let mut request = self.service.request(Method::PATCH, url.clone());
                let end = part.at + (part.bytes.len() as u64).saturating_sub(1);
                let range = HeaderValue::try_from(format!("bytes {}-{end}/*", part.at));
                let range = range.map_err(|e| Error::new(Kind::Internal, "a bad range").with_source(e))?;
                request.headers_mut().insert(CONTENT_RANGE, range);
                request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                *request.body_mut() = Some(part.bytes.clone().into());
                self.sent(request).await
            })
        });
        sent.await.map(|(size, _)| size)
    }

    /// Sends what may be sent twice.
    async fn sent(&self, request: Request) -> Result<()> {
        let response = self.service.http.send_as(request, Repeat::Safe).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.fault(&response)) }
    }

    fn fault(&self, response: &Response) -> Error {
        http::fault(format!("saving {}", text::safe(&self.key)), response)
    }

    /// Makes the entry visible, which has `size` bytes. Gives its number, where the service tells. Where an answer is lost the
    /// entry is looked for.
    pub async fn finish(self, size: u64) -> Result<Option<u64>> {
        let mut tries = 0;
        loop {
            let error = match self.finish_once(size).await {
                Ok(number) => return Ok(number),
                Err(error) => error,
            };
            tries += 1;
            // After a lost answer the second attempt may well be refused.
            if (tries > 1 || error.kind() == Kind::Unavailable) && self.service.exact(&self.key).await?.is_some() {
                return Ok(None);
            }
            if error.kind() != Kind::Unavailable || tries >= TRIES {
                return Err(error.with_hint("its key is taken until GitHub forgets it: try again later"));
            }
            tokio::time::sleep(PAUSE * tries).await;
        }
    }

    async fn finish_once(&self, size: u64) -> Result<Option<u64>> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Answer {
            ok: bool,
            entry_id: serde_json::Value,
        }
        let (path, body) = match self.to {
            // Numbers of 64 bits are text in the JSON of protobuf, but BuildKit's client sends them so, and is understood.
            To::Azure(_) => (
                v2("FinalizeCacheEntryUpload"),
                serde_json::json!({ "key": self.key, "size_bytes": size, "version": VERSION }),
            ),
            To::Service(id) => (v1(&format!("caches/{id}")), serde_json::json!({ "size": size })),
        };
        let response = self.service.post(&path, &body, Repeat::IfLimited).await?;
        if !response.status().is_success() {
            return Err(self.fault(&response));
        }
        let To::Azure(_) = self.to else {
            return Ok(None);
        };
        let answer: Answer = self.service.answer(response).await?;
        if !answer.ok {
            let what = format!("saving {}: GitHub's cache service does not take it", text::safe(&self.key));
            return Err(Error::new(Kind::Denied, what));
        }
        Ok(answer.entry_id.as_u64().or_else(|| answer.entry_id.as_str()?.parse().ok()))
    }
}

/// A whole blob in one request.
fn blob(url: &Url, bytes: Bytes) -> Request {
    let mut request = to_azure(url.clone(), bytes);
    request.headers_mut().insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
    request
}

/// A request to a signed URL, which has all that authenticates.
fn to_azure(url: Url, bytes: Bytes) -> Request {
    let mut request = Request::new(Method::PUT, url);
    request.headers_mut().insert("x-ms-version", HeaderValue::from_static("2023-11-03"));
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    *request.body_mut() = Some(bytes.into());
    request
}

/// With what helps against it, if the token is to blame.
fn may_not(error: Error) -> Error {
    match error.kind() {
        Kind::Denied | Kind::Unauthenticated => error.with_hint(
            "a run writes under its own branch only, until its job ends; one for a pull request of a fork writes nothing",
        ),
        _ => error,
    }
}
