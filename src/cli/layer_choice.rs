//! One layer of a location: what `files`, `cat` and `extract` take.

use super::choice::VersionArgs;
use super::failure::{Outcome, Stop};
use super::session::{Loaded, Session};
use super::usage;
use crate::error::{Error, Result};
use crate::model::cache::Cache;
use crate::model::digest::{Digest, DigestPrefix};
use crate::model::inventory::{Inventory, Need, Role, State};
use crate::model::text;
use crate::ops::files::LayerFiles;
use clap::Args;
use std::str::FromStr;

/// One layer.
#[derive(Args, Clone, Debug)]
pub(super) struct LayerChoice {
    /// Where; tag= and digest= in it choose the version that #N counts in
    #[arg(value_name = "LOCATION")]
    location: String,

    /// Which layer: the beginning of its digest, or #N as `layers` numbers it
    #[arg(value_name = "LAYER", value_parser = usage::value::<LayerName>)]
    layer: LayerName,

    #[command(flatten)]
    version: VersionArgs,
}

#[derive(Clone, Debug)]
enum LayerName {
    Number(usize),
    Digest(DigestPrefix),
}

impl FromStr for LayerName {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let number = given.strip_prefix('#').or((given.len() < 4).then_some(given));
        match number.map(str::parse) {
            Some(Ok(number)) => Ok(LayerName::Number(number)),
            Some(Err(_)) => Err(not_a_layer(given)),
            None => given.parse().map(LayerName::Digest).map_err(|_| not_a_layer(given)),
        }
    }
}

fn not_a_layer(given: &str) -> Error {
    Error::invalid(format!("not a layer: {}", text::safe(given)))
        .with_hint("a layer is '#12' (in quotes, for the shell) or at least four digits of its digest")
}

/// A layer that was found.
pub(super) struct FoundLayer {
    /// Its location.
    pub(super) loaded: Loaded,
    /// Its blob.
    pub(super) digest: Digest,
    /// Bytes of the blob.
    pub(super) bytes: u64,
}

impl LayerChoice {
    /// Finds the layer.
    pub(super) fn load(&self, session: &mut Session) -> Outcome<FoundLayer> {
        let location = session.location(Some(&self.location))?;
        let (loaded, found) = match &self.layer {
            LayerName::Number(number) => {
                let chosen = self.version.load(session, location)?;
                chosen.need(Need::Contents)?;
                let found = numbered(chosen.cache()?, *number);
                (chosen.loaded, found)
            }
            LayerName::Digest(prefix) => {
                let loaded = session.load(&location)?;
                let needed = [Need::Caches, Need::Contents].into_iter().try_for_each(|n| loaded.inventory.require(n));
                needed.map_err(|error| Stop::at(&location, error))?;
                let found = beginning(&loaded.inventory, prefix);
                (loaded, found)
            }
        };
        let found = found.and_then(|digest| match loaded.inventory.blob(&digest) {
            Some(blob) if blob.state == State::Missing => {
                let error = Error::not_found(format!("the blob of layer {digest} is missing"));
                Err(error.with_hint("`cachedeck verify` tells what needs it"))
            }
            blob => Ok((digest, blob.and_then(|b| b.size).unwrap_or(0))),
        });
        let (digest, bytes) = found.map_err(|error| Stop::at(&loaded.inventory.location, error))?;
        Ok(FoundLayer { loaded, digest, bytes })
    }
}

impl FoundLayer {
    /// Looks into it.
    pub(super) fn files(&self) -> LayerFiles {
        LayerFiles::new(self.loaded.store.clone(), self.digest)
    }

    /// A failure to do so.
    pub(super) fn failed(&self, error: Error) -> Stop {
        Stop::at(&self.loaded.inventory.location, error)
    }
}

fn numbered(cache: &Cache, number: usize) -> Result<Digest> {
    cache.layers.get(number).map(|layer| layer.blob).ok_or_else(|| {
        let error = Error::not_found(format!("no layer #{number}"));
        match cache.layers.len() {
            0 => error.with_hint("this version has no layers"),
            count => error.with_hint(format!("there are #0 to #{}", count - 1)),
        }
    })
}

fn beginning(inventory: &Inventory, prefix: &DigestPrefix) -> Result<Digest> {
    let is_layer = |role| matches!(role, Role::Layer | Role::Unknown);
    let mut fitting = inventory.blobs.iter().filter(|blob| is_layer(blob.role) && prefix.matches(&blob.digest));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only.digest),
        (None, _) => Err(Error::not_found("no layer's digest begins so").with_hint("`cachedeck layers` lists them")),
        (Some(one), Some(other)) => Err(Error::invalid("more than one layer's digest begins so")
            .with_hint(format!("give more digits: there are {} and {}", one.digest, other.digest))),
    }
}
