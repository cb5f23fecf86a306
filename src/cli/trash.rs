//! `trash`: what was hidden and not freed yet.

use super::Command;
use super::change::{self, Place};
use super::failure::{Exit, Outcome, Stop};
use super::list::ListArgs;
use super::output::Section;
use super::runs::RunItem;
use super::session::Session;
use super::undo;
use crate::error::Error;
use crate::model::location::Location;
use crate::model::plan::RunId;
use crate::model::run::Run;
use crate::model::units::{Bytes, count};
use crate::ops::settle;
use clap::{Args, Parser, Subcommand};

/// List, bring back or free what was hidden and is not freed yet
#[derive(Parser)]
#[command(after_help = "\
Examples:
  cachedeck trash ls .buildx-cache
  cachedeck trash restore .buildx-cache --run 20261121-134500-3f9a2c
  cachedeck trash empty .buildx-cache")]
pub(super) struct Trash {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs that hid something which is hidden still
    #[command(after_help = "\
Fields to filter and sort by:
  run purpose phase age hidden hidden_size freed freed_size names restored failed")]
    Ls(Ls),
    /// Bring back all that is hidden, and the names that led to it
    Restore(Change),
    /// Free what is hidden and nobody needs, now and for good
    Empty(Change),
}

#[derive(Args)]
struct Ls {
    /// Where to look
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// Only what this run hid
    #[arg(long, value_name = "RUN", value_parser = super::usage::value::<RunId>)]
    run: Option<RunId>,

    #[command(flatten)]
    list: ListArgs,
}

#[derive(Args)]
struct Change {
    /// Where
    #[arg(value_name = "LOCATION")]
    locations: Vec<String>,

    /// Only what this run hid
    #[arg(long, value_name = "RUN", value_parser = super::usage::value::<RunId>)]
    run: Option<RunId>,

    /// Ask nothing; needed where there is no terminal
    #[arg(long, short = 'y', alias = "force", short_alias = 'f')]
    yes: bool,

    /// Only show it
    #[arg(long, short = 'n')]
    dry_run: bool,

    /// Nothing more is needed to do it
    #[arg(long, hide = true)]
    apply: bool,
}

impl Command for Trash {
    const NAME: &'static str = "trash";

    fn run(self, session: &mut Session) -> Outcome {
        match self.what {
            What::Ls(ls) => ls.run(session),
            What::Restore(change) => change.run(session, restore),
            What::Empty(change) => change.run(session, empty),
        }
    }
}

impl Ls {
    fn run(self, session: &mut Session) -> Outcome {
        let selection = self.list.selection::<RunItem>(&mut session.out)?;
        let locations = session.locations(&self.locations)?;
        let mut found = Vec::new();
        for location in &locations {
            let place = Place::open(session, location)?;
            found.push((location, open_runs(session, &place, self.run.as_ref())?));
        }
        show(session, &found, selection)?;
        Ok(Exit::Done)
    }
}

/// Prints runs, place by place.
pub(super) fn show(
    session: &mut Session,
    found: &[(&Location, Vec<Run>)],
    mut selection: super::list::Selection,
) -> Outcome<()> {
    let mut sections: Vec<Section<'_, RunItem>> = found
        .iter()
        .map(|(location, runs)| Section {
            location: Some(*location),
            items: runs.iter().cloned().map(RunItem::new).collect(),
            warnings: Vec::new(),
            complete: true,
        })
        .collect();
    sections.iter_mut().for_each(|section| section.select(&mut selection, session.out.look.now));
    session.out.list("run-list", &sections, found.len() > 1)
}

/// Runs that may hide something, the last first.
fn open_runs(session: &mut Session, place: &Place, only: Option<&RunId>) -> Outcome<Vec<Run>> {
    let mut runs = place.run(session, "looking", async { place.journal.runs().await })?;
    runs.retain(|run| run.is_open() && only.is_none_or(|only| run.id == *only));
    if let (Some(only), true) = (only, runs.is_empty()) {
        let error = Error::not_found(format!("no run {only} hides anything at {}", place.location.title()));
        return Err(Stop::at(&place.location, error.with_hint("`cachedeck trash ls` lists those that do")));
    }
    Ok(runs)
}

impl Change {
    fn run(self, session: &mut Session, act: fn(&mut Session, &Place, &Self, Vec<Run>) -> Outcome) -> Outcome {
        // What is for good is asked for by name.
        let locations = match self.locations.is_empty() {
            true => vec![session.location(None)?],
            false => session.locations(&self.locations)?,
        };
        if !self.dry_run {
            locations.iter().try_for_each(|location| change::may_change(session, location, None))?;
            change::can_ask(session, self.yes)?;
        }
        let mut exit = Exit::Done;
        for location in &locations {
            let place = Place::open(session, location)?;
            let runs = open_runs(session, &place, self.run.as_ref())?;
            exit = exit.and(act(session, &place, &self, runs)?);
        }
        Ok(exit)
    }

    /// Says what is hidden; whether to go on.
    fn tell(&self, session: &Session, place: &Place, runs: &[Run]) -> bool {
        let (blobs, bytes) = runs.iter().fold((0, 0), |(n, b), run| (n + run.hidden, b + run.hidden_bytes));
        let size = Bytes(bytes).show(session.out.look.sizes);
        let title = place.location.title();
        let words = match runs.is_empty() {
            true => format!("{title}: nothing is hidden"),
            false => format!("{title}: {} ({size}) of {} hidden", count(blobs, "blob"), count(runs.len(), "run")),
        };
        session.words.note(&words);
        !runs.is_empty() && !self.dry_run
    }
}

fn restore(session: &mut Session, place: &Place, change: &Change, runs: Vec<Run>) -> Outcome {
    if !change.tell(session, place, &runs) {
        return Ok(Exit::Done);
    }
    change::agree(session, &place.location, change.yes, "to bring it back")?;
    let mut exit = Exit::Done;
    for run in &runs {
        exit = exit.and(undo::take_back(session, place, &run.id)?);
    }
    Ok(exit)
}

fn empty(session: &mut Session, place: &Place, change: &Change, runs: Vec<Run>) -> Outcome {
    if !change.tell(session, place, &runs) {
        return Ok(Exit::Done);
    }
    change::agree(session, &place.location, change.yes, "to free it for good")?;
    let settled = place.change(session, "freeing", async |site| settle::empty(site, change.run.as_ref()).await)?;
    change::told_of_earlier(session, place, &settled);
    if session.out.is_json() {
        let runs = place.run(session, "looking", async { place.journal.runs().await })?;
        let emptied: Vec<Run> = runs.into_iter().filter(|run| settled.runs.contains(&run.id)).collect();
        let selection = ListArgs::default().selection::<RunItem>(&mut session.out)?;
        show(session, &[(&place.location, emptied)], selection)?;
    }
    Ok(change::problems(&settled))
}
