//! Which records of a builder go, as buildkitd's `Prune` would choose them (`cache/manager.go`): records that nothing holds, what
//! builds on others first; down to a size, those that were used least and longest ago, one by one, until there is little enough.

use super::{Sight, empty};
use crate::error::{Error, Kind, Result};
use crate::model::builder::Rule;
use crate::model::plan::{Fate, Plan, Row, Step, Subject};
use crate::model::units::{Bytes, SizeStyle, short_duration};
use crate::model::usage::UsageRecord;
use crate::ops::kept::{Special, fits, special, young_until};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Plans to prune a builder by one rule, on each of its nodes by itself.
///
/// [`Kind::Unsupported`] for what is no builder, and for a rule that goes by the free space of its disk, which it does not tell;
/// [`Kind::Invalid`] for a filter that can't be read here.
pub async fn records(sight: &Sight<'_>, rule: &Rule) -> Result<Plan> {
    let kind = sight.inventory.location.kind();
    let builder = sight.inventory.details.builder.as_deref();
    let builder = builder.ok_or_else(|| Error::unsupported(kind, "a builder's records"))?;
    if rule.min_free_bytes > 0 {
        return Err(Error::unsupported(kind, "keeping disk space free, as a builder does not tell how much there is")
            .with_hint("give the size of the cache instead, by --max-used-space"));
    }
    let all = || builder.nodes.iter().flat_map(|node| node.records.as_deref().unwrap_or_default());
    let mut plan = empty(sight, words(rule), all().map(|record| record.id.clone())).await?;
    plan.before = all().map(|record| record.bytes).fold(0, u64::saturating_add);
    let several = builder.nodes.len() > 1;
    let (mut stays, mut planned) = (BTreeMap::<(&str, Option<&str>), Lot>::new(), HashSet::new());
    for node in &builder.nodes {
        let Ok(records) = &node.records else {
            plan.warnings.push(format!("records of node {} are not known, and stay", node.name));
            continue;
        };
        let chosen = choose(records, rule, sight.now)?;
        let group = several.then_some(node.name.as_str());
        for at in &chosen {
            let record = &records[*at];
            let name = if record.description.is_empty() { &record.id } else { &record.description };
            let frees = if record.shared { 0 } else { record.bytes };
            plan.rows.push(Row {
                fate: Fate::Remove,
                subject: Subject::Record,
                names: vec![name.clone()],
                digest: None,
                reason: why(record, rule),
                count: 1,
                bytes: record.bytes,
                frees,
                time: record.last_used.or(record.created),
                group: group.map(str::to_owned),
            });
            plan.frees = plan.frees.saturating_add(frees);
            if planned.insert(record.id.clone()) {
                plan.steps.push(Step::Discard { id: record.id.clone(), name: name.clone(), bytes: frees });
            }
        }
        let goes: HashSet<usize> = chosen.into_iter().collect();
        for (at, record) in records.iter().enumerate().filter(|(at, _)| !goes.contains(at)) {
            let lot = stays.entry((why_not(records, at, rule, sight.now), group)).or_default();
            lot.count += 1;
            lot.bytes = lot.bytes.saturating_add(record.bytes);
        }
    }
    for ((reason, group), lot) in stays {
        plan.rows.push(Row {
            fate: Fate::Keep,
            subject: Subject::Record,
            names: vec!["records".to_owned()],
            digest: None,
            reason: reason.to_owned(),
            count: lot.count,
            bytes: lot.bytes,
            frees: 0,
            time: None,
            group: group.map(str::to_owned),
        });
    }
    Ok(plan)
}

/// Records that stay for one reason.
#[derive(Default)]
struct Lot {
    count: u64,
    bytes: u64,
}

/// The records that go, in the order they go.
fn choose(records: &[UsageRecord], rule: &Rule, now: Timestamp) -> Result<Vec<usize>> {
    let mut candidates = HashSet::new();
    for (at, record) in records.iter().enumerate() {
        let Some(fits) = fits(&rule.filters, record) else {
            let what = format!("a filter that can't be read here: {}", rule.filters.join("; "));
            return Err(Error::new(Kind::Invalid, what)
                .with_hint("filters are like type=exec.cachemount, shared, id=ID, description=TEXT"));
        };
        if fits && !record.in_use && (rule.all || special(record).is_none()) && !is_young(rule, record, now) {
            candidates.insert(at);
        }
    }
    let by_id: HashMap<&str, usize> = records.iter().enumerate().map(|(at, r)| (r.id.as_str(), at)).collect();
    // How many records that are still there build on each.
    let mut held = vec![0_usize; records.len()];
    let parents = |at: usize| {
        let own: HashSet<usize> = records[at].parents.iter().filter_map(|id| by_id.get(id.as_str()).copied()).collect();
        own
    };
    (0..records.len()).for_each(|at| parents(at).into_iter().for_each(|parent| held[parent] += 1));
    let floor = rule.max_used_bytes.max(rule.reserved_bytes);
    let mut total = records.iter().filter(|r| !r.shared).map(|r| r.bytes).fold(0, u64::saturating_add);
    let mut chosen = Vec::new();
    while floor == 0 || total >= floor {
        let mut free: Vec<usize> = candidates.iter().copied().filter(|at| held[*at] == 0).collect();
        free.sort_unstable();
        if floor > 0 {
            free = least_used(records, &free).into_iter().collect();
        }
        if free.is_empty() {
            break;
        }
        for at in free {
            candidates.remove(&at);
            parents(at).into_iter().for_each(|parent| held[parent] -= 1);
            if !records[at].shared {
                total = total.saturating_sub(records[at].bytes);
            }
            chosen.push(at);
        }
    }
    Ok(chosen)
}

/// The one that goes first: of low rank by when it was used and by how often, both counting the same.
fn least_used(records: &[UsageRecord], free: &[usize]) -> Option<usize> {
    let ranks = |key: &dyn Fn(&UsageRecord) -> i128| {
        let values: std::collections::BTreeSet<i128> = free.iter().map(|at| key(&records[*at])).collect();
        let most = values.len().saturating_sub(1).max(1) as f64;
        let ranks: HashMap<i128, f64> =
            values.into_iter().enumerate().map(|(n, value)| (value, n as f64 / most)).collect();
        ranks
    };
    let used = |r: &UsageRecord| r.last_used.map_or(i128::MIN, Timestamp::as_nanosecond);
    let uses = |r: &UsageRecord| i128::from(r.uses);
    let (by_time, by_count) = (ranks(&used), ranks(&uses));
    let score = |at: usize| {
        let rank = |ranks: &HashMap<i128, f64>, key| ranks.get(&key).copied().unwrap_or_default();
        rank(&by_time, used(&records[at])) + rank(&by_count, uses(&records[at]))
    };
    free.iter().copied().min_by(|a, b| score(*a).total_cmp(&score(*b)).then_with(|| a.cmp(b)))
}

fn is_young(rule: &Rule, record: &UsageRecord, now: Timestamp) -> bool {
    young_until(rule, record).is_some_and(|until| until > now)
}

fn why(record: &UsageRecord, rule: &Rule) -> String {
    let sized = rule.max_used_bytes > 0 || rule.reserved_bytes > 0;
    match (sized, rule.keep.is_zero(), record.uses) {
        (true, _, 0) => "used least: never".to_owned(),
        (true, _, uses) => format!("used least and longest ago, {uses} times"),
        (false, false, _) => format!("not used for {}", short_duration(rule.keep)),
        (false, true, _) => "nothing uses it".to_owned(),
    }
}

/// Why a record stays.
fn why_not(records: &[UsageRecord], at: usize, rule: &Rule, now: Timestamp) -> &'static str {
    let record = &records[at];
    if record.in_use {
        return "a build uses them";
    }
    if fits(&rule.filters, record) != Some(true) {
        return "the filter leaves them out";
    }
    match special(record).filter(|_| !rule.all) {
        Some(Special::Shared) => return "images share them; only --all takes those",
        Some(Special::Internal | Special::Frontend) => return "BuildKit's own; only --all takes those",
        None => {}
    }
    if is_young(rule, record, now) {
        return "used not long ago";
    }
    match records.iter().any(|other| other.parents.contains(&record.id)) {
        true => "what stays builds on them",
        false => "there is little enough without them",
    }
}

/// What decided, for people.
fn words(rule: &Rule) -> Vec<String> {
    let size = |bytes| Bytes(bytes).show(SizeStyle::default());
    let mut words = Vec::new();
    words.extend((!rule.filters.is_empty()).then(|| format!("of what fits {}", rule.filters.join(" or "))));
    words.extend((!rule.keep.is_zero()).then(|| format!("keep what was used within {}", short_duration(rule.keep))));
    words.extend((rule.max_used_bytes > 0).then(|| format!("down to {}", size(rule.max_used_bytes))));
    words.extend((rule.reserved_bytes > 0).then(|| format!("never below {}", size(rule.reserved_bytes))));
    words.push(if rule.all { "all types" } else { "not BuildKit's own, nor what images share" }.to_owned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn record(id: &str, parents: &[&str], bytes: u64, used: i64, uses: u64) -> UsageRecord {
        UsageRecord {
            id: id.to_owned(),
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
            kind: "regular".to_owned(),
            description: String::new(),
            bytes,
            created: None,
            last_used: Timestamp::from_second(used).ok(),
            uses,
            in_use: false,
            mutable: false,
            shared: false,
        }
    }

    fn ids(records: &[UsageRecord], rule: &Rule) -> Vec<String> {
        let chosen = choose(records, rule, Timestamp::from_second(1000).unwrap()).unwrap();
        chosen.into_iter().map(|at| records[at].id.clone()).collect()
    }

    #[test]
    fn children_go_before_their_parents_and_what_is_held_stays() {
        let mut records = vec![
            record("base", &[], 10, 1, 1),
            record("middle", &["base"], 10, 1, 1),
            record("leaf", &["middle"], 10, 1, 1),
            record("held", &[], 10, 1, 1),
            record("user", &["held"], 10, 1, 1),
        ];
        records[4].in_use = true;
        assert_eq!(ids(&records, &Rule::default()), ["leaf", "middle", "base"]);
        records[2].kind = "frontend".to_owned();
        assert!(ids(&records, &Rule::default()).is_empty(), "it holds the others");
        assert_eq!(ids(&records, &Rule { all: true, ..Rule::default() }), ["leaf", "middle", "base"]);
    }

    #[test]
    fn down_to_a_size_what_is_used_least_goes_first_and_no_more_than_needed() {
        let records = [
            record("often-old", &[], 10, 10, 9),
            record("seldom-old", &[], 10, 20, 1),
            record("seldom-new", &[], 10, 90, 1),
            record("often-new", &[], 10, 99, 9),
        ];
        let rule = |max_used_bytes| Rule { max_used_bytes, ..Rule::default() };
        assert_eq!(ids(&records, &rule(35)), ["seldom-old"]);
        assert_eq!(ids(&records, &rule(25)).len(), 2);
        assert!(ids(&records, &rule(41)).is_empty());
        let floor = Rule { reserved_bytes: 41, ..rule(5) };
        assert!(ids(&records, &floor).is_empty(), "never below the floor");
    }

    #[test]
    fn what_was_used_lately_or_does_not_fit_stays() {
        let records = [record("old", &[], 10, 100, 1), record("new", &[], 10, 990, 1)];
        let young = Rule { keep: Duration::from_secs(60), ..Rule::default() };
        assert_eq!(ids(&records, &young), ["old"]);
        let one = Rule { filters: vec!["id==new".to_owned()], ..Rule::default() };
        assert_eq!(ids(&records, &one), ["new"]);
        let odd = Rule { filters: vec!["description~=x".to_owned()], ..Rule::default() };
        assert_eq!(choose(&records, &odd, Timestamp::UNIX_EPOCH).unwrap_err().kind(), Kind::Invalid);
    }
}
