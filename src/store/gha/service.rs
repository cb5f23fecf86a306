//! The cache service that a workflow run talks to: finds an entry by its key and reads it; `upload` saves one. Both versions of
//! it; how they are asked is as in tonistiigi/go-actions-cache. The run's token goes to the service alone: contents are behind signed URLs of
//! another host, and need none.

use super::access::Run;
use crate::error::{Error, Kind, Result};
use crate::model::actions::{Grant, VERSION};
use crate::store::BlobReader;
use crate::store::http::{self, Http, Repeat};
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, Request, Response, StatusCode, Url};
use serde::Deserialize;

/// The longest answer there can be; BuildKit reads no more either.
pub(super) const ANSWER: u64 = 32 << 10;

/// The service.
#[derive(Debug)]
pub struct Service {
    pub(super) http: Http,
    pub(super) run: Run,
}

/// An entry that was found.
#[derive(Debug)]
pub struct Found {
    /// Its key.
    pub key: String,
    /// Where its content is. Signed: never shown.
    url: Url,
}

impl Service {
    /// The service of `run`.
    pub fn new(http: Http, run: Run) -> Self {
        Self { http, run }
    }

    /// What the run's token may do.
    pub fn grants(&self) -> &[Grant] {
        &self.run.grants
    }

    /// Refs that may be read.
    pub fn readable(&self) -> impl Iterator<Item = &str> {
        self.run.readable()
    }

    /// The ref that is written: of several, the last, as BuildKit has it.
    pub fn writable(&self) -> Option<&str> {
        self.run.grants.iter().rfind(|grant| grant.write).map(|grant| grant.git_ref.as_str())
    }

    /// The entry with exactly this key, in any ref that may be read.
    pub async fn exact(&self, key: &str) -> Result<Option<Found>> {
        Ok(self.lookup(key).await?.filter(|found| found.key == key))
    }

    /// The newest entry whose key begins like this.
    pub async fn newest(&self, beginning: &str) -> Result<Option<Found>> {
        Ok(self.lookup(beginning).await?.filter(|found| found.key.starts_with(beginning)))
    }

    async fn lookup(&self, key: &str) -> Result<Option<Found>> {
        let what = || format!("looking for {key}");
        let found = if self.run.v2 { self.lookup_v2(key).await } else { self.lookup_v1(key).await };
        let Some((key, url)) = found.map_err(|e| e.context(what()))? else { return Ok(None) };
        let bad = || Error::corrupt(format!("{}: the service gives no URL", what()));
        let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(bad)?;
        http::allow(&self.run.url, &url).await?;
        Ok(Some(Found { key, url }))
    }

    async fn lookup_v2(&self, key: &str) -> Result<Option<(String, String)>> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            ok: bool,
            #[serde(default)]
            signed_download_url: String,
            #[serde(default)]
            matched_key: String,
        }
        let body = serde_json::json!({ "key": key, "restore_keys": [key], "version": VERSION });
        // It only asks, whatever the method says.
        let response = self.post(&v2("GetCacheEntryDownloadURL"), &body, Repeat::Safe).await?;
        if !response.status().is_success() {
            return self.refused(response).await;
        }
        let answer: Answer = self.answer(response).await?;
        Ok(answer.ok.then_some((answer.matched_key, answer.signed_download_url)))
    }

    async fn lookup_v1(&self, key: &str) -> Result<Option<(String, String)>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            #[serde(default)]
            cache_key: String,
            #[serde(default)]
            archive_location: String,
        }
        let mut url = self.url(&v1("cache"))?;
        url.query_pairs_mut().append_pair("keys", key).append_pair("version", VERSION);
        let response = self.http.send(self.request(Method::GET, url)).await?;
        match response.status() {
            StatusCode::NO_CONTENT => return Ok(None),
            status if !status.is_success() => return self.refused(response).await,
            _ => {}
        }
        let answer: Answer = self.answer(response).await?;
        Ok((!answer.cache_key.is_empty()).then_some((answer.cache_key, answer.archive_location)))
    }

    /// Bytes of an entry.
    pub async fn size(&self, found: &Found) -> Result<u64> {
        let response = self.http.send(self.http.request(Method::HEAD, found.url.clone())).await?;
        if !response.status().is_success() {
            return Err(content(found, &response));
        }
        let length = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.ok_or_else(|| Error::corrupt(format!("{}: the server does not say how long it is", found.key)))
    }

    /// The content of an entry, from its first byte.
    pub async fn content(&self, found: &Found) -> Result<Response> {
        let response = self.http.send(self.http.request(Method::GET, found.url.clone())).await?;
        if response.status().is_success() { Ok(response) } else { Err(content(found, &response)) }
    }

    /// The whole of it; what is longer than `limit` is [`Kind::Invalid`].
    pub async fn bytes(&self, response: Response, limit: u64) -> Result<Bytes> {
        self.http.bytes(response, limit).await
    }

    /// It as a stream.
    pub fn reader(&self, response: Response) -> BlobReader {
        self.http.reader(response)
    }

    /// Sends JSON.
    pub(super) async fn post(&self, path: &str, body: &serde_json::Value, repeat: Repeat) -> Result<Response> {
        let mut request = self.request(Method::POST, self.url(path)?);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(Body::from(body.to_string()));
        self.http.send_as(request, repeat).await
    }

    pub(super) fn url(&self, path: &str) -> Result<Url> {
        let url = format!("{}/{path}", self.run.url.as_str().trim_end_matches('/'));
        Url::parse(&url).map_err(|_| Error::new(Kind::Internal, "GitHub's cache service has no such URL"))
    }

    pub(super) fn request(&self, method: Method, url: Url) -> Request {
        let mut request = self.http.request(method, url);
        request.headers_mut().insert(AUTHORIZATION, self.run.token.clone());
        if !self.run.v2 {
            let v1 = HeaderValue::from_static("application/json;api-version=6.0-preview.1");
            request.headers_mut().insert(ACCEPT, v1);
        }
        request
    }

    pub(super) async fn answer<T: serde::de::DeserializeOwned>(&self, response: Response) -> Result<T> {
        let shown = http::shown(response.url());
        let bytes = self.http.bytes(response, ANSWER).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt(format!("{shown}: not an answer of GitHub's cache service")).with_source(e))
    }

    /// What a failed answer means: nothing found, or why it could not be looked for.
    async fn refused<T>(&self, response: Response) -> Result<Option<T>> {
        #[derive(Deserialize)]
        struct Twirp {
            code: String,
        }
        let error = http::fault("GitHub's cache service", &response);
        match error.kind() {
            // The same status stands for an entry and for a service that is not there.
            Kind::NotFound => match self.answer::<Twirp>(response).await {
                Ok(twirp) if twirp.code == "not_found" => Ok(None),
                _ => Err(Error::new(Kind::Unavailable, error.what())
                    .with_hint("there is no such service: check url, url_v2 and version")),
            },
            Kind::Unauthenticated | Kind::Denied => {
                Err(error.with_hint("ACTIONS_RUNTIME_TOKEN is good for one workflow run, until its job ends"))
            }
            _ => Err(error),
        }
    }
}

/// Where a call of v2 goes.
pub(super) fn v2(call: &str) -> String {
    format!("twirp/github.actions.results.api.v1.CacheService/{call}")
}

/// Where a call of v1 goes.
pub(super) fn v1(call: &str) -> String {
    format!("_apis/artifactcache/{call}")
}

/// The error for content that was not given.
fn content(found: &Found, response: &Response) -> Error {
    let error = http::fault(&found.key, response);
    match error.kind() {
        // The signature was made a moment ago: it is what it signs for that is gone.
        Kind::NotFound => error.with_hint("it was evicted meanwhile"),
        _ => error,
    }
}
