//! Why a builder keeps a record, and what would have to happen for it to go. Pure: from what the builder told.
//!
//! As BuildKit's `cache/manager.go` collects: a record goes only if nothing holds it, and what builds on it holds it. Rules
//! run in order. Each first sees how much there is, shared records not counted, and does nothing while that is below what it
//! lets be; otherwise it takes what its filters fit and what was not used within its time, one record after the other, until
//! there is little enough. Only a rule for all takes internal records, frontends and what images share.

use crate::model::builder::{Node, Rule};
use crate::model::units::{self, Bytes, SizeStyle, count};
use crate::model::usage::UsageRecord;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeSet, HashMap};

/// All records of a node with what holds what, to ask of each why it is kept.
#[derive(Debug)]
pub struct Keeping<'a> {
    records: &'a [UsageRecord],
    rules: &'a [Rule],
    rules_known: bool,
    by_id: HashMap<&'a str, usize>,
    /// Records that build on each.
    children: Vec<Vec<usize>>,
    /// Bytes that rules go by.
    counted: u64,
}

/// Why a record is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept<'a> {
    /// In a word or two.
    pub verdict: Verdict,
    /// Records that build on it, directly or not.
    pub descendants: usize,
    /// Of those the one that keeps it longest, and what keeps that.
    pub holder: Option<(&'a UsageRecord, Verdict)>,
    /// Records that it builds on, directly or not: they stay as long as it does.
    pub ancestors: usize,
    /// What each rule says, in order. Empty if there are none.
    pub rules: Vec<Says>,
    /// Whether the rules are known.
    pub rules_known: bool,
}

/// Why a record is kept, in a word. What keeps longest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A build holds it.
    InUse,
    /// Nothing ever collects.
    NeverCollected,
    /// Other records build on it.
    Child,
    /// Rules let it be until there is more.
    UnderCap,
    /// A rule lets it be until its disk is full, of which the builder does not tell.
    UntilDiskFills,
    /// It was used not long ago.
    Young,
    /// No rule fits it.
    NoRule,
    /// Rules are not known.
    Unknown,
    /// Nothing keeps it: the next collection may take it.
    Nothing,
}

impl Verdict {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::InUse => "in_use",
            Verdict::NeverCollected => "never_collected",
            Verdict::Child => "child",
            Verdict::UnderCap => "under_cap",
            Verdict::UntilDiskFills => "until_disk_fills",
            Verdict::Young => "young",
            Verdict::NoRule => "no_rule",
            Verdict::Unknown => "unknown",
            Verdict::Nothing => "nothing",
        }
    }

    /// For a column.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::InUse => "in use",
            Verdict::NeverCollected => "no GC",
            Verdict::Child => "child",
            Verdict::UnderCap => "under cap",
            Verdict::UntilDiskFills => "disk not full",
            Verdict::Young => "young",
            Verdict::NoRule => "no rule",
            Verdict::Unknown => "unknown",
            Verdict::Nothing => "nothing",
        }
    }
}

/// What one rule says of one record, as far as its own words go: who builds on the record is another matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Its filters leave the record out.
    FilteredOut,
    /// Its filters can't be read here.
    Unreadable,
    /// It leaves such records to rules for all.
    NotForAll(Special),
    /// It was used too recently; until then it stays.
    Young(Timestamp),
    /// The cache is smaller than what it lets be: bytes now, and bytes it lets be.
    UnderCap(u64, u64),
    /// It acts only while less than so many bytes of the disk are free, and, for what was used recently, not until then.
    IfDiskFills(u64, Option<Timestamp>),
    /// It takes it.
    Takes,
}

/// What only rules for all take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// BuildKit's own.
    Internal,
    /// The image of a frontend.
    Frontend,
    /// Images share it.
    Shared,
}

impl<'a> Keeping<'a> {
    /// Looks at all records of `node`. The rules are those of its first worker: buildkitd uses only that.
    pub fn new(node: &'a Node) -> Self {
        let records = node.records.as_deref().unwrap_or_default();
        let rules = node.workers.as_ref().ok().and_then(|workers| workers.first()).map(|worker| &worker.rules[..]);
        Self::of(records, rules)
    }

    /// As [`Keeping::new`], from the parts; `None` for rules that are not known.
    pub fn of(records: &'a [UsageRecord], rules: Option<&'a [Rule]>) -> Self {
        let by_id: HashMap<&str, usize> = records.iter().enumerate().map(|(at, r)| (r.id.as_str(), at)).collect();
        let mut children = vec![Vec::new(); records.len()];
        for (at, record) in records.iter().enumerate() {
            for parent in record.parents.iter().filter_map(|parent| by_id.get(parent.as_str())) {
                children[*parent].push(at);
            }
        }
        let counted = records.iter().filter(|r| !r.shared).map(|r| r.bytes).fold(0, u64::saturating_add);
        Self { records, rules: rules.unwrap_or_default(), rules_known: rules.is_some(), by_id, children, counted }
    }

    /// Why the record at `at` is kept.
    pub fn why(&self, at: usize, now: Timestamp) -> Kept<'a> {
        let record = &self.records[at];
        let rules = self.rules.iter().map(|rule| self.says(rule, record, now)).collect();
        let below = self.reach(at, |at| self.children[at].clone());
        let above = self.reach(at, |at| {
            self.records[at].parents.iter().filter_map(|parent| self.by_id.get(parent.as_str()).copied()).collect()
        });
        let mut holder: Option<(&UsageRecord, Verdict, Option<Timestamp>)> = None;
        for &other in &below {
            let (verdict, until) = self.alone(&self.records[other], now);
            let stronger = holder
                .is_none_or(|(_, best, til)| (verdict, std::cmp::Reverse(until)) < (best, std::cmp::Reverse(til)));
            if stronger {
                holder = Some((&self.records[other], verdict, until));
            }
        }
        let own = self.alone(record, now).0;
        let verdict = match own {
            Verdict::InUse | Verdict::NeverCollected => own,
            _ if !below.is_empty() => Verdict::Child,
            own => own,
        };
        Kept {
            verdict,
            descendants: below.len(),
            holder: holder.map(|(record, verdict, _)| (record, verdict)),
            ancestors: above.len(),
            rules,
            rules_known: self.rules_known,
        }
    }

    /// What keeps a record apart from what builds on it, and until when, if that is a matter of time.
    fn alone(&self, record: &UsageRecord, now: Timestamp) -> (Verdict, Option<Timestamp>) {
        if record.in_use {
            return (Verdict::InUse, None);
        }
        if !self.rules_known {
            return (Verdict::Unknown, None);
        }
        if self.rules.is_empty() {
            return (Verdict::NeverCollected, None);
        }
        let mut verdict = Verdict::NoRule;
        let mut until: Option<Timestamp> = None;
        for rule in self.rules {
            // The weakest reason of all rules is what counts: one of them is enough to take it.
            verdict = verdict.max_weak(match self.says(rule, record, now) {
                Says::Takes => return (Verdict::Nothing, None),
                Says::Young(then) => {
                    until = Some(until.map_or(then, |known| known.min(then)));
                    Verdict::Young
                }
                Says::UnderCap(..) => Verdict::UnderCap,
                Says::IfDiskFills(..) => Verdict::UntilDiskFills,
                Says::FilteredOut | Says::Unreadable | Says::NotForAll(_) => Verdict::NoRule,
            });
        }
        (verdict, until.filter(|_| verdict == Verdict::Young))
    }

    fn says(&self, rule: &Rule, record: &UsageRecord, now: Timestamp) -> Says {
        match special(record) {
            Some(special) if !rule.all => return Says::NotForAll(special),
            _ => {}
        }
        match fits(&rule.filters, record) {
            Some(true) => {}
            Some(false) => return Says::FilteredOut,
            None => return Says::Unreadable,
        }
        let young = young_until(rule, record).filter(|until| *until > now);
        // How much of the cache a rule lets be: the cap, but never less than the floor.
        let lets_be = rule.max_used_bytes.max(rule.reserved_bytes);
        let sized = rule.max_used_bytes > 0 || rule.reserved_bytes > 0 || rule.min_free_bytes > 0;
        let by_disk_alone = rule.max_used_bytes == 0 && rule.min_free_bytes > 0;
        match young {
            None if !sized => Says::Takes,
            None if !by_disk_alone && self.counted >= lets_be => Says::Takes,
            Some(until) if !sized || (!by_disk_alone && self.counted >= lets_be) => Says::Young(until),
            _ if rule.min_free_bytes > 0 && self.counted >= rule.reserved_bytes => {
                Says::IfDiskFills(rule.min_free_bytes, young)
            }
            _ => Says::UnderCap(self.counted, lets_be),
        }
    }

    /// All that `next` leads to from `from`, itself left out, in the order of records. Loops end.
    fn reach(&self, from: usize, next: impl Fn(usize) -> Vec<usize>) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut waiting = next(from);
        while let Some(at) = waiting.pop() {
            if at != from && seen.insert(at) {
                waiting.extend(next(at));
            }
        }
        seen
    }

    /// Bytes that rules go by: all but shared records.
    pub fn counted(&self) -> u64 {
        self.counted
    }
}

impl Verdict {
    /// The one of two that lets go sooner, of those that rules lead to.
    fn max_weak(self, other: Self) -> Self {
        let weakness = |verdict| match verdict {
            Verdict::NoRule => 0,
            Verdict::UnderCap => 1,
            Verdict::UntilDiskFills => 2,
            _ => 3,
        };
        if weakness(other) > weakness(self) { other } else { self }
    }
}

/// What only rules for all take.
pub(in crate::ops) fn special(record: &UsageRecord) -> Option<Special> {
    match record.kind.as_str() {
        "internal" => Some(Special::Internal),
        "frontend" => Some(Special::Frontend),
        _ if record.shared => Some(Special::Shared),
        _ => None,
    }
}

/// Until when a rule takes the record for young. What was never used is not.
pub(in crate::ops) fn young_until(rule: &Rule, record: &UsageRecord) -> Option<Timestamp> {
    let keep = SignedDuration::try_from(rule.keep).ok().filter(|keep| !keep.is_zero())?;
    record.last_used?.checked_add(keep).ok()
}

/// Whether one of the filters fits; without any, all records do. `None` if one can't be read.
pub(in crate::ops) fn fits(filters: &[String], record: &UsageRecord) -> Option<bool> {
    if filters.is_empty() {
        return Some(true);
    }
    let each: Option<Vec<bool>> = filters.iter().map(|filter| fits_one(filter, record)).collect();
    each.map(|each| each.contains(&true))
}

/// One filter in containerd's language: comparisons that must all hold, between commas. Patterns are not read here.
fn fits_one(filter: &str, record: &UsageRecord) -> Option<bool> {
    let mut all = true;
    for part in filter.split(',') {
        let (field, wanted) = match (part.split_once("=="), part.split_once("!=")) {
            _ if part.contains("~=") => return None,
            (Some((field, value)), _) => (field, Some((value, true))),
            (None, Some((field, value))) => (field, Some((value, false))),
            (None, None) => (part, None),
        };
        let flag = |is: bool| is.then_some("");
        let value = match field.trim() {
            "id" => Some(record.id.as_str()),
            "description" => Some(record.description.as_str()).filter(|text| !text.is_empty()),
            "type" if record.kind.is_empty() => Some("regular"),
            "type" => Some(record.kind.as_str()),
            "inuse" => flag(record.in_use),
            "mutable" => flag(record.mutable),
            "immutable" => flag(!record.mutable),
            "shared" => flag(record.shared),
            "private" => flag(!record.shared),
            _ => return None,
        };
        all &= match wanted {
            None => value.is_some(),
            Some((wanted, equal)) => (value == Some(wanted.trim().trim_matches('"'))) == equal,
        };
    }
    Some(all)
}

impl Kept<'_> {
    /// All of it in sentences: first the verdict, then what stands behind it. Descriptions in it are untrusted.
    pub fn sentences(&self, sizes: SizeStyle, now: Timestamp) -> Vec<String> {
        let mut lines = vec![self.headline()];
        if let Some((record, verdict)) = self.holder {
            let name = if record.description.is_empty() { &record.id } else { &record.description };
            let mut line = match self.descendants {
                1 => format!("one record builds on it: {name}"),
                many => format!("{} build on it; the one that stays longest is {name}", count(many, "record")),
            };
            line.push_str(match verdict {
                Verdict::InUse => ", which a build holds",
                Verdict::Young => ", which was used not long ago",
                Verdict::UnderCap | Verdict::UntilDiskFills => ", which the rules let be for now",
                Verdict::Nothing => ", which nothing keeps: both may go, that one first",
                _ => "",
            });
            lines.push(line);
        }
        match self.ancestors {
            0 => {}
            1 => lines.push("as long as it stays, so does the record that it builds on".to_owned()),
            many => lines.push(format!("as long as it stays, so do the {many} records that it builds on")),
        }
        for (at, says) in self.rules.iter().enumerate() {
            lines.push(format!("rule {at}: {}", says.sentence(sizes, now)));
        }
        if !self.rules_known {
            lines.push("the builder does not tell its rules".to_owned());
        }
        lines
    }

    fn headline(&self) -> String {
        match self.verdict {
            Verdict::InUse => "a build uses it now: nothing takes it before that ends",
            Verdict::NeverCollected => "this builder collects nothing: it stays until somebody prunes",
            Verdict::Child => "what builds on it keeps it",
            Verdict::UnderCap => "the cache is smaller than its rules let it be",
            Verdict::UntilDiskFills => "it stays while enough of the disk is free, of which the builder does not tell",
            Verdict::Young => "it was used too recently to be taken",
            Verdict::NoRule => "no rule takes such a record: it stays until somebody prunes",
            Verdict::Unknown => "nothing uses it; what the builder collects is not known",
            Verdict::Nothing => "nothing keeps it: the next collection may take it",
        }
        .to_owned()
    }
}

impl Says {
    /// What the rule says, in words.
    pub fn sentence(self, sizes: SizeStyle, now: Timestamp) -> String {
        match self {
            Says::FilteredOut => "is for other types".to_owned(),
            Says::Unreadable => "has a filter that can't be read here".to_owned(),
            Says::NotForAll(Special::Internal) => "leaves BuildKit's internal records alone".to_owned(),
            Says::NotForAll(Special::Frontend) => "leaves frontends alone".to_owned(),
            Says::NotForAll(Special::Shared) => "leaves alone what images share".to_owned(),
            Says::Young(until) => format!("leaves what was used recently: for {} more", left(until, now)),
            Says::UnderCap(now, cap) => {
                format!("acts above {}; there are {}", Bytes(cap).show(sizes), Bytes(now).show(sizes))
            }
            Says::IfDiskFills(free, young) => {
                let then = young.map(|until| format!(", in {} at the soonest", left(until, now))).unwrap_or_default();
                format!("takes it while less than {} of the disk are free{then}", Bytes(free).show(sizes))
            }
            Says::Takes => "takes it".to_owned(),
        }
    }
}

fn left(until: Timestamp, now: Timestamp) -> String {
    units::short_duration(until.duration_since(now).try_into().unwrap_or_default())
}

/// A rule in words: what it is for, and what its numbers mean.
pub fn rule_words(rule: &Rule, sizes: SizeStyle) -> Vec<String> {
    let size = |bytes| Bytes(bytes).show(sizes);
    let mut words = vec![match (rule.all, rule.filters.is_empty()) {
        (true, true) => "all records, internal and shared ones too".to_owned(),
        (false, true) => "all records but internal, frontend and shared ones".to_owned(),
        (_, false) => rule.filters.iter().map(|f| f.replace("type==", "")).collect::<Vec<_>>().join(", "),
    }];
    if !rule.keep.is_zero() {
        words.push(format!("not used for {}", units::short_duration(rule.keep)));
    }
    match (rule.max_used_bytes, rule.reserved_bytes) {
        (0, 0) if rule.min_free_bytes == 0 => words.push("takes all of them".to_owned()),
        (0, _) => {}
        (cap, floor) if cap >= floor => words.push(format!("cap {}", size(cap))),
        (cap, _) => words.push(format!("cap {}, below its floor", size(cap))),
    }
    match (rule.reserved_bytes, rule.max_used_bytes, rule.min_free_bytes) {
        (0, ..) => {}
        // Nothing else bounds it, so it goes down to the floor.
        (floor, 0, 0) => words.push(format!("down to {}", size(floor))),
        (floor, ..) => words.push(format!("floor {}", size(floor))),
    }
    if rule.min_free_bytes > 0 {
        words.push(format!("until {} of the disk are free", size(rule.min_free_bytes)));
    }
    words
}

#[cfg(test)]
mod tests;
