//! `daemon prune`: brings a builder's own cache to size, by BuildKit's rules, record by record as shown before.

use super::super::change::{self, ApplyArgs, Place};
use super::super::failure::Outcome;
use super::super::session::Session;
use super::super::usage;
use super::named;
use crate::error::{Error, Result};
use crate::model::builder::Rule;
use crate::model::location::Location;
use crate::model::units::{self, Bytes};
use crate::ops::retire::{self, Sight};
use clap::Parser;
use std::str::FromStr;
use std::time::Duration;

#[derive(Parser)]
pub(in crate::cli) struct Prune {
    /// A builder's name, address or location
    #[arg(value_name = "BUILDER")]
    builder: Option<String>,

    /// Also what images share, frontends and BuildKit's own records
    #[arg(long, short = 'a')]
    all: bool,

    /// Only records that fit: type=exec.cachemount, shared, id=ID, until=24h. All that are given must fit
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,

    /// Leave alone what was used within this time
    #[arg(long, value_name = "DURATION", value_parser = usage::value::<Keep>)]
    keep_duration: Option<Keep>,

    /// Go on until the cache takes no more than this
    #[arg(long, value_name = "SIZE", value_parser = usage::value::<Docker>)]
    max_used_space: Option<Docker>,

    /// Never make the cache smaller than this
    #[arg(long, value_name = "SIZE", value_parser = usage::value::<Docker>)]
    reserved_space: Option<Docker>,

    /// Go on until so much of the disk is free. Builders do not tell how much that is, so it is refused
    #[arg(long, value_name = "SIZE", value_parser = usage::value::<Docker>)]
    min_free_space: Option<Docker>,

    #[command(flatten)]
    how: ApplyArgs,
}

/// A duration in our own way of writing.
#[derive(Clone, Copy, Debug, Default)]
struct Keep(Duration);

impl FromStr for Keep {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        units::parse_duration(given).map(Self)
    }
}

/// A size as docker reads it: all units are powers of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Docker {
    bytes: u64,
    /// Whether we would read it as another size elsewhere.
    differs: bool,
}

impl FromStr for Docker {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        let usual: Bytes = given.parse()?;
        let lower = given.trim().to_ascii_lowercase();
        let bare = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower).trim_end();
        let bytes = bare.to_ascii_uppercase().parse::<Bytes>()?.0;
        Ok(Self { bytes, differs: bytes != usual.0 })
    }
}

impl Prune {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let rule = self.rule()?;
        let locations = match &self.builder {
            Some(given) => named(session, given)?,
            None => vec![Location::new("daemon")],
        };
        let [location] = &locations[..] else {
            return Err(Error::invalid("one builder at a time is pruned").with_hint("name just one").into());
        };
        let sizes = [self.max_used_space, self.reserved_space, self.min_free_space];
        if sizes.iter().flatten().any(|size| size.differs) {
            session.words.note("sizes are read as docker does: 1GB is 1 GiB here");
        }
        change::prepare(session, &locations, &self.how)?;
        let loaded = session.load(location)?;
        let place = Place::loaded(&loaded);
        let (now, id) = {
            let sight = change::sight(session, &loaded, &[]);
            (sight.now, sight.id)
        };
        let sight = Sight { store: &loaded.store, inventory: &loaded.inventory, now, id };
        let plan = place.run(session, "planning", retire::records(&sight, &rule))?;
        change::carry_out(session, &place, &plan, &self.how, &change::typed(), None)
    }

    /// The rule that the options make.
    fn rule(&self) -> Result<Rule> {
        let (mut keep, mut parts) = (self.keep_duration.map(|keep| keep.0).unwrap_or_default(), Vec::new());
        for filter in &self.filter {
            match filter.split_once('=') {
                Some(("until", duration)) => keep = units::parse_duration(duration)?,
                Some((key, value)) if !value.starts_with('=') && !key.ends_with(['!', '~']) => {
                    parts.push(format!("{key}=={value}"));
                }
                _ => parts.push(filter.clone()),
            }
        }
        let size = |size: Option<Docker>| size.map_or(0, |size| size.bytes);
        Ok(Rule {
            all: self.all,
            keep,
            filters: Some(parts.join(",")).filter(|filter| !filter.is_empty()).into_iter().collect(),
            reserved_bytes: size(self.reserved_space),
            max_used_bytes: size(self.max_used_space),
            min_free_bytes: size(self.min_free_space),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_dockers() {
        for (given, bytes, differs) in [
            ("1GB", 1 << 30, true),
            ("1g", 1 << 30, false),
            ("2GiB", 2 << 30, false),
            ("512mb", 512 << 20, true),
            ("100", 100, false),
        ] {
            assert_eq!(given.parse::<Docker>().unwrap(), Docker { bytes, differs }, "{given}");
        }
        assert!("much".parse::<Docker>().is_err());
    }
}
