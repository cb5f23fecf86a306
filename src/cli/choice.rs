//! One location and one version in it: what every command takes that looks at a single cache.

use super::failure::{Outcome, Stop};
use super::output::Section;
use super::session::{Loaded, Session};
use super::usage;
use crate::error::{Error, Kind, Result};
use crate::model::cache::Cache;
use crate::model::digest::DigestPrefix;
use crate::model::inventory::{CacheIndex, Inventory, Need};
use crate::model::location::Location;
use clap::Args;

/// One version.
#[derive(Args, Clone, Debug)]
pub(super) struct Choice {
    /// Where; tag= and digest= in it choose a version
    #[arg(value_name = "LOCATION")]
    location: Option<String>,

    #[command(flatten)]
    version: VersionArgs,
}

/// Which version of a location.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct VersionArgs {
    /// The version with this tag
    #[arg(long, short = 't', value_name = "TAG", conflicts_with = "digest")]
    tag: Option<String>,

    /// The version whose digest begins so, tagged or not
    #[arg(long, short = 'd', value_name = "DIGEST", value_parser = usage::value::<DigestPrefix>)]
    digest: Option<DigestPrefix>,
}

/// A version that was chosen, and all that is around it.
pub(super) struct Chosen {
    /// Its location.
    pub(super) loaded: Loaded,
    at: usize,
}

impl Choice {
    /// Reads the location and finds the version: by option, else by the location, else `latest`, else the only one.
    pub(super) fn load(&self, session: &mut Session) -> Outcome<Chosen> {
        let location = session.location(self.location.as_deref())?;
        self.version.load(session, location)
    }
}

impl VersionArgs {
    /// Whether a version is chosen at all.
    pub(super) fn is_said(&self) -> bool {
        self.tag.is_some() || self.digest.is_some()
    }

    /// Reads `location` and finds the version in it.
    pub(super) fn load(&self, session: &mut Session, mut location: Location) -> Outcome<Chosen> {
        if let Some(tag) = &self.tag {
            location = location.asking_for(tag);
        }
        let loaded = session.load(&location)?;
        loaded.inventory.require(Need::Caches).map_err(|error| Stop::at(&location, error))?;
        let found = match &self.digest {
            Some(prefix) => beginning(&loaded.inventory, prefix),
            None => loaded.inventory.selected(),
        };
        let digest = found.map_err(|error| Stop::at(&location, error))?.digest;
        let at = loaded.inventory.indexes.iter().position(|i| i.digest == digest).unwrap_or_default();
        Ok(Chosen { loaded, at })
    }
}

fn beginning<'a>(inventory: &'a Inventory, prefix: &DigestPrefix) -> Result<&'a CacheIndex> {
    let mut fitting = inventory.indexes.iter().filter(|i| prefix.matches(&i.digest));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Error::not_found(format!("no version with this digest in {}", inventory.location.title()))
            .with_hint("`cachedeck versions` lists those that are there")),
        (Some(one), Some(other)) => Err(Error::invalid("more than one digest begins so")
            .with_hint(format!("give more digits: there are {} and {}", one.digest, other.digest))),
    }
}

impl Chosen {
    /// The version.
    pub(super) fn index(&self) -> &CacheIndex {
        &self.loaded.inventory.indexes[self.at]
    }

    /// Where it is.
    pub(super) fn location(&self) -> &Location {
        &self.loaded.inventory.location
    }

    /// An error if the place does not give what is needed.
    pub(super) fn need(&self, need: Need) -> Outcome<()> {
        self.loaded.inventory.require(need).map_err(|error| Stop::at(self.location(), error))
    }

    /// A list about it alone.
    pub(super) fn section<T>(&self, items: Vec<T>) -> Section<'_, T> {
        let inventory = &self.loaded.inventory;
        let warnings = inventory.warnings.iter().collect();
        Section { location: Some(&inventory.location), items, warnings, complete: inventory.complete }
    }

    /// What it holds; an error for what holds no cache, or none that can be read.
    pub(super) fn cache(&self) -> Outcome<&Cache> {
        let index = self.index();
        if let Some(cache) = &index.cache {
            return Ok(cache);
        }
        if index.unread {
            self.need(Need::Contents)?;
        }
        let name = index.name().map_or_else(|| index.short(), str::to_owned);
        let error = match index.findings.first() {
            Some(finding) => Error::corrupt(format!("the cache {name} can't be read: {}", finding.message))
                .with_hint(finding.remedy.clone().unwrap_or_else(|| "`cachedeck verify` tells more".to_owned())),
            None => Error::new(Kind::Unsupported, format!("{name} is an image with no cache in it"))
                .with_hint("an image carries a cache if it was built with --cache-to type=inline"),
        };
        Err(Stop::at(self.location(), error))
    }
}
