//! Caches to import: what BuildKit reads of a location, and who can read it.

use super::{Environment, Facts, export, wrong};
use crate::error::{Error, Kind, Result};
use crate::model::location::Location;

const FLAG: &str = "--cache-from";

/// What is imported for one location: more than one where it has several names and BuildKit reads only the first.
pub(super) fn all(
    location: &Location,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Location>> {
    is_a_cache(FLAG, location)?;
    let location = filled(location, environment, warnings);
    // Errors of a location that says too little are told as an error of this option.
    location.cache_from(None, None).map_err(|error| about(FLAG, error))?;
    let names: Vec<&str> =
        location.value("name").map(|names| names.split(';').filter(|n| !n.is_empty()).collect()).unwrap_or_default();
    if location.kind() != "s3" || names.len() < 2 {
        return Ok(vec![location]);
    }
    // `cache/remotecache/s3`: an import takes names[0]; an export writes all.
    Ok(names.iter().map(|name| location.clone().with("name", *name)).collect())
}

/// Whether the builder can import from all of them.
pub(super) fn check(imports: &[Location], facts: &Facts) -> Result<()> {
    if facts.driver.as_deref() != Some("docker") {
        return Ok(());
    }
    for location in imports {
        // moby's `builder-next/controller.go`: `newGraphDriverController` and `newSnapshotterController`.
        let (can, hint) = match (location.kind(), facts.image_store) {
            ("local" | "registry" | "inline", _) | ("gha", Some(true) | None) => continue,
            ("gha", Some(false)) => ("registry and local caches only", export::STORE),
            _ => ("registry, local and gha caches only", export::OTHER_BUILDER),
        };
        return Err(wrong(FLAG, location, format_args!("the builder in Docker itself imports {can}"), hint));
    }
    Ok(())
}

/// [`Kind::Invalid`] for a location that is no cache that a build could use.
pub(super) fn is_a_cache(flag: &str, location: &Location) -> Result<()> {
    if location.kind() == "daemon" {
        let hint = "a build on that builder uses it anyway: name it with --builder or --addr";
        return Err(wrong(flag, location, "a builder's own cache is no import or export", hint));
    }
    Ok(())
}

/// `error`, as one about the option `flag`.
pub(super) fn about(flag: &str, error: Error) -> Error {
    let hint = error.hint().map(str::to_owned);
    let about = Error::new(Kind::Invalid, format!("{flag}: {error}"));
    match hint {
        Some(hint) => about.with_hint(hint),
        None => about,
    }
}

/// Keys that buildkitd looks for in its own environment, which is not the user's.
const FROM_ENVIRONMENT: &[(&str, &str, &str)] = &[
    ("s3", "bucket", "AWS_BUCKET"),
    ("s3", "region", "AWS_REGION"),
    ("azblob", "account_url", "BUILDKIT_AZURE_STORAGE_ACCOUNT_URL"),
    ("azblob", "account_name", "BUILDKIT_AZURE_STORAGE_ACCOUNT_NAME"),
    ("azblob", "container", "BUILDKIT_AZURE_STORAGE_CONTAINER"),
    ("azblob", "prefix", "BUILDKIT_AZURE_STORAGE_PREFIX"),
];

/// Those that must be somewhere.
const NEEDED: &[&str] = &["bucket", "region", "account_url"];

/// `location` with what our environment says of it, as it is meant for all other commands.
pub(super) fn filled(location: &Location, environment: Environment<'_>, warnings: &mut Vec<String>) -> Location {
    let mut filled = location.clone();
    for (kind, key, variable) in FROM_ENVIRONMENT {
        if location.kind() != *kind || location.value(key).is_some() {
            continue;
        }
        let value = environment(variable);
        let carries_secret =
            value.as_ref().is_some_and(|value| Location::new("").with("url", value.clone()).has_secrets());
        match value {
            Some(value) if !carries_secret => filled.set(key, value),
            Some(_) => warnings.push(format!(
                "{variable} carries a signature, which could go to the builder in its arguments only: {key} is left to \
                 buildkitd's own environment"
            )),
            None if NEEDED.contains(key) => warnings.push(format!(
                "type={kind} has no {key}: unless buildkitd has {variable} in its own environment, it will not find it"
            )),
            None => {}
        }
    }
    filled
}
