//! `undo`: takes back what was done to a place.

use super::Command;
use super::change::{self, Place, RunJson};
use super::failure::{Exit, Outcome, Stop};
use super::output::Tone;
use super::session::Session;
use crate::error::{Error, Kind, Result};
use crate::model::plan::RunId;
use crate::model::run::{Phase, Run};
use crate::model::units::{Bytes, age, count};
use crate::ops::journal;
use crate::ops::settle;
use crate::state::State;
use clap::Parser;

/// Take back what was done to a place
///
/// What a run hid is there again, and names lead where they led.
/// What has been freed cannot come back. Names that lead elsewhere by now, as a build wrote them, are left alone and told.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck undo .buildx-cache                       the last change there
  cachedeck undo 20261121-134500-3f9a2c
  cachedeck log .buildx-cache                        what was done, and whether it can be undone")]
pub(super) struct Undo {
    /// The run, and where it was; without a run the last one there that can be undone
    #[arg(value_name = "RUN|LOCATION", num_args = 0..=2)]
    what: Vec<String>,

    /// Ask nothing; needed where there is no terminal
    #[arg(long, short = 'y', alias = "force", short_alias = 'f')]
    yes: bool,

    /// Only show it
    #[arg(long, short = 'n')]
    dry_run: bool,
}

impl Command for Undo {
    const NAME: &'static str = "undo";

    fn run(self, session: &mut Session) -> Outcome {
        let (id, given) = self.read()?;
        let location = match (&given, &id) {
            (Some(given), _) => session.location(Some(given))?,
            (None, Some(id)) => {
                let line = known(session, id)?.location;
                change::place_of(session, &line)?
            }
            (None, None) => session.location(None)?,
        };
        if !self.dry_run {
            change::may_change(session, &location, None)?;
            change::can_ask(session, self.yes)?;
        }
        let place = Place::open(session, &location)?;
        let run = match id {
            Some(id) => {
                let found = place.run(session, "looking", async { place.journal.run(&id).await })?;
                let absent = || Error::not_found(format!("no run {id} at {}", location.title()));
                found.ok_or_else(|| Stop::at(&location, absent().with_hint("`cachedeck log` lists those there are")))?
            }
            None => {
                let runs = place.run(session, "looking", async { place.journal.runs().await })?;
                let last = runs.into_iter().find(can_be_undone);
                let nothing = || Error::not_found(format!("nothing at {} can be undone", location.title()));
                last.ok_or_else(|| Stop::at(&location, nothing().with_hint("`cachedeck log` tells what was done")))?
            }
        };
        if !session.out.is_json() {
            session.words.note(&told(session, &run));
        }
        if self.dry_run {
            if session.out.is_json() {
                let mut json = RunJson::new(&run);
                json.set("stopped", serde_json::Value::Null);
                json.set("incomplete", Vec::<String>::new());
                json.set("problems", Vec::<String>::new());
                json.write(session)?;
            }
            return Ok(Exit::Done);
        }
        change::agree(session, &location, self.yes, "to undo it")?;
        take_back(session, &place, &run.id)
    }
}

/// Takes one run back, and tells.
pub(super) fn take_back(session: &mut Session, place: &Place, id: &RunId) -> Outcome {
    let undone = place.change(session, "undoing", async |site| settle::undo(site, id).await)?;
    if session.out.is_json() {
        let mut json = RunJson::new(&undone.run);
        json.set("schema", "cachedeck.undo/1");
        json.set("undone_blobs", undone.restored);
        json.set("undone_names", undone.names);
        json.set("problems", undone.failures.clone());
        json.write(session)?;
    } else {
        let (blobs, names) = (count(undone.restored, "blob"), count(undone.names, "name"));
        session.words.note(&format!("run {id} undone: {blobs} and {names} are as they were"));
        undone.failures.iter().for_each(|failure| session.words.say("failed", Tone::Bad, failure));
    }
    Ok(if undone.failures.is_empty() { Exit::Done } else { Exit::Partly })
}

/// Whether undoing it would do anything.
pub(super) fn can_be_undone(run: &Run) -> bool {
    match run.phase {
        Phase::Undone(_) => false,
        Phase::Applying => true,
        Phase::Hidden(_) => true,
        Phase::Done(_) => run.names > 0 && run.freed == 0,
    }
}

fn told(session: &Session, run: &Run) -> String {
    let size = Bytes(run.hidden_bytes).show(session.out.look.sizes);
    let when = age(session.out.look.now, run.begun);
    let (blobs, names) = (count(run.hidden, "hidden blob"), count(run.names, "changed name"));
    format!("run {}: {} of {}, {when} ago: {blobs} ({size}), {names}", run.id, run.purpose.name(), run.location)
}

/// The run, as this user's own folder knows it.
fn known(session: &mut Session, id: &RunId) -> Result<Run> {
    let state = State::usual();
    let work = async { Ok(journal::everywhere(&state).await) };
    let runs = session.jobs.run("looking", &crate::progress::Progress::new(), work)?;
    runs.into_iter().find(|run| run.id == *id).ok_or_else(|| {
        Error::new(Kind::NotFound, format!("no run {id} is known on this machine"))
            .with_hint("name its place too: cachedeck undo RUN LOCATION")
    })
}

impl Undo {
    fn read(&self) -> Result<(Option<RunId>, Option<String>)> {
        let given = self.what.iter().map(|word| (word.parse::<RunId>().ok(), word));
        let (runs, places): (Vec<_>, Vec<_>) = given.partition(|(id, _)| id.is_some());
        match (&runs[..], &places[..]) {
            ([] | [_], [] | [_]) => {
                let run = runs.into_iter().next().and_then(|(id, _)| id);
                Ok((run, places.first().map(|(_, word)| (*word).clone())))
            }
            ([_, _], _) => Err(Error::invalid("one run at a time")),
            _ => Err(Error::invalid("one location at a time")
                .with_hint("a run is called like 20261121-134500-3f9a2c; `cachedeck log` lists them")),
        }
    }
}
