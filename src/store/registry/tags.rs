//! The list of a repository's tags, page by page. The registry says where the next page is; it may say so of its own pages only.

use super::Api;
use super::reference::is_tag;
use crate::error::{Error, Kind, Result};
use crate::model::finding::{Finding, Problem};
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::collections::{BTreeSet, HashSet};

/// One page; some registries send all at once.
const PAGE_LIMIT: u64 = 64 << 20;
/// More tags than anybody has in a repository.
const MOST_TAGS: usize = 1_000_000;
/// So many pages in a row may bring nothing new.
const MOST_IDLE: usize = 100;

/// The tags, sorted.
#[derive(Debug, Default)]
pub struct Tags {
    /// Their names.
    pub names: BTreeSet<String>,
    /// What was listed as a tag and can't be one.
    pub findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Page {
    tags: Option<Vec<String>>,
}

/// All tags. [`Kind::NotFound`] if there is no such repository.
pub async fn list(api: &Api) -> Result<Tags> {
    let repository = &api.repository;
    let what = || format!("listing the tags of {}", repository.name);
    let (mut tags, mut seen, mut idle) = (Tags::default(), HashSet::new(), 0);
    let mut next = Some(repository.tags()?);
    while let Some(url) = next.take() {
        let response = api.send(Method::GET, url.clone()).await.map_err(|e| e.context(what()))?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(Error::not_found(format!("no repository {} at {}", repository.name, repository.registry))
                .with_hint("check the ref; a registry has a repository only once something was pushed to it"));
        }
        if !response.status().is_success() {
            return Err(api.refused(what(), &response));
        }
        next = next_page(&url, response.headers()).map_err(|e| e.context(what()))?;
        let bytes = api.http.bytes(response, PAGE_LIMIT).await.map_err(|e| e.context(what()))?;
        let page: Page = serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt(format!("{}: no list of tags came", what())).with_source(told(&e)))?;
        let before = tags.names.len();
        for name in page.tags.unwrap_or_default() {
            if is_tag(&name) {
                tags.names.insert(name);
            } else if tags.findings.is_empty() {
                let message = format!("the registry lists what can be no tag: {}", short(&name));
                tags.findings.push(Finding::new(Problem::Malformed, None, message));
            }
        }
        idle = if tags.names.len() > before { 0 } else { idle + 1 };
        seen.insert(url);
        if next.as_ref().is_some_and(|next| seen.contains(next)) || idle > MOST_IDLE {
            return Err(Error::corrupt(format!("{}: {} sends pages in circles", what(), repository.registry)));
        }
        if tags.names.len() > MOST_TAGS {
            return Err(Error::invalid(format!("{}: there are more than {MOST_TAGS}", what())));
        }
    }
    Ok(tags)
}

/// Where the page after that at `url` is. Registries behind a proxy may give themselves another scheme or port, so of a link
/// only path and query count; one that leads to another host is refused.
fn next_page(url: &Url, answer: &HeaderMap) -> Result<Option<Url>> {
    let Some(link) = answer.get_all(LINK).iter().filter_map(|v| v.to_str().ok()).find_map(next_link) else {
        return Ok(None);
    };
    let bad = || Error::corrupt("the link to the next page is no URL");
    let to = url.join(link).map_err(|_| bad())?;
    if to.host_str() != url.host_str() {
        let host = to.host_str().unwrap_or_default();
        return Err(Error::new(Kind::Denied, format!("the link to the next page leads to another host, {host}")));
    }
    let mut next = url.clone();
    next.set_path(to.path());
    next.set_query(to.query());
    Ok(Some(next))
}

/// The target of `<target>; rel="next"`, among other links.
fn next_link(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let parameters = after.split_once('<').map_or(after, |(own, _)| own);
        let is_next = |parameter: &str| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_end_matches(',').trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.eq_ignore_ascii_case("next")
        };
        if parameters.split(';').any(is_next) {
            return Some(target);
        }
        rest = after;
    }
    None
}

/// Where it is wrong, without repeating what it says.
fn told(error: &serde_json::Error) -> String {
    format!("not as it should be at line {}, column {}", error.line(), error.column())
}

fn short(name: &str) -> String {
    format!("{:?}", name.chars().take(40).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn next(link: &str) -> Result<Option<String>> {
        let url = Url::parse("https://r.example:5000/v2/app/tags/list?n=2").unwrap();
        let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(link).unwrap())]);
        Ok(next_page(&url, &headers)?.map(|url| url.to_string()))
    }

    #[test]
    fn the_next_page_is_the_registrys_own() {
        let page = "https://r.example:5000/v2/app/tags/list?last=b&n=2";
        for link in [
            "</v2/app/tags/list?last=b&n=2>; rel=\"next\"",
            "<list?last=b&n=2>;rel=next",
            "<https://r.example:5000/v2/app/tags/list?last=b&n=2>; title=\"x\"; rel=\"next\"",
            "<http://r.example/v2/app/tags/list?last=b&n=2>; rel=\"next\"",
            "</x>; rel=\"prev\", </v2/app/tags/list?last=b&n=2>; rel=\"next\"",
        ] {
            assert_eq!(next(link).unwrap().as_deref(), Some(page), "{link}");
        }
        for none in ["", "</x>; rel=\"prev\"", "</x", "next", "<>"] {
            assert_eq!(next(none).unwrap(), None, "{none}");
        }
        for foreign in ["<https://evil.example/v2/>; rel=\"next\"", "<//evil.example/x>; rel=next"] {
            assert_eq!(next(foreign).unwrap_err().kind(), Kind::Denied, "{foreign}");
        }
    }
}
