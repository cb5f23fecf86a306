//! The user's credentials for a registry, where Docker keeps them: `config.json`, credential stores and helpers. Helpers are
//! programs; they get the registry's name on their standard input. Nothing of what they say is ever shown.

use crate::error::{Error, Kind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use reqwest::header::HeaderValue;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a helper may take: it may ask a keyring, which may ask its owner.
const HELPER: Duration = Duration::from_secs(60);

/// What a registry wants to see.
#[derive(Clone)]
pub enum Login {
    /// A user's name and password.
    Password(String, String),
    /// What tokens are had for.
    Identity(String),
}

/// Never shows them.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(***)")
    }
}

impl Login {
    /// The header of the Basic scheme; `None` where there is no password, or none that a header can hold.
    pub fn basic(&self) -> Option<HeaderValue> {
        let Self::Password(user, password) = self else { return None };
        let mut value =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The folder of Docker's configuration; `None` where there is no home.
pub fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))
}

/// What `folder` says for `registry`, `docker.io` for Docker Hub. `None` if it says nothing. Errors are for hints: a public
/// cache can be read without.
pub async fn find(folder: Option<PathBuf>, registry: &str) -> Result<Option<Login>> {
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    // As `docker login` calls Docker Hub.
    let server = if registry == "docker.io" { "https://index.docker.io/v1/" } else { registry }.to_owned();
    let known = registry.to_owned();
    let search = tokio::task::spawn_blocking(move || {
        let config = match std::fs::read(&path) {
            Ok(config) => config,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(format!("reading {}", path.display()), error)),
        };
        match docker_credential::get_credential_from_reader(config.as_slice(), &server) {
            Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Some(Login::Password(user, password))),
            Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Login::Identity(token))),
            Err(error) => classify(&path, &known, error),
        }
    });
    match tokio::time::timeout(HELPER, search).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => Err(Error::new(Kind::Internal, "looking for credentials broke off").with_source(error)),
        Err(_) => Err(Error::new(Kind::Unavailable, format!("the credential helper for {registry} does not answer"))),
    }
}

/// What the user is told. The library's own text repeats what a helper printed, which may be a secret.
fn classify(path: &std::path::Path, registry: &str, error: CredentialRetrievalError) -> Result<Option<Login>> {
    use CredentialRetrievalError as E;
    let error = match error {
        E::NoCredentialConfigured | E::ConfigNotFound => return Ok(None),
        // How helpers say that they know nothing; there is no other sign.
        E::HelperFailure { stdout, stderr, .. }
            if [&stdout, &stderr].iter().any(|said| said.contains("credentials not found")) =>
        {
            return Ok(None);
        }
        E::HelperFailure { helper, .. } => Error::new(Kind::Unavailable, format!("{helper} failed for {registry}"))
            .with_hint(format!("see what `echo {registry} | {helper} get` says")),
        E::HelperCommunicationError => {
            Error::new(Kind::Unavailable, format!("the credential helper for {registry} can't be run"))
                .with_hint(format!("{} names it: is it on the PATH?", path.display()))
        }
        E::MalformedHelperResponse => {
            Error::corrupt(format!("the credential helper for {registry} answers in no known way"))
        }
        E::ConfigReadError => Error::invalid(format!("{} is not valid", path.display())),
        E::CredentialDecodingError | E::CredentialMismatchError => {
            Error::invalid(format!("{} has no valid credentials for {registry}", path.display()))
        }
    };
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(config: &str, registry: &str) -> Result<Option<Login>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        find(Some(folder.path().to_owned()), registry).await
    }

    #[tokio::test]
    async fn docker_config_is_read_as_docker_does() {
        // "me:a:b"
        let config = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6YTpi"},"localhost:5000":{"auth":"bWU6YTpi"},
            "a.example":{"auth":"bWU6","identitytoken":"it"},"b.example":{}},"credHelpers":{"c.example":"is-nowhere"}}"#;
        for registry in ["docker.io", "localhost:5000"] {
            let login = found(config, registry).await.unwrap().unwrap();
            assert_eq!(login.basic().unwrap(), "Basic bWU6YTpi");
            assert!(!format!("{login:?}").contains('b'));
        }
        assert!(matches!(found(config, "a.example").await, Ok(Some(Login::Identity(token))) if token == "it"));
        for nobody in ["b.example", "d.example", "localhost:5001", "example"] {
            assert!(found(config, nobody).await.unwrap().is_none(), "{nobody}");
        }
        assert_eq!(found(config, "c.example").await.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(found("{", "a.example").await.unwrap_err().kind(), Kind::Invalid);
        assert!(find(None, "a.example").await.unwrap().is_none());
        assert!(find(Some("/nonexistent".into()), "a.example").await.unwrap().is_none());
    }
}
