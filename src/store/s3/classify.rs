//! What the SDK's errors mean here. What a server says in its own words is left out: it is untrusted, and may repeat what
//! was sent.

use crate::error::{Error, Kind};
use crate::store::http;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use reqwest::StatusCode;
use std::error::Error as StdError;
use std::io;

/// The error for a request that was to do `what`, such as `listing bucket x`.
pub fn classify<E>(what: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(answer) => refused(what, answer.err().code(), answer.raw()),
        // An answer that is no S3 answer: the body broke off, or somebody else answers there.
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status();
            if !status.is_success() {
                return refused(what, None, answer.raw());
            }
            match SdkError::<E>::ResponseError(answer).into_source() {
                Ok(source) => broken(what, source),
                Err(_) => Error::corrupt(format!("{what}: the answer makes no sense")),
            }
        }
        SdkError::ConstructionFailure(_) => {
            let what = format!("{what}: bucket, region and endpoint do not fit together");
            with_cause(Error::new(Kind::Invalid, what), error)
        }
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) => match error.into_source() {
            Ok(source) => unsent(what, source),
            Err(_) => Error::new(Kind::Unavailable, format!("{what}: no answer")),
        },
        _ => Error::new(Kind::Internal, format!("{what}: a failure of no known sort")),
    }
}

/// As [`classify`], for a request that was to change something.
pub fn changing<E>(what: &str, error: SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let error = classify(what, error);
    if error.kind() != Kind::Denied {
        return error;
    }
    error.with_hint(
        "changing takes s3:PutObject and s3:DeleteObject, and where the bucket keeps versions s3:ListBucketVersions and \
         s3:DeleteObjectVersion",
    )
}

fn with_cause<E: StdError + Send + Sync + 'static>(to: Error, error: SdkError<E>) -> Error {
    match error.into_source() {
        Ok(source) => to.with_source(source),
        Err(_) => to,
    }
}

/// A request that never went out, or got no answer.
fn unsent(what: &str, source: Box<dyn StdError + Send + Sync>) -> Error {
    let source = match source.downcast::<ConnectorError>() {
        Ok(connector) => connector.into_source(),
        Err(source) => source,
    };
    match source.downcast::<Error>() {
        Ok(ours) => ours.context(what),
        Err(source) => {
            let credentials = find::<CredentialsError>(&*source).map(unauthenticated);
            let error = credentials.unwrap_or_else(|| Error::new(Kind::Unavailable, "no answer"));
            error.context(what).with_source(source)
        }
    }
}

fn unauthenticated(error: &CredentialsError) -> Error {
    let hint = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in: aws sso login";
    match error {
        CredentialsError::ProviderTimedOut(_) => {
            Error::new(Kind::Unavailable, "looking for AWS credentials took too long").with_hint(hint)
        }
        CredentialsError::CredentialsNotLoaded(_) => {
            Error::new(Kind::Unauthenticated, "no AWS credentials are to be found").with_hint(hint)
        }
        _ => Error::new(Kind::Unauthenticated, "the AWS credentials can't be had")
            .with_hint("check the profile; if it logs in through SSO, do so again: aws sso login"),
    }
}

/// A body that ended early, or is not what it should be.
pub fn broken(what: &str, source: Box<dyn StdError + Send + Sync>) -> Error {
    let cause = find::<io::Error>(&*source).map(io::Error::kind);
    match cause {
        Some(_) => Error::new(Kind::Unavailable, format!("{what}: the answer broke off")).with_source(source),
        None => Error::corrupt(format!("{what}: the answer makes no sense")).with_source(source),
    }
}

/// The first cause that is a `T`.
pub fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An answer that is a refusal.
fn refused(what: &str, code: Option<&str>, answer: &HttpResponse) -> Error {
    let status = answer.status().as_u16();
    let header = |name| answer.headers().get(name).filter(|v: &&str| is_word(v));
    let code = code.filter(|code| is_word(code)).unwrap_or_default();
    let region = header("x-amz-bucket-region");
    let error = |kind, why: &str| Error::new(kind, format!("{what}: {why}"));
    match (status, code) {
        (_, "NoSuchBucket") => error(Kind::NotFound, "there is no such bucket")
            .with_hint("check bucket, region and endpoint_url; nothing is created here"),
        (_, "NoSuchKey" | "NoSuchVersion" | "NotFound") | (404, "") => error(Kind::NotFound, "it is not there"),
        // What was deleted, asked for by the version that says so.
        (405, _) if header("x-amz-delete-marker").is_some() => error(Kind::NotFound, "it is not there"),
        (301 | 307, _) | (400, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => match region {
            Some(region) => error(Kind::Invalid, &format!("the bucket is in region {region}"))
                .with_hint(format!("set region={region}")),
            None => error(Kind::Invalid, "the bucket is in another region, or at another endpoint")
                .with_hint("check region and endpoint_url"),
        },
        (_, "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired") => {
            error(Kind::Unauthenticated, "the credentials have expired").with_hint("log in again, as in: aws sso login")
        }
        (_, "RequestTimeTooSkewed" | "RequestExpired") => {
            error(Kind::Unauthenticated, "this machine's clock differs from the server's").with_hint("set the clock")
        }
        (401, _)
        | (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidSecurity" | "NotSignedUp") => {
            error(Kind::Unauthenticated, &format!("the credentials are refused{}", named(code)))
                .with_hint("check the access key, or the profile that AWS_PROFILE names")
        }
        (_, "InvalidObjectState") => {
            error(Kind::Denied, "it is archived").with_hint("restore it from the archive first")
        }
        (403, _) => error(Kind::Denied, &format!("access denied{}", named(code)))
            .with_hint("reading takes s3:ListBucket on the bucket and s3:GetObject on what is in it"),
        (200..=299, _) => error(Kind::Corrupt, "the answer makes no sense")
            .with_hint("check endpoint_url: it may be another sort of server"),
        (501, _) => error(Kind::Unsupported, "the server does not know how"),
        _ => {
            let kind = StatusCode::from_u16(status).map_or(Kind::Corrupt, http::kind_of);
            let error = error(kind, &format!("the server answers {status}{}", named(code)));
            match (kind, header("retry-after")) {
                (Kind::Unavailable, Some(wait)) => error.with_hint(format!("it asks to try again in {wait} s")),
                (Kind::Unavailable, None) => error.with_hint("try again later"),
                _ => error,
            }
        }
    }
}

fn named(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" ({code})") }
}

/// Codes and regions are short words; anything else is not shown.
fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
