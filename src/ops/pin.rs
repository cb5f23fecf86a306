//! Pins: a version is kept by an extra name, which every tool honours. Decides only; [`crate::ops::apply`] does it.
//!
//! A pin is proved: nothing is named of which not all is there, and it is looked at again once the name leads to it.

use crate::error::{Error, Kind, Result};
use crate::format::document;
use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::pin::Pin;
use crate::model::plan::{Fate, Plan, Purpose, Row, Step, Subject};
use crate::ops::apply::{self, Applied, Site};
use crate::ops::prune::Sight;
use crate::ops::{load, prune, settle};
use crate::store::Store;
use std::sync::Arc;

/// A pin, and how it is.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The pin.
    pub pin: Pin,
    /// The version it keeps; `None` if its name is gone or leads elsewhere.
    pub index: Option<&'a CacheIndex>,
}

/// Pins with what they keep, by name.
pub fn found<'a>(inventory: &'a Inventory, pins: &[Pin]) -> Vec<Found<'a>> {
    let index = |pin: &Pin| inventory.indexes.iter().find(|i| i.digest == pin.digest && i.tags.contains(&pin.name));
    pins.iter().map(|pin| Found { pin: pin.clone(), index: index(pin) }).collect()
}

/// The name of a pin for which none was given.
pub fn usual_name(index: &CacheIndex) -> String {
    format!("pin-{}", index.short())
}

/// Plans a pin of `index`.
///
/// [`Kind::Unsupported`] where there are no pins, [`Kind::Corrupt`] if the version misses blobs, [`Kind::Stale`] if the name
/// leads to another version.
pub async fn plan(store: &Arc<dyn Store>, sight: &Sight<'_>, index: &CacheIndex, pin: &Pin) -> Result<Plan> {
    let claims = store.capabilities();
    if !claims.write || !claims.remove {
        return Err(match store.location().kind() {
            "daemon" => Error::unsupported("daemon", "a builder's records can't be pinned")
                .with_hint("its build history can: `cachedeck daemon pin`"),
            kind => Error::unsupported(kind, "an index can't be given another name"),
        });
    }
    if !index.is_sound() {
        let what = match index.missing.len() {
            0 => format!("{} is damaged", index.short()),
            n => format!("{} misses {}", index.short(), crate::model::units::count(n, "blob")),
        };
        return Err(Error::corrupt(format!("{what}, so a pin would keep nothing that works"))
            .with_hint("`cachedeck repair` mends it; `cachedeck verify` tells what is wrong"));
    }
    let references = prune::names(store, sight.inventory).await?;
    let mut plan = empty(store, sight, &references, Purpose::Pin).await?;
    let reason = pin.reason.clone().unwrap_or_else(|| "you pin it".to_owned());
    plan.rows.push(row(Fate::Write, &pin.name, index, reason));
    match references.items.iter().find(|reference| reference.name == pin.name) {
        // The name of a pin goes when its time is over, so it must be nobody else's.
        Some(is) if prune::leads_to(is, index) && !sight.pins.iter().any(|known| known.name == pin.name) => {
            let name = crate::model::text::safe(&pin.name);
            return Err(Error::invalid(format!("{name} is a name that others write, and a pin needs one of its own"))
                .with_hint("choose another with --name"));
        }
        Some(is) if prune::leads_to(is, index) => {}
        Some(_) => {
            let name = crate::model::text::safe(&pin.name);
            return Err(Error::new(Kind::Stale, format!("{name} leads to another version"))
                .with_hint("choose another name with --name, or take that away first"));
        }
        None => {
            let needs = index.reach.iter().map(|reached| reached.digest).filter(|digest| *digest != index.digest);
            if claims.bare_configs {
                let bytes = load::manifest(store, index, document::LIMIT).await?;
                let text = String::from_utf8(bytes.to_vec())
                    .map_err(|e| Error::corrupt(format!("{} is not UTF-8", index.short())).with_source(e))?;
                plan.steps.push(Step::Write { digest: index.digest, text });
            }
            let needs = needs.collect();
            plan.steps.push(Step::Lead {
                name: pin.name.clone(),
                digest: index.digest,
                was: None,
                before: None,
                needs,
            });
        }
    }
    Ok(plan)
}

/// Plans to take pins, or any names, away. The last name of a version goes only if `even_last`.
///
/// [`Kind::NotFound`] for a name that is not there, [`Kind::Unsupported`] where names can't be taken away.
pub async fn unname(
    store: &Arc<dyn Store>,
    sight: &Sight<'_>,
    names: &[String],
    purpose: Purpose,
    even_last: bool,
) -> Result<Plan> {
    if !store.capabilities().remove {
        return Err(Error::unsupported(store.location().kind(), "names can't be taken away"));
    }
    let references = prune::names(store, sight.inventory).await?;
    let mut plan = empty(store, sight, &references, purpose).await?;
    for name in names {
        let shown = crate::model::text::safe(name);
        let Some(reference) = references.items.iter().find(|reference| reference.name == *name) else {
            let what = format!("no name {shown} in {}", store.location().title());
            return Err(Error::not_found(what).with_hint("`cachedeck ls` lists names, `cachedeck pins` those that pin"));
        };
        let index = sight.inventory.indexes.iter().find(|index| prune::leads_to(reference, index));
        if let Some(index) = index {
            let last = index.tags.iter().all(|tag| names.contains(tag));
            if last && !even_last {
                plan.refused.push(format!(
                    "{shown} is the only name of this version, which pruning would take away then: if that is meant, say --force"
                ));
            } else if last {
                plan.warnings.push(format!("no name leads to {} then, so the next pruning takes it", index.short()));
            }
            plan.rows.push(row(Fate::Remove, name, index, "you take the name away".to_owned()));
        }
        let step = prune::step_without(reference);
        plan.steps
            .push(step.ok_or_else(|| Error::unsupported(store.location().kind(), "names can't be told apart there"))?);
    }
    plan.warnings.dedup();
    Ok(plan)
}

fn row(fate: Fate, name: &str, index: &CacheIndex, reason: String) -> Row {
    Row {
        fate,
        subject: Subject::Name,
        names: vec![name.to_owned()],
        digest: Some(index.digest),
        reason,
        count: index.reach.len() as u64,
        bytes: index.exclusive_bytes.saturating_add(index.shared_bytes),
        frees: 0,
        time: index.created.max(index.modified),
        group: None,
    }
}

/// A plan without steps, of a place as it is.
pub(super) async fn empty(
    store: &Arc<dyn Store>,
    sight: &Sight<'_>,
    references: &crate::store::References,
    purpose: Purpose,
) -> Result<Plan> {
    let seen = (store.identity(), prune::fingerprint(&store.identity(), references));
    let (location, promise) = (&sight.inventory.location, store.promise().await?);
    let plan = Plan::new(sight.id.clone(), purpose, sight.now, location, seen, promise);
    Ok(Plan { before: sight.inventory.bytes(), ..plan })
}

/// Looks again at what a name leads to: whether all of it is there. What is missing, if anything.
pub async fn prove(store: &Arc<dyn Store>, name: &str) -> Result<Vec<Digest>> {
    let seen = load::load(store, &crate::progress::Progress::new()).await?;
    let index = seen.indexes.iter().find(|index| index.tags.iter().any(|tag| tag == name));
    let gone = || Error::new(Kind::Stale, format!("{} is gone again", crate::model::text::safe(name)));
    Ok(index.ok_or_else(gone)?.missing.clone())
}

/// What came of a pin.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What was done; `None` where the name led there already.
    pub applied: Option<Applied>,
    /// Why it was taken back, as it would have kept nothing that works. `None` for a pin that holds.
    pub broken: Option<String>,
}

/// Makes a pin: keeps its note, does what `plan` says, and looks again whether all of the version is there. If not, all of that is
/// taken back.
pub async fn keep(site: &Site<'_>, plan: &Plan, pin: &Pin) -> Result<Kept> {
    let before = site.journal.pins().await?.into_iter().find(|known| known.name == pin.name);
    // The note comes first: whoever prunes between the two sees a pin in the name, and not just any name.
    site.journal.keep_pin(pin).await?;
    let mut applied = None;
    if !plan.is_empty() {
        match apply::apply(site, plan, None).await {
            Ok(done) => applied = Some(done),
            Err(error) => {
                forget(site, pin, before.as_ref()).await?;
                return Err(error);
            }
        }
    }
    let failed = applied.as_ref().and_then(|a| a.stopped.clone().or_else(|| a.run.failures.first().cloned()));
    let broken = match failed {
        Some(why) => Some(why),
        None => match prove(site.store, &pin.name).await {
            Ok(missing) if missing.is_empty() => None,
            Ok(missing) => Some(format!("{} went away meanwhile", crate::model::units::count(missing.len(), "blob"))),
            Err(error) => Some(error.to_string()),
        },
    };
    if broken.is_some() {
        if applied.as_ref().is_some_and(|applied| applied.run.names > 0) {
            settle::undo(site, &plan.id).await?;
        }
        forget(site, pin, before.as_ref()).await?;
    }
    Ok(Kept { applied, broken })
}

/// Leaves the notes as they were.
async fn forget(site: &Site<'_>, pin: &Pin, before: Option<&Pin>) -> Result<()> {
    match before {
        Some(before) => site.journal.keep_pin(before).await,
        None => site.journal.drop_pin(&pin.name).await,
    }
}
