//! Azure's SDK over our HTTP policy: what it signs is sent by [`Http`], which times out and tries again as for everybody.

use crate::error::Error;
use crate::store::BlobReader;
use crate::store::http::{self, Http, Repeat};
use async_trait::async_trait;
use azure_core::error::{ErrorKind, ResultExt as _};
use azure_core::headers::{CONTENT_LENGTH, HeaderName, HeaderValue, Headers};
use azure_core::{Body, HttpClient};
use bytes::Bytes;
use futures::Stream;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use tokio_util::io::ReaderStream;

/// The longest error document that is looked at.
const FAULT_LIMIT: u64 = 64 << 10;

/// Sends what the SDK made.
#[derive(Debug)]
pub(super) struct Transport(pub(super) Http);

/// An answer that is no success. Of what the server wrote only a code is kept: some repeat credentials.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: StatusCode,
    /// Azure's name for what is wrong: `ContainerNotFound`.
    pub(super) code: Option<String>,
    /// How far this machine's clock is ahead of the server's, where it tells.
    pub(super) ahead: Option<SignedDuration>,
    /// Who answered.
    pub(super) host: String,
    /// What the status alone suggests to do.
    pub(super) hint: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers {}", self.host, self.status)?;
        self.code.as_ref().map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

impl std::error::Error for Refusal {}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &azure_core::Request) -> azure_core::Result<azure_core::Response> {
        let method = Method::from_bytes(request.method().as_ref().as_bytes()).map_kind(ErrorKind::DataConversion)?;
        let mut sent = self.0.request(method, request.url().clone());
        for (name, value) in request.headers().iter().filter(|(name, _)| **name != CONTENT_LENGTH) {
            let name = header::HeaderName::try_from(name.as_str()).map_kind(ErrorKind::DataConversion)?;
            let value = header::HeaderValue::try_from(value.as_str()).map_kind(ErrorKind::DataConversion)?;
            sent.headers_mut().insert(name, value);
        }
        match request.body() {
            // Azure wants to be told that nothing comes.
            Body::Bytes(bytes) if bytes.is_empty() => {
                if !matches!(*sent.method(), Method::GET | Method::HEAD) {
                    sent.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("0"));
                }
            }
            Body::Bytes(bytes) => *sent.body_mut() = Some(bytes.clone().into()),
            Body::SeekableStream(_) => {
                return Err(azure_core::Error::message(ErrorKind::Other, "a body that can't be sent"));
            }
        }
        let failed = |error: Error| azure_core::Error::new(ErrorKind::Io, error);
        let is_block = sent.url().query_pairs().any(|(key, value)| key == "comp" && value == "block");
        let repeat = match *sent.method() {
            Method::GET | Method::HEAD => Repeat::Safe,
            // It replaces itself.
            Method::PUT if is_block => Repeat::Safe,
            _ => Repeat::Never,
        };
        let response = self.0.send_as(sent, repeat).await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(azure_core::Error::new(ErrorKind::Other, self.refusal(response).await));
        }
        let status = azure_core::StatusCode::try_from(response.status().as_u16())
            .map_err(|_| azure_core::Error::message(ErrorKind::DataConversion, "a status that nobody knows"))?;
        let headers = headers(response.headers());
        let body = Pieces(Mutex::new(ReaderStream::with_capacity(self.0.reader(response), 64 << 10)));
        Ok(azure_core::Response::new(status, headers, Box::pin(body)))
    }
}

impl Transport {
    async fn refusal(&self, response: Response) -> Refusal {
        let (status, host) = (response.status(), response.url().host_str().unwrap_or_default().to_owned());
        let hint = http::fault(&host, &response).hint().map(str::to_owned);
        let own = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (code, date) = (own("x-ms-error-code"), own("date"));
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(&date).ok());
        let ahead = date.map(|date| Timestamp::now().duration_since(date.timestamp()));
        let code = match code {
            Some(code) => Some(code),
            None => self.0.bytes(response, FAULT_LIMIT).await.ok().and_then(|body| written_code(&body)),
        };
        Refusal { status, code: code.filter(|code| is_code(code)), ahead, host, hint }
    }
}

/// The code in an error document: Azure Storage's XML, or the JSON of whoever gives out tokens.
fn written_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Json {
        error: Option<String>,
    }
    #[derive(Deserialize)]
    struct Xml {
        #[serde(rename = "Code")]
        code: Option<String>,
    }
    match serde_json::from_slice::<Json>(body) {
        Ok(json) => json.error,
        Err(_) => azure_core::xml::read_xml::<Xml>(body).ok()?.code,
    }
}

/// Whether it is a word that may be repeated: no server gets its own sentences into our errors.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn headers(map: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        if let Ok(value) = value.to_str() {
            headers.insert(HeaderName::from(name.as_str().to_owned()), HeaderValue::from(value.to_owned()));
        }
    }
    headers
}

/// A body as the SDK wants it: to be shared between threads, which nobody does.
struct Pieces(Mutex<ReaderStream<BlobReader>>);

impl Stream for Pieces {
    type Item = azure_core::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        Pin::new(stream).poll_next(cx).map(|piece| piece.map(|piece| piece.map_err(azure_core::Error::from)))
    }
}
