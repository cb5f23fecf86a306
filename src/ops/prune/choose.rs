//! Which versions stay, and why.

use super::{Sight, group_by};
use crate::error::{Error, Result};
use crate::model::actions;
use crate::model::digest::Digest;
use crate::model::finding::Severity;
use crate::model::inventory::{CacheIndex, Inventory};
use crate::model::pin::Pin;
use crate::model::plan::{Plan, Promise, Purpose};
use crate::model::policy::{GroupBy, Policy};
use crate::model::units::{Bytes, Limit, SizeStyle, age, count, short_duration};
use globset::{Glob, GlobMatcher};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What becomes of a version.
#[derive(Clone, Debug)]
pub(super) struct Verdict<'a> {
    pub(super) index: &'a CacheIndex,
    pub(super) goes: bool,
    pub(super) reason: String,
    pub(super) time: Option<Timestamp>,
    pub(super) group: Option<String>,
}

/// Judges all versions, in the order of the inventory.
pub(super) fn choose<'a>(sight: &Sight<'a>, policy: &Policy) -> Result<Vec<Verdict<'a>>> {
    let inventory = sight.inventory;
    let globs = policy.keep_tags.iter().map(|glob| matcher(glob)).collect::<Result<Vec<_>>>()?;
    for which in policy.remove.iter().chain(&policy.keep) {
        if !inventory.indexes.iter().any(|index| is_called(index, which)) {
            let what = format!("no version {} in {}", crate::model::text::safe(which), inventory.location.title());
            return Err(
                Error::not_found(what).with_hint("`cachedeck ls` and `cachedeck versions` list those there are")
            );
        }
    }
    let grouping = group_by(inventory, policy);
    let kept_by_number = by_number(inventory, policy, grouping);
    let mut verdicts: Vec<Verdict<'a>> = Vec::with_capacity(inventory.indexes.len());
    for index in &inventory.indexes {
        let time = time(index);
        let group = group(inventory, index, grouping);
        let (goes, reason) = judge(sight, index, policy, &globs, kept_by_number.get(&index.digest));
        verdicts.push(Verdict { index, goes, reason, time, group });
    }
    if let Some(limit) = policy.max_size {
        fit(inventory, &mut verdicts, limit, policy);
    }
    Ok(verdicts)
}

/// When a version was last made or written, by what is known.
fn time(index: &CacheIndex) -> Option<Timestamp> {
    index.created.max(index.modified)
}

/// Whether it goes, and why; rules in the order of their weight.
fn judge(
    sight: &Sight<'_>,
    index: &CacheIndex,
    policy: &Policy,
    globs: &[(String, GlobMatcher)],
    by_number: Option<&String>,
) -> (bool, String) {
    let keep = |reason: String| (false, reason);
    let pinned = sight.pins.iter().find(|pin| holds(pin, index, sight.now));
    if let Some(pin) = pinned {
        let until = pin
            .until
            .map(|until| format!(", for {} more", short_duration(until.duration_since(sight.now).unsigned_abs())));
        return keep(format!("pinned {} ago as {}{}", age(sight.now, pin.made), pin.name, until.unwrap_or_default()));
    }
    if index.unread || index.findings.iter().any(|f| f.severity >= Severity::Error && index.reach.is_empty()) {
        return keep("it can't be read, so nobody knows what it needs".to_owned());
    }
    if policy.remove.iter().any(|which| is_called(index, which)) {
        return (true, "you chose it to go".to_owned());
    }
    if policy.keep.iter().any(|which| is_called(index, which)) {
        return keep("you chose it to stay".to_owned());
    }
    if policy.keep_digests.iter().any(|prefix| prefix.matches(&index.digest)) {
        return keep("its digest is one to keep".to_owned());
    }
    if let Some((glob, _)) = globs.iter().find(|(_, glob)| index.tags.iter().any(|tag| glob.is_match(tag))) {
        return keep(format!("its name matches {glob}"));
    }
    let old = time(index).map(|time| sight.now.duration_since(time));
    let words = |duration: SignedDuration| short_duration(duration.unsigned_abs());
    if let Some(within) = policy.keep_within {
        match old {
            None => return keep("nobody knows how old it is".to_owned()),
            Some(old) if old <= within => return keep(format!("{} old, within {}", words(old), words(within))),
            Some(_) => {}
        }
    }
    if let Some(reason) = by_number {
        return keep(reason.clone());
    }
    if let Some(limit) = policy.keep_unused_for {
        // Only places that tell when something was used say more than its age; none of those is pruned this way yet.
        if old.is_none_or(|old| old <= limit) {
            return keep(format!("maybe used within {}", words(limit)));
        }
    }
    let how_old = old.map_or_else(|| "of unknown age".to_owned(), |old| format!("{} old", words(old)));
    if policy.keep_none {
        return (true, "nothing is to stay".to_owned());
    }
    if policy.has_rules() {
        return (true, format!("{how_old}, and no rule keeps it"));
    }
    if policy.max_size.is_some() {
        return (true, how_old);
    }
    match index.is_dangling() {
        true if policy.remove.is_empty() => (true, format!("{how_old}, and no name leads to it")),
        true => keep("it was not chosen".to_owned()),
        false if index.tags.is_empty() => keep("index.json lists it".to_owned()),
        false if !index.missing.is_empty() => {
            keep(format!("a name leads to it; {} missing", count(index.missing.len(), "blob")))
        }
        false => keep("a name leads to it".to_owned()),
    }
}

fn holds(pin: &Pin, index: &CacheIndex, now: Timestamp) -> bool {
    pin.digest == index.digest && !pin.has_expired(now) && index.tags.contains(&pin.name)
}

/// Whether somebody who says `which` means this version: a name of it, its digest, or the beginning of that.
pub fn is_called(index: &CacheIndex, which: &str) -> bool {
    let by_digest = || {
        let digest = index.known_digest()?.to_string();
        let hex = which.strip_prefix("sha256:").unwrap_or(which);
        Some(hex.len() >= 6 && digest.strip_prefix("sha256:").is_some_and(|own| own.starts_with(hex)))
    };
    index.tags.iter().any(|tag| tag == which) || by_digest().unwrap_or_default()
}

/// A pattern of names, with its text. [`crate::error::Kind::Invalid`] for one that is none.
pub fn matcher(glob: &str) -> Result<(String, GlobMatcher)> {
    let compiled = Glob::new(glob).map_err(|e| {
        Error::invalid(format!("bad pattern {}", crate::model::text::safe(glob)))
            .with_source(e)
            .with_hint("patterns are like main, rel* or {a,b}-*")
    })?;
    Ok((glob.to_owned(), compiled.compile_matcher()))
}

/// The group a version is judged in.
fn group(inventory: &Inventory, index: &CacheIndex, grouping: GroupBy) -> Option<String> {
    let name = index.tags.first().or(index.formerly.first()).cloned();
    match grouping {
        GroupBy::None => None,
        GroupBy::Name => name.or_else(|| only_name(inventory)),
        GroupBy::Scope => name.map(|name| actions::scope_of(&name).to_owned()),
        GroupBy::Ref => name.and_then(|name| name.split_once('@').map(|(_, git_ref)| git_ref.to_owned())),
    }
}

/// The one name of a place that has just one: what has no name there was its, for an export takes the name along.
fn only_name(inventory: &Inventory) -> Option<String> {
    let names: BTreeSet<&String> = inventory.indexes.iter().flat_map(|i| &i.tags).collect();
    match names.len() {
        1 => names.first().map(|name| (*name).clone()),
        _ => None,
    }
}

/// Versions that a rule with a number keeps, and which.
fn by_number(inventory: &Inventory, policy: &Policy, grouping: GroupBy) -> BTreeMap<Digest, String> {
    let mut groups: BTreeMap<Option<String>, Vec<&CacheIndex>> = BTreeMap::new();
    for index in &inventory.indexes {
        groups.entry(group(inventory, index, grouping)).or_default().push(index);
    }
    let mut kept = BTreeMap::new();
    for (group, mut versions) in groups {
        // What a name leads to now is the newest of its group, whatever the clocks say.
        versions.sort_by_key(|index| (index.is_dangling(), std::cmp::Reverse(time(index)), index.digest));
        let of = group.map_or_else(String::new, |group| format!(" of {group}"));
        for (at, index) in versions.iter().enumerate().take(policy.keep_last.unwrap_or_default() as usize) {
            let reason = if at == 0 { format!("the last{of}") } else { format!("number {} of the last{of}", at + 1) };
            kept.entry(index.digest).or_insert(reason);
        }
        let formats = [
            (policy.keep_hourly, "%Y-%m-%d %H", "hour"),
            (policy.keep_daily, "%Y-%m-%d", "day"),
            (policy.keep_weekly, "%G-W%V", "week"),
            (policy.keep_monthly, "%Y-%m", "month"),
        ];
        for (number, format, word) in formats {
            let Some(number) = number else { continue };
            let mut seen = HashSet::new();
            for index in &versions {
                let Some(time) = time(index) else { continue };
                let bucket = time.to_zoned(TimeZone::UTC).strftime(format).to_string();
                if seen.len() as u32 >= number && !seen.contains(&bucket) {
                    break;
                }
                if seen.insert(bucket.clone()) {
                    kept.entry(index.digest).or_insert_with(|| format!("the last of its {word}{of}, {bucket}"));
                }
            }
        }
    }
    kept
}

/// Brings back what need not go for the place to fit: the oldest goes first, what has no name before what has one.
fn fit(inventory: &Inventory, verdicts: &mut [Verdict<'_>], limit: Limit, policy: &Policy) {
    let most = super::of(limit, inventory.bytes());
    let staged = |verdict: &Verdict<'_>| policy.remove.iter().any(|which| is_called(verdict.index, which));
    let mut order: Vec<usize> = (0..verdicts.len()).filter(|&at| verdicts[at].goes && !staged(&verdicts[at])).collect();
    order.sort_by_key(|&at| (!verdicts[at].index.is_dangling(), verdicts[at].time, verdicts[at].index.digest));
    let sizes: BTreeMap<Digest, u64> = inventory.blobs.iter().filter_map(|b| Some((b.digest, b.size?))).collect();
    // How many versions that stay, as things are, need each blob. Orphans go anyway.
    let mut users: BTreeMap<Digest, u32> = BTreeMap::new();
    let mut total = 0_u64;
    let (in_question, decided): (HashSet<usize>, Vec<usize>) =
        (order.iter().copied().collect(), (0..verdicts.len()).filter(|at| !verdicts[*at].goes).collect());
    for at in in_question.iter().chain(&decided) {
        for reached in &verdicts[*at].index.reach {
            let Some(size) = sizes.get(&reached.digest) else { continue };
            let count = users.entry(reached.digest).or_default();
            if *count == 0 {
                total = total.saturating_add(*size);
            }
            *count += 1;
        }
    }
    let words = Bytes(most).show(SizeStyle::default());
    for at in order {
        let verdict = &mut verdicts[at];
        if total <= most {
            verdict.goes = false;
            verdict.reason = format!("it fits into {words}");
            continue;
        }
        for reached in &verdict.index.reach {
            let Some(count) = users.get_mut(&reached.digest) else { continue };
            *count -= 1;
            if *count == 0 {
                total = total.saturating_sub(sizes.get(&reached.digest).copied().unwrap_or_default());
            }
        }
        verdict.reason = format!("{}, one of the oldest, to fit into {words}", verdict.reason);
    }
}

/// Spares versions that may be in the making.
pub(super) fn spare<'a>(
    mut verdicts: Vec<Verdict<'a>>,
    young: &BTreeSet<Digest>,
    promise: &Promise,
) -> Vec<Verdict<'a>> {
    for verdict in &mut verdicts {
        // One with a name was chosen by somebody or something that knows it.
        if verdict.index.is_dangling() && young.contains(&verdict.index.digest) {
            verdict.goes = false;
            let grace = short_duration(promise.grace.unsigned_abs());
            verdict.reason = format!("younger than {grace}: a build may be about to name it");
        }
    }
    verdicts
}

/// A sentence where what stays is more than the limit allows.
pub(super) fn still_over(inventory: &Inventory, plan: &Plan, limit: Limit) -> Option<String> {
    let most = super::of(limit, inventory.bytes());
    let over = plan.after().checked_sub(most).filter(|over| *over > 0)?;
    let [over, most] = [over, most].map(|bytes| Bytes(bytes).show(SizeStyle::default()));
    Some(format!("{over} more than {most} stay: the rules, pins and young blobs keep them"))
}

/// The policy in phrases.
pub(super) fn words(policy: &Policy, grouping: GroupBy, purpose: Purpose) -> Vec<String> {
    let mut words = Vec::new();
    let duration = |duration: SignedDuration| short_duration(duration.unsigned_abs());
    let each = match grouping {
        GroupBy::None => String::new(),
        by => format!(" of each {}", by.name()),
    };
    if let Some(n) = policy.keep_last {
        words.push(format!("keep the last {n}{each}"));
    }
    if let Some(within) = policy.keep_within {
        words.push(format!("keep what is younger than {}", duration(within)));
    }
    let periods = [
        (policy.keep_hourly, "hours"),
        (policy.keep_daily, "days"),
        (policy.keep_weekly, "weeks"),
        (policy.keep_monthly, "months"),
    ];
    words
        .extend(periods.iter().filter_map(|(n, word)| n.map(|n| format!("keep the last{each} in each of {n} {word}"))));
    words.extend(policy.keep_tags.iter().map(|glob| format!("keep names like {glob}")));
    words.extend(policy.keep_digests.iter().map(|digest| format!("keep {digest}")));
    if let Some(unused) = policy.keep_unused_for {
        words.push(format!("keep what was used within {}", duration(unused)));
    }
    if policy.keep_none {
        words.push("keep nothing but pins".to_owned());
    }
    if let Some(limit) = policy.max_size {
        words.push(match limit {
            Limit::Size(bytes) => format!("at most {}", bytes.show(SizeStyle::default())),
            Limit::Percent(percent) => format!("at most {percent}%"),
        });
    }
    if words.is_empty() && purpose == Purpose::Prune {
        words.push("keep what has a name".to_owned());
    }
    if purpose == Purpose::Prune {
        words.push(match grouping {
            GroupBy::None => "all versions are one group".to_owned(),
            by => format!("versions are grouped by {}", by.name()),
        });
    }
    words.extend(policy.remove.iter().map(|which| format!("take {which} away")));
    words.extend(policy.keep.iter().map(|which| format!("keep {which}, as you chose")));
    words.push("keep pins".to_owned());
    words
}
