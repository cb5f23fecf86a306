//! What tags lead to, as the registry says without sending it.

use super::{Api, PARALLEL};
use crate::error::{Kind, Result};
use crate::format::envelope;
use crate::model::digest::Digest;
use crate::store::Reference;
use futures::StreamExt as _;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a tag leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The manifest.
    pub digest: Digest,
    /// Its bytes, where the registry says.
    pub size: Option<u64>,
    /// Whether it may lead to further manifests.
    pub is_list: bool,
}

impl Head {
    /// As a name of the place.
    pub fn reference(&self, name: String) -> Reference {
        let version = Some(self.digest.to_string());
        Reference { name, digest: Some(self.digest), size: self.size, modified: None, version }
    }
}

/// What a tag leads to; `None` if there is no such tag. A registry that does not say is asked for the manifest itself.
pub async fn head(api: &Api, tag: &str) -> Result<Option<Head>> {
    let Some(url) = api.repository.tag(tag) else { return Ok(None) };
    let what = || format!("tag {tag}");
    let response = api.send(Method::HEAD, url.clone()).await?;
    match response.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        status if !status.is_success() => return Err(api.refused(what(), &response)),
        _ => {}
    }
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let is_list = header(CONTENT_TYPE.as_str()).is_none_or(|says| !says.contains(".manifest.v"));
    let size = header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    if let Some(digest) = header("docker-content-digest").and_then(|says| says.parse().ok()) {
        return Ok(Some(Head { digest, size, is_list }));
    }
    let response = api.send(Method::GET, url).await?;
    match response.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        status if !status.is_success() => return Err(api.refused(what(), &response)),
        _ => {}
    }
    let bytes = api.http.bytes(response, envelope::LIMIT).await?;
    Ok(Some(Head { digest: Digest::of(&bytes), size: Some(bytes.len() as u64), is_list }))
}

/// The tags with what they lead to, in their order. Where that can't be told, they come without: whoever reads one of those
/// hears why. A registry that does not answer is not asked again for each.
pub async fn references(api: &Api, names: BTreeSet<String>) -> Vec<Reference> {
    let silent = AtomicBool::new(false);
    let ask = |name: String| {
        let silent = &silent;
        async move {
            let nothing = |name| Reference { name, digest: None, size: None, modified: None, version: None };
            if silent.load(Ordering::Relaxed) {
                return nothing(name);
            }
            match head(api, &name).await {
                Ok(Some(head)) => head.reference(name),
                Ok(None) => nothing(name),
                Err(error) => {
                    tracing::info!(tag = name, %error, "not known what it leads to");
                    silent.fetch_or(error.kind() == Kind::Unavailable, Ordering::Relaxed);
                    nothing(name)
                }
            }
        }
    };
    futures::stream::iter(names.into_iter().map(ask)).buffered(PARALLEL).collect().await
}
