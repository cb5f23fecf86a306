//! Decides what goes when a cache is brought to size: which versions stay by policy, then which blobs nothing needs that stays.
//! It only decides, and changes nothing; [`crate::ops::apply`] does what the plan says.
//!
//! Unknown is never unreferenced: what could not be read, or may have been written a moment ago, stays, and a place that was
//! not seen whole is not pruned at all.

mod blobs;
mod choose;
#[cfg(test)]
mod tests;

use crate::error::{Error, Kind, Result};
use crate::model::digest::Digest;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::pin::Pin;
use crate::model::plan::{Fate, Plan, Promise, Purpose, Row, RunId, Step, Subject, Target};
use crate::model::policy::{GroupBy, Policy};
use crate::model::units::{Limit, count};
use crate::store::{Reference, References, Store};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

pub use choose::{is_called, matcher};

/// Bytes that versions which somebody may miss may lose in one run, in hundredths of what all those take, unless the user says
/// otherwise.
const USUAL_SHARE: f64 = 50.0;
/// And how many blobs of such.
const USUAL_COUNT: u64 = 10_000;

/// What orphan blobs are called that nobody asked to go.
pub const UNASKED: &str = "other orphan blobs";

/// What is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// What stays.
    pub policy: Policy,
    /// Whether blobs go that nothing reaches, and unfinished uploads.
    pub sweep: bool,
    /// Blobs that may go, all told; without a word, [`USUAL_COUNT`] of those that versions under a name reach.
    pub max_delete: Option<u64>,
    /// Bytes that may go, all told; without a word, half of those that versions under a name reach.
    pub max_delete_size: Option<Limit>,
    /// What is younger stays; the place's own word where nothing is said.
    pub grace: Option<SignedDuration>,
    /// How long what is hidden settles; the place's own word where nothing is said.
    pub settle: Option<SignedDuration>,
    /// The user's word that no build is writing: no grace, no settling.
    pub exclusive: bool,
    /// What the plan is for.
    pub purpose: Purpose,
}

impl Wish {
    /// To prune by `policy`, as is usual.
    pub fn prune(policy: Policy) -> Self {
        let purpose = Purpose::Prune;
        Self {
            policy,
            sweep: true,
            max_delete: None,
            max_delete_size: None,
            grace: None,
            settle: None,
            exclusive: false,
            purpose,
        }
    }

    /// To take exactly these versions or names away, and what only they need.
    pub fn delete(which: Vec<String>) -> Self {
        let policy = Policy { remove: which, ..Policy::default() };
        Self { sweep: false, purpose: Purpose::Delete, ..Self::prune(policy) }
    }
}

/// What a plan is made from.
pub struct Sight<'a> {
    /// The place, looked at whole.
    pub inventory: &'a Inventory,
    /// Its pins.
    pub pins: &'a [Pin],
    /// The clock.
    pub now: Timestamp,
    /// The plan's id.
    pub id: RunId,
}

/// Plans. Reads, but changes nothing.
///
/// [`Kind::Unsupported`] where the place has its own way; [`Kind::Invalid`] for a policy that makes no sense there;
/// [`Kind::Stale`] if it has changed since it was looked at.
pub async fn plan(store: &Arc<dyn Store>, sight: &Sight<'_>, wish: &Wish) -> Result<Plan> {
    let claims = store.capabilities();
    if !claims.remove && !claims.hide {
        let refuse = Error::unsupported(store.location().kind(), "pruning it as a cache");
        return Err(match store.location().kind() {
            "gha" => refuse.with_hint("`cachedeck gha prune` does it, by scope, ref, age or size"),
            "daemon" => refuse.with_hint("`cachedeck daemon prune` does it, by BuildKit's own rules"),
            _ => refuse,
        });
    }
    let promise = promised(store.promise().await?, wish);
    let references = names(store, sight.inventory).await?;
    let inventory = sight.inventory;
    let chosen = choose::choose(sight, &wish.policy)?;
    let candidates = match claims.hide {
        true => blobs::candidates(inventory, &chosen, wish.sweep),
        false => Vec::new(),
    };
    let since = sight.now.checked_sub(promise.grace).unwrap_or(Timestamp::MIN);
    let young = match promise.grace.is_zero() {
        true => HashSet::new(),
        false => store.written_since(&candidates, since).await?,
    };
    let told = blobs::Told { young, linked: store.linked(&candidates) };
    // A version that a build may be about to name is kept whole, so it is judged again with that known.
    let young_versions = |verdict: &&choose::Verdict<'_>| verdict.goes && told.young.contains(&verdict.index.digest);
    let young_versions: BTreeSet<Digest> = chosen.iter().filter(young_versions).map(|v| v.index.digest).collect();
    let chosen = choose::spare(chosen, &young_versions, &promise);
    let seen = (store.identity(), fingerprint(&store.identity(), &references));
    let mut plan = Plan::new(sight.id.clone(), wish.purpose, sight.now, &inventory.location, seen, promise);
    plan.policy = choose::words(&wish.policy, group_by(inventory, &wish.policy), wish.purpose);
    plan.before = inventory.bytes();
    let lots = blobs::lots(inventory, &chosen, &told, wish.sweep, claims.hide);
    plan.rows = rows(inventory, &chosen, &lots, &plan.promise, since, wish.sweep && claims.discard);
    plan.steps.extend(expired_names(sight, &references, &chosen));
    plan.steps.extend(unname(&references, &chosen));
    let versions: HashSet<Digest> = chosen.iter().filter(|v| v.goes).map(|v| v.index.digest).collect();
    // Whoever reads meanwhile meets a whole version or none: manifests first.
    let mut targets = lots.targets;
    targets.sort_by_key(|target| (!versions.contains(&target.digest), target.digest));
    plan.frees = lots.frees;
    let linked = targets.iter().filter(|target| told.linked.contains(&target.digest));
    let (linked, linked_bytes) = linked.fold((0, 0), |(n, bytes), target| (n + 1, bytes + target.bytes));
    plan.steps.extend(targets.into_iter().map(Step::Hide));
    if !claims.hide {
        plan.frees = chosen.iter().filter(|v| v.goes).map(|v| v.index.exclusive_bytes).sum();
    }
    if wish.sweep && claims.discard {
        for leftover in stale_leftovers(inventory, since) {
            plan.frees += leftover.bytes;
            let (id, name) = (leftover.name.clone(), leftover.name.clone());
            plan.steps.push(Step::Discard { id, name, bytes: leftover.bytes });
        }
    }
    plan.refused = guard(inventory, &chosen, &plan, wish);
    plan.warnings = warn(inventory, &chosen, &plan, wish.policy.max_size);
    if linked > 0 {
        let (blobs, size) = (count(linked, "blob"), crate::model::units::Bytes(linked_bytes));
        plan.warnings.push(format!(
            "{blobs} ({size}) have other names outside the cache (hard links): their space is not freed by removing them here"
        ));
    }
    Ok(plan)
}

/// The names of the place, if they still lead where they led when it was looked at. A build that ends between the two looks names
/// a version that was taken for one without a name.
///
/// [`Kind::Stale`] if they do not.
pub(in crate::ops) async fn names(store: &Arc<dyn Store>, inventory: &Inventory) -> Result<References> {
    let references = store.references().await?;
    let known = |reference: &&Reference| {
        let leads = |index: &&CacheIndex| leads_to(reference, index);
        inventory.indexes.iter().filter(leads).any(|index| match reference.name.is_empty() {
            true => index.listed,
            false => index.tags.contains(&reference.name),
        })
    };
    match references.items.iter().find(|reference| !known(reference)) {
        None => Ok(references),
        Some(reference) => {
            let name = crate::model::text::safe(&reference.name);
            let what = format!("{name} came to lead elsewhere while {} was looked at", inventory.location.title());
            Err(Error::new(Kind::Stale, what).with_hint("look again"))
        }
    }
}

/// What the place promises, with the user's own times.
fn promised(mut promise: Promise, wish: &Wish) -> Promise {
    promise.grace = wish.grace.unwrap_or(promise.grace);
    promise.settle = wish.settle.unwrap_or(promise.settle);
    match wish.exclusive {
        true => promise.exclusive(),
        false => promise,
    }
}

/// What a plan goes by: if names lead elsewhere by now, it is not applied. Each blob is looked at anew anyway before it goes.
pub fn fingerprint(identity: &str, references: &References) -> Digest {
    let mut seen: Vec<String> = references.items.iter().map(|r| format!("{:?} {:?}", r.name, r.version)).collect();
    seen.sort();
    Digest::of(format!("{identity}\n{}", seen.join("\n")).as_bytes())
}

/// How versions are grouped there, unless somebody says otherwise.
pub fn group_by(inventory: &Inventory, policy: &Policy) -> GroupBy {
    let usual = match inventory.location.kind() {
        "gha" => GroupBy::Scope,
        _ => GroupBy::Name,
    };
    policy.group_by.unwrap_or(usual)
}

/// Names of versions that go.
fn unname(references: &References, chosen: &[choose::Verdict<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    for verdict in chosen.iter().filter(|v| v.goes) {
        let own = references.items.iter().filter(|r| leads_to(r, verdict.index));
        steps.extend(own.filter_map(step_without));
    }
    steps
}

/// Names of pins whose time is over, where the version stays for another reason.
fn expired_names(sight: &Sight<'_>, references: &References, chosen: &[choose::Verdict<'_>]) -> Vec<Step> {
    let expired: Vec<&Pin> = sight.pins.iter().filter(|pin| pin.has_expired(sight.now)).collect();
    // A name that leads elsewhere by now is somebody else's.
    let stays = |pin: &&&Pin| {
        chosen.iter().any(|v| !v.goes && v.index.digest == pin.digest && v.index.tags.contains(&pin.name))
    };
    let names: Vec<&str> = expired.iter().filter(stays).map(|pin| pin.name.as_str()).collect();
    // The last name of a version is not taken away in passing: that would make it a dangling one.
    let spare = |name: &str| {
        let index = sight.inventory.indexes.iter().find(|i| i.tags.iter().any(|tag| tag == name));
        index.is_some_and(|index| index.tags.iter().any(|tag| !names.contains(&tag.as_str())))
    };
    references.items.iter().filter(|r| names.contains(&&*r.name) && spare(&r.name)).filter_map(step_without).collect()
}

/// The step that takes a name away, where the place says by what to know that it has not changed.
pub fn step_without(reference: &Reference) -> Option<Step> {
    let version = reference.version.clone()?;
    Some(Step::Unname { name: reference.name.clone(), version, digest: reference.digest })
}

/// Whether a name leads to a version. Where the place does not tell digests, the version knows its names.
pub fn leads_to(reference: &Reference, index: &CacheIndex) -> bool {
    match reference.digest {
        Some(digest) => digest == index.digest,
        None => index.tags.contains(&reference.name),
    }
}

fn stale_leftovers(
    inventory: &Inventory,
    since: Timestamp,
) -> impl Iterator<Item = &crate::model::inventory::Leftover> {
    inventory.leftovers.iter().filter(move |leftover| leftover.modified.is_some_and(|modified| modified <= since))
}

/// What people read.
fn rows(
    inventory: &Inventory,
    chosen: &[choose::Verdict<'_>],
    lots: &blobs::Lots,
    promise: &Promise,
    since: Timestamp,
    leftovers_go: bool,
) -> Vec<Row> {
    let mut rows: Vec<Row> = chosen
        .iter()
        .map(|verdict| {
            let index = verdict.index;
            let names = if index.tags.is_empty() { &index.formerly } else { &index.tags };
            Row {
                fate: if verdict.goes { Fate::Remove } else { Fate::Keep },
                subject: Subject::Version,
                names: names.clone(),
                digest: index.known_digest(),
                reason: verdict.reason.clone(),
                count: index.reach.len() as u64,
                bytes: index.exclusive_bytes.saturating_add(index.shared_bytes),
                frees: lots.of_version.get(&index.digest).copied().unwrap_or_default(),
                time: verdict.time,
                group: verdict.group.clone(),
            }
        })
        .collect();
    let lot = |fate, subject, name: &str, reason: String, lot: blobs::Lot| Row {
        fate,
        subject,
        names: vec![name.to_owned()],
        digest: None,
        reason,
        count: lot.count,
        bytes: lot.bytes,
        frees: if fate == Fate::Remove { lot.frees } else { 0 },
        time: None,
        group: None,
    };
    let add = |rows: &mut Vec<Row>, row: Row| {
        if row.count > 0 {
            rows.push(row);
        }
    };
    let grace = crate::model::units::short_duration(promise.grace.unsigned_abs());
    let young = format!("younger than {grace}: a build may be about to use them");
    add(
        &mut rows,
        lot(Fate::Remove, Subject::Shared, "shared blobs", "only versions that go use them".into(), lots.shared),
    );
    add(&mut rows, lot(Fate::Remove, Subject::Orphans, "orphan blobs", "no version uses them".into(), lots.orphans));
    add(&mut rows, lot(Fate::Keep, Subject::Orphans, "young blobs", young, lots.young));
    let unswept = "they were not asked for".to_owned();
    add(&mut rows, lot(Fate::Keep, Subject::Orphans, UNASKED, unswept, lots.unswept));
    let (mut old, mut new) = (blobs::Lot::default(), blobs::Lot::default());
    for leftover in &inventory.leftovers {
        let stale = leftovers_go && leftover.modified.is_some_and(|modified| modified <= since);
        if stale { &mut old } else { &mut new }.add(leftover.bytes);
    }
    add(&mut rows, lot(Fate::Remove, Subject::Leftovers, "unfinished uploads", format!("older than {grace}"), old));
    add(&mut rows, lot(Fate::Keep, Subject::Leftovers, "unfinished uploads", format!("younger than {grace}"), new));
    rows
}

/// Why a plan is not applied.
fn guard(inventory: &Inventory, chosen: &[choose::Verdict<'_>], plan: &Plan, wish: &Wish) -> Vec<String> {
    let mut refused = Vec::new();
    let goes = chosen.iter().filter(|v| v.goes);
    let takes = |step: &Step| match step {
        Step::Hide(_) => true,
        Step::Unname { .. } => wish.purpose == Purpose::Prune,
        _ => false,
    };
    if !inventory.complete && plan.steps.iter().any(takes) {
        let why = inventory.warnings.iter().find(|w| !w.message.is_empty()).map(|w| w.message.clone());
        let why = why.unwrap_or_else(|| "a version can't be read".to_owned());
        refused.push(format!(
            "not all of the location could be read, so what looks unused may be in use: {why}; `cachedeck verify` tells more"
        ));
    }
    let live = |v: &&choose::Verdict<'_>| !v.index.is_dangling();
    let (kept, named) = (chosen.iter().filter(|v| !v.goes).count(), chosen.iter().filter(live).count());
    let hides = plan.targets().next().is_some();
    if wish.purpose == Purpose::Prune && !wish.policy.keep_none && hides && kept == 0 {
        refused.push(match named {
            0 => "no name leads to any version here, so nothing would be left: if that is meant, say --keep-none"
                .to_owned(),
            _ => "the policy keeps no version at all: if that is meant, say --keep-none".to_owned(),
        });
    }
    let (objects, bytes) = (plan.targets().count() as u64, plan.frees);
    match wish.max_delete {
        Some(most) if objects > most => {
            refused.push(format!("{} would go, more than --max-delete {most}", count(objects, "blob")));
        }
        _ => {}
    }
    if let Some(most) = wish.max_delete_size {
        let most = of(most, plan.before);
        if bytes > most {
            refused.push(format!("{bytes} bytes would go, more than the {most} that --max-delete-size allows"));
        }
    }
    if wish.purpose != Purpose::Prune {
        return refused;
    }
    // What has a name is what people would miss: these are the limits that hold unasked.
    let lost: Vec<&CacheIndex> = goes.filter(live).map(|v| v.index).collect();
    let lost_bytes: u64 = lost.iter().map(|index| index.exclusive_bytes).sum();
    let lost_blobs: u64 = lost.iter().map(|index| index.reach.len() as u64).sum();
    let live_bytes = inventory.usage.live_bytes;
    if wish.max_delete_size.is_none()
        && lost_bytes > of(Limit::Percent(USUAL_SHARE), live_bytes)
        && !wish.policy.keep_none
    {
        refused.push(
            "more than half of what names lead to would go: if that is meant, say --max-delete-size 100%".to_owned(),
        );
    }
    if wish.max_delete.is_none() && lost_blobs > USUAL_COUNT {
        refused.push(format!(
            "{} of versions with names would go: if that is meant, say --max-delete {objects}",
            count(lost_blobs, "blob")
        ));
    }
    refused
}

fn warn(inventory: &Inventory, chosen: &[choose::Verdict<'_>], plan: &Plan, limit: Option<Limit>) -> Vec<String> {
    let mut warnings = Vec::new();
    let broken = chosen.iter().filter(|v| !v.goes && !v.index.missing.is_empty()).count();
    if broken > 0 {
        warnings.push(format!("{} that stay miss blobs; `cachedeck repair` mends them", count(broken, "version")));
    }
    if let Some(over) = limit.and_then(|limit| choose::still_over(inventory, plan, limit)) {
        warnings.push(over);
    }
    warnings
}

fn of(limit: Limit, whole: u64) -> u64 {
    match limit {
        Limit::Size(bytes) => bytes.0,
        Limit::Percent(percent) => (whole as f64 * percent / 100.0) as u64,
    }
}

/// A blob as a target.
fn target(blob: &crate::model::inventory::Blob) -> Option<Target> {
    Some(Target { digest: blob.digest, bytes: blob.size?, modified: blob.modified })
}
