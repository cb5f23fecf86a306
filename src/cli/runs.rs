//! `log`: what was done to places. (What the program logs while it runs is in `log.rs`.)

use super::Command;
use super::change::{Place, RunJson};
use super::failure::{Exit, Outcome};
use super::list::ListArgs;
use super::output::{Cell, Column, Item, Section, Tone};
use super::session::Session;
use super::trash;
use super::undo::can_be_undone;
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::location::Location;
use crate::model::run::{Phase, Run};
use crate::ops::journal;
use crate::progress::Progress;
use crate::state::State;
use clap::Parser;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// List what was done to places, the last first
///
/// Without a location: what this user did anywhere, as last written down on this machine.
#[derive(Parser)]
#[command(after_help = "\
Fields to filter and sort by:
  run purpose phase age hidden hidden_size freed freed_size names restored failed

Examples:
  cachedeck log
  cachedeck log .buildx-cache
  cachedeck log .buildx-cache --filter 'phase=hidden'")]
pub(super) struct Log {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    #[command(flatten)]
    list: ListArgs,
}

impl Command for Log {
    const NAME: &'static str = "log";

    fn run(self, session: &mut Session) -> Outcome {
        let mut selection = self.list.selection::<RunItem>(&mut session.out)?;
        if self.locations.is_empty() {
            let state = State::usual();
            let work = async { Ok(journal::everywhere(&state).await) };
            let runs = session.jobs.run("looking", &Progress::new(), work)?;
            let items = runs.into_iter().map(RunItem::with_place).collect();
            let mut section = Section { location: None, items, warnings: Vec::new(), complete: true };
            section.select(&mut selection, session.out.look.now);
            session.out.list("run-list", &[section], false)?;
            return Ok(Exit::Done);
        }
        let locations = session.locations(&self.locations)?;
        let mut found: Vec<(&Location, Vec<Run>)> = Vec::new();
        for location in &locations {
            let place = Place::open(session, location)?;
            found.push((location, place.run(session, "looking", async { place.journal.runs().await })?));
        }
        trash::show(session, &found, selection)?;
        Ok(Exit::Done)
    }
}

/// A run in a list.
pub(super) struct RunItem {
    run: Run,
    /// Whether the list is of several places that nobody named.
    with_place: bool,
}

impl RunItem {
    /// A run of a place that is said elsewhere.
    pub(super) fn new(run: Run) -> Self {
        Self { run, with_place: false }
    }

    fn with_place(run: Run) -> Self {
        Self { run, with_place: true }
    }
}

impl Serialize for RunItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = RunJson::new(&self.run);
        json.set("can_undo", can_be_undone(&self.run));
        json.serialize(serializer)
    }
}

impl Item for RunItem {
    const TYPE: &'static str = "run";

    fn fields() -> &'static [Field] {
        Self::all_fields()
    }

    fn row(&self) -> impl Row {
        self
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("RUN", |i: &Self| Cell::text(i.run.id.as_str())).field("id"),
            Column::words("WHAT", |i: &Self| Cell::text(i.run.purpose.name())).field("purpose"),
            Column::words("STATE", |i: &Self| {
                Cell::text(i.run.phase.name()).tone(match i.run.phase {
                    Phase::Applying => Tone::Bad,
                    Phase::Hidden(_) => Tone::Warn,
                    Phase::Done(_) => Tone::Good,
                    Phase::Undone(_) => Tone::Dim,
                })
            })
            .field("phase"),
            Column::words("WHERE", |i: &Self| Cell::known(i.with_place.then(|| i.run.location.clone())))
                .if_known()
                .cut_middle()
                .field("location"),
            Column::numbers("NAMES", |i: &Self| Cell::count(i.run.names)).drop(3),
            Column::numbers("HIDDEN", |i: &Self| Cell::size(i.run.hidden_bytes)).field("hidden_bytes"),
            Column::numbers("FREED", |i: &Self| Cell::size(i.run.freed_bytes)).field("freed_bytes"),
            Column::numbers("BACK", |i: &Self| Cell::count(i.run.restored)).drop(2).field("restored"),
            Column::numbers("FAILED", |i: &Self| Cell::count(i.run.failures.len() as u64)).drop(1).field("failed"),
            Column::words("UNDO", |i: &Self| Cell::text(if can_be_undone(&i.run) { "yes" } else { "no" }))
                .field("can_undo"),
            Column::numbers("FREE", |i: &Self| Cell::time(i.run.due())).if_known().field("due_at"),
            Column::numbers("AGE", |i: &Self| Cell::time(Some(i.run.begun))).field("begun_at"),
        ]
    }
}

impl RunItem {
    fn all_fields() -> &'static [Field] {
        const FIELDS: [Field; 11] = [
            Field::new("run", FieldKind::Text).or(&["id"]),
            Field::new("purpose", FieldKind::Text).or(&["what"]),
            Field::new("phase", FieldKind::Text).or(&["state"]),
            Field::new("age", FieldKind::Time).or(&["begun_at"]),
            Field::new("hidden", FieldKind::Count),
            Field::new("hidden_size", FieldKind::Size).or(&["hidden_bytes"]),
            Field::new("freed", FieldKind::Count),
            Field::new("freed_size", FieldKind::Size).or(&["freed_bytes"]),
            Field::new("names", FieldKind::Count),
            Field::new("restored", FieldKind::Count),
            Field::new("failed", FieldKind::Count),
        ];
        &FIELDS
    }
}

impl Row for RunItem {
    fn fields() -> &'static [Field] {
        Self::all_fields()
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        let run = &self.run;
        Some(match name {
            "run" => Value::Text(run.id.as_str().into()),
            "purpose" => Value::Text(run.purpose.name().into()),
            "phase" => Value::Text(run.phase.name().into()),
            "age" => Value::Time(run.begun),
            "hidden" => Value::Count(run.hidden),
            "hidden_size" => Value::Size(run.hidden_bytes),
            "freed" => Value::Count(run.freed),
            "freed_size" => Value::Size(run.freed_bytes),
            "names" => Value::Count(run.names),
            "restored" => Value::Count(run.restored),
            "failed" => Value::Count(run.failures.len() as u64),
            _ => return None,
        })
    }

    fn text(&self) -> Cow<'_, str> {
        format!("{} {} {} {}", self.run.id, self.run.purpose.name(), self.run.phase.name(), self.run.location).into()
    }
}
