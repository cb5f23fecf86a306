//! Which versions are copied, and what they are called where they go.

use crate::error::{Error, Result};
use crate::model::actions::scope_of;
use crate::model::digest::DigestPrefix;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::location::Location;
use crate::model::text;
use crate::model::units::count;
use crate::ops::prune::matcher;
use std::collections::BTreeMap;

/// Which versions of a place are meant.
#[derive(Clone, Debug, Default)]
pub enum Selection {
    /// The one that the location asks for, else the usual one, else the only one.
    #[default]
    One,
    /// All that have names.
    All,
    /// Those whose names match one of these globs, or whose digest begins so, with a name or without.
    These {
        /// Globs.
        tags: Vec<String>,
        /// Beginnings of digests.
        digests: Vec<DigestPrefix>,
    },
}

/// A version that is copied.
#[derive(Clone, Debug)]
pub struct Pick<'a> {
    /// The version.
    pub index: &'a CacheIndex,
    /// Its names where it goes, at least one. Untrusted text.
    pub names: Vec<String>,
}

/// Finds the versions of `from`, and their names at `to`: those that `to` asks for, which only one version can have; else those
/// they have, the usual name of one sort of place becoming that of the other.
///
/// [`crate::error::Kind::NotFound`] if nothing is meant, [`crate::error::Kind::Invalid`] where no name can be told, or two versions
/// would have one.
pub fn picks<'a>(from: &'a Inventory, selection: &Selection, to: &Location) -> Result<Vec<Pick<'a>>> {
    let chosen = chosen(from, selection)?;
    let asked = to.asked_names();
    if !asked.is_empty() {
        let [(only, _)] = chosen.as_slice() else {
            let what = format!("{} would all be called {}", count(chosen.len(), "version"), text::safe(asked[0]));
            return Err(Error::invalid(what).with_hint("leave the name out of the destination, or choose one version"));
        };
        return Ok(vec![Pick { index: only, names: asked.into_iter().map(str::to_owned).collect() }]);
    }
    let mut taken: BTreeMap<String, &CacheIndex> = BTreeMap::new();
    let mut picks = Vec::new();
    for (index, own) in chosen {
        let mut names: Vec<String> = own.iter().map(|name| renamed(name, &from.location, to)).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            let what = format!("{} has no name, so its copy needs one", index.short());
            return Err(Error::invalid(what).with_hint(how_to_name(to)));
        }
        for name in &names {
            if let Some(other) = taken.insert(name.clone(), index) {
                let (name, one, two) = (text::safe(name), other.short(), index.short());
                return Err(Error::invalid(format!("both {one} and {two} would be called {name}"))
                    .with_hint("choose one of them by its digest"));
            }
        }
        picks.push(Pick { index, names });
    }
    Ok(picks)
}

/// Versions with those of their names that were meant.
fn chosen<'a>(from: &'a Inventory, selection: &Selection) -> Result<Vec<(&'a CacheIndex, Vec<&'a str>)>> {
    let all = |index: &'a CacheIndex| index.tags.iter().map(String::as_str).collect::<Vec<_>>();
    let (tags, digests) = match selection {
        Selection::One => {
            let index = from.selected()?;
            // Who asks for one by its name means that name.
            let asked = from.location.asked_name().filter(|name| index.tags.iter().any(|tag| tag == name));
            return Ok(vec![(index, asked.map_or_else(|| all(index), |name| vec![name]))]);
        }
        Selection::All => {
            let named = from.indexes.iter().filter(|index| !index.tags.is_empty());
            let named: Vec<_> = named.map(|index| (index, all(index))).collect();
            if named.is_empty() {
                let what = format!("no version of {} has a name", from.location.title());
                return Err(Error::not_found(what).with_hint("choose one by its digest; `cachedeck ls` lists them"));
            }
            return Ok(named);
        }
        Selection::These { tags, digests } => (tags, digests),
    };
    let globs = tags.iter().map(|glob| matcher(glob)).collect::<Result<Vec<_>>>()?;
    let mut used = vec![false; globs.len()];
    let mut found = Vec::new();
    for index in &from.indexes {
        let mut names: Vec<&str> = Vec::new();
        for tag in &index.tags {
            // A scope of a GitHub repository is named without its Git ref.
            let fits = |glob: &globset::GlobMatcher| glob.is_match(tag) || glob.is_match(scope_of(tag));
            let fitting: Vec<usize> = (0..globs.len()).filter(|&at| fits(&globs[at].1)).collect();
            fitting.iter().for_each(|&at| used[at] = true);
            if !fitting.is_empty() {
                names.push(tag);
            }
        }
        let by_digest = digests.iter().any(|prefix| index.known_digest().is_some_and(|own| prefix.matches(&own)));
        if by_digest && names.is_empty() {
            names = all(index);
        }
        if by_digest || !names.is_empty() {
            found.push((index, names));
        }
    }
    let title = from.location.title();
    if let Some(at) = used.iter().position(|used| !used) {
        let what = format!("no name in {title} matches {}", text::safe(&globs[at].0));
        return Err(Error::not_found(what).with_hint("`cachedeck ls` lists the names there are"));
    }
    let is_there = |prefix: &DigestPrefix| found.iter().any(|(index, _)| prefix.matches(&index.digest));
    if !digests.iter().all(is_there) {
        return Err(Error::not_found(format!("no version with such a digest in {title}"))
            .with_hint("`cachedeck versions` lists those that are there"));
    }
    Ok(found)
}

/// A name of one place as another place would have it.
fn renamed(name: &str, from: &Location, to: &Location) -> String {
    let name = scope_of(name);
    let is_usual = name == from.usual_name();
    if is_usual { to.usual_name().to_owned() } else { name.to_owned() }
}

fn how_to_name(to: &Location) -> String {
    match to.kind() {
        "registry" => "add it to the destination: ref=HOST/REPOSITORY:NAME".to_owned(),
        "s3" | "azblob" => "add name=NAME to the destination".to_owned(),
        "gha" => "add scope=NAME to the destination".to_owned(),
        _ => "add tag=NAME to the destination".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_name_of_one_place_becomes_that_of_the_other() {
        let location = |text: &str| text.parse::<Location>().unwrap();
        let (folder, bucket) = (location("type=local,src=x"), location("type=s3,bucket=b"));
        assert_eq!(renamed("latest", &folder, &bucket), "buildkit");
        assert_eq!(renamed("buildkit", &bucket, &folder), "latest");
        assert_eq!(renamed("main", &folder, &bucket), "main");
        assert_eq!(renamed("web@refs/heads/main", &location("type=gha"), &bucket), "web");
    }
}
