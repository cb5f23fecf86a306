//! Which location a plan or run is about, from the line that is kept of it, which holds no credentials.

use super::super::session::Session;
use crate::error::Result;
use crate::model::location::{Given, Location};

/// The location that `line` spells: the one of the config that is the same place, as that has its credentials, else itself with
/// those of the environment.
pub(in crate::cli) fn place_of(session: &Session, line: &str) -> Result<Location> {
    let location = match <[Given; 1]>::try_from(Given::parse(line, |_| false)?) {
        Ok([Given::Location(location)]) => location,
        _ => line.parse()?,
    };
    if let Some(place) = session.config.known(&location).next() {
        return Ok(place.location.clone());
    }
    let masked: Vec<String> =
        location.shown().filter(|(_, value)| value == "***").map(|(key, _)| key.to_owned()).collect();
    Ok(masked.iter().fold(location, |location, key| location.without(key)))
}
