//! Takes locations out of files that say how to build. Pure: the files are read by whoever asks.

use crate::error::Result;
use crate::format::buildfile::{self, Found, UNKNOWN};
pub use crate::format::buildfile::{LIMIT, Language};
use crate::model::location::{Location, is_name};
use std::collections::HashMap;

/// A location that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// A name for it that is not taken.
    pub name: String,
    /// The place, in the version that the files ask for if they agree about that. Without credentials.
    pub location: Location,
    /// The file that named it first.
    pub file: String,
}

/// What was taken from files, and what not.
#[derive(Clone, Debug, Default)]
pub struct Imports {
    /// New places, each once, in the order of the files.
    pub new: Vec<Import>,
    /// What was left out, and why. Untrusted text, but without secrets.
    pub skipped: Vec<String>,
}

/// The language of the file `name`, by its ending.
pub fn language(name: &str) -> Language {
    match name.rsplit('.').next() {
        Some("json") => Language::Json,
        Some("yml" | "yaml") => Language::Yaml,
        _ => Language::Hcl,
    }
}

/// Takes the places out of `files`, which are names and texts, that are not among `known` (names and locations).
///
/// [`crate::error::Kind::Invalid`] if a file cannot be read as what it is.
pub fn import(files: &[(String, String)], known: &[(String, Location)]) -> Result<Imports> {
    let mut imports = Imports::default();
    let mut places: HashMap<String, Option<usize>> =
        known.iter().map(|(_, location)| (location.identity(), None)).collect();
    for (file, text) in files {
        for found in buildfile::read(text, language(file)).map_err(|e| e.context(file))? {
            match place(&found) {
                Ok(Some(location)) => match places.get(&location.identity()) {
                    Some(Some(at)) => {
                        // Several versions of one place: the place itself is meant.
                        let first: &mut Import = &mut imports.new[*at];
                        if first.location.asked_name() != location.asked_name() {
                            first.location = whole(&first.location);
                        }
                    }
                    Some(None) => {}
                    None => {
                        places.insert(location.identity(), Some(imports.new.len()));
                        imports.new.push(Import { name: String::new(), location, file: file.clone() });
                    }
                },
                Ok(None) => {}
                Err(why) => imports.skipped.push(format!("{file}: {why}")),
            }
        }
    }
    let mut taken: Vec<String> = known.iter().map(|(name, _)| name.clone()).collect();
    for import in &mut imports.new {
        import.name = free_name(&import.location, &taken);
        taken.push(import.name.clone());
    }
    imports.skipped.dedup();
    Ok(imports)
}

/// The place that a value names, without what is only for exports and without secrets; none where it is no place of its own.
/// Or why it can't be told.
fn place(found: &Found) -> std::result::Result<Option<Location>, String> {
    // What is written may hold a secret that stands where no parser expects one: only a location is repeated.
    let location = Location::parse(&found.value).map_err(|error| error.to_string())?;
    if location.kind() == "inline" && location.value("ref").is_none() {
        return Ok(None);
    }
    let shown = location.to_string().replace(UNKNOWN, "..");
    if location.kind().contains(UNKNOWN) || location.identity().contains(UNKNOWN) {
        return Err(format!("left out {shown}: what stands there is only known when it runs"));
    }
    let from = location.cache_from(None, None).and_then(|flag| Location::parse(&flag));
    let mut clean = from.map_err(|error| format!("left out {shown}: {error}"))?;
    let unknown: Vec<String> =
        clean.shown().filter(|(_, value)| value.contains(UNKNOWN)).map(|(key, _)| key.to_owned()).collect();
    for key in unknown {
        clean = if key == "ref" { whole(&clean) } else { clean.without(&key) };
    }
    Ok(Some(clean))
}

/// The place itself, asking for no version.
fn whole(location: &Location) -> Location {
    match location.kind() {
        "registry" | "inline" => {
            let place = Location::parse(&location.identity()).ok();
            let name = place.as_ref().and_then(|place| place.value("ref")).unwrap_or_default();
            location.clone().with("ref", name)
        }
        "gha" => location.clone().without("scope"),
        "s3" | "azblob" => location.clone().without("name"),
        _ => location.clone().without("tag").without("digest"),
    }
}

/// A name for `location` that says what it is and is not `taken`.
fn free_name(location: &Location, taken: &[String]) -> String {
    let title = whole(location).title();
    let place = title.split_once(':').map_or("", |(_, place)| place);
    let last = place.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain: String = last
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
        .to_lowercase();
    let base = if is_name(&plain) { plain } else { location.kind().to_owned() };
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_once_and_what_is_unknown_left_out() {
        let workflow = "
with:
  cache-from: |
    type=gha,scope=${{ github.ref }}
    type=registry,ref=ghcr.io/acme/app:${{ github.ref_name }}
    type=registry,ref=ghcr.io/acme/app:main
    type=registry,ref=${{ env.REPO }}:main
    type=s3,bucket=ci,region=eu,name=a,secret_access_key=CANARY
    type=inline
  cache-to: |
    type=gha,mode=max,scope=x
    type=s3,bucket=ci,region=eu,name=a,mode=max
    type=local,dest=/tmp/.cache-new,mode=max
";
        let known = [("app".to_owned(), "ghcr.io/other/app".parse().unwrap())];
        let imports = import(&[("ci.yml".into(), workflow.into())], &known).unwrap();
        let new: Vec<_> = imports.new.iter().map(|i| (i.name.as_str(), i.location.reveal())).collect();
        assert_eq!(
            new,
            [
                ("gha", "type=gha".to_owned()),
                ("app-2", "type=registry,ref=ghcr.io/acme/app".to_owned()),
                ("ci", "type=s3,bucket=ci,region=eu,name=a".to_owned()),
                ("cache-new", "type=local,src=/tmp/.cache-new".to_owned()),
            ]
        );
        assert_eq!(imports.skipped.len(), 1, "{:?}", imports.skipped);
        assert!(imports.skipped[0].contains("ref=..:main") && imports.skipped[0].starts_with("ci.yml: "));
        let again: Vec<_> = imports.new.into_iter().map(|i| (i.name, i.location)).collect();
        assert!(import(&[("ci.yml".into(), workflow.into())], &[&known[..], &again].concat()).unwrap().new.is_empty());
    }
}
