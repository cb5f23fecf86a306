//! What is told of a copy, before and after.

use super::super::change::{Place, Unfiltered, quoted};
use super::super::failure::Outcome;
use super::super::output::{self, Cell, Column, Item, Section, Tone, Value};
use super::super::session::{Loaded, Session};
use crate::model::digest::Digest;
use crate::model::filter::{Field, Row};
use crate::model::plan::RunId;
use crate::model::text;
use crate::model::units::{Bytes, count};
use crate::ops::apply::Applied;
use crate::ops::copy::{Copied, Fate, Plan, Tally};
use serde::Serialize;
use serde_json::{Map, json};

/// Failures of blobs that are told one by one.
const PROBLEMS: usize = 5;

/// A version that is copied.
#[derive(Serialize)]
struct CopyItem {
    /// What became, or would become, of it.
    result: &'static str,
    version: String,
    names: Vec<String>,
    source_digest: Digest,
    digest: Option<Digest>,
    form: &'static str,
    size_bytes: u64,
    saved_bytes: u64,
    reason: Option<String>,
    cache_from: Option<String>,
}

impl Item for CopyItem {
    const TYPE: &'static str = "copy";

    fn fields() -> &'static [Field] {
        &[]
    }

    fn row(&self) -> impl Row {
        Unfiltered
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("RESULT", |item: &Self| {
                Cell::text(item.result).tone(match item.result {
                    "failed" => Tone::Bad,
                    "unchanged" => Tone::Dim,
                    _ => Tone::Good,
                })
            }),
            Column::words("VERSION", |item: &Self| Cell::text(item.version.as_str())).cut_middle(),
            Column::words("NAMES THERE", |item: &Self| Cell::text(item.names.join(", "))).cut_middle().field("names"),
            Column::words("DIGEST", |item: &Self| Cell::digest(item.digest)).if_known(),
            Column::words("FORM", |item: &Self| Cell::text(item.form)).drop(2),
            Column::numbers("SIZE", |item: &Self| Cell::size(item.size_bytes)).field("size_bytes"),
            Column::words("WHY", |item: &Self| Cell::new(item.reason.clone().map_or(Value::None, Value::Words)))
                .cut_end()
                .if_known()
                .field("reason"),
        ]
    }
}

/// Says what the min form leaves out.
pub(super) fn saved(session: &Session, plan: &Plan) {
    let saved: u64 = plan.versions.iter().map(|version| version.saves).sum();
    if saved > 0 {
        let size = Bytes(saved).show(session.out.look.sizes);
        session.words.note(&format!("mode min leaves out {size} that only intermediate steps need"));
    }
}

/// What a copy would come to, and the names that would be taken away beside it.
pub(in crate::cli) fn planned(
    session: &mut Session,
    from: &Loaded,
    to: &Place,
    plan: &Plan,
    removes: &[String],
) -> Outcome<()> {
    let items = plan.versions.iter().map(|version| CopyItem {
        result: if version.is_done() { "unchanged" } else { "planned" },
        version: version.title.clone(),
        names: version.names.iter().map(|named| named.name.clone()).collect(),
        source_digest: version.source,
        digest: version.digest,
        form: version.form.name(),
        size_bytes: version.bytes,
        saved_bytes: version.saves,
        reason: None,
        cache_from: None,
    });
    let items: Vec<CopyItem> = items.collect();
    let there: Vec<u64> = plan.blobs.iter().filter(|blob| blob.there).map(|blob| blob.size).collect();
    let there = Tally { count: there.len() as u64, bytes: there.iter().sum() };
    let sent = Tally { count: plan.blobs.len() as u64 - there.count, bytes: plan.to_send() };
    let mut facts = facts(from, to, true);
    facts.insert("sent".to_owned(), tally(sent));
    facts.insert("taken".to_owned(), tally(Tally::default()));
    facts.insert("there".to_owned(), tally(there));
    facts.insert("runs".to_owned(), json!([]));
    facts.insert("removes".to_owned(), json!(removes));
    facts.insert("failures".to_owned(), json!([]));
    write(session, items, facts)?;
    if !session.out.is_json() {
        let size = |bytes| Bytes(bytes).show(session.out.look.sizes);
        let packs = plan.blobs.iter().filter(|blob| blob.packs).count();
        let packs = if packs > 0 { format!(", {} packed anew", count(packs, "layer")) } else { String::new() };
        session.words.note(&format!(
            "would send {} ({}){packs}; {} there already ({})",
            count(sent.count, "blob"),
            size(sent.bytes),
            there.count,
            size(there.bytes)
        ));
    }
    Ok(())
}

/// What came of it, and of the plan that took those names away.
pub(in crate::cli) fn copied(
    session: &mut Session,
    from: &Loaded,
    to: &Place,
    copied: &Copied,
    removed: Option<(&[String], &Applied)>,
) -> Outcome<()> {
    let items = copied.versions.iter().map(|version| {
        let (result, reason) = match &version.fate {
            Fate::Copied => ("copied", None),
            Fate::Unchanged => ("unchanged", None),
            Fate::Failed(_, why) => ("failed", Some(why.clone())),
        };
        let usable = reason.is_none().then(|| version.names.first()).flatten();
        let from = usable.and_then(|name| to.location.cache_from(None, Some(name)).ok());
        CopyItem {
            result,
            version: version.title.clone(),
            names: version.names.clone(),
            source_digest: version.source,
            digest: version.digest,
            form: version.form.name(),
            size_bytes: version.bytes,
            saved_bytes: version.saves,
            reason,
            cache_from: from,
        }
    });
    let items: Vec<CopyItem> = items.collect();
    let lines: Vec<String> = items.iter().filter_map(|item| item.cache_from.clone()).collect();
    let mut facts = facts(from, to, false);
    facts.insert("sent".to_owned(), tally(copied.sent));
    facts.insert("taken".to_owned(), tally(copied.taken));
    facts.insert("there".to_owned(), tally(copied.there));
    let ids = copied.applied.iter().map(|applied| &applied.run.id);
    let runs: Vec<&str> = ids.chain(removed.map(|(_, applied)| &applied.run.id)).map(RunId::as_str).collect();
    facts.insert("runs".to_owned(), json!(runs));
    facts.insert("removes".to_owned(), json!(removed.map(|(names, _)| names).unwrap_or_default()));
    let not_removed =
        removed.map(|(_, applied)| applied.run.failures.iter().chain(&applied.stopped).collect::<Vec<_>>());
    facts.insert("failures".to_owned(), json!(not_removed.unwrap_or_default()));
    write(session, items, facts)?;
    if session.out.is_json() {
        return Ok(());
    }
    let words = session.words;
    let size = |bytes| Bytes(bytes).show(session.out.look.sizes);
    let mut parts = vec![format!("sent {} ({})", count(copied.sent.count, "blob"), size(copied.sent.bytes))];
    if copied.taken.count > 0 {
        parts.push(format!("{} copied where they were ({})", copied.taken.count, size(copied.taken.bytes)));
    }
    parts.push(format!("{} there before ({})", copied.there.count, size(copied.there.bytes)));
    words.note(&parts.join(", "));
    copied.problems.iter().take(PROBLEMS).for_each(|problem| words.say("failed", Tone::Bad, problem));
    if copied.problems.len() > PROBLEMS {
        words.say("failed", Tone::Bad, &format!("and {} more", count(copied.problems.len() - PROBLEMS, "blob")));
    }
    let can_undo = to.store.capabilities().remove;
    for applied in copied.applied.iter().filter(|applied| can_undo && applied.run.names > 0) {
        words.note(&format!("undo: cachedeck undo {} {}", applied.run.id, quoted(&to.location)));
    }
    lines.iter().for_each(|line| words.note(&format!("use it: --cache-from {}", text::shell_quote(line))));
    Ok(())
}

fn facts(from: &Loaded, to: &Place, dry_run: bool) -> Map<String, serde_json::Value> {
    let mut facts = Map::new();
    facts.insert("source".to_owned(), json!(output::Place(&from.inventory.location)));
    facts.insert("destination".to_owned(), json!(output::Place(&to.location)));
    facts.insert("dry_run".to_owned(), dry_run.into());
    facts
}

fn tally(tally: Tally) -> serde_json::Value {
    json!({ "blobs": tally.count, "size_bytes": tally.bytes })
}

fn write(session: &mut Session, items: Vec<CopyItem>, facts: Map<String, serde_json::Value>) -> Outcome<()> {
    let complete = items.iter().all(|item| item.result != "failed");
    let section = Section { location: None, items, warnings: Vec::new(), complete };
    session.out.list_with("copy", facts, &[section], false)
}
