//! The options of `type=s3`, as BuildKit has them, with its environment defaults. Those that only writing needs are checked
//! all the same, so that what BuildKit refuses is not called good here.

use crate::error::{Error, Kind, Result};
use crate::model::location::Location;
use crate::model::{text, units};
use crate::store::keyed::Layout;
use reqwest::Url;
use std::fmt;
use std::time::Duration;

/// What BuildKit has for `touch_refresh`.
const TOUCH_REFRESH: Duration = Duration::from_secs(24 * 3600);

/// What a location says, checked.
#[derive(Clone)]
pub struct Settings {
    pub bucket: String,
    pub region: String,
    pub layout: Layout,
    /// Another server than AWS's own.
    pub endpoint: Option<Url>,
    /// The bucket stands in the path, not in the host name. Counts only with an endpoint.
    pub path_style: bool,
    /// Keys given in the location itself; otherwise the SDK's chain finds some.
    pub keys: Option<Keys>,
    /// How old a blob may get before writers renew it.
    pub touch_refresh: Duration,
    /// Times that a request is sent at most.
    pub attempts: Option<usize>,
}

/// Credentials out of a location.
#[derive(Clone)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub session: Option<String>,
}

/// Nothing of it, lest a secret gets into a log.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Settings {
    /// Reads the options of `location`, and what `environment` has for those that are missing.
    ///
    /// [`Kind::Invalid`] for what BuildKit refuses, and for what it would silently take for something else.
    pub fn new(location: &Location, environment: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let or_variable = |key: &str, variable: &str| {
            let found = location.get(key).map(str::to_owned).or_else(|| environment(variable));
            found.filter(|value| !value.is_empty()).ok_or_else(|| {
                Error::invalid(format!("type=s3 has no {key}"))
                    .with_hint(format!("add {key}=.. or set the variable {variable}"))
            })
        };
        let endpoint = location.value("endpoint_url").map(endpoint).transpose()?;
        number(location, "upload_parallelism")?;
        truth(location, "disable_accept_encoding")?;
        let touch_refresh = location.value("touch_refresh").map(units::parse_duration).transpose();
        let touch_refresh = touch_refresh.map_err(|e| e.context("bad touch_refresh"))?.unwrap_or(TOUCH_REFRESH);
        if let Some(mode) = location.get("retry_mode")
            && !matches!(mode, "standard" | "adaptive")
        {
            return Err(bad("retry_mode", mode, "it is standard or adaptive"));
        }
        Ok(Self {
            bucket: bucket(or_variable("bucket", "AWS_BUCKET")?)?,
            region: or_variable("region", "AWS_REGION")?,
            layout: Layout::plain(location),
            path_style: truth(location, "use_path_style")? && endpoint.is_some(),
            endpoint,
            keys: keys(location)?,
            touch_refresh,
            attempts: number(location, "retry_max_attempts")?,
        })
    }

    /// A directory bucket: S3 lists its keys in no order.
    pub fn is_directory(&self) -> bool {
        self.bucket.ends_with("--x-s3")
    }
}

fn bad(key: &str, value: &str, why: &str) -> Error {
    Error::invalid(format!("bad {key} {}: {why}", text::safe(value)))
}

/// A bucket's name goes into host names and paths, so it must not end one early.
fn bucket(name: String) -> Result<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/');
    let arn = name.starts_with("arn:");
    if name.chars().all(fine) && (arn || !name.contains([':', '/'])) && name != "." && name != ".." {
        return Ok(name);
    }
    Err(bad("bucket", &name, "it is letters, digits, '.', '-' and '_', or an access point's ARN"))
}

fn endpoint(given: &str) -> Result<Url> {
    let url = Url::parse(given).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // What is wrong with it is not said in its own words: it may hold a password.
    let url = url.ok_or_else(|| {
        Error::invalid("bad endpoint_url: it is no http or https URL").with_hint("as in endpoint_url=https://HOST:9000")
    })?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(Error::invalid("bad endpoint_url: it holds more than scheme, host, port and path")
            .with_hint("credentials go into access_key_id and secret_access_key"));
    }
    Ok(url)
}

fn keys(location: &Location) -> Result<Option<Keys>> {
    let value = |key| location.value(key).map(str::to_owned);
    match (value("access_key_id"), value("secret_access_key")) {
        (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, session: value("session_token") })),
        (None, None) if value("session_token").is_none() => Ok(None),
        _ => Err(Error::new(Kind::Invalid, "access_key_id and secret_access_key go together")
            .with_hint("give both, or neither to use the environment and profiles")),
    }
}

/// As Go reads booleans.
fn truth(location: &Location, key: &str) -> Result<bool> {
    match location.value(key) {
        None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some(other) => Err(bad(key, other, "it is true or false")),
    }
}

/// A positive number.
fn number(location: &Location, key: &str) -> Result<Option<usize>> {
    let Some(given) = location.get(key) else { return Ok(None) };
    let number = given.parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| bad(key, given, "it must be a positive number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(options: &str, environment: &[(&str, &str)]) -> Result<Settings> {
        let location = format!("type=s3{options}").parse().unwrap();
        Settings::new(&location, |name| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_missing_comes_from_the_environment() {
        let both = [("AWS_BUCKET", "b"), ("AWS_REGION", "r")];
        let found = settings("", &both).unwrap();
        assert_eq!((found.bucket.as_str(), found.region.as_str()), ("b", "r"));
        let found = settings(",bucket=mine,region=here", &both).unwrap();
        assert_eq!((found.bucket.as_str(), found.region.as_str()), ("mine", "here"));
        for (options, environment, lacks) in [(",region=r", vec![], "AWS_BUCKET"), ("", vec![both[0]], "AWS_REGION")] {
            let error = settings(options, &environment).err().unwrap();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.hint().unwrap().contains(lacks), "{error:?}");
        }
    }

    #[test]
    fn every_option_is_read() {
        let all = ",bucket=b,region=r,endpoint_url=http://localhost:9000,use_path_style=true,access_key_id=i,\
                   secret_access_key=s,session_token=t,retry_max_attempts=7,retry_mode=adaptive,touch_refresh=48h,\
                   upload_parallelism=9,disable_accept_encoding=1,prefix=p/,manifests_prefix=m/,blobs_prefix=";
        let found = settings(all, &[]).unwrap();
        assert!(found.path_style);
        assert_eq!(found.attempts, Some(7));
        assert_eq!(found.endpoint.unwrap().as_str(), "http://localhost:9000/");
        assert_eq!((found.layout.manifests.as_str(), found.layout.blobs.as_str()), ("p/m/", "p/"));
        let keys = found.keys.unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.session.as_deref()), ("i", "s", Some("t")));
        assert_eq!(format!("{keys:?}"), "Keys");
        let without = settings(",bucket=b,region=r,use_path_style=true", &[]).unwrap();
        assert!(!without.path_style, "BuildKit minds it with an endpoint only");
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for option in [
            "use_path_style=maybe",
            "disable_accept_encoding=2",
            "upload_parallelism=0",
            "upload_parallelism=many",
            "retry_max_attempts=0",
            "retry_max_attempts=",
            "retry_mode=never",
            "touch_refresh=soon",
            "endpoint_url=ftp://x",
            "endpoint_url=http://me:hidden@x",
            "endpoint_url=http://x/?sig=hidden",
            "access_key_id=hidden",
            "secret_access_key=hidden",
            "session_token=hidden",
            "bucket=a/b",
            "bucket=x?y",
        ] {
            let error = settings(&format!(",bucket=b,region=r,{option}"), &[]).err().unwrap();
            assert_eq!(error.kind(), Kind::Invalid, "{option}");
            assert!(!format!("{error} {:?}", error.hint()).contains("hidden"), "{option}: {error}");
        }
    }
}
