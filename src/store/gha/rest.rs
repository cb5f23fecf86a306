//! GitHub's REST API: lists entries, and tells usage and limits. It never gives contents.

use super::access::Api;
use crate::error::{Error, Kind, Result};
use crate::model::actions::{Actions, Entry, EntryKind, Rate, Used};
use crate::store::http::{self, Http, LONGEST_WAIT};
use futures::StreamExt as _;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Entries a page; GitHub gives no more.
const PAGE: usize = 100;
/// Pages asked for at a time: GitHub frowns on many.
const PARALLEL: usize = 4;
/// The most entries that are read: far more than any quota holds.
const MOST: u64 = 200_000;
/// The longest page there can be.
const PAGE_BYTES: u64 = 2 << 20;
/// How often a list is read anew that changes while it is read.
const TRIES: usize = 3;

/// All entries of a repository.
#[derive(Debug, Default)]
pub struct Listed {
    /// Least recently used first, each once.
    pub entries: Vec<Entry>,
    /// Whether it is known that none is left out.
    pub complete: bool,
}

/// The API.
#[derive(Debug)]
pub struct Rest {
    http: Http,
    api: Api,
    login: OnceCell<Option<HeaderValue>>,
    rate: Mutex<Option<Rate>>,
}

#[derive(Deserialize)]
struct Page {
    total_count: u64,
    actions_caches: Vec<Cache>,
}

#[derive(Deserialize)]
struct Cache {
    id: u64,
    #[serde(default)]
    r#ref: String,
    key: String,
    #[serde(default)]
    version: String,
    last_accessed_at: Option<String>,
    created_at: Option<String>,
    #[serde(default)]
    size_in_bytes: u64,
}

impl From<Cache> for Entry {
    fn from(cache: Cache) -> Self {
        let time = |text: Option<String>| text?.parse::<Timestamp>().ok();
        Self {
            kind: EntryKind::of(&cache.key, &cache.version),
            id: cache.id,
            key: cache.key,
            git_ref: cache.r#ref,
            bytes: cache.size_in_bytes,
            created: time(cache.created_at),
            last_used: time(cache.last_accessed_at),
        }
    }
}

impl Rest {
    /// The API at `api`.
    pub fn new(http: Http, api: Api) -> Self {
        Self { http, api, login: OnceCell::new(), rate: Mutex::default() }
    }

    /// `OWNER/NAME`.
    pub fn repository(&self) -> &str {
        &self.api.repository
    }

    /// Requests that are left, as the last answer said.
    pub fn rate(&self) -> Option<Rate> {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All entries. Pages are read by age, so that what is saved meanwhile comes last; as pages move when an entry goes, a
    /// list whose pages don't fit together is read anew.
    pub async fn list(&self) -> Result<Listed> {
        let mut last = Listed::default();
        for _ in 0..TRIES {
            last = self.list_once().await?;
            if last.complete {
                break;
            }
        }
        Actions::sort(&mut last.entries);
        Ok(last)
    }

    async fn list_once(&self) -> Result<Listed> {
        let first = self.page(1).await?;
        let total = first.total_count;
        if total > MOST {
            return Err(Error::corrupt(format!(
                "{} says that {} holds {total} caches",
                self.api.host, self.api.repository
            )));
        }
        let pages = (total as usize).div_ceil(PAGE);
        let mut rest = futures::stream::iter(2..=pages).map(|number| self.page(number)).buffered(PARALLEL);
        let (mut entries, mut seen, mut same) = (Vec::new(), HashSet::new(), true);
        let mut page = Some(first);
        while let Some(now) = page {
            same &= now.total_count == total;
            let (before, has_some) = (seen.len(), !now.actions_caches.is_empty());
            entries.extend(now.actions_caches.into_iter().filter(|cache| seen.insert(cache.id)).map(Entry::from));
            if has_some && seen.len() == before {
                return Err(Error::corrupt(format!(
                    "{}: the pages of its caches lead in a circle",
                    self.api.repository
                )));
            }
            if entries.len() as u64 > MOST {
                return Err(Error::corrupt(format!("{} lists more caches than it says", self.api.repository)));
            }
            page = rest.next().await.transpose()?;
        }
        Ok(Listed { complete: same && entries.len() as u64 == total, entries })
    }

    async fn page(&self, number: usize) -> Result<Page> {
        let number = number.to_string();
        let query = [("per_page", "100"), ("page", &number), ("sort", "created_at"), ("direction", "asc")];
        self.get("actions/caches", &query).await
    }

    /// The entries with exactly this key, under whatever ref.
    pub async fn entries_of(&self, key: &str) -> Result<Vec<Entry>> {
        // The API takes it for the beginning of a key, so the first page holds all of them, or there are far too many.
        let page: Page = self.get("actions/caches", &[("key", key), ("per_page", "100")]).await?;
        Ok(page.actions_caches.into_iter().filter(|cache| cache.key == key).map(Entry::from).collect())
    }

    /// What is used, by GitHub's own count.
    pub async fn usage(&self) -> Result<Used> {
        #[derive(Deserialize)]
        struct Usage {
            active_caches_size_in_bytes: u64,
            active_caches_count: u64,
        }
        let usage: Usage = self.get("actions/cache/usage", &[]).await?;
        Ok(Used { entries: usage.active_caches_count, bytes: usage.active_caches_size_in_bytes })
    }

    /// Bytes the repository may use.
    pub async fn quota(&self) -> Result<u64> {
        #[derive(Deserialize)]
        struct Limit {
            max_cache_size_gb: u64,
        }
        let limit: Limit = self.get("actions/cache/storage-limit", &[]).await?;
        Ok(limit.max_cache_size_gb.saturating_mul(1 << 30))
    }

    /// Days after which an unused entry goes.
    pub async fn retention(&self) -> Result<u32> {
        #[derive(Deserialize)]
        struct Limit {
            max_cache_retention_days: u32,
        }
        let limit: Limit = self.get("actions/cache/retention-limit", &[]).await?;
        Ok(limit.max_cache_retention_days)
    }

    /// Deletes the entry with this number, by one request; `false` if there is none. [`Kind::Unavailable`] if it is not known
    /// whether it was done, or GitHub wants to be asked less often: then look before asking again.
    pub async fn delete(&self, id: u64) -> Result<bool> {
        let url = self.url(&format!("actions/caches/{id}"), &[])?;
        let response = self.send(Method::DELETE, url).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            StatusCode::FORBIDDEN if asked_to_wait(response.headers()).is_none() && self.check_rate().is_ok() => {
                let error = http::fault(format!("deleting caches of {}", self.api.repository), &response);
                Err(error.with_hint("the token needs to write Actions (classic: scope repo)"))
            }
            _ => Err(self.classify(&response)),
        }
    }

    /// Sends one request, with a login if there is one.
    async fn send(&self, method: Method, url: Url) -> Result<Response> {
        self.check_rate()?;
        let mut request = self.http.request(method, url);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.github+json"));
        headers.insert(HeaderName::from_static("x-github-api-version"), HeaderValue::from_static("2022-11-28"));
        if let Some(login) = self.login.get_or_init(|| self.api.login()).await {
            headers.insert(AUTHORIZATION, login.clone());
        }
        let response = self.http.send(request).await?;
        self.note_rate(response.headers());
        Ok(response)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let url = self.url(path, query)?;
        let mut waited = false;
        let response = loop {
            let response = self.send(Method::GET, url.clone()).await?;
            // GitHub says 403 too where others say 429.
            let wait = asked_to_wait(response.headers()).filter(|_| response.status() == StatusCode::FORBIDDEN);
            match wait {
                Some(wait) if !waited && wait <= LONGEST_WAIT => {
                    waited = true;
                    tokio::time::sleep(wait).await;
                }
                _ => break response,
            }
        };
        if !response.status().is_success() {
            return Err(self.classify(&response));
        }
        let bytes = self.http.bytes(response, PAGE_BYTES).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt(format!("{}: not an answer of GitHub's API", http::shown(&url))).with_source(e))
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Result<Url> {
        let root = self.api.url.as_str().trim_end_matches('/');
        let url = Url::parse_with_params(&format!("{root}/repos/{}/{path}", self.api.repository), query);
        let mut url = url.map_err(|_| Error::new(Kind::Internal, "GitHub's API has no such URL"))?;
        if query.is_empty() {
            url.set_query(None);
        }
        Ok(url)
    }

    /// What a failed answer means.
    fn classify(&self, response: &Response) -> Error {
        let what = format!("caches of {}", self.api.repository);
        let error = http::fault(&what, response);
        let has_login = self.login.get().is_some_and(Option::is_some);
        match response.status() {
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS if self.check_rate().is_err() => {
                self.check_rate().err().unwrap_or(error)
            }
            StatusCode::FORBIDDEN if asked_to_wait(response.headers()).is_some() => {
                let seconds = asked_to_wait(response.headers()).unwrap_or_default().as_secs();
                Error::new(Kind::Unavailable, format!("{what}: {} limits requests for now", self.api.host))
                    .with_hint(format!("it asks to try again in {seconds} s"))
            }
            StatusCode::UNAUTHORIZED => error.with_hint(format!(
                "the token is not valid at {}: set GH_TOKEN, add ghtoken=.., or `gh auth login`",
                self.api.host
            )),
            StatusCode::FORBIDDEN => error.with_hint("the token needs to read Actions (classic: scope repo)"),
            StatusCode::NOT_FOUND if has_login => error.with_hint("no such repository, or this token may not see it"),
            StatusCode::NOT_FOUND => error.with_hint(
                "no such repository, or not without a login: set GH_TOKEN, add ghtoken=.., or `gh auth login`",
            ),
            _ => error,
        }
    }

    /// Refuses to ask while GitHub is known to give no answers.
    fn check_rate(&self) -> Result<()> {
        let now = Timestamp::now();
        let Some(Rate { limit, remaining: 0, resets: Some(resets) }) = self.rate() else { return Ok(()) };
        if resets <= now {
            return Ok(());
        }
        let minutes = resets.duration_since(now).as_secs().div_euclid(60) + 1;
        let what = format!("all {limit} requests an hour at {} are used up", self.api.host);
        Err(Error::new(Kind::Unavailable, what).with_hint(format!("try again in {minutes} min")))
    }

    fn note_rate(&self, headers: &HeaderMap) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
        let (Some(limit), Some(remaining)) = (number("x-ratelimit-limit"), number("x-ratelimit-remaining")) else {
            return;
        };
        let resets = number("x-ratelimit-reset").and_then(|s| Timestamp::from_second(i64::try_from(s).ok()?).ok());
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        // Answers to requests that were on their way at once come in any order.
        let lower = rate.filter(|rate| rate.resets == resets).map_or(remaining, |rate| rate.remaining.min(remaining));
        *rate = Some(Rate { limit, remaining: lower, resets });
    }
}

/// The seconds that an answer asks to wait.
fn asked_to_wait(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
