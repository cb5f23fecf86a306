//! The one table of backends: the `type` of a location, and what opens it. A new backend is one line here. What is read from
//! places other than this machine is remembered.

use super::memory::Memory;
use super::remembered::remembered;
use super::{Store, azblob, builder, gha, local, registry, s3};
use crate::error::{Error, Kind, Result};
use crate::model::location::Location;
use crate::state::State;
use std::sync::Arc;

type Open = fn(&Location) -> Result<Arc<dyn Store>>;

const BACKENDS: &[(&str, Open)] = &[
    ("azblob", azblob::open),
    ("local", local::open),
    ("registry", registry::open),
    ("inline", registry::open),
    ("gha", gha::open),
    ("daemon", builder::open),
    ("s3", s3::open),
];

/// Types of which nothing is remembered: they are at hand, or have no documents.
const AT_HAND: &[&str] = &["local", "daemon"];

/// The types that can be opened.
pub fn types() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().map(|(name, _)| *name)
}

/// The builders at hand that a location of this type could name, whether or not they run.
pub fn builders() -> Vec<Location> {
    builder::at_hand()
}

/// Opens the store at `location`, for something to be written there: a folder that is not there, or empty, becomes a cache, and what
/// comes to be by writing, such as a repository of a registry, may not be there yet. Errors are those of [`open`].
pub fn make(location: &Location) -> Result<Arc<dyn Store>> {
    if location.kind() == "local" {
        local::make(location)?;
    }
    open_as(location, true)
}

/// Opens the store at `location` to see what writing there would come to, and makes nothing: a folder that is not there is imagined,
/// empty. Errors are those of [`open`].
pub fn imagine(location: &Location) -> Result<Arc<dyn Store>> {
    // Opening makes nothing elsewhere: other places come to be by being written to.
    if location.kind() != "local" {
        return make(location);
    }
    match open(location) {
        Err(error) if error.kind() == Kind::NotFound => Ok(Arc::new(Memory::new(location.clone()))),
        opened => opened,
    }
}

/// Opens the store at `location`. Errors: [`Kind::Invalid`] for a location that makes no sense, [`Kind::Unsupported`]
/// for a type that has no backend, [`Kind::NotFound`] and others of the backend if the place can't be reached.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    open_as(location, false)
}

fn open_as(location: &Location, may_be_new: bool) -> Result<Arc<dyn Store>> {
    match BACKENDS.iter().find(|(name, _)| *name == location.kind()) {
        Some((kind, open)) if AT_HAND.contains(kind) => open(location),
        Some((_, open)) => Ok(remembered(open(location)?, State::usual(), may_be_new)),
        None => Err(Error::new(Kind::Unsupported, format!("cache type {:?} can't be opened", location.kind()))
            .with_hint(format!("types that can: {}", types().collect::<Vec<_>>().join(", ")))),
    }
}
