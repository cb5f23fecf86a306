//! Secrets of locations on their way to the program: by its environment where it reads them there, never among its arguments.
//!
//! buildx (`build/opt.go`: `addAwsCredentials`, `addGithubToken`) fills in credentials of s3 from the AWS SDK's environment and
//! the token of gha from `ACTIONS_RUNTIME_TOKEN`; buildctl (`cmd/buildctl/build/util.go`) the token of gha alone. Both read
//! nothing for azblob: there buildkitd's own environment counts.

use super::{Client, Environment, wrong};
use crate::error::Result;
use crate::model::location::{Location, mask_url};
use crate::model::text;

/// Variables for a program; `None` takes one away.
type Variables = Vec<(&'static str, Option<String>)>;

const AWS: [(&str, &str); 3] = [
    ("access_key_id", "AWS_ACCESS_KEY_ID"),
    ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("session_token", "AWS_SESSION_TOKEN"),
];

/// What the environment of the program has to have.
///
/// [`crate::error::Kind::Invalid`] for a secret that could only be an argument, which everybody on the machine can read.
pub(super) fn take(
    client: Client,
    imports: &[Location],
    exports: &[Location],
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Variables> {
    let all: Vec<(&str, &Location)> = (imports.iter().map(|location| ("--cache-from", location)))
        .chain(exports.iter().map(|location| ("--cache-to", location)))
        .collect();
    for (flag, location) in &all {
        only_argument(client, flag, location)?;
    }
    let mut variables = aws(&all, environment)?;
    variables.extend(actions(client, &all, environment, warnings)?);
    Ok(variables)
}

/// Refuses what the program would take as an argument only.
fn only_argument(client: Client, flag: &str, location: &Location) -> Result<()> {
    let kind = location.kind();
    for (key, shown) in location.shown() {
        let value = location.value(key).unwrap_or_default();
        if shown == value {
            continue;
        }
        let in_url = mask_url(value) != value;
        let hint = match (kind, key) {
            ("s3", "access_key_id" | "secret_access_key" | "session_token") if client == Client::Buildx => continue,
            ("gha", "token") => continue,
            ("s3", "access_key_id" | "secret_access_key" | "session_token") => {
                "buildctl has no other way: build through buildx (`docker buildx create --driver remote ADDRESS`), which takes \
                 them from the environment, or let buildkitd have them in its own"
            }
            ("azblob", _) => {
                "leave it out, and let buildkitd have an identity of its own: AZURE_CLIENT_ID, AZURE_TENANT_ID and \
                 AZURE_CLIENT_SECRET in its environment, or a managed identity"
            }
            ("gha", "ghtoken") => "leave it out: exports work without, they only ask the cache more often",
            _ if in_url => "take the credentials out of the URL",
            _ => "leave it out, or check how it is spelt",
        };
        let what = format!("{} could only be an argument of {}, for all to read", text::safe(key), client.name());
        return Err(wrong(flag, location, what, hint));
    }
    Ok(())
}

/// The keys of s3: one set for all that a build does with AWS.
fn aws(all: &[(&str, &Location)], environment: Environment<'_>) -> Result<Variables> {
    let keys = |location: &Location| AWS.map(|(key, _)| location.value(key).map(str::to_owned));
    let mut found: Option<[Option<String>; 3]> = None;
    for (flag, location) in all.iter().filter(|(_, location)| location.kind() == "s3") {
        let own = keys(location);
        if own == [None, None, None] {
            continue;
        }
        if own[0].is_none() || own[1].is_none() {
            let hint = "give access_key_id and secret_access_key, or neither: then the environment's are taken";
            return Err(wrong(flag, location, "half of its credentials", hint));
        }
        match &found {
            Some(other) if *other != own => {
                let hint = "build twice, or copy the cache on with `cachedeck copy`";
                return Err(wrong(flag, location, "a build has one set of AWS credentials, and these differ", hint));
            }
            _ => found = Some(own),
        }
    }
    let Some(found) = found else { return Ok(Vec::new()) };
    let without = all.iter().find(|(_, location)| location.kind() == "s3" && keys(location) == [None, None, None]);
    if let Some((flag, location)) = without
        && environment("AWS_ACCESS_KEY_ID").is_some_and(|ours| found[0].as_ref() != Some(&ours))
    {
        let hint = "give all of them the same, or none";
        return Err(wrong(flag, location, "it would be reached with the credentials of another location", hint));
    }
    // A token of ours beside keys of the location would make both invalid.
    Ok(AWS.iter().zip(found).map(|((_, variable), value)| (*variable, value)).collect())
}

/// The token of a workflow run, and where its cache is.
fn actions(
    client: Client,
    all: &[(&str, &Location)],
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Variables> {
    let mut found: Option<&str> = None;
    for (flag, location) in all.iter().filter(|(_, location)| location.kind() == "gha") {
        let token = location.value("token");
        if token.is_none() && environment("ACTIONS_RUNTIME_TOKEN").is_none() {
            let skipped = match client {
                Client::Buildx => ": buildx would leave this cache out without a word",
                Client::Buildctl => "",
            };
            let hint = "build in a workflow run that hands its token on (crazy-max/ghaction-github-runtime does), or leave \
                        type=gha out";
            return Err(wrong(flag, location, format!("there is no ACTIONS_RUNTIME_TOKEN{skipped}"), hint));
        }
        let has_url = ["url", "url_v2"].iter().any(|key| location.value(key).is_some())
            || ["ACTIONS_CACHE_URL", "ACTIONS_RESULTS_URL"].iter().any(|name| environment(name).is_some());
        if !has_url {
            let hint = "a workflow run has ACTIONS_RESULTS_URL; else give url_v2=URL";
            return Err(wrong(flag, location, "it is not said where the cache service is", hint));
        }
        match (found, token) {
            (Some(one), Some(other)) if one != other => {
                let hint = "give one token, or leave it to ACTIONS_RUNTIME_TOKEN";
                return Err(wrong(flag, location, "a build has one token, and these differ", hint));
            }
            (_, token) => found = token.or(found),
        }
        if let Some(repository) = location.value("repo") {
            let warning = format!(
                "{flag} type=gha: builders reach the cache of the run's own repository, whatever {} is",
                text::safe(repository)
            );
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    Ok(found.map(|token| ("ACTIONS_RUNTIME_TOKEN", Some(token.to_owned()))).into_iter().collect())
}
