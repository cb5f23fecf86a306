//! The rows of a plan: as cells, for the filter, and in full.

use super::plain_name;
use crate::model::digest::Digest;
use crate::model::filter::{self, Field, FieldKind, Value};
use crate::model::inventory::Inventory;
use crate::model::plan::{Fate, Plan, Row, Step, Subject};
use crate::model::text;
use crate::tui::screen::{Look, count, thousands};
use crate::tui::screens::{version_name, wrapped};
use crate::tui::shared::Place;
use crate::tui::widgets::cell::{Cell, Cut};
use crate::tui::widgets::table;
use ratatui::text::{Line, Span};
use std::borrow::Cow;
use std::collections::HashSet;

/// Lines that a box of steps has at most.
const STEPS: usize = 500;

/// A row as the filter sees it.
pub(super) struct PlanRow<'a>(pub(super) &'a Row);

impl filter::Row for PlanRow<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("action", FieldKind::Text),
            Field::new("name", FieldKind::Text),
            Field::new("digest", FieldKind::Text),
            Field::new("why", FieldKind::Text),
            Field::new("frees", FieldKind::Size),
            Field::new("size", FieldKind::Size),
            Field::new("age", FieldKind::Time),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let row = self.0;
        Some(match name {
            "action" => Value::Text(action(row.fate).into()),
            "name" => Value::Texts(row.names.iter().map(|name| Cow::Borrowed(name.as_str())).collect()),
            "digest" => Value::Text(row.digest?.to_string().into()),
            "why" => Value::Text(Cow::Borrowed(&row.reason)),
            "frees" => Value::Size(row.frees),
            "size" => Value::Size(row.bytes),
            "age" => Value::Time(row.time?),
            _ => return None,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        let digest = self.0.digest.map(|digest| digest.short()).unwrap_or_default();
        format!("{} {} {digest} {}", action(self.0.fate), plain_name(self.0), self.0.reason).into()
    }
}

fn action(fate: Fate) -> &'static str {
    match fate {
        Fate::Keep => "keep",
        Fate::Remove => "REMOVE",
        Fate::Write => "WRITE",
    }
}

/// A row as it is drawn.
pub(super) fn cells<'a>(row: &'a Row, place: Option<&Place>, look: Look<'_>) -> table::Row<'a> {
    let theme = look.theme;
    let index = row.digest.and_then(|digest| place?.index(&digest));
    let style = match row.fate {
        Fate::Keep => theme.dim,
        Fate::Remove => theme.missing,
        Fate::Write => theme.focus,
    };
    let mut acts = vec![Span::styled(action(row.fate), style)];
    let pinned = index.zip(place.and_then(|place| place.ledger.as_ref())).and_then(|(i, ledger)| ledger.pin_of(i));
    if pinned.is_some() {
        acts.push(Span::styled(format!(" {}", look.glyphs.pinned), theme.pinned));
    } else if index.is_some_and(|index| !index.missing.is_empty()) {
        acts.push(Span::styled(format!(" {}", look.glyphs.missing), theme.missing));
    }
    let lot = !matches!(row.subject, Subject::Version | Subject::Name);
    let name = match index {
        Some(index) if index.is_dangling() && row.subject == Subject::Version => Cell::text(look.dim("untagged")),
        Some(index) if row.subject == Subject::Version => Cell::name(version_name(index)),
        _ => Cell::name(plain_name(row)),
    };
    let digest = match (&row.digest, lot) {
        (Some(digest), _) => Cell::digest(look.dim(digest.short())),
        (None, true) => Cell::text(look.dim(thousands(row.count))),
        (None, false) => Cell::empty(),
    };
    let why = Span::raw(text::safe(&row.reason).into_owned());
    let frees = Some(row.frees).filter(|_| row.fate == Fate::Remove);
    table::Row::from(vec![Cell::of(acts, 0, Cut::End), name, digest, Cell::text(why), look.size(frees)])
}

/// Everything known about a row.
pub(super) fn details(row: &Row, look: Look<'_>) -> Vec<Line<'static>> {
    let width = 96;
    let mut lines = wrapped(action(row.fate), &text::safe(&row.reason), width, look);
    let names: Vec<_> = row.names.iter().map(|name| text::safe(name)).collect();
    if !names.is_empty() {
        lines.extend(wrapped("names", &names.join(", "), width, look));
    }
    if let Some(digest) = &row.digest {
        lines.push(look.fact("digest", vec![Span::raw(digest.to_string())]));
    }
    if let Some(group) = &row.group {
        lines.push(look.fact("group", vec![Span::raw(text::safe(group).into_owned())]));
    }
    if row.time.is_some() {
        lines.push(look.fact("made", look.time(row.time)));
    }
    let size = format!("{} in {}", look.bytes(row.bytes), count(row.count, "blob"));
    lines.push(look.fact("size", vec![Span::raw(size)]));
    let frees = match row.fate {
        Fate::Remove if row.subject == Subject::Version => {
            format!("{} that only it needs; what it shares with others that go counts by itself", look.bytes(row.frees))
        }
        Fate::Remove => look.bytes(row.frees),
        _ => "nothing".to_owned(),
    };
    lines.extend(wrapped("frees", &frees, width, look));
    lines
}

/// The steps of the plan that a row is about.
pub(super) fn steps(plan: &Plan, row: &Row, inventory: Option<&Inventory>, look: Look<'_>) -> Vec<Line<'static>> {
    let reached: HashSet<Digest> = match inventory {
        Some(inventory) => inventory.indexes.iter().flat_map(|index| &index.reach).map(|r| r.digest).collect(),
        None => HashSet::new(),
    };
    let index = row.digest.and_then(|digest| inventory?.version(&digest));
    let own: HashSet<Digest> = index.iter().flat_map(|index| &index.reach).map(|r| r.digest).collect();
    let about = |step: &&Step| match (step, row.subject) {
        (Step::Hide(target), Subject::Orphans) => row.fate == Fate::Remove && !reached.contains(&target.digest),
        (Step::Hide(target), Subject::Shared) => {
            inventory.is_some_and(|inventory| inventory.blob(&target.digest).is_some_and(|blob| blob.referrers > 1))
        }
        (Step::Hide(target), _) => row.fate != Fate::Keep && own.contains(&target.digest),
        (Step::Unname { name, .. } | Step::Lead { name, .. }, Subject::Version | Subject::Name) => {
            row.names.contains(name)
        }
        (Step::Discard { .. }, subject) => row.fate == Fate::Remove && subject == Subject::Leftovers,
        (Step::Write { .. } | Step::Fetch { .. }, _) => row.fate == Fate::Write,
        _ => false,
    };
    let all: Vec<&Step> = plan.steps.iter().filter(about).collect();
    if all.is_empty() {
        return vec![Line::from(look.dim("nothing is done to it"))];
    }
    let line = |step: &&Step| {
        let (word, what) = match step {
            Step::Write { digest, .. } => ("write", digest.to_string()),
            Step::Fetch { digest, bytes } => ("fetch", format!("{digest}  {}", look.bytes(*bytes))),
            Step::Lead { name, digest, .. } => ("lead", format!("{} to {}", text::safe(name), digest.short())),
            Step::Unname { name, .. } => ("unname", text::safe(name).into_owned()),
            Step::Hide(target) => ("hide", format!("{}  {}", target.digest, look.bytes(target.bytes))),
            Step::Discard { name, bytes, .. } => ("discard", format!("{}  {}", text::safe(name), look.bytes(*bytes))),
        };
        look.fact(word, vec![Span::raw(what)])
    };
    let mut lines: Vec<Line<'static>> = all.iter().take(STEPS).map(line).collect();
    if all.len() > STEPS {
        lines.push(Line::from(
            look.dim(format!("and {} more; x writes them all to a file", thousands((all.len() - STEPS) as u64))),
        ));
    }
    lines
}
