//! What is told once a change was made: what is hidden and until when, how to take it back, what failed.

use super::super::failure::{Exit, Outcome, Stop};
use super::super::output::{Format, Tone};
use super::super::session::Session;
use super::show::discarded;
use super::{Place, quoted};
use crate::error::{Error, Kind};
use crate::model::plan::{Plan, Undo};
use crate::model::run::Run;
use crate::model::units::{Bytes, age, count};
use crate::ops::apply::{Applied, STOPPED};
use crate::ops::settle::Settled;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// A run in JSON: as it is written down, without the documents that are kept for the way back, and what follows from it.
pub(in crate::cli) struct RunJson<'a> {
    run: &'a Run,
    more: Map<String, Value>,
}

impl<'a> RunJson<'a> {
    /// The run as it is.
    pub(in crate::cli) fn new(run: &'a Run) -> Self {
        Self { run, more: Map::new() }
    }

    /// With something more.
    pub(in crate::cli) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.more.insert(name.to_owned(), value.into());
    }

    /// The object.
    pub(in crate::cli) fn object(&self) -> Result<Map<String, Value>, Error> {
        let value = serde_json::to_value(self.run);
        let value = value.map_err(|e| Error::new(Kind::Internal, "writing JSON").with_source(e))?;
        let Value::Object(mut fields) = value else { return Ok(Map::new()) };
        fields.shift_remove("documents");
        if let Some(Value::Object(phase)) = fields.get_mut("phase") {
            phase.entry("at").or_insert(Value::Null);
        }
        fields.insert("due_at".to_owned(), self.run.due().map_or(Value::Null, |due| due.to_string().into()));
        fields.extend(self.more.clone());
        Ok(fields)
    }

    /// Writes it as the document of a command.
    pub(in crate::cli) fn write(&self, session: &mut Session) -> Outcome<()> {
        let object = self.object()?;
        if session.out.format == Format::Json {
            return session.out.json(&object);
        }
        let mut line = Map::new();
        line.insert("type".to_owned(), "run".into());
        line.extend(object);
        session.out.json_line(&line)?;
        session.out.flush()
    }
}

impl Serialize for RunJson<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Tells what came of a plan, and how that ends the command.
pub(super) fn tell(session: &mut Session, place: &Place, plan: &Plan, applied: &Applied) -> Outcome {
    let run = &applied.run;
    told_of_earlier(session, place, &applied.earlier);
    if session.out.is_json() {
        let mut json = RunJson::new(run);
        json.set("stopped", applied.stopped.clone());
        json.set("incomplete", applied.incomplete.clone());
        json.set("problems", applied.problems.clone());
        json.write(session)?;
    } else {
        in_words(session, place, plan, applied);
    }
    exit(place, applied)
}

/// How what came of a plan ends the command.
pub(in crate::cli) fn exit(place: &Place, applied: &Applied) -> Outcome {
    if applied.stopped.as_deref() == Some(STOPPED) {
        return Err(Stop::at(&place.location, Error::cancelled()));
    }
    Ok(if applied.is_whole() { Exit::Done } else { Exit::Partly })
}

fn in_words(session: &Session, place: &Place, plan: &Plan, applied: &Applied) {
    let (run, words) = (&applied.run, session.words);
    let size = |bytes| Bytes(bytes).show(session.out.look.sizes);
    let mut done = Vec::new();
    if run.names > 0 {
        done.push(format!("{} changed", count(run.names, "name")));
    }
    if run.freed > 0 {
        let word = discarded(plan).unwrap_or("blob");
        done.push(format!("{} freed ({})", count(run.freed, word), size(run.freed_bytes)));
    }
    if run.restored > 0 {
        done.push(format!("{} left alone, as builds use them", count(run.restored, "blob")));
    }
    if !done.is_empty() {
        words.note(&format!("run {}: {}", run.id, done.join(", ")));
    }
    let here = quoted(&place.location);
    if run.hidden > 0 {
        let due = run.due().map_or_else(String::new, |due| format!("; {}", freed_when(session, due, &here)));
        words.note(&format!("{} hidden, not yet freed ({}){due}", count(run.hidden, "blob"), size(run.hidden_bytes)));
    }
    let can_undo = !matches!(plan.promise.undo, Undo::Never(_)) && (run.hidden > 0 || run.names > 0) && run.freed == 0;
    if can_undo {
        words.note(&format!("undo: cachedeck undo {} {here}", run.id));
    }
    run.failures.iter().for_each(|failure| words.say("failed", Tone::Bad, failure));
    applied.incomplete.iter().for_each(|what| words.say("incomplete", Tone::Bad, what));
    applied.problems.iter().for_each(|problem| words.say("warning", Tone::Warn, problem));
    if let Some(why) = &applied.stopped {
        words.say(
            "stopped",
            Tone::Bad,
            &format!("{why}; what was done is written down, and can be undone or finished"),
        );
    }
}

/// When and by what hidden blobs are freed.
fn freed_when(session: &Session, due: Timestamp, here: &str) -> String {
    let now = session.out.look.now;
    let clock = due.strftime("%H:%M UTC");
    match due <= now {
        true => format!("free as soon as anything is pruned there, or at once: cachedeck trash empty {here}"),
        false => format!(
            "free after {clock} ({}), when anything is pruned there, or at once: cachedeck trash empty {here}",
            age(now, due)
        ),
    }
}

/// Tells what became of what earlier runs had hidden.
pub(in crate::cli) fn told_of_earlier(session: &Session, place: &Place, settled: &Settled) {
    if session.out.is_json() {
        return;
    }
    let words = session.words;
    let size = |bytes| Bytes(bytes).show(session.out.look.sizes);
    let mut done = Vec::new();
    if settled.restored > 0 {
        done.push(format!("{} brought back, as builds use them", count(settled.restored, "blob")));
    }
    if settled.freed > 0 {
        done.push(format!("{} freed ({})", count(settled.freed, "blob"), size(settled.freed_bytes)));
    }
    if settled.waiting > 0 {
        let when = settled
            .due
            .map_or_else(String::new, |due| format!("; {}", freed_when(session, due, &quoted(&place.location))));
        let waiting = count(settled.waiting, "blob");
        done.push(format!("{waiting} hidden, not yet freed ({}){when}", size(settled.waiting_bytes)));
    }
    if !done.is_empty() {
        words.note(&format!("of {}: {}", count(settled.runs.len(), "earlier run"), done.join(", ")));
    }
    settled.incomplete.iter().for_each(|what| words.say("incomplete", Tone::Bad, what));
    settled.problems.iter().for_each(|problem| words.say("warning", Tone::Warn, problem));
}

/// How a command ends that only led earlier runs on.
pub(in crate::cli) fn problems(settled: &Settled) -> Exit {
    match settled.problems.is_empty() && settled.incomplete.is_empty() {
        true => Exit::Done,
        false => Exit::Partly,
    }
}
