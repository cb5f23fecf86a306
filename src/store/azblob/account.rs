//! A container of a storage account, and how it is spoken to: URLs, credentials, and what Azure's refusals mean.

use super::credentials::Chain;
use super::settings::{Credentials, Settings};
use super::transport::{Refusal, Transport};
use crate::error::{Error, Kind, Result};
use crate::store::http::{self, Clock, Http};
use azure_core::auth::Secret;
use azure_core::error::ErrorKind;
use azure_core::headers::Headers;
use azure_core::{
    Body, ClientOptions, Context, HttpClient, Method, Pipeline, ResponseBody, RetryOptions, TransportOptions,
};
use azure_storage::StorageCredentials;
use azure_storage::clients::{ServiceType, finalize_request, new_pipeline_from_options};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use url::Url;
use url::form_urlencoded::byte_serialize;

/// Clocks further apart than this are told of: Azure refuses signatures that are a quarter of an hour off.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A container, with whoever asks.
pub(super) struct Container {
    pipeline: Pipeline,
    base: Url,
    name: String,
    /// The account's own name, and whether a role of Entra ID decides what may be done there.
    account: String,
    by_role: bool,
    /// The shared access signature, for it must go along with the source of a copy, too.
    signature: Option<String>,
    /// The server's clock.
    pub(super) clock: Clock,
}

/// Why there is no answer to work with.
pub(super) enum Failure {
    /// Azure says no.
    Refused(Refusal),
    /// It was not even asked, or did not answer.
    Other(Error),
}

/// An answer: what its head tells, and its body.
pub(super) struct Answer {
    pub(super) length: Option<u64>,
    pub(super) modified: Option<Timestamp>,
    pub(super) etag: Option<String>,
    /// How far a copy is that the blob came about by: `success`, `pending`.
    pub(super) copy: Option<String>,
    pub(super) body: ResponseBody,
}

impl Container {
    pub(super) fn new(settings: Settings) -> Result<Self> {
        let Settings { account_url, account_name, container, credentials, .. } = settings;
        // What is signed holds for one place only.
        let client: Arc<dyn HttpClient> = Arc::new(Transport(Http::new()?.without_redirects()));
        let signature = match &credentials {
            Credentials::Signature(query) => Some(query.clone()),
            _ => None,
        };
        let by_role = matches!(credentials, Credentials::EntraId);
        let account = account_name.clone();
        let credentials = match credentials {
            Credentials::Key(key) => StorageCredentials::access_key(account_name, Secret::new(key)),
            Credentials::Signature(query) => StorageCredentials::sas_token(query)
                // The SDK's error repeats the signature.
                .map_err(|_| Error::invalid("the shared access signature in account_url makes no sense"))?,
            Credentials::EntraId => StorageCredentials::token_credential(Arc::new(Chain::new(client.clone()))),
        };
        let options = ClientOptions::default().retry(RetryOptions::none()).transport(TransportOptions::new(client));
        let pipeline = new_pipeline_from_options(options, credentials);
        let clock = Clock::default();
        Ok(Self { pipeline, base: account_url, name: container, account, by_role, signature, clock })
    }

    /// The container's own URL, to ask something of it.
    pub(super) fn url(&self, query: &[(&str, &str)]) -> Url {
        let mut url = self.at(&self.name);
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    /// The URL of one blob.
    pub(super) fn blob_url(&self, key: &str) -> Url {
        self.at(&format!("{}/{}", self.name, encoded(key)))
    }

    /// The URL of a blob as the source of a copy.
    pub(super) fn source_url(&self, key: &str) -> String {
        let mut url = self.blob_url(key);
        url.set_query(self.signature.as_deref());
        url.into()
    }

    /// The account's own URL, to ask something of its blob service.
    pub(super) fn service_url(&self, query: &[(&str, &str)]) -> Url {
        let mut url = self.at("");
        url.query_pairs_mut().extend_pairs(query);
        url
    }

    /// Whether another container is of the same account, and whoever asks may be told the same way there.
    pub(super) fn is_kin(&self, other: &Self) -> bool {
        self.base == other.base && self.account == other.account && self.by_role == other.by_role
    }

    /// What people know it by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Asks, signed.
    pub(super) async fn ask(&self, method: Method, url: Url) -> std::result::Result<Answer, Failure> {
        self.send(method, url, &[], None).await
    }

    /// Writes, signed. A container that is not there is made first, as BuildKit's exporter makes it.
    pub(super) async fn write(
        &self,
        url: Url,
        more: &[(&'static str, &str)],
        body: Option<Bytes>,
    ) -> std::result::Result<Answer, Failure> {
        let refusal = match self.send(Method::Put, url.clone(), more, body.clone()).await {
            Err(Failure::Refused(refusal)) if refusal.code.as_deref() == Some("ContainerNotFound") => refusal,
            done => return done,
        };
        match self.send(Method::Put, self.url(&[("restype", "container")]), &[], None).await {
            Ok(_) => tracing::info!(container = self.name, "made a container"),
            // Somebody else was quicker.
            Err(Failure::Refused(other)) if other.code.as_deref() == Some("ContainerAlreadyExists") => {}
            Err(Failure::Refused(_)) => return Err(Failure::Refused(refusal)),
            Err(failure) => return Err(failure),
        }
        self.send(Method::Put, url, more, body).await
    }

    /// Asks, signed, with headers, whose names are in small letters, and a body.
    pub(super) async fn send(
        &self,
        method: Method,
        url: Url,
        more: &[(&'static str, &str)],
        body: Option<Bytes>,
    ) -> std::result::Result<Answer, Failure> {
        // Its authorization trusts that the kind of service is told along.
        let mut context = Context::new();
        context.insert(ServiceType::Blob);
        let mut headers = Headers::new();
        more.iter().for_each(|(name, value)| headers.insert(*name, (*value).to_owned()));
        let request = finalize_request(url, method, headers, body.map(Body::from));
        let answer = match request {
            Ok(mut request) => self.pipeline.send(&context, &mut request).await,
            Err(error) => Err(error),
        };
        let (_, headers, body) = answer.map_err(failure)?.deconstruct();
        let text = |name: &'static str| headers.get_optional_str(&name.into());
        self.clock.set(text("date"));
        Ok(Answer {
            etag: text("etag").map(str::to_owned),
            copy: text("x-ms-copy-status").map(str::to_owned),
            length: text("content-length").and_then(|length| length.parse().ok()),
            modified: text("last-modified").and_then(time),
            body,
        })
    }

    /// The error for `failure`; `what` says what was asked for.
    pub(super) fn classify(&self, what: &str, failure: Failure) -> Error {
        let refusal = match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Other(error) => return error.context(what),
        };
        let kind = match (refusal.code.as_deref(), refusal.status.as_u16()) {
            (Some("AuthenticationFailed" | "InvalidAuthenticationInfo" | "NoAuthenticationInformation"), _) => {
                Kind::Unauthenticated
            }
            // It is there, and nobody may read it as it is.
            (Some("BlobArchived"), _) => Kind::Denied,
            _ => http::kind_of(refusal.status),
        };
        let what = match refusal.code.as_deref() {
            Some("ContainerNotFound") => format!("no container {} at {}", self.name, refusal.host),
            _ => format!("{what}: {refusal}"),
        };
        let error = Error::new(kind, what);
        match self.hint(&refusal).or(refusal.hint) {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }

    /// As [`Container::classify`], for a request that was to change something.
    pub(super) fn changing(&self, what: &str, failure: Failure) -> Error {
        let error = self.classify(what, failure);
        if error.kind() != Kind::Denied {
            return error;
        }
        error.with_hint(match self.by_role {
            true => "changing takes the role \"Storage Blob Data Contributor\" on the account or container",
            false => "changing takes a SAS that allows to read, add, create, write, delete and list (sp=racwdl)",
        })
    }

    /// What helps against a refusal.
    fn hint(&self, refusal: &Refusal) -> Option<String> {
        let hint = match refusal.code.as_deref()? {
            "ContainerNotFound" => "check container= and account_url=; the first build that exports there makes it",
            "AuthenticationFailed" | "InvalidAuthenticationInfo" => match refusal.ahead.filter(|by| by.abs() > SKEW) {
                Some(by) => {
                    let (minutes, way) =
                        (by.abs().as_secs() / 60, if by.is_negative() { "behind" } else { "ahead of" });
                    return Some(format!("this machine's clock is {minutes} minutes {way} Azure's: set it right"));
                }
                None if self.by_role => "the token was refused: sign in again with `az login`",
                None => "check account_name and secret_access_key, or when and for what the SAS is valid",
            },
            "AuthorizationPermissionMismatch" if self.by_role => {
                "give yourself the role \"Storage Blob Data Reader\" on the account or container"
            }
            "AuthorizationPermissionMismatch" => "the SAS must allow reading and listing (sp=rl)",
            "AuthorizationFailure" => {
                "the account's firewall may refuse this network, or the SAS may not allow this: see Networking in the portal"
            }
            "AuthorizationResourceTypeMismatch" => {
                "the SAS must be for the container (sr=c), or for service, container and object"
            }
            "AuthorizationServiceMismatch" => "the SAS must be for the blob service (ss=b)",
            "AuthorizationProtocolMismatch" => "the SAS wants https",
            "AuthorizationSourceIPMismatch" => "the SAS is for other addresses than this one's",
            "KeyBasedAuthenticationNotPermitted" => {
                "the account takes no keys: leave out secret_access_key and sign in with `az login`"
            }
            "AccountIsDisabled" => "the account is disabled",
            "BlobArchived" => "it is in the archive tier: bring it back to a warmer one first",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

fn failure(error: azure_core::Error) -> Failure {
    let mut error = error;
    loop {
        error = match error.into_downcast::<Refusal>() {
            Ok(refusal) => return Failure::Refused(refusal),
            Err(other) => other,
        };
        error = match error.into_downcast::<Error>() {
            Ok(error) => return Failure::Other(error),
            Err(other) => other,
        };
        // The policies of the SDK wrap each other's errors.
        error = match error.into_downcast::<azure_core::Error>() {
            Ok(inner) => inner,
            // Its own words repeat requests and answers.
            Err(other) => {
                let what = match other.kind() {
                    ErrorKind::Credential => "the credentials make no sense",
                    _ => "the request could not be made",
                };
                return Failure::Other(Error::new(Kind::Invalid, what));
            }
        };
    }
}

/// A key as one part of a path, as BuildKit sends it: a slash in the beginning or two in a row would not survive otherwise.
fn encoded(key: &str) -> String {
    byte_serialize(key.as_bytes()).map(|piece| if piece == "+" { "%20" } else { piece }).collect()
}

/// A time as HTTP writes it.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

/// The error that a body broke off with.
pub(super) fn broken(error: azure_core::Error) -> std::io::Error {
    match error.into_downcast::<std::io::Error>() {
        Ok(error) => error,
        Err(_) => std::io::ErrorKind::ConnectionReset.into(),
    }
}

/// A whole body; `None` if it is longer than `limit` bytes.
pub(super) async fn whole(answer: Answer, limit: u64) -> std::io::Result<Option<Bytes>> {
    if answer.length.is_some_and(|length| length > limit) {
        return Ok(None);
    }
    let mut body = answer.body.map_err(broken);
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.try_next().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > limit {
            return Ok(None);
        }
    }
    Ok(Some(bytes.freeze()))
}
