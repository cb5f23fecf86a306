//! `repair`: mends versions that miss blobs.

use super::Command;
use super::change::{self, ApplyArgs, Place};
use super::failure::{Outcome, Stop};
use super::session::Session;
use super::verify;
use crate::model::finding::corrupt;
use crate::ops::repair::{self, Wish};
use crate::ops::verify::{Level, verify};
use crate::progress::Progress;
use clap::Parser;

/// Mend versions that miss blobs
///
/// Shows how, and does it with --apply.
/// What is missing is fetched from another place that has it, if one is named. What needs the rest is taken out: layers, results, and
/// records without any use; the mended version is written beside the old one, and its names are led there. Builds then miss just
/// those steps, where before they failed.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck repair .buildx-cache
  cachedeck repair .buildx-cache main --from ghcr.io/acme/app:cache --apply
  cachedeck repair .buildx-cache --level digest --apply      reads all, and takes damaged blobs for lost")]
pub(super) struct Repair {
    /// Where
    #[arg(value_name = "LOCATION")]
    location: String,

    /// Which versions, by tag or digest; all that are broken where nothing is said
    #[arg(value_name = "VERSION")]
    versions: Vec<String>,

    /// A place that may still have what is missing
    #[arg(long, value_name = "LOCATION")]
    from: Option<String>,

    /// How closely to look for damage: exists, size or digest
    #[arg(long, short = 'l', value_name = "LEVEL", default_value = "size", value_parser = verify::levels(), hide_possible_values = true)]
    level: Level,

    #[command(flatten)]
    how: ApplyArgs,
}

impl Command for Repair {
    const NAME: &'static str = "repair";

    fn run(self, session: &mut Session) -> Outcome {
        let location = session.location(Some(&self.location))?;
        change::prepare(session, std::slice::from_ref(&location), &self.how)?;
        let from = match &self.from {
            Some(given) => {
                let from = session.location(Some(given))?;
                Some(Place::open(session, &from)?.store)
            }
            None => None,
        };
        let loaded = session.load(&location)?;
        let place = Place::loaded(&loaded);
        let progress = Progress::new();
        let work = verify(&loaded.store, &loaded.inventory, self.level, &progress);
        let report = session.jobs.run("verifying", &progress, work).map_err(|error| Stop::at(&location, error))?;
        let corrupt = corrupt(&report.findings).collect();
        let pins = place.pins(session)?;
        let sight = change::sight(session, &loaded, &pins);
        let wish = Wish { which: self.versions.clone(), corrupt };
        let work = async { repair::plan(&place.store, &sight, &wish, from.as_ref()).await };
        let plan = place.run(session, "planning", work)?;
        change::carry_out(session, &place, &plan, &self.how, &change::typed(), from.as_ref())
    }
}
