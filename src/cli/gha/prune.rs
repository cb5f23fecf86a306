//! `gha prune`: gives up entries of a GitHub repository's cache, by their numbers, as shown before.

use super::super::change::{self, ApplyArgs, Place};
use super::super::failure::{Outcome, Stop};
use super::super::prune::duration;
use super::super::session::Session;
use super::super::usage;
use crate::error::Error;
use crate::model::units::Limit;
use crate::ops::retire::{self, EntryWish, Sight};
use clap::Args;
use jiff::SignedDuration;

#[derive(Args)]
pub(super) struct PruneArgs {
    /// The repository: type=gha,repo=OWNER/NAME
    #[arg(value_name = "LOCATION")]
    location: Option<String>,

    /// Saves of a scope that a later one replaces
    #[arg(long)]
    superseded: bool,

    /// Indexes of this scope; blobs stay, as others may need them
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,

    /// Entries of this branch or Git ref
    #[arg(long = "ref", value_name = "REF")]
    refs: Vec<String>,

    /// Entries with keys like this
    #[arg(long, value_name = "GLOB")]
    key: Vec<String>,

    /// Entries that were not used for so long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    unused_for: Option<SignedDuration>,

    /// Entries that were saved so long ago
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<SignedDuration>,

    /// Only until all entries take no more than this, least recently used first: 8GiB, 80% of the quota
    #[arg(long, value_name = "SIZE|%", value_parser = usage::value::<Limit>)]
    max_size: Option<Limit>,

    /// Leave alone what was saved or used within this time, a day without a word
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    grace: Option<SignedDuration>,

    #[command(flatten)]
    how: ApplyArgs,
}

impl PruneArgs {
    pub(super) fn run(self, session: &mut Session) -> Outcome {
        let location = session.location(self.location.as_deref())?;
        if location.kind() != "gha" {
            let error = Error::unsupported(location.kind(), "entries of a GitHub repository's cache");
            return Err(Stop::at(&location, error.with_hint("`cachedeck prune` is for all other places")));
        }
        change::prepare(session, std::slice::from_ref(&location), &self.how)?;
        let loaded = session.load(&location)?;
        let place = Place::loaded(&loaded);
        let wish = EntryWish {
            scopes: self.scope,
            refs: self.refs,
            keys: self.key,
            unused_for: self.unused_for,
            older_than: self.older_than,
            superseded: self.superseded,
            max_size: self.max_size,
            grace: self.grace,
        };
        let (now, id) = {
            let sight = change::sight(session, &loaded, &[]);
            (sight.now, sight.id)
        };
        let sight = Sight { store: &loaded.store, inventory: &loaded.inventory, now, id };
        let plan = place.run(session, "planning", retire::entries(&sight, &wish))?;
        change::carry_out(session, &place, &plan, &self.how, &change::typed(), None)
    }
}
