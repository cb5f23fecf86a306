//! HTTP as every remote backend speaks it: one policy for timeouts, retries and redirects. It knows no API, and never
//! sends credentials anywhere but where the request was made for.
//!
//! * A request that can be repeated is, with backoff and jitter, after 429, 5xx and connections that broke off; nothing else
//!   is. `Retry-After` is honoured; one that asks for more than [`LONGEST_WAIT`] ends the attempt with an error.
//! * So that this holds for bodies, too, one of up to [`AHEAD`] bytes (a document, a page of a list) is read before its answer
//!   is handed out. A longer one is streamed, and whoever reads it hears of it when it breaks off.
//! * Redirects are followed, if at all, for GET and HEAD, at most [`REDIRECTS`] times, never from `https` to `http`, never
//!   from a public host to a private one; whatever authenticates stays behind when the origin changes.
//! * No answer, and no next piece of a body, within the timeout is [`Kind::Unavailable`].

mod upload;

use super::BlobReader;
use crate::error::{Error, Kind, Result};
use crate::model::units;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Body, Client, Method, Request, Response, ResponseBuilderExt as _, StatusCode, Url};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use tokio_util::io::StreamReader;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may say nothing, where the user does not say.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Sets [`TIMEOUT`]: `10s`, `2m`.
pub const TIMEOUT_VARIABLE: &str = "CACHEDECK_TIMEOUT";
/// Set to 1, lets credentials go over plain HTTP.
pub const PLAINTEXT_VARIABLE: &str = "CACHEDECK_PLAINTEXT_CREDENTIALS";
/// Times a request is sent at most, where the backend does not say.
const ATTEMPTS: usize = 4;
/// The longest that a server may have us wait before a retry.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest body that is read before its answer is handed out.
const AHEAD: u64 = 4 << 20;
/// Redirects followed in a row.
const REDIRECTS: usize = 5;

/// A client that holds the policy. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    timeout: Duration,
    attempts: usize,
    follow: bool,
}

/// Whether a request may be sent again when it is not known what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads, or doing it twice is the same as once.
    Safe,
    /// It must not be, but an answer of 429 says that nothing was done: after that it may.
    IfLimited,
    /// It must not be.
    Never,
}

impl Repeat {
    /// Whether an answer with this status is worth another attempt.
    fn after(self, status: StatusCode) -> bool {
        match self {
            Repeat::Safe => is_passing(status),
            Repeat::IfLimited => status == StatusCode::TOO_MANY_REQUESTS,
            Repeat::Never => false,
        }
    }
}

/// A server's clock, as its last answer told it.
#[derive(Debug)]
pub struct Clock(AtomicI64);

/// Nothing was told yet.
const UNTOLD: i64 = i64::MIN;

impl Default for Clock {
    fn default() -> Self {
        Self(AtomicI64::new(UNTOLD))
    }
}

impl Clock {
    /// The server's time, which may be up to a second further; `None` where it never told.
    pub fn now(&self) -> Option<Timestamp> {
        let ahead = Some(self.0.load(Relaxed)).filter(|ahead| *ahead != UNTOLD)?;
        Timestamp::now().checked_add(SignedDuration::from_millis(ahead)).ok()
    }

    /// Takes note of an answer's `Date`.
    pub fn set(&self, date: Option<&str>) {
        if let Some(date) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let ahead = date.timestamp().duration_since(Timestamp::now()).as_millis();
            self.0.store(i64::try_from(ahead).unwrap_or(UNTOLD), Relaxed);
        }
    }
}

impl Http {
    /// A client that follows redirects. [`Kind::Invalid`] if the user's timeout makes no sense.
    pub fn new() -> Result<Self> {
        let timeout = timeout()?;
        let client = Client::builder()
            .user_agent(concat!("cachedeck/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(timeout))
            .build()
            .map_err(|e| Error::new(Kind::Internal, "the HTTP client can't be set up").with_source(e))?;
        Ok(Self { client, timeout, attempts: ATTEMPTS, follow: true })
    }

    /// This client, leaving redirects to whoever asks: for signed requests.
    #[must_use]
    pub fn without_redirects(self) -> Self {
        Self { follow: false, ..self }
    }

    /// This client, sending a request at most `attempts` times.
    #[must_use]
    pub fn with_attempts(self, attempts: usize) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// A request to be filled in and [sent](Http::send).
    pub fn request(&self, method: Method, url: Url) -> Request {
        Request::new(method, url)
    }

    /// Sends `request` under the policy. GET and HEAD are repeated, others are not. Any answer is a success here: its status
    /// is for the backend, and [`fault`] to say.
    ///
    /// [`Kind::Unavailable`] if there is no answer; [`Kind::Denied`] for a redirect that must not be followed.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        self.send_as(request, if reads { Repeat::Safe } else { Repeat::Never }).await
    }

    /// As [`Http::send`], for a request of which the backend knows whether it may be repeated.
    pub async fn send_as(&self, mut request: Request, repeat: Repeat) -> Result<Response> {
        for _ in 0..=REDIRECTS {
            let again = request.try_clone();
            let response = self.attempt(request, repeat).await?;
            let Some(mut again) = again.filter(|r| self.follow && matches!(*r.method(), Method::GET | Method::HEAD))
            else {
                return Ok(response);
            };
            let Some(target) = redirect(&response) else { return Ok(response) };
            let target = target?;
            if target.origin() != again.url().origin() {
                allow(again.url(), &target).await?;
                strip_credentials(again.headers_mut());
            }
            *again.url_mut() = target;
            request = again;
        }
        Err(Error::new(Kind::Unavailable, format!("{}: more than {REDIRECTS} redirects", shown(request.url()))))
    }

    /// One request, as often as it may and needs to be sent.
    async fn attempt(&self, request: Request, repeat: Repeat) -> Result<Response> {
        let attempts = if repeat == Repeat::Never { 1 } else { self.attempts };
        let mut delays = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(attempts - 1)
            .build();
        let mut next = Some(request);
        while let Some(request) = next.take() {
            let (again, url) = (request.try_clone(), request.url().clone());
            let method = request.method().clone();
            let error = match self.execute(request).await {
                Some(Ok(response)) if !repeat.after(response.status()) || again.is_none() => {
                    tracing::debug!(%method, url = shown(&url), status = response.status().as_u16(), "answered");
                    // What an error has to say is not worth a failure of its own.
                    if again.is_none() || method == Method::HEAD || !response.status().is_success() {
                        return Ok(response);
                    }
                    match self.ahead(response).await {
                        Ok(response) => return Ok(response),
                        Err(error) => error,
                    }
                }
                Some(Ok(response)) => {
                    tracing::debug!(%method, url = shown(&url), status = response.status().as_u16(), "answered");
                    let Some(backoff) = delays.next() else { return Ok(response) };
                    let wait = retry_after(response.headers()).map_or(backoff, |asked| asked.max(backoff));
                    if wait > LONGEST_WAIT {
                        return Ok(response);
                    }
                    tracing::info!(%method, url = shown(&url), ?wait, status = response.status().as_u16(), "trying again");
                    drop(response);
                    tokio::time::sleep(wait).await;
                    next = again;
                    continue;
                }
                Some(Err(error)) => broken(&url, error),
                None => return Err(silent(&url, self.timeout)),
            };
            let Some(again) =
                again.filter(|_| repeat == Repeat::Safe && error.kind() == Kind::Unavailable && broke_off(&error))
            else {
                return Err(error);
            };
            let Some(wait) = delays.next() else { return Err(error) };
            tracing::info!(%method, url = shown(&url), ?wait, %error, "trying again");
            tokio::time::sleep(wait).await;
            next = Some(again);
        }
        Err(Error::new(Kind::Internal, "a request was never sent"))
    }

    /// The same answer, its body read up to [`AHEAD`] bytes, unless it says that it is longer.
    async fn ahead(&self, response: Response) -> Result<Response> {
        if response.content_length().is_some_and(|length| length > AHEAD) {
            return Ok(response);
        }
        let url = response.url().clone();
        let mut answer =
            http::Response::builder().status(response.status()).version(response.version()).url(url.clone());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        let mut stream = response.bytes_stream();
        let mut begin = BytesMut::new();
        let body = loop {
            match tokio::time::timeout(self.timeout, stream.next()).await {
                Ok(None) => break Body::from(begin.freeze()),
                Ok(Some(Ok(piece))) => begin.extend_from_slice(&piece),
                Ok(Some(Err(error))) => return Err(broken(&url, error)),
                Err(_) => return Err(silent(&url, self.timeout)),
            }
            if begin.len() as u64 > AHEAD {
                let begin = futures::stream::iter([Ok(begin.freeze())]);
                break Body::wrap_stream(begin.chain(stream));
            }
        };
        let unfit = |e| Error::new(Kind::Internal, "an answer can't be handed on").with_source(e);
        Ok(answer.body(body).map_err(unfit)?.into())
    }

    /// The body, to be read byte by byte, as [`Http::pieces`] come.
    pub fn reader(&self, response: Response) -> BlobReader {
        Box::new(StreamReader::new(Box::pin(self.pieces(response))))
    }

    /// The body as a stream that fails when nothing comes for as long as the timeout.
    pub fn pieces(&self, response: Response) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let (timeout, url) = (self.timeout, response.url().clone());
        futures::stream::unfold(Some(response.bytes_stream()), move |stream| {
            let url = url.clone();
            async move {
                let mut stream = stream?;
                match tokio::time::timeout(timeout, stream.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(stream))),
                    Ok(Some(Err(e))) => {
                        Some((Err(io::Error::new(io::ErrorKind::ConnectionReset, broken(&url, e))), None))
                    }
                    Err(_) => Some((Err(io::Error::new(io::ErrorKind::TimedOut, silent(&url, timeout))), None)),
                }
            }
        })
    }

    /// The whole body; one longer than `limit` bytes is [`Kind::Invalid`] and not read to its end.
    pub async fn bytes(&self, response: Response, limit: u64) -> Result<Bytes> {
        let url = response.url().clone();
        let too_long = || Error::invalid(format!("{} answers with more than {limit} bytes", shown(&url)));
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let mut stream = response.bytes_stream();
        let mut bytes = BytesMut::new();
        loop {
            match tokio::time::timeout(self.timeout, stream.next()).await {
                Ok(None) => return Ok(bytes.freeze()),
                Ok(Some(Ok(piece))) => bytes.extend_from_slice(&piece),
                Ok(Some(Err(error))) => return Err(broken(&url, error)),
                Err(_) => return Err(silent(&url, self.timeout)),
            }
            if bytes.len() as u64 > limit {
                return Err(too_long());
            }
        }
    }
}

/// How long a server may say nothing: what the user says, else [`TIMEOUT`]. [`Kind::Invalid`] if that makes no sense.
pub fn timeout() -> Result<Duration> {
    match std::env::var(TIMEOUT_VARIABLE) {
        Ok(text) if !text.is_empty() => match text.strip_suffix("ms").and_then(|number| number.parse().ok()) {
            Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
            None => units::parse_duration(&text).map_err(|e| e.context(format_args!("bad {TIMEOUT_VARIABLE}"))),
        },
        _ => Ok(TIMEOUT),
    }
}

/// The error that an answer stands for, by its status alone; `what` says what was asked for. A backend that knows better
/// adds to it. Bodies are not shown: they are untrusted, and some servers repeat credentials.
pub fn fault(what: impl std::fmt::Display, response: &Response) -> Error {
    let status = response.status();
    let host = response.url().host_str().unwrap_or_default();
    let error = Error::new(kind_of(status), format!("{what}: {host} answers {status}"));
    match (status, retry_after(response.headers())) {
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(wait)) => {
            error.with_hint(format!("it asks to try again in {} s", wait.as_secs()))
        }
        (StatusCode::TOO_MANY_REQUESTS, None) => error.with_hint("too many requests: try again later"),
        _ => error,
    }
}

/// The sort of failure that a status is.
pub fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 => Kind::Unauthenticated,
        403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        409 | 412 => Kind::Stale,
        501 => Kind::Unsupported,
        408 | 425 | 429 | 500..=599 => Kind::Unavailable,
        400..=499 => Kind::Invalid,
        _ => Kind::Corrupt,
    }
}

/// A URL for logs and errors: without user, query and fragment, which may hold credentials.
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Whether `url` leads to this machine, so that nothing goes over a wire.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Refuses credentials on their way over plain HTTP: [`Kind::Denied`] off this machine, unless the user says otherwise.
pub fn may_carry_credentials(url: &Url) -> Result<()> {
    let allowed = || std::env::var(PLAINTEXT_VARIABLE).is_ok_and(|value| value == "1");
    if url.scheme() == "https" || is_loopback(url) || allowed() {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, format!("{}: no credentials are sent without encryption", shown(url)))
        .with_hint(format!("use https, or accept that anybody on the way can read them: {PLAINTEXT_VARIABLE}=1")))
}

/// Whether the same request may well succeed later.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// How long the server asks to wait: seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(until.duration_since(Timestamp::now()).try_into().unwrap_or(Duration::ZERO))
}

/// Where an answer sends us, if it does.
fn redirect(response: &Response) -> Option<Result<Url>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let target = response.headers().get(LOCATION)?.to_str().ok().and_then(|to| response.url().join(to).ok());
    let what = || Error::new(Kind::Corrupt, format!("{}: redirected to no URL", shown(response.url())));
    Some(target.filter(|to| matches!(to.scheme(), "http" | "https")).ok_or_else(what))
}

/// Refuses a change of origin that only somebody up to no good would ask for: [`Kind::Denied`].
pub async fn allow(from: &Url, to: &Url) -> Result<()> {
    let refuse = |why| {
        let what = format!("{}: sent on to {}, {why}", shown(from), to.origin().ascii_serialization());
        Err(Error::new(Kind::Denied, what))
    };
    if from.scheme() == "https" && to.scheme() == "http" {
        return refuse("which is not encrypted");
    }
    if is_private(to).await && !is_private(from).await {
        return refuse("an address of a private network");
    }
    Ok(())
}

/// Whether any address of the host is one that only this machine or its network reaches.
async fn is_private(url: &Url) -> bool {
    let private = |ip: IpAddr| match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    match url.host() {
        Some(url::Host::Ipv4(ip)) => private(ip.into()),
        Some(url::Host::Ipv6(ip)) => private(ip.into()),
        Some(url::Host::Domain(_)) if is_loopback(url) => true,
        Some(url::Host::Domain(name)) => {
            let port = url.port_or_known_default().unwrap_or(443);
            tokio::net::lookup_host((name, port)).await.is_ok_and(|mut all| all.any(|address| private(address.ip())))
        }
        None => true,
    }
}

/// Takes away what authenticates, before a request goes to another origin.
fn strip_credentials(headers: &mut HeaderMap) {
    let authenticates = |name: &str| {
        matches!(name, "authorization" | "cookie" | "proxy-authorization" | "www-authenticate")
            || ["x-amz-", "x-ms-", "x-github-"].iter().any(|own| name.starts_with(own))
    };
    let all: Vec<_> = headers.keys().filter(|name| authenticates(name.as_str())).cloned().collect();
    all.into_iter().for_each(|name| drop(headers.remove(name)));
}

/// The error for a request that got no answer, or half of one.
fn broken(url: &Url, error: reqwest::Error) -> Error {
    let what = match () {
        () if error.is_connect() => "no connection",
        () if error.is_timeout() => "no answer in time",
        () => "the connection broke off",
    };
    let connected = !error.is_connect();
    // The SDK's own text repeats the URL, signature and all.
    let error = Error::new(Kind::Unavailable, format!("{}: {what}", shown(url))).with_source(error.without_url());
    if connected { error } else { error.with_hint("see that the address is right, and reached from here") }
}

fn silent(url: &Url, timeout: Duration) -> Error {
    Error::new(Kind::Unavailable, format!("{}: nothing came for {} s", shown(url), timeout.as_secs_f32()))
        .with_hint(format!("try again later, or wait longer: {TIMEOUT_VARIABLE}=2m"))
}

/// Whether a connection was there and broke, as opposed to one that never came about.
fn broke_off(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return !error.is_connect() && !error.is_timeout();
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
