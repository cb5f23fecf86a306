//! Who a registry may know us as: reads its challenge, gets tokens, and decides who is shown the user's credentials.
//!
//! A challenge counts only when it comes from the registry itself, never from where a redirect led. Its realm may name any
//! host; credentials go there only if it is the registry's own host, one of [`PAIRS`], or one that the user names in
//! [`REALMS_VARIABLE`], and only over TLS (plain HTTP stays within this machine, unless [`may_carry_credentials`] says
//! otherwise). Any other realm is asked for an anonymous token. docs/decisions/0007 has the reasons.

use super::credentials::{self, Login};
use super::reference::Repository;
use crate::error::{Error, Kind, Result};
use crate::store::http::{Http, allow, fault, may_carry_credentials, shown};
use http_auth::{ChallengeRef, ParamValue, parser::ChallengeParser};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell};

/// Registries whose tokens come from another host of the same owner.
const PAIRS: &[(&str, &str)] = &[
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("registry.digitalocean.com", "api.digitalocean.com"),
];

/// Hosts, comma-separated, that may get the credentials of registries that name them as realm.
pub const REALMS_VARIABLE: &str = "CACHEDECK_TOKEN_HOSTS";

/// A token server's answer has some kilobytes.
const TOKEN_LIMIT: u64 = 1 << 20;

/// What the registry is shown, and what is known of how to get the next.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// The header, if any.
    pub header: Option<HeaderValue>,
    /// Grows with each new one.
    number: u64,
    /// When to get another.
    until: Option<Instant>,
    /// Where this one came from.
    bearer: Option<Bearer>,
}

/// What a Bearer challenge asks for.
#[derive(Clone, Debug)]
struct Bearer {
    realm: Url,
    service: Option<String>,
}

/// A registry's challenge, of the schemes that are known here.
#[derive(Debug)]
enum Challenge {
    Bearer(Bearer),
    Basic,
}

/// Keeps the pass of one repository.
#[derive(Debug)]
pub struct Auth {
    http: Http,
    repository: Repository,
    folder: Option<PathBuf>,
    /// Hosts that the user trusts with credentials, beside those known here.
    trusted: Vec<String>,
    /// What tokens are asked for: `pull`, `pull,push`.
    actions: &'static str,
    /// Another repository of the registry that is to be read, too.
    beside: Option<String>,
    login: Arc<OnceCell<Option<Login>>>,
    pass: Mutex<Pass>,
    /// Why credentials were not used, as far as is known.
    withheld: std::sync::Mutex<Option<String>>,
}

impl Auth {
    /// Asks nobody anything yet.
    pub fn new(http: Http, repository: Repository) -> Self {
        let trusted = std::env::var(REALMS_VARIABLE).unwrap_or_default();
        Self {
            http,
            repository,
            folder: credentials::folder(),
            trusted: trusted.split(',').map(|host| host.trim().to_ascii_lowercase()).collect(),
            actions: "pull",
            beside: None,
            login: Arc::default(),
            pass: Mutex::default(),
            withheld: std::sync::Mutex::default(),
        }
    }

    /// One that gets tokens for `actions`, with the same credentials.
    pub fn allowing(&self, actions: &'static str) -> Self {
        Self {
            http: self.http.clone(),
            repository: self.repository.clone(),
            folder: self.folder.clone(),
            trusted: self.trusted.clone(),
            actions,
            beside: None,
            login: self.login.clone(),
            pass: Mutex::default(),
            withheld: std::sync::Mutex::default(),
        }
    }

    /// One that also gets to read another repository of the registry.
    pub fn beside(&self, repository: &str) -> Self {
        Self { beside: Some(repository.to_owned()), ..self.allowing(self.actions) }
    }

    /// What to show the registry now; a token that is about to expire is replaced first.
    pub async fn pass(&self) -> Result<Pass> {
        let mut pass = self.pass.lock().await;
        if pass.until.is_some_and(|until| until <= Instant::now())
            && let Some(bearer) = pass.bearer.clone()
        {
            *pass = self.token(bearer, pass.number).await?;
        }
        Ok(pass.clone())
    }

    /// What to show instead of `refused`, which the registry answered with these headers. `None` if there is nothing else.
    /// Of many requests that are refused at once, one gets a new pass for all.
    pub async fn renew(&self, refused: &Pass, answer: &HeaderMap) -> Result<Option<Pass>> {
        let mut pass = self.pass.lock().await;
        if pass.number != refused.number {
            return Ok(Some(pass.clone()));
        }
        let next = match challenge(answer) {
            Some(Challenge::Bearer(bearer)) => Some(self.token(bearer, pass.number).await?),
            // The same password again would be refused again.
            Some(Challenge::Basic) if pass.header.is_some() => None,
            Some(Challenge::Basic) => {
                let header = self.login_for(self.repository.url()).await.and_then(|login| login.basic());
                header.map(|header| Pass { header: Some(header), number: pass.number + 1, until: None, bearer: None })
            }
            None => None,
        };
        if let Some(next) = &next {
            *pass = next.clone();
        }
        Ok(next)
    }

    /// What the user can do about being refused.
    pub fn hint(&self) -> String {
        let withheld = self.withheld.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let registry = &self.repository.registry;
        let login = match registry.as_str() {
            "docker.io" => "docker login".to_owned(),
            registry => format!("docker login {registry}"),
        };
        match (withheld, self.login.get()) {
            (Some(why), _) => why,
            (None, Some(Some(_))) => {
                format!("the credentials for {registry} do not allow it, if there is such a repository: `{login}`")
            }
            (None, _) => format!("if there is such a repository, it wants credentials: `{login}`"),
        }
    }

    /// Gets a token for what is to be done in this repository: less than what the challenge may ask for.
    async fn token(&self, bearer: Bearer, number: u64) -> Result<Pass> {
        allow(self.repository.url(), &bearer.realm).await?;
        let login = self.login_for(&bearer.realm).await;
        let scope = format!("repository:{}:{}", self.repository.name, self.actions);
        let beside = self.beside.as_ref().map(|name| format!("repository:{name}:pull"));
        let both = [Some(scope.as_str()), beside.as_deref()].into_iter().flatten();
        let mut asked: Vec<(&str, &str)> = both.clone().map(|scope| ("scope", scope)).collect();
        let together = both.collect::<Vec<_>>().join(" ");
        asked.extend(bearer.service.as_deref().map(|service| ("service", service)));
        let request = match &login {
            Some(Login::Identity(token)) => {
                // OAuth knows one scope of several words.
                asked.retain(|(key, _)| *key != "scope");
                asked.push(("scope", &together));
                asked.extend([("grant_type", "refresh_token"), ("client_id", "cachedeck"), ("refresh_token", token)]);
                let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(asked).finish();
                let mut request = self.http.request(Method::POST, bearer.realm.clone());
                let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(CONTENT_TYPE, form_type);
                *request.body_mut() = Some(form.into());
                request
            }
            login => {
                let mut url = bearer.realm.clone();
                url.query_pairs_mut().extend_pairs(asked);
                let mut request = self.http.request(Method::GET, url);
                if let Some(header) = login.as_ref().and_then(Login::basic) {
                    request.headers_mut().insert(AUTHORIZATION, header);
                }
                request
            }
        };
        let what = || format!("no token for {} from {}", self.repository.name, shown(&bearer.realm));
        let response = self.http.send(request).await.map_err(|e| e.context(what()))?;
        if !response.status().is_success() {
            let error = fault(what(), &response);
            return Err(match response.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => error.with_hint(self.hint()),
                _ => error,
            });
        }
        let bytes = self.http.bytes(response, TOKEN_LIMIT).await?;
        // What serde would say of it might repeat it.
        let token: Token =
            serde_json::from_slice(&bytes).map_err(|_| Error::corrupt(format!("{}: no valid answer", what())))?;
        let header = [token.token, token.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let header = header.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
        let mut header = header.ok_or_else(|| Error::corrupt(format!("{}: none in the answer", what())))?;
        header.set_sensitive(true);
        // A tenth is left for requests that are on their way when it ends.
        let lasts = Duration::from_secs(token.expires_in.filter(|s| *s > 0).unwrap_or(60)).min(LONGEST) * 9 / 10;
        let until = Some(Instant::now() + lasts);
        Ok(Pass { header: Some(header), number: number + 1, until, bearer: Some(bearer) })
    }

    /// The user's credentials, if `to` may see them.
    async fn login_for(&self, to: &Url) -> Option<Login> {
        let withhold = |why: String| {
            *self.withheld.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(why);
            None
        };
        let registry = &self.repository.registry;
        let found = self.login.get_or_try_init(|| credentials::find(self.folder.clone(), registry)).await;
        let login = match found {
            Ok(login) => login.clone()?,
            Err(error) => {
                tracing::warn!(%error, "no credentials");
                return withhold(match error.hint() {
                    Some(hint) => format!("{error}: {hint}"),
                    None => error.to_string(),
                });
            }
        };
        let host = to.host_str().unwrap_or_default();
        if !self.is_trusted(to) {
            return withhold(format!(
                "the credentials for {registry} were not sent to {host}, where it gets its tokens; if you trust that host \
                 with them: {REALMS_VARIABLE}={host}"
            ));
        }
        if let Err(error) = may_carry_credentials(to) {
            return withhold(error.hint().map_or(error.to_string(), |hint| format!("{error}: {hint}")));
        }
        Some(login)
    }

    /// Whether credentials for the registry are as safe with `to` as with itself.
    fn is_trusted(&self, to: &Url) -> bool {
        let own = self.repository.url();
        if own.origin() == to.origin() {
            return true;
        }
        let (Some(from), Some(host)) = (own.host_str(), to.host_str()) else { return false };
        let encrypted = own.scheme() == "https" && to.scheme() == "https";
        encrypted
            && (from == host || PAIRS.contains(&(from, host)) || self.trusted.iter().any(|trusted| trusted == host))
    }
}

/// Tokens are not kept for longer than this, whatever their server says.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// The first challenge that can be met; tokens go before passwords.
fn challenge(answer: &HeaderMap) -> Option<Challenge> {
    let values: Vec<&str> = answer.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok()).collect();
    let all: Vec<ChallengeRef> =
        values.iter().flat_map(|value| ChallengeParser::new(value).map_while(std::result::Result::ok)).collect();
    let bearer = all.iter().filter(|c| c.scheme.eq_ignore_ascii_case("bearer")).find_map(|challenge| {
        let value = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value): &(&str, ParamValue)| value.to_unescaped())
        };
        let mut realm = Url::parse(&value("realm")?).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        // Whatever it says there, it is not for us to repeat.
        realm.set_username("").and_then(|()| realm.set_password(None)).ok()?;
        realm.set_fragment(None);
        Some(Challenge::Bearer(Bearer { realm, service: value("service") }))
    });
    bearer.or_else(|| all.iter().any(|c| c.scheme.eq_ignore_ascii_case("basic")).then_some(Challenge::Basic))
}

/// The error for an answer that is none of a registry's that lets us in.
pub fn refused(auth: &Auth, what: impl std::fmt::Display, response: &reqwest::Response) -> Error {
    let error = fault(what, response);
    match error.kind() {
        Kind::Unauthenticated | Kind::Denied => error.with_hint(auth.hint()),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::location::Location;

    fn asked(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        challenge(&headers).map(|challenge| match challenge {
            Challenge::Bearer(Bearer { realm, service }) => format!("{realm} {}", service.unwrap_or_default()),
            Challenge::Basic => "basic".to_owned(),
        })
    }

    #[test]
    fn challenges_are_read() {
        let bearer =
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:pull,push""#;
        for values in [&[bearer][..], &["Basic realm=x", bearer], &[&format!("Basic realm=\"x\", {bearer}")]] {
            assert_eq!(asked(values).as_deref(), Some("https://auth.docker.io/token registry.docker.io"), "{values:?}");
        }
        assert_eq!(asked(&["bAsic realm=\"a,b\""]).as_deref(), Some("basic"));
        assert_eq!(asked(&["Bearer realm=\"https://u:p@h/t#f\""]).as_deref(), Some("https://h/t "));
        for odd in
            ["", "Bearer", "Bearer realm=\"", "Bearer realm=\"file:///etc/passwd\"", "Bearer realm=/token", "Negotiate"]
        {
            assert_eq!(asked(&[odd]), None, "{odd}");
        }
    }

    fn auth(reference: &str, insecure: bool) -> Auth {
        let location = Location::new("registry").with("ref", reference).with("registry.insecure", insecure.to_string());
        let http = Http::new().unwrap();
        let auth = Auth::new(http, Repository::of(&location).unwrap());
        Auth { trusted: vec!["tokens.example".to_owned()], ..auth }
    }

    #[test]
    fn only_some_hosts_see_credentials() {
        for (reference, insecure, to, trusted) in [
            ("me/app", false, "https://auth.docker.io/token", true),
            ("me/app", false, "http://auth.docker.io/token", false),
            ("me/app", false, "https://auth.docker.io.evil.example/token", false),
            ("ghcr.io/me/app", false, "https://ghcr.io/token", true),
            ("ghcr.io/me/app", false, "https://ghcr.io:8443/token", true),
            ("ghcr.io/me/app", false, "http://ghcr.io/token", false),
            ("ghcr.io/me/app", false, "https://auth.docker.io/token", false),
            ("ghcr.io/me/app", false, "https://evil.example/token", false),
            ("ghcr.io/me/app", false, "https://tokens.example/token", true),
            ("registry.example.com/app", false, "https://auth.example.com/token", false),
            ("registry.gitlab.com/me/app", false, "https://gitlab.com/jwt/auth", true),
            ("127.0.0.1:5000/app", true, "http://127.0.0.1:5000/token", true),
            ("127.0.0.1:5000/app", true, "http://127.0.0.1:5001/token", false),
            ("127.0.0.1:5000/app", true, "https://tokens.example/token", false),
        ] {
            assert_eq!(auth(reference, insecure).is_trusted(&to.parse().unwrap()), trusted, "{reference} {to}");
        }
    }
}
