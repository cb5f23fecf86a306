//! What a location and the environment say of a container, by BuildKit's rules: an option goes before the environment,
//! even an empty one.

use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::store::http;
use crate::store::keyed::Layout;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

const ACCOUNT_URL: &str = "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL";
const ACCOUNT_NAME: &str = "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME";
const CONTAINER: &str = "BUILDKIT_AZURE_STORAGE_CONTAINER";
const PREFIX: &str = "BUILDKIT_AZURE_STORAGE_PREFIX";

/// Where a cache is kept, and who asks for it.
pub(super) struct Settings {
    /// The account's blob service, without query: `https://ACCOUNT.blob.core.windows.net/`.
    pub(super) account_url: Url,
    pub(super) account_name: String,
    pub(super) container: String,
    pub(super) layout: Layout,
    pub(super) credentials: Credentials,
}

/// What authorises requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials {
    /// One of the account's keys, in base64.
    Key(String),
    /// A shared access signature: a query.
    Signature(String),
    /// A token of Entra ID, wherever one is to be had.
    EntraId,
}

impl Settings {
    /// Reads `location`, and variables through `env` where it leaves something out.
    pub(super) fn read(location: &Location, env: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let either = |key: &str, variable: &str| location.get(key).map(str::to_owned).or_else(|| env(variable));
        let account_url = either("account_url", ACCOUNT_URL).filter(|url| !url.is_empty()).ok_or_else(|| {
            Error::invalid("type=azblob has no account_url")
                .with_hint(format!("add account_url=https://ACCOUNT.blob.core.windows.net, or set {ACCOUNT_URL}"))
        })?;
        let mut account_url = Url::parse(&account_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                Error::invalid("account_url is not a URL").with_hint("as in https://ACCOUNT.blob.core.windows.net")
            })?;
        if !account_url.username().is_empty() || account_url.password().is_some() {
            return Err(Error::invalid("account_url holds a user name or password, which Azure does not know"));
        }
        let signature = account_url.query().filter(|query| is_signature(query)).map(str::to_owned);
        account_url.set_query(None);
        account_url.set_fragment(None);
        let account_name = either("account_name", ACCOUNT_NAME).unwrap_or_else(|| {
            account_url.host_str().unwrap_or_default().split('.').next().unwrap_or_default().to_owned()
        });
        if account_name.is_empty() {
            return Err(
                Error::invalid("type=azblob has no account_name").with_hint(format!("add one, or set {ACCOUNT_NAME}"))
            );
        }
        let credentials = match (location.value("secret_access_key"), signature) {
            (Some(key), _) => Credentials::Key(checked_key(key)?),
            (None, Some(query)) => Credentials::Signature(query),
            (None, None) => Credentials::EntraId,
        };
        http::may_carry_credentials(&account_url)?;
        let container = either("container", CONTAINER).unwrap_or_else(|| "buildkit-cache".to_owned());
        if container.is_empty() || container.contains(['/', '?', '#']) {
            return Err(Error::invalid("container is not the name of one"));
        }
        let place = match either("prefix", PREFIX) {
            Some(prefix) => location.clone().with("prefix", prefix),
            None => location.clone(),
        };
        Ok(Self { account_url, account_name, container, layout: Layout::joined(&place), credentials })
    }
}

fn is_signature(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "sig")
}

fn checked_key(key: &str) -> Result<String> {
    match STANDARD.decode(key) {
        Ok(_) => Ok(key.to_owned()),
        Err(_) => Err(Error::invalid("secret_access_key is not an account key: those are base64")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &str, env: &[(&str, &str)]) -> Result<Settings> {
        let env: Vec<(String, String)> =
            env.iter().map(|(k, v)| (format!("BUILDKIT_AZURE_STORAGE_{k}"), (*v).to_owned())).collect();
        let location: Location = format!("type=azblob{options}").parse().unwrap();
        Settings::read(&location, |name| env.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    const URL: &str = ",account_url=https://acme.blob.core.windows.net";

    #[test]
    fn what_is_left_out_comes_from_the_environment_or_is_as_buildkit_has_it() {
        let plain = read(URL, &[]).unwrap();
        assert_eq!((plain.account_name.as_str(), plain.container.as_str()), ("acme", "buildkit-cache"));
        assert_eq!((plain.layout.manifests.as_str(), plain.layout.blobs.as_str()), ("manifests/", "blobs/"));
        let env = [
            ("ACCOUNT_URL", "http://127.0.0.1:10000/dev"),
            ("ACCOUNT_NAME", "dev"),
            ("CONTAINER", "c"),
            ("PREFIX", "team"),
        ];
        let told = read("", &env).unwrap();
        assert_eq!((told.account_name.as_str(), told.container.as_str()), ("dev", "c"));
        assert_eq!((told.account_url.path(), told.layout.blobs.as_str()), ("/dev", "team/blobs/"));
        let both = read(&format!("{URL},container=mine,prefix="), &env[2..]).unwrap();
        assert_eq!(
            (both.container.as_str(), both.layout.blobs.as_str()),
            ("mine", "blobs/"),
            "an option goes first, even an empty one"
        );
    }

    #[test]
    fn credentials_are_what_is_given() {
        let credentials = |options: &str| read(&format!("{URL}{options}"), &[]).unwrap().credentials;
        assert_eq!(credentials(""), Credentials::EntraId);
        assert_eq!(credentials("/?sv=1&sig=a%2Bb"), Credentials::Signature("sv=1&sig=a%2Bb".into()));
        assert_eq!(credentials("/?sv=1"), Credentials::EntraId);
        assert_eq!(credentials("/?sig=a,secret_access_key=a2V5"), Credentials::Key("a2V5".into()));
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        for options in [
            "",
            ",account_url=",
            ",account_url=acme",
            ",account_url=ftp://acme",
            ",account_url=https://me:geheim@acme.example",
            ",account_url=https://a.example,account_name=",
            ",account_url=https://a.example,secret_access_key=geheim!",
            ",account_url=https://a.example,container=a/b",
        ] {
            let error = read(options, &[]).err().unwrap();
            assert_eq!(error.kind(), crate::error::Kind::Invalid, "{options}");
            assert!(!format!("{error} {:?}", error.hint()).contains("geheim"), "{error}");
        }
    }
}
