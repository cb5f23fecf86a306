//! What the screen of a builder says in words: the builder and its rules, a record and why it is kept, a build.

use crate::model::builder::{Build, Node, Rule};
use crate::model::text;
use crate::model::units::short_duration;
use crate::model::usage::UsageRecord;
use crate::ops::kept::{Keeping, Verdict, rule_words};
use crate::tui::screen::{Look, count};
use crate::tui::screens::wrapped;
use crate::tui::shared::Shared;
use ratatui::text::{Line, Span};
use serde_json::{Value, json};

/// What caps and floors are.
const LEGEND: &str = "cap: it collects while there is more; floor: it never goes below that";

/// The labels of a worker that say what runs steps and what keeps files.
const LABELS: [&str; 2] = ["org.mobyproject.buildkit.worker.executor", "org.mobyproject.buildkit.worker.snapshotter"];

/// A node, its worker and its rules, in at most `most` lines. `of` says which of how many nodes it is.
pub(super) fn header(node: &Node, of: (usize, usize), most: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let dot = format!(" {} ", look.glyphs.dot);
    let mut words = vec![format!("BuildKit {}", node.version.as_deref().unwrap_or("of unknown version"))];
    if node.address != node.name {
        words.push(node.address.clone());
    }
    if of.1 > 1 {
        words.push(format!("node {} of {}", of.0 + 1, of.1));
    }
    let (worker, rules) = policy(node, look);
    if most == 1 {
        words.insert(1, in_short(node, look));
    }
    let words = text::safe(&words.join(&dot)).into_owned();
    let name = Span::styled(text::safe(&node.name).into_owned(), look.theme.strong);
    let mut lines = vec![look.fact("node", vec![name, Span::raw(dot), words.into()])];
    lines.extend(worker);
    let room = most.saturating_sub(lines.len());
    let more = rules.len().saturating_sub(room);
    lines.extend(rules.into_iter().take(room));
    if more > 0 && most > 2 {
        lines.pop();
        lines.push(look.fact("", vec![look.dim(format!("{more} more lines: i shows them"))]));
    }
    lines.truncate(most);
    lines
}

/// The worker's line and its rules, with what their words mean.
fn policy(node: &Node, look: Look<'_>) -> (Option<Line<'static>>, Vec<Line<'static>>) {
    let worker = match &node.workers {
        Err(why) => {
            let why = Span::styled(format!("unknown: {}", text::safe(why)), look.theme.finding);
            return (None, vec![look.fact("rules", vec![why])]);
        }
        Ok(workers) => workers.first(),
    };
    let Some(worker) = worker else { return (None, vec![look.fact("worker", vec!["none".into()])]) };
    let mut words = vec![worker.id.clone(), worker.platforms.join(", ")];
    words.extend(LABELS.iter().filter_map(|label| worker.labels.get(*label).cloned()));
    words.retain(|word| !word.is_empty());
    let words = text::safe(&words.join(&format!(" {} ", look.glyphs.dot))).into_owned();
    let line = look.fact("worker", vec![words.into()]);
    let says = |(at, rule)| {
        let words = rule_words(rule, look.shared.sizes).join("; ");
        look.fact(&format!("rule {at}"), vec![text::safe(&words).into_owned().into()])
    };
    let mut rules: Vec<_> = worker.rules.iter().enumerate().map(says).collect();
    if rules.is_empty() {
        rules.push(look.fact("rules", vec!["none: it collects nothing by itself".into()]));
    } else if worker.rules.iter().any(|rule| rule.max_used_bytes > 0 || rule.reserved_bytes > 0) {
        rules.push(look.fact("", vec![look.dim(LEGEND)]));
    }
    (Some(line), rules)
}

/// The rules in a few words.
fn in_short(node: &Node, look: Look<'_>) -> String {
    let Ok(workers) = &node.workers else { return "rules unknown".to_owned() };
    let rules = workers.first().map_or(&[][..], |worker| &worker.rules);
    if rules.is_empty() {
        return "collects nothing".to_owned();
    }
    let mut words = vec![count(rules.len(), "rule")];
    let largest = |of: fn(&Rule) -> u64| rules.iter().map(of).max().filter(|bytes| *bytes > 0);
    words.extend(largest(|rule| rule.max_used_bytes).map(|cap| format!("cap {}", look.bytes(cap))));
    words.extend(largest(|rule| rule.reserved_bytes).map(|floor| format!("floor {}", look.bytes(floor))));
    words.join(", ")
}

/// Why a record is kept, and what stands around it: found once for the one under the cursor.
pub(super) struct Why {
    reasons: Vec<String>,
    parents: Vec<String>,
    children: Vec<String>,
}

/// Parents and children that are told one by one.
const MOST: usize = 40;

impl Why {
    /// Of the record at `at` of `node`.
    pub(super) fn of(node: &Node, at: usize, shared: &Shared) -> Why {
        let records = node.records.as_deref().unwrap_or_default();
        let Some(record) = records.get(at) else {
            return Why { reasons: Vec::new(), parents: Vec::new(), children: Vec::new() };
        };
        let reasons = Keeping::new(node).why(at, shared.now).sentences(shared.sizes, shared.now);
        let told = |id: &String| match records.binary_search_by(|other| other.id.cmp(id)) {
            Ok(at) => title(&records[at]),
            Err(_) => format!("{id}, which is gone"),
        };
        let children = records.iter().filter(|other| other.parents.contains(&record.id)).map(title);
        Why { reasons, parents: record.parents.iter().map(told).collect(), children: children.collect() }
    }

    /// In lines: the verdict and the rules, then what it builds on and what builds on it.
    fn lines(&self, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        for (label, says) in [("kept", &self.reasons), ("parents", &self.parents), ("children", &self.children)] {
            for (at, words) in says.iter().take(MOST).enumerate() {
                lines.extend(wrapped(if at == 0 { label } else { "" }, &text::safe(words), width, look));
            }
            if says.len() > MOST {
                lines.push(look.fact("", vec![look.dim(format!("and {} more", says.len() - MOST))]));
            }
        }
        lines
    }
}

/// The step, or what else the builder calls it; else its id. Not safe.
fn title(record: &UsageRecord) -> String {
    if record.description.is_empty() { record.id.clone() } else { record.description.clone() }
}

/// A record and why it is kept.
pub(super) fn record(record: &UsageRecord, why: &Why, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let mut lines = wrapped("step", &text::safe(&title(record)), width, look);
    let flags = [(record.in_use, "in use"), (record.shared, "shared"), (record.mutable, "mutable")];
    let mut words = vec![text::safe(&record.kind).into_owned(), look.bytes(record.bytes)];
    words.extend(flags.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()));
    words.push(count(record.uses, "use"));
    words.push(text::safe(&record.id).into_owned());
    lines.extend(wrapped("record", &words.join(", "), width, look));
    lines.extend(why.lines(width, look));
    lines.push(look.fact("used", look.time(record.last_used)));
    lines.push(look.fact("made", look.time(record.created)));
    lines
}

/// A build.
pub(super) fn build(build: &Build, width: usize, look: Look<'_>) -> Vec<Line<'static>> {
    let safe = |words: &str| text::safe(words).into_owned();
    let took = build.took().map(|took| format!(", took {}", short_duration(took))).unwrap_or_default();
    let pinned = if build.pinned { ", pinned: it is kept when others are forgotten" } else { "" };
    let state = format!(
        "{}{took}, {} of {} from the cache{pinned}",
        build.state(),
        build.cached_steps,
        count(build.total_steps, "step")
    );
    let mut lines = wrapped("build", &state, width, look);
    if let Some(error) = &build.error {
        lines.extend(wrapped("error", &safe(error), width, look));
    }
    lines.extend(wrapped("id", &safe(&build.id), width, look));
    if let Some(target) = &build.target {
        lines.extend(wrapped("target", &safe(target), width, look));
    }
    lines.push(look.fact("began", look.time(build.created)));
    if !build.exporters.is_empty() {
        lines.extend(wrapped("output", &safe(&build.exporters.join(", ")), width, look));
    }
    for made in &build.results {
        let platform = made.platform.as_deref().map(|platform| format!("{platform}  ")).unwrap_or_default();
        let words = format!("{platform}{}  {}", made.digest, look.bytes(made.bytes));
        lines.extend(wrapped("made", &safe(&words), width, look));
    }
    for (label, pairs) in [("said", &build.response), ("from", &build.attributes)] {
        for (at, (key, value)) in pairs.iter().enumerate() {
            lines.extend(wrapped(if at == 0 { label } else { "" }, &safe(&format!("{key} = {value}")), width, look));
        }
    }
    if build.warnings > 0 {
        lines.push(look.fact("warnings", vec![build.warnings.to_string().into()]));
    }
    lines
}

/// A record in fields that `cachedeck daemon du --json` has.
pub(super) fn record_json(record: &UsageRecord, kept: Verdict) -> Value {
    json!({
        "id": record.id,
        "type": record.kind,
        "description": record.description,
        "bytes": record.bytes,
        "in_use": record.in_use,
        "shared": record.shared,
        "mutable": record.mutable,
        "uses": record.uses,
        "created_at": record.created.map(|time| time.to_string()),
        "last_used_at": record.last_used.map(|time| time.to_string()),
        "parents": record.parents,
        "kept": kept.name(),
    })
}

/// A build in fields that `cachedeck daemon history --json` has.
pub(super) fn build_json(build: &Build) -> Value {
    json!({
        "id": build.id,
        "state": build.state(),
        "target": build.target,
        "attributes": build.attributes,
        "created_at": build.created.map(|time| time.to_string()),
        "completed_at": build.completed.map(|time| time.to_string()),
        "error": build.error,
        "pinned": build.pinned,
        "cached_steps": build.cached_steps,
        "total_steps": build.total_steps,
        "response": build.response,
    })
}
