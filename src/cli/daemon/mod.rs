//! `daemon`: what a builder tells of its own cache: records, why each is kept, builds it remembers, and its rules; and what
//! goes of it or stays on purpose.

mod history;
mod pin;
mod prune;
mod records;
mod why;
mod workers;

use super::Command;
use super::failure::{Outcome, Stop};
use super::output::{Section, Tone};
use super::places;
use super::session::{Loaded, Many, Session};
use crate::error::{Error, Kind, Result};
use crate::model::builder::Builder;
use crate::model::location::Location;
use clap::{Args, Parser, Subcommand};

/// Show a builder's own cache: what takes space, why it is kept, which builds made it
///
/// A builder is named as buildx has it, by an address (unix://, tcp://, docker-container://), or as a location
/// (type=daemon,builder=NAME). Without one it is the builder that buildx would take. None is started for this.
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  du:      type description size kept in_use shared reclaimable mutable used created uses id node
  history: state target error pinned created took cached steps id node
  workers: id platforms rules node

Examples:
  cachedeck daemon du
  cachedeck daemon du ci0 --filter 'reclaimable=true type=exec.cachemount' --sort size
  cachedeck daemon why i7v052zlzb ci0
  cachedeck daemon prune ci0 --max-used-space 20GB --apply
  cachedeck daemon history unix:///run/buildkit/buildkitd.sock --json
  cachedeck daemon pin i7v052zlzb ci0")]
pub(super) struct Daemon {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List its records, largest first: what holds them, when they were used
    Du(records::Du),
    /// Tell why a record is kept, and what the rules say of it
    Why(why::Why),
    /// List the builds that it remembers
    History(history::History),
    /// List its workers and the rules that they collect by
    Workers(workers::Workers),
    /// Pin a build, so that the builder's history keeps it when it forgets others
    Pin(pin::Pin),
    /// Take the pin of a build away
    Unpin(pin::Pin),
    /// Bring it to size by BuildKit's rules: shows which records would go and why, and does it with --apply
    Prune(prune::Prune),
}

impl Command for Daemon {
    const NAME: &'static str = "daemon";

    fn run(self, session: &mut Session) -> Outcome {
        match self.what {
            What::Du(du) => du.run(session),
            What::Why(why) => why.run(session),
            What::History(history) => history.run(session),
            What::Workers(workers) => workers.run(session),
            What::Pin(pin) => pin.run(session, true),
            What::Unpin(pin) => pin.run(session, false),
            What::Prune(prune) => prune.run(session),
        }
    }
}

/// Which builders.
#[derive(Args, Clone, Debug, Default)]
struct Which {
    /// A builder's name, address or location
    #[arg(value_name = "BUILDER")]
    builders: Vec<String>,
}

impl Which {
    /// Asks all of them.
    fn load(&self, session: &mut Session) -> Outcome<Many> {
        let mut locations = Vec::new();
        for given in &self.builders {
            locations.extend(named(session, given)?);
        }
        if locations.is_empty() {
            locations.push(Location::new("daemon"));
        }
        let many = session.load_all(&locations)?;
        for loaded in &many.loaded {
            let builder = builder(loaded)?;
            for gap in builder.gaps() {
                session.words.say("unknown", Tone::Warn, &gap);
            }
        }
        Ok(many)
    }
}

/// The locations that a builder's name, address or location stands for.
fn named(session: &Session, given: &str) -> Result<Vec<Location>> {
    if given.starts_with('@') || given.contains('=') {
        let places = places::parse(&session.config, &[given.to_owned()])?;
        if let Some(other) = places.iter().find(|place| place.kind() != "daemon") {
            let error =
                Error::new(Kind::Unsupported, format!("not supported by {}: a builder's records", other.kind()));
            return Err(error.with_hint("only builders have them: give a builder's name or address"));
        }
        return Ok(places);
    }
    let key = if given.contains("://") { "addr" } else { "builder" };
    Ok(vec![Location::new("daemon").with(key, given)])
}

/// What the builder of a location told.
fn builder(loaded: &Loaded) -> Outcome<&Builder> {
    loaded.inventory.details.builder.as_deref().ok_or_else(|| {
        let location = &loaded.inventory.location;
        let what = format!("not supported by {}: a builder's records", location.kind());
        Stop::at(location, Error::new(Kind::Unsupported, what))
    })
}

/// A section for each builder. Parts that are not known make it incomplete.
fn sections<'a, T>(many: &'a Many, items: impl Fn(&'a Builder) -> Vec<T>) -> Vec<Section<'a, T>> {
    let mut sections =
        many.sections(|loaded| loaded.inventory.details.builder.as_deref().map_or_else(Vec::new, &items));
    for (section, loaded) in sections.iter_mut().zip(&many.loaded) {
        section.complete &= loaded.inventory.details.builder.as_ref().is_some_and(|b| b.gaps().is_empty());
    }
    sections
}
