//! How the SDK speaks HTTP here: through the one policy of [`Http`]. The SDK signs requests and reads answers; when to try
//! again and how long to wait is not its business.

use crate::error::{Error, Kind, Result};
use crate::store::http::{Clock, Http, Repeat, may_carry_credentials};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use reqwest::header::DATE;
use reqwest::{Body, Request, Url};
use std::sync::Arc;
use std::time::Duration;

/// [`Http`] as the SDK wants it.
#[derive(Clone, Debug)]
pub struct Transport {
    http: Http,
    clock: Arc<Clock>,
    /// How long whoever asks is ready to wait: short where the SDK looks for a service that may not be there at all.
    patience: Option<Duration>,
}

impl Transport {
    pub fn new(http: Http, clock: Arc<Clock>) -> Self {
        Self { http, clock, patience: None }
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let patience = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or_default());
        SharedHttpConnector::new(Self { http: self.http.clone(), clock: self.clock.clone(), patience })
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { http, clock, patience } = self.clone();
        HttpConnectorFuture::new(async move {
            let sent = send(&http, &clock, request);
            let answer = match patience {
                Some(patience) => tokio::time::timeout(patience, sent)
                    .await
                    .unwrap_or_else(|_| Err(Error::new(Kind::Unavailable, "no answer in time"))),
                None => sent.await,
            };
            answer.map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

async fn send(http: &Http, clock: &Clock, request: HttpRequest) -> Result<HttpResponse> {
    let unfit = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Kind::Internal, "a request can't be put into words").with_source(e)
    };
    let mut request = request.try_into_http1x().map_err(|e| unfit(e.into()))?;
    let path = request.uri().path().to_owned();
    let body = std::mem::replace(request.body_mut(), SdkBody::taken());
    let body = match body.bytes() {
        // What is in memory comes in one piece, and can be sent again.
        Some(_) => Body::from(body.collect().await.map_err(unfit)?.to_bytes()),
        None => Body::wrap(body),
    };
    let mut request = Request::try_from(request.map(|_| "")).map_err(|e| unfit(e.without_url().into()))?;
    *request.body_mut() = Some(body);
    if request.url().path() != path {
        let what = "its name has a part '.' or '..', which no URL can hold".to_owned();
        return Err(Error::new(Kind::Unsupported, what));
    }
    keep_private(&request)?;
    let elsewhere = is_beside(request.url());
    let repeat = match *request.method() {
        reqwest::Method::GET | reqwest::Method::HEAD => Repeat::Safe,
        // A part of an upload, which replaces itself.
        reqwest::Method::PUT if request.url().query_pairs().any(|(key, _)| key == "partNumber") => Repeat::Safe,
        _ => Repeat::Never,
    };
    let response = http.send_as(request, repeat).await?;
    let (status, headers) = (response.status(), response.headers().clone());
    if !elsewhere {
        clock.set(headers.get(DATE).and_then(|date| date.to_str().ok()));
    }
    let body = Body::wrap_stream(http.pieces(response).fuse());
    let mut answer = http::Response::new(SdkBody::from_body_1_x(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer.try_into().map_err(|e: aws_smithy_runtime_api::http::HttpError| {
        Error::corrupt("an answer's headers make no sense").with_source(e)
    })
}

/// Refuses to send what authenticates over a wire that anybody may read.
fn keep_private(request: &Request) -> Result<()> {
    let url = request.url();
    let secret = ["authorization", "x-amz-security-token"].iter().any(|name| request.headers().contains_key(*name));
    if secret && !is_beside(url) { may_carry_credentials(url) } else { Ok(()) }
}

/// What a cloud puts beside a machine to hand out credentials.
fn is_beside(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => ip.segments()[..2] == [0xfd00, 0xec2],
        _ => false,
    }
}
