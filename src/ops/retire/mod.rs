//! Plans what is given up that can't be hidden: a builder's records, by BuildKit's own rules, and entries of the cache of a
//! GitHub repository. Only decides; [`crate::ops::apply`] does what a plan says.

mod entries;
mod records;

pub use entries::{EntryWish, entries};
pub use records::records;

use crate::error::Result;
use crate::model::digest::Digest;
use crate::model::inventory::Inventory;
use crate::model::plan::{Plan, Purpose, RunId};
use crate::store::Store;
use jiff::Timestamp;
use std::sync::Arc;

/// What a plan is made from.
pub struct Sight<'a> {
    /// The place.
    pub store: &'a Arc<dyn Store>,
    /// What was seen of it.
    pub inventory: &'a Inventory,
    /// The clock.
    pub now: Timestamp,
    /// The plan's id.
    pub id: RunId,
}

/// A plan with nothing in it yet. `seen` is what all that is there is known by.
async fn empty(sight: &Sight<'_>, policy: Vec<String>, seen: impl Iterator<Item = String>) -> Result<Plan> {
    let mut seen: Vec<String> = seen.collect();
    seen.sort_unstable();
    let seen = (sight.store.identity(), Digest::of(seen.join("\n").as_bytes()));
    let (location, promise) = (&sight.inventory.location, sight.store.promise().await?);
    let plan = Plan::new(sight.id.clone(), Purpose::Prune, sight.now, location, seen, promise);
    Ok(Plan { policy, ..plan })
}
