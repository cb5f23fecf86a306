//! `delete`: takes versions away, with their names and what only they need.

use super::Command;
use super::change::{self, ApplyArgs, Place};
use super::failure::Outcome;
use super::prune::Limits;
use super::session::Session;
use crate::model::plan::{Fate, Subject};
use crate::ops::prune::{self, Wish};
use clap::Parser;

/// Take versions away, with their names and what only they need
///
/// Shows what would go, and does it with --apply.
/// What is pinned stays: `cachedeck unpin` first. Whatever other versions need stays too.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck delete .buildx-cache old-feature
  cachedeck delete .buildx-cache 21450e49 d9d014 --apply")]
pub(super) struct Delete {
    /// Where
    #[arg(value_name = "LOCATION")]
    location: String,

    /// Which: a tag, or six or more digits of a digest
    #[arg(value_name = "VERSION", required = true)]
    versions: Vec<String>,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    how: ApplyArgs,
}

impl Command for Delete {
    const NAME: &'static str = "delete";

    fn run(self, session: &mut Session) -> Outcome {
        let location = session.location(Some(&self.location))?;
        change::prepare(session, std::slice::from_ref(&location), &self.how)?;
        let loaded = session.load(&location)?;
        let place = Place::loaded(&loaded);
        let pins = place.pins(session)?;
        let sight = change::sight(session, &loaded, &pins);
        let mut wish = Wish::delete(self.versions.clone());
        self.limits.put(&mut wish);
        let work = async { prune::plan(&loaded.store, &sight, &wish).await };
        let mut plan = place.run(session, "planning", work)?;
        let chosen = |digest| {
            loaded.inventory.indexes.iter().any(|index| {
                Some(index.digest) == digest && self.versions.iter().any(|which| prune::is_called(index, which))
            })
        };
        // What nobody asked for stays, and need not be said.
        plan.rows.retain(|row| match row.subject {
            Subject::Version => row.fate == Fate::Remove || chosen(row.digest),
            _ => row.fate == Fate::Remove || row.names != [prune::UNASKED],
        });
        change::carry_out(session, &place, &plan, &self.how, &change::typed(), None)
    }
}
