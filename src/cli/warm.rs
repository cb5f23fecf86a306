//! `warm`: fills a builder from a cache, so that its next build finds the steps at hand.

use super::Command;
use super::build::{HowArgs, Request, locations};
use super::choice::VersionArgs;
use super::failure::{Outcome, Stop};
use super::output::Tone;
use super::session::Session;
use crate::error::Error;
use crate::model::build::Options;
use crate::model::location::Location;
use clap::Parser;

/// Fill a builder from a cache, so that the next build finds its steps there
///
/// Builds with this cache and puts nothing out (`--output type=cacheonly`). Steps that are in the cache are not built; what the
/// result needs of them is fetched. Layers that only other stages need stay where they are: name such a stage with --target, or
/// go on with --cache-from.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck warm @ci -- .
  cachedeck warm @ci -- --target deps .     what the stage deps needs
  cachedeck warm .buildx-cache --digest 21450e49 --builder ci0 -- .     from an older version")]
pub(super) struct Warm {
    /// Caches to fill it from
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    version: VersionArgs,

    #[command(flatten)]
    how: HowArgs,
}

impl Command for Warm {
    const NAME: &'static str = "warm";

    fn run(self, session: &mut Session) -> Outcome {
        let mut from = locations(session, "LOCATION", &self.locations)?;
        if from.is_empty() {
            from.push(session.location(None)?);
        }
        if self.version.is_said() {
            let location = match from.pop() {
                Some(only) if from.is_empty() => only,
                _ => {
                    return Err(Error::invalid("--tag and --digest choose a version of one location")
                        .with_hint("write it into the location: LOCATION,digest=DIGEST")
                        .into());
                }
            };
            from.push(self.chosen(session, location)?);
        }
        Request { from, to: Vec::new(), options: Options::default(), warm: true }.run(session, &self.how)
    }
}

impl Warm {
    /// The location, with the version that is asked for.
    fn chosen(&self, session: &mut Session, location: Location) -> Outcome<Location> {
        let chosen = self.version.load(session, location.clone())?;
        let index = chosen.index();
        if !index.is_sound() {
            let words = "blobs of this version are missing or damaged: a build that needs them fails";
            session.words.say("warning", Tone::Warn, words);
        }
        // Whether BuildKit can be asked for it there.
        location.cache_from(index.known_digest(), index.name()).map_err(|error| Stop::at(&location, error))?;
        Ok(match (location.kind(), index.known_digest(), index.name()) {
            ("local" | "registry" | "inline", Some(digest), _) => location.asking_for_digest(&digest),
            (_, _, Some(name)) => location.asking_for(name),
            _ => location,
        })
    }
}
