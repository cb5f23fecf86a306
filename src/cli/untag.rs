//! `untag`: takes names away, and nothing else.

use super::Command;
use super::change::{self, ApplyArgs, Place};
use super::failure::Outcome;
use super::session::Session;
use crate::model::plan::Purpose;
use crate::ops::pin;
use clap::Parser;

/// Take names away; the versions they led to stay
///
/// The only name of a version goes with --force alone, for a version without a name is what pruning takes. `cachedeck undo`
/// brings names back.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck untag .buildx-cache old-feature
  cachedeck untag .buildx-cache old-feature --force && cachedeck prune .buildx-cache")]
pub(super) struct Untag {
    /// Where
    #[arg(value_name = "LOCATION")]
    location: String,

    /// Names: tags, or the names of caches in a bucket
    #[arg(value_name = "NAME", required = true)]
    which: Vec<String>,

    /// Even if no other name leads to a version then
    #[arg(long)]
    force: bool,

    /// Only show it
    #[arg(long, short = 'n')]
    dry_run: bool,
}

impl Command for Untag {
    const NAME: &'static str = "untag";

    fn run(self, session: &mut Session) -> Outcome {
        let how = ApplyArgs::always(true, self.dry_run);
        let location = session.location(Some(&self.location))?;
        change::prepare(session, std::slice::from_ref(&location), &how)?;
        let loaded = session.load(&location)?;
        let place = Place::loaded(&loaded);
        let pins = place.pins(session)?;
        let sight = change::sight(session, &loaded, &pins);
        let work = async { pin::unname(&place.store, &sight, &self.which, Purpose::Untag, self.force).await };
        let plan = place.run(session, "planning", work)?;
        change::carry_out(session, &place, &plan, &how, "cachedeck untag, without --dry-run", None)
    }
}
