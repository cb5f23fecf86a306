//! Where GitHub's two APIs are, and what authenticates to them. Reads the environment, and asks `gh` for its login; sends
//! nothing itself.
//!
//! A secret only goes to the host it was made for: what the environment holds is not sent to an API that merely a location
//! names, and `gh` is asked for its login at that very host.

use crate::error::{Error, Kind, Result};
use crate::model::actions::Grant;
use crate::model::location::Location;
use crate::store::http;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use std::process::Stdio;
use std::time::Duration;

/// How long `gh` may take to answer.
const GH: Duration = Duration::from_secs(5);
/// The longest token that is looked into, and how many refs it may name: GitHub's have a handful.
const MAX_TOKEN: usize = 64 << 10;
const MAX_GRANTS: usize = 64;
/// Lets credentials go over plain HTTP.
const PLAINTEXT: &str = "CACHEDECK_PLAINTEXT_CREDENTIALS";

/// The value of an environment variable, unless it is empty.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of `key` of the location, else of the first of `variables` that has one.
fn setting(location: &Location, key: &str, variables: &[&str]) -> Option<String> {
    location.value(key).map(str::to_owned).or_else(|| variables.iter().find_map(|name| variable(name)))
}

/// A REST API: where, which repository, and whose login.
#[derive(Clone, Debug)]
pub struct Api {
    /// Its root: `https://api.github.com`.
    pub url: Url,
    /// The host that people know: `github.com`.
    pub host: String,
    /// `OWNER/NAME`.
    pub repository: String,
    /// The token at hand, as a header; without one `gh` is asked when the first request is made.
    pub token: Option<HeaderValue>,
}

impl Api {
    /// The API that `location` and the environment lead to; `None` where no repository is named.
    ///
    /// [`Kind::Invalid`] for a repository or URL that is none, [`Kind::Denied`] for a token that would go out readable.
    pub fn find(location: &Location) -> Result<Option<Self>> {
        let named = setting(location, "repo", &[]).or_else(|| setting(location, "repository", &["GITHUB_REPOSITORY"]));
        let Some(repository) = named else { return Ok(None) };
        let is_name = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if !repository.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name)) {
            return Err(Error::invalid(format!("bad repository {repository:?}")).with_hint("write repo=OWNER/NAME"));
        }
        let (url, own) = match location.value("api_url") {
            Some(url) => (parse(url)?, false),
            None => (from_environment()?, true),
        };
        let host = host_of(&url);
        let public = is_public(&host);
        let from_variables = |names: &[&str]| names.iter().find_map(|name| variable(name));
        // In a workflow run GITHUB_TOKEN is for the server that runs it; elsewhere, as with gh, for github.com.
        let in_run = own && (variable("GITHUB_API_URL").is_some() || variable("GITHUB_SERVER_URL").is_some());
        let token = location.value("ghtoken").map(str::to_owned).or_else(|| match (public, own) {
            (true, _) => from_variables(&["GH_TOKEN", "GITHUB_TOKEN"]),
            (false, true) if in_run => {
                from_variables(&["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GITHUB_TOKEN", "GH_TOKEN"])
            }
            (false, true) => from_variables(&["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"]),
            (false, false) => None,
        });
        let token = token.map(|token| bearer(&token)).transpose()?;
        if token.is_some() {
            only_encrypted(&url)?;
        }
        Ok(Some(Self { url, host, repository, token }))
    }

    /// What authenticates: the token at hand, else `gh`'s login at this host, else nothing.
    pub async fn login(&self) -> Option<HeaderValue> {
        if self.token.is_some() || only_encrypted(&self.url).is_err() {
            return self.token.clone();
        }
        // The variables would make gh repeat them for any host; its own login is kept by host.
        let mut gh = tokio::process::Command::new("gh");
        gh.args(["auth", "token", "--hostname", &self.host]).kill_on_drop(true);
        gh.stdin(Stdio::null()).stderr(Stdio::null());
        for name in ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_DEBUG"] {
            gh.env_remove(name);
        }
        let answer = tokio::time::timeout(GH, gh.output()).await.ok()?.ok()?;
        let token = String::from_utf8(answer.stdout).ok()?;
        (answer.status.success() && !token.trim().is_empty()).then(|| bearer(token.trim()).ok())?
    }
}

/// The API of the server that the environment is about.
fn from_environment() -> Result<Url> {
    if let Some(url) = variable("GITHUB_API_URL") {
        return parse(&url);
    }
    let server = variable("GH_HOST").or_else(|| variable("GITHUB_SERVER_URL"));
    let server = server.unwrap_or_else(|| "https://github.com".to_owned());
    let server = parse(&if server.contains("://") { server } else { format!("https://{server}") })?;
    let host = server.host_str().unwrap_or_default();
    match host {
        "github.com" => parse("https://api.github.com"),
        _ if is_public(host) => parse(&format!("https://api.{host}")),
        _ => parse(&format!("{}/api/v3", server.as_str().trim_end_matches('/'))),
    }
}

/// The host that people and `gh` know an API by.
fn host_of(api: &Url) -> String {
    let host = api.host_str().unwrap_or_default();
    match host.strip_prefix("api.") {
        Some(server) if is_public(server) => server.to_owned(),
        _ => host.to_owned(),
    }
}

/// Whether GitHub itself runs it, so that its tokens may go there.
fn is_public(host: &str) -> bool {
    host == "github.com" || host.ends_with(".ghe.com")
}

fn parse(url: &str) -> Result<Url> {
    let bad = || Error::invalid(format!("bad URL of GitHub's API: {}", crate::model::location::mask_url(url)));
    let url = Url::parse(url).map_err(|_| bad())?;
    let whole = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if whole { Ok(url) } else { Err(bad()) }
}

/// A token as a header, which is never shown.
pub fn bearer(token: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| Error::invalid("the GitHub token holds characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Refuses to send credentials where others could read them.
fn only_encrypted(url: &Url) -> Result<()> {
    if url.scheme() == "https" || http::is_loopback(url) || variable(PLAINTEXT).is_some_and(|v| v == "1") {
        return Ok(());
    }
    let what = format!("{}: credentials would go over plain HTTP", http::shown(url));
    Err(Error::new(Kind::Denied, what).with_hint(format!("use https, or set {PLAINTEXT}=1 if the network is yours")))
}

/// The cache service of a workflow run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its root.
    pub url: Url,
    /// Whether it speaks v2.
    pub v2: bool,
    /// The run's token, as a header.
    pub token: HeaderValue,
    /// What the token may do.
    pub grants: Vec<Grant>,
}

impl Run {
    /// The service that `location` and the environment lead to, chosen as buildctl and BuildKit choose it; `None` where a
    /// token or a URL is missing.
    ///
    /// [`Kind::Invalid`] for a URL or token that is none, [`Kind::Unauthenticated`] for a token whose time is over.
    pub fn find(location: &Location, now: Timestamp) -> Result<Option<Self>> {
        let Some(token) = setting(location, "token", &["ACTIONS_RUNTIME_TOKEN"]) else { return Ok(None) };
        let wants_v2 = variable("ACTIONS_CACHE_SERVICE_V2").is_some_and(|v| is_true(&v));
        let version = location.value("version").map(str::to_owned).or(wants_v2.then(|| "2".to_owned()));
        let version: u32 = match version {
            Some(text) => text.parse().map_err(|_| {
                Error::invalid("bad version of GitHub's cache service").with_hint("write version=1 or version=2")
            })?,
            None => 0,
        };
        let second = location.value("url_v2").map(str::to_owned);
        let second = second.or_else(|| (version == 2).then(|| variable("ACTIONS_RESULTS_URL"))?);
        let (url, v2) = match second.filter(|_| version != 1) {
            Some(url) => (url, true),
            None => {
                let Some(url) = setting(location, "url", &["ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"]) else {
                    return Ok(None);
                };
                let v2 = if version == 0 {
                    url.contains("results-receiver.actions.githubusercontent.com")
                } else {
                    version > 1
                };
                (url, v2)
            }
        };
        let url = parse(&url)?;
        only_encrypted(&url)?;
        let grants = grants(&token, now)?;
        Ok(Some(Self { url, v2, token: bearer(&token)?, grants }))
    }

    /// The refs that may be read.
    pub fn readable(&self) -> impl Iterator<Item = &str> {
        self.grants.iter().filter(|grant| grant.read).map(|grant| grant.git_ref.as_str())
    }
}

/// As Go reads a truth value.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True")
}

/// What a run's token may do: its `ac` claim, a JSON string. Who signed it is for the server to check.
fn grants(token: &str, now: Timestamp) -> Result<Vec<Grant>> {
    #[derive(Deserialize)]
    struct Claims {
        ac: String,
        exp: Option<f64>,
    }
    #[derive(Deserialize)]
    struct Scope {
        #[serde(rename = "Scope")]
        git_ref: String,
        #[serde(rename = "Permission")]
        permission: u64,
    }
    let bad = |why: &str| {
        Error::invalid(format!("the token for GitHub's cache service can't be used: {why}")).with_hint(
            "it is ACTIONS_RUNTIME_TOKEN of the workflow run; a personal token goes into ghtoken or GH_TOKEN",
        )
    };
    if token.len() > MAX_TOKEN {
        return Err(bad("it is too long"));
    }
    let claims = token.split('.').nth(1).ok_or_else(|| bad("it is no JWT"))?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).map_err(|_| bad("it is no JWT"))?;
    let claims: Claims = serde_json::from_slice(&claims).map_err(|_| bad("it says nothing of caches"))?;
    if claims.exp.is_some_and(|exp| exp < now.as_second() as f64) {
        return Err(Error::new(Kind::Unauthenticated, "the token for GitHub's cache service has expired")
            .with_hint("it is good for one workflow run only"));
    }
    let scopes: Vec<Scope> = serde_json::from_str(&claims.ac).map_err(|_| bad("it says nothing of caches"))?;
    if scopes.len() > MAX_GRANTS {
        return Err(bad("it names too many refs"));
    }
    let grant = |s: Scope| Grant { git_ref: s.git_ref, read: s.permission & 1 != 0, write: s.permission & 2 != 0 };
    Ok(scopes.into_iter().map(grant).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_says_which_refs_it_is_for() {
        let now = Timestamp::from_second(1000).unwrap();
        let ac = r#"{"ac":"[{\"Scope\":\"refs/heads/x\",\"Permission\":3},{\"Scope\":\"refs/heads/main\",\"Permission\":1}]","exp":2000}"#;
        let found = grants(&token(ac), now).unwrap();
        assert_eq!(found.iter().map(|g| (g.read, g.write)).collect::<Vec<_>>(), [(true, true), (true, false)]);
        assert_eq!(found[1].git_ref, "refs/heads/main");
        let late = grants(&token(ac), Timestamp::from_second(2001).unwrap()).unwrap_err();
        assert_eq!(late.kind(), Kind::Unauthenticated);
        for bad in ["", "ghp_abc", "a.b.c", &token("{}"), &token(r#"{"ac":"x"}"#), &token(r#"{"ac":[]}"#)] {
            let error = grants(bad, now).unwrap_err();
            assert!(error.kind() == Kind::Invalid && (bad.is_empty() || !error.to_string().contains(bad)), "{bad}");
        }
    }

    #[test]
    fn hosts_of_apis() {
        for (api, host) in [
            ("https://api.github.com", "github.com"),
            ("https://api.acme.ghe.com", "acme.ghe.com"),
            ("https://git.acme.example/api/v3", "git.acme.example"),
        ] {
            assert_eq!(host_of(&parse(api).unwrap()), host);
        }
        assert!(parse("ftp://x").is_err() && parse("x").is_err());
        assert!(only_encrypted(&parse("http://git.example").unwrap()).is_err());
        assert!(only_encrypted(&parse("http://127.0.0.1:1").unwrap()).is_ok());
    }

    #[test]
    fn a_repository_has_an_owner() {
        for (repository, good) in
            [("a/b.c-d_e", true), ("a", false), ("a/b/c", false), ("a/..", false), ("a/b?x", false)]
        {
            let location = format!("type=gha,repo={repository},api_url=https://git.example/api/v3,ghtoken=x");
            let found = Api::find(&location.parse().unwrap());
            assert_eq!(found.is_ok(), good, "{repository}");
        }
    }
}
