//! What came of a build, as a table or as JSON.

use super::super::failure::{Exit, Outcome, Stop};
use super::super::output::{Cell, Column, Format, Item, Place, Section, Tone};
use super::super::session::Session;
use super::watching::seconds;
use crate::error::{Error, Kind};
use crate::model::build::report::{Ending, Export, Imported, Origin, Report, Step};
use crate::model::build::watch::State;
use crate::model::filter::{Field, FieldKind, Row, Value};
use crate::model::units::{Bytes, SizeStyle, count};
use crate::ops::build;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::time::Duration;

/// Looks what stands where was exported to, as far as that can be reached.
pub(super) fn look(session: &mut Session, report: &mut Report) {
    for export in report.exports.iter_mut().filter(|export| export.unknown.is_none()) {
        if report.ending != Ending::Done {
            export.unknown =
                Some(format!("the build {}", if report.ending == Ending::Failed { "failed" } else { "was stopped" }));
            continue;
        }
        if export.location.kind() == "inline" {
            export.unknown = Some("it is part of the image".to_owned());
            continue;
        }
        let name = export.location.asked_name().unwrap_or(export.location.usual_name()).to_owned();
        let place = export.location.clone().asking_for(&name);
        match session.load(&place) {
            Ok(loaded) => build::look(export, &loaded.inventory),
            Err(Stop::Failed { error, .. }) => export.unknown = Some(error.to_string()),
            Err(Stop::Closed) => {}
        }
    }
}

/// How that ends the program.
pub(super) fn exit(report: &Report) -> Exit {
    match report.ending {
        Ending::Done => Exit::Done,
        Ending::Failed => Exit::Failed,
        Ending::Stopped => Exit::Stopped,
    }
}

/// Writes it: steps, imports and exports to stdout, and what there is to say to stderr.
pub(super) fn tell(session: &mut Session, report: &Report) -> Outcome<()> {
    let items: Vec<StepItem<'_>> = report.steps.iter().map(StepItem).collect();
    let section = Section { location: None, items, warnings: Vec::new(), complete: report.ending == Ending::Done };
    session.out.list_with("build", facts(report), &[section], false)?;
    if session.out.is_json() {
        if let Some(failure) = &report.failure {
            let step = failure.step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
            let error = Error::new(Kind::Failed, format!("the build failed: {step}{}", failure.error));
            session.words.error(&error, None);
        }
        return Ok(());
    }
    let words = session.words;
    if matches!(session.out.format, Format::Table | Format::Wide) {
        if !report.steps.is_empty() {
            words.note(&steps_in_words(report));
        }
        for import in &report.imports {
            let title = import.location.title();
            match &import.state {
                Imported::Read => {}
                Imported::Failed(why) => words.say("not imported", Tone::Warn, &format!("{title}: {why}")),
                Imported::LeftOut if report.ending == Ending::Done => {
                    words.say("not imported", Tone::Warn, &format!("{title}: the builder was not asked for it"));
                }
                Imported::LeftOut => {}
                Imported::Unknown => {
                    words.say("not imported", Tone::Warn, &format!("{title}, or another one of its type"))
                }
            }
        }
        for export in &report.exports {
            let (word, tone, what) = export_in_words(export, session.out.look.sizes);
            words.say(word, tone, &what);
        }
    }
    match (&report.failure, report.ending) {
        (Some(failure), _) => {
            if let Some(step) = &failure.step {
                words.say("failed", Tone::Bad, step);
                failure.log.iter().for_each(|line| words.note(&format!("  {line}")));
            }
            words.say("error", Tone::Bad, &failure.error);
        }
        (None, Ending::Stopped) => words.line("stopped"),
        _ => {}
    }
    Ok(())
}

/// `6 of 8 steps cached: 4 imported from local:c, 2 unknown; 12.3s`.
pub(super) fn steps_in_words(report: &Report) -> String {
    let (cached, all) = (report.count(State::Cached), report.steps.len());
    let source = report.steps.iter().find_map(|step| step.source.as_ref());
    let from = |origin: Origin| {
        let n = report.cached_from(origin);
        let words = match (origin, source) {
            (Origin::Imported, Some(source)) => format!("{n} imported from {}", source.title()),
            (Origin::Imported, None) => format!("{n} imported"),
            (Origin::Builder, _) => format!("{n} in the builder"),
            (Origin::Unknown, _) => format!("{n} imported or in the builder: it does not tell"),
        };
        (n > 0).then_some(words)
    };
    let from: Vec<String> = [Origin::Imported, Origin::Builder, Origin::Unknown].into_iter().filter_map(from).collect();
    let from = if from.is_empty() { String::new() } else { format!(": {}", from.join(", ")) };
    let took = report.took().map(|took| format!("; {}", seconds(took))).unwrap_or_default();
    format!("{cached} of {} cached{from}{took}", count(all as u64, "step"))
}

/// A word, its tone, and what was exported.
pub(super) fn export_in_words(export: &Export, sizes: SizeStyle) -> (&'static str, Tone, String) {
    let title = export.location.title();
    match (&export.index, &export.unknown) {
        (Some(index), _) => {
            let mut parts = Vec::new();
            parts.extend(index.digest.map(|digest| digest.to_string()));
            parts.extend(index.layers.map(|layers| count(layers as u64, "layer")));
            parts.extend(index.bytes.map(|bytes| Bytes(bytes).show(sizes)));
            parts.push(format!("{} of it in no other version there", Bytes(index.exclusive_bytes).show(sizes)));
            if index.missing > 0 {
                parts.push(format!("{} missing", count(index.missing as u64, "blob")));
            }
            let tone = if index.missing > 0 { Tone::Bad } else { Tone::Good };
            ("exported", tone, format!("{title}: {}", parts.join(", ")))
        }
        (None, Some(why)) => ("export", Tone::Warn, format!("{title}: {why}")),
        (None, None) => ("exported", Tone::Warn, title),
    }
}

/// What stands beside the steps.
fn facts(report: &Report) -> Map<String, Json> {
    let millis = |took: Option<Duration>| took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    let count = |origin| report.cached_from(origin);
    let imports = report.imports.iter().map(|import| {
        let error = match &import.state {
            Imported::Failed(why) => Some(why),
            _ => None,
        };
        json!({
            "location": Place(&import.location),
            "state": import.state.name(),
            "error": error,
            "took_ms": millis(import.took),
        })
    });
    let exports = report.exports.iter().map(|export| {
        let index = export.index.as_ref();
        json!({
            "location": Place(&export.location),
            "digest": index.and_then(|index| index.digest),
            "tags": index.map(|index| &index.tags),
            "layers": index.and_then(|index| index.layers),
            "bytes": index.and_then(|index| index.bytes),
            "exclusive_bytes": index.map(|index| index.exclusive_bytes),
            "missing_blobs": index.map(|index| index.missing),
            "unknown": export.unknown,
            "took_ms": millis(export.took),
        })
    });
    let failure = report.failure.as_ref();
    let object = json!({
        "ending": report.ending.name(),
        "builder": report.facts.builder,
        "driver": report.facts.driver,
        "buildkit": report.facts.buildkit,
        "started_at": report.span.map(|(started, _)| started),
        "took_ms": millis(report.took()),
        "steps": {
            "all": report.steps.len(),
            "cached": report.count(State::Cached),
            "imported": count(Origin::Imported),
            "builder": count(Origin::Builder),
            "unknown": count(Origin::Unknown),
            "done": report.count(State::Done),
            "failed": report.count(State::Failed),
        },
        "imports": imports.collect::<Vec<_>>(),
        "exports": exports.collect::<Vec<_>>(),
        "failure": failure.map(|failure| json!({"step": failure.step, "error": failure.error, "log": failure.log})),
        "build_warnings": report.warnings,
    });
    match object {
        Json::Object(facts) => facts,
        _ => Map::new(),
    }
}

/// A step in lists.
struct StepItem<'a>(&'a Step);

fn state(state: State) -> &'static str {
    match state {
        State::Waiting => "not-run",
        State::Running => "running",
        State::Done => "done",
        State::Cached => "cached",
        State::Failed => "failed",
        State::Canceled => "canceled",
    }
}

impl Serialize for StepItem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            step: &'a str,
            state: &'static str,
            from: Option<&'static str>,
            source: Option<String>,
            started_at: Option<Timestamp>,
            took_ms: Option<u64>,
        }
        Fields {
            step: &self.0.name,
            state: state(self.0.state),
            from: self.0.origin.map(Origin::name),
            source: self.0.source.as_ref().map(|location| location.title()),
            started_at: self.0.started,
            took_ms: self.0.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        }
        .serialize(serializer)
    }
}

impl Row for StepItem<'_> {
    fn fields() -> &'static [Field] {
        const FIELDS: &[Field] = &[
            Field::new("step", FieldKind::Text),
            Field::new("state", FieldKind::Text),
            Field::new("from", FieldKind::Text),
        ];
        FIELDS
    }

    fn field(&self, name: &str) -> Option<Value<'_>> {
        match name {
            "step" => Some(Value::Text(Cow::Borrowed(&self.0.name))),
            "state" => Some(Value::Text(Cow::Borrowed(state(self.0.state)))),
            "from" => self.0.origin.map(|origin| Value::Text(Cow::Borrowed(origin.name()))),
            _ => None,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0.name)
    }
}

impl Item for StepItem<'_> {
    const TYPE: &'static str = "step";

    fn fields() -> &'static [Field] {
        <Self as Row>::fields()
    }

    fn row(&self) -> impl Row {
        StepItem(self.0)
    }

    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::words("STATE", |s: &Self| Cell::text(state(s.0.state)).tone(tone(s.0.state))),
            Column::words("FROM", |s: &Self| Cell::known(s.0.origin.map(Origin::name))).if_known(),
            Column::words("SOURCE", |s: &Self| Cell::known(s.0.source.as_ref().map(|l| l.title()))).wide(),
            Column::numbers("TOOK", |s: &Self| Cell::known(s.0.took.map(seconds))).field("took_ms"),
            Column::words("STEP", |s: &Self| Cell::text(s.0.name.as_str())).cut_end(),
        ]
    }
}

fn tone(state: State) -> Tone {
    match state {
        State::Cached => Tone::Good,
        State::Failed => Tone::Bad,
        State::Done => Tone::Plain,
        State::Waiting | State::Running | State::Canceled => Tone::Dim,
    }
}
