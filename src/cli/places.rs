//! Which locations are meant: those given, or, if none is, those in the config and in the folders where people keep
//! caches.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::model::location::Location;
use crate::model::text;
use std::borrow::Cow;
use std::path::Path;

/// What somebody can do who has no cache yet.
pub(super) const HOW_TO_BEGIN: &str = "`cachedeck demo` shows an example; \
    `docker buildx build --cache-to type=local,dest=.buildx-cache,mode=max .` makes one";

/// Folders where the docs of Docker and of CI systems put caches.
const USUAL: [&str; 2] = [".buildx-cache", ".buildcache"];

/// What each of `given` means.
pub(super) fn parse(config: &Config, given: &[String]) -> Result<Vec<Location>> {
    let mut locations = Vec::new();
    for given in given {
        let spelt = spelt_out(given);
        for place in config.places(&spelt)? {
            locations.push(checked(given, place.location)?);
        }
    }
    Ok(locations)
}

/// `FOLDER,tag=T` and `FOLDER,digest=D` in full, unless a folder is called that.
fn spelt_out(given: &str) -> Cow<'_, str> {
    let is_folder = |path: &str| Path::new(path).is_dir();
    match given.split_once(',') {
        Some((path, version))
            if ["tag=", "digest="].iter().any(|key| version.starts_with(key))
                && !given.starts_with("type=")
                && (is_folder(path) || path.starts_with(['.', '/', '~']))
                && !is_folder(given) =>
        {
            let path = match (path.strip_prefix("~/"), directories::BaseDirs::new()) {
                (Some(rest), Some(home)) => home.home_dir().join(rest).to_string_lossy().into_owned(),
                _ => path.to_owned(),
            };
            format!("{},{version}", Location::local_dir(path).reveal()).into()
        }
        _ => given.into(),
    }
}

/// A mere word is an image of Docker Hub to buildx, but who types one here means a folder or a command. With a host, a user, a tag
/// or a digest it is an image.
fn checked(given: &str, location: Location) -> Result<Location> {
    if location.kind() != "registry" || given.contains(['=', '/', ':', '@']) {
        return Ok(location);
    }
    if super::command_names().any(|command| command == given) {
        let error = Error::invalid(format!("the command {given} comes after locations"));
        return Err(error.with_hint(format!("commands come first; for a folder called {given} write ./{given}")));
    }
    let error = Error::not_found(format!("no such folder: {}", text::safe(given)));
    Err(match text::nearest(given, super::command_names()) {
        Some(command) => error.with_hint(format!("did you mean the command {command}?")),
        None => error.with_hint(format!("if it is an image, write {}:latest", text::safe(given))),
    })
}

/// How `location`, any version of it, is typed in the fewest words.
pub(super) fn typed(location: &Location) -> String {
    let location = location.clone().without("tag").without("digest");
    let folder = match location.shown().collect::<Vec<_>>()[..] {
        [("src" | "dest", ref folder)] if location.kind() == "local" => Some(folder.clone().into_owned()),
        _ => None,
    };
    let is_plain =
        |folder: &String| !folder.contains(['=', ',', '@']) && super::command_names().all(|name| name != folder);
    folder.filter(is_plain).unwrap_or_else(|| location.to_string())
}

/// The locations of the config and those found in the usual folders here and among the temporary files.
pub(super) fn known(config: &Config) -> Vec<Location> {
    let mut known: Vec<Location> = config.places.iter().map(|place| place.location.clone()).collect();
    let real = |location: &Location| Path::new(location.value("src").or(location.value("dest"))?).canonicalize().ok();
    let temporary = std::env::temp_dir();
    let here = std::iter::once(Path::new(".").to_owned()).chain(USUAL.iter().map(|name| Path::new(".").join(name)));
    for folder in here.chain(USUAL.iter().map(|name| temporary.join(name))).filter(|folder| is_cache(folder)) {
        let location = Location::local_dir(folder.to_string_lossy());
        if !known.iter().any(|k| k.kind() == "local" && real(k) == real(&location)) {
            known.push(location);
        }
    }
    known
}

/// Whether it looks like a cache from outside; what is in it is for the store to say.
fn is_cache(folder: &Path) -> bool {
    folder.join("blobs/sha256").is_dir() && (folder.join("index.json").is_file() || folder.join("oci-layout").is_file())
}
