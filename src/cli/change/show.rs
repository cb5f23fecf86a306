//! A plan as people read it: what stays, what goes, why, how many bytes, what is promised, and how to go on.

use super::super::failure::Outcome;
use super::super::output::{Cell, Column, Format, Item, Section, Tone, Value};
use super::super::session::Session;
use crate::model::filter::{Field, Row as FilterRow, Value as FilterValue};
use crate::model::location::Location;
use crate::model::plan::{Fate, Plan, Row, Step, Subject, Undo};
use crate::model::text;
use crate::model::units::{Bytes, count, short_duration};
use jiff::SignedDuration;
use serde::Serialize;
use std::borrow::Cow;

/// Writes a plan: as JSON whole, else its rows as data and the rest in words.
pub(in crate::cli) fn show(session: &mut Session, plan: &Plan) -> Outcome<()> {
    match session.out.format {
        Format::Json => session.out.json(plan),
        Format::Jsonl => {
            let mut line = serde_json::Map::new();
            line.insert("type".to_owned(), "plan".into());
            if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(plan) {
                line.extend(fields);
            }
            session.out.json_line(&line)?;
            session.out.flush()
        }
        _ => {
            let items = plan.rows.iter().map(RowItem).collect();
            let section = Section { location: None, items, warnings: Vec::new(), complete: true };
            session.out.list("plan-row-list", &[section], false)?;
            tell(session, plan);
            Ok(())
        }
    }
}

/// The words beside the rows.
fn tell(session: &Session, plan: &Plan) {
    let words = session.words;
    let size = |bytes| Bytes(bytes).show(session.out.look.sizes);
    let duration = |duration: SignedDuration| short_duration(duration.unsigned_abs());
    if !plan.policy.is_empty() {
        words.say("policy", Tone::Dim, &plan.policy.join("; "));
    }
    let promise = &plan.promise;
    if plan.targets().next().is_some() {
        let grace = match promise.grace.is_zero() {
            true => "none: nothing is too young to go, as no build is writing there now".to_owned(),
            false => format!("what is younger than {} stays", duration(promise.grace)),
        };
        words.say("grace", Tone::Dim, &grace);
        let settle = match promise.settle.is_zero() {
            true => "none: what goes is freed at once, for good".to_owned(),
            false => format!("what goes is hidden first, and freed after {} at the earliest", duration(promise.settle)),
        };
        words.say("settle", Tone::Dim, &settle);
    }
    if !plan.is_empty() {
        let undo = match &promise.undo {
            Undo::UntilFreed if promise.settle.is_zero() && plan.targets().next().is_some() => {
                "not once it is done, as blobs are freed at once".to_owned()
            }
            Undo::UntilFreed if plan.targets().next().is_none() => "possible".to_owned(),
            Undo::UntilFreed => "until what is hidden is freed".to_owned(),
            Undo::UntilCollected(who) => format!("as long as the place lets it: {who}"),
            Undo::Never(why) => format!("never: {why}"),
        };
        words.say("undo", Tone::Dim, &undo);
    }
    if plan.steps.iter().any(|step| matches!(step, Step::Unname { .. } | Step::Hide(_) | Step::Discard { .. })) {
        promise.caveats.iter().for_each(|caveat| words.say("note", Tone::Dim, caveat));
    }
    plan.warnings.iter().for_each(|warning| words.say("warning", Tone::Warn, warning));
    match plan.is_empty() {
        true => words.note(&format!("{}: nothing to do; it takes {}", title(plan), size(plan.before))),
        false => words.note(&sum(plan, size)),
    }
    plan.refused.iter().for_each(|why| words.say("refused", Tone::Bad, why));
}

/// What all of it comes to, in one line.
fn sum(plan: &Plan, size: impl Fn(u64) -> String) -> String {
    let versions = plan.rows.iter().filter(|row| row.fate == Fate::Remove && row.subject == Subject::Version).count();
    let blobs = plan.targets().count();
    let of = |is: fn(&Step) -> bool| plan.steps.iter().filter(|step| is(step)).count();
    let parts = [
        (versions, "version", "removes"),
        (of(|step| matches!(step, Step::Unname { .. })), "name", "removes"),
        (blobs, "blob", "removes"),
        (of(|step| matches!(step, Step::Discard { .. })), discarded(plan).unwrap_or("leftover"), "removes"),
        (of(|step| matches!(step, Step::Lead { .. })), "name", "writes"),
        (of(|step| matches!(step, Step::Write { .. } | Step::Fetch { .. })), "blob", "writes"),
    ];
    let of = |verb: &str| -> Option<String> {
        let some = parts.iter().filter(|(n, _, does)| *n > 0 && *does == verb);
        let some: Vec<String> = some.map(|(n, word, _)| count(*n, word)).collect();
        (!some.is_empty()).then(|| format!("{verb} {}", some.join(", ")))
    };
    let what: Vec<String> = ["removes", "writes"].into_iter().filter_map(of).collect();
    let bytes = match (plan.frees, plan.promise.exact) {
        (0, _) => format!("{} stay", size(plan.before)),
        (frees, true) => {
            format!("{} before, {} after: frees {}", size(plan.before), size(plan.after()), size(frees))
        }
        (frees, false) => {
            format!(
                "{} before, at least {} after: frees at most {}",
                size(plan.before),
                size(plan.after()),
                size(frees)
            )
        }
    };
    format!("{}: {}; {bytes}", title(plan), what.join("; "))
}

/// What a plan gives up by its number, in a word, where that is all there is to it.
pub(super) fn discarded(plan: &Plan) -> Option<&'static str> {
    plan.rows.iter().find_map(|row| match row.subject {
        Subject::Record => Some("record"),
        Subject::Entry => Some("entry"),
        _ => None,
    })
}

/// The place as headers have it.
fn title(plan: &Plan) -> String {
    Location::parse(&plan.location).map_or_else(|_| plan.location.clone(), |location| location.title())
}

/// Says that nothing has happened yet, and what makes it happen.
pub(super) fn tell_how(session: &Session, plan: &Plan, again: &str) {
    if session.out.is_json() {
        return;
    }
    session.words.note(&format!("plan {}: nothing is changed yet; to do it: {again}", plan.id));
}

/// The command line that was typed, with `--apply`, and without the secrets in it.
pub(in crate::cli) fn typed() -> String {
    let words = std::env::args().skip(1);
    let words =
        words.filter(|word| !matches!(word.as_str(), "-n" | "--dry-run")).map(|word| match Location::parse(&word) {
            Ok(location) if location.has_secrets() => location.to_string(),
            _ => word,
        });
    let words: Vec<String> = words.map(|word| text::shell_quote(&word).into_owned()).collect();
    format!("cachedeck {} --apply", words.join(" "))
}

/// A row of a plan.
#[derive(Serialize)]
#[serde(transparent)]
struct RowItem<'a>(&'a Row);

impl Item for RowItem<'_> {
    const TYPE: &'static str = "plan_row";

    fn fields() -> &'static [Field] {
        &[]
    }

    fn row(&self) -> impl FilterRow {
        Unfiltered
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("ACTION", |row: &Self| match row.0.fate {
                Fate::Keep => Cell::text("keep").tone(Tone::Good),
                Fate::Remove => Cell::text("REMOVE").tone(Tone::Bad),
                Fate::Write => Cell::text("write").tone(Tone::Warn),
            })
            .field("fate"),
            Column::words("WHAT", |row: &Self| Cell::text(row.0.names.join(", "))).cut_middle().field("names"),
            Column::words("DIGEST", |row: &Self| Cell::digest(row.0.digest)).if_known(),
            Column::numbers("BLOBS", |row: &Self| Cell::count(row.0.count)).drop(2).field("count"),
            Column::words("WHY", |row: &Self| Cell::new(Value::Words(row.0.reason.clone()))).cut_end().field("reason"),
            Column::numbers("SIZE", |row: &Self| Cell::size(row.0.bytes)).drop(1).field("size_bytes"),
            Column::numbers("FREES", |row: &Self| Cell::size(Some(row.0.frees).filter(|_| row.0.fate == Fate::Remove)))
                .field("frees_bytes"),
            Column::words("GROUP", |row: &Self| Cell::known(row.0.group.clone())).wide(),
            Column::numbers("AGE", |row: &Self| Cell::time(row.0.time)).wide().field("dated_at"),
        ]
    }
}

/// What is shown whole, and never filtered.
pub(in crate::cli) struct Unfiltered;

impl FilterRow for Unfiltered {
    fn fields() -> &'static [Field] {
        &[]
    }

    fn field(&self, _: &str) -> Option<FilterValue<'_>> {
        None
    }

    fn text(&self) -> Cow<'_, str> {
        "".into()
    }
}
