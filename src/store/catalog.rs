//! The one table of backends: the `type` of a location, and what opens it. A new backend is one line here.

use super::{Store, local, registry};
use crate::error::{Error, Kind, Result};
use crate::model::location::Location;
use std::sync::Arc;

type Open = fn(&Location) -> Result<Arc<dyn Store>>;

const BACKENDS: &[(&str, Open)] = &[("local", local::open), ("registry", registry::open), ("inline", registry::open)];

/// The types that can be opened.
pub fn types() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().map(|(name, _)| *name)
}

/// Opens the store at `location`. Errors: [`Kind::Invalid`] for a location that makes no sense, [`Kind::Unsupported`]
/// for a type that has no backend, [`Kind::NotFound`] and others of the backend if the place can't be reached.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    match BACKENDS.iter().find(|(name, _)| *name == location.kind()) {
        Some((_, open)) => open(location),
        None => Err(Error::new(Kind::Unsupported, format!("cache type {:?} can't be opened", location.kind()))
            .with_hint(format!("types that can: {}", types().collect::<Vec<_>>().join(", ")))),
    }
}
